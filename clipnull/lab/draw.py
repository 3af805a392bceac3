"""What the views of the forget/retain lab draw: each function fills a figure and returns its heading."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from PIL import Image

from clipnull._show import percent
from clipnull.lab.result import Became, Cloud, LabResult, Line, Neighbour, Single
from clipnull.lab.state import TITLES, dials
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN

if TYPE_CHECKING:
    from clipnull.datasets.pictures import Images

DPI = 96
#: pixels; two halves fit beside the controls on a screen of 1280
WIDE, HALF, HEIGHT = 624, 404, 384
#: side of the picture in *One picture*, and of those in *Pictures*, in pixels; rows of its two blocks
PICTURE, SIDE, ROWS = 160, 46, 2
#: thumbnails kept, since reading a picture takes milliseconds
KEPT = 2000


def points(x: float) -> str:
    """A difference of fractions in signed percentage points."""
    return "–" if x != x else f"{100 * x:+.1f}".replace("-", "−")


def spoken(result: LabResult) -> str:
    """The method's name, fit to begin a sentence."""
    title = TITLES[result.state["method"]]
    return title[0].upper() + title[1:]


def short(name: str, n: int) -> str:
    """A name of at most ``n`` letters."""
    return name if len(name) <= n else name[: n - 1] + "…"


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


def _pixels(fig: Figure, width: int) -> Any:
    """Axes over the whole figure whose unit is a pixel, origin at the top left."""
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(HEIGHT, 0)
    ax.axis("off")
    return ax


def _outward(low: float, high: float, margin: float = 0.04) -> tuple[float, float]:
    """Limits a little beyond ``low`` and ``high``, on a coarse grid so that they seldom change."""
    span = max(high - low, 1e-6)
    step = 10.0 ** np.floor(np.log10(span)) / 5
    floor, ceil = np.floor((low - margin * span) / step), np.ceil((high + margin * span) / step)
    return step * float(floor), step * float(ceil)


# --- accuracy: forget and retain accuracy before and after, as bars ------------------------------


def numbers(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    r, x = result.report, (0, 1, 2.5, 3.5)
    ax = _axes(fig.subplots(), "", "accuracy, %")
    accuracies = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
    heights = [0.0 if a != a else 100 * a for a in accuracies]
    for bar in ax.bar(x, heights, color=[FORGET, FORGET, RETAIN, RETAIN], width=0.9)[::2]:
        bar.set_alpha(0.4)
    ax.set_xticks(x, ["forget\nbefore", "forget\nafter", "retain\nbefore", "retain\nafter"])
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 108)
    for at, height, accuracy in zip(x, heights, accuracies, strict=True):
        ax.text(at, height + 1, percent(accuracy), ha="center", va="bottom", fontsize=10)
    forget, retain = points(r.forget_after - r.forget_before), points(r.retain_after - r.retain_before)
    return f"{spoken(result)}: forget {forget}, retain {retain} points"


# --- curve: both accuracies along the dial, and one against the other ----------------------------


def _hundred(fractions: Sequence[float]) -> list[float]:
    return [100 * f for f in fractions]


def _plane(line: Line) -> tuple[list[float], list[float]]:
    return _hundred(line.forget), _hundred(line.retain)


def along(result: LabResult) -> tuple[str, bool]:
    """The method whose line is the present one's, and whether it moves along λ."""
    own = result.state["method"] if result.state["method"] in result.curve else "partial"
    return own, "lam" in dials(own)


def curve(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    lines, state, r = result.curve, result.state, result.report
    own, log = along(result)
    x = lines[own].values
    fig.subplots_adjust(wspace=0.16, top=0.79)
    left, right = fig.subplots(1, 2, sharey=True)
    _dial_axis(left, log, x, half)
    _axes(right, "forget after, %" if half else "forget accuracy after, %", "retain")
    right.tick_params(axis="y", length=0)
    right.set_xlim(103, -3)  # forgotten is to the right, as the dial is
    right.grid(color="#E4E4E4", linewidth=0.8)
    thin: dict[str, Any] = dict(color=PALE, linewidth=1.2, zorder=1)
    for m, line in lines.items():
        if m != own:
            right.plot(*_plane(line), **thin)
            if ("lam" in dials(m)) == log:
                left.plot(x, _hundred(line.forget), **thin)
                left.plot(x, _hundred(line.retain), **thin)
    style: dict[str, Any] = dict(color=FORGET, marker="o", markersize=3, zorder=2)
    square = {**style, "color": RETAIN, "marker": "s"}
    handles = [
        *left.plot(x, _hundred(lines[own].forget), label="forget", **style),
        *left.plot(x, _hundred(lines[own].retain), label="retain", **square),
    ]
    right.plot(*_plane(lines[own]), **{**style, "color": "k", "marker": "."})
    at = state["lam"] if log else (1.0 if state["method"] == "nullspace" else state["strength"])
    at = min(max(at, min(x)), max(x))
    ring: dict[str, Any] = dict(
        marker="D", markersize=8, linestyle="none", fillstyle="none", color="k", zorder=3, clip_on=False,
        label="you are here",
    )  # fmt: skip
    handles += left.plot([at, at], _hundred([r.forget_after, r.retain_after]), **ring)
    right.plot([100 * r.forget_after], [100 * r.retain_after], **ring)
    _legend(fig, [*handles, Line2D([], [], label="other methods", **thin)], 4)
    return (
        f"{spoken(result)}{' along its dial' if dials(state['method']) else ': the end of the partial one'}"
    )


def _dial_axis(ax: Any, log: bool, x: Sequence[float], half: bool) -> None:
    dial = ("λ", "pull on the forgotten names") if log else ("α", "strength of the projection")
    _axes(ax, dial[0] if half else ", ".join(dial), "accuracy after, %")
    ax.set_xscale("log" if log else "linear")
    ticks = ["0.01", "1", "100"] if log else ["0", "0.5", "1"]
    ax.set_xticks([float(t) for t in ticks], ticks)  # plain: mathematical ones double the time of a redraw
    if log:
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(min(x), max(x))
    ax.set_ylim(-3, 103)


# --- geometry: what the edit moves, in the plane of two principal components ---------------------


def space(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    clouds = result.geometry.clouds
    before, after = (
        np.concatenate([getattr(c, when).numpy() for c in clouds.values()]) for when in ("before", "after")
    )
    gone = np.concatenate([cloud.forgotten.numpy() for cloud in clouds.values()])
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), "first principal component", "second principal component")
    shown = [ax.scatter(*before.T, c=PALE, s=6, linewidths=0, zorder=0, label="before")]
    small: dict[str, Any] = dict(linewidths=0, zorder=2)
    styles: list[tuple[str, bool, dict[str, Any]]] = [
        ("pictures", False, dict(c=RETAIN, s=9, alpha=0.7, **small, label="pictures after")),
        ("names", False, dict(c=RETAIN, marker="s", s=14, **small, label="names after")),
        ("pictures", True, dict(c=FORGET, s=20, **small, label="forgotten pictures")),
        ("names", True, dict(c=FORGET, marker="s", s=40, edgecolors="k", label="forgotten names")),
    ]
    for what, forgotten, style in styles:
        if what in clouds:
            rows = clouds[what].forgotten == forgotten
            shown.append(ax.scatter(*clouds[what].after[rows].numpy().T, **style))
    every = np.concatenate([before, after])
    low, high = every.min(0), every.max(0)
    ax.set_xlim(*_outward(low[0], high[0]))
    ax.set_ylim(*_outward(low[1], high[1]))
    _arrows(ax, before, after - before, gone)
    if thumbnails and "pictures" in clouds:
        _thumbnails(ax, result.data.images, clouds["pictures"])
    _legend(fig, shown, 3)
    held = 100 * sum(result.geometry.explained)
    return f"How the {' and '.join(clouds)} move; the plane holds {held:.0f}% of their variance"


def _arrows(ax: Any, start: np.ndarray, step: np.ndarray, gone: np.ndarray) -> None:
    """An arrow for each point that moves."""
    moved = np.linalg.norm(step, axis=1) > 1e-3
    for which, style in (
        (False, dict(color=GREY, alpha=0.45, width=0.9, zorder=1)),
        (True, dict(color=FORGET, alpha=0.9, width=1.3, zorder=2.5)),
    ):
        rows = moved & (gone == which)
        if rows.any():
            ax.quiver(
                *start[rows].T, *step[rows].T, angles="xy", scale_units="xy", scale=1, units="dots",
                headwidth=6, headlength=6, headaxislength=5, **style,
            )  # fmt: skip


def _thumbnails(ax: Any, images: Images, cloud: Cloud) -> None:
    """Some of the pictures, at the points that they have after the edit."""
    forgotten, after = cloud.forgotten.numpy(), cloud.after.numpy()
    others = np.flatnonzero(~forgotten)
    for k in [*np.flatnonzero(forgotten)[:12], *others[:: max(1, len(others) // 24)]]:
        small = OffsetImage(_thumbnail(images, cloud.rows[k], 24), zoom=72 / DPI)
        frame: dict[str, Any] = dict(
            frameon=bool(forgotten[k]), bboxprops=dict(edgecolor=FORGET, linewidth=1.2)
        )
        ax.add_artist(AnnotationBbox(small, after[k], pad=0.1, zorder=3, **frame))


# --- pictures: where the forgotten ones went, and which retained ones were lost ------------------


def pictures(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    width, columns = (HALF, 3) if half else (WIDE, 5)
    ax, room, sheet = _pixels(fig, width), ROWS * columns, np.full((HEIGHT, width, 3), 255, dtype=np.uint8)

    def block(top: int, shown: Sequence[Became], said: Callable[[Became], str]) -> None:
        for k, b in enumerate(shown[:room]):
            x, y = round(width / columns * (k % columns)) + 8, top + 84 * (k // columns)
            ax.text(x, y + SIDE + 3, f"{short(b.true, 18)}\n→ {said(b)}", fontsize=8, va="top")
            ax.text(x + SIDE + 11, y + SIDE / 2, "→", fontsize=11, ha="center", va="center")
            for left, row in ((x, b.row), (x + SIDE + 22, b.now_row)):
                if row is not None:
                    sheet[y : y + SIDE, left : left + SIDE] = _thumbnail(result.data.images, row, SIDE)

    went, lost = result.destinations, result.lost
    block(28, went, lambda b: f"{short(b.now, 12)} (×{b.times})")
    block(222, lost, lambda b: short(b.now, 16))
    ax.imshow(sheet, extent=(0, width, HEIGHT, 0), interpolation="nearest", aspect="auto")
    many = f" ({room} shown)" if len(lost) > room else ""
    fig.text(0.015, 0.475, f"Retained pictures lost: {len(lost)}{many}", ha="left", va="top", fontsize=10)
    often = "most often " if len(went) > room else ""
    return f"The {int(result.case.gone.sum())} forgotten pictures are now {often}called"


# --- neighbours: change of each retained class against its cosine to the forget subspace ---------

#: how many of the classes that lose most are named, in the figure and in its sentence
NAMED = 3


def losers(rows: Sequence[Neighbour]) -> list[int]:
    """Which classes lose accuracy, the greatest loss first."""
    return sorted((i for i, r in enumerate(rows) if r.change < 0), key=lambda i: rows[i].change)


def neighbours(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    rows = result.neighbours
    x, y = np.array([r.cosine for r in rows]), 100 * np.array([r.change for r in rows])
    ax = _axes(fig.subplots(), "cosine of the name to the forget subspace", "change in accuracy, points")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.scatter(x, y, c=RETAIN, marker="s", s=20, alpha=0.6, linewidths=0)
    low, high = _outward(min(float(x.min()), float(x.max()) - 0.1), float(x.max()))
    ax.set_xlim(low, min(high, 1.01))
    # by steps of a quarter, so that the axes stand still while a slider moves
    bottom, top = (25 * np.floor(min(y.min(), -20) / 25) - 8, 25 * np.ceil(max(y.max(), 20) / 25) + 8)
    ax.set_ylim(float(bottom), float(top))
    _label(ax, {i: short(rows[i].name, 20) for i in losers(rows)[:NAMED]}, np.stack([x, y], 1))
    return f"{int((y < 0).sum())} of {len(rows)} retained classes lose accuracy, {int((y > 0).sum())} gain"


def _label(ax: Any, names: dict[int, str], xy: np.ndarray) -> None:
    """Name some of the points, each beside its own, clear of the other names and of most other points."""
    (left, bottom), (right, top) = ax.transAxes.transform([(0, 0), (1, 1)])
    at = ax.transData.transform(xy)
    boxes: list[tuple[float, float, float]] = []
    for i, name in names.items():
        long = 6.5 * len(name)
        places = []
        for up in (0, 13, -13, 26, -26, 39, -39):
            for across in (6, -6 - long):
                x, y = at[i] + (across, up)
                if left <= x and x + long <= right and bottom + 6 <= y <= top - 6:
                    hidden = (abs(at[:, 1] - y) < 9) & (x - 3 < at[:, 0]) & (at[:, 0] < x + long + 3)
                    over = any(abs(v - y) < 12 and x < u + w and u < x + long for u, v, w in boxes)
                    places.append((1000 * over + hidden.sum() + abs(up) / 100, across, up))
        _, across, up = min(places, default=(0, 6, 0))
        boxes.append((at[i, 0] + across, at[i, 1] + up, long))
        pixel = 72 / DPI
        line = dict(arrowstyle="-", color=GREY, linewidth=0.7, shrinkA=0, shrinkB=3) if up else None
        beside = (6 if across > 0 else -6) * pixel, up * pixel
        ax.annotate(name, xy[i], beside, textcoords="offset points", fontsize=8.5, va="center",
                    ha="left" if across > 0 else "right", arrowprops=line)  # fmt: skip


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
    Identity("forget_residual", r"$\|W T_f\|$", "‖W T_f‖", "{:.3f}", "zero: the forgotten names became zero"),
    Identity("retain_moved", r"$\|W T_r - T_r\|$", "‖W T_r − T_r‖", "{:.3f}",
             "zero: the other names stay in place"),
    Identity("norm_taken", r"mean of $1 - \|W^\top z\| / \|z\|$", "mean of 1 − ‖Wᵀz‖ / ‖z‖", "{:.3f}",
             "share of their length that pictures lose (negative: they gain)"),
]  # fmt: skip


def number(line: Identity, result: LabResult) -> str:
    """One of the numbers as it is shown."""
    value = getattr(result.mathematics, line.key)
    tiny = "e" in line.form and value < 1e-12
    return "< 1e−12" if tiny else line.form.format(value).replace("-", "−")


def mathematics(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    ax, right = _pixels(fig, HALF if half else WIDE), 370 if half else 330
    for k, line in enumerate(IDENTITIES):
        y = 64 + 54 * k
        ax.text(16, y, line.formula, fontsize=13, va="center")
        ax.text(right, y, number(line, result), fontsize=13, va="center", ha="right", color=RETAIN)
        if half:
            ax.text(16, y + 21, line.meaning, fontsize=8, color=GREY, va="center")
        else:
            ax.text(right + 24, y, textwrap.fill(line.meaning, 40), fontsize=9, color=GREY, va="center")
    return f"{spoken(result)}: W = I − L Rᵀ, and U a basis of the forgotten names"


# --- one picture: its five best names before and after -------------------------------------------


def single(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    single, gone, width = result.single, set(result.case.forget_names), HALF if half else WIDE
    fig.subplots_adjust(left=8 / width, right=1 - 8 / width, top=0.8, bottom=0.14, wspace=0.15)
    left, *others = fig.subplots(1, 3, width_ratios=[1 if half else 1.3, 1.5, 1.5])
    row, given = single.row, single.picture
    left.imshow(np.asarray(given) if row is None else _thumbnail(result.data.images, row, PICTURE))
    left.axis("off")
    for title, best, kept, ax in zip(("before", "after"), single[:2], (GREY, RETAIN), others, strict=True):
        ax.spines[["top", "right", "left"]].set_visible(False)
        for k, (name, cosine) in enumerate(best):
            colour = FORGET if name in gone else kept
            ax.barh(k + 0.18, max(cosine, 0.0), height=0.36, alpha=0.75, color=colour, edgecolor=colour)
            said = f"{short(name, 15 if half else 22)}  {cosine:.2f}"
            ax.text(0, k - 0.12, said, va="bottom", fontsize=9)
        ax.set_yticks([])
        ax.set_ylim(4.5, -0.6)
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_locator(FixedLocator([0, 0.5]))
        ax.tick_params(labelsize=9)
        ax.set_xlabel("cosine", fontsize=9)
        ax.set_title(title, fontsize=10, loc="left", y=1.0)
    return was_called(single, 24)


def was_called(single: Single, n: int = 1000) -> str:
    before, after, true = (short(x, n) for x in (single.before[0][0], single.after[0][0], single.true))
    what = f"“{true}”" if true else "Your picture"
    same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
    return f"{what} {same}"
