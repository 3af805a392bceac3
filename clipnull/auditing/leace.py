"""The guarded extreme: LEACE, which erases what any linear probe could find."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import _case, _zero_shot, edited
from clipnull.auditing.probes import _readable, _survives, knn, linear_probe
from clipnull.auditing.report import Measurement, _pc, _share

__all__ = ["guarded", "leace"]


def leace(
    X: ArrayLike, labels: ArrayLike, forget: Any, question: str = "is it"
) -> Callable[[torch.Tensor], torch.Tensor]:
    """LEACE of the ``concept-erasure`` package, fitted on labelled embeddings.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    forget : list of int
    question : {"is it", "which"}
        What no linear probe of the result can answer better than a constant: for each forgotten
        class, "is it this one?"; or, for all the classes, "which one is it?".

    Returns
    -------
    callable [n, d] -> [n, d]
        x - A (x - mean), A of rank at most the number of forgotten classes, or of classes.

    Raises
    ------
    ImportError
        ``concept-erasure`` is not installed.
    ValueError
        Bad arrays, an unknown question.

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
    X, y = _readable(X, labels)
    C = int(y.max()) + 1
    index = _check.forget_set(forget, C) if question == "is it" else y.unique().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import uses what torch deprecates
        try:
            from concept_erasure import LeaceEraser
        except ImportError as error:
            raise ImportError('concept-erasure is not installed: pip install -e ".[leace]"') from error
    concept = (y[:, None] == torch.tensor(index)).double()
    eraser = LeaceEraser.fit(X.double(), concept, svd_tol=1e-6)
    return lambda Z: eraser(Z.double()).to(Z.dtype)


def guarded(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, folds: int = 4, seed: int = 0
) -> list[Measurement]:
    """LEACE as the extreme: what a guarantee against linear probes costs, and what it does not cover.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluation`.
    folds, seed : int

    Returns
    -------
    list of Measurement
        "LEACE: is it" (balanced accuracy of a yes-or-no probe) and "LEACE: which" (recall by a
        probe over all classes), on embeddings as they leave the eraser. ``details``: normalized
        (the same after scaling to unit length), classes (recall by a probe over all classes),
        nearest (by nearest images), forget, retain (zero-shot after), retain_before.

    Raises
    ------
    ImportError, ValueError
        As `leace` and `controls`.
    """
    case = _case(Z, T, labels, forget)
    y, gone = case.y, case.gone
    fewest = min(int((y == c).sum()) for c in case.forget)
    folds = max(2, min(folds, fewest))

    def yes_no(X: torch.Tensor) -> float:
        p = linear_probe(X, gone.long(), folds, balanced=True, seed=seed).bool()
        return (_share(p[gone]) + _share(~p[~gone])) / 2

    def which(X: torch.Tensor) -> float:
        return case.recall(linear_probe(X, y, folds, seed=seed))

    kept, rows, n = case.accuracy(_zero_shot(case.Z, case.T)), [], int(gone.sum())
    asked: list[tuple[str, Callable[[torch.Tensor], float], float, int | None]] = [
        ("is it", yes_no, 0.5, int((~gone).sum())),
        ("which", which, 1 / len(y.unique()), None),
    ]
    for question, probe, chance, others in asked:
        eraser = leace(case.Z, y, case.forget, question)
        X = edited(case.Z, eraser, normalize=False)
        unit, predicted = F.normalize(X, dim=1), _zero_shot(X, case.T)
        b, a, scaled = probe(case.Z), probe(X), probe(unit)
        found = dict(
            normalized=scaled,
            classes=which(X),
            nearest=case.recall(knn(X, y, min(5, fewest))),
            forget=case.recall(predicted),
            retain=case.accuracy(predicted),
            retain_before=kept,
        )
        said = (
            f"{_survives(b, a, chance, n, others)} After scaling to unit length the probe has {_pc(scaled)}. "
            f"Zero-shot, the others go from {_pc(kept)} to {_pc(found['retain'])}."
        )
        rows.append(
            Measurement(f"LEACE: {question}", b, a, chance, "chance", said, "2306.03819", details=found)
        )
    return rows
