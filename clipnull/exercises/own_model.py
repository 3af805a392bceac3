"""Checks of lesson 08."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from clipnull.exercises.checking import Case, Verdict, _Embedded, expect, run

__all__ = ["check_retain_change"]


def check_retain_change(function: Callable[..., Any]) -> Verdict:
    """Check ``retain_change(bench, name, method)`` -> number, in points (notebook 05)."""
    from clipnull.datasets.pictures import Images, LabelledImages
    from clipnull.lab.bench import Bench

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        clip: Any = _Embedded(case)
        nothing: Any = Images(lambda _: None, range(len(case.Z)))  # type: ignore[arg-type, return-value]
        bench = Bench(clip, LabelledImages(nothing, case.labels, list(clip.names), ["{}"]))

        def change(name: str, method: str) -> float:
            r = bench.compute({"forget": [name], "method": method}).report
            return 100 * (r.retain_after - r.retain_before)

        for method in ("nullspace", "anchored"):
            name = max(clip.names, key=lambda name: abs(change(name, method)))
            r = bench.compute({"forget": [name], "method": method}).report
            want = change(name, method)
            mistakes = {
                "that is a fraction; a point is a hundredth.": want / 100,
                "the sign: after less before.": -want,
                "the sign, and points are hundredths.": -want / 100,
                "that is the accuracy after; take the one before away.": 100 * r.retain_after,
                "that is the forget accuracy's change.": 100 * (r.forget_after - r.forget_before),
                "that is relative to the accuracy before; points are a difference.": 100 * (r.retained - 1),
                "the method is not passed on: that is the change with the default one.": change(name, "anchored"),
            }
            said = f'retain_change(bench, "{name}", "{method}")'
            expect(said, call(bench, name, method).double(), want, mistakes, tolerance=1e-6)

    return run(function, body, "the retain accuracy after less before, in points, for several classes.")
