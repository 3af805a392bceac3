"""Checks of lesson 08."""

import math

import torch

from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, made_up

__all__ = ["check_fewest_pictures", "check_largest_change", "check_protocol_score"]


@check("the protocol's score, whatever the number of data sets.", made_up)
def check_protocol_score(case: Inputs, call: Call) -> None:
    """``protocol_score(forget, retain, others)``: pairs (BF, AF), others a list of them (lesson 08)."""
    runs = [
        ((0.8, 0.0), (0.6, 0.57), [(0.5, 0.5), (0.7, 0.6), (0.9, 0.9)]),
        ((0.8, 0.2), (0.6, 0.66), [(0.5, 0.4), (0.7, 0.77), (0.9, 0.9)]),
        ((0.5, 0.5), (0.6, 0.3), [(0.5, 0.1), (0.4, 0.1)]),
    ]
    for forget, retain, others in runs:
        left = forget[1] / forget[0]
        drops = [(b - a) / b for b, a in [retain, *others]]
        clipped = [max(0.0, drop) for drop in drops]
        points = [max(0.0, b - a) for b, a in [retain, *others]]
        terms, n = [left, *clipped], 1 + len(drops)
        mistakes = {
            "that is the sum of the terms, want their mean.": sum(terms),
            "a gain was counted as a negative drop: it counts as none, max(0, …).": (left + sum(drops)) / n,
            "drops are relative: divide each by its BF.": (left + sum(points)) / n,
            "the forgotten classes enter as AF / BF, not as AF alone.": (forget[1] + sum(clipped)) / n,
            "the forgotten classes enter as what is left, AF / BF, not as what is gone.":
                (1 - left + sum(clipped)) / n,
            "that divides by 5, but here are fewer other data sets: divide by the number of terms.":
                sum(terms) / 5,
            "the other data sets are averaged to one term; each is a term of its own.":
                (left + clipped[0] + sum(clipped[1:]) / len(others)) / 3,
        }  # fmt: skip
        what = f"protocol_score({forget}, {retain}, {others})"
        expect(what, call(forget, retain, others), sum(terms) / n, mistakes, tolerance=1e-6)


@check("the fewest pictures that a figure can stand for.", made_up)
def check_fewest_pictures(case: Inputs, call: Call) -> None:
    """``fewest_pictures(percent)``: the smallest n for which k / n rounds to it (lesson 08)."""

    def rounds(n: int, percent: float) -> bool:
        """Whether 100 k / n is ``percent``, to two decimals, for a whole k."""
        return abs(100 * round(percent * n / 100) / n - percent) < 0.00501

    for percent in (78.95, 82.61, 26.19, 90.0, 58.82, 33.33, 0.25, 100.0):
        want = next(n for n in range(1, 10_001) if rounds(n, percent))
        exact = 10_000 // math.gcd(10_000, round(100 * percent))
        mistakes: dict[str, int] = {
            "that takes the figure as exact. It was rounded to two decimals.": exact,
            "that is k, the pictures that were right. Want n, all of them.": round(percent * want / 100),
            "that is one less: does the count start at 1?": want - 1,
            "that is one more: does the count start at 1?": want + 1,
            "a larger number of pictures gives this figure too; want the smallest.": 2 * want,
        }
        got = call(percent)
        if got.numel() == 1 and int(got) < want and int(got) not in mistakes.values():
            said = f"no k of {int(got)} pictures rounds to {percent}%."
            raise Wrong(f"fewest_pictures({percent}) is {int(got)}, but {said}")
        expect(f"fewest_pictures({percent})", got, want, mistakes)


@check("no score with a kept name can change by more, on any picture.")
def check_largest_change(case: Inputs, call: Call) -> None:
    """``largest_change(L, R, T_r)``: the largest ‖W t_r − t_r‖ over the rows of T_r, W = I − L Rᵀ."""
    edit = consistent(case.T_f, case.T_r, lam=10, mu=1, anchor="mean")
    L, R, T_r = edit.left, edit.right, case.T_r
    moved = (T_r @ R) @ L.T
    mistakes = {
        "that moves T_r by Wᵀ. Names as rows become T_r Wᵀ = T_r − (T_r R) Lᵀ.":
            ((T_r @ L) @ R.T).norm(dim=1).max(),
        "that is the mean over the names; want the largest.": moved.norm(dim=1).mean(),
        "that is the largest entry; want the largest length of a row.": moved.abs().max(),
        "that is the largest square; take the root.": moved.square().sum(1).max(),
        "that is Rᵀt_r alone: a name moves by L (Rᵀt_r).": (T_r @ R).norm(dim=1).max(),
        "that is ‖W − I‖, over all directions; want the kept names'.": torch.linalg.matrix_norm(L @ R.T, 2),
        "that is how long W t_r is; want how far it is from t_r.": (T_r - moved).norm(dim=1).max(),
    }  # fmt: skip
    expect(
        "largest_change(L, R, T_r)", call(L, R, T_r, square=T_r.shape[1]), moved.norm(dim=1).max(), mistakes
    )
