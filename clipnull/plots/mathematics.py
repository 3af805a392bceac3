"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np
from matplotlib.ticker import NullLocator

from clipnull.plots import base
from clipnull.plots.base import FORGET, GREY, MARKERS, RED, RETAIN, SERIES, Figure

__all__ = ["curves", "dial_map"]


def curves(
    x: Any,
    series: Mapping[str, Any],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log: Literal["", "x", "y", "xy"] = "",
    levels: Mapping[str, float] | None = None,
) -> matplotlib.figure.Figure:
    """Several series over one axis, told apart by colour, marker and line.

    Parameters
    ----------
    x : array [k]
    series : dict of name -> array, at most k long
        A shorter one ends early.
    log : {"", "x", "y", "xy"}
        Logarithmic axes; on y, zeros are drawn at the smallest value above zero.
    levels : dict of name -> number, optional
        Heights to compare with: dotted lines across.
    """
    ax = base.axes((6.4, 3.6))
    x = base.numbers(x)
    values = {name: base.numbers(y) for name, y in series.items()}
    if "y" in log:
        floor = min((y[y > 0].min() for y in values.values() if (y > 0).any()), default=1e-16)
        values = {name: np.maximum(y, floor) for name, y in values.items()}
        ax.set_yscale("log")
    if "x" in log:
        ax.set_xscale("log")
    for i, (name, y) in enumerate(values.items()):
        look = dict(marker=MARKERS[i % len(MARKERS)], color=SERIES[i % len(SERIES)], markersize=5)
        ax.plot(x[: len(y)], y, "-" if i % 2 == 0 else "--", markevery=-(-len(y) // 25),
                label=base.short(name, 40), **look)  # fmt: skip
    for i, (name, height) in enumerate((levels or {}).items()):
        ax.axhline(height, linestyle=":", color=[GREY, RED][i % 2], linewidth=1.6, label=base.short(name, 40))
    if len(x) <= 12 and (x == np.round(x)).all():
        ax.set_xticks(x, [f"{n:g}" for n in x])  # counts: no ticks between them
        ax.xaxis.set_minor_locator(NullLocator())
    ax.legend(fontsize=8, frameon=False)
    fig = base.style(ax, title, x_label, y_label, "both")
    ends = "; ".join(
        f"{name}: from {base.number(y[0])} to {base.number(y[-1])}" for name, y in values.items()
    )
    across = "".join(f" {name}: {base.number(height)}." for name, height in (levels or {}).items())
    return base.describe(fig, f"{title}. {base.capital(y_label)} against {x_label}. {ends}.{across}")


def dial_map(
    lams: Sequence[float], mus: Sequence[float], forget: Any, retain: Any
) -> matplotlib.figure.Figure:
    """Forget and retain accuracy over λ and μ, as two tables of coloured cells.

    Parameters
    ----------
    lams, mus : sequence of float
        Values of λ, which runs down, and of μ, which runs across.
    forget, retain : array [len(lams), len(mus)]
        Accuracies after the edit (fractions).
    """
    fig = Figure(figsize=(8.4, 0.42 * len(lams) + 1.6), layout="constrained")
    f, r = 100 * base.array(forget), 100 * base.array(retain)
    left, right = fig.subplots(1, 2, sharey=True)
    for ax, cells, cmap, what, colour in (
        (left, f, "Reds", "recall of the forgotten, % (low is good)", FORGET),
        (right, r, "Blues", "accuracy on the others, % (high is good)", RETAIN),
    ):
        ax.imshow(cells, cmap=cmap, vmin=0, vmax=130, aspect="auto")
        for i, j in np.ndindex(cells.shape):
            ax.text(j, i, f"{cells[i, j]:.1f}", ha="center", va="center", fontsize=9)
        ax.set_xticks(range(len(mus)), [f"{mu:g}" for mu in mus])
        ax.set_yticks(range(len(lams)), [f"{lam:g}" for lam in lams])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("μ")
        ax.set_title(what, loc="left", fontsize=10, color=colour)
    left.set_ylabel("λ")
    title = "Accuracy after the edit, by λ and μ"
    base.title(fig, title)
    text = "; ".join(
        f"λ {lams[i]:g}, μ {mus[j]:g}: forget {f[i, j]:.1f}, retain {r[i, j]:.1f}"
        for i, j in np.ndindex(f.shape)
    )
    return base.describe(fig, f"{title}. In percent. {text}.")
