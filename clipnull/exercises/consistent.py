"""Checks of lesson 04."""

import torch

from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, check, expect, unit

__all__ = ["check_edited_names", "check_held_out_mu", "check_right_factor"]


@check("R = X (I/λ + T_fᵀX)⁻¹, λ = ∞ included, and no d × d array.", thin=True)
def check_right_factor(case: Inputs, call: Call) -> None:
    """``right_factor(X [d, m], T_f [m, d], lam)``: R [d, m], X = M_r⁻¹ T_fᵀ; lam may be ``math.inf``."""
    T_f, T_r = case.T_f.double(), case.T_r.double()
    eye = torch.eye(len(T_f))
    X = torch.linalg.solve(torch.eye(T_f.shape[1]) + 5 * T_r.T @ T_r, T_f.T)
    for lam in (20.0, 0.5, torch.inf):
        finite, small = min(lam, 1e9), eye / lam + T_f @ X
        mistakes = {
            "the I/λ is missing: that is R for λ = ∞.": X @ (T_f @ X).inverse(),
            "λ stands in place of 1/λ.": X @ (finite * eye + T_f @ X).inverse(),
            "1 stands in place of 1/λ.": X @ (eye + T_f @ X).inverse(),
            "the small matrix is to be inverted.": X @ small,
            "the sign: the small matrix is I/λ plus T_fᵀX.": X @ (eye / lam - T_f @ X).inverse(),
            "T_f stands in place of X: μ has no effect there.": X @ (eye / lam + T_f @ T_f.T).inverse(),
            "T_f stands in front in place of X: M_r⁻¹ is lost.": T_f.T @ small.inverse(),
            "that is λX, the first step of a series and not the inverse.": finite * X,
        }
        expect(f"R, λ = {lam:g},", call(X, T_f, lam), X @ small.inverse(), mistakes)


@check("names moved by W, so that every picture's scores are those of the image side.", thin=True)
def check_edited_names(case: Inputs, call: Call) -> None:
    """``edited_names(T [C, d], L [d, m], R [d, m])``: the names T Wᵀ [C, d] for W = I − L Rᵀ."""
    edit = consistent(case.T_f, case.T_r, 10.0, 5.0)
    T, L, R = case.T, edit.left, edit.right
    turned = T - (T @ L) @ R.T
    mistakes = {
        "that is T W, the classic mistake. A column t becomes Wt = t − L(Rᵀt).": turned,
        "that is T W, scaled to unit length. Want T Wᵀ, as it is.": unit(turned),
        "L alone is used: that is I − L Lᵀ.": T - (T @ L) @ L.T,
        "R alone is used: that is I − R Rᵀ.": T - (T @ R) @ R.T,
    }
    expect("edited_names(T, L, R)", call(T, L, R), T - (T @ R) @ L.T, mistakes, start=T)


# pictures hard enough that the halves disagree about μ; on the first half no two μ tie
@check("μ chosen on one half, its figure taken from the other.", (1, 20, 16, 5), (1, 20, 16, 23))
def check_held_out_mu(case: Inputs, call: Call) -> None:
    """``held_out_mu(case, lam, mus)``: (mu, kept), the best on pictures 0, 2, … and its figure on 1, 3, …."""
    lam, mus = 30.0, [0.1, 1.0, 10.0, 100.0, 1000.0]
    edits = [consistent(case.T_f, case.T_r, lam, mu) for mu in mus]
    rows = slice(0, None, 2), slice(1, None, 2), slice(None)
    parts = [Inputs(case.images[some], case.T, case.labels[some], case.forget) for some in rows]
    reports = [[part.evaluate(e) for e in edits] for part in parts]

    def chosen(on: int, reported: int, most: float = 0.02) -> tuple[float, float]:
        kept = [r.retain_after if r.forget_after <= most else -1.0 for r in reports[on]]
        best = kept.index(max(kept))
        return mus[best], reports[reported][best].retain_after

    mu, kept = chosen(0, 1)
    mistakes = {
        "the figure is that of the half which chose μ: it flatters.": chosen(0, 0),
        "the figure is that of all pictures, and half of them chose μ.": chosen(0, 2),
        "μ is chosen on all pictures.": chosen(2, 1),
        "μ is chosen on the half that is reported.": chosen(1, 1),
        "the halves are exchanged.": chosen(1, 0),
        "μ keeps most, whatever it forgets: leave out those above 2% full recall.": chosen(0, 1, 1.0),
        "kept is in percent, want a fraction.": (mu, 100 * kept),
        "the order: return mu, kept.": (kept, mu),
    }
    expect("(mu, kept)", call(parts[2], lam, mus), (mu, kept), mistakes)
