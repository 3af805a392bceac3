"""Nearest mixtures against a general convex solver; the certificate against its own minimax equality."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import clipnull as cn
from clipnull import hull

F64 = torch.float64
unit = torch.nn.functional.normalize


def cone(n: int, d: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    """Unit rows [n, d] around a common direction, as CLIP's text embeddings are."""
    gen = torch.Generator().manual_seed(seed)
    common = torch.randn(1, d, generator=gen, dtype=F64)
    return unit(common + spread * torch.randn(n, d, generator=gen, dtype=F64), dim=1)


def slsqp(t: np.ndarray, R: np.ndarray) -> float:
    """Squared distance from t to the hull of the rows of R, by a solver that knows nothing of the problem."""
    k = len(R)
    found = minimize(
        lambda w: ((w @ R - t) ** 2).sum(),
        np.full(k, 1 / k),
        jac=lambda w: 2 * R @ (w @ R - t),
        bounds=[(0, 1)] * k,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(k)},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return float(found.fun)


def assert_optimal(T_f: torch.Tensor, T_r: torch.Tensor, mix: hull.Mixtures) -> None:
    """On the simplex, and no kept name lies nearer to t than h does, seen along t - h."""
    assert bool((mix.weights >= 0).all()) and torch.allclose(
        mix.weights.sum(1), torch.ones(len(T_f)).double()
    )
    assert torch.allclose(mix.H, mix.weights @ T_r) and torch.allclose(
        mix.distance, (T_f - mix.H).norm(dim=1)
    )
    gap = mix.H - T_f
    slack = gap @ T_r.T - (gap * mix.H).sum(1, keepdim=True)
    assert float(slack.min()) > -1e-11
    assert float((slack * mix.weights).abs().max()) < 1e-11, "only names on the face have a weight"


# --- nearest mixture ------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(2, 10), st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 5.0]))
def test_nearest_mixture_is_that_of_a_general_convex_solver(k, d, seed, spread):
    T = cone(k + 2, d, seed, spread)
    mix = cn.nearest_mixture(T[:2], T[2:])
    assert_optimal(T[:2], T[2:], mix)
    for t, distance in zip(T[:2], mix.distance.tolist(), strict=True):
        assert distance**2 == pytest.approx(slsqp(t.numpy(), T[2:].numpy()), abs=1e-8)


@pytest.mark.parametrize(("k", "d"), [(300, 24), (90, 64), (200, 200)])
def test_the_names_beyond_the_first_working_set_are_asked_too(k, d):
    T = cone(k + 5, d, k)
    mix = cn.nearest_mixture(T[:5], T[5:])
    assert_optimal(T[:5], T[5:], mix)
    near = torch.cdist(T[:5], T[5:]).argsort(dim=1)[:, hull.FIRST :]
    assert float(mix.weights.gather(1, near).max()) > 0.005, "names that lie farther off take part"


def test_degenerate_kept_names():
    T = cone(8, 6, 0)
    plain = cn.nearest_mixture(T[:2], T[2:])
    double = cn.nearest_mixture(T[:2], torch.cat([T[2:], T[2:], T[2:4]]))
    assert torch.allclose(double.H, plain.H, atol=1e-12)
    assert_optimal(T[:2], torch.cat([T[2:], T[2:], T[2:4]]), double)
    alone = cn.nearest_mixture(T[:2], T[2:3])
    assert torch.equal(alone.H, T[2:3].expand(2, -1)) and alone.weights.tolist() == [[1.0], [1.0]]
    equal = cn.nearest_mixture(T[:2], T[2:3].expand(70, -1))
    assert torch.allclose(equal.H, alone.H) and torch.allclose(equal.weights.sum(1), torch.ones(2).double())
    same = cn.nearest_mixture(T[:1], T[:1].expand(4, -1))
    assert float(same.distance) < 1e-12 and torch.allclose(same.weights.sum(1), torch.ones(1).double())


def test_a_name_in_the_hull_is_its_own_mixture():
    T_r = cone(60, 5, 3)
    inside = torch.rand(3, 60, generator=torch.Generator().manual_seed(0), dtype=F64)
    T_f = (inside / inside.sum(1, keepdim=True)) @ T_r
    assert float(cn.nearest_mixture(T_f, T_r).distance.max()) < 1e-7


@pytest.mark.parametrize(
    ("T_f", "T_r", "message"),
    [
        (torch.ones(1, 3), torch.ones(2, 4), "T_r: rows have 4 entries, want 3"),
        (torch.ones(0, 3), torch.ones(2, 3), "T_f: got shape"),
        (torch.ones(1, 3), torch.ones(0, 3), "T_r: got shape"),
        (torch.ones(1, 3), torch.full((2, 3), math.nan), "T_r: 2 of 2 rows hold NaN"),
    ],
)
def test_bad_names_are_refused(T_f, T_r, message):
    for call in (cn.nearest_mixture, lambda f, r: cn.certificate(None, f, r)):
        with pytest.raises(ValueError, match=message):
            call(T_f, T_r)


# --- certificate ----------------------------------------------------------------------------


def lead(z: torch.Tensor, t: torch.Tensor, R: torch.Tensor) -> float:
    """By how much z scores t above the best of the rows of R."""
    return float(z @ t - (R @ z).max())


@pytest.mark.parametrize("k", [7, 12, 40], ids=["fewer names than dimensions", "as many", "more"])
@pytest.mark.parametrize("method", [None, "nullspace", "partial", "ccup", "random"])
def test_minimax_where_the_name_can_win(method, k):
    """The certificate is the largest lead: the direction t - h has it, and no other has more."""
    T = cone(k + 2, 12, k)
    edit = None if method is None else cn.METHODS[method].make(T[:2], T[2:], dtype=F64)
    W = torch.eye(12, dtype=F64) if edit is None else edit.matrix()
    moved = T @ W.T
    found = cn.certificate(edit, T[:2], T[2:])
    gen = torch.Generator().manual_seed(0)
    for t, distance in zip(moved[:2], found.tolist(), strict=True):
        gap = t - cn.nearest_mixture(t, moved[2:]).H[0]
        if float(gap.norm()) < 1e-7:
            assert distance < 1e-7
            continue
        best = gap / gap.norm()
        assert lead(best, t, moved[2:]) == pytest.approx(distance, abs=1e-8)
        for spread in (0.01, 0.1, 1.0, 10.0):
            others = unit(best + spread * torch.randn(500, 12, generator=gen, dtype=F64), dim=1)
            assert float((others @ t - (others @ moved[2:].T).amax(1)).max()) <= distance + 1e-9
    assert method != "ccup" or float(found.min()) > 0.1, "the test has a name that can win"


@pytest.mark.parametrize("k", [6, 40], ids=["fewer names than dimensions", "more"])
def test_minimax_where_the_name_cannot_win(k):
    T = cone(k + 1, 12, k)
    T = torch.cat([0.9 * T[1:].mean(0, keepdim=True) + 0.1 * T[3:4], T[1:]])
    assert float(cn.certificate(None, T[:1], T[1:])) < 1e-7
    z = unit(torch.randn(4000, 12, generator=torch.Generator().manual_seed(1), dtype=F64), dim=1)
    assert float((z @ T[0] - (z @ T[1:].T).amax(1)).max()) < 0


@pytest.mark.parametrize("copies", [2, 9], ids=["fewer names than dimensions", "more"])
@pytest.mark.parametrize("name", ["mixture", "kept", "near", "off"])
def test_degenerate_names_have_a_distance(name, copies):
    """Duplicates, all in five of twenty dimensions; the name on the hull, or off it by float32's rounding."""
    R = torch.cat([cone(8, 5, 1), torch.zeros(8, 15, dtype=F64)], dim=1).repeat(copies, 1)
    off = 1e-8 * cone(1, 20, 2)[0]
    t = {"mixture": R[:8].mean(0), "kept": R[0], "near": R[:8].mean(0) + off, "off": R[0] + torch.eye(20)[10]}
    want = 1.0 if name == "off" else 0.0
    assert float(cn.certificate(None, t[name], R)) == pytest.approx(want, abs=2e-8)


def test_names_of_which_nothing_is_left_have_no_lead():
    eye = torch.eye(4)
    assert cn.certificate(cn.nullspace(eye[:2]), eye[:1], eye[:2]).tolist() == [0.0]


@pytest.mark.parametrize("anchor", ["mean", "hull"])
def test_an_edit_whose_anchor_is_in_the_hull_needs_no_solver(anchor):
    T = cone(30, 16, 2).float()
    T_f, T_r = T[:3], T[3:]
    edit, short = (cn.consistent(T_f, T_r, mu=100.0, anchor=anchor, scale=s) for s in (1.0, 0.5))
    finite = cn.consistent(T_f, T_r, 10.0, 100.0, anchor=anchor)

    def solved(edit, T_f, T_r):
        exact = edit.to(F64)
        return cn.nearest_mixture(exact.apply_text(T_f.double()), exact.apply_text(T_r.double())).distance

    assert float(solved(edit, T_f, T_r).max()) < 1e-6, "it is true"
    assert cn.certificate(edit, T_f, T_r).tolist() == [0.0, 0.0, 0.0]
    assert float(cn.certificate(edit, T_f, T_r, side="text").min()) > 1e-3
    # no longer on its anchor; other names than those of the edit have other anchors
    others = (T[5:8], torch.cat([T[:5], T[8:]]))
    for other, names in ((short, (T_f, T_r)), (finite, (T_f, T_r)), (edit, others)):
        found = cn.certificate(other, *names)
        assert float(found.min()) > 0 and torch.equal(found, solved(other, *names))


def test_text_side_is_that_of_the_normalised_names():
    T = cone(9, 16, 4)
    edit = cn.METHODS["ccup"].make(T[:2], T[2:], dtype=F64)
    moved = unit(T @ edit.matrix().T, dim=1)
    found = cn.certificate(edit, T[:2], T[2:], side="text")
    assert found.tolist() == pytest.approx(
        cn.nearest_mixture(moved[:2], moved[2:]).distance.tolist(), abs=1e-8
    )
    assert float((found - cn.certificate(edit, T[:2], T[2:])).abs().min()) > 1e-3, "the sides differ"
    scaled = 3 * T
    assert torch.allclose(
        cn.certificate(None, scaled[:2], scaled[2:], side="text"),
        cn.certificate(None, T[:2], T[2:]),
        atol=1e-8,
    )
    with pytest.raises(ValueError, match="side: got 'both', want one of image, text"):
        cn.certificate(edit, T[:2], T[2:], side="both")
