"""How soon does a few-shot training bring the class back?"""

import math
from collections.abc import Mapping
from statistics import fmean, median
from typing import NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.edit import Edit

__all__ = ["Relearning", "relearning"]

#: recall that counts as back, most steps, images of other classes that are looked at meanwhile
GOAL, STEPS, OTHERS = 0.8, 40, 200


class Relearning(NamedTuple):
    """Median steps until a class is back, share that came back; recall when held out, accuracy on others."""

    arm: str
    steps: float
    back: float
    recall_start: float
    recall_end: float
    retain_start: float
    retain_end: float


@_check.by_name
def relearning(
    H: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike,
    T: ArrayLike,
    edits: Mapping[int, Edit],
    shots: int,
    made_up: ArrayLike,
    step: float = 0.005,
    seed: int = 0,
) -> list[Relearning]:
    """Bring classes back, one by one, by at most 40 gradient steps on the last layer, until recall is 80%.

    ``H [n, w]`` are features in front of the un-edited layer ``weight [w, d]``; ``edits`` maps a class to
    the edit that forgot it. ``shots`` images of one half of it train, the other half measures. A step is
    ``step`` norms of the weight long. Arms: "edited", "original", and "new name", the original under a word
    of ``made_up [q, d]``, which are cycled through.
    """
    H, T = _check.rows("H", H).float(), _check.rows("T", T, nonzero=True).float()
    P = _check.rows("weight", weight, T.shape[1]).to(H)
    if len(P) != H.shape[1]:
        raise ValueError(f"weight: got {len(P)} rows, want {H.shape[1]}, one per feature of H")
    y = _check.labels("labels", labels, len(H), len(T))
    targets = _check.class_indices("edits", list(edits), len(T))
    words = _check.rows("made_up", made_up, T.shape[1]).to(T)
    rows = []
    for arm in ("edited", "original", "new name"):
        runs = []
        for i, c in enumerate(targets):
            names = T.clone()
            if arm == "new name":
                names[c] = words[i % len(words)]
            layer = edits[c].apply_image(P) if arm == "edited" else P
            runs.append(_train(H, y, layer, names, c, shots, step * float(P.norm()), seed + i))
        steps, *ends = zip(*runs, strict=True)
        rows.append(Relearning(arm, median(steps), fmean(map(math.isfinite, steps)), *map(fmean, ends)))
    return rows


def _train(
    H: torch.Tensor, y: torch.Tensor, P: torch.Tensor, T: torch.Tensor, c: int, k: int, step: float, seed: int
) -> tuple[float, ...]:
    g = torch.Generator().manual_seed(seed)
    both = [i.nonzero()[:, 0] for i in (y == c, y != c)]
    own, rest = (i[torch.randperm(len(i), generator=g)] for i in both)
    half = len(own) // 2
    if not 1 <= k <= half:
        raise ValueError(f"shots: got {k}, want 1 to {half}, half of the {len(own)} images of class {c}")
    if not len(rest):
        raise ValueError("labels: every image is of the class to bring back, want others to measure on")
    train, test, rest = own[:k], own[half:], rest[:OTHERS]
    seen = []
    for i in range(STEPS + 1):
        seen.append([_check.share((H[rows] @ P @ T.T).argmax(1) == y[rows]) for rows in (test, rest)])
        if seen[-1][0] >= GOAL or i == STEPS:
            break
        P = P.detach().requires_grad_()
        loss = F.cross_entropy(100 * F.normalize(H[train] @ P, dim=1) @ T.T, y[train])
        (slope,) = torch.autograd.grad(loss, P)
        P = P.detach() - step * F.normalize(slope.flatten(), dim=0).view_as(P)
    (recall, retain), (recall_end, retain_end) = seen[0], seen[-1]
    return (len(seen) - 1.0 if recall_end >= GOAL else math.inf), recall, recall_end, retain, retain_end
