"""The views of the forget/retain lab: functions that draw a `clipnull.lab.LabResult` and compute nothing.

`figure` draws one afresh for each state; `picture` and `png` are what the widget shows.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from PIL import Image

from clipnull.lab.bench import LabResult
from clipnull.lab.state import CONSISTENT, METHODS
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN

if TYPE_CHECKING:
    from clipnull.datasets.pictures import Images

__all__ = ["PANELS", "Panel", "figure", "percent", "picture", "png", "spoken"]

DPI = 96
#: pixels; two halves fit beside the controls on a screen of 1280
WIDE, HALF, HEIGHT = 624, 404, 384
#: side of the picture in *One picture*, pixels
PICTURE = 160
#: thumbnails kept, since reading a picture takes milliseconds
KEPT = 2000


def percent(x: float) -> str:
    """A fraction as percent on screen; an en dash when there is no number."""
    return "–" if x != x else f"{100 * x:.1f}%"


def points(x: float) -> str:
    """A difference of fractions in signed percentage points."""
    return "–" if x != x else f"{100 * x:+.1f}".replace("-", "−")


def spoken(method: str) -> str:
    """A method's name, fit to begin a sentence."""
    return METHODS[method][0].upper() + METHODS[method][1:]


def few(names: Sequence[str], k: int = 4) -> str:
    """The first ``k`` names, and how many more there are."""
    return ", ".join(names[:k]) + (f" and {len(names) - k} more" if len(names) > k else "")


def short(name: str, n: int) -> str:
    """A name of at most ``n`` letters."""
    return name if len(name) <= n else name[: n - 1] + "…"


def _outward(low: float, high: float, margin: float = 0.04) -> tuple[float, float]:
    """Limits a little beyond ``low`` and ``high``, on a coarse grid so that they seldom change."""
    span = max(high - low, 1e-6)
    step = 10.0 ** np.floor(np.log10(span)) / 5
    return (
        step * float(np.floor((low - margin * span) / step)),
        step * float(np.ceil((high + margin * span) / step)),
    )


@dataclass(frozen=True)
class Panel:
    """One view of the lab.

    Attributes
    ----------
    title : str
        What its button says.
    draw : callable
        (figure, result, half, thumbnails) to the heading of the figure that it fills.
    sentence : callable
        What the figure shows for a result, in words and numbers: its caption and its alt text.
    """

    title: str
    draw: Callable[[Figure, LabResult, bool, bool], str]
    sentence: Callable[[LabResult], str]


def figure(key: str, result: LabResult, half: bool = False, thumbnails: bool = False) -> Figure:
    """A view of ``result`` as a matplotlib Figure.

    Parameters
    ----------
    key : str
        One of `PANELS`.
    result : LabResult
        With what that view draws, see `clipnull.lab.Bench.compute`.
    half : bool
        For a place beside another view.
    thumbnails : bool
        Draw pictures for points, where a view has any.
    """
    width = HALF if half else WIDE
    fig = Figure(figsize=(width / DPI, HEIGHT / DPI), dpi=DPI)
    FigureCanvasAgg(fig)
    # fixed margins: a layout engine would measure every text at every move of a slider
    fig.subplots_adjust(left=(74 if half else 70) / width, right=1 - 14 / width, bottom=0.14, top=0.86)
    heading = textwrap.wrap(PANELS[key].draw(fig, result, half, thumbnails), 57 if half else 84)[:2]
    fig.text(0.015, 0.98, "\n".join(heading), ha="left", va="top", fontsize=9.5 if half else 10)
    return fig


def picture(key: str, result: LabResult, half: bool = False, thumbnails: bool = False) -> Image.Image:
    """`figure` as pixels, RGB."""
    canvas: Any = figure(key, result, half, thumbnails).canvas
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def png(key: str, result: LabResult, half: bool = False, thumbnails: bool = False) -> bytes:
    """`picture` as PNG bytes."""
    buffer = io.BytesIO()
    picture(key, result, half, thumbnails).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


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


def _pixels(fig: Figure, width: int) -> Any:
    """Axes over the whole figure whose unit is a pixel, origin at the top left."""
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(HEIGHT, 0)
    ax.axis("off")
    return ax


# --- accuracy: forget and retain accuracy before and after, as bars ------------------------------


def _numbers(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    r, x = result.report, (0, 1, 2.5, 3.5)
    ax = _axes(fig.subplots(), "", "accuracy, %")
    accuracies = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
    heights = [0.0 if a != a else 100 * a for a in accuracies]
    bars = ax.bar(x, heights, color=[FORGET, FORGET, RETAIN, RETAIN], width=0.9)
    for bar in bars[::2]:
        bar.set_alpha(0.4)
    ax.set_xticks(x, ["forget\nbefore", "forget\nafter", "retain\nbefore", "retain\nafter"])
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 108)
    for at, height, accuracy in zip(x, heights, accuracies, strict=True):
        ax.text(at, height + 1, percent(accuracy), ha="center", va="bottom", fontsize=10)
    return (
        f"{spoken(result.state['method'])}: forget {points(r.forget_after - r.forget_before)}, "
        f"retain {points(r.retain_after - r.retain_before)} points"
    )


def _numbers_said(result: LabResult) -> str:
    r = result.report
    return (
        f"Forget accuracy {percent(r.forget_before)} before, {percent(r.forget_after)} after "
        f"({points(r.forget_after - r.forget_before)} points); retain accuracy "
        f"{percent(r.retain_before)} before, {percent(r.retain_after)} after "
        f"({points(r.retain_after - r.retain_before)} points)."
    )


# --- curve: both accuracies along the dial, and one against the other ----------------------------


def _curve(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    methods, state, r = result.curve["methods"], result.state, result.report
    own = state["method"] if state["method"] in methods else "partial"
    others, x = [m for m in methods if m != own], methods[own]["values"]
    fig.subplots_adjust(wspace=0.16, top=0.79)
    left, right = fig.subplots(1, 2, sharey=True)
    log = result.curve["dial"] == "lam"
    _dial_axis(left, log, x, half)
    _axes(right, "forget after, %" if half else "forget accuracy after, %", "retain")
    right.tick_params(axis="y", length=0)
    right.set_xlim(103, -3)  # forgotten is to the right, as the dial is
    right.grid(color="#E4E4E4", linewidth=0.8)
    thin = dict(color=PALE, linewidth=1.2, zorder=1)
    for m in others:
        right.plot(*_plane(methods[m]), **thin)
        if (m in CONSISTENT) == log:
            for kind in ("forget", "retain"):
                left.plot(x, _hundred(methods[m][kind]), **thin)
    line: dict[str, Any] = dict(color=FORGET, marker="o", markersize=3, zorder=2)
    square = {**line, "color": RETAIN, "marker": "s"}
    handles = [
        *left.plot(x, _hundred(methods[own]["forget"]), label="forget", **line),
        *left.plot(x, _hundred(methods[own]["retain"]), label="retain", **square),
    ]
    right.plot(*_plane(methods[own]), **{**line, "color": "k", "marker": "."})
    at = state["lam"] if log else (1.0 if state["method"] == "nullspace" else state["strength"])
    at = min(max(at, min(x)), max(x))
    ring: dict[str, Any] = dict(
        marker="D", markersize=8, linestyle="none", fillstyle="none", color="k", zorder=3, clip_on=False,
        label="you are here",
    )  # fmt: skip
    handles += left.plot([at, at], _hundred([r.forget_after, r.retain_after]), **ring)
    right.plot([100 * r.forget_after], [100 * r.retain_after], **ring)
    handles.append(Line2D([], [], label="other methods", **thin))
    fig.legend(
        handles=handles, ncol=4, frameon=False, fontsize=8.5, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(0.01, 0.885), handlelength=1.2, columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip
    end = ": the end of the partial one" if state["method"] == "nullspace" else " along its dial"
    return f"{spoken(state['method'])}{end}"


def _dial_axis(ax: Any, log: bool, x: Sequence[float], half: bool) -> None:
    dial = ("λ", "pull on the forgotten names") if log else ("α", "strength of the projection")
    _axes(ax, dial[0] if half else ", ".join(dial), "accuracy after, %")
    ax.set_xscale("log" if log else "linear")
    if log:  # plain labels: mathematical ones double the time of a redraw
        ax.set_xticks([0.01, 1, 100], ["0.01", "1", "100"])
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_xlim(min(x), max(x))
    ax.set_ylim(-3, 103)


def _curve_said(result: LabResult) -> str:
    state, methods = result.state, result.curve["methods"]
    own = state["method"] if state["method"] in methods else "partial"
    line, dial = methods[own], "λ" if result.curve["dial"] == "lam" else "α"
    first, last = line["values"][0], line["values"][-1]
    ends = [f"{percent(line[kind][0])} → {percent(line[kind][-1])}" for kind in ("forget", "retain")]
    r = result.report
    return (
        f"From {dial} = {first:g} to {last:g}, forget accuracy goes {ends[0]} and retain accuracy "
        f"{ends[1]}; you are at {percent(r.forget_after)} and {percent(r.retain_after)}."
    )


def _hundred(fractions: Sequence[float]) -> list[float]:
    return [100 * f for f in fractions]


def _plane(line: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    return _hundred(line["forget"]), _hundred(line["retain"])


# --- geometry: what the edit moves, in the plane of two principal components ---------------------


def _space(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    pca, report = result.pca, result.report
    forgotten = {
        "image": report.is_forget.numpy()[pca["rows"]],
        "text": np.isin(np.arange(len(report.classes)), report.forget),
    }
    kinds = [kind for kind in ("image", "text") if kind in pca]
    before, after = (np.concatenate([pca[kind][i].numpy() for kind in kinds]) for i in (0, 1))
    gone = np.concatenate([forgotten[kind] for kind in kinds])
    fig.subplots_adjust(top=0.79)
    ax = _axes(fig.subplots(), "first principal component", "second principal component")
    shown = [ax.scatter(*before.T, c=PALE, s=6, linewidths=0, zorder=0, label="before")]
    small = dict(linewidths=0, zorder=2)
    clouds: list[tuple[str, bool, dict[str, Any]]] = [
        ("image", False, dict(c=RETAIN, s=9, alpha=0.7, **small, label="pictures after")),
        ("text", False, dict(c=RETAIN, marker="s", s=14, **small, label="names after")),
        ("image", True, dict(c=FORGET, s=20, **small, label="forgotten pictures")),
        ("text", True, dict(c=FORGET, marker="s", s=40, edgecolors="k", label="forgotten names")),
    ]
    for kind, which, style in clouds:
        if kind in kinds:
            shown.append(ax.scatter(*pca[kind][1].numpy()[forgotten[kind] == which].T, **style))
    every = np.concatenate([before, after])
    low, high = every.min(0), every.max(0)
    ax.set_xlim(*_outward(low[0], high[0]))
    ax.set_ylim(*_outward(low[1], high[1]))
    _arrows(ax, before, after - before, gone)
    if thumbnails and "image" in kinds:
        _thumbnails(ax, result, forgotten["image"])
    fig.legend(
        handles=shown, ncol=3, frameon=False, fontsize=8.5, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(0.01, 0.885), handletextpad=0.2, columnspacing=1.0, scatterpoints=1,
    )  # fmt: skip
    moving = " and ".join({"image": "pictures", "text": "names"}[k] for k in kinds)
    return f"How the {moving} move; the plane holds {100 * sum(pca['explained']):.0f}% of their variance"


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


def _thumbnails(ax: Any, result: LabResult, forgotten: np.ndarray) -> None:
    """Some of the pictures, at the points that they have after the edit."""
    after, rows = result.pca["image"][1].numpy(), result.pca["rows"]
    others = np.flatnonzero(~forgotten)
    for k in [*np.flatnonzero(forgotten)[:12], *others[:: max(1, len(others) // 24)]]:
        box = AnnotationBbox(
            OffsetImage(_thumbnail(result.data.images, int(rows[k]), 24), zoom=72 / DPI), after[k], pad=0.1,
            frameon=bool(forgotten[k]), zorder=3, bboxprops=dict(edgecolor=FORGET, linewidth=1.2),
        )  # fmt: skip
        ax.add_artist(box)


def _space_said(result: LabResult) -> str:
    said = []
    for kind, what in (("image", "pictures"), ("text", "names")):
        if kind in result.pca["step"]:
            far = ["–" if x != x else f"{x:.3f}" for x in result.pca["step"][kind]]
            said.append(f"the forgotten {what} move by {far[0]} and the others by {far[1]}")
    return f"In this plane {'; '.join(said)} on average."


# --- pictures: where the forgotten ones went, and which retained ones were lost ------------------

#: side of a picture in *Pictures*, pixels, and rows of each of its two blocks
SIDE, ROWS = 46, 2


def _pictures(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    width, columns, images = (HALF, 3, result.images) if half else (WIDE, 5, result.images)
    ax, room = _pixels(fig, width), ROWS * columns
    went = [
        (d["rows"][0], d["now_row"], d["true"], f"→ {short(d['name'], 12)} (×{d['count']})")
        for d in images["destinations"]
    ]
    lost = [(r["row"], r["now_row"], r["true"], f"→ {short(r['now'], 16)}") for r in images["lost"]]
    sheet = np.full((HEIGHT, width, 3), 255, dtype=np.uint8)
    for top, shown in ((28, went), (222, lost)):
        for k, (row, now_row, true, now) in enumerate(shown[:room]):
            x, y = round(width / columns * (k % columns)) + 8, top + 84 * (k // columns)
            ax.text(x, y + SIDE + 3, f"{short(true, 18)}\n{now}", fontsize=8, va="top")
            ax.text(x + SIDE + 11, y + SIDE / 2, "→", fontsize=11, ha="center", va="center")
            for left, which in ((x, row), (x + SIDE + 22, now_row)):
                if which is not None:
                    small = _thumbnail(result.data.images, int(which), SIDE)
                    sheet[y : y + SIDE, left : left + SIDE] = small
    ax.imshow(sheet, extent=(0, width, HEIGHT, 0), interpolation="nearest", aspect="auto")
    many = f" ({room} shown)" if len(lost) > room else ""
    fig.text(0.015, 0.475, f"Retained pictures lost: {len(lost)}{many}", ha="left", va="top", fontsize=10)
    often = "most often " if len(went) > room else ""
    return f"The {int(result.report.is_forget.sum())} forgotten pictures are now {often}called"


def _pictures_said(result: LabResult) -> str:
    went = few([f"{d['name']} ({d['count']})" for d in result.images["destinations"]], 5)
    lost = result.images["lost"]
    which = few([f"{r['true']} → {r['now']}" for r in lost], 3)
    return (
        f"The forgotten pictures are now called {went or 'nothing, for there are none'}. "
        f"Retained pictures lost: {len(lost)}{f', {which}' if lost else ''}."
    )


# --- neighbours: change of each retained class against its cosine to the forget subspace ---------


def _neighbours(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    rows = result.neighbours
    x, y = np.array([r["cosine"] for r in rows]), 100 * np.array([r["change"] for r in rows])
    ax = _axes(fig.subplots(), "cosine of the name to the forget subspace", "change in accuracy, points")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.scatter(x, y, c=RETAIN, marker="s", s=20, alpha=0.6, linewidths=0)
    low, high = _outward(min(float(x.min()), float(x.max()) - 0.1), float(x.max()))
    ax.set_xlim(low, min(high, 1.01))
    # by steps of a quarter, so that the axes stand still while a slider moves
    bottom, top = (25 * np.floor(min(y.min(), -20) / 25) - 8, 25 * np.ceil(max(y.max(), 20) / 25) + 8)
    ax.set_ylim(float(bottom), float(top))
    worst = [int(i) for i in np.argsort(y, kind="stable") if y[i] < 0]
    _label(ax, [(i, rows[i]["name"]) for i in worst], x, y, HALF if half else WIDE)
    return f"{int((y < 0).sum())} of {len(rows)} retained classes lose accuracy, {int((y > 0).sum())} gain"


def _label(ax: Any, worst: list[tuple[int, str]], x: np.ndarray, y: np.ndarray, width: int) -> None:
    """Name up to five of the classes that lose most, where there is room for the name."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    across = (x - left) * 0.8 * width / (right - left)
    up = (y - bottom) * 0.72 * HEIGHT / (top - bottom)
    boxes = [(a - 3.0, a + 3.0, u) for a, u in zip(across, up, strict=True)]  # pixels: from, to, height
    free = 5
    for i, full in worst[:20]:
        name = short(full, 20)
        long = 6.5 * len(name) + 6
        for align, begin in (("left", across[i] + 4), ("right", across[i] - 4 - long)):
            inside = begin >= 0 and begin + long <= 0.8 * width
            taken = any(abs(up[i] - u) < 11 and begin < b and a < begin + long for a, b, u in boxes)
            if free and inside and not taken:
                said = f" {name}" if align == "left" else f"{name} "
                ax.text(float(x[i]), float(y[i]), said, fontsize=8.5, va="center", ha=align)
                boxes.append((begin, begin + long, up[i]))
                free -= 1
                break


def _neighbours_said(result: LabResult) -> str:
    rows = sorted(result.neighbours, key=lambda r: r["change"])
    hurt = [r for r in rows if r["change"] < 0]
    said = (
        f"{len(hurt)} of {len(rows)} retained classes lose accuracy and "
        f"{sum(r['change'] > 0 for r in rows)} gain."
    )
    worst = few([f"{r['name']} ({points(r['change'])} at cosine {r['cosine']:.2f})" for r in hurt], 3)
    return said + (f" Most of all: {worst}." if hurt else "")


# --- mathematics: the identities behind the edit, with the numbers of the moment -----------------

IDENTITIES = (
    ("rank", r"rank$(I - W)$", "rank(I\u00a0−\u00a0W)", "{:.0f}", "directions in which the edit acts"),
    (
        "orthonormality",
        r"$\|U^\top U - I\|$",
        "‖UᵀU\u00a0−\u00a0I‖",
        "{:.1e}",
        "zero: the basis U is orthonormal",
    ),
    (
        "idempotence",
        r"$\|P^2 - P\|$",
        "‖P²\u00a0−\u00a0P‖",
        "{:.1e}",
        "zero: P = UUᵀ projects, twice is once",
    ),
    (
        "forget_residual",
        r"$\|W T_f\|$",
        "‖W\u00a0T_f‖",
        "{:.3f}",
        "zero: the forgotten names became zero",
    ),
    (
        "retain_moved",
        r"$\|W T_r - T_r\|$",
        "‖W\u00a0T_r\u00a0−\u00a0T_r‖",
        "{:.3f}",
        "zero: the other names stay in place",
    ),
    (
        "norm_taken",
        r"mean of $1 - \|W^\top z\| / \|z\|$",
        "mean of 1\u00a0−\u00a0‖Wᵀz‖\u00a0/\u00a0‖z‖",
        "{:.3f}",
        "share of their length that pictures lose (negative: they gain)",
    ),
)


def _mathematics(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    ax, right = _pixels(fig, HALF if half else WIDE), 370 if half else 330
    for k, (key, formula, _, _, meaning) in enumerate(IDENTITIES):
        y = 64 + 54 * k
        ax.text(16, y, formula, fontsize=13, va="center")
        ax.text(right, y, _number(key, result), fontsize=13, va="center", ha="right", color=RETAIN)
        if half:
            ax.text(16, y + 21, meaning, fontsize=8, color=GREY, va="center")
        else:
            wrapped = "\n".join(textwrap.wrap(meaning, 40))
            ax.text(right + 24, y, wrapped, fontsize=9, color=GREY, va="center")
    return f"{spoken(result.state['method'])}: W = I − L Rᵀ, and U a basis of the forgotten names"


def _number(key: str, result: LabResult) -> str:
    """One of the numbers as it is shown."""
    form = next(line[3] for line in IDENTITIES if line[0] == key)
    value = result.mathematics[key]
    tiny = "e" in form and value < 1e-12
    return "< 1e−12" if tiny else form.format(value).replace("-", "−")


def _mathematics_said(result: LabResult) -> str:
    said = [f"{plain} = {_number(key, result)}" for key, _, plain, _, _ in IDENTITIES]
    return "; ".join(said).replace("= <", "<") + "."


# --- one picture: its five best names before and after -------------------------------------------


def _single(fig: Figure, result: LabResult, half: bool, thumbnails: bool) -> str:
    single, gone, width = result.single, set(result.report.forget_names), HALF if half else WIDE
    fig.subplots_adjust(left=8 / width, right=1 - 8 / width, top=0.8, bottom=0.14, wspace=0.15)
    left, *others = fig.subplots(1, 3, width_ratios=[1 if half else 1.3, 1.5, 1.5])
    given = single.get("picture")
    left.imshow(
        _thumbnail(result.data.images, single["row"], PICTURE) if given is None else np.asarray(given)
    )
    left.axis("off")
    for key, ax in zip(("before", "after"), others, strict=True):
        ax.spines[["top", "right", "left"]].set_visible(False)
        for k, (name, cosine) in enumerate(single[key][:5]):
            colour = FORGET if name in gone else (GREY if key == "before" else RETAIN)
            ax.barh(k + 0.18, max(cosine, 0.0), height=0.36, alpha=0.75, color=colour, edgecolor=colour)
            said = f"{short(name, 15 if half else 22)}  {cosine:.2f}"
            ax.text(0, k - 0.12, said, va="bottom", fontsize=9)
        ax.set_yticks([])
        ax.set_ylim(4.5, -0.6)
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_locator(FixedLocator([0, 0.5]))
        ax.tick_params(labelsize=9)
        ax.set_xlabel("cosine", fontsize=9)
        ax.set_title(key, fontsize=10, loc="left", y=1.0)
    return _was_called(single, 24)


def _single_said(result: LabResult) -> str:
    single = result.single
    best = {
        key: ", ".join(f"{name} {cosine:.2f}" for name, cosine in single[key]) for key in ("before", "after")
    }
    return f"{_was_called(single)}. Before: {best['before']}. After: {best['after']}."


def _was_called(single: dict[str, Any], n: int = 1000) -> str:
    before, after, true = (
        short(x, n) for x in (single["before"][0][0], single["after"][0][0], single["true"])
    )
    what = f"“{true}”" if true else "Your picture"
    same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
    return f"{what} {same}"


#: the views by their names in `clipnull.lab.VIEWS`
PANELS: dict[str, Panel] = {
    "numbers": Panel("Accuracy", _numbers, _numbers_said),
    "curve": Panel("Curve", _curve, _curve_said),
    "pca": Panel("Geometry", _space, _space_said),
    "images": Panel("Pictures", _pictures, _pictures_said),
    "neighbours": Panel("Neighbours", _neighbours, _neighbours_said),
    "mathematics": Panel("Mathematics", _mathematics, _mathematics_said),
    "single": Panel("One picture", _single, _single_said),
}
