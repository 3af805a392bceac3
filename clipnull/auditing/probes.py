"""Can a classifier trained on edited embeddings still tell the class?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.cases import Builder, Eraser, edited, fewest, images
from clipnull.auditing.report import Measurement, NotMeasured, mean
from clipnull.edit import Edit
from clipnull.erasers import nullspace
from clipnull.evaluation import Case
from clipnull.measures import argmax

__all__ = [
    "SpannedImages",
    "balanced_probe",
    "knn",
    "linear_probe",
    "prototypes",
    "readers",
    "retrieval",
    "ridge_probe",
    "span_prototypes",
]


def readable(X: ArrayLike, labels: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Checked embeddings [n, d] and labels [n], of any number of classes."""
    X, y = _check.rows("X", X).detach(), torch.as_tensor(labels)
    return X, _check.labels("labels", y, len(X), int(y.max()) + 1 if y.numel() else 1)


def linear_probe(X: ArrayLike, labels: ArrayLike, folds: int = 4, seed: int = 0) -> torch.Tensor:
    """Cross-validated predictions of a linear probe, scikit-learn's logistic regression (C = 100).

    Parameters
    ----------
    X : array [n, d]
        Embeddings, read as they are. Do not standardise them: that would amplify the rounding
        that an erased direction leaves behind until a probe can read it.
    labels : array of int [n]
    folds : int
        Each image is predicted by a probe fitted without its fold.
    seed : int
        Of the folds.

    Returns
    -------
    torch.Tensor [n]

    Raises
    ------
    ValueError
        Bad arrays, one class only, no class with as many images as folds.

    References
    ----------
    A linear probe recovers what was unlearned: arXiv 2604.08271.
    """
    return _logistic(X, labels, None, folds, seed)


def balanced_probe(X: ArrayLike, labels: ArrayLike, folds: int = 4, seed: int = 0) -> torch.Tensor:
    """`linear_probe` with classes weighed equally, for yes-or-no questions about a rare class."""
    return _logistic(X, labels, "balanced", folds, seed)


def _logistic(X: ArrayLike, labels: ArrayLike, weights: str | None, folds: int, seed: int) -> torch.Tensor:
    from sklearn.linear_model import LogisticRegression

    X, y = readable(X, labels)
    counts = torch.bincount(y)
    if int((counts > 0).sum()) < 2 or int(counts.max()) < folds:
        raise NotMeasured(f"labels: want two classes or more, with {folds} images, one per fold")
    return _held_out(LogisticRegression(C=100.0, class_weight=weights, tol=1e-3), X, y, folds, seed)


def ridge_probe(X: ArrayLike, labels: ArrayLike, folds: int = 4, seed: int = 0) -> torch.Tensor:
    """`linear_probe` in closed form, scikit-learn's ridge classifier: much faster, for many layers.

    All features are scaled together, by one number. Parameters and result as of `linear_probe`.
    """
    from sklearn.linear_model import RidgeClassifier

    X, y = readable(X, labels)
    x = X.double() - X.double().mean(0)
    return _held_out(RidgeClassifier(), x / x.std(0, correction=0).max().clamp_min(1e-30), y, folds, seed)


def _held_out(probe: Any, X: torch.Tensor, y: torch.Tensor, folds: int, seed: int) -> torch.Tensor:
    """Each image predicted by a probe that was fitted without its fold."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    # products this small are slower on several threads than on one
    with warnings.catch_warnings(), threadpool_limits(1):
        # 100 steps are enough to rank classes; classes may be many, and smaller than the folds
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        return torch.as_tensor(cross_val_predict(probe, X.double().cpu().numpy(), y.cpu().numpy(), cv=split))


def yes_or_no(case: Case, X: torch.Tensor, folds: int, seed: int) -> float:
    """Balanced accuracy of "is this image of a forgotten class?", asked of ``X [n, d]``."""
    said = balanced_probe(X, case.gone.long(), folds, seed).bool()
    return (_check.share(said[case.gone]) + _check.share(~said[~case.gone])) / 2


def knn(X: ArrayLike, labels: ArrayLike, k: int = 5) -> torch.Tensor:
    """Vote of the nearest other images.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    k : int
        Neighbours by cosine; a tie goes to the class of the nearer ones.

    Returns
    -------
    torch.Tensor [n]

    Raises
    ------
    ValueError
        Bad arrays, ``k`` not in 1 … n - 1.
    """
    from sklearn.neighbors import NearestNeighbors

    X, y = readable(X, labels)
    k = _check.whole("k", k, 1, len(X) - 1)
    unit = F.normalize(X.float(), dim=1).cpu().numpy()
    near = torch.as_tensor(NearestNeighbors(n_neighbors=k).fit(unit).kneighbors(return_distance=False))
    votes = torch.zeros(len(X), int(y.max()) + 1)
    weights = 1 + 1e-3 / torch.arange(1, k + 1)
    return votes.scatter_add_(1, y[near], weights.expand(len(X), k)).argmax(1)


def retrieval(X: ArrayLike, labels: ArrayLike, queries: ArrayLike, k: int | None = None) -> torch.Tensor:
    """Precision at k of image-to-image search.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    queries : array of int [q]
        Rows that search among all the others, by cosine.
    k : int, optional
        By default, for each query, the number of other images of its class.

    Returns
    -------
    torch.Tensor [q], float64
        Share of the k nearest that are of the query's class; NaN for a class with one image.
    """
    X, y = readable(X, labels)
    ask = _check.labels("queries", queries, len(torch.as_tensor(queries)), len(X))
    unit, out = F.normalize(X, dim=1), []
    for i in ask.tolist():
        scores = unit @ unit[i]
        scores[i] = -torch.inf
        n = int((y == y[i]).sum()) - 1 if k is None else k
        out.append(_check.share((y == y[i])[scores.topk(n).indices]))
    return torch.tensor(out, dtype=torch.float64)


def prototypes(X: ArrayLike, labels: ArrayLike, k: int = 1, draws: int = 10, seed: int = 0) -> torch.Tensor:
    """Predictions by the nearest class prototype, the mean of ``k`` labelled images.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    k : int
        Labelled images per class, drawn at random; classes with k images or fewer give all but one.
    draws, seed : int

    Returns
    -------
    torch.Tensor [draws, n]
        Predicted class; -1 for the images that the prototypes were made of.

    References
    ----------
    Prototypical relearning from a few samples: arXiv 2506.01318.
    """
    X, y = readable(X, labels)
    k = _check.whole("k", k, 1, len(X))
    X, present = F.normalize(X, dim=1), y.unique()
    g = torch.Generator().manual_seed(seed)
    out = torch.full((draws, len(X)), -1)
    for predicted in out:
        order = torch.randperm(len(X), generator=g)
        of_class = [order[y[order] == c] for c in present]
        support = [rows[: max(1, min(k, len(rows) - 1))] for rows in of_class]
        P = F.normalize(torch.stack([X[rows].mean(0) for rows in support]), dim=1)
        predicted[:] = present[argmax(X @ P.T)]
        predicted[torch.cat(support)] = -1
    return out


def readers(
    case: Case,
    edit: Eraser,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    draws: int = 10,
    folds: int = 4,
    seed: int = 0,
) -> list[Measurement]:
    """Other readers of the same features: probes, neighbours, retrieval, prototypes.

    Parameters
    ----------
    case : Case
        Its names play no part.
    edit : Edit or callable
    shots : sequence of int
        k of the prototypes; those that leave a forgotten class no image to test on are left out.
    draws : int
        Choices of the k images.
    folds, seed : int
        Of the cross-validation.

    Returns
    -------
    list of Measurement
        "linear probe", "nearest images", "prototypes, k = …": recall on the forgotten classes'
        images, control 1 / C. "linear probe, yes or no": balanced accuracy of "is it forgotten?",
        control 50%. "image search": precision at k, control the share of such images.

    Raises
    ------
    ValueError
        A forgotten class with fewer than two images; an edit of another dimension.

    References
    ----------
    Linear probe: arXiv 2604.08271. Prototypes: arXiv 2506.01318.
    """
    y, gone, least = case.labels, case.gone, fewest(case)
    if least < 2:
        raise NotMeasured("labels: a forgotten class has fewer than 2 images: one to learn from, one to test")
    folds, near, n, guess = min(folds, least), min(5, least), int(gone.sum()), 1 / len(y.unique())
    sets = images(case), edited(images(case), edit)
    queries = gone.nonzero()[:, 0]
    found = mean([(int((y == y[i]).sum()) - 1) / (len(y) - 1) for i in queries])
    d, rank = case.T.shape[1], edit.rank if isinstance(edit, Edit) else len(case.forget)
    why = f" The edit takes {rank} of {d} directions; a probe may use any of the other {d - rank}."

    def row(
        name: str, read: Callable[[torch.Tensor], float], chance: float, source: str = "ours", more: str = "",
        others: int | None = None,
    ) -> Measurement:  # fmt: skip
        b, a = map(read, sets)
        said = survives(b, a, chance, n, others) + more
        return Measurement(name, b, a, chance, "chance", said, source)

    def by_prototypes(k: int) -> Callable[[torch.Tensor], float]:
        return lambda X: _prototype_recall(case, X, k, draws, seed)

    return [
        row("linear probe", lambda X: case.recall(linear_probe(X, y, folds, seed)), guess, "2604.08271", why),
        row("linear probe, yes or no", lambda X: yes_or_no(case, X, folds, seed), 0.5, "2604.08271", "",
            len(y) - n),
        row("nearest images", lambda X: case.recall(knn(X, y, near)), guess, more=f" ({near} neighbours.)"),
        row("image search", lambda X: mean(retrieval(X, y, queries).tolist()), found),
        *(row(f"prototypes, k = {k}", by_prototypes(k), guess, "2506.01318") for k in shots if k < least),
    ]  # fmt: skip


def _prototype_recall(case: Case, X: torch.Tensor, k: int, draws: int, seed: int) -> float:
    predicted = prototypes(X, case.labels, k, draws, seed)
    return _check.share((predicted == case.labels)[(predicted >= 0) & case.gone])


def survives(before: float, after: float, chance: float, n: int, others: int | None = None) -> str:
    """How much of what a reader found above chance is still found; two standard errors count as none.

    ``n`` images have recalls ``before`` and ``after``; with ``others`` these are means of two recalls,
    the other one over ``others`` images.
    """
    parts = [n] if others is None else [n, others]
    room = 2 * math.sqrt(sum(chance * (1 - chance) / k for k in parts)) / len(parts)
    b, guess = _show.percent(before), _show.percent(chance)
    if before <= chance + room:
        return f"On {n} images, {b} before the edit cannot be told from chance ({guess})."
    left = (after - chance) / (before - chance)
    if after <= chance + room:
        return f"Gone: no better than chance ({guess})."
    if left >= 0.95:
        return "Nothing is gone for this reader."
    return f"{100 * left:.0f}% of what it found above chance is still there."


class SpannedImages(NamedTuple):
    """An edit that spans ``images`` labelled images per class: its rank, and what readers find.

    Recall of the forgotten by name, by a linear probe and by nearest images, the latter two before
    the edit also, and zero-shot accuracy on the others; fractions.
    """

    images: int
    rank: int
    zero_shot: float
    probe: float
    knn: float
    probe_before: float
    knn_before: float
    retain: float


def span_prototypes(
    case: Case,
    counts: Sequence[int] = (0, 1, 2),
    builder: Builder | None = None,
    folds: int = 4,
    seed: int = 0,
) -> list[SpannedImages]:
    """What falls when the edit spans labelled images of the forgotten classes too.

    Parameters
    ----------
    case : Case
    counts : sequence of int
        Spanned images per class. Readers only meet images that no count spans.
    builder : callable, optional
        ``(names and images to forget, names to retain) -> Edit``; by default the nullspace
        projector of the names and images together.
    folds, seed : int

    Returns
    -------
    list of SpannedImages
        One per count.

    Raises
    ------
    ValueError
        Fewer than two images of a forgotten class left for the readers.
    """
    order = torch.randperm(len(case.labels), generator=torch.Generator().manual_seed(seed))
    of_class = {c: order[case.labels[order] == c] for c in case.forget}
    most = max(counts)
    if (least := fewest(case) - most) < 2:
        raise NotMeasured(f"counts: spanning {most} images leaves {max(least, 0)} of a class, want 2 or more")
    read = torch.ones(len(order), dtype=torch.bool)
    read[torch.cat([ids[:most] for ids in of_class.values()])] = False
    Z, y, gone, rows = images(case), case.labels[read], case.gone[read], []

    def found(X: torch.Tensor) -> list[float]:
        predicted = linear_probe(X[read], y, min(folds, least), seed), knn(X[read], y, min(5, least))
        return [_check.share((p == y)[gone]) for p in predicted]

    first = found(Z)
    for count in counts:
        spanned = torch.cat([ids[:count] for ids in of_class.values()])
        T_f = torch.cat([case.T_f, Z[spanned]])
        edit = builder(T_f, case.T_r) if builder else nullspace(T_f)
        X = edited(Z, edit)
        predicted = case.predict(X)
        named = _check.share((predicted[read] == y)[gone])
        rows.append(SpannedImages(count, edit.rank, named, *found(X), *first, case.accuracy(predicted)))
    return rows
