"""`clipnull.erasers.consistent` for many lam and mu on the same names, from one factorisation."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F

from clipnull._check import ArrayLike
from clipnull.edit import Edit
from clipnull.erasers import AnchorLike, columns, directions, erased, hyperparameters, weighted

__all__ = ["ConsistentSolver"]

#: where "auto" looks for mu: four steps per factor of ten
GRID = [0.0, *torch.logspace(-3, 4, 29, dtype=torch.float64).tolist()]


class ConsistentSolver:
    """`clipnull.erasers.consistent` for many hyperparameters on the same names T_f [m, d], T_r [k, d].

    In the paper's columns, T_r T_r^T = V diag(s^2) V^T once; M_r = V diag(1 + mu s^2) V^T then costs
    nothing for any mu, and each lam an m x m solve. A ValueError for a forgotten name that equals a kept one.
    """

    def __init__(self, T_f: ArrayLike, T_r: ArrayLike) -> None:
        self.T_f, self.T_r, self._rtol = columns(T_f, T_r)
        d, k = self.T_r.shape
        # fewer names than dimensions: M_r is the identity off their span, whose k coordinates are enough
        Q, C = torch.linalg.qr(self.T_r, mode="complete") if k < d else (None, self.T_r)
        s2, V = torch.linalg.eigh(C[:k] @ C[:k].T)
        if Q is not None:
            s2, V = F.pad(s2, (0, d - k)), torch.cat([Q[:, :k] @ V, Q[:, k:]], dim=1)
        self._s2, self._V = s2.clamp_min(0)[:, None], V
        self._anchored: tuple[Any, Any] = None, None

    def _rotated_right(self, VtL: torch.Tensor, lam: float, mu: float) -> torch.Tensor:
        """VᵀR from VᵀL: with Y = M_r^(-1/2) L, R = M_r^(-1/2) Y (I / lam + YᵀY)⁻¹."""
        root = (1 + mu * self._s2).rsqrt()
        return root * weighted(root * VtL, lam)

    def auto_mu(self, L: torch.Tensor, max_length: float = 1.0) -> float:
        """The mu up to which forgotten names, taken as images, grow no longer than the retained ones.

        r(mu) = mean |W^T t_f| / mean |W^T t_r| at lam = inf, for an orthonormal basis L [d, r] of the
        directions erased. It is read at 0 and on a grid from 1e-3 to 1e4, four steps per factor of ten; the
        first step at which it passes ``max_length`` is bisected to 1%. Never passed: 1e4. Passed at 0: 0.

        Ours. A large mu lengthens the forgotten pictures' edited embeddings, and after normalising they stand
        last for every query; the names tell it without pictures.
        """
        VtL = self._V.T @ L
        names = [(self._V.T @ T, L.T @ T, (T * T).sum(0)) for T in (self.T_f, self.T_r)]

        def passes(mu: float) -> bool:
            """Whether r(mu) is above the bound; |W^T t|^2 = |t|^2 - 2 (L^T t).(R^T t) + |R L^T t|^2."""
            R = self._rotated_right(VtL, math.inf, mu)
            forgotten, retained = (
                (tt + (LtT * (R.T @ R @ LtT - 2 * R.T @ VtT)).sum(0)).clamp_min(0).sqrt().mean()
                for VtT, LtT, tt in names
            )
            return bool(forgotten > (max_length + 1e-9) * retained)  # to spare, for rounding

        first = next((i for i, mu in enumerate(GRID) if passes(mu)), None)
        if not first:
            return GRID[-1] if first is None else 0.0
        low, high = GRID[first - 1 : first + 1]
        while high - low > 0.01 * high:
            middle = math.sqrt(low * high) if low else high / 2
            low, high = (low, middle) if passes(middle) else (middle, high)
        return low

    def edit(
        self,
        lam: float | None = None,
        mu: float | Literal["auto"] | None = None,
        anchor: AnchorLike = None,
        scale: float | None = None,
        margin: float | None = None,
        max_length: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> Edit:
        """The `Edit` for these hyperparameters; arguments and errors as in `clipnull.erasers.consistent`."""
        lam, mu = hyperparameters(anchor, lam, mu, max_length)
        rule = (anchor, scale, margin) if isinstance(anchor, str) else None
        if rule is None or rule != self._anchored[0]:
            self._anchored = rule, directions(self.T_f, self.T_r, anchor, scale, margin)
        D, info = self._anchored[1]
        L = erased(D, self._rtol) if math.isinf(lam) else D
        info = {**info, "lam": lam, "mu": mu}
        if mu == "auto":
            info["mu"] = mu = self.auto_mu(L, max_length)
            info["mu_rule"] = "auto" if mu else "auto: the names are longer than allowed at mu = 0"
        R = self._V @ self._rotated_right(self._V.T @ L, lam, mu)
        return Edit(L.to(dtype), R.to(dtype), info)
