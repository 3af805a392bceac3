"""The measurements of an audit."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clipnull import _check
from clipnull._show import tenths
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREY, HALO, LEGEND, PALE, RETAIN, describe

__all__ = ["controls", "fingerprint", "layer_probe", "reliability", "verdicts", "words"]

#: names on which a fingerprint is read, and other words, that are drawn
NAMES, WORDS = 8, 12


def _points(ax: Axes, before: Any, after: Any, names: Sequence[str], x: str, title: str) -> Figure:
    place = range(len(names))
    ax.plot(before, place, "D", color="white", markeredgecolor=BLACK, markersize=7, label="before", zorder=3)
    ax.plot(after, place, "o", color=FORGET, markersize=8, markeredgecolor="white", label="after", zorder=4)
    ax.set_yticks(place, names, fontsize=9)
    ax.set(xlim=(-3, 103), ylim=(len(names) - 0.5, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower right", ncols=3, **LEGEND)
    return base.style(ax, title, x=x, grid="x")


@_check.by_name
def fingerprint(found: Any, forgotten: Sequence[str], *, title: str) -> Figure:
    """What two last layers give away, a `clipnull.auditing.Fingerprint`; ``forgotten`` in vermillion."""
    _check.having("found", [found], "singular_values rank noise names scores ranking")
    s, names = base.numbers("found", found.singular_values, None), found.ranking()[:NAMES]
    score = dict(zip(found.names, map(float, found.scores), strict=True))
    fig, ((left, right),) = base.panels((8.4, 0.27 * NAMES + 1.2), 1, 2, width_ratios=[1, 1.1])
    shown = np.maximum(s[: max(NAMES, found.rank + 2)], 1e-18)
    at = np.arange(1, len(shown) + 1)
    left.semilogy(at, shown, "o", color=GREY, markersize=5)
    left.semilogy(at[: found.rank], shown[: found.rank], "o", color=FORGET, markersize=8)
    left.axhline(found.noise, color=BLACK, linestyle="--", linewidth=1)
    left.text(at[-1], found.noise * 1.6, "rounding ends here", ha="right", va="bottom", fontsize=8)
    left.set_xticks(at if len(at) <= 12 else at[:: len(at) // 6])
    base.style(left, x="number", y="singular value of the difference", grid="y")
    base.shares(right, names, [score[n] for n in names], forgotten, 1)
    base.style(right, title, x="share of the name in the span")
    listed = ", ".join(f"{n} {score[n]:.2f}" for n in names)
    said = f"{found.rank} singular values stand above rounding. Share of each name: {listed}."
    return describe(fig, f"{title}. {said}")


@_check.by_name
def layer_probe(probes: Sequence[Any], by_names: tuple[float, float], *, title: str = "") -> Figure:
    """What `clipnull.auditing.LayerProbe` tell before and after; ``by_names``: names in the probe's place."""
    _check.having("probes", probes, "layer before after control identical")
    names, n = [*(p.layer for p in probes), "names"], len(probes)
    series = {
        "probe, before": ([p.before for p in probes], RETAIN, "s", 9, "white"),
        "probe, after": ([p.after for p in probes], FORGET, "o", 6, FORGET),
        "probe, shuffled labels": ([p.control for p in probes], GREY, "x", 6, GREY),
    }
    ax = base.axes((8.8, 3.4))
    for label, (values, colour, mark, size, face) in series.items():
        ax.plot(range(n), np.multiply(values, 100), "-", color=colour, marker=mark, markersize=size,
                markerfacecolor=face, label=label, linewidth=1.2)  # fmt: skip
    last = sum(p.identical for p in probes) - 0.5
    ax.axvline(last, color=BLACK, linestyle="--", linewidth=1)
    ax.text(last - 0.06, 10, "equal, bit for bit", ha="right", va="center", fontsize=9)
    ax.text(last + 0.06, 10, "edited", ha="left", va="center", fontsize=9)
    before, after = (_check.number("by_names", x, 0, 1) for x in by_names)
    ax.plot([n], [100 * before], "s", color=RETAIN, markersize=9, markerfacecolor="white")
    ax.plot([n], [100 * after], "o", color=FORGET, markersize=6)
    ax.set_xticks(range(n + 1), [base.short(x, 30).replace(" the ", "\nthe ") for x in names], fontsize=8.5)
    ax.set_ylim(-4, 104)
    fig = base.style(ax, title, y="balanced accuracy, %", grid="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside right center", **LEGEND)
    said = "; ".join(f"{p.layer}: {tenths(p.before)}, {tenths(p.after)}, {tenths(p.control)}" for p in probes)
    said += f"; names: {tenths(before)}, {tenths(after)}"
    return describe(fig, f"{title}. In percent before, after and with shuffled labels. {said}.")


@_check.by_name
def controls(rows: Sequence[Any], *, title: str = "") -> Figure:
    """An edit's recall among that of its controls, one dot per seed: `clipnull.auditing.controls`."""
    found = _check.having("rows", rows, "values against before after")
    rows = _check.having("rows", [r for r in found if len(r.values)], "")
    ax = base.axes((8.0, 0.6 * len(rows) + 1.4))
    for row, r in enumerate(rows):
        values = np.multiply(r.values, 100)
        # dots on the same value are fanned out
        same = [(values[:i] == v).sum() - ((values == v).sum() - 1) / 2 for i, v in enumerate(values)]
        ax.plot(values, row + 0.08 * np.array(same), "o", color=GREY, markersize=5, alpha=0.8,
                label="controls, one per seed" if row == 0 else None)  # fmt: skip
    before, after = ([100 * getattr(r, k) for r in rows] for k in ("before", "after"))
    names = [textwrap.fill(base.short(r.against, 78), 26) for r in rows]
    fig = _points(ax, before, after, names, "recall of the forgotten classes, %", title)
    said = "; ".join(f"{r.against}: {tenths(min(r.values))} to {tenths(max(r.values))}" for r in rows)
    first = f"before {tenths(rows[0].before)}, after {tenths(rows[0].after)}"
    return describe(fig, f"{title}. Recall in percent: {first}; {said}.")


@_check.by_name
def words(row: Any, classes: Sequence[str], *, title: str = "") -> Figure:
    """The twelve words of `clipnull.auditing.other_words` that recall most, with the class of each."""
    _check.having("row", [row], "words against")
    _check.whole("owner", max(w.owner for w in _check.having("row", row.words, "owner")), 0, len(classes) - 1)
    loud = sorted(row.words, key=lambda w: (-w.after, -w.before, w.text))[:WORDS]
    names = [f"{base.short(w.text, 34)} ({base.short(classes[w.owner])})" for w in loud]
    before, after, control = 100 * np.array([(w.before, w.after, w.control) for w in loud]).T
    ax = base.axes((8.0, 0.27 * len(loud) + 1.4))
    place = range(len(loud))
    ax.hlines(place, np.minimum(before, after), np.maximum(before, after), color=PALE, linewidth=3, zorder=1)
    ax.plot(control, place, "|", color=BLACK, markersize=13, markeredgewidth=2, zorder=2,
            label=base.short(row.against, 36))  # fmt: skip
    fig = _points(ax, before, after, names, "recall of the class by this word, %", title)
    text = "; ".join(f"{w.text} ({classes[w.owner]}) {tenths(w.before)} to {tenths(w.after)}" for w in loud)
    most = f"The {len(loud)} of {len(row.words)} words that recall most, in percent"
    return describe(fig, f"{title}. {most}: {text}.")


@_check.by_name
def reliability(tables: Mapping[str, Any], *, title: str = "") -> Figure:
    """Reliability diagrams: accuracy against confidence, bin by bin, of `clipnull.auditing.Bins` by name."""
    _check.having("tables", tables.values(), "images confidence accuracy")
    fig, (axes,) = base.panels((3.6 * len(tables) + 0.8, 3.5), 1, len(tables), sharey=True)
    gaps = {}
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        count, conf, accuracy = (base.numbers("tables", x, len(table.images), gaps=True) for x in table)
        gaps[name] = float((count * np.abs(accuracy - conf)).sum() / count.sum())
        width, used = 100 / len(count), count > 0
        middle = width * (np.arange(len(count)) + 0.5)
        ax.bar(middle[used], 100 * accuracy[used], 0.9 * width, color=RETAIN, label="accuracy")
        ax.bar(middle[used], 100 * (conf - accuracy)[used], 0.9 * width, 100 * accuracy[used], fill=False,
               hatch="///", edgecolor=FORGET, linewidth=1, label="gap to confidence")  # fmt: skip
        ax.plot([0, 100], [0, 100], "--", color=BLACK, linewidth=1, label="accuracy = confidence")
        for x, k in zip(middle[used], count[used], strict=True):
            ax.text(x, 2, f"{k:.0f}", ha="center", va="bottom", fontsize=7, color=BLACK,
                    path_effects=HALO)  # fmt: skip
        ax.set(xlim=(0, 100), ylim=(0, 103))
        base.style(ax, title, x="top-1 confidence, %", y="accuracy, %" if ax is axes[0] else "", grid="y")
        ax.set_title(f"{base.short(name, 20)}: {100 * gaps[name]:.1f} points apart", loc="left", fontsize=10)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower right", ncols=3, **LEGEND)
    said = "; ".join(f"{name}: expected calibration error {100 * g:.1f} points" for name, g in gaps.items())
    return describe(fig, f"{title}. {said}. Small numbers count the images of a bin.")


@_check.by_name
def verdicts(panels: Mapping[str, Mapping[str, Any]], methods: Sequence[str], *, title: str = "") -> Figure:
    """What is left, as coloured cells: panel -> measurement (rows, of the first) -> fraction per method."""
    first = _check.having("panels", panels.values(), "items")[0]
    rows = _check.having("panels", first, "")
    methods = _check.names("methods", methods, len(_check.some("panels", first[rows[0]])))
    fig, (axes,) = base.panels((8.8, 0.36 * len(rows) + 1.5), 1, len(panels), sharey=True)
    said = []
    columns, names = ([base.short(x, n) for x in some] for some, n in ((methods, 14), (rows, 40)))
    for ax, (panel, table) in zip(axes, panels.items(), strict=True):
        given = [table.get(row, [np.nan] * len(methods)) for row in rows]
        percent = 100 * base.numbers(f"panels[{panel!r}]", given, len(rows), len(methods), gaps=True)
        base.style(ax, title)
        base.cells(ax, percent, names, columns, cmap="Oranges")
        ax.tick_params(axis="x", labelsize=8.5, rotation=30)
        ax.set_title(base.short(panel, 30), loc="left", fontsize=10)
        for row, line in zip(rows, percent, strict=True):
            known = [f"{m} {x:.0f}" for m, x in zip(methods, line, strict=True) if x == x]
            said += [f"{panel}, {row}: {', '.join(known)}"] if known else []
    return describe(fig, f"{title}. {'; '.join(said)}.")
