"""One thing to drag, in a real JupyterLab: dragged, moved by keys, looked at in light and dark."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import draggable
import nbformat
import numpy as np
import pytest
import torch
from labpage import failed, listen, run_all
from PIL import Image

from clipnull.hull import nearest_mixture
from clipnull.measures import winners

TESTS = Path(__file__).resolve().parent
pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = [
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); import draggable, ipywidgets",
    *(f"draggable.{use}()" for use in ("circle", "globe", "triangle", "explorer")),
    "draggable.sides()",
    "from clipnull.lab.base import alarm\n"
    "ipywidgets.VBox([ipywidgets.Text(), ipywidgets.Dropdown(options=list('abcdefghi')),"
    " ipywidgets.HTML(alarm(ValueError('strength: too strong')))])",
]


def opened(chromium: Any, jupyterlab: str, name: str, cells: list[str], script: str = "") -> Any:
    """A page with a notebook of these cells, run; the last one fails."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, has_touch=True)
    context.add_init_script(script)
    page = context.new_page()
    page.page_errors = listen(page)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = [nbformat.v4.new_code_cell(source) for source in [*cells, "1 / 0"]]
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": kernel}, cells=made)
    page.goto(f"{jupyterlab}/lab?reset")
    page.locator(".jp-Launcher, .jp-NotebookPanel").first.wait_for(timeout=60_000)
    page.evaluate(
        """([path, content]) => fetch(`/api/contents/${path}`, {method: 'PUT', body: JSON.stringify(
        {type: 'notebook', content}), headers: {'X-XSRFToken': /_xsrf=([^;]*)/.exec(document.cookie)?.[1] ?? ''}})""",
        [name, json.loads(nbformat.writes(nb))],
    )
    run_all(page, jupyterlab, name)
    (error,) = failed(page)  # else the other tests would not notice one
    assert "ZeroDivisionError" in error
    return page


@pytest.fixture(scope="module")
def page(chromium: Any, jupyterlab: str) -> Iterator[Any]:
    """A notebook with the three uses, the explorer, a widget of matplotlib's and plain ones."""
    page = opened(chromium, jupyterlab, "draggable.ipynb", CELLS)
    page.locator(".clipnull-plane").nth(3).locator("svg").first.wait_for(timeout=60_000)
    yield page
    menu(page, "Settings", "Theme", "JupyterLab Light")
    assert page.page_errors == []
    page.context.close()


def menu(page: Any, *path: str) -> None:
    page.locator(".lm-MenuBar-itemLabel", has_text=path[0]).first.click()
    for item in path[1:]:
        page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


class Shown:
    """One of the drawings on the page."""

    def __init__(self, page: Any, k: int) -> None:
        self.page, self.root = page, page.locator(".clipnull-plane").nth(k)
        self.root.scroll_into_view_if_needed()

    @property
    def caption(self) -> str:
        return self.root.locator(".caption").inner_text()

    def handle(self, name: str) -> Any:
        return self.root.get_by_role("slider", name=name, exact=True)

    def at(self, name: str) -> str:
        return self.handle(name).get_attribute("aria-valuetext")

    def middle(self, name: str) -> tuple[float, float]:
        box = self.handle(name).locator(".hit").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def changes(self, old: str) -> str:
        """The caption, once it says something else."""
        text = self.root.locator(".caption").element_handle()
        self.page.wait_for_function("([e, old]) => e.innerText !== old", arg=[text, old], timeout=30_000)
        return self.caption

    def pixels(self, k: int = 0) -> np.ndarray:
        """Of a canvas, [height, width, 4]."""
        url = self.root.locator("canvas").nth(k).evaluate("c => c.toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"), int)


CIRCLE, GLOBE, TRIANGLE, EXPLORER = range(4)


@pytest.mark.parametrize(
    ("k", "name", "dx", "dy"),
    [(CIRCLE, "picture", -160, -40), (GLOBE, "guitar", 20, -90), (TRIANGLE, "anchor", 300, 20)],
)
@pytest.mark.parametrize("way", ["mouse", "finger"])
def test_a_point_is_dragged(page: Any, k: int, name: str, dx: int, dy: int, way: str) -> None:
    shown = Shown(page, k)
    before, at, (x, y) = shown.caption, shown.at(name), shown.middle(name)
    sign = 1 if way == "mouse" else -1  # and back
    path = [(x + sign * dx * t / 8, y + sign * dy * t / 8) for t in range(9)]
    if way == "mouse":
        page.mouse.move(*path[0])
        page.mouse.down()
        for point in path[1:]:
            page.mouse.move(*point)
        page.mouse.up()
    else:
        touch = page.context.new_cdp_session(page)
        for kind, point in zip(["touchStart", *["touchMove"] * 8], path, strict=True):
            points = [{"x": point[0], "y": point[1]}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    shown.changes(before)
    assert shown.at(name) != at
    page.wait_for_timeout(300)
    new, end = shown.middle(name), path[-1]
    if k == GLOBE:  # it is where pointer or finger is
        assert np.hypot(new[0] - end[0], new[1] - end[1]) < 3
    elif k == TRIANGLE:  # it stays in its triangle, and pointer or finger did not
        place = [float(x[2:]) for x in shown.at(name).split(", ")]
        assert nearest_mixture([place], draggable.CORNERS).distance < 0.01
        assert np.hypot(new[0] - end[0], new[1] - end[1]) > 3


#: what anywidget 0.11 does on a page that is too busy to load a module within two seconds
DEAF = """AbortSignal.timeout = () => { const gone = new AbortController()
setTimeout(() => gone.abort(), 0); return gone.signal }"""


def test_python_is_heard_when_anywidget_has_stopped_listening(chromium: Any, jupyterlab: str) -> None:
    page = opened(chromium, jupyterlab, "deaf.ipynb", [CELLS[0], CELLS[1], CELLS[5]], DEAF)
    shown = Shown(page, CIRCLE)
    old = shown.caption
    shown.handle("guitar").focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.locator(".clipnull .noUi-handle").first.press("End")
    assert "penguin is 0.00" in shown.changes(old).replace("-", "")
    page.wait_for_function(
        "document.querySelector('img.widget-image').alt.includes('Scores before to after')", timeout=10_000
    )
    page.context.close()


def test_arrow_keys_move_a_point_and_shift_goes_further(page: Any) -> None:
    shown = Shown(page, TRIANGLE)
    shown.handle("anchor").focus()
    went = []
    for key in ("ArrowDown", "Shift+ArrowDown"):
        y = shown.middle("anchor")[1]
        old = shown.caption
        page.keyboard.press(key)
        shown.changes(old)
        went.append(shown.middle("anchor")[1] - y)
    assert 1 < went[0] < 12 and went[1] > 3 * went[0]
    ring = shown.handle("anchor").locator(".ring").evaluate("e => getComputedStyle(e).stroke")
    assert ring != "none"


def test_the_globe_is_turned_by_pointer_and_keys(page: Any) -> None:
    shown = Shown(page, GLOBE)
    positions = [shown.at(name) for name in ("penguin", "duck", "guitar")]
    seen = []
    sphere = shown.root.locator(".ball").first
    box = sphere.bounding_box()
    for turn in ("drag", "keys", "shift"):
        seen.append(shown.middle("penguin"))
        if turn == "drag":
            page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(box["x"] + 70, box["y"] + box["height"] / 2 + 10, steps=4)
            page.mouse.up()
        else:
            (sphere if turn == "keys" else shown.handle("duck")).focus()
            page.keyboard.press("ArrowRight" if turn == "keys" else "Shift+ArrowRight")
        page.wait_for_timeout(300)
        assert np.hypot(*np.subtract(shown.middle("penguin"), seen[-1])) > 4, turn
    assert [shown.at(name) for name in ("penguin", "duck", "guitar")] == positions


@pytest.mark.parametrize("k", [0, 1], ids=["before", "after"])
def test_pixels_of_the_globe_are_those_of_the_winner(page: Any, k: int) -> None:
    shown = Shown(page, GLOBE)
    pixels = shown.pixels(k)[..., :3].astype(float)
    hues = np.array([[0xD5, 0x5E, 0], [0, 0x72, 0xB2], [0, 0x9E, 0x73]], float)

    def leans(x: np.ndarray) -> np.ndarray:
        """What white and shade leave of a colour."""
        return (x - x.min(-1, keepdims=True)) / np.maximum(1, np.ptp(x, axis=-1, keepdims=True))

    n, r = len(pixels) // 2, len(pixels) // 2 - 24
    spots = [(dx, dy) for dx in (-0.6, -0.2, 0.2, 0.6) for dy in (-0.6, -0.2, 0.2, 0.6)]
    got = [
        np.abs(leans(pixels[n - int(dy * r), n + int(dx * r)]) - leans(hues)).sum(1).argmin()
        for dx, dy in spots
    ]
    # the same, from the names' positions on screen
    names = np.array([project(shown, name, r) for name in ("penguin", "duck", "guitar")])
    places = np.array([(dx, dy, np.sqrt(1 - dx * dx - dy * dy)) for dx, dy in spots])
    after = names - (names @ names[0])[:, None] * names[0] if k else names
    want = winners(torch.from_numpy(places @ after.T), [0], 1.0).tolist()
    lead = np.diff(np.sort(places @ after.T, 1), axis=1)[:, -1]
    clear = [i for i in range(len(spots)) if lead[i] > 0.05]  # not on a border
    assert len(clear) > 8 and [int(got[i]) for i in clear] == [want[i] for i in clear]


def project(shown: Shown, name: str, r: float) -> np.ndarray:
    """A name's unit vector: right, up, towards the reader."""
    box = shown.root.locator(".ball").first.bounding_box()
    x, y = shown.middle(name)
    p = np.array([(x - box["x"] - box["width"] / 2) / r, (box["y"] + box["height"] / 2 - y) / r])
    return np.array([*p, np.sqrt(max(0, 1 - p @ p))])


def test_the_globe_recolours_with_the_method_and_the_list(page: Any) -> None:
    shown = Shown(page, GLOBE)
    lab = shown.root.locator("xpath=ancestor::*[contains(concat(' ', @class, ' '), ' clipnull ')]")
    before = shown.pixels(1)
    old = shown.caption
    lab.get_by_role("button", name="mean").click()
    assert "wins on 0%" in shown.changes(old)
    page.wait_for_timeout(300)
    neutral = shown.pixels(1)
    assert (before != neutral).any(-1).mean() > 0.02
    red = lambda x: ((x[..., 0] > x[..., 2] + 40) & (x[..., 3] == 255)).mean()  # noqa: E731
    assert red(neutral) == 0 < red(before)
    lab.locator("select").select_option(["penguin", "guitar"])
    page.locator(".clipnull-plane .off text", has_text="duck").first.wait_for(timeout=10_000)


@pytest.mark.parametrize(
    "where",
    [".clipnull-plane .handle", ".clipnull-plane .ball", ".clipnull-plane .dots", ".clipnull .noUi-handle",
     ".clipnull select", ".widget-text input", ".widget-dropdown select"],
)  # fmt: skip
def test_keys_typed_in_a_widget_stay_in_it(page: Any, where: str) -> None:
    cells = page.locator(".jp-Notebook .jp-Cell")
    count, code = cells.count(), page.locator(".jp-Notebook .jp-CodeCell").count()
    target = page.locator(f".jp-OutputArea-output {where}").last
    target.scroll_into_view_if_needed()
    target.focus()
    for key in ("b", "m", "a", "ArrowDown", "ArrowDown", "d", "d"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert (cells.count(), page.locator(".jp-Notebook .jp-CodeCell").count()) == (count, code)
    assert target.evaluate("e => e === document.activeElement")


def test_without_a_widget_the_same_key_is_a_command(page: Any) -> None:
    """Else the test above could not fail."""
    cells = page.locator(".jp-Notebook .jp-Cell")
    count = cells.count()
    page.locator(".jp-Notebook .jp-InputPrompt").first.click()
    page.keyboard.press("b")
    page.wait_for_timeout(500)
    assert cells.count() == count + 1
    page.keyboard.press("z")


def test_dots_tell_their_picture_and_are_kept(page: Any) -> None:
    shown = Shown(page, EXPLORER)
    sheet = shown.root.locator(".dots")
    tip = shown.root.locator(".tip")
    sheet.focus()
    page.keyboard.press("ArrowRight")
    tip.locator("img[src^='data:image/png']").wait_for(timeout=10_000)
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first
    old, name = shown.caption, tip.inner_text()
    page.keyboard.press("Enter")
    assert shown.changes(old) == f"1 of 800 kept, {name}."
    assert name in shown.root.locator(".stage text").all_text_contents()
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 2 + 1)
    page.wait_for_timeout(200)
    hovered = tip.inner_text()
    old = shown.caption
    page.mouse.down()
    page.mouse.up()
    assert hovered in shown.changes(old)
    old = shown.caption
    shown.root.get_by_role("button", name=f"let go of {name}").click()
    assert name not in shown.changes(old)


def test_a_picture_of_matplotlibs_says_what_it_shows(page: Any) -> None:
    picture = page.locator("img.widget-image").first
    picture.scroll_into_view_if_needed()
    page.wait_for_function(
        "e => e.alt.includes('Scores before to after')", arg=picture.element_handle(), timeout=10_000
    )
    for svg in page.locator(".clipnull-plane .stage > svg").all():
        assert len(svg.get_attribute("aria-label")) > 10


#: contrast of every text with what is behind it, by WCAG
CONTRAST = """() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true})
  const over = (colour, under) => { paint.fillStyle = under; paint.fillRect(0, 0, 1, 1); paint.fillStyle = colour
    paint.fillRect(0, 0, 1, 1); return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3) }
  const bright = rgb => rgb.map(x => x / 255).map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
    if (!/, 0\\)|transparent/.test(c)) return c } return 'white' }
  const texts = '.clipnull-plane text, .caption, .bars > .label, .bars > .value, .legend span, .clipnull-plane .head, '
    + '.clipnull .widget-html-content, .widget-html-content span'
  return [...document.querySelectorAll(texts)].filter(e => e.textContent.trim()).map(e => {
    const style = getComputedStyle(e), under = e.tagName === 'text' ? style.stroke : behind(e)
    const [a, b] = [over(e.tagName === 'text' ? style.fill : style.color, under), over(under, under)].map(bright)
    return [e.textContent, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)] })
}"""


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_text_is_legible(page: Any, theme: str) -> None:
    menu(page, "Settings", "Theme", theme)
    dark = str("Light" in theme).lower()
    page.wait_for_function(f"document.body.dataset.jpThemeLight === '{dark}'", timeout=20_000)
    page.wait_for_timeout(1000)
    found = page.evaluate(CONTRAST)
    said = {text for text, _ in found}
    assert {"penguin", "anchor", "share", "even", "strength: too strong", "before"} <= said
    assert [text for text, ratio in found if ratio < 4.5] == []


@pytest.mark.parametrize("width", [1280, 640])
def test_it_fits_its_column(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(600)
    for k in range(4):
        root = Shown(page, k).root
        column, box = root.locator("xpath=../..").bounding_box(), root.bounding_box()
        for svg in root.locator(".stage > svg").all():
            inner = svg.bounding_box()
            assert (
                inner["x"] + inner["width"] <= min(box["x"] + box["width"], column["x"] + column["width"]) + 1
            )
        assert root.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    if width == 1280:
        assert Shown(page, GLOBE).root.bounding_box()["height"] < 500  # both globes side by side
