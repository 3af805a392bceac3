"""Image features on disk, found again by what they were computed from.

`Clip.embed_images` uses it; nothing has to be called here. An entry is one safetensors file. Its name
is a hash of the image tower (every weight, every setting, every edit folded in), the image transform,
the precision and the pictures, so that another model, an edited one or a changed picture cannot meet
it. It is written under a temporary name and then renamed, and its checksum is compared when it is read.

The environment variable ``CLIPNULL_CACHE`` names another folder; ``off`` means no cache.
``clipnull cache`` shows what is there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import os
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

__all__ = ["LIMIT", "Entry", "clear", "entries", "folder", "read", "write"]

#: bytes kept; beyond it the entries that were not used for longest go
LIMIT = 5 * 2**30
#: raised when `Clip.embed_images` comes to compute something else from the same inputs
FORMAT = "2"
#: kinds of dtype that hold pixels; text is a path, whose file may change
PIXELS = "uifb"
_NAME, _PARTIAL = re.compile(r"[0-9a-f]{64}\.safetensors"), ".partial"
#: what also decides how a picture becomes numbers
_LIBRARIES = ("torch", "open_clip_torch", "timm", "pillow", "torchvision")


def folder() -> Path | None:
    """Where entries are kept; None when ``CLIPNULL_CACHE`` is ``off``.

    By default ``features`` in the platform's cache folder, such as ``~/.cache/clipnull`` on Linux.
    """
    asked = os.environ.get("CLIPNULL_CACHE", "").strip()
    if asked.lower() == "off":
        return None
    if asked:
        return Path(asked).expanduser() / "features"
    import platformdirs

    return platformdirs.user_cache_path("clipnull", appauthor=False) / "features"


# --- what features depend on -----------------------------------------------------------------


def key(
    model: nn.Module,
    preprocess: Callable[[Image.Image], torch.Tensor],
    settings: Mapping[str, str],
    pictures: Iterable[Any],
) -> str | None:
    """The name under which these features are kept, or None when they cannot be told from others.

    Parameters
    ----------
    model : nn.Module
        open_clip's. Its image tower is hashed: parameters, buffers, settings of every module.
    preprocess : callable
        Hashed by its description and by what it makes of four small test pictures.
    settings : dict of str to str
        What else decides the features: precision, device.
    pictures : iterable
        Paths (hashed by name, size and times of the file), PIL images, arrays or tensors (by their
        pixels), in order.

    Returns
    -------
    str of 64 hexadecimal digits, or None
        None for a tower in training mode or with forward hooks, a transform that gives another
        result each time, a file that is not there, or an item of another kind.
    """
    digest = hashlib.sha256(repr([FORMAT, _versions(), sorted(settings.items())]).encode())
    found = _add_tower(digest, getattr(model, "visual", model)) and _add_transform(digest, preprocess)
    return digest.hexdigest() if found and all(_add_picture(digest, p) for p in pictures) else None


@functools.cache
def _versions() -> list[str]:
    found = []
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{library} {importlib.metadata.version(library)}")
    return found


def _add_tower(digest: Any, tower: nn.Module) -> bool:
    for name, module in tower.named_modules():
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            return False
        plain = {k: text for k, v in sorted(vars(module).items()) if (text := _setting(v)) is not None}
        digest.update(f"{name} {_qualified(type(module))} {plain}\n".encode())
    # buffers that a state_dict leaves out count too
    for name, x in itertools.chain(tower.named_parameters(), tower.named_buffers()):
        digest.update(name.encode())
        _add_tensor(digest, x)
    return True


def _setting(value: Any) -> str | None:
    """Plain values and functions as text: heads, epsilon, an activation. None for anything else."""
    if isinstance(value, list | tuple):
        parts = [_setting(v) for v in value]
        return None if None in parts else str(parts)
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return _qualified(value) if hasattr(value, "__qualname__") else None


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _add_tensor(digest: Any, x: torch.Tensor) -> None:
    digest.update(f"{x.dtype} {tuple(x.shape)}\n".encode())
    digest.update(x.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _add_transform(digest: Any, preprocess: Callable[[Image.Image], torch.Tensor]) -> bool:
    digest.update(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(preprocess)).encode())
    for picture in _test_pictures():
        made, again = preprocess(picture), preprocess(picture)
        if not torch.equal(made, again):
            return False
        _add_tensor(digest, made)
    return True


@functools.cache
def _test_pictures() -> list[Image.Image]:
    """Noise, wide and tall, smaller and larger than a model looks at: they show resizing and cropping."""
    rng = np.random.Generator(np.random.PCG64(0))
    sizes = [(40, 60), (60, 40), (500, 700), (700, 500)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def _add_picture(digest: Any, item: Any) -> bool:
    if isinstance(item, str | os.PathLike):
        path = os.path.abspath(item)
        try:
            stat = os.stat(path)
        except OSError:  # reading the picture will say so, with its path
            return False
        # ctime notices what keeps the modification time, such as a copy that preserves it
        text = f"file {path} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\n"
        digest.update(text.encode(errors="surrogateescape"))
    elif isinstance(item, Image.Image):
        try:
            pixels = item.tobytes()
        except (OSError, SyntaxError):
            return False
        digest.update(f"picture {item.mode} {item.size} {item.getpalette()} {item.info}\n".encode() + pixels)
    elif isinstance(item, torch.Tensor):
        _add_tensor(digest, item)
    elif isinstance(item, np.ndarray) and item.dtype.kind in PIXELS:
        digest.update(f"array {item.dtype} {item.shape}\n".encode() + item.tobytes())
    else:
        return False
    return True


# --- entries ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One entry, as `entries` lists it.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    used : datetime
        When it was written or last read.
    about : str
        What computed it, and its shape; "damaged" when the file cannot be read.
    """

    path: Path
    size: int
    used: datetime
    about: str


def _checksum(name: str, Z: torch.Tensor) -> torch.Tensor:
    """SHA-256 [32] of the features and the name that they belong to."""
    digest = hashlib.sha256(name.encode())
    _add_tensor(digest, Z)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def read(name: str) -> torch.Tensor | None:
    """Features [n, d] of the entry ``name``; None when there is none.

    An entry whose checksum is wrong, or that cannot be read, is reported by a warning and then
    treated as absent.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if (place := folder()) is None:
        return None
    path = place / f"{name}.safetensors"
    try:
        # in one read: what opens the file twice, or maps it, could meet the entry that replaces this one
        found = load(path.read_bytes())
        Z, checksum = found["Z"], found["sha256"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SafetensorError, KeyError) as error:
        _damaged(path, str(error))
        return None
    if not torch.equal(checksum, _checksum(name, Z)):
        _damaged(path, "its checksum is wrong")
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now: `LIMIT` spares it
    return Z


def _damaged(path: Path, why: str) -> None:
    warnings.warn(f"cache: {path.name} is damaged ({why}); its features are computed anew", stacklevel=4)


def write(name: str, Z: torch.Tensor, about: str = "") -> None:
    """Keep features ``Z`` [n, d] under ``name``; a disk that refuses is reported by a warning.

    ``about`` is for the reader of `entries`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if (place := folder()) is None:
        return
    partial = place / f".{uuid.uuid4().hex}{_PARTIAL}"
    tensors = {"Z": Z.contiguous(), "sha256": _checksum(name, Z)}
    try:
        place.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, {"about": f"{about or 'features'}: {len(Z)} x {Z.shape[1]}"})
        os.replace(partial, place / f"{name}.safetensors")
        _make_room(place)
    except (OSError, SafetensorError) as error:
        warnings.warn(f"cache: features were not kept in {str(place)!r} ({error})", stacklevel=3)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _make_room(place: Path) -> None:
    """Delete the entries not used for longest until `LIMIT` holds; the newest always stays."""
    files = sorted(_files(place), key=lambda f: f[1].st_mtime_ns, reverse=True)
    total = itertools.accumulate(stat.st_size for _, stat in files)
    for (path, _), size in list(zip(files, total, strict=True))[1:]:
        if size > LIMIT:
            path.unlink(missing_ok=True)


def _files(place: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in place.glob("*.safetensors"):
        if _NAME.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                found.append((path, path.stat()))
    return found


def entries() -> list[Entry]:
    """What is in the cache, most recently used first."""
    from safetensors import SafetensorError, safe_open

    found = []
    for path, stat in _files(place) if (place := folder()) is not None else []:
        try:
            with safe_open(path, framework="pt") as file:
                about = (file.metadata() or {}).get("about", "")
        except FileNotFoundError:
            continue
        except (OSError, SafetensorError):
            about = "damaged"
        found.append(Entry(path, stat.st_size, datetime.fromtimestamp(stat.st_mtime), about))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def clear() -> int:
    """Delete every entry, and what an interrupted write left; the number of entries deleted.

    Files that are not the cache's stay.
    """
    if (place := folder()) is None or not place.is_dir():
        return 0
    files: Sequence[Path] = [path for path, _ in _files(place)]
    for path in [*files, *place.glob(f".*{_PARTIAL}")]:
        path.unlink(missing_ok=True)
    return len(files)
