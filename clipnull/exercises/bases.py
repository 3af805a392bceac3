"""Checks of lesson 02."""

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.exercises.checking import TOLERANCE, Call, Inputs, Wrong, check, error, expect

__all__ = ["check_basis", "check_project_out"]


@check("UᵀU = I, the span is right, and repeated names add no column.")
def check_basis(case: Inputs, call: Call) -> None:
    """Check ``function(T [m, d])``: U [d, r], orthonormal columns that span the rows of T, r the rank."""
    for T in (case.T_f, _with_repeats(case.T_f)):
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
                "length. Drop what is numerically zero."
            )
        if (off := error(gram, torch.eye(k))) > TOLERANCE:
            hint = "the columns have unit length but are not orthogonal to each other. Subtract first."
            if error(gram.diagonal(), torch.ones(k)) > TOLERANCE:
                hint = "are the columns unit length?"
            raise Wrong(f"UᵀU differs from I by {off:.2g}: {hint}")
        if k < r:
            raise Wrong(f"U has {k} columns, but the rows span {r} directions.")
        if (left := float(subspace.project_out(T.double(), U).norm(dim=1).max())) > TOLERANCE:
            raise Wrong(f"UᵀU = I, but U does not span the rows of T: a part {left:.2g} long is left over.")


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
        "that is the projector I − P itself. Apply it to Z.": torch.eye(len(U)) - U @ U.T,
        "that adds up the coefficients before using them.": Z - coefficients * U.sum(1),
    }
    expect("project_out(Z, U)", call(Z, U), out, mistakes)


def _with_repeats(T: torch.Tensor) -> torch.Tensor:
    """Rows [m + 2, d]: the second is the first again, the last is the third, shorter. Rank as before."""
    return torch.cat([T[:1], T[:1], T[1:], 0.5 * T[-1:]])
