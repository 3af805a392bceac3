"""The measurements of an audit."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from clipnull import _check
from clipnull._show import tenths
from clipnull.plots import base
from clipnull.plots.base import (
    BLACK,
    FORGET,
    GREY,
    MARKERS,
    PALE,
    RETAIN,
    SERIES,
    Figure,
    describe,
    numbers,
    short,
    style,
    uncut,
)

__all__ = [
    "controls",
    "film",
    "fingerprint",
    "layer_probe",
    "reliability",
    "style_squares",
    "verdicts",
    "words",
]

#: what every legend below or beside the axes has in common
LEGEND: dict[str, Any] = dict(fontsize=8, frameon=False)
#: singular values and names of a fingerprint
SHOWN = 8


def _points(ax: Axes, before: Any, after: Any, names: Sequence[str], x: str, title: str) -> None:
    """Rows on a percent axis: before an open diamond, after a dot."""
    place = range(len(names))
    ax.plot(before, place, "D", color="white", markeredgecolor=BLACK, markersize=7, label="before", zorder=3)
    ax.plot(after, place, "o", color=FORGET, markersize=8, markeredgecolor="white", label="after", zorder=4)
    ax.set_yticks(place, names, fontsize=9)
    ax.set_ylim(len(names) - 0.5, -0.6)
    ax.set_xlim(-3, 103)
    ax.tick_params(axis="y", length=0)
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower right", ncols=3, **LEGEND)
    style(ax, title, x=x, grid="x")


def _hundred(values: Any) -> np.ndarray:
    return 100 * numbers("rows", values, None, gaps=True)


@_check.by_name
def fingerprint(
    found: Any, forgotten: Sequence[str], *, title: str | None = None
) -> matplotlib.figure.Figure:
    """What a `Fingerprint` gives away: singular values, and names; true ones in vermillion and hatched."""
    _check.having("found", [found], "singular_values rank noise names scores ranking")
    s, names = numbers("found", found.singular_values, None), found.ranking()[:SHOWN]
    score = {n: float(found.scores[i]) for i, n in enumerate(found.names)}
    fig = Figure(figsize=(8.4, 3.4), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=[1, 1.1])
    shown = np.maximum(s[: max(SHOWN, found.rank + 2)], 1e-18)
    at = np.arange(1, len(shown) + 1)
    left.semilogy(at, shown, "o", color=GREY, markersize=5)
    left.semilogy(at[: found.rank], shown[: found.rank], "o", color=FORGET, markersize=8)
    left.axhline(found.noise, color=BLACK, linestyle="--", linewidth=1)
    left.text(at[-1], found.noise * 1.6, "rounding ends here", ha="right", va="bottom", fontsize=8)
    left.set_xticks(at if len(at) <= 12 else at[:: len(at) // 6])
    style(left, x="number", y="singular value of the difference", grid="y")
    values = [score[n] for n in names]
    hit = [n in forgotten for n in names]
    bars = right.barh(range(len(names)), values, color=[FORGET if h else PALE for h in hit], height=0.7)
    for bar, h in zip(bars, hit, strict=True):
        bar.set(hatch="///" if h else "", edgecolor="white", linewidth=0)
    for row, v in enumerate(values):
        right.text(v + 0.02, row, f"{v:.2f}", va="center", fontsize=9)
    right.set_yticks(range(len(names)), [short(n) for n in names], fontsize=9)
    right.invert_yaxis()
    right.set_xlim(0, 1.15)
    right.tick_params(axis="y", length=0)
    first = f"{short(names[0])!r} comes first of {len(found.names)} names" if names else "nothing to read"
    title = f"Rank {found.rank}: {first}" if title is None else title
    style(right, title, x="share of the name in the span")
    listed = ", ".join(f"{n} {v:.2f}" for n, v in zip(names, values, strict=True))
    return describe(
        fig, f"{title}. {found.rank} singular values stand above rounding. Share of each name: {listed}."
    )


@_check.by_name
def layer_probe(
    probes: Sequence[Any],
    by_names: tuple[float, float],
    *,
    title: str = "",
) -> matplotlib.figure.Figure:
    """How well `clipnull.auditing.layer_probe` tells the forgotten classes, layer by layer, before and after.

    Beside the last layer stand the names in the probe's place, a fraction before and one after.
    """
    _check.having("probes", probes, "layer before after control identical")
    names = [p.layer for p in probes]
    series = {
        "probe, before": ([p.before for p in probes], RETAIN, "s", 9, "white"),
        "probe, after": ([p.after for p in probes], FORGET, "o", 6, FORGET),
        "probe, shuffled labels": ([p.control for p in probes], GREY, "x", 6, GREY),
    }
    fig = Figure(figsize=(8.8, 3.4), layout="constrained")
    ax = fig.subplots()
    for label, (values, colour, mark, size, face) in series.items():
        ax.plot(range(len(names)), _hundred(values), "-", color=colour, marker=mark, markersize=size,
                markerfacecolor=face, label=label, linewidth=1.2)  # fmt: skip
    last = sum(p.identical for p in probes) - 0.5
    ax.axvline(last, color=BLACK, linestyle="--", linewidth=1)
    ax.text(last - 0.06, 10, "bit by bit equal", ha="right", va="center", fontsize=9)
    ax.text(last + 0.06, 10, "edited", ha="left", va="center", fontsize=9)
    b, a = (100 * _check.number("by_names", x, 0, 1) for x in by_names)
    ax.plot([len(names)], [b], "s", color=RETAIN, markersize=9, markerfacecolor="white")
    ax.plot([len(names)], [a], "o", color=FORGET, markersize=6)
    names.append("names")
    ax.set_xticks(range(len(names)), [short(n, 30).replace(" the ", "\nthe ") for n in names], fontsize=8.5)
    ax.set_ylim(-4, 104)
    style(ax, title, y="balanced accuracy, %", grid="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside right center", **LEGEND)
    said = "; ".join(
        f"{p.layer}: {tenths(p.before)} before, {tenths(p.after)} after, "
        f"{tenths(p.control)} with shuffled labels"
        for p in probes
    )
    said += f"; names: {b:.1f} before, {a:.1f} after"
    return describe(fig, f"{title}. In percent. {said}.")


@_check.by_name
def controls(rows: Sequence[Any], *, title: str = "") -> matplotlib.figure.Figure:
    """An edit's recall of the forgotten classes among those of its `controls`, one dot per seed."""
    rows = [r for r in _check.having("rows", rows, "values against before after") if len(r.values)]
    if not rows:
        raise ValueError("rows: got none with the values of a control, want at least one")
    fig = Figure(figsize=(8.0, 0.6 * len(rows) + 1.4), layout="constrained")
    ax = fig.subplots()
    for row, r in enumerate(rows):
        values = _hundred(r.values)
        # dots on the same value are fanned out
        same = [(values[:i] == v).sum() - ((values == v).sum() - 1) / 2 for i, v in enumerate(values)]
        ax.plot(values, row + 0.08 * np.array(same), "o", color=GREY, markersize=5, alpha=0.8,
                label="controls, one per seed" if row == 0 else None)  # fmt: skip
    before, after = (_hundred([getattr(r, k) for r in rows]) for k in ("before", "after"))
    names = [textwrap.fill(short(r.against, 78), 26) for r in rows]
    _points(ax, before, after, names, "recall of the forgotten classes, %", title)
    said = "; ".join(f"{r.against}: {tenths(min(r.values))} to {tenths(max(r.values))}" for r in rows)
    first = f"before {tenths(rows[0].before)}, after {tenths(rows[0].after)}"
    return describe(fig, f"{title}. Recall in percent: {first}; {said}.")


@_check.by_name
def words(row: Any, classes: Sequence[str], *, title: str = "") -> matplotlib.figure.Figure:
    """The dozen words of `other_words` that recall most after the edit, and what they recalled before."""
    _check.having("row", [row], "words against")
    if (last := max(w.owner for w in _check.having("row", row.words, "owner"))) >= len(classes):
        raise ValueError(f"classes: got {len(classes)}, want at least {last + 1}")
    points = [
        ((w.text, classes[w.owner]), *(100 * x for x in (w.before, w.after, w.control))) for w in row.words
    ]
    loud = sorted(points, key=lambda p: (-p[2], -p[1], p[0]))[:12]
    fig = Figure(figsize=(8.0, 0.27 * len(loud) + 1.4), layout="constrained")
    ax = fig.subplots()
    names, before, after, control = zip(*loud, strict=True)
    place = range(len(loud))
    ax.hlines(place, np.minimum(before, after), np.maximum(before, after), color=PALE, linewidth=3, zorder=1)
    ax.plot(control, place, "|", color=BLACK, markersize=13, markeredgewidth=2, zorder=2,
            label=short(row.against, 36))  # fmt: skip
    said = [f"{short(word, 34)} ({short(name)})" for word, name in names]
    _points(ax, before, after, said, "recall of the class by this word, %", title)
    text = "; ".join(f"{word} ({name}) {x:.1f} to {y:.1f}" for (word, name), x, y, _ in loud)
    return describe(
        fig, f"{title}. The {len(loud)} of {len(points)} words that recall most, in percent: {text}."
    )


@_check.by_name
def reliability(tables: Mapping[str, Any], *, title: str = "") -> matplotlib.figure.Figure:
    """Reliability diagrams of `clipnull.auditing.Bins` side by side: accuracy against confidence."""
    _check.having("tables", tables.values(), "images confidence accuracy")
    fig = Figure(figsize=(3.6 * len(tables) + 0.8, 3.5), layout="constrained")
    axes = fig.subplots(1, len(tables), sharey=True, squeeze=False)[0]
    gaps = {}
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        count, conf, accuracy = (numbers("tables", x, len(table.images), gaps=True) for x in table)
        bins, n = len(count), count.sum()
        gaps[name] = float((count * np.abs(accuracy - conf)).sum() / n)
        width, used = 100 / bins, count > 0
        middle = width * (np.arange(bins) + 0.5)
        ax.bar(middle[used], 100 * accuracy[used], 0.9 * width, color=RETAIN, label="accuracy")
        ax.bar(middle[used], 100 * (conf - accuracy)[used], 0.9 * width, 100 * accuracy[used], fill=False,
               hatch="///", edgecolor=FORGET, linewidth=1, label="gap to confidence")  # fmt: skip
        ax.plot([0, 100], [0, 100], "--", color=BLACK, linewidth=1, label="accuracy = confidence")
        for x, k in zip(middle[used], count[used], strict=True):
            ax.text(x, 2, f"{k:.0f}", ha="center", va="bottom", fontsize=7, color=BLACK,
                    path_effects=[withStroke(linewidth=2.2, foreground="white")])  # fmt: skip
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 103)
        style(ax, title, x="top-1 confidence, %", y="accuracy, %" if ax is axes[0] else "", grid="y")
        ax.set_title(f"{short(name, 20)}: {100 * gaps[name]:.1f} points apart", loc="left", fontsize=10)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower right", ncols=3, **LEGEND)
    said = "; ".join(f"{name}: expected calibration error {100 * g:.1f} points" for name, g in gaps.items())
    return describe(fig, f"{title}. {said}. Small numbers count the images of a bin.")


@_check.by_name
def film(
    pictures: Sequence[Any],
    said: Sequence[str],
    leads: Mapping[str, Any],
    bounds: Sequence[float],
    step: int,
    *,
    title: str = "",
) -> matplotlib.figure.Figure:
    """Pictures that are being optimised, k PIL images side by side at one step, and what is said of each.

    Below are the k ``leads``, label -> array [steps + 1]: score of the wanted name less that of the best
    other one. No lead can pass its bound, which stands in the legend.
    """
    many = {name: numbers(f"leads[{name!r}]", x, None) for name, x in leads.items()}
    k, steps = len(_check.having("leads", many.values(), "")), min(map(len, many.values()))
    shown = [base.picture(f"pictures[{i}]", x) for i, x in enumerate(_check.having("pictures", pictures, ""))]
    if len(shown) != k:
        raise ValueError(f"pictures: got {len(shown)}, want {k}, one for each of leads")
    said, limits = _check.names("said", said, k), numbers("bounds", bounds, k)
    step = _check.whole("step", step, 0, steps - 1)
    fig = Figure(figsize=(9.2, 4.6), layout="constrained")
    above, below = fig.subfigures(2, 1, height_ratios=[1, 1.1])
    row, ax = above.subplots(1, k, squeeze=False)[0], below.subplots()
    for i, (label, lead) in enumerate(many.items()):
        colour, words = SERIES[i % len(SERIES)], f"{short(label, 14)}: “{short(said[i], 16)}”"
        row[i].imshow(shown[i])
        row[i].set(xticks=[], yticks=[])
        row[i].set_title(words, fontsize=10, color=FORGET if lead[step] > 0 else BLACK)
        row[i].spines[:].set(color=FORGET if lead[step] > 0 else PALE, linewidth=3)
        ax.plot(lead, color=colour, label=f"{short(label, 14)}, certificate {limits[i]:.2f}")
        ax.plot([step], lead[[step]], MARKERS[i % len(MARKERS)], color=colour, markersize=8)
    ax.axhline(0, color=BLACK, linewidth=1)
    ax.axvline(step, color=GREY, linestyle=":", linewidth=1)
    # early steps are far below, and not what matters
    ax.set_ylim(1.4 * min(-0.02, *(float(np.median(lead)) for lead in many.values())), None)
    ax.text(0, 0, "above: it wins", va="bottom", fontsize=8)
    style(ax, x="step", y="lead over the best kept name", grid="y")
    below.legend(*ax.get_legend_handles_labels(), loc="outside right center", **LEGEND)
    base.title(fig, title)
    now = "; ".join(
        f"{n} {'wins' if x[step] > 0 else 'loses'} by {abs(x[step]):.1f}, certificate {b:.2f}"
        for (n, x), b in zip(many.items(), limits, strict=True)
    )
    return describe(fig, f"{title}. Step {step}. {now}.")


@_check.by_name
def verdicts(
    panels: Mapping[str, Mapping[str, Sequence[float]]], methods: Sequence[str], *, title: str = ""
) -> matplotlib.figure.Figure:
    """What each measurement says of each method, as coloured cells: the darker, the more is left.

    Panel -> measurement -> fractions, one per method, written in hundredths; NaN where there is none. The
    measurements of the first panel are the rows of all.
    """
    first = _check.having("panels", panels.values(), "items")[0]
    rows = _check.having("panels", first, "")
    methods = _check.names("methods", methods, len(_check.some("panels", first[rows[0]])))
    fig = Figure(figsize=(8.8, 0.36 * len(rows) + 1.5), layout="constrained")
    axes, said = fig.subplots(1, len(panels), squeeze=False, sharey=True)[0], []
    for ax, (panel, table) in zip(axes, panels.items(), strict=True):
        name, nothing = f"panels[{panel!r}]", [np.nan] * len(methods)
        cells = numbers(name, [table.get(row, nothing) for row in rows], len(rows), len(methods), gaps=True)
        ax.imshow(cells, cmap="Oranges", vmin=0, vmax=1.5, aspect="auto")
        for i, j in np.ndindex(cells.shape):
            text = "–" if np.isnan(cells[i, j]) else f"{100 * cells[i, j]:.0f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=9)
        ax.set_xticks(range(len(methods)), [short(m, 14) for m in methods], fontsize=8.5, rotation=30)
        ax.set_yticks(range(len(rows)), [short(r, 40) for r in rows], fontsize=9)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        style(ax, title)
        ax.set_title(short(panel, 30), loc="left", fontsize=10)
        for row, line in zip(rows, cells, strict=True):
            known = [f"{m} {100 * x:.0f}" for m, x in zip(methods, line, strict=True) if x == x]
            said += [f"{panel}, {row}: {', '.join(known)}"] if known else []
    return describe(fig, f"{title}. {'; '.join(said)}{uncut(rows, 40)}.")


@_check.by_name
def style_squares(
    results: Mapping[str, Mapping[str, Any]],
    *,
    title: str = "Accuracy, %, of one class and of all others, by style (red: should go)",
) -> matplotlib.figure.Figure:
    """Accuracy by class and style, before and after, a square of four cells for each method.

    Row label -> method -> `clipnull.auditing.Selective`: a row of squares for each direction, of the same
    methods; a square "before" is put in front of them.
    """
    for row in _check.having("results", results.values(), "values"):
        _check.having("results", row.values(), "styles before after")
    methods = ["before", *next(iter(results.values()))]
    if any(methods != ["before", *row] for row in results.values()):
        raise ValueError("results: got rows of different methods, want the same in each")
    fig = Figure(figsize=(1.5 * len(methods) + 0.9, 1.75 * len(results) + 0.75), layout="constrained")
    axes = fig.subplots(len(results), len(methods), squeeze=False)
    said: list[str] = []
    styles: list[str] = []
    for row_number, (line, (label, row)) in enumerate(zip(axes, results.items(), strict=True)):
        first = next(iter(row.values()))
        styles += first.styles
        for ax, method in zip(line, methods, strict=True):
            style(ax, title)
            square = numbers("results", first.before if method == "before" else row[method].after, 2, 2)
            ax.imshow(square, cmap="Blues", vmin=0, vmax=1.25)
            for i, j in np.ndindex(2, 2):
                gone = (i, j) == (0, 0) and method != "before"
                ax.text(j, i, f"{100 * square[i, j]:.0f}", ha="center", va="center", fontsize=11,
                        color=FORGET if gone else BLACK, fontweight="bold" if gone else "normal")  # fmt: skip
            ax.set_xticks([0, 1], [short(s, 12) for s in first.styles], fontsize=8)
            ax.set_yticks([0, 1], ["class", "others"] if ax is line[0] else ["", ""], fontsize=9)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            if row_number == 0:
                ax.set_title(short(method, 18), fontsize=9)
            said.append(f"{label}, {method}: class {_tenths(square[0])}; others {_tenths(square[1])}")
        line[0].set_ylabel(short(label, 18), fontsize=9, fontweight="bold")
    shown = f"styles shown{uncut(styles, 12)}"
    return describe(fig, f"{title}. As fractions, in the order of the {shown}. {'. '.join(said)}.")


def _tenths(fractions: Any) -> str:
    return ", ".join(f"{f:.1f}" for f in np.ravel(fractions))
