"""Lesson 01's checks: each usual wrong answer gets its own message."""

import math

import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex

unit = F.normalize


def drawn(Z, T, labels, scale, S=None):
    """Mean probability of the right name."""
    S = unit(Z, dim=1) @ unit(T, dim=1).T if S is None else S
    if scale == math.inf:
        p = (S >= S.max(1, keepdim=True).values - 1e-5).float()
        p = p / p.sum(1, keepdim=True)
    else:
        p = (scale * S).softmax(1)
    return p[torch.arange(len(Z)), labels].mean()


def limit(answer):
    """Wrong in the limit only."""
    return lambda Z, T, y, scale: answer(Z, T, y) if scale == math.inf else drawn(Z, T, y, scale)


def cosines(Z, T):
    return unit(Z, dim=1) @ unit(T, dim=1).T


def tied(Z, T, y):
    S = cosines(Z, T)
    return (S >= S.max(1, keepdim=True).values - 1e-5)[torch.arange(len(y)), y].double().mean()


def centred(S):
    return S - S.mean(0) - S.mean(1, keepdim=True) + S.mean()


def nearest(T, k):
    M = unit(T - T.mean(0), dim=1)
    return (M @ M.T).fill_diagonal_(-2).topk(min(k, len(T) - 1)).indices


def ratio(G):
    C = centred(G)
    return C.trace() ** 2 / C.square().sum()


RIGHT = {
    ex.check_softmax_accuracy: drawn,
    ex.check_centred_scores: centred,
    ex.check_nearest_names: nearest,
    ex.check_participation_ratio: ratio,
}

accuracy, scores, names, width = RIGHT
WRONG = [
    (accuracy, lambda Z, T, y, s: drawn(Z, T, y, s, Z @ T.T), "dot products"),
    (accuracy, lambda Z, T, y, s: 100 * drawn(Z, T, y, s), "in percent"),
    (accuracy, lambda Z, T, y, s: len(Z) * drawn(Z, T, y, s), "that is the sum, want the mean"),
    (accuracy, lambda Z, T, y, s: (s * cosines(Z, T)).softmax(1).amax(1).mean(), "of the winner"),
    (accuracy, lambda Z, T, y, s: (s * cosines(Z, T)).softmax(0)[range(len(y)), y].mean(), "over the names"),
    (accuracy, lambda Z, T, y, s: (cosines(Z, T).argmax(1) == y).double().mean(), "the zero-shot accuracy"),
    (accuracy, lambda Z, T, y, s: (s * cosines(Z, T)).softmax(1)[range(len(y)), y].mean(), "an ∞ − ∞"),
    (accuracy, limit(lambda Z, T, y: (cosines(Z, T).argmax(1) == y).double().mean()), "the zero-shot accuracy"),
    (accuracy, limit(tied), "counts in full"),
    (scores, lambda S: S - S.mean(0), "the mean name is still"),
    (scores, lambda S: S - S.mean(1, keepdim=True), "the mean picture is still"),
    (scores, lambda S: S - S.mean(0) - S.mean(1, keepdim=True), "subtracted twice"),
    (scores, lambda S: S - S.mean(0) - S.mean(1, keepdim=True) - S.mean(), "wrong sign"),
    (scores, lambda S: S - S.mean(), "differs from the right answer"),
    (scores, lambda S: (S - S.mean(0)) / S.std(0), "divided by their size"),
    (scores, lambda S: centred(S).T, "transposed"),
    (names, lambda T, k: (unit(T - T.mean(0)) @ unit(T - T.mean(0)).T).topk(min(k, len(T) - 1)).indices,
        "the name itself"),
    (names, lambda T, k: (T @ T.T).fill_diagonal_(-2).topk(min(k, len(T) - 1)).indices, "before the mean"),
    (names, lambda T, k: ((T - T.mean(0)) @ (T - T.mean(0)).T).fill_diagonal_(-9)
        .topk(min(k, len(T) - 1)).indices, "largest dot products"),
    (names, lambda T, k: nearest(T, len(T)).flip(1)[:, :k], "farthest names"),
    (names, lambda T, k: (T @ T.T).topk(min(k, len(T) - 1)).indices, "not subtracted, and the name itself"),
    (names, lambda T, k: nearest(T, k)[:, :2], "want [12, 3]"),
    (names, lambda T, k: nearest(T, k).float(), "whole numbers"),
    (names, lambda T, k: nearest(T, 1).expand(-1, min(k, len(T) - 1)), "stands twice"),
    (width, lambda G: G.trace() ** 2 / G.square().sum(), "about the origin"),
    (width, lambda G: (G - G.mean(0)).trace() ** 2 / (G - G.mean(0)).square().sum(), "only the columns"),
    (width, lambda G: torch.linalg.svdvals(centred(G)).sqrt().sum() ** 2 / centred(G).trace(), "uses σ where"),
    (width, lambda G: ratio(centred(G) @ centred(G)), "squares already"),
    (width, lambda G: centred(G).trace() / centred(G).square().sum(), "the trace is not squared"),
    (width, lambda G: centred(G).trace() ** 2, "the participation ratio is"),
    (width, lambda G: 1 / ratio(G), "upside down"),
]  # fmt: skip

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


def test_neighbours_in_any_order():
    assert ex.check_nearest_names(lambda T, k: nearest(T, k).flip(1)).passed


def test_few_names_are_asked_for_too():
    message = ex.check_nearest_names(
        lambda T, k: nearest(T, k) if k < len(T) else T.topk(k + T.shape[1])
    ).message
    assert "your function raised" in message and "Arrays are [4, 32]" in message
