"""Loads the nbval plugin for every test run, and keeps test runs out of the user's cache."""

import os
import tempfile
from typing import Any

pytest_plugins = ["tools.nbval_close"]


def pytest_configure(config: Any) -> None:
    """Image features are kept in a folder of this run; kernels and workers inherit the variable."""
    if not hasattr(config, "workerinput"):
        cache = tempfile.TemporaryDirectory(prefix="clipnull-tests-", ignore_cleanup_errors=True)
        os.environ["CLIPNULL_CACHE"] = cache.name
        config.add_cleanup(cache.cleanup)
