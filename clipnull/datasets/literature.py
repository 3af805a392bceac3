"""The data sets of the literature, from torchvision or from disk."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipnull import _check, _files
from clipnull.datasets.folders import gather, imagenet_names, of_classes, spaced, subfolders
from clipnull.datasets.pictures import FLOWER, PHOTO, LabelledImages, open_stored, photographs

__all__ = []

#: where the sets of the literature are looked for when no folder is given
ROOT = Path.home() / ".cache" / "clipnull"


def coop(path: str | Path, split: str = "test", root: str | Path | None = None) -> LabelledImages:
    """A CoOp ``split_zhou_*.json``: {"train" | "val" | "test": [[image path, label, class name], …]}."""
    file = _files.path("name", path)
    try:
        splits = json.loads(file.read_text(encoding="utf-8"))
        rows = [(str(p), int(y), str(c)) for p, y, c in splits[split]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        why = f"({type(error).__name__}: {error}), want a split_zhou_*.json of CoOp with train, val and test"
        raise ValueError(f"name: 'coop:{path}' with split {split!r} cannot be read {why}") from error
    table = {int(y): str(c) for part in splits.values() for _, y, c in part}
    if not rows or sorted(table) != list(range(len(table))):
        raise ValueError(f"name: 'coop:{path}' has no images or labels with gaps, want 0, 1, … in {split!r}")
    # CoOp keeps pictures beside the file or one folder down (jpg/, images/, 101_ObjectCategories/)
    beside = [file.parent, *sorted(filter(Path.is_dir, file.parent.iterdir()))]
    roots = [_files.path("root", root)] if root else beside
    base = next((r for r in roots if any((r / p).exists() for p, _, _ in rows[:100])), None)
    if base is None:
        where = ", ".join(map(str, roots))
        raise ValueError(f"root: no {rows[0][0]!r} in {where}; pass root= with the images' folder")
    paths, labels = [os.path.join(base, p) for p, _, _ in rows], [y for _, y, _ in rows]
    classes, templates = [spaced(table[i]) for i in range(len(table))], PHOTO
    if "flower" in file.name.lower():
        templates = FLOWER
    return photographs(paths, labels, classes, f"coop:{file.stem}", split, templates)


def _missing(name: str, split: str, folder: Path, why: str, hint: str = "") -> ValueError:
    way = f"Pass root= with the folder that holds it{hint}."
    return ValueError(f"name: cannot load {name!r} (split {split!r}) from {str(folder)!r}: {why} {way}")


def _base(name: str, root: str | Path | None, split: str, folder: str, marker: str) -> Path:
    place = _files.path("root", root or ROOT)
    for base in (place, place / folder):
        if (base / marker).exists():
            return base
    raise _missing(name, split, place, f"no {marker!r} there, nor in {folder!r}.")


def _below(place: Path, pattern: str) -> Path | None:
    """The first of this name in a folder, or up to three folders down: archives are unpacked in many ways."""
    return next((hit for depth in range(4) for hit in sorted(place.glob("*/" * depth + pattern))), None)


def _table(file: Path, key: str) -> np.ndarray:
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(file, squeeze_me=True)[key])
    except Exception as error:  # SciPy has many, for a file of another kind
        raise ValueError(f"{str(file)!r} cannot be read ({error!r})") from error


def imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """torchvision's layout: ``train/n01440764/*.JPEG`` and ``val/n01440764/*.JPEG``, all classes or some."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES
    from timm.data import ImageNetInfo

    _check.one_of("split", split, ["train", "val"])
    folder = _base("imagenet", root, split, "imagenet", split) / split
    table, info = imagenet_names(), ImageNetInfo()
    wnids = subfolders(folder)
    if not wnids or not set(wnids) <= table.keys():
        found = next((f"{w!r} is none" for w in wnids if w not in table), "it has no folders")
        why = f"want a folder for each WordNet id of ImageNet-1k, as torchvision makes them; {found}."
        raise _missing("imagenet", split, folder, why)
    templates = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    keywords = [info.label_name_to_description(wnid).split(", ") for wnid in wnids]
    how = dict(name="imagenet", split=split, templates=templates, keywords=keywords)
    return of_classes(gather(folder, wnids)[0], [table[wnid] for wnid in wnids], **how)


def tiny_imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """``tiny-imagenet-200`` as it is unpacked, or with ``val`` sorted into folders; test has no labels."""
    _check.one_of("split", split, ["train", "val"])
    base = _base("tiny-imagenet", root, split, "tiny-imagenet-200", "wnids.txt")

    def rows(file: str) -> list[list[str]]:
        return [line.split("\t") for line in (base / file).read_text(encoding="utf-8").splitlines() if line]

    try:
        wnids, words = [row[0] for row in rows("wnids.txt")], {row[0]: row[1] for row in rows("words.txt")}
        keywords = [words[wnid].split(", ") for wnid in wnids]
        classes = [imagenet_names().get(wnid, own[0]) for wnid, own in zip(wnids, keywords, strict=True)]
        how: dict[str, Any] = dict(name="tiny-imagenet", split=split, keywords=keywords)
        for folder in (base / split, base / split / "images"):
            if any((folder / wnid).is_dir() for wnid in wnids):
                return of_classes(gather(folder, wnids)[0], classes, **how)
        # only val has a list
        listed, position = rows(f"{split}/{split}_annotations.txt"), {w: i for i, w in enumerate(wnids)}
        paths = [os.path.join(base, split, "images", row[0]) for row in listed]
        return photographs(paths, [position[row[1]] for row in listed], classes, **how)
    except (OSError, ValueError, KeyError, IndexError) as error:
        why = f"a file is not there, or not as it was unpacked ({type(error).__name__}: {error})."
        raise _missing("tiny-imagenet", split, base, why) from error


def dogs(root: str | Path | None = None, split: str = "test") -> LabelledImages:
    """Stanford Dogs: ``Images/n02085620-Chihuahua/*.jpg``, split by CoOp's json or the set's own lists."""
    base = _base("dogs", root, split, "stanford_dogs", "Images")
    if own := sorted(base.glob("split_*.json")):
        return replace(coop(own[0], split), name="dogs")
    lists = [folder / f"{split}_list.mat" for folder in (base, base / "lists")]
    try:
        file = next((path for path in lists if path.is_file()), lists[0])
        names = [str(name) for name in _table(file, "file_list")]
        position = {folder: i for i, folder in enumerate(subfolders(base / "Images"))}
        labels = [position[name.split("/")[0]] for name in names]
    except (OSError, ValueError, KeyError) as error:
        why = f"want a split_*.json, or {split}_list.mat there or in 'lists' ({error!r})."
        raise _missing("dogs", split, base, why) from error
    paths = [os.path.join(base, "Images", name) for name in names]
    classes = [spaced(folder.partition("-")[2]) for folder in position]
    return photographs(paths, labels, classes, name="dogs", split=split)


#: the protocol's names (CoOp's) are singular where the folder has a plural
CALTECH = {"Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike", "airplanes": "airplane"}


def caltech101(root: str | Path | None = None, download: bool = False, split: str = "test") -> LabelledImages:
    """Caltech-101: ``101_ObjectCategories/Faces/*.jpg``; no splits, and as in the protocol no Faces_easy."""
    place, marker = _files.path("root", root or ROOT), "101_ObjectCategories"
    found = _below(place / "caltech101", marker) or _below(place, marker)
    if found is None and download:
        _opened("caltech101", "Caltech101", place, "all", download=True)
        found = _below(place, marker)
    if found is None:
        raise _missing("caltech101", "all", place, f"no folder {marker!r} there.", DOWNLOAD)
    names = [name for name in subfolders(found) if name not in ("BACKGROUND_Google", "Faces_easy")]
    return of_classes(gather(found, names)[0], [CALTECH.get(n, spaced(n)) for n in names], name="caltech101")


def cars(root: str | Path | None = None, split: str = "test") -> LabelledImages:
    """Stanford Cars as torchvision keeps them, or as Kaggle does (``cars_train/cars_train/*.jpg``)."""
    # a browser adds (1) to what was fetched before
    tables = {"train": "cars_train_annos.mat", "test": "cars_test_annos_withlabels*.mat"}
    place, listed = _files.path("root", root or ROOT), tables[_check.one_of("split", split, tables)]
    meta, annotations = _below(place, "cars_meta.mat"), _below(place, listed)
    if meta is None or annotations is None:
        why = f"no {'cars_meta.mat' if meta is None else listed!r} there."
        if meta is not None and split == "test":
            why += " Without it, as on Kaggle, the test pictures have no labels: take split='train', or"
            why += " CoOp's labels, 'coop:PATH/split_zhou_StanfordCars.json'."
        raise _missing("cars", split, place, why)
    try:
        names, rows = _table(meta, "class_names"), _table(annotations, "annotations")
        files = [str(row["fname"]) for row in rows]
        labels = _check.labels("class", [int(row["class"]) - 1 for row in rows], len(rows), len(names))
    except (ValueError, KeyError, IndexError) as error:
        raise _missing("cars", split, place, f"a table is not as it was published ({error}).") from error
    first = _below(place, f"cars_{split}/{glob.escape(files[0])}")
    if first is None:
        raise _missing("cars", split, place, f"no 'cars_{split}/{files[0]}' there.")
    paths, classes = [os.path.join(first.parent, file) for file in files], [_car_name(str(n)) for n in names]
    return photographs(paths, labels, classes, name="cars", split=split)


def _car_name(name: str) -> str:
    """CoOp puts the year first: 'Audi TT RS Coupe 2012' -> '2012 Audi TT RS Coupe'."""
    rest, _, year = name.rpartition(" ")
    return f"{year} {rest}" if year.isdigit() else name


#: torchvision's class, where it keeps images (paths or arrays) and labels, prompts
TORCHVISION = {
    "flowers102": ("Flowers102", "_image_files", "_labels", FLOWER),
    "pets": ("OxfordIIITPet", "_images", "_labels", PHOTO),
    "cifar10": ("CIFAR10", "data", "targets", PHOTO),
    "cifar100": ("CIFAR100", "data", "targets", PHOTO),
    "food101": ("Food101", "_image_files", "_labels", PHOTO),
}
#: what else helps where torchvision's set is missing
DOWNLOAD = ", as torchvision keeps it, or, where there is a network, download=True once"


def _opened(name: str, cls: str, folder: Path, shown: str, **how: Any) -> Any:
    import torchvision.datasets

    try:
        if not how["download"] and not folder.is_dir():  # torchvision would create it
            raise OSError("no such folder.")
        return getattr(torchvision.datasets, cls)(str(folder), **how)
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        raise _missing(name, shown, folder, str(error), DOWNLOAD) from error


def from_torchvision(
    name: str, root: str | Path | None = None, download: bool = False, split: str = "test"
) -> LabelledImages:
    cls, images, labels, templates = TORCHVISION[name]
    how: dict[str, Any] = {"split": split}
    if cls.startswith("CIFAR"):
        how = {"train": _check.one_of("split", split, ["train", "test"]) == "train"}
    dataset = _opened(name, cls, _files.path("root", root or ROOT), split, download=download, **how)
    items = [item if isinstance(item, np.ndarray) else str(item) for item in getattr(dataset, images)]
    read = Image.fromarray if isinstance(items[0], np.ndarray) else open_stored
    classes = [spaced(c) for c in dataset.classes]
    return photographs(items, getattr(dataset, labels), classes, name, split, templates=templates, read=read)


SETS: dict[str, Callable[..., LabelledImages]] = {
    "coop:PATH": coop,
    "imagenet": imagenet,
    "tiny-imagenet": tiny_imagenet,
    "dogs": dogs,
    "caltech101": caltech101,
    "cars": cars,
    **{name: partial(from_torchvision, name) for name in TORCHVISION},
}
