"""The check of lesson 00 against the usual wrong answers."""

from __future__ import annotations

import pytest
import torch
from answers import answer_tests

from clipnull import exercises as ex

unit = torch.nn.functional.normalize


def without(Z, d, over=lambda d: d @ d):
    return Z - (Z @ d)[:, None] * d / over(d)


def neutral(Z, t, T_r, **how):
    return without(Z, t - T_r.mean(0), **how)


def along_the_name(Z, t, T_r):
    d = t - T_r.mean(0)
    return Z - torch.outer(Z @ d / (t @ d), t)


RIGHT = {ex.check_neutral: neutral}
WRONG = [
    (ex.check_neutral, lambda Z, t, T_r: without(Z, t), "that is nullspace"),
    (ex.check_neutral, lambda Z, t, T_r: without(Z, t - unit(T_r.mean(0), dim=0)), "scaled to length 1"),
    (ex.check_neutral, lambda Z, t, T_r: neutral(Z, t / t.norm(), T_r), "t was scaled to length 1"),
    (ex.check_neutral, lambda Z, t, T_r: neutral(Z, t, T_r, over=lambda d: 1), "divide by d·d"),
    (ex.check_neutral, lambda Z, t, T_r: neutral(Z, t, T_r, over=torch.norm), "its square"),
    (ex.check_neutral, along_the_name, "shortest way"),
    (ex.check_neutral, lambda Z, t, T_r: Z - neutral(Z, t, T_r), "the part to take away: subtract it"),
    (ex.check_neutral, lambda Z, t, T_r: 2 * Z - neutral(Z, t, T_r), "the sign is wrong"),
    (ex.check_neutral, lambda Z, t, T_r: unit(neutral(Z, t, T_r), dim=1), "scaled to unit length"),
    (ex.check_neutral, lambda Z, t, T_r: neutral(Z, t, T_r).T, "transposed"),
]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(RIGHT, WRONG)


@pytest.mark.parametrize(
    "answer",
    [
        lambda Z, t, T_r: torch.stack([z - (z @ (d := t - T_r.mean(0))) / (d @ d) * d for z in Z]),
        lambda Z, t, T_r: Z @ (torch.eye(len(t)) - torch.outer(d := unit(t - T_r.mean(0), dim=0), d)),
        lambda Z, t, T_r: neutral(Z.double(), t.double(), T_r.double()),
    ],
    ids=["row by row", "by the matrix", "in double precision"],
)
def test_any_way_there_passes(answer):
    verdict = ex.check_neutral(answer)
    assert verdict.passed, verdict.message
