"""The labs of the notebooks: core ipywidgets (7.7 and 8) over the package's own functions.

A widget does no mathematics of its own. Each is a `FigureWidget`: controls on top, a text readout,
and a figure as a PNG in a `widgets.Image`. It works without a browser too: set ``lab.some_control.value``
and read ``lab.readout.value`` or ``lab.figure()``.

To write one, subclass `FigureWidget`, make the controls, hand them to ``super().__init__`` and
define ``figure`` and ``text``:

    class Angle(FigureWidget):
        def __init__(self, T):
            self.T = T
            self.row = widgets.IntSlider(max=len(T) - 1, description="row")
            super().__init__([self.row])

        def text(self):
            return f"length {self.T[self.row.value].norm():.2f}"

        def figure(self):
            fig = Figure()
            fig.subplots().bar(range(len(self.T[0])), self.T[self.row.value])
            return fig
"""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from clipnull import _check, plots, subspace
from clipnull._turns import in_turn
from clipnull.erasers import METHODS, Edit, nullspace
from clipnull.evaluate import Evaluator, Report, drop_label
from clipnull.lab_widget import ForgetRetainLab, show_panel
from clipnull.solver import ConsistentSolver

__all__ = [
    "EraserDials",
    "FigureWidget",
    "ForgetOne",
    "ForgetRetainLab",
    "PCAExplorer",
    "StepPlayer",
    "player",
    "show_panel",
]

DPI = 90


def png(fig: Figure, dpi: int = DPI) -> bytes:
    """A figure as PNG bytes; it is released if pyplot knows it."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    import matplotlib.pyplot as plt

    plt.close(fig)
    return buffer.getvalue()


class FigureWidget(widgets.VBox):
    """Controls, a text readout and a figure that follow the controls.

    Parameters
    ----------
    controls : sequence of widgets
        Each one with a ``value`` is watched. A nested sequence is one row of controls.
    dpi : int
        Of the picture; its size in inches is the figure's.

    Attributes
    ----------
    readout : widgets.HTML
        What `text` says now.
    image : widgets.Image
        What `figure` drew last.
    """

    def __init__(self, controls: Sequence[Any], dpi: int = DPI) -> None:
        self.dpi = dpi
        self.readout = widgets.HTML()
        self.image = widgets.Image(format="png")
        self.image.layout.max_width = "100%"
        # an image keeps its proportions in a flex column only when it is not stretched
        self.image.layout.align_self = "flex-start"
        self.image.layout.object_fit = "contain"
        self._paused = False
        rows, watched = [], []
        for row in controls:
            row = [row] if isinstance(row, widgets.Widget) else list(row)
            rows.append(widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap")))
            watched += row
        super().__init__([*rows, self.readout, self.image])
        for control in watched:
            # a Play is linked to its slider in the browser; watching both would draw twice
            if control.has_trait("value") and not isinstance(control, widgets.Play):
                control.observe(self._changed, names="value")
        self.update()

    def figure(self) -> Figure:
        """Draw the present state."""
        raise NotImplementedError

    def text(self) -> str:
        """The present state in words and numbers, as HTML."""
        raise NotImplementedError

    @in_turn
    def update(self) -> None:
        """Bring readout and picture up to date. An error is shown in the readout and raised."""
        try:
            self.readout.value = self.text()
            self.image.value = png(self.figure(), self.dpi)
        except Exception as problem:
            # the browser would bury an exception of a callback in its log
            what = html.escape(f"{type(problem).__name__}: {problem}")
            self.readout.value = f'<b style="color:#b00020">{what}</b>'
            raise

    @in_turn
    def set(self, **values: Any) -> None:
        """Set several controls by attribute name and draw once: ``lab.set(x=1, y=2)``."""
        self._paused = True
        try:
            for name, value in values.items():
                getattr(self, name).value = value
        finally:
            self._paused = False
        self.update()

    @in_turn
    def _changed(self, change: Any) -> None:
        if not self._paused:
            self.update()


def player(last: int, description: str = "step", interval: int = 1200) -> tuple[Any, Any]:
    """A Play button and the slider it drives, over 0 … ``last``.

    Returns
    -------
    play : widgets.Play
    slider : widgets.IntSlider
        Watch this one. The two are linked in the browser (`jslink`), so playing needs no kernel.
    """
    play = widgets.Play(min=0, max=last, step=1, interval=interval)
    slider = widgets.IntSlider(min=0, max=last, description=description)
    widgets.jslink((play, "value"), (slider, "value"))
    return play, slider


class PCAExplorer(FigureWidget):
    """Embeddings on principal components of your choice, before and after an edit (notebook 01).

    Parameters
    ----------
    T : array [C, d]
        Text embeddings, one a class.
    Z : array [n, d]
        Image embeddings.
    labels : array [n]
        Class index of each image.
    categories : C str
        Colour and marker shape; names and images shown together are told apart by these instead.
    thumbnails : n PIL images, optional
        Offered as markers.
    edits : dict of name -> Edit, optional
        Offered as "edit". It acts on images as `Edit.apply_image`, on names as `Edit.apply_text`;
        when both are shown, on the images (that is what an edited image tower does).

    Attributes
    ----------
    which, view, marks, edit : widgets.Dropdown
    x, y, z, azimuth, elevation : widgets.IntSlider
    """

    def __init__(
        self,
        T: Any,
        Z: Any,
        labels: Any,
        categories: Sequence[str],
        thumbnails: Sequence[Any] | None = None,
        edits: Mapping[str, Edit] | None = None,
    ) -> None:
        self.T = _check.rows("T", T)
        self.Z = _check.rows("Z", Z, self.T.shape[1])
        self.labels = _check.labels("labels", labels, len(self.Z), len(self.T)).tolist()
        self.categories = [c or "all classes" for c in categories]
        self.thumbnails = None if thumbnails is None else list(thumbnails)
        self.edits = dict(edits or {})
        last = max(1, min(8, len(self.T), len(self.Z), self.T.shape[1]))
        marks = ["category"] if self.thumbnails is None else ["category", "picture"]
        self.which = widgets.Dropdown(options=["images", "names", "both"], description="show")
        self.view = widgets.Dropdown(options=["2-D", "3-D"], description="view")
        self.marks = widgets.Dropdown(options=marks, description="marker")
        self.edit = widgets.Dropdown(options=["none", *self.edits], description="edit")
        self.x, self.y, self.z = (
            widgets.IntSlider(min(k, last), 1, last, description=f"{axis} axis", continuous_update=False)
            for axis, k in (("first", 1), ("second", 2), ("third", 3))
        )
        self.azimuth = widgets.IntSlider(-60, -180, 180, 5, description="turn °")
        self.elevation = widgets.IntSlider(20, -90, 90, 5, description="tilt °")
        super().__init__(
            [
                [self.which, self.marks, self.edit],
                [self.x, self.y, self.view],
                [self.z, self.azimuth, self.elevation],
            ]
        )

    def update(self) -> None:
        """As in the base; the sliders of the third dimension are there only when it is."""
        for control in (self.z, self.azimuth, self.elevation):
            control.layout.display = None if self.view.value == "3-D" else "none"
        self.marks.layout.display = "none" if self.view.value == "3-D" else None
        super().update()

    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor | None, list[str]]:
        """What is shown: rows before the edit, after it (None without one), and their groups."""
        which, edit = self.which.value, self.edits.get(self.edit.value)
        names, images = self.categories, [self.categories[y] for y in self.labels]
        if which == "names":
            return self.T, None if edit is None else edit.apply_text(self.T), names
        if which == "images":
            return self.Z, None if edit is None else edit.apply_image(self.Z), images
        after = None if edit is None else torch.cat([self.T, edit.apply_image(self.Z)])
        groups = ["name"] * len(names) + ["image"] * len(images)
        return torch.cat([self.T, self.Z]), after, groups

    @property
    def components(self) -> list[int]:
        """The components drawn, counted from 1."""
        axes = [self.x, self.y, self.z] if self.view.value == "3-D" else [self.x, self.y]
        return [a.value for a in axes]

    def figure(self) -> Figure:
        """The scatter of the present state."""
        before, after, groups = self.embeddings()
        c = self.components
        if self.view.value == "3-D":
            return plots.pca_scatter_3d(
                before,
                groups,
                after=after,
                components=(c[0], c[1], c[2]),
                azimuth=self.azimuth.value,
                elevation=self.elevation.value,
            )
        pictures = self.thumbnails if self.marks.value == "picture" and self.which.value == "images" else None
        return plots.pca_scatter(before, groups, after=after, components=(c[0], c[1]), thumbnails=pictures)

    def text(self) -> str:
        """Share of the variance on the axes, and how far the edit moves the embeddings."""
        before, after, _ = self.embeddings()
        ratio = plots.pca(before, max(self.components))[2]
        held = ", ".join(f"component {c}: {100 * ratio[c - 1]:.1f}%" for c in self.components)
        words = f"{len(before)} embeddings. Share of the variance: {held}."
        if self.view.value == "3-D":
            words += f" Seen from {self.azimuth.value}°, {self.elevation.value}° up."
        if after is not None:
            moved = (after - before).norm(dim=1)
            words += f" The edit moves them by {moved.mean():.3f} on average, {moved.max():.3f} at most."
        if self.marks.value == "picture" and self.which.value != "images":
            words += " Pictures mark images only; names are drawn by category."
        return words


@dataclass(frozen=True)
class _Moment:
    """What `StepPlayer` shows at one position of its slider."""

    words: str
    entered: int
    Q: torch.Tensor
    residual: torch.Tensor | None
    before: torch.Tensor | None


class StepPlayer(FigureWidget):
    """Gram-Schmidt, one subtraction at a time (notebook 02).

    Parameters
    ----------
    T : array [m, d]
        Embeddings, in the order in which they enter; the drawing shows the first three directions.
    names : m str

    Attributes
    ----------
    play : widgets.Play
    step : widgets.IntSlider
        Position; one a row that enters, a component that is subtracted, a residual that is scaled.
    azimuth : widgets.IntSlider
        Where the drawing is seen from.
    moments : list
        What each position shows.
    """

    def __init__(self, T: Any, names: Sequence[str]) -> None:
        self.T = _check.rows("T", T, nonzero=True).double()
        self.T = torch.nn.functional.normalize(self.T, dim=1)
        self.names = [str(n) for n in names]
        self.moments = _moments(self.T, self.names)
        Q = self.moments[-1].Q
        # a single direction still needs a plane to be drawn in
        U = torch.linalg.qr(torch.cat([Q, torch.eye(len(Q), 2, dtype=Q.dtype)], 1)).Q
        self.frame = Q[:, :3] if Q.shape[1] >= 2 else torch.cat([Q, U[:, 1:2]], 1)
        self.play, self.step = player(len(self.moments) - 1)
        self.azimuth = widgets.IntSlider(35, -180, 180, 5, description="turn °")
        super().__init__([[self.play, self.step, self.azimuth]])

    @property
    def moment(self) -> _Moment:
        """The one at the slider."""
        return self.moments[self.step.value]

    def figure(self) -> Figure:
        """The vectors so far and QᵀQ."""
        m = self.moment
        return plots.gram_schmidt_step(
            self.T[: m.entered],
            self.names[: m.entered],
            m.Q,
            self.frame,
            residual=m.residual,
            before=m.before,
            azimuth=self.azimuth.value,
            title=m.words,
        )

    def text(self) -> str:
        """The step in words, the length of the residual, and how far QᵀQ is from I."""
        m = self.moment
        off = subspace.orthogonality_error(m.Q)
        words = f"<b>{self.step.value} of {len(self.moments) - 1}.</b> {html.escape(m.words)}."
        if m.residual is not None:
            words += f" Length of the residual: {m.residual.norm():.3f}."
        size = "below 10⁻¹²" if off < 1e-12 else f"{off:.1e}"
        return f"{words} Basis vectors: {m.Q.shape[1]}; |QᵀQ − I| is {size}."


def _moments(T: torch.Tensor, names: Sequence[str]) -> list[_Moment]:
    """`gram_schmidt_steps`, told one subtraction at a time."""
    moments, Q = [], T.new_zeros(T.shape[1], 0)
    for s in subspace.gram_schmidt_steps(T):
        name, running, n = names[s.index], T[s.index], s.index + 1
        moments.append(_Moment(f"{name} enters, length 1", n, Q, running, None))
        for k, c in enumerate(s.coefficients):
            left = running - c * Q[:, k]
            words = f"Subtract the part of {name} along q{k + 1}: {c:.3f} q{k + 1}"
            moments.append(_Moment(words, n, Q, left, running))
            running = left
        if s.kept:
            words = f"Divide the residual by its length, {s.norm:.3f}: this is q{s.Q.shape[1]}"
        else:
            words = f"Nothing of {name} is left: it adds no direction and is dropped"
        moments.append(_Moment(words, n, s.Q, None, None))
        Q = s.Q
    return moments


class EraserDials(FigureWidget):
    """The dials of the erasers and where they put you on the forget-retain plane (notebook 04).

    Parameters
    ----------
    Z, T, labels, classes
        As in `clipnull.evaluate`.
    forget : list of int or of str
        Classes to forget.

    Attributes
    ----------
    method : widgets.Dropdown
        ``"partial"``, ``"ccup"`` or ``"mean"``.
    alpha : widgets.FloatSlider
    lam, mu : widgets.FloatLogSlider
        Only the dials of the method are shown.
    fixed : dict of name -> Report
        The package's defaults, drawn in grey.
    """

    def __init__(
        self, Z: Any, T: Any, labels: Any, forget: Any, classes: Sequence[str] | None = None
    ) -> None:
        self.evaluator = Evaluator(Z, T, labels, classes)
        T = self.evaluator.T
        self.forget = _check.forget_set(forget, len(T), self.evaluator.classes)
        retain = [i for i in range(len(T)) if i not in self.forget]
        self.T_f = T[self.forget]
        self.solver = ConsistentSolver(self.T_f, T[retain])
        self.fixed = {m: self._report(method.make(self.T_f, T[retain])) for m, method in METHODS.items()}
        self.fixed["drop the label"] = drop_label(Z, T, labels, self.forget, classes)
        self.method = widgets.Dropdown(
            options=[
                ("partial: I − αUUᵀ", "partial"),
                ("CCUP: anchor 0", "ccup"),
                ("anchor: the mean", "mean"),
            ],
            value="ccup",
            description="method",
        )
        self.alpha = widgets.FloatSlider(0.5, min=0, max=1, step=0.05, description="α")
        self.lam, self.mu = (
            widgets.FloatLogSlider(10, base=10, min=-2, max=5, step=0.25, description=x, readout_format=".3r")
            for x in ("λ", "μ")
        )
        super().__init__([[self.method, self.alpha, self.lam, self.mu]])

    def _report(self, edit: Edit) -> Report:
        return self.evaluator.report(self.forget, edit)

    def update(self) -> None:
        """As in the base; only the dials that the method has are shown."""
        method = self.method.value
        self.alpha.layout.display = None if method == "partial" else "none"
        for dial in (self.lam, self.mu):
            dial.layout.display = "none" if method == "partial" else None
        super().update()

    def edit(self) -> Edit:
        """The eraser at the present dials."""
        method = self.method.value
        if method == "partial":
            return nullspace(self.T_f, strength=self.alpha.value)
        anchor = None if method == "ccup" else method
        return self.solver.edit(self.lam.value, self.mu.value, anchor)

    def figure(self) -> Figure:
        """The plane: the defaults of every method in grey, the present dials in colour."""
        points = {**self.fixed, "your dials": self._report(self.edit())}
        return plots.forget_retain_plane(
            points, highlight="your dials", title="Your dials among the package's defaults"
        )

    def text(self) -> str:
        """Both accuracies, and the size of the edit."""
        edit = self.edit()
        r = self._report(edit)
        # ||L R^T|| from the two small Gram matrices
        size = float(((edit.left.T @ edit.left) * (edit.right.T @ edit.right)).sum().clamp_min(0).sqrt())
        return (
            f"forget {100 * r.forget_before:.1f} → <b>{100 * r.forget_after:.1f}%</b>, "
            f"retain {100 * r.retain_before:.1f} → <b>{100 * r.retain_after:.1f}%</b>; "
            f"‖W − I‖ = {size:.2f}, rank {edit.rank}."
        )


class ForgetOne(FigureWidget):
    """Project one class's name out: its pictures' scores, and who pays (notebook 03).

    Parameters
    ----------
    Z, T, labels, classes
        As in `clipnull.evaluate`.
    forget : str or int, optional
        The class shown first.

    Attributes
    ----------
    name : widgets.Dropdown
        The class to forget; those that have images.
    """

    def __init__(
        self, Z: Any, T: Any, labels: Any, classes: Sequence[str] | None = None, forget: Any = None
    ) -> None:
        self.evaluator = Evaluator(Z, T, labels, classes)
        e = self.evaluator
        seen = torch.unique(e.labels).tolist()
        first = seen[0] if forget is None else _check.forget_set(forget, len(e.T), e.classes)[0]
        options = [(e.classes[c], c) for c in seen]
        self.name = widgets.Dropdown(options=options, value=first, description="forget")
        super().__init__([self.name])

    def edit(self) -> Edit:
        """The projection that removes the chosen name."""
        return nullspace(self.evaluator.T[[self.name.value]])

    def report(self) -> Report:
        """Accuracies before and after it."""
        return self.evaluator.report([self.name.value], self.edit())

    def scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean scores [C] of the class's images, before and after."""
        e = self.evaluator
        rows = e.labels == self.name.value
        after = self.edit().update_scores(e.scores[rows], e.Z[rows], e.T)
        return e.scores[rows].mean(0), after.mean(0)

    def figure(self) -> Figure:
        """Left: mean scores of the class's images. Right: each other class's loss by cosine."""
        e, f = self.evaluator, self.name.value
        before, after = self.scores()
        rows = [row for row in self.report().per_class if not row["forgotten"]]
        fig = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = fig.subplots(1, 2)
        names = e.classes
        best = names[int(before.argmax())], names[int(after.argmax())]
        plots.scores_before_after(
            before, after, names, forget=[names[f]], ax=left,
            title=f"Mean scores of the {names[f]} images: {best[0]} leads before, {best[1]} after",
        )  # fmt: skip
        plots.collateral(
            e.T[[row["index"] for row in rows]] @ F.normalize(e.T[f], dim=0),
            [row["after"] - row["before"] for row in rows],
            [row["name"] for row in rows],
            ax=right,
        )
        left.set_xlabel("mean cosine with the name")
        said = f"After projecting {names[f]} out, {best[1]} leads on its images ({best[0]} before)"
        return plots.describe(fig, f"{said}. {plots.alt(fig)}")

    def text(self) -> str:
        """Recall of the class, accuracy on the others, and where its images went."""
        r = self.report()
        went = html.escape(", ".join(f"{name} ({n})" for name, n in r.destinations(3)))
        return (
            f"forget {100 * r.forget_before:.1f} → <b>{100 * r.forget_after:.1f}%</b>, "
            f"retain {100 * r.retain_before:.1f} → <b>{100 * r.retain_after:.1f}%</b>; "
            f"its images became {went}."
        )
