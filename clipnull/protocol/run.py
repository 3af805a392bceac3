"""Run a protocol: every model, data set, forget set and method."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property, partial

import torch

from clipnull import _check, _show
from clipnull.datasets.arrays import Embeddings
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import MASKING, Case, candidate_masking
from clipnull.hull import certificate
from clipnull.model.clip import Clip
from clipnull.model.loading import load as load_clip
from clipnull.protocol import baselines
from clipnull.protocol.baselines import BASELINES, GRIDS
from clipnull.protocol.find import DRAWN, Found, find_data
from clipnull.protocol.published import ALL, POCKET, BeforeRow, Protocol
from clipnull.protocol.result import ProtocolResult, ResultRow
from clipnull.protocol.score import ScoreParts, score_parts
from clipnull.report import Change, Side

__all__ = ["run_protocol"]

#: most training images per class for the trained baseline that needs images
SHOTS = 16


def run_protocol(
    protocol: Protocol = POCKET, *, methods: Sequence[str] | None = None, seed: int = 0
) -> ProtocolResult:
    """Forget the protocol's classes with every method, and measure what is left everywhere.

    Parameters
    ----------
    protocol : Protocol
        `POCKET` (default, needs nothing), `COCO` (the shipped embeddings), `KRAVETS`, or one of your own:
        ``dataclasses.replace(KRAVETS, root="data/")``.
    methods : list of str, optional
        Keys of `clipnull.METHODS` or `BASELINES`, or "candidate masking", in place of the protocol's.
    seed : int
        For the random control and the trained baselines.

    Raises
    ------
    ValueError
        Before any model is loaded: data or forget classes that are missing (one sentence with all of them);
        an unknown method; a trained baseline, or data sets of pictures, beside embeddings; "gradient"
        on pictures without training ones.
    """
    methods = list(protocol.methods if methods is None else methods)
    for method in methods:
        _check.one_of("methods", method, [*METHODS, MASKING, *BASELINES])
    found = find_data(protocol)
    bare = [one.spec.name for one in found if isinstance(one.data, Embeddings)]
    if bare and (len(bare) < len(found) or {*methods} & {*BASELINES}):
        want = "want all data sets so, and no trained methods, which need a model"
        raise ValueError(f"data: {', '.join(bare)} has embeddings and no pictures, {want}")
    if "gradient" in methods and (alone := [one.spec.name for one in found if not one.spec.train]):
        raise ValueError(f"methods: {', '.join(alone)} has no training split, want no 'gradient'")
    result = ProtocolResult(protocol.name, [], [], [note for one in found for note in _differences(one)])
    for model in protocol.models:
        clip = None if bare else load_clip(model.name, model.pretrained)
        label = clip.name if clip and model.name is None and clip.name != "pocket" else model.label
        ready = [Embedded(one, clip) for one in found]
        result.before.extend(row for one in ready for row in _before(label, one))
        work = []
        for one in ready:
            sets = [[c] for c in one.found.forget] + [one.found.forget] * (len(one.found.forget) > 1)
            cases = [one.case.forgetting(index) for index in sets]
            work += [(one, case, method) for case in cases for method in methods]
        for one, case, method in _show.progress(work, what=label, unit="edit"):
            rest = [other for other in ready if other is not one]
            result.rows.append(_row(label, one, rest, case, method, seed))
    return result


class Embedded:
    """A data set as a model sees it; its case forgets the first class until told otherwise."""

    def __init__(self, found: Found, clip: Clip | None) -> None:
        self.found, self.clip, data = found, clip, found.data
        if isinstance(data, Embeddings):
            Z, T = data.Z, data.T
        else:
            assert clip is not None
            data = found.pictures(clip) if found.source in DRAWN else data
            Z, T = clip.embed_images(data.images), clip.embed_text(data.classes, data.templates)
        self.case = Case(Z, T, data.labels, found.forget[:1], data.classes)
        _ = self.case.scores  # kept: every edit is then a rank-m update of them

    def accuracy(self, edit: Edit | None = None, side: Side = "image") -> float:
        """Accuracy on all classes (fraction), after an edit if there is one."""
        case = self.case
        predicted = case.predicted if edit is None else case.evaluate(edit, side).predicted_after
        return _check.share(predicted == case.labels)

    @cached_property
    def training(self) -> Case:
        """At most `SHOTS` training images per class, none of them among the test images."""
        assert self.clip is not None
        classes, data = self.case.classes, self.found.pictures(self.clip, **self.found.spec.train)
        if data.classes != classes:
            raise ValueError(f"{self.found.source}: its training split has other classes, want the same ones")
        # a clean drawing (scene 0) is the same picture for every seed: leave it to the test
        usable = data.scene > 0 if bool(data.scene.any()) else torch.ones(len(data), dtype=torch.bool)
        picked = torch.cat([(usable & (data.labels == c)).nonzero()[:SHOTS, 0] for c in range(len(classes))])
        Z = self.clip.embed_images(data.images[picked])
        return Case(Z, self.case.T, data.labels[picked], self.case.forget, classes)


def _row(
    model: str, one: Embedded, rest: Sequence[Embedded], case: Case, method: str, seed: int
) -> ResultRow:
    edit, side, seconds, tried = _made(method, one, case, seed)
    report = candidate_masking(case) if edit is None else case.evaluate(edit, side)
    others = {o.found.spec.name: Change(o.accuracy(), o.accuracy(edit, side)) for o in rest}
    full = Change(report.forget_before, report.forget_after)
    retain = Change(report.retain_before, report.retain_after)
    known = all(change.before > 0 for change in (full, retain, *others.values()))
    parts = score_parts(full, retain, [*others.values()]) if known else ScoreParts(*[math.nan] * 3)
    largest = math.nan
    if edit is not None:
        largest = float(certificate(edit, case.T_f, case.T_r, "text" if side == "text" else "image").max())
    names = dict(zip(one.found.forget, one.found.spec.forget, strict=True))
    return ResultRow(
        model, one.found.spec.name, [names[c] for c in case.forget], method, side, full,
        report.n_way, report.search, retain, others, largest, parts, seconds, tried,
    )  # fmt: skip


def _made(method: str, one: Embedded, case: Case, seed: int) -> tuple[Edit | None, Side, float, int]:
    """The method's edit (none where it only masks names), its side, seconds, how many were tried."""
    if method == MASKING:
        return None, "image", 0.0, 1
    if method not in BASELINES:
        start = time.perf_counter()
        edit = METHODS[method].make(case.T_f, case.T_r, seed=seed)
        return edit, "image", time.perf_counter() - start, 1
    assert one.clip is not None
    if method == "lora":
        empty = one.clip.tokenizer([""]).to(one.clip.device)
        with torch.inference_mode():
            goal = one.clip.model.encode_text(empty, normalize=True).float().cpu()
        train = partial(baselines.lora_forgetting, case.T_f, case.T_r, goal, seed=seed)
    else:
        images = one.training.forgetting(case.forget)
        train = partial(baselines.gradient_forgetting, images, scale=one.clip.logit_scale)
    best = baselines.tuned(train, GRIDS[method])
    return best.edit, best.side, best.seconds, best.tried


def _before(model: str, one: Embedded) -> list[BeforeRow]:
    """Accuracy before forgetting, measured and published, for each forget class and for all."""
    spec, case, rows = one.found.spec, one.case, []
    for name, c in zip(spec.forget, one.found.forget, strict=True):
        alone, published = case.forgetting([c]), spec.forget[name].get(model, (None, None))
        measured = (int(alone.gone.sum()), alone.recall(case.predicted), alone.accuracy(case.predicted))
        rows.append(BeforeRow(model, spec.name, name, *measured, *published))
    full = spec.full.get(model)
    return [*rows, BeforeRow(model, spec.name, ALL, len(case.labels), None, one.accuracy(), None, full)]


def _differences(found: Found) -> list[str]:
    """How the data differ from the published ones, as far as it can be seen from here."""
    spec, n, said = found.spec, len(found.data.classes), []
    if found.source.partition(":")[0] != spec.sources[0].partition(":")[0]:
        said.append(f"{spec.name}: read from {found.source}, which is not the protocol's split")
    if spec.n_classes not in (None, n):
        said.append(f"{spec.name}: {n} candidate classes, not {spec.n_classes}")
    return said
