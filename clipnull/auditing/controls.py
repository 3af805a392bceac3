"""Is it the edit? Random directions, other names, and what the others pay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.auditing.cases import Builder, Eraser, at_random, both_kinds, images, predict, rebuild
from clipnull.auditing.report import Measurement, NotMeasured, mean, std, verdict
from clipnull.evaluation import BLOCK, Case, drop_label
from clipnull.subspace import orthonormal_basis

__all__ = ["Costs", "collateral", "controls", "costs"]

RANDOM = "random subspaces of the same rank"


def controls(
    case: Case, edit: Eraser, builder: Builder | None = None, seeds: int = 10, seed: int = 0
) -> list[Measurement]:
    """Zero-shot accuracy against random subspaces, other classes' names, and a struck label.

    Parameters
    ----------
    case : Case
    edit : Edit or callable
    builder : callable, optional
        Makes the edit from ``(T_f, T_r)``, for the shuffled names; by default `rebuild`.
    seeds : int
        Random subspaces, and draws of other names.
    seed : int

    Returns
    -------
    list of Measurement
        "forgotten, zero-shot" (control: random subspaces of the same rank), "forgotten, other
        names" (control: the edit built from as many names of other classes; NaN, with the reason,
        where it cannot be built), "retained, zero-shot" (control: dropping the label).

    Raises
    ------
    ValueError
        No image of a forgotten class; an edit of another dimension.
    """
    before, after = case.require().predicted, predict(case, edit)
    b, a = case.recall(before), case.recall(after)
    random = tuple(case.recall(p) for p in at_random(case, edit, seeds, seed))
    source = "2407.07485; control ours"
    first = Measurement(
        "forgotten, zero-shot", b, a, mean(random), RANDOM, verdict(b, a, random, RANDOM), source,
        spread=std(random), values=random,
    )  # fmt: skip
    try:
        others = tuple(case.recall(p) for p in _shuffled(case, edit, builder, seeds, seed))
        said = verdict(b, a, others, "edits built from other names")
    except NotMeasured as why:
        others, said = (), f"Not measured: {why}."
    against = "the edit built from other classes' names"
    second = Measurement(
        "forgotten, other names", b, a, mean(others), against, said, spread=std(others), values=others
    )
    return [first, second, _retained(case, case.accuracy(before), case.accuracy(after))]


def _retained(case: Case, before: float, after: float) -> Measurement:
    free = drop_label(case).retain_after
    cost = 100 * (after - before)
    if math.isnan(cost):
        said = "There is no image of another class, so what they lose is not known."
    else:
        said = (
            f"The edit changes accuracy on the other classes by {cost:+.1f} points; striking the name off "
            f"the candidates, by {100 * (free - before):+.1f}, and that edits nothing."
        )
    return Measurement("retained, zero-shot", before, after, free, "dropping the label", said, "2407.07485")


def _shuffled(
    case: Case, edit: Eraser, builder: Builder | None, seeds: int, seed: int
) -> Iterator[torch.Tensor]:
    """Predictions after edits of the same kind that forget other classes, drawn at random."""
    g = torch.Generator().manual_seed(seed)
    m = min(len(case.forget), len(case.retain) - 1)
    if m < 1:
        raise NotMeasured("forget: a single class is retained, and there are no other names to draw from")
    for _ in range(seeds):
        order = torch.randperm(len(case.retain), generator=g)[:m].tolist()
        picked = {case.retain[i] for i in order}
        T_f, T_r = case.T[sorted(picked)], case.T[_check.others([*picked], len(case.T))]
        yield predict(case, builder(T_f, T_r) if builder else rebuild(edit, T_f, T_r))


class Costs(NamedTuple):
    """What the R retained classes that have images lose, from the nearest to the farthest.

    Attributes
    ----------
    classes : torch.Tensor [R]
        Their indices, by falling similarity.
    similarity : torch.Tensor [R]
        Of a name t to the forget subspace: ||U^T t|| / ||t||, the cosine of t with its projection on
        the span of the forgotten names, U its orthonormal basis.
    change : torch.Tensor [R]
        Of the class's accuracy, a fraction.
    spearman : float
        Rank correlation of similarity and change; NaN where nothing changes.
    """

    classes: torch.Tensor
    similarity: torch.Tensor
    change: torch.Tensor
    spearman: float


def costs(case: Case, edit: Eraser) -> Costs:
    """Accuracy of each retained class after an edit, against its name's similarity to the forgotten ones.

    Raises
    ------
    ValueError
        No image of a forgotten, or of a retained, class; an edit of another dimension.
    """
    return _costs(both_kinds(case), predict(case, edit))


def _costs(case: Case, after: torch.Tensor) -> Costs:
    from scipy.stats import spearmanr  # scikit-learn brings scipy

    near = (F.normalize(case.T, dim=1) @ orthonormal_basis(case.T_f).to(case.T)).norm(dim=1)
    index = torch.tensor([c for c in case.retain if bool((case.labels == c).any())])
    index = index[torch.argsort(near[index], descending=True, stable=True)]
    change = torch.tensor([_accuracy(case, after, c) - _accuracy(case, case.predicted, c) for c in index])
    varies = len(index) > 2 and change.std() > 0
    rho = float(spearmanr(near[index], change).statistic) if varies else math.nan
    return Costs(index, near[index], change, rho)


def _accuracy(case: Case, predicted: torch.Tensor, members: torch.Tensor) -> float:
    """Share of the images of some classes that are recognised."""
    return _check.share((predicted == case.labels)[torch.isin(case.labels, members)])


def collateral(
    case: Case,
    edit: Eraser,
    categories: Sequence[str] | None = None,
    nearest: int = 5,
    seeds: int = 5,
    seed: int = 0,
) -> list[Measurement]:
    """Who pays: retained classes near the forget subspace, of its category, far, and at its boundary.

    Parameters
    ----------
    case : Case
    edit : Edit or callable
    categories : list of str [C], optional
        Coarser classes; without them the line "same category" is left out.
    nearest : int
        Retained classes (that have images) counted as near; as many of the farthest are far.
    seeds, seed : int
        Random subspaces of the control.

    Returns
    -------
    list of Measurement
        "nearest names", "same category", "far names": accuracy on their images; control: random
        subspaces of the same rank. "next to the boundary": of the retained images that were right
        with a forgotten class as runner-up, the share still right; control: the other right ones.

    Raises
    ------
    ValueError
        As `costs`; ``categories`` of another length.

    References
    ----------
    Over-unlearning near the forget set: arXiv 2506.01318. Groups and correlation are ours.
    """
    both_kinds(case)
    if categories is not None and len(categories) != len(case.T):
        raise ValueError(f"categories: got {len(categories)}, want {len(case.T)}, one per class")
    after, drawn = predict(case, edit), at_random(case, edit, seeds, seed)
    index, _, _, rho = _costs(case, after)
    groups = {"nearest names": index[:nearest], "far names": index[nearest:][-nearest:]}
    if categories is not None and (own := {categories[c] for c in case.forget} - {""}):
        groups["same category"] = torch.tensor([c for c in index.tolist() if categories[c] in own])
    rows = []
    for name, members in groups.items():
        if len(members):
            b, a, *c = (_accuracy(case, p, members) for p in (case.predicted, after, *drawn))
            said, source = _cost(case, members, b, a, c), "ours"
            if name == "nearest names":
                source = "2506.01318"
                if not math.isnan(rho):
                    said += (
                        f" Over all retained classes, similarity and change have rank correlation {rho:+.2f}."
                    )
            rows.append(Measurement(name, b, a, mean(c), RANDOM, said, source, spread=std(c)))
    return [*rows, _boundary(case, after)]


def _cost(case: Case, members: torch.Tensor, b: float, a: float, c: Sequence[float]) -> str:
    who = ", ".join(case.classes[i] for i in members[:3].tolist()) + (", …" if len(members) > 3 else "")
    worse = "worse than under any random subspace" if a < min(c) else "no worse than under random subspaces"
    return f"{len(members)} classes ({who}) change by {100 * (a - b):+.1f} points, {worse}."


def _boundary(case: Case, after: torch.Tensor) -> Measurement:
    top = torch.cat([(z @ case.T.T).topk(2, dim=1).indices for z in images(case).split(BLOCK)])
    right = (case.predicted == case.labels) & ~case.gone
    beside = right & torch.isin(top[:, 1], torch.tensor(case.forget, device=top.device))
    a, c = (_check.share((after == case.labels)[which]) for which in (beside, right & ~beside))
    n = int(beside.sum())
    if not n:
        said = "No image of a retained class had a forgotten one as its runner-up."
    else:
        worse = "more often than" if a < c else "no more often than"
        said = f"Of {n} such images {n - round(a * n)} are lost, {worse} images away from the boundary."
    b = 1.0 if n else math.nan
    return Measurement("next to the boundary", b, a, c, "right images elsewhere", said, "2506.01318")
