"""The class that is projected out, and what that does."""

from __future__ import annotations

import html

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from clipnull._show import percent, tenths
from clipnull.edit import Edit
from clipnull.erasers import nullspace
from clipnull.evaluation import Case
from clipnull.lab.base import FigureWidget
from clipnull.lab.draw import measures
from clipnull.plots.base import alt, describe
from clipnull.plots.erasing import collateral, scores_before_after
from clipnull.report import Report

__all__ = ["ForgetOne"]


def accuracies(r: Report) -> str:
    """The measures before and after, as HTML."""
    return ", ".join(f"{m.name} {tenths(m.before)} → <b>{percent(m.after)}</b>" for m in measures(r))


class ForgetOne(FigureWidget):
    """Project one class's name out: its pictures' scores, and who pays (notebook 03).

    Parameters
    ----------
    case : Case
        The first of its classes to forget is shown first.

    Attributes
    ----------
    name : widgets.Dropdown
        The classes that have images.
    """

    def __init__(self, case: Case) -> None:
        assert len(case.scores) == len(case.predicted)  # now: the cases of other classes share them
        self.all = case
        options = [(case.classes[c], c) for c in torch.unique(case.labels).tolist()]
        self.name = widgets.Dropdown(options=options, value=case.forget[0], description="forget")
        super().__init__([self.name])

    @property
    def case(self) -> Case:
        """That of the chosen class."""
        return self.all.forgetting(self.name.value)

    def edit(self) -> Edit:
        """The projection that removes the chosen name."""
        return nullspace(self.case.T_f)

    def report(self) -> Report:
        """Accuracies before and after it."""
        return self.case.evaluate(self.edit())

    def scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean scores [C] of the class's images, before and after."""
        case = self.case
        before, Z = case.scores[case.gone], torch.as_tensor(case.Z)[case.gone]
        return before.mean(0), self.edit().update_scores(before, Z, case.T).mean(0)

    def figure(self) -> Figure:
        """Left: mean scores of the class's images. Right: each other class's loss by cosine."""
        case, names, (before, after) = self.case, self.case.classes, self.scores()
        rows = [row for row in self.report().per_class if not row.forgotten]
        fig = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = fig.subplots(1, 2)
        old, new = names[int(before.argmax())], names[int(after.argmax())]
        title = f"Mean scores of the {case.forgotten} images: {old} leads before, {new} after"
        scores_before_after(before, after, names, forget=case.forget_names, ax=left, title=title)
        cosine = case.T[[row.label for row in rows]] @ F.normalize(case.T_f[0], dim=0)
        collateral(cosine, [row.after - row.before for row in rows], [row.name for row in rows], ax=right)
        left.set_xlabel("mean cosine with the name")
        said = f"After projecting {case.forgotten} out, {new} leads on its images ({old} before)"
        return describe(fig, f"{said}. {alt(fig)}")

    def text(self) -> str:
        """The measures, and where its images went."""
        r = self.report()
        went = ", ".join(f"{name} ({n})" for name, n in r.destinations(3))
        return f"{accuracies(r)}; its images became {html.escape(went)}."
