"""Is it the edit? Random directions, other names, short lists, the certificate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, stdev

import torch

from clipnull import _check, _show
from clipnull._check import ArrayLike
from clipnull.auditing.report import CERTIFIED, SUBSPACE, Measurement, NotMeasured
from clipnull.edit import Edit
from clipnull.erasers import METHODS, random_subspace
from clipnull.evaluation import Case, candidate_masking
from clipnull.hull import certificate

__all__ = ["certified", "controls", "rebuild", "short_lists", "turned"]

RANDOM, MOVED = "random subspaces of the same rank", "the edit turned at random, moving images as far"


@_check.by_name
def rebuild(edit: Edit, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit for other names; `NotMeasured` if its ``info`` does not say how it was made."""
    method = METHODS.get(edit.info.get("method", ""))
    if method is None or not method.defaults.keys() <= edit.info.keys():
        raise NotMeasured(f"edit: cannot be made again from its info {edit.info}")
    own = {k: edit.info[k] for k in (*method.defaults, *method.grid) if k in edit.info}
    if "mu_rule" in edit.info:
        own["mu"] = edit.info["mu_rule"]
    return method.make(T_f, T_r, edit.info.get("seed", 0), **own)


def control(edit: Edit, seed: int) -> Edit:
    """A random subspace of the edit's rank and, if it is a projection too, strength."""
    method = METHODS.get(edit.info.get("method", ""))
    # other edits mean something else by their strength
    strength = edit.info.get("strength", 1.0) if method and "strength" in method.defaults else 1.0
    return random_subspace(edit.dim, max(1, edit.rank), seed, strength)


@_check.by_name
def turned(case: Case, edit: Edit, seed: int = 0) -> Edit:
    """A control that moves images as far: I - s Q L (Q R)^T, Q random, mean |z' - z| that of the edit."""

    def moved(edit: Edit) -> float:
        return float((edit.apply_image(case.images) - case.images).norm(dim=1).double().mean())

    gaussian = torch.randn(edit.dim, edit.dim, generator=torch.Generator().manual_seed(seed))
    Q = torch.linalg.qr(gaussian.double()).Q.to(edit.left)
    other = replace(edit, left=Q @ edit.left, right=Q @ edit.right, info={"method": "turned", "seed": seed})
    far = moved(other)
    return replace(other, left=other.left * (moved(edit) / far if far else 1.0))


def both_kinds(case: Case) -> Case:
    """The case; NotMeasured without an image of a forgotten, or of a retained, class."""
    try:
        return case.require(retained=True)
    except ValueError as error:
        raise NotMeasured(str(error)) from error


def fewest(case: Case) -> int:
    """Images of the forgotten class that has the fewest; NotMeasured where that is less than two."""
    if (least := int(torch.bincount(case.labels, minlength=len(case.T))[case.forget].min())) < 2:
        raise NotMeasured("labels: a forgotten class has fewer than 2 images: one to learn from, one to test")
    return least


@_check.by_name
def controls(case: Case, edit: Edit, seeds: int = 10, seed: int = 0) -> list[Measurement]:
    """Zero-shot accuracy against random subspaces, `turned` edits, other names and candidate masking.

    Of each control but the last as many as ``seeds``. "forgotten, other names" is against the edit built from
    as many names of other classes: NaN, with the reason, where it cannot be built.
    """
    report = case.require().evaluate(edit)
    b, a = report.forget_before, report.forget_after

    def row(name: str, against: str, edits: Iterator[Edit], what: str, source: str = "ours") -> Measurement:
        nothing = Measurement(f"forgotten, {name}", b, a, math.nan, against, "", source)
        try:
            values = tuple(case.evaluate(e).forget_after for e in edits)
        except NotMeasured as why:
            return replace(nothing, means=f"Not measured: {why}.")
        said, spread = _verdict(b, a, values, what), stdev(values) if seeds > 1 else math.nan
        return replace(nothing, control=fmean(values), means=said, spread=spread, values=values)

    random = (control(edit, seed + i) for i in range(seeds))
    rotated = (turned(case, edit, seed + i) for i in range(seeds))
    other = _shuffled(case, edit, seeds, seed)
    before, after, free = report.retain_before, report.retain_after, candidate_masking(case).retain_after
    said = f"The edit changes accuracy on the other classes by {_show.change(before, after)} points; "
    said += f"candidate masking, which edits nothing, by {_show.change(before, free)}."
    return [
        row("zero-shot", RANDOM, random, RANDOM, "2407.07485; control ours"),
        row("turned edit", MOVED, rotated, "turned edits"),
        row("other names", "the edit built from other classes' names", other, "edits built from other names"),
        Measurement("retained, zero-shot", before, after, free, "candidate masking", said, "2407.07485"),
    ]


def _verdict(before: float, after: float, values: Sequence[float], what: str) -> str:
    if not before:
        return "The model recognised none of these images to begin with, so there was nothing to forget."
    if after >= before:
        return f"Nothing was forgotten: recall goes from {_show.percent(before)} to {_show.percent(after)}."
    least, own = _show.percent(min(values)), "The effect is that of the names' own directions"
    if after < min(values):
        return f"{own}: {len(values)} {what} leave at least {least}."
    return f"No effect to speak of: some {what} leave {least} or less too."


def _shuffled(case: Case, edit: Edit, seeds: int, seed: int) -> Iterator[Edit]:
    g = torch.Generator().manual_seed(seed)
    m = min(len(case.forget), len(case.retain) - 1)
    if m < 1:
        raise NotMeasured("forget: a single class is retained, and there are no other names to draw from")
    for _ in range(seeds):
        order = torch.randperm(len(case.retain), generator=g)[:m].tolist()
        picked = sorted(case.retain[i] for i in order)
        yield rebuild(edit, case.T[picked], case.T[_check.others(picked, len(case.T))])


@_check.by_name
def short_lists(case: Case, edit: Edit, seed: int = 0) -> list[Measurement]:
    """`Report.n_way` for n = 2 and `Report.search`; control: a random subspace of the same rank."""
    found, idle = (both_kinds(case).evaluate(e) for e in (edit, control(edit, seed)))
    two, search = found.n_way[2], found.search
    name = f"The forgotten name beats one random kept name on {_show.percent(two.after)} of its images."
    own = f"A search with it ranks an own image above another in {_show.percent(search.after)}; chance: 50%."
    return [
        Measurement("2-way recall", two.before, two.after, idle.n_way[2].after, SUBSPACE, name),
        Measurement("search", search.before, search.after, idle.search.after, SUBSPACE, own),
    ]


@_check.by_name
def certified(case: Case, edit: Edit, seed: int = 0) -> Measurement:
    """The largest `certificate` of the forgotten names, of at most 20; the case needs no images."""
    some = case.T[case.forget[:CERTIFIED]], case.T[case.retain]
    leads = [certificate(e, *some) for e in (None, edit, control(edit, seed))]
    b, a, c = (float(x.max()) for x in leads)
    said = "No image embedding there is lets a forgotten name win while all kept names are candidates."
    if won := int((leads[1] > 1e-6).sum()):
        said = f"{won} of {len(leads[1])} names can win on some embedding, by at most {a:.3f}."
    return Measurement("certificate", b, a, c, SUBSPACE, said, unit="cosine")
