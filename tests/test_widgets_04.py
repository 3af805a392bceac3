"""Sides, headless: toggles in, one score and the measures out, the same numbers as the package's."""

from __future__ import annotations

import itertools

import drawn
import made_up
import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import plots
from clipnull.lab import Sides
from clipnull.measures import search_auc

STATES = list(itertools.product(["image", "text"], [False, True], [False, True]))


@pytest.fixture(scope="module")
def case():
    return made_up.case()


@pytest.fixture(scope="module")
def edit(case):
    return cn.consistent(case.T_f, case.T_r, 10.0, 3.0)


@pytest.fixture(scope="module")
def sides(case, edit):
    return Sides(case, edit)


def scores(case, edit, side, transposed, normalised):
    """All scores [n, C] after it, from W as a matrix."""
    W = edit.matrix().T if transposed else edit.matrix()
    Z, T = (case.Z @ W, case.T) if side == "image" else (case.Z, case.T @ W.T)
    if normalised:
        Z, T = F.normalize(Z, dim=1), F.normalize(T, dim=1)
    return Z @ T.T


@pytest.mark.parametrize(("side", "transposed", "normalised"), STATES)
def test_a_state_shows_the_score_and_the_measures(case, edit, sides, side, transposed, normalised):
    sides.set(side=side, transposed=transposed, normalised=normalised, picture=2)
    S, before = scores(case, edit, side, transposed, normalised), case.Z @ case.T.T
    own, b, a = sides.scores()
    assert own == int(case.labels[1]) and torch.allclose(b, before[1], atol=1e-6)
    assert torch.allclose(a, S[1], atol=1e-5)
    shown = sides.measures()
    won = S.argmax(1) == case.labels
    assert shown["full recall"].after == pytest.approx(float(won[case.gone].double().mean()))
    assert shown["kept"].after == pytest.approx(float(won[~case.gone].double().mean()))
    size = float(S.abs().max())
    found = [search_auc(S[:, f], case.labels == f, size) for f in case.forget]
    assert shown["search"].after == pytest.approx(sum(found) / len(found), abs=2e-3)
    rows = case.gone.nonzero()[:, 0]
    beaten = S[rows].gather(1, case.labels[rows, None]) > S[rows][:, case.retain]
    assert shown["2-way recall"].after == pytest.approx(float(beaten.double().mean()), abs=1e-3)
    assert f"{float(b[own]):.2f} → <b>{float(a[own]):.2f}</b>" in sides.readout.value
    for name, m in shown.items():
        assert f"{name} {100 * m.before:.1f} → <b>{100 * m.after:.1f}%</b>" in sides.readout.value
    assert bytes(sides.image.value[:4]) == b"\x89PNG"


def test_both_sides_give_one_score_and_the_transpose_another(sides):
    found = {}
    for side, transposed in itertools.product(["image", "text"], [False, True]):
        sides.set(side=side, transposed=transposed, normalised=False)
        found[side, transposed] = sides.scores()[2]
    for transposed in (False, True):
        assert torch.allclose(found["image", transposed], found["text", transposed], atol=1e-5)
    assert not torch.allclose(found["image", False], found["image", True], atol=1e-2)


def test_the_figure_shows_the_score_that_is_watched(case, sides):
    sides.set(side="text", transposed=False, normalised=True, picture=1)
    own, before, after = sides.scores()
    fig = sides.figure()
    left, right = fig.axes
    words = f"names become Wt, then normalised: score with class {own} "
    words += f"{float(before[own]):.2f} → {float(after[own]):.2f}"
    assert words in plots.alt(fig) and words in " ".join(left.get_title(loc="left").split())
    ends = [bar.get_width() for bar in right.patches]
    drawn.same(ends, [100 * m.after for m in sides.measures().values()])
    drawn.same(
        [x.get_xdata()[0] for x in right.get_lines()], [100 * m.before for m in sides.measures().values()]
    )


def test_only_forgotten_pictures_are_watched(case, edit, sides):
    assert sides.picture.max == int(case.gone.sum())
    kept = ~case.gone
    with pytest.raises(ValueError, match="no image is of a forgotten class"):
        Sides(cn.Case(case.Z[kept], case.T, case.labels[kept], case.forget), edit)
