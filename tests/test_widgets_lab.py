"""ForgetRetainLab, headless: every control in, results and pictures out, under both ipywidgets."""

from __future__ import annotations

import dataclasses
import datetime
import html
import io
import itertools
import re
import threading

import ipywidgets
import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

import clipnull as cn
from clipnull._show import percent
from clipnull.evaluation import SIDES
from clipnull.lab import views as lab_views
from clipnull.lab import widget as lab_widget
from clipnull.lab.bench import Bench
from clipnull.lab.draw import HALF, HEIGHT, SIDE, WIDE
from clipnull.lab.state import TITLES, VIEWS
from clipnull.lab.views import PANELS


@pytest.fixture(scope="module")
def data(pocket):
    return cn.datasets.load("twemoji", scenes=1, size=pocket.image_size)


@pytest.fixture(scope="module")
def made(pocket, data):
    return cn.lab.ForgetRetainLab(pocket, data)


@pytest.fixture
def lab(made):
    """The one lab, put back as it was."""
    made.buttons["reset"].click()
    assert made.error is None and made.message.value == ""
    return made


def shown(lab):
    """Percentages in the line of numbers."""
    return re.findall(r"[\d.]+%|–", lab.numbers.value)


def expected(lab):
    r = lab.bench.compute(lab.state).report
    return [percent(x) for x in (r.forget_before, r.forget_after, r.retain_before, r.retain_after)]


def sentence(lab, key, state=None):
    """What a view says of a state, computed anew."""
    return PANELS[key].sentence(lab.bench.compute(lab.state if state is None else state))


def said(lab, k=0):
    """The caption under a view, as text."""
    return html.unescape(re.sub(r"<[^>]*>", "", lab.captions[k].value))


def assert_in_step(lab):
    assert lab.error is None, lab.error
    assert shown(lab) == expected(lab)
    for k, key in enumerate(lab.visible):
        assert bytes(lab.images[k].value[:4]) == b"\x89PNG"
        assert said(lab, k) == sentence(lab, key)


@pytest.mark.parametrize("method", TITLES)
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
        ("anchored", "mu", 1.0),
        ("word", "word", "a rock"),
        ("nullspace", "erase_as", "zyzzyva, cat"),
        ("nullspace", "templates", False),
        ("nullspace", "synonyms", True),
        *(("anchored", "side", side) for side in SIDES),
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
    assert lab.result.case.forget == [3, 5]
    lab.search.value = classes[7]
    assert set(lab.controls["forget"].options) >= {classes[3], classes[5], classes[7]}
    assert len(lab.controls["forget"].options) < len(classes)
    assert lab.result.case.forget == [3, 5]
    lab.controls["forget"].value = (*lab.controls["forget"].value, classes[7])
    assert lab.result.case.forget == [3, 5, 7]
    lab.category.value = lab.category.options[1]
    assert {lab.bench.data.categories[i] for i in lab.result.case.forget} == {lab.category.options[1]}
    lab.category.value = lab.category.options[0]
    lab.random_k.value = 6
    lab.draw_random.click()
    assert len(lab.result.case.forget) == 6
    assert_in_step(lab)


@pytest.mark.parametrize("key", ["strength", "lam", "mu", "word", "image"])
def test_a_control_is_shown_alone_when_it_matters(lab, key):
    """Hiding one hid others: they shared a layout."""
    wanted = {"strength": "partial", "word": "word"}.get(key, "anchored")
    lab.controls["method"].value = wanted
    lab.view.value = "single" if key == "image" else "numbers"
    assert lab.controls[key].layout.display is None
    lab.controls["method"].value = "nullspace"
    lab.view.value = "numbers"
    assert lab.controls[key].layout.display == "none"
    for always in ("forget", "method", "erase_as", "templates", "synonyms", "side", "seed", "subset"):
        assert lab.controls[always].layout.display is None
    assert lab.preset.layout.display is None and lab.search.layout.display is None


@pytest.mark.parametrize("view", VIEWS)
def test_view(lab, view):
    lab.view.value = view
    assert lab.visible == [view]
    assert_in_step(lab)
    picture = Image.open(io.BytesIO(lab.images[0].value))
    assert picture.size == (WIDE, HEIGHT) and np.asarray(picture.convert("L")).std() > 5
    buffer = io.BytesIO()
    lab.figure().savefig(buffer, dpi=96)
    assert np.array_equal(picture, Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_depends_on_its_state_alone(lab, view):
    states = [{"method": "ccup"}, {"method": "partial", "strength": 0.2, "side": "both"}]
    first, other = (lab_views.png(view, lab.bench.compute(state)) for state in states)
    assert lab_views.png(view, lab.bench.compute(states[0])) == first != other


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off(lab, view, half):
    """Every text of a view lies within its figure, with long names too."""
    long = dataclasses.replace(
        lab.bench.data, classes=[f"{c} of the longest name there is" for c in lab.bench.data.classes]
    )
    bench = Bench(lab.bench.clip, long.subset(range(0, 97, 3)))
    for method in ("nullspace", "anchored", "random"):
        state = {"forget": 4, "method": method, "synonyms": True, "side": "both"}
        drawn = lab_views.figure(view, bench.compute(state), half)
        drawn.canvas.draw()
        width = HALF if half else WIDE
        for text in set(drawn.findobj(Text)) - ticks_out_of_view(drawn):
            if text.get_visible() and text.get_text().strip():
                box = text.get_window_extent()
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= HEIGHT + 1
                assert inside, (method, text.get_text(), box)


def ticks_out_of_view(figure):
    """Labels that matplotlib keeps but does not draw."""
    found = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        found |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    return found


def test_two_views_beside_each_other(lab):
    lab.beside.value = "mathematics"
    assert lab.visible == ["numbers", "mathematics"]
    assert all(Image.open(io.BytesIO(i.value)).size == (HALF, HEIGHT) for i in lab.images)
    assert lab.slots[1].layout.display is None
    assert_in_step(lab)
    lab.beside.value = lab_widget.NOTHING
    assert lab.slots[1].layout.display == "none"
    assert Image.open(io.BytesIO(lab.images[0].value)).size == (WIDE, HEIGHT)
    lab.beside.value = "numbers"  # the same view twice is one view
    assert lab.visible == ["numbers"]
    assert_in_step(lab)


def test_hidden_views_are_not_computed(lab):
    assert not vars(lab.result).keys() & {"curve", "geometry", "neighbours", "mathematics"}


def texts(ax):
    return [t.get_text() for t in ax.texts]


def figure_of(lab, key, **state):
    """The axes of a view, and the result that it draws."""
    result = lab.bench.compute({**lab.state, **state})
    return lab_views.figure(key, result).axes, result


def test_accuracy_draws_four_bars(lab):
    (ax,), result = figure_of(lab, "numbers", method="partial", strength=0.5)
    r = result.report
    want = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([100 * x for x in want])
    assert texts(ax) == [percent(x) for x in want]


@pytest.mark.parametrize("method, values", [("partial", "strength"), ("anchored", "lam")])
def test_curve_draws_both_accuracies_along_the_dial(lab, method, values):
    (left, right), result = figure_of(lab, "curve", method=method)
    own, r = result.curve[method], result.report
    named = {line.get_label(): line for line in left.lines}
    for kind in ("forget", "retain"):
        assert list(named[kind].get_xdata()) == own.values
        assert list(named[kind].get_ydata()) == pytest.approx([100 * y for y in getattr(own, kind)])
    assert list(named["you are here"].get_xdata()) == [result.state[values]] * 2
    assert named["you are here"].get_ydata() == pytest.approx([100 * r.forget_after, 100 * r.retain_after])
    *grey, path, here = right.lines
    others = [m for m in result.curve if m != method]
    for line, m in zip([*grey, path], [*others, method], strict=True):
        assert list(line.get_xdata()) == pytest.approx([100 * y for y in result.curve[m].forget])
        assert list(line.get_ydata()) == pytest.approx([100 * y for y in result.curve[m].retain])
    assert (*here.get_xdata(), *here.get_ydata()) == pytest.approx(
        (100 * r.forget_after, 100 * r.retain_after)
    )


def test_geometry_draws_the_points_and_what_moves(lab):
    (ax,), result = figure_of(lab, "pca")
    before, after, gone = (x.numpy() for x in result.geometry.clouds["pictures"][:3])
    clouds = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
    assert np.allclose(clouds["before"][: len(before)], before)
    assert np.allclose(clouds["pictures after"], after[~gone])
    assert np.allclose(clouds["forgotten pictures"], after[gone])
    (arrows,) = (c for c in ax.collections if isinstance(c, Quiver) and c.get_zorder() == 2.5)
    ends = arrows.XY + np.stack([arrows.U, arrows.V], 1)
    assert np.allclose(arrows.XY[: gone.sum()], before[gone]) and np.allclose(ends[: gone.sum()], after[gone])


def test_pictures_draws_each_beside_what_it_became(lab):
    (ax,), result = figure_of(lab, "images")
    first = result.destinations[0]
    assert f"→ {first.now} (×{first.times})" in texts(ax)[0]
    sheet, side = np.asarray(ax.images[0].get_array()), SIDE
    for left, row in ((8, first.row), (8 + side + 22, first.now_row)):
        shown = lab.bench.data.images[row].resize((side, side), Image.Resampling.BILINEAR)
        assert np.array_equal(sheet[28 : 28 + side, left : left + side], np.asarray(shown))


def test_neighbours_draws_change_against_cosine(lab):
    food = lab.bench.presets["A whole category"].state["forget"]
    (ax,), result = figure_of(lab, "neighbours", method="nullspace", forget=food)
    want = [(row.cosine, 100 * row.change) for row in result.neighbours]
    assert np.allclose(ax.collections[0].get_offsets(), want)
    at = {row.name: (row.cosine, 100 * row.change) for row in result.neighbours}
    assert len(ax.texts) == 3
    for text in ax.texts:
        assert text.xy == pytest.approx(at[text.get_text()])


@pytest.mark.parametrize("half", [False, True])
def test_neighbours_names_the_classes_of_its_sentence(lab, half):
    for state in (
        lab.bench.presets["A whole category"].state,
        {"forget": 30, "method": "ccup"},
        {"method": "nullspace"},
    ):
        result = lab.bench.compute({**state, "method": "nullspace"})
        drawn = lab_views.figure("neighbours", result, half)
        drawn.canvas.draw()
        (ax,) = drawn.axes
        named = re.findall(r"([^,:]+) \([−+][\d.]+ at cosine", PANELS["neighbours"].sentence(result))
        assert [text.get_text() for text in ax.texts] == [name.strip() for name in named] and len(named) == 3
        boxes = [Text.get_window_extent(text) for text in ax.texts]  # without the line to the point
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_mathematics_draws_the_numbers(lab):
    (ax,), result = figure_of(lab, "mathematics")
    assert texts(ax)[1] == f"{result.mathematics.rank:.0f}"
    assert texts(ax)[10] == f"{result.mathematics.forget_residual:.3f}"


def test_one_picture_draws_its_best_names(lab):
    (left, before, after), result = figure_of(lab, "single", image=4)
    shown = lab.bench.data.images[4].resize((160, 160), Image.Resampling.BILINEAR)
    assert np.array_equal(left.images[0].get_array(), np.asarray(shown))
    for ax, best in ((before, result.single.before), (after, result.single.after)):
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([c for _, c in best])
        assert texts(ax) == [f"{name}  {c:.2f}" for name, c in best]


def test_curve_moves_between_linear_and_log(lab, recwarn):
    lab.view.value = "curve"
    for method in ("anchored", "partial", "ccup", "nullspace"):
        lab.controls["method"].value = method
        assert lab.figure().axes[0].get_xscale() == ("log" if method in ("anchored", "ccup") else "linear")
    lab.controls["method"].value = "anchored"
    lab.controls["mu"].value = 0.0
    assert_in_step(lab)
    assert not [w for w in recwarn if "log" in str(w.message)]


def test_thumbnails(lab):
    lab.view.value = "pca"
    assert lab.thumbnails.layout.display is None
    picture = lab.images[0].value
    lab.thumbnails.value = True
    assert lab.images[0].value != picture and lab.figure().findobj(AnnotationBbox)
    lab.thumbnails.value = False
    assert lab.images[0].value == picture and not lab.figure().findobj(AnnotationBbox)


def test_presets(lab):
    for name, preset in lab.bench.presets.items():
        lab.preset.value = name
        assert lab.state == preset.state
        assert lab.visible == ["numbers", preset.view]
        assert name in lab.hint.value and preset.hint.split()[-1] in html.unescape(lab.hint.value)
        assert_in_step(lab)


def test_the_same_preset_again(lab):
    name = "Half a projection"
    lab.preset.value = name
    lab.controls["strength"].value = 0.1
    lab.view.value = "pca"
    lab.preset.value = name
    assert lab.state == lab.bench.presets[name].state and lab.visible == ["numbers", "curve"]
    assert_in_step(lab)


def test_the_same_category_again(lab):
    lab.category.value = "food-drink"
    chosen = lab.state["forget"]
    lab.controls["forget"].value = (lab.bench.data.classes[0],)
    lab.category.value = "food-drink"
    assert lab.state["forget"] == chosen and len(chosen) > 5
    assert_in_step(lab)


def test_random_classes_follow_the_seed(lab):
    lab.random_k.value = 4
    drawn = []
    for seed in (0, 5, 0):
        lab.controls["seed"].value = seed
        lab.draw_random.click()
        drawn.append(lab.state["forget"])
        assert drawn[-1] == lab.bench.check({"forget": 4, "seed": seed})["forget"]
    assert drawn[0] == drawn[2] != drawn[1]


def test_picture_of_a_class(lab):
    lab.view.value = "single"
    lab.picture_of.value = "lemon"
    assert lab.result.single.true == "lemon"
    assert lab.bench.data.classes[lab.bench.data.labels[lab.state["image"]]] == "lemon"
    lab.controls["image"].value = 0
    lab.picture_of.value = "lemon"
    assert lab.result.single.true == "lemon"
    assert_in_step(lab)


def test_any_state_is_kept_as_it_is(lab):
    """Dials stop at round numbers; a state may hold others."""
    for state in (
        {"lam": 7.0, "mu": 0.0}, {"lam": 0.0, "mu": 12345.0}, {"method": "word", "word": "a thing"},
        {"method": "random", "strength": 0.123, "seed": 99}, {"forget": lab.bench.data.classes[5:2:-1]},
    ):  # fmt: skip
        lab.state = state
        assert lab.state == lab.bench.check(state) == lab.result.state
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


def test_controls_of_two_threads_take_turns(lab, monkeypatch):
    """JupyterLab may answer two controls at once; the numbers are those of the state that stays."""
    lab.controls["method"].value = "ccup"
    compute, started, other_done = lab.bench.compute, threading.Event(), threading.Event()

    def slow(state):
        result = compute(state)
        if state["lam"] == 1e4 and state["mu"] != 0:
            started.set()
            other_done.wait(0.5)
        return result

    monkeypatch.setattr(lab.bench, "compute", slow)
    first = threading.Thread(target=lambda: setattr(lab.controls["lam"], "value", 1e4))
    first.start()
    assert started.wait(10)
    lab.controls["mu"].value = 0.0
    other_done.set()
    first.join(10)
    assert not first.is_alive() and lab.result.state["mu"] == 0
    assert_in_step(lab)


def test_a_fault_is_shown_and_raised(lab, monkeypatch):
    def fault(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(lab.bench, "compute", fault)
    with pytest.raises(RuntimeError, match="out of order"):
        lab.update()
    assert "out of order" in lab.message.value and isinstance(lab.error, RuntimeError)


def test_a_state_that_cannot_be_is_refused_whole(lab):
    state, result = lab.state, lab.result
    with pytest.raises(ValueError, match="strength"):
        lab.state = {"method": "ccup", "strength": 3.0}
    assert lab.state == state and lab.result is result


def test_python_and_saving_are_of_the_last_good_state(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = lab.python()
    lab.controls["forget"].value = ()
    assert lab.error is not None and lab.python() == code
    lab.buttons["figure"].click()
    assert (tmp_path / "clipnull-numbers.png").is_file()


def upload(lab, content):
    """What the browser sends, in the shape of this ipywidgets."""
    if ipywidgets.__version__.startswith("7"):
        lab.file.set_trait("value", {"x.png": {"metadata": {"name": "x.png"}, "content": content}})
    else:
        lab.file.value = ({"name": "x.png", "type": "", "size": len(content), "content": memoryview(content),
                           "last_modified": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)},)  # fmt: skip


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


def test_upload_of_a_picture(lab):
    lab.view.value = "single"
    picture = lab.bench.data.images[4]
    upload(lab, png(picture))
    assert lab.error is None
    want = lab.result.top5(lab.bench.embed_picture(picture))
    assert lab.result.single.after == want.after and len(want.after) == 5
    assert said(lab).startswith("Your picture")
    assert lab.figure().texts[0].get_text().startswith("Your picture")
    lab.controls["method"].value = "ccup"  # the picture stays while the edit changes
    assert lab.result.single.after == lab.result.top5(lab.bench.embed_picture(picture)).after
    lab.controls["image"].value = 2
    assert said(lab).startswith("“")
    assert_in_step(lab)


def test_the_same_upload_again(lab):
    lab.view.value = "single"
    content = png(lab.bench.data.images[4])
    for _ in range(2):
        upload(lab, content)
        assert said(lab).startswith("Your picture")
        lab.controls["image"].value = lab.state["image"] + 1
        assert said(lab).startswith("“")


def test_transparent_upload_lies_on_white(lab):
    lab.view.value = "single"
    upload(lab, png(Image.new("RGBA", (90, 60), (0, 0, 0, 0))))
    shown = np.asarray(lab.result.single.picture)
    assert shown.shape == (60, 90, 3) and shown.min() == 255


def test_large_upload_is_kept_small(lab):
    lab.view.value = "single"
    upload(lab, png(Image.new("1", (3000, 1000))))
    assert lab.error is None and max(lab.result.single.picture.size) <= 320


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
    assert "0x" not in lab.message.value and "BytesIO" not in lab.message.value
    assert lab.result is result and lab.images[0].value == drawn
    lab.controls["image"].value = 3
    assert lab.error is None and lab.message.value == ""


# --- out -------------------------------------------------------------------------------------


def test_python_button(lab):
    lab.buttons["code"].click()
    assert lab.code.value == lab.python() and lab.code.layout.display is None
    lab.controls["method"].value = "ccup"
    assert (
        lab.code.value == lab.python() and "make(case.T_f, case.T_r, lam=1000.0, mu=300.0)" in lab.code.value
    )
    assert "scenes=1" in lab.code.value  # the data that this lab was given
    compile(lab.code.value, "lab", "exec")
    lab.buttons["code"].click()
    assert lab.code.layout.display == "none"


def test_save_figure(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab.beside.value = "curve"
    lab.buttons["figure"].click()
    for key in ("numbers", "curve"):
        picture = Image.open(tmp_path / f"clipnull-{key}.png")
        assert picture.width == round(WIDE / 96 * 150) and np.asarray(picture.convert("L")).std() > 5
        assert f"clipnull-{key}.png" in lab.message.value


def test_show_panel(lab, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("clipnull.lab.views.show_picture", lambda picture, alt: shown.append((picture, alt)))
    for case in ("One class, anchored", "A class with a near twin", "The control"):
        preset = lab.bench.presets[case]
        lab_views.show_panel(lab.bench, case)
        printed, (picture, alt) = capsys.readouterr().out.replace("\n", " "), shown[-1]
        assert picture.size == (2 * HALF, HEIGHT)
        for key in ("numbers", preset.view):
            sentence_ = sentence(lab, key, preset.state)
            assert sentence_ in printed and sentence_ in alt
        assert preset.hint in printed and case in alt
    lab_views.show_panel(lab.bench, "The control", "pca")
    printed = capsys.readouterr().out.replace("\n", " ")
    assert sentence(lab, "pca", lab.bench.presets["The control"].state) in printed
    with pytest.raises(ValueError, match="case"):
        lab_views.show_panel(lab.bench, "no such case")


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
    # the receipt says what the lab says, and what was saved does it
    receipt, r = saved.receipt, lab.result.report
    assert receipt["classes"] == lab.state["forget"]
    again = Bench(saved, lab.bench.data)
    before_any_edit = again.compute({"method": "partial", "strength": 0.0}).report
    assert before_any_edit.forget_after == pytest.approx(r.forget_after)
    assert before_any_edit.retain_after == pytest.approx(r.retain_after)


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
    lab.controls["forget"].value = ("lemon", "tiger")
    lab.controls["image"].value = 5
    before = lab.state
    lab.controls["subset"].value = "food-drink"
    data = lab.bench.at("food-drink").data
    assert list(lab.controls["forget"].options) == list(data.classes) and "tiger" not in data.classes
    assert lab.state["forget"] == ["lemon"] and lab.result.data is data
    assert lab.controls["image"].max == len(data) - 1
    assert_in_step(lab)
    lab.view.value = "images"
    assert_in_step(lab)
    lab.state = before  # back, by way of the state
    assert lab.state == before and len(lab.controls["forget"].options) == 97
    assert_in_step(lab)
    lab.controls["subset"].value = "food-drink"
    lab.preset.value = "The control"  # a case is of the whole data
    assert lab.state["subset"] == ""
    assert_in_step(lab)


def test_subset_that_cannot_be_read(lab, monkeypatch):
    def missing():
        raise ValueError("subset: its pictures are not there")

    monkeypatch.setitem(lab.bench.subsets, "objects", missing)
    state, numbers = lab.state, lab.numbers.value
    lab.controls["subset"].value = "objects"
    assert "not there" in lab.message.value and isinstance(lab.error, ValueError)
    assert lab.state == state and lab.numbers.value == numbers
    lab.update()
    assert lab.error is None


def test_data_of_one_kind_have_no_subsets(pocket, data):
    plain = dataclasses.replace(data.subset(range(5)), categories=[], subcategories=[], keywords=[], name="")
    lab = cn.lab.ForgetRetainLab(pocket, plain, {"method": "nullspace", "synonyms": True})
    assert lab.controls["subset"].options == (("the data, 5 classes", ""),)
    for view in VIEWS:
        lab.view.value = view
        assert_in_step(lab)


def test_classes_without_pictures(pocket, data):
    some = dataclasses.replace(
        data.subset(range(6)), images=data.images[[1, 2]], labels=data.labels[[1, 2]], scene=[]
    )
    lab = cn.lab.ForgetRetainLab(pocket, some, {"forget": [some.classes[0]]})
    for view in VIEWS:
        lab.view.value = view
        assert_in_step(lab)
    assert "nothing, for there are none" in lab.numbers.value and "–" in lab.numbers.value
