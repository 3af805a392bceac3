"""Checks of lesson 07."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from clipnull._check import share
from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape
from clipnull.measures import TIE

__all__ = ["check_matched", "check_read_direction", "check_recall_by_word", "check_winning_embedding"]


@check("a control that moves pictures as far as the edit, as `clipnull.auditing.turned`.")
def check_matched(case: Inputs, call: Call) -> None:
    """``matched(Z, L, R, Q)``: s for which I − s QL(QR)ᵀ moves the rows of Z as far as I − LRᵀ."""
    d = case.T.shape[1]
    edit = consistent(case.T_f, case.T_r, anchor="mean")
    L, R, Z = edit.left, edit.right, case.Z
    Q = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(5))).Q
    QL, QR = Q @ L, Q @ R

    def moved(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return ((Z @ left) @ right.T).norm(dim=1)

    own, other = moved(L, R), moved(QL, QR)
    want = own.mean() / other.mean()
    unit = [(F.normalize(Z - (Z @ x) @ y.T, dim=1) - Z).norm(dim=1).mean() for x, y in ((L, R), (QL, QR))]
    mistakes = {
        "that compares ‖W − I‖, which no rotation changes, or turns R alone: compare how Z moves.": 1.0,
        "the ratio is upside down.": 1 / want,
        "pictures take Wᵀ: as rows, Z W = Z − (Z L) Rᵀ. You have moved them by W.":
            moved(R, L).mean() / moved(QR, QL).mean(),
        "that matches the mean of the squares; want the mean of the lengths.":
            (own.square().mean() / other.square().mean()).sqrt(),
        "that matches the mean of the squares, and is not its root.":
            own.square().mean() / other.square().mean(),
        "that is the mean of the ratios, picture by picture; want the ratio of the means.":
            (own / other).mean(),
        "that is the displacement itself; want the ratio of the edit's to the control's.": own.mean(),
        "the displaced pictures were scaled to unit length first.": unit[0] / unit[1],
        "the length of the mean displacement is not the mean of the lengths.":
            ((Z @ L) @ R.T).mean(0).norm() / ((Z @ QL) @ QR.T).mean(0).norm(),
    }  # fmt: skip
    expect("s", call(Z, L, R, Q, square=d), want, mistakes)


@check("recall by another word, as in `clipnull.auditing.other_words`.")
def check_recall_by_word(case: Inputs, call: Call) -> None:
    """``recall_by_word(Z, T, labels, c, w)``: recall of class c when ``w`` takes its name's place."""
    for i, c in enumerate(case.forget):
        g = torch.Generator().manual_seed(i)
        noise = F.normalize(torch.randn(case.T.shape[1], generator=g), dim=0)
        w = F.normalize(case.T[c] + (0.6 + 0.4 * i) * noise, dim=0)
        swapped = case.T.clone()
        swapped[c] = w
        mine, both = case.labels == c, torch.cat([case.T, w[None]])
        said, kept, plain = ((case.Z @ A.T).argmax(1) for A in (swapped, both, case.T))
        mistakes = {
            "the old name is still among the candidates: w takes its place.": (kept == len(case.T))[mine],
            "that is the recall by the class's own name: where does w enter?": (plain == c)[mine],
            "the old name still counts as right.": ((kept == len(case.T)) | (kept == c))[mine],
            "that is the accuracy over all images; want only those of class c.": said == case.labels,
            "that is the share of all images that w takes; want only those of class c.": said == c,
        }
        shares = {hint: share(hits) for hint, hits in mistakes.items()}
        got = call(case.Z, case.T, case.labels, c, w)
        expect(f"recall_by_word(Z, T, labels, {c}, w)", got, share((said == c)[mine]), shares)


@check("P⁺(P − Q) = L Rᵀ, and its columns are multiples of L.")
def check_read_direction(case: Inputs, call: Call) -> None:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along L."""
    d = case.T.shape[1]
    P = torch.randn(d + 8, d, generator=torch.Generator().manual_seed(3)).double()
    edit = consistent(case.T[:1], case.T[1:], anchor="mean", dtype=torch.float64)
    Q, (L, R) = edit.apply_image(P), (F.normalize(x[:, 0], dim=0) for x in (edit.left, edit.right))
    U = torch.linalg.svd(P - Q, full_matrices=False).U[:, 0]
    read = torch.linalg.pinv(P) @ U
    mistakes = {
        "that is along R. L is in the columns of P − Q = P L Rᵀ.": R,
        "that is the left singular vector, along P L: undo P.": U,
        "that uses Pᵀ where P⁺, the pseudo-inverse, undoes P.": F.normalize(P.T @ U, dim=0),
        "it is not of unit length.": read,
    }

    def signed(x: torch.Tensor) -> torch.Tensor:
        return x * torch.sign(x.flatten()[x.abs().argmax()]) if x.numel() else x

    got = _vector("the direction", call(P, Q))
    expect("the direction", signed(got), signed(L), {hint: signed(x) for hint, x in mistakes.items()})


@check("no picture was needed: zero wins where all others are negative.")
def check_winning_embedding(case: Inputs, call: Call) -> None:
    """``winning_embedding(t, T_r)``: a unit z [d] on which t, projected out, beats every kept name."""
    t, T_r = case.T[0], case.T[1:]
    kept = T_r - (T_r @ t)[:, None] * t
    z = _vector("z", call(t, T_r))
    expect_shape("z", z, t.shape)
    if not torch.isfinite(z).all() or abs(float(z.norm()) - 1) > 1e-3:
        raise Wrong(f"z has length {float(z.norm()):.3g}, want 1.")
    after = kept.double() @ z
    if float(after.max()) < -TIE:
        return
    if float(after.abs().max()) < 1e-4:
        raise Wrong("every score is 0 along t once t is projected out: a tie, which kept names win.")
    raise Wrong(
        f"{int((after > -TIE).sum())} of {len(T_r)} kept names are not below 0, where t is after the edit; "
        f"the largest is at {float(after.max()):.3g}. In which direction do all kept names point away?"
    )


def _vector(what: str, got: Any) -> torch.Tensor:
    """A tensor in double precision, not a matrix of one row or column."""
    got = torch.as_tensor(got).double()
    if got.ndim == 2 and 1 in got.shape:
        raise Wrong(f"{what} has shape {list(got.shape)}, want [{max(got.shape)}]: a vector, not a matrix.")
    return got
