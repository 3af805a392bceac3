"""Load a CLIP by name: PocketCLIP, open_clip's models, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import nn

from clipnull import _check
from clipnull.model import hf, sources, weights
from clipnull.model.clip import Clip
from clipnull.model.saving import RECEIPT, digest_of
from clipnull.model.sources import NO_CODE, Source, fetching
from clipnull.model.weights import line

__all__ = ["check_here", "load"]

Precision = Literal["fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

#: one model is built at a time: torch's random state, from which its weights start, is shared
_BUILDING = threading.Lock()


def load(
    name: str | None = None,
    pretrained: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    seed: int = 0,
) -> Clip:
    """Load a CLIP with its tokenizer and image transform.

    ``name`` is ``"pocket"``, which ships with the package; an open_clip name, such as ``"ViT-B-32"``, with
    the tag or the file of a checkpoint as ``pretrained`` (None: random weights by ``seed``);
    ``"local-dir:PATH"``, a folder that `Clip.save` or open_clip wrote, or one of a transformers CLIPModel
    with its processor (extra ``hf``); or ``"hf-hub:ORG/REPO"``, the same from the Hugging Face hub. Default:
    what ``CLIPNULL_MODEL`` says (``NAME:TAG`` for open_clip's own), else ``"pocket"``. ``precision`` is as
    open_clip means it: fp32 is the protocol's (arXiv 2407.07485), and embeddings are float32 whatever it is.
    What is in the cache folder is taken as it is. A ValueError says which argument is wrong; also for weights
    to be unpickled, that do not fit, or are not those of the receipt, and for a model that comes with code.
    """
    asked = dict(locals())
    _check.one_of("precision", precision, PRECISIONS)
    where = _device(device)
    name, pretrained = sources.asked_for(name, pretrained)
    source = sources.find(name, pretrained)
    config, receipt = source.config, source.receipt
    # keys by which transformers runs a model's own code: open_clip hands them on
    if asks := re.search(r'"(trust_remote_code|auto_map)": (?!false|null)', json.dumps(config)):
        what = f"the config of {source.hub or source.name} asks to run code that comes with it ({asks[1]})"
        raise ValueError(f"name: {what}; {NO_CODE}")
    digest = (receipt or {}).get("weights_sha256")
    if source.folder and digest and digest != digest_of(source.folder):
        what = f"the weights in {str(source.folder)!r} are not those that its {RECEIPT} was written for"
        raise ValueError(f"name: {what}; want the folder as Clip.save left it, or without {RECEIPT}")
    parts = _build(source, where, precision, seed)
    if source.note:
        warnings.warn(source.note, stacklevel=2)
    clip = Clip(*parts, name, pretrained=pretrained, precision=precision, config=config, receipt=receipt)
    clip.loaded_with = asked | {"name": name, "pretrained": pretrained}
    return clip


def check_here(name: str | None = None, pretrained: str | None = None) -> None:
    """A ValueError if config or weights that `load` needs are not on this machine; nothing is fetched."""
    sources.find(*sources.asked_for(name, pretrained), fetch=False)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"device: got {device!r}, want one that this torch has ({line(error)})") from error
    return found


def _build(source: Source, device: torch.device, precision: str, seed: int) -> tuple[nn.Module, Any, Any]:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if source.transformers:
        with fetching(source.name):
            import transformers  # noqa: F401
        with _fitting(source):
            wrapped, transform, words = hf.read(str(source.folder))
        return wrapped.to(device, open_clip.get_input_dtype(precision) or torch.float32), transform, words
    if text := source.config["text_cfg"].get("hf_model_name"):
        from transformers import AutoConfig

        with fetching(f"the config of {text}"):
            # open_clip would let transformers ask at a prompt whether to run a tower's own code
            AutoConfig.from_pretrained(text, trust_remote_code=False)
    file, state = source.checkpoint, None
    random = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with _BUILDING, random, torch.serialization.safe_globals(weights.NUMBERS):
        if file:
            unseen = source.folder is not None and file.name not in weights.PREFERRED  # by open_clip
            state = weights.translated("name" if source.folder else "pretrained", file, unseen)
        torch.manual_seed(seed)
        with _fitting(source):
            model = open_clip.create_model(
                source.name, str(file) if file and not source.folder and state is None else None,
                precision=precision, device=device, pretrained_text=False,
                force_quick_gelu=source.config.get("quick_gelu", False),
                force_preprocess_cfg=source.preprocess, require_pretrained=file is not None and state is None,
                load_weights=state is None,
            )  # fmt: skip
            if state is not None:
                model.load_state_dict(state)
            transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
            transform(Image.new("RGB", (2, 2)))  # it fails only when it is used
    return model, transform, _tokenizer(source)


@contextlib.contextmanager
def _fitting(source: Source) -> Iterator[None]:
    """Weights that open_clip or transformers cannot put into the model of their config, in a sentence."""
    try:
        yield
    except Exception as error:
        if source.checkpoint is None or isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        what = f"the checkpoint {str(source.checkpoint)!r} does not fit its config"
        if source.transformers:
            what += ", lacks a part of its processor, or cannot be read without unpickling"
        raise ValueError(f"pretrained: {what} ({line(error)})") from error


def _tokenizer(source: Source) -> Any:
    import open_clip

    if not source.config["text_cfg"].get("hf_tokenizer_name"):
        with _fitting(source):
            return open_clip.get_tokenizer(source.name)
    with fetching(f"the tokenizer of {source.hub or source.name}"):
        # said to transformers alone: open_clip's own tokenizers do not know the words
        safe = {"trust_remote_code": False}
        with contextlib.suppress(OSError):
            return open_clip.get_tokenizer(source.name, local_files_only=True, **safe)
        return open_clip.get_tokenizer(source.hub or source.name, **safe)
