"""ForgetRetainLab, headless: every control in, results and pictures out, under both ipywidgets."""

from __future__ import annotations

import dataclasses
import datetime
import html
import io
import math
import re
import threading

import ipywidgets
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

import clipnull as cn
from clipnull._show import percent
from clipnull.evaluation import SIDES
from clipnull.lab import base
from clipnull.lab import views as lab_views
from clipnull.lab.bench import Bench
from clipnull.lab.state import EVERY, EXAMPLES, TITLES, dials
from clipnull.lab.views import HEIGHT, SIDE, VIEWS, WIDE, measures


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
    nan = float("nan")
    two = (r.n_way[2].before, r.n_way[2].after) if r.n_way else (nan, nan)
    pairs = [(r.forget_before, r.forget_after), two, r.search]
    kinds = [r.case.retain]
    if r.case.listed != r.case.retain:
        kinds = [r.case.listed, [c for c in r.case.retain if c not in r.case.listed]]
    for kind in kinds:
        right = [(p == r.case.labels)[r.case.of(kind)] for p in (r.predicted_before, r.predicted_after)]
        pairs.append([float(x.double().mean()) for x in right])
    return [percent(x) for pair in pairs for x in pair]


def sentence(lab, key, state=None):
    """What a view says of a state, computed anew."""
    return lab_views.drawn(key, lab.bench.compute(lab.state if state is None else state))[1]


def said(lab):
    """The caption under the view, as text."""
    return html.unescape(re.sub(r"<[^>]*>", "", lab.caption.value))


def assert_in_step(lab):
    assert lab.error is None, lab.error
    assert shown(lab) == expected(lab)
    assert bytes(lab.image.value[:4]) == b"\x89PNG"
    assert said(lab) == sentence(lab, lab.view.value)
    assert html.unescape(lab.alt.value) == f"{VIEWS[lab.view.value][0]}. {said(lab)}"


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
        ("ccup", "lam", math.inf),
        ("mean", "mu", 1.0),
        ("hull", "mu", "auto"),
        ("mean", "scale", 0.9),
        ("hull", "margin", 0.5),
        ("nullspace", "told", EVERY),
        ("ccup", "asked", "{}"),
        ("mean", "listed", 0.5),
        *(("mean", "side", side) for side in SIDES),
    ],
)
def test_control(lab, method, key, value):
    lab.controls["method"].value = method
    lab.controls[key].value = value
    assert lab.state[key] == value == lab.result.state[key]
    assert_in_step(lab)


def test_fewer_dimensions(lab):
    lab.controls["method"].value = "hull"
    lab.controls["dimensions"].value = 40
    assert lab.state["dimensions"] == lab.result.state["dimensions"] == 40 and lab.result.shorter < 1
    assert_in_step(lab)
    lab.controls["dimensions"].value = lab.controls["dimensions"].max
    assert lab.state["dimensions"] is None
    assert_in_step(lab)


def test_strength_changes_the_numbers_and_the_picture(lab):
    lab.controls["method"].value = "partial"
    lab.controls["strength"].value = 0.0
    zero, picture = shown(lab), lab.image.value
    assert zero[::2] == zero[1::2]
    lab.controls["strength"].value = 1.0
    assert_in_step(lab)
    assert shown(lab) != zero and lab.image.value != picture


def test_a_method_starts_at_its_own_hyperparameters(lab):
    for method in cn.METHODS:
        lab.controls["method"].value = method
        assert {k: lab.state[k] for k in dials(method)} == {
            k: cn.METHODS[method].defaults.get(k, 1.0) for k in dials(method)
        }
    lab.controls["method"].value = "mean"
    assert lab.controls["mu"].label == f"auto: {lab.result.edit.info['mu']:.3g}"
    lab.controls["forget"].value = ("lemon", "pig", "tiger")
    assert lab.controls["mu"].label == f"auto: {lab.result.edit.info['mu']:.3g}"
    assert lab.state["mu"] == "auto"
    assert_in_step(lab)


def test_forget_classes_and_a_category(lab):
    classes = lab.bench.data.classes
    lab.controls["forget"].value = (classes[3], classes[5])
    assert lab.result.case.forget == [3, 5]
    lab.category.value = lab.category.options[1]
    assert {lab.bench.data.categories[i] for i in lab.result.case.forget} == {"animals-nature"}
    assert_in_step(lab)


@pytest.mark.parametrize("key", ["strength", "lam", "mu", "scale", "margin", "image"])
def test_a_control_is_shown_alone_when_it_matters(lab, key):
    """Hiding one hid others: they shared a layout."""
    wanted = {"strength": "partial", "scale": "mean", "margin": "hull"}.get(key, "ccup")
    lab.controls["method"].value = wanted
    lab.view.value = "single" if key == "image" else "numbers"
    assert lab.controls[key].layout.display is None
    lab.controls["method"].value = "nullspace"
    lab.view.value = "numbers"
    assert lab.controls[key].layout.display == "none"
    for always in ("forget", "method", "side", "told", "asked", "listed", "dimensions", "seed"):
        assert lab.controls[always].layout.display is None


@pytest.mark.parametrize("view", VIEWS)
def test_view(lab, view):
    lab.view.value = view
    assert_in_step(lab)
    picture = Image.open(io.BytesIO(lab.image.value))
    assert picture.size == (WIDE, HEIGHT) and np.asarray(picture.convert("L")).std() > 5
    assert lab.image.value == base.png(lab_views.view(view, lab.result), 96)


@pytest.mark.parametrize("view", VIEWS)
def test_a_picture_depends_on_its_state_alone(lab, view):
    states = [{"method": "ccup"}, {"method": "partial", "strength": 0.2, "side": "both"}]
    first, other = (base.png(lab_views.view(view, lab.bench.compute(state))) for state in states)
    assert base.png(lab_views.view(view, lab.bench.compute(states[0]))) == first != other


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off(lab, view):
    """Every text of a view lies within its figure, with long names too."""
    long = dataclasses.replace(
        lab.bench.data, classes=[f"{c} of the longest name there is" for c in lab.bench.data.classes]
    )
    bench = Bench(lab.bench.clip, long.subset(range(0, 97, 3)))
    for method in ("nullspace", "mean", "random"):
        state = {"forget": bench.data.classes[:4], "method": method, "side": "both"}
        drawn = lab_views.view(view, bench.compute(state))
        FigureCanvasAgg(drawn).draw()
        for text in set(drawn.findobj(Text)) - ticks_out_of_view(drawn):
            if text.get_visible() and text.get_text().strip():
                box = text.get_window_extent()
                inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= WIDE + 1 and box.y1 <= HEIGHT + 1
                assert inside, (method, text.get_text(), box)


def ticks_out_of_view(figure):
    """Labels that matplotlib keeps but does not draw."""
    found = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        found |= {t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high}
    return found


def test_hidden_views_are_not_computed(lab):
    assert not vars(lab.result).keys() & {"curve", "geometry", "neighbours", "mathematics"}


def texts(ax):
    return [t.get_text() for t in ax.texts]


def figure_of(lab, key, **state):
    """The axes of a view, and the result that it draws."""
    result = lab.bench.compute({**lab.state, **state})
    return lab_views.view(key, result).axes, result


def test_accuracy_draws_every_measure(lab):
    (left, right), result = figure_of(lab, "numbers", method="partial", strength=0.5, listed=0.7)
    measured = measures(result.report).values()
    assert [bar.get_width() for bar in right.patches] == pytest.approx([100 * m.after for m in measured])
    assert len(measured) == 5
    own = next(line for line in left.get_lines() if line.get_label() == "partial, here")
    ways = result.report.n_way.values()
    assert own.get_xydata().tolist() == [[w.names, pytest.approx(100 * w.after)] for w in ways]
    assert {*result.others} == {"nullspace", "ccup", "mean", "hull"}


@pytest.mark.parametrize("method", ["partial", "ccup", "mean", "hull", "random"])
def test_curve_draws_the_accuracies_along_the_dial(lab, method):
    (ax,), result = figure_of(lab, "curve", method=method)
    (_, values, lines), r = result.curve, result.report
    named = {line.get_label(): line for line in ax.lines}
    for label, accuracies in lines.items():
        assert list(named[label].get_xdata()) == values
        assert list(named[label].get_ydata()) == pytest.approx([100 * y for y in accuracies])
    assert list(named["you are here"].get_xdata()) == [result.edit.info[dials(method)[0]]] * 2
    assert named["you are here"].get_ydata() == pytest.approx([100 * r.forget_after, 100 * r.retain_after])


def test_geometry_draws_the_points_and_what_moves(lab):
    (ax,), result = figure_of(lab, "pca")
    before, after, gone = (x.numpy() for x in result.geometry[1:4])
    clouds = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
    assert np.allclose(clouds["before"], before)
    assert np.allclose(clouds["pictures after"], after[~gone])
    assert np.allclose(clouds["forgotten pictures"], after[gone])
    _, arrows = (c for c in ax.collections if isinstance(c, Quiver))
    ends = arrows.XY + np.stack([arrows.U, arrows.V], 1)
    assert np.allclose(arrows.XY, before[gone]) and np.allclose(ends, after[gone])


def test_pictures_draws_each_beside_what_it_became(lab):
    (ax,), result = figure_of(lab, "images")
    row, times = result.destinations[0]
    now = result.case.classes[result.report.predicted_after[row]]
    assert f"→ {now} (×{times})" in texts(ax)[0]
    sheet, side = np.asarray(ax.images[0].get_array()), SIDE
    for left, i in ((8, row), (8 + side + 22, lab.bench.where(now)[0])):
        shown = lab.bench.data.images[i].resize((side, side), Image.Resampling.BILINEAR)
        assert np.array_equal(sheet[28 : 28 + side, left : left + side], np.asarray(shown))


@pytest.mark.parametrize("forget", ["food-drink", "animals-nature"])
def test_neighbours_draws_change_against_cosine(lab, forget):
    (ax,), result = figure_of(lab, "neighbours", method="ccup", lam=None, mu=None, forget=forget)
    want = sorted((row.cosine, 100 * row.change) for row in result.neighbours)
    drawn = np.concatenate([c.get_offsets() for c in ax.collections])
    assert np.allclose(sorted(map(tuple, drawn)), want)
    _, _, most = lab_views.drawn("neighbours", result)[1].partition("Most of all:")
    named = re.findall(r"([^,:]+) \([−+][\d.]+ at cosine", most)
    lines = texts(ax)[-1].split("\n")[1:] if texts(ax) else []
    assert [line.split("  ")[1].rsplit(" ", 1)[0] for line in lines] == [name.strip() for name in named]
    assert bool(named) == any(row.change < 0 for row in result.neighbours)


def test_mathematics_draws_the_numbers(lab):
    (ax,), result = figure_of(lab, "mathematics")
    assert texts(ax)[1] == f"{result.mathematics['rank']:.0f}"
    assert texts(ax)[7] == f"{result.mathematics['forget_residual']:.3f}"
    assert texts(ax)[16] == f"{result.mathematics['certificate']:.4f}"
    assert texts(ax)[19] == f"{result.mathematics['shorter']:.1%}"


def test_one_picture_draws_its_best_names(lab):
    (left, before, after), result = figure_of(lab, "single", image=4)
    shown = lab.bench.data.images[4].resize((160, 160), Image.Resampling.BILINEAR)
    assert np.array_equal(left.images[0].get_array(), np.asarray(shown))
    for ax, best in ((before, result.single.before), (after, result.single.after)):
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([c for _, c in best])
        assert texts(ax) == [f"{name}  {c:.2f}" for name, c in best]


def test_curve_moves_between_linear_and_log(lab, recwarn):
    lab.view.value = "curve"
    for method in ("mean", "partial", "ccup", "nullspace"):
        lab.controls["method"].value = method
        (ax,) = lab_views.view("curve", lab.result).axes
        assert ax.get_xscale() == ("log" if method in ("mean", "ccup") else "linear")
    lab.controls["method"].value = "ccup"
    lab.controls["mu"].value = 0.0
    lab.controls["lam"].value = math.inf
    assert_in_step(lab)
    assert not [w for w in recwarn if "log" in str(w.message)]


def test_cases(lab):
    for name, case in EXAMPLES.items():
        lab.cases[name].click()
        assert lab.state == lab.bench.example(name) and lab.view.value == case.view
        assert name in lab.hint.value and case.question.split()[-1] in html.unescape(lab.hint.value)
        assert_in_step(lab)


def test_a_case_is_drawn_again(lab):
    """Other classes of its kind; what else was moved stays. Without a case: as many at random."""
    lab.cases["alone"].click()
    lab.controls["method"].value = "hull"
    lab.view.value = "pca"
    for seed in (1, 2):
        lab.buttons["again"].click()
        assert lab.state == lab.bench.example("alone", seed, method="hull") and lab.view.value == "pca"
        assert_in_step(lab)
    lab.cases["alone"].click()
    assert lab.state == lab.bench.example("alone") and lab.view.value == "neighbours"
    lab.buttons["reset"].click()
    lab.controls["forget"].value = tuple(lab.bench.data.classes[:3])
    lab.buttons["again"].click()
    assert len(lab.state["forget"]) == 3 and lab.state["seed"] == 1


def test_the_same_category_again(lab):
    lab.category.value = "food-drink"
    chosen = lab.state["forget"]
    lab.controls["forget"].value = (lab.bench.data.classes[0],)
    lab.category.value = "food-drink"
    assert lab.state["forget"] == chosen and len(chosen) > 5
    assert_in_step(lab)


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
        {"method": "ccup", "lam": 7.0, "mu": 0.0}, {"method": "ccup", "lam": 0.0, "mu": 12345.0},
        {"mu": 3.25}, {"method": "hull", "mu": "auto", "margin": 0.25}, {"told": EVERY, "asked": "{}"},
        {"listed": 0.3, "dimensions": 17}, {"scale": 0.123},
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
    ],
)
def test_impossible_choice_keeps_the_last_result(lab, break_it, words):
    result, picture, numbers = lab.result, lab.image.value, lab.numbers.value
    break_it(lab)
    assert isinstance(lab.error, ValueError) and words in lab.message.value
    assert "The last result stays" in lab.message.value
    assert lab.result is result and lab.image.value == picture and lab.numbers.value == numbers
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
        lab.state = {"method": "partial", "strength": 3.0}
    assert lab.state == state and lab.result is result


def test_python_is_of_the_last_good_state(lab):
    code = lab.python()
    lab.controls["forget"].value = ()
    assert lab.error is not None and lab.python() == code


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
    assert lab_views.view("single", lab.result).texts[0].get_text().startswith("Your picture")
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
        "huge": png(Image.new("1", (12000, 12000))),
        "empty": b"",
    }[kind]
    result, drawn = lab.result, lab.image.value
    upload(lab, content)
    assert isinstance(lab.error, ValueError) and "cannot be read" in lab.message.value
    assert "0x" not in lab.message.value and "BytesIO" not in lab.message.value
    assert lab.result is result and lab.image.value == drawn
    lab.controls["image"].value = 3
    assert lab.error is None and lab.message.value == ""


# --- out -------------------------------------------------------------------------------------


def test_python_button(lab):
    lab.buttons["code"].click()
    assert lab.code.value == lab.python() and lab.code.layout.display is None
    lab.controls["method"].value = "ccup"
    call = "make(told.T_f, told.T_r, lam=100.0, mu=1000.0)"
    assert lab.code.value == lab.python() and call in lab.code.value
    assert "scenes=1" in lab.code.value  # the data that this lab was given
    compile(lab.code.value, "lab", "exec")
    lab.buttons["code"].click()
    assert lab.code.layout.display == "none"


def test_what_was_found_is_saved_and_nothing_overwritten(lab, tmp_path):
    lab.save(tmp_path / "found.py")
    assert (tmp_path / "found.py").read_text(encoding="utf-8") == lab.python()
    lab.controls["method"].value = "ccup"
    with pytest.raises(ValueError, match=r"path: got .*found\.py.* which exists"):
        lab.save(str(tmp_path / "found.py"))
    assert (tmp_path / "found.py").read_text(encoding="utf-8") != lab.python()


def test_a_table_without_pictures():
    lab = cn.lab.ForgetRetainLab(data=cn.datasets.embeddings("coco"))
    assert lab.state["forget"] == ["airplane"]  # no photograph there has a bus, and most have one of these
    assert lab.controls["mu"].label == "auto: 10⁴"
    for view in VIEWS:
        lab.view.value = view
        assert_in_step(lab)
        assert lab.file.layout.display == lab.category.layout.display == "none"
    assert "no picture" in lab_views.view("single", lab.result).axes[0].texts[0].get_text()
    for name in EXAMPLES:
        lab.cases[name].click()
        assert_in_step(lab)
    assert lab.python().splitlines()[3] == "data = cn.datasets.embeddings('coco')"


def test_every_control_says_what_it_does(lab):
    menus = lab.category, lab.picture_of, lab.file
    for control in (*lab.controls.values(), *menus, *lab.cases.values(), *lab.buttons.values()):
        tip = control.tooltip if hasattr(control, "tooltip") else control.description_tooltip
        assert len(tip) > len("description")
        assert tip != control.description
    assert lab.view.tooltips == tuple(VIEWS[view][1] for view in VIEWS)
    said = html.unescape(lab.controls["method"].description)  # where a menu's tip is
    assert all(f"{name}: {method.becomes}" in said for name, method in cn.METHODS.items())


def test_reset_and_state(lab):
    start = lab.state
    lab.state = {**start, "method": "ccup", "lam": 7.0, "forget": lab.bench.data.classes[:3]}
    assert lab.state["lam"] == 7.0 and lab.controls["method"].value == "ccup"
    assert_in_step(lab)
    lab.buttons["reset"].click()
    assert lab.state == start


def test_data_of_one_kind(pocket, data):
    plain = dataclasses.replace(data.subset(range(5)), categories=[], keywords=[], name="")
    lab = cn.lab.ForgetRetainLab(pocket, plain, {"method": "nullspace"})
    assert len(lab.category.options) == 1 and lab.category.layout.display == "none"
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
