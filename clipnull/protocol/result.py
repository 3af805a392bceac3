"""What a run of the protocol gives: rows, averages, tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from clipnull._show import Table, tenths
from clipnull.protocol.published import TOLERANCE, BeforeRow, figure, pair
from clipnull.protocol.score import ScoreParts
from clipnull.report import Change, NWay, Side

__all__ = ["ProtocolResult", "ResultRow", "SummaryRow"]


@dataclass(frozen=True)
class ResultRow:
    """One forget set and one method; fractions.

    ``n_way`` has the recall of the forgotten classes' images by the length of the list (2 to "all"),
    ``full`` that among all names; ``search`` is an AUC, ``others`` the accuracy on all classes of each
    other data set, ``certificate`` the largest (NaN where nothing is edited). ``parts`` add up to the
    score, NaN where nothing was recognised before. ``seconds`` is the time of all the ``tried`` edits.
    """

    model: str
    data: str
    forget: list[str]
    method: str
    side: Side
    full: Change
    n_way: dict[int | Literal["all"], NWay]
    search: Change
    retain: Change
    others: dict[str, Change]
    certificate: float
    parts: ScoreParts
    seconds: float
    tried: int = 1

    @property
    def joint(self) -> bool:
        return len(self.forget) > 1

    @property
    def score(self) -> float:
        """`clipnull.protocol.protocol_score`."""
        return sum(self.parts)


@dataclass(frozen=True)
class SummaryRow:
    """Means over ``sets`` forget sets of one kind, NaN skipped, for one model and method.

    ``terms`` are those of the score; ``two`` is 2-way recall; ``retained`` and ``others`` are accuracy
    after as a fraction of before, on other classes and on other data sets.
    """

    model: str
    joint: bool
    method: str
    sets: int
    terms: int
    full: Change
    two: Change
    search: Change
    retained: float
    others: float
    certificate: float
    parts: ScoreParts
    score: float
    seconds: float


@dataclass(frozen=True)
class ProtocolResult:
    """What `run_protocol` measured. Shows itself as two tables; accuracies are fractions inside.

    ``notes`` say how the data differ from the published ones.
    """

    name: str
    before: list[BeforeRow]
    rows: list[ResultRow]
    notes: list[str] = field(default_factory=list)

    def where(self, **match: Any) -> list[ResultRow]:
        return [r for r in self.rows if all(getattr(r, k) == v for k, v in match.items())]

    def comparison(self) -> Table:
        """Before forgetting: forget / retain measured and, where there are figures, published."""
        head = ["model", "data set", "class", "pictures", "measured"]
        rows = []
        for r in self.before:
            percents = [None if x is None else 100 * x for x in (r.forget, r.retain)]
            rows.append([r.model, r.data, r.name, str(r.images), pair(percents)])
        if any(r.apart is not None for r in self.before):
            head += ["published", "points apart"]
            for row, r in zip(rows, self.before, strict=True):
                row += [pair((r.published_forget, r.published_retain)), figure(r.apart)]
        return Table(head, rows, f"{self.name}: before forgetting, forget / retain, %", left=3)

    def remarks(self) -> list[str]:
        """A sentence for each figure that is more than a point from the published one, then ``notes``."""
        far = [  # NaN, a class without pictures, is far from any figure; rounding to two decimals is not
            f"{r.model}, {r.data}, {r.name}: {figure(r.apart)} points from the published figure; "
            f"one of its {r.images} pictures is {100 / max(r.images, 1):.1f} points"
            for r in self.before
            if r.apart is not None and not r.apart <= TOLERANCE + 0.005
        ]
        return far + (self.notes if far else [])

    def summary(self) -> list[SummaryRow]:
        """Means over forget sets, a row per model, kind of forget set and method."""
        out = []
        for model, joint, method in dict.fromkeys((r.model, r.joint, r.method) for r in self.rows):
            rows = self.where(model=model, joint=joint, method=method)
            full, two, search, parts = (
                [_mean(values) for values in zip(*changes, strict=True)]
                for changes in zip(*((r.full, r.n_way[2][2:], r.search, r.parts) for r in rows), strict=True)
            )
            kept = _mean(r.retain.kept for r in rows)
            others = _mean(change.kept for r in rows for change in r.others.values())
            certificate, score, seconds = (
                _mean(getattr(r, name) for r in rows) for name in ("certificate", "score", "seconds")
            )
            out.append(SummaryRow(
                model, joint, method, len(rows), 2 + len(rows[0].others),
                Change(*full), Change(*two), Change(*search), kept, others, certificate,
                ScoreParts(*parts), score, seconds,
            ))  # fmt: skip
        return sorted(out, key=lambda r: (r.model, r.joint))

    def table(self) -> Table:
        rows: list[list[str]] = []
        notes: dict[str, str] = {}
        for r in self.summary():
            after = (r.full.after, r.two.after, r.search.after, r.retained, r.others)
            seconds = f"{1000 * r.seconds:.1f} ms" if r.seconds < 1 else f"{r.seconds:.1f} s"
            numbers = ["–" if math.isnan(x) else f"{x:.{n}f}" for x, n in ((r.certificate, 2), (r.score, 3))]
            kind = "jointly" if r.joint else "one at a time"
            rows.append([r.model, kind, r.method, *map(tenths, after), *numbers, seconds])
            notes.setdefault(
                f"before, {r.model}, {kind}: ",
                f"full {tenths(r.full.before)}%, 2-way {tenths(r.two.before)}% (chance 50), "
                f"search {tenths(r.search.before)}% (chance 50)",
            )
        head = "model; classes; method; full, %; 2-way, %; search, %; kept, %; others kept, %; certificate"
        caption = f"{self.name}: means over forget sets; a low score is good"
        return Table([*head.split("; "), "score", "time"], rows, caption, [*map("".join, notes.items())], 3)

    def __str__(self) -> str:
        return "\n\n".join([str(self.comparison()), str(self.table()), *self.remarks()])

    __repr__ = __str__


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan
