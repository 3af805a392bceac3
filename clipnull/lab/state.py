"""The lab's plain state: its keys and defaults, its check, and the instructive cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from clipnull import _check
from clipnull.erasers import DEFAULTS, METHODS, Method
from clipnull.evaluation import SIDES

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages

__all__ = ["DEFAULT_STATE", "PRESETS", "STOPS", "VIEWS", "Preset"]

#: `clipnull.erasers.METHODS`, and "word": a forgotten name becomes a text of the reader's
LAB_METHODS: dict[str, Method] = {
    **METHODS,
    "word": replace(
        METHODS["hull"],
        name="word",
        becomes="a word of yours",
        defaults=dict(zip(("lam", "mu"), DEFAULTS["given"], strict=True)),
    ),
}
#: what menus and figures call them: the name and what a forgotten name becomes
TITLES = {name: f"{name} ({method.becomes.split(',')[0]})" for name, method in LAB_METHODS.items()}

VIEWS = ("numbers", "curve", "pca", "images", "neighbours", "mathematics", "single")

#: where the λ and μ sliders stop; a state may hold any other number too
STOPS = [m * 10.0**k for k in range(-2, 4) for m in (1, 3)] + [1e4]
#: values along which the curves are drawn
_POWERS = [10 ** (i / 2) for i in range(-4, 9)]
CURVES = {"strength": [i / 20 for i in range(21)], "lam": _POWERS, "mu": _POWERS}

DEFAULT_STATE: dict[str, Any] = {
    "forget": ["tiger"],  # class names, or a category
    "method": "mean",
    # hyperparameters, None: the method's default, or that it has none
    "strength": None,
    "lam": None,
    "mu": None,
    "word": "an animal",  # what a name becomes by the method "word"
    "erase_as": "",  # texts to erase instead of the class names, separated by commas
    "side": "image",
    "seed": 0,  # of the random subspace
    "image": 0,  # row of the data shown by the single-image view
}


class Preset(NamedTuple):
    """An instructive case: what to look for, its state (in `PRESETS`, changes to the default), its view."""

    hint: str
    state: dict[str, Any]
    view: str


#: name -> case of the default data set
PRESETS: dict[str, Preset] = {
    name: Preset(hint, changes, view)
    for name, view, changes, hint in (
        ("One class, the plain projector", "neighbours", {"method": "nullspace"},
         "The class is gone. Who pays for it?"),
        ("One class, neutral", "pca", {},
         "The same class, sent to the mean of the others. Which pictures move?"),
        ("A class with a near twin", "images", {"forget": ["house"], "method": "nullspace"},
         "“school” is the closest name to it. Does its twin go too?"),
        ("Half a projection", "curve", {"method": "partial", "strength": 0.5},
         "At which α does the class begin to lose?"),
        ("A whole category", "images", {"forget": "food-drink", "method": "hull"},
         "Every food at once, each sent to its relatives: where do the pictures go?"),
        ("Many names, CCUP", "neighbours", {"forget": "animals-nature", "method": "ccup"},
         "Every animal and plant. Who pays? Then switch to the mean."),
        ("Synonyms too", "mathematics", {"erase_as": "tiger, tiger face, big cat", "method": "nullspace"},
         "More words span more directions. What do they cost?"),
        ("A name the model does not know", "single", {"erase_as": "zyzzyva", "method": "nullspace"},
         "A word it never read: does erasing it remove the class?"),
        ("The control", "curve", {"method": "random"},
         "A random direction of the same rank: does it do anything, at any α?"),
    )
}  # fmt: skip


def dials(method: str) -> list[str]:
    """The hyperparameters that are moved, the curve's first: of those that the registry tunes."""
    return [k for k in CURVES if k in LAB_METHODS[method].grid]


def texts_of(line: str) -> list[str]:
    """What stands between the commas."""
    return [t.strip() for t in line.split(",") if t.strip()]


def checked(state: Mapping[str, Any], data: LabelledImages) -> dict[str, Any]:
    """``state`` completed and checked, see `Bench.check`."""
    if not isinstance(state, Mapping):
        raise ValueError(f"state: got {type(state).__name__}, want a dict")
    if unknown := set(state) - set(DEFAULT_STATE):
        raise ValueError(f"state: unknown key {sorted(unknown)[0]!r}, want {', '.join(DEFAULT_STATE)}")
    full = {**DEFAULT_STATE, **state}
    method = _check.one_of("method", full["method"], TITLES)
    _check.one_of("side", full["side"], SIDES)
    full.update(_hyperparameters(method, full))
    full["seed"] = _check.whole("seed", full["seed"], 0, 2**31 - 1)
    full["image"] = _check.whole("image", full["image"], 0, len(data) - 1)
    for key in ("word", "erase_as"):
        if not isinstance(full[key], str):
            raise ValueError(f"{key}: got {full[key]!r}, want a text")
    if full["erase_as"].strip() and not texts_of(full["erase_as"]):
        raise ValueError("erase_as: got commas alone, want texts between them, or nothing")
    if method == "word" and not full["word"].strip():
        raise ValueError("word: got nothing, want the word that a forgotten name should become")
    forget, C = _check.plain(full["forget"]), len(data.classes)
    if isinstance(forget, str) and forget in data.categories:
        forget = [i for i, category in enumerate(data.categories) if category == forget]
    full["forget"] = [data.classes[i] for i in _check.forget_set(forget, C, data.classes)]
    return full


def _hyperparameters(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the method has, checked; None for the others."""
    own, values = dials(method), dict.fromkeys(CURVES)
    for key in own:
        rule = given[key] == "auto" and key == "mu"
        if given[key] is None or (rule and "lam" in own):  # the rule is for λ = ∞ alone
            values[key] = LAB_METHODS[method].defaults[key]
        elif rule:
            values[key] = "auto"
        else:
            high = 1.0 if key == "strength" else float("inf")
            values[key] = _check.number(key, given[key], 0.0, high, allow_inf=key == "lam")
    return values


def presets_of(data: LabelledImages) -> dict[str, Preset]:
    """`PRESETS` as full states of a data set; where it lacks what they forget, its first class is."""
    out = {}
    for name, (hint, changes, view) in PRESETS.items():
        forget = changes.get("forget", DEFAULT_STATE["forget"])
        kinds, names = {*data.categories}, {*data.classes}
        there = forget in kinds and len(kinds) > 1 if isinstance(forget, str) else {*forget} <= names
        state = checked({**changes, "forget": forget if there else data.classes[:1]}, data)
        rows = data.where(state["forget"][0]).tolist()
        out[name] = Preset(hint, {**state, "image": rows[0] if rows else 0}, view)
    return out
