"""What every widget of the package does: follow its controls, pause, and say what went wrong."""

import functools
import html
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
from matplotlib.figure import Figure

from clipnull import _check
from clipnull._check import P, R
from clipnull.plots.base import alt

__all__ = ["FigureWidget"]

_check.TYPES["Widget"] = _check.instance(widgets.Widget)

#: JupyterLab from 4.4 on with ipykernel 7 may answer two controls at a time, in two threads (*subshells*)
_LOCK = threading.RLock()


def in_turn(call: Callable[P, R]) -> Callable[P, R]:
    """Let no other thread into any function so marked; a thread that is in may enter again."""

    @functools.wraps(call)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return call(*args, **kwargs)

    return alone


def png(fig: Figure, dpi: int = 90) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def image() -> widgets.Image:
    """A place for a PNG; in a flex column it keeps its proportions only when it is not stretched."""
    layout = widgets.Layout(max_width="100%", align_self="flex-start", object_fit="contain")
    return widgets.Image(format="png", layout=layout)


def row(*children: widgets.Widget) -> widgets.HBox:
    """Widgets side by side, in a second line where there is no room."""
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


def make(
    kind: Callable[..., Any], *arguments: Any, width: str = "21.5em", help: str = "", **options: Any
) -> Any:
    """A control with a layout of its own: hiding one must not hide the others."""
    if "description" in options and kind not in (widgets.Button, widgets.FileUpload):
        options.setdefault("style", {"description_width": "4.6em"})
    made = kind(*arguments, layout=widgets.Layout(width=width, max_width="100%"), **options)
    if help and kind is widgets.Dropdown and made.description:
        # ipywidgets shows no tip of a menu that has a description; `guard.js` copies this one to the menu
        made.description = f'<span title="{html.escape(help)}">{made.description}</span>'
        if made.has_trait("description_allow_html"):  # ipywidgets 7 always does
            made.description_allow_html = True
    if help:  # the name of the trait differs between ipywidgets 7 and 8
        made.set_trait("tooltip" if made.has_trait("tooltip") else "description_tooltip", help)
    return made


def show(there: bool, *controls: widgets.Widget) -> None:
    for control in controls:
        control.layout.display = None if there else "none"


def alarm(problem: Exception, more: str = "") -> str:
    """An error as HTML. A ValueError's message is a sentence for the reader; others name their kind."""
    kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
    # JupyterLab's red fits its theme; elsewhere the text's own colour does, and the bar says the rest
    style = "border-left:4px solid var(--jp-error-color1, #d32f2f); padding-left:.5em; "
    style += "color:var(--jp-error-color1, inherit)"
    return f'<span style="{style}">{html.escape(f"{kind}{problem}{more}")}</span>'


class Guard(anywidget.AnyWidget):
    """Nothing to see: keys that are typed in a widget stay in it, and its picture gets the text of `alt`."""

    _esm = Path(__file__).with_name("guard.js")


#: the kernel's one
guard = functools.cache(lambda: Guard(layout=widgets.Layout(display="none")))


def titled(widget: widgets.Widget) -> None:
    """Say something on hover where a widget and its parts would say "null"."""
    for key in ("tooltip", "description_tooltip"):  # ipywidgets 8 and 7
        if widget.has_trait(key) and getattr(widget, key) is None:
            widget.set_trait(key, getattr(widget, "description", ""))
    for child in getattr(widget, "children", ()):
        titled(child)


class Live(widgets.VBox):
    """Something on screen that follows its controls; ``error``, and its ``message``, say why it cannot."""

    _paused = False
    error: Exception | None = None
    instead = ""  # what an error's sentence goes on with

    def __init__(self, children: Sequence[widgets.Widget]) -> None:
        # what its picture shows, for who does not see it
        self.alt = widgets.HTML(layout=widgets.Layout(display="none"))
        self.alt.add_class("clipnull-alt")
        super().__init__([*children, self.alt, guard()])
        titled(self)
        self.add_class("clipnull")

    def draw(self) -> None:
        raise NotImplementedError

    @in_turn
    def update(self) -> None:
        """Bring what is on screen up to date."""
        self.error, self.message.value = None, ""
        self.attempt(self.draw)

    @in_turn
    def attempt(self, action: Callable[[], None]) -> None:
        """Run an action; bad input becomes a sentence on screen, a fault is shown and raised."""
        try:
            action()
        except Exception as problem:
            self.error, self.message.value = problem, alarm(problem, self.instead)
            if not isinstance(problem, ValueError):
                raise

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Controls move without drawing."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    @in_turn
    def changed(self, change: Any = None) -> None:
        if not self._paused:
            self.update()


class FigureWidget(Live):
    """Controls, and below them a text ``readout`` and an ``image`` that follow those with a ``value``."""

    @_check.by_name
    def __init__(self, controls: Sequence[widgets.Widget]) -> None:
        self.readout = self.message = widgets.HTML()
        self.image = image()
        super().__init__([*controls, self.readout, self.image])
        for control in controls:
            if control.has_trait("value"):
                control.observe(self.changed, names="value")
        self.draw()

    def figure(self) -> Figure:
        raise NotImplementedError

    def text(self) -> str:
        return ""

    def draw(self) -> None:
        self.readout.value = self.text()
        fig = self.figure()
        self.image.value, self.alt.value = png(fig), html.escape(alt(fig))

    @in_turn
    def set(self, **values: Any) -> None:
        """Set several controls by attribute name and draw once: ``lab.set(x=1, y=2)``."""
        with self.paused():
            for name, value in values.items():
                getattr(self, name).value = value
        self.update()
