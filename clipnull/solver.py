"""`clipnull.erasers.consistent` for many lam and mu on the same names, from one factorisation."""

from __future__ import annotations

import math

import torch

from clipnull._check import ArrayLike
from clipnull.erasers import Edit, columns, targets

__all__ = ["ConsistentSolver"]


class ConsistentSolver:
    """`clipnull.erasers.consistent` for many lam and mu on the same names.

    In the paper's columns, T_r T_r^T = V diag(s^2) V^T once; then for each mu
    X = M_r^{-1} T_f = V diag(1 / (1 + mu s^2)) V^T T_f, and for each lam an m x m solve.

    Parameters
    ----------
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.

    Raises
    ------
    ValueError
        Bad arrays or dimensions.
    """

    def __init__(self, T_f: ArrayLike, T_r: ArrayLike) -> None:
        self.T_f, self.T_r = columns(T_f, T_r)
        s2, self._V = torch.linalg.eigh(self.T_r @ self.T_r.T)
        self._s2, self._VtT_f = s2.clamp_min(0)[:, None], self._V.T @ self.T_f

    def right(self, lam: float, mu: float) -> torch.Tensor:
        """R = X (I / lam + T_f^T X)^{-1} [d, m], float64; ``lam`` may be infinite."""
        X = self._V @ (self._VtT_f / (1 + mu * self._s2))
        gram = self.T_f.T @ X
        if math.isinf(lam):
            # parallel names leave it singular; its eigenvalues are squared singular values
            rtol = (max(self.T_f.shape) * torch.finfo(torch.float32).eps) ** 2
            return X @ torch.linalg.pinv(gram, rtol=rtol, hermitian=True)
        eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return lam * torch.linalg.solve(eye + lam * gram, X, left=False)

    def edit(
        self,
        lam: float | None = None,
        mu: float | None = None,
        anchor: str | ArrayLike | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Edit:
        """The `Edit` for these dials; arguments as in `clipnull.erasers.consistent`."""
        A, info = targets(self.T_f, self.T_r, lam, mu, anchor)
        return Edit((self.T_f - A).to(dtype), self.right(info["lam"], info["mu"]).to(dtype), info)
