"""The views of the forget/retain lab: each fills a figure; what it returns is its heading and its caption."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from clipnull import _check
from clipnull._show import few, percent, tenths
from clipnull.datasets.pictures import Images
from clipnull.erasers import METHODS
from clipnull.lab.bench import LabResult, Neighbour
from clipnull.lab.state import PARTS, SIGNS, TITLES, dials
from clipnull.plots import base
from clipnull.plots.base import BLACK, FORGET, GREEN, GREY, ORANGE, PALE, PURPLE, RETAIN, SKY, short
from clipnull.plots.erasing import collateral
from clipnull.report import Change, Report

__all__ = ["VIEWS", "view"]

#: pixels per inch, and pixels
DPI, WIDE, HEIGHT = 96, 624, 384
#: side of the picture in *One picture*, and of those in *Pictures*, in pixels; rows of its two blocks
PICTURE, SIDE, ROWS = 160, 46, 2
#: of the methods' lines
COLOURS = dict(zip(METHODS, (SKY, GREY, ORANGE, GREEN, PURPLE, BLACK), strict=True))
CORNERS = {"silent": (0.5, 0.0), "neutral": (0.0, 0.87), "its relatives": (1.0, 0.87)}
NAMED = 3  # of the classes that lose most, in the figure and in its sentence
#: key of `LabResult.mathematics` -> formula, in plain text too, its number's format, what it means
IDENTITIES = {
    "rank": (r"rank$(I - W)$", "rank(I − W)", "{:.0f}", "directions in which the edit acts"),
    "idempotence": (r"$\|P^2 - P\|$", "‖P² − P‖", "{:.1e}", "zero: P = UUᵀ projects, twice is once"),
    "forget_residual": (r"$\|W T_f\|$", "‖W T_f‖", "{:.3f}", "zero: the forgotten names fell silent"),
    "retain_moved": (r"$\|W T_r - T_r\|$", "‖W T_r − T_r‖", "{:.3f}", "zero: the other names stay in place"),
    "norm_taken": (r"mean of $1 - \|W^\top z\| / \|z\|$", "mean of 1 − ‖Wᵀz‖ / ‖z‖", "{:.3f}",
                   "share of their length that pictures lose (negative: they gain)"),
    "certificate": ("certificate", "certificate", "{:.4f}",
                    "the largest lead that any image can give a forgotten name; zero: it cannot win"),
    "shorter": ("answers of the shorter list", "answers of the shorter list", "{:.1%}",
                "share of pictures called what they were without the forgotten names"),
}  # fmt: skip


def points(x: float) -> str:
    """A difference of fractions in signed percentage points."""
    return "–" if x != x else f"{100 * x:+.1f}".replace("-", "−")


@lru_cache(maxsize=2000)  # reading a picture takes milliseconds
def _thumbnail(images: Images, row: int, side: int) -> np.ndarray:
    """Picture ``row``, RGB [side, side, 3]."""
    return np.asarray(images[row].convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def _axes(ax: Any, x: str, y: str) -> Any:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9)
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    return ax


def _legend(fig: Figure, handles: Sequence[Any], columns: int) -> None:
    """Between the heading and the axes, which leave room for it."""
    fig.legend(
        handles=handles, ncol=columns, frameon=False, fontsize=8.5, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(0.01, 0.885), handlelength=1.2, handletextpad=0.4, columnspacing=1.1, scatterpoints=1,
    )  # fmt: skip


def _pixels(fig: Figure) -> Any:
    """Axes over the whole figure whose unit is a pixel, origin at the top left."""
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, WIDE), ylim=(HEIGHT, 0))
    ax.axis("off")
    return ax


def measures(report: Report) -> dict[str, Change]:
    """Recalls and search of the forgotten classes, and accuracy on the kept ones, listed or not."""
    two, case = report.n_way.get(2), report.case
    kinds = {"kept": case.retain}
    if len(case.listed) < len(case.retain):
        kinds = {"kept, listed": case.listed, "unlisted": sorted({*case.retain} - {*case.listed})}
    right = [p == case.labels for p in (report.predicted_before, report.predicted_after)]
    return {
        "full recall": Change(report.forget_before, report.forget_after),
        "2-way recall": Change(*(two[2:] if two else (float("nan"),) * 2)),
        "search": report.search,
        **{kind: Change(*(_check.share(r[case.of(c)]) for r in right)) for kind, c in kinds.items()},
    }


def bars(ax: Any, shown: Mapping[str, Change]) -> None:
    """Measures after as bars, those before as dashes."""
    for row, (name, (before, after)) in enumerate(shown.items()):
        colour = FORGET if name in ("full recall", "2-way recall", "search") else RETAIN
        ax.barh(row, 0 if after != after else 100 * after, 0.6, color=colour)
        ax.plot([100 * before] * 2, [row - 0.42, row + 0.42], "--", color=BLACK)
        ax.text(103, row, tenths(after), va="center", fontsize=9)
    ax.set_yticks(range(len(shown)), list(shown), fontsize=9)
    ax.set(xlim=(0, 100), ylim=(len(shown) - 0.4, -0.6))


def numbers(fig: Figure, result: LabResult) -> tuple[str, str]:
    fig.subplots_adjust(top=0.75, right=0.93, wspace=0.5)
    left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
    ways, method = result.report.n_way.values(), result.state["method"]
    names = [way.names for way in ways]

    def line(report: Report, when: str, label: str, **style: Any) -> Any:
        recall = [100 * getattr(way, when) for way in report.n_way.values()]
        return left.plot(names, recall, label=label, **style)

    handles = line(result.report, "before", "before", color=BLACK, linestyle="--")
    for other, report in result.others.items():
        handles += line(report, "after", other, color=COLOURS[other], linewidth=1, alpha=0.6)
    handles += line(result.report, "after", f"{method}, here", color=COLOURS[method], marker="o", linewidth=3)
    handles += left.plot(names, [100 / n for n in names], ":", color=BLACK, label="chance")
    _axes(left, f"names in the list, of {len(result.case.classes)}", "recall of the forgotten, %")
    left.set_xscale("log")
    far = [n for n in names if 2 * n <= names[-1] or n == names[-1]]
    left.set_xticks(far, [f"{n}" for n in far])
    left.minorticks_off()
    left.set_ylim(-3, 103)
    measured = measures(result.report)
    bars(right, measured)
    _axes(right, "%, dashed: before", "")
    _legend(fig, handles, 4)
    pairs = (f"{name} {percent(m.before)} before, {percent(m.after)} after" for name, m in measured.items())
    lists = ", ".join(f"{w.names}: {percent(w.after)}" for w in ways) or "none, for there are no pictures"
    said = f"{base.capital('; '.join(pairs))}. Recall in lists of {lists}."
    return f"{TITLES[result.state['method']]}: in lists of any length, in a search, and what is kept", said


def triangle(fig: Figure, result: LabResult) -> tuple[str, str]:
    corners, (*moved, (off, left)) = np.array([*CORNERS.values()]), result.triangle
    fig.subplots_adjust(left=0.05, right=0.95, bottom=0.05, top=0.84)
    ax = fig.subplots()
    ax.fill(*corners.T, facecolor=PALE, alpha=0.4)
    ax.plot(*corners[1:].T, color=RETAIN, linewidth=3)
    ax.text(0.5, 0.81, "certificate 0", ha="center", va="top", fontsize=9, color=RETAIN)
    for name, (x, y) in CORNERS.items():
        ax.annotate(name, (x, y), (0, 10 if y else -16), textcoords="offset points", ha="center", fontsize=10)
    before, after = (corners[0] + w.numpy() @ (corners[1:] - corners[0]) for w in moved)
    for path in zip(before, after, strict=True):
        ax.plot(*np.transpose(path), color=FORGET, linewidth=0.8, alpha=0.5)
    ax.plot(*before.T, "o", color="white", markeredgecolor=FORGET, label="before")
    ax.plot(*after.T, "o", color=FORGET, label="after")
    for name, at in zip(result.case.forget_names, after if len(after) < 4 else [], strict=False):
        ax.annotate(short(name, 16), at, (8, -13), textcoords="offset points", fontsize=9)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.margins(0.16, 0.12)
    ax.spines[:].set_visible(False)
    _legend(fig, ax.get_legend_handles_labels()[0], 2)
    mean, hull = (percent(round(x, 3) + 0.0) for x in moved[1].mean(0).tolist())  # no minus zero
    method = TITLES[result.state["method"]]
    return f"{method}: what the forgotten names became, {left:.2f} off the triangle", (
        f"The forgotten names became {mean} neutral and {hull} their relatives, "
        f"the rest silent; {left:.2f} of them lies off the triangle, {off:.2f} before."
    )


def curve(fig: Figure, result: LabResult) -> tuple[str, str]:
    (own, values, lines), r = result.curve, result.report
    dial = dials(own)[0]
    sign, log = SIGNS[dial][0], dial not in PARTS
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), ", ".join(SIGNS[dial]), "accuracy after, %")
    handles = []
    for (label, accuracies), look in zip(lines.items(), ("o-", "^--", "s-"), strict=True):
        colour = RETAIN if label == "kept" else FORGET
        percents = [100 * y for y in accuracies]
        handles += ax.plot(values, percents, look, color=colour, markersize=3, label=label)
    # the projector is the end of the partial one; "auto" stands at the number that it chose
    at = min(max(result.edit.info[dial], values[0]), values[-1])
    style: dict[str, Any] = dict(markersize=8, fillstyle="none", zorder=3, clip_on=False)
    here = [100 * r.forget_after, 100 * r.retain_after]
    handles += ax.plot([at, at], here, "kD", label="you are here", **style)
    ax.set_xscale("log" if log else "linear")
    ticks = ["0.01", "1", "100"] if log else ["0", "0.5", "1"]
    ax.set_xticks([float(t) for t in ticks], ticks)  # plain: mathematical ones double the time of a redraw
    ax.minorticks_off()
    ax.set(xlim=(values[0], values[-1]), ylim=(-3, 103))
    _legend(fig, handles, 4)
    full, two, kept = (f"{percent(line[0])} → {percent(line[-1])}" for line in lines.values())
    end = f"along {sign}" if own == result.state["method"] else "the end of partial"
    return f"{TITLES[result.state['method']]}: {end}", (
        f"From {sign} = {values[0]:g} to {values[-1]:g}, full recall goes {full}, 2-way recall {two} and "
        f"accuracy on the kept {kept}; you are at {percent(r.forget_after)} and {percent(r.retain_after)}."
    )


def space(fig: Figure, result: LabResult) -> tuple[str, str]:
    what, *moved, explained = result.geometry
    before, after, gone = (x.numpy() for x in moved)
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), "first principal component", "second principal component")
    shown = [
        ax.scatter(*before.T, c=PALE, s=6, linewidths=0, zorder=0, label="before"),
        ax.scatter(*after[~gone].T, c=RETAIN, s=9, alpha=0.7, linewidths=0, zorder=2, label=f"{what} after"),
        ax.scatter(*after[gone].T, c=FORGET, s=20, linewidths=0, zorder=2, label=f"forgotten {what}"),
    ]
    mean = {}
    for which, colour, width in ((~gone, GREY, 0.9), (gone, FORGET, 1.3)):
        steps = (after - before)[which]
        mean[colour] = f"{np.linalg.norm(steps, axis=1).mean():.3f}" if len(steps) else "–"
        if len(steps):
            ax.quiver(
                *before[which].T, *steps.T, angles="xy", scale_units="xy", scale=1, units="dots", headwidth=6,
                headlength=6, headaxislength=5, width=width, color=colour, alpha=0.6, zorder=width,
            )  # fmt: skip
    _legend(fig, shown, 3)
    return f"How the {what} move; the plane holds {100 * sum(explained):.0f}% of their variance", (
        f"In this plane the forgotten {what} move by {mean[FORGET]} and the others by {mean[GREY]} "
        "on average."
    )


def pictures(fig: Figure, result: LabResult) -> tuple[str, str]:
    went, lost, bench, names = result.destinations, result.lost, result.bench, result.case.classes
    true, now = ([names[c] for c in y.tolist()] for y in (result.case.labels, result.report.predicted_after))
    named = few([f"{true[i]} → {now[i]}" for i in lost], 3)
    said = f"The forgotten pictures are now called {result.report.became(5)}. Kept pictures lost: {len(lost)}"
    said += f", {named}." if named else "."
    if bench.images is None:
        _confusion(fig, result)
        return "No pictures at this table; what the forgotten ones are called now, in numbers", said
    ax, columns, sheet = _pixels(fig), 5, np.full((HEIGHT, WIDE, 3), 255, dtype=np.uint8)
    room = ROWS * columns
    called = {i: f"{short(now[i], 12)} (×{k})" for i, k in went} | {i: short(now[i], 16) for i in lost}
    for top, shown in ((28, [i for i, _ in went]), (222, lost)):
        for k, i in enumerate(shown[:room]):
            x, y = round(WIDE / columns * (k % columns)) + 8, top + 84 * (k // columns)
            ax.text(x, y + SIDE + 3, f"{short(true[i], 18)}\n→ {called[i]}", fontsize=8, va="top")
            ax.text(x + SIDE + 11, y + SIDE / 2, "→", fontsize=11, ha="center", va="center")
            for left, row in zip((x, x + SIDE + 22), [i, *bench.where(now[i])[:1]], strict=False):
                sheet[y : y + SIDE, left : left + SIDE] = _thumbnail(bench.images, row, SIDE)
    ax.imshow(sheet, extent=(0, WIDE, HEIGHT, 0), interpolation="nearest", aspect="auto")
    many = f" ({room} shown)" if len(lost) > room else ""
    fig.text(0.015, 0.475, f"Kept pictures lost: {len(lost)}{many}", ha="left", va="top", fontsize=10)
    often = "most often " if len(went) > room else ""
    return f"The {int(result.case.gone.sum())} forgotten pictures are now {often}called", said


def _confusion(fig: Figure, result: LabResult) -> None:
    """The same in numbers, of a table without pictures."""
    case, after, names = result.case, result.report.predicted_after, result.case.classes
    counts, forget = torch.bincount(case.labels, minlength=len(names)), torch.tensor(case.forget)
    rows = forget[counts[forget].argsort(descending=True, stable=True)][:10]
    went = [names.index(name) for name, _ in result.report.destinations(9)]
    table = torch.stack([torch.bincount(after[case.labels == c], minlength=len(names)) for c in rows])
    shown = torch.column_stack([table[:, went], table.sum(1) - table[:, went].sum(1)])
    fig.subplots_adjust(left=0.24, bottom=0.27, top=0.86)
    ax = _axes(fig.subplots(), "", "")
    ax.imshow(shown / counts[rows, None].clamp_min(1), cmap="Oranges", vmin=0, vmax=1.5, aspect="auto")
    for (i, j), count in np.ndenumerate(shown.numpy()):
        if count:
            ax.text(j, i, f"{count}", ha="center", va="center", fontsize=9)
    columns = [short(names[i], 14) for i in went] + ["others"]
    ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    ax.set_yticks(range(len(rows)), [f"{short(names[i], 14)} ({counts[i]})" for i in rows])


def neighbours(fig: Figure, result: LabResult) -> tuple[str, str]:
    rows = result.neighbours
    names, cosines, changes = zip(*rows, strict=True)
    fig.subplots_adjust(right=0.64)
    ax = fig.subplots()
    collateral(cosines, changes, names, worst=NAMED, ax=ax, title="")
    _axes(ax, "cosine of the name to the forget subspace", "change in accuracy, points")
    # by steps of a quarter, so that the axes stand still while a slider moves
    low, high = min(100 * min(changes), -20), max(100 * max(changes), 20)
    ax.set_ylim(float(25 * np.floor(low / 25) - 8), float(25 * np.ceil(high / 25) + 8))

    def told(r: Neighbour) -> str:
        return f"{r.name} ({points(r.change)} at cosine {r.cosine:.2f})"

    # the greatest loss first, of equal ones the nearest
    hurt = sorted((r for r in rows if r.change < 0), key=lambda r: (r.change, -r.cosine))
    gain, near = sum(change > 0 for change in changes), max(rows, key=lambda r: r.cosine)
    lose = f"{len(hurt)} of {len(rows)} kept classes lose accuracy"
    most = f" Most of all: {few([told(r) for r in hurt], NAMED)}." if hurt else ""
    nearest = f"the nearest, {short(near.name)}: {points(near.change)} points"
    return f"{lose}, {gain} gain; {nearest}", f"{lose} and {gain} gain. The nearest is {told(near)}.{most}"


def mathematics(fig: Figure, result: LabResult) -> tuple[str, str]:
    ax, said, method = _pixels(fig), [], TITLES[result.state["method"]]
    for k, (key, (formula, plain, form, meaning)) in enumerate(IDENTITIES.items()):
        value, y = result.mathematics[key], 60 + 46 * k
        tiny = "e" in form and value < 1e-12
        number = "< 1e−12" if tiny else form.format(value).replace("-", "−")
        ax.text(16, y, formula, fontsize=13, va="center")
        ax.text(330, y, number, fontsize=13, va="center", ha="right", color=RETAIN)
        ax.text(354, y, textwrap.fill(meaning, 40), fontsize=9, color=GREY, va="center")
        # a line does not break within a formula
        said.append(plain.replace(" ", "\xa0") + (" " if tiny else " = ") + number)
    return f"{method}: W = I − L Rᵀ, and U a basis of the forgotten names", f"{'; '.join(said)}."


def single(fig: Figure, result: LabResult) -> tuple[str, str]:
    single, gone = result.single, set(result.case.forget_names)
    fig.subplots_adjust(left=8 / WIDE, right=1 - 8 / WIDE, top=0.8, bottom=0.14, wspace=0.15)
    left, *others = fig.subplots(1, 3, width_ratios=[1.3, 1.5, 1.5])
    row, images = single.row, result.bench.images
    if row is not None and images is None:
        left.text(0.5, 0.5, "no picture\nat this table", ha="center", va="center", fontsize=10)
    else:
        left.imshow(np.asarray(single.picture) if row is None else _thumbnail(images, row, PICTURE))
    left.axis("off")
    said = ""
    for title, best, kept, ax in zip(("before", "after"), single[:2], (GREY, RETAIN), others, strict=True):
        _axes(ax, "cosine", "").spines["left"].set_visible(False)
        for k, (name, cosine) in enumerate(best):
            colour = FORGET if name in gone else kept
            ax.barh(k + 0.18, max(cosine, 0.0), height=0.36, alpha=0.75, color=colour, edgecolor=colour)
            ax.text(0, k - 0.12, f"{short(name, 22)}  {cosine:.2f}", va="bottom", fontsize=9)
        ax.set(xlim=(0, 1), ylim=(4.5, -0.6), yticks=[], xticks=[0, 0.5])
        ax.set_title(title, fontsize=10, loc="left", y=1.0)
        said += f" {title.capitalize()}: {', '.join(f'{name} {cosine:.2f}' for name, cosine in best)}."

    def called(n: int) -> str:
        before, after, true = (short(x, n) for x in (single.before[0][0], single.after[0][0], single.true))
        change = f"and is called “{before}”" if before == after else f"called “{before}”, now “{after}”"
        return f"{f'“{true}”' if true else 'Your picture'} was {change}"

    return called(24), f"{called(10**6)}.{said}"


#: key -> what its button says and asks, what fills its figure
VIEWS: dict[str, tuple[str, str, Callable[[Figure, LabResult], tuple[str, str]]]] = {
    "numbers": ("Accuracy", "Is it gone, from lists of any length and from a search? What is kept?", numbers),
    "triangle": ("Triangle", "What did the name become?", triangle),
    "curve": ("Curve", "Would a gentler edit have done?", curve),
    "pca": ("Geometry", "What moved, and how far?", space),
    "images": ("Pictures", "What are its pictures called now? Which others were lost?", pictures),
    "neighbours": ("Neighbours", "Who pays, the near or the far?", neighbours),
    "mathematics": ("Mathematics", "Does the edit do what its formula says? Can any image win?",
                    mathematics),
    "single": ("One picture", "What happens to this picture?", single),
}  # fmt: skip


def drawn(key: str, result: LabResult) -> tuple[Figure, str]:
    """The figure of a view, and its sentence."""
    fig = Figure(figsize=(WIDE / DPI, HEIGHT / DPI), dpi=DPI)
    # fixed margins: a layout engine would measure every text at every move of a slider
    fig.subplots_adjust(left=70 / WIDE, right=1 - 14 / WIDE, bottom=0.14, top=0.86)
    heading, sentence = VIEWS[key][2](fig, result)
    heading = "\n".join(textwrap.wrap(heading, 84)[:2])
    fig.text(0.015, 0.98, heading, ha="left", va="top", fontsize=10)
    if key != "mathematics":  # whose formulas are typeset
        base.literal(fig)
    return fig, sentence


@_check.by_name
def view(key: str, result: LabResult) -> Figure:
    """A view of ``result``, one of `VIEWS`, as a matplotlib Figure whose alt text is the view's sentence."""
    return base.describe(*drawn(_check.one_of("key", key, VIEWS), result))
