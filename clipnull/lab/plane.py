"""One thing to drag, in the plane or on the globe of all images: by `plane.js`, or still, by matplotlib."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
import traitlets
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from clipnull import _check
from clipnull.hull import nearest_mixture
from clipnull.lab import drawn as wires
from clipnull.lab.base import Live, row
from clipnull.lab.drawn import INK, SHAPES, Dots, Drawn, Point, plain, unit
from clipnull.measures import TIE, winners
from clipnull.plots import base

__all__ = ["Globe", "Plane"]

GRID = 360  # pixels along a side of a coloured region

Wire = Mapping[str, Any]


class Drawing(anywidget.AnyWidget):
    """The browser's part of a plane or globe. Python speaks over ``channel``, a hidden label: anywidget 0.11
    stops listening where a page is so busy that a module takes two seconds to load."""

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
    of those that the reader keeps. A ValueError of its own becomes a sentence below the drawing. In view is
    ``extent``, (x0, x1, y0, y1) or r for -r to r both ways; ``size`` is its width in pixels. Bars go from
    ``bars[0]`` to ``bars[1]``. ``positions`` [n, 2] and ``kept`` may be set; ``drawn`` is the last answer.
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
        self.extent = x = [-x[0], x[0]] * 2 if len(x) == 1 else x
        if len(x) != 4 or not (x[0] < x[1] and x[2] < x[3]):
            raise ValueError(f"extent: got {extent!r}, want a number above 0 or (x0, x1, y0, y1)")
        legal = self._legal(np.reshape(at, (-1, self.d)))
        self.fixed = {
            "kind": self.kind, "size": size, "bars": list(_check.interval("bars", bars)), "extent": x,
            "circle": any(p.on_circle for p in self.points),
            "dots": None if dots is None else wires.dots_wire(dots, len(self.spots)),
            **wires.points_wire(self.points, self.walls, legal),
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
        self.channel.send({"thumb": i, "src": wires.source(picture)})

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
        self.shown = wires.wire(drawn, at, self.fixed)
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
        fig, (axes,) = base.panels(size, 1, len(widths), width_ratios=widths)
        for k, ax in enumerate(axes[:panels]):
            panel(ax, self.fixed, self.shown, self.drawing.turn, thumbnails, k)
        if bars:
            bar_panel(axes[-1], bars, self.fixed["bars"])
        base.title(fig, self.shown["caption"])
        return base.describe(fig, self.shown["alt"])


class Globe(Plane):
    """All images there are, in three dimensions: a `Plane` whose positions [n, 3] have length 1. Each place z
    has the colour of the name t with the largest z.t; a lead of 1e-5 of the longest name is a tie."""

    kind, d = "globe", 3

    def __init__(self, points: Sequence[Point], follow: Callable[..., Drawn], **options: Any) -> None:
        super().__init__(points, follow, extent=1.25, dots=None, **{"size": 380, **options})
        x, y, z = unit(self.positions[self.fixed["rules"]["rows"]].sum(0))  # the names' middle
        self.drawing.turn = [float(np.arctan2(y, x)), float(np.clip(np.arcsin(z), -1.2, 1.2))]

    def _legal(self, at: np.ndarray) -> np.ndarray:
        return np.stack([unit(x) for x in at]) if len(at) else at


def panel(
    ax: Axes, fixed: Wire, drawn: Wire, turn: Sequence[float] = (0.0, 0.0), thumbnails: Sequence[Any] = (),
    k: int = 0,
) -> None:  # fmt: skip
    """One drawing without its numbers; ``k`` is 1 for the globe after the edit."""
    at, globe, (x0, x1, y0, y1) = drawn["at"], fixed["kind"] == "globe", fixed["extent"]
    ax.set(xlim=(x0, x1), ylim=(y0, y1), aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set(visible=not globe, color=base.PALE)
    R = np.eye(2)
    if globe:  # right, up and towards the reader, as rows, seen from this longitude and latitude
        (ca, ce), (sa, se) = np.cos(turn), np.sin(turn)
        R = np.array([[-sa, ca, 0], [-se * ca, -se * sa, ce], [ce * ca, ce * sa, se]])
    names = drawn["after"] if k else drawn["names"]
    if names is None and globe:
        names = [at[i] for i in fixed["rules"]["rows"]]
    if names is not None:
        _regions(ax, np.asarray(names, float), drawn["candidates"], fixed["rules"], R)
    ax.set_title(drawn["heads"][k], fontsize=11)
    if not globe:
        _ground(ax, fixed, drawn)
    for line in drawn["lines"]:
        _line(ax, line)
    off = [i for i, on in zip(fixed["rules"]["rows"], drawn["candidates"], strict=True) if not on]
    own = zip(range(len(at)), fixed["points"], at, thumbnails, strict=True)
    marks = [{**p, "at": x, "thumbnail": t} for i, p, x, t in own if p["drag"] and k == 0 and i not in off]
    for p in marks + [p for p in drawn["points"] if p["stage"] == k]:
        _point(ax, p, R)


def _ink(colour: str) -> str:
    return base.BLACK if colour == INK else colour


def _regions(ax: Axes, T: np.ndarray, on: Sequence[bool], rules: Wire, R: np.ndarray) -> None:
    globe = len(R) == 3
    (x0, x1), (y0, y1) = ((-1, 1), (-1, 1)) if globe else (ax.get_xlim(), ax.get_ylim())
    x, y = np.meshgrid(np.linspace(x0, x1, GRID), np.linspace(y1, y0, GRID))
    deep = np.sqrt(np.clip(1 - x * x - y * y, 0, None))
    places = np.stack([x, y, deep][: len(R)], -1) @ R
    rows = np.flatnonzero(on)
    scores = torch.from_numpy(places.reshape(-1, len(R)) @ T[rows].T)
    forget = [k for k, i in enumerate(rows) if rules["forgotten"][i]]
    best = winners(scores, forget, rules["tie"] / TIE).numpy().reshape(GRID, GRID)
    rgb = np.array([to_rgb(rules["colours"][i]) for i in rows])[best]
    light = (0.78 + 0.22 * deep)[..., None] * (0.62 * rgb + 0.38)
    alpha = (x * x + y * y <= 1) * 1.0 if globe else np.full_like(x, 0.18)
    ax.imshow(np.dstack([light if globe else rgb, alpha]), extent=(x0, x1, y0, y1), zorder=0)
    for i in range(len(rows)):
        inside = np.ma.masked_where(alpha == 0, (best == i) * 1.0)
        if 0 < inside.mean() < 1:
            ax.contour(x, y, inside, [0.5], colors="white" if globe else base.GREY, linewidths=0.8)


def _ground(ax: Axes, fixed: Wire, drawn: Wire) -> None:
    ax.axhline(0, color=base.PALE, linewidth=0.8, zorder=1)
    ax.axvline(0, color=base.PALE, linewidth=0.8, zorder=1)
    if fixed["circle"]:
        t = np.linspace(0, 2 * np.pi, 181)
        ax.plot(np.cos(t), np.sin(t), color=base.PALE, linewidth=1.2, zorder=1)
    for area in drawn["areas"]:
        corners, colour = np.transpose(area["points"]), _ink(area["colour"])
        ax.fill(*corners, facecolor=to_rgba(colour, 0.16), edgecolor=colour, linewidth=1.2, zorder=2)
    many, dots = fixed["dots"], np.array(drawn["dots"])
    for g, (colour, shape, kind) in enumerate(many["palette"] if many else []):
        rows = np.flatnonzero(np.array(many["group"]) == g)
        look = dict(marker=SHAPES[shape], color=_ink(colour), zorder=3)
        ax.scatter(*dots[rows].T, s=14, alpha=0.75, linewidths=0, label=kind, **look)
        chosen = [i for i in drawn["kept"] if i in rows]
        ax.scatter(*dots[chosen].T, s=50, edgecolors=base.BLACK, **look)
        for i in chosen:
            _say(ax, dots[i], many["names"][i], (5, -12))
    if many and many["legend"]:
        ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _line(ax: Axes, line: Wire) -> None:
    """Its label stands at a right angle to it, on its left; that of a point away from the origin."""
    a, b = np.asarray(line["path"])
    dash = "--" if line["dash"] else "-"
    look = dict(color=_ink(line["colour"]), linewidth=line["width"], linestyle=dash, zorder=4)
    if line["arrow"]:
        ax.annotate("", b, a, arrowprops=dict(arrowstyle="-|>", shrinkA=0, shrinkB=0, **look))
    else:
        ax.plot(*np.transpose([a, b]), alpha=0.3 if line["width"] > 5 else 1, **look)
    along = b - a
    x, y = (-along[1], along[0]) if along.any() else line["spot"]
    x, y = np.array([x, y]) / (np.hypot(x, y) or 1) * (-1 if along[0] <= 0 < abs(along[1]) else 1)
    side = "left" if x > 0.4 else "right" if x < -0.4 else "center"
    _say(ax, line["spot"], line["label"], (7 * x, 9 * y), ha=side, va="center")


def _point(ax: Axes, p: Wire, R: np.ndarray) -> None:
    """One to drag is filled, another hollow; behind the globe it is faint."""
    globe, xy = len(R) == 3, np.asarray(p["at"], float)
    if globe and np.linalg.norm(xy) < 1e-6:
        return
    xy = R @ (unit(xy) if globe else xy)
    colour, drag, picture = _ink(p["colour"]), "stage" not in p, p.get("thumbnail")
    if p["arrow"] and not globe:
        arrow = dict(arrowstyle="-|>", color=colour, lw=2, shrinkA=0, shrinkB=5)
        ax.annotate("", xy, (0, 0), arrowprops=arrow, zorder=4)
    size = 8 if picture is None else 24
    ax.plot(*xy[:2], SHAPES[p["shape"]], color=colour, markersize=size, zorder=5, markeredgewidth=1.8,
            markerfacecolor=colour if drag and picture is None else "white",
            alpha=0.35 if globe and xy[2] < 0 else 1)  # fmt: skip
    if picture is not None:
        picture = picture.copy()
        picture.thumbnail((36, 36))
        small = OffsetImage(np.asarray(picture), zoom=0.5)
        ax.add_artist(AnnotationBbox(small, xy[:2], frameon=False, zorder=6))
    _say(ax, xy[:2], p["name"], (0, size / 2 + 4), ha="center", fontweight="bold" if drag else None)


def _say(ax: Axes, xy: Any, text: str, offset: tuple[float, float], **style: Any) -> None:
    if text:
        look = dict(textcoords="offset points", fontsize=9, path_effects=base.HALO, zorder=6)
        ax.annotate(text, xy, offset, **look, **style)


def bar_panel(ax: Axes, bars: Sequence[Wire], reach: Sequence[float]) -> None:
    """The numbers beside the drawing, from ``reach[0]`` to ``reach[1]``."""
    rows = np.arange(len(bars))
    ax.barh(rows, [b["value"] for b in bars], 0.6, color=[_ink(b["colour"]) for b in bars])
    for y, b in zip(rows, bars, strict=True):
        if b["before"] is not None:
            ax.plot([b["before"]] * 2, [y - 0.4, y + 0.4], color=base.BLACK, linestyle="--", linewidth=1.4)
        ax.annotate(b["text"], (reach[1], y), (4, 0), textcoords="offset points", va="center", fontsize=9)
    ax.axvline(0, color=base.BLACK, linewidth=0.8)
    # a few bars are no thicker than many
    spare = 0.5 + max(0, 8 - len(bars)) / 2
    ax.set(xlim=reach, ylim=(len(bars) - 1 + spare, -spare))
    ax.set_yticks(rows, [b["name"] for b in bars], fontsize=9)
    base.style(ax)
