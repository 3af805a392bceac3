"""Write a model as a folder: whole or not at all, with a receipt of what was done to it."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.metadata
import json
import math
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clipnull import _files
from clipnull.hull import certificate
from clipnull.model.fold import folded_edits, merged_state
from clipnull.report import Report

if TYPE_CHECKING:
    from clipnull.model.clip import Clip

__all__ = []

CONFIG, WEIGHTS, RECEIPT = "open_clip_config.json", "open_clip_model.safetensors", "receipt.json"
#: most names that a receipt certifies: each may take some tenths of a second
CERTIFIED = 20


def save(clip: Clip, path: str | Path, report: Report | Mapping[str, Any] | None = None) -> Path:
    """What `Clip.save` does."""
    if clip.config is None:
        raise ValueError("save: this model came without open_clip's model_cfg, want Clip(..., config=...)")
    target = _files.path("path", path).resolve()
    _replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _whole(target) as folder:
        digest = _sha256(*_write(clip, folder))
        _dump(folder / RECEIPT, _receipt(clip, report, digest))
    return target


def _write(clip: Clip, folder: Path) -> list[Path]:
    """Weights, config and tokenizer; the files that hold weights."""
    from open_clip import get_model_preprocess_cfg
    from safetensors.torch import save_file

    from clipnull.model import hf  # a Clip too: it imports this file

    if isinstance(clip.model, hf.TransformersCLIP):
        return hf.write(clip, folder)
    state, changes = merged_state(clip.model)
    config = copy.deepcopy(clip.config) or {}
    for section, entries in changes.items():
        config[section].update(entries)
    save_file(_storable(state), folder / WEIGHTS, metadata={"format": "pt"})
    _dump(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": get_model_preprocess_cfg(clip.model)})
    if config["text_cfg"].get("hf_tokenizer_name") and hasattr(clip.tokenizer, "save_pretrained"):
        clip.tokenizer.save_pretrained(folder)
    if changes:
        _check_config(folder, state)
    return [folder / WEIGHTS]


def _check_config(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Whether open_clip builds, from the changed config, a model of these names and shapes."""
    import open_clip

    with torch.device("meta"):
        model = open_clip.create_model(
            f"local-dir:{folder}", load_weights=False, device="meta", pretrained_text=False
        )
    if {k: v.shape for k, v in model.state_dict().items()} != {k: v.shape for k, v in state.items()}:
        raise ValueError(
            "save: open_clip's config cannot describe this tower with a projection added, want a model "
            "with a projection, or keep the edit out of it (Edit.apply_image)"
        )


def _storable(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors wants them."""
    out, seen = {}, set()
    for key, value in state.items():
        x = value.detach().cpu().contiguous()
        pointer = x.untyped_storage().data_ptr()
        out[key] = x.clone() if pointer in seen or x.untyped_storage().nbytes() > x.nbytes else x
        seen.add(pointer)
    return out


# --- a folder, whole or not at all ---------------------------------------------------------


def _replaceable(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise ValueError(f"path: {str(target)!r} is a file, want a folder")
    if target.exists() and any(target.iterdir()) and not (target / RECEIPT).is_file():
        what = "something that Clip.save did not write"
        raise ValueError(f"path: {str(target)!r} holds {what}, want a new folder")


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


# --- the receipt ---------------------------------------------------------------------------


def _receipt(clip: Clip, report: Report | Mapping[str, Any] | None, digest: str) -> dict[str, Any]:
    edits: list[dict[str, Any]] = []
    for side, edit in folded_edits(clip.model):
        known = {k: edit.info.get(k) for k in ("method", "classes")}
        parameters = {k: v for k, v in edit.info.items() if k not in known}
        edits.append({"side": side, **known, "parameters": parameters, "dim": edit.dim, "rank": edit.rank})
    named = dict.fromkeys(name for edit in edits for name in edit["classes"] or [])
    kind, _, place = clip.name.partition(":")
    return {
        # whoever gets the folder has no use for the path that leads to a model here
        "model": f"{kind}:{Path(place).expanduser().resolve().name}" if kind == "local-dir" else clip.name,
        "pretrained": clip.pretrained and Path(clip.pretrained).name,
        "classes": report.case.forget_names if isinstance(report, Report) else list(named),
        "edits": edits,
        "report": _figures(report),
        "weights_sha256": digest,
        "versions": _versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "earlier": clip.receipt,
    }


def _figures(report: Report | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What the receipt says of a report: fractions; the certificates are leads, as cosines."""
    if report is None or isinstance(report, Mapping):
        return report
    if not isinstance(report, Report):
        want = "what clipnull.evaluate returns, or a dict"
        raise ValueError(f"report: got a {type(report).__name__}, want {want}")
    figures = ("forget_before", "forget_after", "retain_before", "retain_after")
    found = {k: getattr(report, k) for k in figures}
    case, two = report.case, report.n_way.get(2)
    if two is not None:
        found |= {"two_way_before": two.before, "two_way_after": two.after}
        found |= {"search_before": report.search.before, "search_after": report.search.after}
    if report.edit is not None and report.side == "image" and len(case.forget) <= CERTIFIED:
        leads = certificate(report.edit, case.T_f, case.T_r)
        found["certificate"] = dict(zip(case.forget_names, leads.tolist(), strict=True))
    return {"title": report.title, **found, "unit": "fraction"}


def _versions() -> dict[str, str]:
    import clipnull

    found = {"clipnull": clipnull.__version__, "python": sys.version.split()[0], "torch": torch.__version__}
    for distribution in ("open_clip_torch", "timm", "safetensors"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[distribution] = importlib.metadata.version(distribution)
    return found


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


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
