"""The lab's plain state and its presets."""

from __future__ import annotations

from typing import Any, NamedTuple

from clipnull.erasers import ANCHORED, CCUP

__all__ = ["DEFAULT_STATE", "DIALS", "METHODS", "PRESETS", "SIDES", "VIEWS", "Preset"]

#: method -> what the lab calls it
METHODS = {
    "nullspace": "nullspace projection",
    "partial": "partial projection",
    "ccup": "CCUP",
    "mean": "anchored at the mean",
    "word": "anchored at a word",
    "random": "random subspace (control)",
}


SIDES = {"image": "the images", "text": "the texts", "both": "both"}


VIEWS = ("numbers", "curve", "pca", "images", "neighbours", "mathematics", "single")


#: which methods have the λ and μ dials
CONSISTENT = ("ccup", "mean", "word")


STRENGTHS = [i / 20 for i in range(21)]


LAMBDAS = [10 ** (i / 2) for i in range(-4, 9)]


#: where the λ and μ dials stop; a state may hold any other number too
DIALS = [m * 10.0**k for k in range(-2, 4) for m in (1, 3)] + [1e4]


DEFAULT_STATE: dict[str, Any] = {
    "subset": "",  # part of the data, see `Bench.subsets`; empty: the data as they were given
    "forget": ["tiger"],  # class names
    "method": "mean",
    "strength": 1.0,  # α of partial and random
    "lam": ANCHORED[0],
    "mu": ANCHORED[1],
    "word": "an animal",  # anchor of word
    "erase_as": "",  # texts to erase instead of the class names, separated by commas
    "templates": True,
    "synonyms": False,  # the forgotten classes' keywords span the forget subspace too
    "side": "image",
    "seed": 0,  # of the random subspace
    "image": 0,  # row of the data shown by the single-image view
}


class Preset(NamedTuple):
    """An instructive case.

    Attributes
    ----------
    hint : str
        What to look for.
    state : dict
        In `PRESETS`, changes to `DEFAULT_STATE`; in `Bench.presets`, a full state.
    view : str
        The view that shows it.
    """

    hint: str
    state: dict[str, Any]
    view: str


#: name -> case. ``"twin"`` and ``"many"`` as the forget set are chosen by `Bench.presets`.
PRESETS: dict[str, Preset] = {
    "One class, the plain projector": Preset(
        "The class is gone. Who pays for it?", {"method": "nullspace"}, "neighbours"
    ),
    "One class, anchored": Preset(
        "The same class, sent to the mean of the others. Which pictures move?", {}, "pca"
    ),
    "A class with a near twin": Preset(
        "Does its twin go too?", {"forget": "twin", "method": "nullspace"}, "images"
    ),
    "Half a projection": Preset(
        "At which α does the class begin to lose?", {"method": "partial", "strength": 0.5}, "curve"
    ),
    "A whole category": Preset(
        "Every food at once: where do the pictures go?", {"forget": "food-drink"}, "images"
    ),
    "50 random classes": Preset(
        "Many names, CCUP. Who pays? Then switch to an anchor.",
        {"forget": "many", "method": "ccup", "lam": CCUP[0], "mu": CCUP[1]},
        "neighbours",
    ),
    "Synonyms too": Preset(
        "Keywords span more directions. What do they cost?",
        {"synonyms": True, "method": "nullspace"},
        "mathematics",
    ),
    "A name the model does not know": Preset(
        "A word it never read: does erasing it remove the class?",
        {"erase_as": "zyzzyva", "method": "nullspace"},
        "single",
    ),
    "The control": Preset(
        "A random direction of the same rank: does it do anything, at any α?", {"method": "random"}, "curve"
    ),
}
