"""Attacks find a win where the certificate is positive, from every start, and none where it is 0."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import clipnull as cn
from clipnull.auditing.attacks import attack_embeddings, attack_pixels
from clipnull.datasets.arrays import embeddings
from clipnull.hull import certificate
from clipnull.measures import TIE
from clipnull.model.loading import load


@pytest.fixture(scope="module")
def coco():
    real = embeddings("coco")
    gen = torch.Generator().manual_seed(3)
    return cn.Case(None, real.T, None, torch.randperm(80, generator=gen)[:10].tolist(), real.classes)


# --- embeddings ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nullspace", "ccup", "mean", "hull", None])
@pytest.mark.parametrize("m", [1, 10])
def test_a_win_exactly_where_the_certificate_is_positive(coco, method, m):
    T_f, T_r = coco.T_f[:m], coco.T_r
    edit = None if method is None else cn.METHODS[method].make(T_f, T_r)
    bound = certificate(edit, T_f, T_r)
    found = attack_embeddings(edit, T_f, T_r, starts=3, seed=m)
    assert found.wins.shape == found.leads.shape == (3, m) and found.made.shape == (3, m, 512)
    if method in ("mean", "hull"):
        assert not found.wins.any() and float(bound.max()) <= 1e-6
        return
    assert found.wins.all() and (found.leads <= bound + 1e-9).all()
    assert (found.leads > 0.95 * bound).all(), "every start climbs to the certificate"


def test_leads_are_those_of_the_edited_scores(coco):
    edit = cn.nullspace(coco.T_f)
    found = attack_embeddings(edit, coco.T_f, coco.T_r, starts=2, steps=40)
    assert torch.allclose(found.made.norm(dim=2), torch.ones(2, 10, dtype=torch.float64))
    Z = edit.to(torch.float64).apply_image(found.made.flatten(0, 1))
    scores = Z @ torch.cat([coco.T_f, coco.T_r]).double().T
    own = scores[:, :10].unflatten(0, (2, 10)).diagonal(dim1=1, dim2=2)
    kept = scores[:, 10:].amax(1).unflatten(0, (2, 10))
    assert torch.allclose(found.leads, own - kept, atol=1e-12)
    names = torch.cat([coco.T_f, coco.T_r]).double()
    assert found.size == pytest.approx(float((found.made @ names.T).abs().max()))
    # what wins by the tie rule wins in an evaluation
    case = cn.Case(found.made[1], torch.cat([coco.T_f, coco.T_r]).double(), range(10), list(range(10)))
    assert found.wins[1].all() and float(found.leads.min()) > TIE
    rivals = case.evaluate(edit.to(torch.float64)).n_way
    assert rivals["all"].after == 1


def test_starts_differ_and_a_seed_repeats_them(coco):
    one, again, other = (
        attack_embeddings(cn.nullspace(coco.T_f), coco.T_f, coco.T_r, starts=3, steps=1, seed=s)
        for s in (0, 0, 1)
    )
    assert torch.equal(one.leads, again.leads) and torch.equal(one.leads[0], other.leads[0])
    assert not torch.isclose(one.leads[1:], other.leads[1:]).any()
    assert not torch.isclose(one.leads[1], one.leads[2]).any()


def test_more_steps_come_nearer(coco):
    edit = cn.nullspace(coco.T_f)
    few, many = (attack_embeddings(edit, coco.T_f, coco.T_r, steps=n).leads for n in (20, 200))
    assert (many >= few).all() and float((many - few).min()) > 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(starts=0), "starts: got 0, want a whole number of at least 1"),
        (dict(steps=0), "steps: got 0, want a whole number of at least 1"),
        (dict(T_r=torch.ones(3, 5)), "T_r: rows have 5 entries, want 512"),
        (dict(T_f=torch.full((1, 512), torch.nan)), "T_f: 1 of 1 rows hold NaN"),
    ],
)
def test_embeddings_refuse(coco, wrong, message):
    arguments = {"edit": None, "T_f": coco.T_f, "T_r": coco.T_r} | wrong
    with pytest.raises(ValueError, match=message):
        attack_embeddings(**arguments)


# --- pixels ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random CLIP of 16 dimensions."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    path = tmp_path_factory.mktemp("attacked")
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), path / "open_clip_model.safetensors")
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    (path / "open_clip_config.json").write_text(text)
    return load(f"local-dir:{path}", device="cpu")


@pytest.fixture(scope="module")
def T(tiny):
    """Names around what the model makes of noise, so that some can be reached and others cannot."""
    gen = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (12, 32, 32, 3), generator=gen, dtype=torch.uint8).numpy()
    centre = tiny.embed_images(list(noise)).mean(0)
    return F.normalize(centre + 0.3 * torch.randn(6, 16, generator=gen), dim=1)


@pytest.mark.parametrize("method", ["nullspace", "mean"])
def test_pixels_are_read_again_and_never_beat_the_certificate(tiny, T, method):
    edit = cn.METHODS[method].make(T[[1, 4]], T[[0, 2, 3, 5]])
    found = attack_pixels(tiny, edit, T, [1, 4], steps=20)
    Z = tiny.embed_images(found.made)
    scores = edit.apply_image(Z) @ T.T
    leads = scores[[0, 1], [1, 4]] - scores[:, [0, 2, 3, 5]].amax(1)
    assert torch.allclose(found.leads, leads, atol=1e-6)
    assert found.size == pytest.approx(float((Z @ T.T).abs().max()), rel=1e-5)
    assert found.wins.tolist() == (leads > TIE * found.size).tolist()
    assert (found.leads <= certificate(edit, T[[1, 4]], T[[0, 2, 3, 5]]) + 1e-6).all()
    assert [image.size for image in found.made] == [(32, 32)] * 2
    if method == "mean":
        assert not found.wins.any()


def test_pixels_climb_the_lead_and_not_the_cosine(tiny, T):
    """With the lead as objective the pictures come out ahead of where the name's own direction takes them."""
    forget, kept = [0, 1, 2], [3, 4, 5]
    edit = cn.nullspace(T[forget])
    found = attack_pixels(tiny, edit, T, forget, steps=25)
    plain = cn.auditing.optimise_pixels(tiny, T[forget], 25).images
    scores = edit.apply_image(tiny.embed_images(plain)) @ T.T
    before = scores[range(3), forget] - scores[:, kept].amax(1)
    assert float(found.leads.mean()) > float(before.mean()) + 0.01
    short = attack_pixels(tiny, edit, T, forget, steps=1)
    assert float(found.leads.mean()) > float(short.leads.mean())
    again, other = (attack_pixels(tiny, edit, T, forget, steps=2, seed=s) for s in (0, 1))
    assert torch.equal(again.leads, attack_pixels(tiny, edit, T, forget, steps=2).leads)
    assert not torch.equal(again.leads, other.leads)


def test_pixels_refuse(tiny, T):
    with pytest.raises(ValueError, match="T: rows have 5 entries, want 16"):
        attack_pixels(tiny, None, torch.ones(3, 5), [0])
    with pytest.raises(ValueError, match="forget: got all 6 classes"):
        attack_pixels(tiny, None, T, range(6))
    with pytest.raises(ValueError, match="steps: got 0"):
        attack_pixels(tiny, None, T, [0], steps=0)


def test_pixels_reach_one_name_and_not_the_other(tiny, T):
    """One name lies where the model puts any picture, the other lies opposite."""
    grey = tiny.embed_images([np.full((32, 32, 3), 128, np.uint8)])
    names = torch.cat([grey, -grey, T[3:]])
    found = attack_pixels(tiny, None, names, [0, 1], steps=2)
    assert found.wins.tolist() == [True, False]
