"""Load a CLIP by name: PocketCLIP, open_clip's models, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from clipnull import _check
from clipnull.model import hf
from clipnull.model.clip import Clip
from clipnull.model.saving import CONFIG, RECEIPT, WEIGHTS, _quiet

__all__ = ["check_here", "from_transformers", "load"]

#: the model that ships with the package
POCKET = Path(__file__).parent.parent / "pocket"


CHECKPOINTS = (".safetensors", ".bin", ".pth")


#: keys of a config with which transformers runs a model's own code
REMOTE_CODE = ("trust_remote_code", "auto_map")


NO_CODE = "clipnull runs no code of a model, want one without"


PRECISIONS = ["fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"]


#: seconds in which the Hugging Face hub has to answer; its client's own retries take a minute
PATIENCE = 5.0


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


def check_here(name: str, pretrained: str | None = None, cache_dir: str | Path | None = None) -> None:
    """Whether the config and weights that `load` needs are on this machine; nothing is read or fetched.

    Raises
    ------
    ValueError
        They are not, or there is no such model.
    """
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    name, tag = _asked_for(name, pretrained)
    if name == "pocket" or name.startswith("local-dir:"):
        _source(name, tag, None)
        return
    hub = {"hf_hub": f"{name.removeprefix('hf-hub:')}/"} if name.startswith("hf-hub:") else {}
    known = hub or open_clip.get_pretrained_cfg(name.replace("/", "-"), tag or "")
    repository, asked = os.path.split(known.get("hf_hub", ""))
    files = [asked] if asked else [WEIGHTS, "open_clip_pytorch_model.bin"]
    found = [repository and try_to_load_from_cache(repository, file, cache_dir) for file in files]
    if not any(isinstance(path, str) and path for path in found):
        raise ValueError(f"pretrained: {name}, {tag} is not in the cache folder")


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
