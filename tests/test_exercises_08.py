"""The checks of lesson 08: right answers pass, each usual wrong one gets its own message."""

from __future__ import annotations

import torch
from answers import answer_tests

from clipnull import exercises as ex
from clipnull.protocol.result import score_parts


def score(forget, retain, others):
    left = forget[1] / forget[0]
    terms = [left, *(max(0, (b - a) / b) for b, a in [retain, *others])]
    return sum(terms) / len(terms)


def fewest(percent):
    n = 1
    while not any(round(100 * k / n, 2) == percent for k in range(n + 1)):
        n += 1
    return n


def moved(L, R, T_r):
    return (T_r @ R) @ L.T


def largest(L, R, T_r):
    return moved(L, R, T_r).norm(dim=1).max()


CHECKS = {
    ex.check_protocol_score: score,
    ex.check_fewest_pictures: fewest,
    ex.check_largest_change: largest,
}


def test_package_passes_its_own_check():
    assert ex.check_protocol_score(lambda *pairs: sum(score_parts(*pairs)))


def terms(f, r, others, gains=False, left=None):
    drops = [(b - a) / b for b, a in [r, *others]]
    return [f[1] / f[0] if left is None else left(f), *(drops if gains else [max(0, d) for d in drops])]


def mean(x):
    return sum(x) / len(x)


WRONG = [
    (ex.check_protocol_score, lambda f, r, o: sum(terms(f, r, o)), "want their mean"),
    (ex.check_protocol_score, lambda f, r, o: mean(terms(f, r, o, gains=True)), "a gain was counted"),
    (
        ex.check_protocol_score,
        lambda f, r, o: mean([f[1] / f[0], *(max(0, b - a) for b, a in [r, *o])]),
        "drops are relative",
    ),
    (ex.check_protocol_score, lambda f, r, o: mean(terms(f, r, o, left=lambda f: f[1])), "not as AF alone"),
    (
        ex.check_protocol_score,
        lambda f, r, o: mean(terms(f, r, o, left=lambda f: 1 - f[1] / f[0])),
        "what is left",
    ),
    (ex.check_protocol_score, lambda f, r, o: sum(terms(f, r, o)) / 5, "fewer data sets"),
    (
        ex.check_protocol_score,
        lambda f, r, o: (f[1] / f[0] + max(0, (r[0] - r[1]) / r[0]) + mean(terms(f, r, o)[2:])) / 3,
        "averaged to one term",
    ),
    (ex.check_fewest_pictures, lambda p: max(10_000, int(p)), "is 1e+04, want 19"),
    (ex.check_fewest_pictures, lambda p: 2000 if p == 78.95 else fewest(p), "takes it as exact"),
    (ex.check_fewest_pictures, lambda p: round(p * fewest(p) / 100), "that is k"),
    (ex.check_fewest_pictures, lambda p: fewest(p) - 1, "is 18, want 19"),
    (ex.check_fewest_pictures, lambda p: fewest(p) + 1, "is 20, want 19"),
    (ex.check_fewest_pictures, lambda p: 2 * fewest(p), "the smallest"),
    (ex.check_fewest_pictures, lambda p: min(7, int(p)), "is 7, want 19"),
    (ex.check_fewest_pictures, lambda p: min(100, fewest(p)), "is 100, want 393"),
    (ex.check_largest_change, lambda L, R, T: largest(R, L, T), "that moves T_r by Wᵀ"),
    (ex.check_largest_change, lambda L, R, T: moved(L, R, T).norm(dim=1).mean(), "want the largest."),
    (ex.check_largest_change, lambda L, R, T: moved(L, R, T).abs().max(), "the largest entry"),
    (ex.check_largest_change, lambda L, R, T: largest(L, R, T) ** 2, "take the root"),
    (ex.check_largest_change, lambda L, R, T: (T @ R).norm(dim=1).max(), "a name moves by L"),
    (
        ex.check_largest_change,
        lambda L, R, T: torch.linalg.svdvals(torch.linalg.qr(L).R @ torch.linalg.qr(R).R.T).max(),
        "over all directions",
    ),
    (ex.check_largest_change, lambda L, R, T: (T - moved(L, R, T)).norm(dim=1).max(), "how long W t_r is"),
    (ex.check_largest_change, lambda L, R, T: (T @ (L @ R.T).T).norm(dim=1).max(), "matrix"),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
