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

    ``"twemoji"`` and ``"openmoji"`` (PocketCLIP was trained on it) are the same classes in the same scenes by
    two artists. ``scenes`` is the number of images per class (8; the first is clean, upright on white), or
    what to show, ``[Scene(upside_down=True)]``: a scene given again is drawn differently. ``seed`` draws
    them; ``size`` is their width in pixels (64; of two numbers, as some models have them, the larger).
    ``subset``, which is a list of class names for any set, may here be ``"classroom"`` (see `classroom`; the
    default), ``"all"`` (853) or a category such as ``"food-drink"``.

    ``"folder:PATH"`` has one sub-folder of images per class, or folders ``"train"``, ``"test"``, … of such,
    of which ``split`` is one; ``exif=False`` leaves pictures as they are stored, neither turned nor in the
    colours of their profile. ``"coop:PATH/split_zhou_X.json"`` is a split of CoOp. ``"caltech101"``,
    ``"flowers102"``, ``"pets"``, ``"cars"``, ``"cifar10"``, ``"cifar100"``, ``"food101"``, as torchvision
    keeps them, and ``"dogs"`` (Stanford Dogs) take the folder ``root`` (``"cars:ROOT"`` is short for it),
    ``split`` (``"test"``) and, of torchvision's, ``download`` (no).

    ``on_error="skip"`` reads all images now, leaves out those that cannot be read (``data.skipped``) and
    warns. Options that the set of ``CLIPNULL_DATA`` does not have are ignored: a notebook's cell fits any.
    Prompts are those of arXiv 2407.07485; class names CoOp's and open_clip's.
    """
    from_environment = name is None
    name = (os.environ.get("CLIPNULL_DATA") or "twemoji") if name is None else name
    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(name, str):
        raise ValueError(f"name: got {name!r}, want one of {', '.join(LOADERS)}")
    _check.one_of("on_error", on_error, ["raise", "skip"])
    loader = _loader(name)
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
        if isinstance(subset, str) and (subset == "all" or from_environment):
            subset = None
        if subset is not None:
            data = data.subset(_check.class_indices("subset", subset, len(data.classes), data.classes))
        data = without_broken(data) if on_error == "skip" else data
    subset = subset if subset is None or isinstance(subset, str) else list(data.classes)
    data.loaded_with, data.picked = {"name": name, "subset": subset, "on_error": on_error, **options}, None
    return data
