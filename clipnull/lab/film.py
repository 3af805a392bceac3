"""Pictures that are being optimised, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from clipnull import _check, plots
from clipnull.lab.base import FigureWidget

__all__ = ["Film"]


class Film(FigureWidget):
    """A slider over the steps of an optimisation: its pictures, what is said of them, their leads.

    Parameters
    ----------
    pictures : sequence of k PIL images, one per step
        As in ``film`` of `clipnull.auditing.Optimised`.
    said : sequence of k str, one per step
        The name that wins on each picture.
    leads : mapping of label -> array [steps + 1]
        k of them; see `clipnull.plots.film`, which draws.
    bounds : sequence of float [k]
    title : str

    Attributes
    ----------
    step : widgets.IntSlider

    Raises
    ------
    ValueError
        Not as many of one as of the other.
    """

    @_check.by_name
    def __init__(
        self,
        pictures: Sequence[Sequence[Any]],
        said: Sequence[Sequence[str]],
        leads: Mapping[str, Any],
        bounds: Sequence[float],
        title: str = "",
    ) -> None:
        self.pictures = _check.having("pictures", _check.some("pictures", pictures), "")
        self.said, self.leads, self.bounds, self.title = _check.some("said", said), leads, bounds, title
        want = len(self.pictures)
        found = {"said": self.said} | {
            f"leads[{name!r}]": _check.some("leads", x) for name, x in leads.items()
        }
        for name, steps in found.items():
            if len(steps) != want:
                raise ValueError(f"{name}: got {len(steps)} steps, want {want} like pictures")
        layout = widgets.Layout(width="480px", max_width="100%")
        self.step = widgets.IntSlider(want - 1, 0, want - 1, description="step", layout=layout)
        super().__init__([self.step])

    def figure(self) -> Figure:
        """The step that is chosen."""
        i = self.step.value
        return plots.film(self.pictures[i], self.said[i], self.leads, self.bounds, i, title=self.title)

    def text(self) -> str:
        """Nothing: the figure says it."""
        return ""
