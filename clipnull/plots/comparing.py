"""Methods side by side: n-way recall against the length of the list, and search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np

from clipnull import _check
from clipnull.plots.base import BLACK, GREY, MARKERS, SERIES, Figure, capital, describe, short, style

__all__ = ["n_way"]

#: fractions: recall among all names up to which a name is silent; what stands above chance
SILENT, ABOVE = 0.05, 0.55


class Curve(NamedTuple):
    """One method: recall [k] at each n and search, fractions, with standard deviations (NaN: none)."""

    recall: np.ndarray
    std: np.ndarray
    search: float
    search_std: float


@_check.by_name
def n_way(curves: Any, *, other: bool = False, title: str | None = None) -> matplotlib.figure.Figure:
    """Recall of the forgotten names in lists of n names, and as queries of a search.

    Parameters
    ----------
    curves : dict of name -> Report, or Comparison
        Reports: the first says what it was before, "no edit". Names struck off the candidates have no
        search. A comparison: means over draws, with bars of one standard deviation.
    other : bool
        Of a comparison: under the prompt that the edits have not seen.
    title : str, optional

    Raises
    ------
    ValueError
        No curves, or of no pictures of forgotten names; ``other`` of a comparison without it.
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
    for row, (name, curve) in enumerate(found.items()):
        label, (colour, marker) = short(name), _look(name, list(found))
        how = dict(
            color=colour, marker=marker, markersize=7, markeredgecolor="white", markeredgewidth=0.5, capsize=2
        )
        left.errorbar(names, 100 * curve.recall, _bars(curve.std), label=label, **how)
        right.errorbar(
            [100 * curve.search], [row], xerr=_bars(np.array([curve.search_std])), label=label, **how
        )
        if np.isnan(curve.search):
            right.text(2, row, "no query", va="center", fontsize=8, color=GREY)
    ends = ["all" if i == len(names) - 1 else f"{n}" for i, n in enumerate(names)]
    left.set_xscale("log")
    left.set_xticks(names, ends)
    left.minorticks_off()
    left.set_ylim(-3, 103)
    right.set_yticks(range(len(found)), [short(name) for name in found])
    right.set_ylim(len(found) - 0.5, -0.5)
    right.tick_params(axis="y", length=0)
    right.set_xlim(-3, 103)
    title = _message(found) if title is None else title
    listed = f"n, names in the list ({names[-1]} in all)"
    style(left, title, listed, "n-way recall of the forgotten, %", "y")
    style(right, x="search AUC of the forgotten, %", grid="x")
    columns = min(5, 125 // (8 + max(len(short(name)) for name in found)))
    fig.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=8,
        frameon=False,
    )  # fmt: skip
    lists = ", ".join(ends)
    rows = "; ".join(
        f"{label}: {', '.join(f'{100 * x:.1f}' for x in c.recall)}, search {_words(c.search)}"
        for label, c in found.items()
    )
    return describe(fig, f"{title}. Recall in percent in lists of {lists} names, then search. {rows}.")


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


def _look(label: str, labels: list[str]) -> tuple[str, str]:
    """Colour and marker; no edit is black."""
    if label == "no edit":
        return BLACK, "X"
    i = [x for x in labels if x != "no edit"].index(label)
    colours = [c for c in SERIES if c != BLACK]
    return colours[i % len(colours)], MARKERS[i % len(MARKERS)]


def _bars(std: np.ndarray) -> np.ndarray | None:
    return None if np.isnan(std).all() else 100 * std


def _words(search: float) -> str:
    return "none" if np.isnan(search) else f"{100 * search:.1f}"


def _message(found: Mapping[str, Curve]) -> str:
    """Of the edits that win nothing among all names: who wins most against one, who is found by a search."""
    edits = {k: c for k, c in found.items() if k != "no edit" and c.recall[-1] <= SILENT}
    parts = []
    if edits:
        two = max(edits, key=lambda k: edits[k].recall[0])
        if edits[two].recall[0] > ABOVE:
            share = f"{100 * edits[two].recall[0]:.0f}% against one other (chance 50)"
            parts.append(f"silent among all names, {short(two)} still wins {share}")
    if asked := {k: c.search for k, c in edits.items() if c.search > ABOVE}:
        best = max(asked, key=lambda k: asked[k])
        parts.append(
            f"asked for by name, {short(best)} still finds its pictures (AUC {100 * asked[best]:.0f})"
        )
    text = "; ".join(parts) or "what is silent among all names is at chance in short lists and in a search"
    return capital(text)
