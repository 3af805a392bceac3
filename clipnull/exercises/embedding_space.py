"""Checks of lesson 01."""

import math

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect

__all__ = [
    "check_centred_scores",
    "check_nearest_names",
    "check_participation_ratio",
    "check_softmax_accuracy",
]


@check("the accuracy at every scale, ties and the limit included.")
def check_softmax_accuracy(case: Inputs, call: Call) -> None:
    """Check ``function(Z [n, d], T [C, d], labels [n], scale)``: accuracy of answers drawn by softmax.

    A fraction: the mean probability of the right name. ``scale`` may be ``math.inf``: names within 1e-5
    of the largest cosine then share the answer. Rows of ``Z`` and ``T`` have any length.
    """
    # a name that stands twice in the list ties with itself; some labels are made wrong
    labels = torch.where(torch.arange(len(case.labels)) % 7 < 5, case.labels, case.labels.roll(4))
    T = torch.cat([case.T, case.T[:1]]) * _lengths(len(case.T) + 1, 2)
    Z = case.Z * _lengths(len(case.Z), 1)
    rows = torch.arange(len(Z))
    S = F.normalize(Z, dim=1) @ F.normalize(T, dim=1).T
    best = S >= S.max(1, keepdim=True).values - 1e-5
    for scale in (0.0, 1.0, 30.0, math.inf):
        dots, p = (_softmax(X, scale) for X in (Z @ T.T, S))
        right, limit = p[rows, labels].mean(), scale == math.inf
        mistakes = {
            "these are dot products. Cosines need unit rows.": dots[rows, labels].mean(),
            "that is the mean probability of the winner. Want that of the right name.": p.amax(1).mean(),
            "that is in percent, want a fraction between 0 and 1.": 100 * right,
            "that is a sum over the pictures, want the mean.": right * len(Z),
            "the softmax runs over the pictures: want one over the names, for each picture.":
                (scale * S).softmax(0)[rows, labels].mean(),
            "the first of the tied names gets everything. They share the answer." if limit else
            "that is the zero-shot accuracy, whatever the scale. Here answers are drawn: want probabilities.":
                (S.argmax(1) == labels).double().mean(),
            "each of the tied names counts in full. They share the answer.":
                best[rows, labels].double().mean(),
        }  # fmt: skip
        got = call(Z, T, labels, scale)
        if limit and not torch.isfinite(got).all():
            raise Wrong("at scale ∞ your accuracy is not a number, since ∞ − ∞ is none: treat it apart.")
        expect(f"the accuracy at scale {scale:g}", got, right, mistakes)


@check("both clouds moved to the origin, from their scores alone.")
def check_centred_scores(case: Inputs, call: Call) -> None:
    """Check ``function(S [n, C])``, S = Z Tᵀ: the scores (Z − z̄)(T − t̄)ᵀ [n, C] of the centred rows."""
    Z, T = case.Z * _lengths(len(case.Z), 1), case.T * _lengths(len(case.T), 2)
    S = Z @ T.T
    of_picture, of_name, all_of_it = S.mean(1, keepdim=True), S.mean(0), S.mean()
    mistakes = {
        "only the names are centred: the mean picture is still in every score.": S - of_picture,
        "only the pictures are centred: the mean name is still in every score.": S - of_name,
        "z̄·t̄ is subtracted twice, once with each mean. Add it once.": S - of_picture - of_name,
        "z̄·t̄ has the wrong sign.": S - of_picture - of_name - all_of_it,
        "that subtracts one number from all scores.": S - all_of_it,
        "the deviations were also divided by their size.": (S - of_name) / S.std(0),
    }
    expect("centred_scores(S)", call(S), S - of_picture - of_name + all_of_it, mistakes)


@check("the nearest names around the mean, however few there are.")
def check_nearest_names(case: Inputs, call: Call) -> None:
    """Check ``function(T [C, d], k)``: indices [C, min(k, C − 1)] of the other names nearest to each.

    By cosine after the mean row is subtracted from all, the nearest first; rows of ``T`` are unit rows.
    """
    for T, k in ((case.T, 3), (case.T[:4], 5)):
        C, centred = len(T), T - T.mean(0)
        unit = F.normalize(centred, dim=1)
        near, k_most = unit @ unit.T, min(k, C - 1)
        others = near.clone().fill_diagonal_(-2)
        try:
            got = call(T, k)
            expect_indices(got, C, k_most)
        except Wrong as wrong:
            raise Wrong(f"with {C} names and k = {k}: {wrong}") from wrong

        def ranked(scores: torch.Tensor, near: torch.Tensor = near, k: int = k_most) -> torch.Tensor:
            return near.gather(1, scores.topk(k).indices)

        mistakes = {
            "the name itself is among its neighbours. Leave it out.": ranked(near),
            "those are the nearest before the mean is subtracted.": ranked((T @ T.T).fill_diagonal_(-2)),
            "the mean is not subtracted, and the name itself is among its neighbours.": ranked(T @ T.T),
            "those have the largest dot products. After centring the rows are no longer unit rows.":
                ranked((centred @ centred.T).fill_diagonal_(-9)),
            "those are the farthest names.": ranked(-near),
        }  # fmt: skip
        # names as near as each other may come in any order: their cosines are compared
        expect("the cosine of your neighbours", near.gather(1, got.long()), ranked(others), mistakes)


def expect_indices(got: torch.Tensor, C: int, k: int) -> None:
    """Raise `Wrong` unless ``got`` holds ``k`` different indices below C in each of C rows."""
    if tuple(got.shape) != (C, k):
        raise Wrong(f"got shape {list(got.shape)}, want [{C}, {k}]: there are {C - 1} other names.")
    if got.is_floating_point() or not ((got >= 0) & (got < C)).all():
        raise Wrong(f"want indices of names, whole numbers from 0 to {C - 1}.")
    if any(len(set(row)) < k for row in got.tolist()):
        raise Wrong("a name stands twice among the neighbours of another.")


@check("the participation ratio, from dot products alone.")
def check_participation_ratio(case: Inputs, call: Call) -> None:
    """Check ``function(G [C, C])``, G = T Tᵀ: the participation ratio of the rows of T about their mean."""
    T = case.T.double()
    sigma = torch.linalg.svdvals(T - T.mean(0))
    G = T @ T.T
    half = G - G.mean(0)
    mistakes = {
        "that is about the origin: the mean name has to go first, and the cone with it.":
            G.trace() ** 2 / G.square().sum(),
        "only the columns of G are centred. Both factors of T Tᵀ lose their mean.":
            half.trace() ** 2 / half.square().sum(),
        "that uses σ where σ² belongs: variances are squared singular values.":
            sigma.sum() ** 2 / sigma.square().sum(),
        "that uses σ⁴ where σ² belongs: the eigenvalues of the Gram matrix are squares already.":
            sigma.pow(4).sum() ** 2 / sigma.pow(8).sum(),
        "the trace is not squared.": sigma.square().sum() / sigma.pow(4).sum(),
        "that is the numerator alone.": sigma.square().sum() ** 2,
        "it is upside down.": sigma.pow(4).sum() / sigma.square().sum() ** 2,
    }  # fmt: skip
    expect("the participation ratio", call(G.float()), subspace.participation_ratio(T), mistakes)


def _softmax(S: torch.Tensor, scale: float) -> torch.Tensor:
    """Probabilities [n, C]; at an infinite scale those within 1e-5 of the best share the answer."""
    if scale < math.inf:
        return (scale * S).softmax(1)
    best = (S >= S.max(1, keepdim=True).values - 1e-5).float()
    return best / best.sum(1, keepdim=True)


def _lengths(n: int, seed: int) -> torch.Tensor:
    """Lengths [n, 1] from 0.3 to 3, to take unit rows apart."""
    g = torch.Generator().manual_seed(seed)
    return 10 ** (torch.rand(n, 1, generator=g) - 0.5)
