"""Checks of lesson 07a."""

import torch
import torch.nn.functional as F

from clipnull._check import share
from clipnull.exercises.checking import Call, Inputs, check, expect

__all__ = ["check_calibration_error", "check_recall_by_word"]


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


@check("as `clipnull.auditing.calibration_error`.")
def check_calibration_error(case: Inputs, call: Call) -> None:
    """``calibration_error(p, labels, bins)``: expected calibration error, a fraction (notebook 07a)."""
    p, y = _chances(case)
    of_true = p[torch.arange(len(p)), y]
    for bins in (10, 4):
        top, said = p.max(1)
        right = (said == y).double()
        part, gaps = _bins(top, right, bins)
        signed, of_true_class = (part * gaps).sum(), _bins(of_true, right, bins)
        mistakes = {
            "signed gaps cancel between bins: take the absolute value of each.": signed,
            "signed gaps cancel between bins: take the absolute value of each (sign flipped).": -signed,
            "bins count alike, however few they hold; weigh each by its share.": gaps.abs().mean(),
            "empty bins were counted too; weigh each bin by its share.": gaps.abs().sum() / bins,
            "that is the largest gap, the maximum calibration error.": gaps.abs().max(),
            "gaps are squared; take the absolute value.": (part * gaps**2).sum(),
            "the confidence of the true class was binned; want the highest one, right or wrong.":
                (of_true_class[0] * of_true_class[1].abs()).sum(),
        }  # fmt: skip
        expect(f"calibration_error(p, labels, {bins})", call(p, y, bins), (part * gaps.abs()).sum(), mistakes)


def _chances(case: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [n, C], neither all alike nor all certain, and labels [n], every third one wrong."""
    y = case.labels.clone()
    y[::3] = (y[::3] + 1) % len(case.T)
    return (12 * case.Z @ case.T.T).softmax(1).double(), y


def _bins(score: torch.Tensor, right: torch.Tensor, bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the images in each used bin, and accuracy less mean score."""
    which = (score * bins).ceil().long().clamp(1, bins)
    members = [which == b for b in which.unique()]
    gaps = torch.stack([right[m].mean() - score[m].mean() for m in members])
    return torch.stack([m.double().mean() for m in members]), gaps
