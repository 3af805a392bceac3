"""What a `Case` knows beyond four arrays: listed names, prompts, names alone; and the input it refuses."""

from __future__ import annotations

import math

import pytest
import torch

import clipnull as cn

NAMES = ["cat", "dog", "owl", "tiger", "fox", "hen"]
unit = torch.nn.functional.normalize


def world(n: int = 120, C: int = 6, d: int = 12, seed: int = 0):
    gen = torch.Generator().manual_seed(seed)
    T = unit(torch.randn(1, d, generator=gen) + torch.randn(C, d, generator=gen), dim=1)
    labels = torch.arange(n) % C
    Z = unit(T[labels] + 0.9 * unit(torch.randn(n, d, generator=gen), dim=1), dim=1)
    return Z, T, labels


def make(**more) -> cn.Case:
    Z, T, labels = world()
    return cn.Case(**{"Z": Z, "T": T, "labels": labels, "forget": ["cat"], "classes": NAMES, **more})


# --- listed ---------------------------------------------------------------------------------


def test_listed_names_are_those_an_eraser_is_told_of():
    whole, some = make(), make(listed=["owl", 1, "owl"])
    assert whole.listed == whole.retain == some.retain == [1, 2, 3, 4, 5] and some.listed == [2, 1]
    assert torch.equal(some.T_r, some.T[[2, 1]]) and torch.equal(whole.T_r, whole.T[1:])
    edit = cn.consistent(some.T_f, some.T_r)
    report = some.evaluate(edit)
    right = [(p == some.labels).double() for p in (report.predicted_before, report.predicted_after)]
    for classes, got in (([1, 2], report.retained_listed), ([3, 4, 5], report.retained_unlisted)):
        mask = some.of(classes)
        assert mask.tolist() == [int(y) in classes for y in some.labels]
        assert got == pytest.approx(float(right[1][mask].mean() / right[0][mask].mean()))
    assert report.retained_listed != report.retained_unlisted
    all_listed = whole.evaluate(edit)
    assert all_listed.retained_listed == all_listed.retained and math.isnan(all_listed.retained_unlisted)
    # whom n-way recall asks are all kept names
    assert report.n_way == all_listed.n_way and report.n_way["all"].names == 6


def test_another_forget_set_keeps_prompts_and_list():
    _Z, T, labels = world()
    case = make(listed=["owl", "dog"], prompts=T[None] + 0.1)
    other = case.forgetting(["tiger", "hen"])
    assert other.listed == [2, 1] and other.retain == [0, 1, 2, 4] and other.T_f.shape == (4, 12)
    assert other.gone.tolist() == [int(y) in (3, 5) for y in labels] and case.forget == [0]
    with pytest.raises(ValueError, match="listed: 'owl' is to be forgotten"):
        case.forgetting(["owl"])


# --- prompts --------------------------------------------------------------------------------


def test_prompts_are_further_rows_to_forget():
    _Z, T, _labels = world()
    gen = torch.Generator().manual_seed(5)
    P = unit(T + 0.2 * torch.randn(3, *T.shape, generator=gen), dim=2)
    case = make(forget=[2, 0], prompts=P)
    assert torch.equal(case.T_f, torch.cat([T[[2, 0]], P[0, [2, 0]], P[1, [2, 0]], P[2, [2, 0]]]))
    assert torch.equal(case.T_r, T[[1, 3, 4, 5]]) and torch.equal(make(prompts=P.numpy()).prompts, P)
    edit = cn.nullspace(case.T_f)
    assert edit.rank == 8 and float(edit.apply_text(P[1, [2, 0]]).abs().max()) < 1e-5
    # one anchor each
    neutral = cn.consistent(case.T_f, case.T_r, mu=1.0, anchor="mean", dtype=torch.float64)
    moved = neutral.apply_text(case.T_f.double())
    assert torch.allclose(moved, moved[:1].expand(8, -1), atol=1e-6)
    # it forgets what one prompt alone leaves
    alone = cn.nullspace(make(forget=[2, 0]).T_f)
    assert float(alone.apply_text(P[1, [2, 0]]).norm(dim=1).min()) > 0.1


# --- names alone ----------------------------------------------------------------------------


def test_names_alone_have_certificates_and_mixtures_and_say_what_they_lack():
    _, _T, _ = world()
    case = make(Z=None, labels=None)
    edit = cn.METHODS["mean"].make(case.T_f, case.T_r)
    assert cn.certificate(edit, case.T_f, case.T_r).tolist() == [0.0]
    assert cn.nearest_mixture(case.T_f, case.T_r).weights.shape == (1, 5)
    assert "no images, 6 classes, d=12, forget=['cat']" in repr(case)
    assert case.forgetting(["owl"]).forget == [2]
    lacking = {
        "Z": [
            lambda: case.images,
            lambda: case.evaluate(edit),
            lambda: cn.candidate_masking(case),
            lambda: case.scores,
        ],
        "labels": [lambda: case.labels, lambda: case.gone, case.require, lambda: case.recall(torch.zeros(1))],
    }
    for argument, calls in lacking.items():
        for call in calls:
            with pytest.raises(
                ValueError, match=f"{argument}: this case has names and no images, want image"
            ):
                call()


# --- what is refused ------------------------------------------------------------------------

Z6, T6, Y6 = world()
TWINS = torch.cat([T6[:5], T6[:1] * (1 + 1e-7)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"T": TWINS},
            "forget: 'cat' has the embedding of 'hen', which is kept, and no linear edit can part",
        ),
        ({"T": TWINS, "forget": ["dog", "hen"]}, "forget: 'hen' has the embedding of 'cat', which is kept"),
        ({"listed": ["dog", "cat"]}, "listed: 'cat' is to be forgotten, want kept classes alone"),
        ({"listed": ["dgo"]}, "listed: unknown class 'dgo'; the closest are 'dog'"),
        ({"listed": []}, "listed: got no class"),
        ({"listed": [6]}, "listed: class index 6 is out of range, want 0 to 5"),
        ({"prompts": T6}, r"prompts: got shape \(6, 12\), want \[p, 6, 12\]"),
        ({"prompts": T6[None, :5]}, r"prompts: got shape \(1, 5, 12\), want \[p, 6, 12\]"),
        ({"prompts": torch.ones(0, 6, 12)}, r"prompts: got shape \(0, 6, 12\)"),
        ({"prompts": T6[None] * math.nan}, "prompts: 6 of 6 rows hold NaN or infinity"),
        ({"prompts": torch.zeros(2, 6, 12)}, "prompts: row 0 is all zeros"),
        ({"labels": None}, "labels: want them where Z is given"),
        ({"Z": None}, "labels: want them where Z is given, and None where it is None"),
        ({"Z": Z6[:0], "labels": Y6[:0]}, r"Z: got shape \(0, 12\)"),
        ({"T": torch.cat([T6[:5], torch.zeros(1, 12)])}, "T: row 5 is all zeros"),
        ({"forget": NAMES}, "forget: got all 6 classes, want at least one class left to retain"),
        ({"labels": -Y6}, "labels: entries run from -5 to 0, want 0 to 5"),
    ],
)
def test_bad_input_is_named(more, message):
    with pytest.raises(ValueError, match=message):
        make(**more)


def test_twins_may_be_forgotten_together():
    case = make(T=TWINS, forget=["cat", "hen"])
    assert case.evaluate(cn.nullspace(case.T_f)).edit.rank == 1


def test_with_one_kept_name_the_table_says_that_a_tie_is_the_best():
    _Z, _T, _labels = world()
    case = make(forget=["cat", "dog", "owl", "tiger", "fox"])
    edit = cn.METHODS["mean"].make(case.T_f, case.T_r)
    report = case.evaluate(edit)
    assert torch.equal(report.predicted_after, torch.full((120,), 5)), (
        "the tie rule gives it to the kept name"
    )
    assert report.n_way[2].after == 0.0 and list(report.n_way) == [2, "all"]
    note = "with one kept name a mixture of kept names is that name: at best the two tie"
    assert note in str(report) and note in report._repr_html_()
    two = case.forgetting(["cat", "dog", "owl", "tiger"])
    assert note not in str(two.evaluate(cn.nullspace(two.T_f)))


def test_edits_with_nan_or_of_whole_numbers_never_reach_a_report():
    case = make()
    good = cn.nullspace(case.T_f)
    for bad in (math.nan, math.inf):
        for side in ("left", "right"):
            with pytest.raises(ValueError, match=f"{side}: holds NaN or infinity, want finite numbers"):
                cn.Edit(**{"left": good.left, "right": good.right, side: good.left * bad})
    for call in (
        lambda: good.to(torch.int32),
        lambda: cn.consistent(case.T_f, case.T_r, dtype=torch.int64),
        lambda: cn.METHODS["hull"].make(case.T_f, case.T_r, dtype=torch.uint8),
        lambda: cn.random_subspace(12, dtype=torch.int8),
    ):
        with pytest.raises(ValueError, match=r"left: got torch.u?int.* entries, want a floating dtype"):
            call()
    with pytest.raises(ValueError, match="edit: acts on 5 dimensions, want 12"):
        case.evaluate(cn.random_subspace(5))
