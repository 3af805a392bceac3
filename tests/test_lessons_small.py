"""Every lesson runs on a reader's own pictures, few as they may be, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
from nbclient import NotebookClient

from clipnull import datasets

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(p for p in NOTEBOOKS.rglob("*.ipynb") if p.parent.name in ("notebooks", "electives"))
#: classes, and pictures of each
SIZES = [(2, 1), (2, 3)]


class Ran(NamedTuple):
    """What came of a cell."""

    lesson: str
    source: str
    outputs: list[Any]


#: between two lessons: nothing of the first is left, the model and the folder that it chose included
BETWEEN = """
import os
os.environ.pop("CLIPNULL_MODEL", None)
os.chdir({!r})
%reset -f
"""


def run(lessons: list[Path], classes: int, pictures: int, place: Path) -> list[Ran]:
    """The cells of lessons, run one after the other in one kernel."""
    data = datasets.load("twemoji", subset=["cat", "guitar", "pizza", "owl"][:classes], scenes=pictures)
    for i, (image, label) in enumerate(data):
        folder = place / "pictures" / data.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{i}.png")
    nb, names = nbformat.v4.new_notebook(), []
    for path in lessons:
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        nb.cells += [nbformat.v4.new_code_cell(BETWEEN.format(str(place))), *cells]
        names += [path.stem] * (1 + len(cells))
    with pytest.MonkeyPatch.context() as env:
        env.setenv("CLIPNULL_DATA", f"folder:{place / 'pictures'}")
        env.delenv("CLIPNULL_MODEL", raising=False)
        where = {"metadata": {"path": str(place)}}
        NotebookClient(nb, timeout=600, allow_errors=True, kernel_name="python3", resources=where).execute()
    return [Ran(name, c.source, c.outputs) for name, c in zip(names, nb.cells, strict=True)]


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: "{} classes of {}".format(*size))
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    return run(LESSONS, *request.param, tmp_path_factory.mktemp("small"))


def faults(ran: list[Ran], lesson: str) -> Iterator[str]:
    """Cells that raised, and what."""
    for cell in ran:
        for out in cell.outputs if cell.lesson == lesson else ():
            if out.output_type == "error":
                yield f"{out.ename}: {out.evalue}\n{cell.source}"


@pytest.mark.slow
@pytest.mark.parametrize("lesson", [p.stem for p in LESSONS])
def test_a_lesson_runs_on_few_pictures(lesson: str, ran: list[Ran]) -> None:
    found = list(faults(ran, lesson))
    assert not found, f"{len(found)} cells raised; the first:\n{found[0]}"
