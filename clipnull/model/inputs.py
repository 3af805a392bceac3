"""What a `Clip` embeds: names in prompt templates, and images in whatever holds them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from clipnull import _check, _files
from clipnull.datasets.pictures import Images, as_shown, open_image, open_stored

__all__ = []

Templates = str | Sequence[str | Callable[[str], str]]


def prompts(templates: Templates | None) -> list[Callable[[str], str]]:
    """Templates as functions of the name; a ValueError for one that has no place for it."""
    import open_clip

    named: dict[str, Sequence[Callable[[str], str]]] = {
        "openai": open_clip.OPENAI_IMAGENET_TEMPLATES,
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
    }
    if templates is None or isinstance(templates, str):
        templates = named.get(templates or "", [templates or "{}"])
    given = _check.having("templates", _check.some("templates", templates), "")
    made = [t.format if isinstance(t, str) else t for t in given]
    for template, prompt in zip(given, made, strict=True):
        try:
            fits = "\0name" in prompt("\0name")
        except (TypeError, IndexError, KeyError, ValueError):
            fits = False
        if not fits:
            want = "want '{}' in it, or 'openai' or 'simple'"
            raise ValueError(f"templates: {template!r} has no place for the name, {want}")
    return made


def _is_one(images: Any) -> bool:
    return isinstance(images, str | os.PathLike | Image.Image) or (
        isinstance(images, torch.Tensor | np.ndarray) and images.ndim == 3
    )


def count(images: Any) -> int | None:
    """How many images there are, where that is known; a DataLoader's length counts batches."""
    if _is_one(images):
        return 1
    return len(images) if hasattr(images, "__getitem__") and hasattr(images, "__len__") else None


def known(images: Any) -> Sequence[Any] | None:
    """Paths or pixels that tell these images from others, where nothing has to be decoded for them."""
    if isinstance(images, Images):
        return images.items if images.read in (open_image, open_stored, Image.fromarray) else None
    if isinstance(images, np.ndarray) and images.ndim == 1:
        return images.tolist()
    if _is_one(images) or isinstance(images, torch.Tensor | np.ndarray):
        return [images]
    return images if isinstance(images, list | tuple) else None


def items(images: Any) -> Iterator[Any]:
    """Images one by one, without their labels, whatever they came in."""
    images = [images] if _is_one(images) else images
    indexed = count(images) is not None and not hasattr(images, "__iter__")
    if isinstance(images, Mapping) or not (indexed or isinstance(images, Iterable)):
        raise ValueError(f"images: got a {type(images).__name__}, want images, paths, arrays or a Dataset")
    # a Dataset need not raise the IndexError that plain iteration waits for
    each = (images[i] for i in range(len(images))) if indexed else images
    seen = 0
    try:
        for item in each:
            seen += 1
            x = next(iter(item), None) if isinstance(item, tuple | list) else item
            yield from x if isinstance(x, torch.Tensor) and x.ndim == 4 else [x]  # a batch, or one
    except OSError as error:
        path = getattr(error, "filename", None) or f"item {seen}"
        raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error


def pixels(
    i: int, item: Any, preprocess: Callable[[Image.Image], torch.Tensor], size: int | tuple[int, int]
) -> torch.Tensor:
    if isinstance(item, torch.Tensor) and item.is_floating_point():
        want = (3, *np.broadcast_to(size, 2).tolist())
        if tuple(item.shape) != want:
            raise ValueError(f"images: tensor {i} has shape {tuple(item.shape)}, want {want}, preprocessed")
        return item
    if isinstance(item, str | os.PathLike):
        item = open_image(_files.path("images", item))
    elif isinstance(item, torch.Tensor | np.ndarray):
        x = np.asarray(item)
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[2] != 3:
            raise ValueError(f"images: array {i} is {x.dtype} {x.shape}, want uint8 (H, W, 3)")
        item = Image.fromarray(x)
    elif not isinstance(item, Image.Image):
        raise ValueError(f"images: item {i} is a {type(item).__name__}, want an image, a path or an array")
    try:
        return preprocess(as_shown(item))
    except (OSError, SyntaxError, ValueError) as error:  # PIL reads a file when its pixels are first needed
        path = getattr(item, "filename", "") or f"image {i}"
        raise ValueError(f"images: cannot read {str(path)!r} ({error}), want a picture") from error
