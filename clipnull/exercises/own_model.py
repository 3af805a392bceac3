"""Checks of lesson 09."""

import math

import torch

from clipnull.exercises.checking import Call, Inputs, check, expect, made_up

__all__ = ["check_known", "check_zero_limit"]


@check("recall class by class, and what counts as known.")
def check_known(case: Inputs, call: Call) -> None:
    """``known(S, labels, share)``: scores [n, C] to a mask [C], recall >= share (notebook 09)."""
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
        expect(f"known(S, labels, {share:.3g})", call(S, labels, share), want, mistakes)


@check("what a count of zero still allows.", made_up)
def check_zero_limit(case: Inputs, call: Call) -> None:
    """``zero_limit(n, confidence)``: the upper limit of a rate that showed 0 of n (notebook 09)."""
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
        want = 1 - miss ** (1 / n)
        expect(f"zero_limit({n}, {confidence})", call(n, confidence), want, mistakes, tolerance=1e-6)
