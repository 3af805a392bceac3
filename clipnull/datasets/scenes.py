"""A scene in a few words: what a picture of an emoji shows. PocketCLIP's training draws from the same."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, TypeAlias

from clipnull import _check

__all__ = ["Scene"]

Size = Literal["small", "medium", "large"]
Place = Literal["centre", "left", "right", "top", "bottom"]
Light = Literal["dark", "normal", "bright"]
Pair: TypeAlias = tuple[float, float]
#: backgrounds that have a name, RGB in [0, 1]
COLOURS = {
    "red": (0.85, 0.15, 0.15), "orange": (0.95, 0.55, 0.15), "yellow": (0.95, 0.85, 0.25),
    "green": (0.2, 0.65, 0.25), "turquoise": (0.25, 0.8, 0.75), "blue": (0.2, 0.35, 0.85),
    "purple": (0.55, 0.25, 0.7), "pink": (0.95, 0.6, 0.75), "brown": (0.5, 0.33, 0.2),
    "grey": (0.55, 0.55, 0.55), "black": (0.08, 0.08, 0.08),
}  # fmt: skip
#: how far the art is zoomed out: 1 fills the frame, 2 half of its width; ranges that do not meet
ZOOM: dict[Size, Pair] = {"large": (0.75, 0.93), "medium": (0.95, 1.42), "small": (1.55, 2.0)}
#: brightness of the art; again ranges that do not meet
GAIN: dict[Light, Pair] = {"dark": (0.6, 0.76), "normal": (0.84, 1.08), "bright": (1.16, 1.35)}
#: centre of a small object; the frame is [-1, 1] wide and y points down
CENTRE: dict[Place, Pair] = {
    "centre": (0.0, 0.0), "left": (-0.45, 0.0), "right": (0.45, 0.0),
    "top": (0.0, -0.45), "bottom": (0.0, 0.45),
}  # fmt: skip
#: how words put it
PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
#: an object is turned by at most so many radians; a named background's channels have this deviation
TURN, SHADE = 0.35, 0.04


class Placement(NamedTuple):
    """Where an object may be: the zoom's range, its centre, and how far it strays from there in x and y."""

    zoom: Pair
    centre: Pair
    reach: Pair


#: the left and the right one of two objects
PAIR = tuple(Placement((1.75, 2.15), (x, 0.0), (0.05, 0.15)) for x in (-0.48, 0.48))


@dataclass(frozen=True, kw_only=True, repr=False)
class Scene:
    """What a picture shows, whatever the class; a ValueError for what none can. ``str(scene)`` says it.

    ``place`` and ``light`` are the object's; only a small one is anywhere but near the centre. The
    ``background`` is "white", "gradient" or one of `COLOURS`. ``beside`` names a second object on its right,
    looked up where it is drawn: both are small then, the left one alone is upside down, and both are grey.
    """

    size: Size = "medium"
    place: Place = "centre"
    upside_down: bool = False
    grey: bool = False
    light: Light = "normal"
    background: str = "white"
    blurred: bool = False
    beside: str | None = None

    def __post_init__(self) -> None:
        backgrounds = ["white", *COLOURS, "gradient"]
        options: dict[str, Iterable[str]] = dict(size=ZOOM, place=CENTRE, light=GAIN, background=backgrounds)
        for name, known in options.items():
            _check.one_of(name, getattr(self, name), known)
        _check.fields(self)
        if self.place != "centre" and self.size != "small":
            raise ValueError(f"place: got {self.place!r} for a {self.size} object, want size='small' with it")
        if self.beside is not None and self.size != "medium":
            raise ValueError(f"beside: got size {self.size!r} for two objects, want no size with it")

    def __repr__(self) -> str:
        given = [f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) != f.default]
        return f"cn.datasets.{type(self).__name__}({', '.join(given)})"

    def __str__(self) -> str:
        beside = f"beside {article(self.beside)} {self.beside}" if self.beside is not None else ""
        said = [*self.adjectives, "upside down" * self.upside_down, PLACES.get(self.place, ""), beside]
        if self.background != "white":
            said.append(f"on {article(self.background)} {self.background} background")
        return ", ".join(filter(None, said)) or "on a white background"

    @property
    def adjectives(self) -> list[str]:
        """All that are true, in the order of English."""
        light, size = self.light.replace("normal", ""), self.size.replace("medium", "")
        return [*filter(None, ["blurry" * self.blurred, light, size, "grey" * self.grey])]

    @property
    def placement(self) -> Placement:
        """Of the object; of two, the left one."""
        if self.beside is not None:
            return PAIR[0]
        reach = 0.08 if self.size == "small" else 0.15
        return Placement(ZOOM[self.size], CENTRE[self.place], (reach, reach))


def article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def random_background(rng: random.Random) -> str:
    kind = rng.choices(["white", "named", "gradient"], [0.3, 0.5, 0.2])[0]
    return rng.choice(list(COLOURS)) if kind == "named" else kind


def random_scene(rng: random.Random) -> Scene:
    """A plain scene: one object, upright, medium or large, sharp, in its own colours, on anything."""
    sizes: list[Size] = ["large", "medium"]
    return Scene(size=rng.choices(sizes, [0.25, 0.75])[0], background=random_background(rng))
