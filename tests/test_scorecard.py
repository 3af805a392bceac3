"""The scorecard on constructed data: names, images and layer of which everything is known."""

from __future__ import annotations

import builtins
import math

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull.scorecard import MEASURES, METHODS, Scorecard, scorecard

C, D, WIDTH, PER = 14, 32, 40, 8


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def problem():
    """Unit names in a cone, images near their names, and two other words near each name."""
    axis = F.normalize(normal(D, seed=1), dim=0)
    T = F.normalize(0.8 * axis + F.normalize(normal(C, D), dim=1), dim=1)
    layer = normal(WIDTH, D, seed=2)
    y = torch.arange(C).repeat_interleave(PER)
    target = T[y] + 0.25 * F.normalize(normal(len(y), D, seed=3), dim=1)
    H = target @ torch.linalg.pinv(layer)
    owner = torch.arange(C).repeat_interleave(2)
    words = F.normalize(T[owner] + 0.35 * F.normalize(normal(2 * C, D, seed=4), dim=1), dim=1)
    made_up = F.normalize(0.8 * axis + F.normalize(normal(4, D, seed=5), dim=1), dim=1)
    return dict(
        Z=F.normalize(H @ layer, dim=1),
        T=T,
        labels=y,
        H=H,
        weight=layer,
        words=words,
        owner=owner,
        made_up=made_up,
    )


@pytest.fixture(scope="module")
def card():
    pytest.importorskip("concept_erasure")
    return scorecard(**problem(), sizes=(1, 5), draws={1: 2, 5: 1})


def test_every_method_has_a_row_and_every_measurement_a_column(card):
    assert card.sizes == [1, 5] and card.methods == list(METHODS) and card.skipped == {}
    assert card.draws == {1: 2, 5: 1} and set(card.new_name) == {1, 5}
    for row in card.values.values():
        assert list(row) == list(MEASURES)
    missing = {(m, k) for (_, m), row in card.values.items() for k, v in row.items() if math.isnan(v)}
    assert missing == {("leace", "weights"), ("leace", "relearn")}


@pytest.mark.parametrize("size", [1, 5])
def test_known_answers(card, size):
    bare = card[size, "no edit"]
    assert bare["forget"] == bare["retain"] == bare["neighbours"] == 1
    assert bare["weights"] == bare["relearn"] == 0
    for method in ("ccup", "anchored", "multi-name", "drop the label"):
        assert card[size, method]["forget"] == 0
    # the label is struck off a list: no reader of the model notices
    struck = card[size, "drop the label"]
    assert struck["conformal"] == 0 and struck["retain"] >= 1
    for name in ("words", "probe", "one image", "weights", "relearn"):
        assert struck[name] == bare[name]
    # what is spanned is forgotten, what is not spanned less so
    assert card[size, "multi-name"]["words"] <= card[size, "anchored"]["words"]
    assert card[size, "anchored"]["words"] < bare["words"]
    # every edit is in the weights; the names of a projector are read off at once
    for method in ("nullspace", "partial", "ccup"):
        assert card[size, method]["weights"] == 1
    assert card[size, "ccup"]["relearn"] > 0


def test_names_that_tie_are_read_off_by_chance():
    """An edit that spans every name gives none of them away."""

    def everything(T_f, T_r):
        return cn.nullspace(torch.cat([T_f, T_r]))

    sizes = (1, 5)
    card = scorecard(**problem(), sizes=sizes, draws=1, methods=["nullspace"], extra={"all": everything})
    for m in sizes:
        assert card[m, "all"]["weights"] == pytest.approx(m / C) and card[m, "nullspace"]["weights"] == 1


def test_the_control_changes_little(card):
    random, bare = card[1, "random"], card[1, "no edit"]
    for name in ("forget", "retain", "probe", "words"):
        assert abs(random[name] - bare[name]) < 0.2
    assert card[1, "nullspace"]["forget"] < 0.2 < random["forget"]
    assert random["weights"] < 1 and random["relearn"] == 0


def test_methods_of_ones_own():
    seen = []

    def builder(T_f, T_r):
        seen.append((len(T_f), len(T_r)))
        return cn.nullspace(T_f)

    card = scorecard(**problem(), sizes=(1,), draws=1, methods=["nullspace"], extra={"mine": builder})
    assert seen == [(1, C - 1)]
    assert card.methods == ["no edit", "nullspace", "mine"]
    assert card[1, "mine"] == card[1, "nullspace"]


def test_no_method_is_measured_on_images_it_was_made_from():
    from clipnull.scorecard import _Trial

    p = problem()
    g = torch.Generator().manual_seed(0)
    trial = _Trial(
        p["Z"],
        p["T"],
        p["labels"],
        p["H"],
        p["weight"],
        p["words"],
        p["owner"],
        p["made_up"],
        [2, 7],
        {},
        100,
        3,
        g,
    )
    rows = {tuple(z) for z in trial.Z.tolist()}
    assert not rows & {tuple(z) for z in trial.used.tolist()} and len(rows) == len(trial.used) == C * PER // 2
    assert {tuple(z) for z in trial.images.tolist()} <= {tuple(z) for z in trial.used.tolist()}
    assert len(trial.H) == len(p["H"]) - 2
    assert not {tuple(w) for w in trial.spanned.tolist()} & {tuple(w) for w in trial.words["words"].tolist()}
    assert set(trial.words["owner"].tolist()) == {2, 7}


def test_goodness_reads_against_no_edit(card):
    for size in card.sizes:
        good = card.goodness(size)
        assert good.shape == (len(card.methods), len(MEASURES))
        at = {
            m: dict(zip(MEASURES, row.tolist(), strict=True))
            for m, row in zip(card.methods, good, strict=True)
        }
        known = good[~torch.isnan(good)]
        assert bool((known >= 0).all()) and bool((known <= 1).all())
        assert at["no edit"]["forget"] == at["no edit"]["probe"] == 0 and at["no edit"]["retain"] == 1
        assert at["anchored"]["forget"] == 1 and at["no edit"]["weights"] == 1
        assert math.isnan(at["leace"]["weights"])


def test_goodness_without_anything_to_read_against():
    """A model that recognised nothing, or learns a new name without a step, leaves no division by zero."""
    empty = Scorecard({(1, "no edit"): {k: 0.0 for k in MEASURES}}, {1: 0.0})
    good = dict(zip(MEASURES, empty.goodness(1)[0].tolist(), strict=True))
    assert good["relearn"] == 0 and good["forget"] == good["weights"] == 1
    assert math.isnan(Scorecard(empty.values).goodness(1)[0][-1])


def test_best_keeps_to_the_limits():
    def row(**values):
        return {k: 0.0 for k in MEASURES} | values

    card = Scorecard(
        {
            (1, "no edit"): row(forget=1.0, retain=1.0),
            (1, "drop the label"): row(retain=1.0),
            (1, "random"): row(retain=1.0),
            (1, "ccup"): row(forget=0.0, retain=0.8, probe=0.1),
            (1, "anchored"): row(forget=0.02, retain=0.95, probe=0.5),
            (1, "partial"): row(forget=0.5, retain=0.99, probe=0.5, **{"one image": 0.5}),
        }
    )
    assert card.best(1, "retain") == "partial"
    assert card.best(1, "retain", forget=("<=", 0.05)) == "anchored"
    assert card.best(1, "probe", forget=("<=", 0.05)) == "ccup"
    assert card.best(1, "probe", forget=("<=", 0.05), retain=(">=", 0.9)) == "anchored"
    assert card.best(1, "retain", one_image=(">=", 0.4)) == "partial"
    assert card.best(1, "retain", retain=(">=", 1.1)) is None
    # of equals the cheaper one
    assert card[1, "anchored"]["probe"] == card[1, "partial"]["probe"]
    assert card.best(1, "probe", retain=(">=", 0.9)) == "partial"


def test_nothing_kept_is_no_share():
    parts = problem()
    wrong = parts | {"labels": (parts["labels"] + 1) % C}  # no image is recognised
    card = scorecard(**wrong, sizes=(1,), draws=2, methods=["anchored"])
    for method in card.methods:
        assert math.isnan(card[1, method]["retain"]) and math.isnan(card[1, method]["neighbours"])
        assert card[1, method]["forget"] < 0.5
    assert card.best(1, "retain") is None
    assert card.best(1, "probe", retain=(">=", 0.9)) is None


def test_same_seed_same_card():
    options = dict(sizes=(2,), draws=1, methods=["anchored", "random"])
    first, again, other = (scorecard(**problem(), **options, seed=s) for s in (0, 0, 1))
    assert first.values == again.values != other.values


def test_mixed_precision_is_cast_to_that_of_the_images():
    parts = problem()
    options = dict(sizes=(1,), draws=1, methods=["nullspace"])
    want = scorecard(**{k: v.double() if v.is_floating_point() else v for k, v in parts.items()}, **options)
    parts["weight"] = parts["weight"].clone().requires_grad_()
    mixed = scorecard(**parts | {"Z": parts["Z"].double().numpy()}, **options)
    assert mixed.values.keys() == want.values.keys()
    for key, row in mixed.values.items():
        assert row == pytest.approx(want.values[key], abs=1e-4)


def test_leace_missing_is_said(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("concept_erasure"):
            raise ImportError("no such package")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    card = scorecard(**problem(), sizes=(1,), draws=1, methods=["leace", "anchored"])
    assert card.methods == ["no edit", "anchored"]
    assert "concept-erasure is not installed" in card.skipped["leace"]
    assert "not measured: leace (concept-erasure is not installed" in str(card)


def test_shows_itself(card):
    text, page = str(card), card._repr_html_()
    for method in METHODS:
        assert method in text and method in page
    assert "5 forgotten" in text and "steps to relearn, steps (high)" in page
    fig = cn.audit_plots.scorecard(card, title="All of it")
    assert "5 forgotten: no edit" in cn.plots.alt(fig) and "All of it" in fig.get_suptitle()
    drawn = {t.get_text() for t in fig.axes[0].texts}
    assert card.cells(5)[4][1] in drawn and "–" in drawn


def test_bad_input():
    parts = problem()
    with pytest.raises(ValueError, match="methods: got 'x', want one of no edit"):
        scorecard(**parts, sizes=(1,), methods=["x"])
    with pytest.raises(ValueError, match=r"sizes: got \[14\], want 1 to 13, the classes with other words"):
        scorecard(**parts, sizes=(14,))
    with pytest.raises(ValueError, match="labels: got shape"):
        scorecard(**parts | {"labels": parts["labels"][1:]}, sizes=(1,))
    with pytest.raises(ValueError, match="by: got 'x', want one of forget"):
        Scorecard({}).best(1, "x")
