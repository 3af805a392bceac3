"""Train PocketCLIP on scenes and captions, so that a run that was stopped goes on where it was.

Loss (ours beside CLIP's): the symmetric contrastive loss at logit scale 100, and for each tower
w · max(0, log P − log PR), PR = (Σσ²)² / Σσ⁴ the participation ratio of the batch's centred
embeddings. At a fixed temperature the contrastive loss alone uses as few dimensions as it can.
A picture must also beat the plain names of all other classes, embedded anew every few steps: in a
batch of 256 its nearest confusion is mostly absent.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from clipnull import _files
from clipnull.datasets.pictures import TEMPLATES
from tools.pocket.captions import CONTEXT, Vocabulary, caption
from tools.pocket.scenes import INPUT, MEAN, STD, Sprites, draw, normalise, random_scene

#: steps that are timed before `Settings.minutes` becomes a number of steps, and those left out of it
TIMED, UNTIMED = 100, 10
WARM_UP = 200
PREPROCESS_CFG = {
    "size": INPUT,
    "mode": "RGB",
    "mean": MEAN.flatten().tolist(),
    "std": STD.flatten().tolist(),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True)
class Settings:
    """What decides the result; a run goes on only under the settings that it began with.

    Attributes
    ----------
    steps : int or None
        None: as many as fit into ``minutes``, fixed once, after the first `TIMED` are timed.
    weight, ratio : float
        w and P of the term that keeps the embeddings wide.
    names_every : int
        Steps between two embeddings of all plain names; 0 for none.
    embed, vision_width, text_width, text_layers : int
        Sizes; the image tower has layers 1-1-1-1, the text tower 4 heads.
    """

    steps: int | None = None
    minutes: float = 110.0
    batch: int = 256
    seed: int = 0
    lr: float = 1.5e-3
    weight: float = 1.0
    ratio: float = 60.0
    names_every: int = 8
    embed: int = 256
    vision_width: int = 24
    text_width: int = 192
    text_layers: int = 2

    def config(self, vocab_size: int = 49408) -> dict[str, Any]:
        """open_clip's ``model_cfg``."""
        vision = dict(image_size=INPUT, layers=[1, 1, 1, 1], width=self.vision_width, head_width=64)
        text = dict(context_length=CONTEXT, vocab_size=vocab_size, width=self.text_width)
        text |= dict(heads=4, layers=self.text_layers)
        return dict(embed_dim=self.embed, vision_cfg=vision, text_cfg=text)


def new_model(settings: Settings, vocab_size: int) -> CLIP:
    """A fresh CLIP with CLIP's final temperature, fixed."""
    config = settings.config(vocab_size)
    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    model = CLIP(config["embed_dim"], vision, text, init_logit_scale=math.log(100))
    model.logit_scale.requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    return model


def encode_text(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's text forward on sequences cut to the longest of the batch: the rest is padding."""
    n, length = tokens.shape
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(x[torch.arange(n, device=x.device), tokens.argmax(1)] @ model.text_projection, dim=1)


def other_names(classes: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """[C, C] bool: whether the second class's name is false of the first: no keyword or kind of it."""
    true = [{c["label"], *c["keywords"], *c.get("kinds", [])} for c in classes]
    return torch.tensor([[c["label"] not in said for c in classes] for said in true])


def participation_ratio(X: torch.Tensor) -> torch.Tensor:
    """(Σσ²)² / Σσ⁴ over the singular values of the centred rows [n, d]."""
    X = X - X.mean(0)
    C = X.T @ X if len(X) >= X.shape[1] else X @ X.T
    return C.trace() ** 2 / C.square().sum()


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether bfloat16 is faster than float32 there: on a GPU, and on a CPU with AMX or AVX-512's."""
    if device != "cpu":
        return True
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and bool({"amx_bf16", "avx512_bf16"} & set(flags.read_text().split()))


class Run:
    """One training run; ``state`` is where it is kept between sessions.

    The random numbers of a step depend on nothing but the seed and the step, so the step is all the
    state that the generators have.
    """

    def __init__(
        self,
        classes: Sequence[Mapping[str, Any]],
        sprites: Sprites,
        settings: Settings,
        state: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.classes, self.sprites, self.settings = classes, sprites, settings
        self.state, self.device = state, device
        self.vocabulary = Vocabulary(classes)
        self.others = other_names(classes)
        torch.manual_seed(settings.seed)
        self.model = new_model(settings, len(self.vocabulary.rows)).to(device).train()
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            dict(params=[p for p in trained if p.ndim >= 2], weight_decay=0.1),
            dict(params=[p for p in trained if p.ndim < 2], weight_decay=0.0),
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
        self.step, self.steps = 0, settings.steps
        self.half = has_bfloat16(device)
        self.names: torch.Tensor | None = None
        if state and state.is_file():
            self._resume(state)

    def _parts(self) -> dict[str, Any]:
        return dict(model=self.model, average=self.average, optimiser=self.optimiser)

    def _fixed(self) -> dict[str, Any]:
        return {**asdict(self.settings), "vocabulary": self.vocabulary.rows.tolist()}

    def save(self) -> None:
        """Write everything that the run needs to go on, under a temporary name first."""
        if self.state is None:
            return
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        where = dict(step=self.step, steps=self.steps, names=self.names)
        with _files.replacing(self.state) as partial:
            torch.save({**parts, **where, "fixed": self._fixed()}, partial)

    def _resume(self, path: Path) -> None:
        saved = torch.load(path, map_location=self.device, weights_only=True)
        differ = [name for name, value in self._fixed().items() if saved["fixed"][name] != value]
        if differ:
            raise ValueError(
                f"state: the run in {path.name!r} began with another {', '.join(differ)}; want the same "
                "command, or another working folder"
            )
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.step, self.steps, self.names = saved["step"], saved["steps"], saved["names"]

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures [n, 3, INPUT, INPUT], tokens [n, length], and which names are false there [n, C].

        A quarter of the batch repeats classes of the rest: only what else the captions say tells them
        apart. What is rare or hard comes in over the first third of the run.
        """
        name = f"{self.settings.seed}/{self.step}"
        rng, gen = random.Random(name), torch.Generator(self.device)
        gen.manual_seed(rng.getrandbits(62))
        n = min(self.settings.batch, len(self.classes))
        different = rng.sample(range(len(self.classes)), n - n // 4)
        picked = [*different, *rng.choices(different, k=n // 4)]
        rare = min(1.0, 3 * self.progress) if self.progress < 0.6 else 0.5
        scenes = [random_scene(c, self.sprites, rng, rare) for c in picked]
        tokens = self.vocabulary([caption(scene, self.classes, rng) for scene in scenes])
        pictures = normalise(draw(scenes, self.sprites, gen))
        false = self.others[picked] & self.others[[s.cls if s.beside is None else s.beside for s in scenes]]
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        return pictures, tokens.to(self.device), false.to(self.device)

    def _embed_names(self) -> torch.Tensor:
        """All classes' names in a random template each [C, d], unit rows, without gradient."""
        rng = random.Random(f"{self.settings.seed}/{self.step}/names")
        tokens = self.vocabulary([rng.choice(TEMPLATES).format(c["label"]) for c in self.classes])
        with torch.no_grad():
            return encode_text(self.model, tokens.to(self.device)).float()

    @property
    def progress(self) -> float:
        """Share of the steps done; 0 while their number is not known."""
        return self.step / self.steps if self.steps else 0.0

    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        pictures, tokens, false = self.batch()
        lower: AbstractContextManager[Any] = nullcontext()
        if self.half:
            lower = torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)
        with lower:
            image, text = self.model.encode_image(pictures), encode_text(self.model, tokens)
            if self.settings.names_every and self.step % self.settings.names_every == 0:
                self.names = self._embed_names()
        image, text = F.normalize(image.float(), dim=1), F.normalize(text.float(), dim=1)
        scale = self.model.logit_scale.exp()
        logits = scale * image @ text.T
        target = torch.arange(len(logits), device=self.device)
        choices = logits
        if self.names is not None:
            rivals = (scale * image @ self.names.T).masked_fill(~false, -torch.inf)
            choices = torch.cat([logits, rivals], 1)
        contrast = (F.cross_entropy(choices, target) + F.cross_entropy(logits.T, target)) / 2
        ratios = torch.stack([participation_ratio(image), participation_ratio(text)])
        width = (math.log(self.settings.ratio) - ratios.log()).clamp_min(0).sum()
        seen = dict(loss=contrast, right=(choices.argmax(1) == target).float().mean())
        seen |= dict(PR_images=ratios[0], PR_names=ratios[1])
        return contrast + self.settings.weight * width, {k: v.item() for k, v in seen.items()}

    def advance(self) -> dict[str, float]:
        """One step; returns the contrastive loss, the share of pictures given their own caption, both PR."""
        for group in self.optimiser.param_groups:
            warm = min(1.0, (self.step + 1) / min(WARM_UP, self.steps or WARM_UP))
            group["lr"] = self.settings.lr * warm * 0.5 * (1 + math.cos(math.pi * self.progress))
        self.optimiser.zero_grad(set_to_none=True)
        with sdpa_kernel(SDPBackend.MATH):  # in bfloat16 the other kernel's backward is slow on a CPU
            loss, seen = self._loss()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        decay = min(0.998, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - decay) if mean.is_floating_point() else mean.copy_(now)
        self.step += 1
        return seen

    def train(self, folder: Path, save_every: float = 300.0) -> None:
        """Go on to the last step; every ``save_every`` seconds save, and export the average so far."""
        start = saved = time.perf_counter()
        begun = self.step
        with tqdm(initial=self.step, total=self.steps, desc="train", mininterval=10) as bar:
            while self.steps is None or self.step < self.steps:
                seen = self.advance()
                now = time.perf_counter()
                if self.step - begun == UNTIMED:
                    start = now
                if self.steps is None and self.step - begun == TIMED:
                    each = (now - start) / (TIMED - UNTIMED)
                    self.steps = bar.total = max(self.step, round(60 * self.settings.minutes / each))
                    bar.write(f"{each:.2f} s per step: {self.steps} steps in all")
                if now - saved >= save_every:
                    self.save()
                    export(self.average, self.vocabulary, self.settings, folder)
                    saved = now
                if self.step % 50 == 0:
                    bar.set_postfix({k: f"{v:.3g}" for k, v in seen.items()}, refresh=False)
                bar.update()
        self.save()
        export(self.average, self.vocabulary, self.settings, folder)


def export(model: CLIP, vocabulary: Vocabulary, settings: Settings, folder: Path) -> None:
    """Write an open_clip folder: fp16 weights, the full token table with unused rows at zero."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
    table = torch.zeros(vocabulary.tokenizer.vocab_size, settings.text_width)
    table[vocabulary.rows] = state["token_embedding.weight"]
    state["token_embedding.weight"] = table
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    with _files.replacing(folder / "open_clip_model.safetensors") as partial:
        save_file(state, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # a package file is for everyone to read
    config = {"model_cfg": settings.config(), "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
