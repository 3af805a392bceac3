"""Reports against arithmetic done by hand and against full recomputation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clipnull as cn
from clipnull import evaluation

NAMES = ["cat", "dog", "owl", "tiger"]


def world(n: int = 400, C: int = 12, d: int = 24, seed: int = 0, noise: float = 1.2):
    """Images scattered around their class's text embedding, in a cone, with a modality gap."""
    gen = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize
    common, gap = torch.randn(1, d, generator=gen), torch.randn(1, d, generator=gen)
    T = unit(common + torch.randn(C, d, generator=gen), dim=1)
    labels = torch.arange(n) % C
    Z = unit(T[labels] + 0.1 * gap + noise * unit(torch.randn(n, d, generator=gen), dim=1), dim=1)
    return Z, T, labels


def case_of(seed: int = 0, forget=(0,), dtype=torch.float32, **size):
    """`world` as a Case."""
    Z, T, labels = world(seed=seed, **size)
    return cn.Case(Z.to(dtype), T.to(dtype), labels, list(forget))


# --- the case --------------------------------------------------------------------------------


def test_a_case_is_its_arrays_and_who_is_forgotten():
    Z, T, labels = world(C=4, n=8)
    case = cn.Case(Z, T, labels, ["tiger", "cat"], NAMES)
    assert (case.forget, case.retain, case.classes) == ([3, 0], [1, 2], NAMES)
    assert case.forget_names == ["tiger", "cat"] and case.forgotten == "tiger, cat"
    assert torch.equal(case.T_f, T[[3, 0]]) and torch.equal(case.T_r, T[[1, 2]])
    assert case.gone.tolist() == [True, False, False, True] * 2
    assert torch.equal(case.scores, Z @ T.T) and torch.equal(case.predicted, (Z @ T.T).argmax(1))
    assert "8 images, 4 classes" in repr(case) and "tiger" in repr(case)


def test_recall_and_accuracy_are_of_the_forgotten_and_of_the_others():
    case = cn.Case(torch.eye(4)[[0, 0, 1, 2, 3]], torch.eye(4), [0, 0, 1, 2, 3], [0])
    assert case.recall(torch.tensor([0, 1, 0, 0, 0])) == 0.5
    assert case.accuracy(torch.tensor([1, 1, 1, 2, 0])) == pytest.approx(2 / 3)
    none = cn.Case(torch.eye(4)[1:], torch.eye(4), [1, 2, 3], [0])
    assert math.isnan(none.recall(torch.tensor([1, 2, 3]))) and none.accuracy(torch.tensor([1, 2, 3])) == 1
    with pytest.raises(ValueError, match="labels: no image is of a forgotten class"):
        none.require()
    with pytest.raises(ValueError, match="labels: no image of a retained class"):
        cn.Case(torch.eye(4)[:1], torch.eye(4), [0], [0]).require(retained=True)


def test_another_forget_set_shares_the_scores_and_nothing_that_depends_on_it():
    case = cn.Case(*world(C=4), ["cat"], NAMES)
    assert case.retain == [1, 2, 3] and case.gone.any() and len(case.scores) == 400
    other = case.forgetting(["owl", "dog"])
    assert other.scores is case.scores and other.classes is case.classes
    assert (other.forget, other.retain) == ([2, 1], [0, 3]) and case.forget == [0]
    assert torch.equal(other.gone, torch.isin(case.labels, torch.tensor([1, 2])))
    fresh = cn.Case(case.Z, case.T, case.labels, ["owl", "dog"], NAMES)
    edit = cn.nullspace(other.T_f)
    assert torch.equal(other.evaluate(edit).predicted_after, fresh.evaluate(edit).predicted_after)
    with pytest.raises(ValueError, match="forget: got all 4 classes"):
        case.forgetting(NAMES)


def test_many_forgotten_names_are_not_all_listed():
    case = case_of(forget=range(7))
    assert case.forgotten == "0, 1, 2, 3, 4 and 2 more"


# --- reports ---------------------------------------------------------------------------------


def test_report_by_hand():
    T = torch.eye(4)
    Z = torch.tensor([[3, 2, 1, 0], [2, 3, 0, 0], [0, 3, 1, 0], [0, 0, 3, 1], [0, 0, 1, 3], [3, 0, 0, 2.0]])
    labels = [0, 0, 1, 2, 3, 3]
    report = cn.Case(Z, T, labels, ["cat"], NAMES).evaluate(cn.nullspace(T[:1]))
    assert (report.forget_before, report.forget_after) == (0.5, 0.0)
    assert (report.retain_before, report.retain_after) == (0.75, 1.0), "the mistaken tiger comes right"
    assert report.predicted_after.tolist() == [1, 1, 1, 2, 3, 3]
    assert report.destinations() == [("dog", 2)]
    assert report.case.forget_names == ["cat"] and math.isclose(report.retained, 4 / 3)
    cat, *_, tiger = report.per_class
    assert tiger == (3, "tiger", False, 2, 0.5, 1.0) and cat == (0, "cat", True, 2, 0.5, 0.0)
    assert (tiger.label, tiger.name, tiger.forgotten, tiger.images) == (3, "tiger", False, 2)
    assert (tiger.before, tiger.after) == (0.5, 1.0)


@pytest.mark.parametrize(
    "counts, said",
    [
        ([0, 0, 0], "nothing, for there are none"),
        ([2, 1, 0], "1 (2), 2 (1)"),
        ([4, 3, 2, 1], "1 (4), 2 (3), 3 (2), 4 (1)"),
        ([4, 3, 2, 2, 1], "1 (4), 2 (3), 3 (2) and 2 others (3)"),
        ([4, 1, 2, 3, 9, 1], "5 (9), 1 (4), 4 (3) and 3 others (4)"),
    ],
)
def test_what_became_of_the_forgotten_images_accounts_for_them_all(counts, said):
    T, went = torch.eye(len(counts) + 1), [i for i, k in enumerate(counts, 1) for _ in range(k)]
    case = cn.Case(0.5 * T[[0, *went]] + T[0], T, [1, *[0] * len(went)], [0])
    report = case.evaluate(cn.nullspace(T[:1]))
    assert report.became() == said and sum(k for _, k in report.destinations(99)) == len(went)
    assert str(report).splitlines()[-1] == f"forgotten images became: {said}"


def test_a_class_without_images_has_no_accuracy():
    report = cn.Case(torch.eye(4)[[0, 2]], torch.eye(4), [0, 2], [0], NAMES).evaluate(
        cn.nullspace(torch.eye(4)[:1])
    )
    assert [row.name for row in report.per_class] == ["cat", "owl"]


def test_report_shows_itself_in_percent():
    case = case_of(forget=[1, 2])
    report = case.evaluate(cn.nullspace(case.T_f))
    text, page = str(report), report._repr_html_()
    assert f"{100 * report.forget_before:.1f}" in text and f"{100 * report.retain_after:.1f}" in page
    assert "nullspace: forget 1, 2" in text
    odd = cn.Case(case.Z, case.T, case.labels, [0], ["<b>", *"abcdefghijk"])
    assert "&lt;b&gt;" in odd.evaluate(cn.nullspace(odd.T_f))._repr_html_()


SIDES = ["image", "text", "both"]
worlds = given(st.integers(0, 10**6), st.sampled_from(list(cn.METHODS)), st.sampled_from(SIDES))


def edited(edit: cn.Edit, case: cn.Case, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Z W and T Wᵀ of unit length, as the side has them, from the matrix itself."""
    W = edit.matrix()
    Z = case.Z @ W if side in ("image", "both") else case.Z
    T = torch.nn.functional.normalize(case.T @ W.T, dim=1) if side in ("text", "both") else case.T
    return Z, T


@settings(max_examples=20, deadline=None)
@worlds
def test_evaluate_equals_full_recomputation(seed, method, side):
    case = case_of(seed, forget=[0, 5, 7], dtype=torch.float64)
    edit = cn.METHODS[method].make(case.T_f, case.T_r, seed=seed).to(torch.float64)
    Z2, T2 = edited(edit, case, side)
    report = cn.evaluate(case, edit, side)
    for S, predicted in (
        (Z2 @ T2.T, report.predicted_after),
        (case.Z @ case.T.T, report.predicted_before),
    ):
        kept, forgotten = S[:, case.retain].topk(2, 1), S[:, case.forget].topk(2, 1)
        # a forgotten name wins by a lead above 1e-5 of the largest |score| before the edit
        lead, tie = forgotten.values[:, 0] - kept.values[:, 0], 1e-5 * (case.Z @ case.T.T).abs().max()
        want = torch.where(
            lead > tie,
            torch.tensor(case.forget)[forgotten.indices[:, 0]],
            torch.tensor(case.retain)[kept.indices[:, 0]],
        )
        near = torch.where(lead > tie, forgotten.values.diff()[:, 0].abs() - tie, kept.values.diff()[:, 0])
        decided = ((lead - tie).abs() > 1e-9) & (near.abs() > 1e-9)
        # of several forgotten names that tie, the first wins
        alone = (lead <= tie) | (forgotten.values.diff()[:, 0].abs() > tie)
        assert torch.equal(predicted[decided & alone], want[decided & alone])
        assert decided.double().mean() > 0.95
        first = (S[:, case.forget] >= forgotten.values[:, :1] - tie).byte().argmax(1)
        tied = decided & ~alone
        assert torch.equal(predicted[tied], torch.tensor(case.forget)[first[tied]])
    right = report.predicted_after == case.labels
    mask = torch.isin(case.labels, torch.tensor(case.forget))
    assert math.isclose(report.forget_after, float(right[mask].double().mean()))
    assert math.isclose(report.retain_after, float(right[~mask].double().mean()))


def test_blocks_do_not_matter(monkeypatch):
    case = case_of(n=300, forget=[0, 1])
    edit = cn.nullspace(case.T_f)
    whole = case.evaluate(edit)
    monkeypatch.setattr(evaluation, "CACHED", 12 * 17)
    assert torch.equal(case.evaluate(edit).predicted_after, whole.predicted_after)


def test_identity_changes_nothing_and_names_equal_indices():
    Z, T, labels = world(C=4)
    nothing = cn.nullspace(T[:1], strength=0)
    case = cn.Case(Z, T, labels, ["cat"], NAMES)
    report = case.evaluate(nothing)
    assert torch.equal(report.predicted_before, report.predicted_after)
    assert case.forget == cn.Case(Z, T, labels, 0).forget == [0]
    assert cn.Case(Z.numpy(), T.numpy(), np.asarray(labels), np.array([0, 0])).forget == [0]


def test_classes_in_numpy_or_torch_form():
    Z, T, labels = world(C=4)
    forms = [np.int64(3), torch.tensor(3), np.array(3), [torch.tensor(3)], np.array(["tiger"]), "tiger"]
    for forget in forms:
        case = cn.Case(Z, T, labels, forget, np.array(NAMES))
        assert case.forget == [3] and type(case.forget[0]) is int
        assert case.classes == NAMES and type(case.classes[0]) is str
        assert case.forgetting(np.array(["owl"])).forget == [2]
    case = cn.Case(Z, T, labels, [0])
    points = cn.sweep(case, cn.consistent, anchor=["mean"], lam=np.array([1.0, 10.0, 100.0]), mu=[3.0])
    alone = case.evaluate(cn.consistent(T[:1], T[1:], 100.0, 3.0, anchor="mean"))
    assert points.column("lam").tolist() == [1, 10, 100]
    assert points[2]["retain_after"] == alone.retain_after


@pytest.mark.parametrize("side", SIDES)
def test_names_that_take_gradients(side):
    Z, T, labels = world()
    learnt = T.clone().requires_grad_()
    want = cn.Case(Z, T, labels, [0]).evaluate(cn.nullspace(T[:1], 0.9), side)
    edit = cn.nullspace(learnt[:1], 0.9)
    assert edit.left.requires_grad and edit.rank == 1
    for images in (Z, Z.clone().requires_grad_()):
        case = cn.Case(images, learnt, labels, [0])
        assert torch.equal(case.evaluate(edit, side).predicted_after, want.predicted_after)
    assert torch.equal(cn.candidate_masking(case).predicted_before, want.predicted_before)


def test_drop_label_is_zero_by_construction_and_edits_no_other_order():
    report = cn.candidate_masking(case_of(forget=[3]))
    assert report.forget_after == 0 and report.forget_before > 0.3
    others = report.predicted_before != 3
    assert torch.equal(report.predicted_before[others], report.predicted_after[others])
    assert report.retain_after >= report.retain_before


def test_a_dropped_label_wins_nothing_where_all_scores_are_negative():
    T, labels = torch.eye(4), torch.arange(4)
    report = cn.candidate_masking(cn.Case(T - 2, T, labels, [0, 1]))
    assert report.forget_after == 0 and report.predicted_after.tolist() == [2, 2, 2, 3]
    assert report.retain_before == report.retain_after == 1


def test_forgotten_scores_become_zero_yet_may_win():
    """Orthogonal is not forgotten: a zero score wins where the others are negative."""
    T = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]]), dim=1)
    z = torch.tensor([[1.0, -0.3, -0.4]])
    report = cn.Case(z, T, [0], [0]).evaluate(cn.nullspace(T[:1]))
    assert report.forget_before == 1.0 and report.forget_after == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_decides_nothing_between_scores_that_are_zero(dtype):
    """Names that are projected out tie at zero: the first wins where the kept one is below, on any processor."""
    case = case_of(forget=range(11), dtype=dtype)
    edit = cn.nullspace(case.T_f, dtype=dtype)
    left = (case.Z @ edit.matrix() @ case.T_r.T)[:, 0]
    clear = left.abs() > 1e-4
    assert clear.sum() > 390 and (left < 0).any() and (left > 0).any()
    report = case.evaluate(edit)
    assert torch.equal(report.predicted_after[clear], torch.where(left < 0, 0, 11)[clear])
    # torch has no fast path for every number format; both paths agree
    z, eye = torch.tensor([[-0.5, -0.5, 1, 2], [0.25, 0.5, 1, 2]]), torch.eye(4)
    for kind in (dtype, torch.bfloat16):
        edit = cn.nullspace(eye[2:], dtype=kind)
        case = cn.Case(z.to(kind), eye.to(kind), [2, 3], [2, 3])
        assert case.evaluate(edit).predicted_after.tolist() == [2, 1]
    # a best score that is not zero is the best, by however little
    z = torch.tensor([[1.0, 1 - 1e-6, 0.0], [1 - 1e-6, 1.0, 0.0]])
    near = cn.Case(z, torch.eye(3), [0, 1], [2]).evaluate(cn.nullspace(torch.eye(3)[2:]))
    assert near.predicted_after.tolist() == [0, 1]


# --- sweeps ----------------------------------------------------------------------------------


def test_sweep_over_strength_agrees_with_single_evaluations_and_tables():
    case = case_of()
    points = cn.sweep(case, cn.nullspace, strength=[0.0, 0.5, 1.0])
    assert [p["strength"] for p in points] == [0.0, 0.5, 1.0]
    for p in points:
        report = case.evaluate(cn.nullspace(case.T_f, strength=p["strength"]))
        assert p["forget_after"] == report.forget_after and p["retain_after"] == report.retain_after
        assert (p["two_way"], p["search"]) == (report.n_way[2].after, report.search.after)
    assert points[0]["forget_after"] == points[0]["forget_before"]
    assert points[0]["forget_after"] > points[1]["forget_after"] > points[2]["forget_after"]
    assert len(str(points).splitlines()) == 4 and "<table>" in points._repr_html_()
    assert points.column("strength").tolist() == [0.0, 0.5, 1.0] and len(points.where(strength=0.5)) == 1


def test_sweep_over_lam_and_mu_and_over_ones_own_eraser():
    case = case_of(forget=[0, 1])
    points = cn.sweep(case, cn.consistent, lam=[1.0, 100.0], mu=[0.0, 30.0], anchor=["mean"])
    assert [(p["lam"], p["mu"]) for p in points] == [(1.0, 0.0), (1.0, 30.0), (100.0, 0.0), (100.0, 30.0)]
    edit = cn.consistent(case.T_f, case.T_r, 100.0, 30.0, anchor="mean")
    assert points[3]["retain_after"] == case.evaluate(edit).retain_after

    def mine(T_f, T_r, a):
        assert torch.equal(T_f, case.T_f) and torch.equal(T_r, case.T_r)
        return cn.nullspace(T_f, strength=a)

    theirs = cn.sweep(case, cn.nullspace, strength=[0.7])[0]["retain_after"]
    assert cn.sweep(case, mine, a=[0.7])[0]["retain_after"] == theirs


@pytest.mark.parametrize("side", SIDES)
def test_a_sweep_edits_the_side_asked_for(side):
    case = case_of(forget=[0, 1])
    (point,) = cn.sweep(case, cn.consistent, side, lam=[3.0], mu=[1.0])
    assert (
        point["forget_after"] == case.evaluate(cn.consistent(case.T_f, case.T_r, 3.0, 1.0), side).forget_after
    )


def test_sweep_sizes_meets_every_method_with_the_same_forget_sets():
    case, methods = case_of(), ["nullspace", "random", "candidate masking"]
    points = cn.sweep_sizes(case, [1, 4], methods, draws=2, seed=1)
    assert [(p["size"], p["method"]) for p in points][:2] == [(1, "nullspace"), (1, "random")]
    for size in (1, 4):
        assert len({p["forget_before"] for p in points.where(size=size)}) == 1
    assert str([*points]) == str([*cn.sweep_sizes(case, [1, 4], methods, draws=2, seed=1)])
    other = case.forgetting([5, 6])
    again = cn.sweep_sizes(other, [1, 4], methods, draws=2, seed=1)
    assert str([*points]) == str([*again]), "its own plays no part"


def test_sweep_sizes_shows_short_lists_and_search():
    """Silent among all names is not silent: the means are those of the reports, draw by draw."""
    case = case_of()
    (point,) = cn.sweep_sizes(case, [2], ["hull"], draws=3, seed=4)
    gen, reports = torch.Generator().manual_seed(4), []
    for _ in range(3):
        one = case.forgetting(torch.randperm(12, generator=gen)[:2].tolist())
        reports.append(one.evaluate(cn.METHODS["hull"].make(one.T_f, one.T_r)))
    assert point["two_way"] == pytest.approx(sum(r.n_way[2].after for r in reports) / 3)
    assert point["search"] == pytest.approx(sum(r.search.after for r in reports) / 3)
    (masked,) = cn.sweep_sizes(case, [2], ["candidate masking"])
    assert masked["two_way"] == 0 and math.isnan(masked["search"])
    assert "two_way %" in str(cn.sweep_sizes(case, [2], ["candidate masking"])) and "–" in str(
        cn.sweep_sizes(case, [2], ["candidate masking"])
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([-1], r"sizes: got -1, want a whole number"),
        ([0], r"sizes: got 0, want"),
        ([12], r"sizes: got 12, want a whole number from 1 to 11"),
        ([2.5], r"sizes: got 2.5, want a whole number"),
    ],
)
def test_sizes_that_cannot_be_forgotten_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        cn.sweep_sizes(case_of(), sizes, ["nullspace"])


def test_sizes_may_be_numpys():
    assert cn.sweep_sizes(case_of(), np.array([2]), ["nullspace"], draws=1)[0]["size"] == 2


def overall(points):
    """Accuracy on all 12 classes' images, which have equally many: what was forgotten plays no part."""
    n, f, r = (points.column(k) for k in ("size", "forget_after", "retain_after"))
    return ((n * f + (12 - n) * r) / 12).tolist()


def test_sweep_sizes_draws_another_control_and_another_forget_set_each_time():
    """A random subspace knows no names: its overall accuracy depends on its seed alone."""
    case = case_of(n=480)

    def points(draws, seed, method="random", sizes=(1, 4)):
        return cn.sweep_sizes(case, sizes, [method], draws=draws, seed=seed)

    def truth(rank, draws, seed):
        controls = [cn.random_subspace(24, rank, seed + i) for i in range(draws)]
        reports = [case.evaluate(control) for control in controls]
        return sum(float((r.predicted_after == case.labels).double().mean()) for r in reports) / draws

    for draws, seed in ((1, 0), (3, 0), (3, 5)):
        want = [truth(rank, draws, seed) for rank in (1, 4)]
        assert overall(points(draws, seed)) == pytest.approx(want)
    # recall differs between classes, and with it between forget sets
    recalls = [points(draws, 0, "nullspace", (1, 1)).column("forget_before").tolist() for draws in (1, 3)]
    assert len({round(r, 9) for pair in recalls for r in pair}) == 4


# --- bad input, other forms ------------------------------------------------------------------

Z4, T4, Y4 = torch.ones(4, 6), torch.eye(6)[:4], [0, 1, 2, 3]
E4, C4 = cn.nullspace(T4[:1]), cn.Case(Z4, T4, Y4, [0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cn.Case(Z4, T4, Y4, ["tigre"], NAMES),
            r"unknown class 'tigre'; the closest are 'tiger', ",
        ),
        (
            lambda: cn.Case(Z4, T4, Y4, ["cat"]),
            r"forget: got the name 'cat', want indices, or names in classes=",
        ),
        (lambda: cn.Case(Z4, T4, Y4, []), r"forget: got no class"),
        (lambda: cn.Case(Z4, T4, Y4, [0, 1, 2, 3]), r"forget: got all 4 classes"),
        (lambda: cn.Case(Z4, T4, Y4, [4]), r"forget: class index 4 is out of range, want 0 to 3"),
        (lambda: cn.Case(Z4, T4, Y4, [0.5]), r"forget: got 0.5, want class indices or class names"),
        (lambda: cn.Case(Z4, T4, Y4, 0.5), r"forget: got 0.5, want class indices or class names"),
        (lambda: cn.Case(Z4, T4, Y4, True), r"forget: got True, want class indices or class names"),
        (lambda: cn.Case(Z4, T4[:, :5], Y4, [0]), r"T: rows have 5 entries, want 6"),
        (lambda: cn.Case(Z4 * math.nan, T4, Y4, [0]), r"Z: 4 of 4 rows hold NaN"),
        (lambda: cn.Case(Z4, T4 * 0, Y4, [0]), r"T: row 0 is all zeros"),
        (lambda: cn.Case(Z4, T4, [0, 1, 2, 4], [0]), r"labels: entries run from 0 to 4, want 0 to 3"),
        (lambda: cn.Case(Z4, T4, [0, 1], [0]), r"labels: got shape \(2,\), want \[4\]"),
        (lambda: cn.Case(Z4, T4, [0.5, 1, 2, 3], [0]), r"labels: got torch.float32 entries"),
        (
            lambda: C4.evaluate(cn.nullspace(torch.ones(1, 5))),
            r"edit: acts on 5 dimensions, want 6",
        ),
        (
            lambda: C4.evaluate(E4, side="top"),
            r"side: got 'top', want one of image, text, both",
        ),
        (lambda: cn.Case(Z4, T4, Y4, [0], NAMES[:2]), r"classes: got 2 names, want 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_predictions_are_those_of_argmax(dtype):
    case = case_of(dtype=dtype)
    report = case.evaluate(cn.nullspace(case.T_f, dtype=dtype))
    assert torch.equal(report.predicted_before, (case.Z @ case.T.T).argmax(1))
