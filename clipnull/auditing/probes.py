"""Can a classifier trained on edited embeddings still tell the class?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import _case, _zero_shot, edited
from clipnull.auditing.report import Builder, Eraser, Measurement, _mean, _pc, _share
from clipnull.erasers import Edit, nullspace

__all__ = ["knn", "linear_probe", "prototypes", "readers", "retrieval", "span_prototypes"]


def _readable(X: ArrayLike, labels: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
    X = _check.rows("X", X).detach()
    y = torch.as_tensor(labels)
    return X, _check.labels("labels", y, len(X), int(y.max()) + 1 if y.numel() else 1)


def linear_probe(
    X: ArrayLike, labels: ArrayLike, folds: int = 4, C: float = 100.0, balanced: bool = False, seed: int = 0
) -> torch.Tensor:
    """Cross-validated predictions of a linear probe, scikit-learn's logistic regression.

    Parameters
    ----------
    X : array [n, d]
        Embeddings, read as they are. Do not standardise them: that would amplify the rounding
        that an erased direction leaves behind until a probe can read it.
    labels : array of int [n]
    folds : int
        Each image is predicted by a probe fitted without its fold.
    C : float
        Inverse strength of the L2 penalty.
    balanced : bool
        Weigh classes equally, for yes-or-no questions about a rare class.
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
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    X, y = _readable(X, labels)
    counts = torch.bincount(y)
    if int((counts > 0).sum()) < 2 or int(counts.max()) < folds:
        raise ValueError(f"labels: want two classes or more, with {folds} images, one a fold")
    probe = LogisticRegression(C=C, class_weight="balanced" if balanced else None, max_iter=100, tol=1e-3)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    # products this small are slower on several threads than on one
    with warnings.catch_warnings(), threadpool_limits(1):
        # 100 steps are enough to rank classes; classes may be many, and smaller than the folds
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        predicted = cross_val_predict(probe, X.double().cpu().numpy(), y.cpu().numpy(), cv=split)
    return torch.as_tensor(predicted)


def _neighbours(X: torch.Tensor, k: int) -> torch.Tensor:
    """Indices [n, k] of the nearest other rows by cosine, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    unit = F.normalize(X.float(), dim=1).cpu().numpy()
    return torch.as_tensor(NearestNeighbors(n_neighbors=k).fit(unit).kneighbors(return_distance=False))


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
        Bad arrays, ``k`` not in 1 … n − 1.
    """
    X, y = _readable(X, labels)
    if not 1 <= k < len(X):
        raise ValueError(f"k: got {k}, want 1 to {len(X) - 1} for {len(X)} images")
    votes = torch.zeros(len(X), int(y.max()) + 1)
    weights = 1 + 1e-3 / torch.arange(1, k + 1)
    return votes.scatter_add_(1, y[_neighbours(X, k)], weights.expand(len(X), k)).argmax(1)


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
    X, y = _readable(X, labels)
    ask = _check.labels("queries", queries, len(torch.as_tensor(queries)), len(X))
    unit, out = F.normalize(X, dim=1), []
    for i in ask.tolist():
        scores = unit @ unit[i]
        scores[i] = -torch.inf
        n = int((y == y[i]).sum()) - 1 if k is None else k
        out.append(_share((y == y[i])[scores.topk(n).indices]) if n else math.nan)
    return torch.tensor(out, dtype=torch.float64)


def prototypes(X: ArrayLike, labels: ArrayLike, k: int = 1, draws: int = 10, seed: int = 0) -> torch.Tensor:
    """Predictions by the nearest class prototype, the mean of ``k`` labelled images.

    Parameters
    ----------
    X : array [n, d]
    labels : array of int [n]
    k : int
        Labelled images a class, drawn at random; classes with k images or fewer give all but one.
    draws, seed : int

    Returns
    -------
    torch.Tensor [draws, n]
        Predicted class; -1 for the images that the prototypes were made of.

    References
    ----------
    Prototypical relearning from a few samples: arXiv 2506.01318.
    """
    X, y = _readable(X, labels)
    k = int(_check.number("k", k, 1, len(X)))
    X, present = F.normalize(X, dim=1), y.unique()
    g = torch.Generator().manual_seed(seed)
    out = torch.full((draws, len(X)), -1)
    for predicted in out:
        order = torch.randperm(len(X), generator=g)
        of_class = [order[y[order] == c] for c in present]
        support = [rows[: max(1, min(k, len(rows) - 1))] for rows in of_class]
        P = F.normalize(torch.stack([X[rows].mean(0) for rows in support]), dim=1)
        predicted[:] = present[_zero_shot(X, P)]
        predicted[torch.cat(support)] = -1
    return out


def readers(
    Z: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    draws: int = 10,
    folds: int = 4,
    seed: int = 0,
) -> list[Measurement]:
    """Other readers of the same features: probes, neighbours, retrieval, prototypes.

    Parameters
    ----------
    Z : array [n, d]
    labels : array of int [n]
    forget : list of int
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
        "linear probe", "k nearest images", "prototypes, k = …": recall on the forgotten classes'
        images, control 1 / C. "linear probe, yes or no": balanced accuracy of "is it forgotten?",
        control 50%. "image search": precision at k, control the share of such images.

    Raises
    ------
    ValueError
        Bad arrays; a forgotten class with fewer than two images.

    References
    ----------
    Linear probe: arXiv 2604.08271. Prototypes: arXiv 2506.01318.
    """
    Z, y = _readable(Z, labels)
    index = _check.forget_set(forget, int(y.max()) + 1)
    gone, C = torch.isin(y, torch.tensor(index)), len(y.unique())
    fewest = min(int((y == c).sum()) for c in index)
    if fewest < 2:
        raise ValueError(
            "labels: a forgotten class has fewer than 2 images, want one to learn from and one to test"
        )
    folds, k, d, n = min(folds, fewest), min(5, fewest), Z.shape[1], int(gone.sum())
    sets = [Z, edited(Z, edit)]

    def recall(predicted: torch.Tensor) -> float:
        return _share((predicted == y)[gone])

    b, a = (recall(linear_probe(X, y, folds, seed=seed)) for X in sets)
    rank = edit.rank if isinstance(edit, Edit) else len(index)
    why = f"The edit takes {rank} of {d} directions; a probe may use any of the other {d - rank}."
    rows = [
        Measurement("linear probe", b, a, 1 / C, "chance", f"{_survives(b, a, 1 / C, n)} {why}", "2604.08271")
    ]

    answers = [linear_probe(X, gone.long(), folds, balanced=True, seed=seed).bool() for X in sets]
    b, a = ((_share(p[gone]) + _share(~p[~gone])) / 2 for p in answers)
    rows.append(
        Measurement(
            "linear probe, yes or no", b, a, 0.5, "chance",
            _survives(b, a, 0.5, n, len(y) - n), "2604.08271",
        )
    )  # fmt: skip
    b, a = (recall(knn(X, y, k)) for X in sets)
    rows.append(
        Measurement("nearest images", b, a, 1 / C, "chance", f"{_survives(b, a, 1 / C, n)} ({k} neighbours.)")
    )

    queries = gone.nonzero()[:, 0]
    b, a = (_mean(retrieval(X, y, queries).tolist()) for X in sets)
    chance = _mean([(int((y == y[i]).sum()) - 1) / (len(y) - 1) for i in queries])
    rows.append(Measurement("image search", b, a, chance, "chance", _survives(b, a, chance, n)))

    for k in shots:
        if k >= fewest:
            continue
        b, a = (_prototype_recall(X, y, gone, k, draws, seed) for X in sets)
        means = _survives(b, a, 1 / C, n)
        rows.append(Measurement(f"prototypes, k = {k}", b, a, 1 / C, "chance", means, "2506.01318"))
    return rows


def _prototype_recall(
    X: torch.Tensor, y: torch.Tensor, gone: torch.Tensor, k: int, draws: int, seed: int
) -> float:
    predicted = prototypes(X, y, k, draws, seed)
    asked = (predicted >= 0) & gone
    return _share((predicted == y)[asked])


def _survives(before: float, after: float, chance: float, images: int, others: int | None = None) -> str:
    """How much of what a reader found above chance is still found; two standard errors count as none.

    ``images`` are those whose recall is ``before`` and ``after``; with ``others`` these are means of
    two recalls, the other one over ``others`` images.
    """
    parts = [images] if others is None else [images, others]
    room = 2 * math.sqrt(sum(chance * (1 - chance) / n for n in parts)) / len(parts)
    if before <= chance + room:
        return (
            f"On {images} images, {_pc(before)} before the edit cannot be told from chance ({_pc(chance)})."
        )
    left = (after - chance) / (before - chance)
    if after <= chance + room:
        return f"Gone: no better than chance ({_pc(chance)})."
    if left >= 0.95:
        return "Nothing is gone for this reader."
    return f"{100 * left:.0f}% of what it found above chance is still there."


def span_prototypes(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    counts: Sequence[int] = (0, 1, 2),
    builder: Builder | None = None,
    folds: int = 4,
    seed: int = 0,
) -> list[dict[str, float]]:
    """What falls when the edit spans labelled images of the forgotten classes too.

    Parameters
    ----------
    Z, T, labels, forget
        As in `clipnull.evaluation`.
    counts : sequence of int
        Spanned images a class. Readers only meet images that no count spans.
    builder : callable, optional
        ``(names and images to forget, names to retain) -> Edit``; by default the nullspace
        projector of the names and images together.
    folds, seed : int

    Returns
    -------
    list of dict
        For each count: images, rank, zero_shot, probe, knn (recall of the forgotten),
        probe_before, knn_before (the same without an edit), retain (zero-shot accuracy on the
        others).

    Raises
    ------
    ValueError
        As `controls`; fewer than two images of a forgotten class left for the readers.
    """
    case = _case(Z, T, labels, forget)
    g = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(case.Z), generator=g)
    of_class = {c: order[case.y[order] == c] for c in case.forget}
    most = max(counts)
    if (fewest := min(map(len, of_class.values())) - most) < 2:
        raise ValueError(f"counts: spanning {most} images leaves {max(fewest, 0)} of a class, want 2 or more")
    read = torch.ones(len(case.Z), dtype=torch.bool)
    read[torch.cat([ids[:most] for ids in of_class.values()])] = False
    y, gone, rows = case.y[read], case.gone[read], []

    def found(X: torch.Tensor) -> tuple[float, float]:
        predicted = linear_probe(X[read], y, min(folds, fewest), seed=seed), knn(X[read], y, min(5, fewest))
        probe, near = (_share((p == y)[gone]) for p in predicted)
        return probe, near

    first = found(case.Z)
    for count in counts:
        spanned = torch.cat([ids[:count] for ids in of_class.values()])
        T_f = torch.cat([case.T[case.forget], case.Z[spanned]])
        edit = builder(T_f, case.T[case.retain]) if builder else nullspace(T_f)
        X = edited(case.Z, edit)
        predicted = _zero_shot(X, case.T)
        probe, near = found(X)
        rows.append(
            dict(images=count, rank=edit.rank, zero_shot=_share((predicted == case.y)[read & case.gone]),
                 probe=probe, probe_before=first[0], knn=near, knn_before=first[1],
                 retain=case.accuracy(predicted))
        )  # fmt: skip
    return rows
