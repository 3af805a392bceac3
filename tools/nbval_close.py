"""Make nbval compare what matters: a pytest plugin, loaded by the root conftest.

nbval compares stored and fresh outputs character by character. Four things would make that
fail on another machine although nothing is wrong, and this plugin settles each of them without
hiding a real change:

* a number may differ by one unit in its last printed digit, and two numbers printed with an
  exponent are equal when both are below 1e-4 (rounding residue such as 1.2e-07);
* in an output that speaks of percent, a number with one decimal may differ by half a point, and a
  whole number before a % sign by one: a picture whose two best scores agree to six digits may
  change sides on another processor, and is a few tenths of a point;
* a widget is shown as `WIDGET_TEXT`, since its own text depends on ipywidgets' version, and
  what it draws into its Output area belongs to the widget, not to the cell;
* stderr (warnings, progress) is not compared. Committed notebooks have none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = ROOT / "notebooks" / "nbval_sanitize.cfg"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
#: what a committed notebook shows in a widget's place, for readers who run no kernel
WIDGET_TEXT = "Interactive widget: run this cell to use it."
RESIDUE = 1e-4
#: what a picture that changes sides may move an accuracy by, in percent
HALF_A_POINT = 0.5

_NUMBER = re.compile(r"[-+\u2212]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def _value_and_unit(text: str) -> tuple[float, float]:
    """A printed number and the size of its last digit; 0 for a whole number, which must match exactly."""
    mantissa, _, exponent = text.lower().replace("\u2212", "-").partition("e")
    _, point, decimals = mantissa.partition(".")
    scale = 10.0 ** int(exponent or 0)
    return float(mantissa) * scale, 10.0 ** -len(decimals) * scale if point or exponent else 0.0


def numbers_close(a: str, b: str, slack: float = 0.0) -> bool:
    """Whether two printed numbers differ by at most one unit in the last digit, or by ``slack``.

    >>> numbers_close("0.62", "0.63"), numbers_close("0.62", "0.64"), numbers_close("12", "13")
    (True, False, False)
    >>> numbers_close("3.1e-07", "8.9e-08"), numbers_close("3.1e-02", "8.9e-02")
    (True, False)
    """
    (x, unit_x), (y, unit_y) = _value_and_unit(a), _value_and_unit(b)
    if "e" in a.lower() and "e" in b.lower() and max(abs(x), abs(y)) < RESIDUE:
        return True
    return abs(x - y) <= 1.001 * max(unit_x, unit_y, slack)


def _slacks(text: str) -> list[float]:
    """How far each number of a text may be off because a picture changed sides."""
    percent = "%" in text or "percent" in text.lower()
    slacks = []
    for number in _NUMBER.finditer(text):
        decimals = number[0].partition(".")[2]
        if not decimals:
            slacks.append(float(text[number.end() : number.end() + 1] == "%"))
        else:
            slacks.append(HALF_A_POINT if percent and len(decimals) == 1 else 0.0)
    return slacks


def texts_close(a: str, b: str) -> bool:
    """Whether two outputs say the same: equal words, close numbers; runs of blanks are one blank.

    >>> texts_close("tiger  0.91", "tiger 0.90"), texts_close("tiger 0.91", "lion 0.91")
    (True, False)
    >>> texts_close("recall, %: 88.1", "recall, %: 87.8"), texts_close("length 88.1", "length 87.8")
    (True, False)
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
        and all(map(numbers_close, numbers_a, numbers_b, _slacks(a)))
    )


def settle_widgets(outputs: list[Any]) -> bool:
    """Put `WIDGET_TEXT` in each widget's place, in the list itself; whether there was one."""
    found = False
    for output in outputs:
        data = output.get("data", {})
        if data.pop(WIDGET_MIME, None) is not None:
            found = True
            data.clear()
            data["text/plain"] = WIDGET_TEXT
    return found


def _same(a: Any, b: Any) -> bool:
    if a.get("output_type") == "stream" or b.get("output_type") == "stream":
        return a.get("name") == b.get("name") and texts_close(a.get("text", ""), b.get("text", ""))
    return texts_close(str(a.get("data", {}).get("text/plain")), str(b.get("data", {}).get("text/plain")))


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

    from nbval.plugin import IPyNbCell  # only with --nbval: the plugin must load without it

    if getattr(IPyNbCell, "_clipnull", False):
        return
    compare = IPyNbCell.compare_outputs

    def compare_outputs(self: Any, test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
        skip = (*(skip_compare or self.parent.skip_compare), "stderr")
        if settle_widgets(test):
            settle_widgets(ref)
            test = [out for out in test if any(_same(out, known) for known in ref)]
        _adopt_close_texts(self, test, ref)
        return compare(self, test, ref, skip)

    IPyNbCell.compare_outputs = compare_outputs
    IPyNbCell._clipnull = True


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
