"""Lesson 03's checks: each usual wrong answer gets its own message."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex
from clipnull.exercises import checking


def scores(S, Z, T, L, R):
    return S - (Z @ L) @ (T @ R).T


def two_way(s, S_r, c):
    return (S_r - s[:, None] * c < 0).double().mean()


def basis(E, delta=None, centred=False, of=None):
    """What lies above δ, or what a slip makes of it."""
    rows = E.flatten(0, 1) if of is None else of(E)
    noise = torch.linalg.svdvals((E - E.mean(0)).flatten(0, 1))[0] if delta is None else delta(E)
    U, s, _ = torch.linalg.svd((rows - centred * rows.mean(0)).T, full_matrices=False)
    return U[:, s > noise]


def of_means(E):
    p = len(E)
    return basis(E, of=lambda E: p**0.5 * E.mean(0))


def layer(M, b, U, weight=True, bias=True, sign=1.0):
    return M - sign * weight * U @ (U.T @ M), b - sign * bias * U @ (U.T @ b)


RIGHT = {
    ex.check_edited_scores: scores,
    ex.check_two_way_after: two_way,
    ex.check_honest_basis: basis,
    ex.check_folded_layer: layer,
}
edited, pairs, span, folded = RIGHT
WRONG = [
    (edited, lambda S, Z, T, L, R: scores(S, Z, T, R, L), "L and R are swapped"),
    (edited, lambda S, Z, T, L, R: S - scores(S, Z, T, L, R), "the part to take away: subtract it"),
    (edited, lambda S, Z, T, L, R: 2 * S - scores(S, Z, T, L, R), "the sign is wrong"),
    (edited, lambda S, Z, T, L, R: (Z - (Z @ L) @ R.T) @ T.T, "do not come from the S you are given"),
    (edited, lambda S, Z, T, L, R: F.normalize(Z - (Z @ L) @ R.T) @ T.T, "pictures were normalised"),
    (edited, lambda S, Z, T, L, R: Z @ F.normalize(T - (T @ R) @ L.T).T, "names were normalised"),
    (edited, lambda S, Z, T, L, R: scores(S, Z, T, L, R).T, "transposed"),
    (edited, lambda S, Z, T, L, R: S - Z @ (L @ R.T) @ T.T, ("forms a 32 × 32", "forms a 48 × 48")),
    (pairs, lambda s, S, c: (S < s[:, None]).double().mean(), "that is before the edit"),
    (pairs, lambda s, S, c: (S - s[:, None] * c < s[:, None]).double().mean(), "Its new one is 0"),
    (pairs, lambda s, S, c: (S < 0).double().mean(), "They lose something too"),
    (pairs, lambda s, S, c: (S - s[:, None] * c <= 0).double().mean(), "a tie is lost"),
    (pairs, lambda s, S, c: 1 - two_way(s, S, c), "1 minus the right answer"),
    (pairs, lambda s, S, c: (S - s[:, None] * c < 0).all(1).double().mean(), "that is full recall"),
    (pairs, lambda s, S, c: (S - s[:, None] * c < 0).any(1).double().mean(), "wins against any one name"),
    (pairs, lambda s, S, c: (S + s[:, None] * c < 0).double().mean(), "the wrong sign"),
    (pairs, lambda s, S, c: (S < c).double().mean(), "times c[j]"),
    (pairs, lambda s, S, c: 100 * two_way(s, S, c), "in percent"),
    (pairs, lambda s, S, c: (S - s[:, None] * c < 0).sum(), "that is the sum, want the mean"),
    (pairs, lambda s, S, c: (S - s * c < 0).double().mean(), "take sizes from the arguments"),
    (span, lambda E: basis(E, lambda E: 1e-5), "one per row of E"),
    (span, lambda E: basis(E, lambda E: 0.35), "want 3: which singular values are above δ?"),
    (span, lambda E: torch.linalg.svd(E.flatten(0, 1).T).U[:, : E.shape[1]], "a word may repeat"),
    (span, lambda E: basis(E, lambda E: (E - E.mean(0)).norm()), "adds them all up"),
    (span, lambda E: basis(E, lambda E: torch.linalg.svdvals(E.flatten(0, 1) - E.mean((0, 1)))[0]), "own mean"),
    (span, lambda E: basis(E, centred=True), "the rows were centred"),
    (span, of_means, "directions of the words' means"),
    (span, lambda E: basis(E, of=lambda E: E.mean(0)), "directions of the words' means"),
    (span, lambda E: basis(E).T, "transposed"),
    (span, lambda E: 2 * basis(E), "want unit length, and right angles"),
    (folded, lambda M, b, U: layer(M, b, U, bias=False), "b differs from the right answer by up to"),
    (folded, lambda M, b, U: layer(M, b, U, weight=False), "unchanged"),
    (folded, lambda M, b, U: layer(M, b, U, sign=-1.0), "was added"),
    (folded, lambda M, b, U: (U @ (U.T @ M), U @ (U.T @ b)), "the part to take away: subtract it"),
    (folded, lambda M, b, U: layer(M, b, U)[0], "want two arrays"),
    (folded, lambda M, b, U: layer(M, b, U)[::-1], "M has shape"),
    (folded, lambda M, b, U: (M - U @ U.T @ M, b - U @ U.T @ b), ("forms a 32 × 32", "forms a 48 × 48")),
    (folded, lambda M, b, U: (M - M @ U @ U.T, b), "take sizes from the arguments"),
]  # fmt: skip

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


def test_two_way_after_is_that_of_a_report():
    case = checking.synthetic(*checking.SHAPES["CLIP-shaped"]).forgetting([0])
    Z, t = case.Z[case.gone], case.T[0]
    own = two_way(Z @ t, Z @ case.T_r.T, case.T_r @ t)
    report = case.evaluate(cn.nullspace(case.T_f))
    assert 0 < float(own) < 1 and float(own) == pytest.approx(report.n_way[2].after)


def test_the_packages_own_basis_is_in_double_precision_and_passes():
    def by_package(E):
        count = basis(E).shape[1]
        rows = torch.linalg.svd(E.flatten(0, 1), full_matrices=False).Vh[:count]
        return cn.subspace.orthonormal_basis(rows)

    assert ex.check_honest_basis(by_package).passed
