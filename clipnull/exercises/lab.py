"""Checks of lesson 06."""

from typing import Any

from clipnull.datasets.arrays import Embeddings
from clipnull.erasers import METHODS
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, randn, unit

__all__ = ["check_best_state", "check_over_draws"]


def _bench(case: Inputs) -> Any:
    """A table of a case's rows, noisy so that some images are missed."""
    from clipnull.lab.bench import Bench

    Z = unit(case.images + 1.2 * unit(randn(*case.images.shape, seed=0)))
    names = [f"class {i}" for i in range(len(case.T))]
    return Bench(None, Embeddings(Z, case.T, case.labels, names, {"turned": case.T.roll(1, 1)}))


@check("the same question for other classes, draw after draw.", (1.25, 30, 32, 5))
def check_over_draws(case: Inputs, call: Call) -> None:
    """``over_draws(bench, case, method, draws)``: 2-way recalls after, fractions."""
    bench = _bench(case)
    for name, method in (("an open list", "mean"), ("alone", "hull")):
        reports = [bench.compute(bench.example(name, seed, method=method)).report for seed in range(4)]
        want = [r.n_way[2].after for r in reports]
        usual = [bench.compute(bench.example(name, seed)).report for seed in range(4)]
        mistakes = {
            "every draw has the same classes: is the seed passed on?": want[:1] * 4,
            "the method is not passed on: that is the case's own.": [r.n_way[2].after for r in usual],
            "that is the recall before; its after is wanted.": [r.n_way[2].before for r in reports],
            "that is among all names; the 2-way recall is in n_way[2].": [r.forget_after for r in reports],
        }
        expect(f'over_draws(bench, "{name}", "{method}", 4)', call(bench, name, method, 4), want, mistakes)


@check("of all that forgets, the edit that keeps most.", (1.25, 30, 32, 5))
def check_best_state(case: Inputs, call: Call) -> None:
    """``best_state(bench, forget)``: a state of the lab."""
    bench = _bench(case)
    for forget in (["class 3"], ["class 0", "class 7", "class 11"]):
        asked, state = f"best_state(bench, {forget})", call(bench, forget)
        try:
            state = bench.check(state)
        except (AttributeError, TypeError, ValueError) as problem:
            raise Wrong(f"{asked} is no state such as bench.first: {problem}") from problem
        if state["forget"] != forget:
            raise Wrong(f"{asked} forgets {state['forget']}: put the names into the state.")
        got = bench.compute(state).report
        points = [{"forget": forget, "method": m, **p} for m in METHODS for p in METHODS[m].combinations]
        reports = [bench.compute(point).report for point in points]
        best = max(r.retained for r in reports if not r.forget_after and r.n_way[2].after <= 0.55)
        if got.forget_after or got.n_way[2].after > 0.55:
            found = f"full recall {got.forget_after:.2f} and 2-way {got.n_way[2].after:.2f}"
            raise Wrong(f"{asked} has {found}; want 0 and at most 0.55.")
        less = {"a point of the grids keeps more.": got.retained}
        expect(f"what {asked} keeps", got.retained, max(got.retained, best), less)
