"""Checks of the electives."""

import torch

from clipnull.exercises.checking import MADE_UP, Call, Inputs, check, expect, randn

__all__ = ["check_calibration_error", "check_interaction", "check_leace", "check_reader", "check_slope"]


@check("equal means, and no other linear map moves the pictures less.", MADE_UP)
def check_leace(case: Inputs, call: Call) -> None:
    """``leace_one(X, ours)``: LEACE for one class, given as a mask [n]."""
    X = randn(90, 5, seed=2).double() @ randn(5, 5, seed=3).double()
    ours = torch.arange(90) % 3 == 0
    X[ours] += 2.0
    delta, x = X[ours].mean(0) - X[~ours].mean(0), X - X.mean(0)
    ell, about_origin = (torch.linalg.solve(y.T @ y, delta) for y in (x, X))
    readings = {
        "": (ell, x),
        "that reads along δ; reading along Σ⁻¹δ moves pictures less.": (delta, x),
        "Σ is about the origin, want it about the mean of all pictures.": (about_origin, x),
        "ℓ reads x itself; want x less the mean of all pictures.": (ell, X),
    }
    mistakes = {hint: X - (y @ l / (l @ delta))[:, None] * delta for hint, (l, y) in readings.items()}
    want = mistakes.pop("")
    mistakes["only the class itself was moved."] = torch.where(ours[:, None], want, X)
    expect("leace_one(X, ours)", call(X, ours), want, mistakes, start=X)


@check("as `clipnull.auditing.calibration_error`.")
def check_calibration_error(case: Inputs, call: Call) -> None:
    """``calibration_error(p, labels, bins)``: expected calibration error, a fraction."""
    labels = (case.labels + (torch.arange(len(case.images)) % 3 == 0)) % len(case.T)  # every third one wrong
    soft = (12 * case.images @ case.T.T).softmax(1).double()
    edge = soft.new_tensor([[0.5, 0.3, 0.2], [0.55, 0.25, 0.2]])  # the first is between two bins
    for p, y, bins in ((soft, labels, 10), (soft, labels, 4), (edge, torch.tensor([0, 1]), 10)):
        top, said = p.max(1)
        gap = (said == y).double() - top
        above, below = (top * bins).ceil(), (top * bins).floor()
        members = [above == b for b in above.unique()]
        gaps = torch.stack([gap[m].mean() for m in members])
        part = torch.stack([m.double().mean() for m in members])
        other = sum(gap[below == b].sum().abs() for b in below.unique()) / len(gap)
        mistakes = {
            "signed gaps cancel between bins: take the absolute value of each.": part @ gaps,
            "bins are closed above: a confidence on the edge of two is in the lower one.": other,
            "bins count alike, however few they hold; weigh each by its share.": gaps.abs().mean(),
            "empty bins were counted too; weigh each bin by its share.": gaps.abs().sum() / bins,
            "that is the largest gap, the maximum calibration error.": gaps.abs().max(),
            "gaps are squared; take the absolute value.": part @ gaps**2,
        }
        expect(f"calibration_error(p, labels, {bins})", call(p, y, bins), part @ gaps.abs(), mistakes)


@check("rank 1: what a step adds is read from the picture and writes a name less a mean of names.", MADE_UP)
def check_slope(case: Inputs, call: Call) -> None:
    """``slope(h, P, T, c, s)``: gradient [w, d] of one picture's cross-entropy, scores s h P tᵢ."""
    T, h, P = case.T.double(), case.images[0, :9].double(), 0.3 * case.images[:9].double()
    for c, s in ((0, 4.0), (3, 20.0)):
        x = h @ P @ T.T
        p = (s * x).softmax(0)
        writes = {
            "the term with t_c is missing: p_i, less 1 where i = c.": p @ T,
            "the other names are missing: every score with p_i > 0 counts.": -T[c],
            "the softmax is of h P tᵢ; want that of s h P tᵢ.": x.softmax(0) @ T - T[c],
        }
        mistakes = {hint: s * torch.outer(h, row) for hint, row in writes.items()}
        expect(f"slope(h, P, T, {c}, {s:g})", call(h, P, T, c, s), s * torch.outer(h, p @ T - T[c]), mistakes)


@check("the part of each cell that neither class nor style explains.")
def check_interaction(case: Inputs, call: Call) -> None:
    """``interaction(M [S, C, d])``: what neither style nor class explains, [S, C, d]."""
    C, d = case.T.shape
    M = case.T + (0.4 * randn(2, 1, d, seed=0) + 0.3 * randn(2, C, d, seed=1)) / d**0.5
    mean, style, cls = M.mean((0, 1), keepdim=True), M.mean(1, keepdim=True), M.mean(0, keepdim=True)
    mistakes = {
        "the mean over everything is taken away twice: add it back once.": M - style - cls,
        "the class is still in it: take away the average over styles too.": M - style,
        "the style is still in it: take away the average over classes too.": M - cls,
        "only the mean over everything is gone; style and class are still in it.": M - mean,
        "add the mean over everything back once, do not take it away again.": M - style - cls - mean,
    }
    expect("interaction(M)", call(M), M - style - cls + mean, mistakes, start=M)


@check("the reader: 1 on its own prototype, next to nothing on the others.")
def check_reader(case: Inputs, call: Call) -> None:
    """``reader(p, P_r, mu)``: l [d] with l · p = 1, minimising ‖l‖² + μ ‖P_r l‖² (rows)."""
    p, P_r = case.images[0].double(), case.images[4:10].double()
    for mu in (0.0, 3.0, 100.0):
        outer = mu * P_r.T @ P_r
        X, M_p = torch.linalg.solve(torch.eye(len(p)).double() + outer, p), p + outer @ p
        Y = torch.linalg.pinv(outer, rtol=1e-9) @ p
        mistakes = {
            "μ has no effect: that is the shortest l with l · p = 1, whatever P_r is.": p / (p @ p),
            "the I of M = I + μ P_rᵀ P_r is missing.": Y / (p @ Y).clamp_min(1e-12),
            "that is M p; want M⁻¹ p, then scaled.": M_p / (p @ M_p),
        }
        expect(f"reader(p, P_r, mu={mu:g}), with l · p = 1,", call(p, P_r, mu), X / (p @ X), mistakes)
