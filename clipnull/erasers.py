"""Closed-form erasers. Every one answers with an `Edit`, W = I - L R^T, kept factored.

Rows are samples: ``T_f [m, d]`` are the text embeddings to forget, ``T_r [k, d]`` those to retain.
Formulas follow the paper, which writes columns: its T_f is our ``T_f.T``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.edit import Edit
from clipnull.hull import nearest_mixture
from clipnull.subspace import fix_signs, orthonormal_basis, tolerance

__all__ = ["METHODS", "Edit", "Method", "consistent", "nullspace", "random_subspace"]

#: what a forgotten name becomes: None, the origin; a rule; embeddings
AnchorLike = Literal["mean", "hull"] | ArrayLike | None
#: default (lam, mu) by anchor; CCUP's and the hull's were chosen by benchmarks/choose_mu.py, on pictures
#: that no lesson reports
DEFAULTS: dict[str, tuple[float, float | Literal["auto"]]] = {
    "origin": (100.0, 1000.0),
    "mean": (math.inf, "auto"),
    "hull": (math.inf, 10000.0),
    "given": (math.inf, 1000.0),
}
#: default share of the mean in the anchor of the hull
MARGIN = 0.05
#: names nearer than this part of their length are one name: float32's rounding of unit rows
TWIN = 1e-6


def nullspace(T_f: ArrayLike, strength: float = 1.0, dtype: torch.dtype = torch.float32) -> Edit:
    """Project the span of the forgotten names out: W = I - alpha U U^T, L = U, R = alpha U.

    ``T_f`` [m, d] may have several rows per class (prompts, synonyms); a ValueError for zero rows, and at
    strength 1 for rank d. ``strength`` in [0, 1] is alpha: 1 is the orthogonal projector onto the null space
    of T_f, less is partial projection. Computed in float64, stored in ``dtype``.
    From arXiv 2512.14137. Derived in notebooks 02 and 03.

    >>> nullspace([[1.0, 0.0]]).apply_image([[3.0, 4.0]]).tolist()
    [[0.0, 4.0]]
    """
    _check.TYPES["dtype"]("dtype", dtype)
    strength = _check.number("strength", strength, 0.0, 1.0)
    T_f = _check.rows("T_f", T_f, nonzero=True)
    U = erased(T_f.T) if strength == 1 else orthonormal_basis(T_f)
    info = {"method": "nullspace" if strength == 1 else "partial", "strength": strength}
    return Edit(U.to(dtype), (strength * U).to(dtype), info)


def columns(T_f: ArrayLike, T_r: ArrayLike) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Names as the paper writes them, T_f [d, m] and T_r [d, k], in float64, and the `tolerance` of T_f."""
    forget = _check.rows("T_f", T_f, nonzero=True)
    retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).to(forget.device)
    if (twin := same_row(forget, retain)) is not None:
        equal = f"row {twin[0]} equals row {twin[1]} of T_r, and no linear edit can part them"
        raise ValueError(f"T_f: {equal}; want names that differ, or the row left out of one of the two")
    return forget.double().T, retain.double().T, tolerance(forget)


def same_row(T_f: torch.Tensor, T_r: torch.Tensor) -> tuple[int, int] | None:
    """The first row of T_f [m, d] that equals one of T_r [k, d] up to rounding, and which."""
    distance, nearest = torch.cdist(T_f.double(), T_r.double()).min(1)
    same = (distance <= TWIN * T_f.double().norm(dim=1)).nonzero()[:, 0]
    return (int(same[0]), int(nearest[same[0]])) if len(same) else None


def directions(
    T_f: torch.Tensor, T_r: torch.Tensor, anchor: AnchorLike, scale: float | None, margin: float | None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """D = T_f - A [d, m] of `columns`, and how the `Edit.info` of `consistent` names the anchors A."""
    rule = anchor if isinstance(anchor, str) else None
    if scale is not None and not rule:
        raise ValueError(f"scale: got {scale!r}, want it with anchor='mean' or 'hull' alone")
    if margin is not None and rule != "hull":
        raise ValueError(f"margin: got {margin!r}, want it with anchor='hull' alone")
    if anchor is None:
        return T_f, {"method": "ccup", "anchor": "origin"}
    info: dict[str, Any] = {"method": rule or "given", "anchor": rule or "given"}
    if rule:
        info["scale"] = _check.number("scale", 1.0 if scale is None else scale, 0.0, 1.0)
        A = T_r.mean(1, keepdim=True)
        if rule == "hull":
            info["margin"] = s = _check.number("margin", MARGIN if margin is None else margin, 0.0, 1.0)
            A = (1 - s) * nearest_mixture(T_f.T, T_r.T).H.T + s * A
        A = info["scale"] * A
    else:
        A = _check.rows("anchor", anchor, len(T_f)).to(T_f).T
        if A.shape[1] not in (1, T_f.shape[1]):
            raise ValueError(f"anchor: got {A.shape[1]} embeddings, want 1 or one for each row of T_f")
    D = T_f - A
    if len(same := (D.norm(dim=0) <= TWIN).nonzero()):
        raise ValueError(f"anchor: row {int(same[0])} of T_f is its own anchor, want another one")
    return D, info


def erased(D: torch.Tensor, rtol: float | None = None) -> torch.Tensor:
    """Orthonormal basis U [d, r] of the directions D [d, m]; a ValueError if they leave nothing."""
    U = orthonormal_basis(D.T, rtol)
    if U.shape[1] == len(D):
        rank = f"rank {len(D)}, all of the d = {len(D)} dimensions: erasing them leaves nothing to score with"
        raise ValueError(f"T_f: its directions have {rank}; want fewer, or strength < 1 or a finite lam")
    return U


def consistent(
    T_f: ArrayLike,
    T_r: ArrayLike,
    lam: float | None = None,
    mu: float | Literal["auto"] | None = None,
    anchor: AnchorLike = None,
    scale: float | None = None,
    margin: float | None = None,
    max_length: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """Erase what parts some names from their anchors, and keep the other names in place.

    W minimises ||W - I||^2 + lam ||W D||^2 + mu ||W T_r - T_r||^2 (Frobenius; names in columns), with
    D = T_f - A. With M_r = I + mu T_r T_r^T and X = M_r^{-1} D:

        W = I - L R^T,  L = D,  R = X (I / lam + D^T X)^{-1}.

    For lam = inf, W D = 0: a forgotten name scores as its anchor on every image. L is then an
    orthonormal basis U of the span of D, and R = M_r^{-1} U (U^T M_r^{-1} U)^{-1}. For many lam and mu on
    the same names see `clipnull.solver.ConsistentSolver`.

    ``T_f`` [m, d] and ``T_r`` [k, d] are unit rows; a ValueError where one equals another, or its anchor, and
    for lam = inf where D has rank d. ``lam`` >= 0 says how much of D must go, ``math.inf``: all; 100 for
    CCUP, infinite with an anchor. ``mu`` >= 0 says how firmly the retained names stay; 1000 for CCUP and
    given anchors, "auto" for the mean (1000 at a finite lam), 10000 for the hull. "auto", for lam = inf: see
    `ConsistentSolver.auto_mu`, which ``max_length`` bounds.

    ``anchor``, A, is what a forgotten name becomes. None: the origin, it falls silent (CCUP). "mean": that of
    ``T_r``, it becomes neutral. "hull": the nearest mixture of ``T_r`` (`clipnull.hull.nearest_mixture`), its
    relatives. An array [d] or [m, d]: taken as it is. ``scale`` in [0, 1] is the length of mean or mixture;
    below 1 the certificate is given up. ``margin`` in [0, 1] is the share of the mean in the hull's anchor,
    0.05 unless given: a name whose nearest mixture is one kept name would tie with it.

    CCUP: arXiv 2512.14137 (A = 0). The closed form with targets: UCE, arXiv 2308.14761. Anchors in
    CLIP's space, lam = inf and the rule for mu are ours. CCUP is derived in notebook 04.

    >>> edit = consistent(torch.eye(3)[:1], torch.eye(3)[1:], lam=1e6, mu=1.0)
    >>> edit.matrix().round(decimals=4).abs().tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    _check.TYPES["dtype"]("dtype", dtype)
    lam, mu = hyperparameters(anchor, lam, mu, max_length)
    if mu == "auto":
        from clipnull.solver import ConsistentSolver

        return ConsistentSolver(T_f, T_r).edit(lam, mu, anchor, scale, margin, max_length, dtype)
    columns_f, columns_r, rtol = columns(T_f, T_r)
    D, info = directions(columns_f, columns_r, anchor, scale, margin)
    # M_r = C Cᵀ; Y = C⁻¹ D, so that X = C⁻ᵀ Y and DᵀX = YᵀY
    eye = torch.eye(len(D), dtype=D.dtype, device=D.device)
    C = torch.linalg.cholesky(eye + mu * columns_r @ columns_r.T)
    L = erased(D, rtol) if math.isinf(lam) else D
    Y = torch.linalg.solve_triangular(C, L, upper=False)
    R = torch.linalg.solve_triangular(C.T, weighted(Y, lam), upper=True)
    return Edit(L.to(dtype), R.to(dtype), {**info, "lam": lam, "mu": mu})


def weighted(Y: torch.Tensor, lam: float) -> torch.Tensor:
    """Y (I / lam + YᵀY)⁻¹; for lam = inf by Y = QT, whose answer is Q T⁻ᵀ: no Gram matrix is squared."""
    if math.isinf(lam):
        Q, T = torch.linalg.qr(Y)
        return torch.linalg.solve_triangular(T.T, Q, upper=False, left=False)
    eye = torch.eye(Y.shape[1], dtype=Y.dtype, device=Y.device)
    return lam * torch.linalg.solve(eye + lam * Y.T @ Y, Y, left=False)


def hyperparameters(
    anchor: AnchorLike, lam: float | None, mu: float | str | None, max_length: float
) -> tuple[float, float | Literal["auto"]]:
    _check.number("max_length", max_length, 0.0)
    if isinstance(anchor, str):
        default_lam, default_mu = DEFAULTS[_check.one_of("anchor", anchor, ["mean", "hull"])]
    else:
        default_lam, default_mu = DEFAULTS["origin" if anchor is None else "given"]
    lam = _check.number("lam", default_lam if lam is None else lam, 0.0, allow_inf=True)
    if mu is None:
        mu = default_mu if math.isinf(lam) or default_mu != "auto" else DEFAULTS["given"][1]
    if isinstance(mu, str):
        if mu != "auto" or not math.isinf(lam):
            raise ValueError(f"mu: got {mu!r} at lam = {lam:g}, want a number, or 'auto' with lam = inf")
        return lam, "auto"
    return lam, _check.number("mu", mu, 0.0)


@_check.by_name
def random_subspace(
    d: int, rank: int = 1, seed: int = 0, strength: float = 1.0, dtype: torch.dtype = torch.float32
) -> Edit:
    """The control (ours): project out a uniformly random subspace of ``rank`` dimensions of R^d."""
    d = _check.whole("d", d, 1)
    rank = _check.whole("rank", rank, 1, d)
    strength = _check.number("strength", strength, 0.0, 1.0)
    gaussian = torch.randn(d, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    U = fix_signs(torch.linalg.qr(gaussian).Q)
    info = {"method": "random", "strength": strength, "seed": seed}
    return Edit(U.to(dtype), (strength * U).to(dtype), info)


@dataclass(frozen=True)
class Method:
    """An eraser, ``eraser(T_f, T_r, seed, **hyperparameters)`` -> Edit, with its defaults, under a name.

    ``becomes`` says in a word or two what the forgotten name becomes. ``grid`` has the values to tune over;
    every method that has hyperparameters has as many combinations.
    """

    name: str
    becomes: str
    defaults: dict[str, Any]
    grid: dict[str, list[Any]]
    eraser: Callable[..., Edit]

    @property
    def what(self) -> str:
        """One line: what the forgotten name becomes, and by which defaults."""
        signs = {"strength": "α", "lam": "λ", "mu": "μ", "margin": "δ"}
        own = {signs[k]: v for k, v in self.defaults.items() if k in signs}
        values = (f"{k} = {v if isinstance(v, str) else f'{v:g}'}" for k, v in own.items())
        return f"{self.becomes}: {', '.join(values)}".replace("inf", "∞")

    @property
    def combinations(self) -> list[dict[str, Any]]:
        return [dict(zip(self.grid, point, strict=True)) for point in itertools.product(*self.grid.values())]

    def make(self, T_f: ArrayLike, T_r: ArrayLike, seed: int = 0, **hyperparameters: Any) -> Edit:
        """The edit that forgets ``T_f [m, d]`` and retains ``T_r [k, d]``, by the `defaults` unless given."""
        return self.eraser(T_f, T_r, seed, **{**self.defaults, **hyperparameters})


class _Methods(dict[str, Method]):
    def __missing__(self, name: str) -> Method:
        near = ", ".join(_check.closest(str(name), self))
        raise ValueError(f"method: unknown method {name!r}; the closest are {near}")


def _control(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
    """As many random dimensions as the names span."""
    d, rank = orthonormal_basis(T_f).shape
    return random_subspace(d, rank, seed, **hyperparameters)


def _methods() -> Iterator[Method]:
    tens, strengths = [10.0, 100.0, 1000.0, 10000.0], [i / 16 for i in range(1, 17)]

    def project(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
        return nullspace(T_f, **hyperparameters)

    def keep(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
        return consistent(T_f, T_r, **hyperparameters)

    yield Method("nullspace", "zero, projected out", {"strength": 1.0}, {}, project)
    yield Method("partial", "weaker", {"strength": 0.5}, {"strength": strengths}, project)
    grid: dict[str, list[Any]] = {"lam": [*tens[:3], math.inf], "mu": tens}
    yield Method("ccup", "silent", {"lam": 100.0, "mu": 1000.0}, grid, keep)
    own: dict[str, Any] = {"lam": math.inf, "mu": "auto", "anchor": "mean"}
    grid = {"mu": ["auto", 1.0, 10.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0], "scale": [0.9, 1.0]}
    yield Method("mean", "neutral, the mean of the others", own, grid, keep)
    own = {"lam": math.inf, "mu": 10000.0, "anchor": "hull", "margin": MARGIN}
    grid = {"mu": tens, "margin": [0.05, 0.1, 0.25, 0.5]}
    yield Method("hull", "its relatives, their nearest mixture", own, grid, keep)
    what = "control, a random subspace of its rank"
    yield Method("random", what, {"strength": 1.0}, {"strength": strengths}, _control)


#: name -> `Method`, in the order tables show them; an unknown name is a ValueError
METHODS = _Methods((method.name, method) for method in _methods())
