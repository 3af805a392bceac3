"""Lessons' widgets in a real JupyterLab: move a control, and readout and picture follow.

The forget/retain lab (lesson 06) is compared with `Bench.compute` in this process, number by number.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from labpage import failed, listen, run_all
from PIL import Image

import clipnull as cn
from clipnull.lab.bench import Bench
from clipnull.lab.state import EVERY, EXAMPLES, TITLES
from clipnull.lab.views import HEIGHT, VIEWS, WIDE, drawn
from clipnull.lab.widget import accuracy_line, equivalent_python

ROOT = Path(__file__).resolve().parent.parent


def has_widget(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any("clipnull.lab" in c.source or "cn.lab." in c.source for c in cells if c.cell_type == "code")


LAB = ROOT / "notebooks" / "06_forget_retain_lab.ipynb"
LESSONS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if has_widget(path) and path != LAB]
#: what a drawing, or a widget with a picture, says, and what answers to keys in it
PLANE = ".clipnull-plane .caption", ".clipnull-plane .handle"
WIDGET = ".widget-html-content:visible", ".noUi-handle:visible, select:visible"
DRAWN = "img.widget-image, .clipnull-plane .stage > svg"
LOOKS = "(e, what) => [...e.querySelectorAll(what)].map(d => d.src ?? d.innerHTML).join()"

UNREADABLE = "picture: cannot be read, want a PNG or JPEG of at most 120 million pixels"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(chromium: Any) -> Any:
    page = chromium.new_page(viewport={"width": 1200, "height": 1600})
    page.page_errors = listen(page)
    yield page
    page.close()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_widget_follows_its_controls(lesson: Path, jupyterlab: str, page: Any) -> None:
    run_all(page, jupyterlab, lesson.name)
    assert failed(page) == []
    # one output holds one widget; the first that has a drawing, with what it says of it
    lab = page.locator(".jp-OutputArea-output", has=page.locator(DRAWN)).first
    said, moving = PLANE if lab.locator(".clipnull-plane").count() else WIDGET
    readout = lab.locator(said).filter(has_text=re.compile("..")).first
    lab.scroll_into_view_if_needed()
    before, moved = readout.inner_text(), lab.locator(moving).first
    assert len(before) > 10
    drawn = lab.evaluate(LOOKS, DRAWN)
    moved.focus()
    for key in 30 * ["ArrowRight"] + 30 * ["ArrowDown"]:  # the second, for a slider at its end, or a menu
        page.keyboard.press(key)
        page.wait_for_timeout(200)
        if readout.inner_text() != before:
            break
    if said == WIDGET[0]:  # a point may move and change no sentence; tests/test_plane_browser.py looks closer
        handle = readout.element_handle()
        page.wait_for_function("([e, old]) => e.innerText !== old", arg=[handle, before], timeout=60_000)
    changed = f"([e, what, old]) => ({LOOKS})(e, what) !== old"
    page.wait_for_function(changed, arg=[lab.element_handle(), DRAWN, drawn], timeout=60_000)
    assert "Error" not in readout.inner_text()
    assert page.page_errors == []


# --- the forget/retain lab -------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(pocket: Any) -> Bench:
    """What the notebook's kernel has, in this process."""
    return Bench(pocket, cn.datasets.load("twemoji", size=pocket.image_size))


class Shown:
    """The lab as a reader meets it: what is on the page, and controls that are used through it."""

    def __init__(self, page: Any, bench: Bench) -> None:
        self.page, self.bench = page, bench
        self.lab = page.locator(".jp-OutputArea-output", has=page.locator(".clipnull-numbers")).first
        self.lab.scroll_into_view_if_needed()

    def text(self, name: str, k: int = 0) -> str:
        """What a text of the lab says, spaces made equal."""
        shown = self.lab.locator(f".clipnull-{name} .widget-html-content").nth(k)
        return " ".join(shown.inner_text().split())

    def wait(self, name: str, want: str, k: int = 0) -> None:
        """Until a text of the lab says what is wanted; what it says instead is in the failure."""
        for _ in range(200):
            if self.text(name, k) == want:
                return
            self.page.wait_for_timeout(100)
        assert self.text(name, k) == want

    def numbers(self, state: dict[str, Any]) -> str:
        """The line of numbers of a state, computed here."""
        text = re.sub(r"<[^>]*>", " ", accuracy_line(self.bench.compute(state)))
        return " ".join(html.unescape(text).split())

    def assert_numbers(self, state: dict[str, Any]) -> None:
        self.wait("numbers", self.numbers(state))

    def sentence(self, key: str, state: dict[str, Any]) -> str:
        """What a view says of a state, computed here."""
        return " ".join(drawn(key, self.bench.compute(state))[1].split())

    def choose(self, label: str, option: str) -> None:
        """An option of the dropdown that has it; ``label`` is its first option or its description."""
        menus = self.lab.locator("select:not([multiple])")
        for k in range(menus.count()):
            texts = [t.replace("\xa0", " ") for t in menus.nth(k).locator("option").all_inner_texts()]
            beside = menus.nth(k).locator("xpath=..").inner_text()
            if label == texts[0] or beside.startswith(label):
                menus.nth(k).select_option(index=texts.index(option))
                return
        raise AssertionError(f"no dropdown {label}")

    def forget(self, *names: str) -> None:
        self.lab.locator("select[multiple]").select_option(list(names))

    def slide(self, label: str, key: str) -> None:
        """Press a key on a slider's handle."""
        row = self.lab.locator(".widget-slider", has=self.page.locator(".widget-label", has_text=label))
        row.locator(".noUi-handle").press(key)

    def click(self, text: str) -> None:
        self.lab.get_by_role("button", name=text, exact=True).click()

    def pictures(self) -> Any:
        return self.lab.locator("img.widget-image:visible")


@pytest.fixture(scope="module")
def opened(chromium: Any, jupyterlab: str) -> Iterator[Any]:
    """Lesson 06, run, on a screen of 1280 x 800."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.page_errors = listen(page)
    run_all(page, jupyterlab, LAB.name)
    assert failed(page) == []
    yield page
    page.close()


@pytest.fixture
def shown(opened: Any, bench: Bench) -> Iterator[Shown]:
    """The lab, put back to its first state."""
    shown = Shown(opened, bench)
    shown.click("reset")
    shown.assert_numbers({})
    yield shown
    assert opened.page_errors == []


def test_alpha_from_0_to_1_and_another_class(shown: Shown) -> None:
    shown.choose("method", TITLES["partial"])
    shown.assert_numbers({"method": "partial"})
    shown.slide("α", "Home")
    shown.assert_numbers({"method": "partial", "strength": 0.0})
    at_zero = shown.text("numbers")
    shown.slide("α", "End")
    shown.assert_numbers({"method": "partial", "strength": 1.0})
    assert shown.text("numbers") != at_zero
    shown.forget("lemon")
    shown.assert_numbers({"method": "partial", "strength": 1.0, "forget": ["lemon"]})
    shown.forget("lemon", "pig")
    shown.assert_numbers({"method": "partial", "strength": 1.0, "forget": ["pig", "lemon"]})


def test_dials_of_the_consistent_projection(shown: Shown) -> None:
    shown.choose("method", TITLES["ccup"])
    shown.assert_numbers({"method": "ccup"})
    shown.slide("λ", "Home")
    shown.assert_numbers({"method": "ccup", "lam": 0.01})
    shown.slide("λ", "End")
    shown.slide("μ", "End")
    shown.assert_numbers({"method": "ccup", "lam": math.inf, "mu": 1e4})
    shown.choose("edit", "both")
    shown.assert_numbers({"method": "ccup", "lam": math.inf, "mu": 1e4, "side": "both"})


def test_the_slider_shows_the_mu_that_was_chosen(shown: Shown) -> None:
    row = shown.lab.locator(".widget-slider", has=shown.page.locator(".widget-label", has_text="μ"))
    for names in (["bus"], ["wolf", "bus"]):
        shown.forget(*names)
        shown.assert_numbers({"forget": names})
        chosen = f"auto: {shown.bench.compute({'forget': names}).edit.info['mu']:.3g}"
        assert row.locator(".widget-readout").inner_text() == chosen
    shown.slide("μ", "End")
    shown.assert_numbers({"forget": names, "mu": 1e4})


def test_every_view_says_what_compute_gives(shown: Shown) -> None:
    state = {"method": "nullspace"}
    shown.choose("method", TITLES["nullspace"])
    shown.assert_numbers(state)
    seen = set()
    for key in VIEWS:
        shown.click(VIEWS[key][0])
        shown.wait("caption", shown.sentence(key, state))
        picture = shown.pictures().first
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [WIDE, HEIGHT]
        seen.add(picture.get_attribute("src"))
    assert len(seen) == len(VIEWS)
    shown.forget("house")  # the view on screen follows
    row = shown.bench.check({})["image"]
    shown.wait("caption", shown.sentence("single", {**state, "forget": ["house"], "image": row}))


@pytest.mark.parametrize("key", VIEWS)
def test_a_view_is_whole(shown: Shown, key: str) -> None:
    shown.click(VIEWS[key][0])
    shown.wait("caption", shown.sentence(key, {}))
    box = shown.pictures().first.bounding_box()
    assert (box["width"], box["height"]) == (WIDE, HEIGHT)  # not squeezed
    assert box["x"] + WIDE <= shown.lab.bounding_box()["x"] + shown.lab.bounding_box()["width"]
    for button in shown.lab.locator("button:visible").all():
        assert button.evaluate("b => b.scrollWidth <= b.clientWidth"), button.inner_text()
    assert shown.lab.bounding_box()["height"] < 800 - 90  # below JupyterLab's menu and toolbar


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_case_is_one_click_and_its_answer_is_on_screen(shown: Shown, name: str) -> None:
    for seed in range(2):
        state, view = shown.bench.example(name, seed), EXAMPLES[name].view
        shown.click("draw the classes again" if seed else name)
        shown.assert_numbers(state)
        shown.wait("caption", shown.sentence(view, state))
    assert name in shown.text("hint")
    shown.lab.evaluate("e => e.scrollIntoView()")
    box = shown.pictures().first.bounding_box()
    assert box["y"] >= 0 and box["y"] + HEIGHT <= 800 and box["x"] + WIDE <= 1280
    shown.click(name)  # once more: back to its own classes
    shown.assert_numbers(shown.bench.example(name))


def test_prompts_listed_names_and_dimensions(shown: Shown) -> None:
    shown.choose("asked", "{}")
    shown.choose("told", EVERY)
    state = {"asked": "{}", "told": EVERY}
    shown.assert_numbers(state)
    shown.slide("listed", "ArrowLeft")
    shown.assert_numbers(state := {**state, "listed": 0.95})
    shown.slide("dims", "ArrowLeft")
    shown.assert_numbers({**state, "dimensions": shown.bench.Z.shape[1] - 1})


def test_keys_in_the_class_list_stay_in_it(shown: Shown) -> None:
    cells = shown.page.locator(".jp-Notebook .jp-Cell")
    before, kinds = cells.count(), shown.page.locator(".jp-MarkdownCell").count()
    selected = shown.page.locator(".jp-mod-selected").count()
    shown.lab.locator("select[multiple]").focus()
    for key in ("m", "b", "a", "x", "Control+a", "d", "d"):
        shown.page.keyboard.press(key)
    shown.page.wait_for_timeout(500)
    assert (cells.count(), shown.page.locator(".jp-MarkdownCell").count()) == (before, kinds)
    assert shown.page.locator(".jp-mod-selected").count() == selected


def test_labels_have_tips(shown: Shown) -> None:
    titles = shown.lab.locator("[title]").evaluate_all("all => all.map(e => e.title)")
    assert titles and not {"null", "undefined"} & {*titles}
    for name in ("method", "edit", "told", "asked"):  # ipywidgets gives none to a menu with a description
        row = shown.lab.locator(".widget-dropdown", has=shown.page.locator("label", has_text=name))
        assert row.locator("select").get_attribute("title").count("\n") > 1


def test_a_prediction_is_answered_with_keys_and_keeps_the_focus(opened: Any) -> None:
    button = opened.get_by_role("button", name="That is my guess").first
    asked = opened.locator(".jp-OutputArea-output", has_text="That is my guess").first
    asked.locator(".noUi-handle").press("ArrowRight")
    for _ in range(10):
        if button.evaluate("b => b === document.activeElement"):
            break
        opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    asked.get_by_text("You said").wait_for()
    assert button.evaluate("b => b === document.activeElement")


def test_a_category(shown: Shown) -> None:
    shown.choose("whole category …", "food-drink")
    shown.assert_numbers({"forget": "food-drink"})


def test_impossible_choice_is_a_sentence_and_the_last_result_stays(shown: Shown) -> None:
    before, picture = shown.text("numbers"), shown.pictures().first.get_attribute("src")
    shown.forget()
    shown.wait("message", "forget: got no class, want at least one. The last result stays.")
    shown.forget(*shown.bench.data.classes)
    C = len(shown.bench.data.classes)
    sentence = f"forget: got all {C} classes, want at least one class left to retain. The last result stays."
    shown.wait("message", sentence)
    assert shown.text("numbers") == before
    assert shown.pictures().first.get_attribute("src") == picture
    shown.forget("lemon")
    shown.assert_numbers({"forget": ["lemon"]})
    assert shown.text("message") == ""


def test_a_picture_of_a_class_and_an_upload(shown: Shown) -> None:
    shown.click("One picture")
    shown.choose("picture of …", "lemon")
    row = shown.bench.where("lemon")[0]
    shown.wait("caption", shown.sentence("single", {"image": row}))
    content = io.BytesIO()
    picture = shown.bench.data.images[row + 1]
    picture.save(content, "png")
    result = shown.bench.compute({})
    result.single = result.top5(shown.bench.embed_picture(picture))._replace(picture=picture)
    for _ in range(2):  # the same file, twice
        with shown.page.expect_file_chooser() as chooser:
            shown.lab.locator("button", has_text="your picture").click()
        chooser.value.set_files({"name": "x.png", "mimeType": "image/png", "buffer": content.getvalue()})
        shown.wait("caption", " ".join(drawn("single", result)[1].split()))
        shown.choose("picture of …", "lemon")
        shown.wait("caption", shown.sentence("single", {"image": row}))
    with shown.page.expect_file_chooser() as chooser:
        shown.lab.locator("button", has_text="your picture").click()
    chooser.value.set_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    sentence = UNREADABLE + ". The last result stays."
    shown.wait("message", sentence)


def test_a_picture_larger_than_a_message_may_be(shown: Shown, tmp_path: Path) -> None:
    """Under JupyterLab as it is: its server would close the connection."""
    shown.click("One picture")
    noise, text = tmp_path / "noise.png", tmp_path / "text.png"
    dots = np.random.default_rng(0).integers(0, 256, (1700, 2500, 3), dtype=np.uint8)
    dots[:, 1250:] |= 0x80  # light on the right
    Image.fromarray(dots).save(noise)
    text.write_bytes(b"no picture" * 2_000_000)
    assert min(noise.stat().st_size, text.stat().st_size) > 11e6
    for path, name, want in (
        (text, "message", UNREADABLE),
        (noise, "caption", "Your picture"),
    ):
        with shown.page.expect_file_chooser() as chooser:
            shown.lab.locator("button", has_text="your picture").click()
        chooser.value.set_files(path)
        shown.page.wait_for_function(
            "([e, want]) => e.innerText.startsWith(want)", timeout=30_000,
            arg=[shown.lab.locator(f".clipnull-{name} .widget-html-content").element_handle(), want],
        )  # fmt: skip
    shown.choose("picture of …", "lemon")  # the connection is there
    row = shown.bench.where("lemon")[0]
    shown.wait("caption", shown.sentence("single", {"image": row}))


def test_the_equivalent_python(shown: Shown) -> None:
    shown.choose("method", TITLES["hull"])
    shown.assert_numbers({"method": "hull"})
    shown.click("Python")
    code = shown.lab.locator(".clipnull-code textarea")
    code.wait_for()
    assert code.input_value() == equivalent_python(shown.bench, {"method": "hull"})
