"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from clipnull.plots import base
from clipnull.plots.base import FORGET, GREY, MARKERS, RED, RETAIN, SERIES, Figure

__all__ = ["curves", "hyperparameter_map"]


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
    if (x == np.round(x)).all():  # counts: no ticks between them
        if len(x) <= 12:
            ax.set_xticks(x, [f"{n:g}" for n in x])
            ax.xaxis.set_minor_locator(NullLocator())
        elif "x" not in log:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8, frameon=False)
    fig = base.style(ax, title, x_label, y_label, "both")
    ends = "; ".join(
        f"{name}: from {base.number(y[0])} to {base.number(y[-1])}" for name, y in values.items()
    )
    across = "".join(f" {name}: {base.number(height)}." for name, height in (levels or {}).items())
    return base.describe(fig, f"{title}. {base.capital(y_label)} against {x_label}. {ends}.{across}")


def hyperparameter_map(
    lams: Sequence[float],
    mus: Sequence[float],
    measures: Mapping[str, Any],
    *,
    best: tuple[int, int] | None = None,
) -> matplotlib.figure.Figure:
    """Measures over λ and μ, each as a table of coloured cells, two tables per row.

    Parameters
    ----------
    lams, mus : sequence of float
        Values of λ, which runs down, and of μ, which runs across.
    measures : dict of name -> array [len(lams), len(mus)]
        Fractions, shown in percent. A name that begins with "kept" is blue, others are vermillion.
    best : (row, column), optional
        The cell that is framed in every table; the title says where it lies, and if that is at the edge.

    Raises
    ------
    ValueError
        No measures, or one of another shape.
    """
    values = {name: 100 * base.numbers(x) for name, x in measures.items()}
    want = (len(lams), len(mus))
    if wrong := [f"{name!r}: {x.shape}" for name, x in values.items() if x.shape != want]:
        raise ValueError(f"measures: got {', '.join(wrong)}, want {want}, one for each λ and μ")
    if not values:
        raise ValueError("measures: got none, want at least one")
    rows = -(-len(values) // 2)
    fig = Figure(figsize=(8.8, rows * (0.27 * len(lams) + 0.75) + 0.4), layout="constrained")
    axes = fig.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    for ax, (name, cells) in zip(axes.ravel(), values.items(), strict=False):
        kept = name.startswith("kept")
        ax.imshow(cells, cmap="Blues" if kept else "Oranges", vmin=0, vmax=150, aspect="auto")
        for i, j in np.ndindex(cells.shape):
            ax.text(j, i, f"{cells[i, j]:.0f}", ha="center", va="center", fontsize=9)
        if best:
            ax.add_patch(Rectangle((best[1] - 0.46, best[0] - 0.44), 0.92, 0.88, fill=False, linewidth=2.2))
        ax.set_xticks(range(len(mus)), [_value(mu) for mu in mus])
        ax.set_yticks(range(len(lams)), [_value(lam) for lam in lams])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(base.short(name, 40), loc="left", fontsize=10, color=RETAIN if kept else FORGET)
    for ax in axes.ravel()[len(values) :]:
        ax.axis("off")
    fig.supxlabel("μ", fontsize=10)
    fig.supylabel("λ", fontsize=10, rotation=0)
    title = "After the edit, in percent, by λ and μ"
    if best:
        edge = [
            sign
            for sign, at, stops in (("λ", best[0], lams), ("μ", best[1], mus))
            if at in (0, len(stops) - 1)
        ]
        where = f", at the edge in {' and '.join(edge)}" if edge else ", inside the map"
        title += f"; framed: λ = {_value(lams[best[0]])}, μ = {_value(mus[best[1]])}{where}"
    base.title(fig, title)
    text = "; ".join(
        f"λ {_value(lams[i])}, μ {_value(mus[j])}: " + ", ".join(f"{c[i, j]:.1f}" for c in values.values())
        for i, j in np.ndindex(len(lams), len(mus))
    )
    return base.describe(fig, f"{title}. {', '.join(values)}. {text}.")


def _value(x: float) -> str:
    """A hyperparameter's value: 0, 30, 10⁴, ∞."""
    if x >= 1e4 and not np.isinf(x) and float(exponent := np.log10(x)).is_integer():
        return "10" + str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{x:g}".replace("inf", "∞")
