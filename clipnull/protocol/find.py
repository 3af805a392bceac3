"""What of a protocol is on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipnull.datasets.literature import ROOT
from clipnull.datasets.pictures import LabelledImages
from clipnull.datasets.registry import load as load_data
from clipnull.model.loading import load as load_clip
from clipnull.protocol.match import match_class
from clipnull.protocol.published import KRAVETS, POCKET, Protocol, ProtocolData

__all__ = ["chosen"]


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
            load_clip(model.name, model.pretrained, device="cpu")
    except ValueError as problem:
        return POCKET, f"This is the miniature, because not all is there. {problem}."
    return protocol, "This is the published protocol: data sets and weights are all here."


@dataclass(frozen=True)
class _Found:
    """A data set of the protocol that is there."""

    spec: ProtocolData
    data: LabelledImages
    source: str
    root: str
    forget: list[int]


def _root(protocol: Protocol, root: str | Path | None = None) -> str:
    return str(Path(root or protocol.root or ROOT).expanduser())


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
    data = load_data(source, **{**spec.options, **options})
    try:
        forget = [match_class(c, data.classes) for c in spec.forget]
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return _Found(spec, data, source, root, forget)
