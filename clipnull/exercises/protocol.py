"""Checks of lesson 08."""

import math

import torch

from clipnull.erasers import consistent
from clipnull.exercises.checking import MADE_UP, Call, Inputs, check, expect

__all__ = ["check_fewest_pictures", "check_largest_change", "check_protocol_score"]


@check("the protocol's score, whatever the number of data sets.", MADE_UP)
def check_protocol_score(case: Inputs, call: Call) -> None:
    """``protocol_score(forget, retain, others)``: pairs (BF, AF), others a list of them."""
    for forget, retain, others in (
        ((0.8, 0.2), (0.6, 0.66), [(0.5, 0.4), (0.7, 0.77), (0.9, 0.9)]),
        ((0.5, 0.5), (0.6, 0.3), [(0.5, 0.1), (0.4, 0.1)]),
    ):
        left, drops = forget[1] / forget[0], [(b - a) / b for b, a in [retain, *others]]
        points = [max(0.0, b - a) for b, a in [retain, *others]]
        first, *rest = clipped = [max(0.0, drop) for drop in drops]
        total, n = left + sum(clipped), 1 + len(drops)
        mistakes = {
            "that is the sum of the terms, want their mean.": total,
            "a gain was counted as a negative drop: it counts as none, max(0, …).": (left + sum(drops)) / n,
            "drops are relative: divide each by its BF.": (left + sum(points)) / n,
            "the forgotten classes enter as AF / BF, not as AF alone.": (forget[1] + sum(clipped)) / n,
            "the forgotten classes enter as what is left, AF / BF.": (1 - left + sum(clipped)) / n,
            "that divides by 5, but here are fewer data sets: divide by the number of terms.": total / 5,
            "the other data sets are averaged to one term.": (left + first + sum(rest) / len(rest)) / 3,
        }
        expect(f"score of {forget}, {retain}, {others}", call(forget, retain, others), total / n, mistakes)


@check("the fewest pictures that a figure can stand for.", MADE_UP)
def check_fewest_pictures(case: Inputs, call: Call) -> None:
    """``fewest_pictures(percent)``: the smallest n for which 100 k / n rounds to it, for a whole k."""
    for percent in (78.95, 82.61, 26.19, 90.0, 58.82, 33.33, 0.25, 100.0):
        share = percent / 100
        want = next(n for n in range(1, 10_001) if abs(round(share * n) / n - share) < 0.0000501)
        mistakes = {
            "that takes it as exact, but it was rounded.": 10_000 // math.gcd(10_000, round(100 * percent)),
            "that is k, the pictures that were right. Want n, all of them.": round(share * want),
            "a larger number of pictures gives this figure too; want the smallest.": 2 * want,
        }
        expect(f"fewest_pictures({percent})", call(percent), want, mistakes)


@check("no score with a kept name can change by more, on any picture.", thin=True)
def check_largest_change(case: Inputs, call: Call) -> None:
    """``largest_change(L, R, T_r)``: the largest ‖W t_r − t_r‖ over the rows of T_r, W = I − L Rᵀ."""
    edit = consistent(case.T_f, case.T_r, lam=10, mu=1, anchor="mean")
    L, R, T_r = edit.left, edit.right, case.T_r
    moved = (T_r @ R) @ L.T
    far = moved.norm(dim=1)
    mistakes = {
        "that moves T_r by Wᵀ. Names as rows become T_r − (T_r R) Lᵀ.": ((T_r @ L) @ R.T).norm(dim=1).max(),
        "that is the mean over the names; want the largest.": far.mean(),
        "that is the largest entry; want the largest length of a row.": moved.abs().max(),
        "that is the largest square; take the root.": far.max() ** 2,
        "that is Rᵀt_r alone: a name moves by L (Rᵀt_r).": (T_r @ R).norm(dim=1).max(),
        "that is ‖W − I‖, over all directions; want the kept names'.": torch.linalg.matrix_norm(L @ R.T, 2),
        "that is how long W t_r is; want how far it is from t_r.": (T_r - moved).norm(dim=1).max(),
    }
    expect("largest_change(L, R, T_r)", call(L, R, T_r), far.max(), mistakes)
