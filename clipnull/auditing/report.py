"""What a measurement says, and a table of many."""

import math
import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

from clipnull import _check, _show

__all__ = ["AuditReport", "Measurement", "NotMeasured"]

#: a control; names whose certificate is computed, at most
SUBSPACE, CERTIFIED = "a random subspace of the same rank", 20


class NotMeasured(ValueError):
    """Raised on purpose where a question has no answer; `AuditReport.skipped` says why."""


@dataclass(frozen=True)
class Measurement:
    """One line of an audit: numbers ("%": fractions; NaN: none) ``against`` a control, and what they mean.

    ``source`` is an arXiv number, or "ours". ``values`` are the control of each seed, ``spread`` their
    standard deviation; ``words`` the `Word` of `other_words`, ``bins`` `Bins` before and after the edit.
    """

    name: str
    before: float
    after: float
    control: float
    against: str
    means: str
    source: str = "ours"
    unit: Literal["%", "bits", "steps", "cosine"] = "%"
    spread: float = math.nan
    values: tuple[float, ...] = field(default=(), repr=False)
    words: tuple[Any, ...] = field(default=(), repr=False)
    bins: tuple[Any, ...] = field(default=(), repr=False, compare=False)

    def cells(self) -> list[str]:
        """Name, before, after, control as printed."""
        spread = "" if math.isnan(self.spread) else f" ± {self._show(self.spread)}"
        before, after, control = map(self._show, (self.before, self.after, self.control))
        return [f"{self.name}, {self.unit}", before, after, control + spread]

    def _show(self, value: float) -> str:
        if math.isinf(value):
            return "never"
        if self.unit == "%" or math.isnan(value):
            return _show.tenths(value)
        return f"{value:z.3f}" if self.unit == "cosine" else f"{value:.2f}".removesuffix(".00")


@dataclass(frozen=True, repr=False)
class AuditReport(_show.Shown):
    """The measurements of one edit, and why others were ``skipped``; shows itself as a table."""

    rows: list[Measurement]
    skipped: dict[str, str] = field(default_factory=dict)
    title: str = "audit"

    def __getitem__(self, name: str) -> Measurement:
        rows = {r.name: r for r in self.rows}
        return rows[_check.one_of("name", name, rows)]

    def table(self) -> _show.Table:
        rows = [[name, r.against, *numbers] for r in self.rows for name, *numbers in [r.cells()]]
        notes = [f"{r.name}: {r.means} [{r.source}]" for r in self.rows]
        notes += [f"not measured: {name} ({why})" for name, why in self.skipped.items()]
        notes = [textwrap.fill(note, 100, subsequent_indent="    ") for note in notes]
        head = "measurement against before after control".split()
        return _show.Table(head, rows, caption=self.title, notes=notes, left=2)
