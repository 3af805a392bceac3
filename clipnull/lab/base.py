"""A figure and a sentence that follow their controls."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from clipnull.lab.turns import in_turn

__all__ = ["FigureWidget", "player"]

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
