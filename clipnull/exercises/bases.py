"""Checks of lesson 02."""

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.exercises.checking import TOLERANCE, Call, Inputs, Wrong, check, error, expect

__all__ = ["check_basis", "check_project_out", "check_projector", "check_rank"]


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


@check("P = UUᵀ, so that P² = P = Pᵀ.")
def check_projector(case: Inputs, call: Call) -> None:
    """Check ``function(U [d, r])``: P [d, d], the orthogonal projector onto the span of U."""
    U = subspace.orthonormal_basis(case.T_f).float()
    P = U @ U.T
    eye = torch.eye(len(P))
    mistakes = {
        "that is I − P, which projects out of the span instead of onto it.": eye - P,
        "that is UᵀU, the identity of size r. The projector is [d, d].": U.T @ U,
        "that is 2P − I, a reflection.": 2 * P - eye,
        "that is U itself.": U,
        "the whole is divided by r.": P / U.shape[1],
    }
    expect("P", call(U), P, mistakes)


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


@check("the rank, whatever the scale and however often a name is repeated.")
def check_rank(case: Inputs, call: Call) -> None:
    """Check ``function(T [m, d])``: the numerical rank, by singular values relative to the largest."""
    repeated = _with_repeats(case.T_f)
    for what, T in (
        ("independent rows", case.T_f),
        ("rows of which two are repeated", repeated),
        ("the same rows times 0.00001", 1e-5 * repeated),
        ("the same rows times 10,000", 1e4 * repeated),
        ("more rows than dimensions", case.T[:, :5]),
    ):
        right, s = subspace.numerical_rank(T), torch.linalg.svdvals(T)
        mistakes = {
            "that counts rows. Rows that are repeated add no direction.": len(T),
            "that counts singular values above 0. Rounding leaves none at 0 exactly.": int((s > 0).sum()),
            "that compares with a fixed number. The scale of T must not matter: compare with the "
            "largest singular value.": int((s > 1e-6).sum()),
            "that counts directions lost, want directions there.": len(T) - right,
            "that is the dimension d.": T.shape[1],
        }
        expect(f"the rank of {what}", call(T), right, mistakes)


def _with_repeats(T: torch.Tensor) -> torch.Tensor:
    """Rows [m + 2, d]: the second is the first again, the last is the third, shorter. Rank as before."""
    return torch.cat([T[:1], T[:1], T[1:], 0.5 * T[-1:]])
