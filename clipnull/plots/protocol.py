"""The protocol's figures."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.plots import base
from clipnull.plots.base import BLUE, FORGET, GREY, MARKERS, ORANGE, RETAIN, short

__all__ = ["recall_before", "score_parts"]


def _score(score: float) -> str:
    return f"{score:.3f}".replace("nan", "–")


@_check.by_name
def recall_before(rows: Sequence[Any]) -> Figure:
    """Recall of forget classes (points, published hollow), accuracy (lines): of `ProtocolResult.before`."""
    _check.having("rows", rows, "model data name images forget retain published_forget published_retain")
    own = [r for r in rows if r.forget is not None or r.published_forget is not None]
    _check.having("rows, of a class to forget", own, "")
    sets = list(dict.fromkeys(r.data for r in own))
    counts = {(r.data, r.name): r.images for r in own}
    place = {key: i + 0.6 * sets.index(key[0]) for i, key in enumerate(counts)}
    spans = {data: [at for key, at in place.items() if key[0] == data] for data in sets}
    ax = base.axes((7.4, 0.27 * len(place) + 0.16 * len(sets) + 1.3))
    said, points = [], []
    for (j, model), solid in product(enumerate(dict.fromkeys(r.model for r in rows)), (True, False)):
        label, prefix = (model, "") if solid else (f"{model}, published", "published_")
        look: dict[str, Any] = dict(color=(BLUE, ORANGE)[j % 2], clip_on=False)
        found, words = [], []
        for r in (r for r in rows if r.model == model):
            value = getattr(r, prefix + ("forget" if r in own else "retain"))
            if value is None or math.isnan(value):
                continue
            value *= 100 if solid else 1
            words.append(f"{r.data}, {r.name} {value:.1f}")
            if r in own:
                found.append((value, place[r.data, r.name]))
            else:
                ends = spans[r.data][0] - 0.45, spans[r.data][-1] + 0.45
                ax.plot([value] * 2, ends, "-" if solid else "--", linewidth=2, **look)
        if found:
            said.append(f"{label}: {'; '.join(words)}")
            points += [value for value, _ in found]
            ax.plot(*zip(*found, strict=True), MARKERS[j], markersize=9 - 2 * j, label=short(label, 30),
                    markerfacecolor=look["color"] if solid else "white", zorder=3, **look)  # fmt: skip
    names = [short(name, 36) + (f" ({n})" if n else "") for (_, name), n in counts.items()]
    ax.set_yticks(list(place.values()), names, fontsize=9)
    for data in sets:
        ax.text(103, spans[data][0], short(data), fontsize=9, color=GREY, va="center")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    drawn = "-" if any(r.retain is not None for r in rows) else "--"
    ax.plot([], [], drawn, color=GREY, linewidth=2, label="all classes")
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    title = f"Before forgetting, recall of a single class runs from {min(points):.0f} to {max(points):.0f}%"
    fig = base.style(ax, title, x="accuracy before forgetting, %", grid="x")
    return base.describe(fig, f"{title}. {'. '.join(said)}.")


@_check.by_name
def score_parts(summary: Sequence[Any]) -> Figure:
    """The score of each method in its three parts, classes one at a time and jointly, of one model's rows."""
    _check.having("summary", summary, "method joint score parts terms")
    idle = 1 / summary[0].terms
    title = f"What each method pays for; doing nothing scores {idle:.1f} (dotted)"
    names = "not forgotten", "lost on the other classes", "lost on other data sets"
    looks = list(zip(names, (FORGET, RETAIN, ORANGE), ("", "///", "..."), strict=True))
    kinds = sorted({r.joint for r in summary})
    methods = list(dict.fromkeys(r.method for r in summary))
    size = (4.0 * len(kinds) + 1.2, 0.33 * len(methods) + 1.5)
    fig, (axes,) = base.panels(size, 1, len(kinds), sharex=True, sharey=True)
    for ax, joint in zip(axes, kinds, strict=True):
        rows = {r.method: r for r in summary if r.joint == joint}
        parts = np.nan_to_num(np.array([rows[m].parts for m in methods], dtype=float))
        left = parts.cumsum(1) - parts
        for k, (label, colour, hatch) in enumerate(looks):
            ax.barh(range(len(methods)), parts[:, k], left=left[:, k], height=0.7, color=colour, hatch=hatch,
                    edgecolor="white", linewidth=0, label=label)  # fmt: skip
        for y, m in enumerate(methods):
            ax.text(parts[y].sum() + 0.004, y, _score(rows[m].score), va="center", fontsize=9)
        ax.axvline(idle, color=GREY, linewidth=1, linestyle=":")
        ax.set_title("jointly" if joint else "one at a time", loc="left", fontsize=10)
        ax.tick_params(axis="y", length=0)
        base.style(ax, title, x="score (low is good)", grid="x")
    base.rows_of(axes[0], methods)
    axes[0].set_xlim(0, np.nanmax([1.25 * idle, *(1.2 * r.score for r in summary)]))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9,
               frameon=False)  # fmt: skip
    text = "; ".join(
        f"{r.method} {'jointly' if r.joint else 'one at a time'} {_score(r.score)} = "
        + " + ".join(map(_score, r.parts))
        for r in summary
    )
    return base.describe(fig, f"Scores and their parts (not forgotten, other classes, other data). {text}.")
