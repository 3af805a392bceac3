"""Run a protocol: every model, data set, forget set and method."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

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
from clipnull.protocol.find import Found, find_data, open_pictures
from clipnull.protocol.published import ALL, POCKET, Protocol, ProtocolModel
from clipnull.protocol.result import BeforeRow, ProtocolResult, ResultRow
from clipnull.protocol.score import Change, ScoreParts, score_parts
from clipnull.report import Side

__all__ = ["run_protocol"]

#: most training images per class for the trained baseline that needs images
SHOTS = 16
Item = TypeVar("Item")


@dataclass(frozen=True)
class Embedded:
    """A data set of the protocol, embedded; its case forgets the first class until told otherwise."""

    found: Found
    case: Case

    def accuracy(self, edit: Edit | None = None, side: Side = "image") -> float:
        """Accuracy on all classes (fraction), after an edit if there is one."""
        case = self.case
        predicted = case.predicted if edit is None else case.evaluate(edit, side).predicted_after
        return _check.share(predicted == case.labels)


def run_protocol(
    protocol: Protocol = POCKET,
    *,
    root: str | Path | None = None,
    models: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seed: int = 0,
) -> ProtocolResult:
    """Forget the protocol's classes with every method, and measure what is left everywhere.

    Parameters
    ----------
    protocol : Protocol
        `POCKET` (default, needs nothing), `COCO` (the shipped embeddings), `KRAVETS`, or one of your own.
    root : str or Path, optional
        Folder of the data sets, in place of the protocol's.
    models, data, methods : list of str, optional
        Only these, by label, name and name; by default those of the protocol. A score compares
        with the data sets that are run.
    seed : int
        For the random control and the trained baselines.

    Returns
    -------
    ProtocolResult

    Raises
    ------
    ValueError
        Before any model is loaded: data or a forget class that are missing (one sentence with all of
        them and where they belong); an unknown model, data set or method; a trained baseline, or data
        sets of pictures, beside embeddings. Weights that are missing.
    """
    methods = list(protocol.methods if methods is None else methods)
    for method in methods:
        _check.one_of("methods", method, [*METHODS, MASKING, *BASELINES])
    used = _pick("models", {m.label: m for m in protocol.models}, models)
    specs = _pick("data", {d.name: d for d in protocol.data}, data)
    place = str(root) if root else protocol.root
    found = find_data(replace(protocol, data=tuple(specs), root=place))
    bare = [one.spec.name for one in found if isinstance(one.data, Embeddings)]
    if bare and (len(bare) < len(found) or {*methods} & {*BASELINES}):
        raise ValueError(
            f"data: {', '.join(bare)} has embeddings and no pictures, want all data sets so, and no trained "
            "methods, which need a model"
        )
    notes = [note for one in found for note in _differences(one)]
    result = ProtocolResult(protocol.name, [], [], notes)
    for model in used:
        clip = None if bare else load_clip(model.name, model.pretrained)
        if clip and model.name is None and clip.name != "pocket":  # CLIPNULL_MODEL
            model = replace(model, label=clip.name)
        run = _Run(model.label, clip, found, seed)
        result.before.extend(row for one in run.ready for row in _before(model, one))
        result.rows.extend(run.rows(methods))
    return result


def _pick(argument: str, items: dict[str, Item], wanted: Sequence[str] | None) -> list[Item]:
    """The items with the names wanted, or all; a ValueError names an unknown one."""
    wanted = list(items) if wanted is None else [_check.one_of(argument, name, items) for name in wanted]
    if not wanted:
        raise ValueError(f"{argument}: got none, want at least one of {', '.join(items)}")
    return [items[name] for name in dict.fromkeys(wanted)]


class _Run:
    """One model on all the data sets; a baseline's training images are embedded when first needed."""

    def __init__(self, model: str, clip: Clip | None, found: Sequence[Found], seed: int) -> None:
        self.model, self.clip, self.seed = model, clip, seed
        self.ready = [embedded(clip, one) for one in found]
        self.training: dict[str, Case] = {}

    def rows(self, methods: Sequence[str]) -> list[ResultRow]:
        """Every forget set, every method."""
        cases = []
        for one in self.ready:
            forget = one.found.forget
            sets = [[c] for c in forget] + [forget] * (len(forget) > 1)
            cases += [(one, one.case.forgetting(index)) for index in sets]
        work = [(*case, method) for case in cases for method in methods]
        return [self.row(*each) for each in _show.progress(work, what=self.model, unit="edit")]

    def row(self, one: Embedded, case: Case, method: str) -> ResultRow:
        """One forget set, one method."""
        edit, side, seconds, tried = self.make(method, one, case)
        report = candidate_masking(case) if edit is None else case.evaluate(edit, side)
        rest = [o for o in self.ready if o is not one]
        others = {o.found.spec.name: Change(o.accuracy(), o.accuracy(edit, side)) for o in rest}
        full = Change(report.forget_before, report.forget_after)
        retain = Change(report.retain_before, report.retain_after)
        changes = [full, retain, *others.values()]
        known = all(change.before > 0 for change in changes)
        parts = score_parts(full, retain, changes[2:]) if known else ScoreParts(*[math.nan] * 3)
        n_way = {str(n): Change(way.before, way.after) for n, way in report.n_way.items()}
        largest = math.nan
        if edit is not None:
            largest = float(
                certificate(edit, case.T_f, case.T_r, "text" if side == "text" else "image").max()
            )
        names = dict(zip(one.found.forget, one.found.spec.forget, strict=True))
        return ResultRow(
            self.model, one.found.spec.name, [names[c] for c in case.forget], method, side, full,
            n_way, Change(*report.search), retain, others, largest, parts, seconds, tried,
        )  # fmt: skip

    def make(self, method: str, one: Embedded, case: Case) -> tuple[Edit | None, Side, float, int]:
        """The method's edit (none where it only masks names), its side, seconds, how many were tried."""
        if method == MASKING:
            return None, "image", 0.0, 1
        if method in BASELINES:
            best = self.train(method, one, case)
            return best.edit, best.side, best.seconds, best.tried
        start = time.perf_counter()
        edit = METHODS[method].make(case.T_f, case.T_r, seed=self.seed)
        return edit, "image", time.perf_counter() - start, 1

    def train(self, method: str, one: Embedded, case: Case) -> baselines.Trained:
        """A trained baseline, tuned over `GRIDS`."""
        assert self.clip is not None
        if method == "lora":
            train = partial(
                baselines.lora_forgetting, case.T_f, case.T_r, _empty_prompt(self.clip), seed=self.seed
            )
        else:
            name = one.found.spec.name
            if name not in self.training:
                self.training[name] = training_case(self.clip, one)
            images = self.training[name].forgetting(case.forget)
            train = partial(baselines.gradient_forgetting, images, scale=self.clip.logit_scale)
        return baselines.tuned(train, GRIDS[method])


def embedded(clip: Clip | None, one: Found) -> Embedded:
    """A data set as the model sees it, or its embeddings as they are."""
    data = one.data
    if isinstance(data, Embeddings):
        case = Case(data.Z, data.T, data.labels, one.forget[:1], data.classes)
    else:
        assert clip is not None
        if one.drawn:
            data = open_pictures(one.spec, one.source, size=clip.image_size)
        T = clip.embed_text(data.classes, data.templates)
        case = Case(clip.embed_images(data.images), T, data.labels, one.forget[:1], data.classes)
    _ = case.scores  # kept: every edit is then a rank-m update of them
    return Embedded(one, case)


def training_case(clip: Clip, one: Embedded) -> Case:
    """At most `SHOTS` training images per class, none of them among the test images."""
    found = one.found
    options = dict(found.spec.train) | ({"size": clip.image_size} if found.drawn else {})
    data = open_pictures(found.spec, found.source, **options)
    if data.classes != one.case.classes:
        raise ValueError(f"{found.source}: its training split has other classes, want the same ones")
    # a clean drawing (scene 0) is the same picture for every seed: leave it to the test
    usable = data.scene > 0 if bool(data.scene.any()) else torch.ones(len(data), dtype=torch.bool)
    picked = torch.cat([(usable & (data.labels == c)).nonzero()[:SHOTS, 0] for c in range(len(data.classes))])
    Z = clip.embed_images(data.images[picked])
    return Case(Z, one.case.T, data.labels[picked], one.case.forget, data.classes)


def _empty_prompt(clip: Clip) -> torch.Tensor:
    """Embedding [1, d] of the empty prompt "", unit length."""
    with torch.inference_mode():
        return clip.model.encode_text(clip.tokenizer([""]).to(clip.device), normalize=True).float().cpu()


def _before(model: ProtocolModel, one: Embedded) -> list[BeforeRow]:
    """Accuracy before forgetting, measured and published, for each forget class and for all."""
    spec, case, rows = one.found.spec, one.case, []
    for name, c in zip(spec.forget, one.found.forget, strict=True):
        alone, published = case.forgetting([c]), spec.forget[name].get(model.label, (None, None))
        measured = (int(alone.gone.sum()), alone.recall(case.predicted), alone.accuracy(case.predicted))
        rows.append(BeforeRow(model.label, spec.name, name, *measured, *published))
    full = spec.full.get(model.label)
    return [*rows, BeforeRow(model.label, spec.name, ALL, len(case.labels), None, one.accuracy(), None, full)]


def _differences(found: Found) -> list[str]:
    """How the data differ from the published ones, as far as it can be seen from here."""
    spec, n, said = found.spec, len(found.data.classes), []
    if found.source.partition(":")[0] != spec.sources[0].partition(":")[0]:
        said.append(f"{spec.name}: read from {found.source}, which is not the protocol's split")
    if spec.n_classes not in (None, n):
        said.append(f"{spec.name}: {n} candidate classes, not {spec.n_classes}")
    return said
