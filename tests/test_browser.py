"""Each lesson's widget in a real JupyterLab: move a control, and readout and picture follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent


def has_widget(path: Path) -> bool:
    return any(
        "cn.widgets." in c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"
    )


LESSONS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if has_widget(path)]
#: how long a lesson may take to run; a minute is the aim, a busy machine needs more
RUN_MS = 300_000

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(chromium: Any) -> Any:
    page = chromium.new_page(viewport={"width": 1200, "height": 1600})
    page.page_errors = []
    page.on("pageerror", lambda error: page.page_errors.append(str(error)))
    yield page
    page.close()


def run_all(page: Any, address: str, lesson: Path) -> None:
    """Open a lesson, run all its cells, and wait until the last one is done."""
    page.goto(f"{address}/doc/tree/{lesson.name}")
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
    page.locator(".widget-html-content").first.wait_for(timeout=RUN_MS)
    page.wait_for_function(
        "() => ![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.textContent.includes('*'))",
        timeout=RUN_MS,
    )


def failed(page: Any) -> list[str]:
    return page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_widget_follows_its_controls(lesson: Path, jupyterlab: str, page: Any) -> None:
    run_all(page, jupyterlab, lesson)
    assert failed(page) == []
    # one output holds one lab; its readout is the last text of it
    lab = page.locator(".jp-OutputArea-output", has=page.locator(".widget-html-content")).first
    numbers = lab.locator(".clipnull-numbers .widget-html-content")  # the forget/retain lab's
    readout = numbers if numbers.count() else lab.locator(".widget-html-content").last
    picture = lab.locator("img.widget-image").first
    lab.scroll_into_view_if_needed()
    before, drawn = readout.inner_text(), picture.get_attribute("src")
    assert len(before) > 10 and picture.evaluate("image => image.naturalWidth") > 100

    slider, dropdown = lab.locator(".noUi-handle:visible"), lab.locator("select:visible")
    if slider.count():
        slider.first.focus()
        page.keyboard.press("End" if numbers.count() else "ArrowRight")  # α to 1, or one step on
    else:
        # not with the arrows: on a dropdown JupyterLab takes them for its own, to move between cells
        chosen = dropdown.first.evaluate("select => select.selectedIndex")
        dropdown.first.select_option(index=0 if chosen else 1)
    handle = readout.element_handle()
    page.wait_for_function("([e, old]) => e.innerText !== old", arg=[handle, before], timeout=60_000)
    page.wait_for_function(
        "([e, old]) => e.getAttribute('src') !== old", arg=[picture.element_handle(), drawn], timeout=60_000
    )
    assert "Error" not in readout.inner_text()
    assert page.page_errors == []
