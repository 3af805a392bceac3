"""n-way recall, search and the tie rule, against brute force, sampling and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import clipnull as cn
from clipnull.measures import N_WAYS, TIE, argmax, n_way_recall, search_auc, winners

unit = torch.nn.functional.normalize


def world(n: int = 240, C: int = 8, d: int = 16, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)
    T = unit(torch.randn(1, d, generator=gen) + torch.randn(C, d, generator=gen), dim=1)
    labels = torch.arange(n) % C
    Z = unit(T[labels] + 1.2 * unit(torch.randn(n, d, generator=gen), dim=1), dim=1)
    return Z, T, labels


def edits(case: cn.Case) -> list[cn.Edit]:
    return [m.make(case.T_f, case.T_r) for m in cn.METHODS.values()]


# --- n-way recall ---------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 6, "all"])
def test_n_way_recall_is_the_mean_over_all_lists(n):
    kept, drawn = 5, 5 if n == "all" else n - 1
    for rivals in range(kept + 1):
        names = [i < rivals for i in range(kept)]
        lists = list(itertools.combinations(names, drawn))
        want = sum(not any(rival) for rival in lists) / len(lists)
        assert float(n_way_recall(torch.tensor([rivals]), kept, n)) == pytest.approx(want)


@pytest.mark.parametrize("which", range(len(cn.METHODS)), ids=list(cn.METHODS))
def test_n_way_of_a_report_is_that_of_sampled_lists(which):
    Z, T, labels = (x.double() if x.is_floating_point() else x for x in world())
    case = cn.Case(Z, T, labels, [1, 4])
    edit = edits(case)[which].to(torch.float64)
    report = case.evaluate(edit)
    rng = np.random.default_rng(0)
    pictures = case.gone.nonzero()[:, 0]
    for n in (2, 5):
        for got, S in ((report.n_way[n].before, Z @ T.T), (report.n_way[n].after, Z @ edit.matrix() @ T.T)):
            wins = []
            for i in pictures.tolist():
                for _ in range(60):
                    others = rng.choice(case.retain, n - 1, replace=False)
                    wins.append(bool(S[i, labels[i]] - S[i, others].max() > TIE * S.abs().max()))
            assert got == pytest.approx(np.mean(wins), abs=0.03)
    # against every kept name at once, the other forgotten ones absent
    S = Z @ T.T
    alone = S[pictures, labels[pictures]] > S[pictures][:, case.retain].amax(1)
    assert report.n_way["all"].before == pytest.approx(float(alone.double().mean()))


def test_the_n_of_a_table():
    assert N_WAYS == (2, 5, 10, 50, "all")
    Z, T, labels = world(C=8)
    case = cn.Case(Z, T, labels, [1])
    table = case.evaluate(cn.nullspace(case.T_f)).n_way
    assert list(table) == [2, 5, "all"], "an n above the seven kept names + 1 is left out"
    assert [row.names for row in table.values()] == [2, 5, 8]
    assert [row.chance for row in table.values()] == [1 / 2, 1 / 5, 1 / 8]
    four = case.forgetting([0, 1, 2, 3]).evaluate(cn.nullspace(T[:4])).n_way
    assert list(four) == [2, 5, "all"] and four[5] == four["all"], "four kept names and the own one are five"
    five = case.forgetting([0, 1, 2, 3, 4]).evaluate(cn.nullspace(T[:5])).n_way
    assert list(five) == [2, "all"] and five["all"].names == 4
    masked = cn.candidate_masking(case)
    assert all(row.after == 0 and row.before > row.chance for row in masked.n_way.values())
    assert masked.n_way[2].before == table[2].before and math.isnan(masked.search.after)
    none = cn.Case(Z[labels != 1], T, labels[labels != 1], [1])
    assert none.evaluate(cn.nullspace(T[1:2])).n_way == {}


# --- search ---------------------------------------------------------------------------------


def test_search_auc_is_scikit_learns():
    gen = torch.Generator().manual_seed(0)
    for size in (1.0, 1e-4, 300.0):
        scores, own = size * torch.rand(200, generator=gen, dtype=torch.float64), torch.arange(200) % 7 == 0
        want = roc_auc_score(own.numpy(), scores.numpy())
        assert search_auc(scores, own, 1e-6 * size) == pytest.approx(want, abs=1e-12)
        steps = (scores / size * 8).round() * size
        want = roc_auc_score(own.numpy(), steps.numpy())
        noise = 1e-7 * size * torch.randn(200, generator=gen, dtype=torch.float64)
        assert search_auc(steps + noise, own, 8 * size) == pytest.approx(want, abs=1e-12), "ties count half"
    assert search_auc(torch.zeros(9), torch.arange(9) < 3, 1.0) == 0.5
    assert search_auc(torch.arange(9.0), torch.arange(9) > 5, 1.0) == 1.0
    assert search_auc(torch.arange(9.0), torch.arange(9) < 3, 1.0) == 0.0
    assert math.isnan(search_auc(torch.arange(3.0), torch.zeros(3, dtype=torch.bool), 1.0))
    assert math.isnan(search_auc(torch.arange(3.0), torch.ones(3, dtype=torch.bool), 1.0))


@pytest.mark.parametrize("side", ["image", "text", "both"])
def test_search_of_a_report_normalises_after_the_edit(side):
    Z, T, labels = (x.double() if x.is_floating_point() else x for x in world())
    case = cn.Case(Z, T, labels, [1, 4])
    edit = cn.consistent(case.T_f, case.T_r, 3.0, 3.0, dtype=torch.float64)
    W = edit.matrix()
    images = unit(Z @ W, dim=1) if side != "text" else Z
    names = unit(T @ W.T, dim=1) if side != "image" else T

    def auc(S: torch.Tensor) -> float:
        return float(np.mean([roc_auc_score((labels == f).numpy(), S[:, f].numpy()) for f in (1, 4)]))

    found = case.evaluate(edit, side).search
    assert found.before == pytest.approx(auc(Z @ T.T), abs=2e-3)
    assert found.after == pytest.approx(auc(images @ names.T), abs=2e-3)
    if side == "image":
        assert abs(auc(Z @ W @ T.T) - found.after) > 5e-3, "un-normalised it is another"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exactly_silent_name_has_the_search_of_chance_and_loses(dtype):
    Z, T, labels = world()
    case = cn.Case(Z.to(dtype), T.to(dtype), labels, [1, 4])
    for edit in (
        cn.nullspace(case.T_f, dtype=dtype),
        cn.consistent(case.T_f, case.T_r, math.inf, 50.0, dtype=dtype),
    ):
        assert case.evaluate(edit).search.after == 0.5
    # all names silent: nobody leads, every forgotten name loses in every list
    all_silent = case.evaluate(cn.nullspace(case.T, dtype=dtype))
    assert all_silent.forget_after == 0.0 and {row.after for row in all_silent.n_way.values()} == {0.0}
    assert not bool(torch.isin(all_silent.predicted_after, torch.tensor([1, 4])).any())


# --- ties -----------------------------------------------------------------------------------


def decided(lead: float, size: float = 1.0, keep: bool = False) -> list[int]:
    """What one picture is called where forgotten name 2 leads name 0 by ``lead`` of the scores' size."""
    T = torch.eye(3, dtype=torch.float64)
    Z = torch.tensor([[0.5, 0.1, 0.5 + lead], [-1.0, -1.0, -1.0]], dtype=torch.float64) * size
    case = cn.Case(Z, T, [2, 2], [2])
    if keep:
        assert len(case.scores) == 2
    report = case.evaluate(cn.nullspace(T[1:2], strength=0))
    assert torch.equal(report.predicted_after, report.predicted_before)
    assert report.n_way["all"].after == (0.5 if report.predicted_after[0] == 2 else 0.0), "one rule for both"
    return report.predicted_after.tolist()


@pytest.mark.parametrize("size", [1.0, 1e-5, 1e5])
@pytest.mark.parametrize("keep", [False, True], ids=["streamed", "kept scores"])
def test_a_win_is_a_lead_of_more_than_a_hundred_thousandth_of_the_size(size, keep):
    assert TIE == 1e-5
    assert decided(0.9e-5, size, keep) == [0, 0], "the largest score is a -1"
    assert decided(1.1e-5, size, keep) == [2, 0]
    assert decided(-1e-9, size, keep) == decided(0.0, size, keep) == [0, 0]


@pytest.mark.parametrize("side", ["image", "text", "both"])
def test_predictions_do_not_depend_on_the_scale_of_the_images(side):
    Z, T, labels = world()
    case, small = cn.Case(Z, T, labels, [1, 4]), cn.Case(1e-5 * Z, T, labels, [1, 4])
    for edit in edits(case):
        a, b = case.evaluate(edit, side), small.evaluate(edit, side)
        assert torch.equal(a.predicted_after, b.predicted_after)
        assert torch.equal(a.predicted_before, b.predicted_before) and a.n_way == b.n_way
        assert a.search == pytest.approx(b.search)


def test_kept_names_are_told_apart_by_any_difference_and_forgotten_ones_tie_to_the_first():
    scores = torch.tensor([[0.5, 0.5 + 1e-7, 0.0, 0.0], [0.1, 0.2, 0.9, 0.9 + 1e-6], [0.0, 0.0, 0.1, 1.0]])
    before = scores.clone()
    assert winners(scores, [2, 3], 1.0).tolist() == [1, 2, 3]
    assert torch.equal(scores, before), "as before afterwards"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_argmax_is_the_first_largest(dtype):
    scores = torch.tensor([[1, 3, 3], [2, 1, 0], [-1, -2, -1]]).to(dtype)
    assert argmax(scores).tolist() == [1, 0, 0]
    guess = torch.tensor([2, 1, 1])
    assert argmax(scores, guess).tolist() == [2, 0, 0], "one of the largest stays, a wrong one is mended"
    assert guess.tolist() == [2, 1, 1], "as before afterwards"


@pytest.mark.parametrize("forget", [[], [0], [2, 5], list(range(8))])
def test_a_guess_changes_no_winner(forget):
    scores = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    want = winners(scores, forget, 5.0)
    for guess in (want, want.roll(1), torch.zeros_like(want)):
        assert torch.equal(winners(scores, forget, 5.0, guess), want)


# --- the ways to the same scores ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_float32(dtype):
    Z, T, labels = world()
    half, full = cn.Case(Z.to(dtype), T, labels, [1, 4]), cn.Case(Z.to(dtype).float(), T, labels, [1, 4])
    both = cn.Case(Z.to(dtype), T.to(dtype), labels, [1, 4])
    assert {half.Z.dtype, half.T.dtype, half.scores.dtype, both.T.dtype} == {torch.float32}
    for edit in edits(full):
        a, b = half.evaluate(edit), full.evaluate(edit)
        assert torch.equal(a.predicted_after, b.predicted_after) and a.n_way == b.n_way
        assert a.search == b.search
