"""Checks of lesson 08."""

import math

import torch

from clipnull.exercises.checking import Call, Inputs, check, expect, made_up

__all__ = ["check_changed_share", "check_choose_point", "check_known", "check_zero_limit"]


@check("recall class by class, and what counts as known.")
def check_known(case: Inputs, call: Call) -> None:
    """``known(S, labels, share)``: scores [n, C] to a mask [C], recall >= share (notebook 08)."""
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
    """``zero_limit(n, confidence)``: the upper limit of a rate that showed 0 of n (notebook 08)."""
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


@check("the rule, with the point at the limit and without any.", made_up)
def check_choose_point(case: Inputs, call: Call) -> None:
    """``choose_point(forget_after, retain_after, limit)``: arrays [k] to an index (notebook 08)."""
    for forget, retain, what in (
        ([0.9, 0.3, 0.0, 0.2, 0.02, 0.01], [0.95, 0.9, 0.5, 0.85, 0.8, 0.7], "one wins within the limit"),
        ([0.9, 0.3, 0.0, 0.1, 0.05, 0.01], [0.95, 0.9, 0.5, 0.85, 0.72, 0.7], "one is exactly at the limit"),
        ([0.9, 0.4, 0.2, 0.3, 0.6], [0.85, 0.5, 0.6, 0.9, 0.7], "none is within the limit"),
    ):
        limit, (f, r) = 0.05, torch.tensor([forget, retain], dtype=torch.double)
        fits = f <= limit
        among = r.where(fits, -torch.inf)
        want = int(among.argmax() if fits.any() else f.argmin())
        mistakes = {
            "it retains most, but it does not forget: look among those within the limit.": r.argmax(),
            "it forgets most. Among those that forget enough, retention decides.": f.argmin(),
            "it has the widest gap between retain and forget, which is another rule.": (r - f).argmax(),
        }
        if fits.any():
            strictly = r.where(f < limit, -torch.inf).argmax()
            mistakes["'at most' was asked for, and the point at the limit was left out."] = strictly
            mistakes["it is an index into the points that fit, not into all."] = r[fits].argmax()
        else:
            mistakes["no point fits here; take the one that forgets most."] = among.argmax()
        expect(f"choose_point where {what}", call(f, r, limit), want, mistakes)


@check("every entry counts once, and the smallest change counts.", made_up)
def check_changed_share(case: Inputs, call: Call) -> None:
    """``changed_share(before, after)``: dicts name -> tensor to a share of entries (notebook 08)."""
    before = {"names": case.T, "images": case.Z, "steps": case.labels, "scale": torch.tensor(4.6)}
    after = {k: v.clone() for k, v in before.items()}
    after["names"][:2] += 1.0
    after["images"][0, :3] *= 1 + 1e-6
    changed = {k: int((before[k] != after[k]).sum()) for k in before}
    size = {k: v.numel() for k, v in before.items()}
    count, total = sum(changed.values()), sum(size.values())
    touched = [k for k in before if changed[k]]
    whole = sum(size[k] for k in touched) / total
    mean = sum(changed[k] / size[k] for k in before) / len(before)
    mistakes = {
        "that is the number of entries. Divide by how many there are.": count,
        "that is the share of tensors that differ. Count their entries.": len(touched) / len(before),
        "every entry of a changed tensor was counted, those that are equal too.": whole,
        "the shares of the tensors were averaged: a small tensor counts like a large one.": mean,
        "a small change is a change: compare with !=, without a tolerance.": changed["names"] / total,
        "that is the share of entries that are equal.": 1 - count / total,
    }
    expect("changed_share(before, after)", call(before, after), count / total, mistakes, tolerance=1e-9)
