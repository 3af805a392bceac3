"""What a plane or globe shows, as plain dataclasses, and how it travels to the browser."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clipnull import _check
from clipnull.measures import TIE
from clipnull.plots import base
from clipnull.plots.base import BLUE, FORGET, GREEN, GREY, MARKERS, ORANGE, PURPLE, SERIES, SKY

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
#: pixels of a picture on hover, twice as many as are shown
THUMBNAIL = 192


@dataclass(frozen=True)
class Point:
    """A point that the reader drags, or (``drag=False``, hollow) one that only shows something.

    Attributes
    ----------
    name : str
        Written beside it.
    at : 2 or 3 numbers
        Where it starts; on the globe scaled to length 1.
    role : {"kept", "forgotten", "picture", "anchor", "plain"}
        Gives colour and shape; "kept" and "forgotten" are names, which win regions.
    drag : bool
    on_circle : bool
        It stays on the unit circle (plane only).
    within : array [k, 2], optional
        It stays in the convex hull of these (plane only).
    arrow : bool
        Drawn as an arrow from the origin (plane only).
    colour : str, optional
        In place of the role's: see `Drawn`.
    thumbnail : PIL image or PNG bytes, optional
        Shown on hover; a "picture" is drawn with it.
    after : bool
        On the globe, and not to drag: on the sphere after the edit.
    """

    name: str
    at: Sequence[float]
    role: str = "kept"
    drag: bool = True
    on_circle: bool = False
    within: Any = None
    arrow: bool = False
    colour: str | None = None
    thumbnail: Any = None
    after: bool = False


@dataclass(frozen=True)
class Dots:
    """Many small points: hover shows picture and name, a click keeps one.

    Attributes
    ----------
    at : array [n, 2]
    names : n str
    groups : n str, optional
        Colour and shape, with a legend.
    thumbnails : n PIL images, optional
        Each is sent when it is first looked at.
    what : str
        What they are, in the plural.
    """

    at: Any
    names: Sequence[str]
    groups: Sequence[str] | None = None
    thumbnails: Sequence[Any] | None = None
    what: str = "pictures"


@dataclass(frozen=True)
class Area:
    """A shaded polygon with corners ``points [k, 2]`` in order, or (``hull``) their convex hull."""

    points: Any
    label: str = ""
    colour: str = INK
    hull: bool = False


@dataclass(frozen=True)
class Line:
    """A line from ``a`` to ``b``; on the globe a piece of a great circle.

    ``extend`` makes it the whole line (great circle) through both. A width above 5 is a pale strip, for a
    subspace. ``after`` puts it on the sphere after the edit.
    """

    a: Sequence[float]
    b: Sequence[float]
    label: str = ""
    colour: str = INK
    dash: bool = False
    arrow: bool = False
    extend: bool = False
    width: float = 2.0
    after: bool = False


@dataclass(frozen=True)
class Bar:
    """A number as a bar, and a dashed tick where it was ``before``; ``text`` replaces its two decimals.

    Without a colour it has that of the point of its name.
    """

    name: str
    value: float
    before: float | None = None
    colour: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Drawn:
    """What follows from the positions: the answer of a plane's or globe's ``follow``.

    Attributes
    ----------
    caption : str
        A sentence with the numbers, below; plain text.
    alt : str
        What the drawing shows; the caption unless given.
    areas : sequence of Area
        Plane only.
    lines : sequence of Line
    points : sequence of Point
        Not to drag.
    bars : sequence of Bar
    names : array [C, d], optional
        Every place is coloured by the name with the largest score x.t; the C rows belong to the points
        that are kept or forgotten, in their order. A globe shows its points unless it is given.
    after : array [C, 3], optional
        The same after an edit: a second globe beside the first.
    candidates : C bool, optional
        Which names take part.
    at : array [n, d], optional
        Corrected positions of the points.
    dots : array [n, 2], optional
        Where the `Dots` are now.

    Notes
    -----
    A colour is the name of a point to drag (its colour), a role ("forgotten"), "ink" (the text's colour,
    in light and dark), or a colour of matplotlib.
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


_check.TYPES |= {kind.__name__: _check.instance(kind) for kind in (Area, Bar, Dots, Drawn, Line, Point)}


def colour(value: str, known: Mapping[str, str]) -> str:
    """A colour as #rrggbb, or "ink"; ``known`` are those of the points, by name."""
    from matplotlib.colors import to_hex

    if value in known or value == INK:
        return known.get(value, INK)
    if value in ROLES:
        return ROLES[value][0][0]
    try:
        return str(to_hex(value))
    except ValueError as error:
        want = f"a point's name, a colour of matplotlib, {INK!r} or one of {', '.join(ROLES)}"
        raise ValueError(f"colour: got {value!r}, want {want}") from error


def plain(x: np.ndarray) -> Any:
    """As nested lists, short on the wire."""
    return x.round(6).tolist()


def unit(x: np.ndarray) -> np.ndarray:
    """x at length 1; the first axis where it has none."""
    size = np.linalg.norm(x)
    return x / size if size > 1e-9 else np.eye(len(x))[0]


def hull(points: np.ndarray) -> np.ndarray:
    """The corners of a convex hull in the plane, in order."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):  # fewer than three, or all on a line: its two ends
        along = points @ (points - points.mean(0))[np.argmax(((points - points.mean(0)) ** 2).sum(1))]
        return points[[along.argmin(), along.argmax()]]


def roles(points: Iterable[Point], known: Mapping[str, str]) -> list[dict[str, str]]:
    """Colour and shape of each point."""
    seen: dict[str, int] = {}
    looks = []
    for p in points:
        colours, shape = ROLES[_check.one_of(f"role of {p.name!r}", p.role, ROLES)]
        k = seen[p.role] = seen.get(p.role, -1) + 1
        looks.append({"colour": colour(p.colour or colours[k % len(colours)], known), "shape": shape})
    return looks


def points_wire(points: Sequence[Point], walls: Sequence[Any], at: np.ndarray) -> dict[str, Any]:
    """What stays of the points while they move, and which of them are names, by what rules they win."""
    names = [i for i, p in enumerate(points) if p.role in ("kept", "forgotten")]
    looks = roles(points, {})
    # the scores' size: of a unit image and the longest name
    size = float(np.linalg.norm(at[names], axis=1).max()) if names else 1.0
    return {
        "points": [
            {"name": p.name, "drag": p.drag, "on_circle": p.on_circle, "arrow": p.arrow, **look,
             "within": None if wall is None else plain(wall), "pictured": p.thumbnail is not None,
             "picture": p.role == "picture" and p.thumbnail is not None}
            for p, look, wall in zip(points, looks, walls, strict=True)
        ],
        "rules": {
            "rows": names, "colours": [looks[i]["colour"].replace(INK, GREY) for i in names],
            "forgotten": [points[i].role == "forgotten" for i in names], "tie": TIE * size,
        },
    }  # fmt: skip


def dots_wire(dots: Dots) -> dict[str, Any]:
    """What stays of the dots while they move."""
    _check.fields(dots)
    n = len(base.numbers("at, of the dots", dots.at, None, 2))
    groups = ["" for _ in dots.names] if dots.groups is None else list(map(str, dots.groups))
    for name, given in (("names", dots.names), ("groups", groups), ("thumbnails", dots.thumbnails)):
        if given is not None and len(given) != n:
            raise ValueError(f"{name}: got {len(given)}, want {n}, one for each dot")
    kinds = list(dict.fromkeys(groups))
    colours = [INK if c == base.BLACK else c for c in SERIES]
    shapes = list(SHAPES)
    palette = [(colours[i % len(colours)], shapes[i % len(shapes)], kind) for i, kind in enumerate(kinds)]
    return {
        "names": list(map(str, dots.names)), "group": [kinds.index(g) for g in groups], "palette": palette,
        "legend": len(kinds) > 1, "pictured": dots.thumbnails is not None, "what": dots.what,
    }  # fmt: skip


def wire(drawn: Drawn, at: np.ndarray, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """A `Drawn` as plain values, checked; ``at`` are the points' positions, ``fixed`` what stays."""
    _check.fields(drawn)
    for part in (*drawn.areas, *drawn.lines, *drawn.points, *drawn.bars):
        _check.fields(part)
    d, rows = at.shape[1], fixed["rules"]["rows"]
    known = {p["name"]: p["colour"] for p in fixed["points"]}
    if d == 3 and drawn.areas:
        raise ValueError("areas: a globe has none, want lines")
    if d == 2 and drawn.after is not None:
        raise ValueError("after: a plane has one drawing, want names, points and lines in it")
    sets = {
        key: None if (x := getattr(drawn, key)) is None else plain(base.numbers(key, x, len(rows), d))
        for key in ("names", "after")
    }
    candidates = [True] * len(rows) if drawn.candidates is None else [bool(c) for c in drawn.candidates]
    if len(candidates) != len(rows):
        raise ValueError(f"candidates: got {len(candidates)}, want {len(rows)}, one for each name")
    return {
        "caption": drawn.caption, "alt": drawn.alt or drawn.caption, **sets, "candidates": candidates,
        "areas": [_area(i, area, known) for i, area in enumerate(drawn.areas)],
        "lines": [_line(i, line, d, fixed["extent"], known) for i, line in enumerate(drawn.lines)],
        "points": _marks(drawn, at, fixed, known), "bars": [_bar(b, known) for b in drawn.bars],
        "heads": _heads(sets["after"], [fixed["points"][i]["name"] for i in rows]),
    }  # fmt: skip


def _heads(after: Any, names: Sequence[str]) -> list[str]:
    """What stands above the globes; a name that has become 0 is nowhere on the second."""
    if after is None:
        return ["", ""]
    gone = [name for name, x in zip(names, after, strict=True) if np.linalg.norm(x) < 1e-6]
    return ["before", "after" + (f": {', '.join(gone)} at the origin" if gone else "")]


def _area(i: int, area: Area, known: Mapping[str, str]) -> dict[str, Any]:
    corners = base.numbers(f"points, of areas[{i}]", area.points, None, 2)
    corners = hull(corners) if area.hull else corners
    spot = plain(corners.mean(0))
    return {"points": plain(corners), "spot": spot, "label": area.label, "colour": colour(area.colour, known)}


def _line(i: int, line: Line, d: int, extent: Sequence[float], known: Mapping[str, str]) -> dict[str, Any]:
    """With all its points: two in the plane, a piece of a great circle on the globe."""
    a, b = (base.numbers(f"{k}, of lines[{i}]", getattr(line, k), d) for k in ("a", "b"))
    path = np.stack([a, b])
    if d == 3:
        u = unit(a)
        across = b - (u @ b) * u
        whole = 2 * np.pi if line.extend else np.arctan2(np.linalg.norm(across), u @ b)
        t = np.linspace(0, whole, 91)[:, None]
        path = np.cos(t) * u + np.sin(t) * unit(across)
    elif line.extend:
        far = 3 * max(map(abs, extent)) * unit(b - a)
        path = np.stack([a - far, a + far])
    spot = b if line.extend else path[45] if d == 3 else (a + b) / 2
    return {
        "path": plain(path), "spot": plain(spot), "label": line.label, "colour": colour(line.colour, known),
        "dash": line.dash, "arrow": line.arrow, "width": line.width, "stage": int(line.after),
    }  # fmt: skip


def _marks(
    drawn: Drawn, at: np.ndarray, fixed: Mapping[str, Any], known: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The points that are not to drag: the reader's own, the names after the edit, those that follow."""
    own = zip(fixed["points"], at, strict=True)
    marks = [{**p, "at": plain(x), "stage": 0} for p, x in own if not p["drag"]]
    if drawn.after is not None:
        after = zip(fixed["rules"]["rows"], base.numbers("after", drawn.after, None, 3), strict=True)
        marks += [{**fixed["points"][i], "at": plain(x), "stage": 1} for i, x in after]
    for i, (p, look) in enumerate(zip(drawn.points, roles(drawn.points, known), strict=True)):
        x = base.numbers(f"at, of points[{i}]", p.at, at.shape[1])
        marks.append({"name": p.name, "at": plain(x), "stage": int(p.after), "arrow": p.arrow, **look})
    return marks


def _bar(bar: Bar, known: Mapping[str, str]) -> dict[str, Any]:
    for x in (bar.value, 0.0 if bar.before is None else bar.before):
        if not np.isfinite(x):
            raise ValueError(f"bars: {bar.name!r} is {x}, want a finite number")
    # no "-0.00", and a minus as wide as a plus
    text = f"{round(float(bar.value), 2) + 0.0:.2f}".replace("-", "−") if bar.text is None else bar.text
    before = None if bar.before is None else float(bar.before)
    return {
        "name": bar.name, "value": float(bar.value), "before": before,
        "colour": colour(bar.colour or known.get(bar.name, INK), known), "text": text,
    }  # fmt: skip


def source(picture: Any) -> str:
    """A PIL image or PNG bytes as the address of a small picture."""
    if not isinstance(picture, bytes):
        small, out = picture.convert("RGBA"), io.BytesIO()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.save(out, "png")
        picture = out.getvalue()
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
