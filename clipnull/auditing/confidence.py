"""Does the model know that it does not know? Entropy, calibration, conformal sets."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.controls import both_kinds, control
from clipnull.auditing.report import SUBSPACE, Measurement, NotMeasured
from clipnull.edit import Edit
from clipnull.evaluation import Case

__all__ = ["Bins", "calibration_error", "confidence"]

#: conformal sets of `confidence` are to miss the true class of this share of images, at most
ALPHA = 0.1
SOURCE = "2501.19403"


class Bins(NamedTuple):
    """Images by top-1 confidence, each [bins]: their number, mean confidence and accuracy (0 of none)."""

    images: torch.Tensor
    confidence: torch.Tensor
    accuracy: torch.Tensor


def calibration_error(p: ArrayLike, labels: ArrayLike, bins: int = 10) -> tuple[float, Bins]:
    """Expected calibration error of ``p [n, C]``, a fraction; bins of top-1 confidence are closed above."""
    p, bins = _check.rows("p", p).double(), _check.whole("bins", bins, 1)
    if float(p.min()) < 0 or float((p.sum(1) - 1).abs().max()) > 1e-3:
        raise ValueError("p: want probabilities, rows of non-negative numbers that add up to 1")
    y = _check.labels("labels", labels, len(p), p.shape[1])
    top, predicted = p.max(1)
    which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(which, minlength=bins)
    sums = [torch.bincount(which, x, bins) for x in (top, (predicted == y).double())]
    conf, accuracy = (s / count.clamp_min(1) for s in sums)
    return float((count * (accuracy - conf).abs()).sum() / len(p)), Bins(count, conf, accuracy)


def conformal_sets(p: torch.Tensor, cal: torch.Tensor, y: torch.Tensor, alpha: float = ALPHA) -> torch.Tensor:
    """Split-conformal sets [n, C] of ``p [n, C]``, calibrated on [m, C]; all classes where m is too small."""
    scores = (1 - cal[torch.arange(len(cal)), y]).sort().values
    rank = math.ceil((len(cal) + 1) * (1 - alpha))
    return 1 - p <= (float(scores[rank - 1]) if rank <= len(cal) else math.inf)


def fitted_scale(S: torch.Tensor, y: torch.Tensor) -> float:
    """The scale, 1 / temperature, at which softmax(scale * S) of cosines [n, C] fits labels [n] best."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda x: float(F.cross_entropy(math.exp(x) * S.double(), y)), bounds=(-3, 7))
    return math.exp(found.x)


@_check.by_name
def confidence(case: Case, edit: Edit, scale: float = 100.0, seed: int = 0) -> list[Measurement]:
    """Entropy of forgotten images, calibration of retained ones, conformal sets with the true class.

    At the model's ``scale``, then refitted on a random half of the retained images, where conformal sets are
    calibrated too; the other half judges. Control: a random subspace.
    """
    scale = _check.number("scale", scale, 0)
    others, y = (~both_kinds(case).gone).nonzero()[:, 0], case.labels
    if len(others) < 2:
        raise NotMeasured("labels: fewer than 2 images of retained classes: one to calibrate on, one to test")
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    cal, rest = order[: len(order) // 2], order[len(order) // 2 :]
    Z, names = case.images, F.normalize(case.T, dim=1).T
    sets = (Z, edit.apply_image(Z), control(edit, seed).apply_image(Z))
    S = [F.normalize(X, dim=1) @ names for X in sets]
    rows: list[Measurement] = []
    for more, scales in (("", [scale] * 3), (", refitted", [fitted_scale(s[cal], y[cal]) for s in S])):
        P = [(c * s.double()).softmax(1) for c, s in zip(scales, S, strict=True)]
        b, a, c = (float(torch.special.entr(p[case.gone]).sum(1).mean()) / math.log(2) for p in P)
        blind = f"A blind guess has {math.log2(len(case.T)):.2f} bits"
        said = f"{blind}; at scale {scales[1]:.0f} after the edit."
        rows.append(Measurement(f"entropy, forgotten{more}", b, a, c, SUBSPACE, said, SOURCE, "bits"))
        (b, first), (a, second), (c, _) = (calibration_error(p[rest], y[rest]) for p in P)
        gap = float(P[1][rest].amax(1).mean()) - _check.share(P[1][rest].argmax(1) == y[rest])
        side = "over" if gap > 0 else "under"
        said = f"After the edit the model is {side}-confident by {100 * abs(gap):.1f} points on average."
        name, bins = f"calibration error, retained{more}", (first, second)
        rows.append(Measurement(name, b, a, c, SUBSPACE, said, bins=bins))
    hit = [conformal_sets(p, p[cal], y[cal])[torch.arange(len(y)), y] for p in P]
    covered, wanted = _show.percent(_check.share(hit[1][rest])), _show.percent(1 - ALPHA)
    said = f"Of retained images {covered} have theirs ({wanted} wanted, over random halves)."
    b, a, c = (_check.share(h[case.gone]) for h in hit)
    return [*rows, Measurement("true class in conformal set", b, a, c, SUBSPACE, said, SOURCE)]
