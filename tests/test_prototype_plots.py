"""Figures of lesson 09: every panel and number drawn, alt text that says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from clipnull import plots
from clipnull import prototype_plots as pp
from clipnull.prototypes import Selective

PICTURE = Image.new("RGB", (16, 16), "orange")


def square(own, kept, styles=("one", "two")):
    before = torch.tensor([[1.0, 0.9], [0.8, 0.7]])
    return Selective(styles, before, torch.tensor([[own, kept], [0.8, 0.7]]))


def words(fig):
    return [t.get_text() for t in fig.findobj(Text) if t.get_text()]


def test_picture_rows():
    fig = pp.picture_rows({"real": [PICTURE] * 3, "made": [PICTURE] * 3}, ["cat", "dog", "owl"], title="Rows")
    assert isinstance(fig, plots.Figure) and len(fig.axes) == 6
    assert {"cat", "dog", "owl", "real", "made"} <= set(words(fig))
    assert plots.alt(fig) == "Rows. Pictures of cat, dog, owl, in rows: real; made."
    with pytest.raises(ValueError, match=r"rows: got \[2\] pictures, want 3"):
        pp.picture_rows({"real": [PICTURE] * 2}, ["cat", "dog", "owl"])


def test_style_squares_head_every_column_and_mark_what_should_go():
    results = {
        "first": {"gate": square(0.1, 0.9), "global": square(0.0, 0.0)},
        "second": {"gate": square(0.2, 0.6, ("two", "one")), "global": square(0.0, 0.0, ("two", "one"))},
    }
    fig = pp.style_squares(results)
    assert len(fig.axes) == 6
    assert [ax.get_title() for ax in fig.axes] == ["before", "gate", "global", "", "", ""]
    gate = fig.axes[1]
    assert [t.get_text() for t in gate.texts] == ["10", "90", "80", "70"]
    assert gate.texts[0].get_color() == plots.FORGET and gate.texts[1].get_color() == plots.BLACK
    assert [t.get_text() for t in fig.axes[4].get_xticklabels()] == ["two", "one"]
    assert "second, gate: class 0.2, 0.6; others 0.8, 0.7" in plots.alt(fig)


def test_reader_output_draws_each_group():
    groups = ("class, style to forget", "class, style to keep", "others, forget", "others, keep")
    values = {k: dict(zip(groups, np.eye(4) + i, strict=True)) for i, k in enumerate(("words", "means"))}
    fig = pp.reader_output(values)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["words", "means"]
    assert set(groups) <= set(words(fig))
    assert "means, class, style to forget: 1.2 ± 0.4" in plots.alt(fig)


def test_selective_curves_have_a_panel_a_source():
    dial = [square(0.4, 1.0), square(0.1, 0.8)]
    fig = pp.selective_curves(
        [0.1, 0.2], {"first": {"words": dial, "means": dial}, "second": {"words": dial, "means": dial}}
    )
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["words", "means", "", ""]
    kept, own = fig.axes[0].get_lines()
    assert kept.get_ydata().tolist() == pytest.approx([100, 80])
    assert own.get_ydata().tolist() == pytest.approx([40, 10])
    assert "first, words: to forget 0.4, 0.1, to keep 1.0, 0.8" in plots.alt(fig)
