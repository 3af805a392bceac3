"""What a figure shows, read from its artists, for comparison with the arrays that went in.

Everything comes in the order in which a reader meets it: left to right, top to bottom.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation


class Cloud(NamedTuple):
    """Points of a scatter plot."""

    label: str
    colour: str
    points: np.ndarray


def same(drawn: Any, wanted: Any, atol: float = 1e-9) -> None:
    """Arrays, or dicts of arrays with their keys in this order, are equal; dicts may be nested."""
    if isinstance(wanted, dict):
        assert list(drawn) == list(wanted)
        for key, value in wanted.items():
            same(drawn[key], value, atol)
    else:
        np.testing.assert_allclose(np.asarray(drawn, float), np.asarray(wanted, float), atol=atol)


def lines(ax: Any) -> dict[str, np.ndarray]:
    """Label -> points [k, 2] of a line or of markers; those without points or label are left out."""
    return {str(x.get_label()): x.get_xydata() for x in ax.get_lines() if _named(x) and len(x.get_xydata())}


def rules(ax: Any) -> list[list[tuple[float, float]]]:
    """Points of the lines without a label."""
    return [list(map(tuple, x.get_xydata())) for x in ax.get_lines() if not _named(x) and len(x.get_xydata())]


def clouds(ax: Any) -> list[Cloud]:
    """The scatter plots that have points."""
    found = [x for x in ax.collections if isinstance(x, PathCollection) and len(x.get_offsets())]
    return [
        Cloud(str(x.get_label()), to_hex(x.get_facecolor()[0]), np.asarray(x.get_offsets())) for x in found
    ]


def bars(ax: Any) -> dict[str, dict[str, tuple[float, float]]]:
    """Label of a series ("" without one) -> tick label of a bar -> where it begins and ends."""
    return {label: {name: span for name, (span, _) in series.items()} for label, series in _bars(ax).items()}


def ends(ax: Any) -> dict[str, float]:
    """`bars` of the only series, all of which begin at zero: tick label -> end."""
    (spans,) = bars(ax).values()
    assert all(start == 0 for start, _ in spans.values())
    return {name: end for name, (_, end) in spans.items()}


def fills(ax: Any) -> dict[str, tuple[str, str]]:
    """Of the only series of bars: tick label -> colour and hatch."""
    (series,) = _bars(ax).values()
    return {name: look(bar) for name, (_, bar) in series.items()}


def _bars(ax: Any) -> dict[str, dict[str, tuple[tuple[float, float], Any]]]:
    out = {}
    for series in (c for c in ax.containers if isinstance(c, BarContainer)):
        upright = series.orientation == "vertical"
        names = {round(at, 6): name for name, at in ticks(ax.xaxis if upright else ax.yaxis).items()}
        found = {}
        for bar in series:
            across, up = bar.get_bbox().intervalx, bar.get_bbox().intervaly
            place, span = (across, up) if upright else (up, across)
            found[names[round(sum(place) / 2, 6)]] = tuple(span), bar
        label = str(series.get_label())
        out["" if label.startswith("_") else label] = {n: found[n] for n in names.values() if n in found}
    return out


def ticks(axis: Any) -> dict[str, float]:
    """Label -> position of the ticks in view."""
    low, high = sorted(axis.get_view_interval())
    at = axis.get_majorticklocs()
    labels = dict(zip(at, axis.get_major_formatter().format_ticks(at), strict=True))
    order = sorted(at, reverse=(axis.axis_name == "y") != bool(axis.get_inverted()))
    return {labels[x]: float(x) for x in order if low <= x <= high}


def texts(ax: Any) -> list[tuple[str, float, float]]:
    """Words and where they stand: of an annotation, the point that it speaks of."""
    shown = [t for t in ax.texts if t.get_visible() and t.get_text().strip()]
    at = [t.xy if isinstance(t, Annotation) else t.get_position() for t in shown]
    return [(t.get_text().strip(), float(x), float(y)) for t, (x, y) in zip(shown, at, strict=True)]


def arrows(ax: Any) -> np.ndarray:
    """Arrows without words, [k, 2, 2]: from, to."""
    found = [t for t in ax.texts if isinstance(t, Annotation) and t.arrow_patch and not t.get_text()]
    return np.array([(t.xyann, t.xy) for t in found])


def segments(ax: Any) -> np.ndarray:
    """Straight pieces drawn as a collection, [k, 2, 2]."""
    found = [x.get_segments() for x in ax.collections if isinstance(x, LineCollection)]
    return np.concatenate([np.zeros((0, 2, 2)), *found])


def error_bars(ax: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label -> points [k, 2], and their error bars [k, 2, 2]."""
    found = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    return {str(c.get_label()): (c[0].get_xydata(), np.array(c[2][0].get_segments())) for c in found}


def table(ax: Any) -> dict[str, dict[str, float]]:
    """Row -> column -> value that gives a cell of the image its colour."""
    values = np.asarray(ax.images[0].get_array())
    # row 0 of the array is on top where both the image and the axis begin there
    assert ax.images[0].origin == "upper" and ax.yaxis_inverted() and not ax.xaxis_inverted()
    rows, columns = ticks(ax.yaxis), ticks(ax.xaxis)
    return {r: {c: float(values[round(i), round(j)]) for c, j in columns.items()} for r, i in rows.items()}


def written(ax: Any) -> dict[str, dict[str, str]]:
    """Row -> column -> what a cell says."""
    said = {(x, y): text for text, x, y in texts(ax)}
    rows, columns = ticks(ax.yaxis), ticks(ax.xaxis)
    return {r: {c: said[j, i] for c, j in columns.items()} for r, i in rows.items()}


def numbers(cells: dict[str, dict[str, str]]) -> dict[str, dict[str, float]]:
    """`written` as numbers."""
    return {r: {c: float(text) for c, text in row.items()} for r, row in cells.items()}


def legend(fig: Any, *axes: Any) -> dict[str, Any]:
    """What the legends say -> how it looks. Artists of that label (in ``axes``, or all) look the same."""
    found = [*fig.legends, *(ax.get_legend() for ax in fig.axes if ax.get_legend())]
    said = {
        text.get_text(): look(handle)
        for key in found
        for text, handle in zip(key.get_texts(), key.legend_handles, strict=True)
    }
    for ax in axes or fig.axes:
        for artist in [
            *ax.get_lines(),
            *ax.collections,
            *(c for c in ax.containers if isinstance(c, BarContainer)),
        ]:
            if artist.get_label() in said:
                assert look(artist) == said[artist.get_label()], artist.get_label()
    return said


def look(artist: Any) -> tuple[Any, ...]:
    """Colour and shape of a line, a series of bars, or a scatter plot."""
    if isinstance(artist, BarContainer):
        artist = artist[0]
    if isinstance(artist, Line2D):
        colours = to_hex(artist.get_color()), to_hex(artist.get_markeredgecolor())
        return *colours, artist.get_marker(), artist.get_linestyle()
    if isinstance(artist, PathCollection):
        return to_hex(artist.get_facecolor()[0]), tuple(artist.get_paths()[0].vertices.round(3).ravel())
    if isinstance(artist, Patch):
        return to_hex(artist.get_facecolor()), artist.get_hatch()
    return (type(artist).__name__,)


def title(fig: Any) -> str:
    """The figure's title on one line."""
    return " ".join(fig.get_suptitle().split())


def labels(ax: Any) -> tuple[str, str]:
    """Labels of the two axes."""
    return ax.get_xlabel(), ax.get_ylabel()


def _named(artist: Any) -> bool:
    return not str(artist.get_label()).startswith("_")
