"""Bases, projections, and curves over a hyperparameter."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.figure
import numpy as np

from clipnull.plots import base
from clipnull.plots.base import BLUE, FORGET, GREY, MARKERS, RED, RETAIN, SERIES, Figure

__all__ = ["curves", "dial_map", "gram_schmidt_step"]


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
