"""What a run of the protocol gives: tables, averages, files."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ProtocolResult", "Table"]

ACCURACIES = ("forget_before", "forget_after", "retain_before", "retain_after")


@dataclass(frozen=True)
class Table:
    """Cells of text with a heading; shows itself in Jupyter and in a terminal.

    Attributes
    ----------
    head : list of str
    rows : list of list of str
    caption : str
    """

    head: list[str]
    rows: list[list[str]]
    caption: str = ""

    def _words(self) -> list[bool]:
        """Whether a column holds words; columns of figures are set to the right."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.head))]
        return [not all(map(_is_figure, column)) for column in columns]

    def __str__(self) -> str:
        cells = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        left = self._words()
        lines = [self.caption] if self.caption else []
        for row in cells:
            padded = [
                c.ljust(w) if word else c.rjust(w) for c, w, word in zip(row, widths, left, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Iterable[str]) -> str:
            sides = ["left" if left else "right" for left in self._words()]
            styled = [f"<{tag} style='text-align:{s}'>" for s in sides]
            inner = [f"{start}{html.escape(c)}</{tag}>" for start, c in zip(styled, cells, strict=True)]
            return f"<tr>{''.join(inner)}</tr>"

        caption = f"<caption style='text-align:left'>{html.escape(self.caption)}</caption>"
        body = "".join(row("td", r) for r in self.rows)
        return f"<table>{caption}<thead>{row('th', self.head)}</thead><tbody>{body}</tbody></table>"


def _is_figure(cell: str) -> bool:
    return re.fullmatch(r"[-+–\d. /]+(ms|s)?", cell) is not None


def _figure(percent: float | None) -> str:
    return "–" if percent is None or math.isnan(percent) else f"{percent:.2f}"


def _pair(percents: Sequence[float | None] | None) -> str:
    return "–" if percents is None else " / ".join(map(_figure, percents))


def _seconds(s: float) -> str:
    """A time with its unit."""
    return f"{1000 * s:.1f} ms" if s < 1 else f"{s:.1f} s"


@dataclass(frozen=True)
class ProtocolResult:
    """What `run_protocol` measured. Shows itself as two tables; accuracies are fractions inside.

    Attributes
    ----------
    name : str
    before : list of dict
        A row a model, data set and forget class, and one for all classes: forget, retain
        (fractions), published_forget, published_retain (percent), apart (points), why.
    rows : list of dict
        A row a model, data set, forget set and method: forget (names), joint, side, the four
        accuracies, others {data set: [before, after]}, score and its three parts (forget, retain,
        others), seconds; tuning_seconds and tried for what was trained.
    notes : list of str
        What was left out.
    about : dict
        Methods, models, sources of the data, versions.
    """

    name: str
    before: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def where(self, **match: Any) -> list[dict[str, Any]]:
        """The rows whose entries equal ``match``."""
        return [r for r in self.rows if all(r[k] == v for k, v in match.items())]

    def comparison(self) -> Table:
        """Before forgetting: forget / retain measured and, where there are figures, published."""
        head = ["model", "data set", "class", "pictures", "measured"]
        rows = [
            [r["model"], r["data"], r["class"], str(r["images"]), _pair(_percents(r))] for r in self.before
        ]
        if any(r["apart"] is not None for r in self.before):
            head += ["published", "points apart"]
            for row, r in zip(rows, self.before, strict=True):
                row += [_pair((r["published_forget"], r["published_retain"])), _figure(r["apart"])]
        return Table(head, rows, f"{self.name}: before forgetting, forget / retain, %")

    def remarks(self) -> list[str]:
        """A sentence for each figure that is further from the published one than the tolerance."""
        return [
            f"{r['model']}, {r['data']}, {r['class']}: {_figure(r['apart'])} points from the published "
            f"figure; why that may be: {r['why']}."
            for r in self.before
            if r["why"]
        ]

    def summary(self) -> list[dict[str, Any]]:
        """Means over forget sets, a row a model, kind of forget set and method.

        Returns
        -------
        list of dict
            model, joint, method, sets, forget_before, forget_after (fractions), retained, others
            (after over before), score, parts (its three parts), seconds (tuning included). Means
            skip NaN.
        """
        out = []
        for model, joint, method in dict.fromkeys((r["model"], r["joint"], r["method"]) for r in self.rows):
            rows = self.where(model=model, joint=joint, method=method)
            pairs = [pair for r in rows for pair in r["others"].values()]
            out.append({
                "model": model,
                "joint": joint,
                "method": method,
                "sets": len(rows),
                "forget_before": _average(r["forget_before"] for r in rows),
                "forget_after": _average(r["forget_after"] for r in rows),
                "retained": _average(_ratio(r["retain_before"], r["retain_after"]) for r in rows),
                "others": _average(_ratio(*pair) for pair in pairs),
                "score": _average(r["score"] for r in rows),
                "parts": [_average(part) for part in zip(*(r["parts"] for r in rows), strict=True)],
                "seconds": _average(r.get("tuning_seconds", r["seconds"]) for r in rows),
            })  # fmt: skip
        return sorted(out, key=lambda r: (r["model"], r["joint"]))

    def table(self) -> Table:
        """`summary` as a table."""
        rows = [
            [
                r["model"], "jointly" if r["joint"] else "one at a time", r["method"],
                *(_percent(r[k]) for k in ("forget_before", "forget_after", "retained", "others")),
                "–" if math.isnan(r["score"]) else f"{r['score']:.3f}", _seconds(r["seconds"]),
            ]
            for r in self.summary()
        ]  # fmt: skip
        head = ["model", "classes", "method", "forget BF", "forget AF", "retain AF/BF", "others AF/BF",
                "score", "time"]  # fmt: skip
        return Table(head, rows, f"{self.name}: means over forget sets, %; a low score is good")

    def details(self, **match: Any) -> Table:
        """Every forget set, for the rows that ``match``: accuracies in percent, score."""
        rows = [
            [
                r["model"], r["data"], ", ".join(r["forget"]), r["method"],
                *(_percent(r[k]) for k in ACCURACIES),
                "–" if math.isnan(r["score"]) else f"{r['score']:.3f}",
            ]
            for r in self.where(**match)
        ]  # fmt: skip
        head = ["model", "data set", "forget", "method", "forget BF", "forget AF", "retain BF", "retain AF",
                "score"]  # fmt: skip
        return Table(head, rows, f"{self.name}: each forget set, %")

    def save(self, path: str | Path) -> Path:
        """Write everything as JSON (``.json``), or the rows as CSV (``.csv``).

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
        half = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if target.suffix.lower() == ".json":
                text = json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False)
                half.write_text(text + "\n", encoding="utf-8")
            else:
                self._write_csv(half)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)
        return target

    def _write_csv(self, path: Path) -> None:
        flat = []
        for r in self.rows:
            row = {k: v for k, v in r.items() if k not in ("others", "parts")}
            row["forget"] = "; ".join(r["forget"])
            row |= {f"score, {k}": x for k, x in zip(("forget", "retain", "others"), r["parts"], strict=True)}
            for name, (before, after) in r["others"].items():
                row |= {f"{name} before": before, f"{name} after": after}
            flat.append(row)
        columns = list(dict.fromkeys(k for row in flat for k in row))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(flat)

    def __str__(self) -> str:
        return "\n\n".join([str(self.comparison()), str(self.table()), *self.remarks(), *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(text)}</p>" for text in [*self.remarks(), *self.notes])
        return self.comparison()._repr_html_() + self.table()._repr_html_() + said


def _percents(row: Mapping[str, Any]) -> list[float | None]:
    return [None if row[k] is None else 100 * row[k] for k in ("forget", "retain")]


def _percent(fraction: float) -> str:
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _ratio(before: float, after: float) -> float:
    return after / before if before else math.nan


def _average(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def _plain(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
