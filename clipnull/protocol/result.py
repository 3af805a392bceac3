"""What a run of the protocol gives: tables, averages, files."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clipnull._show import Table, tenths
from clipnull.protocol.published import figure, pair
from clipnull.protocol.score import ScoreParts
from clipnull.report import Side

__all__ = ["BeforeRow", "Change", "ProtocolResult", "ResultRow", "SummaryRow"]


class Change(NamedTuple):
    """An accuracy before forgetting and after (fractions)."""

    before: float
    after: float

    @property
    def kept(self) -> float:
        """After as a fraction of before; NaN where there was nothing before."""
        return self.after / self.before if self.before else math.nan


@dataclass(frozen=True)
class BeforeRow:
    """Accuracy before forgetting, of one forget class or of all classes (``name``).

    ``forget`` and ``retain`` are recall of the class (None for all) and accuracy on the others
    (fractions), the published ones percent; ``apart`` is the larger gap in points, and ``why`` what may
    explain it where it is more than the protocol's tolerance.
    """

    model: str
    data: str
    name: str
    images: int
    forget: float | None
    retain: float
    published_forget: float | None = None
    published_retain: float | None = None
    apart: float | None = None
    why: str = ""


@dataclass(frozen=True)
class ResultRow:
    """One forget set (``joint``: several classes) and one method; accuracies are fractions.

    ``others`` has the accuracy on all classes of each other data set. ``parts`` add up to ``score``, NaN
    where nothing was recognised before. ``seconds`` is the time of the edit, ``tuning_seconds`` that of
    all the ``tried`` ones that it was chosen from.
    """

    model: str
    data: str
    forget: list[str]
    joint: bool
    method: str
    side: Side
    forget_before: float
    forget_after: float
    retain_before: float
    retain_after: float
    others: dict[str, Change]
    score: float
    parts: ScoreParts
    seconds: float
    tuning_seconds: float
    tried: int = 1

    @property
    def retain(self) -> Change:
        """Accuracy on the other classes of its own data set."""
        return Change(self.retain_before, self.retain_after)


@dataclass(frozen=True)
class SummaryRow:
    """Means over ``sets`` forget sets of one kind, NaN skipped, for one model and method.

    ``forget_before`` and ``forget_after`` are fractions; ``retained`` and ``others`` are accuracy after as
    a fraction of before, on other classes and on other data sets; ``seconds`` include tuning.
    """

    model: str
    joint: bool
    method: str
    sets: int
    forget_before: float
    forget_after: float
    retained: float
    others: float
    score: float
    parts: ScoreParts
    seconds: float


@dataclass(frozen=True)
class ProtocolResult:
    """What `run_protocol` measured. Shows itself as two tables; accuracies are fractions inside.

    ``before`` has a row per model, data set and forget class, and one for all classes; ``rows`` one per
    model, data set, forget set and method. ``notes`` say what was left out, ``about`` (plain values)
    methods, models, sources of the data, versions.
    """

    name: str
    before: list[BeforeRow]
    rows: list[ResultRow]
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def where(self, **match: Any) -> list[ResultRow]:
        """The rows whose fields equal ``match``."""
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
        """A sentence for each figure that is further from the published one than the tolerance."""
        return [
            f"{r.model}, {r.data}, {r.name}: {figure(r.apart)} points from the published "
            f"figure; why that may be: {r.why}."
            for r in self.before
            if r.why
        ]

    def summary(self) -> list[SummaryRow]:
        """Means over forget sets, a row per model, kind of forget set and method."""
        out = []
        for model, joint, method in dict.fromkeys((r.model, r.joint, r.method) for r in self.rows):
            rows = self.where(model=model, joint=joint, method=method)
            forget, retain, others = (_mean(part) for part in zip(*(r.parts for r in rows), strict=True))
            row = SummaryRow(
                model,
                joint,
                method,
                sets=len(rows),
                forget_before=_mean(r.forget_before for r in rows),
                forget_after=_mean(r.forget_after for r in rows),
                retained=_mean(r.retain.kept for r in rows),
                others=_mean(change.kept for r in rows for change in r.others.values()),
                score=_mean(r.score for r in rows),
                parts=ScoreParts(forget, retain, others),
                seconds=_mean(r.tuning_seconds for r in rows),
            )
            out.append(row)
        return sorted(out, key=lambda r: (r.model, r.joint))

    def table(self) -> Table:
        """`summary` as a table."""
        rows = []
        for r in self.summary():
            percents = map(tenths, (r.forget_before, r.forget_after, r.retained, r.others))
            score = "–" if math.isnan(r.score) else f"{r.score:.3f}"
            seconds = f"{1000 * r.seconds:.1f} ms" if r.seconds < 1 else f"{r.seconds:.1f} s"
            kind = "jointly" if r.joint else "one at a time"
            rows.append([r.model, kind, r.method, *percents, score, seconds])
        head = "model,classes,method,forget BF,forget AF,retain AF/BF,others AF/BF,score,time".split(",")
        return Table(head, rows, f"{self.name}: means over forget sets, %; a low score is good", left=3)

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON (``.json``; NaN is null), or the rows as CSV (``.csv``).

        Raises
        ------
        ValueError
            Another ending, or a folder that is not there.
        """
        target = Path(path).expanduser()
        if target.suffix.lower() not in (".json", ".csv"):
            raise ValueError(f"path: got {str(path)!r}, want a file name ending in .json or .csv")
        if not target.parent.is_dir():
            raise ValueError(f"path: there is no folder {str(target.parent)!r}")
        if target.suffix.lower() == ".json":
            text = json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        else:
            text = self._csv()
        half = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            half.write_text(text, encoding="utf-8", newline="")
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
        return target

    def _csv(self) -> str:
        flat = []
        for r in self.rows:
            row = {**asdict(r), "forget": "; ".join(r.forget)}
            del row["others"], row["parts"]
            row |= {f"score, {part}": x for part, x in r.parts._asdict().items()}
            for name, change in r.others.items():
                row |= {f"{name} {when}": x for when, x in change._asdict().items()}
            flat.append(row)
        writer = csv.DictWriter(text := io.StringIO(), list(dict.fromkeys(k for row in flat for k in row)))
        writer.writeheader()
        writer.writerows(flat)
        return text.getvalue()

    def __str__(self) -> str:
        return "\n\n".join([str(self.comparison()), str(self.table()), *self.remarks(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in [*self.remarks(), *self.notes])
        return self.comparison()._repr_html_() + self.table()._repr_html_() + said


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _plain(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
