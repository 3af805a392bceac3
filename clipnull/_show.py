"""How the package shows things: one table, one progress bar, one way to print a percentage."""

from __future__ import annotations

import html
import importlib.metadata
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def tenths(fraction: float) -> str:
    """A fraction as a percentage with one decimal, without the sign: 0.5 -> "50.0"; "–" for NaN."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def change(before: float, after: float) -> str:
    """The difference of two fractions in points, with its sign; "–" for NaN."""
    return "–" if math.isnan(after - before) else f"{100 * (after - before):+.1f}"


def percent(fraction: float) -> str:
    """A fraction as a percentage with its sign: 0.5 -> "50.0%"; "–" for NaN."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}%"


def few(names: Sequence[str], k: int = 4) -> str:
    """The first ``k`` names, and how many more there are."""
    return ", ".join(names[:k]) + (f" and {len(names) - k} more" if len(names) > k else "")


def version(distribution: str) -> str | None:
    """The installed version of a distribution; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Table:
    """A table for a terminal and Jupyter: ``caption`` above, ``notes`` below, ``left`` columns flush left."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    left: int = 1

    def __str__(self) -> str:
        cells = [self.head, *self.rows]
        wide = [max(len(row[i]) for row in cells) for i in range(len(self.head))]

        def line(row: Sequence[str]) -> str:
            pairs = enumerate(zip(row, wide, strict=True))
            return "  ".join(c.ljust(w) if i < self.left else c.rjust(w) for i, (c, w) in pairs).rstrip()

        return "\n".join([*filter(None, [self.caption]), *map(line, cells), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def cell(tag: str, side: str, text: str) -> str:
            return f"<{tag} style='text-align:{side}'>{html.escape(text)}</{tag}>"

        def line(tag: str, row: Sequence[str]) -> str:
            cells = (cell(tag, "left" if i < self.left else "right", text) for i, text in enumerate(row))
            return f"<tr>{''.join(cells)}</tr>"

        caption = cell("caption", "left", self.caption) if self.caption else ""
        body = "".join(line("td", row) for row in self.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table>{caption}<thead>{line('th', self.head)}</thead><tbody>{body}</tbody></table>{notes}"


class Shown:
    """What shows itself as its table; a dataclass needs ``repr=False`` for it."""

    def table(self) -> Table:
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def progress(items: Any = None, *, what: str, **how: Any) -> Any:
    """A tqdm bar on stderr to iterate over or to ``update(n)``, shown after two seconds."""
    from tqdm.auto import tqdm

    off = bool({"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys())
    return tqdm(items, desc=what, disable=off, delay=2.0, leave=False, file=sys.stderr, **how)
