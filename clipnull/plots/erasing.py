"""What an edit did: forgotten and retained accuracy, scores, collateral."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from clipnull import _check
from clipnull._show import tenths
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, RETAIN, Figure

__all__ = [
    "collateral",
    "forget_retain_bars",
    "scores_before_after",
]


#: what is measured, how its axis is called, its colour
SIDES = [
    ("forget", "recall of the forgotten classes, %", FORGET),
    ("retain", "accuracy on the other classes, %", RETAIN),
]


@_check.by_name
def forget_retain_bars(reports: Mapping[str, Any], *, title: str | None = None) -> matplotlib.figure.Figure:
    """Accuracy on the forgotten and on the retained classes, method by method.

    Parameters
    ----------
    reports : dict of name -> Report
        Anything with forget_before, forget_after, retain_before, retain_after (fractions).
    """
    names = list(reports)
    R = _check.having("reports", reports.values(), "forget_before forget_after retain_before retain_after")
    fig = Figure(figsize=(8.0, 0.36 * len(names) + 1.5), layout="constrained")
    both = fig.subplots(1, 2, sharey=True)
    for ax, (which, what, colour) in zip(both, SIDES, strict=True):
        before, after = ([100 * getattr(r, f"{which}_{when}") for r in R] for when in ("before", "after"))
        rows = range(len(R))
        ax.barh(rows, after, height=0.62, color=colour, label="after")
        ax.plot(before, rows, "D", color="white", markeredgecolor=BLACK, markersize=6, label="before", ls="")
        for row, a in enumerate(after):
            ax.text(121, row, f"{a:.1f}", va="center", ha="right", fontsize=9)
        ax.set_xlim(0, 122)
        ax.set_xticks([0, 25, 50, 75, 100])
        ax.tick_params(axis="y", length=0)
        base.style(ax, x=what, grid="x")
        ax.set_title(which, loc="left", fontsize=10, color=colour, fontweight="bold")
    both[0].set_yticks(range(len(names)), [base.short(n, 26) for n in names])
    both[0].invert_yaxis()
    found = both[1].get_legend_handles_labels()
    fig.legend(*found, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    title = "What each method forgets, and what it costs the other classes" if title is None else title
    base.title(fig, title)
    rows_text = "; ".join(
        f"{n}: forget {tenths(r.forget_before)} to {tenths(r.forget_after)}, "
        f"retain {tenths(r.retain_before)} to {tenths(r.retain_after)}"
        for n, r in reports.items()
    )
    return base.describe(fig, f"{title}. Accuracy in percent, before to after. {rows_text}.")


@_check.by_name
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
    share = float((c < 0).mean())
    if title is None:
        lowest = (
            f"; the worst is {base.short(names[losers[0]])} ({c[losers[0]]:+.0f} points)" if losers else ""
        )
        title = f"{100 * share:.0f}% of the retained classes lose accuracy{lowest}"
    fig = base.style(
        ax, title, "cosine of the name with the forgotten one", "change in accuracy, points", "both"
    )
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
    b = base.numbers("before", before, None)
    a, names = base.numbers("after", after, len(b)), _check.names("names", names, len(b))
    shown = list(np.argsort(-b, kind="stable")[:k])
    if (best := int(np.argmax(a))) not in shown:
        shown.append(best)
    forget = set(forget)
    ax = ax or base.axes((6.0, 0.3 * len(shown) + 1.5))
    for row, i in enumerate(shown):
        colour, marker = (FORGET, "o") if names[i] in forget else (RETAIN, "s")
        ax.plot([b[i], a[i]], [row, row], color=colour, alpha=0.5, linewidth=2)
        ax.plot(b[i], row, marker, color="white", markeredgecolor=colour, markersize=7, markeredgewidth=1.5)
        ax.plot(a[i], row, marker, color=colour, markersize=7)
    ax.set_yticks(range(len(shown)), [base.short(names[i]) for i in shown], fontsize=9)
    ax.invert_yaxis()
    ax.margins(y=0.06)
    ax.tick_params(axis="y", length=0)
    for face, label in [("white", "before"), (GREY, "after")]:
        ax.plot([], [], "s", color=face, markeredgecolor=GREY, markersize=7, label=label)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if title is None:
        old, new = (base.short(names[i]) for i in (int(np.argmax(b)), best))
        title = f"The highest score is {old} before, {new} after"
    fig = base.style(ax, title, "cosine of the image with the name", grid="x")
    text = "; ".join(f"{names[i]} {b[i]:.2f} to {a[i]:.2f}" for i in shown)
    return base.describe(fig, f"{title}. Scores before to after: {text}.")
