"""A notebook in JupyterLab, run from its menu."""

from __future__ import annotations

from typing import Any

#: how long a lesson may take to run; a minute is the aim, a busy machine needs more
RUN_MS = 300_000


def run_all(page: Any, address: str, notebook: str) -> None:
    """Open a notebook, run all its cells, and wait until the last one is done."""
    page.goto(f"{address}/doc/tree/{notebook}")
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
    return page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
