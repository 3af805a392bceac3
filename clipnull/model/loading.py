"""Load a CLIP by name: PocketCLIP, open_clip's models, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from PIL import Image
from torch import nn

from clipnull import _check, _files
from clipnull.model import hf, sources, weights
from clipnull.model.clip import Clip
from clipnull.model.saving import CONFIG, RECEIPT, sha256, weights_of
from clipnull.model.sources import NO_CODE, Source, fetching
from clipnull.model.weights import line

__all__ = ["check_here", "load"]

Precision = Literal["fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

#: keys of a config with which transformers runs a model's own code
REMOTE_CODE = ("trust_remote_code", "auto_map")
#: how deep a config may be nested
DEPTH = 50
#: one model is built at a time: torch's random state, from which its weights start, is shared
_BUILDING = threading.Lock()


def load(
    name: str | None = None,
    pretrained: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
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
        the same from the Hugging Face hub. By default what ``CLIPNULL_MODEL`` in the environment
        says (``NAME:TAG`` for open_clip's own), else ``"pocket"``.
    pretrained : str or Path, optional
        For an open_clip name: the tag or the file of a checkpoint; None gives random weights (``seed``). A
        file may come from open_clip's training, OpenAI's package or Lightning, wrapped (DDP) or compiled.
    device : str or torch.device, optional
        By default the GPU if there is one.
    precision : {"fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"}
        As open_clip means them; fp32 is the protocol's (arXiv 2407.07485). Embeddings are float32.
    cache_dir : str or Path, optional
        Where downloads are kept; by default where open_clip and Hugging Face keep theirs.

    Raises
    ------
    ValueError
        Unknown name or tag (with the closest), a checkpoint trained with QuickGELU under a name without it,
        one that does not fit its config, would have to be unpickled or cannot be fetched, a file that is
        something else (a Git LFS pointer, an adapter, TorchScript, ...), weights that are not those of the
        receipt beside them, a model that comes with code, a device that is not there.

    Notes
    -----
    What is in the cache folder is taken as it is, and the network is not asked. A file says neither how
    pictures are prepared nor which activation it was trained with: it gets what the tags of its architecture
    share, and a warning where they share nothing.
    """
    _check.one_of("precision", precision, PRECISIONS)
    where = _device(device)
    name, pretrained = sources.asked_for(name, pretrained)
    cache = None if cache_dir is None else str(_files.path("cache_dir", cache_dir))
    source = sources.find(name, pretrained, cache)
    _no_remote_code(source)
    _as_in_receipt(source)
    parts, kept = _build(source, where, precision, cache, seed), (source.config, source.receipt)
    for note in source.notes:
        warnings.warn(note, stacklevel=2)
    clip = Clip(*parts, name, pretrained=pretrained, precision=precision, config=kept[0], receipt=kept[1])
    clip.loaded_with = {
        "name": name, "pretrained": pretrained, "device": device, "precision": precision,
        "cache_dir": cache_dir, "seed": seed,
    }  # fmt: skip
    return clip


def check_here(
    name: str | None = None, pretrained: str | None = None, cache_dir: str | Path | None = None
) -> None:
    """A ValueError if config or weights that `load` needs are not on this machine; nothing is fetched."""
    cache = None if cache_dir is None else str(_files.path("cache_dir", cache_dir))
    sources.find(*sources.asked_for(name, pretrained), cache, fetch=False)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"device: got {device!r}, want one that this torch has ({line(error)})") from error
    return found


def _no_remote_code(source: Source) -> None:
    """Refuse a config that asks for code of its own: open_clip hands its keys on to transformers."""
    todo: list[tuple[int, str, Any]] = [(0, "", source.config)]
    while todo:
        depth, path, value = todo.pop()
        if depth > DEPTH:
            raise ValueError(f"name: the config of {source.name} is nested deeper than {DEPTH} levels")
        pairs: Any = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
        for key, inner in pairs:
            if key in REMOTE_CODE and inner:
                asks = f"{source.hub or source.name} asks to run code that comes with it ({path}{key})"
                raise ValueError(f"name: the config of {asks}; {NO_CODE}")
            todo.append((depth + 1, f"{path}{key}.", inner))


def _as_in_receipt(source: Source) -> None:
    if source.folder is None or not source.receipt or "weights_sha256" not in source.receipt:
        return
    if sha256(*weights_of(source.folder)) != source.receipt["weights_sha256"]:
        what = f"the weights in {str(source.folder)!r} are not those that its {RECEIPT} was written for"
        want = f"want the folder as Clip.save left it, or without {RECEIPT} if they were changed on purpose"
        raise ValueError(f"name: {what}; {want}")


def _build(
    source: Source, device: torch.device, precision: str, cache: str | None, seed: int
) -> tuple[nn.Module, Any, Any]:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if source.transformers and source.folder and source.checkpoint:
        with fetching(source.name, cache):
            import transformers  # noqa: F401
        with _about("name"):
            for file in {source.checkpoint, *weights_of(source.folder)}:
                weights.kind(file)
        with _fitting(source):
            wrapped, transform, words = hf.read(str(source.folder))
        return wrapped.to(device, open_clip.get_input_dtype(precision) or torch.float32), transform, words
    if text := source.config["text_cfg"].get("hf_model_name"):
        from transformers import AutoConfig

        with fetching(f"the config of {text}", None):
            # open_clip would let transformers ask at a prompt whether to run a tower's own code
            AutoConfig.from_pretrained(text, trust_remote_code=False)
    random = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with _BUILDING, _readable(source) as (name, checkpoint), _fitting(source), random:
        torch.manual_seed(seed)
        model = open_clip.create_model(
            name, checkpoint, precision=precision, device=device, cache_dir=cache,
            pretrained_text=False, force_quick_gelu=source.config.get("quick_gelu", False),
            force_preprocess_cfg=source.preprocess, require_pretrained=source.checkpoint is not None,
        )  # fmt: skip
        transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
        transform(Image.new("RGB", (2, 2)))  # it fails only when it is used
    return model, transform, _tokenizer(source, cache)


@contextlib.contextmanager
def _readable(source: Source) -> Iterator[tuple[str, str | None]]:
    """Name and checkpoint for open_clip: the source's or, where it cannot read them, a copy that it can."""
    file, argument = source.checkpoint, "name" if source.folder else "pretrained"
    state: weights.State | None = None
    with _about(argument):
        if source.is_tag and file:
            weights.kind(file)
        elif file:
            # open_clip finds only these in a folder
            unseen = source.folder is not None and file.name not in weights.PREFERRED
            state, note = weights.translated(file, rewrite=unseen)
            source.notes += [f"{argument}: {note}"] if note else []
    if state is None:
        yield source.name, str(file) if file and not source.folder else None
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        copy = Path(place) / weights.WEIGHTS
        weights.write(state, copy)
        if source.folder:
            shutil.copy(source.folder / CONFIG, place)
        yield (f"local-dir:{place}", None) if source.folder else (source.name, str(copy))


@contextlib.contextmanager
def _fitting(source: Source) -> Iterator[None]:
    """Weights that open_clip or transformers cannot put into the model of their config, in a sentence."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        if source.checkpoint is None:
            raise
        what = f"the checkpoint {'' if source.folder else source.checkpoint}".strip()
        what += f" in {source.hub or source.name}" if source.folder else ""
        what += " does not fit its config"
        if source.transformers:
            what += ", lacks a part of its processor, or cannot be read without unpickling"
        raise ValueError(f"pretrained: {what} ({line(error)})") from error


@contextlib.contextmanager
def _about(argument: str) -> Iterator[None]:
    """Whatever is wrong with a file names the argument that led to it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error.__cause__


def _tokenizer(source: Source, cache_dir: str | None) -> Any:
    import open_clip

    if not source.config["text_cfg"].get("hf_tokenizer_name"):
        with _fitting(source):
            return open_clip.get_tokenizer(source.name, cache_dir=cache_dir)
    # said to transformers alone: open_clip's own tokenizers do not know the words
    safe = {"cache_dir": cache_dir, "trust_remote_code": False}
    with fetching(f"the tokenizer of {source.hub or source.name}", cache_dir):
        try:
            return open_clip.get_tokenizer(source.name, local_files_only=True, **safe)
        except OSError:
            return open_clip.get_tokenizer(source.hub or source.name, **safe)
