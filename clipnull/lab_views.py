"""The views of the forget/retain lab: each builds its figure once and afterwards moves its artists.

A view draws a `clipnull.lab.LabResult` and computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import NullLocator

from clipnull.lab import METHODS, Bench, LabResult
from clipnull.plots import FORGET, GREY, PALE, RETAIN

__all__ = ["VIEW_CLASSES", "View"]

SIZE = (6.0, 3.9)


def percent(x: float) -> str:
    """A fraction as percent on screen; an en dash when there is no number."""
    return "–" if x != x else f"{100 * x:.1f}%"


class View:
    """One figure of the lab.

    Attributes
    ----------
    title : str
        What its button says.
    fig : matplotlib Figure
    """

    title = ""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.fig = Figure(figsize=SIZE)
        # fixed margins: a layout engine would measure every text at every move of a slider
        self.fig.subplots_adjust(left=0.12, right=0.97, bottom=0.14, top=0.91)
        self.build()

    def build(self) -> None:
        """Make the artists."""
        raise NotImplementedError

    def draw(self, result: LabResult) -> None:
        """Move the artists to ``result``."""
        raise NotImplementedError

    def _axes(self, x: str, y: str) -> Any:
        ax = self.fig.subplots()
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        self.heading = ax.set_title("", loc="left", fontsize=10)
        return ax


class Numbers(View):
    """Forget and retain accuracy before and after, as bars."""

    title = "Accuracy"

    def build(self) -> None:
        ax = self._axes("", "accuracy, %")
        self.bars = ax.bar([0, 1, 2.5, 3.5], [0] * 4, color=[FORGET, FORGET, RETAIN, RETAIN], width=0.9)
        for bar in self.bars[::2]:
            bar.set_alpha(0.4)
        ax.set_xticks(
            [0, 1, 2.5, 3.5], ["forget\nbefore", "forget\nafter", "retain\nbefore", "retain\nafter"]
        )
        ax.set_ylim(0, 108)
        self.labels = [
            ax.text(b.get_x() + b.get_width() / 2, 0, "", ha="center", va="bottom") for b in self.bars
        ]

    def draw(self, result: LabResult) -> None:
        r = result.report
        heights = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
        for bar, label, height in zip(self.bars, self.labels, heights, strict=True):
            shown = 0.0 if height != height else 100 * height
            bar.set_height(shown)
            label.set_y(shown + 1)
            label.set_text(percent(height))
        self.heading.set_text(
            f"{METHODS[result.state['method']]}: forget {_change(r.forget_before, r.forget_after)}, "
            f"retain {_change(r.retain_before, r.retain_after)} points"
        )


def _change(before: float, after: float) -> str:
    return "–" if before != before else f"{100 * (after - before):+.1f}"


class Curve(View):
    """Forget and retain accuracy along the dial; the method in colour, the others in grey."""

    title = "Curve"

    def build(self) -> None:
        self.ax = self._axes("", "accuracy after, %")
        self.fig.subplots_adjust(right=0.82)
        self.grey = [self.ax.plot([], [], color=PALE, linewidth=1.2, zorder=1)[0] for _ in range(8)]
        self.lines = {
            "forget": self.ax.plot([], [], color=FORGET, marker="o", markersize=3, label="forget", zorder=2)[
                0
            ],
            "retain": self.ax.plot([], [], color=RETAIN, marker="s", markersize=3, label="retain", zorder=2)[
                0
            ],
        }
        self.now = self.ax.plot(
            [], [], "k", marker="D", markersize=8, linestyle="none", fillstyle="none", zorder=3
        )[0]
        self.here = self.ax.axvline(0, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
        self.ax.set_ylim(-3, 105)
        self.ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))

    def draw(self, result: LabResult) -> None:
        curve, state = result.curve, result.state
        log, x = curve["dial"] == "lam", curve["values"]
        if self.ax.get_xscale() != ("log" if log else "linear"):
            for artist in (*self.grey, *self.lines.values(), self.now):
                artist.set_data([], [])
            self.here.set_xdata([1, 1])  # zero has no place on a log axis
            self.ax.set_xlim(1e-2, 1)
            self.ax.set_xscale("log" if log else "linear")
            if log:  # plain labels: mathematical ones double the time of a redraw
                self.ax.set_xticks([0.01, 0.1, 1, 10, 100, 1000, 10000], "0.01 0.1 1 10 100 1000 10⁴".split())
                self.ax.xaxis.set_minor_locator(NullLocator())
        self.ax.set_xlim(min(x), max(x))
        self.ax.set_xlabel(
            "λ, the pull on the forgotten names" if log else "α, the strength of the projection"
        )
        own = state["method"] if state["method"] in curve["methods"] else "partial"
        others = [m for m in curve["methods"] if m != own]
        pairs = [(m, k) for m in others for k in ("forget", "retain")]
        for line, pair in zip(self.grey, [*pairs, *[None] * len(self.grey)], strict=False):
            line.set_data([], []) if pair is None else line.set_data(
                x, _hundred(curve["methods"][pair[0]][pair[1]])
            )
        for kind, line in self.lines.items():
            line.set_data(x, _hundred(curve["methods"][own][kind]))
        at = state["lam"] if log else (1.0 if state["method"] == "nullspace" else state["strength"])
        at = min(max(at, min(x)), max(x))
        r = result.report
        self.now.set_data([at, at], _hundred([r.forget_after, r.retain_after]))
        self.here.set_xdata([at, at])
        self.heading.set_text(f"◇ is where you are: {METHODS[state['method']]}; grey: the others")


def _hundred(fractions: Sequence[float]) -> list[float]:
    return [100 * f for f in fractions]


class Space(View):
    """Names and pictures in the plane of two principal components, before and after."""

    title = "Geometry"
    thumbnails = False

    def build(self) -> None:
        self.ax = self._axes("first principal component", "second")
        self.fig.subplots_adjust(right=0.74)
        small = dict(s=9, linewidths=0)
        self.clouds = {
            ("image", False): self.ax.scatter([], [], c=PALE, **small, label="pictures"),
            ("text", False): self.ax.scatter([], [], c=RETAIN, marker="s", s=14, linewidths=0, label="names"),
            ("image", True): self.ax.scatter(
                [], [], c=FORGET, s=16, linewidths=0, alpha=0.6, label="its pictures"
            ),
            ("text", True): self.ax.scatter(
                [], [], c=FORGET, marker="s", s=36, edgecolors="k", label="forgotten names"
            ),
        }
        self.moves = LineCollection([], colors=GREY, linewidths=0.6, alpha=0.6, zorder=0)
        self.ax.add_collection(self.moves)
        self.ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        self.boxes: list[Any] = []

    def draw(self, result: LabResult) -> None:
        report, gone = result.report, set(result.report.forget)
        forgotten = {
            "image": report.is_forget.numpy(),
            "text": np.array([i in gone for i in range(len(report.classes))]),
        }
        segments = []
        for kind in ("image", "text"):
            before, after = (x.numpy() for x in result.pca[kind])
            for which in (False, True):
                self.clouds[kind, which].set_offsets(after[forgotten[kind] == which])
            moved = np.linalg.norm(after - before, axis=1) > 1e-3
            segments += [np.stack([a, b]) for a, b in zip(before[moved], after[moved], strict=True)]
        self.moves.set_segments(segments)
        everything = np.concatenate(
            [x.numpy() for pair in (result.pca["image"], result.pca["text"]) for x in pair]
        )
        low, high = everything.min(0), everything.max(0)
        margin = 0.06 * (high - low) + 1e-6
        self.ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
        self.ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
        self._thumbnails(result, forgotten["image"])
        held = 100 * sum(result.pca["explained"])
        self.heading.set_text(
            f"After the edit (lines: from where); the plane holds {held:.0f}% of the variance"
        )

    def _thumbnails(self, result: LabResult, forgotten: np.ndarray) -> None:
        for box in self.boxes:
            box.remove()
        self.boxes = []
        if self.thumbnails:
            after = result.pca["image"][1].numpy()
            for row in np.flatnonzero(forgotten)[:12]:
                picture = np.asarray(self.bench.data.images[int(row)].resize((28, 28)))
                box = AnnotationBbox(OffsetImage(picture, zoom=0.8), after[row], frameon=False)
                self.boxes.append(self.ax.add_artist(box))


class Pictures(View):
    """Where the forgotten pictures went, and which retained ones were lost."""

    title = "Pictures"
    columns = 6

    def build(self) -> None:
        blank = np.full((8, 8, 3), 255, dtype=np.uint8)
        self.fig.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=0.82, wspace=0.25, hspace=0.4)
        axes = self.fig.subplots(2, self.columns)
        self.cells = [[(ax, ax.imshow(blank)) for ax in row] for row in axes]
        for row in axes:
            for ax in row:
                ax.axis("off")
        self.heading = self.fig.suptitle("", fontsize=10, x=0.01, ha="left")

    def draw(self, result: LabResult) -> None:
        went = [(d["rows"][0], f"→ {d['name']}\n({d['count']})") for d in result.images["destinations"]]
        lost = [(r["row"], f"{r['true']}\n→ {r['now']}") for r in result.images["lost"]]
        for cells, shown in zip(self.cells, (went, lost), strict=True):
            for k, (ax, picture) in enumerate(cells):
                visible = k < len(shown)
                picture.set_visible(visible)
                ax.set_title(shown[k][1] if visible else "", fontsize=8)
                if visible:
                    pixels = np.asarray(self.bench.data.images[shown[k][0]])
                    picture.set_data(pixels)
                    picture.set_extent((-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5))
        total = int(result.report.is_forget.sum())
        self.heading.set_text(
            f"Top: where {total} forgotten pictures went. Bottom: {len(lost)} retained ones lost."
        )


class Neighbours(View):
    """Change of each retained class against its cosine to the forget subspace."""

    title = "Neighbours"

    def build(self) -> None:
        self.ax = self._axes("cosine of the name to the forget subspace", "change in accuracy, points")
        self.ax.axhline(0, color=GREY, linewidth=0.8)
        self.dots = self.ax.scatter([], [], c=RETAIN, marker="s", s=18, alpha=0.7, linewidths=0)
        self.names = [
            self.ax.annotate("", (0, 0), fontsize=8, xytext=(4, 4), textcoords="offset points")
            for _ in range(4)
        ]

    def draw(self, result: LabResult) -> None:
        rows = result.neighbours
        x, y = np.array([r["cosine"] for r in rows]), 100 * np.array([r["change"] for r in rows])
        self.dots.set_offsets(np.stack([x, y], 1))
        self.ax.set_xlim(x.min() - 0.02, x.max() + 0.06)
        self.ax.set_ylim(min(y.min(), -10) - 8, max(y.max(), 10) + 8)
        worst = [i for i in np.argsort(y, kind="stable") if y[i] < 0]
        for k, label in enumerate(self.names):
            shown = k < len(worst)
            label.set_text(rows[worst[k]]["name"] if shown else "")
            if shown:
                label.xy = (x[worst[k]], y[worst[k]])
        hurt = int((y < 0).sum())
        self.heading.set_text(
            f"{hurt} of {len(rows)} retained classes lose accuracy, {int((y > 0).sum())} gain"
        )


class Mathematics(View):
    """The identities behind the edit, with the numbers of the moment."""

    title = "Mathematics"
    lines = (
        ("rank", r"rank$(I - W)$", "{:.0f}", "directions removed"),
        ("orthonormality", r"$\|U^\top U - I\|$", "{:.1e}", "0: the basis is orthonormal"),
        ("idempotence", r"$\|P^2 - P\|$", "{:.1e}", "0: projecting twice is projecting once"),
        ("forget_residual", r"$\|W T_f\|$", "{:.3f}", "0: the forgotten names became zero"),
        ("retain_moved", r"$\|W T_r - T_r\|$", "{:.3f}", "0: the other names stayed in place"),
        (
            "norm_taken",
            r"mean $1 - \|W^\top z\| / \|z\|$",
            "{:.3f}",
            "share of their length that pictures lose",
        ),
    )

    def build(self) -> None:
        ax = self._axes("", "")
        self.fig.subplots_adjust(left=0.02)
        ax.axis("off")
        ax.set_ylim(0, 1)
        self.numbers = {}
        for k, (key, formula, _, meaning) in enumerate(self.lines):
            y = 0.9 - 0.16 * k
            ax.text(0.0, y, formula, fontsize=13, transform=ax.transAxes, va="center")
            self.numbers[key] = ax.text(
                0.56, y, "", fontsize=12, transform=ax.transAxes, va="center", ha="right", color=RETAIN
            )
            ax.text(0.60, y, meaning, fontsize=9, color=GREY, transform=ax.transAxes, va="center")

    def draw(self, result: LabResult) -> None:
        for key, _, form, _ in self.lines:
            value = result.mathematics[key]
            self.numbers[key].set_text("< 1e-12" if "e" in form and value < 1e-12 else form.format(value))
        self.heading.set_text(
            f"{METHODS[result.state['method']]}: $W = I - LR^\\top$, U a basis of the forgotten names"
        )


class Single(View):
    """One picture: its five best names before and after."""

    title = "One picture"

    def build(self) -> None:
        self.fig.subplots_adjust(left=0.02, right=0.98, top=0.84, wspace=0.15)
        left, before, after = self.fig.subplots(1, 3, width_ratios=[1, 1.2, 1.2])
        self.picture_axes = left
        self.picture = left.imshow(np.full((8, 8, 3), 255, dtype=np.uint8))
        left.axis("off")
        self.bars = {}
        for key, ax, colour in (("before", before, GREY), ("after", after, RETAIN)):
            ax.spines[["top", "right"]].set_visible(False)
            bars = ax.barh(range(5), [0] * 5, color=colour, alpha=0.6)
            texts = [ax.text(0.02, k, "", va="center", fontsize=8) for k in range(5)]
            ax.set_yticks([])
            ax.invert_yaxis()
            ax.set_xlim(-0.2, 1)
            ax.set_xlabel("cosine")
            ax.set_title(key, fontsize=10, loc="left")
            self.bars[key] = (bars, texts)
        self.heading = self.fig.suptitle("", fontsize=10, x=0.01, ha="left")

    def draw(self, result: LabResult) -> None:
        single = result.single
        pixels = np.asarray(single.get("picture") or self.bench.data.images[single["row"]])
        self.picture.set_data(pixels)
        self.picture.set_extent((-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5))
        for key, (bars, texts) in self.bars.items():
            for k, (bar, text) in enumerate(zip(bars, texts, strict=True)):
                name, cosine = single[key][k] if k < len(single[key]) else ("", 0.0)
                bar.set_width(cosine)
                text.set_text(f"{name}  {cosine:.2f}" if name else "")
        before, after = single["before"][0][0], single["after"][0][0]
        what = f"“{single['true']}”" if single["true"] else "your picture"
        same = f"was and is called “{before}”" if before == after else f"was called “{before}”, now “{after}”"
        self.heading.set_text(f"{what} {same}")


VIEW_CLASSES: dict[str, type[View]] = {
    "numbers": Numbers,
    "curve": Curve,
    "pca": Space,
    "images": Pictures,
    "neighbours": Neighbours,
    "mathematics": Mathematics,
    "single": Single,
}
