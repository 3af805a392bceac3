"""One door to all the data sets, and those of the literature, from torchvision or from disk."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from clipnull import _check, _files
from clipnull.datasets.emoji import emoji
from clipnull.datasets.folders import folder, spaced, subfolders, without_broken
from clipnull.datasets.pictures import FLOWER, PHOTO, Images, LabelledImages, photographs

__all__ = ["LOADERS", "load"]

ROOT = Path.home() / ".cache" / "clipnull"  # of the literature's sets, when no other is given
#: the protocol's names (CoOp's) are singular where Caltech's folder has a plural
CALTECH = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", "airplanes": "airplane"}


def coop(path: str, split: str = "test") -> LabelledImages:
    """A CoOp ``split_zhou_*.json``: {"train" | "val" | "test": [[image path, label, class name], …]}."""
    file = _files.path("name", path)
    try:
        splits = json.loads(file.read_text(encoding="utf-8"))
        paths, labels = zip(*((str(p), int(y)) for p, y, _ in splits[split]), strict=True)
        table = {int(y): spaced(str(c)) for part in splits.values() for _, y, c in part}
        classes = [table[i] for i in range(len(table))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        want = "want a split_zhou_*.json of CoOp: train, val and test, of pictures of classes 0, 1, …"
        raise ValueError(f"name: 'coop:{path}' ({split}) cannot be read ({error!r}), {want}") from error
    # CoOp keeps pictures beside the file or one folder down (jpg/, images/, 101_ObjectCategories/)
    for base in [file.parent, *sorted(filter(Path.is_dir, file.parent.iterdir()))]:
        if any((base / p).exists() for p in paths[:100]):
            items, name = [os.path.join(base, p) for p in paths], f"coop:{file.stem}"
            templates = FLOWER if "flower" in file.name.lower() else PHOTO
            return photographs(items, labels, classes, name, split=split, templates=templates)
    raise ValueError(f"name: 'coop:{path}' ({split}): no {paths[0]!r} beside it, or one folder down")


def dogs(root: str | Path | None = None, split: str = "test") -> LabelledImages:
    """Stanford Dogs: ``Images/n02085620-Chihuahua/*.jpg``, and ``test_list.mat`` there or in ``lists``."""
    from scipy.io import loadmat

    with _looking("dogs", root, "stanford_dogs") as place:
        folders, lists = subfolders(place / "Images"), place / "lists"
        file = (lists if lists.is_dir() else place) / f"{split}_list.mat"
        names = [cell.item() for cell in loadmat(str(file))["file_list"].ravel()]
        labels = [folders.index(name.partition("/")[0]) for name in names]
    classes = [spaced(own.partition("-")[2]) for own in folders]
    return photographs([str(place / "Images" / name) for name in names], labels, classes, "dogs", split=split)


def caltech101(root: str | Path | None = None, download: bool = False, split: str = "test") -> LabelledImages:
    """Caltech-101: ``101_ObjectCategories/Faces/*.jpg``; no splits, and as in the protocol no Faces_easy."""
    if split != "test":
        raise ValueError(f"split: got {split!r}, but Caltech-101 has none; want CoOp's, as 'coop:PATH'")
    if download:
        _opened("caltech101", "Caltech101", root, download=True)
    with _looking("caltech101", root, "caltech101", "caltech-101") as place:
        data = folder(str(place / "101_ObjectCategories"), exif=False)
    data = data.subset([c for c in data.classes if c not in ("BACKGROUND Google", "Faces easy")])
    return replace(data, classes=[CALTECH.get(c, c) for c in data.classes], name="caltech101")


def from_torchvision(
    name: str, cls: str, fields: str, root: str | None = None, download: bool = False, split: str = "test"
) -> LabelledImages:
    """Of torchvision's class ``cls``, whose ``fields`` are paths or arrays and labels, or pairs of them."""
    how: dict[str, Any] = {"split": split}
    if cls.startswith("CIFAR"):
        how = {"train": _check.one_of("split", split, ["train", "test"]) == "train"}
    dataset = _opened(name, cls, root, download=download, **how)
    found = attrgetter(*fields.split())(dataset)
    items, labels = found if " " in fields else zip(*found, strict=True)
    # CoOp has a car's year first
    classes = [re.sub(r"(.+) (\d{4})$", r"\2 \1", spaced(c)) for c in dataset.classes]
    templates = FLOWER if "flower" in name else PHOTO
    arrays = isinstance(items[0], np.ndarray)
    images = Images(Image.fromarray, items) if arrays else [*map(str, items)]
    return photographs(images, labels, classes, name, split=split, templates=templates)


def _opened(name: str, cls: str, root: str | Path | None, **how: Any) -> Any:
    import torchvision.datasets

    with _looking(name, root) as place:
        if not how["download"]:
            os.stat(place)  # else torchvision would create it
        return getattr(torchvision.datasets, cls)(str(place), **how)


@contextlib.contextmanager
def _looking(name: str, root: str | Path | None, *folders: str) -> Iterator[Path]:
    """The first of the folders that is in ``root``, or itself; what fails there is said with a way out."""
    place = _files.path("root", root or ROOT)
    try:
        yield next((place / own for own in folders if (place / own).is_dir()), place)
    except Exception as error:  # torchvision, SciPy and files of another kind have many
        way = "root= with its folder, as torchvision keeps it, or download=True once where torchvision can"
        what = f"cannot load {name!r} from {str(place)!r} ({error})"
        raise ValueError(f"name: {what}. Pass {way}; a split_*.json is 'coop:PATH'.") from error


#: what `load` takes, placeholders in capitals -> loader, whose parameters are the options
LOADERS: dict[str, Callable[..., LabelledImages]] = {
    "twemoji": partial(emoji, "twemoji"),
    "openmoji": partial(emoji, "openmoji"),
    "folder:PATH": folder,
    "coop:PATH": coop,
    "dogs": dogs,
    "caltech101": caltech101,
    "cars": partial(from_torchvision, "cars", "StanfordCars", "_samples"),
    "flowers102": partial(from_torchvision, "flowers102", "Flowers102", "_image_files _labels"),
    "pets": partial(from_torchvision, "pets", "OxfordIIITPet", "_images _labels"),
    "cifar10": partial(from_torchvision, "cifar10", "CIFAR10", "data targets"),
    "cifar100": partial(from_torchvision, "cifar100", "CIFAR100", "data targets"),
    "food101": partial(from_torchvision, "food101", "Food101", "_image_files _labels"),
}


def _loader(name: str) -> Callable[..., LabelledImages]:
    kind, colon, path = name.partition(":")
    if path and f"{kind}:PATH" in LOADERS:
        return partial(LOADERS[f"{kind}:PATH"], path)
    found = LOADERS.get(kind)
    if found and not colon:
        return found
    if found and path and "root" in inspect.signature(found).parameters:
        return partial(found, root=path)
    if os.path.isdir(os.path.expanduser(name)) or os.sep in name or name.startswith(("~", ".")):
        what, kind = ("file", "coop:") if name.endswith(".json") else ("folder", "folder:")
        raise ValueError(f"name: got the {what} {name!r}, want {kind + name!r}")
    near = ", ".join(map(repr, _check.closest(name, LOADERS)))
    other = "any other, ImageNet too, is folder:PATH with a sub-folder per class"
    raise ValueError(f"name: unknown data set {name!r}; the closest are {near}; {other}")


def load(
    name: str | None = None,
    *,
    subset: str | Iterable[str | int] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    **options: Any,
) -> LabelledImages:
    """Labelled images by name; by default what ``CLIPNULL_DATA`` says, else ``"twemoji"``.

    ``"twemoji"`` and ``"openmoji"`` (PocketCLIP was trained on it) are the same scenes by two artists:
    ``scenes`` per class (8; the first clean, upright, on white), or which, ``[Scene(upside_down=True)]``, by
    ``seed``, at ``size`` pixels (64). ``subset``, for any set a list of class names, may here be
    ``"classroom"`` (the default; see `classroom`), ``"all"`` (853) or a category such as ``"food-drink"``.
    ``"folder:PATH"`` has a sub-folder of images per class, or folders ``"train"``, ``"test"``, … of such, of
    which ``split`` is one; ``exif=False`` leaves pictures as they are stored. ``"coop:PATH"`` is CoOp's
    ``split_zhou_X.json``. ``"dogs"`` and, as torchvision keeps them, ``"caltech101"``, ``"flowers102"``,
    ``"pets"``, ``"cars"``, ``"food101"``, ``"cifar10"`` and ``"cifar100"`` take the folder ``root``
    (``"cars:ROOT"`` for short), ``split`` ("test") and ``download`` (no).

    ``on_error="skip"`` reads all images now and leaves out those that cannot be read (``data.skipped``).
    Options that the set of ``CLIPNULL_DATA`` does not have are ignored: a notebook's cell fits any.
    """
    from_environment = name is None
    name = (os.environ.get("CLIPNULL_DATA") or "twemoji") if name is None else name
    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    _check.one_of("on_error", on_error, ["raise", "skip"])
    loader = _loader(_check.text("name", name))
    known = {*inspect.signature(loader).parameters}
    for option in options.keys() - known:
        if not from_environment:
            has = ", ".join(sorted({*known, "subset", "on_error"}))
            raise ValueError(f"{option}: {name!r} has no such option, want one of {has}")
        del options[option]
    if "subset" in known:
        data = loader(subset=subset, **options)
    else:
        data = loader(**options)
        if not (subset is None or (isinstance(subset, str) and (subset == "all" or from_environment))):
            data = data.subset(_check.class_indices("subset", subset, len(data.classes), data.classes))
        data = without_broken(data) if on_error == "skip" else data
    subset = subset if subset is None or isinstance(subset, str) else list(data.classes)
    data.loaded_with, data.picked = {"name": name, "subset": subset, "on_error": on_error, **options}, None
    return data
