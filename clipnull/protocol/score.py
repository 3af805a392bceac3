"""The one-number score of the literature's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clipnull import _check

__all__ = ["ScoreParts", "protocol_score", "score_parts"]


class ScoreParts(NamedTuple):
    """What forgetting, the retained classes and the other data sets contribute; the score is the sum."""

    forget: float
    retain: float
    others: float


def score_parts(
    forget_before: float,
    forget_after: float,
    retain_before: float,
    retain_after: float,
    others: Sequence[tuple[float, float]] = (),
) -> ScoreParts:
    """The three parts of `protocol_score`, which takes and refuses the same."""
    pairs = [("forget", forget_before, forget_after), ("retain", retain_before, retain_after)]
    pairs += [(f"others[{i}]", b, a) for i, (b, a) in enumerate(others)]
    for name, b, a in pairs:
        _check.number(f"{name} after", a, 0.0)
        if _check.number(f"{name} before", b, 0.0) == 0:
            raise ValueError(f"{name} before: got 0, want a positive accuracy to compare with")
    n = len(pairs)
    retain, *rest = (max(0.0, (b - a) / b) for _, b, a in pairs[1:])
    return ScoreParts(forget_after / forget_before / n, retain / n, sum(rest) / n)


def protocol_score(
    forget_before: float,
    forget_after: float,
    retain_before: float,
    retain_after: float,
    others: Sequence[tuple[float, float]] = (),
) -> float:
    """The one-number score of the Kravets-Namboodiri protocol; lower is better, 0 is perfect.

    Mean of AF_f / BF_f, the relative drop of the retained classes, and the relative drop on
    each other data set; a gain counts as no drop.

    Parameters
    ----------
    forget_before, forget_after, retain_before, retain_after : float
        Accuracies, all as fractions or all in percent.
    others : sequence of (before, after)
        Full accuracy on other data sets; three in the protocol.

    Raises
    ------
    ValueError
        A negative accuracy, or one before forgetting that is zero.

    References
    ----------
    arXiv 2407.07485 (WACV 2025).

    Examples
    --------
    >>> round(protocol_score(0.8, 0.0, 0.6, 0.57, [(0.5, 0.5), (0.7, 0.72), (0.9, 0.9)]), 4)
    0.01
    """
    return sum(score_parts(forget_before, forget_after, retain_before, retain_after, others))
