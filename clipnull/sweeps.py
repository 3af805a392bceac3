"""Many evaluations: an eraser over a grid, methods over sizes of the forget set."""

from __future__ import annotations

import html
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from clipnull._check import ArrayLike
from clipnull.erasers import METHODS, Edit, consistent, nullspace
from clipnull.evaluation import Evaluator, Report, _inputs, drop_label
from clipnull.solver import ConsistentSolver

__all__ = ["Sweep", "sweep", "sweep_sizes"]


@dataclass(frozen=True)
class Sweep:
    """Points of a sweep: parameters and the four accuracies of each, shown as a table.

    Attributes
    ----------
    points : list of dict
        Parameters, then forget_before, forget_after, retain_before, retain_after (fractions).
    """

    points: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.points)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.points[i]

    def column(self, name: str) -> torch.Tensor:
        """One column as a float64 tensor [points]."""
        return torch.tensor([p[name] for p in self.points], dtype=torch.float64)

    def where(self, **match: Any) -> Sweep:
        """The points whose parameters equal ``match``."""
        return Sweep([p for p in self.points if all(p.get(k) == v for k, v in match.items())])

    def _cells(self) -> list[list[str]]:
        head = list(self.points[0]) if self.points else []
        accuracy = {"forget_before", "forget_after", "retain_before", "retain_after"}
        rows = [[f"{100 * p[k]:.1f}" if k in accuracy else f"{p[k]}" for k in head] for p in self.points]
        return [[f"{k} %" if k in accuracy else k for k in head], *rows]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(r, widths, strict=True)) for r in cells)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._cells()

        def row(tag: str, cells: list[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        return f"<table>{row('th', head)}{''.join(row('td', r) for r in body)}</table>"


def _point(report: Report, **parameters: Any) -> dict[str, Any]:
    accuracies = ("forget_before", "forget_after", "retain_before", "retain_after")
    return {**parameters, **{k: getattr(report, k) for k in accuracies}}


def sweep(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    eraser: Callable[..., Edit],
    classes: Sequence[str] | None = None,
    side: str = "image",
    **grid: Sequence[Any],
) -> Sweep:
    """Evaluate an eraser over every combination of the values in ``grid``.

    Parameters
    ----------
    Z, T, labels, forget, classes, side
        As in `evaluate`.
    eraser : callable
        `clipnull.nullspace`, `clipnull.consistent`, or any function
        ``eraser(T_f, T_r, **parameters)`` -> Edit.
    **grid : sequences
        For instance ``strength=[0, 0.5, 1]`` or ``lam=[1, 10], mu=[1, 10]``.

    Returns
    -------
    Sweep
        One point a combination, the last parameter running fastest.

    Examples
    --------
    >>> import torch
    >>> from clipnull import nullspace, sweep
    >>> T = torch.eye(3)
    >>> print(sweep(T + 0.4, T, [0, 1, 2], [0], nullspace, strength=[0, 1]))
    strength  forget_before %  forget_after %  retain_before %  retain_after %
           0            100.0           100.0            100.0           100.0
           1            100.0             0.0            100.0           100.0
    """
    Z, T, labels, index, names = _inputs(Z, T, labels, forget, classes)
    T_f, T_r = T[index], T[[i for i in range(len(T)) if i not in set(index)]]
    make: Callable[..., Edit]
    if eraser is consistent:
        make = ConsistentSolver(T_f, T_r).edit  # one factorisation serves every dial
    elif eraser is nullspace:
        make = partial(nullspace, T_f)
    else:
        make = partial(eraser, T_f, T_r)
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    scores = Evaluator(Z, T, labels, names)
    return Sweep([_point(scores.report(index, make(**p), side), **p) for p in combinations])


def sweep_sizes(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    sizes: Sequence[int],
    methods: Sequence[str] = tuple(METHODS),
    draws: int = 3,
    seed: int = 0,
) -> Sweep:
    """How each method fares as more classes are forgotten, averaged over random forget sets.

    Parameters
    ----------
    Z, T, labels
        As in `evaluate`.
    sizes : sequence of int
        Numbers of classes to forget.
    methods : sequence of str
        Keys of `clipnull.METHODS`, or ``"drop the label"``.
    draws : int
        Random forget sets a size; every method meets the same ones.
    seed : int

    Returns
    -------
    Sweep
        One point a size and method: means over draws.
    """
    Z, T, labels, _, _ = _inputs(Z, T, labels, [0], None)
    scores, gen = Evaluator(Z, T, labels), torch.Generator().manual_seed(seed)
    points = []
    for size in sizes:
        sets = [torch.randperm(len(T), generator=gen)[:size].tolist() for _ in range(draws)]
        for method in methods:
            reports = []
            for i, index in enumerate(sets):
                if method == "drop the label":
                    reports.append(drop_label(Z, T, labels, index))
                    continue
                keep = [c for c in range(len(T)) if c not in set(index)]
                edit = METHODS[method].make(T[index], T[keep], seed=seed + i)
                reports.append(scores.report(index, edit))
            rows = [_point(r) for r in reports]
            means = {k: sum(r[k] for r in rows) / draws for k in rows[0]}
            points.append({"size": size, "method": method, **means})
    return Sweep(points)
