"""Checks of lesson 03."""

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, Wrong, check, error, expect

__all__ = ["check_apply_edit", "check_edited_scores", "check_forget_projector"]


@check("your projector forgets one name, several, and repeated ones.")
def check_forget_projector(case: Inputs, call: Call) -> None:
    """``forget_projector(T_f)``: text embeddings [m, d] to W = I - U U^T [d, d] (notebook 03)."""
    one, several = case.T[:1], case.T_f
    repeated = torch.cat([several, 2 * several[:1]])
    for what, T_f in (
        ("one name", one),
        ("a name of length 3", 3 * one),
        ("three names", several),
        ("three names and one of them again", repeated),
    ):
        _expect_projector(f"W for {what}", call(T_f), T_f)


@check("new scores from the old ones, without a new [n, d] by [d, C] product.")
def check_edited_scores(case: Inputs, call: Call) -> None:
    """``edited_scores(S, Z, T, L, R)``: scores [n, C] after W = I - L R^T (notebook 03)."""
    edit = consistent(case.T_f, case.T_r)
    Z, T, L, R = case.Z, case.T, edit.left, edit.right
    S = Z @ T.T
    taken = (Z @ L) @ (T @ R).T
    what = "edited_scores(S, Z, T, L, R)"
    mistakes = {
        "L and R are swapped, which is Wᵀ in the place of W. Images meet L, names meet R.":
            S - (Z @ R) @ (T @ L).T,
        "that is what the edit takes away: subtract it from S.": taken,
        "the sign is wrong: the edit takes this away.": S + taken,
        "the edited images were normalised. The update gives raw scores.":
            edit.apply_image(Z, normalize=True) @ T.T,
        "the edited names were normalised. The update gives raw scores.":
            Z @ edit.apply_text(T, normalize=True).T,
    }  # fmt: skip
    expect(what, call(S, Z, T, L, R), S - taken, mistakes)
    again = "they were computed anew. Start from the S you are given: n·C·m steps, not n·C·d."
    expect(f"{what} with 1 added to S", call(S + 1, Z, T, L, R), S + 1 - taken, {again: S - taken})


@check("both sides, each with its own of W and Wᵀ.")
def check_apply_edit(case: Inputs, call: Call) -> None:
    """``apply_edit(X, L, R, side)``: rows of images to X W, rows of names to X W^T (notebook 03)."""
    # CCUP: W is not symmetric, so that the sides differ
    edit = consistent(case.T_f, case.T_r)
    L, R = edit.left, edit.right
    swapped = {
        "image": "that is X Wᵀ, want X W: W for Wᵀ. Rows of images meet L first.",
        "text": "that is X W, want X Wᵀ: W for Wᵀ. Rows of names meet R first.",
    }
    for side, X, a, b in [("image", case.Z, L, R), ("text", case.T, R, L)]:
        want = X - (X @ a) @ b.T
        mistakes = {
            swapped[side]: X - (X @ b) @ a.T,
            "that is what the edit takes away: subtract it from X.": (X @ a) @ b.T,
            "your rows were normalised; leave their length as it comes out.": F.normalize(want, dim=1),
        }
        expect(f"apply_edit(X, L, R, {side!r})", call(X, L, R, side), want, mistakes)


def _expect_projector(what: str, W: torch.Tensor, T_f: torch.Tensor) -> None:
    """Raise `Wrong` unless ``W`` projects out the span of the rows of ``T_f [m, d]``, and no more."""
    m, d = T_f.shape
    eye, unit = torch.eye(d, dtype=T_f.dtype), F.normalize(T_f, dim=1)
    U = subspace.orthonormal_basis(T_f).to(T_f)
    r = U.shape[1]
    want = eye - U @ U.T
    mistakes = {
        "that projects onto the names: subtract it from I to project out of them.": U @ U.T,
        "the columns of your U are unit vectors but not perpendicular to each other: "
        "UUᵀ wants an orthonormal basis (SVD or QR) of the names.": eye - unit.T @ unit,
        "that is I - UUᵀ with raw names as U: are its columns unit length?": eye - T_f.T @ T_f,
        "that is I minus a number: your U has m rows. A basis has d: transpose T_f first.": eye - 1,
    }
    if W.shape == want.shape and r < m:
        removed = d - float(W.trace())
        if error(W @ W, W) < 1e-2 and error(T_f @ W, torch.zeros_like(T_f)) < 1e-2 and removed > r + 0.5:
            raise Wrong(
                f"{what} removes {removed:.0f} dimensions, but these {m} rows span only {r}: one is a "
                "multiple of another. Drop the directions whose singular value is zero but for noise."
            )
    expect(what, W, want, mistakes)
