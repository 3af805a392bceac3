"""ForgetRetainLab, headless: every control in, results and pictures out, under both ipywidgets."""

from __future__ import annotations

import io
import re

import ipywidgets
import numpy as np
import pytest
from PIL import Image

import clipnull as cn
from clipnull import lab_widget
from clipnull.lab import METHODS, SIDES, VIEWS
from clipnull.lab_views import percent


@pytest.fixture(scope="module")
def data(pocket):
    return cn.datasets.load("twemoji", scenes=1, size=pocket.image_size)


@pytest.fixture(scope="module")
def made(pocket, data):
    return cn.widgets.ForgetRetainLab(pocket, data)


@pytest.fixture
def lab(made):
    """The one lab, put back as it was."""
    made._button_reset()
    made.beside.value, made.view.value = lab_widget.NOTHING, "numbers"
    assert made.error is None and made.message.value == ""
    return made


def shown(lab):
    """Percentages in the line of numbers."""
    return re.findall(r"[\d.]+%", lab.numbers.value)


def expected(lab):
    r = lab.compute(lab.state, ["numbers"]).report
    return [percent(x) for x in (r.forget_before, r.forget_after, r.retain_before, r.retain_after)]


def assert_in_step(lab):
    assert lab.error is None, lab.error
    assert shown(lab) == expected(lab)
    assert bytes(lab.images[0].value[:4]) == b"\x89PNG"


@pytest.mark.parametrize("method", METHODS)
def test_method(lab, method):
    lab.controls["method"].value = method
    assert lab.state["method"] == method
    assert_in_step(lab)


@pytest.mark.parametrize(
    "method, key, value",
    [
        ("partial", "strength", 0.35),
        ("random", "seed", 3),
        ("ccup", "lam", 1.0),
        ("mean", "mu", 1.0),
        ("coarse", "components", 9),
        ("word", "word", "a rock"),
        ("nullspace", "erase_as", "zyzzyva, cat"),
        ("nullspace", "templates", False),
        ("nullspace", "synonyms", True),
        *(("mean", "side", side) for side in SIDES),
    ],
)
def test_control(lab, method, key, value):
    lab.controls["method"].value = method
    lab.controls[key].value = value
    assert lab.state[key] == value == lab.result.state[key]
    assert_in_step(lab)


def test_strength_changes_the_numbers_and_the_picture(lab):
    lab.controls["method"].value = "partial"
    lab.controls["strength"].value = 0.0
    zero, picture = shown(lab), lab.images[0].value
    assert zero[0] == zero[1] and zero[2] == zero[3]
    lab.controls["strength"].value = 1.0
    assert_in_step(lab)
    assert shown(lab) != zero and lab.images[0].value != picture


def test_forget_classes_search_category_and_random(lab):
    classes = lab.bench.data.classes
    lab.controls["forget"].value = (classes[3], classes[5])
    assert lab.result.report.forget == [3, 5]
    lab.search.value = classes[7]
    assert set(lab.controls["forget"].options) >= {classes[3], classes[5], classes[7]}
    assert len(lab.controls["forget"].options) < len(classes)
    assert lab.result.report.forget == [3, 5]
    lab.controls["forget"].value = (*lab.controls["forget"].value, classes[7])
    assert lab.result.report.forget == [3, 5, 7]
    lab.category.value = lab.category.options[1]
    assert {lab.bench.data.categories[i] for i in lab.result.report.forget} == {lab.category.options[1]}
    lab.category.value = lab.category.options[0]
    lab.random_k.value = 6
    lab.draw_random.click()
    assert len(lab.result.report.forget) == 6
    assert_in_step(lab)


@pytest.mark.parametrize("view", VIEWS)
def test_view(lab, view):
    lab.view.value = view
    assert lab.visible == [view]
    assert_in_step(lab)
    picture = Image.open(io.BytesIO(lab.images[0].value))
    assert np.asarray(picture.convert("L")).std() > 5
    figure = lab.figure()
    assert figure is lab._views[view].fig
    lab.controls["method"].value = "nullspace"
    assert lab.figure() is figure  # artists move, figures stay
    assert_in_step(lab)


def test_two_views_beside_each_other(lab):
    lab.beside.value = "mathematics"
    assert lab.visible == ["numbers", "mathematics"]
    assert all(bytes(image.value[:4]) == b"\x89PNG" for image in lab.images)
    assert lab.images[1].layout.display is None
    lab.beside.value = lab_widget.NOTHING
    assert lab.images[1].layout.display == "none"


def test_hidden_views_are_not_computed(lab):
    assert lab.result.curve == {} and lab.result.pca == {}


def test_views_draw_what_compute_gives(lab):
    lab.controls["method"].value = "partial"
    for key in ("curve", "neighbours", "single", "mathematics", "numbers"):
        lab.view.value = key
    want, views = lab.compute(lab.state), lab._views
    assert [b.get_height() for b in views["numbers"].bars] == pytest.approx(
        [100 * x for x in (want.report.forget_before, want.report.forget_after)]
        + [100 * x for x in (want.report.retain_before, want.report.retain_after)]
    )
    views["curve"].draw(want)
    line = want.curve["methods"]["partial"]["forget"]
    assert list(views["curve"].lines["forget"].get_ydata()) == pytest.approx([100 * y for y in line])
    assert views["neighbours"].dots.get_offsets().shape == (len(want.neighbours), 2)
    bars, texts = views["single"].bars["after"]
    assert [b.get_width() for b in bars] == pytest.approx([c for _, c in want.single["after"]])
    assert texts[0].get_text().startswith(want.single["after"][0][0])
    assert views["mathematics"].numbers["rank"].get_text() == f"{want.mathematics['rank']:.0f}"


def test_curve_moves_between_linear_and_log(lab, recwarn):
    lab.view.value = "curve"
    for method in ("mean", "partial", "ccup", "nullspace"):
        lab.controls["method"].value = method
        assert lab.figure().axes[0].get_xscale() == ("log" if method in ("mean", "ccup") else "linear")
    assert not [w for w in recwarn if "log" in str(w.message)]


def test_thumbnails(lab):
    lab.view.value = "pca"
    lab.thumbnails.value = True
    assert lab._views["pca"].boxes
    lab.thumbnails.value = False
    assert not lab._views["pca"].boxes


def test_presets(lab):
    for name, (hint, state) in lab.bench.presets.items():
        lab.preset.value = name
        assert lab.state == {**state, "lam": lab.state["lam"], "mu": lab.state["mu"]}
        assert hint.split()[0] in lab.hint.value
        assert_in_step(lab)


# --- choices that cannot be ------------------------------------------------------------------


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda lab: setattr(lab.controls["forget"], "value", ()), "forget"),
        (lambda lab: setattr(lab.controls["forget"], "value", lab.controls["forget"].options), "forget"),
        (lambda lab: setattr(lab.controls["erase_as"], "value", ","), "erase_as"),
    ],
)
def test_impossible_choice_keeps_the_last_result(lab, break_it, words):
    result, picture, numbers = lab.result, lab.images[0].value, lab.numbers.value
    break_it(lab)
    assert isinstance(lab.error, ValueError) and words in lab.message.value
    assert "The last result stays" in lab.message.value
    assert lab.result is result and lab.images[0].value == picture and lab.numbers.value == numbers
    lab.controls["erase_as"].value = ""
    lab.controls["forget"].value = (lab.bench.data.classes[0],)
    assert lab.message.value == ""
    assert_in_step(lab)


def test_a_fault_is_shown_and_raised(lab, monkeypatch):
    def fault(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(lab.bench, "compute", fault)
    with pytest.raises(RuntimeError, match="out of order"):
        lab.update()
    assert "out of order" in lab.message.value and isinstance(lab.error, RuntimeError)


def upload(lab, content):
    """What the browser sends, in the shape of this ipywidgets."""
    if ipywidgets.__version__.startswith("7"):
        lab._uploaded({"new": {"x.png": {"content": content}}})
    else:
        lab._uploaded({"new": ({"name": "x.png", "content": memoryview(content)},)})


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


def test_upload_of_a_picture(lab):
    lab.view.value = "single"
    picture = lab.bench.data.images[4]
    upload(lab, png(picture))
    assert lab.error is None
    want = lab.bench.upload(picture.convert("RGB"), lab.result)
    assert lab.result.single["after"] == want["after"]
    assert "your picture" in lab._views["single"].heading.get_text()
    assert len(want["after"]) == 5
    lab.controls["image"].value = 2
    assert lab._views["single"].heading.get_text().startswith("“")


@pytest.mark.parametrize("kind", ["text", "cut short", "huge", "empty"])
def test_upload_that_cannot_be_read(lab, kind):
    lab.view.value = "single"
    whole = png(Image.new("RGB", (80, 80), "red"))
    content = {
        "text": b"no picture",
        "cut short": whole[: len(whole) // 2],
        "huge": png(Image.new("1", (9000, 9000))),
        "empty": b"",
    }[kind]
    result, drawn = lab.result, lab.images[0].value
    upload(lab, content)
    assert isinstance(lab.error, ValueError) and "cannot be read" in lab.message.value
    assert lab.result is result and lab.images[0].value == drawn
    lab.controls["image"].value = 3
    assert lab.error is None and lab.message.value == ""


# --- out -------------------------------------------------------------------------------------


def test_python_button(lab):
    lab.buttons["code"].click()
    assert lab.code.value == lab.python() and lab.code.layout.display is None
    compile(lab.code.value, "lab", "exec")


def test_save_figure(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab.buttons["figure"].click()
    assert Image.open(tmp_path / "clipnull-numbers.png").width > 500
    assert "clipnull-numbers.png" in lab.message.value


@pytest.mark.parametrize("side", SIDES)
def test_fold_and_save(lab, tmp_path, monkeypatch, side):
    monkeypatch.chdir(tmp_path)
    lab.controls["side"].value = side
    before = {k: v.clone() for k, v in lab.bench.clip.model.state_dict().items()}
    lab.buttons["model"].click()
    assert "unlearned" in lab.message.value
    assert (tmp_path / "unlearned" / "open_clip_config.json").is_file()
    saved = cn.load(f"local-dir:{tmp_path / 'unlearned'}")
    changed = {k for k, v in saved.model.state_dict().items() if not v.equal(before[k])}
    assert changed and any("visual" in k for k in changed) == (side != "text")
    assert all(v.equal(before[k]) for k, v in lab.bench.clip.model.state_dict().items())


def test_save_over_something_else_says_why(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unlearned").mkdir()
    (tmp_path / "unlearned" / "thesis.txt").write_text("mine")
    lab.buttons["model"].click()
    assert isinstance(lab.error, ValueError) and lab.message.value
    assert (tmp_path / "unlearned" / "thesis.txt").read_text() == "mine"


def test_reset_and_state(lab):
    start = lab.state
    lab.state = {**start, "method": "ccup", "lam": 7.0, "forget": lab.bench.data.classes[:3]}
    assert lab.state["lam"] == 7.0 and lab.controls["method"].value == "ccup"
    assert_in_step(lab)
    lab.buttons["reset"].click()
    assert lab.state == start


def test_subset(lab):
    names = lab.subset.options
    if len(names) < 2:
        pytest.skip("no subsets")
    bench = lab.bench
    small = cn.datasets.load("twemoji", subset=names[-1], scenes=1, size=bench.clip.image_size)
    lab._benches[names[-1]] = lab_widget.Bench(bench.clip, small)
    try:
        lab.subset.value = names[-1]
        assert lab.bench.data is small and list(lab.controls["forget"].options) == list(small.classes)
        assert_in_step(lab)
    finally:
        lab._benches["classroom"] = bench
        lab.subset.value = "classroom"
    assert_in_step(lab)
