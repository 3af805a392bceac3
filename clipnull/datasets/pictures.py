"""Labelled pictures, read when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from clipnull import _check
from clipnull.datasets.scenes import Scene

__all__ = ["TEMPLATES", "Images", "LabelledImages", "open_image"]

#: prompt templates for emoji art; PocketCLIP's captions use the same ones
TEMPLATES = [
    "an emoji of a {}.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a {}.",
    "{}",
    "a small icon of a {}.",
]
#: the prompt of Kravets and Namboodiri, arXiv 2407.07485, and theirs (CoOp's) for Oxford Flowers
PHOTO, FLOWER = ["a photo of a {}."], ["a photo of a {}, a type of flower."]


class Images(Sequence[Image.Image]):
    """A lazy sequence of PIL RGB images: ``read`` turns one of ``items``, such as a path, into an image.

    An integer index gives an image; a slice, a list of indices or a boolean mask [n] gives `Images`.
    """

    def __init__(self, read: Callable[[Any], Image.Image], items: Iterable[Any]) -> None:
        self.read, self.items = read, list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Images(self.read, self.items[index])
        if isinstance(index, (list, torch.Tensor, np.ndarray)) and np.ndim(index):
            picked = np.arange(len(self))[np.asarray(index)]  # NumPy's rules for indices and masks
            return Images(self.read, [self.items[i] for i in picked])
        return self.read(self.items[int(index)])

    def __repr__(self) -> str:
        return f"Images({len(self)} images, read when asked for)"


@dataclass
class LabelledImages:
    """Images with their classes; also a torch ``Dataset``: ``data[i]`` is (image, label).

    Attributes
    ----------
    images : Images
        n PIL RGB images, read when asked for.
    labels : torch.LongTensor [n]
        Index into ``classes``.
    classes, templates : list of str
        C class names as they enter a prompt; prompt templates, ``{}`` standing for the name.
    categories, subcategories : list of str [C]
        Coarser classes (Unicode groups for Twemoji; empty text where a set has none).
    keywords : list of list of str [C]
        Synonyms and related words (CLDR for Twemoji).
    scene : torch.LongTensor [n]
        Which drawing of its class an image is; 0 is the clean one. Zero for photographs.
    descriptions : list of Scene [n] or None
        What each image shows; None for all but emoji.
    split, name : str
    skipped : list of str
        Paths of the images that could not be read, with ``load(..., on_error="skip")``.
    loaded_with : dict or None
        Arguments of the `load` that gives these data; None if they were made by hand.
    picked : list of str or None
        The classes that `subset` then picked; None if all of them are there.
    """

    images: Images
    labels: torch.Tensor
    classes: list[str]
    templates: list[str]
    categories: list[str] = field(default_factory=list)
    subcategories: list[str] = field(default_factory=list)
    keywords: list[list[str]] = field(default_factory=list)
    scene: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    descriptions: list[Scene] | None = None
    split: str = "all"
    name: str = ""
    skipped: list[str] = field(default_factory=list)
    loaded_with: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    picked: list[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        C = len(self.classes)
        self.categories = self.categories or [""] * C
        self.subcategories = self.subcategories or [""] * C
        self.keywords = self.keywords or [[] for _ in range(C)]
        if len(self.scene) != len(self.labels):
            self.scene = torch.zeros(len(self.labels), dtype=torch.long)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return self.images[i], int(self.labels[i])

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        n, C = len(self), len(self.classes)
        return f"LabelledImages({self.name}: {n} images, {C} classes, split {self.split})"

    def where(self, cls: str | int) -> torch.Tensor:
        """Indices [k] of the images of one class, given by name or index."""
        (index,) = _check.class_indices("cls", cls, len(self.classes), self.classes)
        return (self.labels == index).nonzero()[:, 0]

    def subset(self, classes: Iterable[str | int]) -> LabelledImages:
        """The images of some classes (names or indices), relabelled 0, 1, … in the order given.

        A ValueError for an unknown class (with the three closest names), or none at all.
        """
        keep = _check.class_indices("classes", classes, len(self.classes), self.classes)
        new = torch.full((len(self.classes),), -1)
        new[keep] = torch.arange(len(keep))
        part = self.take(new[self.labels] >= 0)
        of_class = ("classes", "categories", "subcategories", "keywords")
        picked: dict[str, Any] = {k: [getattr(self, k)[i] for i in keep] for k in of_class}
        part = replace(part, labels=new[part.labels], **picked)
        part.loaded_with, part.picked = self.loaded_with, part.classes
        return part

    def take(self, mask: torch.Tensor) -> LabelledImages:
        """The images where a mask [n] is true, with all the classes."""
        rows, said = mask.nonzero()[:, 0], self.descriptions
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            scene=self.scene[rows],
            descriptions=said and [said[i] for i in rows.tolist()],
        )


def open_image(path: str | Path | IO[bytes]) -> Image.Image:
    """Read a picture as RGB, transparent parts white; a ValueError with its path if it cannot be read."""
    try:
        with Image.open(path) as image:
            image.load()
            return on_white(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"image: cannot read {str(path)!r} ({error}), want a picture file") from error


def on_white(image: Image.Image) -> Image.Image:
    """A picture that ``convert("RGB")`` shows right: nothing is transparent, grey has at most 8 bits.

    RGB alone would show what hides under transparency, and cut 16-bit grey off at 255, which is white.
    """
    # 16-bit PGM files, and PNG in older versions of Pillow, come as 32-bit integers
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        pixels = np.asarray(image)
        grey = (pixels >> 8).astype(np.uint8)
        grey[pixels == image.info.get("transparency", -1)] = 255
        return Image.fromarray(grey)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image


def photographs(
    items: Iterable[Any],
    labels: Sequence[int] | torch.Tensor,
    classes: Sequence[str],
    name: str,
    split: str = "all",
    templates: Sequence[str] = PHOTO,
    read: Callable[[Any], Image.Image] = open_image,
    **more: Any,
) -> LabelledImages:
    """Labelled images of a loader: ``items`` are paths, or what ``read`` takes."""
    return LabelledImages(
        images=Images(read, items),
        labels=torch.as_tensor(labels, dtype=torch.long),
        classes=list(classes),
        templates=list(templates),
        split=split,
        name=name,
        **more,
    )
