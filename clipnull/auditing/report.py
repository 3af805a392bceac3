"""What a measurement says, and a table of many."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from clipnull import _check
from clipnull.erasers import Edit

__all__ = ["AuditReport", "Measurement"]

#: a fitted edit of image embeddings
Eraser = Edit | Callable[[torch.Tensor], torch.Tensor]


#: names to forget, names to retain -> edit
Builder = Callable[[torch.Tensor, torch.Tensor], Edit]


@dataclass(frozen=True)
class Measurement:
    """One line of an audit.

    Attributes
    ----------
    name : str
        What is measured.
    before, after, control : float
        Fractions when ``unit`` is "%"; NaN where a measurement has no such value.
    against : str
        What the control is.
    means : str
        What the numbers mean, a sentence computed from them.
    source : str
        Where the question comes from: arXiv number, or "ours".
    unit : {"%", "bits", "steps"}
    spread : float
        Standard deviation of the control over seeds; NaN when it has none.
    details : dict
        The arrays behind the numbers, for figures.
    """

    name: str
    before: float
    after: float
    control: float
    against: str
    means: str
    source: str = "ours"
    unit: str = "%"
    spread: float = math.nan
    details: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def cells(self) -> list[str]:
        """Name, before, after, control as printed."""
        control = self._show(self.control)
        if not math.isnan(self.spread):
            control += f" ± {self._show(self.spread)}"
        return [self.name + (f", {self.unit}" if self.unit else ""), self._show(self.before),
                self._show(self.after), control]  # fmt: skip

    def _show(self, value: float) -> str:
        if not math.isfinite(value):
            return "–" if math.isnan(value) else "never"
        return f"{100 * value:.1f}" if self.unit == "%" else f"{value:.2f}".removesuffix(".00")


@dataclass(frozen=True)
class AuditReport:
    """All the measurements of one edit; shows itself as a table in Jupyter and in a terminal.

    Attributes
    ----------
    rows : list of Measurement
    skipped : dict of str to str
        Measurement -> why it was not made.
    title : str
    """

    rows: list[Measurement]
    skipped: dict[str, str] = field(default_factory=dict)
    title: str = "audit"

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name."""
        return self.rows[[r.name for r in self.rows].index(_check.one_of("name", name, self.names))]

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return [r.name for r in self.rows]

    def __str__(self) -> str:
        head = ["measurement", "before", "after", "control"]
        cells = [head, *(r.cells() for r in self.rows)]
        wide = [max(len(row[i]) for row in cells) for i in range(4)]

        def line(row: list[str]) -> str:
            return row[0].ljust(wide[0]) + "".join(
                f"  {c.rjust(w)}" for c, w in zip(row[1:], wide[1:], strict=True)
            )

        lines = [self.title, "", line(head) + "  against"]
        for row, r in zip(cells[1:], self.rows, strict=True):
            lines.append(f"{line(row)}  {r.against}")
            lines.append(
                textwrap.fill(f"{r.means} [{r.source}]", 100, initial_indent="    ", subsequent_indent="    ")
            )
        lines += [f"not measured: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            align = ["left", "right", "right", "right", "left", "left", "left"]
            inner = (
                f"<{tag} style='text-align:{a}'>{html.escape(c)}</{tag}>"
                for a, c in zip(align, cells, strict=True)
            )
            return f"<tr>{''.join(inner)}</tr>"

        head = row("th", ["measurement", "before", "after", "control", "against", "what it means", "source"])
        body = "".join(row("td", [*r.cells(), r.against, r.means, r.source]) for r in self.rows)
        left = "".join(
            f"<p>Not measured: {html.escape(n)} ({html.escape(w)}).</p>" for n, w in self.skipped.items()
        )
        caption = f"<caption style='text-align:left'>{html.escape(self.title)}</caption>"
        return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>{left}"


def _share(mask: torch.Tensor) -> float:
    return float(mask.double().mean()) if mask.numel() else math.nan


def _pc(x: float) -> str:
    return "–" if math.isnan(x) else f"{100 * x:.1f}%"


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).mean()) if len(values) else math.nan


def _std(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std()) if len(values) > 1 else math.nan


def _against(before: float, after: float, values: Sequence[float], what: str) -> str:
    if not before:
        return "The model recognised none of these images to begin with, so there was nothing to forget."
    if after >= before:
        return f"Nothing was forgotten: recall goes from {_pc(before)} to {_pc(after)}."
    if after < min(values):
        return f"The names' own directions do it: {len(values)} {what} leave at least {_pc(min(values))}."
    return f"No effect to speak of: some {what} leave {_pc(min(values))} or less too."
