"""All measurements of one edit, in one call."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from clipnull import _check, _show
from clipnull._check import ClassesLike
from clipnull.auditing.attacks import attack_embeddings, attack_pixels
from clipnull.auditing.confidence import confidence
from clipnull.auditing.controls import both_kinds, certified, control, controls, fewest, short_lists
from clipnull.auditing.fingerprint import fingerprint
from clipnull.auditing.layers import HIDDEN, layers
from clipnull.auditing.probes import probe
from clipnull.auditing.relearning import relearning
from clipnull.auditing.report import CERTIFIED, SUBSPACE, AuditReport, Measurement, NotMeasured
from clipnull.auditing.words import MADE_UP, Words, embed_words, other_words
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.pictures import LabelledImages
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.hull import certificate
from clipnull.model import Clip, last_layer

__all__ = ["audit"]

#: at most: images that probes look at, images whose features are taken at every layer, classes whose other
#: words are tried, classes that are relearned, names whose pixels are attacked
AT_MOST, LAYERS_AT_MOST, WORDS_OF, RELEARN_OF, PIXELS_OF = 4000, 1000, 10, 5, 3


def audit(
    clip: Clip | None,
    data: LabelledImages | Embeddings | Case,
    edit: Edit,
    forget: ClassesLike | None = None,
    words: Words | None = None,
    seed: int = 0,
) -> AuditReport:
    """Everything that can be asked of an edit, in one table; what cannot be measured is in ``skipped``.

    ``clip`` is the model before the edit, with ``data`` pictures; with None, ``data`` are `Embeddings` or a
    `Case`, with images or without. The classes to ``forget`` are by default a `Case`'s own, those in
    ``edit.info["classes"]``, or the names that the edit moves most, as many as it has columns; ``words`` the
    keywords of the pictures.

    >>> import clipnull as cn
    >>> coco = cn.datasets.embeddings("coco")
    >>> report = cn.audit(None, coco, cn.consistent(coco.T[[4]], coco.T[5:], anchor="mean"), ["airplane"])
    >>> report["forgotten, zero-shot"].after
    0.0
    """
    given: Any = data  # pictures with a model, arrays without
    Z = given.Z if clip is None else None
    T = given.T if clip is None else clip.embed_text(given.classes, templates=given.templates)
    if edit.dim != T.shape[1]:
        raise ValueError(f"edit: acts on {edit.dim} dimensions, want {T.shape[1]} like the embeddings")
    # an edit made of names with gradients has them too
    edit = replace(edit, left=edit.left.detach(), right=edit.right.detach())
    if isinstance(data, Case):
        case = data if forget is None else data.forgetting(forget)
    else:
        if forget is None and (forget := edit.info.get("classes")) is None:
            moved = (edit.apply_text(T) - T).norm(dim=1)
            forget = moved.argsort(descending=True, stable=True)[: edit.left.shape[1]]
        index = _check.forget_set(forget, len(T), data.classes)
        if clip is not None:
            Z = clip.embed_images(given.images)
            words = words or embed_words(clip, given, index[:WORDS_OF])
        case = Case(Z, T, data.labels, index, data.classes)
    if case.Z is not None:
        case.require()
    steps = [*_steps(clip, given, case, edit, words, seed)]
    images, how = "no" if case.Z is None else len(case.Z), edit.info.get("method", "edit")
    title = f"Audit of '{how}', forgetting {case.forgotten}: {images} images, {len(case.T)} classes"
    report = AuditReport([], {}, title)
    for name, step in _show.progress(steps, what="audit"):
        try:
            report.rows.extend(step())
        except NotMeasured as why:  # and nothing else: a fault of ours is not to look like an answer
            report.skipped[name] = " ".join(str(why).split())
    return report


def _steps(
    clip: Clip | None, data: Any, case: Case, edit: Edit, words: Words | None, seed: int
) -> Iterator[tuple[str, Callable[[], Sequence[Measurement]]]]:
    if case.Z is not None:
        few, _ = _thin(case, AT_MOST, seed)
        scale = 100.0 if clip is None else clip.logit_scale
        yield "controls", lambda: controls(case, edit, seed=seed)
        yield "short lists", lambda: short_lists(case, edit, seed)
        if words is not None:
            yield "other words", lambda: [other_words(case, edit, words, seed)]
        yield "linear probe", lambda: [probe(few, edit, seed=seed)]
        yield "confidence", lambda: confidence(case, edit, scale, seed)
    yield "certificate", lambda: [certified(case, edit, seed)]
    yield "attack, embeddings", lambda: [_embeddings(case, edit, seed)]
    if clip is not None:
        yield "fingerprint", lambda: [_fingerprint(case, edit, last_layer(clip), seed)]
        yield "relearning", lambda: [_relearned(clip, data, case, edit, seed)]
        yield "attack, pixels", lambda: [_pixels(clip, case, edit, seed)]


def _embeddings(case: Case, edit: Edit, seed: int) -> Measurement:
    some = case.T[case.forget[:CERTIFIED]], case.T[case.retain]
    before, after = (attack_embeddings(e, *some, starts=2, seed=seed) for e in (None, edit))
    won, bound = int(after.wins.any(0).sum()), float(certificate(edit, *some).max())
    said = f"Optimised embeddings win for {won} of {len(some[0])} names; the largest lead is shown."
    leads = float(before.leads.max()), float(after.leads.max()), bound
    return Measurement("attack, embeddings", *leads, "the certificate, its bound", said, unit="cosine")


def _pixels(clip: Clip, case: Case, edit: Edit, seed: int) -> Measurement:
    names = [*case.forget[:PIXELS_OF], *case.retain]
    gone, T = list(range(len(names) - len(case.retain))), case.T[names]
    edits = (None, edit, control(edit, seed))
    b, a, c = (_check.share(attack_pixels(clip, e, T, gone, seed=seed).wins) for e in edits)
    said = f"Optimised pictures reach {_show.percent(a)} of {len(gone)} names."
    return Measurement("attack, pixels", b, a, c, SUBSPACE, said)


def _fingerprint(case: Case, edit: Edit, P: torch.Tensor, seed: int) -> Measurement:
    m, gone = len(case.forget), {str(i) for i in case.forget}
    found = [fingerprint(P, e.apply_image(P), case.T) for e in (edit, control(edit, seed))]
    a, c = (len(gone & set(f.ranking()[:m])) / m for f in found)
    held = f"of {len(case.T)} names, the {m} that fit best hold {round(m * a)} of the {m} forgotten"
    said = f"The weights differ by rank {found[0].rank}; {held}."
    return Measurement("name read off the weights", math.nan, a, c, SUBSPACE, said, "2604.07386")


def _relearned(clip: Clip, data: Any, case: Case, edit: Edit, seed: int) -> Measurement:
    targets = case.forget[:RELEARN_OF]
    case, rows = _thin(case.forgetting(targets), LAYERS_AT_MOST, seed)
    k, edits = min(4, fewest(both_kinds(case)) // 2), dict.fromkeys(targets, edit)
    H = layers(clip, [data.images[i] for i in rows])[HIDDEN]
    odd = clip.embed_text(MADE_UP, templates=data.templates)
    edited, plain, new = relearning(H, case.labels, last_layer(clip), case.T, edits, k, odd, seed=seed)
    start, end, back = map(_show.percent, (edited.recall_start, edited.recall_end, edited.back))
    said = f"With {k} labelled images per class, recall goes from {start} to {end}, and {back} of the classes"
    steps, against = (plain.steps, edited.steps, new.steps), "the class under a new name"
    return Measurement("relearned", *steps, against, f"{said} come back.", "2506.01318", "steps")


def _thin(case: Case, at_most: int, seed: int) -> tuple[Case, list[int]]:
    """About ``at_most`` images, as even over classes as can be, two per class at least; and their rows."""
    order = torch.randperm(len(case.labels), generator=torch.Generator().manual_seed(seed))
    each = len(order) if len(order) <= at_most else max(2, at_most // len(case.T))
    rows = torch.cat([order[case.labels[order] == c][:each] for c in range(len(case.T))]).sort().values
    return Case(case.images[rows], case.T, case.labels[rows], case.forget, case.classes), rows.tolist()
