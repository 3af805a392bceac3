"""What scores say: who wins, n-way recall, search. Plain functions of score matrices.

A win is a lead of more than `TIE` of the scores' size, the largest |score| over all names and images
before any edit: after one that projects every name out, what is left is rounding.
Within it the kept name wins, so that neither rounding nor a processor decides between scores that are
equal in exact arithmetic, such as those of names that were projected out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = ["N_WAYS", "TIE", "region_shares"]

#: a lead of less than this part of the scores' size is a tie
TIE = 1e-5
#: the n of n-way recall that tables show; "all" is against every kept name
N_WAYS: tuple[int | Literal["all"], ...] = (2, 5, 10, 50, "all")


def argmax(scores: torch.Tensor, guess: torch.Tensor | None = None) -> torch.Tensor:
    """Index [n] of the first largest entry of each row of ``scores [n, C]``.

    With a ``guess`` [n] only the largest entries are found, which is faster; their places where it fails.
    """
    if guess is not None:
        lost = (scores.gather(1, guess[:, None])[:, 0] != scores.amax(1)).nonzero()[:, 0]
        return guess.index_copy(0, lost, argmax(scores[lost]))
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(scores.numpy().argmax(1))  # several times faster than torch's
    return scores.argmax(1)


def winners(
    scores: torch.Tensor, forget: Sequence[int], size: float, guess: torch.Tensor | None = None
) -> torch.Tensor:
    """Predicted classes [n] of ``scores [n, C]`` of that ``size``; of several forgotten ones, the first.

    A ``guess`` [n], such as those before the edit, makes it faster.
    """
    best = argmax(scores, guess)
    if not 0 < len(forget) < scores.shape[1]:
        return best
    gone = torch.tensor(list(forget), device=scores.device)
    ahead = torch.isin(best, gone).nonzero()[:, 0]  # only there can a forgotten name win
    if not len(ahead):
        return best
    rows = scores[ahead]
    own, rest = rows[:, gone], rows.index_fill_(1, gone, -torch.inf)
    kept, top, tie = argmax(rest), own.amax(1), TIE * size
    first = (own >= (top - tie)[:, None]).byte().argmax(1)
    best[ahead] = torch.where(top - rest.gather(1, kept[:, None])[:, 0] > tie, gone[first], kept)
    return best


def n_way_recall(rivals: torch.Tensor, kept: int, n: int | Literal["all"]) -> torch.Tensor:
    """Chance [g] that a picture's own name wins against n - 1 kept names drawn at random, per picture.

    The exact mean over all draws: of the C(kept, n - 1) lists, those without a rival. ``rivals`` [g] counts
    the kept names that the picture's own name does not beat, of ``kept`` in all; "all" is n = kept + 1.

    n-way identification is the standard measure of decoding work, e.g. arXiv 2308.13234; turned on
    forgetting, and its mean over all lists, are ours.
    """
    drawn = kept if n == "all" else n - 1
    table = [math.comb(kept - q, drawn) / math.comb(kept, drawn) for q in range(kept + 1)]
    return torch.tensor(table, dtype=torch.float64)[rivals.cpu()]


def search_auc(scores: torch.Tensor, own: torch.Tensor, size: float) -> float:
    """AUC of a query: the chance that one of its own pictures ranks above another one; 0.5 is chance.

    ``scores`` [n] are of every picture, ``own`` [n] says which are the query's, ``size`` is the largest
    |score| of all names and pictures: pictures nearer than `TIE` of it tie and count half. NaN without
    pictures on one of the sides.
    """
    mine, rest = scores[own].double().cpu().numpy(), np.sort(scores[~own].double().cpu().numpy())
    if not len(mine) or not len(rest):
        return math.nan
    tie = TIE * size
    below, upto = np.searchsorted(rest, mine - tie, "left"), np.searchsorted(rest, mine + tie, "right")
    return float((below + upto).mean() / (2 * len(rest)))


def region_shares(T: ArrayLike, forget: Sequence[int] = ()) -> torch.Tensor:
    """Of all images there are in two or three dimensions, the share [C] that each name wins, float64.

    For names ``T`` [C, 2 or 3] after the edit, of unit length before it; the tie rule goes against the rows
    that were forgotten. Measured on unit vectors evenly spread over circle or sphere.
    """
    names = _check.rows("T", T).double()
    if names.shape[1] not in (2, 3):
        raise ValueError(f"T: got {names.shape[1]} dimensions, want 2 or 3")
    if not isinstance(forget, Sequence) or len(forget):
        forget = _check.class_indices("forget", forget, len(names))
    n = 20_000
    i = torch.arange(n, dtype=torch.float64) + 0.5
    if names.shape[1] == 2:
        Z = torch.stack([torch.cos(2 * math.pi * i / n), torch.sin(2 * math.pi * i / n)], 1)
    else:  # a spiral that turns by the golden angle
        high, turn = 1 - 2 * i / n, math.pi * (3 - math.sqrt(5)) * i
        flat = (1 - high * high).sqrt()
        Z = torch.stack([flat * torch.cos(turn), flat * torch.sin(turn), high], 1)
    return torch.bincount(winners(Z @ names.T, forget, 1.0), minlength=len(names)).double() / n
