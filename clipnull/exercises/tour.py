"""The check of lesson 00."""

import torch
import torch.nn.functional as F

from clipnull.exercises.checking import Call, Inputs, check, expect

__all__ = ["check_neutral"]


@check("every picture scores the forgotten name as it scores the mean of the others.")
def check_neutral(case: Inputs, call: Call) -> None:
    """``neutral(Z, t, T_r)``: images [n, d] without what lies along t - mean of T_r (notebook 00)."""
    Z, T_r = case.Z, case.T_r
    mean = T_r.mean(0)
    for what, t in (("", case.T[0]), (" for a name of length 3", 3 * case.T[0])):
        d = t - mean
        want = _without(Z, d)
        mistakes = {
            "that is nullspace, d = t: the name scores 0. Subtract the mean of T_r from t first.":
                _without(Z, t),
            "the mean of T_r was scaled to length 1; leave it as it is.":
                _without(Z, t - F.normalize(mean, dim=0)),
            "t was scaled to length 1; take it as it comes.": _without(Z, F.normalize(t, dim=0) - mean),
            "your d does not have length 1: divide by d·d.": Z - (Z @ d)[:, None] * d,
            "you divide by the length of d; divide by d·d, its square.": Z - (Z @ d)[:, None] * d / d.norm(),
            "the scores are right, but t is not the shortest way there: move along d.":
                Z - ((Z @ d) / (t @ d))[:, None] * t,
            "that is what the edit takes away: subtract it from Z.": Z - want,
            "the sign is wrong: subtract what lies along d.": 2 * Z - want,
            "your rows were normalised; leave their length as it comes out.": F.normalize(want, dim=1),
        }  # fmt: skip
        expect(f"neutral(Z, t, T_r){what}", call(Z, t, T_r), want, mistakes)


def _without(Z: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Rows of ``Z`` without their part along ``d``."""
    return Z - (Z @ d)[:, None] * d / (d @ d)
