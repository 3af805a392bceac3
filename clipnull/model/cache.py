"""Image features on disk, found again by what they were computed from; nothing is unpickled."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from clipnull import _files

__all__ = ["folder", "key", "read", "write"]

#: the libraries that turn a picture into numbers
LIBRARIES = ("PIL", "clipnull", "numpy", "open_clip", "timm", "torch", "torchvision", "transformers")
_TRUSTED = {*LIBRARIES, *sys.stdlib_module_names}


def folder() -> Path | None:
    """``CLIPNULL_CACHE``, by default the platform's cache folder; None if that is ``off``."""
    import platformdirs

    asked = os.environ.get("CLIPNULL_CACHE", "").strip() or platformdirs.user_cache_dir("clipnull", False)
    return None if asked.lower() == "off" else _files.path("CLIPNULL_CACHE", asked) / "features"


class _Hash(pickle.Pickler):
    """Pickles into a hash, weights by their bytes; refuses code whose name does not tell what it does."""

    def persistent_id(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            raw: Any = x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            return str(x.dtype), tuple(x.shape), hashlib.sha256(raw).digest()
        if isinstance(x, set):
            return sorted(map(repr, x))
        if hasattr(x, "__qualname__") and x.__module__.split(".")[0] not in _TRUSTED:
            raise pickle.PicklingError(f"{x} may change without changing its name")
        return None


def _sha256(*things: Any) -> str:
    digest = hashlib.sha256()
    pickler = _Hash(SimpleNamespace(write=digest.update), protocol=5)
    pickler.fast = True  # equal things give equal bytes, whether they are one object or two
    pickler.dump(things)
    return digest.hexdigest()


def key(model: nn.Module, preprocess: Any, settings: dict[str, str], pictures: Iterable[Any]) -> str | None:
    """The name of an entry; None where it is not enough: in training, with hooks or own code."""
    tower = getattr(model, "visual", model)
    if any(m.training or m._forward_hooks or m._forward_pre_hooks for m in tower.modules()):
        return None
    versions = [(name, getattr(sys.modules.get(name), "__version__", None)) for name in LIBRARIES]
    try:
        return _sha256(versions, sorted(settings.items()), tower, preprocess, [*map(_picture, pictures)])
    except Exception:  # whatever cannot be pickled, or read: then nothing is kept
        return None


def _picture(item: Any) -> Any:
    if isinstance(item, str | os.PathLike):
        stat = os.stat(item)  # ctime notices what keeps the modification time, such as a copy
        return os.path.abspath(item), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    if isinstance(item, Image.Image):
        return item.mode, item.size, item.getpalette(), str(item.info), _sha256(item.tobytes())
    if isinstance(item, torch.Tensor):
        return "tensor", item
    if isinstance(item, np.ndarray) and item.dtype.kind in "uifb":  # an array of text holds paths
        return str(item.dtype), item.shape, _sha256(item.tobytes())
    raise TypeError


def read(place: Path, name: str) -> torch.Tensor | None:
    """Features [n, d] of the entry ``name``; None when there is none, or a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = place / f"{name}.safetensors"
    try:  # in one read: what opens the file twice, or maps it, could meet the entry that replaces it
        [(checksum, Z)] = load(path.read_bytes()).items()
        if checksum == _sha256(name, Z):
            return Z
    except OSError:
        return None
    except (SafetensorError, ValueError):
        pass
    warnings.warn(f"cache: {path.name} is damaged; its features are computed again", stacklevel=3)
    return None


def write(place: Path, name: str, Z: torch.Tensor) -> None:
    """Keep features ``Z`` [n, d] under ``name``; a disk that refuses is reported by a warning."""
    from safetensors.torch import save

    try:
        place.mkdir(parents=True, exist_ok=True)
        _files.tidy(place)
        with _files.replacing(place / f"{name}.safetensors") as partial:
            partial.write_bytes(save({_sha256(name, Z): Z.contiguous()}))
    except OSError as error:
        warnings.warn(f"cache: features were not kept in {str(place)!r} ({error})", stacklevel=3)
