"""Load a CLIP by name: PocketCLIP, open_clip's models, folders, the Hugging Face hub."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from clipnull import _check, _files
from clipnull.model import hf
from clipnull.model.clip import Clip
from clipnull.model.saving import CONFIG, RECEIPT, WEIGHTS

__all__ = ["check_here", "load"]

Precision = Literal["fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

#: the model that ships with the package
POCKET = Path(__file__).parent.parent / "pocket"
#: how files with weights end
CHECKPOINTS = (".safetensors", ".bin", ".pth")
#: weights that a repository may hold, open_clip's first
HUB_WEIGHTS = (WEIGHTS, "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
#: keys of a config with which transformers runs a model's own code
REMOTE_CODE = ("trust_remote_code", "auto_map")
NO_CODE = "clipnull runs no code of a model, want one without"
#: seconds in which the Hugging Face hub has to answer; its client's own retries take half a minute
PATIENCE = 5.0
#: one model is built at a time: torch's random state, from which its weights start, is shared
_BUILDING = threading.Lock()


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
    hub: str | None = None

    def unfit(self, error: Exception) -> ValueError:
        what = f"the checkpoint {self.checkpoint or f'in {self.name}'} does not fit its config"
        what += ", lacks a part of its processor" if self.transformers else ""
        return ValueError(f"pretrained: {what}, or cannot be read without unpickling ({_line(error)})")


def load(
    name: str | None = None,
    pretrained: str | None = None,
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
    pretrained : str, optional
        For an open_clip name: the tag or the file of a checkpoint; None gives random weights.
    device : str or torch.device, optional
        By default the GPU if there is one.
    precision : {"fp32", "fp16", "bf16", "pure_fp16", "pure_bf16"}
        As open_clip means them; fp32 is the protocol's (arXiv 2407.07485). Embeddings are float32.
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
        without it (open_clip only warns), one that does not fit its config, would have to be
        unpickled or cannot be fetched, a model that comes with code, a device that is not there.

    Notes
    -----
    Weights are read from safetensors or with torch's weights-only loader. What is in the cache folder
    is taken as it is, and the network is not asked.

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
    parts, kept = _build(source, where, precision, cache, seed), (source.config, source.receipt)
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
    _source(*_asked_for(name, pretrained), None if cache_dir is None else str(cache_dir), fetch=False)


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
            raise ValueError(f"CLIPNULL_MODEL: got {asked!r}, want NAME:TAG, as ViT-B-32:laion2b_s34b_b79k")
    name = "pocket" if name is None else name
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want a model's name")
    if pretrained is not None and (name == "pocket" or name.startswith(("local-dir:", "hf-hub:"))):
        raise ValueError(f"pretrained: got {pretrained!r}, but {name} has its own weights; want None")
    return name, pretrained


def _no_remote_code(source: _Source) -> None:
    """Refuse a config that asks for code of its own: open_clip hands its keys on to transformers."""

    def asked(value: Any, path: str) -> Iterator[str]:
        pairs: Any = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
        for key, inner in pairs:
            if key in REMOTE_CODE and inner:
                yield f"{path}{key}"
            yield from asked(inner, f"{path}{key}.")

    if found := next(asked(source.config, ""), None):
        asks = f"{source.hub or source.name} asks to run code that comes with it ({found})"
        raise ValueError(f"name: the config of {asks}; {NO_CODE}")


# --- where a model comes from --------------------------------------------------------------


def _source(name: str, pretrained: str | None, cache_dir: str | None, fetch: bool = True) -> _Source:
    if name == "pocket":
        return _folder(POCKET)
    if name.startswith("local-dir:"):
        return _folder(_files.path("name", name.removeprefix("local-dir:")))
    if name.startswith("hf-hub:"):
        return _hub(name, cache_dir, fetch)
    return _open_clip(name, pretrained, cache_dir, fetch)


def _folder(path: Path) -> _Source:
    theirs = not (path / CONFIG).is_file() and hf.is_clip(path / "config.json")
    place = path / ("config.json" if theirs else CONFIG)
    if not place.is_file():
        want = "want a folder that Clip.save or open_clip wrote, or one of a transformers CLIPModel"
        raise ValueError(f"name: no {CONFIG} in {str(path)!r}, {want}")
    if not any(p.suffix in CHECKPOINTS for p in path.iterdir()):
        raise ValueError(f"name: no weights in {str(path)!r}, want {WEIGHTS} beside {place.name}")
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        config = config if theirs else config["model_cfg"]
        receipt = json.loads((path / RECEIPT).read_text("utf-8")) if (path / RECEIPT).is_file() else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"name: {str(path)!r} holds a file that cannot be read ({_line(error)})") from error
    return _Source(f"local-dir:{path}", config, receipt=receipt, transformers=theirs)


def _hub(name: str, cache_dir: str | None, fetch: bool) -> _Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = name.removeprefix("hf-hub:")
    with contextlib.suppress(LocalEntryNotFoundError, ValueError):
        place = Path(snapshot_download(repository, cache_dir=cache_dir, local_files_only=True))
        source = _folder(place)
        if not source.transformers or any(place.glob("*processor_config.json")):
            return replace(source, hub=name)
    with _fetching(name, cache_dir):
        if not fetch:
            raise LocalEntryNotFoundError("this was not asked for")
        files = _reach(repository)
        wanted = ["*.json", "*.txt", "*.model", next((f for f in HUB_WEIGHTS if f in files), "*.safetensors")]
        place = Path(snapshot_download(repository, cache_dir=cache_dir, allow_patterns=wanted))
    return replace(_folder(place), hub=name)


def _reach(repository: str) -> set[str]:
    """Names of the files of a repository on the Hugging Face hub, asked once and without retries."""
    from huggingface_hub import HfApi

    return {file.rfilename for file in HfApi().model_info(repository, timeout=PATIENCE).siblings or []}


def _open_clip(name: str, tag: str | None, cache_dir: str | None, fetch: bool) -> _Source:
    import open_clip

    cleaned = name.replace("/", "-")
    config = open_clip.get_model_config(cleaned) if cleaned in open_clip.list_models() else None
    if config is None:
        near = ", ".join(_check.closest(name, ["pocket", *open_clip.list_models()]))
        raise ValueError(f"name: unknown model {name!r}; the closest are {near}")
    if tag is None:
        return _Source(cleaned, config, has_weights=False)
    known = open_clip.get_pretrained_cfg(cleaned, tag)
    if not known and os.path.isfile(tag):
        return _Source(cleaned, config, str(tag))
    _same_activation(cleaned, tag, config)
    if not known:
        tags = _check.closest(tag, open_clip.list_pretrained_tags_by_model(cleaned))
        hint = f"; the closest are {', '.join(tags)}" if tags else f"; open_clip knows none for {cleaned}"
        raise ValueError(f"pretrained: {tag!r} is neither a tag of {cleaned} nor a file{hint}")
    with _fetching(f"{cleaned}, {tag}", cache_dir):
        checkpoint, hub = _cached(known, cache_dir), known.get("hf_hub")
        if checkpoint is None and not fetch:
            raise FileNotFoundError("this was not asked for")
        if checkpoint is None and hub:
            _reach(os.path.split(hub)[0])
        if checkpoint is None or (fetch and not hub):  # open_clip compares the checksum of a URL's file
            checkpoint = open_clip.download_pretrained(known, cache_dir=cache_dir)
    own = ("mean", "std", "interpolation", "resize_mode")
    return _Source(cleaned, config, checkpoint, {k: known[k] for k in own if known.get(k) is not None})


def _cached(known: Mapping[str, Any], cache_dir: str | None) -> str | None:
    """The checkpoint of an open_clip tag in the cache folder."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if not known.get("hf_hub"):
        path = _files.path("cache_dir", cache_dir or "~/.cache/clip") / Path(known.get("url", "")).name
        return str(path) if path.is_file() else None
    repository, file = os.path.split(known["hf_hub"])
    safe = f"{file.rsplit('.', 1)[0]}.safetensors" if file else HF_SAFE_WEIGHTS_NAME
    found = [try_to_load_from_cache(repository, f, cache_dir) for f in (safe, file or HF_WEIGHTS_NAME)]
    return next((path for path in found if isinstance(path, str)), None)


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
def _fetching(what: str, cache_dir: str | None) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ValueError(f"name: {what} takes transformers; want pip install 'clipnull[hf]'") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ValueError(f"name: {what} asks to run code that comes with it; {NO_CODE}") from error
        # open_clip, transformers, huggingface_hub and urllib each have errors of their own for this
        from huggingface_hub import constants

        offline, place = constants.HF_HUB_OFFLINE, cache_dir or constants.HF_HUB_CACHE
        why = "HF_HUB_OFFLINE is set" if offline else f"it could not be fetched ({_line(error)})"
        raise ValueError(
            f"pretrained: {what} is not in the cache folder {place}, and {why}; want the same call made "
            "once with a network"
        ) from error


# --- building it ---------------------------------------------------------------------------


def _build(
    source: _Source, device: torch.device, precision: str, cache: str | None, seed: int
) -> tuple[nn.Module, Any, Any]:
    """Model, image transform and tokenizer, by open_clip or transformers."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    if source.transformers:
        with _fetching(source.name, cache):
            import transformers  # noqa: F401
        try:
            wrapped, transform, words = hf.read(source.name.removeprefix("local-dir:"))
        except Exception as error:
            raise source.unfit(error) from error
        return wrapped.to(device, open_clip.get_input_dtype(precision) or torch.float32), transform, words
    if text := source.config.get("text_cfg", {}).get("hf_model_name"):
        from transformers import AutoConfig

        with _fetching(f"the config of {text}", None):
            # open_clip would let transformers ask at a prompt whether to run a tower's own code
            AutoConfig.from_pretrained(text, trust_remote_code=False)
    try:
        with _BUILDING, torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            model = open_clip.create_model(
                source.name, source.checkpoint, precision=precision, device=device, cache_dir=cache,
                pretrained_text=False, force_quick_gelu=source.config.get("quick_gelu", False),
                force_preprocess_cfg=source.preprocess, require_pretrained=source.has_weights,
            )  # fmt: skip
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        if not source.has_weights:
            raise
        raise source.unfit(error) from error
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    return model, transform, _tokenizer(source, cache)


def _tokenizer(source: _Source, cache_dir: str | None) -> Any:
    import open_clip

    if not source.config.get("text_cfg", {}).get("hf_tokenizer_name"):
        return open_clip.get_tokenizer(source.name, cache_dir=cache_dir)
    # said to transformers alone: open_clip's own tokenizers do not know the words
    safe = {"cache_dir": cache_dir, "trust_remote_code": False}
    with _fetching(f"the tokenizer of {source.hub or source.name}", cache_dir):
        try:
            return open_clip.get_tokenizer(source.name, local_files_only=True, **safe)
        except OSError:
            return open_clip.get_tokenizer(source.hub or source.name, **safe)


def _line(error: BaseException) -> str:
    """The first two lines of an error, shortened."""
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return text[:200] or type(error).__name__
