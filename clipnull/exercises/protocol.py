"""Checks of lesson 07."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from clipnull.exercises.checking import Case, Verdict, Wrong, _made_up, expect, run

__all__ = ["check_fewest_pictures", "check_protocol_score"]


def check_protocol_score(function: Callable[..., Any]) -> Verdict:
    """``protocol_score(forget, retain, others)``: pairs (BF, AF), others a list of them (notebook 07)."""
    runs = [
        ((0.8, 0.0), (0.6, 0.57), [(0.5, 0.5), (0.7, 0.6), (0.9, 0.9)]),
        ((0.8, 0.2), (0.6, 0.66), [(0.5, 0.4), (0.7, 0.77), (0.9, 0.9)]),
        ((0.5, 0.5), (0.6, 0.3), [(0.5, 0.1), (0.4, 0.1)]),
    ]

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for forget, retain, others in runs:
            left = forget[1] / forget[0]
            drops = [(b - a) / b for b, a in [retain, *others]]
            clipped = [max(0.0, drop) for drop in drops]
            terms = [left, *clipped]
            points = [max(0.0, b - a) for b, a in [retain, *others]]
            mistakes = {
                "that is the sum of the terms, want their mean.": sum(terms),
                "a gain was counted as a negative drop: it counts as none, max(0, …).": sum([left, *drops])
                / len(terms),
                "drops are relative: divide each by its BF.": sum([left, *points]) / len(terms),
                "the forgotten classes enter as AF / BF, not as AF alone.": sum([forget[1], *clipped])
                / len(terms),
                "the forgotten classes enter as what is left, AF / BF, not as what is gone.": sum(
                    [1 - left, *clipped]
                )
                / len(terms),
                "that divides by 5, but here are fewer other data sets: divide by the number of terms.": sum(
                    terms
                )
                / 5,
                "the other data sets are averaged to one term; each is a term of its own.": (
                    left + clipped[0] + sum(clipped[1:]) / len(others)
                )
                / 3,
            }
            what = f"protocol_score({forget}, {retain}, {others})"
            got, want = call(forget, retain, others).double(), sum(terms) / len(terms)
            wrong = {k: torch.tensor(v).double() for k, v in mistakes.items()}
            expect(what, got, torch.tensor(want).double(), wrong, tolerance=1e-6)

    return run(function, body, "the protocol's score, whatever the number of data sets.", _made_up())


def check_fewest_pictures(function: Callable[..., Any]) -> Verdict:
    """``fewest_pictures(percent)``: the smallest n for which k / n rounds to it (notebook 07)."""

    def fewest(percent: float) -> int:
        """Smallest n with a whole k such that 100 k / n is ``percent`` to two decimals."""
        return next(
            n for n in range(1, 10_001) if abs(100 * round(percent * n / 100) / n - percent) < 0.00501
        )

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for percent in (78.95, 82.61, 26.19, 90.0, 58.82, 33.33, 100.0):
            want = fewest(percent)
            exact = 10_000 // math.gcd(10_000, round(100 * percent))
            mistakes: dict[str, int] = {
                "that takes the figure as exact. It was rounded to two decimals.": exact,
                "that is k, the pictures that were right. Want n, all of them.": round(percent * want / 100),
                "that is one less: does the count start at 1?": want - 1,
                "that is one more: does the count start at 1?": want + 1,
                "a larger number of pictures gives this figure too; want the smallest.": 2 * want,
            }
            got = call(percent)
            below = int(got) < want
            if below and got.numel() == 1 and not any(int(got) == wrong for wrong in mistakes.values()):
                raise Wrong(
                    f"fewest_pictures({percent}) is {int(got)}, but no k of {int(got)} pictures rounds to "
                    f"{percent}%."
                )
            expect(f"fewest_pictures({percent})", got, want, mistakes)

    return run(function, body, "the fewest pictures that a figure can stand for.", _made_up())
