"""Checks of the electives."""

from __future__ import annotations

import torch

from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape, made_up

__all__ = [
    "check_calibration_error", "check_interaction", "check_leace", "check_reader", "check_slope"
]  # fmt: skip


@check("equal means, and no other linear map moves the pictures less.", made_up)
def check_leace(case: Inputs, call: Call) -> None:
    """``leace_one(X, ours)``: LEACE for one class, given as a mask [n]."""
    g = torch.Generator().manual_seed(2)
    X = torch.randn(90, 5, generator=g).double() @ torch.randn(5, 5, generator=g).double()
    ours = torch.arange(90) % 3 == 0
    X[ours] += 2.0
    delta, x = X[ours].mean(0) - X[~ours].mean(0), X - X.mean(0)

    def moved(ell: torch.Tensor) -> torch.Tensor:
        return X - (x @ ell / (ell @ delta))[:, None] * delta

    ell = torch.linalg.solve(x.T @ x, delta)
    got = call(X, ours).double()
    expect_shape("the pictures", got, X.shape)
    gap = float((got[ours].mean(0) - got[~ours].mean(0)).norm())
    mistakes = {
        "that reads along δ; means are equal, but reading along Σ⁻¹δ moves pictures less.": moved(delta),
        "δ is read and Σ⁻¹δ written; want it the other way round.":
            X - (x @ delta / (ell @ delta))[:, None] * ell,
        "that is what is subtracted; want X less that.": X - moved(ell),
        "Σ is taken about the origin, not about the mean of all pictures.":
            moved(torch.linalg.solve(X.T @ X, delta)),
        "ℓ reads x itself; want x less the mean of all pictures.":
            X - (X @ ell / (ell @ delta))[:, None] * delta,
        "only the class itself was moved.": torch.where(ours[:, None], moved(ell), X),
    }  # fmt: skip
    if gap > 1e-6 and not any(torch.allclose(got, m) for m in mistakes.values()):
        raise Wrong(f"the class means are {gap:.2g} apart, want 0.")
    expect("leace_one(X, ours)", got, moved(ell), mistakes)


@check("as `clipnull.auditing.calibration_error`.")
def check_calibration_error(case: Inputs, call: Call) -> None:
    """``calibration_error(p, labels, bins)``: expected calibration error, a fraction."""
    p, y = _chances(case)
    of_true = p[torch.arange(len(p)), y]
    for bins in (10, 4):
        top, said = p.max(1)
        right = (said == y).double()
        part, gaps = _bins(top, right, bins)
        signed, of_true_class = (part * gaps).sum(), _bins(of_true, right, bins)
        mistakes = {
            "signed gaps cancel between bins: take the absolute value of each.": signed,
            "signed gaps cancel between bins: take the absolute value of each (sign flipped).": -signed,
            "bins count alike, however few they hold; weigh each by its share.": gaps.abs().mean(),
            "empty bins were counted too; weigh each bin by its share.": gaps.abs().sum() / bins,
            "that is the largest gap, the maximum calibration error.": gaps.abs().max(),
            "gaps are squared; take the absolute value.": (part * gaps**2).sum(),
            "the confidence of the true class was binned; want the highest one, right or wrong.":
                (of_true_class[0] * of_true_class[1].abs()).sum(),
        }  # fmt: skip
        expect(f"calibration_error(p, labels, {bins})", call(p, y, bins), (part * gaps.abs()).sum(), mistakes)


@check("rank 1: what a step adds is read from the picture and writes a name less a mean of names.", made_up)
def check_slope(case: Inputs, call: Call) -> None:
    """``slope(h, P, T, c, s)``: gradient [w, d] of one picture's cross-entropy, scores s h P tᵢ."""
    T = case.T.double()
    h, P = case.Z[0, :9].double(), 0.3 * case.Z[:9].double()
    for c, s in ((0, 4.0), (3, 20.0)):
        p = (s * h @ P @ T.T).softmax(0)
        want = s * torch.outer(h, p @ T - T[c])
        mistakes = {
            "the sign is wrong: you return the step, not the gradient.": -want,
            "the factor s is missing.": want / s,
            "the term with t_c is missing: p_i, less 1 where i = c.": s * torch.outer(h, p @ T),
            "the other names are missing: every score with p_i > 0 counts.": -s * torch.outer(h, T[c]),
            "the names count alike; weigh each by its p_i.": s * torch.outer(h, T.mean(0) - T[c]),
            "the softmax is of h P tᵢ; want that of s h P tᵢ.":
                s * torch.outer(h, (h @ P @ T.T).softmax(0) @ T - T[c]),
        }  # fmt: skip
        expect(f"slope(h, P, T, {c}, {s:g})", call(h, P, T, c, s), want, mistakes, 1e-3)


@check("the part of each cell that neither class nor style explains.")
def check_interaction(case: Inputs, call: Call) -> None:
    """Check ``interaction(M)`` -> [S, C, d]: what neither style nor class explains in ``M [S, C, d]``."""
    M = _two_styles(case)
    mean, style, cls = M.mean((0, 1), keepdim=True), M.mean(1, keepdim=True), M.mean(0, keepdim=True)
    mistakes = {
        "the mean over everything is taken away twice, once in each average: add it back once.":
            M - style - cls,
        "the class is still in it: take away the average over styles too.": M - style,
        "the style is still in it: take away the average over classes too.": M - cls,
        "that is the additive part; want what is left of M.": style + cls - mean,
        "only the mean over everything is gone; style and class are still in it.": M - mean,
        "add the mean over everything back once, do not take it away again.": M - style - cls - mean,
    }  # fmt: skip
    expect("interaction(M)", call(M), M - style - cls + mean, mistakes)


@check("the reader: 1 on its own prototype, next to nothing on the others.")
def check_reader(case: Inputs, call: Call) -> None:
    """Check ``reader(p, P_r, mu)`` -> l [d] with l . p = 1, minimising ||l||^2 + mu ||P_r l||^2 (rows)."""
    p, P_r = case.Z[0].double(), case.Z[4:10].double()
    eye = torch.eye(len(p), dtype=p.dtype)
    for mu in (0.0, 3.0, 100.0):
        outer = mu * P_r.T @ P_r
        X, M_p = torch.linalg.solve(eye + outer, p), p + outer @ p
        Y = torch.linalg.pinv(outer, rtol=1e-9) @ p
        want = X / (p @ X)
        mistakes = {
            "the direction is right, but l · p must be 1: divide by p · l.": X,
            "l has length 1; want l · p = 1.": X / X.norm(),
            "μ has no effect: that is the shortest l with l · p = 1, whatever P_r is.": p / (p @ p),
            "the I of M = I + μ P_rᵀ P_r is missing.": Y / (p @ Y).clamp_min(1e-12),
            "that is M p; want M⁻¹ p, then scaled.": M_p / (p @ M_p),
            "l · p is -1: a sign is wrong.": -want,
        }
        expect(f"reader(p, P_r, mu={mu:g})", call(p, P_r, mu), want, mistakes)


def _chances(case: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [n, C], neither all alike nor all certain, and labels [n], every third one wrong."""
    y = case.labels.clone()
    y[::3] = (y[::3] + 1) % len(case.T)
    return (12 * case.Z @ case.T.T).softmax(1).double(), y


def _bins(score: torch.Tensor, right: torch.Tensor, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the images in each used bin, and accuracy less mean score."""
    which = (score * bins).ceil().long().clamp(1, bins)
    members = [which == b for b in which.unique()]
    gaps = torch.stack([right[m].mean() - score[m].mean() for m in members])
    return torch.stack([m.double().mean() for m in members]), gaps


def _two_styles(case: Inputs) -> torch.Tensor:
    """Cells [2, C, d] with class, style and interaction, around the names of a case."""
    g = torch.Generator().manual_seed(0)
    style = 0.4 * torch.randn(2, 1, case.T.shape[1], generator=g) / case.T.shape[1] ** 0.5
    own = 0.3 * torch.randn(2, *case.T.shape, generator=g) / case.T.shape[1] ** 0.5
    return case.T + style + own
