"""Trained baselines: they learn what they are asked to, in the layer they say, and nothing is hidden."""

from __future__ import annotations

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


# --- gradient ascent ---------------------------------------------------------------------------


def test_gradient_forgets_what_the_images_show_and_keeps_the_rest():
    run = gradient_forgetting(Z, T, LABELS, [1])
    report = cn.evaluate(Z, T, LABELS, [1], run.edit, side=run.side)
    assert report.forget_before == report.retain_before == 1
    assert report.forget_after == 0 and report.retain_after == 1
    # the objective is this very gap, on what it was trained on
    assert run.objective == pytest.approx(report.retain_after - report.forget_after)


def test_gradient_follows_its_loss_from_the_identity():
    isf = torch.isin(LABELS, torch.tensor([2]))
    logits = 100.0 * Z @ T.T
    ce = [F.cross_entropy(logits[m], LABELS[m]) for m in (~isf, isf)]
    run = gradient_forgetting(Z, T, LABELS, [2], weight=7.0, steps=5)
    assert run.losses[0] == pytest.approx(float(7.0 * ce[0] - ce[1]), rel=1e-4)
    assert len(run.losses) == 5 and run.losses[-1] < run.losses[0]


def test_gradient_keeps_the_best_step_not_the_last():
    # a step size that breaks everything: no step beats W = I, so that is what comes back
    mixed = Z.clone()
    run = gradient_forgetting(mixed, T, LABELS, [0], lr=0.0)
    assert run.edit.left.abs().max() == 0 and run.objective == 0
    wild = [gradient_forgetting(Z, T, LABELS, [0], lr=30.0, steps=n) for n in (3, 30)]
    assert wild[1].objective >= wild[0].objective


def test_gradient_is_the_image_sides_layer(pocket):
    g = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 64, 64, generator=g)
    with torch.inference_mode():
        before = pocket.model.encode_image(images, normalize=True)
    names = pocket.embed_text(["cat", "dog", "bus"])
    run = gradient_forgetting(before.clone(), names, [0, 0, 1, 1, 2, 2], [0], steps=3)
    with cn.folded(pocket, run.edit, side=run.side), torch.inference_mode():
        after = pocket.model.encode_image(images, normalize=True)
    assert torch.allclose(after, run.edit.apply_image(before, normalize=True), atol=1e-5)


# --- LoRA --------------------------------------------------------------------------------------


def test_lora_sends_the_name_to_the_empty_prompt_and_leaves_the_others():
    run = lora_forgetting(T, [3], EMPTY, rank=4, steps=300)
    moved = run.edit.apply_text(T, normalize=True)
    assert float(moved[3] @ EMPTY) > 0.99 > float(T[3] @ EMPTY)
    others = [c for c in range(len(T)) if c != 3]
    kept = (moved[others] * T[others]).sum(1)
    assert kept.min() > 0.97
    assert run.side == "text" and run.edit.rank <= 4


def test_lora_starts_at_the_identity_and_reports_its_loss():
    run = lora_forgetting(T, [3], EMPTY, steps=20)
    assert run.losses[0] == pytest.approx(float((T[3] - EMPTY).square().sum()), rel=1e-4)
    moved = run.edit.apply_text(T, normalize=True)
    target = T.clone()
    target[3] = EMPTY
    apart = (moved - target).square().sum(1)
    mean = apart[3] + apart[[c for c in range(len(T)) if c != 3]].mean()
    assert -run.objective == pytest.approx(float(mean), rel=1e-4)


def test_lora_is_a_low_rank_update_of_the_text_projection(pocket):
    names = ["cat", "dog", "bus", "tree"]
    text = pocket.embed_text(names, "a {}.")
    run = lora_forgetting(text, [0], F.normalize(text.mean(0), dim=0), rank=2, steps=30)
    projection = pocket.model.text_projection.detach().clone()
    with cn.folded(pocket, run.edit, side=run.side):
        change = pocket.model.text_projection.detach() - projection
        folded = pocket.embed_text(names, "a {}.")
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 2
    assert torch.allclose(folded, run.edit.apply_text(text, normalize=True), atol=1e-5)
    assert not torch.allclose(folded[0], text[0], atol=1e-2)


def test_lora_is_seeded():
    first, again, other = (lora_forgetting(T, [0], EMPTY, steps=5, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.edit.left, again.edit.left)
    assert not torch.equal(first.edit.left, other.edit.left)


# --- tuning ------------------------------------------------------------------------------------


def test_tuned_keeps_the_best_of_the_grid_and_counts_all_of_it():
    ranks = (1, 4, 8)
    alone = {r: lora_forgetting(T, [0, 3], EMPTY, rank=r, steps=60) for r in ranks}
    best = tuned(lora_forgetting, T, [0, 3], EMPTY, grid={"rank": ranks}, steps=60)
    assert best.objective == pytest.approx(max(run.objective for run in alone.values()))
    assert alone[1].objective < best.objective
    assert best.tried == 3 and best.tuning_seconds > best.seconds


def test_tuned_does_not_see_test_images():
    """The objective of a run depends on what it was trained with, and on that alone."""
    run = tuned(gradient_forgetting, Z, T, LABELS, [5], grid=GRIDS["gradient"])
    kept = cn.evaluate(Z, T, LABELS, [5], run.edit)
    assert run.objective == pytest.approx(kept.retain_after - kept.forget_after)
    assert set(GRIDS) == set(baselines.BASELINES)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gradient_forgetting(Z, T, LABELS, [0], lr=-1), "lr: got -1"),
        (lambda: gradient_forgetting(Z, T, LABELS, [0], steps=0), "steps: got 0"),
        (lambda: gradient_forgetting(Z[:6], T, LABELS[:6], [0]), "labels: 6 of 6 images"),
        (lambda: gradient_forgetting(Z[6:], T, LABELS[6:], [0]), "labels: 0 of 42 images"),
        (lambda: gradient_forgetting(Z, T, LABELS, range(8)), "forget: got all 8"),
        (lambda: gradient_forgetting(Z, T, LABELS, ["owl"], classes=list("abcdefgh")), "unknown class 'owl'"),
        (lambda: lora_forgetting(T, [0], EMPTY, rank=25), "rank: got 25"),
        (lambda: lora_forgetting(T, [0], EMPTY[:5]), "empty: rows have 5"),
        (lambda: lora_forgetting(T, [0], T[:2]), "empty: got 2 rows"),
        (lambda: lora_forgetting(T, [0], EMPTY, steps=1.5), "steps: got 1.5"),
        (lambda: tuned(lora_forgetting, T, [0], EMPTY, grid={"rank": []}), "grid: got"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says.replace("[", r"\[")):
        call()
