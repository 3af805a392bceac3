"""The three theorems about anchors in the hull, over shapes, seeds and numbers of names (scale 1, ties apart)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import clipnull as cn
from clipnull.measures import TIE

F64 = torch.float64
unit = torch.nn.functional.normalize

quick = settings(max_examples=25, deadline=None)
seeds, spreads = st.integers(0, 10**6), st.sampled_from([0.3, 1.0, 4.0])
anchors = st.sampled_from(["mean", "hull"])


def world(m: int, k: int, d: int, seed: int, spread: float):
    """Names to forget [m, d], kept names [k, d] and pictures [300, d], most of them near some name."""
    gen = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=gen, dtype=F64)

    T = unit(randn(1, d) + spread * randn(m + k, d), dim=1)
    Z = unit(T[torch.arange(300) % (m + k)] + randn(300, 1) * randn(300, d) / d**0.5, dim=1)
    return T[:m], T[m:], Z


@st.composite
def sizes(draw, independent: bool = False):
    """(m, k, d): m up to d - 1; C = m + k below and above d, or below alone."""
    d = draw(st.integers(3, 14))
    m = draw(st.integers(1, d - 2 if independent else d - 1))
    return m, draw(st.integers(2, d - m if independent else 3 * d)), d


@quick
@given(sizes(), seeds, spreads, anchors, st.sampled_from([0.0, 1.0, 300.0]))
def test_first_theorem_a_name_in_the_hull_cannot_win(size, seed, spread, anchor, mu):
    T_f, T_r, Z = world(*size, seed, spread)
    edit = cn.consistent(T_f, T_r, mu=mu, anchor=anchor, dtype=F64)
    assert float(cn.certificate(edit, T_f, T_r).max()) == 0.0
    W = edit.matrix()
    own, kept = Z @ W @ T_f.T, Z @ W @ T_r.T
    top, low = kept.amax(1, keepdim=True), kept.amin(1, keepdim=True)
    scale = max(1.0, float(kept.abs().max()))
    assert bool((own <= top + 1e-9 * scale).all())
    # with a share of the mean in it, it loses, unless all kept scores are equal
    margin = 1.0 if anchor == "mean" else 0.05
    assert bool((own <= top - margin / len(T_r) * (top - low) + 1e-9 * scale).all())
    case = cn.Case(Z, torch.cat([T_f, T_r]), torch.arange(300) % sum(size[:2]), list(range(size[0])))
    assert case.evaluate(edit).forget_after == 0.0 and case.forget_names == [str(i) for i in range(size[0])]


@quick
@given(sizes(), seeds, anchors)
def test_directions_of_rank_d_leave_nothing_to_score_with(size, seed, anchor):
    _, k, d = size
    T_f, T_r, _ = world(d, k, d, seed, 1.0)
    with pytest.raises(ValueError, match=f"rank {d}, all of the d = {d} dimensions"):
        cn.consistent(T_f, T_r, mu=1.0, anchor=anchor)


@quick
@given(sizes(independent=True), seeds, anchors)
def test_second_theorem_it_is_candidate_masking(size, seed, anchor):
    """Names linearly independent, mu -> inf: W T_r = T_r, and every choice is that without the forgotten."""
    m, k, _ = size
    T_f, T_r, Z = world(*size, seed, 1.0)
    singular = torch.linalg.svdvals(torch.cat([T_f, T_r]))
    assume(singular[-1] > 0.05)
    edit = cn.consistent(T_f, T_r, mu=1e10, anchor=anchor, dtype=F64)
    assert torch.allclose(edit.apply_text(T_r), T_r, atol=1e-5)
    labels = torch.arange(300) % (m + k)
    case = cn.Case(Z, torch.cat([T_f, T_r]), labels, list(range(m)))
    before = Z @ T_r.T
    lead = before.topk(2, 1).values
    clear = lead[:, 0] - lead[:, 1] > 1e-4
    report, masked = case.evaluate(edit), cn.candidate_masking(case)
    assert torch.equal(report.predicted_after[clear], masked.predicted_after[clear])
    assert torch.equal(masked.predicted_after, before.argmax(1) + m)
    assert report.forget_after == 0.0
    kept = clear & (labels >= m)
    right = [(p == labels)[kept].sum() for p in (report.predicted_before, report.predicted_after)]
    assert right[0] <= right[1], "on retained pictures nothing is lost"


@quick
@given(sizes(), seeds, spreads, st.sampled_from([0.0, 1.0, 300.0]))
def test_third_theorem_the_mean_scores_the_average(size, seed, spread, mu):
    T_f, T_r, Z = world(*size, seed, spread)
    W = cn.consistent(T_f, T_r, mu=mu, anchor="mean", dtype=F64).matrix()
    average = (Z @ W @ T_r.T).mean(1, keepdim=True)
    assert torch.allclose(Z @ W @ T_f.T, average.expand(-1, len(T_f)), atol=1e-9)


@pytest.mark.parametrize("how", [{"anchor": "mean", "lam": 30.0}, {"anchor": "mean", "scale": 0.5}, {}])
def test_what_the_theorems_leave_out_can_win(how):
    """A finite lam, a scale below 1 and the origin: some picture is called by the forgotten name."""
    T_f, T_r, _ = world(1, 8, 6, 3, 1.0)
    edit = cn.consistent(T_f, T_r, **{"lam": math.inf, "mu": 10.0, **how}, dtype=F64)
    distance = cn.certificate(edit, T_f, T_r)
    moved_f, moved_r = edit.apply_text(T_f), edit.apply_text(T_r)
    z = moved_f - cn.nearest_mixture(moved_f, moved_r).H
    assert float(distance) > TIE and float(z @ moved_f.T - (z @ moved_r.T).max()) > 0
    case = cn.Case(z, torch.cat([T_f, T_r]), [0], [0])
    assert case.evaluate(edit).forget_after == 1.0
