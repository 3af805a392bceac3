"""Callbacks of widgets, one at a time.

JupyterLab from 4.4 on with ipykernel 7 sends what a reader does to a second thread of the kernel (a
*subshell*), except to a control that the main thread wrote to last. So two controls moved in quick
succession may be answered at the same time; the one that read its values first may finish last, and
the screen would keep numbers of a state that is gone.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: one for all widgets of a kernel: they share the model and matplotlib's caches
_LOCK = threading.RLock()


def in_turn(call: Callable[P, R]) -> Callable[P, R]:
    """Let no other thread into any function so marked; a thread that is in may enter again."""

    @functools.wraps(call)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _LOCK:
            return call(*args, **kwargs)

    return alone
