"""A calculation in steps, forwards and backwards: Gram-Schmidt, and the projection of a picture."""

import functools
import html
import itertools
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipnull import _check, subspace
from clipnull.datasets.pictures import LabelledImages
from clipnull.lab.base import make, row
from clipnull.lab.drawn import INK, Area, Bar, Drawn, Line, source, wire
from clipnull.lab.plane import Plane, bar_panel, panel
from clipnull.plots import base
from clipnull.plots.base import BLUE, FORGET, GREEN, PURPLE, RETAIN

__all__ = ["GramSchmidtStepper", "ProjectionStepper", "Stepper"]

#: columns of a basis that are drawn, and names whose scores are shown
COLUMNS, SCORES = 3, 6
#: residuals below this part of a row are rounding: the rows are float32 embeddings
RTOL = 1e-6
SLIM = "16em"  # four controls to a row

#: what a `Stepper` shows at one step: a short title, a sentence with the numbers, the drawing
Moment = tuple[str, str, Drawn]


class Stepper(Plane):
    """A calculation in steps, by a slider or buttons; numbers and drawing move together."""

    def __init__(self, **controls: Any) -> None:
        self.turn = make(widgets.IntSlider, 25, -20, 35, 5, description="turn °", width=SLIM)
        self.tilt = make(widgets.IntSlider, 25, 0, 90, 5, description="tilt °", width=SLIM)
        self.readout = widgets.HTML(layout=widgets.Layout(min_height="5em", max_width="760px"))
        self.step = make(widgets.IntSlider, 0, 0, len(self.moments()) - 1, description="step", width="20em")
        self.back = make(widgets.Button, description="◀ back", width="6em")
        self.next = make(widgets.Button, description="next ▶", width="6em")
        for button, by in ((self.back, -1), (self.next, 1)):  # a slider stays within its ends
            button.on_click(lambda _, by=by: setattr(self.step, "value", self.step.value + by))
        watched = {**controls, "step": self.step, "turn": self.turn, "tilt": self.tilt}
        extent = (-0.35, 1.45, -0.8, 1.15)  # a floor seen from above reaches down to -sin(turn)
        super().__init__([], self._now, controls=watched, extent=extent, bars=(-0.25, 1.0), size=400)
        steps = row(self.back, self.next, self.step, self.turn, self.tilt)
        self.children = (row(*controls.values()), steps, self.readout, *self.children[1:])  # type: ignore[has-type]

    def moments(self) -> list[Moment]:
        """All steps, as the controls stand."""
        raise NotImplementedError

    def picture(self) -> Any:
        """The PIL image that the steps are about, if there is one."""

    def _now(self, at: np.ndarray, step: int, **others: Any) -> Drawn:
        moments, picture = self.moments(), self.picture()
        title, words, drawn = moments[step]
        said = f"<b>{step} of {len(moments) - 1} · {html.escape(title)}</b><br>{html.escape(words)}"
        said = said.replace("ᵀ", "<sup>T</sup>")  # which not every font has
        shown = "" if picture is None else f'<img src="{source(picture)}" alt="the picture" height="72">'
        style = "display:flex; gap:12px; line-height:1.4"
        self.readout.value = f'<div style="{style}">{shown}<div>{said}</div></div>'
        return drawn

    def figure(self, steps: Sequence[int] | None = None) -> base.Figure:
        """Some or all steps side by side, then the numbers of the last, for viewers that run no kernel."""
        moments = self.moments()
        shown = moments if steps is None else [moments[i] for i in steps]
        rows, fixed = -(-len(shown) // 3), self.fixed
        found = [wire(drawn, self.positions, fixed) for _, _, drawn in shown]
        fig = base.Figure(figsize=(9.6, 2.35 * rows), layout="constrained")
        grid = fig.add_gridspec(rows, 4, width_ratios=[1, 1, 1, 0.8])
        for k, (title, _, _) in enumerate(shown):
            ax = fig.add_subplot(grid[k // 3, k % 3])
            panel(ax, fixed, {**found[k], "at": [], "dots": []})
            ax.set_title(title, loc="left", fontsize=10)
        if (picture := self.picture()) is not None:
            inset = fig.axes[0].inset_axes((0.02, 0.68, 0.3, 0.3))
            inset.imshow(base.picture("picture", picture))
            inset.axis("off")
        bars = found[-1]["bars"]
        bar_panel(fig.add_subplot(grid[:, 3]), bars, (min(0.0, *(b["value"] for b in bars)), 1.0))
        return base.describe(fig, " ".join(part["alt"] for part in found))


class Scene:
    """A vector z and the span of U [d, r], true to scale: the floor, on which what is left of z stands. It is
    a line up to r = 1, above 2 the direction of UUᵀz and that in which the rows T [m, d] differ most."""

    def __init__(self, z: Tensor, U: Tensor, T: Tensor, letter: str, stepper: Stepper) -> None:
        self.z, self.U, self.T, self.coefficients = z, U, T, U.T @ z
        self.inside = U @ self.coefficients
        self.residual = z - self.inside
        self.size, self.left = float(self.inside.norm()), float(self.residual.norm())
        first = U[:, 0] if U.shape[1] and self.size < 1e-9 else self.inside
        axes = [F.normalize(v, dim=0) for v in (first, 0 * z, self.residual)]
        turn = tilt = 0.0
        if U.shape[1] > 1:
            turn, tilt = np.deg2rad(stepper.turn.value), np.deg2rad(stepper.tilt.value)
            second = torch.linalg.svd(T - (T @ axes[0])[:, None] * axes[0], full_matrices=False).Vh[0]
            axes[1] = second if float(second @ U[:, -1]) > 0 else -second
        c, s = np.cos(turn), np.sin(turn)
        camera = [[c, -s * np.sin(tilt)], [s, c * np.sin(tilt)], [0.0, np.cos(tilt)]]
        self.frame = torch.stack(axes, 1) @ torch.tensor(camera, dtype=z.dtype)
        self.flat = torch.stack(axes[:2], 1)
        parts = [(indexed(letter, k), c) for k, c in enumerate(self.coefficients.tolist())]
        more, parts = " + …" if len(parts) > COLUMNS else "", parts[:COLUMNS]
        said = " + ".join(f"{c:.2f} {u}" for u, c in parts) + more
        self.sum = said.replace("+ -", "− ").replace("-", "−")
        self.bars = [Bar(f"along {u}", c, colour=BLUE) for u, c in parts]
        columns = zip(U.T, parts, strict=False)
        self.columns = [line for u, (label, _) in columns for line in self.arrow(u, label, BLUE, 1.5)]

    def line(self, a: Tensor, b: Tensor, label: str = "", colour: str = INK, **look: Any) -> Line:
        return Line((a @ self.frame).tolist(), (b @ self.frame).tolist(), label, colour, **look)

    def arrow(self, v: Tensor, label: str, colour: str = INK, width: float = 2.5) -> list[Line]:
        """``v`` from the origin, its label at the tip."""
        return [self.line(0 * v, v, "", colour, arrow=True, width=width), self.line(v, v, label, colour)]

    def told(self, steps: Sequence[tuple[str, str, list[Line], list[Bar]]]) -> list[Moment]:
        """Title, words, lines and bars of each step as moments, on a floor: nothing, line or rectangle."""
        floor = [Line((0, 0), (1, 0), colour=BLUE, extend=True, width=8)] * (self.U.shape[1] == 1)
        areas: list[Area] = []
        if self.U.shape[1] > 1:
            seen = torch.cat([self.T, self.U.T, self.inside[None], 0 * self.T[:1]]) @ self.flat
            (x0, y0), (x1, y1) = (seen.amin(0) - 0.06).tolist(), (seen.amax(0) + 0.06).tolist()
            corners = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=seen.dtype)
            areas = [Area(corners @ self.flat.T @ self.frame, colour=BLUE)]
        return [
            (title, words, Drawn("", f"{title}: {words}", areas, [*floor, *lines], bars=bars))
            for title, words, lines, bars in steps
        ]

    def feet(self) -> list[Line]:
        """How far z reaches along each column."""
        feet = list(zip((self.U * self.coefficients).T, self.coefficients, strict=True))[:COLUMNS]
        along = [self.line(0 * u, u, f"{c:.2f}", BLUE, width=5) for u, c in feet]
        return [*along, *(self.line(self.z, u, dash=True, width=1) for u, _ in feet)]

    def path(self) -> list[Line]:
        """The columns times their coefficients, one after the other: they end at the part inside."""
        ends = torch.cat([0 * self.z[None], (self.U * self.coefficients).T.cumsum(0)])
        return [self.line(a, b, "", BLUE, width=4) for a, b in itertools.pairwise(ends)]

    def triangle(self, *said: str) -> list[Line]:
        """z, the part inside and the residual, and the right angle; ``said`` at the three sides."""
        start, corner = 0 * self.z, self.inside
        sides = [(start, self.z, INK), (start, corner, PURPLE), (corner, self.z, GREEN)]
        words = zip(sides, said, strict=True)
        lines = [self.line(a, b, word, colour, width=2.5) for (a, b, colour), word in words]
        if min(self.size, self.left) > 0.15:
            back, up = -0.07 * self.inside / self.size, 0.07 * self.residual / self.left
            lines += [self.line(corner + x, corner + back + up, width=1) for x in (back, up)]
        return lines


def indexed(letter: str, k: int) -> str:
    return letter + str(k + 1).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


class GramSchmidtStepper(Stepper):
    """Gram-Schmidt: each of m names, embedded in ``T`` [m, d], is split by the span of those before it."""

    @_check.by_name
    def __init__(self, T: Any, names: Sequence[str]) -> None:
        self.T = F.normalize(_check.rows("T", T, nonzero=True).double(), dim=1)
        self.titles = _check.names("names", names, len(self.T))
        super().__init__()

    def moments(self) -> list[Moment]:
        found, new, Q = list[Moment](), list[Bar](), self.T.new_zeros(self.T.shape[1], 0)
        for s in subspace.gram_schmidt_steps(self.T, RTOL):
            name, q = base.short(self.titles[s.index], 16), indexed("q", Q.shape[1])
            scene = Scene(self.T[s.index], Q, self.T[: s.index], "q", self)
            basis, t = scene.columns, scene.arrow(scene.z, name)
            left = [*basis, *scene.arrow(scene.residual, "", GREEN)]
            before, new = new, [*new, Bar(f"residual of {name}", s.norm, colour=GREEN)]
            told = [(f"{name} enters", f"t = {name}, length 1.00.", [*basis, *t], before)]
            if Q.shape[1]:
                words = f"The parts of {name} along the basis so far: QQᵀt = {scene.sum}."
                told.append((f"{name}: Qᵀt", words, [*basis, *scene.feet(), *t], scene.bars))
                words = f"Subtracted. The residual has length {s.norm:.2f} and stands upright on the basis."
                sides = [*basis[::2], *scene.triangle("t", "inside", "residual")]  # columns without labels
                told.append((f"{name}: t − QQᵀt", words, sides, [*scene.bars, *new]))
            if s.kept:
                many = "1 column" if s.Q.shape[1] == 1 else f"{s.Q.shape[1]} columns"
                words = f"The residual, divided by {s.norm:.2f}. Q has {many}, QᵀQ = I."
                told.append((q, words, [*left, *scene.arrow(s.Q[:, -1], q, BLUE)], new))
            else:
                told.append(("nothing new", f"All of {name} but rounding is gone: no new column.", left, new))
            found += scene.told(told)
            Q = s.Q
        return found


class ProjectionStepper(Stepper):
    """z → Uᵀz → UUᵀz → z − UUᵀz → its length → new scores, of a chosen picture and chosen ``names``.

    ``Z`` [n, d] and ``T`` [C, d] embed the pictures and classes of ``data``.
    """

    @_check.by_name
    def __init__(self, Z: Any, T: Any, data: LabelledImages, names: Sequence[str]) -> None:
        self.T = F.normalize(_check.rows("T", T, nonzero=True).double(), dim=1)
        self.Z = F.normalize(_check.rows("Z", Z, self.T.shape[1], nonzero=True).double(), dim=1)
        self.data, self.classes = data, list(data.classes)
        got, want = (len(data), len(self.classes)), (len(self.Z), len(self.T))
        if got != want:
            raise ValueError(f"data: got {got} pictures and classes, want {want} like Z and T")
        chosen = [self.classes[i] for i in _check.class_indices("names", names, len(self.T), self.classes)]
        most = max(2, int(data.labels.bincount().max()))
        menu = functools.partial(make, options=self.classes, width=SLIM)
        self.of = menu(widgets.Dropdown, value=chosen[0], description="picture")
        self.which = make(widgets.IntSlider, 1, 1, most, description="which", width=SLIM)
        self.basis = menu(widgets.Dropdown, options=["Gram–Schmidt", "SVD"], description="basis")
        self.erased = menu(widgets.SelectMultiple, value=chosen, rows=4, description="names")
        super().__init__(of=self.of, which=self.which, basis=self.basis, erased=self.erased)

    @property
    def index(self) -> int:
        own = self.data.where(self.of.value)
        if not len(own):
            raise ValueError(f"names: got {self.of.value!r}, want a class that has pictures")
        return int(own[min(self.which.value, len(own)) - 1])

    def picture(self) -> Any:
        return self.data.images[self.index]

    def moments(self) -> list[Moment]:
        chosen = _check.class_indices("names", list(self.erased.value), len(self.T), self.classes)
        T, z = self.T[chosen], self.Z[self.index]
        basis = subspace.gram_schmidt if self.basis.value == "Gram–Schmidt" else subspace.orthonormal_basis
        U = basis(T, RTOL)
        s = Scene(z, U, T, "u", self)
        (d, r), u, along = U.shape, s.columns, s.bars
        names = [x for i in chosen[:COLUMNS] for x in s.arrow(self.T[i], self.classes[i], FORGET, 1.5)]
        inside = Bar("inside, length", s.size, colour=PURPLE)
        left = Bar("residual, length", s.left, colour=GREEN)
        before, after = self.T @ z, self.T @ s.residual
        shown = [*dict.fromkeys([*chosen[:COLUMNS], *before.argsort(descending=True).tolist()])][:SCORES]

        def scores(now: Tensor, ago: Tensor | None = None) -> list[Bar]:
            ticks = [None if ago is None else float(ago[i]) for i in shown]
            colours = [FORGET if i in chosen else RETAIN for i in shown]
            said = [base.short(f"score: {self.classes[i]}", 22) for i in shown]
            return [Bar(*x) for x in zip(said, now[shown].tolist(), ticks, colours, strict=True)]

        best = [self.classes[int(x.argmax())] for x in (before, after)]
        picture, old = s.arrow(z, "z"), scores(before)
        told = [
            ("z", f"The picture: {d} numbers, length 1. Highest score: {best[0]}, {before.max():.2f}.",
             [*names, *picture], old),
            ("Uᵀz", f"How far z reaches along each column of U: {d} numbers become {r}.",
             [*u, *s.feet(), *picture], [*along, *old]),
            ("UUᵀz", f"Back to {d} numbers: {s.sum}, the point of the span that is nearest to z.",
             [*u, *s.path(), s.line(0 * z, s.inside, "inside", PURPLE, arrow=True), *picture],
             [*along, inside, *old]),
            ("z − UUᵀz", "The residual: from the nearest point up to z, at a right angle to every name.",
             [*s.triangle("z", "inside", "residual"), *s.arrow(s.residual, "", GREEN)], [inside, left, *old]),
            ("‖z − UUᵀz‖", f"The length of the residual, by Pythagoras: {s.left:.2f}. Squared, "
             f"{100 * s.size**2:.0f}% of z is in the span and {100 * s.left**2:.0f}% is not.",
             s.triangle("1.00", f"{s.size:.2f}", f"{s.left:.2f}"), [inside, left, *old]),
            ("new scores", "The residual scores 0 with every name of the span. Highest score now: "
             f"{best[1]}, {after.max():.2f}.",
             [*names, *s.arrow(s.residual, "residual", GREEN)], [inside, left, *scores(after, before)]),
        ]  # fmt: skip
        return s.told(told)
