"""Pictures in sub-folders named after their classes."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from clipnull import _files, _show
from clipnull.datasets.pictures import LabelledImages, photographs

__all__ = []


def picture_files(folder: str | Path) -> list[str]:
    """Paths of the pictures under a folder, sorted, without hidden files (macOS leaves ``._*``)."""
    extensions = tuple(Image.registered_extensions())
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(extensions) and not name.startswith(".")
    )


def subfolders(folder: str | Path) -> list[str]:
    """Names of the folders in a folder, hidden ones aside, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def folder(path: str) -> LabelledImages:
    """One class per sub-folder."""
    root = _files.path("name", path)
    if not root.is_dir():
        raise ValueError(
            f"name: 'folder:{path}' is not a folder, want one with a sub-folder of images per class"
        )
    of_class = {name: found for name in subfolders(root) if (found := picture_files(root / name))}
    if not of_class:
        raise ValueError(f"name: 'folder:{path}' has no sub-folder with images, want one per class")
    return photographs(
        [p for found in of_class.values() for p in found],
        [i for i, found in enumerate(of_class.values()) for _ in found],
        [spaced(name) for name in of_class],
        name=f"folder:{path}",
    )


def without_broken(data: LabelledImages) -> LabelledImages:
    """Read every image; a warning says how many cannot be read, and which."""

    def readable(i: int) -> bool:
        try:
            data.images[i]
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        found = pool.map(readable, range(len(data)))
        good = torch.tensor([*_show.progress(found, what="reading", total=len(data), unit="image")])
    paths = [str(data.images.items[i]) for i in (~good).nonzero()[:, 0].tolist()]
    if not paths:
        return data
    if not good.any():
        raise ValueError(f"on_error: none of the {len(data)} images can be read, the first is {paths[0]!r}")
    more = f" and {len(paths) - 10} more (data.skipped)" if len(paths) > 10 else ""
    warnings.warn(
        f"images: {len(paths)} of {len(data)} cannot be read and are skipped: {', '.join(paths[:10])}{more}",
        stacklevel=3,
    )
    return replace(data.take(good), skipped=paths)


def spaced(name: str) -> str:
    """A folder's name as a class name."""
    return name.replace("_", " ")
