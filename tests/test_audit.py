"""The audit on constructed data, where the true answer is known, each against its control."""

from __future__ import annotations

import math
import sys

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import plots
from clipnull.auditing.cases import edited, rebuild
from clipnull.auditing.confidence import calibration_error, confidence, conformal_sets, entropy, probabilities
from clipnull.auditing.controls import collateral, controls, costs
from clipnull.auditing.leace import guarded, leace
from clipnull.auditing.probes import (
    balanced_probe,
    knn,
    linear_probe,
    prototypes,
    readers,
    retrieval,
    span_prototypes,
)
from clipnull.auditing.report import AuditReport, Measurement
from clipnull.auditing.run import measure
from clipnull.auditing.words import Words, other_words, span_names, word_forms


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


# --- other readers: a planted direction ------------------------------------------------------

READ = {
    "probe": lambda X, y: float((linear_probe(X, y) == y).double().mean()),
    "knn": lambda X, y: float((knn(X, y, 15) == y).double().mean()),
    "retrieval": lambda X, y: float(retrieval(X, y, range(0, len(y), 5), k=20).mean()),
    "prototypes": lambda X, y: float((p := prototypes(X, y, 16))[p >= 0].eq(y.expand(10, -1)[p >= 0]).double().mean()),
}  # fmt: skip


@pytest.mark.parametrize("reader", READ)
def test_a_direction_fully_erased_leaves_readers_at_chance(planted, reader):
    X, y, u = planted
    erased = edited(X, cn.nullspace(u), normalize=False)
    assert READ[reader](X, y) > 0.95
    assert abs(READ[reader](erased, y) - 0.5) < 0.06


@pytest.mark.parametrize("reader", READ)
@pytest.mark.parametrize("kind", ["another direction", "half of it"])
def test_a_direction_not_erased_does_not(planted, reader, kind):
    X, y, u = planted
    v = F.normalize(randn(16, seed=9), dim=0)
    edit = cn.nullspace(v - (v @ u) * u) if kind == "another direction" else cn.nullspace(u, strength=0.5)
    assert READ[reader](edited(X, edit, normalize=False), y) > 0.85


def test_readers_sees_the_same_on_unit_rows(planted):
    X, y, u = planted
    case = cn.Case(X, torch.eye(2, 16), y, [1])
    gone = by_name(readers(case, cn.nullspace(u), shots=(1, 16), draws=5))
    there = by_name(readers(case, cn.random_subspace(16, 1, seed=3), shots=(1, 16), draws=5))
    assert {"linear probe", "linear probe, yes or no", "nearest images", "image search"} < set(gone)
    for name, row in gone.items():
        assert row.before > 0.85 and abs(row.after - row.control) < 0.12, name
        assert there[name].after > 0.8, name
    assert "no better than chance" in gone["linear probe, yes or no"].means
    assert "1 of 16 directions" in gone["linear probe"].means


def test_readers_leave_out_shots_that_leave_no_image_to_test():
    X = F.normalize(randn(12, 6), dim=1)
    case = cn.Case(X, torch.eye(3, 6), torch.arange(12) % 3, [0])
    names = by_name(readers(case, cn.random_subspace(6), shots=(1, 2, 4, 8), draws=2))
    assert "prototypes, k = 2" in names and "prototypes, k = 4" not in names


def test_prototypes_do_not_test_on_their_own_images(planted):
    X, y, _ = planted
    p = prototypes(X, y, 8, draws=3)
    assert (p == -1).sum(1).tolist() == [16, 16, 16]
    assert torch.equal(p, prototypes(X, y, 8, draws=3)) and not torch.equal(p[0], p[1])


def test_knn_ties_go_to_the_nearer_neighbour():
    X = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.3]])
    assert knn(X, [0, 1, 2], 2).tolist() == [1, 0, 1]


def test_retrieval_counts_the_other_images_of_the_class():
    X = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, -1.0]])
    found = retrieval(X, [0, 0, 0, 1, 2], [0, 4])
    assert found[0] == 0.5 and math.isnan(found[1])


def test_spanning_images_erases_what_names_alone_do_not():
    """Images of a class share a direction that its name has no part in."""
    T, own, y = torch.eye(20)[:2], torch.eye(20)[8], torch.arange(240) % 2
    Z = 0.1 * randn(240, 20) + 3.0 * (y == 0)[:, None] * own

    def prototype(T_f: torch.Tensor, T_r: torch.Tensor) -> cn.Edit:
        return cn.nullspace(torch.cat([T_f[:1], T_f[1:].mean(0, keepdim=True)]) if len(T_f) > 1 else T_f)

    names, with_images = span_prototypes(cn.Case(Z, T, y, [0]), counts=(0, 80), builder=prototype)
    assert (names.rank, with_images.rank) == (1, 2)
    assert names.probe_before == names.probe == names.knn == names.knn_before == 1.0
    assert with_images.probe < 0.7 and with_images.knn < 0.7
    default = span_prototypes(cn.Case(Z, T, y, [0]), counts=(0, 1, 3))
    assert [r.rank for r in default] == [1, 2, 4] and default[0].probe == 1.0


# --- LEACE -----------------------------------------------------------------------------------


def test_leace_guards_the_question_it_was_fitted_for():
    pytest.importorskip("concept_erasure")
    C, per = 6, 40
    y = torch.arange(C).repeat_interleave(per)
    X = 4 * F.normalize(randn(C, 24, seed=5), dim=1)[y] + 0.3 * randn(C * per, 24)
    is_it, which = (leace(cn.Case(X, torch.eye(C, 24), y, [0]), q)(X) for q in ("is it", "which"))
    gap = is_it[y == 0].mean(0) - is_it[y != 0].mean(0)
    assert gap.norm() < 1e-4 < 1 < (X[y == 0].mean(0) - X[y != 0].mean(0)).norm()
    asked = (y == 0).long()

    def found(Z: torch.Tensor) -> float:
        p = balanced_probe(Z, asked)
        return float((p[y == 0] == 1).double().mean() + (p[y != 0] == 0).double().mean()) / 2

    assert found(X) > 0.95 and found(is_it) < 0.6
    # the other question is not guarded: classes are still told apart, unless all were asked for
    assert float((linear_probe(is_it, y) == y)[y != 0].double().mean()) > 0.9
    assert float((linear_probe(which, y) == y).double().mean()) < 0.4


def test_guarded_says_the_price(cone):
    pytest.importorskip("concept_erasure")
    rows = by_name(guarded(cn.Case(cone["Z"], cone["T"], cone["y"], [0])))
    is_it, which = rows["LEACE: is it"], rows["LEACE: which"]
    assert is_it.before > 0.95 and is_it.after < 0.6
    assert which.after < 0.3 and which.retain < 0.5 < is_it.retain
    assert "unit length" in is_it.means


def test_leace_absent_is_said(cone, monkeypatch):
    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    report = measure(cn.Case(cone["Z"], cone["T"], cone["y"], [0]), cn.nullspace(cone["T"][0]))
    assert 'pip install -e ".[leace]"' in report.skipped["LEACE"]
    assert "not measured: LEACE (concept-erasure is not installed" in str(report)
    assert "not measured: LEACE" in report._repr_html_()
    assert report["linear probe"].after >= 0


# --- controls --------------------------------------------------------------------------------


def test_controls_tell_an_edit_from_chance(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    rows = by_name(controls(cn.Case(Z, T, y, [0, 1]), cn.nullspace(T[:2]), seeds=6))
    forgotten, others, retained = rows.values()
    assert forgotten.after < 0.1 and forgotten.control > 0.9 and others.control > 0.9
    assert len(forgotten.values) == 6 and forgotten.spread >= 0
    assert "names' own directions" in forgotten.means and "names' own directions" in others.means
    dropped = cn.drop_label(cn.Case(Z, T, y, [0, 1]))
    assert retained.control == pytest.approx(dropped.retain_after)
    report = cn.evaluate(cn.Case(Z, T, y, [0, 1]), cn.nullspace(T[:2]))
    assert (forgotten.before, forgotten.after) == pytest.approx((report.forget_before, report.forget_after))
    assert (retained.before, retained.after) == pytest.approx((report.retain_before, report.retain_after))


def test_controls_of_a_random_edit_find_no_effect(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    rows = by_name(controls(cn.Case(Z, T, y, [0]), cn.random_subspace(40, 20, seed=1), seeds=6))
    assert "own directions" not in rows["forgotten, zero-shot"].means


def test_the_strength_of_another_kind_of_edit_is_not_the_controls(cone):
    """`clipnull.auditing.gated` counts its strength in cosine, from 0 upwards."""
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    edit = cn.nullspace(T[:2])
    drawn = [
        controls(cn.Case(Z, T, y, [0, 1]), cn.Edit(edit.left, edit.right, info), seeds=3)[0].values
        for info in ({}, {"method": "gated", "strength": 1.5}, {"method": "gated", "strength": 0.0})
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_controls_take_a_function_but_then_cannot_shuffle_names(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    edit = cn.nullspace(T[:1])
    called = by_name(controls(cn.Case(Z, T, y, [0]), lambda X: edit.apply_image(X), seeds=2))
    unknown = called["forgotten, other names"]
    assert "Not measured: edit: cannot be made again" in unknown.means and math.isnan(unknown.control)
    shuffled = by_name(
        controls(cn.Case(Z, T, y, [0]), edit.apply_image, lambda f, r: cn.nullspace(f), seeds=2)
    )
    assert len(shuffled["forgotten, other names"].values) == 2


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
    for edit in (
        cn.consistent(T[:1], T[1:], anchor=T[5]),
        cn.Edit(torch.zeros(40, 1), torch.zeros(40, 1)),
        len,
    ):
        with pytest.raises(ValueError, match="pass builder="):
            rebuild(edit, T[:1], T[1:])


# --- collateral ------------------------------------------------------------------------------


def leaning(per: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Names that lean on the forgotten one, e_0, more and more; the lean is all that an edit takes."""
    lean = torch.linspace(0.0, 0.97, 12)
    T = torch.eye(32)[1:13] * (1 - lean**2).sqrt()[:, None] + lean[:, None] * torch.eye(32)[0]
    T = torch.cat([torch.eye(32)[:1], T])
    y = torch.arange(13).repeat_interleave(per)
    return T[y] + 0.16 * randn(13 * per, 32), T, y


def test_collateral_finds_who_leans_on_the_forgotten_name():
    Z, T, y = leaning()
    categories = ["a"] + ["b"] * 6 + ["a"] * 6
    rows = by_name(collateral(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), categories, nearest=3))
    near, far, same = rows["nearest names"], rows["far names"], rows["same category"]
    who = costs(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]))
    assert who.classes[:3].tolist() == [12, 11, 10] and "(12, 11, 10)" in near.means
    assert who.spearman < -0.6 and f"{who.spearman:+.2f}" in near.means
    assert near.after < near.before - 0.2 and abs(far.after - far.before) < 0.05
    assert near.after < near.control and same.means.startswith("6 classes (12, 11, 10, …)")
    assert "worse than under any random subspace" in near.means
    assert torch.allclose(who.similarity, T[who.classes, 0].abs(), atol=1e-5)


def test_collateral_of_a_direction_nobody_leans_on():
    Z, T, y = leaning()
    rows = by_name(collateral(cn.Case(Z, T, y, [0]), cn.nullspace(torch.eye(32)[-1]), nearest=3))
    assert abs(rows["nearest names"].after - rows["nearest names"].before) < 0.03
    assert "same category" not in rows


def test_the_boundary_is_where_the_runner_up_was_forgotten():
    """Class 1 is a near-twin of the forgotten class 0; class 2 lies elsewhere."""
    T = F.normalize(torch.tensor([[1.0, 0.0, 0.0], [0.95, 0.3, 0.0], [0.0, 0.2, 1.0]]), dim=1)
    y = torch.tensor([0] * 20 + [1] * 20 + [2] * 20)
    Z = F.normalize(T[y] + 0.02 * randn(60, 3), dim=1)
    row = by_name(collateral(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), nearest=1))["next to the boundary"]
    # the twin keeps 0.3 e_1 and beats a third name that has less of it: all in the data, none guessed
    assert row.means.startswith("Of 20 such images") and row.before == 1
    flipped = cn.Edit(torch.eye(3)[:, 1:2], 2 * torch.eye(3)[:, 1:2])  # turns the twin's own part around
    worse = by_name(collateral(cn.Case(Z, T, y, [0]), flipped, nearest=1))["next to the boundary"]
    assert worse.after < 0.1 < worse.control and "more often than" in worse.means


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
    kinds, texts = ["same", "synonym", "misspelling", "unrelated"], ["a", "b", "c", "d"]
    rows = by_name(
        other_words(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), Words(words, [0] * 4, texts, kinds))
    )
    assert list(rows) == [f"other words: {k}" for k in kinds]
    same, synonym, typo, unrelated = rows.values()
    assert same.before == 1 and same.after == 0 and same.control == 1
    assert synonym.before == synonym.after == synonym.control == 1 and "'b'" in synonym.means
    assert typo.before == 1 and typo.after == 0
    assert unrelated.before == unrelated.after == 0 and "before either" in unrelated.means
    assert [w.text for r in rows.values() for w in r.words] == texts


def test_a_word_counts_only_above_made_up_words():
    """An edit that leaves images along e_12: every word with a part of e_12 takes them."""
    Z, T, y, _ = synonyms()
    e = torch.eye(16)

    def somewhere_else(X: torch.Tensor) -> torch.Tensor:
        return X - X[:, :1] * e[0] - X[:, 10:11] * e[10] + 2 * X[:, :1] * e[12]

    words, nonsense = torch.stack([e[12] + e[3], e[12] + e[5]]), (e[12] + 0.1 * e[6])[None]
    (alone,) = other_words(cn.Case(Z, T, y, [0]), somewhere_else, Words(words, [0, 0]))
    (row,) = other_words(cn.Case(Z, T, y, [0]), somewhere_else, Words(words, [0, 0], made_up=nonsense))
    assert alone.after == row.after == row.control == 1 and row.against == "made-up words"
    assert all(w.back for w in alone.words) and not any(w.back for w in row.words)
    assert "0 of 2 bring back" in row.means and "more than a made-up word" in row.means
    knows = torch.stack([e[0], e[10]])
    (kept,) = other_words(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), Words(knows, [0, 0], made_up=nonsense))
    assert [w.back for w in kept.words] == [False, True] and kept.control == 0


def test_a_word_that_is_the_name_is_evaluate():
    Z, T, y, _ = synonyms()
    edit = cn.nullspace(T[:1], strength=0.7)
    (row,) = other_words(cn.Case(Z, T, y, [0]), edit, Words(T[:1], [0]))
    report = cn.evaluate(cn.Case(Z, T, y, [0]), edit)
    assert (row.before, row.after) == (report.forget_before, report.forget_after)


def test_spanning_the_words_is_the_cure_and_rank_its_price():
    Z, T, y, _ = synonyms()
    e = torch.eye(16)
    words = F.normalize(e[10] + 0.01 * randn(6, 16), dim=1)
    none, one, all_ = span_names(
        cn.Case(Z, T, y, [0]), Words(words, [0] * 6, made_up=e[14:15]), counts=(0, 1, 3)
    )
    assert [r.by_made_up for r in (none, one, all_)] == [0, 0, 0]
    assert [r.rank for r in (none, one, all_)] == [1, 2, 4]
    assert none.by_spannable == none.by_unseen == 1.0
    assert max(all_.by_spannable, all_.by_unseen, none.by_name) == 0


def test_word_forms():
    assert word_forms("berry")["plural"] == ["berries"] and word_forms("day")["plural"] == ["days"]
    assert word_forms("box")["plural"] == ["boxes"]
    assert word_forms("owl")["article"] == ["the owl", "an owl"]
    forms = word_forms("tiger", ["cat", "tiger", "zoo"], ["animal-mammal", "animal"])
    assert forms["keyword"] == ["cat", "zoo"] and forms["category"] == ["animal", "mammal"]
    assert forms["description"] == ["something with cat and zoo"]
    assert all("tiger" != w and w for words in forms.values() for w in words)
    assert "keyword" not in word_forms("x") and "description" not in word_forms("x", ["y"])


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


def test_entropy_in_bits():
    assert entropy(torch.full((1, 8), 1 / 8)).tolist() == pytest.approx([3.0])


def test_confidence_on_images_of_an_erased_name(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    rows = by_name(confidence(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), scale=20.0))
    inside = rows["true class in conformal set"]
    assert inside.before > 0.8 and inside.control > 0.8 and inside.after < 0.2
    assert inside.coverage[0] > 0.8 and len(inside.size) == 3
    assert rows["entropy, forgotten"].after > rows["entropy, forgotten"].before
    assert rows["entropy, forgotten"].unit == "bits"
    P = probabilities(Z[y != 0], T, 20.0)
    assert rows["calibration error, retained"].before == pytest.approx(calibration_error(P, y[y != 0])[0])
    same = by_name(confidence(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1], strength=0.0), scale=20.0))
    assert all(r.before == pytest.approx(r.after) for r in same.values())


# --- the report ------------------------------------------------------------------------------


def test_measure_is_seeded_and_shows_itself(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    case = cn.Case(Z, T, y, ["<class 0>"], [f"<class {i}>" for i in range(12)])
    first, again = (measure(case, cn.nullspace(T[:1]), words=Words(T[:2], [0, 0])) for _ in range(2))
    assert str(first) == str(again) == repr(first)
    text, table = str(first), first._repr_html_()
    for row in first.rows:
        assert row.name in text and row.name in table and row.means and row.source
    assert "<class 0>" in text and "&lt;class 0&gt;" in table and "<class 0>" not in table
    assert first["linear probe"].before > 0.9
    with pytest.raises(ValueError, match="name: got 'probe', want one of"):
        first["probe"]


def test_measure_takes_any_function_of_embeddings(cone):
    report = measure(cn.Case(cone["Z"], cone["T"], cone["y"], [3]), lambda Z: Z.roll(1, dims=1))
    assert isinstance(report, AuditReport) and report["retained, zero-shot"].after < 0.5


def test_measure_of_forgotten_images_alone_says_what_it_cannot_know(cone):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    report = measure(cn.Case(Z[y == 3], T, y[y == 3], [3]), cn.nullspace(T[[3]]))
    for name in ("collateral", "confidence"):
        assert report.skipped[name] == "labels: no image of a retained class, want at least one"
    assert report["forgotten, zero-shot"].after < 0.2 and math.isnan(report["retained, zero-shot"].after)
    assert "nan" not in str(report)


def test_measure_takes_embeddings_with_gradients(cone):
    Z, T, y = cone["Z"].clone().requires_grad_(), cone["T"].clone().requires_grad_(), cone["y"]
    report = measure(cn.Case(Z, T, y, [0]), cn.nullspace(T[:1]), categories=["a"] * 12)
    assert {"controls", "collateral", "other readers", "confidence"}.isdisjoint(report.skipped)
    assert report["forgotten, zero-shot"].after < 0.2


def test_large_sets_are_thinned_for_the_readers(cone, monkeypatch):
    monkeypatch.setattr(sys.modules["clipnull.auditing.run"], "AT_MOST", 60)
    report = measure(cn.Case(cone["Z"], cone["T"], cone["y"], [0]), cn.nullspace(cone["T"][:1]))
    assert "prototypes, k = 4" in report.names and "prototypes, k = 8" not in report.names


def test_measurement_cells():
    row = Measurement("x", 0.5, math.nan, 0.25, "chance", "It is.", spread=0.125)
    assert row.cells() == ["x, %", "50.0", "–", "25.0 ± 12.5"]
    assert Measurement("s", 0, 3, math.inf, "", "", unit="steps").cells() == ["s, steps", "0", "3", "never"]
    assert Measurement("h", 1.5, 2, 0.25, "", "", unit="bits").cells() == ["h, bits", "1.50", "2", "0.25"]


@pytest.fixture(scope="module")
def small(pocket):
    data = cn.datasets.load("twemoji", subset="animals-nature", scenes=3).subset(range(0, 60, 2))
    return pocket, data, pocket.embed_text(data.classes, templates=data.templates)


def test_audit_of_pocketclip(small):
    clip, data, T = small
    forget = [data.classes[0], data.classes[5]]
    edit = cn.METHODS["anchored"].make(T[[0, 5]], T[[i for i in range(len(T)) if i not in (0, 5)]])
    report = cn.audit(clip, data, edit, forget)
    assert {"controls", "collateral", "other words", "other readers", "confidence"}.isdisjoint(report.skipped)
    assert {
        "other words: template",
        "other words: plural",
        "linear probe",
        "prototypes, k = 1",
        "name read off the weights",
        "relearned",
    } <= set(report.names)
    assert all(a in report.title for a in forget) and "90 images, 30 classes" in report.title
    assert not report.skipped and not cn.model.folded_edits(clip)
    hidden = report["probe before the last layer"]
    assert hidden.before == hidden.after > hidden.control and "bit by bit" in hidden.means
    plain = cn.Case(clip.embed_images(data.images), T, data.labels, [0, 5]).evaluate(edit)
    assert report["forgotten, zero-shot"].after == pytest.approx(plain.forget_after)
    assert report["retained, zero-shot"].after == pytest.approx(plain.retain_after)


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
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    edit = cn.nullspace(T[:1])
    calm = confidence(cn.Case(Z, T, y, [0]), edit).calibration
    said = other_words(cn.Case(Z, T, y, [0]), edit, Words(T[:2], [0, 0], ["this", "that"], ["a", "b"]))
    figures = {
        "controls": plots.controls(controls(cn.Case(Z, T, y, [0]), edit, seeds=3), title="A"),
        "measurements": plots.measurements(
            collateral(cn.Case(Z, T, y, [0]), edit), title="B", x="accuracy, %"
        ),
        "words": plots.words(said, [f"class {i}" for i in range(12)], title="C"),
        "reliability": plots.reliability({"before": calm.bins_before, "after": calm.bins_after}, title="D"),
    }
    for name, fig in figures.items():
        assert fig.get_suptitle() and fig.axes[0].get_xlabel(), name
        assert len(cn.plots.alt(fig)) > 60 and "nan" not in cn.plots.alt(fig), name
        fig.canvas.draw()
    assert "this (class 0, a)" in cn.plots.alt(figures["words"])


# --- bad input -------------------------------------------------------------------------------


def test_bad_input(cone, small):
    Z, T, y = cone["Z"], cone["T"], cone["y"]
    case, edit = cn.Case(Z, T, y, [0]), cn.nullspace(T[:1])
    absent, single = cn.Case(Z[20:], T, y[20:], [0]), cn.Case(Z[19:], T, y[19:], [0])
    bad = [
        (lambda: controls(absent, edit), "labels: no image is of a forgotten class"),
        (lambda: other_words(absent, edit, Words(T[:1], [0])), "labels: no image is of a forgotten class"),
        (lambda: controls(case, lambda X: X[:1]), "edit: returned 1 rows for 240"),
        (lambda: controls(case, cn.nullspace(T[:1, :5])), "edit: acts on 5 dimensions, want 40"),
        (lambda: measure(case, cn.nullspace(T[:1, :5])), "edit: acts on 5 dimensions, want 40"),
        (lambda: measure(absent, edit), "labels: no image is of a forgotten class"),
        (lambda: collateral(case, edit, ["a"]), "categories: got 1, want 12, one per class"),
        (lambda: other_words(case, edit, Words(T[:1], [1])), r"owner: classes \[1\] are not forgotten"),
        (lambda: other_words(case, edit, Words(T[:1, :5], [0])), "words: rows have 5 entries, want 40"),
        (lambda: Words(T[:1], [0], kinds=[]), "texts, kinds: got 1 and 0, want 1"),
        (lambda: linear_probe(Z, torch.zeros(240, dtype=torch.long)), "two classes or more"),
        (lambda: linear_probe(Z[:3], [0, 1, 2]), "4 images, one per fold"),
        (lambda: knn(Z, y, 240), "k: got 240, want a whole number from 1 to 239"),
        (lambda: readers(single, edit), "fewer than 2 images"),
        (lambda: span_prototypes(case, counts=(19,)), "spanning 19 images leaves 1"),
        (lambda: leace(case, "why"), "question: got 'why'"),
        (lambda: conformal_sets(T.abs(), T.abs(), [0] * 12, 1.0), "alpha: got 1.0"),
        (lambda: cn.audit(small[0], small[1], edit), "edit: acts on 40 dimensions, want 256"),
    ]  # fmt: skip
    for call, message in bad:
        with pytest.raises(ValueError, match=message):
            call()


# --- what cannot be measured, and what must not look so ---------------------------------------


#: a file of the room, and a function that it calls in a measurement
CALLED = [
    ("cases", "random_subspace"),
    ("controls", "drop_label"),
    ("controls", "orthonormal_basis"),
    ("controls", "rebuild"),
    ("words", "rebuild"),
    ("probes", "knn"),
    ("confidence", "entropy"),
]


@pytest.mark.parametrize(("file", "name"), CALLED)
@pytest.mark.parametrize("fault", [ValueError, ImportError])
def test_a_fault_inside_a_measurement_comes_out(cone, monkeypatch, file, name, fault):
    """Only `NotMeasured` becomes a line of the report: another ValueError is a bug, and says so."""

    def bug(*args, **kwargs):
        raise fault("planted")

    monkeypatch.setattr(sys.modules[f"clipnull.auditing.{file}"], name, bug)
    case, words = cn.Case(cone["Z"], cone["T"], cone["y"], [0]), Words(cone["T"][:1], [0])
    with pytest.raises(fault, match="planted"):
        measure(case, cn.nullspace(case.T_f), words=words)


@pytest.mark.parametrize("step", ["fingerprint", "relearning", "layer_probe", "layers", "last_layer"])
def test_a_fault_inside_an_attack_comes_out(small, monkeypatch, step):
    def bug(*args, **kwargs):
        raise ValueError("planted")

    clip, data, T = small
    monkeypatch.setattr(sys.modules["clipnull.auditing.run"], "_steps", lambda *args: [])
    monkeypatch.setattr(sys.modules["clipnull.auditing.run"], step, bug)
    with pytest.raises(ValueError, match="planted"):
        cn.audit(clip, data, cn.nullspace(T[[0]]), [0])


def test_nothing_is_left_out_silently(cone):
    """Two images, two classes, an edit that cannot be made again: every question has a line or a reason."""
    Z, T, y = cone["Z"], cone["T"], cone["y"] // 6
    pick = [0, 120]
    case, edit = cn.Case(Z[pick], T[:2], y[pick], [0]), cn.Edit(torch.zeros(40, 1), torch.zeros(40, 1))
    report = measure(case, edit, words=Words(T[:1], [0]))
    left = {"other readers", "spanning images", "spanning names", "LEACE", "confidence"}
    assert set(report.skipped) == left
    assert "pass builder=" in report.skipped["spanning names"]
    assert "a single class is retained" in report["forgotten, other names"].means
    made = ["forgotten, zero-shot", "forgotten, other names", "retained, zero-shot", "nearest names",
            "next to the boundary", "other words: word"]  # fmt: skip
    assert report.names == made
    assert all(name in str(report) for name in [*report.names, *report.skipped])


def test_a_tower_that_clipnull_does_not_know_is_said(small, monkeypatch):
    clip, data, T = small
    run = sys.modules["clipnull.auditing.run"]
    monkeypatch.setattr(run, "_steps", lambda *args: [])
    monkeypatch.setattr(run, "find", lambda clip, side: None)
    report = cn.audit(clip, data, cn.nullspace(T[[0]]), [0])
    assert set(report.skipped) == {"fingerprint", "relearning", "before the last layer"} and not report.rows
