"""Trained baselines: they learn what they are asked to, in the layer they say, and nothing is hidden."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull.protocol import baselines
from clipnull.protocol.baselines import GRIDS, gradient_forgetting, lora_forgetting, tuned


def planted(classes: int = 8, dim: int = 24, per_class: int = 6, seed: int = 0):
    """Z, T, labels: names in a cone, every image near its name, so all are recognised."""
    g = torch.Generator().manual_seed(seed)
    T = F.normalize(torch.randn(classes, dim, generator=g) + 3, dim=1)
    labels = torch.arange(classes).repeat_interleave(per_class)
    Z = F.normalize(T[labels] + 0.02 * torch.randn(len(labels), dim, generator=g), dim=1)
    return Z, T, labels


Z, T, LABELS = planted()
EMPTY = F.normalize(T.mean(0), dim=0)


def case(forget) -> cn.Case:
    return cn.Case(Z, T, LABELS, forget)


def names(forget) -> tuple[torch.Tensor, torch.Tensor]:
    """T_f and T_r."""
    return T[forget], T[[c for c in range(len(T)) if c not in forget]]


# --- gradient ascent ---------------------------------------------------------------------------


def test_gradient_forgets_what_the_images_show_and_keeps_the_rest():
    run = gradient_forgetting(case([1]))
    report = case([1]).evaluate(run.edit, run.side)
    assert report.forget_before == report.retain_before == 1
    assert report.forget_after == 0 and report.retain_after == 1
    # the objective is this very gap, on what it was trained on
    assert run.objective == pytest.approx(report.retain_after - report.forget_after)


def test_gradient_follows_its_loss_from_the_identity():
    isf = torch.isin(LABELS, torch.tensor([2]))
    logits = 100.0 * Z @ T.T
    ce = [F.cross_entropy(logits[m], LABELS[m]) for m in (~isf, isf)]
    run = gradient_forgetting(case([2]), weight=7.0, steps=5)
    assert run.losses[0] == pytest.approx(float(7.0 * ce[0] - ce[1]), rel=1e-4)
    assert len(run.losses) == 5 and run.losses[-1] < run.losses[0]


def test_gradient_keeps_the_best_step_not_the_last():
    # a step size that breaks everything: no step beats W = I, so that is what comes back
    run = gradient_forgetting(case([0]), lr=0.0)
    assert run.edit.left.abs().max() == 0 and run.objective == 0
    wild = [gradient_forgetting(case([0]), lr=30.0, steps=n) for n in (3, 30)]
    assert wild[1].objective >= wild[0].objective


def test_gradient_is_the_image_sides_layer(pocket):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 64, 64, generator=g)
    with torch.inference_mode():
        before = pocket.model.encode_image(images, normalize=True)
    text = pocket.embed_text(["cat", "dog", "bus"])
    run = gradient_forgetting(cn.Case(before.clone(), text, [0, 0, 1, 1, 2, 2], [0]), steps=3)
    with cn.folded(pocket, run.edit, side=run.side), torch.inference_mode():
        after = pocket.model.encode_image(images, normalize=True)
    assert torch.allclose(after, run.edit.apply_image(before, normalize=True), atol=1e-5)


# --- LoRA --------------------------------------------------------------------------------------


def test_lora_sends_the_name_to_the_empty_prompt_and_leaves_the_others():
    run = lora_forgetting(*names([3]), EMPTY, rank=4, steps=300)
    moved = run.edit.apply_text(T, normalize=True)
    assert float(moved[3] @ EMPTY) > 0.99 > float(T[3] @ EMPTY)
    others = [c for c in range(len(T)) if c != 3]
    kept = (moved[others] * T[others]).sum(1)
    assert kept.min() > 0.97
    assert run.side == "text" and run.edit.rank <= 4


def test_lora_starts_at_the_identity_and_reports_its_loss():
    run = lora_forgetting(*names([3]), EMPTY, steps=20)
    assert run.losses[0] == pytest.approx(float((T[3] - EMPTY).square().sum()), rel=1e-4)
    moved = run.edit.apply_text(T, normalize=True)
    target = T.clone()
    target[3] = EMPTY
    apart = (moved - target).square().sum(1)
    mean = apart[3] + apart[[c for c in range(len(T)) if c != 3]].mean()
    assert -run.objective == pytest.approx(float(mean), rel=1e-4)


def test_lora_is_a_low_rank_update_of_the_text_projection(pocket):
    words = ["cat", "dog", "bus", "tree"]
    text = pocket.embed_text(words, "a {}.")
    run = lora_forgetting(text[:1], text[1:], F.normalize(text.mean(0), dim=0), rank=2, steps=30)
    projection = pocket.model.text_projection.detach().clone()
    with cn.folded(pocket, run.edit, side=run.side):
        change = pocket.model.text_projection.detach() - projection
        folded = pocket.embed_text(words, "a {}.")
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 2
    assert torch.allclose(folded, run.edit.apply_text(text, normalize=True), atol=1e-5)
    assert not torch.allclose(folded[0], text[0], atol=1e-2)


def test_lora_is_seeded():
    first, again, other = (lora_forgetting(*names([0]), EMPTY, steps=5, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.edit.left, again.edit.left)
    assert not torch.equal(first.edit.left, other.edit.left)


# --- tuning ------------------------------------------------------------------------------------


def test_tuned_keeps_the_best_of_the_grid_and_counts_all_of_it():
    ranks = (1, 4, 8)
    alone = {r: lora_forgetting(*names([0, 3]), EMPTY, rank=r, steps=60) for r in ranks}
    best = tuned(partial(lora_forgetting, *names([0, 3]), EMPTY, steps=60), {"rank": ranks})
    assert best.objective == pytest.approx(max(run.objective for run in alone.values()))
    assert alone[1].objective < best.objective
    assert best.seconds > 0
    timed = iter((0.5, 0.25))
    both = tuned(lambda rank: alone[rank]._replace(seconds=next(timed)), {"rank": (1, 4)})
    assert both.seconds == 0.75


def test_tuned_does_not_see_test_images():
    """The objective of a run depends on what it was trained with, and on that alone."""
    run = tuned(partial(gradient_forgetting, case([5])), GRIDS["gradient"])
    kept = case([5]).evaluate(run.edit)
    assert run.objective == pytest.approx(kept.retain_after - kept.forget_after)
    assert set(GRIDS) == set(baselines.BASELINES)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gradient_forgetting(case([0]), lr=-1), "lr: got -1"),
        (lambda: gradient_forgetting(case([0]), steps=0), "steps: got 0"),
        (lambda: gradient_forgetting(cn.Case(Z[:6], T, LABELS[:6], [0])), "labels: no image of a retained"),
        (
            lambda: gradient_forgetting(cn.Case(Z[6:], T, LABELS[6:], [0])),
            "labels: no image is of a forgotten",
        ),
        (lambda: lora_forgetting(*names([0]), EMPTY, rank=25), "rank: got 25"),
        (lambda: lora_forgetting(T[:1], T[1:, :5], EMPTY), "T_r: rows have 5"),
        (lambda: lora_forgetting(*names([0]), EMPTY[:5]), "empty: rows have 5"),
        (lambda: lora_forgetting(*names([0]), T[:2]), "empty: got 2 rows"),
        (lambda: lora_forgetting(*names([0]), EMPTY, steps=1.5), "steps: got 1.5"),
        (lambda: tuned(partial(lora_forgetting, *names([0]), EMPTY), {"rank": []}), "grid: got"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says.replace("[", r"\[")):
        call()
