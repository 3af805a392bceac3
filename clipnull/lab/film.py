"""Pictures that are being optimised, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.lab.base import FigureWidget
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, LEGEND, MARKERS, PALE, SERIES, describe, short

__all__ = ["Film"]


class Film(FigureWidget):
    """A slider over the steps of an optimisation: its pictures, what is said of them, their leads.

    ``pictures`` and ``said`` have k pictures, and the k names that win on them, for each step. ``leads`` maps
    k labels to arrays [steps]: score of the wanted name less that of the best other one, a win above zero.
    ``bounds`` [k] is what no lead can pass. A ValueError where the steps are not as many.
    """

    @_check.by_name
    def __init__(
        self, pictures: Sequence[Sequence[Any]], said: Sequence[Sequence[str]], leads: Mapping[str, Any],
        bounds: Sequence[float], title: str = "",
    ) -> None:  # fmt: skip
        want, k = len(_check.having("pictures", pictures, "")), len(_check.having("leads", leads, ""))
        self.leads = {name: base.numbers(f"leads[{name!r}]", x, None) for name, x in leads.items()}
        found: dict[str, Any] = {f"leads[{name!r}]": x for name, x in self.leads.items()}
        for name, steps in {"said": said, **found}.items():
            if len(steps) != want:
                raise ValueError(f"{name}: got {len(steps)} steps, want {want} like pictures")
        self.said = [_check.names("said", names, k) for names in said]
        self.bounds, self.title, self.pictures = base.numbers("bounds", bounds, k), title, pictures
        for shown in (_check.some("pictures", row) for row in pictures):
            if len(shown) != k:
                raise ValueError(f"pictures: got {len(shown)} in a step, want {k}, one for each of leads")
        layout = widgets.Layout(width="480px", max_width="100%")
        self.step = widgets.IntSlider(want - 1, 0, want - 1, description="step", layout=layout)
        super().__init__([self.step])

    def figure(self) -> Figure:
        """The pictures of the step that is chosen, side by side, over the leads that they reach."""
        step, k = self.step.value, len(self.leads)
        fig = base.Figure(figsize=(9.2, 4.6), layout="constrained")
        above, below = fig.subfigures(2, 1, height_ratios=[1, 1.1])
        row, ax = above.subplots(1, k, squeeze=False)[0], below.subplots()
        now = []
        for i, (label, lead) in enumerate(self.leads.items()):
            wins, bound, colour = lead[step] > 0, self.bounds[i], SERIES[i % len(SERIES)]
            row[i].imshow(base.picture(f"pictures[{step}]", self.pictures[step][i]))
            row[i].set(xticks=[], yticks=[])
            words = f"{short(label, 14)}: “{short(self.said[step][i], 16)}”"
            row[i].set_title(words, fontsize=10, color=FORGET if wins else BLACK)
            row[i].spines[:].set(color=FORGET if wins else PALE, linewidth=3)
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

    def text(self) -> str:
        """Nothing: the figure says it."""
        return ""
