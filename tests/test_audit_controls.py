"""The audit's controls control, its samples are held out and its seeds differ: each told by an exact truth."""

from __future__ import annotations

import statistics

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import auditing as attacks
from clipnull.auditing.confidence import calibration_error, confidence, probabilities
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
from clipnull.auditing.run import measure
from clipnull.auditing.words import Words, other_words, span_names

C, D, EACH = 10, 16, 24


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


T = F.normalize(randn(C, D, seed=1) + 0.5, dim=1)
Y = torch.arange(C).repeat_interleave(EACH)
#: noisy enough that every random subspace costs something
Z = F.normalize(T[Y] + 0.22 * randn(C * EACH, D, seed=2), dim=1)
FORGET = [2, 5]
EDIT = cn.nullspace(T[FORGET])
RETAIN = [c for c in range(C) if c not in FORGET]
CASE = cn.Case(Z, T, Y, FORGET)
GONE = torch.isin(Y, torch.tensor(FORGET))


NAMES = Words(T[FORGET], FORGET)


def of(X, y, forget):
    """A case whose names play no part."""
    return cn.Case(X, torch.eye(int(y.max()) + 2, X.shape[1]), y, forget)


def line(rows, name):
    return next(r for r in rows if r.name == name)


def random_reports(seeds, rank=2, strength=1.0):
    """The control written out: `evaluate` of one random subspace per seed."""
    subspaces = [cn.random_subspace(D, rank, s, strength) for s in seeds]
    return [cn.evaluate(CASE, e) for e in subspaces]


# --- random subspaces ------------------------------------------------------------------------


def of_controls(edit, seed, seeds=4):
    return controls(CASE, edit, seeds=seeds, seed=seed)


def of_collateral(edit, seed, seeds=4):
    return collateral(CASE, edit, seeds=seeds, seed=seed)


@pytest.mark.parametrize(("rank", "strength"), [(1, 1.0), (2, 1.0), (3, 0.6), (5, 1.0)])
def test_controls_are_random_subspaces_of_the_edits_rank_and_strength(rank, strength):
    edit = cn.random_subspace(D, rank, seed=99, strength=strength)
    want = random_reports(range(7, 11), rank, strength)
    forgotten = line(of_controls(edit, 7), "forgotten, zero-shot")
    values = [r.forget_after for r in want]
    assert len(set(values)) > 1, "the truth itself tells one seed from four"
    assert list(forgotten.values) == pytest.approx(values)
    assert forgotten.control == pytest.approx(statistics.mean(values))
    assert forgotten.spread == pytest.approx(statistics.stdev(values))


@pytest.mark.parametrize(("rank", "strength"), [(1, 1.0), (3, 0.6), (5, 1.0)])
def test_single_controls_have_the_edits_rank_and_strength_too(rank, strength):
    edit, control = (cn.random_subspace(D, rank, s, strength) for s in (99, 4))
    (row,) = other_words(CASE, edit, NAMES, seed=4)
    assert row.control == pytest.approx(cn.evaluate(CASE, control).forget_after)
    p = probabilities(control.apply_image(Z[GONE]), T, 20.0)
    rows = confidence(CASE, edit, scale=20.0, seed=4)
    assert line(rows, "top-1 confidence, forgotten").control == pytest.approx(float(p.amax(1).mean()))


def test_the_control_of_no_strength_is_the_model_as_it_was():
    edit = cn.nullspace(T[FORGET], strength=0.0)
    rows = [*of_controls(edit, 0)[:1], *of_collateral(edit, 0)[:2]]
    rows += [*other_words(CASE, edit, NAMES), *confidence(CASE, edit)[:2]]
    assert all(row.control == pytest.approx(row.before) for row in rows)


def test_collateral_is_compared_with_several_random_subspaces():
    rows = of_collateral(EDIT, 3)
    want = random_reports(range(3, 7))
    order = costs(CASE, EDIT).classes
    for name, members in {"nearest names": order[:5], "far names": order[5:]}.items():
        row = line(rows, name)
        on = torch.isin(Y, members)
        values = [float((r.predicted_after == Y)[on].double().mean()) for r in want]
        assert len(set(values)) > 1
        assert row.control == pytest.approx(statistics.mean(values))
        assert row.spread == pytest.approx(statistics.stdev(values))


def test_the_verdict_is_against_every_random_subspace_not_the_best_of_them():
    """An edit that is one of its own controls is never better or worse than all of them."""
    for seed in range(4):
        edit = cn.random_subspace(D, 2, seed=seed)
        assert "own directions" not in of_controls(edit, 0)[0].means
        for row in of_collateral(edit, 0)[:2]:
            assert "no worse than under random subspaces" in row.means


# --- other classes' names --------------------------------------------------------------------


def test_the_shuffled_names_are_other_classes_drawn_anew():
    built = []

    def builder(T_f, T_r):
        built.append([[int((T == t).all(1).nonzero()) for t in side] for side in (T_f, T_r)])
        return cn.nullspace(T_f)

    rows = controls(CASE, EDIT, builder, seeds=6, seed=1)
    assert len(built) == 6 and len({tuple(gone) for gone, _ in built}) > 3
    for gone, kept in built:
        assert len(gone) == len(FORGET) and not set(gone) & set(FORGET)
        assert sorted(gone + kept) == list(range(C))
    want = [cn.evaluate(CASE, cn.nullspace(T[gone])).forget_after for gone, _ in built]
    row = line(rows, "forgotten, other names")
    assert list(row.values) == pytest.approx(want)
    assert row.spread == pytest.approx(statistics.stdev(want))


# --- near and far ----------------------------------------------------------------------------


@pytest.mark.parametrize("nearest", [1, 2, 4, 5, 7, 8, 20])
def test_far_names_are_none_of_the_near_ones(nearest):
    """Eight retained classes: they part into the nearest and, of the others, the farthest."""
    rows = {r.name: r for r in collateral(CASE, EDIT, nearest=nearest, seeds=2)}
    found = costs(CASE, EDIT)
    order = found.classes.tolist()
    assert sorted(order) == RETAIN
    assert (found.similarity.diff() <= 0).all()
    report = cn.evaluate(CASE, EDIT)
    of = {row.label: row.after - row.before for row in report.per_class}
    assert found.change.tolist() == pytest.approx([of[c] for c in order])
    wanted = {"nearest names": order[:nearest], "far names": order[max(nearest, len(order) - nearest) :]}
    assert set(rows) - {"next to the boundary"} == {name for name, members in wanted.items() if members}
    for name, members in ((name, members) for name, members in wanted.items() if members):
        right = (report.predicted_after == Y)[torch.isin(Y, torch.tensor(members))]
        assert rows[name].after == pytest.approx(float(right.double().mean()))
        first = ", ".join(map(str, members[:3])) + (", …" if len(members) > 3 else "")
        assert rows[name].means.startswith(f"{len(members)} classes ({first}) change")


def test_next_to_the_boundary_are_right_images_with_a_forgotten_runner_up():
    edit = cn.random_subspace(D, 4, seed=3)
    report = cn.evaluate(CASE, edit)
    right = (report.predicted_before == Y) & ~GONE
    beside = right & torch.isin((Z @ T.T).topk(2, 1).indices[:, 1], torch.tensor(FORGET))
    kept = report.predicted_after == Y
    row = line(collateral(CASE, edit, seeds=2), "next to the boundary")
    assert row.means.startswith(f"Of {beside.sum()} such images") and 10 < beside.sum() < right.sum()
    assert row.after == pytest.approx(float(kept[beside].double().mean()))
    assert row.control == pytest.approx(float(kept[right & ~beside].double().mean()))
    assert row.after != pytest.approx(row.control)


# --- other words -----------------------------------------------------------------------------


def test_a_word_must_beat_the_best_made_up_word_not_their_mean():
    """Half of the images lie along e_8, all of them along e_9: words of known recall."""
    e, y = torch.eye(12), torch.arange(4).repeat_interleave(10)
    half = (torch.arange(40) % 2)[:, None] * (y == 0)[:, None]
    X = e[y] + 2 * half * e[8] + 2 * (y == 0)[:, None] * e[9]
    same = cn.nullspace(e[11])

    def back(words, nonsense):
        words = torch.stack(words)
        (row,) = other_words(
            cn.Case(X, e[:4], y, [0]), same, Words(words, [0] * len(words), made_up=torch.stack(nonsense))
        )
        return [w.back for w in row.words], row.control

    assert back([e[8], e[9]], [e[6], e[7]]) == ([True, True], 0.0)
    # made-up words that take all and none of the images: 50% on average, and nothing beats the best
    assert back([e[8], e[9]], [e[9], e[7]]) == ([False, False], 0.5)
    # as good as a made-up word is not better than it
    assert back([e[8], e[9]], [e[8], e[7]]) == ([False, True], 0.25)


def test_words_are_read_with_the_name_struck_off():
    """All the other scores are negative: a name that is struck off with a zero would win them all."""
    e, y = torch.eye(8), torch.tensor([0, 0, 1, 2])
    X = e[5] - 3 * e[:3].sum(0) - e[y]
    (row,) = other_words(cn.Case(X, e[:3], y, [0]), cn.nullspace(e[7]), Words(-0.1 * e[5][None] + e[6], [0]))
    assert row.before == row.after == 1


def test_unseen_words_are_never_spanned():
    """Six words on axes of their own, images along all of them: each word is lost when spanned, only then."""
    e, y = torch.eye(24), torch.arange(4).repeat_interleave(10)
    owner, words = [0] * 6 + [1] * 6, e[8:20]
    X = e[y] + (y == 0)[:, None] * e[8:14].sum(0) + (y == 1)[:, None] * e[14:20].sum(0)
    given = []

    def builder(T_f, T_r):
        given.append(T_f.argmax(1).tolist())
        assert torch.equal(T_r, e[2:4])
        return cn.nullspace(T_f)

    for seed in range(3):
        rows = span_names(
            cn.Case(X, e[:4], y, [0, 1]), Words(words, owner), builder, counts=(0, 1, 3, 9), seed=seed
        )
        assert [r.rank for r in rows] == [2, 4, 8, 8]
        assert [r.by_unseen for r in rows] == [1, 1, 1, 1]
        assert [r.by_spannable for r in rows] == pytest.approx([1, 2 / 3, 0, 0])
    assert len({tuple(g) for g in given[2::4]}) > 1, "another seed, another half"


# --- images that were learned from are not tested on -----------------------------------------


def accuracy(predicted, y):
    return float((predicted == y).double().mean())


def prototype_accuracy(X, y):
    p = prototypes(X, y, 20)
    return float((p == y)[p >= 0].double().mean())


MEMORISED = {
    "linear_probe": lambda X, y: accuracy(linear_probe(X, y), y),
    "balanced_probe": lambda X, y: accuracy(balanced_probe(X, y), y),
    "ridge_probe": lambda X, y: accuracy(attacks.ridge_probe(X, y), y),
    "layer_probe": lambda X, y: attacks.layer_probe(of(X, y, [0, 1]), {"a": X}, {"a": X})[0].before,
    "knn": lambda X, y: accuracy(knn(X, y, 1), y),
    "retrieval": lambda X, y: float(retrieval(X, y, range(len(y)), k=1).mean()),
    "prototypes": prototype_accuracy,
}


@pytest.mark.parametrize("reader", MEMORISED)
def test_noise_that_can_be_memorised_is_not_recognised(reader):
    """More dimensions than images: whoever meets an image twice knows it by heart. Chance is 50%."""
    found = [MEMORISED[reader](randn(80, 160, seed=s), torch.arange(80) % 2) for s in range(4)]
    assert 0.35 < statistics.mean(found) < 0.62


def test_all_readers_find_noise_at_chance():
    y = torch.arange(120) % 4
    edit = cn.nullspace(torch.eye(240)[0])
    found = [readers(of(randn(120, 240, seed=s), y, [0, 3]), edit, shots=(2,)) for s in range(4)]
    for same in zip(*found, strict=True):
        for share in ("before", "after"):
            mean = statistics.mean(getattr(row, share) for row in same)
            assert mean == pytest.approx(same[0].control, abs=0.08), same[0].name


def test_a_search_does_not_find_the_picture_it_is_for():
    """Three rows at 120 degrees: all others have a negative cosine."""
    X = torch.tensor([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    assert retrieval(X, [0, 1, 2], [0, 1, 2], k=1).tolist() == [0, 0, 0]


def test_images_that_are_spanned_are_not_read():
    """Nothing is left of a spanned image; the others keep what makes the class, and are recognised."""
    e, y = torch.eye(90), torch.arange(80) % 2
    X = 2 * e[y] + 4 * e[5 + torch.arange(80)]

    def images_alone(T_f, T_r):
        return cn.nullspace(T_f[1:] if len(T_f) > 1 else e[89])

    for seed in range(3):
        rows = span_prototypes(cn.Case(X, e[:2], y, [1]), counts=(0, 3, 6), builder=images_alone, seed=seed)
        assert [r.rank for r in rows] == [1, 3, 6]
        for reader in ("zero_shot", "probe", "probe_before"):
            assert [getattr(r, reader) for r in rows] == [1, 1, 1], reader


# --- questions about a rare class ------------------------------------------------------------


@pytest.fixture(scope="module")
def rare():
    """One image in twenty is of class 0, two standard deviations away: at best 84% of either are told."""
    y = (torch.arange(2000) % 20 > 0).long()
    return randn(2000, 4, seed=3) + 2.0 * (y == 0)[:, None] * torch.eye(4)[0], y


def balanced_accuracy(p, y):
    return (accuracy(p[y == 0], y[y == 0]) + accuracy(p[y == 1], y[y == 1])) / 2


def test_yes_or_no_probes_weigh_both_answers_alike(rare):
    """Without weights a probe answers "no" and has 65%: the prior moves its threshold by log 19."""
    X, y = rare
    plain, weighed = (balanced_accuracy(probe(X, y), y) for probe in (linear_probe, balanced_probe))
    assert plain < 0.7 < 0.8 < weighed < 0.88
    row = line(readers(of(X, y, [0]), cn.nullspace(torch.eye(4)[3]), shots=()), "linear probe, yes or no")
    assert row.before == pytest.approx(weighed) and row.control == 0.5


def test_yes_or_no_is_the_mean_of_two_recalls(rare):
    """Of images that all look like class 1, none of class 0 is told and each of class 1 is: 50%, not 95%."""
    _, y = rare
    X = torch.ones(2000, 4) + 1e-4 * randn(2000, 4)
    X[y == 1] += torch.eye(4)[1]
    X[::40] = X[1]
    row = line(readers(of(X, y, [0]), cn.nullspace(torch.eye(4)[3]), shots=()), "linear probe, yes or no")
    assert row.before == pytest.approx(0.75, abs=0.01)


def test_leace_is_asked_by_a_balanced_probe(rare):
    pytest.importorskip("concept_erasure")
    X, y = rare
    rows = guarded(cn.Case(X, torch.eye(4)[:2], y, [0]))
    probe = balanced_accuracy(balanced_probe(X, y), y)
    assert line(rows, "LEACE: is it").before == pytest.approx(probe)


def test_leace_erases_a_class_however_rare_and_near():
    """Four images of two thousand, one standard deviation away: a cross-covariance of about 0.004."""
    pytest.importorskip("concept_erasure")
    y = (torch.arange(2000) >= 4).long()
    X = randn(2000, 8, seed=6) + (y == 0)[:, None] * torch.eye(8)[0]
    gap = [(x[y == 0].mean(0) - x[y == 1].mean(0)).norm() for x in (X, leace(of(X, y, [0]))(X))]
    assert gap[0] > 0.5 and gap[1] < 1e-3


# --- confidence ------------------------------------------------------------------------------


def test_conformal_sets_are_calibrated_on_other_images_each_model_on_its_own():
    """Nine calibration images at alpha = 0.1: nine in ten test images are covered, over random halves.

    By symmetry, whatever the model says; calibrated on the test images themselves it would be all of
    them, and calibrated on another model's probabilities anything.
    """
    pick = torch.cat([torch.arange(3) + EACH * c for c in range(7)])  # 18 retained images, 3 forgotten
    coverage = [
        line(
            confidence(
                cn.Case(Z[pick], T, Y[pick], [2]), cn.random_subspace(D, 9, seed=5), scale=10.0, seed=s
            ),
            "true class in conformal set",
        ).coverage
        for s in range(150)
    ]
    for model in zip(*coverage, strict=True):
        assert abs(statistics.mean(model) - 0.9) < 0.03


def test_calibration_is_measured_on_retained_images_after_the_edit():
    row = line(confidence(CASE, EDIT, scale=20.0, seed=4), "calibration error, retained")
    for edit, got in ((EDIT, row.after), (cn.random_subspace(D, 2, seed=4), row.control)):
        p = probabilities(edit.apply_image(Z[~GONE]), T, 20.0)
        assert got == pytest.approx(calibration_error(p, Y[~GONE])[0], abs=1e-6)


def test_calibration_bins_are_closed_above():
    top = torch.tensor([0.5, 0.75, 1.0])
    _, table = calibration_error(torch.stack([top, 1 - top], 1), [0, 0, 0], bins=4)
    assert table.images.tolist() == [0, 1, 1, 1]
    assert table.confidence.tolist() == [0, 0.5, 0.75, 1]


# --- seeds -----------------------------------------------------------------------------------


def layer_and_features():
    centres = F.normalize(randn(C, 20, seed=11), dim=1)
    H = centres[Y] + 0.5 * F.normalize(randn(len(Y), 20, seed=12), dim=1)
    return H, torch.linalg.lstsq(centres, T, driver="gelsd").solution


H, LAYER = layer_and_features()
CUT = EDIT.apply_image(LAYER)
WORDS = Words(F.normalize(T[FORGET].repeat(4, 1) + 0.2 * randn(8, D, seed=13), dim=1), FORGET * 4)

SEEDED = {
    "controls": lambda s: [r.values for r in controls(CASE, EDIT, seeds=3, seed=s)],
    "collateral": lambda s: [r.control for r in collateral(CASE, EDIT, seeds=3, seed=s)],
    "other_words": lambda s: [r.control for r in other_words(CASE, EDIT, WORDS, seed=s)],
    "span_names": lambda s: span_names(CASE, WORDS, counts=(1, 2), seed=s),
    "span_prototypes": lambda s: span_prototypes(CASE, counts=(2,), seed=s),
    "confidence": lambda s: confidence(CASE, EDIT, seed=s)[:3],
    "guarded": lambda s: [r.classes for r in guarded(CASE, seed=s)],
    "linear_probe": lambda s: linear_probe(Z, Y, seed=s),
    "ridge_probe": lambda s: attacks.ridge_probe(Z, Y, seed=s),
    "prototypes": lambda s: prototypes(Z, Y, 2, draws=3, seed=s),
    "readers": lambda s: [r.before for r in readers(CASE, EDIT, shots=(1, 2), draws=3, seed=s)],
    "layer_probe": lambda s: attacks.layer_probe(CASE, {"a": Z}, {"a": Z}, seed=s),
    "relearn": lambda s: attacks.relearn(H, Y, CUT, T, 2, shots=2, others=60, seed=s),
    "relearning": lambda s: attacks.relearning(H, Y, LAYER, T, {2: EDIT, 5: EDIT}, [2], seed=s, max_steps=9),
    "sweep_sizes": lambda s: cn.sweep_sizes(CASE, [1, 3], ["nullspace", "random"], seed=s).points,
}


@pytest.mark.parametrize("measurement", SEEDED)
def test_the_same_seed_gives_the_same_and_another_one_another(measurement):
    if measurement == "guarded":
        pytest.importorskip("concept_erasure")
    first, again, *others = (repr(SEEDED[measurement](s)) for s in (0, 0, 1, 2))
    assert first == again
    assert first not in others


def test_measure_hands_its_seed_to_every_part():
    report = measure(CASE, EDIT, words=WORDS, scale=20.0, seed=3)
    parts = [
        *controls(CASE, EDIT, seed=3),
        *collateral(CASE, EDIT, seed=3),
        *other_words(CASE, EDIT, WORDS, seed=3),
        *readers(CASE, EDIT, seed=3),
        *confidence(CASE, EDIT, 20.0, seed=3),
    ]
    for part in parts:
        row = report[part.name]
        assert (row.before, row.after, row.control) == (part.before, part.after, part.control), part.name
    half, none = span_names(CASE, WORDS, counts=(2, 0), seed=3)
    spanned = report["other words, half spanned"]
    assert (spanned.after, spanned.control) == (half.by_unseen, none.by_unseen)
    images = report["linear probe, images spanned"]
    assert images.after == span_prototypes(CASE, counts=(1,), seed=3)[0].probe
