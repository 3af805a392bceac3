"""Pictures, scores, cosines and principal components."""

from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from clipnull.plots import base
from clipnull.plots.base import BLACK, BLUE, FORGET, GREY, MARKERS, ORANGE, PALE, RED, SERIES, SKY, Figure

__all__ = [
    "cosine_histogram",
    "image_grid",
    "pca",
    "pca_scatter",
    "pca_scatter_3d",
    "zero_shot_bars",
]


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
        Inches per picture.
    """
    images, n = list(images), len(images)
    if n == 0:
        raise ValueError("images: got none, want at least one")
    columns = min(n, 8) if columns is None else columns
    rows = -(-n // columns)
    row_height = size + (0.28 if titles is not None else 0.05)
    height = rows * row_height + (0.35 if title else 0)
    fig = Figure(figsize=(max(columns * size, 2.5), height), layout="constrained")
    panels = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in panels:
        ax.axis("off")
    for i, ax in enumerate(panels[:n]):
        ax.imshow(base.array(images[i]))
        if titles is not None:
            mark, colour = ("", BLACK) if right is None else (("✓ ", BLUE) if right[i] else ("✗ ", RED))
            label = mark + base.short(str(titles[i]), int(size * 13))
            ax.text(0.5, -0.04, label, transform=ax.transAxes, ha="center", va="top", fontsize=8,
                    color=colour)  # fmt: skip
    if title:
        base.title(fig, title)
    names = "" if titles is None else ": " + ", ".join(map(str, titles))
    return base.describe(fig, f"{title + '. ' if title else ''}{n} pictures{names}.")


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
    panels = [("before", base.array(before)), *([("after", base.array(after))] if after is not None else [])]
    tops = [(label, p, np.argsort(-p, kind="stable")[:k]) for label, p in panels]
    highlight = names[tops[0][2][0]] if highlight is None else highlight
    fig = Figure(figsize=(2.0 + 2.9 * len(panels), 0.32 * k + 1.0), layout="constrained")
    left, *rest = fig.subplots(1, 1 + len(panels), width_ratios=[1.0] + [1.35] * len(panels))
    left.imshow(base.array(image))
    left.axis("off")
    for ax, (label, p, top) in zip(rest, tops, strict=True):
        hit = [names[i] == highlight for i in top]
        bars = ax.barh(range(len(top)), 100 * p[top], color=[FORGET if h else PALE for h in hit], height=0.7)
        for bar, h in zip(bars, hit, strict=True):
            bar.set(hatch="///" if h else "", edgecolor="white", linewidth=0)
        for row, value in enumerate(p[top]):
            ax.text(100 * value + 2, row, f"{100 * value:.0f}", va="center", fontsize=9)
        ax.set_yticks(range(len(top)), [base.short(names[i]) for i in top], fontsize=9)
        ax.invert_yaxis()
        ax.set_xlim(0, 115)
        ax.set_xticks([0, 50, 100])
        ax.tick_params(axis="y", length=0)
        base.style(ax, x="probability, %")
        if len(panels) > 1:
            ax.set_title(label, fontsize=10, loc="left")
    said = [f"{label}: {base.short(names[top[0]])} ({100 * p[top[0]]:.0f}%)" for label, p, top in tops]
    title = base.capital("; ".join(said)) if title is None else title
    base.title(fig, title)
    lists = [f"{label}: " + ", ".join(f"{names[i]} {100 * p[i]:.0f}%" for i in top) for label, p, top in tops]
    return base.describe(fig, "A picture and its most likely names. " + "; ".join(lists) + ".")


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

    Z = base.numbers(Z)
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
    thumbnails: Sequence[Any] | None = None,
    after: Any | None = None,
    components: tuple[int, int] = (1, 2),
    title: str | None = None,
) -> matplotlib.figure.Figure:
    """Embeddings on two of their principal components, and where an edit takes them.

    Parameters
    ----------
    Z : array [n, d]
    groups : n labels, optional
        Colour and marker shape by group (category, or class).
    thumbnails : n PIL images, optional
        Drawn in place of the markers.
    after : array [n, d], optional
        The same rows after an edit, in the components of ``Z``: arrows lead to them.
    components : two int
        Which ones are drawn, counted from 1.
    """
    xy, to, labels, held = _components(Z, after, components)
    ax = base.axes((6.4, 4.6))
    if to is not None:
        for a, b in zip(xy, to, strict=True):
            if np.linalg.norm(b - a) > 0.01 * np.ptp(xy):
                ax.annotate("", b, a, arrowprops=dict(arrowstyle="->", color=GREY, shrinkA=4, shrinkB=0))
        ax.scatter(*to.T, s=18, facecolors="white", edgecolors=GREY, zorder=3, label="after")
    if thumbnails is not None:
        ax.scatter(*xy.T, s=1, alpha=0)  # so that the axes know the extent
        for picture, point in zip(thumbnails, xy, strict=True):
            zoom = 22 / max(base.array(picture).shape[:2])
            ax.add_artist(AnnotationBbox(OffsetImage(base.array(picture), zoom=zoom), point, frameon=False))
    elif _scatter_groups(ax, xy, groups) > 1:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.margins(0.08)
    title = held if title is None else title
    fig = base.style(ax, title, *labels)
    moved = "" if after is None else " Arrows lead to where an edit takes them."
    return base.describe(fig, f"Scatter of {len(xy)} embeddings{_kinds(groups)}. {title}.{moved}")


def pca_scatter_3d(
    Z: Any,
    groups: Sequence[Any] | None = None,
    *,
    after: Any | None = None,
    components: tuple[int, int, int] = (1, 2, 3),
    azimuth: float = -60,
    elevation: float = 20,
) -> matplotlib.figure.Figure:
    """Embeddings on three of their principal components, seen from a direction (degrees).

    Parameters are those of `pca_scatter`.
    """
    xyz, to, labels, held = _components(Z, after, components)
    fig = Figure(figsize=(6.4, 4.3), layout="constrained")
    ax = fig.add_subplot(projection="3d")
    if to is not None:
        for a, b in zip(xyz, to, strict=True):
            ax.plot(*np.stack([a, b]).T, color=GREY, linewidth=0.6)
        ax.scatter(*to.T, s=18, facecolors="white", edgecolors=GREY, label="after")
    if _scatter_groups(ax, xyz, groups) > 1:  # beside the box a legend would lie on the third axis' label
        fig.legend(*ax.get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside right center")
    ax.view_init(elev=elevation, azim=azimuth)
    ax.tick_params(labelsize=7, pad=-2)
    ax.set(xlabel=labels[0], ylabel=labels[1], zlabel=labels[2])
    ax.set_box_aspect(None, zoom=0.86)
    base.title(fig, held)
    return base.describe(fig, f"Three-dimensional scatter of {len(xyz)} embeddings{_kinds(groups)}. {held}.")


def _components(
    Z: Any, after: Any | None, components: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None, list[str], str]:
    """Rows of Z, and of ``after``, in some components of Z; a label for each, and a title."""
    if min(components) < 1:
        raise ValueError(f"components: got {tuple(components)}, want numbers from 1")
    scores, V, ratio = pca(Z, max(components))
    picked = [c - 1 for c in components]
    to = None if after is None else (base.numbers(after) - base.numbers(Z).mean(0)) @ V[picked].T
    labels = [f"component {c} ({100 * ratio[c - 1]:.0f}%)" for c in components]
    *first, last = map(str, components)
    held = f"{', '.join(first)} and {last} hold {100 * ratio[picked].sum():.0f}% of the variance"
    return scores[:, picked], to, labels, f"Principal components {held}"


def _kinds(groups: Sequence[Any] | None) -> str:
    if groups is None:
        return ""
    kinds = dict.fromkeys(map(str, groups))
    return f" in {len(kinds)} groups{base.uncut(kinds, 30)}"


def _scatter_groups(ax: Axes, xy: np.ndarray, groups: Sequence[Any] | None) -> int:
    """Draw the points group by group; how many groups there are."""
    groups = [""] * len(xy) if groups is None else [str(g) for g in groups]
    kinds = list(dict.fromkeys(groups))
    for i, kind in enumerate(kinds):
        rows = [g == kind for g in groups]
        marker, colour = MARKERS[i % len(MARKERS)], SERIES[i % len(SERIES)]
        ax.scatter(*xy[rows].T, s=26, marker=marker, color=colour, alpha=0.85, linewidths=0,
                   label=base.short(kind, 30))  # fmt: skip
    return len(kinds)


def cosine_histogram(
    text_text: Any, image_image: Any, matched: Any, unmatched: Any
) -> matplotlib.figure.Figure:
    """The cone and the modality gap: how cosines are distributed within and across modalities.

    Parameters
    ----------
    text_text, image_image : array
        Cosines between different names, and between images of different classes.
    matched, unmatched : array
        Cosines of images with their own name, and with the other names.
    """
    ax = base.axes((6.4, 3.6))
    series = {
        "name – other name": base.array(text_text),
        "image – image of another class": base.array(image_image),
        "image – own name": base.array(matched),
        "image – other name": base.array(unmatched),
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
    means = {k: v.mean() for k, v in series.items()}
    own, other = means["image – own name"], means["image – other name"]
    title = f"Nothing is orthogonal: mean cosine {own:.2f} with its own name, {other:.2f} with others"
    fig = base.style(ax, title, "cosine", "density")
    text = "; ".join(f"{k}: mean {v:.2f}" for k, v in means.items())
    return base.describe(fig, f"Four distributions of cosines. {text}.")
