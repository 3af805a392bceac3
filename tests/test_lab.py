"""The lab's computation: the same figures as the package's own functions, for any state."""

from __future__ import annotations

import contextlib
import copy
import io
import random

import pytest
import torch

import clipnull as cn
from clipnull.lab import DEFAULT_STATE, METHODS, PRESETS, SIDES, VIEWS, Bench, code_for

CATEGORY = "food-drink"


@pytest.fixture(scope="session")
def small(pocket):
    return cn.datasets.load("twemoji", scenes=1, size=pocket.image_size)


@pytest.fixture(scope="module")
def bench(pocket, small):
    return Bench(pocket, small)


def random_state(bench, seed):
    draw = random.Random(seed)
    return {
        "forget": draw.sample(bench.data.classes, draw.randint(1, 12)),
        "method": list(METHODS)[seed % len(METHODS)],
        "strength": draw.choice([0.0, 0.3, 1.0]),
        "lam": draw.choice([0.1, 10.0, 1000.0]),
        "mu": draw.choice([0.0, 10.0, 30.0]),
        "components": draw.randint(0, 8),
        "word": draw.choice(["an animal", "  rock "]),
        "erase_as": draw.choice(["", "", "zyzzyva, big cat,"]),
        "templates": draw.random() < 0.5,
        "synonyms": draw.random() < 0.5,
        "side": SIDES[seed % 3],
        "seed": seed,
    }


def plainly(bench, state):
    """The same, written out with the package's public functions."""
    clip, data = bench.clip, bench.data
    prompts = data.templates if state["templates"] else None
    T = clip.embed_text(data.classes, templates=prompts)
    texts = list(state["forget"])
    if state["synonyms"]:
        texts += [w for n in state["forget"] for w in data.keywords[data.classes.index(n)]]
    if state["erase_as"]:
        texts = [t.strip() for t in state["erase_as"].split(",") if t.strip()]
    T_f = clip.embed_text(list(dict.fromkeys(texts)), templates=prompts)
    T_r = T[[c not in state["forget"] for c in data.classes]]
    dials = (T_f, T_r, state["lam"], state["mu"])
    edit = {
        "nullspace": lambda: cn.nullspace(T_f),
        "partial": lambda: cn.nullspace(T_f, state["strength"]),
        "ccup": lambda: cn.consistent(*dials),
        "mean": lambda: cn.consistent(*dials, anchor="mean"),
        "coarse": lambda: cn.consistent(*dials, anchor="coarse", components=state["components"]),
        "word": lambda: cn.consistent(
            *dials, anchor=clip.embed_text([state["word"].strip()], templates=prompts)
        ),
        "random": lambda: cn.random_subspace(
            T.shape[1], cn.subspace.numerical_rank(T_f), state["seed"], state["strength"]
        ),
    }[state["method"]]()
    Z = clip.embed_images(data.images)
    return cn.evaluate(Z, T, data.labels, state["forget"], edit, state["side"], data.classes)


@pytest.mark.parametrize("seed", range(42))
def test_compute_is_the_plain_evaluate(bench, seed):
    state = random_state(bench, seed)
    result, want = bench.compute(state, ["numbers"]), plainly(bench, state)
    got = result.report
    assert got.forget == want.forget
    same = got.predicted_after == want.predicted_after
    if state["side"] != "image":
        # a name sent to zero has no direction to normalise: rounding decides which pictures it wins
        T = bench.evaluator(state["templates"]).T
        gone = (result.edit.apply_text(T).norm(dim=1) < 1e-3).nonzero()[:, 0]
        same = same[~torch.isin(got.predicted_after, gone) & ~torch.isin(want.predicted_after, gone)]
    assert same.double().sum() >= 0.98 * len(same)
    assert torch.equal(got.predicted_before, want.predicted_before)
    if torch.equal(got.predicted_after, want.predicted_after):
        assert got.forget_after == want.forget_after and got.per_class == want.per_class
        assert got.destinations() == want.destinations()


def plain(x):
    """Tensors as lists, so that results compare."""
    if torch.is_tensor(x):
        return x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x


def everything(result):
    return plain(
        [getattr(result, v) for v in VIEWS if v != "numbers"]
    ), result.report.predicted_after.tolist()


def test_compute_is_pure(bench, pocket, small):
    states = [random_state(bench, s) for s in range(7)]
    kept = copy.deepcopy(states)
    once = [everything(bench.compute(s)) for s in states]
    again = [everything(bench.compute(s)) for s in reversed(states)][::-1]
    assert states == kept and once == again
    assert once[3] == everything(Bench(pocket, small).compute(states[3]))


def test_only_the_views_asked_for_are_computed(bench):
    result = bench.compute({}, ["numbers", "single"])
    assert result.single and not (result.curve or result.pca or result.images or result.mathematics)


def test_curve_passes_through_the_point(bench):
    for method, dial, value in (("mean", "lam", 10.0), ("partial", "strength", 0.5)):
        result = bench.compute({"method": method, dial: value}, ["curve"])
        i = min(range(len(result.curve["values"])), key=lambda k: abs(result.curve["values"][k] - value))
        line = result.curve["methods"][method]
        assert line["forget"][i] == pytest.approx(result.report.forget_after)
        assert line["retain"][i] == pytest.approx(result.report.retain_after)


def test_curve_of_other_dials_is_not_taken_from_memory(bench):
    many = bench.data.classes[::3]
    curves = [
        bench.compute({"forget": many, "method": "mean", "mu": mu}, ["curve"]).curve for mu in (0.0, 1000.0)
    ]
    fresh = Bench(bench.clip, bench.data)
    assert curves[1] == fresh.compute({"forget": many, "method": "mean", "mu": 1000.0}, ["curve"]).curve
    assert curves[0] != curves[1]


def test_mathematics_of_the_projector(bench):
    m = bench.compute({"forget": 5, "method": "nullspace"}, ["mathematics"]).mathematics
    assert m["rank"] == 5
    assert max(m["orthonormality"], m["idempotence"], m["forget_residual"]) < 1e-5
    exact = bench.compute({"forget": 5, "method": "random", "strength": 0.0}, ["mathematics"]).mathematics
    assert exact["rank"] == 0
    assert [exact["retain_moved"], exact["norm_taken"]] == pytest.approx([0, 0], abs=1e-6)


def test_images_rows_are_what_they_say(bench):
    result = bench.compute({"forget": CATEGORY, "method": "ccup"}, ["images"])
    report, classes = result.report, bench.data.classes
    for d in result.images["destinations"]:
        for row in d["rows"]:
            assert report.labels[row] in report.forget
            assert classes[report.predicted_after[row]] == d["name"]
    for lost in result.images["lost"]:
        assert classes[report.labels[lost["row"]]] == lost["true"] != lost["now"]
        assert report.predicted_before[lost["row"]] == report.labels[lost["row"]]


def test_forget_takes_names_a_category_a_number_or_a_share(bench):
    C = len(bench.data.classes)
    by = {f: bench.check({"forget": f})["forget"] for f in (CATEGORY, 7, 0.25)}
    assert set(by[CATEGORY]) == {
        c for c, k in zip(bench.data.classes, bench.data.categories, strict=True) if k == CATEGORY
    }
    assert len(by[7]) == 7 and len(by[0.25]) == round(C / 4)
    assert by[7] != bench.check({"forget": 7, "seed": 1})["forget"]


@pytest.mark.parametrize(
    "state, words",
    [
        ({"forget": []}, "forget"),
        ({"forget": 10**6}, "forget"),
        ({"forget": ["no such class"]}, "no such class"),
        ({"method": "magic"}, "method"),
        ({"side": "left"}, "side"),
        ({"strength": 2.0}, "strength"),
        ({"lam": -1.0}, "lam"),
        ({"method": "word", "word": " "}, "word"),
        ({"erase_as": " , ,"}, "erase_as"),
        ({"colour": "red"}, "colour"),
        ({"image": 10**9}, "image"),
    ],
)
def test_impossible_states_say_why(bench, state, words):
    with pytest.raises(ValueError, match=words):
        bench.compute(state)


def test_unknown_view(bench):
    with pytest.raises(ValueError, match="views"):
        bench.compute({}, ["sound"])


def test_presets_are_full_states_that_compute(bench):
    assert list(bench.presets) == list(PRESETS)
    for hint, state in bench.presets.values():
        assert hint and set(state) == set(DEFAULT_STATE)
        assert bench.data.classes[bench.data.labels[state["image"]]] == state["forget"][0]
        bench.compute(state)


DATA = 'cn.datasets.load("twemoji", scenes=1, size=clip.image_size)'


@pytest.mark.parametrize("seed", range(7))
def test_code_runs_as_it_is_and_prints_the_same(bench, seed, monkeypatch):
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    state = bench.check({**random_state(bench, seed), "side": "image"})
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code_for(state, DATA), {})
    report = bench.compute(state, ["numbers"]).report
    for line in str(report).splitlines()[2:4]:
        assert line in printed.getvalue()
