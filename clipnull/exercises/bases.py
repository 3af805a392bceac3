"""Checks of lesson 02."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.exercises.checking import TOLERANCE, Case, Verdict, Wrong, _with_repeats, error, expect, run

__all__ = ["check_basis", "check_project_out", "check_projector", "check_rank"]


def check_basis(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [m, d])``: U [d, r], orthonormal columns that span the rows of T, r the rank."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for T in (case.T[case.forget], _with_repeats(case.T[case.forget])):
            right = subspace.orthonormal_basis(T)
            d, r = right.shape
            U = call(T)
            if tuple(U.shape) == (r, d) or tuple(U.shape) == (len(T), d):
                raise Wrong(
                    f"U has shape {list(U.shape)}: it looks transposed, a basis is in columns, [d, r]."
                )
            if U.ndim != 2 or U.shape[0] != d:
                raise Wrong(f"U has shape {list(U.shape)}, want [{d}, {r}].")
            if not torch.isfinite(U.double()).all():
                raise Wrong(
                    "U holds NaN or infinity: a repeated name leaves a residual of zero, which divides."
                )
            gram = U.double().T @ U.double()
            off = error(gram, torch.eye(U.shape[1], dtype=torch.double))
            if U.shape[1] > r:
                raise Wrong(
                    f"U has {U.shape[1]} columns, but the {len(T)} rows span {r} directions: two rows are "
                    "repeated, up to length. Drop what is numerically zero."
                )
            if off > TOLERANCE:
                lengths = error(gram.diagonal(), torch.ones(U.shape[1], dtype=torch.double))
                hint = (
                    "are the columns unit length?"
                    if lengths > TOLERANCE
                    else "the columns have unit length but are not orthogonal to each other. Subtract first."
                )
                raise Wrong(f"UᵀU differs from I by {off:.2g}: {hint}")
            if U.shape[1] < r:
                raise Wrong(f"U has {U.shape[1]} columns, but the rows span {r} directions.")
            left = subspace.project_out(T.double(), U.double()).norm(dim=1).max()
            if float(left) > TOLERANCE:
                raise Wrong(
                    f"UᵀU = I, but U does not span the rows of T: a part {float(left):.2g} long is left over."
                )

    return run(function, body, "UᵀU = I, the span is right, and repeated names add no column.")


def check_projector(function: Callable[..., Any]) -> Verdict:
    """Check ``function(U [d, r])``: P [d, d], the orthogonal projector onto the span of U."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        U = subspace.orthonormal_basis(case.T[case.forget]).float()
        P = U @ U.T
        eye = torch.eye(len(P))
        expect(
            "P",
            call(U),
            P,
            {
                "that is I − P, which projects out of the span instead of onto it.": eye - P,
                "that is UᵀU, the identity of size r. The projector is [d, d].": U.T @ U,
                "that is 2P − I, a reflection.": 2 * P - eye,
                "that is U itself.": U,
                "the whole is divided by r.": P / U.shape[1],
            },
        )

    return run(function, body, "P = UUᵀ, so that P² = P = Pᵀ.")


def check_project_out(function: Callable[..., Any]) -> Verdict:
    """Check ``function(Z [n, d], U [d, r])``: rows of Z without their part in the span of U."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        Z = case.Z[:10]
        U = subspace.orthonormal_basis(case.T[case.forget]).float()
        inside = (Z @ U) @ U.T
        out = Z - inside
        coefficients = (Z @ U).sum(1, keepdim=True)
        expect(
            "project_out(Z, U)",
            call(Z, U),
            out,
            {
                "that is the part inside the span (projected onto). Want what is left of Z.": inside,
                "these are the coefficients ZU, in the basis. Go back to d dimensions with Uᵀ.": Z @ U,
                "the rows are scaled to unit length afterwards. A projection does not.": F.normalize(
                    out, dim=1
                ),
                "that subtracts twice the part inside (a reflection).": Z - 2 * inside,
                "that takes out the first column of U only.": Z - (Z @ U[:, :1]) @ U[:, :1].T,
                "that adds the part inside instead of subtracting it.": Z + inside,
                "it is transposed: samples are rows.": out.T,
                "that is the projector I − P itself. Apply it to Z.": torch.eye(len(U)) - U @ U.T,
                "that adds up the coefficients before using them.": Z - coefficients * U.sum(1),
            },
        )

    return run(function, body, "nothing of U is left in Z, and nothing else is lost.")


def check_rank(function: Callable[..., Any]) -> Verdict:
    """Check ``function(T [m, d])``: the numerical rank, by singular values relative to the largest."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        names = case.T[case.forget]
        repeated = _with_repeats(names)
        for what, T in (
            ("independent rows", names),
            ("rows of which two are repeated", repeated),
            ("the same rows times 0.00001", 1e-5 * repeated),
            ("the same rows times 10,000", 1e4 * repeated),
            ("more rows than dimensions", case.T[:, :5]),
        ):
            right, s = subspace.numerical_rank(T), torch.linalg.svdvals(T)
            expect(
                f"the rank of {what}",
                call(T).double(),
                right,
                {
                    "that counts rows. Rows that are repeated add no direction.": len(T),
                    "that counts singular values above 0. Rounding leaves none at 0 exactly.": int(
                        (s > 0).sum()
                    ),
                    "that compares with a fixed number. The scale of T must not matter: compare with the "
                    "largest singular value.": int((s > 1e-6).sum()),
                    "that counts directions lost, want directions there.": len(T) - right,
                    "that is the dimension d.": T.shape[1],
                },
            )

    return run(function, body, "the rank, whatever the scale and however often a name is repeated.")
