"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from clipnull import _check
from clipnull.plots import base
from clipnull.plots.base import FORGET, GREY, LEGEND, MARKERS, RED, RETAIN, SERIES

__all__ = ["anchor_maps", "curves", "hyperparameter_map"]


@_check.by_name
def curves(
    x: Any, series: Mapping[str, Any], *, x_label: str, y_label: str, title: str,
    log: Literal["", "x", "y", "xy"] = "", levels: Mapping[str, float] | None = None,
) -> Figure:  # fmt: skip
    """Several series [k] over one axis ``x`` [k]; a shorter one ends early. ``levels`` are dotted across.

    ``log`` names the logarithmic axes; on y, zeros are drawn at the smallest value above zero.
    """
    x = base.numbers("x", x, None)
    _check.one_of("log", log, ["", "x", "y", "xy"])
    values = {name: base.numbers(f"series[{name!r}]", y, None, gaps=True) for name, y in series.items()}
    if (longest := max(map(len, _check.having("series", values.values(), "")))) > len(x):
        raise ValueError(f"series: got {longest} numbers, want at most {len(x)}, as many as x")
    heights = {name: _check.number(f"levels[{name!r}]", y, -np.inf) for name, y in (levels or {}).items()}
    ax = base.axes((6.4, 3.6))
    ax.set(**{f"{axis}scale": "log" for axis in log})
    if "y" in log:
        floor = min((y[y > 0].min() for y in values.values() if (y > 0).any()), default=1e-16)
        values = {name: np.maximum(y, floor) for name, y in values.items()}
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
    ax.legend(**LEGEND)
    fig = base.style(ax, title, x_label, y_label, "both")
    ends = "; ".join(f"{k}: from {base.number(y[0])} to {base.number(y[-1])}" for k, y in values.items())
    across = "".join(f" {name}: {base.number(height)}." for name, height in heights.items())
    return base.describe(fig, f"{title}. {base.capital(y_label)} against {x_label}. {ends}.{across}")


@_check.by_name
def hyperparameter_map(
    lams: Sequence[float], mus: Sequence[float], measures: Mapping[str, Any], *, best: tuple[int, int]
) -> Figure:
    """Measures [len(lams), len(mus)], fractions, as coloured cells: "kept…" blue, others vermillion."""
    for name, stops in (("lams", lams), ("mus", mus), ("measures", measures)):
        _check.having(name, stops, "")
    shape = len(lams), len(mus)
    values = {k: 100 * base.numbers(f"measures[{k!r}]", x, *shape, gaps=True) for k, x in measures.items()}
    row, column = (_check.whole("best", at, 0, n - 1) for at, n in zip(best, shape, strict=True))
    across, down = ([_value(x) for x in stops] for stops in (mus, lams))
    rows = -(-len(values) // 2)
    fig, axes = base.panels((8.8, rows * (0.27 * len(lams) + 0.75) + 0.4), rows, 2, sharex=True, sharey=True)
    for ax, (name, percent) in zip(axes.ravel(), values.items(), strict=False):
        cmap, colour = ("Blues", RETAIN) if name.startswith("kept") else ("Oranges", FORGET)
        base.cells(ax, percent, down, across, cmap=cmap)
        ax.add_patch(Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, linewidth=2.2))
        ax.set_title(base.short(name, 40), loc="left", fontsize=10, color=colour)
    for ax in axes.ravel()[len(values) :]:
        ax.axis("off")
    fig.supxlabel("μ", fontsize=10)
    fig.supylabel("λ", fontsize=10, rotation=0)
    edge = [sign for sign, at, n in (("λ", row, len(lams)), ("μ", column, len(mus))) if at in (0, n - 1)]
    where = f"at the edge in {' and '.join(edge)}" if edge else "inside the map"
    title = f"After the edit, in percent, by λ and μ; framed: λ = {down[row]}, μ = {across[column]}, {where}"
    base.title(fig, title)
    text = "; ".join(
        f"λ {down[i]}, μ {across[j]}: " + ", ".join(f"{c[i, j]:.1f}" for c in values.values())
        for i, j in np.ndindex(shape)
    )
    return base.describe(fig, f"{title}. {', '.join(values)}. {text}.")


@_check.by_name
def anchor_maps(weights: Any, measures: Mapping[str, Any], *, title: str) -> Figure:
    """Measures [n] over triangles of anchors: "kept…" blue, "certificate…" grey, no share, others vermillion.

    ``weights`` [n, 3] is what each anchor has of the origin, the mean and the nearest mixture; rows sum to 1.
    """
    B = base.numbers("weights", weights, None, 3, shares=True)
    if len(B) < 3 or not np.allclose(B.sum(1), 1, atol=1e-4):
        raise ValueError(f"weights: got {len(B)} rows, want 3 or more, each of sum 1")
    _check.having("measures", measures, "")
    values = {name: base.numbers(f"measures[{name!r}]", x, len(B)) for name, x in measures.items()}
    corners = {"silent": (0.5, 0.0), "neutral": (0.0, 0.87), "its relatives": (1.0, 0.87)}
    xy = B @ np.array([*corners.values()])
    told = [i for i, b in enumerate(B) if any(np.allclose(k * b, np.round(k * b)) for k in (2, 3))]
    rows = -(-len(values) // 3)
    fig, axes = base.panels((8.8, 2.5 * rows + 0.3), rows, 3)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, x) in zip(axes.flat, values.items(), strict=False):
        kept, share = name.startswith("kept"), not name.startswith("certificate")
        cmap, colour = ("Blues", RETAIN) if kept else ("Oranges", FORGET) if share else ("Greys", base.BLACK)
        top = 1.5 if share else 1.5 * max(float(x.max()), 1e-9)
        ax.tripcolor(*xy.T, x, shading="gouraud", cmap=cmap, vmin=0, vmax=top)
        for i in told:
            text = f"{100 * x[i]:.0f}" if share else f"{x[i]:.2f}"
            ax.text(*xy[i], text, ha="center", va="center", fontsize=9)
        for corner, (left, up) in corners.items():
            beyond = up + (0.1 if up else -0.1)
            ax.text(left, beyond, corner, ha="center", va="center", fontsize=8, color=GREY)
        ax.set(aspect="equal", xlim=(-0.25, 1.25), ylim=(-0.16, 1.02))
        ax.set_title(base.short(name, 28) + (", %" if share else ""), fontsize=10, color=colour)
    base.title(fig, title)
    ends = B.argmax(0)
    text = "; ".join(f"{name}: {', '.join(base.number(y) for y in x[ends])}" for name, x in values.items())
    return base.describe(fig, f"{title}. At the corners {', '.join(corners)}. {text}.")


def _value(x: float) -> str:
    if x >= 1e4 and not np.isinf(x) and float(exponent := np.log10(x)).is_integer():
        return "10" + str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{x:g}".replace("inf", "∞")
