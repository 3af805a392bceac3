"""What the views of the forget/retain lab draw: each function fills a figure and returns its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from PIL import Image

from clipnull._show import percent
from clipnull.lab.result import Became, LabResult, Neighbour, Single
from clipnull.lab.state import TITLES, dials
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN, short
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


def _outward(x: np.ndarray) -> tuple[float, float]:
    """Limits a little beyond the values, on a coarse grid so that they seldom change."""
    low, high = float(x.min()), float(x.max())
    step = 10.0 ** np.floor(np.log10(max(high - low, 1e-6))) / 5
    return step * float(np.floor(low / step - 0.2)), step * float(np.ceil(high / step + 0.2))


# --- accuracy: recalls, search and retain accuracy before and after, as bars ---------------------


class Measure(NamedTuple):
    """A measure of an edit, before and after, with its chance (fractions; NaN where there is none)."""

    name: str
    before: float
    after: float
    chance: float


def measures(report: Report) -> list[Measure]:
    """Full and 2-way recall and search of the forgotten classes, and accuracy on the others."""
    nan = float("nan")
    two = report.n_way.get(2)
    before, after = (nan, nan) if two is None else (two.before, two.after)
    return [
        Measure("forget", report.forget_before, report.forget_after, 1 / len(report.case.classes)),
        Measure("2-way", before, after, 0.5),
        Measure("search", *report.search, 0.5),
        Measure("retain", report.retain_before, report.retain_after, nan),
    ]


def numbers(fig: Figure, result: LabResult) -> str:
    ax, shown = _axes(fig.subplots(), "", "%"), measures(result.report)
    x = [3 * k + after for k in range(len(shown)) for after in (0, 1)]
    fractions = [fraction for m in shown for fraction in (m.before, m.after)]
    heights = [0.0 if f != f else 100 * f for f in fractions]
    for bar in ax.bar(x, heights, color=[FORGET] * 6 + [RETAIN] * 2, width=0.9)[::2]:
        bar.set_alpha(0.4)
    for at, height, fraction in zip(x, heights, fractions, strict=True):
        ax.text(at, height + 1, percent(fraction), ha="center", va="bottom", fontsize=9)
    for k, measure in enumerate(shown[:3]):
        ax.hlines(100 * measure.chance, 3 * k - 0.6, 3 * k + 1.6, "k", "dashed", linewidth=1)
    ax.set_xticks(x, [f"{m.name}\n{when}" for m in shown for when in ("before", "after")])
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 112)
    change = points(result.report.forget_after - result.report.forget_before)
    return f"{spoken(result)}: forget {change} points, kept {percent(result.report.retained)}; dashed: chance"


# --- curve: accuracies along a hyperparameter, and one against the other -------------------------

#: sign, meaning, whether its axis is logarithmic
AXES = {
    "strength": ("α", "strength of the projection", False),
    "lam": ("λ", "pull on the forgotten names", True),
    "mu": ("μ", "hold on the other names", True),
}


def _hundred(fractions: Sequence[float]) -> list[float]:
    return [100 * f for f in fractions]


def along(result: LabResult) -> tuple[str, str]:
    """The method whose line is the present one's, and the hyperparameter along it."""
    own = result.state["method"] if result.state["method"] in result.curve else "partial"
    return own, dials(own)[0]


def curve(fig: Figure, result: LabResult) -> str:
    own, dial = along(result)
    line, r = result.curve[own], result.report
    fig.subplots_adjust(top=0.79)
    ax = fig.subplots()
    _dial_axis(ax, dial, line.values)
    thin: dict[str, Any] = dict(color=PALE, linewidth=1.2, zorder=1)
    for m, other in result.curve.items():
        if m != own and dials(m)[0] == dial:
            ax.plot(line.values, _hundred(other.forget), **thin)
            ax.plot(line.values, _hundred(other.retain), **thin)
    handles = []
    for label, accuracies, colour, marker, dashes in (
        ("forget", line.forget, FORGET, "o", "-"),
        ("2-way", line.two_way, FORGET, "^", "--"),
        ("retain", line.retain, RETAIN, "s", "-"),
    ):
        style: dict[str, Any] = dict(color=colour, marker=marker, linestyle=dashes, markersize=3, zorder=2)
        handles += ax.plot(line.values, _hundred(accuracies), label=label, **style)
    # the projector is the end of the partial one; "auto" stands at the number that it chose
    at = min(max(result.edit.info[dial], min(line.values)), max(line.values))
    handles += ax.plot(
        [at, at], _hundred([r.forget_after, r.retain_after]), "kD", markersize=8, fillstyle="none",
        zorder=3, clip_on=False, label="you are here",
    )  # fmt: skip
    _legend(fig, [*handles, Line2D([], [], label="other methods", **thin)], 5)
    end = f"along {AXES[dial][0]}" if own == result.state["method"] else "the end of partial"
    return f"{spoken(result)}: {end}"


def _dial_axis(ax: Any, dial: str, x: Sequence[float]) -> None:
    sign, meaning, log = AXES[dial]
    _axes(ax, f"{sign}, {meaning}", "accuracy after, %")
    ax.set_xscale("log" if log else "linear")
    ticks = ["0.01", "1", "100"] if log else ["0", "0.5", "1"]
    ax.set_xticks([float(t) for t in ticks], ticks)  # plain: mathematical ones double the time of a redraw
    if log:
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(x), max(x))
    ax.set_ylim(-3, 103)


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
    every = np.concatenate([before, after])
    ax.set_xlim(*_outward(every[:, 0]))
    ax.set_ylim(*_outward(every[:, 1]))
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
    columns = 5
    ax, room, sheet = _pixels(fig), ROWS * columns, np.full((HEIGHT, WIDE, 3), 255, dtype=np.uint8)

    def block(top: int, shown: Sequence[Became], said: Callable[[Became], str]) -> None:
        for k, b in enumerate(shown[:room]):
            x, y = round(WIDE / columns * (k % columns)) + 8, top + 84 * (k // columns)
            ax.text(x, y + SIDE + 3, f"{short(b.true, 18)}\n→ {said(b)}", fontsize=8, va="top")
            ax.text(x + SIDE + 11, y + SIDE / 2, "→", fontsize=11, ha="center", va="center")
            for left, row in ((x, b.row), (x + SIDE + 22, b.now_row)):
                if row is not None:
                    sheet[y : y + SIDE, left : left + SIDE] = _thumbnail(result.data.images, row, SIDE)

    went, lost = result.destinations, result.lost
    block(28, went, lambda b: f"{short(b.now, 12)} (×{b.times})")
    block(222, lost, lambda b: short(b.now, 16))
    ax.imshow(sheet, extent=(0, WIDE, HEIGHT, 0), interpolation="nearest", aspect="auto")
    many = f" ({room} shown)" if len(lost) > room else ""
    fig.text(0.015, 0.475, f"Retained pictures lost: {len(lost)}{many}", ha="left", va="top", fontsize=10)
    often = "most often " if len(went) > room else ""
    return f"The {int(result.case.gone.sum())} forgotten pictures are now {often}called"


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
    gain = sum(change > 0 for change in changes)
    return f"{len(losers(rows))} of {len(rows)} retained classes lose accuracy, {gain} gain"


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
    Identity("orthonormality", r"$\|U^\top U - I\|$", "‖UᵀU − I‖", "{:.1e}",
             "zero: the basis U is orthonormal"),
    Identity("idempotence", r"$\|P^2 - P\|$", "‖P² − P‖", "{:.1e}", "zero: P = UUᵀ projects, twice is once"),
    Identity("forget_residual", r"$\|W T_f\|$", "‖W T_f‖", "{:.3f}", "zero: the forgotten names fell silent"),
    Identity("retain_moved", r"$\|W T_r - T_r\|$", "‖W T_r − T_r‖", "{:.3f}",
             "zero: the other names stay in place"),
    Identity("norm_taken", r"mean of $1 - \|W^\top z\| / \|z\|$", "mean of 1 − ‖Wᵀz‖ / ‖z‖", "{:.3f}",
             "share of their length that pictures lose (negative: they gain)"),
    Identity("certificate", "certificate", "certificate", "{:.4f}",
             "the largest lead that any image can give a forgotten name; zero: it cannot win"),
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
    row, given = single.row, single.picture
    left.imshow(np.asarray(given) if row is None else _thumbnail(result.data.images, row, PICTURE))
    left.axis("off")
    for title, best, kept, ax in zip(("before", "after"), single[:2], (GREY, RETAIN), others, strict=True):
        ax.spines[["top", "right", "left"]].set_visible(False)
        for k, (name, cosine) in enumerate(best):
            colour = FORGET if name in gone else kept
            ax.barh(k + 0.18, max(cosine, 0.0), height=0.36, alpha=0.75, color=colour, edgecolor=colour)
            said = f"{short(name, 22)}  {cosine:.2f}"
            ax.text(0, k - 0.12, said, va="bottom", fontsize=9)
        ax.set_yticks([])
        ax.set_ylim(4.5, -0.6)
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_locator(FixedLocator([0, 0.5]))
        ax.tick_params(labelsize=9)
        ax.set_xlabel("cosine", fontsize=9)
        ax.set_title(title, fontsize=10, loc="left", y=1.0)
    return was_called(single, 24)


def was_called(single: Single, n: int = 10**6) -> str:
    before, after, true = (short(x, n) for x in (single.before[0][0], single.after[0][0], single.true))
    what = f"“{true}”" if true else "Your picture"
    same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
    return f"{what} {same}"
