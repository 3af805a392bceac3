"""What an edit did: forgotten and retained accuracy, lists of n names and search, scores, collateral."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from clipnull import _check
from clipnull._show import tenths
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, LEGEND, MARKERS, RETAIN, SERIES, Figure

__all__ = ["collateral", "forget_retain_bars", "n_way", "scores_before_after"]

#: fractions: recall among all names up to which a name is silent; what stands above chance
SILENT, ABOVE = 0.05, 0.55


@_check.by_name
def forget_retain_bars(reports: Mapping[str, Any], *, title: str) -> matplotlib.figure.Figure:
    """Accuracy on the forgotten and on the retained classes, `Report` by `Report`."""
    R = _check.having("reports", reports.values(), "forget_before forget_after retain_before retain_after")
    fig = Figure(figsize=(8.0, 0.36 * len(R) + 1.5), layout="constrained")
    both = fig.subplots(1, 2, sharey=True)
    sides = [("forget", "recall of the forgotten", FORGET), ("retain", "accuracy on the other", RETAIN)]
    for ax, (which, what, colour) in zip(both, sides, strict=True):
        before, after = ([100 * getattr(r, f"{which}_{when}") for r in R] for when in ("before", "after"))
        rows = range(len(R))
        ax.barh(rows, after, height=0.62, color=colour, label="after")
        ax.plot(before, rows, "D", color="white", markeredgecolor=BLACK, markersize=6, label="before", ls="")
        for row, a in enumerate(after):
            ax.text(121, row, f"{a:.1f}", va="center", ha="right", fontsize=9)
        ax.set(xlim=(0, 122), xticks=[0, 25, 50, 75, 100])
        ax.tick_params(axis="y", length=0)
        base.style(ax, x=f"{what} classes, %", grid="x")
        ax.set_title(which, loc="left", fontsize=10, color=colour, fontweight="bold")
    both[0].set_yticks(rows, [base.short(n, 26) for n in reports])
    both[0].invert_yaxis()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower right", ncols=2, **LEGEND)
    base.title(fig, title)
    said = "; ".join(
        f"{n}: forget {tenths(r.forget_before)} to {tenths(r.forget_after)}, "
        f"retain {tenths(r.retain_before)} to {tenths(r.retain_after)}"
        for n, r in reports.items()
    )
    return base.describe(fig, f"{title}. Accuracy in percent, before to after. {said}.")


@_check.by_name
def collateral(
    similarity: Any, change: Any, names: Sequence[str], *, worst: int = 5, ax: Axes | None = None,
    title: str | None = None,
) -> matplotlib.figure.Figure:  # fmt: skip
    """Who pays: each retained class's change in accuracy against its cosine with the forgotten one.

    ``similarity`` [C] is the cosine of each retained name with the forgotten one (the nearest, if several),
    ``change`` [C] its accuracy after less that before (fractions). The ``worst`` losers are named.
    """
    s = base.numbers("similarity", similarity, None, within=(-1, 1))
    c = 100 * base.numbers("change", change, len(s), gaps=True, within=(-1, 1))
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


@_check.by_name
def scores_before_after(
    before: Any, after: Any, names: Sequence[str], *, forget: Iterable[str] = (), k: int = 10,
    ax: Axes | None = None, title: str,
) -> matplotlib.figure.Figure:  # fmt: skip
    """One image's scores [C] with class names, before and after an edit: which of them moved.

    The names shown are the k highest before, and the highest after; those in ``forget`` are vermillion.
    """
    b = base.numbers("before", before, None)
    a, names = base.numbers("after", after, len(b)), _check.names("names", names, len(b))
    shown = list(dict.fromkeys([*np.argsort(-b, kind="stable")[:k], np.argmax(a)]))
    forget = set(forget)
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


class Curve(NamedTuple):
    """One method: recall [k] at each n and search, fractions, with standard deviations (NaN: none)."""

    recall: np.ndarray
    std: np.ndarray
    search: float
    search_std: float


@_check.by_name
def n_way(curves: Any, *, other: bool = False, title: str | None = None) -> matplotlib.figure.Figure:
    """Recall of the forgotten names in lists of n names, and as queries of a search.

    ``curves`` are reports by name: the first says what it was before, "no edit", and names struck off the
    candidates have no search. Or a `Comparison`: means over draws, with bars of one standard deviation, and
    with ``other`` under the prompt that the edits have not seen; a ValueError where it has none.
    """
    if not isinstance(curves, Mapping):
        _check.having("curves", [curves], "rows kept")
        names, found = _of_comparison(curves, other)
    else:
        if not _check.having("curves", curves.values(), "n_way search")[0].n_way:
            raise ValueError("curves: got no n-way recall, want reports on pictures of forgotten names")
        names, found = _of_reports(curves)
    fig = Figure(figsize=(8.0, 0.24 * len(found) + 2.6), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=[1.7, 1.0])
    left.plot(names, 100 / names, "--", color=GREY, label="chance")
    right.axvline(50, color=GREY, linestyle="--", label="chance")
    # no edit is black
    looks = zip(itertools.cycle(c for c in SERIES if c != BLACK), itertools.cycle(MARKERS), strict=False)
    for row, (name, curve) in enumerate(found.items()):
        colour, marker = (BLACK, "X") if name == "no edit" else next(looks)
        how: dict[str, Any] = dict(color=colour, marker=marker, markersize=7, markeredgecolor="white",
                                   markeredgewidth=0.5, capsize=2, label=base.short(name))  # fmt: skip
        left.errorbar(names, 100 * curve.recall, _bars(curve.std), **how)
        right.errorbar([100 * curve.search], [row], xerr=_bars(np.array([curve.search_std])), **how)
        if np.isnan(curve.search):
            right.text(2, row, "no query", va="center", fontsize=8, color=GREY)
    ends = [*map(str, names[:-1]), "all"]
    left.set_xscale("log")
    left.set_xticks(names, ends)
    left.minorticks_off()
    left.set_ylim(-3, 103)
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
        f"{label}: {', '.join(map(tenths, c.recall))}, "
        f"search {'none' if np.isnan(c.search) else tenths(c.search)}"
        for label, c in found.items()
    )
    lists = ", ".join(ends)
    return base.describe(fig, f"{title}. Recall in percent in lists of {lists} names, then search. {rows}.")


def _of_reports(reports: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Curve]]:
    first = next(iter(reports.values()))

    def curve(report: Any, when: str) -> Curve:
        recall = np.array([getattr(way, when) for way in report.n_way.values()])
        return Curve(recall, np.full(len(recall), np.nan), getattr(report.search, when), float("nan"))

    found = {"no edit": curve(first, "before")} | {k: curve(r, "after") for k, r in reports.items()}
    if len({len(c.recall) for c in found.values()}) > 1:
        raise ValueError("curves: got reports with different numbers of kept names, want the same")
    return np.array([way.names for way in first.n_way.values()]), found


def _of_comparison(comparison: Any, other: bool) -> tuple[np.ndarray, dict[str, Curve]]:
    rows = {row.method: row.other if other else row.seen for row in comparison.rows}
    if None in rows.values():
        raise ValueError("other: got True, want a comparison that has another prompt")
    found = {
        name: Curve(*np.array([tuple(s) for s in row.n_way.values()]).T, *row.search)
        for name, row in rows.items()
    }
    ways = next(iter(rows.values())).n_way
    return np.array([comparison.kept + 1 if n == "all" else n for n in ways]), found


def _bars(std: np.ndarray) -> np.ndarray | None:
    return None if np.isnan(std).all() else 100 * std


def _message(found: Mapping[str, Curve]) -> str:
    """Of the edits that win nothing among all names: who wins most against one, who is found by a search."""
    edits = {k: c for k, c in found.items() if k != "no edit" and c.recall[-1] <= SILENT}
    loud = {k: c.recall[0] for k, c in edits.items() if c.recall[0] > ABOVE}
    asked = {k: c.search for k, c in edits.items() if c.search > ABOVE}
    parts = []
    if loud:
        best = max(loud, key=lambda k: loud[k])
        still = f"{base.short(best)} still wins {100 * loud[best]:.0f}% against one other (chance 50)"
        parts.append(f"silent among all names, {still}")
    if asked:
        best = max(asked, key=lambda k: asked[k])
        still = f"{base.short(best)} still finds its pictures (AUC {100 * asked[best]:.0f})"
        parts.append(f"asked for by name, {still}")
    quiet = "what is silent among all names is at chance in short lists and in a search"
    return base.capital("; ".join(parts) or quiet)
