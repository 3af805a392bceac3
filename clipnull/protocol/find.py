"""What of a protocol is on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipnull import _check, _files
from clipnull.datasets.arrays import Embeddings, embeddings, load_arrays
from clipnull.datasets.literature import ROOT
from clipnull.datasets.pictures import LabelledImages
from clipnull.datasets.registry import load as load_data
from clipnull.model.clip import Clip
from clipnull.model.loading import check_here
from clipnull.protocol.published import KRAVETS, POCKET, Protocol, ProtocolData

__all__ = ["chosen", "miniature"]

#: data sets that are drawn at any size that a model looks at; the first is the default
DRAWN = ("twemoji", "openmoji")


def miniature(protocol: Protocol = POCKET) -> Protocol:
    """`POCKET`, on the data set that the environment variable ``CLIPNULL_DATA`` names, if it does.

    Drawings of another artist take the place of its own. Of any other set the three classes with the most
    pictures are to be forgotten, or fewer where none would be left. A ValueError for data that are not
    there, or of one class.
    """
    name = os.environ.get("CLIPNULL_DATA") or DRAWN[0]
    if name in DRAWN:
        return replace(protocol, data=tuple(replace(spec, sources=(name,)) for spec in protocol.data))
    data = load_data(name)
    if len(data.classes) < 2:
        raise ValueError(f"CLIPNULL_DATA: {name!r} has one class, want at least two")
    pictures = data.labels.bincount(minlength=len(data.classes))
    most = pictures.argsort(descending=True, stable=True)[: min(3, len(pictures) - 1)]
    forget: dict[str, dict[str, Any]] = {data.classes[i]: {} for i in most.tolist()}
    source = name.replace("{", "{{").replace("}", "}}")  # `ProtocolData.sources` fills in {root}
    train: dict[str, Any] = {"split": "train"}
    try:
        load_data(name, **train)
    except ValueError:  # then no baseline is trained on pictures
        train = {}
    spec = ProtocolData(data.name, (source,), forget, train=train)
    return replace(protocol, data=(spec,))


def chosen() -> tuple[Protocol, str]:
    """The protocol that the environment variable ``CLIPNULL_PROTOCOL`` asks for, if all it needs is there.

    ``full`` or ``full:FOLDER`` (the folder of the data sets) asks for `KRAVETS`; anything else, or
    nothing, is `miniature`. What is missing makes it that too: data sets, and weights that are not in the
    cache folder (nothing is fetched here). With it comes a sentence that says which one it is and why.
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


@dataclass(frozen=True)
class Found:
    """A data set of the protocol that is there: what it holds, where that is from, its forget classes."""

    spec: ProtocolData
    data: LabelledImages | Embeddings
    source: str
    forget: list[int]

    def pictures(self, clip: Clip, **options: Any) -> LabelledImages:
        """The pictures, drawn ones as large as a model looks; ``options`` go before the protocol's own."""
        size = {"size": clip.image_size} if self.source in DRAWN else {}
        return load_data(self.source, **{**self.spec.options, **options, **size})


def find_data(protocol: Protocol) -> list[Found]:
    root = str(_files.path("root", protocol.root or ROOT))
    found = [_first(spec, root) for spec in protocol.data]
    if missing := [one for one in found if isinstance(one, str)]:
        raise ValueError(f"data: not found are {'; '.join(missing)}; another folder is root= (--root)")
    return [one for one in found if isinstance(one, Found)]


def _first(spec: ProtocolData, root: str) -> Found | str:
    """The first source of a data set that can be used, or what is the matter with the best of them."""
    problems = []
    for named in spec.sources:
        kind, colon, path = named.format(root=root).partition(":")
        if "*" in path:  # in the file's name
            path = str(next(iter(sorted(Path(path).parent.glob(Path(path).name))), path))
        try:
            data: LabelledImages | Embeddings
            if kind in ("embeddings", "arrays"):
                data = load_arrays(path) if kind == "arrays" else embeddings(path)  # type: ignore[arg-type]
                if data.labels is None:
                    raise ValueError(f"{kind}:{path} has names and no images, want both")
            else:
                data = load_data(kind + colon + path, **spec.options)
            forget = [class_index(c, data.classes) for c in spec.forget]
            return Found(spec, data, kind + colon + path, forget)
        except ValueError as error:
            if kind == "embeddings":
                return f"{spec.name}: {error}"
            problems.append((path, str(error)))
    # what is there and cannot be used says more than what is not there
    path, said = next((p for p in problems if p[0] != root and Path(p[0]).exists()), problems[0])
    return f"{spec.name}: {said}" if Path(path).exists() else f"{spec.name}, want it at {path}"


def class_index(name: str, classes: Sequence[str]) -> int:
    """Index of a forget class, without regard to case, underscores and a WordNet id."""
    plain = [re.sub(r"^n\d{8}[-_ ]", "", c).replace("_", " ").lower() for c in classes]
    if name.lower() not in plain:
        near = ", ".join(map(repr, _check.closest(name, classes)))
        raise ValueError(f"no class is {name!r}; the closest are {near}")
    return plain.index(name.lower())
