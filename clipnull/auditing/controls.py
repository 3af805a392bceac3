"""Is it the edit? Random directions, other names, and what the others pay."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from clipnull._check import ArrayLike
from clipnull.auditing.cases import _Case, _case, _control, _want_retained, _zero_shot, edited, rebuild
from clipnull.auditing.report import Builder, Eraser, Measurement, _against, _mean, _share, _std
from clipnull.evaluation import BLOCK, drop_label
from clipnull.subspace import orthonormal_basis

__all__ = ["collateral", "controls"]


def controls(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    builder: Builder | None = None,
    seeds: int = 10,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[Measurement]:
    """Zero-shot accuracy against random subspaces, other classes' names, and a struck label.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluation`.
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
        names" (control: the edit built from as many names of other classes; left out when it can
        not be built), "retained, zero-shot" (control: dropping the label). ``details["values"]``:
        the control's values over seeds; of "retained", ``details["random"]``.

    Raises
    ------
    ValueError
        Bad arrays, an unknown class, no image of a forgotten class.
    """
    case = _case(Z, T, labels, forget, classes)
    before, after = (_zero_shot(X, case.T) for X in (case.Z, edited(case.Z, edit)))
    b, a = case.recall(before), case.recall(after)
    kept = case.accuracy(before), case.accuracy(after)

    drawn = [_zero_shot(edited(case.Z, _control(case, edit, seed + i)), case.T) for i in range(seeds)]
    random = [case.recall(p) for p in drawn]
    rows = [
        Measurement(
            "forgotten, zero-shot", b, a, _mean(random), "random subspaces of the same rank",
            _against(b, a, random, "random subspaces of the same rank"), "2407.07485; control ours",
            spread=_std(random), details=dict(values=random),
        )
    ]  # fmt: skip
    with contextlib.suppress(ValueError):
        others = [case.recall(p) for p in _shuffled(case, edit, builder, seeds, seed)]
        rows.append(
            Measurement(
                "forgotten, other names", b, a, _mean(others), "the edit built from other classes' names",
                _against(b, a, others, "edits built from other names"), spread=_std(others),
                details=dict(values=others),
            )
        )  # fmt: skip
    free = drop_label(case.Z, case.T, case.y, case.forget).retain_after
    cost = 100 * (kept[1] - kept[0])
    if math.isnan(cost):
        said = "There is no image of another class, so what they lose is not known."
    else:
        said = (
            f"The edit changes accuracy on the other classes by {cost:+.1f} points; striking the name off "
            f"the candidates, by {100 * (free - kept[0]):+.1f}, and that edits nothing."
        )
    rows.append(
        Measurement(
            "retained, zero-shot", *kept, free, "dropping the label", said,
            "2407.07485", details=dict(random=[case.accuracy(p) for p in drawn]),
        )
    )  # fmt: skip
    return rows


def _shuffled(
    case: _Case, edit: Eraser, builder: Builder | None, seeds: int, seed: int
) -> Iterator[torch.Tensor]:
    """Predictions after edits of the same kind that forget other classes, drawn at random."""
    g = torch.Generator().manual_seed(seed)
    m = min(len(case.forget), len(case.retain) - 1)
    for _ in range(seeds):
        order = torch.randperm(len(case.retain), generator=g)[:m].tolist()
        picked = {case.retain[i] for i in order}
        T_f, T_r = case.T[sorted(picked)], case.T[[c for c in range(len(case.T)) if c not in picked]]
        other = builder(T_f, T_r) if builder else rebuild(edit, T_f, T_r)
        yield _zero_shot(edited(case.Z, other), case.T)


def collateral(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    edit: Eraser,
    categories: Sequence[str] | None = None,
    nearest: int = 5,
    seeds: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> list[Measurement]:
    """Who pays: retained classes near the forget subspace, of its category, far, and at its boundary.

    Parameters
    ----------
    Z, T, labels, forget, classes
        As in `clipnull.evaluation`.
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
        ``details`` of the first: index, similarity and change [R] of each retained class, and
        ``spearman``, their rank correlation.

    Notes
    -----
    The similarity of a name t to the forget subspace is ||U^T t|| / ||t||, the cosine of t with
    its projection on the span of the forgotten names, U its orthonormal basis.

    Raises
    ------
    ValueError
        As `controls`; ``categories`` of another length; no image of a retained class.

    References
    ----------
    Over-unlearning near the forget set: arXiv 2506.01318. Groups and correlation are ours.
    """
    from scipy.stats import spearmanr  # scikit-learn brings scipy

    case = _case(Z, T, labels, forget, classes)
    if categories is not None and len(categories) != len(case.T):
        raise ValueError(f"categories: got {len(categories)}, want {len(case.T)}, one a class")
    _want_retained(case)
    before, after = (_zero_shot(X, case.T) for X in (case.Z, edited(case.Z, edit)))
    drawn = [_zero_shot(edited(case.Z, _control(case, edit, seed + i)), case.T) for i in range(seeds)]
    U = orthonormal_basis(case.T[case.forget]).to(case.T)
    near = (F.normalize(case.T, dim=1) @ U).norm(dim=1)
    index = torch.tensor([c for c in case.retain if bool((case.y == c).any())])
    index = index[torch.argsort(near[index], descending=True, stable=True)]
    change = torch.tensor(
        [_share((after == c)[case.y == c]) - _share((before == c)[case.y == c]) for c in index]
    )
    rho = float(spearmanr(near[index], change).statistic) if len(index) > 2 and change.std() > 0 else math.nan
    groups = {"nearest names": index[:nearest], "far names": index[nearest:][-nearest:]}
    own = set() if categories is None else {categories[c] for c in case.forget} - {""}
    if own and categories is not None:
        groups["same category"] = torch.tensor([c for c in index.tolist() if categories[c] in own])
    details = dict(index=index, similarity=near[index], change=change, spearman=rho)

    rows = []
    for name, members in groups.items():
        if not len(members):
            continue
        mask = torch.isin(case.y, members)
        b, a, *c = (_share((p == case.y)[mask]) for p in (before, after, *drawn))
        rows.append(
            Measurement(
                name, b, a, _mean(c), "random subspaces of the same rank",
                _cost(name, members, case, b, a, c, rho),
                "2506.01318" if name == "nearest names" else "ours", spread=_std(c),
                details=details if name == "nearest names" else dict(index=members),
            )
        )  # fmt: skip
    return [*rows, _boundary(case, before, after)]


def _cost(
    name: str, members: torch.Tensor, case: _Case, b: float, a: float, c: Sequence[float], rho: float
) -> str:
    who = ", ".join(case.classes[i] for i in members[:3].tolist()) + (", …" if len(members) > 3 else "")
    verdict = "worse than under any random subspace" if a < min(c) else "no worse than under random subspaces"
    said = f"{len(members)} classes ({who}) change by {100 * (a - b):+.1f} points, {verdict}."
    if name == "nearest names" and not math.isnan(rho):
        said += f" Over all retained classes, similarity and change have rank correlation {rho:+.2f}."
    return said


def _boundary(case: _Case, before: torch.Tensor, after: torch.Tensor) -> Measurement:
    scores = torch.cat([(z @ case.T.T).topk(2, dim=1).indices for z in case.Z.split(BLOCK)])
    right = (before == case.y) & ~case.gone
    beside = right & torch.isin(scores[:, 1], torch.tensor(case.forget, device=scores.device))
    a, c = _share((after == case.y)[beside]), _share((after == case.y)[right & ~beside])
    n = int(beside.sum())
    if not n:
        means = "No image of a retained class had a forgotten one as its runner-up."
    else:
        worse = "more often than" if a < c else "no more often than"
        means = f"Of {n} such images {n - round(a * n)} are lost, {worse} images away from the boundary."
    return Measurement(
        "next to the boundary", 1.0 if n else math.nan, a, c, "right images elsewhere", means, "2506.01318",
        details=dict(images=beside.nonzero()[:, 0]),
    )  # fmt: skip
