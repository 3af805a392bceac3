"""The lab's plain state: its keys and defaults, its check, and the instructive cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from clipnull import _check
from clipnull.erasers import DEFAULTS, METHODS
from clipnull.evaluation import SIDES

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages

__all__ = ["DEFAULT_STATE", "DIALS", "PRESETS", "VIEWS", "Preset"]

#: the methods of `clipnull.erasers.METHODS`, and "word", which is "mean" at the embedding of a text
TITLES = {
    "nullspace": "nullspace projection",
    "partial": "partial projection",
    "ccup": "CCUP",
    "mean": "anchored at the mean",
    "word": "anchored at a word",
    "random": "random subspace (control)",
}

VIEWS = ("numbers", "curve", "pca", "images", "neighbours", "mathematics", "single")

#: values of α and λ along which the curves are drawn
STRENGTHS = [i / 20 for i in range(21)]
LAMBDAS = [10 ** (i / 2) for i in range(-4, 9)]

#: where the λ and μ sliders stop; a state may hold any other number too
DIALS = [m * 10.0**k for k in range(-2, 4) for m in (1, 3)] + [1e4]

DEFAULT_STATE: dict[str, Any] = {
    "subset": "",  # part of the data, see `Bench.subsets`; empty: the data as they were given
    "forget": ["tiger"],  # class names
    "method": "mean",
    "strength": 1.0,  # α of partial and random
    "lam": DEFAULTS["mean"][0],
    "mu": DEFAULTS["mean"][1],
    "word": "an animal",  # anchor of word
    "erase_as": "",  # texts to erase instead of the class names, separated by commas
    "templates": True,
    "synonyms": False,  # the forgotten classes' keywords span the forget subspace too
    "side": "image",
    "seed": 0,  # of the random subspace
    "image": 0,  # row of the data shown by the single-image view
}


class Preset(NamedTuple):
    """An instructive case: what to look for, its state (in `PRESETS`, changes to the default), its view."""

    hint: str
    state: dict[str, Any]
    view: str


#: name -> case. ``"twin"`` and ``"many"`` as the forget set are chosen by `presets_of`.
PRESETS: dict[str, Preset] = {
    name: Preset(hint, changes, view)
    for name, view, changes, hint in (
        ("One class, the plain projector", "neighbours", {"method": "nullspace"},
         "The class is gone. Who pays for it?"),
        ("One class, anchored", "pca", {},
         "The same class, sent to the mean of the others. Which pictures move?"),
        ("A class with a near twin", "images", {"forget": "twin", "method": "nullspace"},
         "Does its twin go too?"),
        ("Half a projection", "curve", {"method": "partial", "strength": 0.5},
         "At which α does the class begin to lose?"),
        ("A whole category", "images", {"forget": "food-drink"},
         "Every food at once: where do the pictures go?"),
        ("50 random classes", "neighbours", {"forget": "many", "method": "ccup", **METHODS["ccup"].defaults},
         "Many names, CCUP. Who pays? Then switch to an anchor."),
        ("Synonyms too", "mathematics", {"synonyms": True, "method": "nullspace"},
         "Keywords span more directions. What do they cost?"),
        ("A name the model does not know", "single", {"erase_as": "zyzzyva", "method": "nullspace"},
         "A word it never read: does erasing it remove the class?"),
        ("The control", "curve", {"method": "random"},
         "A random direction of the same rank: does it do anything, at any α?"),
    )
}  # fmt: skip


def defaults(method: str) -> dict[str, Any]:
    """The hyperparameters of a method of the lab, from the registry."""
    return METHODS["mean" if method == "word" else method].defaults


def dials(method: str) -> list[str]:
    """The hyperparameters that are moved, the curve's first: the plain projection has none."""
    return [k for k in ("strength", "lam", "mu") if k in defaults(method)] if method != "nullspace" else []


def texts_of(line: str) -> list[str]:
    """What stands between the commas."""
    return [t.strip() for t in line.split(",") if t.strip()]


def checked(state: Mapping[str, Any], data_of: Callable[[str], LabelledImages]) -> dict[str, Any]:
    """``state`` completed and checked, see `Bench.check`; ``data_of`` gives the data of a subset."""
    if unknown := set(state) - set(DEFAULT_STATE):
        raise ValueError(f"state: unknown key {sorted(unknown)[0]!r}, want {', '.join(DEFAULT_STATE)}")
    full = {**DEFAULT_STATE, **state}
    data = data_of(full["subset"])
    _check.one_of("method", full["method"], TITLES)
    _check.one_of("side", full["side"], SIDES)
    full["strength"] = _check.number("strength", full["strength"], 0.0, 1.0)
    full["lam"], full["mu"] = (_check.number(k, full[k], 0.0) for k in ("lam", "mu"))
    full["seed"] = _check.whole("seed", full["seed"], 0, 2**31 - 1)
    full["image"] = _check.whole("image", full["image"], 0, len(data) - 1)
    for key, kind, want in (
        ("templates", bool, "True or False"), ("synonyms", bool, "True or False"),
        ("word", str, "a text"), ("erase_as", str, "a text"),
    ):  # fmt: skip
        if not isinstance(full[key], kind):
            raise ValueError(f"{key}: got {full[key]!r}, want {want}")
    if full["erase_as"].strip() and not texts_of(full["erase_as"]):
        raise ValueError("erase_as: got commas alone, want texts between them, or nothing")
    if full["method"] == "word" and not full["word"].strip():
        raise ValueError("word: got nothing, want the word that a forgotten name should become")
    full["forget"] = _forget(full["forget"], full["seed"], data)
    return full


def _forget(forget: Any, seed: int, data: LabelledImages) -> list[str]:
    """Class names of a category, a number of random classes, a share of all, or names."""
    classes, C, forget = data.classes, len(data.classes), _check.plain(forget)
    if isinstance(forget, str) and forget in data.categories:
        forget = [c for c, category in zip(classes, data.categories, strict=True) if category == forget]
    elif isinstance(forget, (int, float)) and not isinstance(forget, bool):
        _check.number("forget", forget, 0.0)
        k = round(forget * C) if isinstance(forget, float) and forget < 1 else int(forget)
        order = torch.randperm(C, generator=torch.Generator().manual_seed(seed))
        forget = sorted(order[:k].tolist())
    return [classes[i] for i in _check.forget_set(forget, C, classes)]


def presets_of(
    data: LabelledImages, T: torch.Tensor, check: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Preset]:
    """`PRESETS` for a data set with names ``T [C, d]``, as full states; names that it lacks are replaced."""
    known, C, out = {*data.classes, *data.categories}, len(data.classes), {}
    for name, (hint, changes, view) in PRESETS.items():
        state = {**DEFAULT_STATE, **changes}
        forget = state["forget"]
        if forget == "twin":
            i, j, cosine = _twins(data, T)
            state["forget"] = [data.classes[i]]
            hint = f"“{data.classes[j]}” is the closest name to it (cosine {cosine:.2f}). {hint}"
        elif forget == "many":
            state["forget"] = 50 if C > 60 else max(C // 2, 1)
            name = f"{state['forget']} random classes"
        elif isinstance(forget, list) and not known.issuperset(forget):
            state["forget"] = [data.classes[0]]
        elif isinstance(forget, str) and forget not in known:
            state["forget"] = 0.2  # no such category: a fifth of the classes
        state = check(state)
        rows = data.where(state["forget"][0]).tolist()
        out[name] = Preset(hint, {**state, "image": rows[0] if rows else 0}, view)
    return out


def _twins(data: LabelledImages, T: torch.Tensor) -> tuple[int, int, float]:
    """The two names of one subcategory with the largest cosine, and it."""
    cosine = (T @ T.T).fill_diagonal_(-2.0)
    kinds = list(dict.fromkeys(data.subcategories))
    kind = torch.tensor([kinds.index(k) for k in data.subcategories])
    kin = (kind[:, None] == kind) & (cosine > -2)
    if kin.any():
        cosine[~kin] = -2.0
    i, j = divmod(int(cosine.argmax()), len(T))
    return i, j, float(cosine[i, j])
