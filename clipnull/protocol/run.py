"""Run a protocol: every model, data set, forget set and method."""

from __future__ import annotations

import importlib.metadata
import itertools
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clipnull import _check
from clipnull.erasers import METHODS, Edit
from clipnull.evaluation import Evaluator, drop_label
from clipnull.model.clip import Clip
from clipnull.model.loading import load as load_clip
from clipnull.protocol import baselines
from clipnull.protocol.baselines import BASELINES, GRIDS
from clipnull.protocol.find import _find, _Found, _one_file, _open, _root
from clipnull.protocol.published import ALL, DROP, POCKET, SHOTS, Protocol, ProtocolModel
from clipnull.protocol.result import ACCURACIES, ProtocolResult, _ratio
from clipnull.protocol.score import protocol_score

__all__ = ["run_protocol"]


@dataclass(frozen=True)
class _Ready:
    """A data set, embedded."""

    found: _Found
    T: torch.Tensor
    evaluator: Evaluator
    before: float

    @property
    def name(self) -> str:
        return self.found.spec.name


def run_protocol(
    protocol: Protocol = POCKET,
    *,
    root: str | Path | None = None,
    models: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    progress: bool | None = None,
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
    device : str or torch.device, optional
        For the models, as in `clipnull.load`.
    seed : int
        For the random control and the trained baselines.
    progress : bool, optional
        A progress bar on stderr; by default after two seconds, and never under a test runner or
        with the environment variable ``CLIPNULL_NO_PROGRESS``.

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
    score (`clipnull.protocol_score`). The score is NaN where nothing was recognised before.
    """
    methods = list(protocol.methods if methods is None else methods)
    for method in methods:
        _check.one_of("methods", method, [*METHODS, DROP, *BASELINES])
    _check.one_of("retain", protocol.retain, ["same", "all"])
    used = _pick("models", protocol.models, [m.label for m in protocol.models], models)
    specs = _pick("data", protocol.data, [d.name for d in protocol.data], data)
    protocol = replace(protocol, models=tuple(used), data=tuple(specs), root=_root(protocol, root))
    found, notes = _find(protocol, required=data is not None)
    before: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for model in protocol.models:
        mine, new = _run_model(protocol, model, found, methods, device, seed, progress)
        before += mine
        rows += new
    about = {
        "methods": methods,
        "retain": protocol.retain,
        "tolerance": protocol.tolerance,
        "seed": seed,
        "models": {m.label: [m.name, m.pretrained] for m in protocol.models},
        "data": {f.spec.name: f.source for f in found},
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "open_clip_torch")},
    }
    return ProtocolResult(protocol.name, before, rows, notes, about)


def _pick(argument: str, items: Sequence[Any], names: list[str], wanted: Sequence[str] | None) -> list[Any]:
    """The items with the names wanted, or all; a ValueError names an unknown one."""
    wanted = names if wanted is None else [_check.one_of(argument, name, names) for name in wanted]
    if not wanted:
        raise ValueError(f"{argument}: got none, want at least one of {', '.join(names)}")
    return [items[names.index(name)] for name in dict.fromkeys(wanted)]


def _run_model(
    protocol: Protocol,
    model: ProtocolModel,
    found: Sequence[_Found],
    methods: Sequence[str],
    device: str | torch.device | None,
    seed: int,
    progress: bool | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    clip = load_clip(model.name, model.pretrained, device=device)
    if model.name is None and clip.name != "pocket":  # CLIPNULL_MODEL
        model = replace(model, label=clip.name)
    ready = [_embed(clip, one, progress) for one in found]
    before = [row for one in ready for row in _before(protocol, model, one)]
    train = _Trainer(clip, seed, progress)
    sets = [(one, index) for one in ready for index in _forget_sets(one.found.forget, protocol.joint)]
    rows = []
    for (one, index), method in _bar(list(itertools.product(sets, methods)), model.label, progress):
        rows.append({"model": model.label, **_row(protocol, one, ready, index, method, train, seed)})
    return before, rows


def _bar(items: Sequence[Any], what: str, progress: bool | None) -> Iterable[Any]:
    silent = {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    if progress is False or (progress is None and silent):
        return items
    from tqdm.auto import tqdm

    return tqdm(items, desc=what, unit="edit", delay=0.0 if progress else 2.0, leave=False, file=sys.stderr)


def _embed(clip: Clip, one: _Found, progress: bool | None) -> _Ready:
    if one.source in ("twemoji", "openmoji"):  # drawn as large as the model looks
        one = _open(one.spec, one.source, one.root, size=clip.image_size)
    data = one.data
    T = clip.embed_text(data.classes, list(one.spec.templates) or data.templates)
    evaluator = Evaluator(clip.embed_images(data.images, progress=progress), T, data.labels, data.classes)
    right = (evaluator.predicted_before == evaluator.labels).double()
    return _Ready(one, T, evaluator, float(right.mean()))


def _forget_sets(forget: list[int], joint: bool) -> list[list[int]]:
    return [[c] for c in forget] + ([forget] if joint and len(forget) > 1 else [])


def _row(
    protocol: Protocol,
    one: _Ready,
    ready: Sequence[_Ready],
    index: list[int],
    method: str,
    train: _Trainer,
    seed: int,
) -> dict[str, Any]:
    """One forget set, one method: accuracies (fractions), score, seconds."""
    T, others = one.T, [o for o in ready if o is not one]
    gone = set(index)
    keep = [T[[c for c in range(len(T)) if c not in gone]]]
    if protocol.retain == "all":
        keep += [o.T for o in others]
    edit, side, seconds, info = _edit(method, one, index, torch.cat(keep), train, seed)
    if edit is None:
        report = drop_label(one.evaluator.Z, T, one.evaluator.labels, index, one.evaluator.classes)
    else:
        report = one.evaluator.report(index, edit, side)
    after = {o.name: o.before if edit is None else _full(o, edit, side) for o in others}
    pairs = {o.name: [o.before, after[o.name]] for o in others}
    scored = [(o.before, after[o.name]) for o in others if not o.found.spec.extra]
    figures = {k: float(getattr(report, k)) for k in ACCURACIES}
    known = report.forget_before > 0 and report.retain_before > 0 and all(b > 0 for b, _ in scored)
    return {
        "data": one.name,
        "forget": [list(one.found.spec.forget)[one.found.forget.index(c)] for c in index],
        "joint": len(index) > 1,
        "method": method,
        "side": side,
        **figures,
        "others": pairs,
        "score": protocol_score(**figures, others=scored) if known else math.nan,
        "parts": _parts(figures, scored) if known else [math.nan] * 3,
        "seconds": seconds,
        **info,
    }


def _parts(figures: Mapping[str, float], others: Sequence[tuple[float, float]]) -> list[float]:
    """What forgetting, retaining and the other data sets contribute to the score; they add up to it."""
    n = 2 + len(others)
    retain = (figures["retain_before"], figures["retain_after"])
    drops = [max(0.0, 1 - _ratio(*pair)) for pair in [retain, *others]]
    return [figures["forget_after"] / figures["forget_before"] / n, drops[0] / n, sum(drops[1:]) / n]


def _full(one: _Ready, edit: Edit, side: str) -> float:
    right = one.evaluator.predict(edit, side) == one.evaluator.labels
    return float(right.double().mean())


def _edit(
    method: str, one: _Ready, index: list[int], T_r: torch.Tensor, train: _Trainer, seed: int
) -> tuple[Edit | None, str, float, dict[str, Any]]:
    """The edit of a method, the side it is for, the seconds it took, and what tuning took."""
    if method == DROP:
        return None, "image", 0.0, {}
    if method in BASELINES:
        run = train(method, one, index)
        return run.edit, run.side, run.seconds, {"tuning_seconds": run.tuning_seconds, "tried": run.tried}
    start = time.perf_counter()
    edit = METHODS[method].make(one.T[index], T_r, seed=seed)
    return edit, "image", time.perf_counter() - start, {}


class _Trainer:
    """The trained baselines, tuned over `GRIDS`; training images are embedded when first needed."""

    def __init__(self, clip: Clip, seed: int, progress: bool | None) -> None:
        self.clip, self.seed, self.progress = clip, seed, progress
        self.features: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.empty: torch.Tensor | None = None

    def __call__(self, method: str, one: _Ready, index: list[int]) -> baselines.Trained:
        grid = GRIDS[method]
        if method == "lora":
            if self.empty is None:
                self.empty = _empty_prompt(self.clip)
            args = (one.T, index, self.empty)
            return baselines.tuned(baselines.lora_forgetting, *args, grid=grid, seed=self.seed)
        if one.name not in self.features:
            self.features[one.name] = self._images(one.found)
        Z, labels = self.features[one.name]
        scale = self.clip.logit_scale
        return baselines.tuned(baselines.gradient_forgetting, Z, one.T, labels, index, grid=grid, scale=scale)

    def _images(self, found: _Found) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and labels of at most `SHOTS` training images a class."""
        options = dict(found.spec.train)
        if found.source in ("twemoji", "openmoji"):
            options["size"] = self.clip.image_size
        data = _open(found.spec, found.source, found.root, **options).data
        if data.classes != found.data.classes:
            raise ValueError(f"{found.source}: its training split has other classes, want the same ones")
        # a clean drawing (scene 0) is the same picture for every seed: leave it to the test
        usable = data.scene > 0 if bool(data.scene.any()) else torch.ones(len(data), dtype=torch.bool)
        rows = [
            r for c in range(len(data.classes)) for r in (usable & (data.labels == c)).nonzero()[:SHOTS, 0]
        ]
        picked = torch.stack(rows)
        return self.clip.embed_images(data.images[picked], progress=self.progress), data.labels[picked]


def _empty_prompt(clip: Clip) -> torch.Tensor:
    """Embedding [d] of the empty prompt "", unit length."""
    with torch.inference_mode():
        tokens = clip.tokenizer([""]).to(clip.device)
        return clip.model.encode_text(tokens, normalize=True)[0].float().cpu()


def _before(protocol: Protocol, model: ProtocolModel, one: _Ready) -> list[dict[str, Any]]:
    """Accuracy before forgetting, measured and published, for each forget class and for all."""
    spec, labels = one.found.spec, one.evaluator.labels
    right = (one.evaluator.predicted_before == labels).double()
    general = _why(protocol, model, one.found)
    rows = []
    for name, c in zip(spec.forget, one.found.forget, strict=True):
        own, published = labels == c, spec.forget[name].get(model.label)
        n, recall = int(own.sum()), _mean(right[own])
        reasons = list(general)
        if (written := one.found.data.classes[c]) != name:
            reasons.insert(0, f"the data set writes {written!r}, and so does the prompt")
        if (
            published
            and abs(100 * recall - published[0]) > protocol.tolerance
            and 100 / n > protocol.tolerance
        ):
            reasons.insert(0, f"one of its {n} pictures is {100 / n:.1f} points")
        row = {"model": model.label, "data": spec.name, "class": name, "images": n}
        row |= {"forget": recall, "retain": _mean(right[~own])}
        rows.append(_compared(row, published, protocol.tolerance, reasons))
    row = {"model": model.label, "data": spec.name, "class": ALL, "images": len(labels)}
    row |= {"forget": None, "retain": one.before}
    full = spec.full.get(model.label)
    rows.append(_compared(row, None if full is None else (None, full), protocol.tolerance, general))
    return rows


def _mean(x: torch.Tensor) -> float:
    return float(x.mean()) if len(x) else math.nan


def _why(protocol: Protocol, model: ProtocolModel, found: _Found) -> list[str]:
    """What differs from the published setting, as far as it can be seen from here."""
    spec, reasons = found.spec, []
    own = _one_file(spec.sources[0].format(root=found.root))
    if found.source != own:
        reasons.append(f"the pictures are those of {found.source}, not of the protocol's split")
    if spec.n_classes not in (None, len(found.data.classes)):
        reasons.append(f"there are {len(found.data.classes)} candidate classes, not {spec.n_classes}")
    if model.pretrained != protocol.weights:
        weights = model.pretrained or model.name or "the default model's"
        reasons.append(f"the weights are {weights}, not {protocol.weights}")
    return reasons


def _compared(
    row: dict[str, Any],
    published: tuple[float | None, float] | None,
    tolerance: float,
    reasons: list[str],
) -> dict[str, Any]:
    """The row with the published figures (percent), the points between, and why that may be."""
    figures = dict(zip(("forget", "retain"), published or (None, None), strict=True))
    gaps = [abs(100 * row[k] - p) for k, p in figures.items() if p is not None]
    apart = max(gaps, default=None)
    # NaN, a class without pictures, is apart from any figure; rounding to two decimals is not
    differs = apart is not None and not apart <= tolerance + 0.005
    why = reasons or ["the decoding and resizing of pictures differs between versions"]
    published_figures = {f"published_{k}": p for k, p in figures.items()}
    return {**row, **published_figures, "apart": apart, "why": "; ".join(why) if differs else ""}
