"""What a plane or globe shows, as plain dataclasses, and how it travels to the browser."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

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


class Part:
    """A part of a drawing: what its fields hold is checked when it is made, and not at every step of a drag.

    A colour is the name of a point to drag (its colour), a role ("forgotten"), "ink" (the text's colour,
    in light and dark), or a colour of matplotlib.
    """

    def __post_init__(self) -> None:
        _check.fields(self)


@dataclass(frozen=True, eq=False)
class Point(Part):
    """A point with its name that the reader drags, or (``drag=False``, hollow) one that only shows something.

    It starts ``at`` 2 or 3 numbers, on the globe scaled to length 1. Its role gives colour and shape; "kept"
    and "forgotten" are names, which win regions. A ``thumbnail`` (PIL image or PNG bytes) is shown on hover,
    and a "picture" is drawn with it.

    In the plane it may stay on the unit circle, or ``within`` the convex hull of an array [k, 2], and be an
    arrow from the origin. On the globe, one that is not to drag may be on the sphere ``after`` the edit.
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


@dataclass(frozen=True, eq=False)
class Dots(Part):
    """n small points at [n, 2], in the plural ``what``: hover shows picture and name, a click keeps one.

    ``groups`` (n) give colour and shape, with a legend; each of the n ``thumbnails`` (PIL images) is sent
    when it is first looked at.
    """

    at: Any
    names: Sequence[str]
    groups: Sequence[str] | None = None
    thumbnails: Sequence[Any] | None = None
    what: str = "pictures"


@dataclass(frozen=True, eq=False)
class Area(Part):
    """A shaded polygon with corners ``points [k, 2]`` in order."""

    points: Any
    label: str = ""
    colour: str = INK


@dataclass(frozen=True)
class Line(Part):
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
class Bar(Part):
    """A number as a bar, and a dashed tick where it was ``before``; ``text`` replaces its two decimals.

    Without a colour it has that of the point of its name.
    """

    name: str
    value: float
    before: float | None = None
    colour: str | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False)
class Drawn(Part):
    """What follows from the positions: the answer of a plane's or globe's ``follow``.

    The caption is a sentence with the numbers, below; ``alt`` says what the drawing shows, unless the
    caption does. Areas are of the plane only; the points are not to drag.

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
            {"name": p.name, "drag": p.drag, "on_circle": p.on_circle, "arrow": p.arrow, **look,
             "within": None if wall is None else plain(wall), "pictured": pictured("thumbnail", p.thumbnail),
             "picture": p.role == "picture" and p.thumbnail is not None}
            for p, look, wall in zip(points, looks, walls, strict=True)
        ],
        "rules": {
            "rows": names, "colours": [looks[i]["colour"].replace(INK, GREY) for i in names],
            "forgotten": [points[i].role == "forgotten" for i in names], "tie": TIE * size,
        },
    }  # fmt: skip


def dots_wire(dots: Dots, n: int) -> dict[str, Any]:
    """What stays of the n dots while they move."""
    groups = ["" for _ in dots.names] if dots.groups is None else list(map(str, dots.groups))
    for name, given in (("names", dots.names), ("groups", groups), ("thumbnails", dots.thumbnails)):
        if given is not None and len(given) != n:
            raise ValueError(f"{name}: got {len(given)}, want {n}, one for each dot")
    for picture in dots.thumbnails or ():
        pictured("thumbnails", picture)
    kinds = list(dict.fromkeys(groups))
    colours = itertools.cycle(INK if c == base.BLACK else c for c in SERIES)
    palette = list(zip(colours, itertools.cycle(SHAPES), kinds, strict=False))
    return {
        "names": list(map(str, dots.names)), "group": [kinds.index(g) for g in groups], "palette": palette,
        "legend": len(kinds) > 1, "pictured": dots.thumbnails is not None, "what": dots.what,
    }  # fmt: skip


def wire(drawn: Drawn, at: np.ndarray, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """A `Drawn` as plain values; ``at`` are the points' positions, ``fixed`` what stays."""
    d, rows = at.shape[1], fixed["rules"]["rows"]
    known = {p["name"]: p["colour"] for p in fixed["points"]}
    if d == 3 and drawn.areas:
        raise ValueError("areas: a globe has none, want lines")
    if d == 2 and drawn.after is not None:
        raise ValueError("after: a plane has one drawing, want names, points and lines in it")
    sets = {"names": drawn.names, "after": drawn.after}
    sets = {k: x if x is None else plain(base.numbers(k, x, len(rows), d)) for k, x in sets.items()}
    candidates = [True] * len(rows) if drawn.candidates is None else list(map(bool, drawn.candidates))
    if len(candidates) != len(rows):
        raise ValueError(f"candidates: got {len(candidates)}, want {len(rows)}, one for each name")
    return {
        "caption": drawn.caption, "alt": drawn.alt or drawn.caption, **sets, "candidates": candidates,
        "areas": [_area(i, area, known) for i, area in enumerate(drawn.areas)],
        "lines": [_line(i, line, d, fixed["extent"], known) for i, line in enumerate(drawn.lines)],
        "points": _marks(drawn, at, sets["after"], candidates, fixed, known),
        "bars": [_bar(b, known) for b in drawn.bars],
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
    drawn: Drawn,
    at: np.ndarray,
    after: Any,
    on: Sequence[bool],
    fixed: Mapping[str, Any],
    known: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The points that are not to drag: the reader's own, the listed names after, those that follow."""
    own = zip(fixed["points"], at, strict=True)
    marks = [{**p, "at": plain(x), "stage": 0} for p, x in own if not p["drag"]]
    if after is not None:
        names = zip(fixed["rules"]["rows"], after, on, strict=True)
        marks += [{**fixed["points"][i], "at": x, "stage": 1} for i, x, listed in names if listed]
    for i, (p, look) in enumerate(zip(drawn.points, roles(drawn.points, known), strict=True)):
        x = base.numbers(f"at, of points[{i}]", p.at, at.shape[1])
        marks.append({"name": p.name, "at": plain(x), "stage": int(p.after), "arrow": p.arrow, **look})
    return marks


def _bar(bar: Bar, known: Mapping[str, str]) -> dict[str, Any]:
    for x in (bar.value, bar.before or 0.0):
        _check.number(f"bars, {bar.name!r}", x, -np.inf)
    # no "-0.00", and a minus as wide as a plus
    text = f"{round(float(bar.value), 2) + 0.0:.2f}".replace("-", "−") if bar.text is None else bar.text
    before = None if bar.before is None else float(bar.before)
    return {
        "name": bar.name, "value": float(bar.value), "before": before,
        "colour": colour(bar.colour or known.get(bar.name, INK), known), "text": text,
    }  # fmt: skip


def pictured(name: str, picture: Any) -> bool:
    """Whether there is a picture that `source` can take; a ValueError for what is none."""
    if not isinstance(picture, bytes | Image.Image | None):
        raise ValueError(f"{name}: got a {type(picture).__name__}, want a PIL image or PNG bytes")
    return picture is not None


def source(picture: Any) -> str:
    """A PIL image or PNG bytes as the address of a small picture."""
    if not isinstance(picture, bytes):
        small, out = picture.convert("RGBA"), io.BytesIO()
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.save(out, "png")
        picture = out.getvalue()
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
