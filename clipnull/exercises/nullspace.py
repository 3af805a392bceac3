"""Checks of lesson 03."""

import torch
import torch.nn.functional as F

from clipnull import subspace
from clipnull.erasers import consistent
from clipnull.exercises.checking import TOLERANCE, Call, Inputs, Wrong, check, error, expect, many_names

__all__ = ["check_edited_scores", "check_folded_layer", "check_honest_basis", "check_two_way_after"]


@check("new scores from the old ones, by two thin products.")
def check_edited_scores(case: Inputs, call: Call) -> None:
    """Check ``function(S, Z, T, L, R)``: scores [n, C] after W = I - L R^T, from S [n, C]."""
    edit = consistent(case.T_f, case.T_r)
    Z, T, L, R = case.Z, case.T, edit.left, edit.right
    S = Z @ T.T
    taken = (Z @ L) @ (T @ R).T
    what = "edited_scores(S, Z, T, L, R)"
    mistakes = {
        "L and R are swapped, which is Wᵀ in the place of W. Pictures meet L, names meet R.":
            S - (Z @ R) @ (T @ L).T,
        "that is what the edit takes away: subtract it from S.": taken,
        "the sign is wrong: the edit takes this away.": S + taken,
        "the edited pictures were normalised. The update gives raw scores.":
            edit.apply_image(Z, normalize=True) @ T.T,
        "the edited names were normalised. The update gives raw scores.":
            Z @ edit.apply_text(T, normalize=True).T,
    }  # fmt: skip
    expect(what, call(S, Z, T, L, R), S - taken, mistakes)
    again = "they do not come from the S you are given. Start from it: n·C·m steps, not n·C·d."
    expect(f"{what} with 1 added to S", call(S + 1, Z, T, L, R), S + 1 - taken, {again: S - taken})
    call.thin(S, Z, T, L, R, square=len(L), instead="(ZL)(TR)ᵀ is a product of thin ones.")


@check("you know from the scores before how often zero wins.", many_names(0.6))
def check_two_way_after(case: Inputs, call: Call) -> None:
    """Check ``function(s [n], S_r [n, k], c [k])``: share of pairs that the name wins, projected out."""
    t, rivals = case.T[0], case.T[3:]
    # one picture at a right angle to all names: it ties with each
    Z = torch.cat([case.Z, torch.zeros(1, case.Z.shape[1])])
    s, S_r, c = Z @ t, Z @ rivals.T, rivals @ t
    after = S_r - s[:, None] * c
    won = after < 0
    mistakes = {
        "that is before the edit. Projected out, the name scores 0.": S_r < s[:, None],
        "the others' scores are new, that of the name is old. Its new one is 0.": after < s[:, None],
        "the others are compared as they were before. They lose something too.": S_r < 0,
        "a score of 0 against 0 is a tie, and a tie is lost.": after <= 0,
        "that is the share of pairs that the kept name wins.": ~won,
        "that is full recall: the share of pictures that win against all names at once.": won.all(1),
        "that counts a picture that wins against any one name. Want the share of all pairs.": won.any(1),
        "what the others lose has the wrong sign.": S_r + s[:, None] * c < 0,
        "what name j loses is the score of the picture with the forgotten name, times c[j].": S_r < c,
    }  # fmt: skip
    shares = {hint: wrong.double().mean() for hint, wrong in mistakes.items()}
    shares |= {"that is in percent, want a fraction.": 100 * won.double().mean()}
    shares |= {"that is a count, want a share.": won.double().sum()}
    expect("two_way_after(s, S_r, c)", call(s, S_r, c), won.double().mean(), shares, tolerance=1e-6)


@check("you keep what no prompt has made, and nothing else.")
def check_honest_basis(case: Inputs, call: Call) -> None:
    """Check ``function(E [p, w, d])``: U [d, r], the directions of E that stand above its prompts' noise.

    Words may repeat, so r is not w.
    """
    # the third word is near the first; or it is the first again
    across = subspace.project_out(case.T[2:3].double(), subspace.orthonormal_basis(case.T[:2])).float()
    near = F.normalize(case.T[:1] + 0.45 * F.normalize(across, dim=1), dim=1)
    for E in (_prompted(torch.cat([case.T[:2], near])), _prompted(case.T[:2])[:, [0, 1, 0]]):
        rows, noise = E.flatten(0, 1), (E - E.mean(0)).flatten(0, 1)
        basis, s, _ = torch.linalg.svd(rows.double().T, full_matrices=False)
        delta = torch.linalg.svdvals(noise.double())[0]
        U, r = call(E).double(), int((s > delta).sum())
        if U.ndim != 2 or U.shape[0] != len(basis):
            raise Wrong(f"U has shape {list(U.shape)}, want [{len(basis)}, {r}]: a basis is in columns.")
        k = U.shape[1]
        centred = torch.linalg.svd((rows - rows.mean(0)).double().T, full_matrices=False).U
        of_means = torch.linalg.svd(E.mean(0).double().T, full_matrices=False).U
        mistakes = {
            "the rows were centred. The span that is projected out goes through the origin.": centred,
            "these are the directions of the words' means. Want those of all rows of E.": of_means,
        }
        projectors = {hint: V[:, :k] @ V[:, :k].T for hint, V in mistakes.items()}
        if k != r:
            counts = {
                "one per row of E. Most of them are the prompts' noise.": len(rows),
                "one per word, but a word may repeat: count the singular values above δ.": E.shape[1],
                "δ is the largest singular value of E − Ē. `.norm()` adds them all up.":
                    int((s > noise.norm()).sum()),
                "δ is a singular value of the noise: subtract each word's own mean over the prompts.":
                    int((s > torch.linalg.svdvals((rows - rows.mean(0)).double())[0]).sum()),
            }  # fmt: skip
            of_others = (hint for hint, P in projectors.items() if error(U @ U.T, P) <= TOLERANCE)
            of_count = (hint for hint, n in counts.items() if n == k)
            hint = [*of_others, *of_count, "which singular values are above δ?"][0]
            raise Wrong(f"U has {k} columns, want {r}: {hint}")
        if (off := error(U.T @ U, torch.eye(r))) > TOLERANCE:
            raise Wrong(f"UᵀU differs from I by {off:.2g}: want the singular vectors, which are orthonormal.")
        expect("UUᵀ", U @ U.T, basis[:, :r] @ basis[:, :r].T, projectors)


@check("weight and bias, and no d × d matrix.")
def check_folded_layer(case: Inputs, call: Call) -> None:
    """Check ``function(M [d, h], b [d], U [d, r])``: the layer (M, b) that answers with z - U U^T z."""
    U = subspace.orthonormal_basis(case.T_f).float()
    d, h = len(U), len(U) + 7
    random = torch.Generator().manual_seed(0)
    M, b = torch.randn(d, h, generator=random), torch.randn(d, generator=random)
    H = torch.cat([torch.zeros(1, h), torch.randn(9, h, generator=random)])
    new, bias = map(call.tensor, call.pair("two arrays: return M, b", M, b, U))
    if tuple(new.shape) != (d, h) or tuple(bias.shape) != (d,):
        raise Wrong(
            f"M and b have shapes {list(new.shape)} and {list(bias.shape)}, want [{d}, {h}] and [{d}]."
        )
    z = H @ M.T + b
    inside = (z @ U) @ U.T
    along = U @ (U.T @ b)
    mistakes = {
        "the bias is as it was, and puts its part along the names back.": z - inside + along,
        "the weight is as it was.": z - along,
        "that is the part inside the span. Want what is left of z.": inside,
        "that adds the part inside in place of subtracting it.": z + inside,
    }
    expect("Mh + b, for some features h", H @ new.to(H).T + bias.to(H), z - inside, mistakes)
    call.thin(M, b, U, square=d, instead="U(UᵀM) is two thin products.")


def _prompted(words: torch.Tensor, p: int = 5) -> torch.Tensor:
    """Words [w, d] under p prompts, [p, w, d]: their noise is partly shared by all words."""
    w, d = words.shape
    random = torch.Generator().manual_seed(0)
    shift = torch.randn(p, 1, 1, generator=random) * F.normalize(torch.randn(d, generator=random), dim=0)
    rest = torch.randn(p, w, d, generator=random) / d**0.5
    return words + 0.05 * shift + 0.25 * rest
