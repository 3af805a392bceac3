"""What an edit did: lists of n names and search, scores, collateral."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipnull import _check
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, HALO, LEGEND, MARKERS, RETAIN, SERIES

__all__ = ["collateral", "n_way", "scores_before_after"]


@_check.by_name
def collateral(
    similarity: Any, change: Any, names: Sequence[str], *, worst: int = 5, ax: Axes | None = None,
    title: str | None = None,
) -> Figure:  # fmt: skip
    """Each retained class's ``change`` [C] in accuracy, a fraction, against its name's cosine [C] with the
    forgotten one (the nearest, if several). The ``worst`` losers are named."""
    s = base.numbers("similarity", similarity, None, shares=True)
    c = 100 * base.numbers("change", change, len(s), gaps=True, shares=True)
    names = _check.names("names", names, len(s))
    ax = ax or base.axes((6.0, 3.8))
    losers = [i for i in np.lexsort((-s, c))[:worst] if c[i] < 0]
    lost = np.isin(np.arange(len(c)), losers)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.scatter(s[~lost], c[~lost], s=28, marker="s", color=RETAIN, alpha=0.6, linewidths=0)
    ax.scatter(s[lost], c[lost], s=28, marker="s", color=FORGET, linewidths=0)
    _number_points(ax, s[losers], c[losers])
    if losers:
        lines = [f"{rank}  {base.short(names[i])} {c[i]:+.0f}" for rank, i in enumerate(losers, 1)]
        ax.text(1.03, 0.98, "largest losses, points\n" + "\n".join(lines), transform=ax.transAxes,
                va="top", fontsize=9, linespacing=1.5)  # fmt: skip
    if title is None:
        title = f"{100 * (c < 0).mean():.0f}% of the retained classes lose accuracy"
        if losers:
            title += f"; the worst is {base.short(names[losers[0]])} ({c[losers[0]]:+.0f} points)"
    cosine = "cosine of the name with the forgotten one"
    fig = base.style(ax, title, cosine, "change in accuracy, points", "both")
    text = "; ".join(f"{names[i]}: cosine {s[i]:.2f}, {c[i]:+.0f} points" for i in losers)
    return base.describe(fig, f"{title}. Largest losses: {text or 'none'}.")


def _number_points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    ax.autoscale_view()
    places = ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi
    groups: dict[int, list[int]] = {}
    for i, place in enumerate(places):
        # 14 points, as the font: nearer ones share a label
        near = (first for first in groups if np.hypot(*(places[first] - place)) < 14)
        groups.setdefault(next(near, i), []).append(i)
    for first, group in groups.items():
        ax.annotate(", ".join(str(i + 1) for i in group), (x[first], y[first]), (0, 4),
                    textcoords="offset points", ha="center", va="bottom", fontsize=9, color=FORGET,
                    path_effects=HALO)  # fmt: skip


@_check.by_name
def scores_before_after(
    before: Any, after: Any, names: Sequence[str], *, forget: Sequence[str] = (), k: int = 10,
    ax: Axes | None = None, title: str,
) -> Figure:  # fmt: skip
    """One image's scores [C], before and after: the k highest before, and the highest after."""
    b = base.numbers("before", before, None)
    a, names = base.numbers("after", after, len(b)), _check.names("names", names, len(b))
    shown = list(dict.fromkeys([*np.argsort(-b, kind="stable")[:k], np.argmax(a)]))
    ax = ax or base.axes((6.0, 0.3 * len(shown) + 1.5))
    for row, i in enumerate(shown):
        colour, marker = (FORGET, "o") if names[i] in forget else (RETAIN, "s")
        ax.plot([b[i], a[i]], [row, row], color=colour, alpha=0.5, linewidth=2)
        ax.plot(b[i], row, marker, color="white", markeredgecolor=colour, markersize=7, markeredgewidth=1.5)
        ax.plot(a[i], row, marker, color=colour, markersize=7)
    base.rows_of(ax, [names[i] for i in shown])
    ax.margins(y=0.06)
    for face, label in [("white", "before"), (GREY, "after")]:
        ax.plot([], [], "s", color=face, markeredgecolor=GREY, markersize=7, label=label)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **LEGEND)
    fig = base.style(ax, title, "cosine of the image with the name", grid="x")
    text = "; ".join(f"{names[i]} {b[i]:.2f} to {a[i]:.2f}" for i in shown)
    return base.describe(fig, f"{title}. Scores before to after: {text}.")


@_check.by_name
def n_way(curves: Any, *, other: bool = False, title: str | None = None) -> Figure:
    """Recall of the forgotten names in lists of n names, and as queries of a search, of reports by name.

    Or of a `Comparison`: means over draws, bars of one standard deviation; ``other``: under an unseen prompt.
    """
    names, found = _of_reports(curves) if isinstance(curves, Mapping) else _of_comparison(curves, other)
    fig, ((left, right),) = base.panels((8.0, 0.24 * len(found) + 2.6), 1, 2, width_ratios=[1.7, 1.0])
    left.plot(names, 100 / names, "--", color=GREY, label="chance")
    right.axvline(50, color=GREY, linestyle="--", label="chance")
    # no edit is black
    looks = zip(itertools.cycle(c for c in SERIES if c != BLACK), itertools.cycle(MARKERS), strict=False)
    for row, (name, ((*recall, search), (*std, search_std))) in enumerate(found.items()):
        colour, marker = (BLACK, "X") if name == "no edit" else next(looks)
        how: dict[str, Any] = dict(color=colour, marker=marker, markersize=7, markeredgecolor="white",
                                   markeredgewidth=0.5, capsize=2, label=base.short(name))  # fmt: skip
        left.errorbar(names, recall, std, **how)
        right.errorbar([search], [row], xerr=[search_std], **how)
        if np.isnan(search):
            right.text(2, row, "no query", va="center", fontsize=8, color=GREY)
    ends = [*map(str, names[:-1]), "all"]
    left.set(xscale="log", ylim=(-3, 103))
    left.set_xticks(names, ends)
    left.minorticks_off()
    right.set_yticks(range(len(found)), [base.short(name) for name in found])
    right.tick_params(axis="y", length=0)
    right.set(xlim=(-3, 103), ylim=(len(found) - 0.5, -0.5))
    title = _message(found) if title is None else title
    listed = f"n, names in the list ({names[-1]} in all)"
    base.style(left, title, listed, "n-way recall of the forgotten, %", "y")
    base.style(right, x="search AUC of the forgotten, %", grid="x")
    columns = min(5, 125 // (8 + max(len(base.short(name)) for name in found)))
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=columns, **LEGEND)
    rows = "; ".join(
        f"{name}: {', '.join(f'{x:.1f}' for x in recall)}, search {'none' if np.isnan(auc) else f'{auc:.1f}'}"
        for name, ((*recall, auc), _) in found.items()
    )
    said = f"Recall in percent in lists of {', '.join(ends)} names, then search. {rows}."
    return base.describe(fig, f"{title}. {said}")


def _of_reports(reports: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Lengths of the lists [k]; by method, recalls and search [2, k + 1] in percent, and no deviations."""
    first, found = _check.having("curves", reports.values(), "n_way search")[0], {}
    for name, report, when in [("no edit", first, "before"), *((k, r, "after") for k, r in reports.items())]:
        values = [100 * getattr(x, when) for x in (*report.n_way.values(), report.search)]
        found[name] = np.array([values, np.full(len(values), np.nan)])
    if not first.n_way or len({x.shape for x in found.values()}) > 1:
        raise ValueError("curves: want reports with n-way recall, of as many kept names each")
    return np.array([way.names for way in first.n_way.values()]), found


def _of_comparison(comparison: Any, other: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rows = _check.having("curves", [comparison], "rows kept")[0].rows
    rows = {row.method: row.other if other else row.seen for row in rows}
    if None in rows.values():
        raise ValueError("other: got True, want a comparison that has another prompt")
    found = {name: 100 * np.array([*row.n_way.values(), row.search]).T for name, row in rows.items()}
    ways = next(iter(rows.values())).n_way
    return np.array([comparison.kept + 1 if n == "all" else n for n in ways]), found


def _message(found: Mapping[str, np.ndarray]) -> str:
    """Of edits silent among all names, up to 1%: who wins most against one, or a search, above 55%."""
    quiet = {k: mean for k, (mean, _) in found.items() if k != "no edit" and mean[-2] <= 1}
    parts = []
    for i, before, still in (
        (0, "silent among all names", "still wins {:.0f}% against one other (chance 50)"),
        (-1, "asked for by name", "still finds its pictures (AUC {:.0f})"),
    ):
        if loud := {k: mean[i] for k, mean in quiet.items() if mean[i] > 55}:
            best = max(loud, key=lambda k: loud[k])
            parts.append(f"{before}, {base.short(best)} {still.format(loud[best])}")
    otherwise = "what is silent among all names is at chance in short lists and in a search"
    return base.capital("; ".join(parts) or otherwise)
