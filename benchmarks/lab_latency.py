"""How long the lab takes: low-rank re-evaluation against a new product, and a slider move to its redraw.

    python benchmarks/lab_latency.py --threads 2

Both sides of a comparison run in one process, alternating, on the same arrays, and are checked to
predict the same. Prints the tables of benchmarks/README.md.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from _timing import arguments, begin, milliseconds, names, pictures, spread

import clipnull as cn
from clipnull.report import Report

BLOCK = 2048


def read(report: Report) -> tuple[Any, ...]:
    """What the lab reads off a report: both accuracies, classes, destinations."""
    return (report.forget_after, report.retain_after, report.per_class, report.destinations(5))


def evaluation(n: int, C: int, d: int, ranks: list[int], repeats: int) -> None:
    """Print the table of re-evaluations."""
    T = names(C, d)
    Z, labels = pictures(T, n)
    case = cn.Case(Z, T, labels, [0])
    assert len(case.scores) == len(case.predicted)  # now: the cases below share them
    print(f"{n:,} pictures × {C:,} classes × {d} dimensions\n")
    print("| rank | kept scores, ms | blocked Z′Tᵀ, ms | whole Z′Tᵀ, ms | times faster |")
    print("|---|---|---|---|---|")
    for rank in ranks:
        some = case.forgetting(list(range(rank)))
        edit = cn.nullspace(some.T_f)

        def low_rank(some: cn.Case = some, edit: cn.Edit = edit) -> Report:
            report = some.evaluate(edit)
            read(report)
            return report

        def product(step: int, some: cn.Case = some, edit: cn.Edit = edit) -> Report:
            X = edit.apply_image(Z)
            after = torch.cat([(x @ T.T).argmax(1) for x in X.split(step)])
            report = Report(some, some.predicted, after)
            read(report)
            return report

        # float32 may decide a near tie either way
        same = (low_rank().predicted_after == product(BLOCK).predicted_after).double().mean()
        assert same > 0.999, float(same)
        new, blocked, whole = milliseconds(
            low_rank, lambda p=product: p(BLOCK), lambda p=product: p(n), repeats=repeats
        )
        ratio = min(statistics.median(blocked), statistics.median(whole)) / statistics.median(new)
        print(f"| {rank} | {spread(new)} | {spread(blocked)} | {spread(whole)} | {ratio:.1f} |")


def redraw(repeats: int) -> None:
    """Print the table of slider moves on the classroom data."""
    lab = cn.lab.ForgetRetainLab()
    data = lab.bench.data
    print(f"\nA slider move to the finished picture, {len(data)} pictures × {len(data.classes)} classes\n")
    print("| view | λ (ccup), ms | μ (mean), ms | α (partial), ms |")
    print("|---|---|---|---|")
    for label, key in lab.view.options:
        lab.view.value, cells = key, []
        for method, dial, values in (
            ("ccup", "lam", [10 ** (i / 8) for i in range(repeats + 1)]),
            ("mean", "mu", [10 ** (i / 8) for i in range(repeats + 1)]),
            ("partial", "strength", [i / (repeats + 1) for i in range(repeats + 1)]),
        ):
            lab.controls["method"].value = method
            if options := getattr(lab.controls[dial], "options", None):  # a slider over a list
                values = [value for _, value in options]
            steps = itertools.cycle(values)

            def move(dial: str = dial, steps: Any = steps) -> None:
                lab.controls[dial].value = next(steps)

            (times,) = milliseconds(move, repeats=repeats)
            assert lab.error is None
            cells.append(spread(times))
        print(f"| {label} | {' | '.join(cells)} |")


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__, repeats=15)
    parser.add_argument("--size", type=int, nargs=3, default=[50_000, 1_000, 512], metavar=("n", "C", "d"))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 10, 50, 100])
    options = begin(parser, argv)
    evaluation(*options.size, options.ranks, options.repeats)
    redraw(options.repeats)


if __name__ == "__main__":
    main()
