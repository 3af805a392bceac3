"""Checks of lesson 05."""

import torch
import torch.nn.functional as F

from clipnull.exercises.checking import Call, Inputs, check, expect, expect_shape
from clipnull.hull import nearest_mixture

__all__ = ["check_best_image", "check_exact_edit", "check_neutral_two_way"]


@check("the image on which a name leads most: its lead is the certificate.")
def check_best_image(case: Inputs, call: Call) -> None:
    """Check ``function(t [d], T_r [k, d])``: the unit image [d] on which t leads the best of T_r most."""
    T_r = case.T_r.double()
    for f in case.forget:
        t = case.T[f].double()
        h, mean, near = nearest_mixture(t[None], T_r).H[0], T_r.mean(0), T_r[(T_r @ t).argmax()]
        want = F.normalize(t - h, dim=0)
        mistakes = {
            "the sign: it points from the name to its mixture.": -want,
            "an image has length 1.": t - h,
            "that is the mixture's own direction.": F.normalize(h, dim=0),
            "that is the name itself. Turn it away from the others.": F.normalize(t, dim=0),
            "it is turned away from the mean of the others, not from their nearest mixture.":
                F.normalize(t - mean, dim=0),
            "it is turned away from the nearest name alone, and another name leads there.":
                F.normalize(t - near, dim=0),
        }  # fmt: skip
        expect("the image", call(t, T_r), want, mistakes)


@check("2-way recall of neutral names, with no edit computed.")
def check_neutral_two_way(case: Inputs, call: Call) -> None:
    """Check ``function(S [n, C], labels [n], forget)``: 2-way recall of names sent to the mean, a fraction.

    S are the scores before the edit, which leaves those of the kept names as they are.
    """
    S, f, kept = case.Z @ case.T.T, case.forget, case.retain
    gone, average = case.gone, S[:, kept].mean(1, keepdim=True)
    own = S.gather(1, case.labels[:, None])
    want = (S[gone][:, kept] < average[gone]).double().mean()
    mistakes = {
        "the average is over all names: the forgotten ones are not among the kept.":
            (S[gone][:, kept] < S[gone].mean(1, keepdim=True)).double().mean(),
        "the average is over all names, and the forgotten ones are among the rivals. Leave them out of both.":
            (S[gone] < S[gone].mean(1, keepdim=True)).double().mean(),
        "the forgotten names are among the rivals.": (S[gone] < average[gone]).double().mean(),
        "it is over all pictures, want those of the forgotten classes.":
            (S[:, kept] < average).double().mean(),
        "those are the lists that it loses.": 1 - want,
        "it is in percent, want a fraction.": 100 * want,
        "that is 2-way recall before the edit: the name's score is now the average.":
            (S[gone][:, kept] < own[gone]).double().mean(),
        "that is recall among all names.": (S[gone][:, kept] < average[gone]).all(1).double().mean(),
    }  # fmt: skip
    expect("2-way recall", call(S, case.labels, f), want, mistakes, tolerance=1e-6)


@check("W T_r = T_r and W T_f = A to the last digit, by the smallest W − I, from thin arrays alone.")
def check_exact_edit(case: Inputs, call: Call) -> None:
    """Check ``function(T_f [m, d], T_r [k, d], A [m, d])`` -> (L, R), both [d, m]: the exact edit.

    Of all W with W T_r = T_r and W T_f = A (columns; A made of kept names), the one nearest to I.
    """
    T_f, T_r = case.T_f.double(), case.T_r.double()
    A = 0.6 * T_r.mean(0) + 0.4 * T_r[: len(T_f)]
    d, D = T_f.shape[1], (T_f - A).T
    L, R = map(call.tensor, call.pair("two arrays: return L, R", T_f, T_r, A, square=d))
    expect_shape("L", L, D.shape)
    expect_shape("R", R, D.shape)
    Q = torch.linalg.qr(T_r.T).Q

    def off(X: torch.Tensor) -> torch.Tensor:
        return X - Q @ (Q.T @ X)

    def W(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.eye(d, dtype=T_f.dtype) - left.to(T_f) @ right.to(T_f).T

    right = off(D) @ (D.T @ off(D)).inverse()
    mistakes = {
        "L and R are swapped: that is Wᵀ.": W(right, D),
        "the m × m inverse is missing.": W(D, off(D)),
        "the small matrix is to be inverted.": W(D, off(D) @ (D.T @ off(D))),
        "the kept names move: R is to lie off their span.": W(D, D @ (D.T @ D).inverse()),
        "L is the part of D off the span: the forgotten names do not reach their anchors.":
            W(off(D), right),
        "the anchor is ignored: the names go to the origin.":
            W(T_f.T, off(T_f.T) @ (T_f @ off(T_f.T)).inverse()),
        "the sign: W = I − L Rᵀ.": W(-D, right),
    }  # fmt: skip
    expect("W = I − L Rᵀ", W(L, R), W(D, right), mistakes)
