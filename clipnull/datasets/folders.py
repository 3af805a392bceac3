"""Pictures in sub-folders named after their classes."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from clipnull import _check, _files, _show
from clipnull.datasets import pictures
from clipnull.datasets.pictures import Images, LabelledImages, photographs, tally

__all__ = []

#: what the folders of a data set's parts are called
SPLITS = ["train", "training", "val", "valid", "validation", "dev", "test", "testing"]
#: pictures that Pillow reads with a plugin, or never
FOREIGN = {".avif", ".heic", ".heif", ".jxl", ".svg", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".rw2"}
#: folders that a system puts beside what is the user's
SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}
FOLDER, PICTURE, BESIDE = "folder", "picture", "beside the classes' folders"
#: why something is passed over: nobody need hear of these unless they ask
HIDDEN, OTHER, EMPTY = QUIET = ("hidden", "not a picture", "folder without a picture that can be read")


def folder(path: str, split: str | None = None, exif: bool = True) -> LabelledImages:
    """One class per sub-folder, of the whole folder or of its ``split``."""
    top, name = _files.path("name", path), f"folder:{path}"
    if not (top.is_dir() and os.access(top, os.R_OK)):
        raise ValueError(f"name: {name!r} is not a folder to be read, with a sub-folder per class")
    read = pictures.open_image if _check.truth("exif", exif) else pictures.open_stored
    of_class, passed = _gather(_part(top, name, split))
    told = "; ".join(tally(passed))
    if not of_class:
        raise ValueError(f"name: {name!r} has no sub-folder with images; passed over: {told or 'nothing'}")
    if not {*passed.values()} <= {*QUIET}:
        warnings.warn(f"folder: passed over {told} (all: data.passed_over)", stacklevel=3)
    labels, items = zip(*((i, path) for i, own in enumerate(of_class.values()) for path in own), strict=True)
    classes, images = _class_names([*of_class], name), Images(read, items)
    return photographs(images, labels, classes, name, split=split or "all", passed_over=passed)


def _gather(root: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Pictures of each class, sorted, and path of what is passed over -> why."""
    home, entered = root.resolve(), set[Path]()
    passed: dict[str, str] = {}

    def below(place: str) -> Iterator[str]:
        real = Path(place).resolve()
        inside = os.path.islink(place) and (home in (real, *real.parents) or real in home.parents)
        if inside or real in entered:  # a loop adds nothing, and a picture has one class
            passed[place] = "link to a folder that is read already, or in or above this one"
            return
        entered.add(real)
        try:
            for entry in _entries(place):
                if (kind := kind_of(entry)) == FOLDER:
                    yield from below(entry.path)
                elif kind == PICTURE:
                    yield entry.path
                else:
                    passed[entry.path] = kind
        except OSError as error:
            passed[place] = f"folder that cannot be opened ({error.strerror})"

    of_class = {}
    for entry in _entries(root):
        if own := sorted(below(entry.path)) if (kind := kind_of(entry)) == FOLDER else []:
            of_class[entry.name] = own
        else:
            passed.setdefault(entry.path, {FOLDER: EMPTY, PICTURE: BESIDE}.get(kind, kind))
    return of_class, passed


def _entries(place: str | Path) -> list[os.DirEntry[str]]:
    return sorted(os.scandir(place), key=lambda entry: entry.name)


def kind_of(entry: os.DirEntry[str]) -> str:
    """`FOLDER`, `PICTURE` by its extension, or why it is neither."""
    ending = os.path.splitext(entry.name)[1].lower()
    if entry.name.startswith(".") or entry.name in SYSTEM:
        return HIDDEN  # macOS leaves ._*, Jupyter .ipynb_checkpoints, a file server @eaDir
    if entry.is_symlink() and not os.path.exists(entry.path):
        return "link that leads nowhere"
    if entry.is_dir():
        return FOLDER
    if not entry.is_file():
        return OTHER
    if Image.registered_extensions().get(ending, "PDF") not in pictures.NO_PICTURES:
        return PICTURE
    if ending in FOREIGN:
        return f"in a format that cannot be read here ({ending}: convert to JPEG, or install a Pillow plugin)"
    with contextlib.suppress(Exception), Image.open(entry.path, formats=pictures.formats()) as image:
        return f"without a picture's extension, but {image.format} by content (rename to read them)"
    return OTHER


def subfolders(place: Path) -> list[str]:
    return [entry.name for entry in _entries(place) if kind_of(entry) == FOLDER]


def _part(root: Path, name: str, split: str | None) -> Path:
    """The folder of the classes: that of ``split``, where there are some."""
    names = subfolders(root)
    splits = [n for n in names if n.lower() in SPLITS and subfolders(root / n)]
    if splits and (len(splits) > 1 or splits == names):  # a class of locomotives may be called "train"
        return root / _check.one_of("split", split, splits)
    if split is not None:
        raise ValueError(f"split: got {split!r}, but {name!r} has no splits; leave split= out")
    return root


def _class_names(folders: Sequence[str], name: str) -> list[str]:
    """Folders' names as class names; a ValueError for what is no name, or the name of two."""
    classes = []
    for own in folders:
        wordnet = re.fullmatch(r"(n\d{8})(?:[-_ ]+(.+))?", own)  # a WordNet id alone, or before a name
        said = spaced((wordnet[2] or imagenet_names().get(wordnet[1], "")) if wordnet else own)
        if not said or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in said):
            kind = "a WordNet id that is not in ImageNet-1k" if wordnet else "no name in Unicode"
            raise ValueError(f"name: {name!r} has a folder {own!a}, {kind}; rename it to the class's name")
        classes.append(said)
    # a CLIP's tokenizer sees no difference between forms of a letter, nor between cases
    read = [unicodedata.normalize("NFKC", said).casefold() for said in classes]
    if len({*read}) < len(read):
        twice = ascii([own for own, said in zip(folders, read, strict=True) if read.count(said) > 1])[1:-1]
        raise ValueError(f"name: {name!r} has {twice} for one class name; merge them, or rename all but one")
    return classes


@cache
def imagenet_names() -> dict[str, str]:
    """WordNet id -> class name of ImageNet-1k as open_clip has it (curated by OpenAI for CLIP)."""
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    return dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True))


def without_broken(data: LabelledImages) -> LabelledImages:
    def readable(i: int) -> bool:
        with contextlib.suppress(ValueError):
            return data.images[i] is not None
        return False

    with ThreadPoolExecutor() as pool:
        found = pool.map(readable, range(len(data)))
        good = torch.tensor([*_show.progress(found, what="reading", total=len(data), unit="image")])
    paths = [str(path) for path in data.images[~good].items]
    if len(paths) == len(data):
        raise ValueError(f"on_error: none of the {len(data)} images can be read, the first is {paths[0]!r}")
    if paths:
        told = f"cannot be read and are skipped: {_show.few(paths, 10)} (data.skipped)"
        warnings.warn(f"images: {len(paths)} of {len(data)} {told}", stacklevel=3)
    return replace(data.take(good), skipped=paths) if paths else data


def spaced(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())
