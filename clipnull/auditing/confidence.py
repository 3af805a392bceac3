"""Does the model know that it does not know? Entropy, calibration, conformal sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.cases import both_kinds, control
from clipnull.auditing.controls import SUBSPACE
from clipnull.auditing.report import Measurement, NotMeasured
from clipnull.edit import Edit
from clipnull.evaluation import Case

__all__ = ["Bins", "Calibration", "calibration_error", "confidence", "conformal_sets", "fitted_scale"]

#: conformal sets of `confidence` are to miss the true class of this share of images, at most
ALPHA = 0.1
SOURCE = "2501.19403"


class Bins(NamedTuple):
    """Images by top-1 confidence, each [bins]: their number, mean confidence and accuracy (0 of none)."""

    images: torch.Tensor
    confidence: torch.Tensor
    accuracy: torch.Tensor


@dataclass(frozen=True, eq=False)
class Calibration(Measurement):
    """Calibration error, and the bins behind it before and after the edit."""

    bins: tuple[Bins, ...] = ()


def _chances(name: str, p: ArrayLike, classes: int | None = None) -> torch.Tensor:
    p = _check.rows(name, p, classes).double()
    if float(p.min()) < 0 or float((p.sum(1) - 1).abs().max()) > 1e-3:
        raise ValueError(f"{name}: want probabilities, rows of non-negative numbers that add up to 1")
    return p


def calibration_error(p: ArrayLike, labels: ArrayLike, bins: int = 10) -> tuple[float, Bins]:
    """Expected calibration error sum_b n_b / n |accuracy_b - confidence_b|, a fraction, and its bins.

    Of probabilities ``p [n, C]`` and labels [n]; bins of equal width over the top-1 confidence, closed above.

    Examples
    --------
    >>> calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1])[0]
    0.0
    """
    p, bins = _chances("p", p), _check.whole("bins", bins, 1)
    y = _check.labels("labels", labels, len(p), p.shape[1])
    top, predicted = p.max(1)
    which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(which, minlength=bins)
    sums = [torch.bincount(which, x, bins) for x in (top, (predicted == y).double())]
    conf, accuracy = (s / count.clamp_min(1) for s in sums)
    return float((count * (accuracy - conf).abs()).sum() / len(p)), Bins(count, conf, accuracy)


def conformal_sets(
    p: ArrayLike, calibration: ArrayLike, labels: ArrayLike, alpha: float = ALPHA
) -> torch.Tensor:
    """Split-conformal prediction sets [n, C], bool, of images with probabilities ``p [n, C]``.

    A set holds the classes whose 1 - p is at most the ceil((m + 1)(1 - alpha))-th smallest 1 - p[true class]
    of the m calibration images, of probabilities [m, C] and labels [m]; all classes when m is too small.
    Over draws of exchangeable images it holds the true class with probability at least 1 - alpha.
    """
    cal = _chances("calibration", calibration)
    p = _chances("p", p, cal.shape[1])
    y = _check.labels("labels", labels, len(cal), cal.shape[1])
    if not 0 < (alpha := _check.number("alpha", alpha, 0, 1)) < 1:
        raise ValueError(f"alpha: got {alpha}, want a number between 0 and 1")
    scores = (1 - cal[torch.arange(len(cal)), y]).sort().values
    rank = math.ceil((len(cal) + 1) * (1 - alpha))
    return 1 - p <= (float(scores[rank - 1]) if rank <= len(cal) else math.inf)


def fitted_scale(cosines: ArrayLike, labels: ArrayLike) -> float:
    """The scale, 1 / temperature, at which softmax(scale * cosines [n, C]) fits labels [n] best."""
    from scipy.optimize import minimize_scalar

    S = _check.rows("cosines", cosines).double()
    y = _check.labels("labels", labels, len(S), S.shape[1])
    found = minimize_scalar(lambda x: float(F.cross_entropy(math.exp(x) * S, y)), bounds=(-3, 7))
    return math.exp(found.x)


@_check.by_name
def confidence(case: Case, edit: Edit, scale: float = 100.0, seed: int = 0) -> list[Measurement]:
    """What the model says on forgotten images, and whether its confidence on the others still fits.

    ``scale`` is the model's ``logit_scale``. On a random half of the retained images each model's scale is
    refitted and its conformal sets are calibrated; the other half judges. Control: a random subspace.

    Returns
    -------
    list of Measurement
        "entropy, forgotten" and "calibration error, retained" (`Calibration`) at the model's scale,
        the same two ", refitted", and "true class in conformal set" of forgotten images, refitted.

    Raises
    ------
    ValueError
        No image of a forgotten class, or fewer than two of retained ones; an edit of another dimension.
    """
    scale = _check.number("scale", scale, 0)
    others, y = (~both_kinds(case).gone).nonzero()[:, 0], case.labels
    if len(others) < 2:
        raise NotMeasured("labels: fewer than 2 images of retained classes: one to calibrate on, one to test")
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    cal, rest = order[: len(order) // 2], order[len(order) // 2 :]
    Z, names = case.loaded, F.normalize(case.T, dim=1).T
    sets = (Z, edit.apply_image(Z), control(case, edit, seed).apply_image(Z))
    S = [F.normalize(X, dim=1) @ names for X in sets]
    rows: list[Measurement] = []
    for more, scales in (("", [scale] * 3), (", refitted", [fitted_scale(s[cal], y[cal]) for s in S])):
        P = [(c * s.double()).softmax(1) for c, s in zip(scales, S, strict=True)]
        b, a, c = (float(torch.special.entr(p[case.gone]).sum(1).mean()) / math.log(2) for p in P)
        said = (
            f"A blind guess has {math.log2(len(case.T)):.2f} bits; at scale {scales[1]:.0f} after the edit."
        )
        rows.append(Measurement(f"entropy, forgotten{more}", b, a, c, SUBSPACE, said, SOURCE, "bits"))
        (b, first), (a, second), (c, _) = (calibration_error(p[rest], y[rest]) for p in P)
        p, right = P[1][rest].max(1)
        gap = float(p.mean()) - _check.share(right == y[rest])
        said = (
            f"After the edit the model is {'over' if gap > 0 else 'under'}-confident by {100 * abs(gap):.1f}"
        )
        name = f"calibration error, retained{more}"
        said += " points on average."
        rows.append(Calibration(name, b, a, c, SUBSPACE, said, bins=(first, second)))
    hit = [conformal_sets(p, p[cal], y[cal])[torch.arange(len(y)), y] for p in P]
    covered = _show.percent(_check.share(hit[1][rest]))
    said = (
        f"Of retained images {covered} have theirs ({_show.percent(1 - ALPHA)} wanted, over random halves)."
    )
    b, a, c = (_check.share(h[case.gone]) for h in hit)
    return [*rows, Measurement("true class in conformal set", b, a, c, SUBSPACE, said, SOURCE)]
