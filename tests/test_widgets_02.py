"""The steppers of lesson 02: the numbers are the package's, the drawing is true to scale, both ways."""

from __future__ import annotations

import html
import re

import drawn
import made_up
import numpy as np
import pytest
import torch
from PIL import Image

from clipnull import lab, plots, subspace
from clipnull.datasets.pictures import Images, LabelledImages
from clipnull.plots.base import BLUE, GREEN, PURPLE

CASE = made_up.case()
Z, T = CASE.Z.double(), CASE.T.double()
NAMES = [f"class {c}" for c in range(20)]


def data() -> LabelledImages:
    pictures = Images(lambda i: Image.new("RGB", (8, 8), (3 * i, 40, 80)), range(80))
    return LabelledImages(pictures, CASE.labels, NAMES, ["{}"])


def stepper(*names: str) -> lab.ProjectionStepper:
    return lab.ProjectionStepper(CASE.Z, CASE.T, data(), names or NAMES[:2])


def bars(widget: lab.Stepper) -> dict[str, float]:
    return {bar.name: bar.value for bar in widget.drawn.bars}


def side(widget: lab.Stepper, colour: str) -> np.ndarray:
    """The vector that the side of this colour shows, on screen."""
    (line,) = [x for x in widget.drawn.lines if x.colour == colour and x.width == 2.5 and not x.arrow]
    return np.subtract(line.b, line.a)


def said(widget: lab.Stepper) -> str:
    return html.unescape(re.sub("<.*?>", "", widget.readout.value))


def test_the_numbers_of_a_projection_are_the_packages():
    widget = stepper()
    z, U = Z[0], subspace.gram_schmidt(T[:2])
    left = z - U @ (U.T @ z)
    wanted = {
        1: {"along u₁": U[:, 0] @ z, "along u₂": U[:, 1] @ z},
        2: {"inside, length": (U.T @ z).norm()},
        4: {"residual, length": left.norm(), "score: class 0": T[0] @ z, "score: class 1": T[1] @ z},
        5: {"score: class 0": 0.0, "score: class 1": 0.0},
    }
    for step, numbers in wanted.items():
        widget.step.value = step
        shown = bars(widget)
        assert {k: shown[k] for k in numbers} == pytest.approx(
            {k: float(v) for k, v in numbers.items()}, abs=1e-6
        )
    others = [b for b in widget.drawn.bars if b.name.startswith("score") and b.colour == BLUE]
    for bar in others:
        t = T[NAMES.index(bar.name.removeprefix("score: "))]
        assert (bar.before, bar.value) == pytest.approx((float(t @ z), float(t @ left)), abs=1e-6)
    assert len(others) == 4 and f"by Pythagoras: {left.norm():.2f}." in widget.moments()[4][1]


def test_no_arrow_of_the_lesson_leaves_the_frame(pocket):
    names = ["bus", "ambulance", "lemon"]
    widget = lab.GramSchmidtStepper(pocket.embed_text(names), names)
    x0, x1, y0, y1 = widget.extent
    for turn in (widget.turn.min, widget.turn.max):
        for tilt in (0, 90):
            widget.turn.value, widget.tilt.value = turn, tilt
            ends = np.array([end for m in widget.moments() for x in m[2].lines for end in (x.a, x.b)])
            assert (ends >= (x0, y0)).all() and (ends <= (x1, y1)).all()


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES[:3], NAMES[:6]], ids=len)
def test_the_drawing_is_true_to_scale(names):
    widget = stepper(*names)
    widget.turn.value = widget.tilt.value = 0
    widget.step.value = 4
    shown = bars(widget)
    inside, left = side(widget, PURPLE), side(widget, GREEN)
    np.testing.assert_allclose(inside, [shown["inside, length"], 0], atol=1e-9)
    np.testing.assert_allclose(left, [0, shown["residual, length"]], atol=1e-9)
    np.testing.assert_allclose(inside + left, side(widget, "ink"), atol=1e-9)


def test_from_above_the_floor_is_true_to_scale_and_what_is_left_is_seen_end_on():
    widget = stepper()
    widget.turn.value, widget.tilt.value, widget.step.value = 0, 90, 0
    tips = [np.array(x.b) for x in widget.drawn.lines if x.arrow and x.width == 1.5]
    assert [np.linalg.norm(t) for t in tips] == pytest.approx([1, 1]), "names are unit vectors of the floor"
    assert tips[0] @ tips[1] == pytest.approx(float(T[0] @ T[1]), abs=1e-6)
    widget.step.value = 4
    assert np.linalg.norm(side(widget, GREEN)) < 1e-9


def test_another_basis_of_the_same_span_changes_the_coefficients_and_nothing_else():
    widget = stepper()
    widget.step.value = 1
    before = bars(widget)
    widget.basis.value = "SVD"
    after = bars(widget)
    assert abs(after["along u₁"] - before["along u₁"]) > 0.01
    for step in (2, 3, 4, 5):
        widget.step.value = step
        now = {k: v for k, v in bars(widget).items() if not k.startswith("along")}
        widget.basis.value = "Gram–Schmidt"
        assert now == pytest.approx({k: v for k, v in bars(widget).items() if k in now}, abs=1e-6)
        widget.basis.value = "SVD"


def test_forwards_and_backwards_and_no_further():
    widget = stepper()
    seen = [said(widget)]
    for _ in range(7):
        widget.next.click()
        seen.append(said(widget))
    assert [re.match(r"\d of 5 · [^A-Z ]*", s)[0] for s in seen[:2]] == ["0 of 5 · z", "1 of 5 · "]
    assert len(set(seen)) == 6 and seen[5] == seen[7]
    widget.back.click()
    assert said(widget) == seen[4]
    for _ in range(7):
        widget.back.click()
    assert said(widget) == seen[0] and widget.step.value == 0


def test_formulas_need_no_rare_letter_on_the_page():
    widget = stepper()
    for step in range(6):
        widget.step.value = step
        assert "ᵀ" not in widget.readout.value
        assert widget.drawn.alt.startswith(widget.moments()[step][0])
        assert not any("ᵀ" in line.label for line in widget.drawn.lines)
    assert "U<sup>T</sup>z" in "".join(_readouts(widget))


def _readouts(widget: lab.Stepper) -> list[str]:
    found = []
    for step in range(widget.step.max + 1):
        widget.step.value = step
        found.append(widget.readout.value)
    return found


def test_another_picture_and_other_names():
    widget = stepper()
    first = widget.readout.value
    assert 'alt="the picture"' in first
    widget.which.value = 3
    assert widget.index == 2 and widget.readout.value != first
    widget.of.value, widget.which.value = "class 7", 4
    assert widget.index == 31
    widget.erased.value = ("class 7", "class 9", "class 3")
    widget.step.value = 5
    shown = bars(widget)
    assert [shown[f"score: class {c}"] for c in (3, 7, 9)] == pytest.approx([0, 0, 0], abs=1e-6)
    widget.erased.value = ()
    assert "names: got no class" in widget.message.value


def test_the_same_name_twice_is_one_direction():
    T_twice = torch.cat([CASE.T[:1], CASE.T])
    twice = LabelledImages(data().images, CASE.labels + 1, ["again", *NAMES], ["{}"])
    widget = lab.ProjectionStepper(CASE.Z, T_twice, twice, ["class 0", "again"])
    for basis in ("Gram–Schmidt", "SVD"):
        widget.basis.value = basis
        widget.step.value = 1
        assert [name for name in bars(widget) if name.startswith("along")] == ["along u₁"]


def test_gram_schmidt_is_told_name_by_name():
    widget = lab.GramSchmidtStepper(CASE.T[:3], ["tiger", "wolf", "<bear>"])
    assert widget.step.max == 9  # two steps of the first name, four of each other
    told = _readouts(widget)
    steps = list(subspace.gram_schmidt_steps(T[:3]))
    assert "tiger enters" in told[0] and "&lt;bear&gt; enters" in told[6]
    shown = bars(widget)
    assert list(shown.values()) == pytest.approx([s.norm for s in steps], abs=1e-6)
    widget.step.value = 7
    assert list(bars(widget).values()) == pytest.approx(steps[2].coefficients.tolist(), abs=1e-6)
    widget.turn.value = widget.tilt.value = 0
    widget.step.value = 8
    np.testing.assert_allclose(side(widget, GREEN), [0, steps[2].norm], atol=1e-6)


def test_gram_schmidt_says_when_a_name_adds_nothing():
    widget = lab.GramSchmidtStepper(torch.stack([CASE.T[0], 2 * CASE.T[0], CASE.T[1]]), ["a", "a again", "b"])
    told = _readouts(widget)
    assert "Q has 1 column," in told[1] and "no new column" in told[5] and "Q has 2 columns" in told[-1]


def test_a_negative_coefficient_is_subtracted():
    widget = stepper(*NAMES[:3])
    c, words = (subspace.gram_schmidt(T[:3]).T @ Z[0]).tolist(), widget.moments()[2][1]
    later = [f"{'−' if x < 0 else '+'} {abs(x):.2f} u{u}" for x, u in zip(c[1:], "₂₃", strict=True)]
    assert min(c[1:]) < 0 and all(part in words for part in later) and "-" not in words


@pytest.mark.parametrize("m", [1, 2, 5])
def test_gram_schmidt_of_any_number_of_names(m):
    widget = lab.GramSchmidtStepper(CASE.T[:m], NAMES[:m])
    assert len(set(_readouts(widget))) == 4 * m - 2


def test_the_still_shows_the_steps_asked_for_and_the_numbers_of_the_last():
    widget = stepper()
    fig = widget.figure()
    titles = [ax.get_title(loc="left") for ax in fig.axes]
    assert len(fig.axes[0].child_axes[0].images) == 1  # the picture
    assert titles == ["z", "Uᵀz", "UUᵀz", "z − UUᵀz", "‖z − UUᵀz‖", "new scores", ""]
    drawn.same(drawn.ends(fig.axes[-1]), {b.name: b.value for b in widget.moments()[5][2].bars})
    assert "at a right angle to every name" in plots.alt(fig)
    assert [ax.get_title(loc="left") for ax in widget.figure([1, 4]).axes] == ["Uᵀz", "‖z − UUᵀz‖", ""]
