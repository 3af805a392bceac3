"""Where a model comes from: its config and the file of its weights, found or fetched."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipnull import _check, _files
from clipnull.model.saving import CONFIG, RECEIPT
from clipnull.model.weights import PREFERRED, SUFFIXES, WEIGHTS, line, recognised

__all__ = []

#: the model that ships with the package
POCKET = Path(__file__).parent.parent / "pocket"
SCHEMES = ("local-dir:", "hf-hub:")
WAYS = "want 'local-dir:FOLDER', 'hf-hub:ORG/REPO', or a name of open_clip's with a tag or file as pretrained"
#: what a file of weights does not say: how its pictures were prepared
PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
NO_CODE = "clipnull runs no code of a model, want one without"
#: seconds in which the Hugging Face hub has to answer; its client's own retries take half a minute
PATIENCE = 5.0


@dataclass
class Source:
    """What it takes to build a model: where from, its config, its weights; and what to say of them."""

    name: str
    config: dict[str, Any]
    checkpoint: Path | None = None
    preprocess: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    receipt: dict[str, Any] | None = None
    transformers: bool = False
    hub: str | None = None
    note: str = ""


def asked_for(name: Any, pretrained: Any) -> tuple[str, str | None]:
    if name is None and pretrained is None and (asked := os.environ.get("CLIPNULL_MODEL")):
        if asked == "pocket" or asked.startswith(SCHEMES):
            return asked, None
        name, _, pretrained = asked.partition(":")
        if not pretrained:  # random weights would run every notebook on noise
            raise ValueError(f"CLIPNULL_MODEL: got {asked!r}, want NAME:TAG of open_clip's; else {WAYS}")
    name, pretrained = (os.fspath(x) if isinstance(x, os.PathLike) else x for x in (name, pretrained))
    name = "pocket" if name is None else _check.text("name", name)
    if pretrained is not None and (name == "pocket" or name.startswith(SCHEMES)):
        raise ValueError(f"pretrained: got {pretrained!r}, but {name} has its own weights; want None")
    return name, None if pretrained is None else _check.text("pretrained", pretrained)


def find(name: str, pretrained: str | None, cache_dir: str | None, fetch: bool = True) -> Source:
    if name == "pocket":
        return _folder(POCKET)
    if name.startswith("local-dir:"):
        return _folder(_files.path("name", name.removeprefix("local-dir:")))
    if name.startswith("hf-hub:"):
        return _hub(name, cache_dir, fetch)
    return _open_clip(name, pretrained, cache_dir, fetch)


def _folder(path: Path) -> Source:
    if not os.path.exists(path):  # a killed `Clip.save` may have set it aside
        _files.tidy(path.parent, path.name)
    place = next((path / name for name in (CONFIG, "config.json") if os.path.isfile(path / name)), None)
    config = {} if place is None else _json(place)
    theirs = place is not None and place.name != CONFIG
    if place is None or (theirs and config.get("model_type") != "clip"):
        want = "a folder that Clip.save or open_clip wrote, or one of a transformers CLIPModel with its"
        want += " processor (an adapter merged: model.merge_and_unload()); a file goes into load(NAME, FILE)"
        raise ValueError(f"name: no {CONFIG} in {str(path)!r}, want {want}")
    note = ""
    if not theirs:
        if "preprocess_cfg" not in config:
            note = f"name: {str(place)!r} has no preprocess_cfg, OpenAI's is used"
        config = config.get("model_cfg")
        if not isinstance(config, dict) or not isinstance(config.get("text_cfg"), dict):
            want = "want a model_cfg with embed_dim, vision_cfg and text_cfg"
            raise ValueError(f"name: {str(place)!r} is no config of open_clip's; {want}")
    receipt = _json(path / RECEIPT) if (path / RECEIPT).is_file() else None
    known = [path / name for name in PREFERRED if (path / name).is_file()]
    found = known or sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
    if not found or (len(found) > 1 and not known and not theirs):  # theirs may come in several
        several = ", ".join(p.name for p in found[:4]) or "no weights"
        raise ValueError(f"name: {several} in {str(path)!r}, want one file, {WEIGHTS}, beside {place.name}")
    weights = recognised("name", found[0])
    return Source(f"local-dir:{path}", config, weights, {}, path, receipt, theirs, note=note)


def _json(path: Path) -> Any:
    try:
        found = json.loads(recognised("name", path).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"name: {str(path)!r} cannot be read ({line(error)}), want JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"name: {str(path)!r} holds a {type(found).__name__}, want a JSON object")
    return found


def _hub(name: str, cache_dir: str | None, fetch: bool) -> Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = name.removeprefix("hf-hub:")
    with contextlib.suppress(LocalEntryNotFoundError, ValueError):
        place = Path(snapshot_download(repository, cache_dir=cache_dir, local_files_only=True))
        source = _folder(place)
        if not source.transformers or any(place.glob("*processor_config.json")):
            return replace(source, hub=name)
    with fetching(name, cache_dir):
        if not fetch:
            raise LocalEntryNotFoundError("this was not asked for")
        files = _reach(repository)
        wanted = ["*.json", "*.txt", "*.model", next((f for f in PREFERRED if f in files), "*.safetensors")]
        place = Path(snapshot_download(repository, cache_dir=cache_dir, allow_patterns=wanted))
    return replace(_folder(place), hub=name)


def _reach(repository: str) -> set[str]:
    """Names of the files of a repository on the Hugging Face hub, asked once and without retries."""
    from huggingface_hub import HfApi

    return {file.rfilename for file in HfApi().model_info(repository, timeout=PATIENCE).siblings or []}


def _open_clip(name: str, tag: str | None, cache_dir: str | None, fetch: bool) -> Source:
    import open_clip

    cleaned = name.replace("/", "-")
    if cleaned not in open_clip.list_models():
        near = ", ".join(_check.closest(name, ["pocket", *open_clip.list_models()]))
        raise ValueError(f"name: unknown model {name!r}; the closest are {near}; else {WAYS}")
    config: dict[str, Any] = open_clip.get_model_config(cleaned)
    if tag is None:
        return Source(cleaned, config)
    known = open_clip.get_pretrained_cfg(cleaned, tag)
    if not known and os.path.isfile(file := _files.path("pretrained", tag)):
        return _as_the_tags(cleaned, config, file)
    _same_activation(cleaned, tag, config)
    if not known:
        near = ", ".join(_check.closest(tag, open_clip.list_pretrained_tags_by_model(cleaned)))
        what = f"{tag!r} is neither a tag of {cleaned} nor a file; the closest are {near or 'none'}"
        raise ValueError(f"pretrained: {what}; for a model with a config of its own {WAYS}")
    with fetching(f"{cleaned}, {tag}", cache_dir):
        checkpoint, hub = _cached(known, cache_dir), known.get("hf_hub")
        if checkpoint is None and not fetch:
            raise FileNotFoundError("this was not asked for")
        if checkpoint is None and hub:
            _reach(os.path.split(hub)[0])
        if checkpoint is None or (fetch and not hub):  # open_clip compares the checksum of a URL's file
            checkpoint = open_clip.download_pretrained(known, cache_dir=cache_dir)
    return Source(cleaned, config, Path(checkpoint), {key: known.get(key) for key in PREPROCESS})


def _as_the_tags(name: str, config: dict[str, Any], file: Path) -> Source:
    """A file of weights, its pictures and activation as all tags of its architecture have them."""
    import open_clip

    tags = [open_clip.get_pretrained_cfg(name, t) for t in open_clip.list_pretrained_tags_by_model(name)]
    told = {key: {tag.get(key) for tag in tags} for key in (*PREPROCESS, "quick_gelu")}
    shared = {key: next(iter(values)) for key, values in told.items() if len(values) == 1}
    differ = ", ".join(key for key, values in told.items() if len(values) > 1)
    if shared.pop("quick_gelu", None):
        config["quick_gelu"] = True
    what = f"{str(file)!r} does not say its {differ}, in which the tags of {name} differ"
    want = "want a name that ends in -quickgelu, or a local-dir: folder with a config, for another"
    note = f"pretrained: {what}: it gets open_clip's default; {want}" if differ else ""
    return Source(name, config, file, shared, note=note)


def _cached(known: Mapping[str, Any], cache_dir: str | None) -> str | None:
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
    if known and wants != config.get("quick_gelu", False):
        if other in open_clip.list_models():
            trained = f"{tag!r} was trained {'with' if wants else 'without'} QuickGELU"
            raise ValueError(f"name: got {name!r}, but {trained}; want {other!r}")
        config["quick_gelu"] = True  # no name of its own: either's word for it


@contextlib.contextmanager
def fetching(what: str, cache_dir: str | None) -> Iterator[None]:
    """Whatever keeps something from being fetched, in a sentence."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"name: {what} takes transformers; want pip install 'clipnull[hf]'") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ValueError(f"name: {what} asks to run code that comes with it; {NO_CODE}") from error
        # open_clip, transformers, huggingface_hub and urllib each have errors of their own for this
        from huggingface_hub import constants

        here = cache_dir or constants.HF_HUB_CACHE
        missing = f"{what} is not in the cache folder {here}, and could not be fetched ({line(error)})"
        raise ValueError(f"pretrained: {missing}; want the same call made once with a network") from error
