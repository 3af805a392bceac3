"""The check of lesson 06: the right answer passes, each usual wrong one gets its own message."""

import pytest
from answers import answer_tests

from clipnull import exercises as ex

pytestmark = pytest.mark.usefixtures("synthetic_inputs")


def report(bench, name, method="mean"):
    return bench.compute({"forget": [name], "method": method}).report


def retain_change(bench, name, method):
    r = report(bench, name, method)
    return 100 * (r.retain_after - r.retain_before)


WRONG = {
    "fraction": lambda b, n, m: retain_change(b, n, m) / 100,
    "sign: after": lambda b, n, m: -retain_change(b, n, m),
    "hundredths": lambda b, n, m: -retain_change(b, n, m) / 100,
    "take the one before away": lambda b, n, m: 100 * report(b, n, m).retain_after,
    "forget accuracy's change": lambda b, n, m: (
        100 * (report(b, n, m).forget_after - report(b, n, m).forget_before)
    ),
    "relative": lambda b, n, m: 100 * (report(b, n, m).retained - 1),
    "method is not passed": lambda b, n, m: retain_change(b, n, "mean"),
    "is 17, want": lambda b, n, m: 17.0 + len(m) * 0,
    "unknown class": lambda b, n, m: retain_change(b, "tiger", m),
}


MISTAKES = [(ex.check_retain_change, wrong, words) for words, wrong in WRONG.items()]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(
    {ex.check_retain_change: retain_change}, MISTAKES
)
