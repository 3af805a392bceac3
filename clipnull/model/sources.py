"""Where a model comes from: its config and the file of its weights, found or fetched."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipnull import _check, _files
from clipnull.model.saving import CONFIG, RECEIPT
from clipnull.model.weights import PREFERRED, SUFFIXES, WEIGHTS, line, recognised

__all__ = []

SCHEMES = ("local-dir:", "hf-hub:")
WAYS = "want 'local-dir:FOLDER', 'hf-hub:ORG/REPO', or a name of open_clip's with a tag or file as pretrained"
#: what a file of weights does not say: how its pictures were prepared
PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
NO_CODE = "clipnull runs no code of a model, want one without"


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


def find(name: str, pretrained: str | None, fetch: bool = True) -> Source:
    if name == "pocket":
        return _folder(Path(__file__).parent.parent / "pocket")
    if name.startswith("local-dir:"):
        return _folder(_files.path("name", name.removeprefix("local-dir:")))
    return _hub(name, fetch) if name.startswith("hf-hub:") else _open_clip(name, pretrained, fetch)


def _folder(path: Path) -> Source:
    if not os.path.exists(path):  # a killed `Clip.save` may have set it aside
        _files.tidy(path.parent, path.name)
    theirs = not os.path.isfile(path / CONFIG)  # transformers'
    place = path / ("config.json" if theirs else CONFIG)
    config: Any = _json(place) if os.path.isfile(place) else {}
    if theirs and config.get("model_type") != "clip":
        want = "a folder that Clip.save or open_clip wrote, or one of a transformers CLIPModel with its"
        want += " processor (an adapter merged: model.merge_and_unload()); a file goes into load(NAME, FILE)"
        raise ValueError(f"name: no {CONFIG} in {str(path)!r}, want {want}")
    plain = theirs or "preprocess_cfg" in config
    note = "" if plain else f"name: {str(place)!r} has no preprocess_cfg, OpenAI's is used"
    config = config if theirs else config.get("model_cfg")
    if not theirs and not (isinstance(config, dict) and isinstance(config.get("text_cfg"), dict)):
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
        if isinstance(found, dict):
            return found
        raise TypeError(f"a {type(found).__name__}")
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise ValueError(f"name: {str(path)!r} cannot be read ({line(error)}), want a JSON object") from error


def _hub(name: str, fetch: bool) -> Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = name.removeprefix("hf-hub:")
    with contextlib.suppress(LocalEntryNotFoundError, ValueError):
        place = Path(snapshot_download(repository, local_files_only=True))
        source = _folder(place)
        if not source.transformers or any(place.glob("*processor_config.json")):
            return replace(source, hub=name)
    with fetching(name):
        files = _reach(repository, fetch)
        wanted = ["*.json", "*.txt", "*.model", next((f for f in PREFERRED if f in files), "*.safetensors")]
        place = Path(snapshot_download(repository, allow_patterns=wanted))
    return replace(_folder(place), hub=name)


def _reach(repository: str, fetch: bool) -> set[str]:
    """Names of the files of a repository on the Hugging Face hub, asked once: retries take half a minute."""
    from huggingface_hub import HfApi

    if not fetch:
        raise FileNotFoundError("this was not asked for")
    return {file.rfilename for file in HfApi().model_info(repository, timeout=5.0).siblings or []}


def _open_clip(name: str, tag: str | None, fetch: bool) -> Source:
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    cleaned = name.replace("/", "-")
    if cleaned not in open_clip.list_models():
        near = ", ".join(_check.closest(name, ["pocket", *open_clip.list_models()]))
        raise ValueError(f"name: unknown model {name!r}; the closest are {near}; else {WAYS}")
    config: dict[str, Any] = open_clip.get_model_config(cleaned)
    if tag is None:
        return Source(cleaned, config)
    tags = open_clip.list_pretrained_tags_by_model(cleaned)
    known, note = open_clip.get_pretrained_cfg(cleaned, tag), ""
    if known:
        repository, file = os.path.split(known["hf_hub"])
        cached = (try_to_load_from_cache(repository, f) for f in ([file] if file else PREFERRED[:4]))
        checkpoint = next((path for path in cached if isinstance(path, str)), "")
        if not checkpoint:
            with fetching(f"{cleaned}, {tag}"):
                _reach(repository, fetch)
                checkpoint = open_clip.download_pretrained(known)
    elif os.path.isfile(checkpoint := str(_files.path("pretrained", tag))):
        known, note = _shared(cleaned, tags, checkpoint)
    else:
        near = ", ".join(_check.closest(tag, tags)) or "none"
        what = f"{tag!r} is neither a tag of {cleaned} nor a file; the closest are {near}"
        raise ValueError(f"pretrained: {what}; for a model with a config of its own {WAYS}")
    # run with GELU, a model trained with QuickGELU is silently worse: either's word for it
    config["quick_gelu"] = bool(config.get("quick_gelu") or known.get("quick_gelu"))
    return Source(cleaned, config, Path(checkpoint), {key: known.get(key) for key in PREPROCESS}, note=note)


def _shared(name: str, tags: list[str], file: str) -> tuple[dict[str, Any], str]:
    """What all tags of an architecture say of pictures and activation, which a file does not; a note."""
    import open_clip

    known = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
    told = {key: {tag.get(key) for tag in known} for key in (*PREPROCESS, "quick_gelu")}
    differ = ", ".join(key for key, values in told.items() if len(values) > 1)
    what = f"{file!r} does not say its {differ}, in which the tags of {name} differ"
    want = "want a name that ends in -quickgelu, or a local-dir: folder with a config, for another"
    note = f"pretrained: {what}: it gets open_clip's default; {want}" if differ else ""
    return {key: values.pop() for key, values in told.items() if len(values) == 1}, note


@contextlib.contextmanager
def fetching(what: str) -> Iterator[None]:
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

        where = f"{what} is not in the cache folder {constants.HF_HUB_CACHE}, and could not be fetched"
        want = "want the same call made once with a network"
        raise ValueError(f"pretrained: {where} ({line(error)}); {want}") from error
