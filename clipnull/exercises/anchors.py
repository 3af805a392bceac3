"""Checks of lesson 05."""

import torch

from clipnull.exercises.checking import Call, Inputs, check, expect, expect_shape, pair, unit
from clipnull.hull import nearest_mixture

__all__ = ["check_best_image", "check_exact_edit", "check_neutral_two_way"]


@check("the image on which a name leads most: its lead is the certificate.")
def check_best_image(case: Inputs, call: Call) -> None:
    """``best_image(t [d], T_r [k, d])``: the unit image [d] on which t leads the best of T_r most."""
    T_r = case.T_r.double()
    for t in case.T_f.double():
        h, near = nearest_mixture(t[None], T_r).H[0], T_r[(T_r @ t).argmax()]
        mistakes = {
            "that is the name itself. Turn it away from the others.": unit(t),
            "it is turned away from the mean of the others, not from the mixture.": unit(t - T_r.mean(0)),
            "it is turned away from the nearest name alone, and another name leads there.": unit(t - near),
        }
        expect("the image", call(t, T_r), unit(t - h), mistakes)


@check("2-way recall of neutral names, with no edit computed.", (0.0, 20, 48, 0), (1.25, 20, 48, 1))
def check_neutral_two_way(case: Inputs, call: Call) -> None:
    """``neutral_two_way(S [n, C], labels [n], forget)``: 2-way recall after, from the scores S before."""
    S, kept, gone = case.images @ case.T.T, case.retain, case.gone
    own, average = S.gather(1, case.labels[:, None]), S[:, kept].mean(1, keepdim=True)
    won = S[:, kept] < average
    mistakes = {
        "the average is over all names, want the kept.": (S[:, kept] < S.mean(1, keepdim=True))[gone],
        "the forgotten names are among the rivals.": (S < average)[gone],
        "all are averaged, and rivals. Leave them out of both.": (S < S.mean(1, keepdim=True))[gone],
        "it is over all pictures, want those of the forgotten classes.": won,
        "that is before the edit: the name's score is now the average.": (S[:, kept] < own)[gone],
        "it is one average for all pictures, want one for each.": S[gone][:, kept] < S[gone][:, kept].mean(),
        "that is recall among all names.": won[gone].all(1),
    }
    expect("2-way recall", call(S, case.labels, case.forget), won[gone], mistakes, mean=True)


@check("W T_r = T_r and W T_f = A to the last digit, by the smallest W − I.", thin=True)
def check_exact_edit(case: Inputs, call: Call) -> None:
    """``exact_edit(T_f, T_r, A)``: L, R [d, m] of the W nearest to I with W T_r = T_r, W T_f = A."""
    T_f, T_r = case.T_f.double(), case.T_r.double()
    A = 0.6 * T_r.mean(0) + 0.4 * T_r[: len(T_f)]
    D, Q = (T_f - A).T, torch.linalg.qr(T_r.T).Q
    L, R = pair(call(T_f, T_r, A), "L, R")
    expect_shape("L", L, D.shape)
    expect_shape("R", R, D.shape)
    N = torch.eye(len(Q)) - Q @ Q.T  # takes out what lies in the span of the kept names
    want = D @ torch.linalg.pinv(N @ D)  # the R of the lesson is the transpose of this pseudo-inverse
    mistakes = {
        "L and R are swapped: that is Wᵀ.": want.T,
        "the m × m inverse is missing.": D @ (N @ D).T,
        "the small matrix is to be inverted.": D @ (D.T @ N @ D) @ (N @ D).T,
        "the kept names move: R is to lie off their span.": D @ torch.linalg.pinv(D),
        "L is the part of D off the span: the names do not reach their anchors.": N @ want,
        "the anchor is ignored: the names go to the origin.": T_f.T @ torch.linalg.pinv(N @ T_f.T),
    }
    expect("L Rᵀ, with W = I − L Rᵀ,", L @ R.T, want, mistakes)
