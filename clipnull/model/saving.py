"""Write a model as a folder: whole or not at all, with a receipt of what was done to it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import math
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = []

CONFIG, WEIGHTS, RECEIPT = "open_clip_config.json", "open_clip_model.safetensors", "receipt.json"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # what open_clip logs is an exception here, or was asked for ("initialized randomly")
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


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
