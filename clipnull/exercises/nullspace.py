"""Checks of lesson 03."""

import torch

from clipnull import subspace
from clipnull.erasers import consistent, nullspace
from clipnull.exercises.checking import Call, Inputs, check, expect, expect_basis, pair, randn, unit

__all__ = ["check_edited_scores", "check_folded_layer", "check_honest_basis", "check_two_way_after"]


@check("new scores from the old ones, by two thin products.", thin=True)
def check_edited_scores(case: Inputs, call: Call) -> None:
    """``edited_scores(S, Z, T, L, R)``: scores [n, C] after W = I - L Rᵀ, from S [n, C]."""
    edit = consistent(case.T_f, case.T_r)
    Z, T, L, R = case.images, case.T, edit.left, edit.right
    S, taken = Z @ T.T + 1, (Z @ L) @ (T @ R).T  # 1 is added, so that S has to be used
    mistakes = {
        "they do not come from the S you are given: n·C·m steps, not n·C·d.": S - 1 - taken,
        "L and R are swapped: pictures meet L, names meet R.": S - (Z @ R) @ (T @ L).T,
        "the edited pictures were normalised, want raw scores.": edit.apply_image(Z, normalize=True) @ T.T,
        "the edited names were normalised, want raw scores.": Z @ edit.apply_text(T, normalize=True).T,
    }
    expect("edited_scores(S, Z, T, L, R)", call(S, Z, T, L, R), S - taken, mistakes, start=S)


@check("you know from the scores before how often zero wins.", (0.6, 60, 96, 0))
def check_two_way_after(case: Inputs, call: Call) -> None:
    """``two_way_after(s [n], S_r [n, k], c [k])``: share of pairs that the name wins, projected out."""
    t, rivals = case.T[0], case.T[3:]
    Z = torch.cat([case.images, torch.zeros(1, case.images.shape[1])])  # the last picture ties with each name
    s, S_r, c = Z @ t, Z @ rivals.T, rivals @ t
    own, lost = s[:, None], s[:, None] * c
    won = S_r - lost < 0
    mistakes = {
        "that is before the edit. Projected out, the name scores 0.": S_r < own,
        "the others' scores are new, that of the name is old. Its new one is 0.": S_r - lost < own,
        "the others are compared as they were before. They lose something too.": S_r < 0,
        "a score of 0 against 0 is a tie, and a tie is lost.": S_r - lost <= 0,
        "that is full recall: the share of pictures that win against all names at once.": won.all(1),
        "that counts a picture that wins against any one name. Want the share of all pairs.": won.any(1),
        "what the others lose has the wrong sign.": S_r + lost < 0,
        "what name j loses is the score of the picture with the forgotten name, times c[j].": S_r < c,
    }
    expect("two_way_after(s, S_r, c)", call(s, S_r, c), won, mistakes, mean=True)


@check("you keep what no prompt has made, and nothing else.")
def check_honest_basis(case: Inputs, call: Call) -> None:
    """``honest_basis(E [p, w, d])``: U [d, r], the directions above its prompts' noise; words may repeat."""
    d = case.T.shape[1]
    near = unit(case.T[:1] + 0.45 * unit(nullspace(case.T[:2]).apply_image(case.T[2:3])))
    shift, rest = randn(5, 1, 1, seed=0) * unit(randn(d, seed=1)), randn(5, 3, d, seed=2) / d**0.5
    prompted = torch.cat([case.T[:2], near]) + 0.05 * shift + 0.25 * rest
    for E in (prompted, prompted[:, [0, 1, 0]]):  # the third word is near the first, or it is the first
        rows, noise = E.flatten(0, 1).double(), (E - E.mean(0)).flatten(0, 1).double()
        centred = rows - rows.mean(0)
        U, s, _ = torch.linalg.svd(rows.T, full_matrices=False)
        delta, of_all = (torch.linalg.svdvals(x)[0] for x in (noise, centred))
        r, above_all, above_norm = (int((s > cut).sum()) for cut in (delta, of_all, noise.norm()))
        counts = {
            above_all: "δ is that of the noise: subtract each word's own mean over the prompts.",
            above_norm: "compare E's singular values with the largest of E − Ē. `.norm()` adds them all up.",
            E.shape[1]: "one per word, but a word may repeat: count the singular values above δ.",
            len(rows): "one per row of E. Most of them are the prompts' noise.",
        }
        mistakes = {
            "the rows were centred. The span that is projected out goes through the origin.": centred,
            "these are the directions of the words' means. Want those of all rows of E.": E.mean(0).double(),
        }
        bases = {hint: torch.linalg.svd(X.T, full_matrices=False).U for hint, X in mistakes.items()}
        expect_basis(call(E), U[:, :r], "which singular values are above δ?", counts, bases)


@check("weight and bias, and no d × d matrix.", thin=True)
def check_folded_layer(case: Inputs, call: Call) -> None:
    """``folded_layer(M [d, h], b [d], U [d, r])``: the layer (M, b) that answers with z - U Uᵀ z."""
    U = subspace.orthonormal_basis(case.T_f).float()
    M, b = randn(len(U), len(U) + 7, seed=0), randn(len(U), seed=1)
    for name, got, given in zip(("M", "b"), pair(call(M, b, U), "M, b"), (M, b), strict=True):
        expect(name, got, given - U @ (U.T @ given), start=given)
