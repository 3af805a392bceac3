"""The views of the forget/retain lab: figures of a `clipnull.lab.LabResult`, and what they say in words."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from clipnull import _check
from clipnull._show import few, percent
from clipnull.lab import draw
from clipnull.lab.draw import DPI, HEIGHT, IDENTITIES, NAMED, WIDE, points
from clipnull.lab.result import LabResult
from clipnull.lab.state import SIGNS, dials
from clipnull.plots.base import capital, describe, literal

__all__ = ["PANELS", "Panel", "view"]


@dataclass(frozen=True)
class Panel:
    """One view of the lab: what its button says and asks, what fills its figure, its sentence.

    The sentence says what the figure shows for a result, in words and numbers: its caption and alt text.
    """

    title: str
    question: str
    draw: Callable[[Figure, LabResult], str]
    sentence: Callable[[LabResult], str]


@_check.by_name
def view(key: str, result: LabResult) -> Figure:
    """A view of ``result`` as a matplotlib Figure whose alt text is the view's sentence.

    Parameters
    ----------
    key : str
        One of `PANELS`.
    result : LabResult
    """
    _check.one_of("key", key, PANELS)
    fig = Figure(figsize=(WIDE / DPI, HEIGHT / DPI), dpi=DPI)
    # fixed margins: a layout engine would measure every text at every move of a slider
    fig.subplots_adjust(left=70 / WIDE, right=1 - 14 / WIDE, bottom=0.14, top=0.86)
    heading = textwrap.wrap(PANELS[key].draw(fig, result), 84)[:2]
    fig.text(0.015, 0.98, "\n".join(heading), ha="left", va="top", fontsize=10)
    if key != "mathematics":  # whose formulas are typeset
        literal(fig)
    return describe(fig, PANELS[key].sentence(result))


# --- what they say


def _numbers_said(result: LabResult) -> str:
    pairs = (
        f"{m.name} {percent(m.before)} before, {percent(m.after)} after" for m in draw.measures(result.report)
    )
    lists = ", ".join(f"{w.names}: {percent(w.after)}" for w in result.report.n_way.values())
    return f"{capital('; '.join(pairs))}. Recall in lists of {lists or 'none, for there are no pictures'}."


def _triangle_said(result: LabResult) -> str:
    mean, hull = (round(x, 3) + 0.0 for x in result.triangle.after.mean(0).tolist())  # no minus zero
    before, after = result.triangle.off
    return (
        f"The forgotten names became {percent(mean)} neutral and {percent(hull)} their relatives, "
        f"the rest silent; {after:.2f} of them lies off the triangle, {before:.2f} before."
    )


def _curve_said(result: LabResult) -> str:
    own, ((first, *_, last), *lines) = result.curve
    forget, two, retain = (f"{percent(line[0])} → {percent(line[-1])}" for line in lines)
    here = f"{percent(result.report.forget_after)} and {percent(result.report.retain_after)}"
    ends = f"full recall goes {forget}, 2-way recall {two} and accuracy on the kept {retain}"
    return f"From {SIGNS[dials(own)[0]][0]} = {first:g} to {last:g}, {ends}; you are at {here}."


def _space_said(result: LabResult) -> str:
    gone, others = ("–" if x != x else f"{x:.3f}" for x in result.geometry.step)
    what = result.geometry.what
    return f"In this plane the forgotten {what} move by {gone} and the others by {others} on average."


def _pictures_said(result: LabResult) -> str:
    which = few([f"{b.true} → {b.now}" for b in result.lost], 3)
    return (
        f"The forgotten pictures are now called {result.report.became(5)}. "
        f"Kept pictures lost: {len(result.lost)}{f', {which}' if which else ''}."
    )


def _neighbours_said(result: LabResult) -> str:
    rows = result.neighbours
    hurt, gain = draw.losers(rows), sum(r.change > 0 for r in rows)
    near = max(rows, key=lambda row: row.cosine)
    nearest, *lost = (f"{r.name} ({points(r.change)} at cosine {r.cosine:.2f})" for r in (near, *hurt))
    said = f"{len(hurt)} of {len(rows)} kept classes lose accuracy and {gain} gain. The nearest is {nearest}."
    return said + (f" Most of all: {few(lost, NAMED)}." if hurt else "")


def _mathematics_said(result: LabResult) -> str:
    # a line does not break within a formula
    said = [f"{line.plain.replace(' ', chr(0xA0))} = {draw.number(line, result)}" for line in IDENTITIES]
    return "; ".join(said).replace("= <", "<").replace("mean\xa0of\xa0", "mean of ") + "."


def _single_said(result: LabResult) -> str:
    before, after = (", ".join(f"{name} {cosine:.2f}" for name, cosine in b) for b in result.single[:2])
    return f"{draw.was_called(result.single)}. Before: {before}. After: {after}."


#: the views by their names in `clipnull.lab.VIEWS`
PANELS: dict[str, Panel] = {
    "numbers": Panel(
        "Accuracy", "Is it gone, from lists of any length and from a search? What is kept?",
        draw.numbers, _numbers_said),
    "triangle": Panel("Triangle", "What did the name become?", draw.triangle, _triangle_said),
    "curve": Panel("Curve", "Would a gentler edit have done?", draw.curve, _curve_said),
    "pca": Panel("Geometry", "What moved, and how far?", draw.space, _space_said),
    "images": Panel(
        "Pictures", "What are its pictures called now? Which others were lost?",
        draw.pictures, _pictures_said),
    "neighbours": Panel("Neighbours", "Who pays, the near or the far?", draw.neighbours, _neighbours_said),
    "mathematics": Panel(
        "Mathematics", "Does the edit do what its formula says? Can any image win?",
        draw.mathematics, _mathematics_said),
    "single": Panel("One picture", "What happens to this picture?", draw.single, _single_said),
}  # fmt: skip
