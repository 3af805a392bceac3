"""The checks of lesson 06: usual wrong answers get their own message. The right ones are the lesson's."""

from __future__ import annotations

from answers import answer_tests

import clipnull as cn
from clipnull import exercises as ex


def over_draws(bench, case, method, draws):
    states = [bench.example(case, seed, method=method) for seed in range(draws)]
    return [bench.compute(state).report.n_way[2].after for state in states]


def reports(bench, case, method, draws):
    return [bench.compute(bench.example(case, s, method=method)).report for s in range(draws)]


def best_state(bench, forget, two_way=0.55, full=0.0, sign=1):
    best, most = None, -9.0
    for name, method in cn.METHODS.items():
        for point in method.combinations:
            state = {"forget": forget, "method": name, **point}
            report = bench.compute(state).report
            fits = report.forget_after <= full and report.n_way[2].after <= two_way
            if fits and sign * report.retained > most:
                best, most = state, sign * report.retained
    return best


WRONG = [
    (ex.check_over_draws, lambda b, c, m, n: [100 * x for x in over_draws(b, c, m, n)], "in percent"),
    (ex.check_over_draws, lambda b, c, m, n: n * over_draws(b, c, m, 1), "is the seed passed on"),
    (
        ex.check_over_draws,
        lambda b, c, m, n: [b.compute(b.example(c, s)).report.n_way[2].after for s in range(n)],
        "method is not passed on",
    ),
    (ex.check_over_draws, lambda b, c, m, n: [r.n_way[2].before for r in reports(b, c, m, n)], "before"),
    (
        ex.check_over_draws,
        lambda b, c, m, n: [r.forget_after for r in reports(b, c, m, n)],
        "among all names",
    ),
    (ex.check_over_draws, lambda b, c, m, n: over_draws(b, c, m, n + 1), "shape"),
    (ex.check_best_state, lambda b, f: "mean", "is no state"),
    (ex.check_best_state, lambda b, f: {"method": "magic"}, "is no state"),
    (ex.check_best_state, lambda b, f: {"method": "mean"}, "put the names into the state"),
    (ex.check_best_state, lambda b, f: {"forget": f, "method": "ccup"}, "a point of the grids keeps more"),
    (ex.check_best_state, lambda b, f: best_state(b, f, two_way=1.0), "and 2-way"),
    (ex.check_best_state, lambda b, f: best_state(b, f, two_way=1.0, full=1.0), "want 0 and at most 0.55"),
    (ex.check_best_state, lambda b, f: best_state(b, f, sign=-1), "a point of the grids keeps more"),
]

test_right_answer, test_stub, test_missing_return, test_wrong_answer = answer_tests(
    {ex.check_over_draws: over_draws, ex.check_best_state: best_state}, WRONG
)
