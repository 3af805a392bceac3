"""The Python that does what a state of the lab does."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from pprint import pformat
from typing import Any

import torch

from clipnull import _check
from clipnull.datasets.arrays import Embeddings
from clipnull.datasets.registry import load as load_data
from clipnull.lab.bench import Bench
from clipnull.lab.state import EVERY, dials
from clipnull.model.fold import folded_edits
from clipnull.model.loading import load as load_clip

__all__ = ["equivalent_python"]


@_check.by_name
def equivalent_python(bench: Bench, state: Mapping[str, Any]) -> str:
    """The Python that does what a state does, up to its ``report``, but for what was made by hand."""
    state, shipped = bench.check(state), isinstance(bench.data, Embeddings)
    size = state["dimensions"]

    def main(rows: str) -> str:
        return rows if size is None else f"main({rows})"

    def names(prompt: str) -> str:
        if shipped:
            return f"data.prompts[{_literal(prompt)}]" if prompt else "data.T"
        templates = _literal([prompt]) if prompt else "data.templates"
        return f"clip.embed_text(data.classes, templates={templates})"

    own, *others = bench.prompts if state["told"] == EVERY else [state["told"]]
    lines = ["import torch", "import clipnull as cn", "", *_loads(bench)]
    if size is not None:
        lines += [
            f"V = torch.linalg.svd({names('')}, full_matrices=False).Vh[:{size}].T",
            "", "", "def main(X):", "    return torch.nn.functional.normalize(X @ V, dim=1)", "", "",
        ]  # fmt: skip
    if others:
        each = main("data.prompts[p]" if shipped else "clip.embed_text(data.classes, templates=[p])")
        lines += [f"others = {_literal(others)}", f"prompts = torch.stack([{each} for p in others])"]
    given = ["told.T_f", "told.T_r", *(f"{k}={_literal(state[k])}" for k in dials(state["method"]))]
    if state["method"] == "random":
        given.append(f"seed={state['seed']}")
    return "\n".join([
        *lines,
        f"forget = {_literal(state['forget'])}",
        f"listed = {_literal(bench.listed(state))}",
        f"T = {main(names(own))}",
        f"told = cn.Case(None, T, None, forget, data.classes, listed{', prompts' if others else ''})",
        f"edit = cn.METHODS[{_literal(state['method'])}].make({', '.join(given)})",
        f"Z = {main('data.Z' if shipped else 'clip.embed_images(data.images)')}",
        f"T = {main(names(state['asked']))}",
        "case = cn.Case(Z, T, data.labels, forget, data.classes, listed)",
        f"report = case.evaluate(edit, side={_literal(state['side'])})",
        "print(report)",
        "",
    ])  # fmt: skip


def _loads(bench: Bench) -> list[str]:
    """The statements that make ``clip`` and ``data``."""
    clip, data = bench.clip, bench.data
    if isinstance(data, Embeddings):
        if data.loaded_with is None:
            return ["# data: the embeddings that you gave to the lab; no call of the package makes them"]
        return [f"data = cn.datasets.embeddings({', '.join(map(_literal, data.loaded_with))})"]
    lines = ["# clip: the model that you gave to the lab; no call of cn.load makes it"]
    if clip is not None and clip.loaded_with is not None and not folded_edits(clip):
        lines = [f"clip = cn.load({_arguments(load_clip, clip.loaded_with)})"]
    if data.loaded_with is None:
        return [*lines, "# data: the images that you gave to the lab; no call of cn.datasets.load makes them"]
    lines.append(f"data = cn.datasets.load({_arguments(load_data, data.loaded_with)})")
    return lines if data.picked is None else [*lines, f"data = data.subset({_literal(data.picked)})"]


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
