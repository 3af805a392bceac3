"""Paths as people write them, and files and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

#: beside ``of``, while process ``pid`` writes it: what is not finished, what is being replaced
_HIDDEN = re.compile(r"\.(?P<of>.+)\.(?P<mark>(?P<pid>\d+)-[0-9a-f]{8})\.(?P<state>partial|old)")
#: marks of what this process is writing now; each goes with the frame that writes
_OPEN: WeakSet[frozenset[str]] = WeakSet()


def path(name: str, value: Any) -> Path:
    """``value`` of the argument ``name`` as a path, ``~`` and ``~user`` filled in."""
    try:
        found = Path(value).expanduser()
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: got {value!r}, want a path ({error})") from error
    if "\0" in str(found):
        raise ValueError(f"{name}: got {value!r}, want a path without NUL")
    return found


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path for a file or folder that takes the place of ``target`` if all goes well, or vanishes."""
    tidy(target.parent, target.name)
    mark = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial, old = (target.with_name(f".{target.name}.{mark}.{state}") for state in ("partial", "old"))
    own = frozenset([mark])
    _OPEN.add(own)
    try:
        yield partial
        try:
            if partial.is_dir() and target.is_dir():
                target.rename(old)
            os.replace(partial, target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    finally:
        _OPEN.discard(own)  # first: what an interrupt now leaves is for `tidy`
        _remove(partial)
        if target.exists():
            _remove(old)


def tidy(folder: Path, name: str | None = None) -> None:
    """Remove what killed runs left unfinished (of one name, or all), put back what they were replacing."""
    for left in sorted(folder.glob(".*-*.*")):
        found = _HIDDEN.fullmatch(left.name)
        if not found or name not in (None, found["of"]) or _is_written(found):
            continue
        target = left.with_name(found["of"])
        if found["state"] == "partial" or target.exists():
            _remove(left)
        else:
            with contextlib.suppress(OSError):
                left.rename(target)


def _is_written(found: re.Match[str]) -> bool:
    """Whether the process that made a hidden file is still at it."""
    if int(found["pid"]) == os.getpid():  # in a container every run may have this one
        return frozenset([found["mark"]]) in _OPEN
    if os.name == "posix":  # elsewhere signal 0 is no question, but Ctrl-C
        try:
            os.kill(int(found["pid"]), 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # somebody else's
            pass
    return True


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    with contextlib.suppress(OSError):
        left.unlink(missing_ok=True)
