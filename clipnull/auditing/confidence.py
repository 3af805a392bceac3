"""Does the model know that it does not know? Entropy, calibration, conformal sets."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import _case, _control, _want_retained, edited
from clipnull.auditing.report import Eraser, Measurement, _pc, _share

__all__ = ["calibration_error", "confidence", "conformal_sets", "entropy", "probabilities"]


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


def calibration_error(
    p: ArrayLike, labels: ArrayLike, bins: int = 10
) -> tuple[float, dict[str, torch.Tensor]]:
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
    table : dict of str to torch.Tensor [bins]
        count, confidence and accuracy of each bin (0 in an empty one).

    Examples
    --------
    >>> calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1])[0]
    0.0
    """
    p = _check.rows("p", p).double()
    y = _check.labels("labels", labels, len(p), p.shape[1])
    bins = int(_check.number("bins", bins, 1))
    top, predicted = p.max(1)
    which = (top * bins).ceil().long().sub(1).clamp(0, bins - 1)
    count = torch.bincount(which, minlength=bins)
    sums = [torch.bincount(which, x, bins) for x in (top, (predicted == y).double())]
    conf, accuracy = (s / count.clamp_min(1) for s in sums)
    ece = float((count * (accuracy - conf).abs()).sum() / len(p))
    return ece, dict(count=count, confidence=conf, accuracy=accuracy)


def conformal_sets(
    p: ArrayLike, calibration: ArrayLike, labels: ArrayLike, alpha: float = 0.1
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


def confidence(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    scale: float = 100.0,
    alpha: float = 0.1,
    bins: int = 10,
    seed: int = 0,
) -> list[Measurement]:
    """What the model says on forgotten images, and whether its confidence on the others still fits.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluation`.
    edit : Edit or callable
    scale : float
        The model's ``logit_scale``.
    alpha : float in (0, 1)
        Conformal sets are to hold the true class with probability 1 - alpha. They are calibrated
        on a random half of the retained images, each model on its own probabilities.
    bins : int
        Of `calibration_error`.
    seed : int

    Returns
    -------
    list of Measurement
        "entropy" (bits) and "top-1 confidence" (mean over forgotten images), "true class in the
        conformal set" (share of forgotten images; ``details``: coverage and size, of the retained
        images not calibrated on, before, after, control; ``size_forget``), "calibration error"
        (retained images; ``details``: the bins before and after). Control: a random subspace of
        the same rank.

    Raises
    ------
    ValueError
        As `controls`; no image of a retained class.
    """
    case = _case(Z, T, labels, forget)
    _want_retained(case)
    edits = (case.Z, edited(case.Z, edit), edited(case.Z, _control(case, edit, seed)))
    P = [probabilities(X, case.T, scale) for X in edits]
    gone, y, C = case.gone, case.y, len(case.T)
    against, source = "a random subspace of the same rank", "2501.19403"

    b, a, c = (float(entropy(p[gone]).mean()) for p in P)
    more = "less sure" if a > b else "no less sure"
    said = f"On forgotten images the model is {more} than before; a blind guess has {math.log2(C):.2f} bits."
    rows = [Measurement("entropy, forgotten", b, a, c, against, said, source, "bits")]

    b, a, c = (float(p[gone].amax(1).mean()) for p in P)
    wrong = _share((P[1].argmax(1) != y)[gone])
    said = f"{_pc(wrong)} of the forgotten images get a wrong name, said with {_pc(a)} confidence on average."
    rows.append(Measurement("top-1 confidence, forgotten", b, a, c, against, said, source))

    others = (~gone).nonzero()[:, 0]
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    cal, rest = order[: len(order) // 2], order[len(order) // 2 :]
    sets = [conformal_sets(p, p[cal], y[cal], alpha) for p in P]
    hit = [s[torch.arange(len(y)), y] for s in sets]
    b, a, c = (_share(h[gone]) for h in hit)
    details: dict[str, Any] = dict(
        coverage=[_share(h[rest]) for h in hit],
        size=[float(s[rest].double().sum(1).mean()) for s in sets],
        size_forget=[float(s[gone].double().sum(1).mean()) for s in sets],
        alpha=alpha,
    )
    said = (
        f"The sets hold the true class of {_pc(details['coverage'][1])} of the retained images "
        f"({_pc(1 - alpha)} wanted), and of {_pc(a)} of the forgotten ones: "
    )
    kept = "hidden from the first place, not from the set."
    said += "out of the set as well." if a == 0 else "most are out of the set." if a < 0.5 * b else kept
    rows.append(Measurement("true class in conformal set", b, a, c, against, said, source, details=details))

    tables = [calibration_error(p[~gone], y[~gone], bins) for p in P]
    b, a, c = (t[0] for t in tables)
    said = (
        f"On retained images confidence and accuracy are {100 * a:.1f} points apart, "
        f"{100 * (a - b):+.1f} by the edit."
    )
    rows.append(
        Measurement("calibration error, retained", b, a, c, against, said, "ours",
                    details=dict(before=tables[0][1], after=tables[1][1]))
    )  # fmt: skip
    return rows
