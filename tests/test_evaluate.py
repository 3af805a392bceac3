"""Reports against arithmetic done by hand and against full recomputation."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import clipnull as cn

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


def test_the_module_of_the_same_name_does_not_shadow_the_function():
    from clipnull.evaluation import evaluate

    assert cn.evaluate is evaluate


def test_report_by_hand():
    T = torch.eye(4)
    Z = torch.tensor([[3, 2, 1, 0], [2, 3, 0, 0], [0, 3, 1, 0], [0, 0, 3, 1], [0, 0, 1, 3], [3, 0, 0, 2.0]])
    labels = [0, 0, 1, 2, 3, 3]
    report = cn.evaluate(Z, T, labels, ["cat"], cn.nullspace(T[:1]), classes=NAMES)
    assert (report.forget_before, report.forget_after) == (0.5, 0.0)
    assert (report.retain_before, report.retain_after) == (0.75, 1.0), "the mistaken tiger comes right"
    assert report.predicted_after.tolist() == [1, 1, 1, 2, 3, 3]
    assert report.destinations() == [("dog", 2)]
    assert report.forget_names == ["cat"] and math.isclose(report.retained, 4 / 3)
    row = report.per_class[3]
    assert row == {"index": 3, "name": "tiger", "forgotten": False, "images": 2, "before": 0.5, "after": 1.0}


def test_report_shows_itself_in_percent():
    Z, T, labels = world()
    report = cn.evaluate(Z, T, labels, [1, 2], cn.nullspace(T[1:3]))
    text, page = str(report), report._repr_html_()
    assert f"{100 * report.forget_before:.1f}" in text and f"{100 * report.retain_after:.1f}" in page
    assert "nullspace: forget 1, 2" in text
    assert (
        "&lt;b&gt;"
        in cn.evaluate(Z, T, labels, [0], cn.nullspace(T[:1]), classes=["<b>", *"abcdefghijk"])._repr_html_()
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(cn.METHODS)), st.sampled_from(["image", "text", "both"]))
def test_evaluate_equals_full_recomputation(seed, method, side):
    Z, T, labels = (x.double() if x.is_floating_point() else x for x in world(seed=seed))
    forget = [0, 5, 7]
    keep = [c for c in range(len(T)) if c not in forget]
    edit = cn.METHODS[method].make(T[forget], T[keep], seed=seed).to(torch.float64)
    W = edit.matrix()
    Z2 = Z @ W if side in ("image", "both") else Z
    T2 = torch.nn.functional.normalize(T @ W.T, dim=1) if side in ("text", "both") else T
    report = cn.evaluate(Z, T, labels, forget, edit, side=side)
    top = (Z2 @ T2.T).topk(2, 1)
    # scores that are zero up to rounding are a tie
    decided = top.values[:, 0] - top.values[:, 1] > torch.where(top.values[:, 0].abs() > 1e-5, 1e-9, 1e-5)
    assert torch.equal(report.predicted_after[decided], top.indices[decided, 0])
    assert torch.equal(report.predicted_before, (Z @ T.T).argmax(1))
    right = report.predicted_after == labels
    mask = torch.isin(labels, torch.tensor(forget))
    assert math.isclose(report.forget_after, float(right[mask].double().mean()))
    assert math.isclose(report.retain_after, float(right[~mask].double().mean()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(cn.METHODS)), st.sampled_from(["image", "text", "both"]))
def test_the_evaluator_agrees_with_evaluate(seed, method, side):
    Z, T, labels = (x.double() if x.is_floating_point() else x for x in world(seed=seed))
    edit = cn.METHODS[method].make(T[:3], T[3:], seed=seed).to(torch.float64)
    scores = cn.Evaluator(Z, T, labels)
    fast, plain = scores.report([0, 1, 2], edit, side), cn.evaluate(Z, T, labels, [0, 1, 2], edit, side)
    assert (fast.predicted_after != plain.predicted_after).double().mean() < 0.005, "ties aside"
    assert torch.equal(fast.predicted_before, plain.predicted_before) and fast.title == plain.title
    A, B, scale = scores.factors(edit, side)
    updated = (scores.scores - A @ B.T) * (1 if scale is None else scale)
    Z2 = edit.apply_image(Z) if side != "text" else Z
    T2 = edit.apply_text(T, normalize=True) if side != "image" else T
    # a name that the edit sends to (nearly) nothing has no direction left to compare
    alive = edit.apply_text(T).norm(dim=1) > 1e-6
    assert torch.allclose(updated[:, alive], (Z2 @ T2.T)[:, alive], atol=1e-7)


def test_blocks_do_not_matter(monkeypatch):
    import sys

    Z, T, labels = world(n=300)
    edit = cn.nullspace(T[:2])
    whole = cn.evaluate(Z, T, labels, [0, 1], edit)
    monkeypatch.setattr(sys.modules["clipnull.evaluation"], "BLOCK", 7)
    assert torch.equal(cn.evaluate(Z, T, labels, [0, 1], edit).predicted_after, whole.predicted_after)
    monkeypatch.setattr(sys.modules["clipnull.evaluation"], "CACHED", 12 * 17)
    assert torch.equal(cn.Evaluator(Z, T, labels).predict(edit), whole.predicted_after)


def test_identity_changes_nothing_and_names_equal_indices():
    Z, T, labels = world(C=4)
    nothing = cn.nullspace(T[:1], strength=0)
    report = cn.evaluate(Z, T, labels, ["cat"], nothing, classes=NAMES)
    assert torch.equal(report.predicted_before, report.predicted_after)
    assert report.forget == cn.evaluate(Z, T, labels, 0, nothing).forget == [0]
    assert cn.evaluate(Z.numpy(), T.numpy(), np.asarray(labels), np.array([0, 0]), nothing).forget == [0]


def test_classes_in_numpy_or_torch_form():
    Z, T, labels = world(C=4)
    nothing = cn.nullspace(T[:1], strength=0)
    forms = [np.int64(3), torch.tensor(3), np.array(3), [torch.tensor(3)], np.array(["tiger"]), "tiger"]
    for forget in forms:
        report = cn.evaluate(Z, T, labels, forget, nothing, classes=np.array(NAMES))
        assert report.forget == [3] and type(report.forget[0]) is int
        assert report.classes == NAMES and type(report.classes[0]) is str
    assert cn.Evaluator(Z, T, labels, np.array(NAMES)).report(["tiger"], nothing).forget == [3]
    points = cn.sweep(Z, T, labels, [0], cn.consistent, anchor=["mean"], lam=np.array([1.0, 10.0, 100.0]))
    alone = cn.evaluate(Z, T, labels, 0, cn.consistent(T[:1], T[1:], anchor="mean", lam=100.0))
    assert points.column("lam").tolist() == [1, 10, 100]
    assert points[2]["retain_after"] == alone.retain_after


@pytest.mark.parametrize("side", ["image", "text", "both"])
def test_names_that_take_gradients(side):
    Z, T, labels = world()
    learnt = T.clone().requires_grad_()
    want = cn.evaluate(Z, T, labels, [0], cn.nullspace(T[:1], 0.9), side)
    edit = cn.nullspace(learnt[:1], 0.9)
    assert edit.left.requires_grad and edit.rank == 1
    for images in (Z, Z.clone().requires_grad_()):
        plain = cn.evaluate(images, learnt, labels, [0], edit, side)
        fast = cn.Evaluator(images, learnt, labels).report([0], edit, side)
        assert torch.equal(plain.predicted_after, want.predicted_after)
        assert torch.equal(fast.predicted_after, want.predicted_after)
    assert torch.equal(cn.drop_label(Z, learnt, labels, [0]).predicted_before, want.predicted_before)


def test_drop_label_is_zero_by_construction_and_edits_no_other_order():
    Z, T, labels = world()
    report = cn.drop_label(Z, T, labels, [3])
    assert report.forget_after == 0 and report.forget_before > 0.3
    others = report.predicted_before != 3
    assert torch.equal(report.predicted_before[others], report.predicted_after[others])
    assert report.retain_after >= report.retain_before


def test_a_dropped_label_wins_nothing_where_all_scores_are_negative():
    T, labels = torch.eye(4), torch.arange(4)
    report = cn.drop_label(T - 2, T, labels, [0, 1])
    assert report.forget_after == 0 and report.predicted_after.tolist() == [2, 2, 2, 3]
    assert report.retain_before == report.retain_after == 1


def test_forgotten_scores_become_zero_yet_may_win():
    """Orthogonal is not forgotten: a zero score wins where the others are negative."""
    T = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]]), dim=1)
    z = torch.tensor([[1.0, -0.3, -0.4]])
    report = cn.evaluate(z, T, [0], [0], cn.nullspace(T[:1]))
    assert report.forget_before == 1.0 and report.forget_after == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_decides_nothing_between_scores_that_are_zero(dtype):
    """Where all names are projected out, all tie: the first one wins, on every image and processor."""
    Z, T, labels = world()
    forget = list(range(len(T) - 1))
    edit = cn.nullspace(T, dtype=dtype)
    for report in (
        cn.evaluate(Z.to(dtype), T.to(dtype), labels, forget, edit),
        cn.Evaluator(Z.to(dtype), T.to(dtype), labels).report(forget, edit),
    ):
        assert report.predicted_after.unique().tolist() == [0]
    # torch has no fast path for every number format; both paths agree
    z, eye = torch.tensor([[-0.5, -0.5, 1, 2], [0.25, 0.5, 1, 2]]), torch.eye(4)
    for kind in (dtype, torch.bfloat16):
        edit = cn.nullspace(eye[2:], dtype=kind)
        assert cn.evaluate(z.to(kind), eye.to(kind), [2, 3], [2, 3], edit).predicted_after.tolist() == [2, 1]
    # a best score that is not zero is the best, by however little
    z = torch.tensor([[1.0, 1 - 1e-6, 0.0], [1 - 1e-6, 1.0, 0.0]])
    near = cn.evaluate(z, torch.eye(3), [0, 1], [2], cn.nullspace(torch.eye(3)[2:]))
    assert near.predicted_after.tolist() == [0, 1]


def test_sweep_over_strength_agrees_with_single_evaluations_and_tables():
    Z, T, labels = world()
    points = cn.sweep(Z, T, labels, [0], cn.nullspace, strength=[0.0, 0.5, 1.0])
    assert [p["strength"] for p in points] == [0.0, 0.5, 1.0]
    for p in points:
        report = cn.evaluate(Z, T, labels, [0], cn.nullspace(T[:1], strength=p["strength"]))
        assert p["forget_after"] == report.forget_after and p["retain_after"] == report.retain_after
    assert points[0]["forget_after"] == points[0]["forget_before"]
    assert points[0]["forget_after"] > points[1]["forget_after"] > points[2]["forget_after"]
    assert len(str(points).splitlines()) == 4 and "<table>" in points._repr_html_()
    assert points.column("strength").tolist() == [0.0, 0.5, 1.0] and len(points.where(strength=0.5)) == 1


def test_sweep_over_dials_and_over_ones_own_eraser():
    Z, T, labels = world()
    points = cn.sweep(Z, T, labels, [0, 1], cn.consistent, lam=[1.0, 100.0], mu=[0.0, 30.0], anchor=["mean"])
    assert [(p["lam"], p["mu"]) for p in points] == [(1.0, 0.0), (1.0, 30.0), (100.0, 0.0), (100.0, 30.0)]
    edit = cn.consistent(T[:2], T[2:], 100.0, 30.0, anchor="mean")
    assert points[3]["retain_after"] == cn.evaluate(Z, T, labels, [0, 1], edit).retain_after

    def mine(T_f, T_r, a):
        return cn.nullspace(T_f, strength=a)

    theirs = cn.sweep(Z, T, labels, [0], cn.nullspace, strength=[0.7])[0]["retain_after"]
    assert cn.sweep(Z, T, labels, [0], mine, a=[0.7])[0]["retain_after"] == theirs


def test_sweep_sizes_meets_every_method_with_the_same_forget_sets():
    Z, T, labels = world()
    points = cn.sweep_sizes(Z, T, labels, [1, 4], ["nullspace", "random", "drop the label"], draws=2, seed=1)
    assert [(p["size"], p["method"]) for p in points][:2] == [(1, "nullspace"), (1, "random")]
    for size in (1, 4):
        assert len({p["forget_before"] for p in points.where(size=size)}) == 1
    again = cn.sweep_sizes(Z, T, labels, [1, 4], ["nullspace", "random", "drop the label"], draws=2, seed=1)
    assert points.points == again.points


def overall(points):
    """Accuracy on all 12 classes' images, which have equally many: what was forgotten plays no part."""
    n, f, r = (points.column(k) for k in ("size", "forget_after", "retain_after"))
    return ((n * f + (12 - n) * r) / 12).tolist()


def test_sweep_sizes_draws_another_control_and_another_forget_set_each_time():
    """A random subspace knows no names: its overall accuracy depends on its seed alone."""
    Z, T, labels = world(n=480)

    def points(draws, seed, method="random", sizes=(1, 4)):
        return cn.sweep_sizes(Z, T, labels, sizes, [method], draws=draws, seed=seed)

    def truth(rank, draws, seed):
        reports = [
            cn.evaluate(Z, T, labels, [0], cn.random_subspace(24, rank, seed + i)) for i in range(draws)
        ]
        return sum(float((r.predicted_after == labels).double().mean()) for r in reports) / draws

    for draws, seed in ((1, 0), (3, 0), (3, 5)):
        want = [truth(rank, draws, seed) for rank in (1, 4)]
        assert overall(points(draws, seed)) == pytest.approx(want)
    # recall differs between classes, and with it between forget sets
    recalls = [points(draws, 0, "nullspace", (1, 1)).column("forget_before").tolist() for draws in (1, 3)]
    assert len({round(r, 9) for pair in recalls for r in pair}) == 4


def test_protocol_score_by_hand():
    assert cn.protocol.protocol_score(80, 0, 60, 60, [(50, 50)] * 3) == 0
    assert cn.protocol.protocol_score(80, 80, 60, 60, [(50, 50)] * 3) == 0.2, (
        "nothing forgotten costs one fifth"
    )
    assert math.isclose(cn.protocol.protocol_score(0.8, 0.4, 0.5, 0.25, [(0.5, 0.6)] * 3), (0.5 + 0.5) / 5)
    with pytest.raises(ValueError, match="forget before: got 0"):
        cn.protocol.protocol_score(0, 0, 60, 60)


Z4, T4, Y4 = torch.ones(4, 6), torch.eye(6)[:4], [0, 1, 2, 3]
E4 = cn.nullspace(T4[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cn.evaluate(Z4, T4, Y4, ["tigre"], E4, classes=NAMES),
            r"unknown class 'tigre'; the closest are 'tiger', ",
        ),
        (
            lambda: cn.evaluate(Z4, T4, Y4, ["cat"], E4),
            r"forget: got the name 'cat', want indices, or pass classes=",
        ),
        (lambda: cn.evaluate(Z4, T4, Y4, [], E4), r"forget: got no class"),
        (lambda: cn.evaluate(Z4, T4, Y4, [0, 1, 2, 3], E4), r"forget: got all 4 classes"),
        (lambda: cn.evaluate(Z4, T4, Y4, [4], E4), r"forget: class index 4 is out of range, want 0 to 3"),
        (lambda: cn.evaluate(Z4, T4, Y4, [0.5], E4), r"forget: got 0.5, want class indices or class names"),
        (lambda: cn.evaluate(Z4, T4, Y4, 0.5, E4), r"forget: got 0.5, want class indices or class names"),
        (lambda: cn.evaluate(Z4, T4, Y4, True, E4), r"forget: got True, want class indices or class names"),
        (lambda: cn.evaluate(Z4, T4[:, :5], Y4, [0], E4), r"T: rows have 5 entries, want 6"),
        (lambda: cn.evaluate(Z4 * math.nan, T4, Y4, [0], E4), r"Z: 4 of 4 rows hold NaN"),
        (lambda: cn.evaluate(Z4, T4 * 0, Y4, [0], E4), r"T: row 0 is all zeros"),
        (lambda: cn.evaluate(Z4, T4, [0, 1, 2, 4], [0], E4), r"labels: entries run from 0 to 4, want 0 to 3"),
        (lambda: cn.evaluate(Z4, T4, [0, 1], [0], E4), r"labels: got shape \(2,\), want \[4\]"),
        (lambda: cn.evaluate(Z4, T4, [0.5, 1, 2, 3], [0], E4), r"labels: got torch.float32 entries"),
        (
            lambda: cn.evaluate(Z4, T4, Y4, [0], cn.nullspace(torch.ones(1, 5))),
            r"edit: acts on 5 dimensions, want 6",
        ),
        (
            lambda: cn.evaluate(Z4, T4, Y4, [0], E4, side="top"),
            r"side: got 'top', want one of image, text, both",
        ),
        (lambda: cn.evaluate(Z4, T4, Y4, [0], E4, classes=NAMES[:2]), r"classes: got 2 names, want 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("side", ["image", "text", "both"])
def test_a_memory_mapped_file_gives_what_the_array_gives(side, tmp_path, monkeypatch):
    module = importlib.import_module("clipnull.evaluation")
    monkeypatch.setattr(module, "BLOCK", 50)
    Z, T, labels = world()
    np.save(tmp_path / "Z.npy", Z.numpy())
    mapped = np.load(tmp_path / "Z.npy", mmap_mode="r")
    edit = cn.nullspace(T[:2])
    for function, rest in ((cn.evaluate, ([0, 1], edit, side)), (cn.drop_label, ([0, 1],))):
        streamed, held = function(mapped, T, labels, *rest), function(Z, T, labels, *rest)
        assert torch.equal(streamed.predicted_before, held.predicted_before)
        assert torch.equal(streamed.predicted_after, held.predicted_after)


def test_a_memory_mapped_file_is_checked_as_it_is_read(tmp_path):
    Z, T, labels = world()
    Z[333, 5] = float("nan")
    np.save(tmp_path / "Z.npy", Z.numpy())
    with pytest.raises(ValueError, match=r"Z\[0:2048\]: 1 of 400 rows"):
        cn.evaluate(np.load(tmp_path / "Z.npy", mmap_mode="r"), T, labels, [0], cn.nullspace(T[:1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_predictions_are_those_of_argmax(dtype):
    Z, T, labels = world()
    Z = Z.to(dtype)
    report = cn.evaluate(Z, T, labels, [0], cn.nullspace(T[:1], dtype=dtype))
    assert torch.equal(report.predicted_before, (Z @ T.to(dtype).T).argmax(1))
