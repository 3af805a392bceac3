"""What a measurement says, and a table of many."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from clipnull import _check, _show

__all__ = ["AuditReport", "Measurement", "NotMeasured"]

Unit = Literal["%", "bits", "steps", "cosine"]


class NotMeasured(ValueError):
    """Raised on purpose where a question has no answer; `AuditReport.skipped` says why."""


@dataclass(frozen=True)
class Measurement:
    """One line of an audit.

    ``before``, ``after`` and ``control`` are fractions when ``unit`` is "%", and NaN where there is no such
    value; ``against`` says what the control is, ``means`` what the numbers mean, ``source`` where the
    question comes from (an arXiv number, or "ours"). ``values`` are the control of each seed, where figures
    show it, and ``spread`` is their standard deviation.
    """

    name: str
    before: float
    after: float
    control: float
    against: str
    means: str
    source: str = "ours"
    unit: Unit = "%"
    spread: float = math.nan
    values: tuple[float, ...] = field(default=(), repr=False)

    def cells(self) -> list[str]:
        """Name, before, after, control as printed."""
        control = self._show(self.control)
        if not math.isnan(self.spread):
            control += f" ± {self._show(self.spread)}"
        return [f"{self.name}, {self.unit}", self._show(self.before), self._show(self.after), control]

    def _show(self, value: float) -> str:
        if math.isinf(value):
            return "never"
        if self.unit == "%" or math.isnan(value):
            return _show.tenths(value)
        return f"{value:.3f}" if self.unit == "cosine" else f"{value:.2f}".removesuffix(".00")


@dataclass(frozen=True, repr=False)
class AuditReport(_show.Shown):
    """All the measurements of one edit, and why others were not made; shows itself as a table."""

    rows: list[Measurement]
    skipped: dict[str, str] = field(default_factory=dict)
    title: str = "audit"

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name."""
        return self.rows[self.names.index(_check.one_of("name", name, self.names))]

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return [r.name for r in self.rows]

    def table(self) -> _show.Table:
        """The numbers, with what each means below."""
        rows = [[name, r.against, *numbers] for r in self.rows for name, *numbers in [r.cells()]]
        notes = [f"{r.name}: {r.means} [{r.source}]" for r in self.rows]
        notes += [f"not measured: {name} ({why})" for name, why in self.skipped.items()]
        notes = [textwrap.fill(note, 100, subsequent_indent="    ") for note in notes]
        head = ["measurement", "against", "before", "after", "control"]
        return _show.Table(head, rows, caption=self.title, notes=notes, left=2)


def mean(values: Sequence[float]) -> float:
    """Mean; NaN of none."""
    return float(torch.tensor(values, dtype=torch.float64).mean()) if len(values) else math.nan


def verdict(before: float, after: float, values: Sequence[float], what: str) -> str:
    """Whether recall falls further than under any of the controls."""
    if not before:
        return "The model recognised none of these images to begin with, so there was nothing to forget."
    if after >= before:
        return f"Nothing was forgotten: recall goes from {_show.percent(before)} to {_show.percent(after)}."
    least = _show.percent(min(values))
    if after < min(values):
        return (
            f"The effect is that of the names' own directions: {len(values)} {what} leave at least {least}."
        )
    return f"No effect to speak of: some {what} leave {least} or less too."
