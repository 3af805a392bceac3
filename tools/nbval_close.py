"""Make nbval compare what matters: a pytest plugin, loaded by the root conftest.

nbval compares stored and fresh outputs character by character. Some things would make that fail on
another machine although nothing is wrong, and some changes it does not see. This plugin settles both:

* a number with decimals may differ by one unit in its last printed digit, a whole number not at
  all; two numbers printed with an exponent are equal when both are below 1e-4 (rounding residue);
* a percentage may differ by half a point, and by one if it is printed as a whole number: a picture
  whose two best scores agree to six digits may change sides on another processor. A number is a
  percentage if "%" or "points" follows it on its line, or if it stands in a table whose headers
  say so (`_percent_cells`); any other number of the same output is not;
* the alt text of a figure is compared, though nbval skips metadata;
* a widget is shown as `WIDGET_TEXT`, since its own text depends on ipywidgets' version. What it
  draws into its Output area belongs to the widget, not to the cell; every other output counts,
  one too many as well as one too few;
* stderr (warnings, progress) is not compared. Committed notebooks have none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = ROOT / "notebooks" / "nbval_sanitize.cfg"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
#: what a committed notebook shows in a widget's place, for readers who run no kernel
WIDGET_TEXT = "Interactive widget: run this cell to use it."
RESIDUE = 1e-4
#: what a picture that changes sides may move an accuracy by, in percent
HALF_A_POINT = 0.5

_NUMBER = re.compile(r"[-+\u2212]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
#: what makes the number before it a percentage, or a header's column one of percentages
_PERCENT = re.compile(r"[^\S\n]*(?:%|points?\b)")
#: in plain text two blanks or more part the cells of a row, and an empty line parts two tables
_TEXT_TABLE, _TEXT_ROW, _TEXT_CELL = map(re.compile, (r"(?:.*\S.*\n?)+", r".+", r"(\S+(?: \S+)*)"))
_HTML_TABLE, _HTML_ROW, _HTML_CELL = (
    re.compile(pattern, re.DOTALL)
    for pattern in (r"<table\b.*?</table>", r"<tr\b.*?</tr>", r"<t[hd]\b[^>]*>(.*?)</t[hd]>")
)


def _value_and_unit(text: str) -> tuple[float, float]:
    """A printed number and the size of its last digit; 0 for a whole number, which must match exactly."""
    mantissa, _, exponent = text.lower().replace("\u2212", "-").partition("e")
    _, point, decimals = mantissa.partition(".")
    scale = 10.0 ** int(exponent or 0)
    return float(mantissa) * scale, 10.0 ** -len(decimals) * scale if point or exponent else 0.0


def numbers_close(a: str, b: str, percentage: bool = False) -> bool:
    """Whether two printed numbers differ by at most one unit in the last digit, percentages by half a point.

    >>> numbers_close("0.62", "0.63"), numbers_close("0.62", "0.64"), numbers_close("12", "13")
    (True, False, False)
    >>> numbers_close("0.6", "0.64"), numbers_close("0.3", "0.299")
    (False, True)
    >>> numbers_close("3.1e-07", "8.9e-08"), numbers_close("3.1e-02", "8.9e-02")
    (True, False)
    >>> numbers_close("88.1", "87.6", True), numbers_close("88.1", "87.5", True)
    (True, False)
    """
    (x, unit_x), (y, unit_y) = _value_and_unit(a), _value_and_unit(b)
    if "e" in a.lower() and "e" in b.lower() and max(abs(x), abs(y)) < RESIDUE:
        return True
    tolerance = min(filter(None, (unit_x, unit_y)), default=0.0)
    if percentage:
        tolerance = max(tolerance, HALF_A_POINT if unit_x and unit_y else 1.0)
    return abs(x - y) <= 1.001 * tolerance


class _Cell(NamedTuple):
    text: str
    at: int  # where it begins in the output
    left: int  # its place in the row: characters in plain text, columns in HTML
    right: int

    def under(self, header: _Cell) -> bool:
        return self.left < header.right and header.left < self.right

    def is_number(self) -> bool:
        """Numbers and signs only, as in "94.5 ± 1.6"."""
        return bool(re.search(r"\d", self.text)) and not re.search(r"[^\W\d_]", self.text)

    def says_percent(self) -> bool:
        """Whether a header names percent as its unit; "the top 5%" names a share, not a unit."""
        return any(
            not re.search(r"\d\s*$", self.text[: unit.start()]) for unit in _PERCENT.finditer(self.text)
        )


def _tables(text: str) -> Iterator[list[list[_Cell]]]:
    """The tables of an output; lines of plain text that have one cell are no rows."""
    if html := "<table" in text:
        table, row, cell = _HTML_TABLE, _HTML_ROW, _HTML_CELL
    else:
        table, row, cell = _TEXT_TABLE, _TEXT_ROW, _TEXT_CELL
    for t in table.finditer(text):
        rows = []
        for r in row.finditer(text, *t.span()):
            cells = [
                _Cell(
                    c[1], c.start(1), *((i, i + 1) if html else (c.start() - r.start(), c.end() - r.start()))
                )
                for i, c in enumerate(cell.finditer(text, *r.span()))
            ]
            if len(cells) > 1:
                rows.append(cells)
        if rows:
            yield rows


def _percent_cells(text: str) -> Iterator[range]:
    """Where the cells of percentages are: numbers under or beside a header that says percent.

    The first row of a table holds the headers of its columns, the first cell of every other row the
    header of that row. A number belongs to the column header that it stands under (their places in
    the row overlap). Where the first column holds names, its header speaks for all of their rows:
    in a table that begins "accuracy, %   before   after", both columns are percentages.
    """
    for heads, *rows in _tables(text):
        speaking = [head for head in heads if head.says_percent()]
        for row in rows:
            name = row[0]
            named = heads[0] in speaking and name.under(heads[0]) and not name.is_number()
            for cell in row:
                if cell.is_number() and (named or name.says_percent() or any(map(cell.under, speaking))):
                    yield range(cell.at, cell.at + len(cell.text))


def _percentages(text: str) -> list[bool]:
    """Which of the numbers of a text are percentages."""
    cells = list(_percent_cells(text))
    return [
        bool(_PERCENT.match(text, number.end())) or any(number.start() in cell for cell in cells)
        for number in _NUMBER.finditer(text)
    ]


def texts_close(a: str, b: str) -> bool:
    """Whether two outputs say the same: equal words, close numbers; runs of blanks are one blank.

    >>> texts_close("tiger  0.91", "tiger 0.90"), texts_close("tiger 0.91", "lion 0.91")
    (True, False)
    >>> texts_close("recall 88.1%, length 2.1", "recall 87.8%, length 2.1")
    True
    >>> texts_close("recall 88.1%, length 2.1", "recall 88.1%, length 2.4")
    False
    >>> texts_close("88% of 97", "87% of 97"), texts_close("88% of 97", "88% of 96")
    (True, False)
    """
    if a == b:
        return True
    words_a, words_b = (" ".join(_NUMBER.sub(" # ", text).split()) for text in (a, b))
    numbers_a, numbers_b = _NUMBER.findall(a), _NUMBER.findall(b)
    return (
        words_a == words_b
        and len(numbers_a) == len(numbers_b)
        and all(map(numbers_close, numbers_a, numbers_b, _percentages(a)))
    )


def settle_widgets(outputs: list[Any]) -> None:
    """Put `WIDGET_TEXT` in each widget's place, in the list itself."""
    for output in outputs:
        data = output.get("data", {})
        if data.pop(WIDGET_MIME, None) is not None:
            data.clear()
            data["text/plain"] = WIDGET_TEXT


def alt_texts(output: Any) -> dict[str, str]:
    """The alt texts in an output's metadata, as if they were data."""
    metadata = output.get("metadata", {})
    return {f"alt of {mime}": m["alt"] for mime, m in metadata.items() if isinstance(m, dict) and "alt" in m}


def kernel_environment() -> None:
    """What kernels started from this process inherit: this checkout's package, and no progress bars."""
    os.environ["CLIPNULL_NO_PROGRESS"] = "1"
    path = os.environ.get("PYTHONPATH", "")
    if str(ROOT) not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), path]))


def pytest_configure(config: Any) -> None:
    """Point nbval at the sanitize file and teach it to compare numbers."""
    kernel_environment()
    if not getattr(config.option, "nbval", False):
        return
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(SANITIZE)

    from nbval.plugin import IPyNbCell, IPyNbFile  # only with --nbval: the plugin must load without it

    if getattr(IPyNbCell, "_clipnull", False):
        return
    compare, receive = IPyNbCell.compare_outputs, IPyNbFile.get_kernel_message

    def compare_outputs(self: Any, test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
        skip = (*(skip_compare or self.parent.skip_compare), "stderr")
        for outputs in (test, ref):
            settle_widgets(outputs)
            for output in outputs:
                if "data" in output:
                    output["data"].update(alt_texts(output))
        _adopt_close_texts(self, test, ref)
        return compare(self, test, ref, skip)

    def get_kernel_message(self: Any, timeout: Any = None, stream: str = "iopub") -> Any:
        if not hasattr(self, "_drawing"):
            self._drawing = {}
        message = receive(self, timeout, stream)
        while _is_drawn_into_a_widget(message, self._drawing):
            message = receive(self, timeout, stream)
        return message

    IPyNbCell.compare_outputs = compare_outputs
    IPyNbFile.get_kernel_message = get_kernel_message
    IPyNbCell._clipnull = True


def _is_drawn_into_a_widget(message: Any, drawing: dict[str, str]) -> bool:
    """Whether an output goes to an Output widget; ``drawing``: widget -> request whose outputs it takes.

    An Output widget takes what is shown between two changes of its ``msg_id``. Errors stay the cell's.
    """
    content = message["content"]
    if message["msg_type"] == "comm_msg":
        request = content["data"].get("state", {}).get("msg_id")
        if request is not None:
            drawing[content["comm_id"]] = request
    shown = message["msg_type"] in ("stream", "display_data", "execute_result", "clear_output")
    return shown and message["parent_header"].get("msg_id") in drawing.values()


def _adopt_close_texts(cell: Any, test: list[Any], ref: list[Any]) -> None:
    """Where a fresh text is close to the stored one at its place, let nbval see them equal."""
    by_kind: dict[Any, list[Any]] = {}
    for out in ref:
        by_kind.setdefault(_kind(out), []).append(out)
    for out in test:
        known = by_kind.get(_kind(out), [])
        if not known:
            continue
        stored = known.pop(0)
        if out.get("output_type") == "stream":
            if texts_close(cell.sanitize(stored["text"]), cell.sanitize(out["text"])):
                out["text"] = stored["text"]
            continue
        for mime, text in stored.get("data", {}).items():
            fresh = out.get("data", {}).get(mime)
            if isinstance(text, str) and isinstance(fresh, str):
                if texts_close(cell.sanitize(text), cell.sanitize(fresh)):
                    out["data"][mime] = text


def _kind(output: Any) -> Any:
    return (output.get("output_type"), output.get("name"), tuple(sorted(output.get("data", {}))))
