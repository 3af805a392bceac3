"""What a plane or globe shows, as plain dataclasses, and how it travels to the browser."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import is_color_like, to_hex
from PIL import Image

from clipnull import _check
from clipnull.measures import TIE
from clipnull.plots import base
from clipnull.plots.base import BLACK, BLUE, FORGET, GREEN, GREY, MARKERS, ORANGE, PURPLE, SERIES, SKY

__all__ = ["Area", "Bar", "Dots", "Drawn", "Line", "Point"]

#: black on a light page, white on a dark one
INK = "ink"
#: role -> colours, in turn where several points have it, and shape; forgotten is vermillion and round
ROLES: dict[str, tuple[list[str], str]] = {
    "forgotten": ([FORGET, ORANGE], "circle"),
    "kept": ([BLUE, GREEN, PURPLE, SKY], "square"),
    "picture": ([INK], "circle"),
    "anchor": ([ORANGE], "diamond"),
    "plain": ([INK], "circle"),
}
#: shape -> matplotlib's marker, in the order in which groups of dots get them
SHAPES = dict(zip(("circle", "square", "triangle", "diamond"), MARKERS, strict=False))


class Part:
    """Checked when made. A colour is a point's name, a role, "ink" (the text's) or one of matplotlib."""

    def __post_init__(self) -> None:
        _check.fields(self)


@dataclass(frozen=True, eq=False)
class Point(Part):
    """A point that the reader drags or, hollow, one that only shows something, ``at`` 2 or 3 numbers.

    Its role gives colour and shape; "kept" and "forgotten" are names, which win regions. A ``thumbnail`` is
    shown on hover, and a "picture" is drawn with it. In the plane it may stay on the unit circle, or
    ``within`` a convex polygon of corners [k, 2] in order, and be an arrow from the origin.
    """

    name: str
    at: Sequence[float]
    role: str = "kept"
    drag: bool = True
    on_circle: bool = False
    within: Any = None
    arrow: bool = False
    colour: str | None = None
    thumbnail: Image.Image | None = None
    after: bool = False  # on the second globe


@dataclass(frozen=True, eq=False)
class Dots(Part):
    """n small points at [n, 2], coloured by group: hover shows picture and name, a click keeps one."""

    at: Any
    names: Sequence[str]
    groups: Sequence[str] | None = None
    thumbnails: Sequence[Image.Image] | None = None
    what: str = "pictures"  # their plural


@dataclass(frozen=True, eq=False)
class Area(Part):
    """A shaded polygon with corners ``points [k, 2]`` in order."""

    points: Any
    colour: str = INK


@dataclass(frozen=True)
class Line(Part):
    """A line from ``a`` to ``b``, or through both with ``extend``; above width 5 a pale strip, a subspace."""

    a: Sequence[float]
    b: Sequence[float]
    label: str = ""
    colour: str = INK
    dash: bool = False
    arrow: bool = False
    extend: bool = False
    width: float = 2.0


@dataclass(frozen=True)
class Bar(Part):
    """A number as a bar, and a dashed tick where it was ``before``; ``text`` replaces its two decimals."""

    name: str
    value: float
    before: float | None = None
    colour: str | None = None  # by default that of the point of its name
    text: str | None = None


@dataclass(frozen=True, eq=False)
class Drawn(Part):
    """What follows from the positions: the answer of a plane's or globe's ``follow``.

    The caption is a sentence with the numbers; ``alt`` says what the drawing shows, unless the caption does.
    names [C, d]: every place is coloured by the name with the largest score x.t; the C rows belong to the
    points that are kept or forgotten, in their order. A globe shows its points unless it is given.
    after [C, 3]: the same after an edit, a second globe beside the first. candidates (C): which take part.
    at [n, d]: corrected positions of the points. dots [n, 2]: where the `Dots` are now.
    """

    caption: str = ""
    alt: str = ""
    areas: Sequence[Area] = ()
    lines: Sequence[Line] = ()
    points: Sequence[Point] = ()
    bars: Sequence[Bar] = ()
    names: Any = None
    after: Any = None
    candidates: Sequence[bool] | None = None
    at: Any = None
    dots: Any = None


_check.TYPES |= {k.__name__: _check.instance(k) for k in (Area, Bar, Dots, Drawn, Image.Image, Line, Point)}


def colour(value: str, known: Mapping[str, str]) -> str:
    """A colour as #rrggbb, or "ink"; ``known`` are those of the points, by name."""
    named = {INK: INK, **{role: own[0] for role, (own, _) in ROLES.items()}, **known}
    if value not in named and not is_color_like(value):
        want = f"a point's name, a colour of matplotlib, {INK!r} or one of {', '.join(ROLES)}"
        raise ValueError(f"colour: got {value!r}, want {want}")
    return named.get(value) or to_hex(value)


def plain(x: Any) -> Any:
    """An array as nested lists, short on the wire."""
    return np.round(x, 6).tolist()


def unit(x: np.ndarray) -> np.ndarray:
    """x at length 1; the first axis where it has none."""
    size = np.linalg.norm(x)
    return x / size if size > 1e-9 else np.eye(len(x))[0]


def some(part: Part, keys: str) -> dict[str, Any]:
    return {key: getattr(part, key) for key in keys.split()}


def roles(points: Iterable[Point], known: Mapping[str, str]) -> list[dict[str, str]]:
    looks, turns = [], {role: itertools.cycle(colours) for role, (colours, _) in ROLES.items()}
    for p in points:
        own = next(turns[_check.one_of(f"role of {p.name!r}", p.role, ROLES)])
        looks.append({"colour": colour(p.colour or own, known), "shape": ROLES[p.role][1]})
    return looks


def points_wire(points: Sequence[Point], walls: Sequence[Any], at: np.ndarray) -> dict[str, Any]:
    """What stays of the points while they move, and which of them are names, by what rules they win."""
    names = [i for i, p in enumerate(points) if p.role in ("kept", "forgotten")]
    looks = roles(points, {})
    # the scores' size: of a unit image and the longest name
    size = float(np.linalg.norm(at[names], axis=1).max()) if names else 1.0
    return {
        "points": [
            {**some(p, "name drag on_circle arrow"), **look, "within": None if wall is None else plain(wall),
             "pictured": p.thumbnail is not None, "picture": p.role == "picture" and p.thumbnail is not None}
            for p, look, wall in zip(points, looks, walls, strict=True)
        ],
        "rules": {
            "rows": names, "colours": [looks[i]["colour"].replace(INK, GREY) for i in names],
            "forgotten": [points[i].role == "forgotten" for i in names], "tie": TIE * size,
        },
    }  # fmt: skip


def dots_wire(dots: Dots, n: int) -> dict[str, Any]:
    names = _check.names("names", dots.names, n)
    groups = _check.names("groups", [""] * n if dots.groups is None else dots.groups, n)
    _check.names("thumbnails", dots.thumbnails or names, n)
    kinds = list(dict.fromkeys(groups))
    colours = itertools.cycle(INK if c == BLACK else c for c in SERIES)
    palette = list(zip(colours, itertools.cycle(SHAPES), kinds, strict=False))
    return {
        "names": names, "group": [kinds.index(g) for g in groups], "palette": palette,
        "legend": len(kinds) > 1, "pictured": bool(dots.thumbnails), "what": dots.what,
    }  # fmt: skip


def wire(drawn: Drawn, at: np.ndarray, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """A `Drawn` as plain values; ``at`` are the points' positions, ``fixed`` what stays."""
    d, rows, own = at.shape[1], fixed["rules"]["rows"], fixed["points"]
    known = {p["name"]: p["colour"] for p in own}
    if d == 3 and (drawn.areas or drawn.lines):
        raise ValueError("areas, lines: a globe has none, want points")
    if d == 2 and drawn.after is not None:
        raise ValueError("after: a plane has one drawing, want names, points and lines in it")
    names, after = (
        x if x is None else plain(base.numbers(key, x, len(rows), d))
        for key, x in (("names", drawn.names), ("after", drawn.after))
    )
    listed = np.ones(len(rows)) if drawn.candidates is None else drawn.candidates
    on = (base.numbers("candidates", listed, len(rows)) > 0).tolist()
    # not to drag: the reader's own, the listed names after the edit, those that follow
    marks = [{**p, "at": plain(x), "stage": 0} for p, x in zip(own, at, strict=True) if not p["drag"]]
    names_after = list(zip(rows, after or [], on, strict=False))
    marks += [{**own[i], "at": x, "stage": 1} for i, x, there in names_after if there]
    for i, (p, look) in enumerate(zip(drawn.points, roles(drawn.points, known), strict=True)):
        x = plain(base.numbers(f"at, of points[{i}]", p.at, d))
        marks.append({**some(p, "name arrow"), **look, "at": x, "stage": int(p.after)})
    # a name that has become 0 is nowhere on the second globe
    gone = ", ".join(own[i]["name"] for i, x, _ in names_after if not any(x))
    areas = [base.numbers(f"points, of areas[{i}]", a.points, None, 2) for i, a in enumerate(drawn.areas)]
    return {
        "caption": drawn.caption, "alt": drawn.alt or drawn.caption, "names": names, "after": after,
        "candidates": on, "points": marks, "bars": [_bar(b, known) for b in drawn.bars],
        "areas": [{"points": plain(x), "colour": colour(a.colour, known)}
                  for a, x in zip(drawn.areas, areas, strict=True)],
        "lines": [_line(i, line, fixed["extent"], known) for i, line in enumerate(drawn.lines)],
        "heads": ["before", f"after: {gone} at the origin" if gone else "after"] if after else ["", ""],
    }  # fmt: skip


def _line(i: int, line: Line, extent: Sequence[float], known: Mapping[str, str]) -> dict[str, Any]:
    a, b = (base.numbers(f"{k}, of lines[{i}]", getattr(line, k), 2) for k in ("a", "b"))
    spot = b if line.extend else (a + b) / 2
    if line.extend:
        far = 3 * max(map(abs, extent)) * unit(b - a)
        a, b = a - far, a + far
    look = {**some(line, "label dash arrow width"), "colour": colour(line.colour, known)}
    return {"path": plain([a, b]), "spot": plain(spot), **look}


def _bar(bar: Bar, known: Mapping[str, str]) -> dict[str, Any]:
    lengths = [(k, x) for k, x in (("value", bar.value), ("before", bar.before)) if x is not None]
    found = {k: _check.number(f"{k} of {bar.name!r}", x, -np.inf) for k, x in lengths}
    # no "-0.00", and a minus as wide as a plus
    text = f"{round(found['value'], 2) + 0.0:.2f}".replace("-", "−") if bar.text is None else bar.text
    shade = colour(bar.colour or known.get(bar.name, INK), known)
    return {"name": bar.name, "before": None, **found, "colour": shade, "text": text}


def source(picture: Image.Image) -> str:
    """The address of a small picture."""
    small, out = picture.convert("RGBA"), io.BytesIO()
    small.thumbnail((192, 192))  # twice as many pixels as are shown
    small.save(out, "png")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
