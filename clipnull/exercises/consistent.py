"""Checks of lesson 04."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from clipnull.erasers import consistent
from clipnull.evaluation import Case
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, synthetic
from clipnull.report import Report

__all__ = ["check_edited_names", "check_held_out_mu", "check_right_factor"]

#: of `check_held_out_mu`
LAM, MUS = 30.0, [0.1, 1.0, 10.0, 100.0, 1000.0]


@check("R = X (I/λ + T_fᵀX)⁻¹, λ = ∞ included, and no d × d array.")
def check_right_factor(case: Inputs, call: Call) -> None:
    """Check ``function(X [d, m], T_f [m, d], lam)``: R [d, m], where X = M_r⁻¹ T_fᵀ in the lesson's rows.

    ``lam`` may be ``math.inf``.
    """
    T_f, T_r = case.T_f.double(), case.T_r.double()
    m, d = T_f.shape
    eye = torch.eye(m, dtype=T_f.dtype)
    X = torch.linalg.solve(torch.eye(d, dtype=T_f.dtype) + 5 * T_r.T @ T_r, T_f.T)
    for lam in (20.0, 0.5, math.inf):
        small = eye / lam + T_f @ X
        R = X @ small.inverse()
        mistakes = {
            "the I/λ is missing: that is R for λ = ∞.": X @ (T_f @ X).inverse(),
            "λ stands in place of 1/λ.": X @ (min(lam, 1e9) * eye + T_f @ X).inverse(),
            "1 stands in place of 1/λ.": X @ (eye + T_f @ X).inverse(),
            "the small matrix is to be inverted.": X @ small,
            "the sign: the small matrix is I/λ plus T_fᵀX.": X @ (eye / lam - T_f @ X).inverse(),
            "T_fᵀT_f stands in place of T_fᵀX, so that μ has no effect there.":
                X @ (eye / lam + T_f @ T_f.T).inverse(),
            "T_f stands in front in place of X: M_r⁻¹ is lost.": T_f.T @ small.inverse(),
            "λ has entered twice.": min(lam, 1e9) * R,
            "that is R transposed, want [d, m].": R.T,
            "that is λX, the first step of a series and not the inverse.": min(lam, 1e9) * X,
        }  # fmt: skip
        got = call(X, T_f, lam, square=d)
        if lam == math.inf and not torch.isfinite(got).all():
            raise Wrong("at λ = ∞ R is not finite: λ itself was a factor. Use 1/λ, which is 0 then.")
        expect(f"R, λ = {lam:g},", got, R, mistakes)


@check("names moved by W, so that every picture's scores are those of the image side.")
def check_edited_names(case: Inputs, call: Call) -> None:
    """Check ``function(T [C, d], L [d, m], R [d, m])``: the names T Wᵀ [C, d] for W = I − L Rᵀ."""
    edit = consistent(case.T_f, case.T_r, 10.0, 5.0)
    T, L, R = case.T, edit.left, edit.right
    want, turned = T - (T @ R) @ L.T, T - (T @ L) @ R.T
    mistakes = {
        "that is T W: the names moved by Wᵀ, the classic mistake. A column t becomes Wt = t − L(Rᵀt).":
            turned,
        "the names are scaled to unit length afterwards, which undoes part of the edit.":
            F.normalize(want, dim=1),
        "that is T W, scaled to unit length. Want T Wᵀ, as it is.": F.normalize(turned, dim=1),
        "that is only what W takes away: subtract it from T.": (T @ R) @ L.T,
        "the sign: W = I − L Rᵀ.": T + (T @ R) @ L.T,
        "L alone is used: that is I − L Lᵀ.": T - (T @ L) @ L.T,
        "R alone is used: that is I − R Rᵀ.": T - (T @ R) @ R.T,
        "it is transposed: names are rows.": want.T,
    }  # fmt: skip
    expect("edited_names(T, L, R)", call(T, L, R, square=len(L)), want, mistakes)


def _cases() -> Sequence[Inputs]:
    """Pictures hard enough that the halves disagree about μ."""
    return [synthetic("made-up", 1.0, C, d, seed) for C, d, seed in ((20, 16, 5), (40, 24, 0))]


@check("μ chosen on one half of the pictures, its figure taken from the other.", inputs=_cases)
def check_held_out_mu(case: Inputs, call: Call) -> None:
    """Check ``function(case, lam, mus)`` -> (mu, kept): chosen on pictures 0, 2, …, measured on 1, 3, ….

    The one of ``mus`` with at most 2% full recall that keeps most, and the retain accuracy it has on the
    other half (a fraction).
    """
    everything = Case(case.Z, case.T, case.labels, case.forget)
    halves = [Case(case.Z[i::2], case.T, case.labels[i::2], case.forget) for i in (0, 1)]
    out = call.pair("two numbers: return mu, kept", everything, LAM, MUS)
    edits = [consistent(case.T_f, case.T_r, LAM, mu) for mu in MUS]
    first, second, both = ([c.evaluate(e) for e in edits] for c in (*halves, everything))

    def best(reports: Sequence[Report], most: float = 0.02) -> int:
        kept = [r.retain_after if r.forget_after <= most else -1.0 for r in reports]
        return kept.index(max(kept))

    i, j, k, free = best(first), best(second), best(both), best(first, most=1.0)
    mistakes = {
        "the figure is that of the half which chose μ: it flatters.": (MUS[i], first[i].retain_after),
        "the figure is that of all pictures, and half of them chose μ.": (MUS[i], both[i].retain_after),
        "μ is chosen on all pictures.": (MUS[k], second[k].retain_after),
        "μ is chosen on the half that is reported.": (MUS[j], second[j].retain_after),
        "the halves are exchanged.": (MUS[j], first[j].retain_after),
        "μ keeps most, whatever it forgets: leave out those above 2% full recall.":
            (MUS[free], second[free].retain_after),
        "kept is in percent, want a fraction.": (MUS[i], 100 * second[i].retain_after),
        "the order: return mu, kept.": (second[i].retain_after, MUS[i]),
    }  # fmt: skip
    try:
        got = torch.stack([torch.as_tensor(x, dtype=torch.float64).reshape(()) for x in out])
    except (TypeError, ValueError, RuntimeError) as problem:
        raise Wrong("your function returns two things that are not numbers: return mu, kept") from problem
    expect("(mu, kept)", got, (MUS[i], second[i].retain_after), mistakes, tolerance=1e-6)
