"""Loads the nbval plugin for every test run, so that one notebook alone is checked the same way."""

pytest_plugins = ["tools.nbval_close"]
