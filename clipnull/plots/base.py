"""Palette, figures with alt text, and the small pieces that all plots share."""

import contextlib
import functools
import io
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from clipnull import _check

__all__ = ["Figure", "alt", "describe", "show"]

#: Okabe and Ito's palette: distinct under every common colour blindness
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#767676", "#C9C9C9"
#: what is forgotten is vermillion and round, what is retained is blue and square, everywhere
FORGET, RETAIN = RED, BLUE
SERIES = [BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK, YELLOW]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
HALO = [withStroke(linewidth=2.5, foreground="white")]  #: makes letters legible over what is drawn
LEGEND: dict[str, Any] = dict(fontsize=8, frameon=False)
DPI = 100


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure outside pyplot (never shown twice) that shows itself with its alt text."""

    def _ipython_display_(self) -> None:
        show(self)


_check.TYPES["Axes"] = _check.instance(Axes)
_check.TYPES["Figure"] = _check.instance(matplotlib.figure.Figure)


@_check.by_name
def describe(fig: matplotlib.figure.Figure, text: str) -> matplotlib.figure.Figure:
    """Set the figure's alt text: one or two sentences that say what it shows. Returns the figure."""
    if isinstance(fig, Figure):
        literal(fig)
    # a title that ends in a stop of its own needs no other
    text = re.sub(r"(?<=[^.][.?!])\.(?=\s|$)", "", text)
    fig.alt_text = " ".join(_encodable(text).split())  # type: ignore[attr-defined]
    return fig


@_check.by_name
def alt(fig: matplotlib.figure.Figure) -> str:
    """The figure's alt text, empty if it has none."""
    return getattr(fig, "alt_text", "")


@_check.by_name
def show(fig: matplotlib.figure.Figure) -> None:
    """Display a figure as PNG with its alt text: in metadata, in the PNG, and as plain text."""
    from IPython.display import display

    text = alt(fig)
    drawn, small, info = io.BytesIO(), io.BytesIO(), PngInfo()
    fig.savefig(drawn, format="png", dpi=DPI)
    info.add_itxt("Description", text)
    # 256 colours: a third of the size, which a notebook of many figures feels
    colours = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(small, "png", optimize=True, pnginfo=info)
    width, height = (round(inches * DPI) for inches in fig.get_size_inches())
    data = {"image/png": small.getvalue(), "text/plain": f"Figure: {text}" if text else "Figure"}
    display(data, raw=True, metadata={"image/png": {"alt": text, "width": width, "height": height}})


def numbers(name: str, x: Any, *shape: int | None, gaps: bool = False, shares: bool = False) -> np.ndarray:
    """``x`` as floats [shape], None any length but 0; NaN and infinity only where there may be ``gaps``."""
    try:  # of a tensor without its gradients, device and precision
        x = x.detach().cpu().double() if hasattr(x, "detach") else x
        values = np.asarray(x).astype(float, casting="same_kind")
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: cannot be read as an array of numbers ({error})") from error
    if values.ndim == 1 and len(shape) == 2:
        values = values[None]
    fits = [want == n or (want is None and n > 0) for want, n in zip(shape, values.shape, strict=False)]
    if values.ndim != len(shape) or not all(fits):
        want = ", ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: got shape {list(values.shape)}, want [{want}]")
    if not gaps and not np.isfinite(values).all():
        raise ValueError(f"{name}: holds NaN or infinity, want finite numbers")
    if shares and (np.abs(values) > 1 + 1e-4).any():
        raise ValueError(f"{name}: got numbers beyond 1, want fractions")
    return values


def rows(name: str, x: Any, dim: int | None = None, *, nonzero: bool = False) -> np.ndarray:
    """`_check.rows` in double precision."""
    return np.asarray(_check.rows(name, x, dim, nonzero=nonzero).detach().cpu().double())


def picture(name: str, x: Any) -> np.ndarray:
    """A PIL image or an array [h, w] or [h, w, 3 or 4], for ``imshow``; else a ValueError."""
    if isinstance(x, Image.Image):
        return np.asarray(x if x.mode in ("L", "RGB", "RGBA") else x.convert("RGBA"))
    found = np.asarray(_check.array(name, x).detach().cpu())
    if found.ndim not in (2, 3) or found.shape[2:] not in ((), (3,), (4,)) or not found.size:
        raise ValueError(f"{name}: got shape {list(found.shape)}, want a picture [h, w, 3]")
    return found


def panels(size: tuple[float, float], rows: int = 1, columns: int = 1, **how: Any) -> tuple[Figure, Any]:
    """A new figure of this size in inches, and its axes [rows, columns]."""
    fig = Figure(figsize=size, layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False, **how)


def axes(size: tuple[float, float]) -> Axes:
    """The axes of a new figure of this size in inches."""
    return panels(size)[1][0, 0]


def title(fig: matplotlib.figure.Figure, text: str) -> None:
    """Set a figure's title: from its left edge, broken to its width."""
    fig.suptitle(wrap(text, fig.get_size_inches()[0]), x=0.01, ha="left", fontsize=11)


def style(ax: Axes, text: str = "", x: str = "", y: str = "", grid: str = "") -> matplotlib.figure.Figure:
    """Spines, grid, labels and title of an axes; its figure, to describe."""
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(axis=grid, color="#E4E4E4", linewidth=0.8)
        ax.set_axisbelow(True)
    ax.set(xlabel=x, ylabel=y)
    fig = ax.figure.figure  # the outer one of a subfigure
    if text and isinstance(fig, Figure):  # ours: the title has the whole width, legend included
        title(fig, text)
    elif text:
        inches = fig.get_size_inches()[0] * ax.get_position().width
        ax.set_title(wrap(text, inches), loc="left", fontsize=11)
    literal(ax)
    return fig


def rows_of(ax: Axes, names: Sequence[object]) -> None:
    """Names down the side, the first on top."""
    ax.set_yticks(range(len(names)), map(short, names), fontsize=9)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)


def shares(ax: Axes, names: Sequence[str], values: Any, hit: Iterable[str], full: int) -> None:
    """Bars from above, up to ``full``, 1 or 100, with their numbers; those ``hit`` vermillion and hatched."""
    hits = [name in hit for name in names]
    ax.barh(range(len(names)), values, 0.7, color=[FORGET if h else PALE for h in hits],
            hatch=["///" if h else "" for h in hits], edgecolor="white", linewidth=0)  # fmt: skip
    for row, value in enumerate(values):
        ax.text(value + full / 50, row, f"{value:.{2 if full == 1 else 0}f}", va="center", fontsize=9)
    rows_of(ax, names)
    ax.set_xlim(0, 1.15 * full)


def cells(ax: Axes, percent: np.ndarray, names: Sequence[str], columns: Sequence[str], **look: Any) -> None:
    """A table of coloured cells with their numbers, "–" for NaN; ``look`` is that of ``imshow``."""
    ax.imshow(percent, vmin=0, vmax=150, aspect="auto", **look)
    for i, j in np.ndindex(percent.shape):
        text = "–" if np.isnan(percent[i, j]) else f"{percent[i, j]:.0f}"
        ax.text(j, i, text, ha="center", va="center", fontsize=9)
    ax.set_yticks(range(len(names)), names, fontsize=9)
    ax.set_xticks(range(len(columns)), columns)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def wrap(text: str, inches: float) -> str:
    """Break a title at 11 points so that it fits the width; at most four lines of it."""
    width = max(20, int(inches * 12))
    return textwrap.fill(_encodable(text[: 5 * width]), width, max_lines=4, placeholder=" …")


def literal(drawn: Any) -> None:
    """Every text as it is written, in fonts that have its letters; only powers of ten are typeset."""
    for text in drawn.findobj(Text):
        text.set_parse_math(False)
        if not text.get_text().isascii():
            own = _letters(str(font_manager.findfont(text.get_fontproperties())))
            if lacking := frozenset(text.get_text()) - own - {"\n"}:
                text.set_fontfamily([*dict.fromkeys([*text.get_fontfamily(), *_families(lacking)])])
    for axis in drawn.findobj(Axis):
        for tick in axis.findobj(Tick) if isinstance(axis.get_major_formatter(), LogFormatter) else ():
            tick.label1.set_parse_math(True)


@functools.cache
def _letters(font: str) -> frozenset[str]:
    with contextlib.suppress(Exception):  # each kind of font has errors of its own
        return frozenset(map(chr, font_manager.get_font(font).get_charmap()))
    return frozenset()


def _families(letters: frozenset[str]) -> list[str]:
    fonts = sorted(font_manager.fontManager.ttflist, key=lambda f: (f.style != "normal", f.name, f.fname))
    return [f.name for f in fonts if letters & _letters(f.fname) and "lastresort" not in f.fname.lower()]


def number(x: float) -> str:
    """Two digits, and an accuracy of 100 as it is said."""
    return f"{x:.0f}" if 99.5 <= abs(x) < 1e5 else f"{x:.2g}"


def capital(text: str) -> str:
    """A sentence: its first letter large, the others as they are."""
    return text[:1].upper() + text[1:]


def short(name: object, n: int = 22) -> str:
    """A name on one line, cut to ``n`` characters."""
    text = " ".join(unicodedata.normalize("NFC", _encodable(str(name))).split())
    text = text if len(text) <= n else text[: n - 1] + "…"
    return "\u200b" + text if text.startswith("_") else text  # a legend leaves out what begins with one


def _encodable(text: str) -> str:
    """Without what no font and no file takes: halves of a character, which bad file names give."""
    return text.encode("utf-8", "replace").decode()
