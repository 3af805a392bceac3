"""Lessons in a real JupyterLab in a real browser. The fixtures are in conftest.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
LESSONS = [*sorted(NOTEBOOKS.glob("*.ipynb")), *sorted(NOTEBOOKS.glob("electives/*.ipynb"))]

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_lesson_opens_and_shows_what_is_stored(lesson: Path, jupyterlab: str, chromium: Any):
    nb = nbformat.read(lesson, as_version=4)
    title = next(
        re.search(r"^# (.+)$", c.source, re.M) for c in nb.cells if re.search(r"^# ", c.source, re.M)
    )
    pictures = sum("image/png" in out.get("data", {}) for c in nb.cells for out in c.get("outputs", []))
    page = chromium.new_page(viewport={"width": 1200, "height": 1600})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(f"{jupyterlab}/doc/tree/{lesson.relative_to(NOTEBOOKS).as_posix()}")
        heading = page.locator(".jp-Notebook h1").first
        heading.wait_for(timeout=60_000)
        assert re.sub(r"\W+", "", heading.inner_text()).startswith(re.sub(r"\W+", "", title[1])[:20])
        page.wait_for_function(
            "want => document.querySelectorAll('.jp-OutputArea-output img').length >= want",
            arg=pictures,
            timeout=120_000,
        )
        drawn = page.evaluate(
            "[...document.querySelectorAll('.jp-OutputArea-output img')].every(i => i.naturalWidth > 0)"
        )
        assert drawn
        assert page.locator(".jp-RenderedMarkdown .MathJax_Error, mjx-merror").count() == 0
        assert errors == []
    finally:
        page.close()
