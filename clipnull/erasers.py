"""Closed-form erasers. Every one answers with an `Edit`, W = I - L R^T, kept factored.

Rows are samples: ``T_f [m, d]`` are the text embeddings to forget, ``T_r [k, d]`` those to
retain. The paper writes columns (T_f in R^{d x m}); formulas below follow the paper, so its
T_f is our ``T_f.T``.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.subspace import fix_signs, orthonormal_basis

__all__ = ["METHODS", "ConsistentSolver", "Edit", "build", "consistent", "nullspace", "random_subspace"]

#: default (lam, mu). With about as many names as half the dimensions, smaller ones leave a few
#: percent of the forgotten images recognised; the ratio sets what the others pay (notebook 04).
CCUP, ANCHORED = (30.0, 30.0), (1000.0, 300.0)
#: default margin (cosine) of ``components="auto"``
MARGIN = 0.25


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


def _left_singular(X: torch.Tensor, floor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Left singular vectors [d, r] of X [d, k] and squared singular values [r] above ``floor``, falling.

    From the smaller of the two Gram matrices: a third of the time of an SVD. What squaring loses
    lies below 1e-16 of the largest square, far under the noise of float32 embeddings.
    """
    d, k = X.shape
    s2, Q = torch.linalg.eigh(X.T @ X if k < d else X @ X.T)
    keep = s2.flip(0) > floor
    s2, Q = s2.flip(0)[keep], Q.flip(1)[:, keep]
    return (X @ Q / s2.sqrt() if k < d else Q), s2


class ConsistentSolver:
    """`consistent` for many lam and mu on the same names: one factorisation, then m x m solves.

    In the paper's columns, M_r = I + mu T_r T_r^T and, by Woodbury,
    R = lam M^{-1} T_f = M_r^{-1} T_f (I / lam + T_f^T M_r^{-1} T_f)^{-1}. The first mu is a Cholesky
    solve with M_r, or, for k < d names, with I + mu T_r^T T_r. Another mu diagonalises once,
    T_r T_r^T = V diag(s^2) V^T, and M_r^{-1} x = x - V diag(mu s^2 / (1 + mu s^2)) V^T x from then on.

    Parameters
    ----------
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.
    """

    def __init__(self, T_f: ArrayLike, T_r: ArrayLike) -> None:
        forget = _check.rows("T_f", T_f, nonzero=True)
        retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).to(forget.device)
        self.T_f, self.T_r = forget.double().T, retain.double().T  # columns, as the paper writes them
        self._first: tuple[float, torch.Tensor] | None = None

    @property
    def dim(self) -> int:
        """d, the dimension of the embedding space."""
        return self.T_f.shape[0]

    @cached_property
    def _spectrum(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """V [d, r], s^2 [r, 1] and V^T T_f [r, m]."""
        noise = max(self.T_r.shape) * torch.finfo(torch.float64).eps
        V, s2 = _left_singular(self.T_r, noise * float(self.T_r.square().sum()))
        return V, s2[:, None], V.T @ self.T_f

    @cached_property
    def retain_components(self) -> torch.Tensor:
        """Principal components [d, min(k, d)] of the centred retain embeddings, signs fixed."""
        centred = self.T_r - self.T_r.mean(1, keepdim=True)
        # float32's relative noise on the singular values; the absolute one is for equal names
        noise = max(centred.shape) * torch.finfo(torch.float32).eps
        V, s2 = _left_singular(centred, noise**4)
        return fix_signs(V[:, s2 > noise**2 * s2[:1].amax()] if len(s2) else V)

    def _inverse_T_f(self, mu: float) -> torch.Tensor:
        """M_r^{-1} T_f [d, m]."""
        if self._first is None:
            d, k = self.T_r.shape
            gram = self.T_r.T @ self.T_r if k < d else self.T_r @ self.T_r.T
            factor = torch.linalg.cholesky(torch.eye(len(gram)).to(gram) + mu * gram)
            if k < d:
                inverse = self.T_f - mu * self.T_r @ torch.cholesky_solve(self.T_r.T @ self.T_f, factor)
            else:
                inverse = torch.cholesky_solve(self.T_f, factor)
            self._first = mu, inverse
        if self._first[0] == mu:
            return self._first[1]
        V, s2, VtT_f = self._spectrum
        return self.T_f - V @ (mu * s2 / (1 + mu * s2) * VtT_f)

    def right(self, lam: float, mu: float) -> torch.Tensor:
        """R = lam (I + lam T_f T_f^T + mu T_r T_r^T)^{-1} T_f, [d, m]; ``lam`` may be infinite."""
        inverse_T_f = self._inverse_T_f(mu)
        gram = self.T_f.T @ inverse_T_f
        gram = (gram + gram.T) / 2
        if math.isinf(lam):
            # parallel names leave the Gram matrix singular; its eigenvalues are squared singular values
            rtol = (max(self.T_f.shape) * torch.finfo(torch.float32).eps) ** 2
            return inverse_T_f @ torch.linalg.pinv(gram, rtol=rtol, hermitian=True)
        eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return lam * torch.linalg.solve(eye + lam * gram, inverse_T_f, left=False)

    def anchors(
        self, anchor: str | ArrayLike | None, components: int | str = 3, margin: float = MARGIN
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Targets A [d, m], what each forgotten name becomes, and how to name them (see `consistent`)."""
        if anchor is None:
            return torch.zeros_like(self.T_f), {"anchor": "origin"}
        if isinstance(anchor, str):
            _check.one_of("anchor", anchor, ["mean", "coarse"])
            mean = self.T_r.mean(1, keepdim=True)
            if anchor == "mean":
                return mean.expand_as(self.T_f), {"anchor": "mean"}
            return self._coarse(mean, components, margin)
        given = _check.rows("anchor", anchor, self.dim).to(self.T_f).T
        if given.shape[1] not in (1, self.T_f.shape[1]):
            raise ValueError(
                f"anchor: got {given.shape[1]} embeddings, want 1 or one for each of the "
                f"{self.T_f.shape[1]} forgotten rows"
            )
        return given.expand_as(self.T_f), {"anchor": "given"}

    def _coarse(
        self, mean: torch.Tensor, components: int | str, margin: float
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        V, own = self.retain_components, self.T_f - mean
        if components == "auto":
            margin = _check.number("margin", margin, 0.0, 2.0)
            # a stand-in for the class's images: its own centred direction, read by every name
            reader = F.normalize(own, dim=0)
            best_retained = (self.T_r.T @ reader).amax(0)
            coordinates = V.T @ own
            # own score of the anchor with p components, for p = 0, 1, ...: it grows with p
            own_score = (mean * reader).sum(0) + torch.cumsum(coordinates * (V.T @ reader), 0)
            kept = own_score <= best_retained - margin
            coordinates = coordinates * kept
            counts = kept.sum(0).tolist()
            return mean + V @ coordinates, {
                "anchor": "coarse",
                "components": "auto",
                "margin": margin,
                "components_used": counts,
            }
        whole = isinstance(components, numbers.Integral) and not isinstance(components, bool)
        if not whole or not 0 <= int(components) <= self.dim:
            raise ValueError(
                f"components: got {components!r}, want 'auto' or a whole number from 0 to {self.dim}"
            )
        p = int(components)
        V = V[:, :p]
        return mean + V @ (V.T @ own), {"anchor": "coarse", "components": p}

    def edit(
        self,
        lam: float | None = None,
        mu: float | None = None,
        anchor: str | ArrayLike | None = None,
        components: int | str = 3,
        margin: float = MARGIN,
        dtype: torch.dtype = torch.float32,
    ) -> Edit:
        """The `Edit` for these dials; arguments as in `consistent`."""
        lam = _check.number(
            "lam", (CCUP[0] if anchor is None else ANCHORED[0]) if lam is None else lam, 0.0, allow_inf=True
        )
        mu = _check.number("mu", (CCUP[1] if anchor is None else ANCHORED[1]) if mu is None else mu, 0.0)
        A, how = self.anchors(anchor, components, margin)
        info = {"method": "ccup" if anchor is None else "anchored", "lam": lam, "mu": mu, **how}
        return Edit((self.T_f - A).to(dtype), self.right(lam, mu).to(dtype), info)


def consistent(
    T_f: ArrayLike,
    T_r: ArrayLike,
    lam: float | None = None,
    mu: float | None = None,
    anchor: str | ArrayLike | None = None,
    components: int | str = 3,
    margin: float = MARGIN,
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """Forget some names while keeping others in place: CCUP, and its anchored variants.

    W minimises ||W - I||^2 + lam ||W T_f - A||^2 + mu ||W T_r - T_r||^2 (Frobenius; names in
    columns). With M = I + lam T_f T_f^T + mu T_r T_r^T: W = I - L R^T, L = T_f - A,
    R = lam M^{-1} T_f.

    Parameters
    ----------
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain, unit rows.
    lam : float >= 0
        Pull of the forgotten names to their anchors; ``math.inf`` makes it exact. Default 30
        for CCUP, 1000 with an anchor.
    mu : float >= 0
        Pull of the retained names to where they are. Default 30 for CCUP, 300 with an anchor.
    anchor : None, "mean", "coarse", array [d] or [m, d]
        A, what a forgotten name becomes. ``None``: the origin (CCUP). ``"mean"``: the mean of
        ``T_r``, not re-normalised, where an unknown object would lie. ``"coarse"``: that mean
        plus the name's part along the first ``components`` principal components of ``T_r``.
        An embedding: what it should be taken for.
    components : int or "auto"
        p of ``"coarse"``; 0 is ``"mean"``. ``"auto"`` takes, name by name, the largest p for
        which the name still loses by ``margin``.
    margin : float in [0, 2], cosine
        For ``components="auto"``: the anchor's score along the name's own centred direction
        stays this far below that of the best retained name.
    dtype : torch.dtype
        What the factors are stored in; they are computed in float64.

    Returns
    -------
    Edit

    Raises
    ------
    ValueError
        Bad arrays or dimensions, negative ``lam`` or ``mu``, an unknown anchor, ``components``
        out of range.

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
    return ConsistentSolver(T_f, T_r).edit(lam, mu, anchor, components, margin, dtype)


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


#: name -> what it is, in the order tables show them
METHODS: dict[str, str] = {
    "nullspace": "project the names' span out, α = 1",
    "partial": "the same at α = 0.5",
    "ccup": "CCUP, λ = μ = 30",
    "anchored": "anchored at the mean, λ = 1000, μ = 300",
    "coarse": "anchored at the coarse self, p = 3",
    "random": "control: a random subspace of the same rank",
}


def build(method: str, T_f: ArrayLike, T_r: ArrayLike, seed: int = 0) -> Edit:
    """One of `METHODS` with its default parameters.

    Parameters
    ----------
    method : str
        A key of `METHODS`.
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.
    seed : int
        For ``"random"`` alone.

    Raises
    ------
    ValueError
        Unknown method.
    """
    _check.one_of("method", method, METHODS)
    if method in ("nullspace", "partial"):
        return nullspace(T_f, strength=1.0 if method == "nullspace" else 0.5)
    if method == "random":
        U = orthonormal_basis(T_f)
        return random_subspace(U.shape[0], U.shape[1], seed)
    return consistent(T_f, T_r, anchor={"ccup": None, "anchored": "mean", "coarse": "coarse"}[method])
