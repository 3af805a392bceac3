"""Nearest mixtures of names, and the certificate that a name cannot win.

The convex hull of the rows of ``T_r [k, d]`` is the set of their mixtures w T_r, w >= 0, sum(w) = 1.

The fact behind the certificate is that of "stolen probability" (Demeter et al. 2020, arXiv 2005.02433) and
of unargmaxable classes (Grivas et al. 2022, arXiv 2203.06462): in a softmax layer without bias, a class
inside the convex hull of the others can never win. By minimax, the distance from t to the hull is also
the largest lead that any unit vector z can give t over the best kept name:

    min over mixtures h of |t - h|  =  max over |z| <= 1 of  min over r of  z.(t - t_r).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.edit import Edit

__all__ = ["Mixtures", "certificate", "nearest_mixture"]

#: names that the first working set of a mixture has
FIRST = 48
#: optimality tolerance, relative to the names' squared lengths
OPTIMAL = 1e-12
#: a name this near to its anchor stands on it: float32's rounding of the factors
ON_ANCHOR = 1e-6


class Mixtures(NamedTuple):
    """Nearest mixtures H [m, d] of kept names, one per forgotten name: ``H = weights T_r``.

    ``weights`` [m, k] are non-negative and rows sum to 1; ``distance`` [m] is from the name to its mixture.
    """

    H: torch.Tensor
    weights: torch.Tensor
    distance: torch.Tensor


def nearest_mixture(T_f: ArrayLike, T_r: ArrayLike) -> Mixtures:
    """The point of the convex hull of the kept names [k, d] that lies nearest to each forgotten one [m, d].

    In float64. The weights are exact (to rounding) and few, seldom more than twenty.

    Non-negative least squares: with u >= 0 minimising |(T_r - t)ᵀ u|² + (1ᵀu - 1)², w = u / 1ᵀu is the
    nearest mixture. The nearest names first; then every name that violates the optimality condition
    (t_r - t).(h - t) >= |h - t|² joins them, until none does.
    After Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23. Its use for names is ours.

    >>> nearest_mixture([[1.0, 1.0]], torch.eye(2)).H
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    forget = _check.rows("T_f", T_f).detach().double()
    retain = _check.rows("T_r", T_r, forget.shape[1]).detach().to(forget)
    R = retain.cpu().numpy()
    squares = (R * R).sum(1)
    names = _show.progress(list(forget.cpu().numpy()), what="nearest mixtures", unit="name")
    w = torch.from_numpy(np.stack([_mixture(t, R, squares) for t in names])).to(forget)
    H = w @ retain
    return Mixtures(H, w, (forget - H).norm(dim=1))


def _mixture(t: np.ndarray, R: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Weights [k] of the mixture of the rows of R [k, d], of squared lengths [k], nearest to t [d]."""
    from scipy.optimize import nnls

    size = max(float(squares.max()), t @ t, np.finfo(float).tiny)
    active = np.argsort(squares - 2 * R @ t, kind="stable")[:FIRST]
    while True:
        A = R[active] - t
        # QR leaves as many rows as there are names in the working set
        Q, upper = np.linalg.qr(np.vstack([A.T / np.sqrt(size), np.ones(len(active))]))
        u, _ = nnls(upper, Q[-1], maxiter=50 * len(active))
        w = u / u.sum()
        gap = w @ A
        slack = R @ gap - (t + gap) @ gap
        slack[active] = 0.0
        worst = np.argsort(slack, kind="stable")[: len(active) // 2]
        worst = worst[slack[worst] < -OPTIMAL * size]
        if not len(worst):
            whole = np.zeros(len(R))
            whole[active] = w
            return whole
        # none leaves: rounding cannot make two names take turns
        active = np.concatenate([active, worst])


@_check.by_name
def certificate(
    edit: Edit | None, T_f: ArrayLike, T_r: ArrayLike, side: Literal["image", "text"] = "image"
) -> torch.Tensor:
    """How far any image at all can put each forgotten name ahead of the kept ones [m], float64.

    The distance from W t_f to the convex hull of the W t_r (see the module's head), in units of the score: a
    cosine, never below the true lead by more than rounding. 0: while all kept names are candidates, the name
    cannot win on any image there is. Fewer candidates may bring it back.

    ``T_f`` [m, d] and ``T_r`` [k, d] are the names before the edit; ``edit`` None is the unedited model. On
    the image side scores are z.(W t), and leads are those of unit image embeddings z before the edit; on the
    text side names are re-normalised after it.
    """
    _check.one_of("side", side, ["image", "text"])
    forget = _check.rows("T_f", T_f, nonzero=True).detach().double()
    retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).detach().to(forget)
    if edit is not None:
        if side == "image" and _on_its_anchor(edit, forget, retain):
            return forget.new_zeros(len(forget))
        exact = edit.to(torch.float64)
        forget, retain = exact.apply_text(forget), exact.apply_text(retain)
    if side == "text":
        forget, retain = F.normalize(forget, dim=1), F.normalize(retain, dim=1)
    return nearest_mixture(forget, retain).distance


def _on_its_anchor(edit: Edit, T_f: torch.Tensor, T_r: torch.Tensor) -> bool:
    """Whether W takes every name where it takes a mixture of the kept ones: then no solver is needed."""
    how = edit.info.get("anchor")
    if how not in ("mean", "hull") or edit.info["scale"] != 1.0 or not math.isinf(edit.info["lam"]):
        return False
    A = T_r.mean(0).expand_as(T_f)
    if how == "hull":
        margin = edit.info["margin"]
        A = (1 - margin) * nearest_mixture(T_f, T_r).H + margin * A
    return bool((edit.to(torch.float64).apply_text(T_f - A).norm(dim=1) <= ON_ANCHOR).all())
