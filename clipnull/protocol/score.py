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
    forget: tuple[float, float], retain: tuple[float, float], others: Sequence[tuple[float, float]]
) -> ScoreParts:
    """The parts of `protocol_score`, which takes and refuses the same."""
    rest = {f"others[{i}]": pair for i, pair in enumerate(_check.some("others", others))}
    named = {"forget": forget, "retain": retain, **rest}
    for name, pair in named.items():
        try:
            before, after = pair
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: got {pair!r}, want accuracies (before, after)") from error
        _check.number(f"{name} after", after, 0.0)
        if _check.number(f"{name} before", before, 0.0) == 0:
            raise ValueError(f"{name} before: got 0, want a positive accuracy to compare with")
    own, *lost = (max(0.0, (before - after) / before) / len(named) for before, after in (retain, *others))
    return ScoreParts(forget[1] / forget[0] / len(named), own, sum(lost))


def protocol_score(
    forget: tuple[float, float], retain: tuple[float, float], others: Sequence[tuple[float, float]] = ()
) -> float:
    """The one-number score of the Kravets-Namboodiri protocol; lower is better, 0 is perfect.

    Mean of AF_f / BF_f, the relative drop of the retained classes, and the relative drop on
    each other data set; a gain counts as no drop.

    Parameters
    ----------
    forget, retain : (before, after)
        Recall of the forgotten classes, accuracy on the others; all as fractions or all in percent. None
        is negative, and none zero before, else a ValueError.
    others : sequence of (before, after)
        Accuracy on all classes of other data sets; three in the protocol (arXiv 2407.07485).

    Examples
    --------
    >>> round(protocol_score((0.8, 0.0), (0.6, 0.57), [(0.5, 0.5), (0.7, 0.72), (0.9, 0.9)]), 4)
    0.01
    """
    return sum(score_parts(forget, retain, others))
