"""The guarded extreme: LEACE, which erases what any linear probe could find."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull.auditing.cases import both_kinds, edited, fewest, images
from clipnull.auditing.probes import knn, linear_probe, survives, yes_or_no
from clipnull.auditing.report import Measurement, NotMeasured
from clipnull.evaluation import Case

__all__ = ["Guarded", "guarded", "leace"]

Question = Literal["is it", "which"]


def leace(case: Case, question: Question = "is it") -> Callable[[torch.Tensor], torch.Tensor]:
    """LEACE of the ``concept-erasure`` package, fitted on labelled embeddings.

    Parameters
    ----------
    case : Case
        Its names play no part.
    question : {"is it", "which"}
        What no linear probe of the result can answer better than a constant: for each forgotten
        class, "is it this one?"; or, for all the classes, "which one is it?".

    Returns
    -------
    callable [n, d] -> [n, d]
        x - A (x - mean), A of rank at most the number of forgotten classes, or of classes.

    Raises
    ------
    ValueError
        An unknown question; ``concept-erasure`` is not installed (`NotMeasured`).

    Notes
    -----
    The package drops directions whose whitened cross-covariance with the labels is below
    ``svd_tol``, 0.01 by default. That of one class in a hundred is; we ask for 1e-6.

    The guarantee holds on the embeddings it was fitted on, as they leave the eraser. Scaling them
    to unit length afterwards is not linear, and can bring the class back.

    References
    ----------
    arXiv 2306.03819.
    """
    _check.one_of("question", question, ["is it", "which"])
    index = case.forget if question == "is it" else case.labels.unique().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        try:
            from concept_erasure import LeaceEraser
        except ModuleNotFoundError as error:
            raise NotMeasured('concept-erasure is not installed: pip install -e ".[leace]"') from error
    concept = (case.labels[:, None] == torch.tensor(index)).double()
    eraser = LeaceEraser.fit(images(case).double(), concept, svd_tol=1e-6)
    return lambda Z: eraser(Z.double()).to(Z.dtype)


@dataclass(frozen=True)
class Guarded(Measurement):
    """LEACE for one question: fractions.

    What its own probe finds after scaling to unit length; recall of the forgotten by a probe over all
    classes, and by nearest images; zero-shot accuracy on the others before and after.
    """

    normalized: float = float("nan")
    classes: float = float("nan")
    nearest: float = float("nan")
    retain_before: float = float("nan")
    retain: float = float("nan")


def guarded(case: Case, folds: int = 4, seed: int = 0) -> list[Guarded]:
    """LEACE as the extreme: what a guarantee against linear probes costs, and what it does not cover.

    Parameters
    ----------
    case : Case
    folds, seed : int

    Returns
    -------
    list of Guarded
        "LEACE: is it" (balanced accuracy of a yes-or-no probe) and "LEACE: which" (recall by a
        probe over all classes), on embeddings as they leave the eraser.

    Raises
    ------
    ValueError
        As `leace`; no image of a forgotten, or of a retained, class.
    """
    y, Z, least = both_kinds(case).labels, images(case), fewest(case)
    folds, n = max(2, min(folds, least)), int(case.gone.sum())

    def yes_no(X: torch.Tensor) -> float:
        return yes_or_no(case, X, folds, seed)

    def which(X: torch.Tensor) -> float:
        return case.recall(linear_probe(X, y, folds, seed))

    kept, rows = case.accuracy(case.predicted), []
    asked: list[tuple[Question, Callable[[torch.Tensor], float], float, int | None]] = [
        ("is it", yes_no, 0.5, len(y) - n),
        ("which", which, 1 / len(y.unique()), None),
    ]
    for question, probe, chance, others in asked:
        X = edited(Z, leace(case, question), normalize=False)
        b, a, scaled = map(probe, (Z, X, F.normalize(X, dim=1)))
        retain = case.accuracy(case.predict(X))
        nearest = case.recall(knn(X, y, min(5, least)))
        said = (
            f"{survives(b, a, chance, n, others)} After scaling to unit length the probe has "
            f"{_show.percent(scaled)}. Zero-shot, the others go from {_show.percent(kept)} to "
            f"{_show.percent(retain)}."
        )
        line = (f"LEACE: {question}", b, a, chance, "chance", said, "2306.03819")
        rows.append(Guarded(*line, normalized=scaled, classes=which(X), nearest=nearest,
                            retain_before=kept, retain=retain))  # fmt: skip
    return rows
