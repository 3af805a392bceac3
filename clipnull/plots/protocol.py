"""The protocol's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.figure
import numpy as np

from clipnull import _check
from clipnull._show import tenths
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
    from clipnull.protocol.published import Protocol
    from clipnull.protocol.result import ResultRow, SummaryRow

__all__ = ["kept_elsewhere", "published_recall", "score_parts"]

PARTS = [("not forgotten", FORGET, ""), ("lost on the other classes", RETAIN, "///"),
         ("lost on other data sets", ORANGE, "...")]  # fmt: skip


def _score(score: float) -> str:
    return "–" if math.isnan(score) else f"{score:.3f}"


@_check.by_name
def published_recall(protocol: Protocol) -> matplotlib.figure.Figure:
    """Published recall of each forget class before forgetting, beside the accuracy on all classes.

    Parameters
    ----------
    protocol : Protocol
        With published figures (percent); data sets without them are left out.
    """
    _check.having("protocol", [protocol], "data")
    if not (sets := [d for d in _check.having("protocol", protocol.data, "name full forget") if d.full]):
        raise ValueError("protocol: got no published figures, want some")
    labels = list(dict.fromkeys(m for d in sets for m in d.full))
    names = [(d, c) for d in sets for c in d.forget]
    fig = Figure(figsize=(7.4, 0.27 * len(names) + 0.25 * len(sets) + 1.4), layout="constrained")
    ax = fig.subplots()
    y, ticks, said = 0.0, [], []
    for d in sets:
        rows = [y + i for i in range(len(d.forget))]
        for i, m in enumerate(labels):
            colour, marker = (BLUE, ORANGE)[i % 2], MARKERS[i]
            values = [d.forget[c][m][0] for c in d.forget]
            ax.plot([d.full[m]] * 2, [rows[0] - 0.45, rows[-1] + 0.45], color=colour, linewidth=2,
                    linestyle=["-", "--"][i % 2], alpha=0.7)  # fmt: skip
            ax.plot(values, rows, marker, color=colour, markersize=10 - 3 * i, markeredgecolor="white",
                    clip_on=False, label=short(m, 30) if d is sets[0] else None, zorder=3)  # fmt: skip
            said.append(f"{d.name}, {m}: all {d.full[m]:.1f}; " + ", ".join(
                f"{c} {v:.1f}" for c, v in zip(d.forget, values, strict=True)))  # fmt: skip
        ax.text(103, rows[0], short(d.name), fontsize=9, color=GREY, va="center")
        ticks += rows
        y = rows[-1] + 1.6
    ax.set_yticks(ticks, [short(c, 36) for _, c in names], fontsize=9)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.plot([], [], color=GREY, linewidth=2, label="all classes")
    fig.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    values = [v[0] for d in sets for c in d.forget.values() for v in c.values()]
    title = f"Before forgetting, recall of a single class runs from {min(values):.0f} to {max(values):.0f}%"
    style(ax, title, x="accuracy before forgetting, %", grid="x")
    return describe(fig, f"{title}. Published accuracy in percent. {'. '.join(said)}.")


@_check.by_name
def score_parts(summary: Sequence[SummaryRow]) -> matplotlib.figure.Figure:
    """The score of each method as a stack of its three parts, classes one at a time and jointly.

    Parameters
    ----------
    summary : list of SummaryRow
        `ProtocolResult.summary` of one model.
    """
    _check.having("summary", summary, "method joint score parts")
    title = "What each method pays for; doing nothing scores 0.2 (dotted)"
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
        ax.axvline(0.2, color=GREY, linewidth=1, linestyle=":")
        ax.set_title("jointly" if joint else "one at a time", loc="left", fontsize=10)
        ax.tick_params(axis="y", length=0)
        style(ax, title, x="score (low is good)", grid="x")
    axes[0].set_yticks(range(len(methods)), [short(m) for m in methods], fontsize=9)
    axes[0].invert_yaxis()
    axes[0].set_xlim(0, max([0.25, *(1.2 * s for s in known)]))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9,
               frameon=False)  # fmt: skip
    text = "; ".join(
        f"{r.method} {'jointly' if r.joint else 'one at a time'} {_score(r.score)} = "
        + " + ".join(map(_score, r.parts))
        for r in summary
    )
    return describe(fig, f"Scores and their parts (not forgotten, other classes, other data). {text}.")


@_check.by_name
def kept_elsewhere(rows: Sequence[ResultRow], methods: Sequence[str]) -> matplotlib.figure.Figure:
    """Who pays: accuracy kept on each data set (columns) when a class of another (rows) is forgotten.

    Parameters
    ----------
    rows : list of ResultRow
        Of one model.
    methods : sequence of str
        One panel for each. A cell is the mean over forget sets of after / before; on the diagonal it is
        the retained classes of the data set itself.
    """
    _check.having("rows", rows, "method data retain others")
    _check.some_of("methods", methods, dict.fromkeys(r.method for r in rows))
    title = "Accuracy kept, % of before"
    names = list(dict.fromkeys(r.data for r in rows))
    fig = Figure(figsize=(2.3 * len(methods) + 1.6, 0.42 * len(names) + 1.75), layout="constrained")
    axes = fig.subplots(1, len(methods), sharex=True, sharey=True, squeeze=False)[0]
    said = []
    for ax, method in zip(axes, methods, strict=True):
        cells = np.full((len(names), len(names)), np.nan)
        for i, a in enumerate(names):
            mine = [r for r in rows if r.method == method and r.data == a]
            for j, b in enumerate(names):
                kept = [(r.retain if a == b else r.others[b]).kept for r in mine]
                known = [share for share in kept if not math.isnan(share)]
                cells[i, j] = np.mean(known) if known else np.nan
        ax.imshow(cells, cmap="PuOr", vmin=0.4, vmax=1.6)
        for i, j in np.ndindex(cells.shape):
            cell = "–" if np.isnan(cells[i, j]) else f"{100 * cells[i, j]:.0f}"
            ax.text(j, i, cell, ha="center", va="center", fontsize=9,
                    color="white" if abs(cells[i, j] - 1) > 0.45 else "black")  # fmt: skip
        labels = [short(n, 14) for n in names]
        ax.set_xticks(range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
        ax.set_yticks(range(len(names)), labels, fontsize=8)
        ax.tick_params(length=0)
        style(ax, title)
        ax.spines[:].set_visible(False)
        ax.set_title(short(method, 18), loc="left", fontsize=10)
        said.append(f"{method}: " + "; ".join(
            f"{a}: " + ", ".join(f"{b} {tenths(cells[i, j])}" for j, b in enumerate(names))
            for i, a in enumerate(names)))  # fmt: skip
    axes[0].set_ylabel("forgotten in", fontsize=9)
    fig.supxlabel("measured on; the diagonal: its other classes", fontsize=9)
    return describe(fig, f"{title}. {'. '.join(said)}.")
