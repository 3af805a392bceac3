"""Theorems about the erasers: identities, limits, agreement with a numerical minimiser."""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clipnull as cn
from clipnull.erasers import Edit
from clipnull.solver import ConsistentSolver

F64 = torch.float64


def cone(n: int, d: int, seed: int, spread: float = 1.0, dtype: torch.dtype = F64) -> torch.Tensor:
    """Unit rows around a common direction, as CLIP's text embeddings are."""
    gen = torch.Generator().manual_seed(seed)
    common = torch.randn(1, d, generator=gen, dtype=F64)
    own = spread * torch.randn(n, d, generator=gen, dtype=F64)
    return torch.nn.functional.normalize(common + own, dim=1).to(dtype)


def minimiser(T_f: torch.Tensor, T_r: torch.Tensor, A: torch.Tensor, lam: float, mu: float) -> torch.Tensor:
    """argmin_W of ||W-I||^2 + lam ||W D||^2 + mu ||W T_r - T_r||^2 by L-BFGS on W: knows no closed form."""
    d = T_f.shape[1]
    W = torch.eye(d, dtype=F64, requires_grad=True)
    eye = torch.eye(d, dtype=F64)
    optimiser = torch.optim.LBFGS(
        [W], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def objective():
        optimiser.zero_grad()
        value = (
            ((W - eye) ** 2).sum()
            + lam * ((W @ (T_f - A).T) ** 2).sum()
            + mu * ((W @ T_r.T - T_r.T) ** 2).sum()
        )
        value.backward()
        return value

    for _ in range(3):
        optimiser.step(objective)
    return W.detach()


# --- nullspace ------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 6), st.integers(8, 32), st.integers(0, 10**6))


@settings(max_examples=40, deadline=None)
@given(sizes, st.floats(0, 1))
def test_nullspace_is_the_partial_projector(size, alpha):
    m, d, seed = size
    T_f = cone(m, d, seed)
    U = cn.subspace.orthonormal_basis(T_f)
    edit = cn.nullspace(T_f, strength=alpha, dtype=F64)
    W, P = edit.matrix(), U @ U.T
    assert torch.allclose(W, torch.eye(d, dtype=F64) - alpha * P, atol=1e-12)
    assert torch.allclose(W @ T_f.T, (1 - alpha) * T_f.T, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(sizes, st.sampled_from([torch.float32, F64]))
def test_full_nullspace_is_an_orthogonal_projector_with_the_names_in_its_kernel(size, dtype):
    m, d, seed = size
    T_f = cone(m, d, seed, dtype=dtype)
    edit = cn.nullspace(T_f, dtype=dtype)
    tol = 1e-10 if dtype == F64 else 2e-5
    W = edit.matrix()
    assert torch.allclose(W @ W, W, atol=tol) and torch.allclose(W, W.T, atol=tol)
    assert (W @ T_f.T).abs().max() < tol
    assert edit.rank == m and int(torch.linalg.matrix_rank(W.double(), rtol=1e-4)) == d - m
    assert edit.apply_text(T_f).abs().max() < tol


def test_duplicate_names_lower_the_rank():
    T = cone(3, 16, 0)
    edit = cn.nullspace(torch.cat([T, T, -T[:1]]), dtype=F64)
    assert edit.rank == 3
    assert torch.allclose(edit.matrix(), cn.nullspace(T, dtype=F64).matrix(), atol=1e-10)


def test_zero_strength_is_the_identity():
    edit = cn.nullspace(cone(2, 8, 0), strength=0)
    assert torch.equal(edit.matrix(), torch.eye(8)) and edit.rank == 0


# --- consistent -----------------------------------------------------------------------------

ANCHORS = {
    "ccup": {},
    "mean": {"anchor": "mean"},
    "mean scaled": {"anchor": "mean", "scale": 0.7},
    "hull": {"anchor": "hull"},
    "hull, no margin": {"anchor": "hull", "margin": 0.0},
    "hull scaled": {"anchor": "hull", "scale": 0.5, "margin": 0.3},
    "given": {"anchor": cone(1, 10, 99)[0]},
    "given each": {"anchor": cone(3, 10, 98)},
}


def anchors(T_f, T_r, anchor=None, scale=1.0, margin=0.05):
    """A [m, d] as DESIGN has it: s ((1 - margin) h + margin t), and what is given as it is."""
    if anchor is None:
        return torch.zeros_like(T_f)
    if anchor == "mean":
        return scale * T_r.mean(0).expand_as(T_f)
    if anchor == "hull":
        return scale * ((1 - margin) * cn.nearest_mixture(T_f, T_r).H + margin * T_r.mean(0))
    return anchor.expand_as(T_f)


@pytest.mark.parametrize("how", ANCHORS.values(), ids=list(ANCHORS))
@pytest.mark.parametrize(("lam", "mu", "k"), [(10.0, 10.0, 6), (100.0, 30.0, 25), (3.0, 0.0, 4)])
def test_closed_form_is_the_minimiser(how, lam, mu, k):
    T_f, T_r = cone(3, 10, 1), cone(k, 10, 1 + k)
    W = cn.consistent(T_f, T_r, lam, mu, **how, dtype=F64).matrix()
    assert torch.allclose(W, minimiser(T_f, T_r, anchors(T_f, T_r, **how), lam, mu), atol=2e-6)


@pytest.mark.parametrize("how", ANCHORS.values(), ids=list(ANCHORS))
def test_infinite_lam_is_the_limit_and_takes_names_where_it_takes_their_anchors(how):
    T_f, T_r = cone(3, 10, 1), cone(8, 10, 2)
    W = cn.consistent(T_f, T_r, math.inf, 20.0, **how, dtype=F64).matrix()
    assert torch.allclose(W @ T_f.T, W @ anchors(T_f, T_r, **how).T, atol=1e-12)
    near = [cn.consistent(T_f, T_r, lam, 20.0, **how, dtype=F64).matrix() for lam in (1e5, 1e6)]
    errors = [float((w - W).norm()) for w in near]
    assert errors[1] < 1e-3 and 8 < errors[0] / errors[1] < 12, "as one over lam"
    assert (W @ T_f.T).abs().max() > 0.05 or not how, "it is not silenced by the way"


@pytest.mark.parametrize(("lam", "mu"), [(7.0, 3.0), (30.0, 30.0), (1000.0, 0.0), (1e3, 1e3)])
@pytest.mark.parametrize("k", [8, 40])
def test_ccup_matches_both_printed_forms_of_the_paper(k, lam, mu):
    d = 14
    T_f, T_r, I = cone(3, d, 4), cone(k, d, 5), torch.eye(d, dtype=F64)
    keep, gone = I + mu * T_r.T @ T_r, lam * T_f.T @ T_f
    W = cn.consistent(T_f, T_r, lam, mu, dtype=F64).matrix()
    assert torch.allclose(W, keep @ torch.linalg.inv(keep + gone), atol=1e-10)
    assert torch.allclose(W, I - gone @ torch.linalg.inv(keep + gone), atol=1e-10)


def test_infinite_lam_without_mu_is_the_nullspace_projector_and_is_approached_as_one_over_lam():
    T_f, T_r = cone(4, 20, 6), cone(10, 20, 7)
    P = cn.nullspace(T_f, dtype=F64).matrix()
    assert torch.allclose(cn.consistent(T_f, T_r, math.inf, 0.0, dtype=F64).matrix(), P, atol=1e-9)
    errors = [float((cn.consistent(T_f, T_r, lam, 0.0, dtype=F64).matrix() - P).norm()) for lam in (1e4, 1e5)]
    assert errors[0] > 0 and 8 < errors[0] / errors[1] < 12


def templates(n: int, d: int) -> torch.Tensor:
    """One name under n templates, 0.9997 alike."""
    return torch.nn.functional.normalize(cone(1, d, 3) + 0.025 * cone(n, d, 4), dim=1)


AWKWARD = {
    "duplicates": (torch.cat([cone(3, 20, 6), cone(3, 20, 6)[:1]]), 3),
    "parallel": (torch.cat([cone(3, 20, 6), -2 * cone(3, 20, 6)[:1]]), 3),
    "six templates": (templates(6, 20), 6),
    "a short row": (torch.cat([cone(3, 20, 6), 1e-3 * cone(1, 20, 9)]), 4),
    "near-parallel": (torch.cat([cone(3, 20, 6), cone(3, 20, 6) + 1e-3 * cone(3, 20, 8)]), 6),
    "what float32 rounds": (torch.cat([cone(3, 20, 6), cone(3, 20, 6) + 1e-8 * cone(3, 20, 8)]), 3),
}


@pytest.mark.parametrize("mu", [0.0, 300.0, 1e6])
@pytest.mark.parametrize(("T_f", "rank"), AWKWARD.values(), ids=list(AWKWARD))
def test_infinite_lam_has_the_rank_of_nullspace(T_f, rank, mu):
    """A small singular value is squared in a Gram matrix: no formula with one finds these ranks."""
    T_f, T_r = T_f.float(), cone(10, 20, 7).float()
    ccup = cn.consistent(T_f, T_r, math.inf, mu, dtype=F64)
    assert ccup.rank == cn.nullspace(T_f).rank == cn.nullspace(T_f, strength=0.5).rank == rank
    assert torch.equal(ccup.left, cn.nullspace(T_f, dtype=F64).left)
    assert ConsistentSolver(T_f, T_r).edit(math.inf, mu).rank == rank
    names = torch.nn.functional.normalize(T_f.double(), dim=1)
    assert float(ccup.apply_text(names).abs().max()) < (1e-6 if mu < 1e5 else 1e-4)
    mean = cn.consistent(T_f, T_r, math.inf, min(mu, 300.0), anchor="mean", dtype=F64)
    A = T_r.double().mean(0, keepdim=True)
    assert torch.allclose(mean.apply_text(T_f.double()), mean.apply_text(A).expand(len(T_f), -1), atol=1e-6)


@pytest.mark.parametrize("call", [cn.nullspace, lambda T: cn.consistent(T, cone(9, 6, 5), math.inf)])
def test_directions_of_rank_d_are_refused(call):
    assert call(cone(5, 6, 0)).rank == 5
    for m in (6, 9):
        with pytest.raises(ValueError, match="T_f: its directions have rank 6, all of the d = 6 dimensions"):
            call(cone(m, 6, 0))
    assert cn.nullspace(cone(9, 6, 0), strength=0.5).rank == 6, "weaker is welcome"
    assert cn.consistent(cone(9, 6, 0), cone(9, 6, 5), 30.0, dtype=F64).rank == 6


def test_defaults_are_those_of_the_docstring():
    T_f, T_r = cone(2, 12, 8), cone(9, 12, 9)
    inf = math.inf
    for anchor, lam, mu in (
        (None, 100.0, 1000.0),
        ("mean", inf, "auto"),
        ("hull", inf, 1e4),
        (T_r[0], inf, 1e3),
    ):
        default, written = (cn.consistent(T_f, T_r, *dials, anchor=anchor) for dials in ((), (lam, mu)))
        assert torch.equal(default.right, written.right) and torch.equal(default.left, written.left)
        assert default.info == written.info and default.info["lam"] == lam
        assert mu == "auto" or default.info["mu"] == mu
    hull, mean = (cn.consistent(T_f, T_r, anchor=anchor) for anchor in ("hull", "mean"))
    assert hull.info["margin"] == 0.05 and hull.info["scale"] == mean.info["scale"] == 1.0
    for one, other in (
        (hull, cn.consistent(T_f, T_r, anchor="hull", margin=0.05, scale=1.0)),
        (mean, cn.consistent(T_f, T_r, anchor="mean", max_length=1.0, scale=1.0)),
        (cn.nullspace(T_f), cn.nullspace(T_f, strength=1.0)),
    ):
        assert torch.equal(one.right, other.right) and one.info == other.info
    assert cn.random_subspace(12).info == {"method": "random", "strength": 1.0, "seed": 0}
    assert {e.left.dtype for e in (hull, cn.nullspace(T_f), cn.random_subspace(12))} == {torch.float32}


def test_mu_keeps_the_retained_names_in_place():
    T_f, T_r = cone(2, 30, 8), cone(12, 30, 9)
    moved = [
        float((cn.consistent(T_f, T_r, 10.0, mu, dtype=F64).apply_text(T_r) - T_r).norm())
        for mu in (0.0, 10.0, 1000.0)
    ]
    assert moved[0] > moved[1] > moved[2] and moved[2] < 0.05 * moved[0]


def test_consistent_is_not_symmetric_once_mu_is_positive():
    T_f, T_r = cone(2, 12, 8), cone(9, 12, 9)
    W = cn.consistent(T_f, T_r, 10.0, 10.0, dtype=F64).matrix()
    assert (W - W.T).abs().max() > 1e-3
    W0 = cn.consistent(T_f, T_r, 10.0, 0.0, dtype=F64).matrix()
    assert torch.allclose(W0, W0.T, atol=1e-12)


@pytest.mark.parametrize("how", ANCHORS.values(), ids=list(ANCHORS))
@pytest.mark.parametrize("k", [5, 10, 40], ids=["fewer names than dimensions", "as many", "more"])
def test_the_solver_and_the_plain_formula_are_one(k, how):
    T_f, T_r = cone(3, 10, 12), cone(k, 10, 13)
    solver = ConsistentSolver(T_f, T_r)
    sizes = (0.0, 1e-3, 2.0, 1e3, 1e4, 1e6)
    for lam, mu in itertools.product((*sizes, math.inf), sizes):
        plain, fast = (
            f(lam=lam, mu=mu, **how, dtype=F64) for f in (partial(cn.consistent, T_f, T_r), solver.edit)
        )
        assert torch.equal(plain.left, fast.left) and plain.info == fast.info
        tol = 1e-10 if max(lam if lam < math.inf else 0.0, mu) <= 1e4 else 1e-8
        assert (plain.right - fast.right).norm() <= tol * plain.right.norm(), (lam, mu)
    assert solver.edit(**how).info == cn.consistent(T_f, T_r, **how).info


def grid_scan(r, bound: float) -> tuple[float, float]:
    """(low, high): the first step of 0, 1e-3, ..., 1e4, four per factor of ten, at which r passes."""
    grid = [0.0] + [1e-3 * 10 ** (i / 4) for i in range(29)]
    for low, high in itertools.pairwise(grid):
        if r(high) > bound:
            return low, high
    raise AssertionError("never passed")


AUTO = {
    "grows": ((1, 9, 16, 3, 1.0), "hull", 1.0),
    "falls, then grows": ((1, 9, 16, 3, 1.0), "mean", 1.0),
    "falls back below the bound": ((24, 30, 10, 3, 0.6), "mean", 0.920),
    "from the origin": ((1, 9, 16, 3, 1.0), None, 0.9),
    "longer allowed": ((1, 9, 16, 3, 1.0), "mean", 1.2),
    "soon": ((3, 9, 16, 3, 1.0), "hull", 0.6215),
}


@pytest.mark.parametrize(("world", "anchor", "bound"), AUTO.values(), ids=list(AUTO))
def test_auto_mu_by_its_definition(world, anchor, bound):
    seed, k, d, m, spread = world
    T = cone(m + k, d, seed, spread)
    T_f, T_r = T[:m], T[m:]

    def r(mu):
        W = cn.consistent(T_f, T_r, math.inf, mu, anchor, dtype=F64).matrix()
        return float((T_f @ W).norm(dim=1).mean() / (T_r @ W).norm(dim=1).mean())

    edit = cn.consistent(T_f, T_r, math.inf, "auto", anchor, max_length=bound, dtype=F64)
    mu = edit.info["mu"]
    low, high = grid_scan(r, bound)
    assert low <= mu < high and mu > 0 and edit.info["mu_rule"] == "auto"
    assert r(mu) <= bound * (1 + 2e-9) and r(mu / 0.985) > bound
    fixed = cn.consistent(T_f, T_r, math.inf, mu, anchor, dtype=F64)
    assert torch.allclose(edit.matrix(), fixed.matrix(), atol=1e-10)
    if world[0] == 24 or (anchor == "mean" and bound == 1.0):
        steps = [r(1e-3 * 10 ** (i / 4)) for i in range(29)]
        assert any(b < a - 1e-4 for a, b in itertools.pairwise(steps)), "r is not monotone here"
        assert bound == 1.0 or r(1e4) < bound, "a search from the far end would not stop"


def test_auto_mu_never_passed_and_passed_at_zero():
    T = cone(12, 16, 0)
    never = cn.consistent(T[:3], T[3:], anchor="mean").info
    assert (never["mu"], never["mu_rule"]) == (1e4, "auto")
    # r(0) = 0.842 and falls first
    at_zero = cn.consistent(T[:3], T[3:], anchor="mean", max_length=0.835)
    assert at_zero.info["mu"] == 0.0 and "longer than allowed at mu = 0" in at_zero.info["mu_rule"]
    assert torch.allclose(at_zero.right, cn.consistent(T[:3], T[3:], mu=0.0, anchor="mean").right)
    # the projector leaves the silenced names no length, whatever the bound
    assert cn.consistent(T[:3], T[3:], math.inf, "auto", max_length=1e-3).info["mu"] > 0


@pytest.mark.parametrize("k", [5, 30], ids=["fewer names than dimensions", "more"])
def test_right_factor_is_that_of_the_d_by_d_formula(k):
    T_f, T_r = cone(3, 16, 12), cone(k, 16, 13)
    I = torch.eye(16, dtype=F64)
    for lam, mu in [(0.0, 5.0), (2.0, 5.0), (1.0, 0.0), (1e-3, 1e3), (1e4, 1e4), (3.0, 5.0)]:
        M = I + lam * T_f.T @ T_f + mu * T_r.T @ T_r
        right = cn.consistent(T_f, T_r, lam, mu, dtype=F64).right
        assert torch.allclose(right, lam * torch.linalg.solve(M, T_f.T), rtol=1e-6, atol=1e-8)


def test_parallel_names_have_one_answer_in_solver_and_formula():
    T_f, T_r = cone(3, 20, 6), cone(10, 20, 7)
    doubled = torch.cat([T_f, T_f[:1]])
    plain = cn.consistent(doubled, T_r, math.inf, 30.0, dtype=F64).matrix()
    fast = ConsistentSolver(doubled, T_r).edit(math.inf, 30.0, dtype=F64).matrix()
    assert torch.allclose(plain, fast, rtol=0, atol=1e-10)


# --- the registry ---------------------------------------------------------------------------


def test_methods_are_the_erasers_with_their_defaults():
    T_f, T_r = cone(3, 16, 12), cone(9, 16, 13)
    want = {
        "nullspace": cn.nullspace(T_f),
        "partial": cn.nullspace(T_f, 0.5),
        "ccup": cn.consistent(T_f, T_r, 100, 1000),
        "mean": cn.consistent(T_f, T_r, math.inf, "auto", "mean"),
        "hull": cn.consistent(T_f, T_r, math.inf, 10000, "hull", margin=0.05),
        "random": cn.random_subspace(16, 3, seed=7),
    }
    assert list(cn.METHODS) == list(want)
    for name, method in cn.METHODS.items():
        edit = method.make(T_f, T_r, seed=7)
        assert method.name == name == edit.info["method"]
        assert torch.equal(edit.matrix(), want[name].matrix()) and edit.info == want[name].info
        assert all(edit.info[k] == v for k, v in method.defaults.items() if v != "auto")


def test_what_a_method_says_is_computed_from_its_defaults():
    assert {name: method.what for name, method in cn.METHODS.items()} == {
        "nullspace": "zero, projected out: α = 1",
        "partial": "weaker: α = 0.5",
        "ccup": "silent: λ = 100, μ = 1000",
        "mean": "neutral, the mean of the others: λ = ∞, μ = auto",
        "hull": "its relatives, their nearest mixture: λ = ∞, μ = 10000, δ = 0.05",
        "random": "control, a random subspace of its rank: α = 1",
    }
    other = dataclasses.replace(cn.METHODS["ccup"], defaults={"lam": 2.5, "mu": 1e4})
    assert other.what == "silent: λ = 2.5, μ = 10000"


def test_grids_are_of_equal_size_and_every_point_makes_an_edit():
    T_f, T_r = cone(3, 16, 12), cone(9, 16, 13)
    for name, method in cn.METHODS.items():
        points = method.combinations
        assert len(points) == (1 if name == "nullspace" else 16) == len({str(p) for p in points})
        for point in points:
            info = method.make(T_f, T_r, **point).info
            assert all(info[k] == v for k, v in point.items() if v != "auto")
    assert cn.METHODS["nullspace"].combinations == [{}]


def test_methods_take_other_hyperparameters():
    T_f, T_r = cone(3, 16, 12), cone(9, 16, 13)
    edit = cn.METHODS["mean"].make(T_f, T_r, lam=7.0, mu=3.0, dtype=F64)
    assert torch.equal(edit.right, cn.consistent(T_f, T_r, 7.0, 3.0, "mean", dtype=F64).right)
    assert cn.METHODS["partial"].make(T_f, T_r, strength=0.2).info["strength"] == 0.2
    assert cn.METHODS["mean"].defaults["lam"] == math.inf, "the registry is as it was"


# --- sides, scores, norms -------------------------------------------------------------------


def edits(d: int, seed: int) -> list[Edit]:
    T = cone(12, d, seed)
    return [m.make(T[:3], T[3:], seed=seed) for m in cn.METHODS.values()]


@settings(max_examples=15, deadline=None)
@given(st.integers(14, 40), st.integers(0, 10**6))
def test_image_side_gives_the_logits_of_the_unnormalised_text_side(d, seed):
    T, Z = cone(12, d, seed), cone(9, d, seed + 1)
    for edit in edits(d, seed):
        edit = edit.to(F64)
        image, text = edit.apply_image(Z) @ T.T, Z @ edit.apply_text(T).T
        assert torch.allclose(image, text, atol=1e-10)
        assert torch.allclose(edit.apply_image(Z), Z @ edit.matrix(), atol=1e-10)
        assert torch.allclose(edit.apply_text(T), T @ edit.matrix().T, atol=1e-10)
        assert torch.allclose(edit.image_norms(Z), edit.apply_image(Z).norm(dim=1), atol=1e-9)


def test_the_wrong_transpose_is_a_different_edit():
    T, Z = cone(12, 16, 3), cone(9, 16, 4)
    edit = cn.consistent(T[:3], T[3:], 10.0, 10.0, dtype=F64)
    W = edit.matrix()
    right = Z @ edit.apply_text(T).T
    assert torch.allclose((Z @ W) @ T.T, right, atol=1e-10)
    assert (Z @ W.T @ T.T - right).abs().max() > 1e-3, "W^T on the image side"
    assert (Z @ (T @ W).T - right).abs().max() > 1e-3, "W on the text side"
    wrong_scores = Z @ T.T - (Z @ edit.right) @ (T @ edit.left).T
    assert (wrong_scores - right).abs().max() > 1e-3, "L and R swapped in the score update"
    n2 = (Z * Z).sum(1) - 2 * ((Z @ edit.left) * (Z @ edit.right)).sum(1)
    wrong_norms = (n2 + ((Z @ edit.right) @ (edit.left.T @ edit.left) * (Z @ edit.right)).sum(1)).sqrt()
    assert (wrong_norms - edit.image_norms(Z)).abs().max() > 1e-3, "L and R swapped in the norm update"


@pytest.mark.parametrize("lam", [0.5, 10.0, 1e4])
def test_on_the_text_side_normalising_gives_a_lone_class_its_own_logit_back(lam):
    T, Z = cone(5, 16, 5), cone(6, 16, 6)
    edit = cn.consistent(T[:1], T[1:], lam, 0.0, dtype=F64)
    before, after = Z @ T[0], Z @ edit.apply_text(T, normalize=True)[0]
    assert torch.allclose(before, after, atol=1e-9)
    assert (Z @ edit.apply_text(T)[0] - before).abs().max() > 1e-3, "un-normalised, it does change"


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("m", "d"), [(3, 64), (3, 1024), (50, 256), (50, 1024)])
def test_rank_in_every_number_format(m, d, dtype):
    T = cone(m + 60, d, m)
    T_f, T_r = T[:m], T[m:]
    # a sum of two names and one of them again: m + 2 columns of rank m
    more = torch.cat([T_f, torch.nn.functional.normalize(T_f[:2].sum(0, keepdim=True)), T_f[:1]])
    for names in (T_f, more):
        edits = [cn.nullspace(names, strength, dtype=dtype) for strength in (1.0, 0.1)]
        edits += [cn.consistent(names, T_r, anchor=anchor, dtype=dtype) for anchor in (None, "mean")]
        # a sum of names less the anchor is a direction of its own
        assert [e.rank for e in edits] == [m, m, m, m + (names is more)]
    assert cn.nullspace(T_f, strength=0, dtype=dtype).rank == 0


def test_dtype_and_input_kinds():
    T = cone(8, 12, 0, dtype=torch.float32)
    half = cn.nullspace(T[:2], dtype=torch.float16)
    assert half.left.dtype == torch.float16
    from_numpy = cn.consistent(T[:2].numpy(), T[2:].tolist())
    assert torch.allclose(from_numpy.matrix(), cn.consistent(T[:2], T[2:]).matrix(), atol=1e-6)
    assert isinstance(from_numpy.apply_image(np.ones((1, 12))), torch.Tensor)
    assert cn.nullspace(T[0]).rank == 1, "one embedding [d] is one row"
    assert "rank=2" in repr(cn.nullspace(T[:2]))


# --- the control ----------------------------------------------------------------------------


def test_random_subspace_is_a_seeded_projector():
    edit = cn.random_subspace(20, 3, seed=1, dtype=F64)
    W = edit.matrix()
    assert torch.allclose(W @ W, W, atol=1e-12) and edit.rank == 3
    assert torch.equal(W, cn.random_subspace(20, 3, seed=1, dtype=F64).matrix())
    assert not torch.allclose(W, cn.random_subspace(20, 3, seed=2, dtype=F64).matrix(), atol=0.1)
    # uniform: no direction is favoured, E[P] = (rank / d) I
    mean = sum(torch.eye(6) - cn.random_subspace(6, 2, seed=s).matrix() for s in range(600)) / 600
    assert torch.allclose(mean, torch.eye(6) / 3, atol=0.06)


def test_control_has_the_rank_of_what_it_controls_for():
    T = cone(9, 16, 2)
    assert cn.METHODS["random"].make(torch.cat([T[:2], T[:2]]), T[2:]).rank == 2


T8, R8 = cone(4, 8, 0), cone(3, 8, 50)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cn.nullspace(T8, strength=1.5), r"strength: got 1.5, want a finite number in \[0, 1\]"),
        (lambda: cn.nullspace(T8, strength=-0.1), r"strength: got -0.1"),
        (lambda: cn.nullspace(T8, strength="much"), r"strength: got 'much', want a number"),
        (lambda: cn.nullspace(torch.zeros(1, 8)), r"T_f: row 0 is all zeros"),
        (lambda: cn.nullspace(torch.full((1, 8), math.inf)), r"T_f: 1 of 1 rows hold NaN or infinity"),
        (lambda: cn.consistent(T8, torch.ones(2, 9)), r"T_r: rows have 9 entries, want 8"),
        (lambda: cn.consistent(T8, R8, lam=-1), r"lam: got -1, want a number at least 0"),
        (lambda: cn.consistent(T8, R8, mu=-1), r"mu: got -1, want a finite number at least 0"),
        (lambda: cn.consistent(T8, R8, mu=math.inf), r"mu: got inf, want a finite number"),
        (lambda: cn.consistent(T8, R8, mu="car"), r"mu: got 'car' at lam = 100, want a number, or 'auto'"),
        (lambda: cn.consistent(T8, R8, 9, "auto"), r"mu: got 'auto' at lam = 9, .* 'auto' with lam = inf"),
        (lambda: cn.consistent(T8, R8, anchor="mean", max_length=-1), r"max_length: got -1"),
        (lambda: cn.consistent(T8, R8, anchor="median"), r"anchor: got 'median', want one of mean, hull"),
        (
            lambda: cn.consistent(T8, R8, anchor=torch.ones(3, 8)),
            r"anchor: got 3 embeddings, want 1 or one for each",
        ),
        (
            lambda: cn.consistent(T8, R8, anchor=T8.roll(1, 0)[[1, 1, 1, 1]]),
            r"row 0 of T_f is its own anchor",
        ),
        (lambda: cn.consistent(T8, R8, anchor="mean", scale=1.1), r"scale: got 1.1, .* number in \[0, 1\]"),
        (lambda: cn.consistent(T8, R8, anchor="mean", scale=-0.1), r"scale: got -0.1"),
        (lambda: cn.consistent(T8, R8, anchor="hull", margin=2), r"margin: got 2, .* number in \[0, 1\]"),
        (
            lambda: cn.consistent(T8, R8, anchor="mean", margin=0.1),
            r"margin: got 0.1, want it with anchor='hull'",
        ),
        (lambda: cn.consistent(T8, R8, margin=0.1), r"margin: got 0.1, want it with anchor='hull'"),
        (lambda: cn.consistent(T8, R8, scale=0.5), r"scale: got 0.5, want it with anchor='mean' or 'hull'"),
        (lambda: cn.consistent(T8, R8, anchor=R8[0], scale=0.5), r"scale: got 0.5, want it with"),
        (
            lambda: cn.consistent(T8, torch.cat([R8, T8[2:3].float().double()])),
            r"T_f: row 2 equals row 3 of T_r, and no linear edit can part them",
        ),
        (lambda: ConsistentSolver(T8, T8[1:]), r"T_f: row 1 equals row 0 of T_r"),
        (lambda: cn.consistent(T8, torch.zeros(2, 8)), r"T_r: row 0 is all zeros"),
        (lambda: cn.consistent(T8, torch.ones(0, 8)), r"T_r: got shape \(0, 8\)"),
        (lambda: cn.consistent(torch.ones(0, 8), R8), r"T_f: got shape \(0, 8\)"),
        (lambda: cn.nullspace(T8, dtype=torch.int64), r"left: got torch.int64 entries, want a floating"),
        (lambda: Edit(torch.ones(3, 1), torch.full((3, 1), math.nan)), r"right: holds NaN or infinity"),
        (lambda: Edit(torch.full((3, 1), math.inf), torch.ones(3, 1)), r"left: holds NaN or infinity"),
        (lambda: Edit(torch.full((3, 1), 1e5), torch.ones(3, 1)).to(torch.float16), r"left: holds NaN"),
        (lambda: cn.random_subspace(8, 9), r"rank: got 9, want a whole number from 1 to 8"),
        (lambda: cn.METHODS["meen"], r"method: unknown method 'meen'; the closest are mean"),
        (lambda: cn.nullspace(T8).apply_image(torch.ones(2, 9)), r"Z: rows have 9 entries, want 8"),
        (lambda: cn.nullspace(T8).apply_text(torch.ones(2, 9)), r"T: rows have 9 entries, want 8"),
        (lambda: Edit(torch.ones(3, 1), torch.ones(3, 2)), r"left, right: got shapes"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
