"""The checks of lesson 08: right answers pass, each usual wrong one gets its own message."""

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


def choose_point(forget, retain, limit):
    fits = (forget <= limit).nonzero()[:, 0]
    return fits[retain[fits].argmax()] if len(fits) else forget.argmin()


def differing(before, after):
    return [int((before[k] != after[k]).sum()) for k in before]


def sizes(before):
    return [v.numel() for v in before.values()]


def changed_share(before, after):
    return sum(differing(before, after)) / sum(sizes(before))


CHECKS = {
    ex.check_known: known,
    ex.check_zero_limit: zero_limit,
    ex.check_choose_point: choose_point,
    ex.check_changed_share: changed_share,
}


def precision(S, labels, share):
    named = torch.bincount(S.argmax(1), minlength=S.shape[1]).clamp(min=1)
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / named >= share


def of_all(S, labels, share):
    return torch.bincount(labels[S.argmax(1) == labels], minlength=S.shape[1]) / len(S) >= share


def within(before, after):
    return sum(int((~torch.isclose(before[k], after[k])).sum()) for k in before) / sum(sizes(before))


def whole_tensors(before, after):
    pairs = zip(sizes(before), differing(before, after), strict=True)
    return sum(n for n, d in pairs if d) / sum(sizes(before))


def averaged(before, after):
    pairs = zip(sizes(before), differing(before, after), strict=True)
    return sum(d / n for n, d in pairs) / len(before)


def not_through_the_filter(forget, retain, limit):
    return retain[forget <= limit].argmax()


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
    (ex.check_choose_point, lambda f, r, limit: r.argmax(), "does not forget"),
    (ex.check_choose_point, lambda f, r, limit: f.argmin(), "retention decides"),
    (ex.check_choose_point, lambda f, r, limit: (r - f).argmax(), "another rule"),
    (ex.check_choose_point, lambda f, r, limit: r.where(f < limit, -torch.inf).argmax(), "at the limit was"),
    (ex.check_choose_point, not_through_the_filter, "not into all."),
    (ex.check_choose_point, lambda f, r, limit: r.where(f <= limit, -torch.inf).argmax(), "no point fits"),
    (ex.check_changed_share, lambda b, a: sum(differing(b, a)), "Divide by how many"),
    (ex.check_changed_share, lambda b, a: sum(map(bool, differing(b, a))) / len(b), "share of tensors"),
    (ex.check_changed_share, whole_tensors, "those that are equal too"),
    (ex.check_changed_share, averaged, "were averaged"),
    (ex.check_changed_share, within, "a small change is a change"),
    (ex.check_changed_share, lambda b, a: 1 - changed_share(b, a), "entries that are equal"),
]


test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(CHECKS, MISTAKES)
