"""The checks of the elective one_style_only: right answers pass, each usual wrong one gets its own message."""

from __future__ import annotations

import torch
from answers import answer_tests

from clipnull import exercises as ex


def interaction(M):
    return M - M.mean(0, keepdim=True) - M.mean(1, keepdim=True) + M.mean((0, 1), keepdim=True)


def matrix(p, P_r, mu):
    return torch.eye(len(p), dtype=p.dtype) + mu * P_r.T @ P_r


def reader(p, P_r, mu):
    x = torch.linalg.solve(matrix(p, P_r, mu), p)
    return x / (p @ x)


RIGHT = {
    ex.check_interaction: interaction,
    ex.check_reader: reader,
}


def mean(M, *over):
    return M.mean(over, keepdim=True)


def pinv_reader(p, P_r, mu):
    if mu == 0:
        return p / (p @ p)
    y = torch.linalg.pinv(mu * P_r.T @ P_r, rtol=1e-9) @ p
    return y / (p @ y)


MISTAKES = {
    ex.check_interaction: [
        (lambda M: M - mean(M, 0) - mean(M, 1), "taken away twice"),
        (lambda M: M - mean(M, 1), "the class is still in it"),
        (lambda M: M - mean(M, 0), "the style is still in it"),
        (lambda M: M - interaction(M), "the part to take away: subtract it"),
        (lambda M: M - mean(M, 0, 1), "only the mean over everything is gone"),
        (lambda M: M - mean(M, 0) - mean(M, 1) - mean(M, 0, 1), "do not take it away again"),
        (lambda M: interaction(M).sum(0), "has shape"),
    ],
    ex.check_reader: [
        (lambda p, P, mu: torch.linalg.solve(matrix(p, P, mu), p), "times the right answer"),
        (lambda p, P, mu: reader(p, P, mu) / reader(p, P, mu).norm(), "scaled to unit length"),
        (lambda p, P, mu: p / (p @ p), "μ has no effect"),
        (pinv_reader, "the I of M"),
        (lambda p, P, mu: matrix(p, P, mu) @ p / (p @ matrix(p, P, mu) @ p), "that is M p; want M⁻¹ p"),
        (lambda p, P, mu: -reader(p, P, mu), "the sign is wrong"),
        (lambda p, P, mu: reader(p, P, mu)[None], "has shape"),
    ],
}


WRONG = [(check, *mistake) for check, some in MISTAKES.items() for mistake in some]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)
