"""The widgets' base and the explorer of lesson 01, without a browser: controls in, readout and picture out."""

from __future__ import annotations

import os
import threading

import ipywidgets
import made_up
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import clipnull as cn
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
        super().__init__([self.a, [self.b, ipywidgets.Button()]])

    def text(self):
        return f"{self.a.value} and {10 // (9 - self.b.value)}"

    def figure(self):
        self.drawn += 1
        fig = Figure(figsize=(2, 1))
        fig.subplots().bar([0, 1], [self.a.value, self.b.value])
        return fig


def test_a_control_changes_readout_and_picture():
    lab = Counter()
    before = bytes(lab.image.value)
    assert before.startswith(PNG) and lab.readout.value == "0 and 1" and lab.drawn == 1
    lab.a.value = 3
    assert lab.readout.value == "3 and 1" and lab.image.value != before and lab.drawn == 2


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


# --- PCAExplorer -------------------------------------------------------------------------------


@pytest.fixture
def explorer(case):
    pictures = [Image.new("RGB", (8, 8), (10 * i, 40, 80)) for i in range(20)]
    categories = ["animal", "food"] * 10
    edits = {"without class 0": cn.nullspace(case.T[:1])}
    return widgets.PCAExplorer(case.T, case.Z[::4], case.labels[::4], categories, pictures, edits)


def test_explorer_starts_with_images_by_category(explorer):
    before, after, groups = explorer.embeddings()
    assert len(before) == 20 and after is None and groups == ["animal", "food"] * 10
    ratio = plots.pca(before, 2)[2]
    assert f"component 1: {100 * ratio[0]:.1f}%" in explorer.readout.value
    assert bytes(explorer.image.value).startswith(PNG)


@pytest.mark.parametrize(
    ("which", "edit"),
    [
        ("names", "none"),
        ("names", "without class 0"),
        ("images", "without class 0"),
    ],
)
def test_explorer_draws_every_combination(explorer, which, edit):
    before = explorer.image.value
    explorer.set(which=which, edit=edit, x=2, y=5)
    assert explorer.image.value != before
    assert "component 2: " in explorer.readout.value and "component 5: " in explorer.readout.value
    assert ("The edit moves them" in explorer.readout.value) == (edit != "none")


def test_explorer_applies_the_edit_on_the_right_side(case, explorer):
    edit = explorer.edits["without class 0"]
    explorer.set(edit="without class 0", which="images")
    assert torch.equal(explorer.embeddings()[1], edit.apply_image(case.Z[::4]))
    explorer.which.value = "names"
    assert torch.equal(explorer.embeddings()[1], edit.apply_text(case.T))


def test_explorer_pictures_mark_images_only(explorer):
    before = explorer.image.value
    explorer.marks.value = "picture"
    assert explorer.image.value != before
    with_pictures = explorer.image.value
    explorer.which.value = "names"
    assert explorer.image.value != with_pictures


def test_explorer_takes_a_data_set_without_categories(case):
    lab = widgets.PCAExplorer(case.T, case.Z, case.labels, [""] * 20)
    assert set(lab.embeddings()[2]) == {"all classes"}
    assert list(lab.marks.options) == ["category"] and list(lab.edit.options) == ["none"]


def test_explorer_with_few_rows(case):
    lab = widgets.PCAExplorer(case.T[:3], case.Z[:3], [0, 1, 2], ["a", "b", "c"])
    assert lab.x.max == lab.y.max == 3
