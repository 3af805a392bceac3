"""Is it the edit? Random directions, other names, short lists, the certificate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import stdev

import torch

from clipnull import _check, _show
from clipnull.auditing.cases import both_kinds, control, rebuild, turned
from clipnull.auditing.report import Measurement, NotMeasured, mean, verdict
from clipnull.edit import Edit
from clipnull.evaluation import Case, candidate_masking
from clipnull.hull import certificate

__all__ = ["certified", "controls", "short_lists"]

RANDOM = "random subspaces of the same rank"
SUBSPACE = "a random subspace of the same rank"
TURNED = "the edit turned at random, moving images as far"
#: names whose certificate is computed, at most
CERTIFIED = 20


@_check.by_name
def controls(case: Case, edit: Edit, seeds: int = 10, seed: int = 0) -> list[Measurement]:
    """Zero-shot accuracy against random subspaces, turned edits, other names and candidate masking.

    Of each control as many as ``seeds``, but one of the last. "forgotten, zero-shot" is against random
    subspaces of the same rank, "forgotten, turned edit" against `turned`, which moves images as far on
    average; "forgotten, other names" against the edit built from as many names of other classes (NaN, with
    the reason, where it cannot be built); "retained, zero-shot" against candidate masking.
    """
    before, after = case.require().predicted, _predict(case, edit)
    b, a = case.recall(before), case.recall(after)

    def row(name: str, against: str, drawn: Sequence[torch.Tensor], what: str, source: str) -> Measurement:
        values = tuple(map(case.recall, drawn))
        said, spread = verdict(b, a, values, what), stdev(values) if seeds > 1 else math.nan
        return Measurement(name, b, a, mean(values), against, said, source, spread=spread, values=values)

    random = [_predict(case, control(edit, seed + i)) for i in range(seeds)]
    rotated = [_predict(case, turned(case, edit, seed + i)) for i in range(seeds)]
    rows = [
        row("forgotten, zero-shot", RANDOM, random, RANDOM, "2407.07485; control ours"),
        row("forgotten, turned edit", TURNED, rotated, "turned edits", "ours"),
    ]
    name, against = "forgotten, other names", "the edit built from other classes' names"
    try:
        others = list(_shuffled(case, edit, seeds, seed))
        rows.append(row(name, against, others, "edits built from other names", "ours"))
    except NotMeasured as why:
        rows.append(Measurement(name, b, a, math.nan, against, f"Not measured: {why}."))
    return [*rows, _retained(case, case.accuracy(before), case.accuracy(after))]


def _predict(case: Case, edit: Edit) -> torch.Tensor:
    """Zero-shot predictions [n] after an edit."""
    return case.evaluate(edit).predicted_after


def _retained(case: Case, before: float, after: float) -> Measurement:
    free = candidate_masking(case).retain_after
    if math.isnan(after):
        said = "There is no image of another class, so what they lose is not known."
    else:
        said = (
            f"The edit changes accuracy on the other classes by {_show.change(before, after)} points; "
            f"candidate masking, which edits nothing, by {_show.change(before, free)}."
        )
    return Measurement("retained, zero-shot", before, after, free, "candidate masking", said, "2407.07485")


def _shuffled(case: Case, edit: Edit, seeds: int, seed: int) -> Iterator[torch.Tensor]:
    """Predictions after edits of the same kind that forget other classes, drawn at random."""
    g = torch.Generator().manual_seed(seed)
    m = min(len(case.forget), len(case.retain) - 1)
    if m < 1:
        raise NotMeasured("forget: a single class is retained, and there are no other names to draw from")
    for _ in range(seeds):
        order = torch.randperm(len(case.retain), generator=g)[:m].tolist()
        picked = sorted(case.retain[i] for i in order)
        yield _predict(case, rebuild(edit, case.T[picked], case.T[_check.others(picked, len(case.T))]))


@_check.by_name
def short_lists(case: Case, edit: Edit, seed: int = 0) -> list[Measurement]:
    """`Report.n_way` for n = 2 and `Report.search`; control: a random subspace of the same rank."""
    found, idle = (both_kinds(case).evaluate(e) for e in (edit, control(edit, seed)))
    two, search = found.n_way[2], found.search
    said = f"The forgotten name beats one random kept name on {_show.percent(two.after)} of its images."
    ranks = (
        f"A search with it ranks an own image above another in {_show.percent(search.after)}; chance: 50%."
    )
    return [
        Measurement("2-way recall", two.before, two.after, idle.n_way[2].after, SUBSPACE, said),
        Measurement("search", search.before, search.after, idle.search.after, SUBSPACE, ranks),
    ]


@_check.by_name
def certified(case: Case, edit: Edit, seed: int = 0) -> Measurement:
    """The largest `certificate` of the forgotten names, of at most 20; the case needs no images."""
    some = case.T[case.forget[:CERTIFIED]], case.T[case.retain]
    b, a, c = (certificate(e, *some) for e in (None, edit, control(edit, seed)))
    open_ = int((a > 1e-6).sum())
    said = (
        f"{open_} of {len(a)} names can win on some embedding, by at most {float(a.max()):.3f}."
        if open_
        else "No image embedding there is lets a forgotten name win while all kept names are candidates."
    )
    before, after, random = (float(x.max()) for x in (b, a, c))
    return Measurement("certificate", before, after, random, SUBSPACE, said, unit="cosine")
