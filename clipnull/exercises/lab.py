"""Checks of lesson 05."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from clipnull.exercises.checking import Case, Verdict, _small, expect, run

__all__ = ["check_changed_share", "check_choose_point"]


def check_choose_point(function: Callable[..., Any]) -> Verdict:
    """``choose_point(forget_after, retain_after, limit)``: arrays [k] to an index (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
        some, at, none = (
            "one wins within the limit",
            "one is exactly at the limit",
            "none is within the limit",
        )
        for forget, retain, limit, what in (
            ([0.9, 0.3, 0.0, 0.2, 0.02, 0.01], [0.95, 0.9, 0.5, 0.85, 0.8, 0.7], 0.05, some),
            ([0.9, 0.3, 0.0, 0.1, 0.05, 0.01], [0.95, 0.9, 0.5, 0.85, 0.72, 0.7], 0.05, at),
            ([0.9, 0.4, 0.2, 0.3, 0.6], [0.85, 0.5, 0.6, 0.9, 0.7], 0.05, none),
        ):
            f, r = torch.tensor(forget, dtype=torch.double), torch.tensor(retain, dtype=torch.double)
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
            expect(f"choose_point where {what}", call(f, r, limit).double(), want, mistakes)

    return run(function, body, "the rule, with the point at the limit and without any.", _small())


def check_changed_share(function: Callable[..., Any]) -> Verdict:
    """``changed_share(before, after)``: dicts name -> tensor to a share of entries (notebook 08)."""

    def body(case: Case, call: Callable[..., torch.Tensor]) -> None:
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
        got, want = call(before, after).double(), torch.tensor(count / total).double()
        expect("changed_share(before, after)", got, want, mistakes, tolerance=1e-9)

    return run(function, body, "every entry counts once, and the smallest change counts.")
