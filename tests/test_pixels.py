"""Gradient ascent on pixels: it climbs, repeats itself, starts where it is told, on any tower."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import clipnull as cn
from clipnull.auditing.attacks import optimise_pixels


@pytest.fixture(scope="module")
def clip():
    return cn.load("pocket", device="cpu")


@pytest.fixture(scope="module")
def targets(clip):
    return clip.embed_text(["tiger", "banana", "house"], templates="a drawing of a {}.")


def test_ascent_raises_the_cosine_and_leaves_the_model_alone(clip, targets):
    before = {k: v.clone() for k, v in clip.model.state_dict().items()}
    made = optimise_pixels(clip, targets, steps=15)
    cosines = torch.stack(
        [clip.embed_images(step) @ targets.T for step in made.film]
    )  # of their 8-bit pixels
    own = cosines.diagonal(dim1=1, dim2=2)
    assert (own[-1] > own[0] + 0.03).all() and (own[-5:].mean(0) > own[:5].mean(0)).all()
    assert torch.equal(cosines[-1].argmax(1), torch.arange(3)), "each is most like its own name"
    assert made.images[0].size == (64, 64)
    assert [len(step) for step in made.film] == 16 * [3] and made.images is made.film[-1]
    assert np.asarray(made.film[0][0]).std() == 0, "it begins in grey"
    assert all(torch.equal(before[k], v) for k, v in clip.model.state_dict().items())
    assert all(
        p.grad is None and p.requires_grad for n, p in clip.model.named_parameters() if n != "logit_scale"
    )


def test_a_seed_gives_the_same_pictures(clip, targets):
    one, again, other = (optimise_pixels(clip, targets[:1], steps=3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(np.asarray(one.images[0]), np.asarray(again.images[0]))
    assert not np.array_equal(np.asarray(one.images[0]), np.asarray(other.images[0]))


def test_an_objective_takes_the_place_of_the_cosine(clip, targets):
    away = optimise_pixels(clip, targets, 8, objective=lambda z: -(z * targets).sum(1))
    toward = optimise_pixels(clip, targets, 8)
    Z, other = (clip.embed_images(made.images) for made in (toward, away))
    assert ((other * targets).sum(1) < (Z * targets).sum(1) - 0.02).all()
    smooth = np.asarray(toward.images[0], float)
    assert np.abs(np.diff(smooth, axis=0)).mean() < 20


def test_ascent_on_another_tower(tmp_path):
    """A transformer at half precision, with a size and pixel statistics of its own."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": [32, 48], "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), tmp_path / "open_clip_model.safetensors")
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    (tmp_path / "open_clip_config.json").write_text(text)
    tower = cn.load(f"local-dir:{tmp_path}", device="cpu", precision="bf16")
    t = F.normalize(torch.randn(1, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    made = optimise_pixels(tower, t, steps=40, objective=lambda z: 100 * (z * t).sum(1))
    grey = tower.embed_images(np.full((32, 48, 3), 128, np.uint8))
    assert made.images[0].size == (48, 32)
    assert float(tower.embed_images(made.images) @ t.T) > float(grey @ t.T) + 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(steps=0), "steps: got 0"), (dict(steps=2.5), "steps: got 2.5")],
)
def test_ascent_refuses(clip, targets, options, message):
    with pytest.raises(ValueError, match=message):
        optimise_pixels(clip, targets, **{"steps": 1, **options})
    with pytest.raises(ValueError, match="targets: rows have 5 entries, want 256"):
        optimise_pixels(clip, torch.ones(2, 5))
