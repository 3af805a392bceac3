"""Labelled pictures, read when they are looked at."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps

from clipnull import _check, _show

__all__ = ["TEMPLATES", "Images", "LabelledImages", "open_image"]

#: prompt templates for emoji art; PocketCLIP's captions use the same ones
TEMPLATES = ["an emoji of a {}.", "a picture of a {}.", "a drawing of a {}.", "a {}.", "{}"]
TEMPLATES += ["a small icon of a {}."]
#: the prompt of Kravets and Namboodiri, arXiv 2407.07485, and theirs (CoOp's) for Oxford Flowers
PHOTO, FLOWER = ["a photo of a {}."], ["a photo of a {}, a type of flower."]
#: what Pillow lists, but does not show as a picture: data, films, and what it starts a program for
NO_PICTURES = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}
#: pixels, and long side over short: beyond them a picture takes gigabytes once it is resized
LARGEST, LONGEST = 120_000_000, 100


class Images(Sequence[Image.Image]):
    """PIL RGB images, each made by ``read`` of one of ``items`` when it is asked for.

    An integer index gives an image; a slice, a list of indices or a boolean mask [n] gives `Images`.
    """

    def __init__(self, read: Callable[[Any], Image.Image], items: Iterable[Any]) -> None:
        self.read, self.items = read, list(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        # NumPy's rules for indices and masks
        picked = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        if picked.ndim:
            return Images(self.read, [self.items[i] for i in picked])
        return self.read(self.items[picked])


@dataclass(eq=False)
class LabelledImages:
    """Images with their classes; also a torch ``Dataset``: ``data[i]`` is (image, label).

    Of emoji there are, per class, ``categories`` (Unicode's) and ``keywords`` (CLDR); per image ``scene``
    [n], the number of the drawing (0: the clean one, or a photograph), and ``descriptions``. ``skipped`` are
    paths that could not be read, ``passed_over`` path -> why of what was no picture or class.
    """

    images: Images
    labels: torch.Tensor
    classes: list[str]
    templates: list[str]
    categories: list[str] = field(default_factory=list)
    keywords: list[list[str]] = field(default_factory=list)
    scene: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    descriptions: list[Any] | None = None
    split: str = "all"
    name: str = ""
    skipped: list[str] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)
    loaded_with: dict[str, Any] | None = field(default=None, init=False, repr=False, compare=False)
    picked: list[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.categories = self.categories or [""] * len(self.classes)
        self.keywords = self.keywords or [[] for _ in self.classes]
        if len(self.scene) != len(self.labels):
            self.scene = torch.zeros(len(self.labels), dtype=torch.long)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return self.images[i], int(self.labels[i])

    def __repr__(self) -> str:
        counts = f"{len(self)} images, {len(self.classes)} classes"
        return f"LabelledImages({self.name}: {counts}, split {self.split})"

    def __str__(self) -> str:
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        taken = [f"{name} ({n})" for name, n in zip(self.classes, counts, strict=True)]
        over = tally({**self.passed_over, **dict.fromkeys(self.skipped, "cannot be read")})
        said = [repr(self), f"images per class: {_show.few(taken, 20)}"]
        return "\n  ".join([*said, *["passed over:"] * bool(over), *over])

    def where(self, cls: str | int) -> torch.Tensor:
        """Indices [k] of the images of one class, given by name or index."""
        (index,) = _check.class_indices("cls", cls, len(self.classes), self.classes)
        return (self.labels == index).nonzero()[:, 0]

    def subset(self, classes: Iterable[str | int]) -> LabelledImages:
        """The images of some classes (names or indices), relabelled 0, 1, … in the order given."""
        keep = _check.class_indices("classes", classes, len(self.classes), self.classes)
        new = torch.full((len(self.classes),), -1)
        new[keep] = torch.arange(len(keep))
        part = self.take(new[self.labels] >= 0)
        of_class = ("classes", "categories", "keywords")
        picked: dict[str, Any] = {k: [getattr(self, k)[i] for i in keep] for k in of_class}
        part = replace(part, labels=new[part.labels], **picked)
        part.loaded_with, part.picked = self.loaded_with, part.classes
        return part

    def take(self, mask: torch.Tensor) -> LabelledImages:
        """The images where a mask [n] is true, with all the classes."""
        rows = mask.nonzero()[:, 0]
        said = self.descriptions and [self.descriptions[i] for i in rows.tolist()]
        images, scene = self.images[rows], self.scene[rows]
        return replace(self, images=images, labels=self.labels[rows], scene=scene, descriptions=said)


_check.TYPES["LabelledImages"] = _check.instance(LabelledImages)


def tally(passed: Mapping[str, str]) -> list[str]:
    paths = {why: [p for p, own in passed.items() if own == why] for why in dict.fromkeys(passed.values())}
    return [f"{len(found)} {why}: {_show.few(found, 3)}" for why, found in paths.items()]


def formats() -> list[str]:
    """Pillow's names of the formats of pictures that can be read here, those of its plugins included."""
    Image.init()
    return [kind for kind in Image.ID if kind not in NO_PICTURES]


def open_image(path: str | Path | IO[bytes], exif: bool = True) -> Image.Image:
    """Read a picture as sRGB, as a viewer shows it, or (``exif=False``) not turned, its profile not heeded.

    A ValueError for a broken one, 32-bit numbers, over 120 million pixels, or sides of over 100 to 1.
    """
    try:
        with Image.open(path, formats=formats()) as image:
            return as_shown(image, exif)
    except Exception as error:  # each of the formats has errors of its own
        raise ValueError(f"image: cannot read {str(path)!r} ({error}), want a picture file") from error


#: of what is stored, as torchvision reads the literature's sets
open_stored = functools.partial(open_image, exif=False)


def as_shown(image: Image.Image, exif: bool = True) -> Image.Image:
    """A picture as `open_image` gives it; a ValueError for what cannot be shown."""
    short, long = sorted(image.size)
    if short * long > LARGEST or long > LONGEST * short:
        most = f"at most {LARGEST // 10**6} million, and sides of at most {LONGEST} to 1"
        raise ValueError(f"it has {image.width} × {image.height} pixels, want {most}")
    image.load()
    shown = _rgb(image, image.info.get("icc_profile") if exif else None)
    shown.info = {}
    with contextlib.suppress(Exception):  # a broken EXIF turns nothing
        if exif and (turn := image.getexif().get(ExifTags.Base.Orientation, 1)) != 1:
            shown.getexif()[ExifTags.Base.Orientation] = turn
            shown = ImageOps.exif_transpose(shown)
    return shown


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A new RGB picture: transparent parts white, grey of 16 bits scaled to 8 (RGB alone cuts it off)."""
    # 16-bit PGM files, and PNG in older versions of Pillow, come as 32-bit integers
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        deep, clear = np.asarray(image), image.info.get("transparency", -1)
        image = Image.fromarray(np.where(deep == clear, 255, deep >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers, want 8 or 16 bits a channel")
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    whole = image.convert("RGBA") if image.has_transparency_data else None
    image = (whole or image).convert(mode)
    change = _to_srgb(profile, mode) if profile else None
    image = change.apply(image) if change else image.convert("RGB")
    if whole:
        image.putalpha(whole.getchannel("A"))
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


@functools.lru_cache(8)
def _to_srgb(profile: bytes, mode: str) -> Any:
    """What takes pixels to sRGB by a colour profile; None if it is sRGB's, broken, or of another mode."""
    with contextlib.suppress(Exception):
        read = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" not in ImageCms.getProfileDescription(read):
            return ImageCms.buildTransform(read, ImageCms.createProfile("sRGB"), mode, "RGB")
    return None


def photographs(items: Any, labels: Any, classes: list[str], name: str, **more: Any) -> LabelledImages:
    """Of paths to pictures that are read as they are stored, or of `Images`; some must be there."""
    images = items if isinstance(items, Images) else Images(open_stored, items)
    paths = [item for item in images.items[:100] if isinstance(item, str)]
    if not images.items or (paths and not any(map(os.path.exists, paths))):
        raise ValueError(f"name: {name!r}: the pictures are not there, such as {paths[:1]}")
    y = torch.as_tensor(labels, dtype=torch.long)
    return LabelledImages(images, y, classes, name=name, **{"templates": PHOTO, **more})
