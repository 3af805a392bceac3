"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np
from matplotlib.patches import Rectangle

from clipnull.plots import base
from clipnull.plots.base import BLUE, FORGET, GREY, MARKERS, RED, RETAIN, SERIES, Figure

__all__ = ["curves", "gram_schmidt_step", "hyperparameter_map"]


def curves(
    x: Any,
    series: Mapping[str, Any],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log: Literal["", "x", "y", "xy"] = "",
) -> matplotlib.figure.Figure:
    """Several series over one axis, told apart by colour, marker and line.

    Parameters
    ----------
    x : array [k]
    series : dict of name -> array, at most k long
        A shorter one ends early.
    log : {"", "x", "y", "xy"}
        Logarithmic axes; on y, zeros are drawn at the smallest value above zero.
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
        ax.plot(x[: len(y)], y, "-" if i % 2 == 0 else "--", marker=MARKERS[i % len(MARKERS)],
                color=SERIES[i % len(SERIES)], markersize=5, label=base.short(name, 40))  # fmt: skip
    if "x" not in log and len(x) <= 12 and (x == np.round(x)).all():
        ax.set_xticks(x)  # counts: no ticks between them
    ax.legend(fontsize=8, frameon=False)
    fig = base.style(ax, title, x_label, y_label, "both")
    ends = "; ".join(
        f"{name}: from {base.number(y[0])} to {base.number(y[-1])}" for name, y in values.items()
    )
    return base.describe(fig, f"{title}. {base.capital(y_label)} against {x_label}. {ends}.")


def gram_schmidt_step(
    T: Any,
    names: Sequence[str],
    Q: Any,
    frame: Any,
    *,
    residual: Any | None = None,
    before: Any | None = None,
    azimuth: float = 35,
    title: str = "",
) -> matplotlib.figure.Figure:
    """A moment of Gram-Schmidt: the vectors, in the plane or space that they span.

    Parameters
    ----------
    T : array [m, d]
        The rows that have entered.
    names : m str
    Q : array [d, k]
        The basis so far.
    frame : array [d, 2 or 3]
        Orthonormal columns: the axes of the drawing.
    residual, before : array [d], optional
        What is left of the row that is being worked on, and what it was one step ago.
    """
    T, Q, frame = base.numbers(T), base.numbers(Q), base.numbers(frame)
    flat = frame.shape[1] == 2
    fig = Figure(figsize=(5.4, 4.2), layout="constrained")
    ax = fig.add_subplot(projection=None if flat else "3d")
    arrows = [(t, name, GREY, "-", 1.4) for t, name in zip(T, names, strict=True)]
    arrows += [(q, f"q{k + 1}", BLUE, "-", 2.6) for k, q in enumerate(Q.T)]
    if residual is not None:
        arrows.append((base.numbers(residual), "residual", RED, "-", 2.2))
    origin = np.zeros(frame.shape[1])
    for vector, label, colour, line, width in arrows:
        _arrow(ax, origin, vector @ frame, colour, line, width)
        # the first row lies along q1: names go to the shaft, so that labels do not meet at the tip
        at = (0.62 if colour == GREY else 1.06) * (vector @ frame)
        weight = "bold" if width > 2 else None
        ax.text(*at, base.short(label, 14), color=colour, fontsize=9, fontweight=weight)
    if residual is not None and before is not None:
        _arrow(ax, base.numbers(before) @ frame, arrows[-1][0] @ frame, RED, ":", 1.4)
    low = min(0.0, float((np.stack([a[0] for a in arrows]) @ frame).min())) - 0.05
    ax.set(xlim=(low, 1.1), ylim=(low, 1.1), xlabel="along q1", ylabel="along q2")
    if flat:
        ax.set_aspect("equal")
    else:
        ax.set(zlim=(low, 1.1), zlabel="along q3")
        ax.view_init(elev=18, azim=azimuth)
        ax.set_box_aspect(None, zoom=0.9)
        ax.tick_params(labelsize=7, pad=-2)
    if title:
        base.title(fig, title)
    labels = ", ".join(a[1] for a in arrows)
    return base.describe(fig, f"{title}. Arrows of {labels}.")


def _arrow(ax: Any, a: np.ndarray, b: np.ndarray, colour: str, line: str, width: float) -> None:
    if np.linalg.norm(b - a) < 1e-6:
        return
    if len(a) == 3:
        head = 0 if line == ":" else 0.08
        ax.quiver(*a, *(b - a), color=colour, linestyle=line, linewidth=width, arrow_length_ratio=head)
    else:
        style = "-" if line == ":" else "-|>"
        ax.annotate("", b, a, arrowprops=dict(arrowstyle=style, color=colour, ls=line, lw=width,
                                              shrinkA=0, shrinkB=0))  # fmt: skip


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
