"""An eraser's hyperparameters and what they do."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.erasers import METHODS, Edit, nullspace
from clipnull.evaluation import Evaluator, Report, drop_label
from clipnull.lab.base import FigureWidget
from clipnull.plots.base import alt, describe
from clipnull.plots.erasing import collateral, forget_retain_plane, scores_before_after
from clipnull.solver import ConsistentSolver

__all__ = ["EraserDials", "ForgetOne"]


class EraserDials(FigureWidget):
    """The dials of the erasers and where they put you on the forget-retain plane (notebook 04).

    Parameters
    ----------
    Z, T, labels, classes
        As in `clipnull.evaluation`.
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
        return forget_retain_plane(
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
        As in `clipnull.evaluation`.
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
        scores_before_after(
            before, after, names, forget=[names[f]], ax=left,
            title=f"Mean scores of the {names[f]} images: {best[0]} leads before, {best[1]} after",
        )  # fmt: skip
        collateral(
            e.T[[row["index"] for row in rows]] @ F.normalize(e.T[f], dim=0),
            [row["after"] - row["before"] for row in rows],
            [row["name"] for row in rows],
            ax=right,
        )
        left.set_xlabel("mean cosine with the name")
        said = f"After projecting {names[f]} out, {best[1]} leads on its images ({best[0]} before)"
        return describe(fig, f"{said}. {alt(fig)}")

    def text(self) -> str:
        """Recall of the class, accuracy on the others, and where its images went."""
        r = self.report()
        went = html.escape(", ".join(f"{name} ({n})" for name, n in r.destinations(3)))
        return (
            f"forget {100 * r.forget_before:.1f} → <b>{100 * r.forget_after:.1f}%</b>, "
            f"retain {100 * r.retain_before:.1f} → <b>{100 * r.retain_after:.1f}%</b>; "
            f"its images became {went}."
        )
