"""The Kravets-Namboodiri protocol: forget a few classes of each of several data sets, look at all of them.

One code path, `run_protocol`, takes a `Protocol`: `KRAVETS` is the published one, which needs its
data sets on disk and OpenAI's weights; `POCKET` is the same in miniature, with PocketCLIP and
drawings, and needs nothing. Edits come from names; other data sets are only looked at.

References
----------
Kravets and Namboodiri, WACV 2025, arXiv 2407.07485: data sets, forget classes, prompts, metrics,
score and figures before forgetting. Forgetting the classes jointly is from the TMLR 2025 paper on
text-image space adaptation.
"""

from __future__ import annotations

import csv
import html
import importlib.metadata
import itertools
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from clipnull import _check, baselines, datasets, models
from clipnull.baselines import BASELINES, GRIDS
from clipnull.datasets import FLOWER, PHOTO, LabelledImages
from clipnull.erasers import METHODS, Edit
from clipnull.evaluate import Evaluator, drop_label, protocol_score

__all__ = [
    "KRAVETS",
    "POCKET",
    "Protocol",
    "ProtocolData",
    "ProtocolModel",
    "ProtocolResult",
    "Table",
    "chosen",
    "match_class",
    "run_protocol",
]

DROP, ALL = "drop the label", "all classes"
#: most training images a class for the trained baseline that needs images
SHOTS = 16
ACCURACIES = ("forget_before", "forget_after", "retain_before", "retain_after")


# --- what is run ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ProtocolModel:
    """A model of the protocol: its label in tables, and what `clipnull.load` is asked for."""

    label: str
    name: str | None = None
    pretrained: str | None = None


@dataclass(frozen=True)
class ProtocolData:
    """A data set of the protocol, its forget classes, and what was published about them.

    Attributes
    ----------
    name : str
    sources : tuple of str
        Names for `clipnull.datasets.load`, ``{root}`` standing for the folder of the data; the
        first one found is used. The first of all is the protocol's own split.
    forget : dict of str to dict
        Forget class -> model label -> published (forget, retain) before forgetting, in percent.
    full : dict of str to float
        Model label -> published full accuracy, in percent.
    templates : tuple of str
        Prompts; empty: those that come with the data.
    n_classes : int or None
        How many classes the protocol has.
    options, train : dict
        For `clipnull.datasets.load`: always, and for the training images of a baseline.
    extra : bool
        Looked at where it is there, left out where not, and not among the others in a score.
    """

    name: str
    sources: tuple[str, ...]
    forget: Mapping[str, Mapping[str, tuple[float, float]]]
    full: Mapping[str, float] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    n_classes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    extra: bool = False


@dataclass(frozen=True)
class Protocol:
    """What `run_protocol` runs.

    Attributes
    ----------
    name : str
    models, data : tuple
    methods : tuple of str
        Keys of `clipnull.METHODS` or `clipnull.baselines.BASELINES`, or ``"drop the label"``.
    joint : bool
        Forget the classes of a data set also all at once.
    retain : {"same", "all"}
        Which names an edit is told to keep: the other ones of the data set, or those of the
        other data sets too.
    tolerance : float
        Points between published and measured accuracy before forgetting that need a word.
    weights : str
        Tag of the weights that the published figures belong to.
    root : str or None
        Folder of the data; `clipnull.datasets.ROOT` when None.
    """

    name: str
    models: tuple[ProtocolModel, ...]
    data: tuple[ProtocolData, ...]
    methods: tuple[str, ...] = (*METHODS, DROP)
    joint: bool = True
    retain: str = "same"
    tolerance: float = 1.0
    weights: str = "openai"
    root: str | None = None

    def published(self) -> Table:
        """The published figures before forgetting, forget / retain in percent, a row a class."""
        labels = list(dict.fromkeys(m for d in self.data for m in d.full))
        rows = []
        for data in self.data:
            rows += [
                [data.name, name, *(_pair(figures.get(m)) for m in labels)]
                for name, figures in data.forget.items()
                if figures
            ]
            if data.full:
                rows.append([data.name, ALL, *(_figure(data.full.get(m)) for m in labels)])
        caption = f"{self.name}: published accuracy before forgetting, forget / retain, %"
        return Table(["data set", "class", *labels], rows, caption)


def _kravets(
    name: str,
    sources: Sequence[str],
    n_classes: int,
    full: Sequence[float],
    forget: Mapping[str, Sequence[float]],
    templates: Sequence[str] = PHOTO,
) -> ProtocolData:
    """A data set with its published figures: full (RN50, ViT-B/16); forget, retain of each in turn."""
    both = ("RN50", "ViT-B/16")
    figures = {c: dict(zip(both, [(v[0], v[1]), (v[2], v[3])], strict=True)) for c, v in forget.items()}
    full_of = dict(zip(both, full, strict=True))
    train = {"split": "train"}
    return ProtocolData(name, tuple(sources), figures, full_of, tuple(templates), n_classes, train=train)


#: the published protocol (figures: arXiv 2407.07485); Tiny-ImageNet and its classes are ours
KRAVETS = Protocol(
    "Kravets-Namboodiri protocol",
    (
        ProtocolModel("RN50", "RN50-quickgelu", "openai"),
        ProtocolModel("ViT-B/16", "ViT-B-16-quickgelu", "openai"),
    ),
    (
        _kravets("StanfordDogs", ["coop:{root}/stanford_dogs/split_*.json", "dogs:{root}"],
                 120, (51.68, 59.13), {
            "Pekinese": (70.49, 51.54, 78.69, 58.98),
            "toy poodle": (57.38, 51.64, 60.66, 59.12),
            "Scotch terrier": (50.00, 51.69, 62.50, 59.10),
        }),
        _kravets("StanfordCars", ["coop:{root}/stanford_cars/split_zhou_StanfordCars.json", "cars:{root}"],
                 196, (55.76, 65.53), {
            "2009 Spyker C8 Coupe": (26.19, 55.92, 42.86, 65.65),
            "2010 Dodge Ram Pickup 3500 Crew Cab": (40.48, 55.84, 54.76, 65.58),
            "2011 Ford Ranger SuperCab": (52.38, 55.78, 80.95, 65.45),
        }),
        _kravets("Caltech101", ["coop:{root}/caltech-101/split_zhou_Caltech101.json", "caltech101:{root}"],
                 100, (85.72, 93.31), {
            "euphonium": (78.95, 85.77, 100.0, 93.25),
            "minaret": (82.61, 85.75, 91.30, 93.33),
            "platypus": (90.00, 85.70, 100.0, 93.28),
        }),
        _kravets("OxfordFlowers", ["coop:{root}/oxford_flowers/split_zhou_OxfordFlowers.json",
                                   "flowers102:{root}"], 102, (66.06, 70.77), {
            "gazania": (95.65, 65.78, 100.0, 70.49),
            "tree mallow": (100.0, 65.82, 76.47, 70.73),
            "trumpet creeper": (58.82, 66.11, 58.82, 70.85),
        }, FLOWER),
        ProtocolData("Tiny-ImageNet", ("tiny-imagenet:{root}",),
                     {"goldfish": {}, "school bus": {}, "pizza": {}}, templates=tuple(PHOTO),
                     n_classes=200, train={"split": "train"}, extra=True),
    ),
)  # fmt: skip


def _pocket(category: str, *forget: str) -> ProtocolData:
    options, train = {"subset": category, "scenes": 4}, {"seed": 1, "scenes": 3}
    return ProtocolData(category, ("twemoji",), {c: {} for c in forget}, options=options, train=train)


#: the same in miniature: PocketCLIP on the drawings of four categories; names chosen before measuring
POCKET = Protocol(
    "The protocol in miniature",
    (ProtocolModel("PocketCLIP"),),
    (
        _pocket("animals-nature", "tiger", "penguin", "cactus"),
        _pocket("food-drink", "pizza", "lemon", "cookie"),
        _pocket("travel-places", "airplane", "rainbow", "house"),
        _pocket("activities", "trophy", "balloon", "basketball"),
    ),
)


def chosen() -> tuple[Protocol, str]:
    """The protocol that the environment variable ``CLIPNULL_PROTOCOL`` asks for, if all it needs is there.

    ``full`` or ``full:FOLDER`` (the folder of the data sets) asks for `KRAVETS`; anything else, or
    nothing, is `POCKET`. What is missing makes it `POCKET` too.

    Returns
    -------
    Protocol, and one sentence that says which one it is and why.
    """
    asked, _, root = os.environ.get("CLIPNULL_PROTOCOL", "").partition(":")
    if asked != "full":
        return POCKET, "This is the miniature: CLIPNULL_PROTOCOL=full asks for the published one."
    protocol = replace(KRAVETS, root=root or None)
    try:
        _find(protocol)
        for model in protocol.models:
            models.load(model.name, model.pretrained, device="cpu")
    except ValueError as problem:
        return POCKET, f"This is the miniature, because not all is there. {problem}."
    return protocol, "This is the published protocol: data sets and weights are all here."


# --- names of classes ----------------------------------------------------------------------


def match_class(name: str, classes: Sequence[str]) -> int:
    """Index of the class that ``name`` means, although a data set may spell it another way.

    Compared are, in this order: the names as they are; their words, without case, punctuation and
    a WordNet id; the same words in any order; the words before a first comma (synonyms follow it).

    Parameters
    ----------
    name : str
        As the protocol has it.
    classes : sequence of str

    Raises
    ------
    ValueError
        No class matches, or several do at the first step that finds any.

    Examples
    --------
    >>> match_class("2009 Spyker C8 Coupe", ["Audi TT 2011", "Spyker C8 Coupe 2009"])
    1
    >>> match_class("toy poodle", ["n02113624-toy_poodle", "n02113712-miniature_poodle"])
    0
    """
    first = name.partition(",")[0]
    steps: list[tuple[str, Callable[[str], Any]]] = [
        (name, lambda c: c),
        (name, _words),
        (name, lambda c: sorted(_words(c))),
        (first, lambda c: sorted(_words(c.partition(",")[0]))),
    ]
    for wanted, spell in steps:
        found = [i for i, c in enumerate(classes) if spell(c) == spell(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f"name: {name!r} may be any of {', '.join(repr(classes[i]) for i in found)}, want one class"
            )
    near = ", ".join(map(repr, _check.closest(name, classes)))
    raise ValueError(f"name: no class is {name!r}; the closest are {near}")


def _words(name: str) -> list[str]:
    """Lower-case words of a name.

    >>> _words("n02097298-Scotch_terrier"), _words("jack-o'-lantern")
    (['scotch', 'terrier'], ['jack', 'o', 'lantern'])
    """
    plain = re.sub(r"^n\d{8}[-_ ]", "", name)
    return re.findall(r"\w+", plain.replace("_", " ").lower())


# --- the run -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A data set of the protocol that is there."""

    spec: ProtocolData
    data: LabelledImages
    source: str
    root: str
    forget: list[int]


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


def _root(protocol: Protocol, root: str | Path | None = None) -> str:
    return str(Path(root or protocol.root or datasets.ROOT).expanduser())


def _find(protocol: Protocol, required: bool = False) -> tuple[list[_Found], list[str]]:
    """The data sets with their forget classes, and notes; a ValueError names all that are missing."""
    found, missing, notes = [], [], []
    for spec in protocol.data:
        place, problems, one = _root(protocol), [], None
        for source in (_one_file(s.format(root=place)) for s in spec.sources):
            try:
                one = _open(spec, source, place)
                break
            except ValueError as error:
                problems.append((source.partition(":")[2], str(error)))
        if one is not None:
            found.append(one)
            continue
        # what is there and cannot be used says more than what is not there
        path, said = next((p for p in problems if p[0] != place and Path(p[0]).exists()), problems[0])
        what = f"{spec.name}: {said}" if Path(path).exists() else f"{spec.name}, want it at {path}"
        if spec.extra and not required:
            notes.append(f"Left out is {what}.")
        else:
            missing.append(what)
    if missing:
        raise ValueError(f"data: not found are {'; '.join(missing)}; root= (--root) names another folder")
    return found, notes


def _one_file(source: str) -> str:
    """``source`` with a ``*`` in its file's name filled in, where there is such a file."""
    kind, colon, path = source.partition(":")
    found = sorted(Path(path).parent.glob(Path(path).name)) if "*" in path else []
    return f"{kind}{colon}{found[0]}" if found else source


def _open(spec: ProtocolData, source: str, root: str, **options: Any) -> _Found:
    data = datasets.load(source, **{**spec.options, **options})
    try:
        forget = [match_class(c, data.classes) for c in spec.forget]
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return _Found(spec, data, source, root, forget)


def _run_model(
    protocol: Protocol,
    model: ProtocolModel,
    found: Sequence[_Found],
    methods: Sequence[str],
    device: str | torch.device | None,
    seed: int,
    progress: bool | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    clip = models.load(model.name, model.pretrained, device=device)
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


def _embed(clip: models.Clip, one: _Found, progress: bool | None) -> _Ready:
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

    def __init__(self, clip: models.Clip, seed: int, progress: bool | None) -> None:
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


def _empty_prompt(clip: models.Clip) -> torch.Tensor:
    """Embedding [d] of the empty prompt "", unit length."""
    with torch.inference_mode():
        tokens = clip.tokenizer([""]).to(clip.device)
        return clip.model.encode_text(tokens, normalize=True)[0].float().cpu()


# --- against the published figures ---------------------------------------------------------


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


# --- what comes back -----------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Cells of text with a heading; shows itself in Jupyter and in a terminal.

    Attributes
    ----------
    head : list of str
    rows : list of list of str
    caption : str
    """

    head: list[str]
    rows: list[list[str]]
    caption: str = ""

    def _words(self) -> list[bool]:
        """Whether a column holds words; columns of figures are set to the right."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.head))]
        return [not all(map(_is_figure, column)) for column in columns]

    def __str__(self) -> str:
        cells = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        left = self._words()
        lines = [self.caption] if self.caption else []
        for row in cells:
            padded = [
                c.ljust(w) if word else c.rjust(w) for c, w, word in zip(row, widths, left, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Iterable[str]) -> str:
            sides = ["left" if left else "right" for left in self._words()]
            styled = [f"<{tag} style='text-align:{s}'>" for s in sides]
            inner = [f"{start}{html.escape(c)}</{tag}>" for start, c in zip(styled, cells, strict=True)]
            return f"<tr>{''.join(inner)}</tr>"

        caption = f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>"
        body = "".join(row("td", r) for r in self.rows)
        return f"<table>{caption}<thead>{row('th', self.head)}</thead><tbody>{body}</tbody></table>"


def _is_figure(cell: str) -> bool:
    return re.fullmatch(r"[-+–\d. /]+(ms|s)?", cell) is not None


def _figure(percent: float | None) -> str:
    return "–" if percent is None or math.isnan(percent) else f"{percent:.2f}"


def _pair(percents: Sequence[float | None] | None) -> str:
    return "–" if percents is None else " / ".join(map(_figure, percents))


def _seconds(s: float) -> str:
    """A time with its unit."""
    return f"{1000 * s:.1f} ms" if s < 1 else f"{s:.1f} s"


@dataclass(frozen=True)
class ProtocolResult:
    """What `run_protocol` measured. Shows itself as two tables; accuracies are fractions inside.

    Attributes
    ----------
    name : str
    before : list of dict
        A row a model, data set and forget class, and one for all classes: forget, retain
        (fractions), published_forget, published_retain (percent), apart (points), why.
    rows : list of dict
        A row a model, data set, forget set and method: forget (names), joint, side, the four
        accuracies, others {data set: [before, after]}, score and its three parts (forget, retain,
        others), seconds; tuning_seconds and tried for what was trained.
    notes : list of str
        What was left out.
    about : dict
        Methods, models, sources of the data, versions.
    """

    name: str
    before: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def where(self, **match: Any) -> list[dict[str, Any]]:
        """The rows whose entries equal ``match``."""
        return [r for r in self.rows if all(r[k] == v for k, v in match.items())]

    def comparison(self) -> Table:
        """Before forgetting: forget / retain measured and, where there are figures, published."""
        head = ["model", "data set", "class", "pictures", "measured"]
        rows = [
            [r["model"], r["data"], r["class"], str(r["images"]), _pair(_percents(r))] for r in self.before
        ]
        if any(r["apart"] is not None for r in self.before):
            head += ["published", "points apart"]
            for row, r in zip(rows, self.before, strict=True):
                row += [_pair((r["published_forget"], r["published_retain"])), _figure(r["apart"])]
        return Table(head, rows, f"{self.name}: before forgetting, forget / retain, %")

    def remarks(self) -> list[str]:
        """A sentence for each figure that is further from the published one than the tolerance."""
        return [
            f"{r['model']}, {r['data']}, {r['class']}: {_figure(r['apart'])} points from the published "
            f"figure; why that may be: {r['why']}."
            for r in self.before
            if r["why"]
        ]

    def summary(self) -> list[dict[str, Any]]:
        """Means over forget sets, a row a model, kind of forget set and method.

        Returns
        -------
        list of dict
            model, joint, method, sets, forget_before, forget_after (fractions), retained, others
            (after over before), score, parts (its three parts), seconds (tuning included). Means
            skip NaN.
        """
        out = []
        for model, joint, method in dict.fromkeys((r["model"], r["joint"], r["method"]) for r in self.rows):
            rows = self.where(model=model, joint=joint, method=method)
            pairs = [pair for r in rows for pair in r["others"].values()]
            out.append({
                "model": model,
                "joint": joint,
                "method": method,
                "sets": len(rows),
                "forget_before": _average(r["forget_before"] for r in rows),
                "forget_after": _average(r["forget_after"] for r in rows),
                "retained": _average(_ratio(r["retain_before"], r["retain_after"]) for r in rows),
                "others": _average(_ratio(*pair) for pair in pairs),
                "score": _average(r["score"] for r in rows),
                "parts": [_average(part) for part in zip(*(r["parts"] for r in rows), strict=True)],
                "seconds": _average(r.get("tuning_seconds", r["seconds"]) for r in rows),
            })  # fmt: skip
        return sorted(out, key=lambda r: (r["model"], r["joint"]))

    def table(self) -> Table:
        """`summary` as a table."""
        rows = [
            [
                r["model"], "jointly" if r["joint"] else "one at a time", r["method"],
                *(_percent(r[k]) for k in ("forget_before", "forget_after", "retained", "others")),
                "–" if math.isnan(r["score"]) else f"{r['score']:.3f}", _seconds(r["seconds"]),
            ]
            for r in self.summary()
        ]  # fmt: skip
        head = ["model", "classes", "method", "forget BF", "forget AF", "retain AF/BF", "others AF/BF",
                "score", "time"]  # fmt: skip
        return Table(head, rows, f"{self.name}: means over forget sets, %; a low score is good")

    def details(self, **match: Any) -> Table:
        """Every forget set, for the rows that ``match``: accuracies in percent, score."""
        rows = [
            [
                r["model"], r["data"], ", ".join(r["forget"]), r["method"],
                *(_percent(r[k]) for k in ACCURACIES),
                "–" if math.isnan(r["score"]) else f"{r['score']:.3f}",
            ]
            for r in self.where(**match)
        ]  # fmt: skip
        head = ["model", "data set", "forget", "method", "forget BF", "forget AF", "retain BF", "retain AF",
                "score"]  # fmt: skip
        return Table(head, rows, f"{self.name}: each forget set, %")

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON (``.json``), or the rows as CSV (``.csv``).

        Raises
        ------
        ValueError
            Another ending, or a folder that is not there.
        """
        target = Path(path).expanduser()
        if target.suffix.lower() not in (".json", ".csv"):
            raise ValueError(f"path: got {str(path)!r}, want a file name ending in .json or .csv")
        if not target.parent.is_dir():
            raise ValueError(f"path: there is no folder {str(target.parent)!r}")
        half = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if target.suffix.lower() == ".json":
                text = json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False)
                half.write_text(text + "\n", encoding="utf-8")
            else:
                self._write_csv(half)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
        return target

    def _write_csv(self, path: Path) -> None:
        flat = []
        for r in self.rows:
            row = {k: v for k, v in r.items() if k not in ("others", "parts")}
            row["forget"] = "; ".join(r["forget"])
            row |= {f"score, {k}": x for k, x in zip(("forget", "retain", "others"), r["parts"], strict=True)}
            for name, (before, after) in r["others"].items():
                row |= {f"{name} before": before, f"{name} after": after}
            flat.append(row)
        columns = list(dict.fromkeys(k for row in flat for k in row))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(flat)

    def __str__(self) -> str:
        return "\n\n".join([str(self.comparison()), str(self.table()), *self.remarks(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in [*self.remarks(), *self.notes])
        return self.comparison()._repr_html_() + self.table()._repr_html_() + said


def _percents(row: Mapping[str, Any]) -> list[float | None]:
    return [None if row[k] is None else 100 * row[k] for k in ("forget", "retain")]


def _percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _ratio(before: float, after: float) -> float:
    return after / before if before else math.nan


def _average(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _plain(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
