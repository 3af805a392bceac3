"""Checks of lesson 02."""

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.exercises.checking import TOLERANCE, Call, Inputs, Wrong, check, error, expect, many_names

__all__ = ["check_basis", "check_project_out", "check_rank"]


@check("UᵀU = I, the span is right; repeated names add no column, nearly parallel ones do.")
def check_basis(case: Inputs, call: Call) -> None:
    """Check ``function(T [m, d])``: U [d, r], orthonormal columns that span the rows of T, r the rank."""
    for T in (case.T_f, _with_repeats(case.T_f), _nearly_parallel(case)):
        d, r = subspace.orthonormal_basis(T).shape
        U = call(T).double()
        if tuple(U.shape) in ((r, d), (len(T), d)):
            raise Wrong(f"U has shape {list(U.shape)}: it looks transposed, a basis is in columns, [d, r].")
        if U.ndim != 2 or U.shape[0] != d:
            raise Wrong(f"U has shape {list(U.shape)}, want [{d}, {r}].")
        if not torch.isfinite(U).all():
            raise Wrong("U holds NaN or infinity: a repeated name leaves a residual of zero, which divides.")
        k, gram = U.shape[1], U.T @ U
        if k > r:
            raise Wrong(
                f"U has {k} columns, but the {len(T)} rows span {r} directions: two rows are repeated, up to "
                "length. What is left of them is rounding, some 1e-7 in float32; your cut lets it through."
            )
        if (off := error(gram, torch.eye(k))) > TOLERANCE:
            hint = "the columns have unit length but are not orthogonal to each other. Subtract first."
            if error(gram.diagonal(), torch.ones(k)) > TOLERANCE:
                hint = "are the columns unit length?"
            elif off < 0.05:
                hint = "dividing a short residual makes its rounding large, and rows may be 1% apart."
            raise Wrong(f"UᵀU differs from I by {off:.2g}: {hint}")
        if k < r:
            raise Wrong(
                f"U has {k} columns, but the rows span {r} directions. Two of them may differ by 1% only, "
                "which is small and no rounding: cut at max(m, d) times the precision of the data."
            )
        if (left := float(subspace.project_out(T.double(), U).norm(dim=1).max())) > TOLERANCE:
            raise Wrong(f"UᵀU = I, but U does not span the rows of T: a part {left:.2g} long is left over.")


@check("it counts the directions that the other prompt could not have made.", many_names(1.25))
def check_rank(case: Inputs, call: Call) -> None:
    """Check ``function(T [C, d], other [C, d])``: number of singular values above the prompts' difference."""
    T = case.T.double()
    centred = T - T.mean(0)
    s = torch.linalg.svdvals(centred)
    noise = torch.randn(T.shape, generator=torch.Generator().manual_seed(0), dtype=T.dtype)
    noise -= noise.mean(0)
    noise *= 0.6 * s.median() / torch.linalg.svdvals(noise)[0]
    other = T + 0.12 * F.normalize(case.Z.double().mean(0), dim=0) + noise
    raw, both, bound = (torch.linalg.svdvals(x) for x in (T, T - other, noise))
    delta, shifted = bound[0], both[0]
    mistakes = {
        "the means are still in, and a prompt shifts all names alike: subtract each mean.": raw > shifted,
        "the mean is still in the difference: subtract each list's own mean first.": s > shifted,
        "the mean is still in the names.": raw > delta,
        "that compares with the Frobenius norm, all singular values of the difference together. Weyl wants "
        "the largest alone.": s > noise.norm(),
        "that compares with the longest row of the difference. Several rows may add up: want its largest "
        "singular value.": s > noise.norm(dim=1).max(),
        "your singular values are divided by the largest one, the noise is not.": s / s[0] > delta,
        "those are squares, the eigenvalues of TᵀT. Compare singular values.": s**2 > delta,
        "that counts those below the noise.": s <= delta,
        "that counts what is above rounding. The noise is what another prompt changes.": s > 1e-5 * s[0],
    }  # fmt: skip
    want = (s > delta).sum()
    expect(
        "rank_above(T, other)",
        call(T.float(), other.float()),
        want,
        {k: v.sum() for k, v in mistakes.items()},
    )


@check("nothing of U is left in Z, and nothing else is lost.")
def check_project_out(case: Inputs, call: Call) -> None:
    """Check ``function(Z [n, d], U [d, r])``: rows of Z without their part in the span of U."""
    Z = case.Z[:10]
    U = subspace.orthonormal_basis(case.T_f).float()
    inside = (Z @ U) @ U.T
    out = Z - inside
    coefficients = (Z @ U).sum(1, keepdim=True)
    mistakes = {
        "that is the part inside the span (projected onto). Want what is left of Z.": inside,
        "these are the coefficients ZU, in the basis. Go back to d dimensions with Uᵀ.": Z @ U,
        "the rows are scaled to unit length afterwards. A projection does not.": F.normalize(out, dim=1),
        "that subtracts twice the part inside (a reflection).": Z - 2 * inside,
        "that takes out the first column of U only.": Z - (Z @ U[:, :1]) @ U[:, :1].T,
        "that adds the part inside instead of subtracting it.": Z + inside,
        "it is transposed: samples are rows.": out.T,
        "that is the projector I − P. Apply it to Z, and form no d × d matrix.": torch.eye(len(U)) - U @ U.T,
        "that adds up the coefficients before using them.": Z - coefficients * U.sum(1),
    }
    expect("project_out(Z, U)", call(Z, U), out, mistakes)
    call.thin(Z, U, square=len(U), instead="(ZU)Uᵀ is two thin products.")


def _with_repeats(T: torch.Tensor) -> torch.Tensor:
    """Rows [m + 2, d]: the second is the first again, the last is the third, shorter. Rank as before."""
    return torch.cat([T[:1], T[:1], T[1:], 0.5 * T[-1:]])


def _nearly_parallel(case: Inputs) -> torch.Tensor:
    """Rows [3, d] of rank 3: the second and the third are the first but for 1%.

    One such row alone would not tell classical from modified Gram–Schmidt.
    """
    first = case.T_f[:1]
    across = subspace.project_out(case.Z[:2], subspace.orthonormal_basis(first))
    return torch.cat([first, first + 0.01 * F.normalize(across, dim=1)])
