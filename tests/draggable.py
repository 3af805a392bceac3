"""The three drawings that lessons open with, and the explorer: small, with the package's own functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from PIL import Image

import clipnull as cn
from clipnull.lab import Area, Bar, Dots, Drawn, Globe, Line, Plane, Point

NAMES = ["penguin", "duck", "guitar"]
#: the origin, the mean and the nearest mixture, of lesson 05
CORNERS = np.array([(0.0, 0.0), (0.9, 0.4), (0.4, 0.9)])


def on_circle(degrees: float) -> tuple[float, float]:
    return float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))


def circle() -> Plane:
    """A picture among three names, the first of which is projected out by a slider."""

    def follow(at: np.ndarray, strength: float) -> Drawn:
        z, T = at[:1], at[1:]
        edit = cn.nullspace(T[:1], strength=strength)
        moved, before, after = edit.apply_image(z), z @ T.T, np.asarray(edit.apply_image(z)) @ T.T
        return Drawn(
            f"The picture is called {NAMES[after.argmax()]}; its score for penguin is {after[0, 0]:.2f}.",
            names=edit.apply_text(T),
            lines=[Line((0, 0), T[0], extend=True, colour="forgotten", dash=True), Line(z[0], moved[0])],
            points=[Point("z′", moved[0], "plain", arrow=True)],
            bars=[Bar(*row) for row in zip(NAMES, after[0], before[0], strict=True)],
        )

    points = [
        Point("picture", on_circle(35), "picture", on_circle=True, thumbnail=Image.new("RGB", (32, 32)))
    ]
    points += [
        Point(name, on_circle(angle), role, on_circle=True, arrow=True)
        for name, angle, role in zip(NAMES, (20, 60, 150), ("forgotten", "kept", "kept"), strict=True)
    ]
    slider = widgets.FloatSlider(0.5, min=0, max=1, step=0.01, description="α")
    return Plane(points, follow, controls={"strength": slider})


def globe() -> Globe:
    """Three names in three dimensions, the first forgotten by the method of a toggle."""

    def follow(T: np.ndarray, method: str, listed: Sequence[str]) -> Drawn:
        edit = cn.METHODS[method].make(T[:1], T[1:])
        after = edit.apply_text(T)
        on = [name in listed for name in NAMES]
        share = float(cn.measures.region_shares(after[torch.tensor(on)], [0])[0])
        lead = float(cn.certificate(edit, T[:1], T[1:]))
        return Drawn(
            f"penguin wins on {100 * share:.0f}% of all images; its certificate is {lead:.2f}.",
            after=after,
            candidates=on,
            points=[Point("between", T[1] + T[2], "plain", drag=False)],
            bars=[Bar("share", share, colour="forgotten", text=f"{100 * share:.0f}%")],
        )

    points = [
        Point("penguin", (0.3, 0.1, 0.8), "forgotten"),
        Point("duck", (-0.5, 0.3, 0.7)),
        Point("guitar", (0.1, -0.6, 0.6)),
    ]
    controls = {
        "method": widgets.ToggleButtons(options=["nullspace", "mean"]),
        "listed": widgets.SelectMultiple(options=NAMES, value=NAMES, rows=3),
    }
    return Globe(points, follow, controls=controls, bars=(0, 1))


def triangle() -> Plane:
    """An anchor between silent, neutral and its relatives."""

    def follow(at: np.ndarray) -> Drawn:
        x, y = at[0]
        return Drawn(
            f"The anchor is at {x:.2f}, {y:.2f}.",
            areas=[Area(CORNERS)],
            points=[
                Point(n, c, "plain") for n, c in zip(("origin", "mean", "mixture"), CORNERS, strict=True)
            ],
            bars=[Bar("full recall", 1 - x, 1.0, "forgotten"), Bar("search", y, 1.0, "kept")],
        )

    anchor = Point("anchor", (0.4, 0.4), "anchor", within=CORNERS)
    return Plane([anchor], follow, bars=(0, 1), extent=(-0.08, 0.98, -0.08, 0.98))


def explorer(n: int = 800, size: int = 24) -> Plane:
    """Many pictures in two of their components."""
    X = np.random.default_rng(0).normal(size=(n, 3))
    thumbnails = [Image.new("RGB", (size, size), (i % 256, 80, 160)) for i in range(n)]

    def follow(at: np.ndarray, second: int, kept: Sequence[int]) -> Drawn:
        said = f"{len(kept)} of {n} kept" + "".join(f", picture {i}" for i in kept)
        return Drawn(f"{said}.", dots=X[:, [0, second]])

    dots = Dots(X[:, :2], [f"picture {i}" for i in range(n)], ["even", "odd"] * (n // 2), thumbnails)
    second = widgets.IntSlider(1, 1, 2, description="second")
    return Plane([], follow, controls={"second": second}, dots=dots, extent=3.8)


def sides() -> cn.lab.Sides:
    """A widget of ipywidgets' controls and a picture of matplotlib's."""
    T = torch.nn.functional.normalize(torch.eye(4)[:3] + 0.2, dim=1)
    case = cn.Case(T.repeat(2, 1), T, [0, 1, 2] * 2, [0], classes=NAMES)
    return cn.lab.Sides(case, cn.nullspace(case.T_f))


USES: dict[str, Any] = {"circle": circle, "globe": globe, "triangle": triangle, "explorer": explorer}
