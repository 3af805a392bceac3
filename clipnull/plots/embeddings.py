"""Pictures, scores, cosines and principal components."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipnull import _check, subspace
from clipnull.plots import base
from clipnull.plots.base import BLACK, BLUE, GREY, HALO, LEGEND, MARKERS, ORANGE, PALE, RED, SERIES, SKY

__all__ = [
    "cone", "cosine_histogram", "cumulative_variance", "image_grid", "pca", "pca_scatter", "two_means",
    "zero_shot_bars",
]  # fmt: skip


@_check.by_name
def image_grid(
    images: Sequence[Any], titles: Sequence[str], *, title: str, columns: int | None = None,
    right: Sequence[bool] | None = None, size: float = 1.1,
) -> Figure:  # fmt: skip
    """Pictures (PIL or [h, w, 3]) of ``size`` inches over their titles, ✓ before those ``right``, else ✗."""
    n = len(_check.having("images", images, ""))
    pictures = [base.picture(f"images[{i}]", x) for i, x in enumerate(images)]
    titles, marks = _check.names("titles", titles, n), [None] * n if right is None else right
    _check.names("right", marks, n)
    size, columns = _check.number("size", size, 0.1, 20), columns or min(n, 8)
    rows = -(-n // columns)
    fig, panels = base.panels((max(columns * size, 2.5), rows * (size + 0.28) + 0.35), rows, columns)
    for ax in panels.flat:
        ax.axis("off")
    for ax, picture, text, answer in zip(panels.flat[:n], pictures, titles, marks, strict=True):
        ax.imshow(picture)
        mark, colour = {None: ("", BLACK), True: ("✓ ", BLUE), False: ("✗ ", RED)}[answer]
        label = mark + base.short(text, int(size * 13))
        ax.text(0.5, -0.04, label, transform=ax.transAxes, ha="center", va="top", fontsize=8, color=colour)
    base.title(fig, title)
    return base.describe(fig, f"{title}. {n} pictures: {', '.join(titles)}.")


@_check.by_name
def zero_shot_bars(
    image: Any, names: Sequence[str], before: Any, after: Any | None = None, *,
    highlight: str | None = None, title: str | None = None,
) -> Figure:  # fmt: skip
    """A picture and its five likeliest names, by probabilities [C] before and after; ``highlight`` is red."""
    p = base.numbers("before", before, None, shares=True)
    names, panels = _check.names("names", names, len(p)), {"": p}
    if after is not None:
        panels = {"before: ": p, "after: ": base.numbers("after", after, len(p), shares=True)}
    tops = [(label, p, np.argsort(-p, kind="stable")[:5]) for label, p in panels.items()]
    highlight = names[tops[0][2][0]] if highlight is None else highlight
    apart = dict(width_ratios=[1.0] + [1.35] * len(panels), wspace=0.08)  # numbers clear of the next names
    fig, ((left, *rest),) = base.panels((2.0 + 2.9 * len(panels), 2.6), 1, 1 + len(panels), gridspec_kw=apart)
    left.imshow(base.picture("image", image))
    left.axis("off")
    for ax, (label, p, top) in zip(rest, tops, strict=True):
        base.shares(ax, [names[i] for i in top], (100 * p[top]).tolist(), [highlight], 100)
        ax.set_xticks([0, 50, 100])
        base.style(ax, x="probability, %")
        ax.set_title(label.removesuffix(": "), fontsize=10, loc="left")
    said = "; ".join(f"{label}{base.short(names[top[0]])} ({100 * p[top[0]]:.0f}%)" for label, p, top in tops)
    base.title(fig, base.capital(said) if title is None else title)
    lists = [label + ", ".join(f"{names[i]} {100 * p[i]:.0f}%" for i in top) for label, p, top in tops]
    return base.describe(fig, "A picture and its most likely names. " + "; ".join(lists) + ".")


@_check.by_name
def pca(Z: Any, k: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [n, k], components [k, d], largest entry positive, and shares of variance [k] of Z [n, d]."""
    from sklearn.decomposition import PCA

    Z = base.rows("Z", Z)
    fitted = PCA(_check.whole("k", k, 1, min(Z.shape)), svd_solver="full").fit(Z)
    V = fitted.components_
    V = V * np.sign(V[np.arange(k), np.abs(V).argmax(1)])[:, None]
    return (Z - fitted.mean_) @ V.T, V, fitted.explained_variance_ratio_


@_check.by_name
def pca_scatter(Z: Any, groups: Sequence[Any], *, title: str) -> Figure:
    """Embeddings [n, d] on their first two principal components, each group (n labels) in its own look."""
    scores, _, ratio = pca(Z, 2)
    groups = _check.names("groups", groups, len(scores))
    ax, kinds = base.axes((6.4, 4.6)), dict.fromkeys(groups)
    _clouds(ax, {kind: scores[[g == kind for g in groups]] for kind in kinds})
    ax.margins(0.08)
    fig = base.style(ax, title, *(f"component {i} ({100 * r:.0f}%)" for i, r in enumerate(ratio, 1)))
    among = f"{len(scores)} embeddings in {len(kinds)} groups: {', '.join(kinds)}"
    return base.describe(fig, f"Scatter of {among}. {title}.")


def _clouds(ax: Axes, clouds: Mapping[str, np.ndarray], n: int = 30) -> None:
    for i, (kind, xy) in enumerate(clouds.items()):
        look: dict[str, Any] = dict(marker=MARKERS[i % len(MARKERS)], color=SERIES[i % len(SERIES)])
        ax.scatter(*xy.T, s=26, alpha=0.85, linewidths=0, label=base.short(kind, n), **look)
    if len(clouds) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **LEGEND)


@_check.by_name
def cone(kinds: Mapping[str, Any]) -> Figure:
    """Embeddings [n, d] at length 1 and their angle from the first kind's mean, on alternating sides."""
    unit = _unit_rows(kinds)
    first = next(iter(unit))
    axis = unit[first].mean(0)
    axis /= np.linalg.norm(axis)
    angles = {kind: np.arccos(np.clip(rows @ axis, -1, 1)) for kind, rows in unit.items()}
    clouds, said = {}, []
    for kind, a in angles.items():
        side = np.where(np.arange(len(a)) % 2 == 0, 1, -1)
        degrees = f"{np.degrees(a).mean():.0f}° ± {np.degrees(a).std():.0f}°"
        said.append(f"{kind} {degrees}")
        clouds[f"{base.short(kind, 16)} {degrees}"] = np.stack([np.cos(a), side * np.sin(a)], 1)
    ax = base.axes((6.4, 4.4))
    _circle(ax, np.pi / 2, {first: np.array([1.0, 0.0])})
    turn = np.linspace(-1, 1, 61) * angles[first].mean()
    ax.fill([0, *np.cos(turn)], [0, *np.sin(turn)], color=SERIES[0], alpha=0.1, linewidth=0)
    for x, y in next(iter(clouds.values())):
        ax.plot([0, x], [0, y], color=SERIES[0], linewidth=0.5, alpha=0.35)
    _clouds(ax, clouds)
    title = f"Angle from the mean of the {base.short(first, 16)}: {', '.join(clouds)}"
    fig = base.style(ax, title, "cosine with the mean", "sine, on alternating sides")
    whole = f"Unit arrows at their angle from the mean of the {first}: {', '.join(said)}"
    return base.describe(fig, f"{title}. {whole}.")


@_check.by_name
def two_means(kinds: Mapping[str, Any]) -> Figure:
    """Embeddings [n, d] at length 1, projected onto the plane of the first two kinds' means."""
    unit = _unit_rows(kinds, 2)
    first, second, *_ = unit
    means = np.stack([unit[first].mean(0), unit[second].mean(0)])
    Q, R = np.linalg.qr(means.T)
    Q = Q * np.where(np.diag(R) < 0, -1, 1)
    ax = base.axes((6.4, 4.4))
    _circle(ax, np.pi, {first: means[0] @ Q, second: means[1] @ Q})
    _clouds(ax, {kind: rows @ Q for kind, rows in unit.items()}, 16)
    ax.set(xlim=(-0.4, 1.05), ylim=(-0.4, 1.05))
    x, y = np.linalg.norm(means, axis=1)
    gap = np.linalg.norm(means[0] - means[1])
    one, two = base.short(first, 16), base.short(second, 16)
    title = f"{base.capital(one)} and {two}: means {x:.2f} and {y:.2f} long, {gap:.2f} apart"
    fig = base.style(ax, title, f"along the mean of the {one}", f"the rest of the mean of the {two}")
    return base.describe(fig, f"{title}. Plane through the origin and two means. Drawn: {', '.join(kinds)}.")


def _circle(ax: Axes, turn: float, means: Mapping[str, np.ndarray]) -> None:
    angle = np.linspace(-turn, turn, 181)
    arrow = dict(arrowstyle="-|>", color=BLACK, lw=1.5, shrinkA=0, shrinkB=0)
    ax.plot(np.cos(angle), np.sin(angle), color=PALE, linewidth=1, zorder=1)
    ax.set_aspect("equal")
    for kind, xy in means.items():
        ax.annotate("", xy, (0, 0), arrowprops=arrow)
        ax.annotate(f"mean of the {base.short(kind, 16)}", xy / 2, (0, 5), textcoords="offset points",
                    fontsize=9, ha="center", path_effects=HALO)  # fmt: skip


def _unit_rows(kinds: Mapping[str, Any], least: int = 1) -> dict[str, np.ndarray]:
    if len(kinds) < least:
        raise ValueError(f"kinds: got {len(kinds)}, want at least {least}")
    first = next(iter(kinds))
    dim = base.rows(f"kinds[{first!r}]", kinds[first]).shape[1]
    rows = {kind: base.rows(f"kinds[{kind!r}]", x, dim, nonzero=True) for kind, x in kinds.items()}
    return {kind: x / np.linalg.norm(x, axis=1, keepdims=True) for kind, x in rows.items()}


@_check.by_name
def cumulative_variance(sets: Mapping[str, Any], *, title: str) -> Figure:
    """Share of the variance that the first k principal components hold, against k, of sets of rows [n, d]."""
    _check.having("sets", sets, "")
    ax = base.axes((6.4, 4.6))
    levels, said = np.array([50, 90, 99]), []
    for i, (name, X) in enumerate(sets.items()):
        p = subspace.variance_shares(base.rows(f"sets[{name!r}]", X)).numpy()
        held = 100 * p.cumsum()
        counts = 1 + (held < levels[:, None] - 1e-7).sum(1)
        found = f"{', '.join(map(str, counts))}; participation ratio {1 / (p**2).sum():.0f}"
        said.append(f"{name}: {found}")
        ax.plot(range(1, len(p) + 1), held, "-" if i % 2 == 0 else "--", color=SERIES[i % len(SERIES)],
                marker=MARKERS[i % len(MARKERS)], markevery=(counts - 1).tolist(), markersize=5,
                label=f"{base.short(name, 30)}: {found}")  # fmt: skip
    ax.set(xscale="log", ylim=(0, 103))
    ax.set_yticks([0, *levels])
    key = "components for 50, 90 and 99%"
    ax.legend(title=key, title_fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), **LEGEND)
    fig = base.style(ax, title, "principal components", "share of the variance, %", "y")
    return base.describe(fig, f"{title}. {key.capitalize()}: {'. '.join(said)}.")


@_check.by_name
def cosine_histogram(Z: Any, T: Any, labels: Any) -> Figure:
    """How the cosines of images Z [n, d] and names T [C, d], unit rows, are distributed within and across."""
    T = base.rows("T", T)
    Z = base.rows("Z", Z, T.shape[1])
    y = _check.labels("labels", labels, len(Z), len(T)).cpu().numpy()
    every = max(1, len(y) // 2000)  # of many pictures some thousand are enough
    Z, y = Z[::every], y[::every]
    S, own = Z @ T.T, y[:, None] == np.arange(len(T))
    series = {
        "name – other name": (T @ T.T)[~np.eye(len(T), dtype=bool)],
        "picture – picture of another class": (Z @ Z.T)[y[:, None] != y],
        "picture – own name": S[own],
        "picture – other name": S[~own],
    }
    ax = base.axes((6.4, 3.8))
    everything = np.concatenate(list(series.values()))
    bins = np.linspace(min(0, everything.min()), max(1, everything.max()), 61)
    middle = (bins[1:] + bins[:-1]) / 2
    means = {label: f"{values.mean():.2f}" for label, values in series.items()}
    looks = zip((ORANGE, SKY, RED, BLUE), ("-", "--") * 2, strict=True)
    for (label, values), (colour, line) in zip(series.items(), looks, strict=True):
        density, _ = np.histogram(values, bins, density=True)
        ax.plot(middle, density, line, color=colour, linewidth=2, label=f"{label}, mean {means[label]}")
        ax.fill_between(middle, density, color=colour, alpha=0.12, linewidth=0)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), **LEGEND)
    ax.set_ylim(0)
    *_, mine, others = means.values()
    title = f"A picture's mean cosine is {mine} with its own name, {others} with the others"
    fig = base.style(ax, title, "cosine", "density")
    text = "; ".join(f"{label}: mean {mean}" for label, mean in means.items())
    return base.describe(fig, f"Four distributions of cosines. {text}.")
