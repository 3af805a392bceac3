"""Pictures in sub-folders named after their classes."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import re
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from clipnull import _check, _files, _show
from clipnull.datasets import pictures
from clipnull.datasets.pictures import LabelledImages, formats, tally

__all__ = []

#: what the folders of a data set's parts are called
SPLITS = ["train", "training", "val", "valid", "validation", "dev", "test", "testing"]
#: pictures that Pillow reads with a plugin, or never
FOREIGN = {".avif", ".heic", ".heif", ".jxl", ".svg", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".rw2"}
#: folders that a system puts beside what is the user's
SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}
FOLDER, PICTURE = "folder", "picture"
#: why something is passed over: nobody need hear of these unless they ask
HIDDEN, OTHER, EMPTY = QUIET = ("hidden", "not a picture", "folder without a picture that can be read")
AGAIN = "link to a folder that is read already, or leads back up"


def gather(root: str | Path, names: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Pictures under each of some folders in ``root``, sorted, and path of what is passed over -> why."""
    # no folder is entered twice, and links come last: a loop adds nothing, a picture has one class

    def identity(place: str | Path) -> tuple[int, int]:
        stat = os.stat(place)
        return stat.st_dev, stat.st_ino

    home, known = Path(root).resolve(), extensions()
    files: dict[str, list[str]] = {name: [] for name in names}
    passed: dict[str, str] = {}
    entered = {identity(place) for place in (home, *home.parents)}
    places = [(name, os.path.join(root, name)) for name in files]
    folders = [each for each in places[::-1] if not os.path.islink(each[1])]
    links = [each for each in places if os.path.islink(each[1])]
    while folders or links:
        name, place = folders.pop() if folders else links.pop(0)
        try:
            if (this := identity(place)) in entered:
                passed[place] = AGAIN
                continue
            entered.add(this)
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            passed[place] = f"folder that cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            if (kind := kind_of(entry, known)) == PICTURE:
                files[name].append(entry.path)
            elif kind == FOLDER:
                (links if entry.is_symlink() else folders).append((name, entry.path))
            else:
                passed[entry.path] = kind
    return {name: sorted(found) for name, found in files.items()}, passed


def kind_of(entry: os.DirEntry[str], known: Sequence[str]) -> str:
    """`FOLDER`, `PICTURE` by its extension, or why it is neither."""
    ending = os.path.splitext(entry.name)[1].lower()
    if hidden(entry.name):
        return HIDDEN
    # a link to itself makes entry.is_dir() raise
    link, path = entry.is_symlink(), entry.path
    if os.path.isdir(path) if link else entry.is_dir():
        return FOLDER
    if not (os.path.isfile(path) if link else entry.is_file()):
        return "link that leads nowhere" if link else OTHER
    if ending in known:
        return PICTURE
    guess = mimetypes.guess_type(entry.name)[0] or ""
    if ending in FOREIGN or guess.startswith("image/"):
        return f"in a format that cannot be read here ({ending}: convert to JPEG, or install a Pillow plugin)"
    if guess:
        return OTHER
    try:
        with Image.open(path, formats=formats()) as image:
            return f"without a picture's extension, but {image.format} by content (rename to read them)"
    except Exception:  # each of the formats has errors of its own
        return OTHER


def hidden(name: str) -> bool:
    """Not the user's: macOS leaves ._*, Jupyter .ipynb_checkpoints, a file server @eaDir."""
    return name.startswith(".") or name in SYSTEM


def extensions() -> Sequence[str]:
    return [end for end, kind in Image.registered_extensions().items() if kind not in pictures.NO_PICTURES]


def subfolders(folder: str | Path) -> list[str]:
    return sorted(p.name for p in Path(folder).iterdir() if p.is_dir() and not hidden(p.name))


def folder(path: str, split: str | None = None, exif: bool = True) -> LabelledImages:
    """One class per sub-folder, of the whole folder or of its ``split``."""
    top, name = _files.path("name", path), f"folder:{path}"
    if not top.is_dir():
        raise ValueError(f"name: {name!r} is not a folder, want one with a sub-folder of images per class")
    read = pictures.open_image if _check.truth("exif", exif) else pictures.open_stored
    root = _part(top, name, split)
    found, passed = gather(root, subfolders(root))
    known = extensions()
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.name not in found:
            kind = kind_of(entry, known)
            passed[entry.path] = "beside the classes' folders" if kind == PICTURE else kind
        elif not found[entry.name]:
            passed.setdefault(entry.path, EMPTY)
    of_class = {own: files for own, files in found.items() if files}
    told = "; ".join(tally(passed))
    if not of_class:
        over = f" (passed over: {told})" if passed else ""
        raise ValueError(f"name: {name!r} has no sub-folder with images{over}, want one per class")
    classes = _class_names(list(of_class), name)
    if not {*passed.values()} <= {*QUIET}:
        warnings.warn(f"folder: passed over {told} (all: data.passed_over)", stacklevel=3)
    return of_classes(of_class, classes, name=name, split=split or "all", read=read, passed_over=passed)


def of_classes(files: Mapping[str, Sequence[str]], classes: Sequence[str], **how: Any) -> LabelledImages:
    labels = [i for i, own in enumerate(files.values()) for _ in own]
    return pictures.photographs([path for own in files.values() for path in own], labels, classes, **how)


def _part(root: Path, name: str, split: str | None) -> Path:
    """The folder of the classes: that of ``split``, where there are some."""
    try:
        names = subfolders(root)
        splits = [n for n in names if n.lower() in SPLITS and subfolders(root / n)]
    except OSError as error:
        raise ValueError(f"name: {name!r} cannot be opened ({error.strerror})") from error
    if len(splits) < 2 and splits != names:  # a class of locomotives may be called "train"
        splits = []
    if split is None and splits:
        way = f"want split={splits[0]!r}, or {name + '/' + splits[0]!r}"
        raise ValueError(f"split: {name!r} has no classes but the splits {', '.join(splits)}; {way}")
    if split is not None and not splits:
        raise ValueError(f"split: got {split!r}, but {name!r} has no splits; leave split= out")
    return root if split is None else root / _check.one_of("split", split, splits)


def _class_names(folders: Sequence[str], name: str) -> list[str]:
    """Folders' names as class names; a ValueError for what is no name, or the name of two."""
    found: dict[str, list[str]] = {}
    classes = []
    for own in folders:
        wordnet = re.fullmatch(r"(n\d{8})(?:[-_ ]+(.+))?", own)  # a WordNet id alone, or before a name
        said = spaced((wordnet[2] or imagenet_names().get(wordnet[1], "")) if wordnet else own)
        if not said or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in said):
            kind = "a WordNet id that is not in ImageNet-1k" if wordnet else "no name in Unicode"
            raise ValueError(f"name: {name!r} has a folder {own!a}, {kind}; rename it to the class's name")
        # a CLIP's tokenizer sees no difference between forms of a letter, nor between cases
        found.setdefault(unicodedata.normalize("NFKC", said).casefold(), []).append(own)
        classes.append(said)
    if twice := next((ascii(same)[1:-1] for same in found.values() if len(same) > 1), None):
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
            data.images[i]
            return True
        return False

    with ThreadPoolExecutor() as pool:
        found = pool.map(readable, range(len(data)))
        good = torch.tensor([*_show.progress(found, what="reading", total=len(data), unit="image")])
    paths = [str(data.images.items[i]) for i in (~good).nonzero()[:, 0].tolist()]
    if not paths:
        return data
    if not good.any():
        raise ValueError(f"on_error: none of the {len(data)} images can be read, the first is {paths[0]!r}")
    told = f"{_show.few(paths, 10)} (data.skipped)"
    warnings.warn(f"images: {len(paths)} of {len(data)} cannot be read and are skipped: {told}", stacklevel=3)
    return replace(data.take(good), skipped=paths)


def spaced(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())
