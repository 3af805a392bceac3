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
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.edit import Edit

__all__ = ["Mixtures", "certificate", "nearest_mixture"]

#: names that the first working set of a mixture has, and how many violators join it at a time
FIRST, MORE = 48, 24
#: optimality tolerance, relative to the names' squared lengths
OPTIMAL = 1e-12
#: gap between the bounds of a distance at which it is taken, relative to the largest
EXACT = 1e-10
#: squared distances, relative to the largest, that float64's factorisation cannot tell from 0
ROUNDED = 1e-16
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
    weights = np.stack([_mixture(t, R, squares) for t in forget.cpu().numpy()])
    w = torch.from_numpy(weights).to(forget)
    H = w @ retain
    return Mixtures(H, w, (forget - H).norm(dim=1))


def _mixture(t: np.ndarray, R: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Weights [k] of the mixture of the rows of R [k, d], of squared lengths [k], nearest to t [d]."""
    from scipy.optimize import nnls

    size = max(float(squares.max()), t @ t)
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
        worst = np.argsort(slack, kind="stable")[:MORE]
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
    if edit is None and side == "image":
        return nearest_mixture(forget, retain).distance
    moved_f, moved_r = forget, retain
    if edit is not None:
        if side == "image" and _on_its_anchor(edit, forget, retain):
            return torch.zeros(len(forget), dtype=torch.float64, device=forget.device)
        exact = edit.to(torch.float64)
        moved_f, moved_r = exact.apply_text(forget), exact.apply_text(retain)
    if side == "text":
        moved_f, moved_r = F.normalize(moved_f, dim=1), F.normalize(moved_r, dim=1)
    R = moved_r.cpu().numpy()
    rows = _show.progress(list(moved_f.cpu().numpy()), what="certificates", unit="name")
    return torch.tensor([_distance(t, R) for t in rows], dtype=torch.float64, device=forget.device)


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


def _distance(t: np.ndarray, R: np.ndarray) -> float:
    """Distance from t [d] to the convex hull of the rows of R [k, d].

    Mehrotra's predictor-corrector on min ½|Aᵀw|², w >= 0, 1ᵀw = 1, with A = R - t. Every iterate bounds
    the distance from both sides: |Aᵀw| from above, and the lead of the direction Aᵀw from below.
    """
    from scipy.linalg import cho_factor, cho_solve

    A = R - t
    size = float(np.sqrt((A * A).sum(1).max()))
    if size == 0.0:
        return 0.0
    A = A / size
    k, d = A.shape
    w = np.full(k, 1.0 / k)
    g = A @ (w @ A)
    y = g.min() - 0.1
    s = g - y  # duals of w >= 0
    above, below = np.inf, 0.0
    for _ in range(80):
        h = w @ A
        g = A @ h
        length = float(np.linalg.norm(h))
        above = min(above, length / w.sum())
        below = max(below, g.min() / length if length else 0.0)
        if above - below <= EXACT or w @ s <= ROUNDED:
            break
        inverse = w / s
        small = k <= d  # the smaller of the two systems: AAᵀ + diag(s / w), or I + Aᵀ diag(w / s) A
        scaled = A * np.sqrt(inverse)[:, None]
        M = A @ A.T + np.diag(1 / inverse) if small else scaled.T @ scaled + np.eye(d)
        try:
            factor = cho_factor(M, lower=True, check_finite=False)
        except np.linalg.LinAlgError:  # the rest is rounding; the bound from above holds
            break

        def solve(b: np.ndarray, factor=factor, inverse=inverse, small=small) -> np.ndarray:
            if small:
                return cho_solve(factor, b, check_finite=False)
            return inverse * (b - A @ cho_solve(factor, A.T @ (inverse * b), check_finite=False))

        ones = solve(np.ones(k))

        def step(target: np.ndarray, w=w, s=s, y=y, g=g, ones=ones, solve=solve) -> tuple[Any, Any, Any]:
            """Newton's step to w s = target, with both feasibility residuals driven to zero."""
            q = solve((target - w * s) / w - (g - y - s))
            dy = (1.0 - w.sum() - q.sum()) / ones.sum()
            dw = q + dy * ones
            return dw, dy, (target - w * s - s * dw) / w

        gap = w @ s / k
        dw, dy, ds = step(np.zeros(k))
        after = (w + _reach(w, dw) * dw) @ (s + _reach(s, ds) * ds) / k
        dw, dy, ds = step((after / gap) ** 3 * gap - dw * ds)
        length = 0.99 * min(_reach(w, dw), _reach(s, ds))
        w, y, s = w + length * dw, y + length * dy, s + length * ds
    return above * size


def _reach(x: np.ndarray, dx: np.ndarray) -> float:
    falling = dx < 0
    return min(1.0, float((-x[falling] / dx[falling]).min())) if falling.any() else 1.0
