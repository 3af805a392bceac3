"""Does the model know that it does not know? Entropy, calibration, conformal sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.cases import Eraser, both_kinds, control, edited, images
from clipnull.auditing.report import Measurement, NotMeasured
from clipnull.evaluation import Case

__all__ = [
    "Bins",
    "Calibration",
    "Confidence",
    "ConformalSets",
    "calibration_error",
    "confidence",
    "conformal_sets",
    "entropy",
    "probabilities",
]

#: conformal sets of `confidence` are to miss the true class of this share of images, at most
ALPHA = 0.1
AGAINST, SOURCE = "a random subspace of the same rank", "2501.19403"


def probabilities(Z: ArrayLike, T: ArrayLike, scale: float = 100.0) -> torch.Tensor:
    """What a CLIP says: softmax(scale * cosines) [n, C], of ``Z [n, d]`` with ``T [C, d]``.

    ``scale`` is the model's ``logit_scale``.
    """
    Z = _check.rows("Z", Z)
    T = _check.rows("T", T, Z.shape[1], nonzero=True).to(Z)
    return (scale * F.normalize(Z, dim=1) @ F.normalize(T, dim=1).T).softmax(1)


def entropy(p: ArrayLike) -> torch.Tensor:
    """Entropy [n] of each row of ``p [n, C]``, in bits.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    p = _check.rows("p", p)
    return torch.special.entr(p).sum(1) / math.log(2) + 0.0


class Bins(NamedTuple):
    """Images by top-1 confidence, each [bins]: their number, mean confidence and accuracy (0 of none)."""

    images: torch.Tensor
    confidence: torch.Tensor
    accuracy: torch.Tensor


def calibration_error(p: ArrayLike, labels: ArrayLike, bins: int = 10) -> tuple[float, Bins]:
    """Expected calibration error: how far confidence is from accuracy.

    Parameters
    ----------
    p : array [n, C]
        Probabilities.
    labels : array of int [n]
    bins : int
        Of equal width over the top-1 confidence, (0, 1/bins], …, (1 - 1/bins, 1].

    Returns
    -------
    ece : float
        sum_b n_b / n |accuracy_b - confidence_b|, a fraction.
    table : Bins

    Examples
    --------
    >>> calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1])[0]
    0.0
    """
    p = _check.rows("p", p).double()
    y = _check.labels("labels", labels, len(p), p.shape[1])
    bins = _check.whole("bins", bins, 1)
    top, predicted = p.max(1)
    which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(which, minlength=bins)
    sums = [torch.bincount(which, x, bins) for x in (top, (predicted == y).double())]
    conf, accuracy = (s / count.clamp_min(1) for s in sums)
    return float((count * (accuracy - conf).abs()).sum() / len(p)), Bins(count, conf, accuracy)


def conformal_sets(
    p: ArrayLike, calibration: ArrayLike, labels: ArrayLike, alpha: float = ALPHA
) -> torch.Tensor:
    """Split-conformal prediction sets.

    Parameters
    ----------
    p : array [n, C]
        Probabilities of the images to give sets for.
    calibration, labels : array [m, C], array of int [m]
        Probabilities and true classes of the calibration images.
    alpha : float in (0, 1)

    Returns
    -------
    torch.Tensor [n, C], bool
        The classes whose probability is at least 1 - q, q the ceil((m + 1)(1 - alpha))-th smallest
        of the calibration scores 1 - p[true class]; every class when m is too small for that. A set
        holds the true class with probability at least 1 - alpha if its image is exchangeable with
        the calibration images.

    References
    ----------
    Conformal sets as a test of forgetting: arXiv 2501.19403. Score and split are the textbook's.
    """
    cal = _check.rows("calibration", calibration).double()
    p = _check.rows("p", p, cal.shape[1]).double()
    y = _check.labels("labels", labels, len(cal), cal.shape[1])
    if not 0 < (alpha := _check.number("alpha", alpha, 0, 1)) < 1:
        raise ValueError(f"alpha: got {alpha}, want a number between 0 and 1")
    scores = (1 - cal[torch.arange(len(cal)), y]).sort().values
    rank = math.ceil((len(cal) + 1) * (1 - alpha))
    q = float(scores[rank - 1]) if rank <= len(cal) else math.inf
    return 1 - p <= q


@dataclass(frozen=True)
class ConformalSets(Measurement):
    """How many forgotten images have their class in the conformal set.

    ``coverage`` and ``size`` are before, after and control on retained images that were not calibrated
    on: share of the sets that hold the true class, and their mean number of classes.
    """

    coverage: tuple[float, ...] = ()
    size: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration(Measurement):
    """Calibration error, and the bins behind it before and after the edit."""

    bins_before: Bins | None = None
    bins_after: Bins | None = None


class Confidence(NamedTuple):
    """Entropy (bits) and top-1 confidence of forgotten images, conformal sets, calibration of the others."""

    entropy: Measurement
    top: Measurement
    sets: ConformalSets
    calibration: Calibration


def confidence(case: Case, edit: Eraser, scale: float = 100.0, seed: int = 0) -> Confidence:
    """What the model says on forgotten images, and whether its confidence on the others still fits.

    Parameters
    ----------
    case : Case
    edit : Edit or callable
    scale : float
        The model's ``logit_scale``.
    seed : int
        Which half of the retained images conformal sets are calibrated on, each model on its own
        probabilities; and the control.

    Returns
    -------
    Confidence
        Four measurements; control: a random subspace of the same rank.

    Raises
    ------
    ValueError
        No image of a forgotten class, or fewer than two of retained ones; an edit of another dimension.
    """
    Z = images(both_kinds(case))
    if int((~case.gone).sum()) < 2:
        raise NotMeasured("labels: fewer than 2 images of retained classes: one to calibrate on, one to test")
    edits = (Z, edited(Z, edit), edited(Z, control(case, edit, seed)))
    P = [probabilities(X, case.T, scale) for X in edits]
    gone, y = case.gone, case.labels
    b, a, c = (float(entropy(p[gone]).mean()) for p in P)
    more = "less sure" if a > b else "no less sure"
    blind = math.log2(len(case.T))
    said = f"On forgotten images the model is {more} than before; a blind guess has {blind:.2f} bits."
    first = Measurement("entropy, forgotten", b, a, c, AGAINST, said, SOURCE, "bits")
    b, a, c = (float(p[gone].amax(1).mean()) for p in P)
    wrong = _show.percent(_check.share((P[1].argmax(1) != y)[gone]))
    said = (
        f"{wrong} of the forgotten images get a wrong name, said with {_show.percent(a)} confidence "
        "on average."
    )
    second = Measurement("top-1 confidence, forgotten", b, a, c, AGAINST, said, SOURCE)
    return Confidence(first, second, _sets(case, P, seed), _calibration(case, P))


def _sets(case: Case, P: Sequence[torch.Tensor], seed: int) -> ConformalSets:
    y, others = case.labels, (~case.gone).nonzero()[:, 0]
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    cal, rest = order[: len(order) // 2], order[len(order) // 2 :]
    sets = [conformal_sets(p, p[cal], y[cal]) for p in P]
    hit = [s[torch.arange(len(y)), y] for s in sets]
    b, a, c = (_check.share(h[case.gone]) for h in hit)
    coverage = tuple(_check.share(h[rest]) for h in hit)
    size = tuple(float(s[rest].double().sum(1).mean()) for s in sets)
    kept = "hidden from the first place, not from the set."
    said = (
        f"The sets hold the true class of {_show.percent(coverage[1])} of the retained images "
        f"({_show.percent(1 - ALPHA)} wanted), and of {_show.percent(a)} of the forgotten ones: "
        + ("out of the set as well." if a == 0 else "most are out of the set." if a < 0.5 * b else kept)
    )
    name = "true class in conformal set"
    return ConformalSets(name, b, a, c, AGAINST, said, SOURCE, coverage=coverage, size=size)


def _calibration(case: Case, P: Sequence[torch.Tensor]) -> Calibration:
    y, gone = case.labels, case.gone
    tables = [calibration_error(p[~gone], y[~gone]) for p in P]
    (b, before), (a, after), (c, _) = tables
    said = (
        f"On retained images confidence and accuracy are {100 * a:.1f} points apart, "
        f"{100 * (a - b):+.1f} by the edit."
    )
    name = "calibration error, retained"
    return Calibration(name, b, a, c, AGAINST, said, bins_before=before, bins_after=after)
