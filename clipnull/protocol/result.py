"""What a run of the protocol gives: rows, averages, tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from clipnull._show import Table, tenths
from clipnull.protocol.published import BeforeRow
from clipnull.report import Change, NWay, Side

__all__ = ["ProtocolResult", "ResultRow", "SummaryRow"]


def figure(percent: float | None) -> str:
    """With two decimals, as it was published."""
    return "–" if percent is None or math.isnan(percent) else f"{percent:.2f}"


def score_parts(forget: Change, retain: Change, others: Sequence[Change] = ()) -> tuple[float, float, float]:
    """What forgetting, the retained classes and the other data sets add to the score, of which 0 is perfect.

    The score is the mean of AF_f / BF_f, of the relative drop of the retained classes' accuracy, and of that
    on all classes of each other data set (three in the protocol); a gain counts as no drop. NaN where nothing
    was right before. The Kravets-Namboodiri protocol, arXiv 2407.07485.

    >>> round(sum(score_parts((0.8, 0.0), (0.6, 0.57), [(0.5, 0.5), (0.7, 0.72), (0.9, 0.9)])), 4)
    0.01
    """
    pairs = [forget, retain, *others]
    if any(before <= 0 for before, _ in pairs):
        return math.nan, math.nan, math.nan
    own, *lost = (max(0.0, (before - after) / before) / len(pairs) for before, after in pairs[1:])
    return forget[1] / forget[0] / len(pairs), own, sum(lost)


class ResultRow(NamedTuple):
    """One forget set, one method: fractions; ``others`` by data set, the largest ``certificate`` (or NaN)."""

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
    parts: tuple[float, float, float]
    seconds: float

    @property
    def joint(self) -> bool:
        return len(self.forget) > 1

    @property
    def score(self) -> float:
        return sum(self.parts)


class SummaryRow(NamedTuple):
    """Means over forget sets of one kind, NaN skipped; ``terms`` are those of the score.

    ``retained`` and ``others`` are accuracy after as a fraction of before, on other classes and data sets.
    """

    model: str
    joint: bool
    method: str
    terms: int
    full: Change
    two: Change
    search: Change
    retained: float
    others: float
    certificate: float
    parts: tuple[float, float, float]
    score: float
    seconds: float


@dataclass(frozen=True)
class ProtocolResult:
    """What `run_protocol` measured, and ``notes`` on how the data differ from the published ones."""

    name: str
    before: list[BeforeRow]
    rows: list[ResultRow]
    notes: list[str] = field(default_factory=list)

    def where(self, **match: Any) -> list[ResultRow]:
        return [r for r in self.rows if all(getattr(r, k) == v for k, v in match.items())]

    def comparison(self) -> Table:
        """Before forgetting: forget / retain measured and, where there are figures, published."""
        head = ["model", "data set", "class", "pictures", "measured", "published", "points apart"]
        rows = []
        for r in self.before:
            measured = [None if x is None else 100 * x for x in (r.forget, r.retain)]
            pairs = (measured, (r.published_forget, r.published_retain))
            said = [" / ".join(map(figure, pair)) for pair in pairs]
            rows.append([r.model, r.data, r.name, str(r.images), *said, figure(r.apart)])
        shown = len(head) if any(r.apart is not None for r in self.before) else 5
        caption = f"{self.name}: before forgetting, forget / retain, %"
        return Table(head[:shown], [row[:shown] for row in rows], caption, left=3)

    def remarks(self) -> list[str]:
        """A sentence for each figure that is more than a point from the published one, then ``notes``."""
        # NaN, a class without pictures, is far from any figure; rounding to two decimals is not
        far = [
            f"{r.model}, {r.data}, {r.name}: {figure(r.apart)} points from the published figure; "
            f"one of its {r.images} pictures is {100 / max(r.images, 1):.1f} points"
            for r in self.before
            if r.apart is not None and not r.apart <= 1.005
        ]
        return far and far + self.notes

    def summary(self) -> list[SummaryRow]:
        """Means over forget sets, a row per model, kind of forget set and method."""
        out = []
        for model, joint, method in dict.fromkeys((r.model, r.joint, r.method) for r in self.rows):
            rows = self.where(model=model, joint=joint, method=method)
            out.append(SummaryRow(
                model, joint, method, 2 + len(rows[0].others),
                Change(*_mean(r.full for r in rows)), Change(*_mean(r.n_way[2][2:] for r in rows)),
                Change(*_mean(r.search for r in rows)), _mean(r.retain.kept for r in rows),
                _mean(change.kept for r in rows for change in r.others.values()),
                _mean(r.certificate for r in rows), tuple(_mean(r.parts for r in rows)),
                *_mean((r.score, r.seconds) for r in rows),
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
            full, two, search = (tenths(change.before) for change in (r.full, r.two, r.search))
            said = f"full {full}%, 2-way {two}% (chance 50), search {search}% (chance 50)"
            notes.setdefault(f"before, {r.model}, {kind}: ", said)
        head = "model; classes; method; full, %; 2-way, %; search, %; kept, %; others kept, %; certificate"
        caption = f"{self.name}: means over forget sets; a low score is good"
        return Table([*head.split("; "), "score", "time"], rows, caption, [*map("".join, notes.items())], 3)

    def __str__(self) -> str:
        return "\n\n".join([str(self.comparison()), str(self.table()), *self.remarks()])

    __repr__ = __str__


def _mean(values: Iterable[Any]) -> Any:
    """Of numbers, or of each column of rows; NaN skipped."""
    return torch.tensor([*values], dtype=torch.float64).nanmean(0).tolist()
