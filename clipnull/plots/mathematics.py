"""Bases, projections, and curves over a hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes

from clipnull.plots.base import (
    BLUE,
    FORGET,
    GREY,
    MARKERS,
    RED,
    RETAIN,
    SERIES,
    Figure,
    _array,
    _axes,
    _figure,
    _number,
    _short,
    _style,
    _wrap,
    describe,
)

__all__ = ["approach", "curves", "dial_map", "gram_schmidt_step", "strength_curve"]


def curves(
    x: Any,
    series: Mapping[str, Any],
    *,
    x_label: str,
    y_label: str,
    title: str,
    log: str = "",
    ax: Axes | None = None,
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
    ax = _axes(ax, (6.4, 3.6))
    x = _array(x).astype(float)
    values = {name: _array(y).astype(float) for name, y in series.items()}
    if "y" in log:
        positive = np.concatenate([y[y > 0] for y in values.values()] or [np.ones(1)])
        floor = float(positive.min()) if len(positive) else 1e-16
        values = {name: np.maximum(y, floor) for name, y in values.items()}
        ax.set_yscale("log")
    if "x" in log:
        ax.set_xscale("log")
    for i, (name, y) in enumerate(values.items()):
        ax.plot(x[: len(y)], y, "-" if i % 2 == 0 else "--", marker=MARKERS[i % len(MARKERS)],
                color=SERIES[i % len(SERIES)], markersize=5, label=name)  # fmt: skip
    if "x" not in log and len(x) <= 12 and (x == np.round(x)).all():
        ax.set_xticks(x)  # counts: no ticks between them
    ax.legend(fontsize=8, frameon=False)
    _style(ax, title, x_label, y_label, "both")
    ends = "; ".join(f"{name}: from {_number(y[0])} to {_number(y[-1])}" for name, y in values.items())
    return describe(_figure(ax), f"{title}. {y_label.capitalize()} against {x_label}. {ends}.")


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
    """A moment of Gram-Schmidt: the vectors in the plane or space they span, and QᵀQ so far.

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
    T, Q, frame = _array(T).astype(float), _array(Q).astype(float), _array(frame).astype(float)
    flat = frame.shape[1] == 2
    fig = Figure(figsize=(8.2, 4.2), layout="constrained")
    grid = fig.add_gridspec(1, 2, width_ratios=[1.7, 1])
    ax = fig.add_subplot(grid[0], projection=None if flat else "3d")
    arrows = [(t, name, GREY, "-", 1.4) for t, name in zip(T, names, strict=True)]
    arrows += [(q, f"q{k + 1}", BLUE, "-", 2.6) for k, q in enumerate(Q.T)]
    if residual is not None:
        arrows.append((_array(residual).astype(float), "residual", RED, "-", 2.2))
    origin = np.zeros(frame.shape[1])
    for vector, label, colour, line, width in arrows:
        _arrow(ax, origin, vector @ frame, colour, line, width)
        # the first row lies along q1: names go to the shaft, so that labels do not meet at the tip
        at = (0.62 if colour == GREY else 1.06) * (vector @ frame)
        ax.text(*at, _short(label, 14), color=colour, fontsize=9, fontweight="bold" if width > 2 else None)
    if residual is not None and before is not None:
        _arrow(ax, _array(before).astype(float) @ frame, arrows[-1][0] @ frame, RED, ":", 1.4)
    low = min(0.0, float((np.stack([a[0] for a in arrows]) @ frame).min())) - 0.05
    ax.set(xlim=(low, 1.1), ylim=(low, 1.1), xlabel="along q1", ylabel="along q2")
    if flat:
        ax.set_aspect("equal")
    else:
        ax.set(zlim=(low, 1.1), zlabel="along q3")
        ax.view_init(elev=18, azim=azimuth)
        ax.set_box_aspect(None, zoom=0.9)
        ax.tick_params(labelsize=7, pad=-2)
    _gram_matrix(fig.add_subplot(grid[1]), Q)
    if title:
        fig.suptitle(_wrap(title, 8.2), x=0.01, ha="left", fontsize=11)
    return describe(fig, f"{title}. Arrows of {', '.join(a[1] for a in arrows)}, and the matrix QᵀQ so far.")


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


def _gram_matrix(ax: Axes, Q: np.ndarray) -> None:
    k = Q.shape[1]
    ax.set_title("QᵀQ so far", fontsize=10, loc="left")
    if k == 0:
        ax.text(0.5, 0.5, "empty", ha="center", va="center", transform=ax.transAxes, color=GREY)
        ax.axis("off")
        return
    gram = Q.T @ Q
    ax.imshow(gram, cmap="cividis", vmin=0, vmax=1)
    for i, j in np.ndindex(k, k):
        value = 0.0 if abs(gram[i, j]) < 5e-4 else gram[i, j]
        ax.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=9,
                color="black" if gram[i, j] > 0.5 else "white")  # fmt: skip
    ticks = [f"q{i + 1}" for i in range(k)]
    ax.set_xticks(range(k), ticks)
    ax.set_yticks(range(k), ticks)


def strength_curve(
    strengths: Any,
    forget: Any,
    retain: Any,
    *,
    x: str = "strength α",
    log: bool = False,
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Forget and retain accuracy against a dial.

    Parameters
    ----------
    strengths, forget, retain : array [k]
        The dial's values, and the two accuracies after the edit (fractions).
    x : str
        What the dial is; ``log=True`` for λ or μ.
    """
    ax = _axes(ax, (5.6, 3.6))
    s, f, r = _array(strengths).astype(float), 100 * _array(forget), 100 * _array(retain)
    ax.plot(s, r, "-s", color=RETAIN, markersize=6, label="retain: the other classes")
    ax.plot(s, f, "--o", color=FORGET, markersize=6, label="forget: the forgotten classes")
    if log:
        ax.set_xscale("log")
    ax.set_ylim(-3, 103)
    ax.legend(fontsize=9, frameon=False)
    if title is None:
        title = (
            f"From {s[0]:g} to {s[-1]:g}: forget {f[0]:.0f} → {f[-1]:.0f}%, retain {r[0]:.0f} → {r[-1]:.0f}%"
        )
    _style(ax, title, x, "accuracy after the edit, %", "both")
    text = "; ".join(f"{a:g}: forget {b:.1f}, retain {c:.1f}" for a, b, c in zip(s, f, r, strict=True))
    return describe(_figure(ax), f"Accuracy in percent against {x}. {text}.")


def dial_map(
    rows: Sequence[float],
    columns: Sequence[float],
    forget: Any,
    retain: Any,
    *,
    y: str = "λ",
    x: str = "μ",
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Forget and retain accuracy over two dials, as two tables of coloured cells.

    Parameters
    ----------
    rows, columns : sequence of float
        Values of the dial that runs down (``y``) and of the one that runs across (``x``).
    forget, retain : array [len(rows), len(columns)]
        Accuracies after the edit (fractions).
    """
    fig = Figure(figsize=(8.4, 0.42 * len(rows) + 1.6), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    table = {"forget": 100 * _array(forget), "retain": 100 * _array(retain)}
    what = {
        "forget": "recall of the forgotten, % (low is good)",
        "retain": "accuracy on the others, % (high is good)",
    }
    for ax, (which, cells) in zip(axes, table.items(), strict=True):
        ax.imshow(cells, cmap="Reds" if which == "forget" else "Blues", vmin=0, vmax=130, aspect="auto")
        for i, j in np.ndindex(cells.shape):
            ax.text(j, i, f"{cells[i, j]:.1f}", ha="center", va="center", fontsize=9)
        ax.set_xticks(range(len(columns)), [f"{c:g}" for c in columns])
        ax.set_yticks(range(len(rows)), [f"{r:g}" for r in rows])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel(x)
        ax.set_title(what[which], loc="left", fontsize=10, color=FORGET if which == "forget" else RETAIN)
    axes[0].set_ylabel(y)
    title = f"Accuracy after the edit, by {y} and {x}" if title is None else title
    fig.suptitle(_wrap(title, 8.4), x=0.01, ha="left", fontsize=11)
    text = "; ".join(
        f"{y} {r:g}, {x} {c:g}: forget {table['forget'][i, j]:.1f}, retain {table['retain'][i, j]:.1f}"
        for i, r in enumerate(rows)
        for j, c in enumerate(columns)
    )
    return describe(fig, f"{title}. In percent. {text}.")


def approach(
    x: Any,
    series: Mapping[str, Any],
    *,
    xlabel: str = "λ",
    ylabel: str = "error",
    ax: Axes | None = None,
    title: str = "",
) -> matplotlib.figure.Figure:
    """How fast something goes to zero: both axes logarithmic, so that 1/x is a straight line.

    Parameters
    ----------
    x : array [k]
    series : dict of name -> array [k]
    """
    ax = _axes(ax, (5.6, 3.4))
    x = _array(x).astype(float)
    for i, (name, values) in enumerate(series.items()):
        style = ["-", "--", ":", "-."][i % 4]
        # later series are smaller, so that curves that coincide are both seen
        ax.loglog(x, _array(values), style, marker=MARKERS[i % len(MARKERS)], color=SERIES[i % len(SERIES)],
                  markersize=max(4, 10 - 5 * i), linewidth=max(1, 3 - 1.5 * i), label=name)  # fmt: skip
    ax.legend(fontsize=9, frameon=False)
    _style(ax, title, xlabel, ylabel, "both")
    text = "; ".join(
        f"{n}: from {float(_array(v)[0]):.1g} at {x[0]:g} to {float(_array(v)[-1]):.1g} at {x[-1]:g}"
        for n, v in series.items()
    )
    return describe(_figure(ax), f"{title}. {ylabel} against {xlabel}, both logarithmic. {text}.")
