"""Checks of lesson 07."""

import torch

from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect, expect_shape, randn, tensor, unit
from clipnull.measures import TIE

__all__ = ["check_matched", "check_read_direction", "check_recall_by_word", "check_winning_embedding"]


@check("a control that moves pictures as far as the edit, as `clipnull.auditing.turned`.", thin=True)
def check_matched(case: Inputs, call: Call) -> None:
    """``matched(Z, L, R, Q)``: s for which I − s QL(QR)ᵀ moves the rows of Z as far as I − LRᵀ."""
    d = case.T.shape[1]
    edit = consistent(case.T_f, case.T_r, anchor="mean")
    Z, L, R, Q = case.images, edit.left, edit.right, torch.linalg.qr(randn(d, d, seed=5)).Q
    own, other = ((Z @ left) @ right.T for left, right in ((L, R), (Q @ L, Q @ R)))
    far, control = own.norm(dim=1), other.norm(dim=1)
    by_W = ((Z @ R) @ L.T).norm(dim=1).mean() / ((Z @ (Q @ R)) @ (Q @ L).T).norm(dim=1).mean()
    mistakes = {
        "that compares ‖W − I‖, which no rotation changes, or turns R alone: compare how Z moves.": 1.0,
        "pictures take Wᵀ: as rows, Z W = Z − (Z L) Rᵀ. You have moved them by W.": by_W,
        "that matches the mean of the squares.": (far.square().mean() / control.square().mean()).sqrt(),
        "that is the mean of the ratios; want the ratio of the means.": (far / control).mean(),
        "that is the displacement itself; want its ratio to the control's.": far.mean(),
        "that is the length of the mean of the rows.": own.mean(0).norm() / other.mean(0).norm(),
    }
    expect("s", call(Z, L, R, Q), far.mean() / control.mean(), mistakes)


@check("recall by another word, as in `clipnull.auditing.other_words`.")
def check_recall_by_word(case: Inputs, call: Call) -> None:
    """``recall_by_word(Z, T, labels, c, w)``: recall of class c when ``w`` takes its name's place."""
    T, labels = case.T, case.labels.repeat(3)
    # pictures so hard that recall, precision and recall by the own name differ
    Z = unit(case.images.repeat(3, 1) + 1.5 * unit(randn(len(labels), T.shape[1], seed=3)))
    for i, c in enumerate(case.forget):
        w = unit(T[c] + (0.6 + 0.4 * i) * unit(randn(T.shape[1], seed=i)))
        swapped = torch.cat([T[:c], w[None], T[c + 1 :]])
        said, both, plain = ((Z @ A.T).argmax(1) for A in (swapped, torch.cat([T, w[None]]), T))
        mine = labels == c
        mistakes = {
            "that is precision: divide by the images of class c.": mine[said == c],
            "the old name is still among the candidates: w takes its place.": (both == len(T))[mine],
            "that is the recall by the class's own name: where does w enter?": (plain == c)[mine],
            "that is the accuracy over all images; want only those of class c.": said == labels,
            "that is the share of all images that w takes; want only those of class c.": said == c,
        }
        expect(f"recall of class {c}", call(Z, T, labels, c, w), (said == c)[mine], mistakes, mean=True)


@check("P⁺(P − Q) = L Rᵀ, and its columns are multiples of L.")
def check_read_direction(case: Inputs, call: Call) -> None:
    """``read_direction(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along L."""
    d = case.T.shape[1]
    P = randn(d + 8, d, seed=3).double()
    edit = consistent(case.T[:1], case.T[1:], anchor="mean", dtype=torch.float64)
    Q = edit.apply_image(P)
    U = torch.linalg.svd(P - Q, full_matrices=False).U[:, 0]
    mistakes = {
        "that is along R. L is in the columns of P − Q = P L Rᵀ.": unit(edit.right[:, 0]),
        "that is the left singular vector, along P L: undo P.": U,
        "that uses Pᵀ where P⁺, the pseudo-inverse, undoes P.": unit(P.T @ U),
    }
    got, L = tensor(call(P, Q)).double(), unit(edit.left[:, 0])
    hints = {hint: x * x.sum().sign() for hint, x in mistakes.items()}  # either sign is right
    expect("the direction", got * got.sum().sign(), L * L.sum().sign(), hints)


@check("no picture was needed: zero wins where all others are negative.")
def check_winning_embedding(case: Inputs, call: Call) -> None:
    """``winning_embedding(t, T_r)``: a unit z [d] on which t, projected out, beats every kept name."""
    t, T_r = case.T[0], case.T[1:]
    kept, z = T_r - (T_r @ t)[:, None] * t, tensor(call(t, T_r)).double()
    expect_shape("z", z, t.shape)
    expect("the length of z", z.norm(), 1.0)
    after = kept.double() @ z
    if float(after.abs().max()) < 1e-4:
        raise Wrong("every score is 0 along t once t is projected out: a tie, which kept names win.")
    if loud := int((after > -TIE).sum()):
        found = f"{loud} of {len(T_r)} kept names are not below 0, where t is."
        raise Wrong(f"{found} Which way do all point away?")
