"""The film of lesson 07: a slider over the steps of an optimisation."""

from __future__ import annotations

import pytest
from PIL import Image

from clipnull import lab


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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"said": [["cat", "dog"]]}, "said: got 1 steps, want 3 like pictures"),
        ({"leads": {"a": [1.0], "b": [1.0] * 3}}, r"leads\['a'\]: got 1 steps, want 3"),
        ({"bounds": [0.1]}, "bounds: got shape \\[1\\], want \\[2\\]"),
    ],
)
def test_a_film_refuses(wrong: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        film(**wrong)
