"""What the browser shows of a plane or globe, drawn by matplotlib for viewers that run no kernel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke

from clipnull.lab.drawn import INK, SHAPES, unit
from clipnull.measures import TIE, winners
from clipnull.plots import base

#: pixels along a side of a coloured region
GRID = 360

Wire = Mapping[str, Any]


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
        ax.fill(*corners, facecolor=colour, alpha=0.16, zorder=2)
        ax.fill(*corners, facecolor="none", edgecolor=colour, linewidth=1.2, zorder=2)
    many, dots = fixed["dots"], np.array(drawn["dots"])
    for g, (colour, shape, kind) in enumerate(many["palette"] if many else []):
        rows = np.flatnonzero(np.array(many["group"]) == g)
        look = dict(marker=SHAPES[shape], color=_ink(colour), zorder=3)
        ax.scatter(*dots[rows].T, s=14, alpha=0.75, linewidths=0, label=kind, **look)
        chosen = [i for i in drawn["kept"] if i in rows]
        ax.scatter(*dots[chosen].T, s=50, edgecolors=base.BLACK, **look)
        for i in chosen:
            _say(ax, dots[i], many["names"][i], (5, 4))
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
        style |= {"path_effects": [withStroke(linewidth=3, foreground="white")], "zorder": 6}
        ax.annotate(text, xy, offset, textcoords="offset points", fontsize=9, **style)


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
