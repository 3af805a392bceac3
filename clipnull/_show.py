"""How the package shows things: one table, one progress bar, one way to print a percentage."""

from __future__ import annotations

import html
import math
import os
import sys
from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True)
class Table:
    """A table in a terminal (text) and in Jupyter (HTML).

    Attributes
    ----------
    head : list of str
    rows : list of list of str
        As many cells per row as ``head`` has.
    caption : str
        A line above.
    notes : list of str
        Lines below.
    left : int
        How many columns, from the first, are set flush left; the others flush right.
    """

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
        def line(tag: str, row: Sequence[str]) -> str:
            sides = ["left" if i < self.left else "right" for i in range(len(row))]
            inner = (
                f"<{tag} style='text-align:{side}'>{html.escape(cell)}</{tag}>"
                for side, cell in zip(sides, row, strict=True)
            )
            return f"<tr>{''.join(inner)}</tr>"

        caption = (
            f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>" if self.caption else ""
        )
        body = "".join(line("td", row) for row in self.rows)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table>{caption}<thead>{line('th', self.head)}</thead><tbody>{body}</tbody></table>{notes}"


def progress(
    items: Iterable[Any] | None = None,
    *,
    what: str,
    total: int | None = None,
    unit: str = "it",
    wanted: bool | None = None,
) -> Any:
    """A tqdm bar on stderr: iterate over it, or call its ``update(n)`` and ``set_postfix_str``.

    Parameters
    ----------
    items : iterable, optional
    what : str
        What is being done.
    total : int, optional
        How many items, where they cannot say.
    unit : str
    wanted : bool, optional
        True and False decide. None: after two seconds, but neither under pytest nor where the
        variable CLIPNULL_NO_PROGRESS is set.
    """
    from tqdm.auto import tqdm

    silent = wanted is None and {"PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"} & os.environ.keys()
    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        disable=wanted is False or bool(silent),
        delay=0.0 if wanted else 2.0,
        leave=False,
        file=sys.stderr,
    )
