"""Checks of lesson 06a."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from clipnull.exercises.checking import Case, Verdict, _chances, _ece, expect, run

__all__ = [
    "check_balanced_accuracy",
    "check_calibration_error",
    "check_conformal_sets",
    "check_recall_by_word",
]


def check_recall_by_word(function: Callable[..., Any]) -> Verdict:
    """``recall_by_word(Z, T, labels, c, w)``: recall of class c when ``w`` takes its name's place."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
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
            shares = {hint: hits.double().mean() for hint, hits in mistakes.items()}
            got = call(case.Z, case.T, case.labels, c, w).double()
            expect(f"recall_by_word(Z, T, labels, {c}, w)", got, (said == c)[mine].double().mean(), shares)

    return run(function, body, "recall by another word, as in `clipnull.auditing.other_words`.")


def check_balanced_accuracy(function: Callable[..., Any]) -> Verdict:
    """``balanced_accuracy(guess, truth)``: mean of the recalls of yes and of no, bool [n] (notebook 06a)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        truth = case.labels == case.forget[0]
        for guess in (case.Z[:, 0] > case.Z[:, 0].median(), torch.zeros_like(truth), case.labels < 2):
            yes, no = guess[truth].double().mean(), (~guess)[~truth].double().mean()
            mistakes = {
                "that is plain accuracy: always saying no would do well, as yes is rare.": (guess == truth)
                .double()
                .mean(),
                "that is the recall of yes alone; average it with the recall of no.": yes,
                "that is the recall of no alone; average it with the recall of yes.": no,
                "that is the sum of both recalls, want their mean.": yes + no,
            }
            expect("balanced_accuracy(guess, truth)", call(guess, truth).double(), (yes + no) / 2, mistakes)

    return run(function, body, "50% is chance, however rare yes is.")


def check_calibration_error(function: Callable[..., Any]) -> Verdict:
    """``calibration_error(p, labels, bins)``: expected calibration error, a fraction (notebook 06a)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        p, y = _chances(case)
        for bins in (10, 4):
            top, said = p.max(1)
            which = (top * bins).ceil().long().clamp(1, bins)
            right = (said == y).double()
            used = which.unique()
            gaps = torch.stack([right[which == b].mean() - top[which == b].mean() for b in used])
            share = torch.stack([(which == b).double().mean() for b in used])
            mistakes = {
                "signed gaps cancel between bins: take the absolute value of each.": (share * gaps).sum(),
                "signed gaps cancel between bins: take the absolute value of each (sign flipped).": -(
                    share * gaps
                ).sum(),
                "bins count alike, however few they hold; weigh each by its share.": gaps.abs().mean(),
                "empty bins were counted too; weigh each bin by its share.": gaps.abs().sum() / bins,
                "that is the largest gap, the maximum calibration error.": gaps.abs().max(),
                "gaps are squared; take the absolute value.": (share * gaps**2).sum(),
                "the confidence of the true class was binned; want the highest one, right or wrong.": _ece(
                    p[torch.arange(len(p)), y], right, bins
                ),
            }
            what = f"calibration_error(p, labels, {bins})"
            expect(what, call(p, y, bins).double(), (share * gaps.abs()).sum(), mistakes)

    return run(function, body, "as `clipnull.auditing.calibration_error`.")


def check_conformal_sets(function: Callable[..., Any]) -> Verdict:
    """``conformal_sets(p, calibration, labels, alpha)`` -> bool [n, C] (notebook 06a)."""

    def sets(p: torch.Tensor, scores: torch.Tensor, rank: int) -> torch.Tensor:
        s = scores.sort().values
        return (1 - p <= (s[rank - 1] if rank <= len(s) else torch.inf)).double()

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        P, y = _chances(case)
        p, cal, y = P[::2], P[1::2], y[1::2]
        own = cal[torch.arange(len(cal)), y]
        n = len(cal)
        for alpha in (0.1, 0.35, 0.01):
            rank = math.ceil((n + 1) * (1 - alpha))
            mistakes = {
                "with so few calibration images no score is high enough: every class stays.": sets(
                    p, 1 - own, min(rank, n)
                ),
                "take the ⌈(n + 1)(1 − α)⌉-th smallest score: without the + 1 too few are covered.": sets(
                    p, 1 - own, math.ceil(n * (1 - alpha))
                ),
                "that covers a share α, want 1 − α.": sets(p, 1 - own, math.ceil((n + 1) * alpha)),
                "the scores are those of the class that won; take those of the true class.": sets(
                    p, 1 - cal.amax(1), rank
                ),
                "that takes classes of probability 1 − α and more, whatever the calibration says.": (
                    p >= 1 - alpha
                ).double(),
                "that is the complement: want the classes that stay.": 1 - sets(p, 1 - own, rank),
            }
            got = call(p, cal, y, alpha).double()
            expect(f"conformal_sets(p, calibration, labels, {alpha})", got, sets(p, 1 - own, rank), mistakes)

    return run(function, body, "as `clipnull.auditing.conformal_sets`.")
