"""Checks of lesson 06."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull.datasets.arrays import Embeddings
from clipnull.erasers import METHODS
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, synthetic

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

__all__ = ["check_best_state", "check_over_draws"]


def _inputs() -> list[Inputs]:
    return [synthetic("CLIP-shaped", 1.25, 30, 32, seed=5)]


def _bench(case: Inputs) -> Bench:
    """A table of a case's rows, noisy so that some images are missed."""
    from clipnull.lab.bench import Bench

    noise = torch.randn(case.Z.shape, generator=torch.Generator().manual_seed(0))
    Z = F.normalize(case.Z + 1.2 * F.normalize(noise, dim=1), dim=1)
    names = [f"class {i}" for i in range(len(case.T))]
    return Bench(None, Embeddings(Z, case.T, case.labels, names, {"turned": case.T.roll(1, 1)}))


@check("the same question for other classes, draw after draw.", _inputs)
def check_over_draws(case: Inputs, call: Call) -> None:
    """Check ``over_draws(bench, case, method, draws)`` -> 2-way recalls after, fractions (notebook 06)."""
    bench = _bench(case)
    for name, method in (("an open list", "mean"), ("alone", "hull")):
        reports = [bench.compute(bench.example(name, seed, method=method)).report for seed in range(4)]
        want = torch.tensor([r.n_way[2].after for r in reports])
        usual = [bench.compute(bench.example(name, seed)).report.n_way[2].after for seed in range(4)]
        mistakes = {
            "every draw has the same classes: is the seed passed on?": want[:1].expand(4),
            "the method is not passed on: that is the case's own.": torch.tensor(usual),
            "that is the recall before; its after is wanted.": [r.n_way[2].before for r in reports],
            "that is among all names; the 2-way recall is in n_way[2].": [r.forget_after for r in reports],
            "that is in percent; fractions are wanted.": 100 * want,
        }
        expect(f'over_draws(bench, "{name}", "{method}", 4)', call(bench, name, method, 4), want, mistakes)


@check("of all that forgets, the edit that keeps most.", _inputs)
def check_best_state(case: Inputs, call: Call) -> None:
    """Check ``best_state(bench, forget)`` -> a state of the lab (notebook 06)."""
    bench = _bench(case)
    for forget in (["class 3"], ["class 0", "class 7", "class 11"]):
        asked = f"best_state(bench, {forget})"
        state: Any = call.raw(bench, forget)
        if not isinstance(state, Mapping):
            raise Wrong(f"{asked} is a {type(state).__name__}; a state is a dict such as bench.first.")
        try:
            state = bench.check(state)
        except ValueError as problem:
            raise Wrong(f"{asked} is no state: {problem}") from problem
        if state["forget"] != forget:
            raise Wrong(f"{asked} forgets {state['forget']}: put the names into the state.")
        got = bench.compute(state).report
        if got.forget_after or got.n_way[2].after > 0.55:
            found = f"full recall {got.forget_after:.2f} and 2-way {got.n_way[2].after:.2f}"
            raise Wrong(f"{asked} has {found}; want 0 and at most 0.55.")
        points = [{"forget": forget, "method": m, **p} for m in METHODS for p in METHODS[m].combinations]
        reports = [bench.compute(point).report for point in points]
        best = max(r.retained for r in reports if not r.forget_after and r.n_way[2].after <= 0.55)
        if got.retained < best - 1e-9:
            kept = f"{100 * got.retained:.1f}%; a point of the grids keeps {100 * best:.1f}%"
            raise Wrong(f"{asked} keeps {kept}.")
