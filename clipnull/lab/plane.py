"""One thing to drag: points in the plane, or names on the globe of all images.

The browser draws and reports positions (`plane.js`); Python answers with what follows from them, so that
the lesson's own functions are what moves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.hull import nearest_mixture
from clipnull.lab.base import Live, alarm, in_turn, row
from clipnull.lab.drawn import Dots, Drawn, Point, dots_wire, hull, plain, points_wire, source, unit, wire
from clipnull.lab.still import still
from clipnull.plots import base

__all__ = ["Globe", "Plane"]

HERE = Path(__file__).parent


class Drawing(anywidget.AnyWidget):
    """The browser's part of a plane or globe: what it says to Python.

    What Python says to it goes over the model ``channel``, a label that is never shown: anywidget 0.11
    stops listening for good where a page is so busy that a module takes more than two seconds to load.
    """

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("geometry.js", "plane.js"))
    _css = HERE / "plane.css"
    fixed = traitlets.Dict().tag(sync=True)
    channel = traitlets.Unicode().tag(sync=True)
    at: Any = traitlets.List().tag(sync=True)
    kept: Any = traitlets.List().tag(sync=True)
    turn = traitlets.List([0.0, 0.0]).tag(sync=True)
    #: how many reports there were: an answer to an old one moves no point
    report = traitlets.Int().tag(sync=True)


class Plane(Live):
    """Points in the plane that the reader drags with mouse, finger or arrow keys, and what follows.

    ``follow(at, **values) -> Drawn`` gets the positions [n, 2] in the order of ``points``, the value of each
    control (widgets that stand above the drawing) under its name, and with dots also ``kept``, the indices
    of those that the reader keeps. A ValueError of its own becomes a sentence below the drawing.

    In view is ``extent``, (x0, x1, y0, y1) or r for -r to r both ways, by default what the points need, and
    the unit circle where a point stays on it. Bars go from ``bars[0]`` to ``bars[1]``. ``size`` is the width
    in pixels; it shrinks with its column.

    Attributes
    ----------
    positions : array [n, 2]
        May be set, as ``kept``, a list of int.
    drawn : Drawn
        What ``follow`` answered last; ``shown`` is the same as the browser gets it, plain values.
    """

    kind, d = "plane", 2
    drawn: Drawn
    shown: dict[str, Any]

    @_check.by_name
    def __init__(
        self, points: Sequence[Point], follow: Callable[..., Drawn], *,
        controls: Mapping[str, Any] | None = None, dots: Dots | None = None, extent: Any = None,
        bars: tuple[float, float] = (-1.0, 1.0), size: int = 440,
    ) -> None:  # fmt: skip
        self.points, self.follow, self.controls, self.dots = list(points), follow, dict(controls or {}), dots
        for control in self.controls.values():
            _check.having("controls", [control], "value observe")
        _check.whole("size", size, 1)
        at = np.array([base.numbers(f"at, of {p.name!r}", p.at, self.d) for p in self.points])
        at = at.reshape(-1, self.d)
        walls = [None if p.within is None else base.numbers("within", p.within, None, 2) for p in self.points]
        self.walls = [None if w is None else hull(w) for w in walls]
        self.spots = np.zeros((0, 2)) if dots is None else base.numbers("at, of the dots", dots.at, None, 2)
        circle = any(p.on_circle for p in self.points)
        self.extent = self._in_view(extent, at, circle)
        at = self._legal(at)
        self.fixed = {
            "kind": self.kind, "size": size, "bars": list(_check.interval("bars", bars)), "circle": circle,
            "extent": self.extent, "dots": None if dots is None else dots_wire(dots, len(self.spots)),
            **points_wire(self.points, self.walls, at),
        }  # fmt: skip
        self.channel = widgets.Label()
        turn = self._facing(at[self.fixed["rules"]["rows"]])
        self.drawing = Drawing(fixed=self.fixed, channel=self.channel.model_id, at=at.tolist(), turn=turn)
        self._answer()
        self.message = widgets.HTML()
        above = [row(*self.controls.values())] if self.controls else []
        super().__init__([*above, self.drawing, self.message])
        self.drawing.observe(self.changed, names=["at", "kept"])
        self.drawing.on_msg(self._send_picture)
        for control in self.controls.values():
            control.observe(self.changed, names="value")

    # --- where points may be -------------------------------------------------------------

    def _in_view(self, given: Any, at: np.ndarray, circle: bool) -> list[float]:
        """x from, to, y from, to."""
        if given is not None:
            r = base.numbers("extent", np.ravel(given), None)
            x = np.array([-r[0], r[0], -r[0], r[0]]) if len(r) == 1 else r
            if len(x) != 4 or not (x[0] < x[1] and x[2] < x[3]):
                raise ValueError(f"extent: got {given!r}, want a number above 0 or (x0, x1, y0, y1)")
            return list(map(float, x))
        corners = np.array([[-1.0, -1.0], [1.0, 1.0]]) * circle
        seen = np.concatenate([corners, at, self.spots, *(w for w in self.walls if w is not None)])
        low, high = seen.min(0), seen.max(0)
        wide = float((high - low).max()) or 2.0
        # room for labels, and never a strip: a reader drags both ways
        half = np.maximum((high - low) / 2, 0.3 * wide) + 0.08 * wide
        middle = (low + high) / 2
        return [float(x) for pair in zip(middle - half, middle + half, strict=True) for x in pair]

    def _facing(self, names: np.ndarray) -> list[float]:
        return [0.0, 0.0]

    def _legal(self, at: np.ndarray) -> np.ndarray:
        """Positions [n, 2], each moved to where its point may be."""
        x0, x1, y0, y1 = self.extent
        legal = np.clip(at, [x0, y0], [x1, y1])
        for i, (p, wall) in enumerate(zip(self.points, self.walls, strict=True)):
            if p.on_circle:
                legal[i] = unit(at[i])
            elif wall is not None:
                legal[i] = nearest_mixture(at[i], wall).H[0].numpy()
        return legal

    # --- what moves ----------------------------------------------------------------------

    @property
    def positions(self) -> np.ndarray:
        """Of all points, [n, d]."""
        return np.array(self.drawing.at, float).reshape(len(self.points), self.d)

    @positions.setter
    def positions(self, at: Any) -> None:
        self.drawing.at = base.numbers("positions", at, len(self.points), self.d).tolist()

    @property
    def kept(self) -> list[int]:
        """Indices of the dots that the reader keeps."""
        return list(self.drawing.kept)

    @kept.setter
    def kept(self, indices: Sequence[int]) -> None:
        self.drawing.kept = [int(i) for i in indices]

    def _send_picture(self, drawing: Any, content: Mapping[str, Any], buffers: Any) -> None:
        i, n = int(content["thumb"]), len(self.points)
        picture = self.points[i].thumbnail if i < n else self.dots.thumbnails[i - n]  # type: ignore[union-attr, index]
        self.channel.send({"thumb": i, "src": source(picture)})

    @in_turn
    def update(self) -> None:
        """Ask what follows, and show it. A ValueError becomes a sentence; other errors are raised too."""
        try:
            self._answer()
        except Exception as problem:
            self.message.value = alarm(problem)
            if not isinstance(problem, ValueError):
                raise
        else:
            self.message.value = ""

    def _answer(self) -> None:
        at, kept = self._legal(self.positions), self.kept
        values = {name: control.value for name, control in self.controls.items()}
        if self.dots:
            values["kept"] = kept
        drawn = self.follow(at.copy(), **values)
        if not isinstance(drawn, Drawn):
            raise TypeError(f"follow: returned {type(drawn).__name__}, want a Drawn")
        if drawn.at is not None:
            at = self._legal(base.numbers("at", drawn.at, len(self.points), self.d))
        many = self.spots
        if self.dots and drawn.dots is not None:
            many = base.numbers("dots", drawn.dots, len(many), 2)
        self.shown = wire(drawn, at, self.fixed)
        self.shown |= {"at": at.tolist(), "kept": kept, "report": self.drawing.report, "dots": plain(many)}
        self.drawn = drawn
        with self.paused():
            self.drawing.at = self.shown["at"]
        self.channel.value = json.dumps(self.shown)

    def figure(self) -> Figure:
        """The present state as a figure, for viewers that run no kernel."""
        thumbnails = [p.thumbnail if p.role == "picture" else None for p in self.points]
        return still(self.fixed, self.shown, self.drawing.turn, thumbnails)


class Globe(Plane):
    """All images there are, in three dimensions: a globe coloured by the name that wins there.

    The reader drags the names, and turns the globe by its empty parts or with Shift and the arrow keys.
    An image is a unit vector z, and wins for the name t with the largest z.t. A lead of at most 1e-5 of
    the longest name is a tie, and within it the kept name wins.

    As `Plane`, with positions [n, 3] of length 1; of its options, ``controls``, ``bars`` and ``size``.
    ``Drawn(after=...)`` shows a second globe.
    """

    kind, d = "globe", 3

    def __init__(self, points: Sequence[Point], follow: Callable[..., Drawn], **options: Any) -> None:
        super().__init__(points, follow, extent=1, dots=None, **{"size": 380, **options})

    def _legal(self, at: np.ndarray) -> np.ndarray:
        return np.stack([unit(x) for x in at]) if len(at) else at

    def _facing(self, names: np.ndarray) -> list[float]:
        """Longitude and latitude (radians) of the names' middle."""
        x, y, z = unit(names.sum(0)) if len(names) else (1.0, 0.0, 0.0)
        return [float(np.arctan2(y, x)), float(np.clip(np.arcsin(z), -1.2, 1.2))]
