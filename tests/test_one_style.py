"""Cells of class and style: what a linear edit can erase, on planted axes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import auditing as one_style
from clipnull import plots
from clipnull.plots import base

C, D = 6, 40
OTHERS = list(range(1, C))
FORGET = 0
EXACT = 1e9  # mu: kept rows do not move


@pytest.fixture(scope="module")
def axes():
    """Orthonormal directions: one a class, one a style, one for the interaction, one shared."""
    Q = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    return {"class": Q[:, :C].T, "style": Q[:, C : C + 2].T, "own": Q[:, C + 2], "shared": Q[:, C + 3]}


def world(axes, interaction=0.0):
    """Cells [2, C, D] = shared + class + style, and names [C, D]; class 0 in style 0 has a part of its own."""
    M = axes["shared"] + axes["class"] + 0.5 * axes["style"][:, None]
    M[0, FORGET] += interaction * axes["own"]
    return M, F.normalize(axes["shared"] + axes["class"], dim=1)


def kept(M):
    """Every cell but the one of class 0 in style 0."""
    return torch.cat([M[0, OTHERS], M[1]])


def consistent_images(P_f, P_r, lam=float("inf"), mu=EXACT):
    """The consistent edit of rows that are pictures, as in notebook 09: they meet W^T, so the factors swap."""
    V = cn.consistent(P_f, P_r, lam, mu, anchor="mean", dtype=torch.float64)
    return cn.Edit(V.right, V.left)


def right(M, T, edit):
    """Whether each cell is recognised, [2, C]."""
    return torch.stack([(edit.apply_image(m) @ T.T).argmax(1) == torch.arange(C) for m in M])


# --- theorems -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_parallelogram(axes, seed):
    """Any linear edit moves the fourth cell by what it moves the other three, plus what it does to the interaction."""
    g = torch.Generator().manual_seed(seed)
    edit = cn.Edit(*(torch.randn(D, 3, dtype=torch.float64, generator=g) for _ in "LR"))
    for interaction in (0.0, 0.7):
        M, _ = world(axes, interaction)
        move = torch.stack([edit.apply_image(m) - m for m in M])
        i = interaction * axes["own"][None]
        extra = edit.apply_image(i) - i
        for x in OTHERS:
            three = move[1, FORGET] + move[0, x] - move[1, x]
            assert torch.allclose(move[0, FORGET], three + extra[0])


def test_holding_the_others_holds_an_additive_cell(axes):
    """With class and style additive, no λ and μ of the consistent edit forget in one style alone."""
    M, T = world(axes)
    for lam in (10.0, 1e3, 1e6):
        edit = consistent_images(M[0, [FORGET]], kept(M), lam, 1e6 * lam)
        moves = [(edit.apply_image(m) - m).norm(dim=1).max() for m in M]
        assert max(moves) < 1e-3, "three corners held: the fourth is"
        assert right(M, T, edit).all()
    # lam infinite forces the cell onto its anchor, and the kept ones pay at least as much together
    forced = consistent_images(M[0, [FORGET]], kept(M))
    move = torch.stack([(forced.apply_image(m) - m) for m in M]).norm(dim=2)
    assert move[0, FORGET] > 0.5
    assert move[1, FORGET] + move[0, 1] + move[1, 1] >= move[0, FORGET] - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_additive_margins_shift_alike(axes, seed):
    """Whatever the edit, additive styles shift a margin between two names by the same for every class."""
    M, T = world(axes)
    g = torch.Generator().manual_seed(seed)
    edit = cn.Edit(*(torch.randn(D, 2, dtype=torch.float64, generator=g) for _ in "LR"))
    S = torch.stack([edit.apply_image(m) @ T.T for m in M])
    margin = S[:, :, FORGET] - S[:, :, 1]
    assert torch.allclose(margin[0] - margin[1], (margin[0] - margin[1])[0].expand(C))


def test_a_planted_interaction_is_erased_and_nothing_else(axes):
    M, T = world(axes, interaction=1.0)
    before = cn.Edit(torch.zeros(D, 0), torch.zeros(D, 0))
    assert right(M, T, before).all()
    edit = consistent_images(M[0, [FORGET]], kept(M))
    wanted = torch.ones(2, C, dtype=torch.bool)
    wanted[0, FORGET] = False
    assert torch.equal(right(M, T, edit), wanted)
    assert torch.allclose(edit.apply_image(kept(M)), kept(M), atol=1e-6)
    assert torch.allclose(edit.apply_image(M[0, [FORGET]])[0], kept(M).mean(0), atol=1e-6)
    # the same rows on the text side of an edit do not do it: rows that are pictures need the transpose
    swapped = cn.consistent(M[0, [FORGET]], kept(M), float("inf"), EXACT, anchor="mean", dtype=torch.float64)
    assert not torch.allclose(swapped.apply_image(kept(M)), kept(M), atol=1e-2)


def test_gate_mutes_one_name_in_one_style_even_when_additive(axes):
    """No interaction, and yet one cell is lost and no other: only one name's score changes, in one style."""
    M, T = world(axes)
    strength = 5.0
    edit = one_style.gated(
        M[0, [FORGET]], M[1], T[[FORGET]], T[OTHERS], strength, mu=EXACT, dtype=torch.float64
    )
    wanted = torch.ones(2, C, dtype=torch.bool)
    wanted[0, FORGET] = False
    assert torch.equal(right(M, T, edit), wanted)
    change = torch.stack([edit.apply_image(m) @ T.T - m @ T.T for m in M])
    assert change[:, :, OTHERS].abs().max() < 1e-6, "no other name's score"
    assert torch.allclose(change[0, :, FORGET], torch.full((C,), -strength).double(), atol=1e-6)
    assert change[1, :, FORGET].abs().max() < 1e-6


def test_gate_that_was_shown_one_kept_cell_may_err_on_the_others(axes):
    """Its reader is 0 on that cell; on other classes of the style it is negative, and their pictures take the name."""
    M, T = world(axes)
    edit = one_style.gated(
        M[0, [FORGET]], M[1, [FORGET]], T[[FORGET]], T[OTHERS], 5.0, mu=EXACT, dtype=torch.float64
    )
    assert right(M, T, edit)[:, FORGET].tolist() == [False, True]
    assert (M[1, OTHERS] @ edit.left < -0.5).all() and not right(M, T, edit)[1, OTHERS].any()
    gentle = one_style.gated(
        M[0, [FORGET]], M[1, [FORGET]], T[[FORGET]], T[OTHERS], 0.8, mu=EXACT, dtype=torch.float64
    )
    assert right(M, T, gentle)[:, FORGET].tolist() == [False, True] and right(M, T, gentle)[:, OTHERS].all()


def test_a_gate_without_a_style_is_refused(axes):
    """Prototypes that differ in no direction: the cells would go together."""
    M, T = world(axes)
    same = M[0, [FORGET]]
    with pytest.raises(ValueError, match="no linear edit can part them"):
        one_style.gated(same, same, T[[FORGET]], T[OTHERS], 1.0)


def test_both_factors_are_those_of_the_consistent_edit(axes):
    """R with lam infinite, at the length that reads 1 on the prototype and on the name."""
    M, T = world(axes)
    one = one_style.gated(M[0, [0]], M[1], T[:1], T[1:], 1.0, mu=30.0, dtype=torch.float64)
    assert one.rank == 1 and one.info == {"method": "gated", "strength": 1.0, "mu": 30.0}
    for factor, own, others in ((one.left, M[0, [0]], M[1]), (one.right, T[:1], T[1:])):
        plain = cn.consistent(own, others, float("inf"), 30.0, dtype=torch.float64).right
        assert float(torch.cosine_similarity(factor, plain, dim=0).abs()) == pytest.approx(1)
        assert torch.allclose(own.double() @ factor, torch.ones(1, 1, dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda P, T: one_style.gated(P[:2], P[2:], T[:1], T[1:]),
            "P_f, T_f: got 2 and 1 rows, want one prototype and its name",
        ),
        (lambda P, T: one_style.gated(P[:1], P[1:], T[:1], T[1:], strength=-1), "strength: got -1"),
        (lambda P, T: one_style.gated(P[:1], P[1:], T[:1], T[1:], mu=float("nan")), "mu: got nan"),
        (lambda P, T: one_style.gated(P[:1], P[1:], T[:1, :4], T[1:]), "T_r: rows have 8 entries, want 4"),
        (lambda P, T: one_style.gated(P[:1], P[1:, :4], T[:1], T[1:]), "P_r: rows have 4 entries, want 8"),
    ],
)
def test_edits_refuse(call, message):
    g = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 8, generator=g), torch.randn(4, 8, generator=g))


# --- measuring ----------------------------------------------------------------------------------


def test_selective_averages_the_four_cells(axes):
    M, T = world(axes)
    Z = {"one": M[0], "two": M[1]}

    def gate(c, erase, keep):
        a, b = (0, 1) if erase == "one" else (1, 0)
        rest = [i for i in range(C) if i != c]
        return one_style.gated(M[a, [c]], M[b], T[[c]], T[rest], 5.0, mu=EXACT)

    for erase, keep in (("one", "two"), ("two", "one")):
        result = one_style.selective(Z, T, torch.arange(C), range(C), erase, keep, gate)
        assert result.styles == (erase, keep)
        assert result.before.tolist() == [[1, 1], [1, 1]]
        assert result.after.tolist() == [[0, 1], [1, 1]] and result.gap == 1

    def mute(c, erase, keep):
        """A reader that sees what all pictures share: the name is lost in both styles."""
        writer = gate(c, erase, keep).right
        return cn.Edit(5.0 * axes["shared"][:, None], writer.double())

    everywhere = one_style.selective(Z, T, torch.arange(C), range(C), "one", "two", mute)
    assert everywhere.after[0].tolist() == [0, 0] and everywhere.gap == 0
    with pytest.raises(ValueError, match="erase: got 'three', want one of one, two"):
        one_style.selective(Z, T, torch.arange(C), [0], "three", "two", gate)


# --- figures ------------------------------------------------------------------------------------


def square(own, kept, styles=("one", "two")):
    before = torch.tensor([[1.0, 0.9], [0.8, 0.7]])
    return one_style.Selective(styles, before, torch.tensor([[own, kept], [0.8, 0.7]]))


def test_style_squares_head_every_column_and_mark_what_should_go():
    results = {
        "first": {"gate": square(0.1, 0.9), "global": square(0.0, 0.0)},
        "second": {"gate": square(0.2, 0.6, ("two", "one")), "global": square(0.0, 0.0, ("two", "one"))},
    }
    fig = plots.style_squares(results)
    assert [ax.get_title() for ax in fig.axes] == ["before", "gate", "global", "", "", ""]
    assert [ax.get_ylabel() for ax in fig.axes] == ["first", "", "", "second", "", ""]
    before, gate = fig.axes[:2]
    assert before.images[0].get_array().ravel().tolist() == pytest.approx([100, 90, 80, 70])
    assert gate.images[0].get_array().ravel().tolist() == pytest.approx([10, 90, 80, 70])
    written = [(t.get_position(), t.get_text()) for t in gate.texts]
    assert written == [((0, 0), "10"), ((1, 0), "90"), ((0, 1), "80"), ((1, 1), "70")]
    assert [t.get_color() for t in gate.texts] == [base.FORGET] + 3 * [base.BLACK]
    assert {t.get_color() for t in before.texts} == {base.BLACK}
    assert [t.get_text() for t in fig.axes[4].get_xticklabels()] == ["two", "one"]
    assert [t.get_text() for t in before.get_yticklabels()] == ["class", "others"]
    assert "second, gate: class 0.2, 0.6; others 0.8, 0.7" in plots.alt(fig)
