"""The list of planted faults is up to date, and the tool that plants them tells who noticed."""

from __future__ import annotations

import ast
import shlex
import subprocess
from pathlib import Path

import pytest

from tools import mutate

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("fault", mutate.faults(), ids=str)
def test_a_fault_can_be_planted(fault):
    # a fault that leaves no valid code is noticed by whatever imports it
    ast.parse(fault.planted((ROOT / fault.file).read_text(encoding="utf-8")))
    assert fault.new != fault.old
    for name in shlex.split(fault.tests):
        if name.startswith("tests/"):
            file, _, test = name.partition("::")
            assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8")


def test_no_fault_is_listed_twice():
    listed = mutate.faults()
    assert len({fault[:3] for fault in listed}) == len(listed) >= 40


@pytest.fixture
def little(tmp_path: Path) -> Path:
    """A repository with a module and its tests; one of the module's two lines is tested."""
    (tmp_path / "house.py").write_text("def rooms(): return 2 + 1\ndef doors(): return 5\n")
    (tmp_path / "test_house.py").write_text(
        "import house\ndef test_rooms(): assert house.rooms() == 3\ndef test_wrong(): assert house.doors() == 4\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_noticed_survived_and_stale(little, capsys):
    lines = (
        "# a comment",
        "house.py || 2 + 1 || 2 - 1 || test_house.py::test_rooms",
        "house.py || return 5 || return 6 || test_house.py -k rooms",
        "house.py || return 7 || return 8 || test_house.py::test_rooms",
        "house.py || return || yield || test_house.py::test_rooms",
        r"house.py || 1\ndef doors || 2\ndef doors || test_house.py::test_rooms",
    )
    assert mutate.main([], "\n".join(lines), little) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said] == [
        "noticed",
        "survived test_house.py -k rooms",
        "stale",
        "stale",
        "noticed",
        "2 of 5 faults noticed",
    ]
    assert mutate.main(["--only", r"2 - 1", "--jobs", "1"], "\n".join(lines), little) == 0
    assert (little / "house.py").read_text().startswith("def rooms(): return 2 + 1\n")


def test_a_run_without_tests_or_with_failing_ones_proves_nothing(little, capsys):
    assert mutate.main([], "house.py || 2 + 1 || 2 - 1 || test_house.py", little) == 1
    assert mutate.main([], "house.py || 2 + 1 || 2 - 1 || test_house.py::test_none", little) == 1
    assert capsys.readouterr().out.count("without a fault these tests do not pass") == 2
    assert mutate.main([], "house.py || 2 + 1 || 2 + || test_house.py::test_rooms", little) == 1
    assert capsys.readouterr().out.startswith("not tested (test_house.py::test_rooms)")
