"""Bases, projectors and angles between subspaces. Knows no CLIP: arrays in, arrays out.

Rows are samples: a set of m embeddings is ``T [m, d]``. A basis is written in columns, as in
the paper (arXiv 2512.14137): ``U [d, r]`` with U^T U = I, so that P = U U^T.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = [
    "GramSchmidtStep",
    "gram_schmidt",
    "gram_schmidt_steps",
    "numerical_rank",
    "orthogonality_error",
    "orthonormal_basis",
    "participation_ratio",
    "principal_angles",
    "project_onto",
    "project_out",
    "projector",
    "variance_shares",
]


Variant = Literal["classical", "modified"]
VARIANTS: tuple[Variant, ...] = ("classical", "modified")


def fix_signs(U: torch.Tensor) -> torch.Tensor:
    """Flip columns so that each one's entry of largest magnitude is positive.

    Singular vectors are defined up to sign; this makes results repeat across machines.
    """
    if U.shape[1] == 0:
        return U
    largest = U.abs().argmax(0)
    sign = torch.sign(U[largest, torch.arange(U.shape[1], device=U.device)])
    return U * torch.where(sign == 0, torch.ones_like(sign), sign)


def tolerance(T: torch.Tensor, rtol: float | None = None) -> float:
    """Relative rank tolerance of embeddings ``T [m, d]``: ``rtol``, or NumPy's rule for their precision."""
    if rtol is not None:
        return _check.number("rtol", rtol, 0.0, 1.0)
    # float32 embeddings carry float32 noise even though we compute in float64
    eps = torch.finfo(T.dtype if T.dtype == torch.float64 else torch.float32).eps
    return max(T.shape) * eps


def orthonormal_basis(T: ArrayLike, rtol: float | None = None) -> torch.Tensor:
    """Orthonormal basis of the span of the rows of ``T``, by SVD.

    Parameters
    ----------
    T : array [m, d]
        Embeddings, one per row.
    rtol : float, optional
        Directions whose singular value is at most ``rtol`` times the largest are noise and
        dropped. Default: max(m, d) times the machine epsilon of the input's dtype (at least
        float32's when the input is half precision), NumPy's rule.

    Returns
    -------
    U : torch.Tensor [d, r], float64
        Columns: left singular vectors of T^T in order of falling singular value, signs fixed.
        r is the numerical rank, so duplicate or parallel rows cost nothing and break nothing.

    Raises
    ------
    ValueError
        Empty, non-finite or all-zero rows.

    References
    ----------
    arXiv 2512.14137: "compute an orthonormal basis for the subspace spanned by target text
    embeddings". The rank tolerance is ours. Derived in notebook 02.

    Examples
    --------
    >>> import torch
    >>> orthonormal_basis(torch.tensor([[1., 0., 0.], [2., 0., 0.]])).shape
    torch.Size([3, 1])
    """
    x = _check.rows("T", T, nonzero=True)
    # rows are scaled to unit length first: a short row is a direction too, not noise
    unit = torch.nn.functional.normalize(x.double(), dim=1)
    U, s, _ = torch.linalg.svd(unit.T, full_matrices=False)
    return fix_signs(U[:, s > tolerance(x, rtol) * s[0]])


def numerical_rank(T: ArrayLike, rtol: float | None = None) -> int:
    """Number of directions in the span of the rows of ``T [m, d]`` (see `orthonormal_basis`).

    Examples
    --------
    >>> numerical_rank([[1., 0.], [1., 1e-12]])
    1
    """
    return orthonormal_basis(T, rtol).shape[1]


def orthogonality_error(Q: ArrayLike) -> float:
    """Largest entry of ``|Q^T Q - I|`` for columns ``Q [d, k]``: how far from orthonormal (notebook 02).

    Examples
    --------
    >>> orthogonality_error([[1., 0.5], [0., 1.]])
    0.5
    """
    Q = _check.array("Q", Q)
    if Q.ndim != 2:
        raise ValueError(f"Q: got shape {tuple(Q.shape)}, want columns [d, k]")
    return _off(_check.rows("Q", Q)) if Q.shape[1] else 0.0


def _off(Q: torch.Tensor) -> float:
    """Largest entry of |QᵀQ - I|."""
    return float((Q.T @ Q - torch.eye(Q.shape[1], dtype=Q.dtype, device=Q.device)).abs().max())


def projector(U: ArrayLike) -> torch.Tensor:
    """Orthogonal projector P = U U^T [d, d] onto the span of orthonormal columns ``U [d, r]``.

    Raises
    ------
    ValueError
        The columns are not orthonormal (max |U^T U - I| above 1e-4).

    Examples
    --------
    >>> import torch
    >>> projector(torch.tensor([[1.], [0.]])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    U = _orthonormal("U", U)
    return U @ U.T


def _orthonormal(name: str, U: ArrayLike) -> torch.Tensor:
    U = _check.array(name, U)
    if U.ndim != 2:
        raise ValueError(f"{name}: got shape {tuple(U.shape)}, want [d, r], a basis in columns")
    _check.rows(name, U.T)
    U = U.double()
    if (error := _off(U)) > 1e-4:
        raise ValueError(f"{name}: columns are not orthonormal, max |{name}^T {name} - I| = {error:.2g}")
    return U


def project_onto(Z: ArrayLike, U: ArrayLike) -> torch.Tensor:
    """Part of each row of ``Z [n, d]`` inside the span of ``U [d, r]``: (Z U) U^T, dtype of ``Z``."""
    U = _orthonormal("U", U)
    Z = _check.rows("Z", Z, U.shape[0])
    return ((Z.double() @ U) @ U.T).to(Z.dtype)


def project_out(Z: ArrayLike, U: ArrayLike) -> torch.Tensor:
    """Part of each row of ``Z [n, d]`` orthogonal to the span of ``U [d, r]``: Z - (Z U) U^T.

    Examples
    --------
    >>> import torch
    >>> project_out(torch.tensor([[3., 4.]]), torch.tensor([[1.], [0.]])).tolist()
    [[0.0, 4.0]]
    """
    Z = _check.rows("Z", Z)
    return Z - project_onto(Z, U)


def principal_angles(U: ArrayLike, V: ArrayLike) -> torch.Tensor:
    """Principal angles between two subspaces, in radians, ascending.

    Parameters
    ----------
    U, V : array [d, r], array [d, s]
        Orthonormal bases in columns.

    Returns
    -------
    angles : torch.Tensor [min(r, s)], float64, in [0, pi/2]

    References
    ----------
    Björck and Golub, "Numerical methods for computing angles between linear subspaces", 1973:
    cosines are the singular values of U^T V; small angles are taken from the sines instead,
    where the cosine has no digits left.

    Examples
    --------
    >>> import torch
    >>> principal_angles(torch.eye(3)[:, :1], torch.eye(3)[:, 1:]).tolist()
    [1.5707963267948966]
    """
    U, V = _orthonormal("U", U), _orthonormal("V", V)
    if U.shape[0] != V.shape[0]:
        raise ValueError(f"V: lives in {V.shape[0]} dimensions, want {U.shape[0]} like U")
    if U.shape[1] < V.shape[1]:
        U, V = V, U
    cos = torch.linalg.svdvals(U.T @ V).clamp(0, 1)
    sin = torch.linalg.svdvals(V - U @ (U.T @ V)).clamp(0, 1).flip(0)
    return torch.where(cos**2 > 0.5, torch.asin(sin), torch.acos(cos))


def variance_shares(X: ArrayLike) -> torch.Tensor:
    """Share of the variance on each principal component of the rows of ``X``, the largest first.

    Parameters
    ----------
    X : array [n, d]

    Returns
    -------
    p : torch.Tensor [min(n, d)], float64
        Fractions that add up to 1: sigma^2 over their sum, sigma the singular values of X - mean.

    Raises
    ------
    ValueError
        Rows that are not finite, or all the same.

    Examples
    --------
    >>> variance_shares([[3., 0.], [-3., 0.], [0., 1.], [0., -1.]]).tolist()
    [0.9, 0.1]
    """
    x = _check.rows("X", X).double()
    variance = torch.linalg.svdvals(x - x.mean(0)).square()
    if variance.sum() <= (tolerance(x) * x.norm()) ** 2:
        raise ValueError(f"X: its {len(x)} rows are all the same, want some variance")
    return variance / variance.sum()


def participation_ratio(X: ArrayLike) -> float:
    """In how many dimensions the rows of ``X [n, d]`` spread, about their mean (notebook 01).

    1 / sum p^2 over `variance_shares` p: k where k components share the variance equally, at most
    min(n - 1, d). Errors as there.

    Examples
    --------
    >>> round(participation_ratio([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]]), 6)
    2.0
    """
    return float(1 / variance_shares(X).square().sum())


@dataclass(frozen=True)
class GramSchmidtStep:
    """One step of Gram-Schmidt, for looking at (notebook 02).

    Attributes
    ----------
    index : int
        Which row of T entered.
    coefficients : torch.Tensor [k]
        Its components along the k basis vectors found before.
    residual : torch.Tensor [d]
        What is left of it.
    norm : float
        Length of the residual, relative to the length of the row (the sine of its angle to
        the span so far).
    kept : bool
        False when the residual is numerically zero and the row adds no direction.
    Q : torch.Tensor [d, k or k + 1]
        The basis after this step.
    """

    index: int
    coefficients: torch.Tensor
    residual: torch.Tensor
    norm: float
    kept: bool
    Q: torch.Tensor


def gram_schmidt_steps(
    T: ArrayLike, rtol: float = 1e-6, variant: Variant = "modified"
) -> Iterator[GramSchmidtStep]:
    """Run Gram-Schmidt over the rows of ``T [m, d]``, yielding every step.

    Parameters
    ----------
    T : array [m, d]
        Embeddings; computed in the dtype given, so that the loss of orthogonality in float32
        can be seen.
    rtol : float
        A row whose residual is shorter than ``rtol`` times the row is dropped.
    variant : {"classical", "modified"}
        Components of the original row along the basis so far (classical), or each of what the
        subtractions before it have left (modified).

    Raises
    ------
    ValueError
        Rows as `orthonormal_basis` refuses them, or an unknown variant.
    """
    _check.one_of("variant", variant, VARIANTS)
    T = _check.rows("T", T, nonzero=True)
    rtol = _check.number("rtol", rtol, 0.0, 1.0)
    Q = T.new_zeros(T.shape[1], 0)
    for i, t in enumerate(T):
        residual, coefficients = t.clone(), T.new_zeros(Q.shape[1])
        for k in range(Q.shape[1]):
            coefficients[k] = Q[:, k] @ (residual if variant == "modified" else t)
            residual = residual - coefficients[k] * Q[:, k]
        norm = float(residual.norm() / t.norm())
        kept = norm > rtol and Q.shape[1] < T.shape[1]
        if kept:
            Q = torch.cat([Q, (residual / residual.norm())[:, None]], 1)
        yield GramSchmidtStep(i, coefficients, residual, norm, kept, Q)


def gram_schmidt(T: ArrayLike, rtol: float = 1e-6, variant: Variant = "modified") -> torch.Tensor:
    """Basis ``Q [d, r]`` of the rows of ``T [m, d]`` by Gram-Schmidt; `orthonormal_basis` is the cure
    for its loss of orthogonality. See `gram_schmidt_steps`.

    Examples
    --------
    >>> gram_schmidt([[2., 0.], [1., 1.]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    *_, last = gram_schmidt_steps(T, rtol, variant)
    return last.Q
