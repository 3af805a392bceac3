"""How soon does a few-shot training bring the class back?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.edit import Edit

__all__ = ["ARMS", "Arm", "Relearned", "Relearning", "relearn", "relearning"]

#: who learns in `relearning`: the edited layer, the class by its name; the same on the layer before the edit;
#: there, the class by a name that it never had; pictures of all other classes mixed under such a name
Arm = Literal["edited", "un-edited", "new name", "no class"]
ARMS: tuple[Arm, ...] = get_args(Arm)


@dataclass(frozen=True)
class Relearned:
    """A short training of the last layer with ``shots`` images of a class.

    ``recall`` of the class on images it was not trained with, and accuracy on the other classes'
    images (``retain``), after 0, 1, 2, ... steps; recall of ``goal`` counts as back. Fractions.
    """

    shots: int
    goal: float
    recall: list[float] = field(default_factory=list)
    retain: list[float] = field(default_factory=list)

    @property
    def steps(self) -> int | None:
        """Steps until recall reached the goal; None if it did not."""
        return next((i for i, r in enumerate(self.recall) if r >= self.goal), None)


def relearn(
    H: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike,
    T: ArrayLike,
    target: int,
    shots: int = 4,
    *,
    goal: float = 0.8,
    max_steps: int = 40,
    step: float = 0.005,
    norm: float | None = None,
    scale: float = 100.0,
    others: int = 200,
    seed: int = 0,
) -> Relearned:
    """Bring a class back by a few gradient steps on the last layer, with k of its images.

    The attacker has ``shots`` labelled images of the class and nothing else, and follows the
    gradient of the zero-shot cross-entropy over all the names, in steps of equal length.

    Parameters
    ----------
    H : array [n, w]
        Features before the projection.
    labels : array of int [n]
    weight : array [w, d]
        The layer to start from, edited or not; z = h P.
    T : array [C, d]
        Text embeddings of the names.
    target : int
        The class to bring back.
    shots : int
        k, taken from one half of the images of the class; recall is measured on the other half.
    goal : float
        Recall (fraction) at which the training stops.
    max_steps : int
    step : float
        Length of a step, as a share of ``norm``.
    norm : float, optional
        Default: the Frobenius norm of ``weight``. To compare an edited layer with an un-edited one, give
        that of the un-edited one to both: an oblique edit enlarges the layer, and with it the steps.
    scale : float
        What cosines are multiplied by to make logits.
    others : int
        Images of other classes, taken at random, on which the accuracy is measured meanwhile.
    seed : int
        Which images.

    Returns
    -------
    Relearned

    Raises
    ------
    ValueError
        Bad arrays, an unknown class, fewer than 2 k images of it, or no image of another class.

    References
    ----------
    Ours; that a few samples bring a class back: arXiv 2506.01318.
    """
    H = _check.rows("H", H).float()
    P = _check.rows("weight", weight).to(H)
    if P.shape[0] != H.shape[1]:
        raise ValueError(f"weight: got {P.shape[0]} rows, want {H.shape[1]}, one per feature of H")
    T = _check.rows("T", T, P.shape[1], nonzero=True).to(H)
    y = _check.labels("labels", labels, len(H), len(T)).to(H.device)
    (target,) = _check.class_indices("target", target, len(T))
    generator = torch.Generator().manual_seed(seed)
    own, rest = (_shuffled(mask, generator) for mask in (y == target, y != target))
    half = len(own) // 2
    if not 1 <= shots <= half:
        raise ValueError(
            f"shots: got {shots}, want 1 to {half}, half of the {len(own)} images of class {target}"
        )
    if len(rest) == 0:
        raise ValueError("labels: every image is of the class to bring back, want others to measure on")
    train, test, rest = own[:shots], own[half:], rest[:others]
    length = _check.number("step", step, 0.0, 1.0) * (float(P.norm()) if norm is None else norm)
    result, wanted = Relearned(shots, goal), y[train]
    for i in range(max_steps + 1):
        for rows, curve in ((test, result.recall), (rest, result.retain)):
            curve.append(float(((H[rows] @ P @ T.T).argmax(1) == y[rows]).double().mean()))
        if result.recall[-1] >= goal or i == max_steps:
            break
        P = P.detach().requires_grad_()
        loss = F.cross_entropy(scale * F.normalize(H[train] @ P, dim=1) @ T.T, wanted)
        (slope,) = torch.autograd.grad(loss, P)
        P = P.detach() - length * F.normalize(slope.flatten(), dim=0).view_as(P)
    return result


def _shuffled(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Positions of a mask in random order."""
    index = mask.nonzero()[:, 0]
    return index[torch.randperm(len(index), generator=generator).to(index.device)]


class Relearning(NamedTuple):
    """`relearn` with k shots in one arm: medians and means over classes.

    ``steps`` is infinite when most classes did not come back, ``back`` the fraction that did; recall
    and accuracy on the others before and after the training are fractions.
    """

    arm: Arm
    shots: int
    steps: float
    back: float
    recall_start: float
    recall_end: float
    retain_start: float
    retain_end: float


def relearning(
    H: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike,
    T: ArrayLike,
    edits: Mapping[int, Edit],
    shots: Sequence[int] = (1, 2, 4, 8),
    *,
    made_up: ArrayLike | None = None,
    arms: Sequence[Arm] = ARMS,
    seed: int = 0,
    **options: Any,
) -> list[Relearning]:
    """`relearn` against its controls: the un-edited layer, a new name, and no class at all.

    Parameters
    ----------
    H, labels, weight, T
        As in `relearn`; ``weight`` is that of the un-edited model.
    edits : mapping of int to Edit
        Class to bring back -> the image-side edit that forgot it.
    shots : sequence of int
    made_up : array [k, d], optional
        Embeddings of made-up words: the names of the arms "new name" and "no class", cycled
        through. Default: random directions, at the angle to the mean name that names have.
    arms : sequence of str
        Of `ARMS`.
    seed : int
    **options
        Of `relearn`. All arms take steps of the same length, a share of the norm of ``weight``.

    Returns
    -------
    list of Relearning
        One per arm and k.

    Raises
    ------
    ValueError
        As `relearn`; no edits; an unknown arm.
    """
    H, T = _check.rows("H", H), _check.rows("T", T, nonzero=True)
    P = _check.rows("weight", weight, T.shape[1])
    y = _check.labels("labels", labels, len(H), len(T))
    targets = _check.class_indices("edits", list(edits), len(T))
    if made_up is None:
        words = _made_up(T, len(targets), seed)
    else:
        words = _check.rows("made_up", made_up, T.shape[1]).to(T)
    options.setdefault("norm", float(P.norm()))
    rows = []
    for arm in arms:
        _check.one_of("arm", arm, ARMS)
        for k in shots:
            runs = []
            for i, c in enumerate(targets):
                layer = edits[c].apply_image(P) if arm == "edited" else P
                X, classes = _no_class(H, y, c, seed + i) if arm == "no class" else (H, y)
                names = T.clone()
                if arm in ("new name", "no class"):
                    names[c] = words[i % len(words)]
                runs.append(relearn(X, classes, layer, names, c, k, seed=seed + i, **options))
            steps = [math.inf if r.steps is None else r.steps for r in runs]
            curves = [[getattr(r, name) for r in runs] for name in ("recall", "retain")]
            ends = [sum(c[at] for c in curve) / len(curve) for curve in curves for at in (0, -1)]
            rows.append(Relearning(arm, k, median(steps), sum(map(math.isfinite, steps)) / len(steps), *ends))
    return rows


def _made_up(T: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    """Random unit rows [n, d] with the cosine to the mean name that names have on average."""
    mean = F.normalize(T.mean(0), dim=0)
    cosine = float((F.normalize(T, dim=1) @ mean).mean())
    u = torch.randn(n, T.shape[1], generator=torch.Generator().manual_seed(seed)).to(T)
    across = F.normalize(u - (u @ mean)[:, None] * mean, dim=1)
    return cosine * mean + math.sqrt(max(0.0, 1 - cosine**2)) * across


def _no_class(H: torch.Tensor, y: torch.Tensor, c: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels without class c, its label given to as many random images of the others."""
    keep = y != c
    X, labels = H[keep], y[keep].clone()
    generator = torch.Generator().manual_seed(seed)
    labels[torch.randperm(len(labels), generator=generator)[: int((~keep).sum())]] = c
    return X, labels
