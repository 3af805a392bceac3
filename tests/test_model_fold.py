"""Folding: edited features, bit-identical undo, every kind of open_clip tower."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from clipnull.erasers import Edit
from clipnull.model import (
    embedding_dim,
    fold,
    folded,
    folded_edits,
    last_layer,
    merged_state,
    unfold,
    unprojected,
)

D = 16
TEXT = dict(context_length=8, vocab_size=49408, width=16, heads=2, layers=1)
VIT = dict(image_size=32, patch_size=16, width=24, layers=1, head_width=12)
RESNET = dict(image_size=32, layers=[1, 1, 1, 1], width=8, head_width=32)


def timm(**kwargs):
    return dict(timm_model_name="test_vit", image_size=160, timm_pool="avg", **kwargs)


POOLED = dict(timm_model_name="resnet10t", image_size=176, timm_proj="")
SIGLIP = dict(timm_model_name="test_vit3", image_size=160, timm_pool="map")
MAP_DIM = 96
#: name -> (image tower, text tower, custom_text, embedding dimension)
TOWERS = {
    "vit": (VIT, TEXT, False, D),
    "vit-attentional-pool": (dict(VIT, attentional_pool=True, attn_pooler_heads=2), TEXT, True, D),
    "resnet": (RESNET, TEXT, False, D),
    "text-custom": (VIT, TEXT, True, D),
    "text-linear": (VIT, dict(TEXT, proj_bias=True), False, D),
    "text-linear-custom": (VIT, dict(TEXT, proj_bias=True), True, D),
    "text-none": (VIT, dict(TEXT, proj_type="none"), False, D),
    "timm-linear": (timm(timm_proj="linear"), TEXT, True, D),
    "timm-linear-bias": (timm(timm_proj="linear", timm_proj_bias=True), TEXT, True, D),
    "timm-mlp": (timm(timm_proj="mlp"), TEXT, True, D),
    "timm-classifier": (timm(timm_proj=None), TEXT, True, D),
    "timm-pool": (dict(POOLED, timm_pool="abs_attn"), TEXT, True, D),
    "timm-rot-pool": (dict(POOLED, timm_pool="rot_attn"), TEXT, True, D),
    "timm-none": (timm(timm_proj="none"), TEXT, True, 64),
    "siglip": (dict(SIGLIP, timm_proj="none"), dict(TEXT, width=MAP_DIM, proj_type="none"), True, MAP_DIM),
}


def build(kind):
    vision, text, custom, dim = TOWERS[kind]
    torch.manual_seed(0)
    cls = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = cls(embed_dim=dim, vision_cfg=copy.deepcopy(vision), text_cfg=copy.deepcopy(text)).eval()
    for p in model.parameters():  # biases start at zero, which would hide a forgotten one
        if p.ndim == 1:
            nn.init.normal_(p, mean=0.5, std=0.3)
    return model


def random_edit(d, m=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    return Edit(torch.randn(d, m, generator=g), torch.randn(d, m, generator=g) / d, {"method": "test"})


def images(model, n=2):
    size = model.visual.image_size
    h, w = size if isinstance(size, tuple) else (size, size)
    return torch.randn(n, 3, h, w, generator=torch.Generator().manual_seed(2))


TOKENS = torch.tensor([[49406, 320, 2368, 49407, 0, 0, 0, 0], [49406, 518, 1929, 269, 49407, 0, 0, 0]])


@torch.inference_mode()
def features(model, side):
    if side == "image":
        return model.encode_image(images(model), normalize=False)
    context = torch.zeros(2, model.context_length, dtype=torch.long)
    context[:, : TOKENS.shape[1]] = TOKENS
    return model.encode_text(context, normalize=False)


def apply(edit, x, side):
    return edit.apply_image(x) if side == "image" else edit.apply_text(x)


def assert_close(got, want):
    assert (got - want).norm() <= 1e-5 * want.norm()


def snapshot(model):
    state = [(k, v.clone()) for k, v in model.state_dict().items()]
    modules = [(name, type(m)) for name, m in model.named_modules()]
    return state, [(n, id(p), p.requires_grad) for n, p in model.named_parameters()], modules


def assert_same(before, after):
    assert [k for k, _ in before[0]] == [k for k, _ in after[0]]  # keys, and their order
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]


@pytest.fixture(params=TOWERS)
def model(request):
    return build(request.param)


@pytest.mark.parametrize("side", ["image", "text"])
def test_folded_features_are_the_edited_features(model, side):
    other = "text" if side == "image" else "image"
    before, untouched, state = features(model, side), features(model, other), snapshot(model)
    edit = random_edit(before.shape[1])
    assert embedding_dim(model, side) == before.shape[1]
    with folded(model, edit, side):
        assert_close(features(model, side), apply(edit, before, side))
        assert torch.equal(features(model, other), untouched)
    assert_same(state, snapshot(model))
    assert torch.equal(features(model, side), before)


@pytest.mark.parametrize("side", ["image", "text"])
def test_the_wrong_transpose_gives_other_features(side):
    model = build("vit")
    before, edit = features(model, side), random_edit(D)
    wrong = Edit(edit.right, edit.left)  # W^T = I - R L^T
    with folded(model, wrong, side):
        got = features(model, side)
    want = apply(edit, before, side)
    assert (got - want).norm() > 0.05 * want.norm()
    assert_close(got, apply(edit, before, "text" if side == "image" else "image"))


def test_image_side_logits_are_the_unnormalised_text_side_logits():
    model = build("resnet")
    z, t, edit = features(model, "image"), features(model, "text"), random_edit(D)
    with folded(model, edit, "image"):
        image_side = features(model, "image") @ t.T
    with folded(model, edit, "text"):
        text_side = z @ features(model, "text").T
    assert_close(image_side, text_side)


@pytest.mark.parametrize("kind", ["resnet", "siglip", "text-linear"])
def test_folding_twice_composes_and_unfold_undoes_all(kind):
    model = build(kind)
    state, z, t = snapshot(model), features(model, "image"), features(model, "text")
    one, two = random_edit(z.shape[1], seed=1), random_edit(z.shape[1], seed=2)
    fold(model, one, "both")
    assert fold(model, two) is model
    assert_close(features(model, "image"), two.apply_image(one.apply_image(z)))
    assert_close(features(model, "text"), one.apply_text(t))
    assert [(side, e.left is one.left) for side, e in folded_edits(model)] == [
        ("image", True),
        ("image", False),
        ("text", True),
    ]
    unfold(model, "image")
    assert torch.equal(features(model, "image"), z)
    assert unfold(model) is model and folded_edits(model) == []
    assert_same(state, snapshot(model))
    assert_same(state, snapshot(unfold(model)))  # nothing left to undo


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_leaving_an_inner_fold_restores_the_outer(kind):
    model = build(kind)
    state, z = snapshot(model), features(model, "image")
    one, two = random_edit(z.shape[1], seed=1), random_edit(z.shape[1], seed=2)
    with folded(model, one):
        outer = features(model, "image")
        with folded(model, two):
            assert_close(features(model, "image"), two.apply_image(one.apply_image(z)))
        assert torch.equal(features(model, "image"), outer)
        fold(model, two)  # meant to stay
    assert_close(features(model, "image"), two.apply_image(z))
    assert_same(state, snapshot(unfold(model)))


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_an_exception_inside_still_unfolds(kind):
    model = build(kind)
    state = snapshot(model)
    with pytest.raises(KeyError), folded(model, random_edit(embedding_dim(model)), "both"):
        raise KeyError
    assert_same(state, snapshot(model))
    with folded(model, random_edit(embedding_dim(model))):
        unfold(model)  # leaving finds nothing to remove
    assert_same(state, snapshot(model))


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_a_copy_of_a_folded_model_unfolds_on_its_own(kind):
    model = build(kind)
    z = features(model, "image")
    fold(model, random_edit(z.shape[1]))
    twin = unfold(copy.deepcopy(model))
    assert torch.equal(features(twin, "image"), z)
    assert len(folded_edits(model)) == 1 and not folded_edits(twin)


def test_the_edit_is_copied():
    model, edit = build("vit"), random_edit(D)
    fold(model, edit)
    before = features(model, "image")
    edit.left.zero_()
    assert torch.equal(features(model, "image"), before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    model = build("vit").to(dtype)
    visual, edit = model.visual, random_edit(D)
    x = images(model).to(dtype)
    with torch.inference_mode():
        before = visual(x)
        with folded(model, edit):
            after = visual(x)
    assert after.dtype == dtype
    want = edit.apply_image(before.double())
    assert (after - want).norm() <= (2e-2 if dtype == torch.bfloat16 else 1e-6) * want.norm()


@pytest.mark.parametrize("kind", TOWERS)
def test_merged_state_loads_into_a_fresh_model(kind):
    model = build(kind)
    vision, text, custom, dim = copy.deepcopy(TOWERS[kind])
    edit = random_edit(dim if kind != "text-none" else D)
    fold(model, edit, "both")
    want = [features(model, side) for side in ("image", "text")]
    state, config = merged_state(model)
    vision.update(config.get("vision_cfg", {}))
    text.update(config.get("text_cfg", {}))
    cls = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    fresh = cls(embed_dim=dim, vision_cfg=vision, text_cfg=text).eval()
    fresh.load_state_dict(state)
    for side, features_want in zip(("image", "text"), want, strict=True):
        assert_close(features(fresh, side), features_want)
    assert bool(config) == (kind in ("siglip", "timm-none", "text-none"))


@pytest.mark.parametrize("kind", ["vit", "resnet", "siglip", "text-linear-custom"])
def test_whatever_saves_a_folded_model_saves_what_has_forgotten(kind):
    model = build(kind)
    plain, twin = model.state_dict(), copy.deepcopy(model)
    z, t = features(model, "image"), features(model, "text")
    edit = random_edit(z.shape[1])
    fold(model, edit, "both")
    state = model.state_dict()
    if kind != "siglip":  # no projection was added: names and their order are those of before
        assert list(state) == list(plain)
        twin.load_state_dict(state)
        assert_close(features(twin, "image"), edit.apply_image(z))
        assert_close(features(twin, "text"), edit.apply_text(t))
    assert not any("parametrizations" in key for key in state)
    for copied in (copy.deepcopy(model), model):  # and the un-edited tensors come back
        assert list(unfold(copied).state_dict()) == list(plain)
        assert all(torch.equal(x, plain[key]) for key, x in copied.state_dict().items())


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_real_size(name):
    torch.manual_seed(0)
    model = open_clip.create_model(name).eval()
    weight = model.visual.proj if name == "ViT-B-32" else model.visual.attnpool.c_proj.weight
    bits, keys = weight.detach().clone(), list(model.state_dict())
    z = features(model, "image")
    edit = random_edit(embedding_dim(model), m=5)
    with folded(model, edit):
        assert_close(features(model, "image"), edit.apply_image(z))
    t = features(model, "text")
    with folded(model, edit, "text"):
        assert_close(features(model, "text"), edit.apply_text(t))
    assert list(model.state_dict()) == keys and torch.equal(weight, bits)
    assert not any(parametrize.is_parametrized(m) for m in model.modules())


# --- bad input -----------------------------------------------------------------------------


def test_bad_input_leaves_the_model_alone():
    model, edit = build("vit"), random_edit(D)
    state = snapshot(model)
    with pytest.raises(ValueError, match=r"edit: acts on 15 dimensions, want 16 like .* image embeddings"):
        fold(model, random_edit(15))
    with pytest.raises(ValueError, match="edit: got Tensor, want an Edit"):
        fold(model, torch.eye(D))
    with pytest.raises(ValueError, match="edit: its factors hold NaN"):
        fold(model, Edit(edit.left * torch.nan, edit.right))
    with pytest.raises(ValueError, match="side: got 'left', want one of image, text, both"):
        fold(model, edit, "left")
    assert_same(state, snapshot(model))


def test_what_is_no_model_is_named():
    edit = random_edit(D)
    with pytest.raises(ValueError, match=r"clip: got str, want what clipnull.load returns"):
        fold("ViT-B-32", edit)
    with pytest.raises(ValueError, match=r"clip: no image tower with a final projection .* in Linear"):
        fold(nn.Linear(2, 2), edit)
    with pytest.raises(ValueError, match=r"clip: no text tower with a final projection .* in Linear"):
        unfold(nn.Linear(2, 2), "text")


@pytest.mark.parametrize("side", ["image", "text"])
@pytest.mark.parametrize("edited", [False, True], ids=["plain", "folded"])
def test_features_before_the_last_layer(model, side, edited):
    before = snapshot(model)
    if edited:
        fold(model, random_edit(embedding_dim(model, side)), side)
    z, P, inside = features(model, side), last_layer(model, side), snapshot(model)
    with unprojected(model, side):
        h = features(model, side)
    assert_same(inside, snapshot(model))
    if len(P) == h.shape[1] + 1:  # a bias
        h = torch.cat([h, torch.ones(len(h), 1)], 1)
    assert_close(h @ P, z)
    assert_close(features(model, side), z)
    unfold(model)
    assert_same(before, snapshot(model))


def test_before_the_last_layer_an_edit_has_not_happened():
    model = build("resnet")
    with unprojected(model):
        h = features(model, "image")
    with folded(model, random_edit(D)), unprojected(model):
        assert torch.equal(features(model, "image"), h)


def test_unprojected_restores_after_an_error():
    model = build("vit")
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="inside"), unprojected(model):
        raise RuntimeError("inside")
    assert_same(before, snapshot(model))
