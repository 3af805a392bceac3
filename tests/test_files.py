"""Paths as people write them, and files that are whole or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from clipnull import _files


def test_a_home_is_filled_in_and_one_that_nobody_has_is_named():
    assert _files.path("out", "~/a") == Path.home() / "a"
    with pytest.raises(ValueError, match=r"^out: got '~nosuchuser/a', want a path"):
        _files.path("out", "~nosuchuser/a")


def write(path, text, name):
    """A file, or a folder with one file, as its final name says."""
    if name.endswith(".txt"):
        path.write_text(text)
    else:
        path.mkdir()
        (path / "file").write_text(text)


def read(target):
    return (target / "file" if target.is_dir() else target).read_text()


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_all_or_nothing(name, tmp_path, monkeypatch):
    target = tmp_path / name
    for text in ("first", "second"):
        with _files.replacing(target) as partial:
            write(partial, text, name)
        assert read(target) == text and [*tmp_path.iterdir()] == [target]
    with pytest.raises(KeyboardInterrupt), _files.replacing(target) as partial:
        write(partial, "third", name)
        raise KeyboardInterrupt
    monkeypatch.setattr(os, "replace", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError), _files.replacing(target) as partial:
        write(partial, "fourth", name)
    assert read(target) == "second" and [*tmp_path.iterdir()] == [target]


def test_a_folder_does_not_give_way_to_a_file(tmp_path):
    write(tmp_path / "folder", "kept", "folder")
    with pytest.raises(OSError), _files.replacing(tmp_path / "folder") as partial:
        partial.write_text("new")
    assert read(tmp_path / "folder") == "kept"


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_what_a_killed_run_left_is_cleared_away_or_put_back(name, tmp_path):
    target, long_ago = tmp_path / name, time.time() - 2 * _files.ABANDONED
    spared = [f".other{name}.00000000.partial", f".{name}.00000001.partial", f".{name}.old"]
    for left in (f".{name}.00000000.partial", *spared):
        (tmp_path / left).mkdir()
        if "1.partial" not in left:
            os.utime(tmp_path / left, (long_ago, long_ago))
    write(tmp_path / f".{name}.00000001.old", "before", name)
    _files.tidy(tmp_path, name)
    assert read(target) == "before"
    assert {path.name for path in tmp_path.iterdir()} == {name, *spared}
    _files.tidy(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name, *spared[1:]}, "the young one is being written"


def test_what_is_being_written_is_left_alone(tmp_path):
    with _files.replacing(tmp_path / "a.txt") as partial:
        partial.write_text("one")
        with _files.replacing(tmp_path / "a.txt") as other:
            other.write_text("two")
        assert partial.read_text() == "one" and read(tmp_path / "a.txt") == "two"
    assert read(tmp_path / "a.txt") == "one"
