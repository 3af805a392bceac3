"""Checks of lesson 06b."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from clipnull.exercises.checking import Case, Verdict, _expect_direction, _small, _two_layers, expect, run

__all__ = [
    "check_known",
    "check_name_scores",
    "check_read_direction",
    "check_written_direction",
    "check_zero_limit",
]


def check_written_direction(function: Callable[..., Any]) -> Verdict:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along R."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, Q, L, R = _two_layers(case)
        U, s, Vt = torch.linalg.svd(P - Q, full_matrices=False)
        _expect_direction(
            "the direction",
            call(P, Q),
            R,
            {
                "that is the left singular vector, of the features before the layer: want the right one.": U[
                    :, 0
                ],
                "that is the first column of Vᵀ. torch.linalg.svd returns Vᵀ: its first row.": Vt[:, 0],
                "it is not of unit length.": s[0] * R,
                "that is along L. The rows of P − Q are multiples of R.": L,
                "that is the strongest direction of P itself: take the difference first.": torch.linalg.svd(
                    P, full_matrices=False
                ).Vh[0],
            },
        )

    return run(function, body, "the rows of P − Q = P L Rᵀ are multiples of R.")


def check_read_direction(function: Callable[..., Any]) -> Verdict:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along L."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, Q, L, R = _two_layers(case)
        U = torch.linalg.svd(P - Q, full_matrices=False).U[:, 0]
        read = torch.linalg.pinv(P) @ U
        _expect_direction(
            "the direction",
            call(P, Q),
            L,
            {
                "that is along R. L is in the columns of P − Q = P L Rᵀ.": R,
                "that is the left singular vector, along P L: undo P.": U,
                "that uses Pᵀ where P⁺, the pseudo-inverse, undoes P.": F.normalize(P.T @ U, dim=0),
                "it is not of unit length.": read,
            },
        )

    return run(function, body, "P⁺(P − Q) = L Rᵀ, and its columns are multiples of L.")


def check_name_scores(function: Callable[..., Any]) -> Verdict:
    """Check ``function(direction [d], V [C, d])``: |cosine| [C] of each name, less the mean name."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        V = 1.5 * case.T.double()  # their length must not matter
        direction = _two_layers(case)[2]
        less = V - V.mean(0)
        cosines = F.normalize(less, dim=1) @ direction
        expect(
            "the scores",
            call(direction, V),
            cosines.abs(),
            {
                "the sign of a singular vector means nothing: take absolute values.": cosines,
                "the mean name was not taken off.": (F.normalize(V, dim=1) @ direction).abs(),
                "the names less their mean are not of unit length.": (less @ direction).abs(),
                "each name lost the mean of its own entries: want the mean over names.": (
                    F.normalize(V - V.mean(1, keepdim=True), dim=1) @ direction
                ).abs(),
                "names are scaled to unit length before the mean is taken off, not after.": (
                    (F.normalize(V, dim=1) - F.normalize(V, dim=1).mean(0)) @ direction
                ).abs(),
            },
        )

    return run(function, body, "the forgotten name is first although the edit hid it.")


def check_known(function: Callable[..., Any]) -> Verdict:
    """``known(S, labels, share)``: scores [n, C] to a mask [C], recall >= share (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        C, labels = len(case.T), case.labels.repeat(6)
        S = case.Z @ case.T.T
        # noise as large as the scores' lead: some classes are recognised always, some never
        noise = torch.randn(len(labels), C, generator=torch.Generator().manual_seed(4))
        S = S.repeat(6, 1) + (S.amax(1) - S.mean(1)).mean() * 0.4 * noise
        predicted = S.argmax(1)
        right = torch.bincount(labels[predicted == labels], minlength=C).double()
        count, named = (torch.bincount(x, minlength=C) for x in (labels, predicted))
        recall = right / count
        for share in (float(recall.median()), 0.5, 1.0):
            want = recall >= share
            indices, precision, of_all = want.nonzero()[:, 0], right / named.clamp(min=1), right / len(S)
            mistakes = {
                "that is precision: of the pictures that get the name, how many are right. Recall divides "
                "by the pictures of the class.": precision >= share,
                "'at least' was asked for, and recall equal to the share was left out.": recall > share,
                "right answers were divided by all n pictures, not by those of the class.": of_all >= share,
                "these are the classes below the share.": ~want,
                "that is the recall itself. Compare it with the share.": recall,
                "these are the classes' indices. Want a mask, one True or False a class.": indices,
                "one right picture is not enough: compare the share of right ones.": right > 0,
            }
            numbers = {hint: wrong.double() for hint, wrong in mistakes.items()}
            got = call(S, labels, share).double()
            expect(f"known(S, labels, {share:.3g})", got, want.double(), numbers)

    return run(function, body, "recall class by class, and what counts as known.")


def check_zero_limit(function: Callable[..., Any]) -> Verdict:
    """``zero_limit(n, confidence)``: the upper limit of a rate that showed 0 of n (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        for n, confidence in ((3, 0.95), (9, 0.95), (20, 0.8), (300, 0.99)):
            miss = 1 - confidence
            two_sided = 1 - (miss / 2) ** (1 / n)
            mistakes = {
                "that is 1 − p. Solve (1 − p)ⁿ = 1 − confidence for p.": miss ** (1 / n),
                "confidence and 1 − confidence are exchanged.": 1 - confidence ** (1 / n),
                "the n-th power was taken. Undoing (1 − p)ⁿ takes the n-th root.": 1 - miss**n,
                "that is the rule of three, which is good for many pictures and 95% only.": 3 / n,
                "that is −log(1 − confidence)/n, the limit for many pictures.": -math.log(miss) / n,
                "that is the limit of a two-sided interval. Only 'more than' is in question.": two_sided,
                "no picture among n does not make the rate 0.": 0.0,
            }
            got, want = call(n, confidence).double(), torch.tensor(1 - miss ** (1 / n)).double()
            expect(f"zero_limit({n}, {confidence})", got, want, mistakes, tolerance=1e-6)

    return run(function, body, "what a count of zero still allows.", _small())
