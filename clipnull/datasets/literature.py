"""The data sets of the literature, from torchvision or from disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from clipnull import _check, _files
from clipnull.datasets.folders import picture_files, spaced, subfolders
from clipnull.datasets.pictures import FLOWER, PHOTO, LabelledImages, open_image, photographs

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
        raise ValueError(
            f"name: 'coop:{path}' with split {split!r} cannot be read ({type(error).__name__}: {error}), "
            "want a split_zhou_*.json of CoOp with train, val and test"
        ) from error
    table = {int(y): str(c) for part in splits.values() for _, y, c in part}
    if not rows or sorted(table) != list(range(len(table))):
        raise ValueError(
            f"name: 'coop:{path}' has no images or labels with gaps, want classes 0, 1, … in {split!r}"
        )
    # CoOp keeps pictures beside the file or one folder down (jpg/, images/, 101_ObjectCategories/)
    roots = (
        [_files.path("root", root)]
        if root
        else [file.parent, *sorted(d for d in file.parent.iterdir() if d.is_dir())]
    )
    base = next((r for r in roots if any((r / p).exists() for p, _, _ in rows[:100])), None)
    if base is None:
        raise ValueError(
            f"root: no {rows[0][0]!r} in {', '.join(map(str, roots))}; pass root= with the images' folder"
        )
    return photographs(
        [os.path.join(base, p) for p, _, _ in rows],
        [y for _, y, _ in rows],
        [spaced(table[i]) for i in range(len(table))],
        name=f"coop:{file.stem}",
        split=split,
        templates=FLOWER if "flower" in file.name.lower() else PHOTO,
    )


def _missing(name: str, split: str, folder: Path, why: str, hint: str = "") -> ValueError:
    return ValueError(
        f"name: cannot load {name!r} (split {split!r}) from {str(folder)!r}: {why} "
        f"Pass root= with the folder that holds it{hint}."
    )


def _base(name: str, root: str | Path | None, split: str, folder: str, marker: str) -> Path:
    """``root``, or ``folder`` in it: whichever holds ``marker``."""
    place = _files.path("root", root or ROOT)
    for base in (place, place / folder):
        if (base / marker).exists():
            return base
    raise _missing(name, split, place, f"no {marker!r} there, nor in {folder!r}.")


@cache
def _imagenet_names() -> dict[str, str]:
    """WordNet id -> class name of ImageNet-1k as open_clip has it (curated by OpenAI for CLIP)."""
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo

    return dict(zip(ImageNetInfo().label_names(), IMAGENET_CLASSNAMES, strict=True))


def imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """torchvision's layout: ``train/n01440764/*.JPEG`` and ``val/n01440764/*.JPEG``, all classes or some."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES
    from timm.data import ImageNetInfo

    _check.one_of("split", split, ["train", "val"])
    folder = _base("imagenet", root, split, "imagenet", split) / split
    table, info = _imagenet_names(), ImageNetInfo()
    wnids = subfolders(folder)
    if not wnids or not set(wnids) <= table.keys():
        found = next((f"{w!r} is none" for w in wnids if w not in table), "it has no folders")
        why = f"want a folder for each WordNet id of ImageNet-1k, as torchvision makes them; {found}."
        raise _missing("imagenet", split, folder, why)
    files = [picture_files(folder / wnid) for wnid in wnids]
    return photographs(
        [path for of_class in files for path in of_class],
        [i for i, of_class in enumerate(files) for _ in of_class],
        [table[wnid] for wnid in wnids],
        name="imagenet",
        split=split,
        templates=[template("{}") for template in OPENAI_IMAGENET_TEMPLATES],
        keywords=[info.label_name_to_description(wnid).split(", ") for wnid in wnids],
    )


def tiny_imagenet(root: str | Path | None = None, split: str = "val") -> LabelledImages:
    """``tiny-imagenet-200`` as it is unpacked; its test images have no labels."""
    _check.one_of("split", split, ["train", "val"])
    base = _base("tiny-imagenet", root, split, "tiny-imagenet-200", "wnids.txt")

    def rows(file: str) -> list[list[str]]:
        return [line.split("\t") for line in (base / file).read_text(encoding="utf-8").splitlines() if line]

    try:
        wnids, words = [row[0] for row in rows("wnids.txt")], {row[0]: row[1] for row in rows("words.txt")}
        keywords = [words[wnid].split(", ") for wnid in wnids]
        position = {wnid: i for i, wnid in enumerate(wnids)}
        if split == "train":
            files = [(path, i) for w, i in position.items() for path in picture_files(base / "train" / w)]
        else:
            listed, folder = rows("val/val_annotations.txt"), os.path.join(base, "val", "images")
            files = [(os.path.join(folder, row[0]), position[row[1]]) for row in listed]
    except (OSError, ValueError, KeyError, IndexError) as error:
        why = f"a file is not there, or not as it was unpacked ({type(error).__name__}: {error})."
        raise _missing("tiny-imagenet", split, base, why) from error
    classes = [_imagenet_names().get(wnid, own[0]) for wnid, own in zip(wnids, keywords, strict=True)]
    paths, labels = [path for path, _ in files], [i for _, i in files]
    return photographs(paths, labels, classes, name="tiny-imagenet", split=split, keywords=keywords)


def dogs(root: str | Path | None = None, split: str = "test") -> LabelledImages:
    """Stanford Dogs: ``Images/n02085620-Chihuahua/*.jpg``.

    The split is that of a ``split_*.json`` beside ``Images`` (Kravets and Namboodiri have one of their
    own, in CoOp's format), else that of ``train_list.mat`` and ``test_list.mat``, which come with the set.
    """
    base = _base("dogs", root, split, "stanford_dogs", "Images")
    if own := sorted(base.glob("split_*.json")):
        return replace(coop(own[0], split), name="dogs")
    from scipy.io import loadmat

    lists = [folder / f"{split}_list.mat" for folder in (base, base / "lists")]
    try:
        file = next((path for path in lists if path.is_file()), lists[0])
        names = [str(name) for name in np.atleast_1d(loadmat(file, squeeze_me=True)["file_list"])]
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


def _caltech_files(d: Any) -> list[str]:
    folder = os.path.join(d.root, "101_ObjectCategories")
    return [
        os.path.join(folder, d.categories[y], f"image_{i:04d}.jpg") for y, i in zip(d.y, d.index, strict=True)
    ]


def _car_name(name: str) -> str:
    """CoOp puts the year first: 'Audi TT RS Coupe 2012' -> '2012 Audi TT RS Coupe'."""
    rest, _, year = name.rpartition(" ")
    return f"{year} {rest}" if year.isdigit() else name


@dataclass(frozen=True)
class _Torchvision:
    """One of torchvision's sets, and where it keeps its images (paths or arrays), labels and names."""

    cls: str
    items_of: Callable[[Any], Iterable[Any]]
    labels_of: Callable[[Any], Sequence[int]]
    classes_of: Callable[[Any], Sequence[str]] = lambda d: d.classes
    rename: Callable[[str], str] = spaced
    templates: Sequence[str] = tuple(PHOTO)
    dropped: tuple[str, ...] = ()
    split: Callable[[str], dict[str, Any]] = lambda split: {"split": split}


def _train(split: str) -> dict[str, Any]:
    return {"train": _check.one_of("split", split, ["train", "test"]) == "train"}


TORCHVISION = {
    "caltech101": _Torchvision(
        "Caltech101",
        _caltech_files,
        lambda d: d.y,
        lambda d: d.categories,
        lambda name: CALTECH.get(name, spaced(name)),
        dropped=("Faces_easy",),  # as the protocol does; torchvision itself leaves out BACKGROUND_Google
        split=lambda split: {},
    ),
    "flowers102": _Torchvision("Flowers102", lambda d: d._image_files, lambda d: d._labels, templates=FLOWER),
    "pets": _Torchvision("OxfordIIITPet", lambda d: d._images, lambda d: d._labels),
    "cars": _Torchvision(
        "StanfordCars",
        lambda d: [path for path, _ in d._samples],
        lambda d: [y for _, y in d._samples],
        rename=_car_name,
    ),
    **{
        name.lower(): _Torchvision(name, lambda d: d.data, lambda d: d.targets, split=_train)
        for name in ("CIFAR10", "CIFAR100")
    },
    "food101": _Torchvision("Food101", lambda d: d._image_files, lambda d: d._labels),
}


def from_torchvision(
    name: str, root: str | Path | None = None, download: bool = False, split: str = "test"
) -> LabelledImages:
    import torchvision.datasets

    spec, folder = TORCHVISION[name], _files.path("root", root or ROOT)
    chosen = spec.split(split)
    try:
        if not download and not folder.is_dir():  # torchvision would create it
            raise OSError("no such folder.")
        dataset = getattr(torchvision.datasets, spec.cls)(str(folder), download=download, **chosen)
        all_names, all_labels = list(spec.classes_of(dataset)), torch.as_tensor(spec.labels_of(dataset))
    except (RuntimeError, OSError, ValueError, AttributeError) as error:
        hint = ", as torchvision keeps it, or, where there is a network, download=True once"
        raise _missing(name, split, folder, str(error), hint) from error
    items = [item if isinstance(item, np.ndarray) else str(item) for item in spec.items_of(dataset)]
    read = Image.fromarray if isinstance(items[0], np.ndarray) else open_image
    data = photographs(
        items, all_labels, all_names, name, split if chosen else "all", templates=spec.templates, read=read
    )
    data = data.subset([c for c in all_names if c not in spec.dropped])
    return replace(data, classes=[spec.rename(c) for c in data.classes])
