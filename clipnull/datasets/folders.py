"""Pictures in sub-folders named after their classes."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from clipnull.datasets.pictures import PHOTO, Images, LabelledImages, open_image

__all__ = []


def _pictures(folder: str | Path) -> list[str]:
    """Paths of the pictures under a folder, sorted; hidden files (macOS leaves ``._*``) are no pictures."""
    extensions = tuple(Image.registered_extensions())
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(extensions) and not name.startswith(".")
    )


def _subfolders(folder: str | Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def _folder(path: str) -> LabelledImages:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"name: 'folder:{path}' is not a folder, want one with a sub-folder of images a class"
        )
    of_class = {name: found for name in _subfolders(root) if (found := _pictures(root / name))}
    if not of_class:
        raise ValueError(f"name: 'folder:{path}' has no sub-folder with images, want one a class")
    return LabelledImages(
        images=Images(open_image, [p for found in of_class.values() for p in found]),
        labels=torch.tensor([i for i, found in enumerate(of_class.values()) for _ in found]),
        classes=[_plain(name) for name in of_class],
        templates=list(PHOTO),
        name=f"folder:{path}",
    )


def _without_broken(data: LabelledImages) -> LabelledImages:
    """Read every image; a warning says how many cannot be read, and which."""
    from tqdm.auto import tqdm

    def broken(i: int) -> bool:
        try:
            data.images[i]
        except ValueError:
            return True
        return False

    silent = bool({"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys())
    with ThreadPoolExecutor() as pool:
        found = pool.map(broken, range(len(data)))
        bad = list(tqdm(found, "reading", len(data), leave=False, delay=2.0, disable=silent, unit="image"))
    rows = [i for i, is_bad in enumerate(bad) if not is_bad]
    paths = [str(data.images.items[i]) for i, is_bad in enumerate(bad) if is_bad]
    if not paths:
        return data
    if not rows:
        raise ValueError(f"on_error: none of the {len(data)} images can be read, the first is {paths[0]!r}")
    more = f" and {len(paths) - 10} more (data.skipped)" if len(paths) > 10 else ""
    warnings.warn(
        f"images: {len(paths)} of {len(data)} cannot be read and are skipped: {', '.join(paths[:10])}{more}",
        stacklevel=3,
    )
    return replace(
        data, images=data.images[rows], labels=data.labels[rows], scene=data.scene[rows], skipped=paths
    )


def _plain(name: str) -> str:
    return name.replace("_", " ")
