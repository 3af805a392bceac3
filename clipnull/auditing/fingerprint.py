"""Can the forgotten class be read off the weights?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = ["Fingerprint", "fingerprint"]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What two last layers give away: ``rank`` of the ``singular_values`` [min(w, d)] are above ``noise``.

    ``left`` and ``right`` [d, rank] are bases of the spans of L and R, ``scores`` [C] the share of each name,
    or of it less the mean name, in that of L.
    """

    rank: int
    singular_values: torch.Tensor
    noise: float
    left: torch.Tensor
    right: torch.Tensor
    scores: torch.Tensor
    names: list[str]

    def ranking(self) -> list[str]:
        """Names by falling score; empty when nothing was edited."""
        order = self.scores.argsort(descending=True, stable=True).tolist()
        return [self.names[i] for i in order] if self.rank else []

    def place(self, name: str) -> int:
        """Where ``name`` comes in the ranking, from 1; the number of names when nothing was edited."""
        (i,) = _check.class_indices("name", [name], len(self.names), self.names)
        return int((self.scores > self.scores[i]).sum()) + 1 if self.rank else len(self.names)


def fingerprint(
    before: ArrayLike, after: ArrayLike, vocabulary: ArrayLike, names: Sequence[str] | None = None
) -> Fingerprint:
    """Read rank, directions and the forgotten name off the last layers [w, d] of two models, z = h P.

    ``vocabulary`` [C, d] are the names that may have been forgotten. After an image-side edit W = I - L R^T
    the second layer is Q = P W. P - Q = P L R^T: its row space is the span of R, and P^+ (P - Q) = L R^T
    gives that of L (of its part in the row space of P, if w < d). Each weight is rounded by at most half of
    the machine epsilon relative to itself: no singular value above eps / 2 (||P||_F + ||Q||_F). Four times
    that, and what the SVD may err by, is the threshold. Ours; that weights tell a class: arXiv 2604.07386.

    >>> import torch
    >>> from clipnull import nullspace
    >>> P, names = torch.eye(3), torch.eye(3)
    >>> found = fingerprint(P, P @ nullspace(names[1]).matrix(), names, ["cat", "dog", "owl"])
    >>> found.rank, found.ranking()[0]
    (1, 'dog')
    """
    P, Q = _check.rows("before", before), _check.rows("after", after)
    if P.shape != Q.shape:
        raise ValueError(f"after: got shape {tuple(Q.shape)}, want {tuple(P.shape)} like before")
    T = _check.rows("vocabulary", vocabulary, P.shape[1], nonzero=True).double()
    names = _check.names("names", range(len(T)) if names is None else names, len(T))
    eps = max(torch.finfo(t).eps for t in (P.dtype, Q.dtype))
    before, after = P.double(), Q.double()
    U, s, Vt = torch.linalg.svd(before - after, full_matrices=False)
    svd = max(P.shape) * torch.finfo(s.dtype).eps * float(s[0])
    noise = 2 * eps * float(before.norm() + after.norm()) + svd
    rank = int((s > noise).sum())
    inverse = torch.linalg.pinv(before, atol=2 * torch.finfo(P.dtype).eps * before.norm())
    left, right = torch.linalg.qr(inverse @ U[:, :rank]).Q, Vt[:rank].T
    own, less_mean = ((F.normalize(X, dim=1) @ left).norm(dim=1) for X in (T, T - T.mean(0)))
    return Fingerprint(rank, s, noise, left, right, torch.maximum(own, less_mean), names)
