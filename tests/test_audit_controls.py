"""The audit's controls control, its samples are held out and its seeds differ: each told by an exact truth."""

from __future__ import annotations

import re
import statistics
import sys

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import auditing as attacks
from clipnull.auditing.confidence import calibration_error, confidence, conformal_sets, fitted_scale
from clipnull.auditing.controls import certified, controls, short_lists, turned
from clipnull.auditing.probes import leace, linear_probe, probe, yes_or_no
from clipnull.auditing.words import Words, other_words
from clipnull.hull import certificate

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


NAMES = Words(T[FORGET], FORGET, ["a", "b"])


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


def probabilities(edit, rows, scale):
    X = Z[rows] if edit is None else edit.apply_image(Z[rows])
    return (scale * F.normalize(X, dim=1) @ T.T).softmax(1)


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
    report = cn.evaluate(CASE, control)
    assert other_words(CASE, edit, NAMES, seed=4).control == pytest.approx(report.forget_after)
    two, search = short_lists(CASE, edit, seed=4)
    assert two.control == pytest.approx(report.n_way[2].after)
    assert search.control == pytest.approx(report.search.after)
    bound = certificate(control, CASE.T_f, CASE.T_r)
    assert certified(CASE, edit, seed=4).control == pytest.approx(float(bound.max()))
    p = probabilities(control, GONE, 20.0)
    bits = -(p * p.log2()).sum(1).mean()
    assert confidence(CASE, edit, scale=20.0, seed=4)[0].control == pytest.approx(float(bits))


def test_the_control_of_no_strength_is_the_model_as_it_was():
    edit = cn.nullspace(T[FORGET], strength=0.0)
    rows = [*of_controls(edit, 0)[:2], other_words(CASE, edit, NAMES)]
    rows += [*short_lists(CASE, edit), *confidence(CASE, edit)[:2]]
    assert all(row.control == pytest.approx(row.before) for row in rows)


def test_the_verdict_is_against_every_random_subspace_not_the_best_of_them():
    """An edit that is one of its own controls is never better or worse than all of them."""
    for seed in range(4):
        edit = cn.random_subspace(D, 2, seed=seed)
        assert "own directions" not in of_controls(edit, 0)[0].means


# --- turned edits ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ccup", "mean", "nullspace"])
def test_a_turned_edit_moves_images_as_far_as_the_edit(method):
    """Not: has the same norm. An edit with mu > 0 reads where images are, and a turned one does not."""
    edit = cn.METHODS[method].make(CASE.T_f, CASE.T_r)
    others = [turned(CASE, edit, seed) for seed in range(3)]
    moved = float((edit.apply_image(Z) - Z).norm(dim=1).mean())
    for other in others:
        assert other.rank == edit.rank
        assert float((other.apply_image(Z) - Z).norm(dim=1).mean()) == pytest.approx(moved, rel=1e-4)
        eye = torch.eye(D)
        assert float((other.matrix() - eye).norm()) > 1.1 * float((edit.matrix() - eye).norm())
    values = line(of_controls(edit, 0, seeds=3), "forgotten, turned edit").values
    assert list(values) == pytest.approx([cn.evaluate(CASE, other).forget_after for other in others])


# --- other classes' names --------------------------------------------------------------------


def test_the_shuffled_names_are_other_classes_drawn_anew(monkeypatch):
    built = []

    def again(edit, T_f, T_r):
        built.append([[int((T == t).all(1).nonzero()) for t in side] for side in (T_f, T_r)])
        return cn.nullspace(T_f)

    monkeypatch.setattr(sys.modules["clipnull.auditing.controls"], "rebuild", again)
    rows = controls(CASE, EDIT, seeds=6, seed=1)
    assert len(built) == 6 and len({tuple(gone) for gone, _ in built}) > 3
    for gone, kept in built:
        assert len(gone) == len(FORGET) and not set(gone) & set(FORGET)
        assert sorted(gone + kept) == list(range(C))
    want = [cn.evaluate(CASE, cn.nullspace(T[gone])).forget_after for gone, _ in built]
    row = line(rows, "forgotten, other names")
    assert list(row.values) == pytest.approx(want)
    assert row.spread == pytest.approx(statistics.stdev(want))


# --- short lists and certificates ------------------------------------------------------------


@pytest.mark.parametrize("method", ["nullspace", "ccup", "mean"])
def test_short_lists_and_certificate_are_those_of_the_report_and_of_the_hull(method):
    edit = cn.METHODS[method].make(CASE.T_f, CASE.T_r)
    report = cn.evaluate(CASE, edit)
    two, search = short_lists(CASE, edit)
    assert (two.before, two.after) == (report.n_way[2].before, report.n_way[2].after)
    assert (search.before, search.after) == (report.search.before, report.search.after)
    row = certified(CASE, edit)
    bounds = [float(certificate(e, CASE.T_f, CASE.T_r).max()) for e in (None, edit)]
    assert (row.before, row.after) == pytest.approx(tuple(bounds)) and row.unit == "cosine"
    assert ("No image embedding" in row.means) == (method == "mean")


# --- other words -----------------------------------------------------------------------------


def test_a_word_must_beat_the_best_made_up_word_not_their_mean():
    """Half of the images lie along e_8, all of them along e_9: words of known recall."""
    e, y = torch.eye(12), torch.arange(4).repeat_interleave(10)
    half = (torch.arange(40) % 2)[:, None] * (y == 0)[:, None]
    X = e[y] + 2 * half * e[8] + 2 * (y == 0)[:, None] * e[9]
    same = cn.nullspace(e[11])

    def back(words, nonsense):
        said = Words(torch.stack(words), [0] * len(words), ["x"] * len(words), torch.stack(nonsense))
        row = other_words(cn.Case(X, e[:4], y, [0]), same, said)
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
    word = Words(-0.1 * e[5][None] + e[6], [0], ["x"])
    row = other_words(cn.Case(X, e[:3], y, [0]), cn.nullspace(e[7]), word)
    assert row.before == row.after == 1


# --- images that were learned from are not tested on -----------------------------------------


def accuracy(predicted, y):
    return float((predicted == y).double().mean())


MEMORISED = {
    "linear_probe": lambda X, y: accuracy(linear_probe(X, y), y),
    "yes_or_no": lambda X, y: yes_or_no(of(X, y, [0]), X),
    "layer_probe": lambda X, y: attacks.layer_probe(of(X, y, [0]), {"a": X}, {"a": X})[0].before,
}


@pytest.mark.parametrize("reader", MEMORISED)
def test_noise_that_can_be_memorised_is_not_recognised(reader):
    """More dimensions than images: whoever meets an image twice knows it by heart. Chance is 50%."""
    found = [MEMORISED[reader](randn(80, 160, seed=s), torch.arange(80) % 2) for s in range(4)]
    assert 0.35 < statistics.mean(found) < 0.62


# --- questions about a rare class ------------------------------------------------------------


@pytest.fixture(scope="module")
def rare():
    """One image in twenty is of class 0, two standard deviations away: at best 84% of either are told."""
    y = (torch.arange(2000) % 20 > 0).long()
    return randn(2000, 4, seed=3) + 2.0 * (y == 0)[:, None] * torch.eye(4)[0], y


def test_the_probe_weighs_both_answers_alike(rare):
    """Without weights a probe answers "no" and has 65%: the prior moves its threshold by log 19."""
    X, y = rare
    assert 0.8 < balanced_accuracy(linear_probe(X, y), y) < 0.88
    case = of(X, y, [0])
    unit = F.normalize(X, dim=1)
    row = probe(case, cn.nullspace(torch.eye(4)[3], strength=0.0))
    assert row.after == pytest.approx(balanced_accuracy(linear_probe(unit, y), y)) and row.control == 0.5
    assert row.before == pytest.approx(balanced_accuracy(linear_probe(X, y), y))


def test_yes_or_no_is_the_mean_of_two_recalls(rare):
    """Of images that all look like class 1, none of class 0 is told and each of class 1 is: 50%, not 95%."""
    _, y = rare
    X = torch.ones(2000, 4) + 1e-4 * randn(2000, 4)
    X[y == 1] += torch.eye(4)[1]
    X[::40] = X[1]
    assert yes_or_no(of(X, y, [0]), X) == pytest.approx(0.75, abs=0.01)


def balanced_accuracy(p, y):
    return (accuracy(p[y == 0], y[y == 0]) + accuracy(p[y == 1], y[y == 1])) / 2


def test_leace_erases_a_class_however_rare_and_near():
    """Four images of two thousand, one standard deviation away: a cross-covariance of about 0.004."""
    pytest.importorskip("concept_erasure")
    y = (torch.arange(2000) >= 4).long()
    X = randn(2000, 8, seed=6) + (y == 0)[:, None] * torch.eye(8)[0]
    gap = [(x[y == 0].mean(0) - x[y == 1].mean(0)).norm() for x in (X, leace(of(X, y, [0])))]
    assert gap[0] > 0.5 and gap[1] < 1e-3


# --- confidence ------------------------------------------------------------------------------


def halves(seed):
    """The retained images that models are refitted on, and those that judge them."""
    others = (~GONE).nonzero()[:, 0]
    order = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))]
    return order[: len(order) // 2], order[len(order) // 2 :]


def test_conformal_sets_are_calibrated_on_other_images_each_model_on_its_own():
    """The sets of each model, by hand: its own scale, its own threshold, from the fitting half alone."""
    control = cn.random_subspace(D, 2, seed=4)
    inside = confidence(CASE, EDIT, scale=20.0, seed=4)[-1]
    for e, got in ((None, inside.before), (EDIT, inside.after), (control, inside.control)):
        cal, _ = halves(4)
        scale = fitted_scale(probabilities(e, cal, 1.0).log(), Y[cal])  # cosines up to a constant per row
        sets = conformal_sets(probabilities(e, GONE, scale), probabilities(e, cal, scale), Y[cal])
        assert got == pytest.approx(float(sets[torch.arange(int(GONE.sum())), Y[GONE]].double().mean()))
    assert inside.after < 0.5 < inside.before < inside.control


def test_conformal_sets_cover_over_random_halves():
    """By symmetry nine in ten; calibrated on the images that it is judged on it would be all of them."""
    pick = torch.cat([torch.arange(3) + EACH * c for c in range(7)])  # 18 retained images, 3 forgotten
    case = cn.Case(Z[pick], T, Y[pick], [2])
    said = [
        confidence(case, cn.random_subspace(D, 9, seed=5), scale=10.0, seed=s)[-1].means for s in range(150)
    ]
    covered = [float(re.search(r"([\d.]+)% have theirs", x)[1]) for x in said]
    assert abs(statistics.mean(covered) - 90) < 3


def test_calibration_is_judged_on_the_other_half_before_and_after_the_scale_is_refitted():
    cal, rest = halves(4)
    rows = confidence(CASE, EDIT, scale=5.0, seed=4)
    plain, refitted = rows[1], rows[3]
    control = cn.random_subspace(D, 2, seed=4)
    for e, share in ((None, "before"), (EDIT, "after"), (control, "control")):
        p = probabilities(e, rest, 5.0)
        assert getattr(plain, share) == pytest.approx(calibration_error(p, Y[rest])[0], abs=1e-6)
        scale = fitted_scale(probabilities(e, cal, 1.0).log(), Y[cal])
        p = probabilities(e, rest, scale)
        assert getattr(refitted, share) == pytest.approx(calibration_error(p, Y[rest])[0], abs=1e-4)
    assert plain.after > refitted.after + 0.02


def test_the_scale_that_is_fitted_is_the_one_that_labels_were_drawn_with():
    S = randn(20000, 6, seed=8)
    y = torch.multinomial((3.5 * S).softmax(1), 1, generator=torch.Generator().manual_seed(9))[:, 0]
    assert fitted_scale(S, y) == pytest.approx(3.5, rel=0.03)


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
WORDS = Words(
    F.normalize(T[FORGET].repeat(4, 1) + 0.2 * randn(8, D, seed=13), dim=1), FORGET * 4, list("abcdefgh")
)

SEEDED = {
    "controls": lambda s: [r.values for r in controls(CASE, EDIT, seeds=3, seed=s)],
    "other_words": lambda s: other_words(CASE, EDIT, WORDS, seed=s).control,
    "short_lists": lambda s: [r.control for r in short_lists(CASE, EDIT, seed=s)],
    "certified": lambda s: certified(CASE, EDIT, seed=s).control,
    "turned": lambda s: turned(CASE, EDIT, seed=s).left,
    "confidence": lambda s: confidence(CASE, EDIT, seed=s)[:3],
    "linear_probe": lambda s: linear_probe(Z, Y, seed=s),
    "probe": lambda s: probe(CASE, EDIT, seed=s).after,
    "layer_probe": lambda s: attacks.layer_probe(CASE, {"a": Z}, {"a": Z}, seed=s),
    "relearning": lambda s: attacks.relearning(H, Y, LAYER, T, {2: EDIT, 5: EDIT}, 2, T[:2], seed=s),
    "sweep_sizes": lambda s: [*cn.sweep_sizes(CASE, [1, 3], ["nullspace", "random"], seed=s)],
}


@pytest.mark.parametrize("measurement", SEEDED)
def test_the_same_seed_gives_the_same_and_another_one_another(measurement):
    first, again, *others = (repr(SEEDED[measurement](s)) for s in (0, 0, 1, 2))
    assert first == again
    assert first not in others


def test_audit_hands_its_seed_to_every_part():
    report = cn.audit(None, CASE, EDIT, words=WORDS, seed=3)
    parts = [
        *controls(CASE, EDIT, seed=3),
        *short_lists(CASE, EDIT, seed=3),
        other_words(CASE, EDIT, WORDS, seed=3),
        probe(CASE, EDIT, seed=3),
        *confidence(CASE, EDIT, seed=3),
        certified(CASE, EDIT, seed=3),
    ]
    assert [row.name for row in report.rows] == [*(part.name for part in parts), "attack, embeddings"]
    for part in parts:
        row = report[part.name]
        assert (row.before, row.after, row.control) == (part.before, part.after, part.control), part.name
