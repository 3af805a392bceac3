"""The audit on constructed data, where the true answer is known, each against its control."""

from __future__ import annotations

import math
import sys

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import plots
from clipnull.auditing.confidence import calibration_error, confidence, conformal_sets
from clipnull.auditing.controls import controls, rebuild
from clipnull.auditing.probes import leace, linear_probe, probe, yes_or_no
from clipnull.auditing.report import Measurement, NotMeasured
from clipnull.auditing.words import Words, embed_words, other_words


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed))


def by_name(rows: list[Measurement]) -> dict[str, Measurement]:
    return {r.name: r for r in rows}


@pytest.fixture(scope="module")
def planted() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two classes that differ in one direction and in nothing else: X [600, 16], labels, direction."""
    y = torch.arange(600) % 2
    u = F.normalize(randn(16, seed=1), dim=0)
    return randn(600, 16) + (6.0 * y - 3.0)[:, None] * u, y, u


@pytest.fixture(scope="module")
def cone() -> dict[str, torch.Tensor]:
    """Names around a common direction, images around their names: T [12, 40], Z [240, 40], y."""
    T = F.normalize(randn(40, seed=2) / 40**0.5 + F.normalize(randn(12, 40, seed=3), dim=1), dim=1)
    y = torch.arange(12).repeat_interleave(20)
    return dict(T=T, y=y, Z=F.normalize(T[y] + 0.07 * randn(240, 40, seed=4), dim=1))


# --- a probe: a planted direction ------------------------------------------------------------


def test_a_probe_finds_a_direction_unless_it_is_erased(planted):
    X, y, u = planted
    v = F.normalize(randn(16, seed=9), dim=0)
    case = cn.Case(X, torch.eye(2, 16), y, [1])
    gone, elsewhere, half = (
        probe(case, edit)
        for edit in (cn.nullspace(u), cn.nullspace(v - (v @ u) * u), cn.nullspace(u, strength=0.5))
    )
    assert gone.before > 0.95 and abs(gone.after - 0.5) < 0.06
    assert elsewhere.after > 0.85 and half.after > 0.85
    assert "Gone: no better than chance" in gone.means and "1 of 16 directions" in gone.means
    assert "is still there" in half.means and gone.control == 0.5
    # yes or no of the classes themselves, on embeddings as they are
    assert yes_or_no(case, cn.nullspace(u).apply_image(X)) < 0.56 < 0.95 < yes_or_no(case, X)


def test_a_probe_that_found_nothing_before_says_so():
    case = cn.Case(randn(200, 16), torch.eye(2, 16), torch.arange(200) % 2, [0])
    assert "cannot be told from chance" in probe(case, cn.nullspace(torch.eye(16)[0])).means


# --- LEACE -----------------------------------------------------------------------------------


def test_leace_guards_the_question_it_was_fitted_for():
    pytest.importorskip("concept_erasure")
    C, per = 6, 40
    y = torch.arange(C).repeat_interleave(per)
    X = 4 * F.normalize(randn(C, 24, seed=5), dim=1)[y] + 0.3 * randn(C * per, 24)
    case = cn.Case(X, torch.eye(C, 24), y, [0])
    guard = leace(case)
    gap = guard[y == 0].mean(0) - guard[y != 0].mean(0)
    assert gap.norm() < 1e-4 < 1 < (X[y == 0].mean(0) - X[y != 0].mean(0)).norm()
    assert yes_or_no(case, X) > 0.95 and yes_or_no(case, guard) < 0.6
    # the other question is not guarded: classes are still told apart
    assert float((linear_probe(guard, y) == y)[y != 0].double().mean()) > 0.9


def test_leace_absent_is_said(cone, monkeypatch):
    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    with pytest.raises(ValueError, match=r'not installed: pip install -e "\.\[leace\]"'):
        leace(cn.Case(cone["Z"], cone["T"], cone["y"], [0]))


# --- controls --------------------------------------------------------------------------------


def test_controls_tell_an_edit_from_chance(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    rows = by_name(controls(cn.Case(Z, T, y, [0, 1]), cn.nullspace(T[:2]), seeds=6))
    forgotten, rotated, others, retained = rows.values()
    assert forgotten.after < 0.1 and min(forgotten.control, rotated.control, others.control) > 0.9
    assert retained.against == "candidate masking"
    assert len(forgotten.values) == 6 and forgotten.spread >= 0
    assert "names' own directions" in forgotten.means and "names' own directions" in others.means
    dropped = cn.candidate_masking(cn.Case(Z, T, y, [0, 1]))
    assert retained.control == pytest.approx(dropped.retain_after)
    report = cn.evaluate(cn.Case(Z, T, y, [0, 1]), cn.nullspace(T[:2]))
    assert (forgotten.before, forgotten.after) == pytest.approx((report.forget_before, report.forget_after))
    assert (retained.before, retained.after) == pytest.approx((report.retain_before, report.retain_after))


def test_the_strength_of_another_kind_of_edit_is_not_the_controls(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    edit = cn.nullspace(T[:2])
    drawn = [
        controls(cn.Case(Z, T, y, [0, 1]), cn.Edit(edit.left, edit.right, info), seeds=3)[0].values
        for info in ({}, {"method": "mine", "strength": 1.5}, {"method": "mine", "strength": 0.0})
    ]
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("method", cn.METHODS)
def test_rebuild_gives_the_same_edit(cone, method):
    T = cone["T"]
    edit = cn.METHODS[method].make(T[:2], T[2:], seed=4)
    again = rebuild(edit, T[:2], T[2:])
    assert torch.allclose(edit.matrix(), again.matrix(), atol=1e-6) and edit.info == again.info
    assert method == "random" or not torch.allclose(
        edit.matrix(), rebuild(edit, T[2:4], T[4:]).matrix(), atol=1e-3
    )


def test_rebuild_refuses_what_it_cannot_know(cone):
    T = cone["T"]
    for edit in (cn.consistent(T[:1], T[1:], anchor=T[5]), cn.Edit(torch.zeros(40, 1), torch.zeros(40, 1))):
        with pytest.raises(ValueError, match="cannot be made again"):
            rebuild(edit, T[:1], T[1:])
        row = by_name(controls(cn.Case(cone["Z"], T, cone["y"], [0]), edit, seeds=2))[
            "forgotten, other names"
        ]
        assert "Not measured: edit: cannot be made again" in row.means and math.isnan(row.control)


# --- other words -----------------------------------------------------------------------------


def synonyms() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of class 0 are part name (e_0), part synonym (e_10). Z, T, y, words [4, 16]."""
    e = torch.eye(16)
    y = torch.arange(4).repeat_interleave(10)
    Z = e[y] + (y == 0)[:, None] * e[10] + 0.2 * e[1:4].sum(0) + 0.02 * randn(40, 16)
    words = torch.stack([e[0], e[10], F.normalize(e[0] + 0.01 * e[9], dim=0), e[14]])
    return F.normalize(Z, dim=1), e[:4], y, words


def test_another_word_brings_the_class_back():
    Z, T, y, words = synonyms()
    row = other_words(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), Words(words, [0] * 4, list("abcd")))
    same, synonym, typo, unrelated = row.words
    assert (same.before, same.after, same.control, same.back) == (1, 0, 1, False)
    assert (synonym.before, synonym.after, synonym.control, synonym.back) == (1, 1, 1, True)
    assert (typo.before, typo.after) == (1, 0) and unrelated.before == unrelated.after == 0
    assert [w.text for w in row.words] == list("abcd") and "1 of 4 bring back" in row.means
    assert "most of all 'b', 100.0%" in row.means
    assert (row.before, row.after) == (0.75, 0.25)


def test_a_word_counts_only_above_made_up_words():
    """An edit that leaves images along e_12: every word with a part of e_12 takes them."""
    Z, T, y, _ = synonyms()
    e = torch.eye(16)
    somewhere_else = cn.Edit(e[[0, 10]].T, torch.stack([e[0] - 2 * e[12], e[10]], 1))
    case = cn.Case(Z, T, y, [0])
    words, nonsense = torch.stack([e[12] + e[3], e[12] + e[5]]), (e[12] + 0.1 * e[6])[None]
    alone = other_words(case, somewhere_else, Words(words, [0, 0], ["a", "b"]))
    row = other_words(case, somewhere_else, Words(words, [0, 0], ["a", "b"], nonsense))
    assert alone.after == row.after == row.control == 1 and row.against == "made-up words"
    assert all(w.back for w in alone.words) and not any(w.back for w in row.words)
    assert "0 of 2 bring back" in row.means and "more than a made-up word" in row.means
    knows = Words(torch.stack([e[0], e[10]]), [0, 0], ["a", "b"], nonsense)
    kept = other_words(case, cn.nullspace(T[:1]), knows)
    assert [w.back for w in kept.words] == [False, True] and kept.control == 0


def test_a_word_that_is_the_name_is_evaluate():
    Z, T, y, _ = synonyms()
    case, edit = cn.Case(Z, T, y, [0]), cn.nullspace(T[:1], strength=0.7)
    row, report = other_words(case, edit, Words(T[:1], [0], ["it"])), cn.evaluate(case, edit)
    assert (row.before, row.after) == (report.forget_before, report.forget_after)


def test_embedded_words_are_keywords_and_ones_own(pocket):
    data = cn.datasets.load("twemoji", scenes=1).subset(["tiger", "ant", "pizza"])
    more = {"tiger": ["a big cat", "Ant"]}
    words = embed_words(pocket, data, ["tiger"], more)
    want = [w for w in (*data.keywords[0], *more["tiger"]) if w.lower() not in ("tiger", "ant", "pizza")]
    assert words.texts == tuple(dict.fromkeys(want)) and "a big cat" in want
    assert words.owner.tolist() == [0] * len(words.texts)
    assert torch.allclose(words.embeddings, pocket.embed_text(list(words.texts), templates=data.templates))
    assert words.made_up.shape == (5, pocket.dim)
    data.keywords = [[], [], []]
    assert embed_words(pocket, data, ["tiger"]) is None


# --- confidence ------------------------------------------------------------------------------


def calls(n: int, C: int = 8, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities, and labels drawn from them: a perfectly calibrated predictor."""
    p = (2 * randn(n, C, seed=seed)).softmax(1)
    return p, torch.multinomial(p, 1, generator=generator(seed + 1))[:, 0]


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_conformal_coverage_is_nominal_on_exchangeable_data(alpha):
    p, y = calls(6000)
    sets = conformal_sets(p[3000:], p[:3000], y[:3000], alpha)
    covered = sets[torch.arange(3000), y[3000:]].double().mean()
    assert abs(float(covered) - (1 - alpha)) < 0.025
    # the control: labels that have nothing to do with p
    other = torch.randint(8, (3000,), generator=generator(7))
    assert sets[torch.arange(3000), other].double().mean() < 1 - alpha - 0.1


def test_conformal_coverage_holds_on_average_for_few_calibration_images():
    p, y = calls(40 * 200, seed=5)
    hits = [
        float(conformal_sets(p[i + 20 : i + 40], p[i : i + 20], y[i : i + 20], 0.2)[torch.arange(20), y[i + 20 : i + 40]].double().mean())
        for i in range(0, len(p), 40)
    ]  # fmt: skip
    assert 0.8 <= sum(hits) / len(hits) < 0.86


def test_conformal_sets_hold_everything_when_there_is_too_little_to_calibrate_on():
    p, y = calls(8)
    assert conformal_sets(p, p[:3], y[:3], 0.1).all()
    assert not conformal_sets(p, p[:3], y[:3], 0.5).all()


def test_ece_of_a_calibrated_predictor_is_nearly_zero():
    p, y = calls(40000)
    ece, table = calibration_error(p, y, bins=10)
    assert ece < 0.01 and int(table.images.sum()) == 40000
    used = table.images > 500
    assert (table.accuracy - table.confidence).abs()[used].max() < 0.05


@pytest.mark.parametrize("gap", [0.1, 0.3])
def test_ece_is_the_planted_gap(gap):
    y = torch.zeros(1000, dtype=torch.long)
    y[: round(1000 * (0.1 + gap))] = 1  # right on the rest, always said with 0.9
    ece, _ = calibration_error(torch.tensor([0.9, 0.1]).repeat(1000, 1), y)
    assert ece == pytest.approx(gap, abs=1e-6)


def test_ece_does_not_let_bins_cancel():
    p = torch.tensor([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    y = torch.tensor([1] * 4 + [0] * 6 + [0] * 9 + [1])  # 0.9 said, 0.6 right; 0.6 said, 0.9 right
    assert calibration_error(p, y, 10)[0] == pytest.approx(0.3, abs=1e-6)
    assert calibration_error(p, y, 1)[0] == pytest.approx(0.0, abs=1e-6)


def test_confidence_on_images_of_an_erased_name(cone):
    case = cn.Case(cone["Z"], cone["T"], cone["y"], [0])
    rows = by_name(confidence(case, cn.nullspace(case.T_f), scale=20.0))
    assert list(rows) == [
        "entropy, forgotten",
        "calibration error, retained",
        "entropy, forgotten, refitted",
        "calibration error, retained, refitted",
        "true class in conformal set",
    ]
    inside = rows["true class in conformal set"]
    assert inside.before > 0.8 and inside.control > 0.8 and inside.after < 0.2
    assert rows["entropy, forgotten"].after > rows["entropy, forgotten"].before
    assert rows["entropy, forgotten"].unit == "bits"
    p = (20.0 * case.Z[case.gone] @ F.normalize(case.T, dim=1).T).softmax(1)
    assert rows["entropy, forgotten"].before == pytest.approx(float(-(p * p.log2()).sum(1).mean()), rel=1e-4)
    same = confidence(case, cn.nullspace(case.T_f, strength=0.0), scale=20.0)
    assert all(r.before == pytest.approx(r.after) for r in same)
    # 20 is far from sure enough for these images, and what is said follows the sign
    assert "under-confident" in rows["calibration error, retained"].means
    sure = by_name(confidence(case, cn.random_subspace(40, 25, seed=2), scale=1000.0))
    assert "over-confident" in sure["calibration error, retained"].means


# --- the report ------------------------------------------------------------------------------


def test_audit_of_embeddings_is_seeded_and_shows_itself(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    case = cn.Case(Z, T, y, ["<class 0>"], [f"<class {i}>" for i in range(12)])
    edit, words = cn.nullspace(T[:1]), Words(T[:2], [0, 0], ["a", "b"])
    first, again = (cn.audit(None, case, edit, words=words) for _ in range(2))
    assert str(first) == str(again) == repr(first)
    text, table = str(first), first._repr_html_()
    for row in first.rows:
        assert row.name in text and row.name in table and row.means and row.source
    assert "<class 0>" in text and "&lt;class 0&gt;" in table and "<class 0>" not in table
    assert first["linear probe"].before > 0.9
    with pytest.raises(ValueError, match="name: got 'probe', want one of"):
        first["probe"]
    assert "forgetting <class 3>:" in cn.audit(None, case, edit, forget=[3]).title


def test_audit_of_what_ships_and_of_names_alone():
    coco = cn.datasets.embeddings("coco")
    index = [coco.classes.index(n) for n in ("cat", "airplane")]
    case = cn.Case(coco.Z, coco.T, coco.labels, index, coco.classes)
    edits = {m: cn.METHODS[m].make(case.T_f, case.T_r) for m in ("nullspace", "mean")}
    found = {m: cn.audit(None, coco, edit, forget=["cat", "airplane"]) for m, edit in edits.items()}
    for m, report in found.items():
        assert report["2-way recall"].after == pytest.approx(case.evaluate(edits[m]).n_way[2].after)
        assert not report.skipped and report["forgotten, zero-shot"].after == 0
    attack = found["nullspace"]["attack, embeddings"]
    assert "win for 2 of 2 names" in attack.means and 0.95 * attack.control < attack.after <= attack.control
    attack = found["mean"]["attack, embeddings"]
    assert "win for 0 of 2 names" in attack.means and attack.after < 1e-5 and attack.before > 0.3
    assert found["mean"]["certificate"].after < 1e-6 < found["nullspace"]["certificate"].after
    names = cn.audit(None, cn.Case(None, coco.T, None, index, coco.classes), edits["mean"])
    assert [row.name for row in names.rows] == ["certificate", "attack, embeddings"]
    assert "no images" in names.title
    assert names["certificate"].before == found["mean"]["certificate"].before


def test_audit_of_forgotten_images_alone_says_what_it_cannot_know(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    report = cn.audit(None, cn.Case(Z[y == 3], T, y[y == 3], [3]), cn.nullspace(T[[3]]))
    for name in ("short lists", "linear probe", "confidence"):
        assert report.skipped[name] == "labels: no image of a retained class, want at least one"
    assert report["forgotten, zero-shot"].after < 0.2 and math.isnan(report["retained, zero-shot"].after)
    assert "nan" not in str(report) and "not measured: linear probe (labels: no image of" in str(report)


def test_audit_takes_embeddings_with_gradients(cone):
    Z, T, y = cone["Z"].clone().requires_grad_(), cone["T"].clone().requires_grad_(), cone["y"]
    report = cn.audit(None, cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]))
    assert not report.skipped and report["forgotten, zero-shot"].after < 0.2


def test_large_sets_are_thinned_for_the_probe(cone, monkeypatch):
    monkeypatch.setattr(sys.modules["clipnull.auditing.run"], "AT_MOST", 60)
    case, seen = cn.Case(cone["Z"], cone["T"], cone["y"], [0]), []
    monkeypatch.setattr(
        sys.modules["clipnull.auditing.run"],
        "probe",
        lambda few, edit, seed: seen.append(few) or probe(few, edit),
    )
    cn.audit(None, case, cn.nullspace(cone["T"][:1]))
    assert torch.bincount(seen[0].labels).tolist() == [5] * 12


def test_measurement_cells():
    row = Measurement("x", 0.5, math.nan, 0.25, "chance", "It is.", spread=0.125)
    assert row.cells() == ["x, %", "50.0", "–", "25.0 ± 12.5"]
    assert Measurement("s", 0, 3, math.inf, "", "", unit="steps").cells() == ["s, steps", "0", "3", "never"]
    assert Measurement("h", 1.5, 2, 0.25, "", "", unit="bits").cells() == ["h, bits", "1.50", "2", "0.25"]
    assert Measurement("c", -1e-9, 0, 0, "", "", unit="cosine").cells() == ["c, cosine", *3 * ["0.000"]]


@pytest.fixture(scope="module")
def small(pocket):
    data = cn.datasets.load("twemoji", subset="animals-nature", scenes=3).subset(range(0, 60, 2))
    return pocket, data, pocket.embed_text(data.classes, templates=data.templates)


def test_audit_of_pocketclip(small):
    clip, data, T = small
    forget = [data.classes[0], data.classes[5]]
    edit = cn.METHODS["mean"].make(T[[0, 5]], T[[i for i in range(len(T)) if i not in (0, 5)]])
    report = cn.audit(clip, data, edit, forget)
    assert not report.skipped and not cn.model.folded_edits(clip)
    rows = {row.name for row in report.rows}
    assert {"other words", "attack, pixels", "name read off the weights", "relearned"} <= rows
    assert all(a in report.title for a in forget) and "90 images, 30 classes" in report.title
    plain = cn.Case(clip.embed_images(data.images), T, data.labels, [0, 5]).evaluate(edit)
    assert report["forgotten, zero-shot"].after == pytest.approx(plain.forget_after)
    assert report["retained, zero-shot"].after == pytest.approx(plain.retain_after)
    pixels = report["attack, pixels"]
    assert pixels.before == pixels.control == 1 and pixels.after == 0 and "0.0% of 2 names" in pixels.means


def test_audit_finds_what_was_forgotten(small):
    clip, data, _ = small
    few = data.subset(range(8))
    T = clip.embed_text(few.classes, templates=few.templates)
    edit = cn.METHODS["nullspace"].make(T[[7]], T)
    assert f"forgetting {few.classes[7]}:" in cn.audit(clip, few, edit).title
    named = cn.Edit(edit.left, edit.right, {**edit.info, "classes": [few.classes[2]]})
    assert f"forgetting {few.classes[2]}:" in cn.audit(clip, few, named).title


# --- figures ---------------------------------------------------------------------------------


def test_figures_have_titles_axes_and_alt_text(cone):
    case = cn.Case(cone["Z"], cone["T"], cone["y"], [0], [f"class {i}" for i in range(12)])
    edit = cn.nullspace(case.T_f)
    calm = confidence(case, edit)[1]
    said = other_words(case, edit, Words(case.T[:2], [0, 0], ["this", "that"]))
    figures = {
        "controls": plots.controls(controls(case, edit, seeds=3), title="A"),
        "words": plots.words(said, case.classes, title="C"),
        "reliability": plots.reliability(dict(zip(["before", "after"], calm.bins, strict=True)), title="D"),
    }
    for name, fig in figures.items():
        assert fig.get_suptitle() and fig.axes[0].get_xlabel(), name
        assert len(cn.plots.alt(fig)) > 60 and "nan" not in cn.plots.alt(fig), name
        fig.canvas.draw()
    assert "this (class 0)" in cn.plots.alt(figures["words"])


# --- bad input -------------------------------------------------------------------------------


def test_bad_input(cone, small):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    case, edit = cn.Case(Z, T, y, [0]), cn.nullspace(T[:1])
    absent, single = cn.Case(Z[20:], T, y[20:], [0]), cn.Case(Z[19:], T, y[19:], [0])
    sure = torch.eye(12)
    bad = [
        (lambda: controls(absent, edit), "labels: no image is of a forgotten class"),
        (lambda: other_words(absent, edit, Words(T[:1], [0], ["a"])), "labels: no image is of a forgotten"),
        (lambda: controls(case, cn.nullspace(T[:1, :5])), "edit: acts on 5 dimensions, want 40"),
        (lambda: cn.audit(None, case, cn.nullspace(T[:1, :5])), "edit: acts on 5 dimensions, want 40"),
        (lambda: cn.audit(None, absent, edit), "labels: no image is of a forgotten class"),
        (lambda: cn.audit(None, case, edit, forget=["nobody"]), "forget: got the name 'nobody', want indices"),
        (lambda: other_words(case, edit, Words(T[:1], [1], ["a"])), r"owner: classes \[1\] are not forgotten"),
        (lambda: other_words(case, edit, Words(T[:1, :5], [0], ["a"])), "words: rows have 5 entries, want 40"),
        (lambda: linear_probe(Z, torch.zeros(240, dtype=torch.long)), "two classes or more"),
        (lambda: linear_probe(Z[:3], [0, 1, 2]), "two images, one per fold"),
        (lambda: probe(single, edit), "fewer than 2 images"),
        (lambda: calibration_error(-sure, [0] * 12), "p: want probabilities"),
        (lambda: calibration_error(sure, [-1] * 12), "labels: entries run from -1"),
        (lambda: confidence(case, edit, math.nan), "scale: got nan"),
        (lambda: cn.audit(small[0], small[1], edit), "edit: acts on 40 dimensions, want 256"),
    ]  # fmt: skip
    for call, message in bad:
        with pytest.raises(ValueError, match=message):
            call()


# --- what cannot be measured, and what must not look so ---------------------------------------


#: a file of the room, and a function that it calls in a measurement
CALLED = [
    ("controls", "random_subspace"),
    ("controls", "candidate_masking"),
    ("controls", "rebuild"),
    ("controls", "certificate"),
    ("controls", "turned"),
    ("words", "control"),
    ("probes", "linear_probe"),
    ("confidence", "fitted_scale"),
    ("run", "attack_embeddings"),
]


@pytest.mark.parametrize(("file", "name"), CALLED)
@pytest.mark.parametrize("fault", [ValueError, ImportError])
def test_a_fault_inside_a_measurement_comes_out(cone, monkeypatch, file, name, fault):
    """Only `NotMeasured` becomes a line of the report: another ValueError is a bug, and says so."""

    def bug(*args, **kwargs):
        raise fault("planted")

    monkeypatch.setattr(sys.modules[f"clipnull.auditing.{file}"], name, bug)
    case = cn.Case(cone["Z"], cone["T"], cone["y"], [0])
    with pytest.raises(fault, match="planted"):
        cn.audit(None, case, cn.nullspace(case.T_f), words=Words(cone["T"][:1], [0], ["a"]))


def not_measured(*args, **kwargs):
    raise NotMeasured("for speed")


@pytest.mark.parametrize("step", ["fingerprint", "relearning", "layers", "last_layer", "attack_pixels"])
def test_a_fault_inside_an_attack_comes_out(small, monkeypatch, step):
    def bug(*args, **kwargs):
        raise ValueError("planted")

    clip, data, T = small
    for quick in ("controls", "short_lists", "other_words", "probe", "confidence", "attack_embeddings"):
        monkeypatch.setattr(sys.modules["clipnull.auditing.run"], quick, not_measured)
    monkeypatch.setattr(sys.modules["clipnull.auditing.run"], step, bug)
    with pytest.raises(ValueError, match="planted"):
        cn.audit(clip, data, cn.nullspace(T[[0]]), [0])


def test_nothing_is_left_out_silently(cone):
    """Two images, two classes, an edit that cannot be made again: every question has a line or a reason."""
    Z, T, y = cone["Z"], cone["T"], cone["y"] // 6
    pick = [0, 120]
    case, edit = cn.Case(Z[pick], T[:2], y[pick], [0]), cn.Edit(torch.zeros(40, 1), torch.zeros(40, 1))
    report = cn.audit(None, case, edit, words=Words(T[:1], [0], ["a"]))
    assert set(report.skipped) == {"linear probe", "confidence"}
    assert "a single class is retained" in report["forgotten, other names"].means
    names = [row.name for row in report.rows]
    assert names == [
        "forgotten, zero-shot", "forgotten, turned edit", "forgotten, other names", "retained, zero-shot",
        "2-way recall", "search", "other words", "certificate", "attack, embeddings",
    ]  # fmt: skip
    assert all(name in str(report) for name in [*names, *report.skipped])
