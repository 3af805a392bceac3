"""The check of lesson 00."""

from clipnull.exercises.checking import Call, Inputs, check, expect, unit

__all__ = ["check_neutral"]


@check("every picture scores the forgotten name as it scores the mean of the others.")
def check_neutral(case: Inputs, call: Call) -> None:
    """``neutral(Z, t, T_r)``: images [n, d] without what lies along t - mean of T_r."""
    Z, T_r, mean = case.images, case.T_r, case.T_r.mean(0)
    for what, t in (("", case.T[0]), (" for a name of length 3", 3 * case.T[0])):
        d = t - mean
        directions = {
            "": (d, 2),
            "that is nullspace, d = t: subtract the mean of T_r from t first.": (t, 2),
            "the mean of T_r was scaled to length 1; leave it as it is.": (t - unit(mean), 2),
            "t was scaled to length 1; take it as it comes.": (unit(t) - mean, 2),
            "your d does not have length 1: divide by d·d.": (d, 0),
            "you divide by the length of d; divide by d·d, its square.": (d, 1),
        }
        hints = {hint: Z - (Z @ v)[:, None] * v / v.norm() ** n for hint, (v, n) in directions.items()}
        want = hints.pop("")
        hints["the scores are right, but the shortest way is along d."] = Z - (Z @ d / (t @ d))[:, None] * t
        expect(f"neutral(Z, t, T_r){what}", call(Z, t, T_r), want, hints, start=Z)
