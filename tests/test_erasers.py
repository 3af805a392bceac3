"""Theorems about the erasers: identities, limits, agreement with a numerical minimiser."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clipnull as cn
from clipnull.edit import Edit
from clipnull.erasers import columns, targets
from clipnull.solver import ConsistentSolver

F64 = torch.float64


def cone(n: int, d: int, seed: int, spread: float = 1.0, dtype: torch.dtype = F64) -> torch.Tensor:
    """Unit rows around a common direction, as CLIP's text embeddings are."""
    gen = torch.Generator().manual_seed(seed)
    common = torch.randn(1, d, generator=gen, dtype=F64)
    own = spread * torch.randn(n, d, generator=gen, dtype=F64)
    return torch.nn.functional.normalize(common + own, dim=1).to(dtype)


def minimiser(T_f: torch.Tensor, T_r: torch.Tensor, A: torch.Tensor, lam: float, mu: float) -> torch.Tensor:
    """argmin_W of the objective by L-BFGS on W itself: knows no closed form."""
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
            + lam * ((W @ T_f.T - A) ** 2).sum()
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
    "ccup": None,
    "mean": "mean",
    "given": cone(1, 10, 99)[0],
    "given each": cone(3, 10, 98),
}


@pytest.mark.parametrize("how", ANCHORS, ids=list(ANCHORS))
@pytest.mark.parametrize(("lam", "mu", "k"), [(10.0, 10.0, 6), (100.0, 30.0, 25), (3.0, 0.0, 4)])
def test_closed_form_is_the_minimiser(how, lam, mu, k):
    T_f, T_r = cone(3, 10, 1), cone(k, 10, 1 + k)
    A, _ = targets(*columns(T_f, T_r), lam, mu, ANCHORS[how])
    W = cn.consistent(T_f, T_r, lam, mu, ANCHORS[how], dtype=F64).matrix()
    assert torch.allclose(W, minimiser(T_f, T_r, A, lam, mu), atol=2e-6)


def test_targets_are_what_the_docstring_says():
    T_f, T_r = cone(3, 12, 1), cone(9, 12, 2)

    def left(anchor):
        return cn.consistent(T_f, T_r, anchor=anchor, dtype=F64).left

    assert torch.equal(left(None), T_f.T)
    assert torch.allclose(left("mean"), (T_f - T_r.mean(0)).T)
    assert torch.allclose(left(T_r[4]), (T_f - T_r[4]).T)
    assert torch.allclose(left(T_r[:3]), (T_f - T_r[:3]).T)


def test_ccup_matches_both_printed_forms_of_the_paper():
    d, lam, mu = 14, 7.0, 3.0
    T_f, T_r, I = cone(3, d, 4), cone(8, d, 5), torch.eye(d, dtype=F64)
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


def test_infinite_lam_hits_the_anchor_exactly_even_for_duplicate_names():
    T_f, T_r = cone(3, 20, 6), cone(10, 20, 7)
    doubled = torch.cat([T_f, T_f[:1]])
    edit = cn.consistent(doubled, T_r, math.inf, 30.0, anchor="mean", dtype=F64)
    assert torch.allclose(edit.apply_text(doubled), T_r.mean(0).expand(4, -1), atol=1e-6)


@pytest.mark.parametrize("mu", [0.0, 300.0])
@pytest.mark.parametrize("angle", [1.0, 1e-2, 1e-3])
def test_infinite_lam_takes_near_names_apart_as_nullspace_does(angle, mu):
    """Two names at a small angle have a small singular value, which is squared in their Gram matrix."""
    base, T_r = cone(3, 20, 6), cone(10, 20, 7)
    T_f = torch.cat([base, torch.nn.functional.normalize(base + angle * cone(3, 20, 8), dim=1)])
    edit = cn.consistent(T_f, T_r, math.inf, mu, anchor="mean", dtype=F64)
    assert edit.rank == cn.nullspace(T_f).rank == 6
    assert torch.allclose(edit.apply_text(T_f), T_r.mean(0).expand(6, -1), atol=1e-6)
    # what float32 rounds is one name
    rounded = torch.cat([base, torch.nn.functional.normalize(base + 1e-8 * cone(3, 20, 8), dim=1)])
    assert (
        cn.consistent(rounded, T_r, math.inf, mu, dtype=F64).rank == cn.nullspace(rounded.float()).rank == 3
    )


def test_defaults_are_those_of_the_docstring():
    T_f, T_r = cone(2, 12, 8), cone(9, 12, 9)
    for anchor, lam, mu in ((None, 30.0, 30.0), ("mean", 1000.0, 300.0), (T_r[0], 1000.0, 300.0)):
        default, written = (cn.consistent(T_f, T_r, *dials, anchor=anchor) for dials in ((), (lam, mu)))
        assert torch.equal(default.right, written.right) and torch.equal(default.left, written.left)
        assert default.info == written.info


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


@pytest.mark.parametrize("anchor", [None, "mean"])
@pytest.mark.parametrize("k", [5, 16, 40], ids=["fewer names than dimensions", "as many", "more"])
def test_the_solver_and_the_plain_formula_are_one(k, anchor):
    T_f, T_r = cone(3, 16, 12), cone(k, 16, 13)
    solver = ConsistentSolver(T_f, T_r)
    for lam, mu in itertools.product((0.0, 1e-3, 2.0, 1e3, math.inf), (0.0, 0.1, 5.0, 1e3)):
        plain, fast = (
            f(lam=lam, mu=mu, anchor=anchor, dtype=F64)
            for f in (partial(cn.consistent, T_f, T_r), solver.edit)
        )
        assert torch.equal(plain.left, fast.left) and plain.info == fast.info
        assert (plain.right - fast.right).norm() <= 1e-10 * plain.right.norm(), (lam, mu)
    assert solver.edit(anchor=anchor).info == cn.consistent(T_f, T_r, anchor=anchor).info


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
        "ccup": cn.consistent(T_f, T_r, 30, 30),
        "anchored": cn.consistent(T_f, T_r, 1000, 300, "mean"),
        "random": cn.random_subspace(16, 3, seed=7),
    }
    assert list(cn.METHODS) == list(want)
    for name, method in cn.METHODS.items():
        edit = method.make(T_f, T_r, seed=7)
        assert method.name == name == edit.info["method"] and method.what
        assert torch.equal(edit.matrix(), want[name].matrix()) and edit.info == want[name].info
        assert all(edit.info[k] == v for k, v in method.defaults.items())


def test_methods_take_other_hyperparameters():
    T_f, T_r = cone(3, 16, 12), cone(9, 16, 13)
    edit = cn.METHODS["anchored"].make(T_f, T_r, lam=7.0, dtype=F64)
    assert torch.equal(edit.right, cn.consistent(T_f, T_r, 7.0, 300.0, "mean", dtype=F64).right)
    assert cn.METHODS["partial"].make(T_f, T_r, strength=0.2).info["strength"] == 0.2
    assert cn.METHODS["anchored"].defaults["lam"] == 1000.0, "the registry is as it was"


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
        assert torch.allclose(edit.update_scores(Z @ T.T, Z, T), image, atol=1e-10)
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
        assert [e.rank for e in edits] == [m] * len(edits)
    assert cn.nullspace(T_f, strength=0, dtype=dtype).rank == 0


def test_score_update_of_mixed_precision_has_the_precision_of_the_scores():
    T, Z = cone(12, 16, 3), cone(9, 16, 4)
    edit = cn.nullspace(T[:3])
    scores = edit.update_scores(Z @ T.T, Z.numpy(), T.float())
    assert scores.dtype == F64 and torch.allclose(scores, edit.apply_image(Z) @ T.T, atol=1e-6)
    assert edit.update_scores((Z @ T.T).float(), Z, T).dtype == torch.float32


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


T8 = cone(4, 8, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cn.nullspace(T8, strength=1.5), r"strength: got 1.5, want a finite number in \[0, 1\]"),
        (lambda: cn.nullspace(T8, strength=-0.1), r"strength: got -0.1"),
        (lambda: cn.nullspace(T8, strength="much"), r"strength: got 'much', want a number"),
        (lambda: cn.nullspace(torch.zeros(1, 8)), r"T_f: row 0 is all zeros"),
        (lambda: cn.nullspace(torch.full((1, 8), math.inf)), r"T_f: 1 of 1 rows hold NaN or infinity"),
        (lambda: cn.consistent(T8, torch.ones(2, 9)), r"T_r: rows have 9 entries, want 8"),
        (lambda: cn.consistent(T8, T8, lam=-1), r"lam: got -1, want a number at least 0"),
        (lambda: cn.consistent(T8, T8, mu=-1), r"mu: got -1, want a finite number at least 0"),
        (lambda: cn.consistent(T8, T8, mu=math.inf), r"mu: got inf, want a finite number"),
        (lambda: cn.consistent(T8, T8, anchor="median"), r"anchor: got 'median', want one of mean"),
        (
            lambda: cn.consistent(T8, T8, anchor=torch.ones(3, 8)),
            r"anchor: got 3 embeddings, want 1 or one for each",
        ),
        (lambda: cn.random_subspace(8, 9), r"rank: got 9, want 1 to d = 8"),
        (lambda: cn.METHODS["ankored"], r"method: unknown method 'ankored'; the closest are anchored"),
        (lambda: cn.nullspace(T8).apply_image(torch.ones(2, 9)), r"Z: rows have 9 entries, want 8"),
        (lambda: cn.nullspace(T8).apply_text(torch.ones(2, 9)), r"T: rows have 9 entries, want 8"),
        (
            lambda: cn.nullspace(T8).update_scores(torch.ones(1, 1), T8, T8),
            r"S: got shape \(1, 1\), want \[4, 4\]",
        ),
        (lambda: Edit(torch.ones(3, 1), torch.ones(3, 2)), r"left, right: got shapes"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
