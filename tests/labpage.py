"""A notebook in JupyterLab, run from its menu."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

#: how long a lesson may take to run; a minute is the aim, a busy machine needs more
RUN_MS = 300_000


def run_all(page: Any, address: str, notebook: str) -> None:
    """Open a notebook, run all its cells, and wait until the last one is done.

    In a workspace of its own: JupyterLab keeps a workspace's layout, and a sidebar that took a part of a
    narrow page takes the same part of the next wide one.
    """
    page.goto(f"{address}/doc/workspaces/{uuid4().hex}/tree/{notebook}")
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=60_000)
    # run before its kernel is connected, a cell only loses its output, or JupyterLab asks for a kernel
    page.get_by_text("| Idle").first.wait_for(timeout=60_000)
    select = page.locator(".jp-Dialog .jp-mod-accept")
    started = page.locator(".jp-InputPrompt", has_text="*").first
    for _ in range(5):
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        page.wait_for_timeout(1500)
        if select.is_visible():
            select.click()
            page.wait_for_timeout(1500)
        if started.count():
            break
    page.locator(".widget-html-content:not(:empty), .clipnull-plane").first.wait_for(timeout=RUN_MS)
    page.wait_for_function(
        "() => ![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.textContent.includes('*'))",
        timeout=RUN_MS,
    )


def failed(page: Any) -> list[str]:
    """The tracebacks on the page. JupyterLab 4.6 shows them as text on stderr, 4.0 under their own type."""
    texts = (
        "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"
    )
    return page.locator(texts).filter(has_text="Traceback (most recent call last)").all_inner_texts()


def listen(page: Any) -> list[str]:
    """Errors of the page's scripts from now on, as they come.

    That of anywidget 0.11 on a busy page is left out: a module took more than two seconds to load. Ours
    work all the same.
    """
    errors: list[str] = []
    page.on(
        "pageerror", lambda e: errors.extend([str(e)] if "Failed to initialize model" not in str(e) else [])
    )
    return errors
