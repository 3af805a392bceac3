"""Checks of the elective one_style_only."""

import torch

from clipnull.exercises.checking import Call, Inputs, check, expect

__all__ = ["check_interaction", "check_reader"]


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


def _two_styles(case: Inputs) -> torch.Tensor:
    """Cells [2, C, d] with class, style and interaction, around the names of a case."""
    g = torch.Generator().manual_seed(0)
    style = 0.4 * torch.randn(2, 1, case.T.shape[1], generator=g) / case.T.shape[1] ** 0.5
    own = 0.3 * torch.randn(2, *case.T.shape, generator=g) / case.T.shape[1] ** 0.5
    return case.T + style + own
