"""ForgetOne without a browser: the numbers on screen are those of evaluate."""

from __future__ import annotations

import made_up
import pytest
import torch

import clipnull as cn
from clipnull import lab as widgets
from clipnull import plots


@pytest.fixture
def case():
    return made_up.case()


def test_every_class_shows_the_numbers_of_evaluate(case):
    lab = widgets.ForgetOne(case.forgetting("class 3"))
    assert lab.name.value == 3
    pictures = set()
    for c in (3, 0, 19):
        lab.name.value = c
        edit = cn.nullspace(case.T[[c]])
        report = case.forgetting(c).evaluate(edit)
        for number in (report.forget_before, report.forget_after, report.retain_before, report.retain_after):
            assert f"{100 * number:.1f}" in lab.readout.value
        before, after = lab.scores()
        rows = case.labels == c
        assert torch.allclose(before, (case.Z[rows] @ case.T.T).mean(0), atol=1e-5)
        assert torch.allclose(after, (edit.apply_image(case.Z[rows]) @ case.T.T).mean(0), atol=1e-5)
        assert abs(float(after[c])) < 1e-5
        pictures.add(lab.image.value)
    assert len(pictures) == 3


def test_the_static_figure_says_what_it_shows(case):
    text = plots.alt(widgets.ForgetOne(case).figure())
    assert text.startswith("After projecting class 0 out") and "Largest losses" in text


def test_only_classes_with_images_are_offered(case):
    some = case.labels != 5
    lab = widgets.ForgetOne(cn.Case(case.Z[some], case.T, case.labels[some], [0]))
    assert 5 not in [value for _, value in lab.name.options] and len(lab.name.options) == 19
