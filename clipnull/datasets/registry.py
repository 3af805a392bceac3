"""One door to all the data sets."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from clipnull import _check
from clipnull.datasets.emoji import emoji
from clipnull.datasets.folders import folder, without_broken
from clipnull.datasets.literature import SETS
from clipnull.datasets.pictures import LabelledImages

__all__ = ["LOADERS", "load"]

#: what `load` takes, placeholders in capitals -> loader, whose parameters are the options
LOADERS: dict[str, Callable[..., LabelledImages]] = {
    "twemoji": partial(emoji, "twemoji"),
    "openmoji": partial(emoji, "openmoji"),
    "folder:PATH": folder,
    **SETS,
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
    raise ValueError(f"name: unknown data set {name!r}; the closest are {near}")


def load(
    name: str | None = None,
    *,
    subset: str | Iterable[str | int] | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    **options: Any,
) -> LabelledImages:
    """Labelled images by name.

    Parameters
    ----------
    name : str, optional
        ``"twemoji"``; ``"openmoji"``, another artist's pictures of the same classes in the same order and
        scenes (extra ``styles``; PocketCLIP was trained on them); ``"folder:PATH"``, one sub-folder of
        images per class; ``"coop:PATH/split_zhou_X.json"``, a split of CoOp: image path, label, class name;
        ``"caltech101"``, ``"flowers102"``, ``"pets"``, ``"cars"``, ``"cifar10"``, ``"cifar100"``,
        ``"food101"``, as torchvision keeps them; ``"imagenet"`` (``val/n01440764/*.JPEG``),
        ``"tiny-imagenet"``, ``"dogs"`` (Stanford Dogs). ``"cars:ROOT"`` is short for ``root=``. By default
        what ``CLIPNULL_DATA`` says, else ``"twemoji"``; options that the set named there does not have are
        then ignored, so that a notebook's cell fits any set.
    subset : str or list of str, optional
        Class names, for any set. For emoji also ``"classroom"`` (the default: about 100 everyday
        classes, see `classroom`), ``"all"`` (853) or a category such as ``"food-drink"``.
    on_error : {"raise", "skip"}
        Raise when an image that cannot be read is asked for; or read all images now, leave such out
        (``data.skipped``) and warn.
    scenes, seed, size
        Emoji: images per class, default 8, and which. The first is clean (upright on white), the others
        differ in size, place, background and light. Or what to show of every class:
        ``[Scene(upside_down=True), Scene(beside="guitar")]``; a scene given again is drawn differently.
        The width in pixels, default 64; of two numbers, as some models have them, the larger counts.
    split, exif
        Folders: one of the folders ``"train"``, ``"test"``, … where the path holds those and not classes;
        whether pictures are turned as their EXIF says and shown by their colour profile (yes, by default).
    root, split, download
        Sets of the literature and CoOp files, whose pictures are read as stored: the images' folder;
        ``"test"`` by default (``"val"`` for both ImageNets); whether torchvision may fetch them (no).

    References
    ----------
    Prompts: arXiv 2407.07485, for ImageNet OpenAI's 80 (2103.00020). Class names: CoOp, open_clip.
    """
    from_environment = name is None
    name = (os.environ.get("CLIPNULL_DATA") or "twemoji") if name is None else name
    if isinstance(name, os.PathLike):
        name = os.fspath(name)
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want one of {', '.join(LOADERS)}")
    _check.one_of("on_error", on_error, ["raise", "skip"])
    loader = _loader(name)
    known = {*inspect.signature(loader).parameters}
    for option in set(options) - known:
        if not from_environment:
            has = ", ".join(sorted({*known, "subset", "on_error"}))
            raise ValueError(f"{option}: {name!r} has no such option, want one of {has}")
        del options[option]
    if "subset" in known:
        data = loader(subset=subset, **options)
    else:
        data = loader(**options)
        if isinstance(subset, str) and (subset == "all" or from_environment):
            subset = None
        if subset is not None:
            data = data.subset(_check.class_indices("subset", subset, len(data.classes), data.classes))
        data = without_broken(data) if on_error == "skip" else data
    subset = subset if subset is None or isinstance(subset, str) else list(data.classes)
    data.loaded_with, data.picked = {"name": name, "subset": subset, "on_error": on_error, **options}, None
    return data
