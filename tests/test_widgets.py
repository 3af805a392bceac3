"""The widgets' base and that of lesson 02, without a browser: controls in, readout and picture out."""

from __future__ import annotations

import html
import os
import threading

import ipywidgets
import made_up
import pytest
import torch
from matplotlib.figure import Figure

from clipnull import lab as widgets
from clipnull import subspace
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
        self.play, self.step = widgets.player(5)
        super().__init__([self.a, [self.b, self.play, self.step]])

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


def test_set_draws_once():
    lab = Counter()
    lab.set(a=4, b=7)
    assert lab.readout.value == "4 and 5" and lab.drawn == 2


def test_a_player_is_watched_through_its_slider_only():
    lab = Counter()
    lab.play.value = 3  # the browser moves the slider with it; the kernel does not
    assert lab.drawn == 1
    lab.step.value = 3
    assert lab.drawn == 2 and (lab.play.max, lab.step.max) == (5, 5)


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


# --- StepPlayer --------------------------------------------------------------------------------


def test_player_tells_gram_schmidt_step_by_step(case):
    lab = widgets.StepPlayer(case.T[:3], ["tiger", "wolf", "bear"])
    # enter + scale, enter + 1 subtraction + scale, enter + 2 subtractions + scale
    assert lab.step.max == len(lab.moments) - 1 == 8
    seen = set()
    steps = list(subspace.gram_schmidt_steps(case.T[:3].double()))
    for i in range(9):
        lab.step.value = i
        assert lab.readout.value.startswith(f"<b>{i} of 8.</b>")
        seen.add(lab.image.value)
    assert len(seen) == 9
    assert torch.allclose(lab.moment.Q, steps[-1].Q, atol=1e-6)
    lab.step.value = 7
    assert f"Length of the residual: {steps[-1].norm:.3f}" in lab.readout.value


def test_player_says_when_a_name_adds_nothing(case):
    lab = widgets.StepPlayer(torch.stack([case.T[0], 2 * case.T[0], case.T[1]]), ["a", "a again", "b"])
    lab.step.value = 4
    assert "adds no direction" in lab.readout.value and "Basis vectors: 1" in lab.readout.value
    lab.step.value = lab.step.max
    assert "Basis vectors: 2" in lab.readout.value


@pytest.mark.parametrize("m", [1, 2, 5])
def test_player_draws_any_number_of_names(case, m):
    lab = widgets.StepPlayer(case.T[:m], [f"name <{i}>" for i in range(m)])
    lab.step.value = lab.step.max
    assert bytes(lab.image.value).startswith(PNG)
    lab.step.value = 0
    assert "name &lt;0&gt; enters" in lab.readout.value
