"""Figures from arrays: one message each, stated in the title; no state.

Every function takes arrays (torch or NumPy), draws into ``ax`` or a figure of its own, and
returns the figure. In a notebook a figure that ends a cell shows itself, with alt text.
Accuracies and probabilities come in as fractions and are drawn in percent.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke
from PIL import Image
from PIL.PngImagePlugin import PngInfo

__all__ = [
    "Figure",
    "alt",
    "approach",
    "collateral",
    "cosine_histogram",
    "curves",
    "describe",
    "explained_variance",
    "forget_retain_bars",
    "forget_retain_plane",
    "gram_schmidt_step",
    "image_grid",
    "pca",
    "pca_scatter",
    "pca_scatter_3d",
    "scores_before_after",
    "show",
    "show_picture",
    "similarity_matrix",
    "strength_curve",
    "zero_shot_bars",
]

#: Okabe and Ito's palette: distinct under every common colour blindness
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    ["#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"]
)  # fmt: skip
GREY, PALE = "#767676", "#C9C9C9"
#: what is forgotten is vermillion and round, what is retained is blue and square, everywhere
FORGET, RETAIN = RED, BLUE
SERIES = [BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK, YELLOW]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
DPI = 100


# --- figures that carry alt text -----------------------------------------------------------


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure outside pyplot (never shown twice) that shows itself with its alt text."""

    def _ipython_display_(self) -> None:
        show(self)


def describe(fig: matplotlib.figure.Figure, text: str) -> matplotlib.figure.Figure:
    """Set the figure's alt text: one or two sentences that say what it shows. Returns the figure."""
    # a title that ends in a stop of its own needs no other
    text = re.sub(r"(?<=[^.][.?!])\.(?=\s|$)", "", text)
    fig.alt_text = " ".join(text.split())  # type: ignore[attr-defined]
    return fig


def alt(fig: matplotlib.figure.Figure) -> str:
    """The figure's alt text, empty if it has none."""
    return getattr(fig, "alt_text", "")


def show(fig: matplotlib.figure.Figure, alt: str | None = None) -> None:
    """Display a figure as PNG with alt text; prints nothing.

    Parameters
    ----------
    fig : matplotlib Figure
    alt : str, optional
        Replaces the text that the figure's function wrote.

    Notes
    -----
    The text goes where readers of notebooks look for it: the ``alt`` of the image's metadata
    (Quarto, Jupyter Book, the classic template of nbconvert), the PNG's own description, and the
    plain-text output.
    """
    if alt is not None:
        describe(fig, alt)
    text = getattr(fig, "alt_text", "")
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None, "Description": text or None})
    width, height = (round(inches * DPI) for inches in fig.get_size_inches())
    _display(buffer.getvalue(), text, width, height)


def show_picture(picture: Image.Image, alt: str) -> None:
    """`show` for a PIL picture."""
    described, buffer = PngInfo(), io.BytesIO()
    described.add_text("Description", alt)
    picture.save(buffer, "png", optimize=True, pnginfo=described)
    _display(buffer.getvalue(), alt, *picture.size)


def _display(png: bytes, text: str, width: int, height: int) -> None:
    from IPython.display import display

    data = {"image/png": png, "text/plain": f"Figure: {text}" if text else "Figure"}
    display(data, raw=True, metadata={"image/png": {"alt": text, "width": width, "height": height}})


def _array(x: Any) -> np.ndarray:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return Figure(figsize=size, layout="constrained").subplots() if ax is None else ax


def _figure(ax: Axes) -> matplotlib.figure.Figure:
    fig = ax.figure
    return fig if isinstance(fig, matplotlib.figure.Figure) else fig.figure  # out of a subfigure


def _style(ax: Axes, title: str = "", x: str = "", y: str = "", grid: str = "") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="#E4E4E4", linewidth=0.8)
        ax.set_axisbelow(True)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    fig = _figure(ax)
    if title and isinstance(fig, Figure):  # ours: the title has the whole width, legend included
        fig.suptitle(_wrap(title, fig.get_size_inches()[0]), x=0.01, ha="left", fontsize=11)
    elif title:
        ax.set_title(
            _wrap(title, fig.get_size_inches()[0] * ax.get_position().width), loc="left", fontsize=11
        )


def _wrap(text: str, inches: float) -> str:
    """Break a title at 11 points so that it fits the width."""
    return "\n".join(textwrap.wrap(text, max(20, int(inches * 12))))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _number(x: float) -> str:
    """Two digits, and an accuracy of 100 as it is said."""
    return f"{x:.0f}" if 100 <= abs(x) < 1e5 else f"{x:.2g}"


def _short(name: str, n: int = 22) -> str:
    return name if len(name) <= n else name[: n - 1] + "…"


# --- pictures ------------------------------------------------------------------------------


def image_grid(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    right: Sequence[bool] | None = None,
    title: str = "",
    size: float = 1.1,
) -> matplotlib.figure.Figure:
    """Pictures side by side.

    Parameters
    ----------
    images : n PIL images or arrays [h, w, 3]
    titles : n str, optional
        Drawn under each picture.
    columns : int, optional
        By default 8 at most.
    right : n bool, optional
        Marks each title as a right (blue, ✓) or a wrong (vermillion, ✗) answer.
    size : float
        Inches a picture.
    """
    images, n = list(images), len(images)
    if n == 0:
        raise ValueError("images: got none, want at least one")
    columns = min(n, 8) if columns is None else columns
    rows = -(-n // columns)
    row_height = size + (0.28 if titles is not None else 0.05)
    width = max(columns * size, 2.5)
    fig = Figure(figsize=(width, rows * row_height + (0.35 if title else 0)), layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for i, ax in enumerate(axes):
        ax.axis("off")
        if i >= n:
            continue
        ax.imshow(_array(images[i]))
        if titles is not None:
            mark, colour = ("", BLACK) if right is None else (("✓ ", BLUE) if right[i] else ("✗ ", RED))
            label = mark + _short(str(titles[i]), int(size * 13))
            ax.text(
                0.5, -0.04, label, transform=ax.transAxes, ha="center", va="top", fontsize=8, color=colour
            )
    if title:
        fig.suptitle(_wrap(title, width), x=0.01, ha="left", fontsize=11)
    names = "" if titles is None else ": " + ", ".join(map(str, titles))
    return describe(fig, f"{title + '. ' if title else ''}{n} pictures{names}.")


def zero_shot_bars(
    image: Any,
    names: Sequence[str],
    before: Any,
    after: Any | None = None,
    *,
    k: int = 5,
    highlight: str | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """A picture and its most likely class names, before and after an edit.

    Parameters
    ----------
    image : PIL image or array [h, w, 3]
    names : C str
    before, after : array [C]
        Probabilities (fractions): softmax of the logits.
    k : int
        Names shown.
    highlight : str, optional
        The class drawn in vermillion and hatched; by default the first one before.
    """
    panels = [("before", _array(before)), *([("after", _array(after))] if after is not None else [])]
    tops = [(label, p, np.argsort(-p, kind="stable")[:k]) for label, p in panels]
    highlight = names[tops[0][2][0]] if highlight is None else highlight
    fig = Figure(figsize=(2.0 + 2.9 * len(panels), 0.32 * k + 1.0), layout="constrained")
    axes = fig.subplots(1, 1 + len(panels), width_ratios=[1.0] + [1.35] * len(panels))
    axes[0].imshow(_array(image))
    axes[0].axis("off")
    for ax, (label, p, top) in zip(axes[1:], tops, strict=True):
        hit = [names[i] == highlight for i in top]
        bars = ax.barh(range(len(top)), 100 * p[top], color=[FORGET if h else PALE for h in hit], height=0.7)
        for bar, h in zip(bars, hit, strict=True):
            bar.set(hatch="///" if h else "", edgecolor="white", linewidth=0)
        for row, value in enumerate(p[top]):
            ax.text(100 * value + 2, row, f"{100 * value:.0f}", va="center", fontsize=9)
        ax.set_yticks(range(len(top)), [_short(names[i]) for i in top], fontsize=9)
        ax.invert_yaxis()
        ax.set_xlim(0, 115)
        ax.set_xticks([0, 50, 100])
        ax.tick_params(axis="y", length=0)
        _style(ax, x="probability, %")
        if len(panels) > 1:
            ax.set_title(label, fontsize=10, loc="left")
    said = [f"{label}: {names[top[0]]} ({100 * p[top[0]]:.0f}%)" for label, p, top in tops]
    title = "; ".join(said).capitalize() if title is None else title
    fig.suptitle(_wrap(title, fig.get_size_inches()[0]), x=0.01, ha="left", fontsize=11)
    lists = [f"{label}: " + ", ".join(f"{names[i]} {100 * p[i]:.0f}%" for i in top) for label, p, top in tops]
    return describe(fig, "A picture and its most likely names. " + "; ".join(lists) + ".")


# --- geometry ------------------------------------------------------------------------------


def similarity_matrix(
    T: Any, names: Sequence[str], *, ax: Axes | None = None, title: str | None = None
) -> matplotlib.figure.Figure:
    """Cosines between embeddings, as a matrix.

    Parameters
    ----------
    T : array [C, d]
        Embeddings; rows are normalised here.
    names : C str
    """
    T = _array(T).astype(float)
    T = T / np.linalg.norm(T, axis=1, keepdims=True)
    cosines, C = T @ T.T, len(T)
    ax = _axes(ax, _matrix_size(C))
    off = cosines[~np.eye(C, dtype=bool)]
    low = min(0.0, float(off.min())) if C > 1 else 0.0
    shown = ax.imshow(cosines, cmap="cividis", vmin=low, vmax=1)
    _figure(ax).colorbar(shown, ax=ax, label="cosine", shrink=0.8)
    labels = [_short(n, 16) for n in names]
    small = 9 if C <= 20 else 7
    ax.set_xticks(range(C), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=small)
    ax.set_yticks(range(C), labels, fontsize=small)
    if C <= 12:
        for i, j in np.ndindex(C, C):
            dark = (cosines[i, j] - low) / (1 - low) < 0.55
            colour = "white" if dark else "black"
            ax.text(j, i, f"{cosines[i, j]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    mean = float(off.mean()) if C > 1 else 1.0
    if title is None:
        title = f"Different names share much of their direction: mean cosine {mean:.2f}"
    _style(ax, title)
    ax.spines[:].set_visible(False)
    nearest = ""
    if C > 1:
        i, j = divmod(int(np.argmax(np.where(np.eye(C, dtype=bool), -2, cosines))), C)
        nearest = f" Nearest pair: {names[i]} and {names[j]}, {cosines[i, j]:.2f}."
    return describe(
        _figure(ax),
        f"Matrix of cosines between {C} names; off the diagonal the mean is {mean:.2f}.{nearest}",
    )


def _matrix_size(C: int) -> tuple[float, float]:
    cell = 0.46 if C <= 12 else max(0.16, 5.5 / C)
    return max(4.4, cell * C + 2.4), max(3.4, cell * C + 1.5)


def pca(Z: Any, k: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Principal components, with the sign fixed: each one's largest-magnitude entry is positive.

    Parameters
    ----------
    Z : array [n, d]
    k : int
        At most min(n, d).

    Returns
    -------
    scores [n, k], components [k, d], explained variance ratio [k] (fractions)

    Notes
    -----
    scores = (Z − mean) componentsᵀ, by scikit-learn's full SVD.
    """
    from sklearn.decomposition import PCA

    Z = _array(Z).astype(float)
    if not 1 <= k <= min(Z.shape):
        raise ValueError(f"k: got {k}, want 1 to {min(Z.shape)} for {Z.shape[0]} rows of {Z.shape[1]}")
    fitted = PCA(n_components=k, svd_solver="full").fit(Z)
    V = fitted.components_
    V = V * np.sign(V[np.arange(k), np.abs(V).argmax(1)])[:, None]
    return (Z - fitted.mean_) @ V.T, V, fitted.explained_variance_ratio_


def pca_scatter(
    Z: Any,
    groups: Sequence[Any] | None = None,
    *,
    names: Sequence[str] | None = None,
    thumbnails: Sequence[Any] | None = None,
    after: Any | None = None,
    components: tuple[int, int] = (1, 2),
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Embeddings on two of their principal components, and where an edit takes them.

    Parameters
    ----------
    Z : array [n, d]
    groups : n labels, optional
        Colour and marker shape by group (category, or class).
    names : n str, optional
        Written beside the points; empty text leaves a point unnamed.
    thumbnails : n PIL images, optional
        Drawn in place of the markers.
    after : array [n, d], optional
        The same rows after an edit, in the components of ``Z``: arrows lead to them.
    components : two int
        Which ones are drawn, counted from 1.
    """
    xy, V, ratio = _components(Z, components)
    ax = _axes(ax, (6.4, 4.6))
    if after is not None:
        to = (_array(after).astype(float) - _array(Z).astype(float).mean(0)) @ V.T
        for a, b in zip(xy, to, strict=True):
            if np.linalg.norm(b - a) > 0.01 * np.ptp(xy):
                ax.annotate("", b, a, arrowprops=dict(arrowstyle="->", color=GREY, shrinkA=4, shrinkB=0))
        ax.scatter(*to.T, s=18, facecolors="white", edgecolors=GREY, zorder=3, label="after")
    if thumbnails is not None:
        ax.scatter(*xy.T, s=1, alpha=0)  # so that the axes know the extent
        for picture, point in zip(thumbnails, xy, strict=True):
            zoom = 22 / max(_array(picture).shape[:2])
            ax.add_artist(AnnotationBbox(OffsetImage(_array(picture), zoom=zoom), point, frameon=False))
    else:
        _scatter_groups(ax, xy, groups)
    for name, point in zip(names or [], xy, strict=names is not None):
        ax.annotate(_short(name), point, xytext=(5, 4), textcoords="offset points", fontsize=8,
                    path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
    ax.margins(0.08)
    if title is None:
        title = f"Principal components {_held(components, ratio)}"
    _style(ax, title, *(f"component {c} ({100 * r:.0f}%)" for c, r in zip(components, ratio, strict=True)))
    kinds = "" if groups is None else f" in {len(dict.fromkeys(groups))} groups"
    moved = "" if after is None else " Arrows lead to where an edit takes them."
    return describe(_figure(ax), f"Scatter of {len(xy)} embeddings{kinds}. {title}.{moved}")


def _components(Z: Any, components: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`pca`, of which only some components (counted from 1) are kept."""
    if min(components) < 1:
        raise ValueError(f"components: got {tuple(components)}, want numbers from 1")
    scores, V, ratio = pca(Z, max(components))
    picked = [c - 1 for c in components]
    return scores[:, picked], V[picked], ratio[picked]


def _held(components: Sequence[int], ratio: np.ndarray) -> str:
    *first, last = map(str, components)
    return f"{', '.join(first)} and {last} hold {100 * ratio.sum():.0f}% of the variance"


def pca_scatter_3d(
    Z: Any,
    groups: Sequence[Any] | None = None,
    *,
    after: Any | None = None,
    components: tuple[int, int, int] = (1, 2, 3),
    azimuth: float = -60,
    elevation: float = 20,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Embeddings on three of their principal components, seen from a direction (degrees).

    Parameters are those of `pca_scatter`.
    """
    xyz, V, ratio = _components(Z, components)
    fig = Figure(figsize=(6.4, 4.3), layout="constrained")
    ax = fig.add_subplot(projection="3d")
    if after is not None:
        to = (_array(after).astype(float) - _array(Z).astype(float).mean(0)) @ V.T
        for a, b in zip(xyz, to, strict=True):
            ax.plot(*np.stack([a, b]).T, color=GREY, linewidth=0.6)
        ax.scatter(*to.T, s=18, facecolors="white", edgecolors=GREY, label="after")
    _scatter_groups(ax, xyz, groups)
    if (legend := ax.get_legend()) is not None:
        legend.remove()  # beside the box it would lie on the third axis' label
        fig.legend(*ax.get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside right center")
    ax.view_init(elev=elevation, azim=azimuth)
    ax.tick_params(labelsize=7, pad=-2)
    labels = [f"component {c} ({100 * r:.0f}%)" for c, r in zip(components, ratio, strict=True)]
    ax.set(xlabel=labels[0], ylabel=labels[1], zlabel=labels[2])
    ax.set_box_aspect(None, zoom=0.86)
    title = f"Principal components {_held(components, ratio)}" if title is None else title
    fig.suptitle(_wrap(title, 6.4), x=0.01, ha="left", fontsize=11)
    kinds = "" if groups is None else f" in {len(dict.fromkeys(groups))} groups"
    return describe(fig, f"Three-dimensional scatter of {len(xyz)} embeddings{kinds}. {title}.")


def explained_variance(
    ratio: Any, *, shown: int = 20, ax: Axes | None = None, title: str | None = None
) -> matplotlib.figure.Figure:
    """How much of the variance each principal component holds, and all of them up to it.

    Parameters
    ----------
    ratio : array [k]
        Explained variance ratios (fractions), largest first.
    shown : int
        Bars drawn.
    """
    r = 100 * _array(ratio).astype(float)
    total = np.cumsum(r)
    k = min(shown, len(r))
    ax = _axes(ax, (6.4, 3.2))
    ax.bar(range(1, k + 1), r[:k], color=SKY, label="this component")
    ax.plot(range(1, k + 1), total[:k], "-o", color=BLACK, markersize=4, label="all up to this one")
    ax.set_ylim(0, 103)
    ax.set_xticks([1, *range(5, k + 1, 5)])
    ax.legend(fontsize=9, frameon=False, loc="upper left")
    if title is None:
        half = int((total < 50).sum()) + 1
        title = f"{half} of {len(r)} components hold half of the variance; the first holds {r[0]:.0f}%"
    _style(ax, title, "principal component", "share of the variance, %", "y")
    return describe(
        _figure(ax), f"{title}. The first {min(2, len(r))} together: {total[min(1, len(r) - 1)]:.0f}%."
    )


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


def _scatter_groups(ax: Axes, xy: np.ndarray, groups: Sequence[Any] | None) -> None:
    groups = [""] * len(xy) if groups is None else [str(g) for g in groups]
    kinds = list(dict.fromkeys(groups))
    for i, kind in enumerate(kinds):
        rows = [g == kind for g in groups]
        marker, colour = MARKERS[i % len(MARKERS)], SERIES[i % len(SERIES)]
        ax.scatter(*xy[rows].T, s=26, marker=marker, color=colour, alpha=0.85, linewidths=0, label=kind)
    if len(kinds) > 1:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def cosine_histogram(
    text_text: Any,
    image_image: Any,
    matched: Any,
    unmatched: Any,
    *,
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """The cone and the modality gap: how cosines are distributed within and across modalities.

    Parameters
    ----------
    text_text, image_image : array
        Cosines between different names, and between images of different classes.
    matched, unmatched : array
        Cosines of images with their own name, and with the other names.
    """
    ax = _axes(ax, (6.4, 3.6))
    series = {
        "name – other name": _array(text_text),
        "image – image of another class": _array(image_image),
        "image – own name": _array(matched),
        "image – other name": _array(unmatched),
    }
    colours, lines = [ORANGE, SKY, RED, BLUE], ["-", "--", "-", "--"]
    everything = np.concatenate([v.ravel() for v in series.values()])
    bins = np.linspace(min(0, everything.min()), max(1, everything.max()), 61)
    for (label, values), colour, line in zip(series.items(), colours, lines, strict=True):
        density, _ = np.histogram(values.ravel(), bins, density=True)
        middle = (bins[1:] + bins[:-1]) / 2
        label = f"{label}, mean {values.mean():.2f}"
        ax.plot(middle, density, line, color=colour, linewidth=2, label=label)
        ax.fill_between(middle, density, color=colour, alpha=0.12, linewidth=0)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.legend(fontsize=8, frameon=False, loc="upper left")
    ax.set_ylim(0)
    means = {k: float(v.mean()) for k, v in series.items()}
    if title is None:
        title = (
            f"Nothing is orthogonal: mean cosine {means['image – own name']:.2f} with its own name, "
            f"{means['image – other name']:.2f} with others"
        )
    _style(ax, title, "cosine", "density")
    text = "; ".join(f"{k}: mean {v:.2f}" for k, v in means.items())
    return describe(_figure(ax), f"Four distributions of cosines. {text}.")


# --- forget and retain ---------------------------------------------------------------------


def forget_retain_bars(reports: Mapping[str, Any], *, title: str | None = None) -> matplotlib.figure.Figure:
    """Accuracy on the forgotten and on the retained classes, method by method.

    Parameters
    ----------
    reports : dict of name -> Report
        Anything with forget_before, forget_after, retain_before, retain_after (fractions).
    """
    if not reports:
        raise ValueError("reports: got none, want at least one")
    names, R = list(reports), list(reports.values())
    fig = Figure(figsize=(8.0, 0.36 * len(names) + 1.5), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    for ax, which, colour in zip(axes, ["forget", "retain"], [FORGET, RETAIN], strict=True):
        before = np.array([100 * getattr(r, f"{which}_before") for r in R])
        after = np.array([100 * getattr(r, f"{which}_after") for r in R])
        rows = np.arange(len(R))
        ax.barh(rows, after, height=0.62, color=colour, label="after")
        ax.plot(before, rows, "D", color="white", markeredgecolor=BLACK, markersize=6, label="before", ls="")
        for row, a in enumerate(after):
            ax.text(121, row, f"{a:.1f}", va="center", ha="right", fontsize=9)
        ax.set_xlim(0, 122)
        ax.set_xticks([0, 25, 50, 75, 100])
        ax.tick_params(axis="y", length=0)
        what = (
            "recall of the forgotten classes, %" if which == "forget" else "accuracy on the other classes, %"
        )
        _style(ax, x=what, grid="x")
        ax.set_title(which, loc="left", fontsize=10, color=colour, fontweight="bold")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    handles, labels = axes[1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    title = "What each method forgets, and what it costs the other classes" if title is None else title
    fig.suptitle(_wrap(title, 8.0), x=0.01, ha="left", fontsize=11)
    rows_text = "; ".join(
        f"{n}: forget {_percent(r.forget_before)} to {_percent(r.forget_after)}, "
        f"retain {_percent(r.retain_before)} to {_percent(r.retain_after)}"
        for n, r in reports.items()
    )
    return describe(fig, f"{title}. Accuracy in percent, before to after. {rows_text}.")


def forget_retain_plane(
    points: Mapping[str, Any],
    *,
    highlight: str | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Methods as points: retained accuracy across, forgotten recall up; best is lower right.

    Parameters
    ----------
    points : dict of name -> Report or (retain_after, forget_after)
        Fractions.
    highlight : str, optional
        The one point that is drawn in colour, large, over the others in grey.
    """
    ax = _axes(ax, (5.8, 4.2))
    xy = {n: _point(p) for n, p in points.items()}
    for i, (name, (x, y)) in enumerate(xy.items()):
        marker, colour = MARKERS[i % len(MARKERS)], SERIES[i % len(SERIES)]
        if highlight is not None:
            colour = FORGET if name == highlight else PALE
        top = name == highlight
        label = f"{name}: {x:.1f} / {y:.1f}"
        ax.plot(x, y, marker, color=colour, markersize=15 if top else 10, markeredgecolor="white",
                label=label, clip_on=False, zorder=4 if top else 3)  # fmt: skip
    values = np.array(list(xy.values()))
    low = max(0.0, 10 * np.floor((values[:, 0].min() - 4) / 10))
    ax.set_xlim(low, 100)
    ax.set_ylim(-2, 102)
    ax.annotate("best", (100, 0), (-30, 14), textcoords="offset points", color=GREY, fontsize=9,
                arrowprops=dict(arrowstyle="->", color=GREY))  # fmt: skip
    ax.legend(title="retain / forget, %", fontsize=8, title_fontsize=8, frameon=False, alignment="left",
              loc="center left", bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    title = "Forgetting well is low and to the right" if title is None else title
    _style(ax, title, "accuracy on the other classes, after, %", "recall of the forgotten, after, %", "both")
    text = "; ".join(f"{n}: retain {x:.1f}, forget {y:.1f}" for n, (x, y) in xy.items())
    return describe(_figure(ax), f"{title}. In percent, after the edit. {text}.")


def _point(p: Any) -> tuple[float, float]:
    x, y = (p.retain_after, p.forget_after) if hasattr(p, "retain_after") else p
    return 100 * float(x), 100 * float(y)


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


def collateral(
    similarity: Any,
    change: Any,
    names: Sequence[str],
    *,
    worst: int = 5,
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Who pays: each retained class's change in accuracy against its cosine with the forgotten one.

    Parameters
    ----------
    similarity : array [C]
        Cosine of each retained name with the forgotten one (the nearest, if several).
    change : array [C]
        Accuracy after minus before (fractions, negative is a loss).
    names : C str
    worst : int
        How many losers are named.
    """
    ax = _axes(ax, (6.0, 3.8))
    s, c = _array(similarity).astype(float), 100 * _array(change).astype(float)
    losers = [i for i in np.lexsort((-s, c))[:worst] if c[i] < 0]
    lost = np.isin(np.arange(len(c)), losers)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.scatter(s[~lost], c[~lost], s=28, marker="s", color=RETAIN, alpha=0.6, linewidths=0)
    ax.scatter(s[lost], c[lost], s=28, marker="s", color=FORGET, linewidths=0)
    _number_points(ax, s[losers], c[losers])
    if losers:
        lines = [f"{rank}  {_short(names[i])} {c[i]:+.0f}" for rank, i in enumerate(losers, 1)]
        ax.text(1.03, 0.98, "largest losses, points\n" + "\n".join(lines), transform=ax.transAxes,
                va="top", fontsize=9, linespacing=1.5)  # fmt: skip
    share = float((c < 0).mean()) if len(c) else 0.0
    if title is None:
        lowest = f"; the worst is {names[losers[0]]} ({c[losers[0]]:+.0f} points)" if losers else ""
        title = f"{100 * share:.0f}% of the retained classes lose accuracy{lowest}"
    _style(ax, title, "cosine of the name with the forgotten one", "change in accuracy, points", "both")
    text = "; ".join(f"{names[i]}: cosine {s[i]:.2f}, {c[i]:+.0f} points" for i in losers)
    return describe(_figure(ax), f"{title}. Largest losses: {text or 'none'}.")


def _number_points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Number points from 1, each above its point; points too close for that share a label."""
    ax.autoscale_view()
    places = ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi
    groups: list[list[int]] = []
    for i, place in enumerate(places):
        near = (g for g in groups if np.hypot(*(places[g[0]] - place)) < 14)  # points, as the font
        group = next(near, None)
        groups.append([i]) if group is None else group.append(i)
    for group in groups:
        ax.annotate(", ".join(str(i + 1) for i in group), (x[group[0]], y[group[0]]), (0, 4),
                    textcoords="offset points", ha="center", va="bottom", fontsize=9, color=FORGET,
                    path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip


def scores_before_after(
    before: Any,
    after: Any,
    names: Sequence[str],
    *,
    forget: Iterable[str] = (),
    k: int = 10,
    ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """One image's cosines with class names, before and after an edit: which scores moved.

    Parameters
    ----------
    before, after : array [C]
        Cosines (or logits) of the image with each name.
    names : C str
    forget : names, optional
        Drawn in vermillion.
    k : int
        The names shown are the k highest before, and the highest after.
    """
    b, a, forget = _array(before).astype(float), _array(after).astype(float), set(forget)
    shown = list(np.argsort(-b, kind="stable")[:k])
    if (best := int(np.argmax(a))) not in shown:
        shown.append(best)
    ax = _axes(ax, (6.0, 0.3 * len(shown) + 1.5))
    for row, i in enumerate(shown):
        colour, marker = (FORGET, "o") if names[i] in forget else (RETAIN, "s")
        ax.plot([b[i], a[i]], [row, row], color=colour, alpha=0.5, linewidth=2)
        ax.plot(b[i], row, marker, color="white", markeredgecolor=colour, markersize=7, markeredgewidth=1.5)
        ax.plot(a[i], row, marker, color=colour, markersize=7)
    ax.set_yticks(range(len(shown)), [_short(names[i]) for i in shown], fontsize=9)
    ax.invert_yaxis()
    ax.margins(y=0.06)
    ax.tick_params(axis="y", length=0)
    for filled, label in [(False, "before"), (True, "after")]:
        face = GREY if filled else "white"
        ax.plot([], [], "s", color=face, markeredgecolor=GREY, markersize=7, label=label)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if title is None:
        title = f"The highest score is {names[int(np.argmax(b))]} before, {names[best]} after"
    _style(ax, title, "cosine of the image with the name", grid="x")
    text = "; ".join(f"{names[i]} {b[i]:.2f} to {a[i]:.2f}" for i in shown)
    return describe(_figure(ax), f"{title}. Scores before to after: {text}.")


# --- dials (notebook 04) -------------------------------------------------------------------


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


def forget_retain_panels(
    sweep: Iterable[Mapping[str, Any]], *, title: str | None = None
) -> matplotlib.figure.Figure:
    """The forget-retain plane once for each number of forgotten classes.

    Parameters
    ----------
    sweep : Sweep of `clipnull.sweep_sizes`
        Points with size, method, forget_after, retain_before and retain_after (fractions).
    """
    points = list(sweep)
    sizes, methods = (list(dict.fromkeys(p[k] for p in points)) for k in ("size", "method"))
    fig = Figure(figsize=(1.9 * len(sizes) + 1.9, 2.9), layout="constrained")
    axes = fig.subplots(1, len(sizes), sharex=True, sharey=True, squeeze=False)[0]
    for ax, size in zip(axes, sizes, strict=True):
        for i, method in enumerate(methods):
            (p,) = [p for p in points if p["size"] == size and p["method"] == method]
            ax.plot(*_point((p["retain_after"], p["forget_after"])), MARKERS[i % len(MARKERS)], markersize=8,
                    color=SERIES[i % len(SERIES)], markeredgecolor="white", label=method, clip_on=False,
                    linestyle="none", zorder=3)  # fmt: skip
        _style(ax, grid="both")
        ax.set_title(f"{size} forgotten", loc="left", fontsize=10)
        ax.set_xlim(0, 100)
        ax.set_ylim(-3, 103)
    fig.supxlabel("accuracy on the other classes, after, %", fontsize=10)
    axes[0].set_ylabel("recall of the forgotten, %")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    title = "Low and to the right is better" if title is None else title
    fig.suptitle(_wrap(title, 1.9 * len(sizes) + 1.9), x=0.01, ha="left", fontsize=11)
    text = "; ".join(
        f"{p['size']} forgotten, {p['method']}: retain {_percent(p['retain_after'])}, "
        f"forget {_percent(p['forget_after'])}"
        for p in points
    )
    return describe(fig, f"{title}. In percent, after the edit. {text}.")


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
