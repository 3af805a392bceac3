"""What the views of the forget/retain lab draw: each function fills a figure and returns its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from clipnull import _check
from clipnull._show import tenths
from clipnull.erasers import METHODS
from clipnull.lab.result import Became, LabResult, Neighbour, Single
from clipnull.lab.state import PARTS, SIGNS, TITLES, dials
from clipnull.plots.base import BLACK, FORGET, GREEN, GREY, ORANGE, PALE, PURPLE, RETAIN, SKY, short
from clipnull.plots.erasing import collateral

if TYPE_CHECKING:
    from clipnull.datasets.pictures import Images
    from clipnull.report import Report

DPI = 96
#: pixels
WIDE, HEIGHT = 624, 384
#: side of the picture in *One picture*, and of those in *Pictures*, in pixels; rows of its two blocks
PICTURE, SIDE, ROWS = 160, 46, 2
#: thumbnails kept, since reading a picture takes milliseconds
KEPT = 2000


def points(x: float) -> str:
    """A difference of fractions in signed percentage points."""
    return "–" if x != x else f"{100 * x:+.1f}".replace("-", "−")


def spoken(result: LabResult) -> str:
    """The method's name and what a forgotten name becomes."""
    return TITLES[result.state["method"]]


@lru_cache(maxsize=KEPT)
def _thumbnail(images: Images, row: int, side: int) -> np.ndarray:
    """Picture ``row``, RGB [side, side, 3]."""
    small = images[row].convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small)


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
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, WIDE)
    ax.set_ylim(HEIGHT, 0)
    ax.axis("off")
    return ax


# --- accuracy: recall by the length of the list, and all measures --------------------------------


class Measure(NamedTuple):
    """A measure of an edit, before and after (fractions; NaN where there is none)."""

    name: str
    before: float
    after: float


def measures(report: Report) -> list[Measure]:
    """Full and 2-way recall and search of the forgotten classes, and accuracy on the kept ones.

    Those that the eraser was told of come apart from the others, where there are others.
    """
    two, case = report.n_way.get(2), report.case
    before, after = (float("nan"),) * 2 if two is None else two[2:]
    kinds = {"kept": case.retain}
    if len(case.listed) < len(case.retain):
        kinds = {"kept, listed": case.listed, "unlisted": sorted({*case.retain} - {*case.listed})}
    predicted = report.predicted_before, report.predicted_after
    right = [p == case.labels for p in predicted]
    kept = {kind: [_check.share(r[case.of(c)]) for r in right] for kind, c in kinds.items()}
    return [
        Measure("full recall", report.forget_before, report.forget_after),
        Measure("2-way recall", before, after),
        Measure("search", *report.search),
        *(Measure(kind, *pair) for kind, pair in kept.items()),
    ]


def bars(ax: Any, shown: Sequence[Measure]) -> None:
    """Measures after as bars, those before as dashes."""
    for row, m in enumerate(shown):
        gone = m.name in ("full recall", "2-way recall", "search")
        ax.barh(row, 0 if m.after != m.after else 100 * m.after, 0.6, color=FORGET if gone else RETAIN)
        ax.plot([100 * m.before] * 2, [row - 0.42, row + 0.42], "--", color=BLACK)
        ax.text(103, row, tenths(m.after), va="center", fontsize=9)
    ax.set_yticks(range(len(shown)), [m.name for m in shown], fontsize=9)
    ax.set(xlim=(0, 100), ylim=(len(shown) - 0.4, -0.6))


#: of the methods' lines
COLOURS = dict(zip(METHODS, (SKY, GREY, ORANGE, GREEN, PURPLE, BLACK), strict=True))


def numbers(fig: Figure, result: LabResult) -> str:
    fig.subplots_adjust(top=0.75, right=0.93, wspace=0.5)
    left, right = fig.subplots(1, 2, width_ratios=[1.5, 1])
    ways, method = result.report.n_way, result.state["method"]
    names = [way.names for way in ways.values()]

    def line(report: Report, when: str, label: str, **style: Any) -> Any:
        recall = [100 * getattr(way, when) for way in report.n_way.values()]
        return left.plot(names, recall, label=label, **style)

    handles = line(result.report, "before", "before", color=BLACK, linestyle="--")
    for other, report in result.others.items():
        handles += line(report, "after", other, color=COLOURS[other], linewidth=1, alpha=0.6)
    here = dict(color=COLOURS[method], marker="o", linewidth=3)
    handles += line(result.report, "after", f"{method}, here", **here)
    handles += left.plot(names, [100 / n for n in names], ":", color=BLACK, label="chance")
    _axes(left, f"names in the list, of {len(result.case.classes)}", "recall of the forgotten, %")
    left.set_xscale("log")
    far = [n for n in names if 2 * n <= names[-1] or n == names[-1]]
    left.set_xticks(far, [f"{n}" for n in far])
    left.minorticks_off()
    left.set_ylim(-3, 103)
    bars(right, measures(result.report))
    _axes(right, "%, dashed: before", "")
    _legend(fig, handles, 4)
    return f"{spoken(result)}: in lists of any length, in a search, and what is kept"


# --- triangle: where the names went, between silent, neutral and relatives -----------------------

CORNERS = {"silent": (0.5, 0.0), "neutral": (0.0, 0.87), "its relatives": (1.0, 0.87)}


def triangle(fig: Figure, result: LabResult) -> str:
    corners, moved = np.array([*CORNERS.values()]), result.triangle
    fig.subplots_adjust(left=0.05, right=0.95, bottom=0.05, top=0.84)
    ax = fig.subplots()
    ax.fill(*corners.T, facecolor=PALE, alpha=0.4)
    ax.plot(*corners[1:].T, color=RETAIN, linewidth=3)
    ax.text(0.5, 0.81, "certificate 0", ha="center", va="top", fontsize=9, color=RETAIN)
    for name, (x, y) in CORNERS.items():
        ax.annotate(name, (x, y), (0, 10 if y else -16), textcoords="offset points", ha="center", fontsize=10)
    before, after = (corners[0] + w.numpy() @ (corners[1:] - corners[0]) for w in moved[:2])
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
    return f"{spoken(result)}: what the forgotten names became, {moved.off[1]:.2f} off the triangle"


# --- curve: accuracies along a hyperparameter ----------------------------------------------------


def _hundred(fractions: Sequence[float]) -> list[float]:
    return [100 * f for f in fractions]


def curve(fig: Figure, result: LabResult) -> str:
    own, line = result.curve
    dial, r = dials(own)[0], result.report
    log = dial not in PARTS
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), ", ".join(SIGNS[dial]), "accuracy after, %")
    handles = []
    for label, accuracies, colour, marker, dashes in (
        ("full recall", line.forget, FORGET, "o", "-"),
        ("2-way recall", line.two_way, FORGET, "^", "--"),
        ("kept", line.retain, RETAIN, "s", "-"),
    ):
        style: dict[str, Any] = dict(color=colour, marker=marker, linestyle=dashes, markersize=3)
        handles += ax.plot(line.values, _hundred(accuracies), label=label, **style)
    # the projector is the end of the partial one; "auto" stands at the number that it chose
    at = min(max(result.edit.info[dial], min(line.values)), max(line.values))
    style = dict(markersize=8, fillstyle="none", zorder=3, clip_on=False, label="you are here")
    handles += ax.plot([at, at], _hundred([r.forget_after, r.retain_after]), "kD", **style)
    ax.set_xscale("log" if log else "linear")
    ticks = ["0.01", "1", "100"] if log else ["0", "0.5", "1"]
    ax.set_xticks([float(t) for t in ticks], ticks)  # plain: mathematical ones double the time of a redraw
    ax.minorticks_off()
    ax.set(xlim=(min(line.values), max(line.values)), ylim=(-3, 103))
    _legend(fig, handles, 4)
    end = f"along {SIGNS[dial][0]}" if own == result.state["method"] else "the end of partial"
    return f"{spoken(result)}: {end}"


# --- geometry: what the edit moves, in the plane of two principal components ---------------------


def space(fig: Figure, result: LabResult) -> str:
    what, *moved, explained = result.geometry
    before, after, gone = (x.numpy() for x in moved)
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), "first principal component", "second principal component")
    small: dict[str, Any] = dict(linewidths=0, zorder=2)
    shown = [
        ax.scatter(*before.T, c=PALE, s=6, linewidths=0, zorder=0, label="before"),
        ax.scatter(*after[~gone].T, c=RETAIN, s=9, alpha=0.7, **small, label=f"{what} after"),
        ax.scatter(*after[gone].T, c=FORGET, s=20, **small, label=f"forgotten {what}"),
    ]
    for which, colour, width in ((~gone, GREY, 0.9), (gone, FORGET, 1.3)):
        if which.any():
            ax.quiver(
                *before[which].T, *(after - before)[which].T, angles="xy", scale_units="xy", scale=1,
                units="dots", headwidth=6, headlength=6, headaxislength=5, width=width, color=colour,
                alpha=0.6, zorder=width,
            )  # fmt: skip
    _legend(fig, shown, 3)
    return f"How the {what} move; the plane holds {100 * sum(explained):.0f}% of their variance"


# --- pictures: where the forgotten ones went, and which retained ones were lost ------------------


def pictures(fig: Figure, result: LabResult) -> str:
    images, columns = result.bench.images, 5
    if images is None:
        return confusion(fig, result)
    ax, room, sheet = _pixels(fig), ROWS * columns, np.full((HEIGHT, WIDE, 3), 255, dtype=np.uint8)

    def block(top: int, shown: Sequence[Became], said: Callable[[Became], str]) -> None:
        for k, b in enumerate(shown[:room]):
            x, y = round(WIDE / columns * (k % columns)) + 8, top + 84 * (k // columns)
            ax.text(x, y + SIDE + 3, f"{short(b.true, 18)}\n→ {said(b)}", fontsize=8, va="top")
            ax.text(x + SIDE + 11, y + SIDE / 2, "→", fontsize=11, ha="center", va="center")
            for left, row in ((x, b.row), (x + SIDE + 22, b.now_row)):
                if row is not None:
                    sheet[y : y + SIDE, left : left + SIDE] = _thumbnail(images, row, SIDE)

    went, lost = result.destinations, result.lost
    block(28, went, lambda b: f"{short(b.now, 12)} (×{b.times})")
    block(222, lost, lambda b: short(b.now, 16))
    ax.imshow(sheet, extent=(0, WIDE, HEIGHT, 0), interpolation="nearest", aspect="auto")
    many = f" ({room} shown)" if len(lost) > room else ""
    fig.text(0.015, 0.475, f"Kept pictures lost: {len(lost)}{many}", ha="left", va="top", fontsize=10)
    often = "most often " if len(went) > room else ""
    return f"The {int(result.case.gone.sum())} forgotten pictures are now {often}called"


def confusion(fig: Figure, result: LabResult) -> str:
    """The same in numbers, of a table without pictures."""
    case, after, names = result.case, result.report.predicted_after, result.case.classes
    counts, forget = torch.bincount(case.labels, minlength=len(names)), torch.tensor(case.forget)
    rows = forget[counts[forget].argsort(descending=True, stable=True)][:10]
    went = [names.index(name) for name, _ in result.report.destinations(9)]
    pairs = torch.bincount(case.labels * len(names) + after, minlength=len(names) ** 2)
    table = pairs.view(len(names), -1)[rows]
    shown = torch.cat([table[:, went], table.sum(1, keepdim=True) - table[:, went].sum(1, keepdim=True)], 1)
    fig.subplots_adjust(left=0.24, bottom=0.27, top=0.86)
    ax = _axes(fig.subplots(), "", "")
    ax.imshow(shown / counts[rows, None].clamp_min(1), cmap="Oranges", vmin=0, vmax=1.5, aspect="auto")
    for (i, j), count in np.ndenumerate(shown.numpy()):
        if count:
            ax.text(j, i, f"{count}", ha="center", va="center", fontsize=9)
    columns = [short(names[i], 14) for i in went] + ["others"]
    ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    ax.set_yticks(range(len(rows)), [f"{short(names[i], 14)} ({counts[i]})" for i in rows])
    return "No pictures at this table; what the forgotten ones are called now, in numbers"


# --- neighbours: change of each retained class against its cosine to the forget subspace ---------

#: how many of the classes that lose most are named, in the figure and in its sentence
NAMED = 3


def losers(rows: Sequence[Neighbour]) -> list[Neighbour]:
    """The classes that lose accuracy, the greatest loss first, of equal ones the nearest."""
    return sorted((r for r in rows if r.change < 0), key=lambda r: (r.change, -r.cosine))


def neighbours(fig: Figure, result: LabResult) -> str:
    rows = result.neighbours
    names, cosines, changes = zip(*rows, strict=True)
    fig.subplots_adjust(right=0.64)
    ax = fig.subplots()
    collateral(cosines, changes, names, worst=NAMED, ax=ax, title="")
    _axes(ax, "cosine of the name to the forget subspace", "change in accuracy, points")
    # by steps of a quarter, so that the axes stand still while a slider moves
    low, high = min(100 * min(changes), -20), max(100 * max(changes), 20)
    ax.set_ylim(float(25 * np.floor(low / 25) - 8), float(25 * np.ceil(high / 25) + 8))
    gain, near = sum(change > 0 for change in changes), max(rows, key=lambda row: row.cosine)
    nearest = f"the nearest, {short(near.name)}: {points(near.change)} points"
    return f"{len(losers(rows))} of {len(rows)} kept classes lose accuracy, {gain} gain; {nearest}"


# --- mathematics: the identities behind the edit, with the numbers of the moment -----------------


class Identity(NamedTuple):
    """A field of `Mathematics`: its formula, in plain text too, its number's format, what it means."""

    key: str
    formula: str
    plain: str
    form: str
    meaning: str


IDENTITIES = [
    Identity("rank", r"rank$(I - W)$", "rank(I − W)", "{:.0f}", "directions in which the edit acts"),
    Identity("idempotence", r"$\|P^2 - P\|$", "‖P² − P‖", "{:.1e}", "zero: P = UUᵀ projects, twice is once"),
    Identity("forget_residual", r"$\|W T_f\|$", "‖W T_f‖", "{:.3f}", "zero: the forgotten names fell silent"),
    Identity("retain_moved", r"$\|W T_r - T_r\|$", "‖W T_r − T_r‖", "{:.3f}",
             "zero: the other names stay in place"),
    Identity("norm_taken", r"mean of $1 - \|W^\top z\| / \|z\|$", "mean of 1 − ‖Wᵀz‖ / ‖z‖", "{:.3f}",
             "share of their length that pictures lose (negative: they gain)"),
    Identity("certificate", "certificate", "certificate", "{:.4f}",
             "the largest lead that any image can give a forgotten name; zero: it cannot win"),
    Identity("shorter", "answers of the shorter list", "answers of the shorter list", "{:.1%}",
             "share of pictures called what they were without the forgotten names"),
]  # fmt: skip


def number(line: Identity, result: LabResult) -> str:
    """One of the numbers as it is shown."""
    value = getattr(result.mathematics, line.key)
    tiny = "e" in line.form and value < 1e-12
    return "< 1e−12" if tiny else line.form.format(value).replace("-", "−")


def mathematics(fig: Figure, result: LabResult) -> str:
    ax = _pixels(fig)
    for k, line in enumerate(IDENTITIES):
        y = 60 + 46 * k
        ax.text(16, y, line.formula, fontsize=13, va="center")
        ax.text(330, y, number(line, result), fontsize=13, va="center", ha="right", color=RETAIN)
        ax.text(354, y, textwrap.fill(line.meaning, 40), fontsize=9, color=GREY, va="center")
    return f"{spoken(result)}: W = I − L Rᵀ, and U a basis of the forgotten names"


# --- one picture: its five best names before and after -------------------------------------------


def single(fig: Figure, result: LabResult) -> str:
    single, gone = result.single, set(result.case.forget_names)
    fig.subplots_adjust(left=8 / WIDE, right=1 - 8 / WIDE, top=0.8, bottom=0.14, wspace=0.15)
    left, *others = fig.subplots(1, 3, width_ratios=[1.3, 1.5, 1.5])
    row, images = single.row, result.bench.images
    if row is not None and images is None:
        left.text(0.5, 0.5, "no picture\nat this table", ha="center", va="center", fontsize=10)
    else:
        left.imshow(np.asarray(single.picture) if row is None else _thumbnail(images, row, PICTURE))
    left.axis("off")
    for title, best, kept, ax in zip(("before", "after"), single[:2], (GREY, RETAIN), others, strict=True):
        ax.spines[["top", "right", "left"]].set_visible(False)
        for k, (name, cosine) in enumerate(best):
            colour = FORGET if name in gone else kept
            ax.barh(k + 0.18, max(cosine, 0.0), height=0.36, alpha=0.75, color=colour, edgecolor=colour)
            said = f"{short(name, 22)}  {cosine:.2f}"
            ax.text(0, k - 0.12, said, va="bottom", fontsize=9)
        ax.set(xlim=(0, 1), ylim=(4.5, -0.6), yticks=[], xticks=[0, 0.5])
        ax.tick_params(labelsize=9)
        ax.set_xlabel("cosine", fontsize=9)
        ax.set_title(title, fontsize=10, loc="left", y=1.0)
    return was_called(single, 24)


def was_called(single: Single, n: int = 10**6) -> str:
    before, after, true = (short(x, n) for x in (single.before[0][0], single.after[0][0], single.true))
    what = f"“{true}”" if true else "Your picture"
    same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
    return f"{what} {same}"
