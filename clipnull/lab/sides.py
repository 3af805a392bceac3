"""Which side is edited, by W or by its transpose, and normalised after or not: what one score says to it."""

from __future__ import annotations

import functools
import html

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from clipnull import _check
from clipnull._show import percent, tenths
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.lab.base import FigureWidget
from clipnull.lab.draw import Measure, bars, measures
from clipnull.plots import base
from clipnull.plots.base import alt, describe
from clipnull.plots.erasing import scores_before_after

__all__ = ["Sides"]

#: side, transposed or not -> what is done
FORMULAS = {
    ("image", False): "pictures become Wᵀz",
    ("image", True): "pictures become Wz",
    ("text", False): "names become Wt",
    ("text", True): "names become Wᵀt",
}


class Sides(FigureWidget):
    """One edit on the pictures or on the names, as derived or transposed, normalised after or not.

    The pictures of the case's forgotten classes can be watched, by ``picture`` from 1; it has to have some.
    ``side`` is "image" or "text", ``transposed`` and ``normalised`` are False or True.
    """

    @_check.by_name
    def __init__(self, case: Case, edit: Edit) -> None:
        self.rows = case.require().gone.nonzero()[:, 0]
        self.case, self.edits = case, {False: edit, True: Edit(edit.right, edit.left)}
        self.side, self.transposed, self.normalised = (
            widgets.ToggleButtons(options=options, description=name, style={"button_width": "9.5em"})
            for name, options in (
                ("edit", [("pictures", "image"), ("names", "text")]),
                ("by", [("W, as derived", False), ("its transpose", True)]),
                ("then", [("leave", False), ("normalise", True)]),
            )
        )
        self.picture = widgets.IntSlider(1, 1, len(self.rows), description="picture")
        self.found = functools.cache(self._measure)
        super().__init__([self.side, self.transposed, self.normalised, self.picture])

    def scores(self) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The watched picture's class, and its scores [C] before and after."""
        row = self.rows[[self.picture.value - 1]]
        z, T, edit = self.case.images[row], self.case.T, self.edits[self.transposed.value]
        if self.side.value == "image":
            after = edit.apply_image(z, normalize=self.normalised.value) @ T.T
        else:
            after = z @ edit.apply_text(T, normalize=self.normalised.value).T
        return int(self.case.labels[row]), (z @ T.T)[0], after[0]

    def measures(self) -> list[Measure]:
        """Full and 2-way recall, search, and accuracy on the others, before and after."""
        return self.found(self.side.value, self.transposed.value, self.normalised.value)

    def _measure(self, side: str, transposed: bool, unit: bool) -> list[Measure]:
        edit = self.edits[transposed]
        # a picture's length touches no order of names, a name's no order of pictures
        names = self.case.evaluate(edit, "text" if side == "text" and unit else "image")
        pictures = self.case.evaluate(edit, "image" if side == "image" and unit else "text")
        rows = measures(names)
        return [m._replace(after=pictures.search.after) if m.name == "search" else m for m in rows]

    def figure(self) -> Figure:
        """Left: the watched picture's scores. Right: the measures."""
        own, before, after = self.scores()
        names, shown = self.case.classes, self.measures()
        fig = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=[1.5, 1.0])
        what = FORMULAS[self.side.value, self.transposed.value]
        what += ", then normalised" if self.normalised.value else ""
        said = f"{what}: score with {names[own]} {float(before[own]):.2f} → {float(after[own]):.2f}"
        scores_before_after(before, after, names, forget=[names[own]], k=6, ax=left, title=said)
        # the same width whatever is toggled, so that the score is seen to move
        reach = 1.15 * float(max(before.max(), after.max()))
        left.set(xlabel="score", xlim=(min(-0.15 * reach, 1.1 * float(after.min())), reach))
        bars(right, shown)
        base.style(right, x="%, dashed: before", grid="x")
        text = "; ".join(f"{m.name} {tenths(m.before)} to {tenths(m.after)}" for m in shown)
        return describe(fig, f"{alt(fig)} In percent, before to after: {text}.")

    def text(self) -> str:
        """The watched score and the measures."""
        own, before, after = self.scores()
        score = f"{float(before[own]):.2f} → <b>{float(after[own]):.2f}</b>"
        shown = ", ".join(f"{m.name} {tenths(m.before)} → <b>{percent(m.after)}</b>" for m in self.measures())
        gone, rest = len(self.rows), len(self.case.labels) - len(self.rows)
        said = f"Its score with {html.escape(self.case.classes[own])}: {score}. "
        return said + f"{gone} forgotten pictures, {rest} others: {shown}."
