"""The checks of lesson 09: right answers pass, each usual wrong one gets its own message."""

import math

import pytest
import torch
from answers import answer_tests

from clipnull import exercises as ex

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def recall(S, labels):
    right = S.argmax(1) == labels
    return torch.stack([right[labels == c].double().mean() for c in range(S.shape[1])])


def known(S, labels, share):
    return recall(S, labels) >= share


def zero_limit(n, confidence):
    return 1 - (1 - confidence) ** (1 / n)


CHECKS = {
    ex.check_known: known,
    ex.check_zero_limit: zero_limit,
}


def precision(S, labels, share):
    named = torch.bincount(S.argmax(1), minlength=S.shape[1]).clamp(min=1)
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / named >= share


def of_all(S, labels, share):
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / len(S) >= share


MISTAKES = [
    (ex.check_known, precision, "that is precision"),
    (ex.check_known, lambda S, y, share: recall(S, y) > share, "'at least' was asked for"),
    (ex.check_known, of_all, "divided by all n pictures"),
    (ex.check_known, lambda S, y, share: recall(S, y) < share, "the classes below the share"),
    (ex.check_known, lambda S, y, share: recall(S, y), "that is the recall itself"),
    (ex.check_known, lambda S, y, share: known(S, y, share).nonzero()[:, 0], "Want a mask"),
    (ex.check_known, lambda S, y, share: recall(S, y) > 0, "one right picture is not enough"),
    (ex.check_zero_limit, lambda n, c: (1 - c) ** (1 / n), "that is 1 − p"),
    (ex.check_zero_limit, lambda n, c: 1 - c ** (1 / n), "are exchanged"),
    (ex.check_zero_limit, lambda n, c: 1 - (1 - c) ** n, "n-th power was taken"),
    (ex.check_zero_limit, lambda n, c: 3 / n, "rule of three"),
    (ex.check_zero_limit, lambda n, c: -math.log(1 - c) / n, "the limit for many pictures"),
    (ex.check_zero_limit, lambda n, c: 1 - ((1 - c) / 2) ** (1 / n), "two-sided interval"),
    (ex.check_zero_limit, lambda n, c: 0.0 * n, "does not make the rate 0"),
    (ex.check_zero_limit, lambda n, c: 0.5 + 0 * n, "is 0.5, want"),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, MISTAKES)
