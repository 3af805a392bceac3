"""Run a protocol: find what it needs, forget with every method, measure what is left everywhere."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from clipnull import _check, _files, _show
from clipnull.datasets import registry
from clipnull.datasets.arrays import Embeddings, embeddings, load_arrays
from clipnull.datasets.pictures import LabelledImages
from clipnull.edit import Edit
from clipnull.erasers import METHODS
from clipnull.evaluation import MASKING, Case, candidate_masking
from clipnull.hull import certificate
from clipnull.model.loading import check_here, load
from clipnull.protocol.baselines import BASELINES, GRIDS, gradient_forgetting, lora_forgetting, tuned
from clipnull.protocol.published import KRAVETS, POCKET, BeforeRow, Protocol, ProtocolData
from clipnull.protocol.result import ProtocolResult, ResultRow, score_parts
from clipnull.report import Change, Side

__all__ = ["chosen", "miniature", "run_protocol"]

#: data sets that are drawn at any size that a model looks at; the first is the default
DRAWN = ("twemoji", "openmoji")


def miniature(protocol: Protocol = POCKET) -> Protocol:
    """`POCKET`, by the artist or on the data (their three largest classes) that ``CLIPNULL_DATA`` names."""
    name = os.environ.get("CLIPNULL_DATA") or DRAWN[0]
    if name in DRAWN:
        return replace(protocol, data=tuple(replace(spec, sources=(name,)) for spec in protocol.data))
    data = registry.load(name)
    if (C := len(data.classes)) < 2:
        raise ValueError(f"CLIPNULL_DATA: {name!r} has one class, want at least two")
    most = data.labels.bincount(minlength=C).argsort(descending=True, stable=True)[: min(3, C - 1)]
    train: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # then no baseline is trained on pictures
        registry.load(name, split="train")
        train["split"] = "train"
    spec = ProtocolData(data.name, (name,), {data.classes[i]: {} for i in most.tolist()}, train=train)
    return replace(protocol, data=(spec,))


def chosen() -> tuple[Protocol, str]:
    """The protocol that the environment variable ``CLIPNULL_PROTOCOL`` asks for, and a sentence why.

    ``full`` or ``full:FOLDER`` (the folder of the data sets) asks for `KRAVETS`; otherwise, or where data
    sets or weights are missing (nothing is fetched here), it is `miniature`.
    """
    asked, _, root = os.environ.get("CLIPNULL_PROTOCOL", "").partition(":")
    if asked != "full":
        return miniature(), "This is the miniature: CLIPNULL_PROTOCOL=full asks for the published one."
    protocol = replace(KRAVETS, root=root or None)
    try:
        find_data(protocol)
        for model in protocol.models:
            check_here(str(model.name), model.pretrained)
    except ValueError as problem:
        return miniature(), f"This is the miniature, because not all is there. {problem}."
    return protocol, "This is the published protocol: data sets and weights are all here."


def run_protocol(
    protocol: Protocol = POCKET, *, methods: Sequence[str] | None = None, seed: int = 0
) -> ProtocolResult:
    """Forget the protocol's classes with every method, and measure what is left everywhere.

    ``protocol`` is `POCKET` (needs nothing), `COCO` (the shipped embeddings), `KRAVETS`, or one of your own:
    ``dataclasses.replace(KRAVETS, root="data/")``. ``methods`` are keys of `clipnull.METHODS`, "candidate
    masking", which are the default, or the trained `BASELINES`; ``seed`` is for these and the random control.
    A ValueError, before any model is loaded, for data or forget classes that are missing (one sentence with
    all of them), trained baselines or pictures beside embeddings, and "gradient" without training pictures.
    """
    untrained = (*METHODS, MASKING)
    methods = _check.some_of("methods", untrained if methods is None else methods, [*untrained, *BASELINES])
    found = find_data(protocol)
    bare = [one.spec.name for one in found if isinstance(one.data, Embeddings)]
    if bare and (len(bare) < len(found) or {*methods} & {*BASELINES}):
        raise ValueError(f"data: {', '.join(bare)} has embeddings and no pictures, want all so, none trained")
    if "gradient" in methods and (alone := [one.spec.name for one in found if not one.spec.train]):
        raise ValueError(f"methods: {', '.join(alone)} has no training split, want no 'gradient'")
    result = ProtocolResult(protocol.name, [], [], [note for one in found for note in one.differences()])
    for model in protocol.models:
        clip = None if bare else load(model.name, model.pretrained)
        label = clip.name if clip and model.name is None and clip.name != "pocket" else model.label
        ready = [replace(one, clip=clip) for one in found]
        result.before.extend(row for one in ready for row in one.before(label))
        work = []
        for one in ready:
            sets = [[c] for c in one.forget] + [one.forget] * (len(one.forget) > 1)
            work += [(one, case, method) for case in map(one.case.forgetting, sets) for method in methods]
        for one, case, method in _show.progress(work, what=label, unit="edit"):
            result.rows.append(_row(label, one, ready, case, method, seed))
    return result


@dataclass(eq=False)
class Found:
    """A data set that is there, from where, its forget classes, the `Clip` that sees its pictures."""

    spec: ProtocolData
    data: LabelledImages | Embeddings
    source: str
    forget: list[int]
    clip: Any = None

    def pictures(self, **options: Any) -> LabelledImages:
        """Drawn ones as large as the model looks; ``options`` go before the protocol's own."""
        size = {"size": self.clip.image_size} if self.source in DRAWN else {}
        return registry.load(self.source, **{**self.spec.options, **options, **size})

    @cached_property
    def case(self) -> Case:
        """It forgets the first class until told otherwise."""
        data = self.pictures() if self.source in DRAWN else self.data
        if isinstance(data, Embeddings):
            Z, T = data.Z, data.T
        else:
            Z, T = self.clip.embed_images(data.images), self.clip.embed_text(data.classes, data.templates)
        return Case(Z, T, data.labels, self.forget[:1], data.classes)

    @cached_property
    def training(self) -> Case:
        """At most 16 training images per class, none of them among the test images."""
        classes, data = self.case.classes, self.pictures(**self.spec.train)
        if data.classes != classes:
            raise ValueError(f"{self.source}: its training split has other classes, want the same ones")
        # a clean drawing (scene 0) is the same picture for every seed: leave it to the test
        usable = (data.scene > 0) | (not data.scene.any())
        picked = torch.cat([(usable & (data.labels == c)).nonzero()[:16, 0] for c in range(len(classes))])
        Z = self.clip.embed_images(data.images[picked])
        return Case(Z, self.case.T, data.labels[picked], self.case.forget, classes)

    def accuracy(self, edit: Edit | None = None, side: Side = "image") -> float:
        """Accuracy on all classes (fraction), after an edit if there is one."""
        after = self.case.evaluate(edit, side).predicted_after if edit else self.case.predicted
        return _check.share(after == self.case.labels)

    def before(self, model: str) -> list[BeforeRow]:
        """Accuracy before forgetting, measured and published, for each forget class and for all."""
        right = self.case.predicted
        alone = [self.case.forgetting([c]) for c in self.forget]
        measured = [(int(case.gone.sum()), case.recall(right), case.accuracy(right)) for case in alone]
        rows = zip(self.spec.published(model), [*measured, (len(right), None, self.accuracy())], strict=True)
        return [row._replace(images=n, forget=forget, retain=retain) for row, (n, forget, retain) in rows]

    def differences(self) -> list[str]:
        """How the data differ from the published ones, as far as it can be seen from here."""
        spec, n = self.spec, len(self.data.classes)
        another = self.source.partition(":")[0] != spec.sources[0].partition(":")[0]
        read = f"{spec.name}: read from {self.source}, which is not the protocol's split"
        count = f"{spec.name}: {n} candidate classes, not {spec.n_classes}"
        return [read] * another + [count] * (spec.n_classes not in (None, n))


def find_data(protocol: Protocol) -> list[Found]:
    root = str(_files.path("root", protocol.root or registry.ROOT))
    found = [_first(spec, root) for spec in protocol.data]
    if missing := [one for one in found if isinstance(one, str)]:
        raise ValueError(f"data: not found are {'; '.join(missing)}; another folder is root= (--root)")
    return [one for one in found if isinstance(one, Found)]


def _first(spec: ProtocolData, root: str) -> Found | str:
    """The first source of a data set that can be used, or what is the matter with the best of them."""
    problems: list[str] = []
    bare: dict[str, Any] = {"embeddings": embeddings, "arrays": load_arrays}
    for named in spec.sources:
        kind, colon, path = named.replace("{root}", root).partition(":")
        if "*" in path:  # in the file's name
            path = str(min(Path(path).parent.glob(Path(path).name), default=path))
        source = kind + colon + path
        try:
            data: Any = bare[kind](path) if kind in bare else registry.load(source, **spec.options)
            # a WordNet id before the name is none of it, nor is its case
            names = [re.sub(r"^n\d{8}[- ]", "", name).lower() for name in data.classes]
            forget = _check.class_indices("forget", [c.lower() for c in spec.forget], len(names), names)
            return Found(spec, data, source, forget)
        except ValueError as error:
            here = kind == "embeddings" or Path(path).exists()
            said = f"{spec.name}: {error}" if here else f"{spec.name}, want it at {path}"
            # what is there and cannot be used says more than what is not there
            problems.insert(0 if here and path != root else len(problems), said)
    return problems[0]


def _row(model: str, one: Found, ready: Sequence[Found], case: Case, method: str, seed: int) -> ResultRow:
    edit, side, seconds = _made(method, one, case, seed)
    report = candidate_masking(case) if edit is None else case.evaluate(edit, side)
    others = {o.spec.name: Change(o.accuracy(), o.accuracy(edit, side)) for o in ready if o is not one}
    full = Change(report.forget_before, report.forget_after)
    retain = Change(report.retain_before, report.retain_after)
    parts, largest = score_parts(full, retain, [*others.values()]), math.nan
    if edit is not None:
        largest = float(certificate(edit, case.T_f, case.T_r, "text" if side == "text" else "image").max())
    return ResultRow(
        model, one.spec.name, case.forget_names, method, side, full,
        report.n_way, report.search, retain, others, largest, parts, seconds,
    )  # fmt: skip


def _made(method: str, one: Found, case: Case, seed: int) -> tuple[Edit | None, Side, float]:
    """The method's edit (none where it only masks names), its side, seconds."""
    if method not in BASELINES:
        start = time.perf_counter()
        edit = None if method == MASKING else METHODS[method].make(case.T_f, case.T_r, seed=seed)
        return edit, "image", time.perf_counter() - start
    if method == "lora":
        empty = one.clip.tokenizer([""]).to(one.clip.device)
        with torch.inference_mode():
            goal = one.clip.model.encode_text(empty, normalize=True).float().cpu()
        train = partial(lora_forgetting, case.T_f, case.T_r, goal, seed=seed)
    else:
        train = partial(gradient_forgetting, one.training.forgetting(case.forget), scale=one.clip.logit_scale)
    best = tuned(train, GRIDS[method])
    return best.edit, best.side, best.seconds
