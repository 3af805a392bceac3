"""The film of lesson 07: a slider over the steps of an optimisation."""

from __future__ import annotations

import drawn
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from clipnull import lab
from clipnull.plots.base import FORGET, PALE


def film(**other: object) -> lab.Film:
    pictures = [[Image.new("RGB", (4, 4), (60 * i, 0, 0))] * 2 for i in range(3)]
    given = dict(
        pictures=pictures, said=[["cat", "dog"], ["cat", "owl"], ["fox", "owl"]],
        leads={"a": [-1.0, -0.5, 0.5], "b": [-1.0, -0.6, -0.2]}, bounds=[0.6, 0.0],
    )  # fmt: skip
    return lab.Film(**(given | other))


def test_the_slider_turns_the_pages_and_begins_at_the_last():
    widget = film()
    assert widget.step.value == 2 and "Step 2. a wins by 0.5" in widget.alt.value
    last = widget.image.value
    widget.step.value = 1
    assert "Step 1. a loses by 0.5, certificate 0.60; b loses by 0.6" in widget.alt.value
    assert widget.image.value != last


def test_a_film_shows_the_step_and_marks_who_wins():
    leads = {"open": [-0.3, -0.1, 0.2, 0.3], "closed": [-0.3, -0.2, -0.1, -0.05]}
    pictures = [[Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]] * 4
    widget = film(pictures=pictures, said=[["tiger", "wolf"]] * 4, leads=leads, bounds=[0.5, 0.0])
    widget.step.value = 2
    *shown, ax = [a for part in widget.figure().subfigs for a in part.axes]
    assert [a.get_title() for a in shown] == ["open: “tiger”", "closed: “wolf”"]
    assert [tuple(a.images[0].get_array()[0, 0]) for a in shown] == [(255, 0, 0), (0, 0, 255)]
    edges = [to_hex(a.spines["top"].get_edgecolor()) for a in shown]
    assert edges == [FORGET.lower(), PALE.lower()]
    curves = {"open, certificate 0.50": leads["open"], "closed, certificate 0.00": leads["closed"]}
    drawn.same(drawn.lines(ax), {name: list(enumerate(lead)) for name, lead in curves.items()})
    one, other, zero, now = drawn.rules(ax)
    drawn.same([one, other], [[(2, 0.2)], [(2, -0.1)]])
    drawn.same([zero, now], [[(0, 0), (1, 0)], [(2, 0), (2, 1)]])
    assert "Step 2. open wins by 0.2, certificate 0.50; closed loses by 0.1" in widget.alt.value


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"said": [["cat", "dog"]]}, "said: want 3 steps, and in each 2"),
        ({"leads": {"a": [1.0], "b": [1.0] * 3}}, r"leads\['a'\]: got shape \[1\], want \[3\]"),
        ({"bounds": [0.1]}, "bounds: got shape \\[1\\], want \\[2\\]"),
    ],
)
def test_a_film_refuses(wrong: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        film(**wrong)
