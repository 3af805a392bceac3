"""What every widget of the package does: follow its controls, pause, and say what went wrong."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def image() -> widgets.Image:
    """A place for a PNG; in a flex column it keeps its proportions only when it is not stretched."""
    layout = widgets.Layout(max_width="100%", align_self="flex-start", object_fit="contain")
    return widgets.Image(format="png", layout=layout)


def row(*children: widgets.Widget) -> widgets.HBox:
    """Widgets side by side, in a second line where there is no room."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


def alarm(problem: Exception, more: str = "") -> str:
    """An error as red HTML. A ValueError's message is a sentence for the reader; others name their kind."""
    kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
    return f'<span style="color:#b00020">{html.escape(f"{kind}{problem}{more}")}</span>'


class Live(widgets.VBox):
    """Something on screen that follows its controls; while it is paused, controls move without drawing."""

    _paused = False

    def update(self) -> None:
        """Bring the screen up to date."""
        raise NotImplementedError

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within it, controls that move draw nothing."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    @in_turn
    def changed(self, change: Any = None) -> None:
        """What a control calls when its value changes."""
        if not self._paused:
            self.update()


class FigureWidget(Live):
    """Controls, a text readout and a figure that follow the controls.

    Parameters
    ----------
    controls : sequence of widgets
        Each one with a ``value`` is watched. A nested sequence is one row of controls.

    Attributes
    ----------
    readout : widgets.HTML
        What `text` says now.
    image : widgets.Image
        What `figure` drew last.
    """

    def __init__(self, controls: Sequence[Any]) -> None:
        self.readout, self.image = widgets.HTML(), image()
        rows = [[c] if isinstance(c, widgets.Widget) else list(c) for c in controls]
        super().__init__([*(row(*r) for r in rows), self.readout, self.image])
        for control in (control for r in rows for control in r):
            # a Play is linked to its slider in the browser; watching both would draw twice
            if control.has_trait("value") and not isinstance(control, widgets.Play):
                control.observe(self.changed, names="value")
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
            self.image.value = png(self.figure())
        except Exception as problem:
            # the browser would bury an exception of a callback in its log
            self.readout.value = f"<b>{alarm(problem)}</b>"
            raise

    @in_turn
    def set(self, **values: Any) -> None:
        """Set several controls by attribute name and draw once: ``lab.set(x=1, y=2)``."""
        with self.paused():
            for name, value in values.items():
                getattr(self, name).value = value
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
