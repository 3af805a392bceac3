"""The protocol's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.figure
import numpy as np

from clipnull import _check
from clipnull.plots import base
from clipnull.plots.base import (
    BLUE,
    FORGET,
    GREY,
    MARKERS,
    ORANGE,
    RETAIN,
    Figure,
    describe,
    short,
    style,
)

if TYPE_CHECKING:
    from clipnull.protocol.published import BeforeRow
    from clipnull.protocol.result import SummaryRow

__all__ = ["recall_before", "score_parts"]

PARTS = [("not forgotten", FORGET, ""), ("lost on the other classes", RETAIN, "///"),
         ("lost on other data sets", ORANGE, "...")]  # fmt: skip


def _score(score: float) -> str:
    return "–" if math.isnan(score) else f"{score:.3f}"


@_check.by_name
def recall_before(rows: Sequence[BeforeRow]) -> matplotlib.figure.Figure:
    """Recall of each forget class before forgetting (points), beside the accuracy on all classes (lines).

    Parameters
    ----------
    rows : list of BeforeRow
        `ProtocolResult.before`: measured filled, with published figures hollow where there are any; or
        `Protocol.published`.
    """
    _check.having("rows", rows, "model data name images forget retain published_forget published_retain")
    own = [r for r in rows if r.forget is not None or r.published_forget is not None]
    if not own:
        raise ValueError("rows: got no class to forget, want at least one")
    sets = list(dict.fromkeys(r.data for r in own))
    counts = {(r.data, r.name): r.images for r in own}
    place = {key: i + 0.6 * sets.index(key[0]) for i, key in enumerate(counts)}
    ax = base.axes((7.4, 0.27 * len(place) + 0.16 * len(sets) + 1.3))
    said, points = [], []
    for j, model in enumerate(dict.fromkeys(r.model for r in rows)):
        for solid, label in ((True, model), (False, f"{model}, published")):
            look: dict[str, Any] = dict(color=(BLUE, ORANGE)[j % 2], clip_on=False)
            found, words = [], []
            for r in (r for r in rows if r.model == model):
                measured, published = (
                    (r.forget, r.published_forget) if r in own else (r.retain, r.published_retain)
                )
                value = published if not solid else None if measured is None else 100 * measured
                if value is None or math.isnan(value):
                    continue
                words.append(f"{r.data}, {r.name} {value:.1f}")
                if r in own:
                    found.append((value, place[r.data, r.name]))
                else:
                    y = [at for key, at in place.items() if key[0] == r.data]
                    ax.plot(
                        [value] * 2, [y[0] - 0.45, y[-1] + 0.45], "-" if solid else "--", linewidth=2, **look
                    )
            if found:
                said.append(f"{label}: {'; '.join(words)}")
                points += [value for value, _ in found]
                ax.plot(*zip(*found, strict=True), MARKERS[j], markersize=9 - 2 * j, label=short(label, 30),
                        markerfacecolor=look["color"] if solid else "white", zorder=3, **look)  # fmt: skip
    names = [short(name, 36) + (f" ({n})" if n else "") for (_, name), n in counts.items()]
    ax.set_yticks(list(place.values()), names, fontsize=9)
    for data in sets:
        top = min(at for key, at in place.items() if key[0] == data)
        ax.text(103, top, short(data), fontsize=9, color=GREY, va="center")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.plot([], [], color=GREY, linewidth=2, label="all classes")
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    title = f"Before forgetting, recall of a single class runs from {min(points):.0f} to {max(points):.0f}%"
    fig = style(ax, title, x="accuracy before forgetting, %", grid="x")
    return describe(fig, f"{title}. {'. '.join(said)}.")


@_check.by_name
def score_parts(summary: Sequence[SummaryRow]) -> matplotlib.figure.Figure:
    """The score of each method as a stack of its three parts, classes one at a time and jointly.

    Parameters
    ----------
    summary : list of SummaryRow
        `ProtocolResult.summary` of one model.
    """
    _check.having("summary", summary, "method joint score parts terms")
    idle = 1 / summary[0].terms
    title = f"What each method pays for; doing nothing scores {idle:.1f} (dotted)"
    kinds = sorted({r.joint for r in summary})
    methods = list(dict.fromkeys(r.method for r in summary))
    fig = Figure(figsize=(4.0 * len(kinds) + 1.2, 0.33 * len(methods) + 1.5), layout="constrained")
    axes = fig.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    known = [r.score for r in summary if not math.isnan(r.score)]
    for ax, joint in zip(axes, kinds, strict=True):
        rows = {r.method: r for r in summary if r.joint == joint}
        parts = np.nan_to_num(np.array([rows[m].parts for m in methods], dtype=float))
        left = np.zeros(len(methods))
        for k, (label, colour, hatch) in enumerate(PARTS):
            ax.barh(range(len(methods)), parts[:, k], left=left, height=0.7, color=colour, hatch=hatch,
                    edgecolor="white", linewidth=0, label=label)  # fmt: skip
            left = left + parts[:, k]
        for y, m in enumerate(methods):
            ax.text(left[y] + 0.004, y, _score(rows[m].score), va="center", fontsize=9)
        ax.axvline(idle, color=GREY, linewidth=1, linestyle=":")
        ax.set_title("jointly" if joint else "one at a time", loc="left", fontsize=10)
        ax.tick_params(axis="y", length=0)
        style(ax, title, x="score (low is good)", grid="x")
    axes[0].set_yticks(range(len(methods)), [short(m) for m in methods], fontsize=9)
    axes[0].invert_yaxis()
    axes[0].set_xlim(0, max([1.25 * idle, *(1.2 * s for s in known)]))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9,
               frameon=False)  # fmt: skip
    text = "; ".join(
        f"{r.method} {'jointly' if r.joint else 'one at a time'} {_score(r.score)} = "
        + " + ".join(map(_score, r.parts))
        for r in summary
    )
    return describe(fig, f"Scores and their parts (not forgotten, other classes, other data). {text}.")
