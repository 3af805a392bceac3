"""Checks of lesson 04."""

import torch

from clipnull import subspace
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape

__all__ = ["check_anchored", "check_ccup"]

#: λ and μ that tell them apart, and a pair at which the two agree
LAM_MU = [(20.0, 5.0), (10.0, 10.0), (3.0, 0.0)]


@check("W = I − λ T_f T_fᵀ M⁻¹, as in `cn.consistent(T_f, T_r, lam, mu).matrix()`.")
def check_ccup(case: Inputs, call: Call) -> None:
    """Check ``ccup(T_f, T_r, lam, mu)`` -> W [d, d], the minimiser with names in rows."""
    for lam, mu in LAM_MU:
        want, mistakes = _edits(case, torch.zeros_like(case.T_f), lam, mu)
        what = f"ccup(T_f, T_r, {lam:g}, {mu:g})"
        # an M without its I is singular, which shows as an error or as huge entries
        hint = "is the I of M = I + λ T_f T_fᵀ + μ T_r T_rᵀ there? Without it M is singular."
        try:
            W = call(case.T_f, case.T_r, lam, mu)
        except Wrong as wrong:
            raise Wrong(f"{wrong}; {hint}") if "singular" in str(wrong) else wrong from wrong
        if W.shape == want.shape and (largest := float(W.abs().max())) > 1e3:
            raise Wrong(f"{what} has entries as large as {largest:.1g}: {hint}")
        expect(what, W, want, mistakes)


@check("L = D, R = X (I/λ + DᵀX)⁻¹: two [d, m] arrays do the work of a [d, d] one.")
def check_anchored(case: Inputs, call: Call) -> None:
    """Check ``anchored(T_f, T_r, A, lam, mu)`` -> (L, R), both [d, m], for anchors ``A [m, d]`` in rows."""
    A = 0.5 * case.T_r.mean(0) + 0.5 * case.T_r[: len(case.forget)]  # one of its own for each name
    for lam, mu in LAM_MU:
        out = call.raw(case.T_f, case.T_r, A, lam, mu)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise Wrong(f"your function returns {type(out).__name__}, want two arrays: return L, R")
        L, R = map(call.tensor, out)
        if L.shape != R.shape:
            raise Wrong(f"L has shape {list(L.shape)} and R {list(R.shape)}; both are [d, m].")
        expect_shape("L", L, case.T_f.T.shape)
        # factors are not unique (L S, R S⁻ᵀ), their product is
        want, mistakes = _edits(case, A, lam, mu)
        expect(f"I − L Rᵀ, λ = {lam:g}, μ = {mu:g},", _edit_matrix(L, R), want, mistakes)


def _edit_matrix(L: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(L), dtype=L.dtype) - L @ R.T


def _edits(
    case: Inputs, A: torch.Tensor, lam: float, mu: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """W = I - λ D Dᵀ M⁻¹ with D = T_f - A, and usual wrong answers for it, by hint."""
    T_f, T_r, A = case.T_f.double(), case.T_r.double(), A.double()
    eye = torch.eye(T_f.shape[1], dtype=T_f.dtype)

    def factors(
        left: torch.Tensor, lam: float, mu: float, names: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """L = left and R = λ M⁻¹ L, or with other names in R and M, all in rows."""
        names = left if names is None else names
        M = eye + lam * names.T @ names + mu * T_r.T @ T_r
        return left.T, lam * torch.linalg.solve(M, names.T)

    D = T_f - A
    L, R = factors(D, lam, mu)
    W, swapped = eye - L @ R.T, _edit_matrix(*factors(D, mu, lam))
    no_eye = lam * L @ L.T + mu * T_r.T @ T_r
    inverse = torch.linalg.pinv(no_eye, rtol=1e-5, hermitian=True)
    return W, {
        "that is Wᵀ. The unknown W stands on the left, W M = B, so W = B M⁻¹ and not M⁻¹ B.": W.T,
        "λ and μ are swapped: λ goes with the names to forget, μ with T_r.": swapped,
        "λ and μ are swapped, and W is transposed.": swapped.T,
        "the I of ‖W − I‖² is missing (I − … in W).": W - eye,
        "that is L Rᵀ: take it away from I.": eye - W,
        "the I of ‖W − I‖² is missing in W M = I + …: μ T_r T_rᵀ alone stands on the right.":
            W - torch.linalg.inv(eye + no_eye),
        "the I of ‖W − I‖² is missing in M = I + λ T_f T_fᵀ + μ T_r T_rᵀ.": eye - lam * L @ L.T @ inverse,
        "μ has no effect: T_r is missing.": _edit_matrix(*factors(D, lam, 0.0)),
        "that is the projector I − UUᵀ: the retained names are not asked.":
            eye - subspace.projector(subspace.orthonormal_basis(T_f)),
        "λ is missing in front: R = λ M⁻¹ L.": eye - L @ R.T / lam,
        "the I/λ is missing: that is the edit for λ = ∞.": _edit_matrix(*factors(D, 1e9, mu)),
        "the anchor is ignored: that is CCUP, the edit with A = 0.": _edit_matrix(*factors(T_f, lam, mu)),
        "the anchor's sign: D = T_f − A.": _edit_matrix(*factors(T_f + A, lam, mu)),
        "only L has the anchor in it. What must go is W D: R, too, is made of D = T_f − A.":
            _edit_matrix(*factors(D, lam, mu, names=T_f)),
    }  # fmt: skip
