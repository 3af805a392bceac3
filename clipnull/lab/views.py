"""The views of the forget/retain lab: figures of a `clipnull.lab.LabResult`, and what they say in words."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from clipnull import _check
from clipnull._show import percent
from clipnull.lab import draw
from clipnull.lab.draw import DPI, HALF, HEIGHT, IDENTITIES, NAMED, WIDE, points
from clipnull.lab.result import LabResult
from clipnull.plots.base import show_picture

if TYPE_CHECKING:
    from clipnull.lab.bench import Bench

__all__ = ["PANELS", "Panel", "show_panel"]


def few(names: Sequence[str], k: int = 4) -> str:
    """The first ``k`` names, and how many more there are."""
    return ", ".join(names[:k]) + (f" and {len(names) - k} more" if len(names) > k else "")


@dataclass(frozen=True)
class Panel:
    """One view of the lab: what its button says, what fills its figure (`clipnull.lab.draw`), its sentence.

    The sentence says what the figure shows for a result, in words and numbers: its caption and alt text.
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


def show_panel(bench: Bench, case: str, view: str | None = None) -> None:
    """One case of the lab without widgets: accuracies and the view that shows it, and both in words.

    Parameters
    ----------
    bench : Bench
    case : str
        A name in ``bench.presets``.
    view : str, optional
        A name in `clipnull.lab.VIEWS`, in place of the case's own.

    Raises
    ------
    ValueError
        An unknown case or view.
    """
    preset = bench.presets[_check.one_of("case", case, bench.presets)]
    keys = ["numbers", preset.view if view is None else _check.one_of("view", view, PANELS)]
    result = bench.compute(preset.state)
    both = Image.new("RGB", (2 * HALF, HEIGHT), "white")
    for k, key in enumerate(keys):
        both.paste(picture(key, result, half=True), (k * HALF, 0))
    said = [PANELS[key].sentence(result) for key in keys]
    print("\n".join(textwrap.fill(line, 100) for line in [f"{case}. {preset.hint}", *said]))
    show_picture(both, alt=f"{case}. {' '.join(said)}")


# --- what they say


def _numbers_said(result: LabResult) -> str:
    r = result.report
    forget, retain = (
        f"{kind} accuracy {percent(before)} before, {percent(after)} after ({points(after - before)} points)"
        for kind, before, after in (
            ("Forget", r.forget_before, r.forget_after), ("retain", r.retain_before, r.retain_after),
        )
    )  # fmt: skip
    return f"{forget}; {retain}."


def _curve_said(result: LabResult) -> str:
    own, log = draw.along(result)
    (first, *_, last), forget, retain = result.curve[own]
    f, r = (f"{percent(line[0])} → {percent(line[-1])}" for line in (forget, retain))
    here = f"{percent(result.report.forget_after)} and {percent(result.report.retain_after)}"
    ends = f"forget accuracy goes {f} and retain accuracy {r}"
    return f"From {'λ' if log else 'α'} = {first:g} to {last:g}, {ends}; you are at {here}."


def _space_said(result: LabResult) -> str:
    said = []
    for what, cloud in result.geometry.clouds.items():
        gone, others = ("–" if x != x else f"{x:.3f}" for x in cloud.step)
        said.append(f"the forgotten {what} move by {gone} and the others by {others}")
    return f"In this plane {'; '.join(said)} on average."


def _pictures_said(result: LabResult) -> str:
    went = few([f"{b.now} ({b.times})" for b in result.destinations], 5)
    which = few([f"{b.true} → {b.now}" for b in result.lost], 3)
    return (
        f"The forgotten pictures are now called {went or 'nothing, for there are none'}. "
        f"Retained pictures lost: {len(result.lost)}{f', {which}' if which else ''}."
    )


def _neighbours_said(result: LabResult) -> str:
    rows = result.neighbours
    hurt = [rows[i] for i in draw.losers(rows)]
    gain = sum(r.change > 0 for r in rows)
    worst = few([f"{r.name} ({points(r.change)} at cosine {r.cosine:.2f})" for r in hurt], NAMED)
    said = f"{len(hurt)} of {len(rows)} retained classes lose accuracy and {gain} gain."
    return said + (f" Most of all: {worst}." if hurt else "")


def _mathematics_said(result: LabResult) -> str:
    # a line does not break within a formula
    said = [f"{line.plain.replace(' ', chr(0xA0))} = {draw.number(line, result)}" for line in IDENTITIES]
    return "; ".join(said).replace("= <", "<").replace("mean\xa0of\xa0", "mean of ") + "."


def _single_said(result: LabResult) -> str:
    before, after = (", ".join(f"{name} {cosine:.2f}" for name, cosine in b) for b in result.single[:2])
    return f"{draw.was_called(result.single)}. Before: {before}. After: {after}."


#: the views by their names in `clipnull.lab.VIEWS`
PANELS: dict[str, Panel] = {
    "numbers": Panel("Accuracy", draw.numbers, _numbers_said),
    "curve": Panel("Curve", draw.curve, _curve_said),
    "pca": Panel("Geometry", draw.space, _space_said),
    "images": Panel("Pictures", draw.pictures, _pictures_said),
    "neighbours": Panel("Neighbours", draw.neighbours, _neighbours_said),
    "mathematics": Panel("Mathematics", draw.mathematics, _mathematics_said),
    "single": Panel("One picture", draw.single, _single_said),
}
