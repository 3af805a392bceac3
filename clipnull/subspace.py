"""Bases and projectors. Knows no CLIP: arrays in, arrays out.

Rows are samples: a set of m embeddings is ``T [m, d]``. A basis is written in columns, as in
the paper (arXiv 2512.14137): ``U [d, r]`` with U^T U = I, so that P = U U^T.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = [
    "GramSchmidtStep", "gram_schmidt", "gram_schmidt_steps", "numerical_rank", "orthogonality_error",
    "orthonormal_basis", "participation_ratio", "projector", "variance_shares",
]  # fmt: skip


def fix_signs(U: torch.Tensor) -> torch.Tensor:
    """Flip columns so that the largest entry of each is positive: results repeat across machines."""
    return torch.where(U.gather(0, U.abs().argmax(0)[None]) < 0, -U, U)


def tolerance(T: torch.Tensor, rtol: float | None = None) -> float:
    """Relative rank tolerance of embeddings ``T [m, d]``: ``rtol``, or NumPy's rule for their precision."""
    if rtol is not None:
        return _check.number("rtol", rtol, 0.0, 1.0)
    # float32 embeddings carry float32 noise even though we compute in float64
    eps = torch.finfo(T.dtype if T.dtype == torch.float64 else torch.float32).eps
    return max(T.shape) * eps


def orthonormal_basis(T: ArrayLike, rtol: float | None = None) -> torch.Tensor:
    """Orthonormal basis U [d, r], float64, of the span of the rows of ``T`` [m, d], by SVD.

    Columns in order of falling singular value, signs fixed. Directions whose singular value is at most
    ``rtol`` times the largest are noise; by default NumPy's rule, max(m, d) times the machine epsilon of T's
    dtype (at least float32's). A ValueError for rows that are empty, not finite or zero.
    From arXiv 2512.14137; the rank tolerance is ours. Derived in notebook 02.

    >>> orthonormal_basis([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]).shape
    torch.Size([3, 1])
    """
    x = _check.rows("T", T, nonzero=True)
    # rows are scaled to unit length first: a short row is a direction too, not noise
    unit = torch.nn.functional.normalize(x.double(), dim=1)
    U, s, _ = torch.linalg.svd(unit.T, full_matrices=False)
    return fix_signs(U[:, s > tolerance(x, rtol) * s[0]])


def numerical_rank(T: ArrayLike) -> int:
    """Number of directions in the span of the rows of ``T [m, d]`` (see `orthonormal_basis`)."""
    return orthonormal_basis(T).shape[1]


def orthogonality_error(Q: ArrayLike) -> float:
    """Largest entry of ``|Q^T Q - I|`` for columns ``Q [d, k]``: how far from orthonormal (notebook 02)."""
    Q = _check.rows("Q", Q)
    return float((Q.T @ Q - torch.eye(Q.shape[1]).to(Q)).abs().max())


def projector(U: ArrayLike) -> torch.Tensor:
    """Projector P = U U^T [d, d]; a ValueError unless the columns of ``U [d, r]`` are orthonormal."""
    U = _check.rows("U", U).double()
    if (error := orthogonality_error(U)) > 1e-4:
        raise ValueError(f"U: columns are not orthonormal, max |U^T U - I| = {error:.2g}")
    return U @ U.T


def variance_shares(X: ArrayLike) -> torch.Tensor:
    """Share p [min(n, d)] of the variance on each principal component of ``X [n, d]``, the largest first.

    Fractions that add up to 1. A ValueError for rows that are not finite, or all the same.
    """
    x = _check.rows("X", X).double()
    variance = torch.linalg.svdvals(x - x.mean(0)).square()
    if variance.sum() <= (tolerance(x) * x.norm()) ** 2:
        raise ValueError(f"X: its {len(x)} rows are all the same, want some variance")
    return variance / variance.sum()


def participation_ratio(X: ArrayLike) -> float:
    """Dimensions in which the rows of ``X [n, d]`` spread: 1 / sum p^2 of `variance_shares` (notebook 01)."""
    return float(1 / variance_shares(X).square().sum())


@dataclass(frozen=True, eq=False)
class GramSchmidtStep:
    """Row ``index`` of T entered: its components along the basis so far [k], what is left of it [d], the
    ``norm`` of that as a part of the row's, whether it was ``kept`` as a direction, and the basis after."""

    index: int
    coefficients: torch.Tensor
    residual: torch.Tensor
    norm: float
    kept: bool
    Q: torch.Tensor


def gram_schmidt_steps(T: ArrayLike, rtol: float = 1e-6) -> Iterator[GramSchmidtStep]:
    """Run modified Gram-Schmidt over the rows of ``T [m, d]``, in their own dtype, yielding every step.

    Each component is taken of what the subtractions before it have left. A row whose residual is shorter
    than ``rtol`` times the row is dropped.
    """
    T = _check.rows("T", T, nonzero=True)
    rtol = _check.number("rtol", rtol, 0.0, 1.0)
    Q = T.new_zeros(T.shape[1], 0)
    for i, t in enumerate(T):
        residual, coefficients = t.clone(), T.new_zeros(Q.shape[1])
        for k in range(Q.shape[1]):
            coefficients[k] = Q[:, k] @ residual
            residual = residual - coefficients[k] * Q[:, k]
        norm = float(residual.norm() / t.norm())
        kept = norm > rtol and Q.shape[1] < T.shape[1]
        if kept:
            Q = torch.cat([Q, (residual / residual.norm())[:, None]], 1)
        yield GramSchmidtStep(i, coefficients, residual, norm, kept, Q)


def gram_schmidt(T: ArrayLike, rtol: float = 1e-6) -> torch.Tensor:
    """Basis ``Q [d, r]`` of the rows of ``T [m, d]``: the last Q of `gram_schmidt_steps`."""
    *_, last = gram_schmidt_steps(T, rtol)
    return last.Q
