"""Run a protocol: every model, data set, forget set and method."""

from __future__ import annotations

import importlib.metadata
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from clipnull import _check, _show
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import Case, drop_label
from clipnull.model.clip import Clip
from clipnull.model.loading import load as load_clip
from clipnull.protocol import baselines
from clipnull.protocol.baselines import BASELINES, GRIDS
from clipnull.protocol.find import Found, find_data, open_data
from clipnull.protocol.published import ALL, DROP, POCKET, Protocol, ProtocolModel
from clipnull.protocol.result import BeforeRow, Change, ProtocolResult, ResultRow
from clipnull.protocol.score import ScoreParts, score_parts
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
    before: float

    @property
    def name(self) -> str:
        return self.found.spec.name

    def after(self, edit: Edit | None, side: Side) -> float:
        """Accuracy on all classes (fraction)."""
        if edit is None:
            return self.before
        return _check.share(self.case.evaluate(edit, side).predicted_after == self.case.labels)


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
        `POCKET` (default, needs nothing), `KRAVETS`, or one of your own.
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
        Data that are missing (one sentence with all of them and where they belong), before any
        model is loaded; weights that are missing; an unknown model, data set or method; a
        forget class that the data do not have.

    Notes
    -----
    Per model, forget set and method: recall of the forgotten classes; accuracy on the other
    classes with the forgotten ones still candidates; full accuracy on the other data sets; the
    score (`clipnull.protocol.protocol_score`). The score is NaN where nothing was recognised before.
    """
    methods = list(protocol.methods if methods is None else methods)
    for method in methods:
        _check.one_of("methods", method, [*METHODS, DROP, *BASELINES])
    _check.one_of("retain", protocol.retain, ["same", "all"])
    used = _pick("models", {m.label: m for m in protocol.models}, models)
    specs = _pick("data", {d.name: d for d in protocol.data}, data)
    place = str(root) if root else protocol.root
    protocol = replace(protocol, models=tuple(used), data=tuple(specs), root=place)
    found, notes = find_data(protocol, protocol.scored if data is None else data)
    about = {
        "methods": methods,
        "retain": protocol.retain,
        "tolerance": protocol.tolerance,
        "seed": seed,
        "models": {m.label: [m.name, m.pretrained] for m in protocol.models},
        "data": {one.spec.name: one.source for one in found},
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "open_clip_torch")},
    }
    result = ProtocolResult(protocol.name, [], [], notes, about)
    for model in protocol.models:
        clip = load_clip(model.name, model.pretrained)
        if model.name is None and clip.name != "pocket":  # CLIPNULL_MODEL
            model = replace(model, label=clip.name)
        run = _Run(protocol, model.label, clip, found, seed)
        result.before.extend(row for one in run.ready for row in _before(protocol, model, one))
        result.rows.extend(run.rows(methods))
    return result


def _pick(argument: str, items: dict[str, Item], wanted: Sequence[str] | None) -> list[Item]:
    """The items with the names wanted, or all; a ValueError names an unknown one."""
    wanted = list(items) if wanted is None else [_check.one_of(argument, name, items) for name in wanted]
    if not wanted:
        raise ValueError(f"{argument}: got none, want at least one of {', '.join(items)}")
    return [items[name] for name in dict.fromkeys(wanted)]


class _Made(NamedTuple):
    """What a method made of the names; no edit where it only strikes them off."""

    edit: Edit | None
    side: Side
    seconds: float
    tuning_seconds: float
    tried: int = 1


class _Run:
    """One model on all the data sets; a baseline's training images are embedded when first needed."""

    def __init__(self, protocol: Protocol, model: str, clip: Clip, found: Sequence[Found], seed: int) -> None:
        self.protocol, self.model, self.clip, self.seed = protocol, model, clip, seed
        self.ready = [self.embed(one) for one in found]
        self.training: dict[str, Case] = {}

    def embed(self, one: Found) -> Embedded:
        data = open_data(one.spec, one.source, size=self.clip.image_size) if one.drawn else one.data
        T = self.clip.embed_text(data.classes, list(one.spec.templates) or data.templates)
        Z = self.clip.embed_images(data.images)
        case = Case(Z, T, data.labels, one.forget[:1], data.classes)
        _ = case.scores  # kept: every edit is then a rank-m update of them
        return Embedded(one, case, _check.share(case.predicted == case.labels))

    def rows(self, methods: Sequence[str]) -> list[ResultRow]:
        """Every forget set, every method."""
        cases = []
        for one in self.ready:
            forget = one.found.forget
            sets = [[c] for c in forget] + [forget] * (self.protocol.joint and len(forget) > 1)
            cases += [(one, one.case.forgetting(index)) for index in sets]
        work = [(*case, method) for case in cases for method in methods]
        return [self.row(*each) for each in _show.progress(work, what=self.model, unit="edit")]

    def row(self, one: Embedded, case: Case, method: str) -> ResultRow:
        """One forget set, one method."""
        made = self.make(method, one, case)
        edit = made.edit
        report = drop_label(case) if edit is None else case.evaluate(edit, made.side)
        rest = [o for o in self.ready if o is not one]
        others = {o.name: Change(o.before, o.after(edit, made.side)) for o in rest}
        forget = Change(report.forget_before, report.forget_after)
        retain = Change(report.retain_before, report.retain_after)
        changes = [forget, retain, *(c for name, c in others.items() if name in self.protocol.scored)]
        known = all(change.before > 0 for change in changes)
        parts = score_parts(forget, retain, changes[2:]) if known else ScoreParts(*[math.nan] * 3)
        names = dict(zip(one.found.forget, one.found.spec.forget, strict=True))
        return ResultRow(
            self.model, one.name, [names[c] for c in case.forget], len(case.forget) > 1, method,
            made.side, *forget, *retain, others, sum(parts), parts,
            made.seconds, made.tuning_seconds, made.tried,
        )  # fmt: skip

    def make(self, method: str, one: Embedded, case: Case) -> _Made:
        """What the method makes of the names to forget and those to keep."""
        if method == DROP:
            return _Made(None, "image", 0.0, 0.0)
        if method in BASELINES:
            best = self.train(method, one, case)
            return _Made(best.edit, best.side, best.seconds, best.tuning_seconds, best.tried)
        others = [o.case.T for o in self.ready if o is not one and self.protocol.retain == "all"]
        T_r = torch.cat([case.T_r, *others])
        start = time.perf_counter()
        edit = METHODS[method].make(case.T_f, T_r, seed=self.seed)
        seconds = time.perf_counter() - start
        return _Made(edit, "image", seconds, seconds)

    def train(self, method: str, one: Embedded, case: Case) -> baselines.Trained:
        """A trained baseline, tuned over `GRIDS`."""
        if method == "lora":
            train = partial(
                baselines.lora_forgetting, case.T_f, case.T_r, _empty_prompt(self.clip), seed=self.seed
            )
        else:
            if one.name not in self.training:
                self.training[one.name] = training_case(self.clip, one)
            images = self.training[one.name].forgetting(case.forget)
            train = partial(baselines.gradient_forgetting, images, scale=self.clip.logit_scale)
        return baselines.tuned(train, GRIDS[method])


def training_case(clip: Clip, one: Embedded) -> Case:
    """At most `SHOTS` training images per class, none of them among the test images."""
    found = one.found
    options = dict(found.spec.train) | ({"size": clip.image_size} if found.drawn else {})
    data = open_data(found.spec, found.source, **options)
    if data.classes != one.case.classes:
        raise ValueError(f"{found.source}: its training split has other classes, want the same ones")
    # a clean drawing (scene 0) is the same picture for every seed: leave it to the test
    usable = data.scene > 0 if bool(data.scene.any()) else torch.ones(len(data), dtype=torch.bool)
    of_class = [(usable & (data.labels == c)).nonzero()[:SHOTS, 0] for c in range(len(data.classes))]
    picked = torch.cat(of_class)
    Z = clip.embed_images(data.images[picked])
    return Case(Z, one.case.T, data.labels[picked], one.case.forget, data.classes)


def _empty_prompt(clip: Clip) -> torch.Tensor:
    """Embedding [d] of the empty prompt "", unit length."""
    with torch.inference_mode():
        tokens = clip.tokenizer([""]).to(clip.device)
        return clip.model.encode_text(tokens, normalize=True)[0].float().cpu()


def _before(protocol: Protocol, model: ProtocolModel, one: Embedded) -> list[BeforeRow]:
    """Accuracy before forgetting, measured and published, for each forget class and for all."""
    spec, case = one.found.spec, one.case
    general, rows = _differences(protocol, model, one.found), []
    for name, c in zip(spec.forget, one.found.forget, strict=True):
        alone, published = case.forgetting([c]), spec.forget[name].get(model.label, (None, None))
        n, recall = int(alone.gone.sum()), alone.recall(case.predicted)
        reasons = list(general)
        if case.classes[c] != name:
            reasons.insert(0, f"the data set writes {case.classes[c]!r}, and so does the prompt")
        off = published[0] is not None and abs(100 * recall - published[0]) > protocol.tolerance
        if off and 100 / n > protocol.tolerance:
            reasons.insert(0, f"one of its {n} pictures is {100 / n:.1f} points")
        row = BeforeRow(model.label, spec.name, name, n, recall, alone.accuracy(case.predicted), *published)
        rows.append(_compared(row, protocol.tolerance, reasons))
    full = spec.full.get(model.label)
    row = BeforeRow(model.label, spec.name, ALL, len(case.labels), None, one.before, None, full)
    return [*rows, _compared(row, protocol.tolerance, general)]


def _differences(protocol: Protocol, model: ProtocolModel, found: Found) -> list[str]:
    """What differs from the published setting, as far as it can be seen from here."""
    reasons, n = [], len(found.data.classes)
    if not found.own_split:
        reasons.append(f"the pictures are those of {found.source}, not of the protocol's split")
    if found.spec.n_classes not in (None, n):
        reasons.append(f"there are {n} candidate classes, not {found.spec.n_classes}")
    if model.pretrained != protocol.weights:
        weights = model.pretrained or model.name or "the default model's"
        reasons.append(f"the weights are {weights}, not {protocol.weights}")
    return reasons


def _compared(row: BeforeRow, tolerance: float, reasons: list[str]) -> BeforeRow:
    """The row with the points between measured and published, and why that may be."""
    both = ((row.forget, row.published_forget), (row.retain, row.published_retain))
    gaps = [abs(100 * x - p) for x, p in both if x is not None and p is not None]
    apart = max(gaps, default=None)
    # NaN, a class without pictures, is apart from any figure; rounding to two decimals is not
    differs = apart is not None and not apart <= tolerance + 0.005
    why = reasons or ["the decoding and resizing of pictures differs between versions"]
    return replace(row, apart=apart, why="; ".join(why) if differs else "")
