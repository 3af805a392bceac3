"""The checks of lesson 09: each usual wrong answer gets its own message."""

from __future__ import annotations

import math

import torch
from answers import answer_tests

from clipnull import exercises as ex


def recall(S, labels):
    right = S.argmax(1) == labels
    return torch.stack([right[labels == c].double().mean() for c in range(S.shape[1])])


def precision(S, labels, share):
    named = torch.bincount(S.argmax(1), minlength=S.shape[1]).clamp(min=1)
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / named >= share


def of_all(S, labels, share):
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / len(S) >= share


def certified(lead, kept, two_way, within=0.02):
    safe = [i for i in range(len(lead)) if lead[i] < 1e-5]
    return [i for i in safe if kept[i] >= max(kept[j] for j in safe) - within]


MISTAKES = [
    (ex.check_halves, lambda g, y: torch.arange(len(g)) % 2 == 0, "copies of one picture lie on both sides"),
    (ex.check_halves, lambda g, y: g % 2 == 0, "on one side, want half"),
    (ex.check_halves, lambda g, y: torch.isin(g, g.unique()[::2]), "on one side, want half"),
    (ex.check_halves, lambda g, y: y % 2 == 0, "on one side, want half"),
    (ex.check_halves, lambda g, y: g.unique()[::2], "want a mask"),
    (ex.check_known, precision, "that is precision"),
    (ex.check_known, lambda S, y, share: recall(S, y) > share, "'at least' was asked for"),
    (ex.check_known, of_all, "divided by all n pictures"),
    (ex.check_known, lambda S, y, share: recall(S, y) < share, "1 minus the right answer"),
    (ex.check_known, lambda S, y, share: recall(S, y), "that is the recall itself"),
    (ex.check_known, lambda S, y, share: (recall(S, y) >= share).nonzero()[:, 0], "Want a mask"),
    (ex.check_known, lambda S, y, share: ~(recall(S, y) < share), "without pictures is not known"),
    (ex.check_chosen, lambda lead, kept, two: (two - 0.5).abs().argmin(), "it is not certified"),
    (ex.check_chosen, lambda lead, kept, two: kept.argmax(), "it is not certified"),
    (
        ex.check_chosen,
        lambda *x: min(certified(*x, 1.0), key=lambda i: abs(x[2][i] - 0.5)),
        "more than two points",
    ),
    (ex.check_chosen, lambda *x: max(certified(*x), key=lambda i: x[1][i]), "2-way recall decides"),
    (ex.check_chosen, lambda *x: min(certified(*x), key=lambda i: x[2][i]), "not the lowest recall"),
    (
        ex.check_chosen,
        lambda *x: min(range(len(certified(*x))), key=lambda i: abs(x[2][certified(*x)[i]] - 0.5)),
        "in your shorter list",
    ),
    (
        ex.check_chosen,
        lambda *x: min(certified(*x)[::-1], key=lambda i: abs(x[2][i] - 0.5)),
        "of equals the first",
    ),
    (
        ex.check_chosen,
        lambda *x: 0 if not certified(*x) else min(certified(*x), key=lambda i: abs(x[2][i] - 0.5)),
        "no eraser is certified",
    ),
    (ex.check_zero_limit, lambda n, c: (1 - c) ** (1 / n), "1 minus the right answer"),
    (ex.check_zero_limit, lambda n, c: 1 - c ** (1 / n), "are exchanged"),
    (ex.check_zero_limit, lambda n, c: 1 - (1 - c) ** n, "n-th power was taken"),
    (ex.check_zero_limit, lambda n, c: 3 / n, "rule of three"),
    (ex.check_zero_limit, lambda n, c: -math.log(1 - c) / n, "the limit for many pictures"),
    (ex.check_zero_limit, lambda n, c: 0.0 * n, "does not make the rate 0"),
    (ex.check_zero_limit, lambda n, c: 0.5 + 0 * n, "is 0.5, want"),
    (ex.check_sealed, lambda folder: True, "sha256 of the file's bytes"),
    (ex.check_sealed, lambda folder: (folder / "receipt.json").exists(), "sha256 of the file's bytes"),
    (ex.check_sealed, lambda folder: False, "sha256 of the file's bytes"),
]


*_, test_wrong_answer = answer_tests({}, MISTAKES)
