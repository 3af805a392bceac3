"""Checks of lesson 04."""

import torch

from clipnull import subspace
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape

__all__ = ["check_anchored", "check_ccup", "check_ccup_factors", "check_partial_projector"]

#: λ and μ that tell them apart, and a pair at which the two agree
LAM_MU = [(20.0, 5.0), (10.0, 10.0), (3.0, 0.0)]


@check("W = I − αUUᵀ, as in `cn.nullspace(T_f, strength=alpha).matrix()`.")
def check_partial_projector(case: Inputs, call: Call) -> None:
    """Check ``partial_projector(U, alpha)`` -> I - alpha U U^T [d, d], for orthonormal ``U [d, r]``."""
    U = subspace.orthonormal_basis(case.T_f).to(case.T.dtype)
    eye, P = torch.eye(len(U), dtype=U.dtype), U @ U.T
    for alpha in (0.3, 1.0, 0.0):
        keep = 1 - alpha
        mistakes = {
            "that is αUUᵀ, the part to take away: take it away from I.": alpha * P,
            "that is the full projector I − UUᵀ, whatever α is: where does α enter?": eye - P,
            "that keeps a share α of the forgotten part; α is the share that goes.": eye - keep * P,
            "that adds αUUᵀ instead of taking it away.": eye + alpha * P,
            "that scales all of I − UUᵀ by α; directions outside the span of U must stay whole.":
                alpha * (eye - P),
            "that is (1 − α)I + αUUᵀ: it keeps the span of U and shrinks everything else.":
                keep * eye + alpha * P,
            "that is I − αUᵀU: UᵀU is [r, r], the projector is UUᵀ.": keep * torch.eye(U.shape[1]),
        }  # fmt: skip
        expect(f"partial_projector(U, {alpha})", call(U, alpha), eye - alpha * P, mistakes)


@check("W = I − λ T_f T_fᵀ M⁻¹, as in `cn.consistent(T_f, T_r, lam, mu).matrix()`.")
def check_ccup(case: Inputs, call: Call) -> None:
    """Check ``ccup(T_f, T_r, lam, mu)`` -> W [d, d], the minimiser with names in rows (notebook 04)."""
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


@check("L = T_f, R = λ M⁻¹ T_f: two [d, m] arrays do the work of a [d, d] one.")
def check_ccup_factors(case: Inputs, call: Call) -> None:
    """Check ``ccup_factors(T_f, T_r, lam, mu)`` -> (L, R), both [d, m], with W = I - L R^T."""
    for lam, mu in LAM_MU:
        out = call.raw(case.T_f, case.T_r, lam, mu)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise Wrong(f"your function returns {type(out).__name__}, want two arrays: return L, R")
        L, R = map(call.tensor, out)
        if L.shape != R.shape:
            raise Wrong(f"L has shape {list(L.shape)} and R {list(R.shape)}; both are [d, m].")
        expect_shape("L", L, case.T_f.T.shape)
        # factors are not unique (L S, R S⁻ᵀ), their product is
        want, mistakes = _edits(case, torch.zeros_like(case.T_f), lam, mu)
        expect(f"I − L Rᵀ, λ = {lam:g}, μ = {mu:g},", _edit_matrix(L, R), want, mistakes)


@check("W = I − λ (T_f − A) T_fᵀ M⁻¹, as in `cn.consistent(T_f, T_r, lam, mu, anchor=A).matrix()`.")
def check_anchored(case: Inputs, call: Call) -> None:
    """Check ``anchored(T_f, T_r, A, lam, mu)`` -> W [d, d], with targets ``A [m, d]`` in rows."""
    A = 0.5 * case.T_r.mean(0) + 0.5 * case.T_r[: len(case.forget)]  # a target of its own for each name
    for lam, mu in LAM_MU:
        want, mistakes = _edits(case, A, lam, mu)
        got = call(case.T_f, case.T_r, A, lam, mu)
        expect(f"anchored(T_f, T_r, A, {lam:g}, {mu:g})", got, want, mistakes)


def _edit_matrix(L: torch.Tensor, R: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(L), dtype=L.dtype) - L @ R.T


def _edits(
    case: Inputs, A: torch.Tensor, lam: float, mu: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """W = I - (T_f - A) R^T from the d x d matrix M, and usual wrong answers for it, by hint."""
    T_f, T_r, A = case.T_f.double(), case.T_r.double(), A.double()
    eye = torch.eye(T_f.shape[1], dtype=T_f.dtype)

    def factors(A: torch.Tensor, lam: float, mu: float) -> tuple[torch.Tensor, torch.Tensor]:
        M = eye + lam * T_f.T @ T_f + mu * T_r.T @ T_r
        return (T_f - A).T, lam * torch.linalg.solve(M, T_f.T)

    L, R = factors(A, lam, mu)
    W, swapped = eye - L @ R.T, _edit_matrix(*factors(A, mu, lam))
    no_eye = lam * T_f.T @ T_f + mu * T_r.T @ T_r
    inverse = torch.linalg.pinv(no_eye, rtol=1e-5, hermitian=True)
    return W, {
        "that is Wᵀ. The unknown W stands on the left, W M = B, so W = B M⁻¹ and not M⁻¹ B.": W.T,
        "λ and μ are swapped: λ goes with T_f, μ with T_r.": swapped,
        "λ and μ are swapped, and W is transposed.": swapped.T,
        "the I of ‖W − I‖² is missing (I − … in W).": W - eye,
        "that is L Rᵀ: take it away from I.": eye - W,
        "the I of ‖W − I‖² is missing in W M = I + …: μ T_r T_rᵀ alone stands on the right.":
            W - torch.linalg.inv(eye + no_eye),
        "the I of ‖W − I‖² is missing in M = I + λ T_f T_fᵀ + μ T_r T_rᵀ.":
            eye - lam * L @ T_f @ inverse,
        "μ has no effect: T_r is missing from M.": _edit_matrix(*factors(A, lam, 0.0)),
        "that is the projector I − UUᵀ: the retained names are not asked.":
            eye - subspace.projector(subspace.orthonormal_basis(T_f)),
        "λ is missing in front: R = λ M⁻¹ T_f.": eye - L @ R.T / lam,
        "the anchor is ignored: that is CCUP, the edit with A = 0.":
            _edit_matrix(*factors(torch.zeros_like(A), lam, mu)),
        "the anchor's sign: L = T_f − A.": eye - (T_f + A).T @ R.T,
        "that sends the retained names' place to A too: only T_f has a target, T_r stays.":
            eye + A.T @ R.T,
    }  # fmt: skip
