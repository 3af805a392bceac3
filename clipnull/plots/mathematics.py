"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from clipnull import _check
from clipnull.plots import base
from clipnull.plots.base import FORGET, GREY, MARKERS, RED, RETAIN, SERIES, Figure

__all__ = ["anchor_maps", "curves", "hyperparameter_map"]

#: where anchors are drawn: origin, mean, nearest mixture
CORNERS = {"silent": (0.5, 0.0), "neutral": (0.0, 0.87), "its relatives": (1.0, 0.87)}


@_check.by_name
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
    x = base.numbers("x", x, None)
    _check.one_of("log", log, ["", "x", "y", "xy"])
    values = {name: base.numbers(f"series[{name!r}]", y, None, gaps=True) for name, y in series.items()}
    if (longest := max(map(len, _check.having("series", values.values(), "")))) > len(x):
        raise ValueError(f"series: got {longest} numbers, want at most {len(x)}, as many as x")
    heights = {name: _check.number(f"levels[{name!r}]", y, -np.inf) for name, y in (levels or {}).items()}
    ax = base.axes((6.4, 3.6))
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
    for i, (name, height) in enumerate(heights.items()):
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
    across = "".join(f" {name}: {base.number(height)}." for name, height in heights.items())
    return base.describe(fig, f"{title}. {base.capital(y_label)} against {x_label}. {ends}.{across}")


@_check.by_name
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
    for name, stops in (("lams", lams), ("mus", mus), ("measures", measures)):
        _check.having(name, stops, "")
    shape = len(lams), len(mus)
    values = {k: 100 * base.numbers(f"measures[{k!r}]", x, *shape, gaps=True) for k, x in measures.items()}
    for at, n in zip(best or (), shape, strict=False):
        _check.whole("best", at, 0, n - 1)
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


def anchor_maps(weights: Any, measures: Mapping[str, Any], *, title: str) -> matplotlib.figure.Figure:
    """Measures over the triangle of anchors, each as a coloured triangle, three per row.

    Parameters
    ----------
    weights : array [n, 3]
        What each anchor has of the origin, the mean and the nearest mixture; rows sum to 1. Numbers are
        written at the corners, the middles of the edges and the centre.
    measures : dict of name -> array [n]
        Fractions, shown in percent. A name that begins with "kept" is blue, others are vermillion; one
        that begins with "certificate" is grey, and no percentage.

    Raises
    ------
    ValueError
        No measures, or another number of values than of anchors.
    """
    B, values = base.numbers(weights), {name: base.numbers(x) for name, x in measures.items()}
    if not values or any(len(x) != len(B) for x in values.values()):
        got = ", ".join(f"{len(x)} of {name!r}" for name, x in values.items()) or "none"
        raise ValueError(f"measures: got {got}, want {len(B)} values each, one for each anchor")
    xy = B @ np.array([*CORNERS.values()])
    told = [i for i, b in enumerate(B) if any(np.allclose(k * b, np.round(k * b)) for k in (2, 3))]
    rows = -(-len(values) // 3)
    fig = Figure(figsize=(8.8, 2.5 * rows + 0.3), layout="constrained")
    axes = fig.subplots(rows, 3, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, (name, x) in zip(axes, values.items(), strict=False):
        kept, share = name.startswith("kept"), not name.startswith("certificate")
        cmap, colour = ("Blues", RETAIN) if kept else ("Oranges", FORGET) if share else ("Greys", base.BLACK)
        top = 1.5 if share else 1.5 * max(float(x.max()), 1e-9)
        ax.tripcolor(*xy.T, x, shading="gouraud", cmap=cmap, vmin=0, vmax=top)
        for i in told:
            ax.text(
                *xy[i], f"{100 * x[i]:.0f}" if share else f"{x[i]:.2f}", ha="center", va="center", fontsize=9
            )
        for corner, (left, up) in CORNERS.items():
            ax.text(
                left, up + (0.1 if up else -0.1), corner, ha="center", va="center", fontsize=8, color=GREY
            )
        ax.set(aspect="equal", xlim=(-0.25, 1.25), ylim=(-0.16, 1.02))
        ax.set_title(base.short(name, 28) + (", %" if share else ""), fontsize=10, color=colour)
    base.title(fig, title)
    ends = B.argmax(0)
    text = "; ".join(f"{name}: {', '.join(base.number(y) for y in x[ends])}" for name, x in values.items())
    return base.describe(fig, f"{title}. At the corners {', '.join(CORNERS)}. {text}.")


def _value(x: float) -> str:
    """A hyperparameter's value: 0, 30, 10⁴, ∞."""
    if x >= 1e4 and not np.isinf(x) and float(exponent := np.log10(x)).is_integer():
        return "10" + str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{x:g}".replace("inf", "∞")
