"""The widgets of single lessons: predictions, both sides of an edit, the film of an attack."""

import functools
import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure

from clipnull import _check
from clipnull._show import percent, tenths
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.lab.base import FigureWidget, Live, in_turn, make, row
from clipnull.lab.views import bars, measures
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, LEGEND, MARKERS, PALE, SERIES, alt, describe, short
from clipnull.plots.erasing import scores_before_after
from clipnull.report import Change

__all__ = ["Film", "Prediction", "Sides", "predict"]


class Prediction(Live):
    """A guess, and then the answer: one of ``choices``, or a number ``between`` the ends of a slider."""

    @_check.by_name
    def __init__(
        self, question: str, answer: float | str, between: tuple[float, float] | None = None,
        choices: Sequence[str] | None = None, step: float = 1.0, unit: str = "",
    ) -> None:  # fmt: skip
        if (between is None) == (choices is None):
            raise ValueError("between, choices: got both or neither, want one of them")
        _check.number("step", step, 1e-9)
        self.answer, self.unit = answer, unit
        self.digits = len(f"{step:g}".partition(".")[2])
        if choices is not None:
            _check.one_of("answer", answer, choices)
            self.guess = make(widgets.RadioButtons, options=list(choices), index=None, width="max-content")
        elif between is not None:
            _check.number("answer", answer, -np.inf)
            low, high = _check.interval("between", between)
            look: dict[str, Any] = dict(min=low, max=high, step=step, readout_format=f".{self.digits}f")
            self.guess = make(widgets.FloatSlider, (low + high) / 2, width="420px", **look)
        apart = widgets.Layout(margin="2px 2px 2px 1em")  # from the longest choice
        self.commit = widgets.Button(description="That is my guess", layout=apart)
        self.commit.on_click(self._show)
        self.verdict = widgets.HTML()
        asked = widgets.HTML(f"<b>{html.escape(question)}</b>")
        super().__init__([asked, row(self.guess, self.commit), self.verdict])

    def say(self, value: Any) -> str:
        return value if isinstance(value, str) else f"{value:.{self.digits}f}{self.unit}"

    @in_turn
    def _show(self, button: Any) -> None:
        if self.guess.value is None:
            self.verdict.value = "Choose first."
            return
        said, true = (html.escape(self.say(x)) for x in (self.guess.value, self.answer))
        self.guess.disabled = True  # not the button, which has the focus
        self.verdict.value = f"You said <b>{said}</b>; it is <b>{true}</b>."


@_check.by_name
def predict(question: str, answer: float | str, because: str = "", **control: Any) -> None:
    """Ask for a `Prediction`; its answer, and why, stay folded until they are wanted, with no kernel too."""
    asked = Prediction(question, answer, **control)
    folded = html.escape(f"{asked.say(answer)}. {because}".strip())
    display(asked, HTML(f"<details><summary>Answer: {html.escape(question)}</summary>{folded}</details>"))


class Sides(FigureWidget):
    """One edit on pictures or names, as derived or transposed, normalised or not: what it does to one
    ``picture`` of the forgotten classes, from 1, and to the measures."""

    @_check.by_name
    def __init__(self, case: Case, edit: Edit) -> None:
        self.rows = case.require().gone.nonzero()[:, 0]
        self.case, self.edits = case, {False: edit, True: Edit(edit.right, edit.left)}
        pick = functools.partial(widgets.ToggleButtons, style={"button_width": "9.5em"})
        self.side = pick(options=[("pictures", "image"), ("names", "text")], description="edit")
        self.transposed = pick(options=[("W, as derived", False), ("its transpose", True)], description="by")
        self.normalised = pick(options=[("leave", False), ("normalise", True)], description="then")
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

    def measures(self) -> dict[str, Change]:
        return self.found(self.side.value, self.transposed.value, self.normalised.value)

    def _measure(self, side: str, transposed: bool, unit: bool) -> dict[str, Change]:
        edit = self.edits[transposed]
        # a picture's length touches no order of names, a name's no order of pictures
        names = self.case.evaluate(edit, "text" if side == "text" and unit else "image")
        pictures = self.case.evaluate(edit, "image" if side == "image" and unit else "text")
        return {**measures(names), "search": pictures.search}

    def figure(self) -> Figure:
        own, before, after = self.scores()
        names, shown = self.case.classes, self.measures()
        fig = Figure(figsize=(9.6, 3.6), layout="constrained")
        left, right = fig.subplots(1, 2, width_ratios=[1.5, 1.0])
        image = self.side.value == "image"
        W = "Wᵀ" if image != self.transposed.value else "W"
        what = f"pictures become {W}z" if image else f"names become {W}t"
        what += ", then normalised" if self.normalised.value else ""
        said = f"{what}: score with {names[own]} {float(before[own]):.2f} → {float(after[own]):.2f}"
        scores_before_after(before, after, names, forget=[names[own]], k=6, ax=left, title=said)
        # the same width whatever is toggled, so that the score is seen to move
        reach = 1.15 * float(max(before.max(), after.max()))
        left.set(xlabel="score", xlim=(min(-0.15 * reach, 1.1 * float(after.min())), reach))
        bars(right, shown)
        base.style(right, x="%, dashed: before", grid="x")
        text = "; ".join(f"{name} {tenths(m.before)} to {tenths(m.after)}" for name, m in shown.items())
        return describe(fig, f"{alt(fig)} In percent, before to after: {text}.")

    def text(self) -> str:
        own, before, after = self.scores()
        score = f"{float(before[own]):.2f} → <b>{float(after[own]):.2f}</b>"
        pairs = (f"{k} {tenths(m.before)} → <b>{percent(m.after)}</b>" for k, m in self.measures().items())
        gone, rest = len(self.rows), len(self.case.labels) - len(self.rows)
        said = f"Its score with {html.escape(self.case.classes[own])}: {score}. "
        return said + f"{gone} forgotten pictures, {rest} others: {', '.join(pairs)}."


class Film(FigureWidget):
    """A slider over the steps of an optimisation: k ``pictures`` a step, the k names ``said`` of them, and
    by label k ``leads`` [steps], score of the wanted name less that of the best other one, which cannot pass
    ``bounds`` [k]."""

    @_check.by_name
    def __init__(
        self, pictures: Sequence[Sequence[Any]], said: Sequence[Sequence[str]], leads: Mapping[str, Any],
        bounds: Sequence[float], title: str = "",
    ) -> None:  # fmt: skip
        n, k = len(_check.having("pictures", pictures, "")), len(_check.having("leads", leads, ""))
        for name, steps in (("pictures", pictures), ("said", said)):
            if [len(_check.some(name, row)) for row in steps] != n * [k]:
                raise ValueError(f"{name}: want {n} steps, and in each {k}, one for each of leads")
        self.pictures, self.said, self.title = pictures, said, title
        self.leads = {name: base.numbers(f"leads[{name!r}]", x, n) for name, x in leads.items()}
        self.bounds = base.numbers("bounds", bounds, k)
        self.step = make(widgets.IntSlider, n - 1, 0, n - 1, description="step", width="480px")
        super().__init__([self.step])

    def figure(self) -> Figure:
        step, k = self.step.value, len(self.leads)
        fig = base.Figure(figsize=(9.2, 4.6), layout="constrained")
        above, below = fig.subfigures(2, 1, height_ratios=[1, 1.1])
        pictures, ax = above.subplots(1, k, squeeze=False)[0], below.subplots()
        now = []
        for i, (label, lead) in enumerate(self.leads.items()):
            wins, bound, colour = lead[step] > 0, self.bounds[i], SERIES[i % len(SERIES)]
            pictures[i].imshow(base.picture(f"pictures[{step}]", self.pictures[step][i]))
            pictures[i].set(xticks=[], yticks=[])
            words = f"{short(label, 14)}: “{short(self.said[step][i], 16)}”"
            pictures[i].set_title(words, fontsize=10, color=FORGET if wins else BLACK)
            pictures[i].spines[:].set(color=FORGET if wins else PALE, linewidth=3)
            ax.plot(lead, color=colour, label=f"{short(label, 14)}, certificate {bound:.2f}")
            ax.plot([step], lead[[step]], MARKERS[i % len(MARKERS)], color=colour, markersize=8)
            told = f"{'wins' if wins else 'loses'} by {abs(lead[step]):.1f}"
            now.append(f"{label} {told}, certificate {bound:.2f}")
        ax.axhline(0, color=BLACK, linewidth=1)
        ax.axvline(step, color=GREY, linestyle=":", linewidth=1)
        # early steps are far below, and not what matters
        ax.set_ylim(1.4 * min(-0.02, *(float(np.median(lead)) for lead in self.leads.values())), None)
        ax.text(0, 0, "above: it wins", va="bottom", fontsize=8)
        base.style(ax, x="step", y="lead over the best kept name", grid="y")
        below.legend(*ax.get_legend_handles_labels(), loc="outside right center", **LEGEND)
        base.title(fig, self.title)
        return describe(fig, f"{self.title}. Step {step}. {'; '.join(now)}.")
