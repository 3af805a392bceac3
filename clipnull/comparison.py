"""Many evaluations: the fair comparison, an eraser over a grid, methods over sizes of the forget set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.edit import Edit
from clipnull.erasers import METHODS, Method, consistent, nullspace
from clipnull.evaluation import MASKING, Case, candidate_masking, evaluate
from clipnull.report import Report, Side
from clipnull.solver import ConsistentSolver

__all__ = [
    "Comparison", "Figures", "Row", "Spread", "Sweep", "Trial", "compare", "sweep", "sweep_sizes", "trials",
]  # fmt: skip

FORGOTTEN = 0.02  # a point of a grid has forgotten when full recall is at most this part of that before
ACCURACIES = ("forget_before", "forget_after", "retain_before", "retain_after")


class Trial(NamedTuple):
    """One forget set: pictures to test on, others to tune on, and the first under a prompt that is new."""

    test: Case
    tune: Case | None = None
    other: Case | None = None


_check.TYPES["Trial"] = _check.instance(Trial)


@_check.by_name
def trials(
    test: Case,
    size: int,
    tune: Case | None = None,
    other: ArrayLike | None = None,
    draws: int = 5,
    seed: int = 0,
    listed: float = 1.0,
) -> list[Trial]:
    """Random forget sets of ``size`` classes on the same pictures; the cases' own ones play no part.

    ``tune`` has the same names and other pictures, else a ValueError; without it nothing is tuned. Classes
    are drawn among those with pictures in both. ``other`` [C, d] are the names under another prompt, which no
    edit sees; of the kept names erasers are told a random share, ``listed``.
    """
    pictured = set(test.labels.tolist())
    if tune is not None:
        pictured &= set(tune.labels.tolist())
        if not torch.equal(tune.T, test.T):
            raise ValueError("tune: its T differs from that of test, want the same names")
        tuned, tested = ({z.tobytes() for z in case.images.cpu().numpy()} for case in (tune, test))
        if both := len(tuned & tested):
            raise ValueError(f"tune: {both} of its pictures are among those of test, want other pictures")
    size = _check.whole("size", size, 1, min(len(pictured), len(test.T) - 1))
    listed = _check.number("listed", listed, 0.0, 1.0)
    under = None
    if other is not None:
        names = _check.rows("other", other, test.T.shape[1])
        if len(names) != len(test.T):
            raise ValueError(f"other: got {len(names)} names, want {len(test.T)}")
        under = Case(test.Z, names, test.labels, test.forget, test.classes)
    gen, found = torch.Generator().manual_seed(seed), []
    for _ in range(draws):
        order = torch.randperm(len(pictured), generator=gen)[:size].tolist()
        forget = sorted(sorted(pictured)[i] for i in order)
        kept = torch.tensor(_check.others(forget, len(test.T)))
        told = max(1, round(listed * len(kept)))
        known = sorted(kept[torch.randperm(len(kept), generator=gen)[:told]].tolist())
        rest = (case and case.forgetting(forget, known) for case in (tune, under))
        found.append(Trial(test.forgetting(forget, known), *rest))
    return found


class Spread(NamedTuple):
    """Mean and sample standard deviation over draws; the latter NaN for one draw."""

    mean: float
    std: float

    def __str__(self) -> str:
        return _show.tenths(self.mean) + ("" if self.std != self.std else f" ± {_show.tenths(self.std)}")


class Figures(NamedTuple):
    """``listed``, ``unlisted``: share of the accuracy before that is kept; NaN without pictures."""

    full: Spread
    n_way: dict[int | Literal["all"], Spread]
    search: Spread
    listed: Spread
    unlisted: Spread


class Row(NamedTuple):
    """One method under the prompt of the edit and under another, with the hyperparameters of each draw."""

    method: str
    seen: Figures
    other: Figures | None
    chosen: list[dict[str, Any]]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(_show.Shown):
    """Methods side by side, ``comparison["mean"]`` one of the rows. Shows itself as a table.

    ``pictures`` counts, per draw, those of forgotten classes, of listed and of unlisted kept ones, and all.
    """

    rows: list[Row]
    forgotten: int
    kept: int
    pictures: list[tuple[int, int, int, int]]
    notes: list[str]

    def __getitem__(self, method: str) -> Row:
        return {row.method: row for row in self.rows}[method]

    def table(self) -> _show.Table:
        counts = ((min(n), max(n)) for n in zip(*self.pictures, strict=True))
        gone, listed, unlisted, total = (f"{a}–{b}" if a < b else f"{a}" for a, b in counts)
        ways = [n for n in (2, 10) if n in self.rows[0].seen.n_way]
        head = ["%", f"full ({gone})", *(f"{n}-way ({gone})" for n in ways), f"search ({gone} of {total})"]
        head += [f"kept ({listed})", f"unlisted ({unlisted})"]
        chance = [1 / (self.forgotten + self.kept), *(1 / n for n in ways), 0.5]
        rows = [["chance", *map(_show.tenths, chance), "–", "–"]]
        found = [(row.method, row.seen) for row in self.rows]
        found += [(f"{row.method}, other prompt", row.other) for row in self.rows if row.other]
        for name, a in found:
            cells = [a.full, *(a.n_way[n] for n in ways), a.search, a.listed, a.unlisted]
            rows.append([name, *map(str, cells)])
        if unlisted == "0":
            head, rows = head[:-1], [row[:-1] for row in rows]
        notes = [*self.notes]
        for row in filter(lambda row: row.chosen, self.rows):
            each = [", ".join(f"{k} = {v}" for k, v in point.items()) for point in row.chosen]
            notes.append(f"{row.method}: {'; '.join(f'{p} ({each.count(p)})' for p in dict.fromkeys(each))}")
        which = f"{self.forgotten} of {self.forgotten + self.kept} names forgotten"
        caption = f"{which}, draws: {len(self.pictures)}; pictures per draw in brackets"
        return _show.Table(head, rows, caption, notes)


@_check.by_name
def compare(trials: Sequence[Trial], methods: Sequence[str] = (*METHODS,), seed: int = 0) -> Comparison:
    """Every method at its best, each tuned on a grid of equal size, on pictures it was not tuned on.

    Tuning has one rule for all (ours): of the points of `Method.combinations` whose full recall on the
    tuning pictures is at most 2% of that before, or if there are none, of those with the lowest, take the
    one with the highest accuracy on the retained pictures. Points that tie: the one whose 2-way recall and
    search lie nearest to chance, then the first of the grid.

    ``trials`` are what `trials` gives, ``methods`` keys of `clipnull.METHODS`. Without ``tune`` in the
    trials, methods are at their defaults. Rows: "no edit", "candidate masking", the methods.
    """
    shapes = {(len(t.test.forget), len(t.test.T), t.tune is None, t.other is None) for t in trials}
    if len(shapes) != 1:
        raise ValueError(f"trials: got {len(shapes)} kinds, want draws of one call of trials")
    ((m, C, fixed, _),) = shapes
    makers = [METHODS[name] for name in _check.some_of("methods", methods, METHODS)]
    tests = [t.test for t in trials]
    others = [t.other for t in trials if t.other is not None]
    seen, unseen = ([candidate_masking(case) for case in cases] for cases in (tests, others))
    rows = []
    for name, when in (("no edit", "before"), (MASKING, "after")):
        rows.append(Row(name, _figures(seen, when), _figures(unseen, when) if unseen else None, []))
    for method in makers:
        chosen, edits = [], []
        for i, trial in enumerate(_show.progress(trials, what=f"comparison, {method.name}", unit="draw")):
            point = _best(method, trial.tune, seed + i) if method.grid and trial.tune else {}
            edits.append(method.make(trial.test.T_f, trial.test.T_r, seed=seed + i, **point))
            chosen.append({**method.defaults, **point})
        seen = [case.evaluate(edit) for case, edit in zip(tests, edits, strict=True)]
        unseen = [case.evaluate(edit) for case, edit in zip(others, edits, strict=False)]  # all or none
        rows.append(Row(method.name, _figures(seen), _figures(unseen) if unseen else None, chosen))
    rule = f"of the points with full recall at most {_show.percent(FORGOTTEN)} of that before, the one that"
    note = f"tuned on other pictures: {rule} keeps most" if not fixed else "nothing is tuned on these names"
    counts = [(len(c.labels), int(c.gone.sum()), int(c.of(c.listed).sum())) for c in tests]
    pictures = [(gone, listed, n - gone - listed, n) for n, gone, listed in counts]
    return Comparison(rows, m, C - m, pictures, [note])


def _best(method: Method, case: Case, seed: int) -> dict[str, Any]:
    edits = [(point, method.make(case.T_f, case.T_r, seed=seed, **point)) for point in method.combinations]
    points = [(point, case.evaluate(edit)) for point, edit in edits]
    lowest = max(FORGOTTEN * points[0][1].forget_before, min(r.forget_after for _, r in points))
    points = [(p, r) for p, r in points if r.forget_after <= lowest]
    most = max(r.retain_after for _, r in points)
    points = [(p, r) for p, r in points if r.retain_after == most]
    off = [abs(r.n_way[2].after - 0.5) + abs(r.search.after - 0.5) for _, r in points]
    return points[off.index(min(off))][0]


def _figures(draws: Sequence[Report], when: str = "after") -> Figures:
    kept = [(r.retained_listed, r.retained_unlisted) for r in draws]
    if when == "before":
        kept = [(1.0, 0 * u + 1) for _, u in kept]  # NaN stays
    return Figures(
        _spread([getattr(r, f"forget_{when}") for r in draws]),
        {n: _spread([getattr(r.n_way[n], when) for r in draws]) for n in draws[0].n_way},
        _spread([getattr(r.search, when) for r in draws]),
        *map(_spread, zip(*kept, strict=True)),
    )


def _spread(values: Sequence[float]) -> Spread:
    x = torch.tensor(values, dtype=torch.float64)
    return Spread(float(x.mean()), float(x.std()) if len(x) > 1 else float("nan"))


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
        head, shares = list(self[0]) if self else [], {*ACCURACIES, "two_way", "search"}
        rows = [[_show.tenths(p[k]) if k in shares else f"{p[k]}" for k in head] for p in self]
        return _show.Table([f"{k} %" if k in shares else k for k in head], rows, left=0)


def _point(report: Report, **parameters: Any) -> dict[str, Any]:
    two = report.n_way.get(2)
    lists = {"two_way": two.after if two else math.nan, "search": report.search.after}
    return {**parameters, **{k: getattr(report, k) for k in ACCURACIES}, **lists}


@_check.by_name
def sweep(case: Case, eraser: Callable[..., Edit], side: Side = "image", **grid: Any) -> Sweep:
    """Evaluate an eraser over a grid: ``lam=[1, 10], mu=[1, 10]``, a point per combination, the last fastest.

    An eraser is `clipnull.nullspace`, `clipnull.consistent`, or any ``eraser(T_f, T_r, **parameters)``.
    """
    make: Callable[..., Edit] = partial(eraser, case.T_f, *([] if eraser is nullspace else [case.T_r]))
    if eraser is consistent:
        make = ConsistentSolver(case.T_f, case.T_r).edit  # one factorisation serves all of them
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
    sizes = [_check.whole("sizes", size, 1, C - 1) for size in _check.having("sizes", sizes, "")]
    methods = _check.some_of("methods", methods, [*METHODS, MASKING])
    points = []
    for size in sizes:
        drawn = [case.forgetting(torch.randperm(C, generator=gen)[:size].tolist()) for _ in range(draws)]
        for method in methods:
            rows = []
            for i, one in enumerate(drawn):
                edit = None if method == MASKING else METHODS[method].make(one.T_f, one.T_r, seed=seed + i)
                rows.append(_point(one.evaluate(edit) if edit else candidate_masking(one)))
            means = {k: sum(r[k] for r in rows) / draws for k in rows[0]}
            points.append({"size": size, "method": method, **means})
    return Sweep(points)
