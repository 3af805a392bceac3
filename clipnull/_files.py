"""Paths as people write them, and files that are whole or not there; needs the standard library alone."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def path(name: str, value: Any) -> Path:
    """``value`` as a path, ``~`` and ``~user`` filled in.

    Raises
    ------
    ValueError
        Not a path, or a user that is not known here; ``name`` is the argument's.
    """
    try:
        found = Path(value).expanduser()
    except (TypeError, RuntimeError) as error:
        why = f" ({error})" if isinstance(error, RuntimeError) else ""
        raise ValueError(f"{name}: got {value!r}, want a path{why}") from error
    if "\0" in str(found):
        raise ValueError(f"{name}: got {value!r}, want a path without NUL")
    return found


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A name beside ``target`` to write to; it becomes ``target`` if all went well, else it vanishes."""
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
