"""Many evaluations: an eraser over a grid of hyperparameters, methods over sizes of the forget set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from clipnull import _check, _show
from clipnull.edit import Edit
from clipnull.erasers import METHODS, consistent, nullspace
from clipnull.evaluation import MASKING, Case, candidate_masking, evaluate
from clipnull.report import Report, Side
from clipnull.solver import ConsistentSolver

__all__ = ["Sweep", "sweep", "sweep_sizes"]

ACCURACIES = ("forget_before", "forget_after", "retain_before", "retain_after")
#: after the edit: 2-way recall and AUC
LISTS = ("two_way", "search")


class Sweep(_show.Shown, list[dict[str, Any]]):
    """A list of points, shown as a table.

    A point is a dict: parameters, then forget_before, forget_after, retain_before, retain_after, two_way and
    search (2-way recall and AUC after the edit, NaN without pictures of forgotten classes), as fractions.
    """

    def column(self, name: str) -> torch.Tensor:
        return torch.tensor([p[name] for p in self], dtype=torch.float64)

    def where(self, **match: Any) -> Sweep:
        return Sweep([p for p in self if all(p.get(k) == v for k, v in match.items())])

    def table(self) -> _show.Table:
        head = list(self[0]) if self else []
        shares = {*ACCURACIES, *LISTS}
        rows = [[_show.tenths(p[k]) if k in shares else f"{p[k]}" for k in head] for p in self]
        return _show.Table([f"{k} %" if k in shares else k for k in head], rows, left=0)


def _point(report: Report, **parameters: Any) -> dict[str, Any]:
    two = report.n_way.get(2)
    lists = {"two_way": two.after if two else math.nan, "search": report.search.after}
    return {**parameters, **{k: getattr(report, k) for k in ACCURACIES}, **lists}


@_check.by_name
def sweep(case: Case, eraser: Callable[..., Edit], side: Side = "image", **grid: Sequence[Any]) -> Sweep:
    """Evaluate an eraser over a grid: ``lam=[1, 10], mu=[1, 10]``, a point per combination, the last fastest.

    An eraser is `clipnull.nullspace`, `clipnull.consistent`, or any ``eraser(T_f, T_r, **parameters)``.
    """
    names = (case.T_f,) if eraser is nullspace else (case.T_f, case.T_r)
    make: Callable[..., Edit] = partial(eraser, *names)
    if eraser is consistent:
        make = ConsistentSolver(case.T_f, case.T_r).edit  # one factorisation serves all of them
    _ = case.scores  # kept from here on: each edit is a rank-m update of them
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return Sweep([_point(evaluate(case, make(**p), side), **p) for p in combinations])


@_check.by_name
def sweep_sizes(
    case: Case, sizes: Sequence[int], methods: Sequence[str] = (*METHODS,), draws: int = 3, seed: int = 0
) -> Sweep:
    """How each method fares as more classes are forgotten, a point per size and method.

    Means are over ``draws`` random forget sets per size, the same ones for every method; the case's own one
    plays no part. ``methods`` are keys of `clipnull.METHODS`, or ``"candidate masking"``.
    """
    C, gen = len(case.T), torch.Generator().manual_seed(seed)
    sizes = [_check.whole("sizes", size, 1, C - 1) for size in sizes]
    methods = _check.some_of("methods", methods, [*METHODS, MASKING])
    _ = case.scores
    points = []
    for size in sizes:
        drawn = [case.forgetting(torch.randperm(C, generator=gen)[:size].tolist()) for _ in range(draws)]
        for method in methods:
            if method == MASKING:
                rows = [_point(candidate_masking(one)) for one in drawn]
            else:
                make = METHODS[method].make
                edits = [make(one.T_f, one.T_r, seed=seed + i) for i, one in enumerate(drawn)]
                rows = [_point(evaluate(*each)) for each in zip(drawn, edits, strict=True)]
            means = {k: sum(r[k] for r in rows) / draws for k in rows[0]}
            points.append({"size": size, "method": method, **means})
    return Sweep(points)
