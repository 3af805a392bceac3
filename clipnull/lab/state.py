"""The lab's plain state: its keys and defaults, and five cases to look at."""

from typing import Any, NamedTuple

from clipnull.erasers import METHODS

__all__ = ["DEFAULT_STATE", "EXAMPLES", "STOPS", "Example"]

#: what menus and figures call the methods: the name and what a forgotten name becomes
TITLES = {name: f"{name} ({method.becomes.split(',')[0]})" for name, method in METHODS.items()}
#: the key of a state that says what the eraser is told: every prompt that the table has
EVERY = "every prompt"

#: where the λ and μ sliders stop; a state may hold any other number too
STOPS = [m * 10.0**k for k in range(-2, 4) for m in (1, 3)] + [1e4]
#: what hyperparameters are called, and what they do
SIGNS = {
    "strength": ("α", "strength of the projection"),
    "lam": ("λ", "how much of the forgotten names must go"),
    "mu": ("μ", "how firmly the kept names stay"),
    "scale": ("length", "of the mean that a name becomes"),
    "margin": ("to mean", "share of the mean in the mixture"),
}
#: those from 0 to 1; the values along which the curves are drawn
PARTS = ["strength", "scale", "margin"]
CURVES = {
    k: [i / 20 for i in range(21)] if k in PARTS else [10 ** (i / 2) for i in range(-4, 9)] for k in SIGNS
}

DEFAULT_STATE: dict[str, Any] = {
    "forget": ["bus"],  # class names, or a category
    "method": "mean",
    **dict.fromkeys(CURVES),  # hyperparameters, None: the method's default, or that it has none
    "side": "image",
    "told": "",  # prompt of the names that the eraser reads, "": the table's own; or EVERY
    "asked": "",  # prompt of the names that pictures are compared with
    "listed": 1.0,  # share of the kept names that the eraser is told of
    "dimensions": None,  # of the space; fewer than it has: the main ones of its names
    "seed": 0,  # of what is drawn: classes, listed names, the random subspace
    "image": None,  # row of the data shown by *One picture*, None: the first of a forgotten class
}


class Example(NamedTuple):
    """A case: its question, which classes it draws (`Bench.drawn`), changes to the default, its view."""

    question: str
    draws: str | int
    changes: dict[str, Any]
    view: str


#: name -> case. Here True stands for another prompt than the table's own, 0.5 for half as many as names.
EXAMPLES = {
    "a twin": Example(
        "Two names that are nearly one, and one of them is projected out. What becomes of the other?",
        "twin", {"method": "nullspace"}, "neighbours"),
    "alone": Example(
        "A name that no other one is near is projected out. Who pays now?",
        "alone", {"method": "nullspace"}, "neighbours"),
    "another prompt": Example(
        "The model is asked with a prompt that the eraser has not read. First CCUP, then the mean.",
        10, {"method": "ccup", "asked": True}, "numbers"),
    "an open list": Example(
        "No forgotten name wins among all names. And in shorter lists? First the hull, then the mean.",
        5, {"method": "hull"}, "numbers"),
    "no room": Example(
        "Half as many dimensions as names. Which promise breaks, and which holds?",
        10, {"method": "hull", "mu": 1e4, "dimensions": 0.5}, "mathematics"),
}  # fmt: skip


def dials(method: str) -> list[str]:
    """The hyperparameters that are moved, the curve's first: of those that the registry tunes."""
    return [k for k in CURVES if k in METHODS[method].grid]
