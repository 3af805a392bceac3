"""Lessons with exercises inline: each folded solution is taken out of its cell and passes its check."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest

import clipnull as cn

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(p for p in NOTEBOOKS.rglob("*.ipynb") if p.parent.name in ("notebooks", "electives"))
TITLE = re.compile(r"\*\*Exercise \d+\.\d+ · [^*]+\*\* \((easy|medium|hard), (\d+) minutes\)")
FOLDED = re.compile(r"<details><summary>(Hint|Solution)</summary>\n\n(.*?)\n\n</details>", re.DOTALL)


class Exercise(NamedTuple):
    """One exercise of a lesson: its check's call, and the cells around it."""

    lesson: str
    imports: str
    task: str
    function: str
    check: str
    stub: str
    folded: dict[str, str]


def called(source: str) -> list[tuple[str, str]]:
    """(check, function) of each ``cn.exercises.check_…(function)`` in a cell."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    pairs = [(ast.unparse(node.func), ast.unparse(node.args[0])) for node in found]
    return [(check.rpartition(".")[2], f) for check, f in pairs if check.startswith("cn.exercises.check_")]


def imports(cells: list[Any]) -> str:
    """What a lesson imports for its reader, in any cell."""
    lines = [node for c in cells if c.cell_type == "code" for node in ast.parse(c.source).body]
    return "\n".join(ast.unparse(node) for node in lines if isinstance(node, (ast.Import, ast.ImportFrom)))


def exercises(path: Path) -> list[Exercise]:
    """Those of one notebook; one whose answers stand in a notebook of their own has none."""
    cells = nbformat.read(path, as_version=4).cells
    if not any("<summary>Solution</summary>" in c.source for c in cells):
        return []
    found, given = [], imports(cells)
    for before, cell, after in zip(cells, cells[1:], cells[2:], strict=False):
        if cell.cell_type == "code":
            folded = dict(FOLDED.findall(after.source))
            found += [
                Exercise(path.stem, given, before.source, f, check, cell.source, folded)
                for check, f in called(cell.source)
            ]
    return found


ALL = [e for path in LESSONS for e in exercises(path)]


@pytest.fixture(params=ALL, ids=lambda e: f"{e.lesson}-{e.check}")
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return request.param


def run(exercise: Exercise, source: str) -> dict[str, Any]:
    """The names after ``source``, which has what the lesson imports and no more."""
    names: dict[str, Any] = {}
    exec(f"{exercise.imports}\n{source}", names)
    return names


def code(folded: str) -> str:
    """The Python of a folded text."""
    return "\n".join(re.findall(r"```python\n(.*?)```", folded, re.DOTALL))


def test_a_solution_passes_its_check(exercise: Exercise) -> None:
    solution = code(exercise.folded["Solution"])
    verdict = getattr(cn.exercises, exercise.check)(run(exercise, solution)[exercise.function])
    assert verdict.passed, verdict.message


def test_the_stub_is_not_an_answer(exercise: Exercise) -> None:
    assert code(exercise.folded["Solution"]).strip() not in exercise.stub
    run(exercise, exercise.stub)  # Run All passes over an untouched exercise


def test_an_exercise_says_how_hard_and_how_long(exercise: Exercise) -> None:
    assert TITLE.search(exercise.task), exercise.task
    assert exercise.folded.keys() == {"Hint", "Solution"}


def test_no_check_is_without_a_lesson() -> None:
    used = "\n".join(p.read_text(encoding="utf-8") for p in LESSONS)
    public = [name for name in vars(cn.exercises) if name.startswith("check_")]
    assert [name for name in public if f"{name}(" not in used] == []


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_prediction_keeps_its_answer_folded(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "cn.lab.predict(" in cell.source:
            shown = "".join(out.get("data", {}).get("text/html", "") for out in cell.outputs)
            assert shown.startswith("<details><summary>Answer: ") and shown.endswith("</details>")
            assert cell.metadata.jupyter.source_hidden and cell.metadata.cellView == "form"
