"""Theorems about bases and projectors, over random shapes, dtypes and ranks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipnull import subspace as sub

EYE = torch.eye(5, dtype=torch.float64)


def low_rank(m: int, d: int, r: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """m unit rows spanning exactly r dimensions of R^d."""
    gen = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(m, r, generator=gen, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(d, r, generator=gen, dtype=torch.float64)).Q
    return torch.nn.functional.normalize(coefficients @ basis.T, dim=1).to(dtype)


shapes = st.tuples(
    st.integers(1, 12), st.integers(2, 40), st.integers(1, 8), st.integers(0, 10**6)
).filter(lambda t: t[2] <= min(t[0], t[1]))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(shapes, st.sampled_from([torch.float64, torch.float32]))
def test_basis_is_orthonormal_has_the_rank_and_spans_the_rows(shape, dtype):
    m, d, r, seed = shape
    T = low_rank(m, d, r, seed, dtype)
    U = sub.orthonormal_basis(T, rtol=1e-5)
    tol = 1e-10 if dtype == torch.float64 else 1e-4
    assert U.dtype == torch.float64 and U.shape[1] <= r
    assert torch.allclose(U.T @ U, torch.eye(U.shape[1], dtype=torch.float64), atol=1e-10)
    assert (T - (T.double() @ U) @ U.T).abs().max() < max(tol, 3e-5)
    if r == 1 or torch.linalg.svdvals(T.double())[r - 1] > 1e-3:
        assert U.shape[1] == r


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_projector_identities_and_pythagoras(shape):
    m, d, r, seed = shape
    U = sub.orthonormal_basis(low_rank(m, d, r, seed))
    P, I = sub.projector(U), torch.eye(d, dtype=torch.float64)
    assert torch.allclose(P @ P, P, atol=1e-12) and torch.allclose(P, P.T, atol=1e-14)
    assert math.isclose(float(P.trace()), U.shape[1], abs_tol=1e-9)
    assert torch.allclose(P @ (I - P), torch.zeros_like(P), atol=1e-12)
    Z = torch.randn(7, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    inside, outside = Z @ P, Z @ (I - P)
    assert torch.allclose((inside**2).sum(1) + (outside**2).sum(1), (Z**2).sum(1))


def test_duplicate_parallel_and_tiny_rows():
    t = torch.nn.functional.normalize(torch.randn(1, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    assert sub.numerical_rank(torch.cat([t, t, -2 * t])) == 1
    other = torch.eye(16)[:1]
    assert sub.numerical_rank(torch.cat([t, 1e-9 * other])) == 2, "a short row is a direction, not noise"
    assert sub.numerical_rank(torch.cat([t, t + 1e-4 * other])) == 2
    assert sub.orthonormal_basis(torch.cat([t, t + 1e-4 * other]), rtol=1e-3).shape[1] == 1


def test_basis_does_not_depend_on_row_order_or_sign():
    T = low_rank(5, 20, 4, 3)
    P = sub.projector(sub.orthonormal_basis(T))
    assert torch.allclose(P, sub.projector(sub.orthonormal_basis(-T.flip(0))), atol=1e-12)
    U = sub.orthonormal_basis(T)
    assert (U.gather(0, U.abs().argmax(0)[None]) > 0).all(), "signs are fixed"


def test_gram_schmidt_agrees_with_the_svd_and_shows_its_steps():
    T = low_rank(6, 12, 4, 5)
    steps = list(sub.gram_schmidt_steps(T))
    assert [s.kept for s in steps] == [True] * 4 + [False] * 2
    assert all(s.norm < 1e-10 for s in steps[4:])
    Q = sub.gram_schmidt(T)
    assert torch.allclose(sub.projector(Q), sub.projector(sub.orthonormal_basis(T)), atol=1e-10)
    for s in steps:
        rebuilt = s.residual + sum(
            c * q for c, q in zip(s.coefficients, s.Q.T[: len(s.coefficients)], strict=True)
        )
        assert torch.allclose(rebuilt, T[s.index])


def test_gram_schmidt_loses_orthogonality_on_nearly_parallel_rows_and_the_svd_does_not():
    gen = torch.Generator().manual_seed(0)
    T = torch.ones(8, 32) + 1e-3 * torch.randn(8, 32, generator=gen)

    def loss(Q: torch.Tensor) -> float:
        Q = Q.double()
        return float((Q.T @ Q - torch.eye(Q.shape[1])).abs().max())

    classical = T.new_zeros(32, 0)
    for t in T:
        left = t - classical @ (classical.T @ t)
        classical = torch.cat([classical, (left / left.norm())[:, None]], 1)
    modified = loss(sub.gram_schmidt(T))
    assert loss(classical) > 10 * modified and modified > 1e-7
    assert loss(sub.orthonormal_basis(T)) < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sub.orthonormal_basis(torch.zeros(2, 3)), r"T: row 0 is all zeros"),
        (lambda: sub.orthonormal_basis(torch.tensor([[1.0, float("nan")]])), r"T: 1 of 1 rows hold NaN"),
        (lambda: sub.orthonormal_basis(torch.zeros(0, 3)), r"T: got shape \(0, 3\)"),
        (lambda: sub.orthonormal_basis("tiger"), r"T: cannot be read"),
        (lambda: sub.orthonormal_basis(torch.ones(2, 3), rtol=-1), r"rtol: got -1"),
        (lambda: sub.projector(2 * EYE), r"U: columns are not orthonormal, max \|U\^T U - I\| = 3"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_k_equal_variances_make_a_participation_ratio_of_k(k):
    X = torch.cat([EYE[:k], -EYE[:k]]) + 7 * EYE[0]  # the mean does not count
    assert sub.participation_ratio(X) == pytest.approx(k)
    assert sub.variance_shares(X).tolist() == pytest.approx(
        [1 / k] * k + [0] * (min(2 * k, 5) - k), abs=1e-12
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6))
def test_the_participation_ratio_comes_from_dot_products_alone(n, d, seed):
    X = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    G = (X - X.mean(0)) @ (X - X.mean(0)).T
    assert sub.participation_ratio(X) == pytest.approx(float(G.trace() ** 2 / G.square().sum()))
    assert sub.participation_ratio(X) <= min(n - 1, d) + 1e-9
    assert sub.variance_shares(X).sum() == pytest.approx(1)


def test_rows_that_are_all_the_same_have_no_shares():
    with pytest.raises(ValueError, match="X: its 3 rows are all the same, want some variance"):
        sub.variance_shares(torch.full((3, 4), 0.1))
