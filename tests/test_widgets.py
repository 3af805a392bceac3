"""The widgets' base, without a browser: controls in, readout and picture out."""

from __future__ import annotations

import html
import os
import threading

import ipywidgets
import made_up
import pytest
from matplotlib.figure import Figure

from clipnull import lab as widgets
from clipnull import plots
from clipnull.lab import base

PNG = b"\x89PNG"


def test_the_generation_asked_for_is_the_one_imported():
    """tests/test_widgets_v7.py runs this file again under ipywidgets 7.7."""
    wanted = os.environ.get("CLIPNULL_IPYWIDGETS", ipywidgets.__version__)
    assert ipywidgets.__version__.startswith(wanted)


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Drawing is most of the time; what is drawn does not depend on the resolution."""
    png = base.png
    monkeypatch.setattr(base, "png", lambda fig: png(fig, 30))


@pytest.fixture
def case():
    return made_up.case()


# --- the base ----------------------------------------------------------------------------------


class Counter(widgets.FigureWidget):
    """Counts how often it draws."""

    def __init__(self):
        self.drawn = 0
        self.a = ipywidgets.IntSlider(max=9)
        self.b = ipywidgets.IntSlider(max=9)
        super().__init__([self.a, self.b, ipywidgets.Button()])

    def text(self):
        return f"{self.a.value} and {10 // (9 - self.b.value)}"

    def figure(self):
        self.drawn += 1
        fig = Figure(figsize=(2, 1))
        fig.subplots().bar([0, 1], [self.a.value, self.b.value])
        return plots.describe(fig, f"Bars of {self.a.value} and {self.b.value}")


def test_a_control_changes_readout_and_picture():
    lab = Counter()
    before = bytes(lab.image.value)
    assert before.startswith(PNG) and lab.readout.value == "0 and 1" and lab.drawn == 1
    lab.a.value = 3
    assert lab.readout.value == "3 and 1" and lab.image.value != before and lab.drawn == 2


def test_the_picture_says_what_it_shows():
    """The image itself has no such text; the guard beside it writes it into the page."""
    lab = Counter()
    assert html.unescape(lab.alt.value) == "Bars of 0 and 0"
    lab.set(a=4, b=7)
    assert html.unescape(lab.alt.value) == "Bars of 4 and 7" and lab.alt in lab.children


def test_no_widget_says_null_on_hover():
    """The browser shows a missing tip as its name."""
    lab = Counter()
    for part in (lab.a, lab.b, lab.readout, lab.alt):
        keys = [k for k in ("tooltip", "description_tooltip") if part.has_trait(k)]
        assert keys and all(getattr(part, k) is not None for k in keys)


def test_set_draws_once():
    lab = Counter()
    lab.set(a=4, b=7)
    assert lab.readout.value == "4 and 5" and lab.drawn == 2


def test_two_threads_draw_one_after_the_other():
    """JupyterLab may answer two controls at once, in two threads of the kernel."""
    second_drawn = threading.Event()

    class Slow(Counter):
        def text(self):
            said = super().text()
            if self.a.value and not self.b.value:
                # the other thread would finish meanwhile, and this one overwrite what it showed
                started.set()
                second_drawn.wait(0.5)
            return said

        def figure(self):
            if self.b.value:
                second_drawn.set()
            return super().figure()

    lab, started = Slow(), threading.Event()
    first = threading.Thread(target=lambda: setattr(lab.a, "value", 3))
    first.start()
    assert started.wait(10)
    lab.b.value = 7
    first.join(10)
    assert not first.is_alive() and lab.drawn == 3 and lab.readout.value == "3 and 5"


def test_an_error_is_seen_in_the_readout_and_raised():
    lab = Counter()
    with pytest.raises(ZeroDivisionError):
        lab.b.value = 9
    assert "ZeroDivisionError" in lab.readout.value
    lab.b.value = 8  # and the widget goes on
    assert lab.readout.value == "0 and 10"


def test_it_is_shown_by_jupyter():
    """What a cell ending in a widget sends: the widget's view, under both generations."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    lab = Counter()
    with capture_output() as shown:
        if hasattr(lab, "_repr_mimebundle_"):
            data = lab._repr_mimebundle_()
        else:
            lab._ipython_display_()
            data = shown.outputs[0].data
    assert "application/vnd.jupyter.widget-view+json" in data
