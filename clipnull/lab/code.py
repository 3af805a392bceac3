"""The Python that does what a state of the lab does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import torch

from clipnull.datasets.registry import load as load_data
from clipnull.lab.state import dials, texts_of
from clipnull.model.fold import folded_edits
from clipnull.model.loading import load as load_clip

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

__all__ = ["equivalent_python"]


def equivalent_python(bench: Bench, state: Mapping[str, Any]) -> str:
    """The Python that does what a state does. It runs as it is.

    A model or data set that was made by hand, not by `clipnull.load` or `clipnull.datasets.load`,
    cannot be written down; the code then expects it under the name ``clip`` or ``data``.

    Parameters
    ----------
    bench : Bench
    state : dict
        As in `Bench.compute`.

    Returns
    -------
    str
        Ends in ``report``, the `Report` of the state.

    Raises
    ------
    ValueError
        A state that cannot be, see `Bench.check`.
    """
    state = bench.check(state)
    method = state["method"]
    templates = "data.templates" if state["templates"] else "None"
    T_f, lines = "case.T_f", ""
    if state["erase_as"].strip() or state["synonyms"]:
        texts = "list(dict.fromkeys(forget + words))"
        if state["erase_as"].strip():
            texts = _literal(texts_of(state["erase_as"]))
        else:
            lines = "words = [w for i in case.forget for w in data.keywords[i]]\n"
        T_f, lines = "T_f", f"{lines}T_f = clip.embed_text({texts}, templates={templates})\n"
    given = [f"{k}={_literal(state[k])}" for k in dials(method)]
    if method == "word":
        lines += f"word = clip.embed_text([{_literal(state['word'].strip())}], templates={templates})\n"
        given.append("anchor=word")
    if method == "random":
        given.append(f"seed={state['seed']}")
    eraser = _literal("mean" if method == "word" else method)
    return f"""import clipnull as cn

{_loads(bench, state["subset"])}
forget = {_literal(state["forget"])}
T = clip.embed_text(data.classes, templates={templates})
Z = clip.embed_images(data.images)
case = cn.Case(Z, T, data.labels, forget, classes=data.classes)
{lines}edit = cn.METHODS[{eraser}].make({", ".join([T_f, "case.T_r", *given])})
report = case.evaluate(edit, side={_literal(state["side"])})
print(report)
"""


def _loads(bench: Bench, subset: str) -> str:
    """The two statements that make ``clip`` and ``data``."""
    clip, data, lines = bench.clip, bench.at(subset).data, []
    if clip.loaded_with is None or folded_edits(clip):
        lines.append("# clip: the model that you gave to the lab; no call of cn.load makes it")
    else:
        lines.append(f"clip = cn.load({_arguments(load_clip, clip.loaded_with)})")
    if data.loaded_with is None:
        lines.append("# data: the images that you gave to the lab; no call of cn.datasets.load makes them")
        picked = data.classes if subset else None
    else:
        lines.append(f"data = cn.datasets.load({_arguments(load_data, data.loaded_with)})")
        picked = data.picked
    if picked is not None:
        lines.append(f"data = data.subset({_literal(picked)})")
    return "\n".join(lines)


def _arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """A call's arguments as Python, those left at their default omitted; the first by position."""
    default = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    (_, first), *rest = given.items()
    named = [f"{k}={_literal(v)}" for k, v in rest if k not in default or v != default[k]]
    return ", ".join([_literal(first), *named])


def _literal(x: Any) -> str:
    """A plain value as Python source, long lists broken into lines."""
    return pformat(str(x) if isinstance(x, (Path, torch.device)) else x, width=100, compact=True)
