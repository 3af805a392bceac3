"""A linear edit of the embedding space, kept factored: W = I - L R^T. What every eraser answers with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = ["Edit"]


@dataclass(frozen=True, eq=False)
class Edit:
    """A linear edit of the embedding space, W = I - L R^T: factors ``left``, ``right`` [d, m].

    No columns (m = 0) are the identity. ``info`` has plain values, the method and its parameters, for
    receipts and titles.

    W need not be symmetric. On the text side t maps to W t (rows: T W^T); on the image side z maps to W^T z
    (rows: Z W), so that t . (W^T z) = (W t) . z.
    """

    left: torch.Tensor
    right: torch.Tensor
    info: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check.TYPES["Mapping"]("info", self.info)
        for name, x in (("left", self.left), ("right", self.right)):
            if not isinstance(x, torch.Tensor) or not x.is_floating_point():
                raise ValueError(f"{name}: got {getattr(x, 'dtype', type(x))} entries, want a floating dtype")
            if not bool(torch.isfinite(x).all()):
                raise ValueError(f"{name}: holds NaN or infinity, want finite numbers")
        if self.left.ndim != 2 or self.left.shape != self.right.shape:
            shapes = [tuple(x.shape) for x in (self.left, self.right)]
            raise ValueError(f"left, right: got shapes {shapes}, want the same [d, m]")

    @property
    def dim(self) -> int:
        return self.left.shape[0]

    @property
    def rank(self) -> int:
        """Numerical rank of I - W = L R^T, at most m."""
        if self.left.shape[1] == 0:
            return 0
        # QR of both factors leaves an m x m product with the same singular values
        A, B = (torch.linalg.qr(x.detach().double(), mode="r").R for x in (self.left, self.right))
        s = torch.linalg.svdvals(A @ B.T)
        dtype, eps = self.left.dtype, torch.finfo(self.left.dtype).eps
        # Factors are computed in float64, mostly from float32 names, and a large lam amplifies rounding.
        # Half precision then rounds each entry once, so that its error does not grow with d.
        noise = 1e-12 if dtype == torch.float64 else torch.finfo(torch.float32).eps
        largest = float(s[0])
        return int((s > max(self.dim * noise, 2 * eps) * largest).sum()) if largest > min(eps, noise) else 0

    def matrix(self) -> torch.Tensor:
        """W [d, d], for looking at; everything else uses the factors."""
        eye = torch.eye(self.dim, dtype=self.left.dtype, device=self.left.device)
        return eye - self.left @ self.right.T

    def to(self, *args: Any, **kwargs: Any) -> Edit:
        return replace(self, left=self.left.to(*args, **kwargs), right=self.right.to(*args, **kwargs))

    def _apply(self, name: str, X: ArrayLike, a: torch.Tensor, b: torch.Tensor, unit: bool) -> torch.Tensor:
        x = _check.rows(name, X, self.dim)
        out = x - (x @ a.to(x)) @ b.to(x).T
        return F.normalize(out, dim=1) if unit else out

    def apply_image(self, Z: ArrayLike, normalize: bool = False) -> torch.Tensor:
        """Edited image embeddings Z W = Z - (Z L) R^T [n, d], in Z's dtype; unit rows if ``normalize``."""
        return self._apply("Z", Z, self.left, self.right, normalize)

    def apply_text(self, T: ArrayLike, normalize: bool = False) -> torch.Tensor:
        """Edited text embeddings T W^T = T - (T R) L^T [C, d]; normalising undoes a part (notebook 04)."""
        return self._apply("T", T, self.right, self.left, normalize)

    def image_norms(self, Z: ArrayLike) -> torch.Tensor:
        """Lengths [n] of the edited rows of ``Z [n, d]``."""
        return self.apply_image(Z).detach().norm(dim=1)

    def __repr__(self) -> str:
        what = ", ".join(f"{k}={v}" for k, v in self.info.items())
        return f"Edit(dim={self.dim}, rank={self.rank}{', ' + what if what else ''})"


_check.KINDS["edit"] = _check.instance(Edit)
