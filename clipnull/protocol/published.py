"""The protocols as data: models, data sets, classes to forget, published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["COCO", "KRAVETS", "POCKET", "BeforeRow", "Protocol", "ProtocolData", "ProtocolModel"]


class BeforeRow(NamedTuple):
    """Recall of a forget class before forgetting (None for all classes), accuracy on the others: fractions.

    The published ones are percent; None is what was not measured, or published; ``images`` are the class's.
    """

    model: str
    data: str
    name: str
    images: int
    forget: float | None
    retain: float | None
    published_forget: float | None = None
    published_retain: float | None = None

    @property
    def apart(self) -> float | None:
        """The larger gap between measured and published, in points; None where either is missing."""
        both = ((self.forget, self.published_forget), (self.retain, self.published_retain))
        return max((abs(100 * x - p) for x, p in both if x is not None and p is not None), default=None)


class ProtocolModel(NamedTuple):
    """A model of the protocol: its label in tables, and what `clipnull.load` is asked for."""

    label: str
    name: str | None = None
    pretrained: str | None = None


@dataclass(frozen=True)
class ProtocolData:
    """A data set of the protocol, its forget classes, and what was published about them, in percent.

    ``sources`` are names for `clipnull.datasets.load`, ``{root}`` standing for the folder of the data: the
    first one found is used, the first of all is the protocol's own split. ``"embeddings:coco"`` and
    ``"arrays:FILE"`` (`clipnull.datasets.load_arrays`) need no pictures. ``forget`` is class -> model label
    -> (forget, retain) before forgetting, ``full`` model label -> accuracy on all classes. ``options`` are
    for `load`, always, and ``train`` for the training images of a baseline.
    """

    name: str
    sources: tuple[str, ...]
    forget: Mapping[str, Mapping[str, tuple[float, float]]]
    full: Mapping[str, float] = field(default_factory=dict)
    n_classes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)

    def published(self, model: str) -> list[BeforeRow]:
        figures = [(c, *by.get(model, (None, None))) for c, by in self.forget.items()]
        figures.append(("all classes", None, self.full.get(model)))
        return [BeforeRow(model, self.name, c, 0, None, None, *published) for c, *published in figures]


@dataclass(frozen=True)
class Protocol:
    """What `run_protocol` runs. ``root`` is the folder of the data; None: where `clipnull.datasets` looks."""

    name: str
    models: tuple[ProtocolModel, ...]
    data: tuple[ProtocolData, ...]
    root: str | None = None

    def published(self) -> list[BeforeRow]:
        """The published figures before forgetting, nothing measured yet."""
        return [row for data in self.data for model in data.full for row in data.published(model)]


def _kravets(
    name: str, own: str, other: str, n_classes: int, full: tuple[float, float], forget: Mapping[str, Any]
) -> ProtocolData:
    """A data set with its published figures: full (RN50, ViT-B/16); forget, retain of each in turn."""
    sources = (f"coop:{{root}}/{own}.json", f"{other}:{{root}}")
    figures = {c: {"RN50": v[:2], "ViT-B/16": v[2:]} for c, v in forget.items()}
    of_all = {"RN50": full[0], "ViT-B/16": full[1]}
    return ProtocolData(name, sources, figures, of_all, n_classes, train={"split": "train"})


#: the published protocol (figures: arXiv 2407.07485)
KRAVETS = Protocol(
    "Kravets-Namboodiri protocol",
    (
        ProtocolModel("RN50", "RN50-quickgelu", "openai"),
        ProtocolModel("ViT-B/16", "ViT-B-16-quickgelu", "openai"),
    ),
    (
        _kravets("StanfordDogs", "stanford_dogs/split_*", "dogs", 120, (51.68, 59.13), {
            "Pekinese": (70.49, 51.54, 78.69, 58.98),
            "toy poodle": (57.38, 51.64, 60.66, 59.12),
            "Scotch terrier": (50.00, 51.69, 62.50, 59.10),
        }),
        _kravets("StanfordCars", "stanford_cars/split_zhou_StanfordCars", "cars", 196, (55.76, 65.53), {
            "2009 Spyker C8 Coupe": (26.19, 55.92, 42.86, 65.65),
            "2010 Dodge Ram Pickup 3500 Crew Cab": (40.48, 55.84, 54.76, 65.58),
            "2011 Ford Ranger SuperCab": (52.38, 55.78, 80.95, 65.45),
        }),
        _kravets("Caltech101", "caltech-101/split_zhou_Caltech101", "caltech101", 100, (85.72, 93.31), {
            "euphonium": (78.95, 85.77, 100.0, 93.25),
            "minaret": (82.61, 85.75, 91.30, 93.33),
            "platypus": (90.00, 85.70, 100.0, 93.28),
        }),
        _kravets("OxfordFlowers", "oxford_flowers/split_zhou_OxfordFlowers", "flowers102",
                 102, (66.06, 70.77), {
            "gazania": (95.65, 65.78, 100.0, 70.49),
            "tree mallow": (100.0, 65.82, 76.47, 70.73),
            "trumpet creeper": (58.82, 66.11, 58.82, 70.85),
        }),
    ),
)  # fmt: skip


def _pocket(category: str, *forget: str) -> ProtocolData:
    options, train = {"subset": category, "scenes": 4}, {"seed": 1, "scenes": 3}
    return ProtocolData(category, ("twemoji",), {c: {} for c in forget}, options=options, train=train)


#: the same in miniature: PocketCLIP on the drawings of four categories; names that it recognises
POCKET = Protocol(
    "The protocol in miniature",
    (ProtocolModel("PocketCLIP"),),
    (
        _pocket("animals-nature", "wolf", "penguin", "cactus"),
        _pocket("food-drink", "pizza", "lemon", "cookie"),
        _pocket("travel-places", "airplane", "rainbow", "house"),
        _pocket("activities", "trophy", "balloon", "basketball"),
    ),
)

#: one data set, and a real CLIP: the names with the most pictures among COCO's 160
COCO = Protocol(
    "The protocol on a real CLIP's embeddings",
    (ProtocolModel("ViT-B/16"),),
    (ProtocolData("COCO", ("embeddings:coco",), {"airplane": {}, "toilet": {}, "motorcycle": {}}),),
)
