"""One thing to drag, drawn by `plane.js`: points in the plane, or names on the globe of all images."""

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
from clipnull.lab.base import Live, row
from clipnull.lab.drawn import Dots, Drawn, Point, dots_wire, plain, points_wire, source, unit, wire
from clipnull.lab.still import bar_panel, panel
from clipnull.plots import base

__all__ = ["Globe", "Plane"]


class Drawing(anywidget.AnyWidget):
    """The browser's part of a plane or globe. What Python says to it goes over ``channel``, a hidden label:

    anywidget 0.11 stops listening where a page is so busy that a module takes two seconds to load.
    """

    _esm = "".join(Path(__file__).with_name(f"{x}.js").read_text("utf-8") for x in ("geometry", "plane"))
    _css = Path(__file__).with_name("plane.css")
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

    In view is ``extent``, (x0, x1, y0, y1) or r for -r to r both ways. Bars go from ``bars[0]`` to
    ``bars[1]``. ``size`` is the width in pixels. ``positions`` [n, 2] and ``kept`` may be set; ``drawn`` is
    what ``follow`` answered last, ``shown`` the same as the browser gets it.
    """

    kind, d = "plane", 2
    drawn: Drawn
    shown: dict[str, Any]

    @_check.by_name
    def __init__(
        self, points: Sequence[Point], follow: Callable[..., Drawn], *,
        controls: Mapping[str, Any] | None = None, dots: Dots | None = None, extent: Any = 1.16,
        bars: tuple[float, float] = (-1.0, 1.0), size: int = 440,
    ) -> None:  # fmt: skip
        self.points, self.follow, self.controls, self.dots = list(points), follow, dict(controls or {}), dots
        _check.whole("size", size, 1)
        at = [base.numbers(f"at, of {p.name!r}", p.at, self.d) for p in self.points]
        self.walls = [
            None if p.within is None else base.numbers("within", p.within, None, 2) for p in self.points
        ]
        self.spots = np.zeros((0, 2)) if dots is None else base.numbers("at, of the dots", dots.at, None, 2)
        x = base.numbers("extent", np.ravel(extent), None).tolist()
        x = [-x[0], x[0]] * 2 if len(x) == 1 else x
        if len(x) != 4 or not (x[0] < x[1] and x[2] < x[3]):
            raise ValueError(f"extent: got {extent!r}, want a number above 0 or (x0, x1, y0, y1)")
        self.extent = x
        legal = self._legal(np.reshape(at, (-1, self.d)))
        self.fixed = {
            "kind": self.kind, "size": size, "bars": list(_check.interval("bars", bars)), "extent": x,
            "circle": any(p.on_circle for p in self.points),
            "dots": None if dots is None else dots_wire(dots, len(self.spots)),
            **points_wire(self.points, self.walls, legal),
        }  # fmt: skip
        for control in self.controls.values():
            _check.having("controls", [control], "value observe")
            control.observe(self.changed, names="value")
        self.channel, self.message = widgets.Label(), widgets.HTML()
        self.drawing = Drawing(fixed=self.fixed, channel=self.channel.model_id, at=legal.tolist())
        self.draw()
        super().__init__([row(*self.controls.values()), self.drawing, self.message])
        self.drawing.observe(self.changed, names=["at", "kept"])
        self.drawing.on_msg(self._send_picture)

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

    @property
    def positions(self) -> np.ndarray:
        return np.array(self.drawing.at, float).reshape(len(self.points), self.d)

    @positions.setter
    def positions(self, at: Any) -> None:
        self.drawing.at = base.numbers("positions", at, len(self.points), self.d).tolist()

    @property
    def kept(self) -> list[int]:
        return list(self.drawing.kept)

    @kept.setter
    def kept(self, indices: Sequence[int]) -> None:
        self.drawing.kept = [int(i) for i in indices]

    def _send_picture(self, drawing: Any, content: Mapping[str, Any], buffers: Any) -> None:
        i, n = int(content["thumb"]), len(self.points)
        picture: Any = self.points[i].thumbnail if i < n else self.dots.thumbnails[i - n]  # type: ignore[union-attr, index]
        self.channel.send({"thumb": i, "src": source(picture)})

    def draw(self) -> None:
        """Ask what follows, and show it."""
        at, kept = self._legal(self.positions), self.kept
        values = {name: control.value for name, control in self.controls.items()}
        drawn = self.follow(at.copy(), **values, **({"kept": kept} if self.dots else {}))
        if not isinstance(drawn, Drawn):
            raise TypeError(f"follow: returned {type(drawn).__name__}, want a Drawn")
        if drawn.at is not None:
            at = self._legal(base.numbers("at", drawn.at, len(self.points), self.d))
        dots = base.numbers("dots", self.spots if drawn.dots is None else drawn.dots, len(self.spots), 2)
        self.shown = wire(drawn, at, self.fixed)
        self.shown |= {"at": at.tolist(), "kept": kept, "report": self.drawing.report, "dots": plain(dots)}
        self.drawn = drawn
        with self.paused():
            self.drawing.at = self.shown["at"]
        self.channel.value = json.dumps(self.shown)

    def figure(self) -> Figure:
        thumbnails = [p.thumbnail if p.role == "picture" else None for p in self.points]
        bars, panels = self.shown["bars"], 1 + (self.shown["after"] is not None)
        x0, x1, y0, y1 = self.extent
        side = self.fixed["size"] / 108
        widths = [side] * panels + ([3.0] if bars else [])
        size = sum(widths) + 0.3, side * (y1 - y0) / (x1 - x0) + 0.3
        fig = base.Figure(figsize=size, layout="constrained")
        axes = fig.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        for k, ax in enumerate(axes[:panels]):
            panel(ax, self.fixed, self.shown, self.drawing.turn, thumbnails, k)
        if bars:
            bar_panel(axes[-1], bars, self.fixed["bars"])
        base.title(fig, self.shown["caption"])
        return base.describe(fig, self.shown["alt"])


class Globe(Plane):
    """All images there are, in three dimensions: a globe coloured by the name that wins there.

    The reader drags the names, and turns the globe by its empty parts or with Shift and the arrow keys.
    An image is a unit vector z, and wins for the name t with the largest z.t; a lead of at most 1e-5 of the
    longest name is a tie, and goes to the kept name. As `Plane`, with positions [n, 3] of length 1.
    """

    kind, d = "globe", 3

    def __init__(self, points: Sequence[Point], follow: Callable[..., Drawn], **options: Any) -> None:
        super().__init__(points, follow, extent=1.25, dots=None, **{"size": 380, **options})
        x, y, z = unit(self.positions[self.fixed["rules"]["rows"]].sum(0))  # the names' middle
        self.drawing.turn = [float(np.arctan2(y, x)), float(np.clip(np.arcsin(z), -1.2, 1.2))]

    def _legal(self, at: np.ndarray) -> np.ndarray:
        return np.stack([unit(x) for x in at]) if len(at) else at
