"""Where a model comes from: its config and the file of its weights, found or fetched."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipnull import _check, _files
from clipnull.model.saving import CONFIG, RECEIPT
from clipnull.model.weights import PREFERRED, SUFFIXES, WEIGHTS, line, other, refusal

__all__ = []

#: the model that ships with the package
POCKET = Path(__file__).parent.parent / "pocket"
#: what a checkpoint does not say: how its pictures were prepared, and the activation
PREPROCESS, ACTIVATION = ("mean", "std", "interpolation", "resize_mode"), "quick_gelu"
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
    is_tag: bool = False
    notes: list[str] = field(default_factory=list)


def asked_for(name: Any, pretrained: Any) -> tuple[str, str | None]:
    if name is None and pretrained is None and (asked := os.environ.get("CLIPNULL_MODEL")):
        if asked == "pocket" or asked.startswith(("local-dir:", "hf-hub:")):
            return asked, None
        name, _, pretrained = asked.partition(":")
        if not pretrained:  # random weights would run every notebook on noise
            want = _spelt(asked) or "NAME:TAG, as ViT-B-32:laion2b_s34b_b79k"
            raise ValueError(f"CLIPNULL_MODEL: got {asked!r}, want {want}")
    name = "pocket" if name is None else os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want a model's name")
    if pretrained is None:
        return name, None
    if name == "pocket" or name.startswith(("local-dir:", "hf-hub:")):
        raise ValueError(f"pretrained: got {pretrained!r}, but {name} has its own weights; want None")
    if not isinstance(pretrained, str | os.PathLike):
        raise ValueError(f"pretrained: got {pretrained!r}, want a tag or the file of a checkpoint")
    return name, os.fspath(pretrained)


def _spelt(asked: str) -> str | None:
    """How `load` wants what somebody gave as a file, a folder, or a repository of the hub."""
    place = os.path.expanduser(asked)
    if os.path.isfile(place):
        return f"the name of its architecture, and the file as pretrained: load('ViT-B-32', {asked!r})"
    if os.path.isdir(place) or asked.startswith(("~", ".", "/", os.sep, "local-dir:")):
        return f"'local-dir:{asked.removeprefix('local-dir:')}' as name, for a model in a folder"
    found = re.fullmatch(r"(?:https?://huggingface\.co/|hf-hub:)?([\w.-]+/[\w.-]+)/?", asked)
    return f"'hf-hub:{found[1]}' as name, for a model on the Hugging Face hub" if found else None


def find(name: str, pretrained: str | None, cache_dir: str | None, fetch: bool = True) -> Source:
    if name == "pocket":
        return _folder(POCKET)
    if name.startswith("local-dir:"):
        try:
            return _folder(_files.path("name", name.removeprefix("local-dir:")))
        except OSError as error:
            raise ValueError(f"name: got {name!r}, which cannot be read ({error})") from error
    if name.startswith("hf-hub:"):
        return _hub(name, cache_dir, fetch)
    return _open_clip(name, pretrained, cache_dir, fetch)


def _folder(path: Path) -> Source:
    if not path.exists():  # a killed `Clip.save` may have set it aside
        _files.tidy(path.parent, path.name)
    place = path / CONFIG
    theirs = not place.is_file() and (path / "config.json").is_file()
    place = path / "config.json" if theirs else place
    config = _json(place) if place.is_file() else {}
    if not place.is_file() or (theirs and config.get("model_type") != "clip"):
        raise ValueError(f"name: no {CONFIG} in {str(path)!r}{_instead(path, config)}")
    notes = []
    if not theirs:
        if "preprocess_cfg" not in config:
            notes.append(f"name: {str(place)!r} has no preprocess_cfg, OpenAI's is used")
        model, pictures = config.get("model_cfg"), config.get("preprocess_cfg", {})
        config = model if isinstance(model, dict) else {}
        parts = [config.get("vision_cfg"), config.get("text_cfg"), pictures]
        if "embed_dim" not in config or not all(isinstance(part, dict) for part in parts):
            want = "want a model_cfg with embed_dim, vision_cfg and text_cfg, and a preprocess_cfg"
            raise ValueError(f"name: {str(place)!r} is no config of open_clip's; {want}")
    receipt = _json(path / RECEIPT) if (path / RECEIPT).is_file() else None
    found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.name[0] != ".")
    if not found:
        raise ValueError(f"name: no weights in {str(path)!r}, want {WEIGHTS} beside {place.name}")
    known = [path / name for name in PREFERRED if path / name in found]
    if not known and len(found) > 1 and not theirs:  # transformers' weights may come in several
        several = ", ".join(p.name for p in found[:4])
        raise ValueError(f"name: {str(path)!r} holds several files of weights ({several}), want one")
    return Source(f"local-dir:{path}", config, (known or found)[0], {}, path, receipt, theirs, notes=notes)


def _instead(path: Path, config: Mapping[str, Any]) -> str:
    want = "want a folder that Clip.save or open_clip wrote, or one of a transformers CLIPModel"
    if path.is_file():
        return f", a file; want {_spelt(str(path))}"
    if (path / "adapter_config.json").is_file():
        return f", which holds a PEFT adapter without its model; {want}, after model.merge_and_unload()"
    if config:
        return f", which holds a transformers model of type {config.get('model_type')!r}; {want}"
    if files := [p.name for p in path.glob("*") if p.suffix in SUFFIXES]:
        return f", only {', '.join(files[:3])}; {want}, or load(NAME, FILE) with its architecture's name"
    return f", {want}"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        what, want = other(path) or (f"cannot be read ({line(error)})", "want JSON, nested less deeply")
        raise ValueError(f"name: {refusal(path, what, want)}") from error
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
    config = open_clip.get_model_config(cleaned) if cleaned in open_clip.list_models() else None
    if config is None:
        near = ", ".join(_check.closest(name, ["pocket", *open_clip.list_models()]))
        want = f"; want {spelt}" if (spelt := _spelt(name)) else ""
        raise ValueError(f"name: unknown model {name!r}{want}; the closest are {near}")
    if tag is None:
        return Source(cleaned, config)
    known = open_clip.get_pretrained_cfg(cleaned, tag)
    if not known and os.path.isfile(file := _files.path("pretrained", tag)):
        return _as_the_tags(Source(cleaned, config, file), file.name)
    _same_activation(cleaned, tag, config)
    if not known:
        tags = _check.closest(tag, open_clip.list_pretrained_tags_by_model(cleaned))
        hint = f"the closest are {', '.join(tags)}" if tags else f"open_clip knows none for {cleaned}"
        hint = f"want {spelt}" if (spelt := _spelt(tag)) else hint
        raise ValueError(f"pretrained: {tag!r} is neither a tag of {cleaned} nor a file; {hint}")
    with fetching(f"{cleaned}, {tag}", cache_dir):
        checkpoint, hub = _cached(known, cache_dir), known.get("hf_hub")
        if checkpoint is None and not fetch:
            raise FileNotFoundError("this was not asked for")
        if checkpoint is None and hub:
            _reach(os.path.split(hub)[0])
        if checkpoint is None or (fetch and not hub):  # open_clip compares the checksum of a URL's file
            checkpoint = open_clip.download_pretrained(known, cache_dir=cache_dir)
    pictures = {k: known[k] for k in PREPROCESS if known.get(k) is not None}
    return Source(cleaned, config, Path(checkpoint), pictures, is_tag=True)


def _as_the_tags(source: Source, file: str) -> Source:
    """What weights do not say, as the tags of their architecture have it, and notes where these differ."""
    import open_clip
    from open_clip.transform import PreprocessCfg

    name, config = source.name, source.config
    known = {t: open_clip.get_pretrained_cfg(name, t) for t in open_clip.list_pretrained_tags_by_model(name)}
    known = {t: cfg for t, cfg in known.items() if Path(cfg.get("url", "")).name == file} or known
    for key in (*PREPROCESS, ACTIVATION):
        used = getattr(PreprocessCfg(), key, config.get(key, False))
        tags: dict[Any, list[str]] = {}
        for tag, cfg in known.items():
            tags.setdefault(cfg.get(key, False), []).append(tag)
        value = next(iter(tags)) if len(tags) == 1 else used
        way = f"{'preprocess_cfg' if key in PREPROCESS else 'model_cfg'} of a local-dir: folder"
        if key in PREPROCESS:
            source.preprocess |= {key: value} if value else {}
        elif value and not used:
            config[key] = True
        elif len(tags) > 1 and f"{name}-quickgelu" in open_clip.list_models():
            way = f"name {name}-quickgelu"
        if len(tags) > 1 or config.get(key, used) != used:
            each = "; ".join(f"{tag_value} for {', '.join(some[:3])}" for tag_value, some in tags.items())
            lacks = f"{file!r} does not say its {key}, and the tags of {name} have {each}"
            source.notes.append(f"pretrained: {lacks}: it gets {value or used}, want the {way} for another")
    return source


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
    if not known or wants == config.get("quick_gelu", False):
        return
    if other not in open_clip.list_models():  # no name of its own: either's word for it
        config["quick_gelu"] = True
        return
    trained = "with" if wants else "without"
    raise ValueError(f"name: got {name!r}, but {tag!r} was trained {trained} QuickGELU; want {other!r}")


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

        offline = constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else f"it could not be fetched ({line(error)})"
        missing = f"{what} is not in the cache folder {cache_dir or constants.HF_HUB_CACHE}, and {why}"
        raise ValueError(f"pretrained: {missing}; want the same call made once with a network") from error
