"""Closed-form erasers. Every one answers with an `Edit`, W = I - L R^T, kept factored.

Rows are samples: ``T_f [m, d]`` are the text embeddings to forget, ``T_r [k, d]`` those to
retain. The paper writes columns (T_f in R^{d x m}); formulas below follow the paper, so its
T_f is our ``T_f.T``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.subspace import fix_signs, orthonormal_basis

__all__ = ["METHODS", "Edit", "Method", "consistent", "nullspace", "random_subspace"]

#: default (lam, mu). With about as many names as half the dimensions, smaller ones leave a few
#: percent of the forgotten images recognised; the ratio sets what the others pay (notebook 04).
CCUP, ANCHORED = (30.0, 30.0), (1000.0, 300.0)


@dataclass(frozen=True)
class Edit:
    """A linear edit of the embedding space, W = I - L R^T.

    Attributes
    ----------
    left, right : torch.Tensor [d, m]
        L and R. Empty factors (m = 0) are the identity.
    info : dict
        Plain values: method and its parameters, for receipts and titles.

    Notes
    -----
    W need not be symmetric. On the text side t maps to W t (rows: T W^T); on the image side f
    maps to W^T f (rows: Z W), so that t . (W^T f) = (W t) . f.
    """

    left: torch.Tensor
    right: torch.Tensor
    info: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.left.ndim != 2 or self.left.shape != self.right.shape:
            raise ValueError(
                f"left, right: got shapes {tuple(self.left.shape)} and {tuple(self.right.shape)}, "
                "want the same [d, m]"
            )

    @property
    def dim(self) -> int:
        """d, the dimension of the embedding space."""
        return self.left.shape[0]

    @property
    def rank(self) -> int:
        """Numerical rank of I - W = L R^T, at most m."""
        if self.left.shape[1] == 0:
            return 0
        # QR of both factors leaves an m x m product with the same singular values
        r_left = torch.linalg.qr(self.left.detach().double(), mode="r").R
        r_right = torch.linalg.qr(self.right.detach().double(), mode="r").R
        s = torch.linalg.svdvals(r_left @ r_right.T)
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
        """The same edit with factors moved or cast, as `torch.Tensor.to`."""
        return replace(self, left=self.left.to(*args, **kwargs), right=self.right.to(*args, **kwargs))

    def _apply(
        self, name: str, X: ArrayLike, a: torch.Tensor, b: torch.Tensor, normalize: bool
    ) -> torch.Tensor:
        x = _check.rows(name, X, self.dim)
        out = x - (x @ a.to(x)) @ b.to(x).T
        return F.normalize(out, dim=1) if normalize else out

    def apply_image(self, Z: ArrayLike, normalize: bool = False) -> torch.Tensor:
        """Edited image embeddings Z W = Z - (Z L) R^T.

        Parameters
        ----------
        Z : array [n, d]
        normalize : bool
            Scale rows to unit length afterwards. Argmax over classes does not depend on it.

        Returns
        -------
        torch.Tensor [n, d], dtype of ``Z``
        """
        return self._apply("Z", Z, self.left, self.right, normalize)

    def apply_text(self, T: ArrayLike, normalize: bool = False) -> torch.Tensor:
        """Edited text embeddings T W^T = T - (T R) L^T.

        Parameters
        ----------
        T : array [C, d]
        normalize : bool
            Scale rows to unit length afterwards. That undoes part of the edit (notebook 03).

        Returns
        -------
        torch.Tensor [C, d], dtype of ``T``
        """
        return self._apply("T", T, self.right, self.left, normalize)

    def update_scores(self, S: ArrayLike, Z: ArrayLike, T: ArrayLike) -> torch.Tensor:
        """Scores after the edit from the scores before: S' = S - (Z L)(T R)^T.

        Parameters
        ----------
        S : array [n, C]
            Z T^T, before.
        Z, T : array [n, d], array [C, d]

        Returns
        -------
        torch.Tensor [n, C], dtype of ``S``
            (Z W) T^T, equal to Z (T W^T)^T, at cost n C m instead of n C d. Not normalised:
            divide row i by ``image_norms(Z)[i]`` for cosines.
        """
        S = _check.rows("S", S)
        Z, T = _check.rows("Z", Z, self.dim).to(S), _check.rows("T", T, self.dim).to(S)
        if tuple(S.shape) != (len(Z), len(T)):
            raise ValueError(
                f"S: got shape {tuple(S.shape)}, want [{len(Z)}, {len(T)}], a score an image and class"
            )
        return torch.addmm(S, Z @ self.left.to(Z), (T @ self.right.to(T)).T, alpha=-1)

    def image_norms(self, Z: ArrayLike) -> torch.Tensor:
        """Lengths [n] of the edited rows of ``Z [n, d]``, from the factors alone.

        ||z'||^2 = ||z||^2 - 2 (z L).(z R) + (z L)(R^T R)(z L)^T
        """
        z = _check.rows("Z", Z, self.dim).double()
        L, R = self.left.to(z), self.right.to(z)
        zl, zr = z @ L, z @ R
        squared = (z * z).sum(1) - 2 * (zl * zr).sum(1) + ((zl @ (R.T @ R)) * zl).sum(1)
        return (
            squared.clamp_min(0).sqrt().to(torch.as_tensor(Z).dtype if torch.is_tensor(Z) else torch.float32)
        )

    def __repr__(self) -> str:
        what = ", ".join(f"{k}={v}" for k, v in self.info.items())
        return f"Edit(dim={self.dim}, rank={self.rank}{', ' + what if what else ''})"


def nullspace(
    T_f: ArrayLike, strength: float = 1.0, rtol: float | None = None, dtype: torch.dtype = torch.float32
) -> Edit:
    """Project the span of the forgotten names out: W = I - alpha U U^T.

    Parameters
    ----------
    T_f : array [m, d]
        Text embeddings to forget; several rows a class (prompts, synonyms) are welcome.
    strength : float in [0, 1]
        alpha. 1 is the orthogonal projector onto the null space of T_f; less is the paper's
        partial projection.
    rtol : float, optional
        Relative rank tolerance, see `clipnull.subspace.orthonormal_basis`.
    dtype : torch.dtype
        What the factors are stored in; they are computed in float64.

    Returns
    -------
    Edit
        L = U, R = alpha U.

    Raises
    ------
    ValueError
        ``T_f`` empty, non-finite or with a zero row; ``strength`` outside [0, 1].

    References
    ----------
    arXiv 2512.14137 (nullspace projection, partial projection). Derived in notebooks 02 and 03.

    Examples
    --------
    >>> import torch
    >>> nullspace(torch.tensor([[1., 0.]])).apply_image(torch.tensor([[3., 4.]])).tolist()
    [[0.0, 4.0]]
    """
    strength = _check.number("strength", strength, 0.0, 1.0)
    U = orthonormal_basis(_check.rows("T_f", T_f, nonzero=True), rtol)
    info = {"method": "nullspace" if strength == 1 else "partial", "strength": strength}
    return Edit(U.to(dtype), (strength * U).to(dtype), info)


def columns(T_f: ArrayLike, T_r: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Names as the paper writes them: T_f [d, m] and T_r [d, k], checked, in float64."""
    forget = _check.rows("T_f", T_f, nonzero=True)
    retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).to(forget.device)
    return forget.double().T, retain.double().T


def targets(
    T_f: torch.Tensor, T_r: torch.Tensor, lam: float | None, mu: float | None, anchor: str | ArrayLike | None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Anchors A [d, m] of `columns`, and the `Edit.info` of `consistent` with lam and mu filled in."""
    default_lam, default_mu = CCUP if anchor is None else ANCHORED
    lam = _check.number("lam", default_lam if lam is None else lam, 0.0, allow_inf=True)
    mu = _check.number("mu", default_mu if mu is None else mu, 0.0)
    if anchor is None:
        A, how = torch.zeros_like(T_f), "origin"
    elif isinstance(anchor, str):
        how = _check.one_of("anchor", anchor, ["mean"])
        A = T_r.mean(1, keepdim=True).expand_as(T_f)
    else:
        A, how = _check.rows("anchor", anchor, len(T_f)).to(T_f).T, "given"
        if A.shape[1] not in (1, T_f.shape[1]):
            raise ValueError(
                f"anchor: got {A.shape[1]} embeddings, want 1 or one for each of the "
                f"{T_f.shape[1]} forgotten rows"
            )
    method = "ccup" if anchor is None else "anchored"
    return A.expand_as(T_f), {"method": method, "lam": lam, "mu": mu, "anchor": how}


def consistent(
    T_f: ArrayLike,
    T_r: ArrayLike,
    lam: float | None = None,
    mu: float | None = None,
    anchor: str | ArrayLike | None = None,
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """Forget some names while keeping others in place: CCUP, and its anchored variants.

    W minimises ||W - I||^2 + lam ||W T_f - A||^2 + mu ||W T_r - T_r||^2 (Frobenius; names in
    columns). With M_r = I + mu T_r T_r^T and X = M_r^{-1} T_f: W = I - L R^T, L = T_f - A,
    R = X (I / lam + T_f^T X)^{-1}. For many lam and mu on the same names see
    `clipnull.solver.ConsistentSolver`.

    Parameters
    ----------
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain, unit rows.
    lam : float >= 0
        Pull of the forgotten names to their anchors; ``math.inf`` makes it exact. Default 30
        for CCUP, 1000 with an anchor.
    mu : float >= 0
        Pull of the retained names to where they are. Default 30 for CCUP, 300 with an anchor.
    anchor : None, "mean", array [d] or [m, d]
        A, what a forgotten name becomes. ``None``: the origin (CCUP). ``"mean"``: the mean of
        ``T_r``, not re-normalised, where an unknown object would lie. An embedding: what it
        should be taken for.
    dtype : torch.dtype
        What the factors are stored in; they are computed in float64.

    Returns
    -------
    Edit

    Raises
    ------
    ValueError
        Bad arrays or dimensions, negative ``lam`` or ``mu``, an unknown anchor.

    References
    ----------
    CCUP: arXiv 2512.14137 (A = 0). The closed form with targets: UCE, arXiv 2308.14761. The
    choice of anchors in CLIP's space is ours. Derived in notebook 04.

    Examples
    --------
    >>> import torch
    >>> T = torch.eye(3)
    >>> edit = consistent(T[:1], T[1:], lam=1e6, mu=1.0)
    >>> (T @ edit.matrix().T).round(decimals=4).abs().tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    T_f, T_r = columns(T_f, T_r)
    A, info = targets(T_f, T_r, lam, mu, anchor)
    lam, mu = info["lam"], info["mu"]
    (d, m), k = T_f.shape, T_r.shape[1]
    # X = M_r^{-1} T_f; with fewer names than dimensions by Woodbury, from a k x k system
    if k < d:
        factor = torch.linalg.cholesky(_eye(k, T_r) + mu * T_r.T @ T_r)
        X = T_f - mu * T_r @ torch.cholesky_solve(T_r.T @ T_f, factor)
    else:
        X = torch.cholesky_solve(T_f, torch.linalg.cholesky(_eye(d, T_r) + mu * T_r @ T_r.T))
    if math.isinf(lam):
        # parallel names leave T_f^T X singular; its eigenvalues are squared singular values
        rtol = (max(d, m) * torch.finfo(torch.float32).eps) ** 2
        R = X @ torch.linalg.pinv(T_f.T @ X, rtol=rtol, hermitian=True)
    else:  # times lam, so that lam = 0 is no special case
        R = lam * torch.linalg.solve(_eye(m, X) + lam * T_f.T @ X, X, left=False)
    return Edit((T_f - A).to(dtype), R.to(dtype), info)


def _eye(n: int, like: torch.Tensor) -> torch.Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)


def random_subspace(
    d: int, rank: int = 1, seed: int = 0, strength: float = 1.0, dtype: torch.dtype = torch.float32
) -> Edit:
    """The control: project out a uniformly random subspace of ``rank`` dimensions of R^d.

    Raises
    ------
    ValueError
        ``rank`` not in 1..d, ``strength`` outside [0, 1].

    References
    ----------
    Ours. The Q factor of a Gaussian matrix spans a uniformly distributed subspace.

    Examples
    --------
    >>> random_subspace(8, rank=2, seed=0).rank
    2
    """
    if not 1 <= rank <= d:
        raise ValueError(f"rank: got {rank}, want 1 to d = {d}")
    strength = _check.number("strength", strength, 0.0, 1.0)
    gaussian = torch.randn(d, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    U = fix_signs(torch.linalg.qr(gaussian).Q)
    info = {"method": "random", "strength": strength, "seed": seed}
    return Edit(U.to(dtype), (strength * U).to(dtype), info)


@dataclass(frozen=True)
class Method:
    """An eraser with its default hyperparameters, under a name.

    Attributes
    ----------
    name, what : str
        ``what`` is one line: what the method does to the forgotten names.
    defaults : dict
        Hyperparameters.
    eraser : callable
        ``eraser(T_f, T_r, seed, **hyperparameters)`` -> Edit.
    """

    name: str
    what: str
    defaults: dict[str, Any]
    eraser: Callable[..., Edit]

    def make(self, T_f: ArrayLike, T_r: ArrayLike, seed: int = 0, **hyperparameters: Any) -> Edit:
        """The edit that forgets ``T_f [m, d]`` and retains ``T_r [k, d]``.

        Parameters
        ----------
        T_f, T_r : array [m, d], array [k, d]
            Text embeddings to forget and to retain.
        seed : int
            For ``"random"`` alone.
        **hyperparameters
            In place of `defaults`, as the eraser names them; ``dtype`` too.
        """
        return self.eraser(T_f, T_r, seed, **{**self.defaults, **hyperparameters})


class _Methods(dict[str, Method]):
    def __missing__(self, name: str) -> Method:
        raise ValueError(
            f"method: unknown method {name!r}; the closest are {', '.join(_check.closest(str(name), self))}"
        )


def _project(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
    return nullspace(T_f, **hyperparameters)


def _consistent(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
    return consistent(T_f, T_r, **hyperparameters)


def _control(T_f: ArrayLike, T_r: ArrayLike, seed: int, **hyperparameters: Any) -> Edit:
    """As many random dimensions as the names span."""
    d, rank = orthonormal_basis(T_f).shape
    return random_subspace(d, rank, seed, **hyperparameters)


#: name -> `Method`, in the order tables show them; an unknown name is a ValueError
METHODS = _Methods(
    (m.name, m)
    for m in (
        Method("nullspace", "project the names' span out, α = 1", {"strength": 1.0}, _project),
        Method("partial", "the same at α = 0.5", {"strength": 0.5}, _project),
        Method("ccup", "CCUP, λ = μ = 30", {"lam": CCUP[0], "mu": CCUP[1]}, _consistent),
        Method(
            "anchored",
            "anchored at the mean, λ = 1000, μ = 300",
            {"lam": ANCHORED[0], "mu": ANCHORED[1], "anchor": "mean"},
            _consistent,
        ),
        Method("random", "control: a random subspace of the same rank", {"strength": 1.0}, _control),
    )
)
