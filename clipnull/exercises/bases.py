"""Checks of lesson 02."""

import torch

from clipnull import subspace
from clipnull.erasers import nullspace
from clipnull.exercises.checking import Call, Inputs, check, expect, expect_basis, randn, unit

__all__ = ["check_basis", "check_project_out", "check_rank"]


@check("UᵀU = I, the span is right; repeated names add no column, nearly parallel ones do.")
def check_basis(case: Inputs, call: Call) -> None:
    """``basis(T)``: U [d, r], orthonormal columns that span the rows of T [m, d], r the rank."""
    first, second, third = case.T_f
    across = unit(nullspace(first).apply_image(case.images[:2]))
    repeated = torch.stack([first, first, second, third, 0.5 * third])
    near = torch.stack([first, *(first + 0.01 * across)])  # of one such row classical Gram–Schmidt is right
    cut = "a repeated row leaves rounding, no column; one that differs by 1% has its own. Mind your cut."
    for T in (case.T_f, repeated, near):
        expect_basis(call(T), subspace.orthonormal_basis(T), cut)


@check("it counts the directions that the other prompt could not have made.", (1.25, 60, 96, 0))
def check_rank(case: Inputs, call: Call) -> None:
    """``rank_above(T, other)``: number of singular values above the largest of the prompts' difference."""
    T = case.T.double()
    s = torch.linalg.svdvals(T - T.mean(0))
    noise = randn(*T.shape, seed=0).double()
    noise -= noise.mean(0)
    noise *= 0.6 * s.median() / torch.linalg.svdvals(noise)[0]
    other = T + 0.12 * unit(case.images.double().mean(0)) + noise
    raw, shifted, delta = (torch.linalg.svdvals(x) for x in (T, T - other, noise))
    mistakes = {
        "the means are still in, and a prompt shifts all names alike: subtract each mean.": raw > shifted[0],
        "the mean is still in the difference: subtract each list's own mean first.": s > shifted[0],
        "the mean is still in the names.": raw > delta[0],
        "that compares with the Frobenius norm, want the largest singular value alone.": s > noise.norm(),
        "that compares with the longest row, but several may add up: want the largest singular value.":
            s > noise.norm(dim=1).max(),
        "those are squares, the eigenvalues of TᵀT. Compare singular values.": s**2 > delta[0],
        "that counts those below the noise.": s <= delta[0],
        "that counts what is above rounding. The noise is what another prompt changes.": s > 1e-5 * s[0],
    }  # fmt: skip
    counts = {hint: above.sum() for hint, above in mistakes.items()}
    expect("rank_above(T, other)", call(T.float(), other.float()), (s > delta[0]).sum(), counts)


@check("nothing of U is left in Z, and nothing else is lost.", thin=True)
def check_project_out(case: Inputs, call: Call) -> None:
    """``project_out(Z, U)``: rows of Z [n, d] without their part in the span of U [d, r]."""
    Z, U = case.images[:10], subspace.orthonormal_basis(case.T_f).float()
    inside = (Z @ U) @ U.T
    mistakes = {
        "that is the part inside the span (projected onto). Want what is left of Z.": inside,
        "these are the coefficients ZU, in the basis. Go back to d dimensions with Uᵀ.": Z @ U,
        "that subtracts twice the part inside (a reflection).": Z - 2 * inside,
        "that takes out the first column of U only.": Z - (Z @ U[:, :1]) @ U[:, :1].T,
    }
    expect("project_out(Z, U)", call(Z, U), Z - inside, mistakes, start=Z)
