"""The checks of lesson 07b: right answers pass, each usual wrong one gets its own message."""

import pytest
import torch
import torch.nn.functional as F
from answers import answer_tests

from clipnull import exercises as ex

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def svd(P, Q):
    return torch.linalg.svd(P - Q, full_matrices=False)


def written(P, Q):
    return svd(P, Q).Vh[0]


def read(P, Q):
    return F.normalize(torch.linalg.pinv(P) @ svd(P, Q).U[:, 0], dim=0)


def name_scores(direction, V):
    return (F.normalize(V - V.mean(0), dim=1) @ direction).abs()


CHECKS = {
    ex.check_read_direction: read,
    ex.check_name_scores: name_scores,
}


def test_the_sign_is_free():
    assert ex.check_read_direction(lambda P, Q: -read(P, Q))


WRONG = [
    (ex.check_read_direction, lambda P, Q: written(P, Q), "along R"),
    (ex.check_read_direction, lambda P, Q: svd(P, Q).U[:, 0], "undo P"),
    (ex.check_read_direction, lambda P, Q: F.normalize(P.T @ svd(P, Q).U[:, 0], dim=0), "pseudo-inverse"),
    (ex.check_read_direction, lambda P, Q: torch.linalg.pinv(P) @ svd(P, Q).U[:, 0], "unit length"),
    (ex.check_name_scores, lambda r, V: F.normalize(V - V.mean(0), dim=1) @ r, "absolute values"),
    (ex.check_name_scores, lambda r, V: (F.normalize(V, dim=1) @ r).abs(), "mean name was not"),
    (ex.check_name_scores, lambda r, V: ((V - V.mean(0)) @ r).abs(), "not of unit length"),
    (
        ex.check_name_scores,
        lambda r, V: (F.normalize(V - V.mean(1, keepdim=True), dim=1) @ r).abs(),
        "mean over names",
    ),
    (
        ex.check_name_scores,
        lambda r, V: ((F.normalize(V, dim=1) - F.normalize(V, dim=1).mean(0)) @ r).abs(),
        "not after",
    ),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, WRONG)
