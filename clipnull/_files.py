"""Paths as people write them, and files and folders that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: beside ``of``: what is not finished, what is being replaced
_HIDDEN = re.compile(r"\.(?P<of>.+)\.[0-9a-f]{8}\.(?P<state>partial|old)")
#: seconds after which something unfinished counts as left behind by a run that was killed
ABANDONED = 3600.0


def path(name: str, value: Any) -> Path:
    """``value`` of the argument ``name`` as a path, ``~`` and ``~user`` filled in."""
    try:
        if "\0" not in str(found := Path(value).expanduser()):
            return found
        raise TypeError("it holds NUL")
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: got {value!r}, want a path ({error})") from error


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path for a file or folder that takes the place of ``target`` if all goes well, or vanishes."""
    tidy(target.parent, target.name)
    mark = uuid.uuid4().hex[:8]
    partial, old = (target.with_name(f".{target.name}.{mark}.{state}") for state in ("partial", "old"))
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
        _remove(partial)
        if target.exists():
            _remove(old)


def tidy(folder: Path, name: str | None = None) -> None:
    """Remove what killed runs left unfinished (of one name, or all), put back what they were replacing."""
    for left in sorted(folder.glob(".*.*")):
        found = _HIDDEN.fullmatch(left.name)
        if not found or name not in (None, found["of"]):
            continue
        with contextlib.suppress(OSError):  # another run may be at it
            if found["state"] == "old" and not (target := left.with_name(found["of"])).exists():
                left.rename(target)
            elif time.time() - left.stat().st_mtime > ABANDONED:
                _remove(left)


def _remove(left: Path) -> None:
    shutil.rmtree(left, ignore_errors=True)
    with contextlib.suppress(OSError):
        left.unlink(missing_ok=True)
