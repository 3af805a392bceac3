"""Load a CLIP, embed names and images with it, and save it with its edits baked in.

Everything here rests on open_clip, which is imported when first needed; a CLIPModel of Hugging Face
``transformers`` is made to look like one of its models (`clipnull.hf`).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from clipnull import _check, hf
from clipnull import cache as feature_cache
from clipnull.model import embedding_dim, folded_edits, merged_state

__all__ = ["Clip", "from_transformers", "load"]

#: the model that ships with the package
POCKET = Path(__file__).parent / "pocket"
CONFIG, WEIGHTS, RECEIPT = "open_clip_config.json", "open_clip_model.safetensors", "receipt.json"
CHECKPOINTS = (".safetensors", ".bin", ".pth")
#: images from which on the cache is asked unless the caller says otherwise: on a CPU hashing a tower
#: costs as much as embedding a few images, with a GPU it is more
WORTH_CACHING = 256
#: keys of a config with which transformers runs a model's own code
REMOTE_CODE = ("trust_remote_code", "auto_map")
NO_CODE = "clipnull runs no code of a model, want one without"
PRECISIONS = ["fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"]
#: seconds in which the Hugging Face hub has to answer; its client's own retries take a minute
PATIENCE = 5.0


# --- loading -------------------------------------------------------------------------------


@dataclass
class _Source:
    """What it takes to build a model: where from, its config, its checkpoint."""

    name: str
    config: dict[str, Any]
    checkpoint: str | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)
    has_weights: bool = True
    receipt: dict[str, Any] | None = None
    transformers: bool = False

    @property
    def on_hub(self) -> bool:
        return self.name.startswith("hf-hub:")

    @property
    def what(self) -> str:
        return f"the checkpoint {self.checkpoint}" if self.checkpoint else f"the checkpoint in {self.name}"


def load(
    name: str | None = None,
    pretrained: str | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> Clip:
    """Load a CLIP with its tokenizer and image transform.

    Parameters
    ----------
    name : str, optional
        ``"pocket"``: PocketCLIP, which ships with the package. An open_clip name, such as
        ``"ViT-B-32-quickgelu"``. ``"local-dir:PATH"``: a folder that `Clip.save` or open_clip wrote,
        or one of a transformers CLIPModel with its processor (extra ``hf``). ``"hf-hub:ORG/REPO"``:
        the same from the Hugging Face hub. By default what the environment variable
        ``CLIPNULL_MODEL`` says (``NAME:TAG`` for open_clip's own), else ``"pocket"``.
    pretrained : str, optional
        For an open_clip name: the tag or the file of a checkpoint; None gives random weights.
    device : str or torch.device, optional
        By default the GPU if there is one.
    precision : {"fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"}
        As open_clip means them; fp32 is the protocol's (arXiv 2407.07485) and the default on every
        device. Half precision takes half the memory, is fast on a GPU and slow on a CPU, and moves
        cosines by about 1e-4 (fp16) or 1e-3 (bf16). Embeddings come back as float32 whatever it is.
    cache_dir : str or Path, optional
        Where downloads are kept; by default where open_clip and Hugging Face keep theirs.
    seed : int
        For random weights.

    Returns
    -------
    Clip

    Raises
    ------
    ValueError
        Unknown name or tag (with the closest), a checkpoint trained with QuickGELU under a name
        without it (open_clip only warns), a checkpoint that does not fit its config or that would
        have to be unpickled, a folder without a model, a device that is not there, or a checkpoint
        that is neither in the cache folder nor to be had from the network.

    Notes
    -----
    Weights are read from safetensors or with torch's weights-only loader; nothing is unpickled.

    Examples
    --------
    >>> clip = load("pocket", device="cpu")
    >>> clip.dim, clip.image_size
    (256, 64)
    """
    _check.one_of("precision", precision, PRECISIONS)
    where = _device(device)
    name, pretrained = _asked_for(name, pretrained)
    cache = None if cache_dir is None else str(cache_dir)
    source = _source(name, pretrained, cache)
    _no_remote_code(source)
    model: Any
    preprocess: Any
    if source.transformers:
        model, preprocess, tokenizer = _create_transformers(source, where, precision, cache)
    else:
        model = _create(source, where, precision, cache, seed)
        preprocess, tokenizer = _transform(model), _tokenizer(source, cache)
    clip = Clip(
        model,
        preprocess,
        tokenizer,
        name,
        pretrained=pretrained,
        precision=precision,
        config=source.config,
        receipt=source.receipt,
    )
    clip.loaded_with = {
        "name": name,
        "pretrained": pretrained,
        "device": device,
        "precision": precision,
        "cache_dir": cache_dir,
        "seed": seed,
    }
    return clip


def from_transformers(model: Any, processor: Any, name: str = "transformers") -> Clip:
    """A Hugging Face ``CLIPModel`` as a `Clip`: embed, fold, evaluate and save as with any other.

    Parameters
    ----------
    model : transformers.CLIPModel
        Shared, not copied: what is folded into the one is folded into the other. `fold`, `unfold`
        and `folded` also take it as it is.
    processor : transformers.CLIPProcessor
        With ``image_processor`` and ``tokenizer``.
    name : str
        For messages and receipts.

    Returns
    -------
    Clip
        What its ``save`` writes, ``CLIPModel.from_pretrained`` reads, and ``load("local-dir:PATH")``.

    Raises
    ------
    ValueError
        Not a CLIPModel, or a processor without one of its two halves.
    """
    parts = ("vision_model", "text_model", "visual_projection", "text_projection", "logit_scale")
    if not isinstance(model, nn.Module) or not all(hasattr(model, part) for part in parts):
        raise ValueError(f"model: got a {type(model).__name__}, want a transformers CLIPModel")
    if not all(hasattr(processor, part) for part in ("image_processor", "tokenizer")):
        raise ValueError(
            f"processor: got a {type(processor).__name__}, want a CLIPProcessor with image_processor and "
            "tokenizer"
        )
    config: Any = model.config
    halves = {torch.float16: "pure_fp16", torch.bfloat16: "pure_bf16"}
    precision = halves.get(next(model.parameters()).dtype, "fp32")
    return Clip(*hf.wrap(model, processor), name, precision=precision, config=config.to_dict())


def _no_remote_code(source: _Source) -> None:
    """Refuse a config that asks for code of its own: open_clip hands its keys on to transformers."""

    def asked(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in REMOTE_CODE and inner:
                    yield f"{path}{key}"
                yield from asked(inner, f"{path}{key}.")
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                yield from asked(inner, f"{path}{i}.")

    if found := next(asked(source.config, ""), None):
        raise ValueError(
            f"name: the config of {source.name} asks to run code that comes with it ({found}); {NO_CODE}"
        )


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"device: got {device!r}, want one that this torch has ({_line(error)})") from error
    return found


def _asked_for(name: str | None, pretrained: str | None) -> tuple[str, str | None]:
    """Name and tag, from the arguments or from CLIPNULL_MODEL."""
    if name is None and pretrained is None and (asked := os.environ.get("CLIPNULL_MODEL")):
        if asked == "pocket" or asked.startswith(("local-dir:", "hf-hub:")):
            return asked, None
        name, _, pretrained = asked.partition(":")
        if not pretrained:  # random weights would run every notebook on noise
            raise ValueError(
                f"CLIPNULL_MODEL: got {asked!r}, want NAME:TAG, such as ViT-B-32:laion2b_s34b_b79k"
            )
    name = "pocket" if name is None else name
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want a model's name")
    if pretrained is not None and (name == "pocket" or name.startswith(("local-dir:", "hf-hub:"))):
        raise ValueError(f"pretrained: got {pretrained!r}, but {name} has its own weights; want None")
    return name, pretrained


def _source(name: str, pretrained: str | None, cache_dir: str | None) -> _Source:
    if name == "pocket":
        if not (POCKET / WEIGHTS).is_file():
            raise ValueError(
                f"name: PocketCLIP's {WEIGHTS} is not in {POCKET}; want clipnull installed with it"
            )
        return _folder(POCKET)
    if name.startswith("local-dir:"):
        return _folder(Path(name.removeprefix("local-dir:")).expanduser())
    if name.startswith("hf-hub:"):
        return _hub(name, cache_dir)
    return _open_clip(name, pretrained, cache_dir)


def _folder(path: Path) -> _Source:
    transformers = not (path / CONFIG).is_file() and hf.is_clip(path / hf.CONFIG)
    place = path / (hf.CONFIG if transformers else CONFIG)
    if not place.is_file():
        raise ValueError(
            f"name: no {CONFIG} in {str(path)!r}, want a folder that Clip.save or open_clip wrote, or one of "
            "a transformers CLIPModel"
        )
    if not any(p.suffix in CHECKPOINTS for p in path.iterdir()):
        raise ValueError(f"name: no weights in {str(path)!r}, want {WEIGHTS} beside {place.name}")
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        config = config if transformers else config["model_cfg"]
        receipt = json.loads((path / RECEIPT).read_text("utf-8")) if (path / RECEIPT).is_file() else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"name: {str(path)!r} holds a file that cannot be read ({_line(error)})") from error
    return _Source(f"local-dir:{path}", config, receipt=receipt, transformers=transformers)


def _hub(name: str, cache_dir: str | None) -> _Source:
    from open_clip.pretrained import download_pretrained_from_hf

    repository = name.removeprefix("hf-hub:")
    with _fetching(name, cache_dir):
        try:
            path = download_pretrained_from_hf(repository, filename=CONFIG, cache_dir=cache_dir)
            download_pretrained_from_hf(repository, cache_dir=cache_dir)
        except Exception as error:
            with contextlib.suppress(Exception):
                path = download_pretrained_from_hf(repository, filename=hf.CONFIG, cache_dir=cache_dir)
                if hf.is_clip(path):
                    config = json.loads(Path(path).read_text(encoding="utf-8"))
                    return _Source(name, config, transformers=True)
            raise error
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))["model_cfg"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"name: {name} has a {CONFIG} that cannot be read ({_line(error)})") from error
    return _Source(name, config)


def _open_clip(name: str, tag: str | None, cache_dir: str | None) -> _Source:
    import open_clip

    cleaned = name.replace("/", "-")
    config = open_clip.get_model_config(cleaned) if cleaned in open_clip.list_models() else None
    if config is None:
        near = ", ".join(_check.closest(name, ["pocket", *open_clip.list_models()]))
        raise ValueError(f"name: unknown model {name!r}; the closest are {near}")
    if tag is None:
        return _Source(cleaned, config, has_weights=False)
    known = open_clip.get_pretrained_cfg(cleaned, tag)
    if not known:
        if os.path.isfile(tag):
            return _Source(cleaned, config, str(tag))
        _same_activation(cleaned, tag, config)
        tags = _check.closest(tag, open_clip.list_pretrained_tags_by_model(cleaned))
        hint = f"; the closest are {', '.join(tags)}" if tags else f"; open_clip knows none for {cleaned}"
        raise ValueError(f"pretrained: {tag!r} is neither a tag of {cleaned} nor a file{hint}")
    _same_activation(cleaned, tag, config)
    with _fetching(f"{cleaned}, {tag}", cache_dir):
        checkpoint = open_clip.download_pretrained(known, cache_dir=cache_dir)
    own = ("mean", "std", "interpolation", "resize_mode")
    return _Source(cleaned, config, checkpoint, {k: known[k] for k in own if known.get(k) is not None})


def _same_activation(name: str, tag: str, config: dict[str, Any]) -> None:
    """A checkpoint trained with QuickGELU and run with GELU, or the reverse, is silently worse."""
    import open_clip

    other = name.removesuffix("-quickgelu") if name.endswith("-quickgelu") else f"{name}-quickgelu"
    known = open_clip.get_pretrained_cfg(name, tag) or open_clip.get_pretrained_cfg(other, tag)
    wants = known.get("quick_gelu", False)
    if not known or wants == config.get("quick_gelu", False):
        return
    if other not in open_clip.list_models():  # no name of its own: the checkpoint decides
        config["quick_gelu"] = wants
        return
    trained = "with" if wants else "without"
    raise ValueError(f"name: got {name!r}, but {tag!r} was trained {trained} QuickGELU; want {other!r}")


@contextlib.contextmanager
def _fetching(what: str, cache_dir: str | None, needed: bool = True) -> Iterator[None]:
    offline = False
    try:
        with _hub_or_cache(needed) as offline:
            yield
    except ImportError as error:
        raise ValueError(f"name: {what} takes transformers; want pip install 'clipnull[hf]'") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ValueError(f"name: {what} asks to run code that comes with it; {NO_CODE}") from error
        # open_clip, transformers, huggingface_hub and urllib each have errors of their own for this
        from huggingface_hub import constants

        why = "there is no network" if offline else f"it could not be fetched ({_line(error)})"
        why = "HF_HUB_OFFLINE forbids to fetch it" if constants.HF_HUB_OFFLINE else why
        place = cache_dir or constants.HF_HUB_CACHE
        raise ValueError(
            f"pretrained: {what} is not in the cache folder {place}, and {why}; "
            "want the same call made once with a network, here or where that folder is then copied from"
        ) from error


@contextlib.contextmanager
def _hub_or_cache(needed: bool = True) -> Iterator[bool]:
    """Hold the Hugging Face libraries to their cache folder while the hub does not answer: True then."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or (needed and not _hub_answers(int(time.monotonic() / 60)))
    try:
        yield constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


@functools.lru_cache(maxsize=1)
def _hub_answers(minute: int) -> bool:
    """Whether it does in this minute: a model takes several requests, and one wait is enough."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # the HTTP library's own, a proxy's refusal among them
        return False
    return True


def _create(source: _Source, device: torch.device, precision: str, cache: str | None, seed: int) -> nn.Module:
    import open_clip

    text = source.config.get("text_cfg", {})
    if text.get("hf_model_name"):
        from transformers import AutoConfig

        with _quiet(), _fetching(f"the config of {text['hf_model_name']}", None):
            # open_clip would let transformers ask at a prompt whether to run a tower's own code
            AutoConfig.from_pretrained(text["hf_model_name"], trust_remote_code=False)
    hub = _hub_or_cache(source.on_hub or bool(text.get("hf_model_name")))
    devices = [device] if device.type == "cuda" else []
    try:
        with _quiet(), _weights_only(), hub, torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            model = open_clip.create_model(
                source.name,
                pretrained=source.checkpoint,
                precision=precision,
                device=device,
                cache_dir=cache,
                pretrained_text=False,
                force_quick_gelu=source.config.get("quick_gelu", False),
                force_preprocess_cfg=source.preprocess,
                require_pretrained=source.has_weights,
            )
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        if text.get("hf_model_name") and isinstance(error, OSError):
            with _fetching(f"the config of {text['hf_model_name']}", None):
                raise error
        if not source.has_weights:
            raise
        raise ValueError(
            f"pretrained: {source.what} does not fit its config, or cannot be read without unpickling "
            f"({_line(error)})"
        ) from error
    return model.eval()


def _create_transformers(
    source: _Source, device: torch.device, precision: str, cache: str | None
) -> tuple[nn.Module, hf.ImageTransform, hf.TextTokenizer]:
    from open_clip import get_input_dtype

    place = source.name.removeprefix("local-dir:").removeprefix("hf-hub:")
    try:
        with _quiet(), _weights_only(), _hub_or_cache(source.on_hub):
            model, processor = hf.read(place, cache)
    except ImportError as error:
        raise ValueError(
            f"name: {source.name} takes transformers; want pip install 'clipnull[hf]'"
        ) from error
    except Exception as error:
        raise ValueError(
            f"pretrained: {source.what} does not fit its config, lacks a part of its processor, or cannot be "
            f"read without unpickling ({_line(error)})"
        ) from error
    wrapped, transform, tokenizer = hf.wrap(model, processor)
    return wrapped.to(device, get_input_dtype(precision) or torch.float32), transform, tokenizer


def _transform(model: Any) -> Callable[[Image.Image], torch.Tensor]:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)


def _tokenizer(source: _Source, cache_dir: str | None) -> Any:
    import open_clip

    foreign = bool(source.config.get("text_cfg", {}).get("hf_tokenizer_name"))
    # said to transformers alone: open_clip's own tokenizers do not know the word
    safe = {"trust_remote_code": False} if foreign else {}
    with _quiet(), _fetching(f"the tokenizer of {source.name}", cache_dir, source.on_hub or foreign):
        return open_clip.get_tokenizer(source.name, cache_dir=cache_dir, **safe)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # what open_clip logs is an exception here, or was asked for ("initialized randomly")
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    # open_clip falls back to plain torch.load on a TypeError; this holds torch to weights only
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(key)
    os.environ[key] = "1"
    try:
        yield
    finally:
        os.environ.pop(key) if before is None else os.environ.update({key: before})


def _line(error: BaseException) -> str:
    """The first two lines of an error, shortened: enough to say what went wrong."""
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return text[:200] or type(error).__name__


# --- the model -----------------------------------------------------------------------------


class Clip:
    """A CLIP with what it needs to read names and images.

    Attributes
    ----------
    model : nn.Module
        open_clip's, in eval mode.
    preprocess : callable
        PIL image to float tensor [3, H, W], open_clip's validation transform.
    tokenizer : callable
        List of str to token tensor [n, context length].
    name, pretrained : str, str or None
        What `load` was asked for.
    precision : str
    config : dict or None
        open_clip's ``model_cfg``; `save` needs it.
    receipt : dict or None
        The receipt in the folder it was loaded from.
    loaded_with : dict or None
        Arguments of the `load` that made it; None if it was made by hand.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        name: str = "custom",
        *,
        pretrained: str | None = None,
        precision: str = "fp32",
        config: dict[str, Any] | None = None,
        receipt: dict[str, Any] | None = None,
    ) -> None:
        self.model: Any = model.eval()  # open_clip's classes share no base that has their methods
        self.preprocess, self.tokenizer = preprocess, tokenizer
        self.name, self.pretrained, self.precision = name, pretrained, precision
        self.config, self.receipt = copy.deepcopy(config), receipt
        self.loaded_with: dict[str, Any] | None = None
        self.dim = embedding_dim(model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Side in pixels of the images it looks at; (height, width) when they are not square."""
        size = self.model.visual.image_size
        if isinstance(size, int):
            return size
        height, width = size
        return height if height == width else (height, width)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by to make logits; 100 in OpenAI's models and PocketCLIP."""
        return float(self.model.logit_scale.detach().float().exp())

    def __repr__(self) -> str:
        size = self.image_size
        pixels = f"{size}" if isinstance(size, int) else "{}x{}".format(*size)
        weights = f", {self.pretrained}" if self.pretrained else ""
        count = sum(p.numel() for p in self.model.parameters()) / 1e6
        edits = [f"{edit.info.get('method', 'edit')} on {side}" for side, edit in folded_edits(self)]
        folded = f", folded: {', '.join(edits)}" if edits else ""
        return (
            f"Clip({self.name}{weights}: {self.dim} dimensions, {pixels} px, {count:.1f} M parameters, "
            f"{self.precision} on {self.device}{folded})"
        )

    def embed_text(
        self,
        names: str | Sequence[str],
        templates: str | Sequence[str | Callable[[str], str]] | None = None,
        batch_size: int = 256,
    ) -> torch.Tensor:
        """Embeddings of class names: the normalised mean over prompt templates.

        Parameters
        ----------
        names : list of str, C of them
        templates : str, list of str or of callables, optional
            Prompts with ``{}`` where the name goes. ``"openai"`` and ``"simple"`` are open_clip's
            80 and 7 ImageNet templates. By default the bare name.
        batch_size : int
            Prompts encoded at a time.

        Returns
        -------
        torch.Tensor [C, d], unit rows, float32 on the CPU

        Raises
        ------
        ValueError
            No names, a name that is no text, a template without a place for the name.

        References
        ----------
        Prompt ensembling: Radford et al., arXiv 2103.00020, section 3.1.4; the code is open_clip's
        ``build_zero_shot_classifier``.

        Examples
        --------
        >>> clip = load("pocket", device="cpu")
        >>> clip.embed_text(["cat", "dog"], "a picture of a {}.").shape
        torch.Size([2, 256])
        """
        from open_clip import build_zero_shot_classifier

        wanted, prompts = _names(names), _templates(templates)
        _batch_size(batch_size)
        with torch.inference_mode():
            classifier = build_zero_shot_classifier(
                self.model,
                self.tokenizer,
                wanted,
                prompts,
                num_classes_per_batch=max(1, batch_size // len(prompts)),
                device=self.device,
            )
        return F.normalize(classifier.T.float(), dim=1).cpu().contiguous()

    def embed_images(
        self,
        images: Any,
        batch_size: int = 256,
        progress: bool | None = None,
        cache: bool | None = None,
    ) -> torch.Tensor:
        """Embeddings of images.

        Parameters
        ----------
        images : iterable
            PIL images, paths, uint8 arrays [H, W, 3], float tensors [3, H, W] that went through
            ``preprocess``, or a mix; also one of these alone, a torch Dataset (the first entry of
            each item) or a DataLoader of preprocessed batches.
        batch_size : int
            Images encoded at a time; the rows do not depend on it, beyond rounding.
        progress : bool, optional
            A progress bar on stderr; by default after two seconds, and never under a test runner
            or with the environment variable ``CLIPNULL_NO_PROGRESS``.
        cache : bool, optional
            Whether to look for the features on disk, and keep them there (`clipnull.cache`). By
            default for 256 and more images that are files or in memory, while nothing is folded in:
            that is where hashing costs less than embedding, and entries come into use again. True
            asks for it in any other case; images that have to be drawn or decoded for it are then
            read twice. A tower in training mode or with forward hooks is never cached.

        Returns
        -------
        torch.Tensor [n, d], unit rows, float32 on the CPU

        Raises
        ------
        ValueError
            No images, an image that cannot be read (with its path), something that is no image,
            ``cache=True`` for images that can be read only once.
        """
        _batch_size(batch_size)
        name = self._cache_key(images, cache)
        if name is None:
            return self._embed_images(images, batch_size, progress)
        if (Z := feature_cache.read(name)) is None:
            Z = self._embed_images(images, batch_size, progress)
            feature_cache.write(name, Z, repr(self))
        return Z

    def _cache_key(self, images: Any, wanted: bool | None) -> str | None:
        """Where the cache keeps the features of these images; None: nowhere."""
        if wanted is False or feature_cache.folder() is None:
            return None
        pictures: Iterable[Any] | None = _known(images)
        if wanted and pictures is None:
            if _count(images) is None:
                raise ValueError(
                    f"cache: got True, but a {type(images).__name__} can be read only once; want a list, "
                    "paths or a Dataset"
                )
            pictures = _items(images)
        few = (_count(images) or 0) < WORTH_CACHING
        if pictures is None or (not wanted and (few or folded_edits(self))):
            return None
        settings = {"precision": self.precision, "device": self.device.type}
        return feature_cache.key(self.model, self.preprocess, settings, pictures)

    def _embed_images(self, images: Any, batch_size: int, progress: bool | None) -> torch.Tensor:
        from open_clip import get_input_dtype

        dtype = get_input_dtype(self.precision) or torch.float32
        chunks = []
        with torch.inference_mode(), _bar(_count(images), progress) as advance:
            for pixels in self._batches(images, batch_size):
                z = self.model.encode_image(pixels.to(self.device, dtype), normalize=False).float()
                chunks.append(F.normalize(z, dim=1).cpu())
                advance(len(pixels))
        if not chunks:
            raise ValueError("images: got none, want at least one")
        Z = torch.cat(chunks)
        if not torch.isfinite(Z).all():
            bad = int((~torch.isfinite(Z).all(1)).nonzero()[0])
            raise ValueError(f"images: the embedding of image {bad} is NaN or infinite, want finite pixels")
        return Z

    def _batches(self, images: Any, batch_size: int) -> Iterator[torch.Tensor]:
        """The images as the model wants them, float [up to batch_size, 3, H, W]."""
        ready = isinstance(images, torch.Tensor) and images.is_floating_point()
        if ready and images.ndim == 4 and len(images):
            self._tensor(0, images[0])  # it is of the right size
            yield from images.split(batch_size)
            return
        tensors = (self._tensor(i, item) for i, item in enumerate(_items(images)))
        while batch := list(islice(tensors, batch_size)):
            yield torch.stack(batch)

    def _tensor(self, i: int, item: Any) -> torch.Tensor:
        """One image as the model wants it: float [3, H, W]."""
        from clipnull.datasets import on_white, open_image

        if isinstance(item, torch.Tensor) and item.is_floating_point():
            size = self.image_size
            want = (3, size, size) if isinstance(size, int) else (3, *size)
            if tuple(item.shape) != want:
                raise ValueError(
                    f"images: tensor {i} has shape {tuple(item.shape)}, want {want}, preprocessed"
                )
            return item
        if isinstance(item, str | os.PathLike):
            item = open_image(Path(item))
        elif isinstance(item, torch.Tensor | np.ndarray):
            pixels = np.asarray(item)
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise ValueError(f"images: array {i} is {pixels.dtype} {pixels.shape}, want uint8 (H, W, 3)")
            item = Image.fromarray(pixels)
        elif not isinstance(item, Image.Image):
            raise ValueError(
                f"images: item {i} is a {type(item).__name__}, want an image, a path or an array"
            )
        try:
            return self.preprocess(on_white(item))
        except (OSError, SyntaxError) as error:  # PIL reads a file when its pixels are first needed
            path = getattr(item, "filename", "") or f"image {i}"
            raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error

    def save(
        self,
        path: str | Path,
        report: Any = None,
        classes: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
    ) -> Path:
        """Write an open_clip folder with the folded edits baked in, and a receipt beside it.

        Plain ``open_clip.create_model_and_transforms("local-dir:PATH")`` loads what has forgotten,
        without clipnull. A transformers model is written as one of those, for
        ``CLIPModel.from_pretrained("PATH")``. The model here stays as it is.

        Parameters
        ----------
        path : str or Path
            A new or empty folder, or one that `save` wrote, which is replaced.
        report : Report or dict, optional
            Before/after figures for the receipt (fractions).
        classes : list of str, optional
            Names of the forgotten classes; by default the report's.
        dtype : torch.dtype, optional
            Store weights in it; by default as they are.

        Returns
        -------
        Path of the folder.

        Raises
        ------
        ValueError
            The folder holds something else, the model came without a config, ``dtype`` is not a
            floating one, or open_clip's config cannot describe the added projection.

        Notes
        -----
        Everything is written under a temporary name, then renamed: a failure leaves no folder, or
        the previous one.
        """
        if self.config is None:
            raise ValueError(
                "save: this model came without open_clip's model_cfg, want Clip(..., config=...)"
            )
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype: got {dtype!r}, want a floating torch.dtype")
        target = Path(path).expanduser().resolve()
        _replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _whole(target) as folder:
            digest = self._write(folder, dtype)
            receipt = self._receipt(report, classes, digest)
            _dump(folder / RECEIPT, receipt)
        return target

    def _write(self, folder: Path, dtype: torch.dtype | None) -> str:
        """Weights, config and tokenizer; the SHA-256 of the weights."""
        from open_clip import get_model_preprocess_cfg
        from safetensors.torch import save_file

        if isinstance(self.model, hf.TransformersCLIP):
            assert isinstance(self.preprocess, hf.ImageTransform)
            assert isinstance(self.tokenizer, hf.TextTokenizer)
            return _sha256(*hf.write(self.model, self.preprocess, self.tokenizer, folder, dtype))
        state, changes = merged_state(self.model)
        config = copy.deepcopy(self.config) or {}
        for section, entries in changes.items():
            config[section].update(entries)
        save_file(_storable(state, dtype), folder / WEIGHTS, metadata={"format": "pt"})
        _dump(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": get_model_preprocess_cfg(self.model)})
        if config["text_cfg"].get("hf_tokenizer_name") and hasattr(self.tokenizer, "save_pretrained"):
            self.tokenizer.save_pretrained(folder)
        if changes:
            _loads(folder, state)
        return _sha256(folder / WEIGHTS)

    def _receipt(self, report: Any, classes: Sequence[str] | None, digest: str) -> dict[str, Any]:
        edits: list[dict[str, Any]] = [
            {
                "side": side,
                "method": edit.info.get("method"),
                "parameters": {k: v for k, v in edit.info.items() if k not in ("method", "classes")},
                "classes": edit.info.get("classes"),
                "dim": edit.dim,
                "rank": edit.rank,
            }
            for side, edit in folded_edits(self.model)
        ]
        if classes is None:
            named = [name for edit in edits for name in edit["classes"] or []]
            classes = getattr(report, "forget_names", None) or list(dict.fromkeys(named))
        return {
            "model": _without_folders(self.name),
            "pretrained": self.pretrained and Path(self.pretrained).name,
            "classes": [classes] if isinstance(classes, str) else list(classes),
            "edits": edits,
            "report": _figures(report),
            "weights_sha256": digest,
            "versions": _versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "earlier": self.receipt,
        }


# --- text and images -----------------------------------------------------------------------


def _names(names: str | Sequence[str]) -> list[str]:
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ValueError("names: got none, want at least one class name")
    for name in wanted:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"names: got {name!r}, want text")
    return wanted


def _templates(templates: Any) -> list[Callable[[str], str]]:
    """Templates as functions of the name."""
    import open_clip

    named = {
        "openai": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }
    if templates is None:
        templates = ["{}"]
    elif isinstance(templates, str):
        templates = named.get(templates, [templates])
    prompts = [t.format if isinstance(t, str) else t for t in templates]
    if not prompts:
        raise ValueError("templates: got none, want at least one such as 'a photo of a {}.'")
    for given, prompt in zip(templates, prompts, strict=True):
        try:
            fits = "\0name" in prompt("\0name")
        except (TypeError, IndexError, KeyError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"templates: {given!r} has no place for the name, want '{{}}' in it, or 'openai' or 'simple'"
            )
    return prompts


def _batch_size(batch_size: Any) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, want a whole number of at least 1")


def _is_one(images: Any) -> bool:
    return isinstance(images, str | os.PathLike | Image.Image) or (
        isinstance(images, torch.Tensor | np.ndarray) and images.ndim == 3
    )


def _count(images: Any) -> int | None:
    if _is_one(images):
        return 1
    # a DataLoader's length counts batches
    return len(images) if hasattr(images, "__getitem__") and hasattr(images, "__len__") else None


def _known(images: Any) -> Sequence[Any] | None:
    """Paths or pixels that tell these images from others, where nothing has to be decoded for them."""
    from clipnull.datasets import Images, open_image

    if isinstance(images, Images):
        return images.items if images.read in (open_image, Image.fromarray) else None
    if isinstance(images, np.ndarray) and images.dtype.kind not in feature_cache.PIXELS:
        return images.tolist() if images.ndim == 1 else None
    if _is_one(images) or isinstance(images, torch.Tensor | np.ndarray):
        return [images]
    return images if isinstance(images, list | tuple) else None


def _items(images: Any) -> Iterator[Any]:
    """Images one by one, whatever they came in."""
    if _is_one(images):
        yield images
        return
    if isinstance(images, Mapping) or not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        raise ValueError(f"images: got a {type(images).__name__}, want images, paths, arrays or a Dataset")
    for item in _each(images):
        if isinstance(item, tuple | list):
            item = item[0] if item else None
        if isinstance(item, torch.Tensor) and item.ndim == 4:
            yield from item
        else:
            yield item


def _each(images: Any) -> Iterator[Any]:
    """The items in order; an index, which may be a label, is used only where there is no other way."""
    n, i = _count(images), 0
    indexed = getattr(type(images), "__iter__", None) in (None, Sequence.__iter__)
    # many Datasets never raise the IndexError that plain iteration waits for
    source = iter(images) if n is None or not indexed else (images[i] for i in range(n))
    try:
        for item in source:
            yield item
            i += 1
    except OSError as error:
        path = getattr(error, "filename", None) or f"item {i}"
        raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error


@contextlib.contextmanager
def _bar(total: int | None, progress: bool | None) -> Iterator[Callable[[int], Any]]:
    silent = {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    if progress is False or (progress is None and silent):
        yield lambda n: None
        return
    from tqdm.auto import tqdm

    delay = 0.0 if progress else 2.0
    with tqdm(total=total, desc="images", unit="image", delay=delay, leave=False, file=sys.stderr) as bar:
        yield bar.update


# --- saving --------------------------------------------------------------------------------


def _replaceable(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"path: {str(target)!r} is a file, want a folder")
    if any(target.iterdir()) and not (target / RECEIPT).is_file():
        raise ValueError(
            f"path: {str(target)!r} holds something that Clip.save did not write, want a new folder"
        )


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder to write in that becomes ``target`` when all went well, and vanishes otherwise."""
    mark = uuid.uuid4().hex[:8]
    partial, old = (target.with_name(f".{target.name}.{mark}.{state}") for state in ("partial", "old"))
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _storable(state: Mapping[str, torch.Tensor], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors wants them."""
    out, seen = {}, set()
    for key, value in state.items():
        x = (
            value.detach()
            .to("cpu", dtype if dtype and value.is_floating_point() else value.dtype)
            .contiguous()
        )
        pointer = x.untyped_storage().data_ptr()
        out[key] = x.clone() if pointer in seen or x.untyped_storage().nbytes() > x.nbytes else x
        seen.add(pointer)
    return out


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _loads(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Check that open_clip builds, from the changed config, a model of these names and shapes."""
    import open_clip

    with _quiet(), torch.device("meta"):
        model = open_clip.create_model(
            f"local-dir:{folder}", load_weights=False, device="meta", pretrained_text=False
        )
    built = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    if built != {k: tuple(v.shape) for k, v in state.items()}:
        raise ValueError(
            "save: open_clip's config cannot describe this tower with a projection added, want a model "
            "with a projection, or keep the edit out of it (Edit.apply_image)"
        )


def _without_folders(name: str) -> str:
    """A receipt is handed over: the folders that lead to a model are nobody's business."""
    kind, _, path = name.partition(":")
    return f"{kind}:{Path(path).expanduser().resolve().name}" if kind == "local-dir" else name


def _figures(report: Any) -> Any:
    if report is None or isinstance(report, Mapping):
        return report
    figures = ("forget_before", "forget_after", "retain_before", "retain_after")
    if not all(hasattr(report, name) for name in figures):
        raise ValueError(
            f"report: got a {type(report).__name__}, want what clipnull.evaluate returns, or a dict"
        )
    return {
        "title": getattr(report, "title", ""),
        **{k: getattr(report, k) for k in figures},
        "unit": "fraction",
    }


def _versions() -> dict[str, str]:
    import clipnull

    found = {"clipnull": clipnull.__version__, "python": sys.version.split()[0], "torch": torch.__version__}
    for distribution in ("open_clip_torch", "timm", "safetensors"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[distribution] = importlib.metadata.version(distribution)
    return found


def _dump(path: Path, value: Any) -> None:
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """``value`` in JSON's types; JSON has no infinity and no NaN."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
