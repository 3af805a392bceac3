"""The protocols as data: models, data sets, classes to forget, published figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from clipnull._show import Table
from clipnull.datasets.pictures import FLOWER, PHOTO
from clipnull.erasers import METHODS

__all__ = ["KRAVETS", "POCKET", "Protocol", "ProtocolData", "ProtocolModel"]

DROP, ALL = "drop the label", "all classes"


def figure(percent: float | None) -> str:
    """Percent with two decimals, as the figures were published."""
    return "–" if percent is None or math.isnan(percent) else f"{percent:.2f}"


def pair(percents: Sequence[float | None] | None) -> str:
    """Forget / retain accuracy."""
    return "–" if percents is None else " / ".join(map(figure, percents))


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
        Names for `clipnull.datasets.load`, ``{root}`` standing for the folder of the data; the first one
        found is used. The first of all is the protocol's own split.
    forget : dict of str to dict
        Forget class -> model label -> published (forget, retain) before forgetting, in percent.
    full : dict of str to float
        Model label -> published accuracy on all classes, in percent.
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
        Keys of `clipnull.METHODS` or `clipnull.protocol.BASELINES`, or ``"drop the label"``.
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
    retain: Literal["same", "all"] = "same"
    tolerance: float = 1.0
    weights: str = "openai"
    root: str | None = None

    @property
    def scored(self) -> list[str]:
        """Names of the data sets that a score is made of."""
        return [data.name for data in self.data if not data.extra]

    def published(self) -> Table:
        """The published figures before forgetting, forget / retain in percent, a row per class."""
        labels = list(dict.fromkeys(m for d in self.data for m in d.full))
        rows = []
        for data in self.data:
            rows += [
                [data.name, name, *(pair(figures.get(m)) for m in labels)]
                for name, figures in data.forget.items()
                if figures
            ]
            if data.full:
                rows.append([data.name, ALL, *(figure(data.full.get(m)) for m in labels)])
        caption = f"{self.name}: published accuracy before forgetting, forget / retain, %"
        return Table(["data set", "class", *labels], rows, caption, left=2)


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
