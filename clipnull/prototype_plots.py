"""Figures of classes in styles (notebook 09), from results of `clipnull.prototypes`.

As in `clipnull.plots`: one message each, stated in the title, with alt text; no state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np

from clipnull.plots import (
    BLACK,
    FORGET,
    GREY,
    MARKERS,
    PALE,
    RETAIN,
    Figure,
    _array,
    _short,
    _style,
    _wrap,
    describe,
)

__all__ = ["picture_rows", "reader_output", "selective_curves", "style_squares"]


def _title(fig: Figure, title: str) -> None:
    fig.suptitle(_wrap(title, fig.get_size_inches()[0]), x=0.01, ha="left", fontsize=11)


def _tenths(fractions: Any) -> str:
    return ", ".join(f"{f:.1f}" for f in np.ravel(_array(fractions)))


def picture_rows(
    rows: Mapping[str, Sequence[Any]], names: Sequence[str], *, title: str = "", size: float = 0.85
) -> matplotlib.figure.Figure:
    """Pictures of the same names, one row a source.

    Parameters
    ----------
    rows : dict of label -> n PIL images or arrays [h, w, 3]
    names : n str
        Written over the columns.
    size : float
        Inches a picture.
    """
    n = len(names)
    if any(len(images) != n for images in rows.values()) or not rows:
        raise ValueError(
            f"rows: got {[len(images) for images in rows.values()]} pictures, want {n}, one a name"
        )
    left = 0.085 * max(map(len, rows)) + 0.2
    fig = Figure(figsize=(n * size + left, len(rows) * size + 0.7), layout="constrained")
    axes = fig.subplots(len(rows), n, squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(_array(image))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_color(PALE)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(_short(name, int(size * 13)), fontsize=9)
    if title:
        _title(fig, title)
    return describe(fig, f"{title}. Pictures of {', '.join(names)}, in rows: {'; '.join(rows)}.")


def style_squares(
    results: Mapping[str, Mapping[str, Any]], *, title: str | None = None
) -> matplotlib.figure.Figure:
    """Accuracy by class and style, before and after, a square of four cells a method.

    Parameters
    ----------
    results : dict of row label -> dict of method -> Selective
        One row of squares for each direction; the methods are the same in every row. A square
        "before" is put in front of them.
    """
    methods = ["before", *next(iter(results.values()))]
    fig = Figure(figsize=(1.5 * len(methods) + 0.9, 1.75 * len(results) + 0.75), layout="constrained")
    axes = fig.subplots(len(results), len(methods), squeeze=False)
    said = []
    for row_number, (line, (label, row)) in enumerate(zip(axes, results.items(), strict=True)):
        first = next(iter(row.values()))
        for ax, method in zip(line, methods, strict=True):
            square = _array(first.before if method == "before" else row[method].after)
            ax.imshow(square, cmap="Blues", vmin=0, vmax=1.25)
            for i, j in np.ndindex(2, 2):
                wanted_gone = (i, j) == (0, 0) and method != "before"
                ax.text(
                    j,
                    i,
                    f"{100 * square[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=11,
                    color=FORGET if wanted_gone else BLACK,
                    fontweight="bold" if wanted_gone else "normal",
                )
            ax.set_xticks([0, 1], first.styles, fontsize=8)
            ax.set_yticks([0, 1], ["class", "others"] if ax is line[0] else ["", ""], fontsize=9)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            if row_number == 0:
                ax.set_title(method, fontsize=9)
            said.append(f"{label}, {method}: class {_tenths(square[0])}; others {_tenths(square[1])}")
        line[0].set_ylabel(label, fontsize=9, fontweight="bold")
    title = (
        "Accuracy, %, of one class and of all others, by style (red: should go)" if title is None else title
    )
    _title(fig, title)
    return describe(fig, f"{title}. As fractions, in the order of the styles shown. {'. '.join(said)}.")


def reader_output(
    values: Mapping[str, Mapping[str, Any]], *, title: str | None = None
) -> matplotlib.figure.Figure:
    """What each reader says about the pictures of each kind of cell: mean and standard deviation.

    Parameters
    ----------
    values : dict of prototype -> dict of cell -> array [n]
        Dot products of pictures with the reader; it was made to say 1 for the first cell and 0 for
        the second.
    """
    kinds, groups = list(values), list(next(iter(values.values())))
    fig = Figure(figsize=(7.4, 0.62 * len(kinds) + 1.5), layout="constrained")
    ax = fig.subplots()
    for at in (0, 1):
        ax.axvline(at, color=PALE, linewidth=1)
    colours, said = [FORGET, RETAIN, GREY, GREY], []
    for i, kind in enumerate(kinds):
        for j, group in enumerate(groups):
            v = _array(values[kind][group]).astype(float)
            y = i + (j - (len(groups) - 1) / 2) * 0.18
            ax.errorbar(v.mean(), y, xerr=v.std(), fmt=MARKERS[j % len(MARKERS)], color=colours[j % 4],
                        mfc="white" if j % 4 == 3 else colours[j % 4], markersize=6, capsize=2, linewidth=1.2,
                        label=group if i == 0 else None)  # fmt: skip
            said.append(f"{kind}, {group}: {v.mean():.1f} ± {v.std():.1f}")
    ax.set_yticks(range(len(kinds)), kinds, fontsize=9)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    title = (
        "A good reader says 1 for the cell to forget and 0 for the cell to keep" if title is None else title
    )
    _style(ax, title, "picture · reader, mean ± standard deviation", grid="x")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(groups), fontsize=8,
               frameon=False)  # fmt: skip
    return describe(fig, f"{title}. {'; '.join(said)}.")


def selective_curves(
    strengths: Sequence[float],
    results: Mapping[str, Mapping[str, Sequence[Any]]],
    *,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Recall of the class in both styles against the strength of the gate, a panel a prototype.

    Parameters
    ----------
    strengths : k floats
    results : dict of row label -> dict of prototype -> k Selective
        One row of panels for each direction.
    """
    kinds = list(next(iter(results.values())))
    fig = Figure(figsize=(1.8 * len(kinds) + 0.8, 1.75 * len(results) + 1.0), layout="constrained")
    axes = fig.subplots(len(results), len(kinds), sharex=True, sharey=True, squeeze=False)
    said = []
    for row_number, (line, (label, row)) in enumerate(zip(axes, results.items(), strict=True)):
        for ax, kind in zip(line, kinds, strict=True):
            own, kept = (np.array([float(r.after[0, j]) for r in row[kind]]) for j in (0, 1))
            ax.plot(strengths, 100 * kept, "-s", color=RETAIN, markersize=4, label="in the style to keep")
            ax.plot(strengths, 100 * own, "--o", color=FORGET, markersize=4, label="in the style to forget")
            _style(ax, grid="both")
            ax.set_ylim(-4, 104)
            if row_number == 0:
                ax.set_title(kind, loc="left", fontsize=9)
            said.append(f"{label}, {kind}: to forget {_tenths(own)}, to keep {_tenths(kept)}")
        line[0].set_ylabel(f"{label}\nrecall, %", fontsize=9)
    fig.supxlabel("strength (cosine)", fontsize=9)
    fig.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8,
               frameon=False)  # fmt: skip
    title = "The wider the gap between the curves, the more selective the edit" if title is None else title
    _title(fig, title)
    return describe(
        fig,
        f"{title}. Recall of the class as a fraction, at strengths {_tenths(strengths)}. {'. '.join(said)}.",
    )
