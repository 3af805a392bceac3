"""Checks of lesson 09."""

import hashlib
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from clipnull.exercises.checking import MADE_UP, Call, Inputs, Wrong, check, expect, randn, tensor

__all__ = ["check_chosen", "check_halves", "check_known", "check_sealed", "check_zero_limit"]


@check("no picture is on both sides, under whatever name.", MADE_UP)
def check_halves(case: Inputs, call: Call) -> None:
    """``halves(groups, labels)``: pictures [n] to choose on, no group parted."""
    # classes of 1 to 5 groups, a group has up to three copies and any number
    rows = torch.arange(15).repeat_interleave(torch.arange(15) % 3 + 1)
    rows = rows[randn(len(rows), seed=0).argsort()]
    of_class = torch.arange(5).repeat_interleave(torch.arange(1, 6))
    groups, labels = randn(99, seed=1).argsort()[rows], of_class[rows]
    half = tensor(call(groups, labels))
    if half.dtype != torch.bool or half.shape != labels.shape:
        raise Wrong(f"it is {half.dtype} {list(half.shape)}, want a mask [{len(labels)}].")
    if any(0 < half[groups == g].double().mean() < 1 for g in groups.unique()):
        raise Wrong("copies of one picture lie on both sides: deal out groups, not pictures.")
    for c in range(5):
        own = groups[labels == c].unique()
        chosen = int(torch.isin(own, groups[half]).sum())
        if abs(len(own) - 2 * chosen) > 1:
            raise Wrong(f"a class of {len(own)} different pictures has {chosen} on one side, want half.")


@check("recall class by class, and what counts as known.")
def check_known(case: Inputs, call: Call) -> None:
    """``known(S, labels, share)``: scores [n, C] to a mask [C], recall >= share."""
    C, labels, S = len(case.T), case.labels.repeat(6), (case.images @ case.T.T).repeat(6, 1)
    # noise as large as the scores' lead: some classes are recognised always, some never
    S = S + (S.amax(1) - S.mean(1)).mean() * 0.4 * randn(*S.shape, seed=4)
    predicted = S.argmax(1)
    counted = [labels[predicted == labels], labels, predicted]
    right, count, named = (torch.bincount(x, minlength=C).double() for x in counted)
    recall, precision, of_all = right / count, right / named.clamp(min=1), right / len(S)
    for share in (float(recall.median()), 0.5, 1.0):
        want = recall >= share
        mistakes = {
            "that is precision. Recall divides by the pictures of the class.": precision >= share,
            "'at least' was asked for, and recall equal to the share was left out.": recall > share,
            "right answers were divided by all n pictures, want those of the class.": of_all >= share,
            "that is the recall itself. Compare it with the share.": recall,
            "these are indices. Want a mask, one True or False per class.": want.nonzero()[:, 0],
        }
        expect(f"known(S, labels, {share:.3g})", call(S, labels, share), want, mistakes)
    first, rest = torch.arange(C) == 0, labels > 0
    hint = {"a class without pictures is not known.": first | (recall >= 0.5)}
    got = call(S[rest], labels[rest], 0.5)
    expect("without the first class's pictures known(S, labels, 0.5)", got, ~first & (recall >= 0.5), hint)


@check("a rule stated before the outcome, and followed.", MADE_UP)
def check_chosen(case: Inputs, call: Call) -> None:
    """``chosen(lead, kept, two_way)``: the index that the lesson's rule takes, -1 for none."""
    lead = torch.tensor([0.2, 1e-9, 3e-8, 0.0, 0.1, 2e-9, 2e-9])
    kept = torch.tensor([0.97, 0.88, 0.90, 0.85, 0.91, 0.89, 0.89], dtype=torch.float64)
    two_way = torch.tensor([0.50, 0.30, 0.90, 0.50, 0.51, 0.62, 0.62])
    for i in range(2, 9):  # in every order, and once where none is certified
        first, second = sorted([(5 + i) % 7, (6 + i) % 7])
        place = sorted((j + i) % 7 for j in (1, 2, 5, 6)).index(first)
        mistakes = {
            "it is not certified: strike those with a lead off first.": i % 7,
            "the best accuracy is that of the certified ones, the only ones to choose from.": -1,
            "it keeps more than two points less than the best certified one.": (3 + i) % 7,
            "it keeps the most, but within two points 2-way recall decides.": (2 + i) % 7,
            "nearest to chance is |recall − 0.5|, not the lowest recall.": (1 + i) % 7,
            "that is its place in your shorter list; want the one among all.": place,
            "of equals the first was asked for.": second,
        }
        expect("the choice", call(*(x.roll(i) for x in (lead, kept, two_way))), first, mistakes)
    none = {"no eraser is certified here: want −1.": 0}
    expect("chosen([0.2], [0.9], [0.5])", call(lead[:1], kept[:1], two_way[:1]), -1, none)


@check("what a count of zero still allows.", MADE_UP)
def check_zero_limit(case: Inputs, call: Call) -> None:
    """``zero_limit(n, confidence)``: the upper limit of a rate that showed 0 of n."""
    for n, confidence in ((4, 0.95), (20, 0.8), (300, 0.99)):
        miss = 1 - confidence
        mistakes = {
            "confidence and 1 − confidence are exchanged.": 1 - confidence ** (1 / n),
            "the n-th power was taken. Undoing (1 − p)ⁿ takes the n-th root.": 1 - miss**n,
            "that is the rule of three, which is good for many pictures and 95% only.": 3 / n,
            "that is −log(1 − confidence)/n, the limit for many pictures.": -math.log(miss) / n,
            "no picture among n does not make the rate 0.": 0.0,
        }
        expect(f"zero_limit({n}, {confidence})", call(n, confidence), 1 - miss ** (1 / n), mistakes)


@check("weights and receipt belong together.", MADE_UP)
def check_sealed(case: Inputs, call: Call) -> None:
    """``sealed(folder)``: whether the receipt speaks of these weights."""
    with TemporaryDirectory() as place:
        folder, weights = Path(place), bytes(range(256)) * 99
        receipt = {"weights_sha256": hashlib.sha256(weights).hexdigest()}
        (folder / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
        for what, written in (("as saved", weights), ("with one bit turned", weights[:-1] + b"\xfe")):
            (folder / "open_clip_model.safetensors").write_bytes(written)
            right = written == weights
            hint = {"the receipt holds the sha256 of the file's bytes, in hexadecimal.": not right}
            expect(f"sealed(folder) with the weights {what}", call(folder), right, hint)
