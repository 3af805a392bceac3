"""The views of the forget/retain lab: each builds its figure once and afterwards moves its artists.

A view draws a `clipnull.lab.LabResult` and computes nothing. `View.png` draws only what moves over a
kept picture of what does not (axes, ticks, legends), which is most of the work; `View.figure` is the
whole figure, for saving.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from PIL import Image

from clipnull.lab import CONSISTENT, METHODS, LabResult
from clipnull.plots import FORGET, GREY, PALE, RETAIN

if TYPE_CHECKING:
    from clipnull.datasets import LabelledImages

__all__ = ["VIEW_CLASSES", "View", "percent", "spoken"]

DPI = 96
#: pixels; two halves fit beside the controls on a screen of 1280
WIDE, HALF, HEIGHT = 624, 404, 384
#: side of the picture in `Single`, pixels
PICTURE = 160
#: thumbnails that a view keeps
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


class View:
    """One figure of the lab.

    Parameters
    ----------
    half : bool
        For a place beside another view.

    Attributes
    ----------
    title : str
        What its button says.
    fig : matplotlib Figure
    heading : Text
    moving : list of Artist
        What `draw` changes; everything else is drawn once.
    """

    title = ""
    #: draw pictures for points, where a view has any
    thumbnails = False

    def __init__(self, half: bool = False) -> None:
        self.half, self.width = half, HALF if half else WIDE
        self.fig = Figure(figsize=(self.width / DPI, HEIGHT / DPI), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.fig)
        self.heading = self.fig.text(0.015, 0.98, "", ha="left", va="top", fontsize=9.5 if half else 10)
        self.moving: list[Artist] = [self.heading]
        self._still: tuple[Any, Any] = (None, None)
        self._seen: tuple[Any, dict[tuple[int, int], np.ndarray]] = (None, {})
        # fixed margins: a layout engine would measure every text at every move of a slider
        self.fig.subplots_adjust(
            left=(74 if half else 70) / self.width, right=1 - 14 / self.width, bottom=0.14, top=0.86
        )
        self.build()

    def build(self) -> None:
        """Make the artists."""
        raise NotImplementedError

    def draw(self, result: LabResult) -> None:
        """Move the artists to ``result``."""
        raise NotImplementedError

    @staticmethod
    def sentence(result: LabResult) -> str:
        """What the figure shows, in words and numbers: its caption and its alt text."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Set the heading, broken to the width of the figure."""
        self.heading.set_text("\n".join(textwrap.wrap(text, 57 if self.half else 84)[:2]))

    def picture(self, result: LabResult) -> Image.Image:
        """The figure for ``result``, RGB."""
        self.draw(result)
        frame = [(ax.get_xlim(), ax.get_ylim(), ax.get_xscale(), ax.get_xlabel()) for ax in self.fig.axes]
        if self._still[0] != frame:
            for artist in self.moving:
                artist.set_animated(True)  # left out by the canvas
            self.canvas.draw()
            for artist in self.moving:
                artist.set_animated(False)
            self._still = frame, self.canvas.copy_from_bbox(self.fig.bbox)
        else:
            self.canvas.restore_region(self._still[1])
        renderer = self.canvas.get_renderer()
        for artist in sorted(self.moving, key=lambda a: a.get_zorder()):
            artist.draw(renderer)
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")

    def png(self, result: LabResult) -> bytes:
        """`picture` as PNG bytes."""
        buffer = io.BytesIO()
        self.picture(result).save(buffer, "png", compress_level=1)
        return buffer.getvalue()

    def _thumbnail(self, data: LabelledImages, row: int, side: int) -> np.ndarray:
        """Picture ``row`` of the data, RGB [side, side, 3]; kept, since reading takes milliseconds."""
        if self._seen[0] is not data or len(self._seen[1]) > KEPT:
            self._seen = data, {}
        if (row, side) not in self._seen[1]:
            picture = data.images[row].convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            self._seen[1][row, side] = np.asarray(picture)
        return self._seen[1][row, side]

    def _axes(self, ax: Any, x: str, y: str) -> Any:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9)
        ax.set_xlabel(x, fontsize=9)
        ax.set_ylabel(y, fontsize=9)
        return ax

    def _moves(self, *artists: Any) -> Any:
        self.moving += artists
        return artists[0] if len(artists) == 1 else list(artists)

    def _canvas_axes(self) -> Any:
        """Axes over the whole figure whose unit is a pixel, origin at the top left."""
        ax = self.fig.add_axes((0, 0, 1, 1))
        ax.set_xlim(0, self.width)
        ax.set_ylim(HEIGHT, 0)
        ax.axis("off")
        return ax


class Numbers(View):
    """Forget and retain accuracy before and after, as bars."""

    title = "Accuracy"

    def build(self) -> None:
        ax = self._axes(self.fig.subplots(), "", "accuracy, %")
        self.bars = list(ax.bar([0, 1, 2.5, 3.5], [0] * 4, color=[FORGET, FORGET, RETAIN, RETAIN], width=0.9))
        for bar in self.bars[::2]:
            bar.set_alpha(0.4)
        names = ["forget\nbefore", "forget\nafter", "retain\nbefore", "retain\nafter"]
        ax.set_xticks([0, 1, 2.5, 3.5], names)
        ax.tick_params(axis="x", length=0)
        ax.set_ylim(0, 108)
        self.labels = [ax.text(x, 0, "", ha="center", va="bottom", fontsize=10) for x in (0, 1, 2.5, 3.5)]
        self._moves(*self.bars, *self.labels)

    def draw(self, result: LabResult) -> None:
        r = result.report
        heights = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
        for bar, label, height in zip(self.bars, self.labels, heights, strict=True):
            shown = 0.0 if height != height else 100 * height
            bar.set_height(shown)
            label.set_y(shown + 1)
            label.set_text(percent(height))
        self.say(
            f"{spoken(result.state['method'])}: forget {points(r.forget_after - r.forget_before)}, "
            f"retain {points(r.retain_after - r.retain_before)} points"
        )

    @staticmethod
    def sentence(result: LabResult) -> str:
        r = result.report
        return (
            f"Forget accuracy {percent(r.forget_before)} before, {percent(r.forget_after)} after "
            f"({points(r.forget_after - r.forget_before)} points); retain accuracy "
            f"{percent(r.retain_before)} before, {percent(r.retain_after)} after "
            f"({points(r.retain_after - r.retain_before)} points)."
        )


class Curve(View):
    """Both accuracies along the dial, and one against the other; the other methods in grey."""

    title = "Curve"

    def build(self) -> None:
        self.fig.subplots_adjust(wspace=0.16, top=0.79)
        self.left, self.right = self.fig.subplots(1, 2, sharey=True)
        self._axes(self.left, "", "accuracy after, %")
        self._axes(
            self.right, "forget accuracy after, %" if not self.half else "forget after, %", "retain"
        ).tick_params(axis="y", length=0)
        self.left.set_ylim(-3, 103)
        self.right.set_xlim(103, -3)  # forgotten is to the right, as the dial is
        self.right.grid(color="#E4E4E4", linewidth=0.8)
        thin = dict(color=PALE, linewidth=1.2)
        self.grey_left = [self.left.plot([], [], zorder=1, **thin)[0] for _ in range(2 * len(METHODS))]
        self.grey_right = [self.right.plot([], [], zorder=1, **thin)[0] for _ in METHODS]
        own = dict(color=FORGET, marker="o", markersize=3, zorder=2)
        self.lines = {
            "forget": self.left.plot([], [], label="forget", **own)[0],
            "retain": self.left.plot([], [], label="retain", **{**own, "color": RETAIN, "marker": "s"})[0],
        }
        self.path = self.right.plot([], [], **{**own, "color": "k", "marker": "."})[0]
        ring = dict(
            marker="D", markersize=8, linestyle="none", fillstyle="none", color="k", zorder=3, clip_on=False
        )
        self.now = self.left.plot([], [], label="you are here", **ring)[0]
        self.here = self.right.plot([], [], **ring)[0]
        self._moves(*self.grey_left, *self.grey_right, *self.lines.values(), self.path, self.now, self.here)
        handles = [*self.lines.values(), self.now, self.grey_left[0]]
        names = ["forget", "retain", "you are here", "other methods"]
        # its handles are copies, so they stay when the lines move
        self.fig.legend(
            handles, names, ncol=4, frameon=False, fontsize=8.5, loc="upper left", borderaxespad=0,
            bbox_to_anchor=(0.01, 0.885), handlelength=1.2, columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip

    def draw(self, result: LabResult) -> None:
        methods, state = result.curve["methods"], result.state
        log = result.curve["dial"] == "lam"
        own = state["method"] if state["method"] in methods else "partial"
        if self.left.get_xscale() != ("log" if log else "linear"):
            for artist in (*self.grey_left, *self.lines.values(), self.now):
                artist.set_data([], [])  # zero has no place on a log axis
            self.left.set_xlim(0.1, 1)
            self.left.set_xscale("log" if log else "linear")
        x = methods[own]["values"]
        self.left.set_xlim(min(x), max(x))
        if log:  # plain labels: mathematical ones double the time of a redraw
            self.left.set_xticks([0.01, 1, 100], ["0.01", "1", "100"])
            self.left.xaxis.set_minor_locator(NullLocator())
        else:
            self.left.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        dial = ("λ", "pull on the forgotten names") if log else ("α", "strength of the projection")
        self.left.set_xlabel(dial[0] if self.half else ", ".join(dial))
        others = [m for m in methods if m != own]
        pairs = [(m, k) for m in others if (m in CONSISTENT) == log for k in ("forget", "retain")]
        for line, pair in zip(self.grey_left, [*pairs, *[None] * len(self.grey_left)], strict=False):
            line.set_data([], []) if pair is None else line.set_data(x, _hundred(methods[pair[0]][pair[1]]))
        for line, m in zip(self.grey_right, [*others, *[None] * len(METHODS)], strict=False):
            line.set_data([], []) if m is None else line.set_data(*_plane(methods[m]))
        for kind, line in self.lines.items():
            line.set_data(x, _hundred(methods[own][kind]))
        self.path.set_data(*_plane(methods[own]))
        at = state["lam"] if log else (1.0 if state["method"] == "nullspace" else state["strength"])
        at, r = min(max(at, min(x)), max(x)), result.report
        self.now.set_data([at, at], _hundred([r.forget_after, r.retain_after]))
        self.here.set_data(_hundred([r.forget_after]), _hundred([r.retain_after]))
        end = ": the end of the partial one" if state["method"] == "nullspace" else " along its dial"
        self.say(f"{spoken(state['method'])}{end}")

    @staticmethod
    def sentence(result: LabResult) -> str:
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


class Space(View):
    """What the edit moves, in the plane of two principal components, before and after."""

    title = "Geometry"

    def build(self) -> None:
        self.ax = self._axes(self.fig.subplots(), "first principal component", "second principal component")
        small = dict(linewidths=0, zorder=2)
        make = self.ax.scatter
        self.before = make([], [], c=PALE, s=6, linewidths=0, zorder=0, label="before")
        self.clouds = {
            ("image", False): make([], [], c=RETAIN, s=9, alpha=0.7, **small, label="pictures after"),
            ("text", False): make([], [], c=RETAIN, marker="s", s=14, **small, label="names after"),
            ("image", True): make([], [], c=FORGET, s=20, **small, label="forgotten pictures"),
            ("text", True): make([], [], c=FORGET, marker="s", s=40, edgecolors="k", label="forgotten names"),
        }
        self._moves(self.before, *self.clouds.values())
        self.arrows: dict[bool, Any] = {}
        self.boxes: list[Any] = []
        self.fig.subplots_adjust(top=0.79)
        self.legend = None

    def draw(self, result: LabResult) -> None:
        pca, report = result.pca, result.report
        forgotten = {
            "image": report.is_forget.numpy()[pca["rows"]],
            "text": np.isin(np.arange(len(report.classes)), report.forget),
        }
        kinds = [kind for kind in ("image", "text") if kind in pca]
        before = np.concatenate([pca[kind][0].numpy() for kind in kinds])
        after = np.concatenate([pca[kind][1].numpy() for kind in kinds])
        gone = np.concatenate([forgotten[kind] for kind in kinds])
        self.before.set_offsets(before)
        for (kind, which), cloud in self.clouds.items():
            here = pca[kind][1].numpy()[forgotten[kind] == which] if kind in kinds else np.zeros((0, 2))
            cloud.set_offsets(here)
        every = np.concatenate([before, after])
        low, high = every.min(0), every.max(0)
        self.ax.set_xlim(*_outward(low[0], high[0]))
        self.ax.set_ylim(*_outward(low[1], high[1]))
        self._arrows(before, after - before, gone)
        self._thumbnails(result, forgotten["image"])
        self._legend(kinds)
        held = 100 * sum(pca["explained"])
        what = {"image": "pictures", "text": "names"}
        moving = " and ".join(what[k] for k in kinds)
        self.say(f"How the {moving} move; the plane holds {held:.0f}% of their variance")

    def _arrows(self, start: np.ndarray, step: np.ndarray, gone: np.ndarray) -> None:
        """An arrow for each point that moves."""
        moved = np.linalg.norm(step, axis=1) > 1e-3
        for which, colour in ((False, GREY), (True, FORGET)):
            at, arrows = start[gone == which], self.arrows.get(which)
            if arrows is None or not np.array_equal(arrows.XY, at):
                if arrows is not None:
                    self.moving.remove(arrows)
                    arrows.remove()
                style = (
                    dict(alpha=0.9, width=1.3, zorder=2.5) if which else dict(alpha=0.45, width=0.9, zorder=1)
                )
                arrows = self.ax.quiver(
                    *at.T, *np.zeros_like(at).T, color=colour, angles="xy", scale_units="xy", scale=1,
                    units="dots", headwidth=6, headlength=6, headaxislength=5, **style,
                )  # fmt: skip
                self.arrows[which] = self._moves(arrows)
            hidden = ~moved[gone == which]
            arrows.set_UVC(*(np.ma.array(column, mask=hidden) for column in step[gone == which].T))

    def _legend(self, kinds: Sequence[str]) -> None:
        shown = [self.before, *(cloud for (kind, _), cloud in self.clouds.items() if kind in kinds)]
        names = [str(artist.get_label()) for artist in shown]
        if self.legend is None or [t.get_text() for t in self.legend.get_texts()] != names:
            if self.legend is not None:
                self.legend.remove()
            self.legend = self.fig.legend(
                shown, names, ncol=3, frameon=False, fontsize=8.5, loc="upper left", borderaxespad=0,
                bbox_to_anchor=(0.01, 0.885), handletextpad=0.2, columnspacing=1.0, scatterpoints=1,
            )  # fmt: skip
            self._still = None, None

    def _thumbnails(self, result: LabResult, forgotten: np.ndarray) -> None:
        for box in self.boxes:
            self.moving.remove(box)
            box.remove()
        self.boxes = []
        if self.thumbnails and "image" in result.pca:
            after, rows = result.pca["image"][1].numpy(), result.pca["rows"]
            others = np.flatnonzero(~forgotten)
            chosen = [*np.flatnonzero(forgotten)[:12], *others[:: max(1, len(others) // 24)]]
            for k in chosen:
                picture = OffsetImage(self._thumbnail(result.data, rows[k], 24), zoom=72 / DPI)
                box = AnnotationBbox(
                    picture, after[k], pad=0.1, frameon=bool(forgotten[k]), zorder=3,
                    bboxprops=dict(edgecolor=FORGET, linewidth=1.2),
                )  # fmt: skip
                self.boxes.append(self._moves(self.ax.add_artist(box)))

    @staticmethod
    def sentence(result: LabResult) -> str:
        said = []
        for kind, what in (("image", "pictures"), ("text", "names")):
            if kind in result.pca["step"]:
                far = ["–" if x != x else f"{x:.3f}" for x in result.pca["step"][kind]]
                said.append(f"the forgotten {what} move by {far[0]} and the others by {far[1]}")
        return f"In this plane {'; '.join(said)} on average."


class Pictures(View):
    """Where the forgotten pictures went, and which retained ones were lost."""

    title = "Pictures"
    side, rows = 46, 2

    def build(self) -> None:
        self.columns = 3 if self.half else 5
        ax = self._canvas_axes()
        self.blank = np.full((HEIGHT, self.width, 3), 255, dtype=np.uint8)
        self.sheet = self._moves(
            ax.imshow(self.blank, extent=(0, self.width, HEIGHT, 0), interpolation="nearest", aspect="auto")
        )
        self.heading.set_zorder(5)
        self.below = self._moves(self.fig.text(0.015, 0.475, "", ha="left", va="top", fontsize=10))
        pitch = self.width / self.columns
        self.cells = [
            [(round(pitch * c) + 8, top + 84 * r) for r in range(self.rows) for c in range(self.columns)]
            for top in (28, 222)
        ]
        self.labels = [
            [self._moves(ax.text(x, y + self.side + 3, "", fontsize=8, va="top")) for x, y in block]
            for block in self.cells
        ]
        self.arrows = [
            [
                self._moves(
                    ax.text(x + self.side + 11, y + self.side / 2, "→", fontsize=11, ha="center", va="center")
                )
                for x, y in block
            ]
            for block in self.cells
        ]

    def draw(self, result: LabResult) -> None:
        went = [
            (d["rows"][0], d["now_row"], d["true"], f"→ {short(d['name'], 12)} (×{d['count']})")
            for d in result.images["destinations"]
        ]
        lost = [
            (r["row"], r["now_row"], r["true"], f"→ {short(r['now'], 16)}") for r in result.images["lost"]
        ]
        sheet = self.blank.copy()
        for cells, labels, arrows, shown in zip(
            self.cells, self.labels, self.arrows, (went, lost), strict=True
        ):
            for k, ((x, y), label, arrow) in enumerate(zip(cells, labels, arrows, strict=True)):
                visible = k < len(shown)
                arrow.set_visible(visible)
                label.set_visible(visible)
                if visible:
                    row, now_row, true, now = shown[k]
                    label.set_text(f"{short(true, 18)}\n{now}")
                    for left, which in ((x, row), (x + self.side + 22, now_row)):
                        if which is not None:
                            sheet[y : y + self.side, left : left + self.side] = self._thumbnail(
                                result.data, which, self.side
                            )
        self.sheet.set_data(sheet)
        total = int(result.report.is_forget.sum())
        names, room = len(result.images["destinations"]), self.rows * self.columns
        often = "most often " if names > room else ""
        self.say(f"The {total} forgotten pictures are now {often}called")
        many = f" ({room} shown)" if len(lost) > room else ""
        self.below.set_text(f"Retained pictures lost: {len(lost)}{many}")

    @staticmethod
    def sentence(result: LabResult) -> str:
        went = few([f"{d['name']} ({d['count']})" for d in result.images["destinations"]], 5)
        lost = result.images["lost"]
        which = few([f"{r['true']} → {r['now']}" for r in lost], 3)
        return (
            f"The forgotten pictures are now called {went or 'nothing, for there are none'}. "
            f"Retained pictures lost: {len(lost)}{f', {which}' if lost else ''}."
        )


class Neighbours(View):
    """Change of each retained class against its cosine to the forget subspace."""

    title = "Neighbours"

    def build(self) -> None:
        self.ax = self._axes(
            self.fig.subplots(), "cosine of the name to the forget subspace", "change in accuracy, points"
        )
        self.ax.axhline(0, color=GREY, linewidth=0.8)
        self.ax.xaxis.set_major_locator(MaxNLocator(5))
        self.dots = self.ax.scatter([], [], c=RETAIN, marker="s", s=20, alpha=0.6, linewidths=0)
        self.names: list[Text] = [self.ax.text(0, 0, "", fontsize=8.5, va="center") for _ in range(5)]
        self._moves(self.dots, *self.names)

    def draw(self, result: LabResult) -> None:
        rows = result.neighbours
        x, y = np.array([r["cosine"] for r in rows]), 100 * np.array([r["change"] for r in rows])
        self.dots.set_offsets(np.stack([x, y], 1))
        low, high = _outward(min(float(x.min()), float(x.max()) - 0.1), float(x.max()))
        self.ax.set_xlim(low, min(high, 1.01))
        # by steps of a quarter, so that the axes stand still while a slider moves
        bottom, top = (25 * np.floor(min(y.min(), -20) / 25) - 8, 25 * np.ceil(max(y.max(), 20) / 25) + 8)
        self.ax.set_ylim(float(bottom), float(top))
        self._label([i for i in np.argsort(y, kind="stable") if y[i] < 0], x, y, rows)
        self.say(
            f"{int((y < 0).sum())} of {len(rows)} retained classes lose accuracy, {int((y > 0).sum())} gain"
        )

    def _label(self, worst: list[Any], x: np.ndarray, y: np.ndarray, rows: list[dict[str, Any]]) -> None:
        """Name the classes that lose most, where there is room for the name."""
        (left, right), (bottom, top) = self.ax.get_xlim(), self.ax.get_ylim()
        across = (x - left) * 0.8 * self.width / (right - left)
        up = (y - bottom) * 0.72 * HEIGHT / (top - bottom)
        boxes = [(a - 3.0, a + 3.0, u) for a, u in zip(across, up, strict=True)]  # pixels: from, to, height
        free = list(self.names)
        for label in self.names:
            label.set_visible(False)
        for i in worst[:20]:
            name = short(rows[i]["name"], 20)
            long = 6.5 * len(name) + 6
            for align, begin in (("left", across[i] + 4), ("right", across[i] - 4 - long)):
                inside = begin >= 0 and begin + long <= 0.8 * self.width
                if (
                    free
                    and inside
                    and not any(abs(up[i] - u) < 11 and begin < b and a < begin + long for a, b, u in boxes)
                ):
                    label = free.pop(0)
                    label.set_visible(True)
                    label.set_text(f" {name}" if align == "left" else f"{name} ")
                    label.set_ha(align)
                    label.set_position((float(x[i]), float(y[i])))
                    boxes.append((begin, begin + long, up[i]))
                    break

    @staticmethod
    def sentence(result: LabResult) -> str:
        rows = sorted(result.neighbours, key=lambda r: r["change"])
        hurt = [r for r in rows if r["change"] < 0]
        said = (
            f"{len(hurt)} of {len(rows)} retained classes lose accuracy and "
            f"{sum(r['change'] > 0 for r in rows)} gain."
        )
        worst = few([f"{r['name']} ({points(r['change'])} at cosine {r['cosine']:.2f})" for r in hurt], 3)
        return said + (f" Most of all: {worst}." if hurt else "")


class Mathematics(View):
    """The identities behind the edit, with the numbers of the moment."""

    title = "Mathematics"
    #: key, formula, the same in plain text, format, what zero would mean
    lines = (
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

    def build(self) -> None:
        ax, self.numbers = self._canvas_axes(), {}
        right = 370 if self.half else 330
        for k, (key, formula, _, _, meaning) in enumerate(self.lines):
            y = 64 + 54 * k
            ax.text(16, y, formula, fontsize=13, va="center")
            number = ax.text(right, y, "", fontsize=13, va="center", ha="right", color=RETAIN)
            self.numbers[key] = self._moves(number)
            if self.half:
                ax.text(16, y + 21, meaning, fontsize=8, color=GREY, va="center")
            else:
                wrapped = "\n".join(textwrap.wrap(meaning, 40))
                ax.text(right + 24, y, wrapped, fontsize=9, color=GREY, va="center")

    @staticmethod
    def number(key: str, result: LabResult) -> str:
        """One of the numbers as it is shown."""
        form = next(line[3] for line in Mathematics.lines if line[0] == key)
        value = result.mathematics[key]
        tiny = "e" in form and value < 1e-12
        return "< 1e−12" if tiny else form.format(value).replace("-", "−")

    def draw(self, result: LabResult) -> None:
        for key, text in self.numbers.items():
            text.set_text(self.number(key, result))
        self.say(f"{spoken(result.state['method'])}: W = I − L Rᵀ, and U a basis of the forgotten names")

    @staticmethod
    def sentence(result: LabResult) -> str:
        said = [f"{plain} = {Mathematics.number(key, result)}" for key, _, plain, _, _ in Mathematics.lines]
        return "; ".join(said).replace("= <", "<") + "."


class Single(View):
    """One picture: its five best names before and after."""

    title = "One picture"

    def build(self) -> None:
        share = [1, 1.5, 1.5] if self.half else [1.3, 1.5, 1.5]
        self.fig.subplots_adjust(
            left=8 / self.width, right=1 - 8 / self.width, top=0.8, bottom=0.14, wspace=0.15
        )
        left, before, after = self.fig.subplots(1, 3, width_ratios=share)
        self.image = self._moves(left.imshow(np.full((8, 8, 3), 255, dtype=np.uint8)))
        left.axis("off")
        self.bars: dict[str, tuple[list[Any], list[Text]]] = {}
        for key, ax in (("before", before), ("after", after)):
            ax.spines[["top", "right", "left"]].set_visible(False)
            bars = list(ax.barh(np.arange(5) + 0.18, [0] * 5, height=0.36, alpha=0.75))
            texts = [ax.text(0, k - 0.12, "", va="bottom", fontsize=9) for k in range(5)]
            ax.set_yticks([])
            ax.set_ylim(4.5, -0.6)
            ax.set_xlim(0, 1)
            ax.xaxis.set_major_locator(FixedLocator([0, 0.5]))
            ax.tick_params(labelsize=9)
            ax.set_xlabel("cosine", fontsize=9)
            ax.set_title(key, fontsize=10, loc="left", y=1.0)
            self.bars[key] = self._moves(*bars), self._moves(*texts)

    def draw(self, result: LabResult) -> None:
        single, gone = result.single, set(result.report.forget_names)
        shown = single.get("picture")
        pixels = (
            np.asarray(shown) if shown is not None else self._thumbnail(result.data, single["row"], PICTURE)
        )
        self.image.set_data(pixels)
        self.image.set_extent((-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5))
        for key, (bars, texts) in self.bars.items():
            for k, (bar, text) in enumerate(zip(bars, texts, strict=True)):
                name, cosine = single[key][k] if k < len(single[key]) else ("", 0.0)
                bar.set_width(max(cosine, 0.0))
                bar.set_color(FORGET if name in gone else (GREY if key == "before" else RETAIN))
                text.set_text(f"{short(name, 15 if self.half else 22)}  {cosine:.2f}" if name else "")
        self.say(_was_called(single, 24))

    @staticmethod
    def sentence(result: LabResult) -> str:
        single = result.single
        best = {
            key: ", ".join(f"{name} {cosine:.2f}" for name, cosine in single[key])
            for key in ("before", "after")
        }
        return f"{_was_called(single)}. Before: {best['before']}. After: {best['after']}."


def _was_called(single: dict[str, Any], n: int = 1000) -> str:
    before, after, true = (
        short(x, n) for x in (single["before"][0][0], single["after"][0][0], single["true"])
    )
    what = f"“{true}”" if true else "Your picture"
    same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
    return f"{what} {same}"


VIEW_CLASSES: dict[str, type[View]] = {
    "numbers": Numbers,
    "curve": Curve,
    "pca": Space,
    "images": Pictures,
    "neighbours": Neighbours,
    "mathematics": Mathematics,
    "single": Single,
}
