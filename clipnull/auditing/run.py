"""All measurements of one edit, in one call."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from clipnull import _check, _show
from clipnull._check import ClassesLike
from clipnull.auditing.cases import Eraser, control, fewest, subset
from clipnull.auditing.confidence import confidence
from clipnull.auditing.controls import collateral, controls
from clipnull.auditing.fingerprint import fingerprint
from clipnull.auditing.layers import HIDDEN, layer_probe, layers
from clipnull.auditing.leace import guarded
from clipnull.auditing.probes import readers, span_prototypes
from clipnull.auditing.relearning import relearning
from clipnull.auditing.report import AuditReport, Measurement, NotMeasured
from clipnull.auditing.words import Words, cured, embed_words, other_words
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.model import folded, last_layer
from clipnull.model.towers import find

if TYPE_CHECKING:
    from clipnull.datasets.pictures import LabelledImages
    from clipnull.model.clip import Clip

__all__ = ["audit", "measure"]

#: images that the readers look at, at most; more would only make them slower
AT_MOST = 4000
#: classes whose other words are tried, at most
WORDS_OF = 10
#: images whose features are taken at every layer, and classes that are relearned, at most
LAYERS_AT_MOST, RELEARN_OF = 1000, 5

Step = tuple[str, Callable[[], Sequence[Measurement]]]


def measure(
    case: Case,
    edit: Eraser,
    categories: Sequence[str] | None = None,
    words: Words | None = None,
    scale: float = 100.0,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """The part of the audit that embeddings alone allow.

    Parameters
    ----------
    case : Case
    edit : Edit or callable
    categories : list of str [C], optional
        See `collateral`.
    words : Words, optional
        See `other_words`.
    scale : float
        The model's ``logit_scale``.
    seed : int
    progress : bool, optional
        As in `audit`.

    Returns
    -------
    AuditReport
        A measurement that cannot be made is in ``skipped`` with the reason.

    Raises
    ------
    ValueError
        No image of a forgotten class; an edit of another dimension.
    """
    return _run(_steps(case, edit, categories, words, scale, seed), case, edit, progress)


def _steps(
    case: Case,
    edit: Eraser,
    categories: Sequence[str] | None,
    words: Words | None,
    scale: float,
    seed: int,
) -> list[Step]:
    few = subset(case, _thin(case.require(), AT_MOST, seed))
    kinds = categories if categories is not None and any(categories) else None
    steps: list[Step] = [
        ("controls", lambda: controls(case, edit, seed=seed)),
        ("collateral", lambda: collateral(case, edit, kinds, seed=seed)),
    ]
    if words is not None:
        steps += [
            ("other words", lambda: other_words(case, edit, words, seed)),
            ("spanning names", lambda: [cured(case, edit, words, seed)]),
        ]
    return [
        *steps,
        ("other readers", lambda: readers(few, edit, seed=seed)),
        ("spanning images", lambda: [_with_images(few, seed)]),
        ("LEACE", lambda: guarded(few, seed=seed)),
        ("confidence", lambda: confidence(case, edit, scale, seed)),
    ]


def _model_steps(clip: Clip, data: LabelledImages, case: Case, edit: Edit, seed: int) -> list[Step]:
    """What needs the model's weights: attacks, as lines of the table."""
    rows = _thin(case, LAYERS_AT_MOST, seed)
    few, pictures = subset(case, rows), [data.images[i] for i in rows.tolist()]

    @functools.cache
    def weight() -> torch.Tensor:
        if find(clip, "image") is None:
            raise NotMeasured("clip: clipnull does not know where the last layer of this image tower is")
        return last_layer(clip)

    @functools.cache
    def before() -> dict[str, torch.Tensor]:
        weight()  # known to clipnull
        return layers(clip, pictures)

    def after() -> dict[str, torch.Tensor]:
        with folded(clip, edit):
            return layers(clip, pictures)

    return [
        ("fingerprint", lambda: [_fingerprint(case, edit, weight(), seed)]),
        ("relearning", lambda: [_relearned(few, edit, weight(), before, seed)]),
        ("before the last layer", lambda: [_hidden(few, before, after, seed)]),
    ]


def _fingerprint(case: Case, edit: Edit, P: torch.Tensor, seed: int) -> Measurement:
    m, gone = len(case.forget), {str(i) for i in case.forget}
    found = [fingerprint(P, e.apply_image(P), case.T) for e in (edit, control(case, edit, seed))]
    a, c = (len(gone & set(f.ranking()[:m])) / m for f in found)
    said = (
        f"The weights differ by a matrix of rank {found[0].rank}; of the {len(case.T)} names, the "
        f"{m} that fit it best hold {round(m * a)} of the {m} forgotten."
    )
    against = "a random subspace of the same rank"
    return Measurement("name read off the weights", math.nan, a, c, against, said, "2604.07386")


def _relearned(
    case: Case, edit: Edit, P: torch.Tensor, features: Callable[[], dict[str, torch.Tensor]], seed: int
) -> Measurement:
    targets = case.forget[:RELEARN_OF]
    k = min(4, fewest(case.forgetting(targets)) // 2)
    if k < 1 or len(case.labels.unique()) < 2:
        raise NotMeasured("labels: want two images of each forgotten class, and images of other classes")
    plain, edited, new = relearning(
        features()[HIDDEN], case.labels, P, case.T, {c: edit for c in targets}, [k],
        arms=["un-edited", "edited", "new name"], seed=seed,
    )  # fmt: skip
    sooner = "in fewer steps than" if edited.steps < new.steps else "in no fewer steps than"
    said = (
        f"With {k} labelled images per class, recall goes from {_show.percent(edited.recall_start)} to "
        f"{_show.percent(edited.recall_end)}, and {_show.percent(edited.back)} of the classes reach the "
        f"goal, {sooner} a new name."
    )
    numbers, against = (plain.steps, edited.steps, new.steps), "the class under a new name"
    return Measurement("relearned", *numbers, against, said, "2506.01318", "steps")


def _hidden(
    case: Case,
    before: Callable[[], dict[str, torch.Tensor]],
    after: Callable[[], dict[str, torch.Tensor]],
    seed: int,
) -> Measurement:
    if (least := fewest(case)) < 2:
        raise NotMeasured("labels: a forgotten class has fewer than 2 images: one to learn from, one to test")
    first, second = ({HIDDEN: features()[HIDDEN]} for features in (before, after))
    (p,) = layer_probe(case, first, second, folds=min(4, least), seed=seed)
    same = "untouched, bit by bit" if p.identical else "not the same as before"
    said = f"The features in front of the last layer are {same}: whoever holds the model can read them."
    name, against = "probe before the last layer", "shuffled labels"
    return Measurement(name, p.before, p.after, p.control, against, said, "2405.17878")


def _thin(case: Case, at_most: int, seed: int) -> torch.Tensor:
    """Rows of at most about ``at_most`` images, as even over classes as can be, two per class at least."""
    order = torch.randperm(len(case.labels), generator=torch.Generator().manual_seed(seed))
    if len(order) <= at_most:
        return torch.arange(len(order))
    each = max(2, at_most // len(case.T))
    picked = [order[case.labels[order] == c][:each] for c in range(len(case.T))]
    return torch.cat(picked).sort().values


def _with_images(case: Case, seed: int) -> Measurement:
    """`span_prototypes` with one image per class against none, as a line of the table."""
    none, one = span_prototypes(case, (0, 1), seed=seed)
    said = (
        f"Projecting one labelled image per class out too (rank {none.rank} → {one.rank}, and no longer "
        f"data-free) takes the retained classes from {_show.percent(none.retain)} to "
        f"{_show.percent(one.retain)}."
    )
    numbers, against = (none.probe_before, one.probe, none.probe), "projecting the names alone out"
    return Measurement("linear probe, images spanned", *numbers, against, said, "2604.08271")


def _run(steps: Sequence[Step], case: Case, edit: Eraser, progress: bool | None) -> AuditReport:
    how = edit.info.get("method", "edit") if isinstance(edit, Edit) else getattr(edit, "__name__", "edit")
    title = f"Audit of '{how}', forgetting {case.forgotten}: {len(case.Z)} images, {len(case.T)} classes"
    report = AuditReport([], {}, title)
    for name, step in _show.progress(steps, what="audit", wanted=progress):
        try:
            report.rows.extend(step())
        except NotMeasured as why:  # and nothing else: a fault of ours is not to look like an answer
            report.skipped[name] = " ".join(str(why).split())
    return report


def audit(
    clip: Clip,
    data: LabelledImages,
    edit: Edit,
    forget: ClassesLike | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> AuditReport:
    """Everything that can be asked of an edit, in one table.

    Parameters
    ----------
    clip : Clip
        The model before the edit: nothing folded into it.
    data : LabelledImages
    edit : Edit
    forget : list of int or str, optional
        The classes that the edit was to forget. By default those in ``edit.info["classes"]``, else
        the names that it moves most, as many as it has columns.
    seed : int
    progress : bool, optional
        A progress bar on stderr; by default after two seconds, and never under a test runner
        (or with ``CLIPNULL_NO_PROGRESS``).

    Returns
    -------
    AuditReport
        A measurement that cannot be made is in ``skipped`` with the reason.

    Raises
    ------
    ValueError
        An edit of another dimension, an unknown class, no image of a forgotten class.

    Examples
    --------
    >>> import clipnull as cn
    >>> clip, data = cn.load(), cn.datasets.load("twemoji", scenes=2)
    >>> T = clip.embed_text(data.classes, data.templates)
    >>> report = cn.audit(clip, data, cn.nullspace(T[[3]]), forget=[3])
    >>> report["forgotten, zero-shot"].after
    0.0
    """
    T = clip.embed_text(data.classes, templates=data.templates)
    if edit.dim != T.shape[1]:
        raise ValueError(
            f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like the model's embeddings"
        )
    if forget is None and (forget := edit.info.get("classes")) is None:
        moved = (edit.apply_text(T) - T).norm(dim=1)
        forget = moved.argsort(descending=True, stable=True)[: edit.left.shape[1]]
    index = _check.forget_set(forget, len(T), data.classes)
    Z = clip.embed_images(data.images, progress=progress)
    case = Case(Z, T, data.labels, index, data.classes)
    words = embed_words(clip, data, index[:WORDS_OF])
    steps = _steps(case, edit, data.categories, words, clip.logit_scale, seed)
    return _run([*steps, *_model_steps(clip, data, case, edit, seed)], case, edit, progress)
