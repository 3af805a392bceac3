"""The Python that does what a state of the lab does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import torch

from clipnull import _check
from clipnull.datasets.registry import load as load_data
from clipnull.lab.state import dials, texts_of
from clipnull.model.fold import folded_edits
from clipnull.model.loading import load as load_clip

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

__all__ = ["equivalent_python"]


@_check.by_name
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
    method, T_f, lines = state["method"], "case.T_f", ""
    if texts := texts_of(state["erase_as"]):
        T_f = "T_f"
        lines = f"T_f = clip.embed_text({_literal([*dict.fromkeys(texts)])}, templates=data.templates)\n"
    given = [T_f, "case.T_r", *(f"{k}={_literal(state[k])}" for k in dials(method))]
    eraser = f"cn.METHODS[{_literal(method)}].make"
    if method == "word":
        word = _literal([state["word"].strip()])
        lines += f"word = clip.embed_text({word}, templates=data.templates)\n"
        eraser, given = "cn.consistent", [*given, "anchor=word"]
    if method == "random":
        given.append(f"seed={state['seed']}")
    return f"""import clipnull as cn

{_loads(bench)}
forget = {_literal(state["forget"])}
T = clip.embed_text(data.classes, templates=data.templates)
Z = clip.embed_images(data.images)
case = cn.Case(Z, T, data.labels, forget, classes=data.classes)
{lines}edit = {eraser}({", ".join(given)})
report = case.evaluate(edit, side={_literal(state["side"])})
print(report)
"""


def _loads(bench: Bench) -> str:
    """The two statements that make ``clip`` and ``data``."""
    clip, data, lines = bench.clip, bench.data, []
    if clip.loaded_with is None or folded_edits(clip):
        lines.append("# clip: the model that you gave to the lab; no call of cn.load makes it")
    else:
        lines.append(f"clip = cn.load({_arguments(load_clip, clip.loaded_with)})")
    if data.loaded_with is None:
        lines.append("# data: the images that you gave to the lab; no call of cn.datasets.load makes them")
    else:
        lines.append(f"data = cn.datasets.load({_arguments(load_data, data.loaded_with)})")
        if data.picked is not None:
            lines.append(f"data = data.subset({_literal(data.picked)})")
    return "\n".join(lines)


def _arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """A call's arguments as Python, those left at their default omitted; the first by position."""
    default = {k: p.default for k, p in inspect.signature(function).parameters.items()}
    (_, first), *rest = given.items()
    named = [f"{k}={_literal(v)}" for k, v in rest if k not in default or v != default[k]]
    return ", ".join([_literal(first), *named])


def _literal(x: Any) -> str:
    """A plain value as Python source, long lists broken into lines; infinity as `float` reads it."""
    if x == float("inf"):
        return "float('inf')"
    return pformat(str(x) if isinstance(x, (Path, torch.device)) else x, width=100, compact=True)
