"""Folding: edited features, bit-identical undo, an ordinary module meanwhile, all or nothing."""

from __future__ import annotations

import copy
import gc
import io
import linecache
import pickle
import signal
import sys
import threading

import open_clip
import pytest
import torch
from torch import nn

from clipnull.edit import Edit
from clipnull.model import (
    fold,
    folded,
    folded_edits,
    last_layer,
    towers,
    unfold,
    unprojected,
)
from clipnull.model.fold import merged_state

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


def embedding_dim(model, side="image"):
    return towers.slot(model, side).dim


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_are_computed_in_double_precision_and_rounded_once(dtype):
    model = build("text-linear").to(dtype)  # a matrix, and a Linear with its bias
    one, two = random_edit(D, seed=1), random_edit(D, seed=2)
    tensors = model.visual.proj, model.text_projection.weight, model.text_projection.bias
    P, Q, b = before = [x.detach().clone() for x in tensors]
    W, V = (e.left.double() @ -e.right.double().T + torch.eye(D) for e in (one, two))
    fold(fold(model, one, "both"), two, "both")
    want = P.double() @ W @ V, V @ W @ Q.double(), V @ W @ b.double()
    for got, exact in zip(tensors, want, strict=True):
        assert torch.equal(got, exact.to(dtype))
    if dtype != torch.float32:  # the test would notice: half precision gives other bits
        coarse = [one.to(dtype).apply_image(x) for x in (P, Q.T, b[None])]
        unfold(fold_once := fold(unfold(model), one))
        exact = [(x.double() @ W).to(dtype) for x in (P, Q.T, b[None])]
        assert fold_once is model and not any(map(torch.equal, coarse, exact))
    unfold(model)
    assert all(map(torch.equal, tensors, before))


def test_the_surroundings_do_not_change_the_weights():
    model, edit = build("vit"), random_edit(D)
    want = fold(model, edit).visual.proj.detach().clone()
    unfold(model)
    with torch.autocast("cpu", torch.bfloat16), folded(model, edit):
        assert torch.equal(model.visual.proj, want)
    with torch.inference_mode():
        fold(model, edit)
    assert torch.equal(model.visual.proj, want)
    model.encode_image(images(model)).sum().backward()  # no inference tensor is left in it
    assert model.visual.proj.grad is not None
    unfold(model)


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
    plain, twin = {k: x.clone() for k, x in model.state_dict().items()}, copy.deepcopy(model)
    z, t = features(model, "image"), features(model, "text")
    edit = random_edit(z.shape[1])
    fold(model, edit, "both")
    state = model.state_dict()
    if kind != "siglip":  # no projection was added: names and their order are those of before
        assert list(state) == list(plain)
        twin.load_state_dict(state)
        assert_close(features(twin, "image"), edit.apply_image(z))
        assert_close(features(twin, "text"), edit.apply_text(t))
    assert list(unfold(model).state_dict()) == list(plain)  # and the un-edited tensors come back
    assert all(torch.equal(x, plain[key]) for key, x in model.state_dict().items())


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


# --- an ordinary module --------------------------------------------------------------------

#: towers that end in a matrix, in a Linear with bias and (siglip) in nothing
ORDINARY = ["vit", "resnet", "siglip", "text-linear-custom"]


def bytes_of(x):
    return x.detach().contiguous().numpy().tobytes()[:64]


def projections(model):
    """The parameters that an edit of both sides changes, of a model that is not folded yet."""
    twin = fold(copy.deepcopy(model), random_edit(embedding_dim(model)), "both")
    changed = dict(twin.named_parameters())
    return {n: p for n, p in model.named_parameters() if not torch.equal(p, changed[n])}


@pytest.mark.parametrize("kind", ["vit", "resnet", "text-linear-custom"])
def test_a_folded_model_has_the_same_parts(kind):
    model = build(kind)
    before = snapshot(model)
    after = snapshot(fold(model, random_edit(D), "both"))
    assert [k for k, _ in before[0]] == [k for k, _ in after[0]]
    assert before[1:] == after[1:]  # the very parameters, the same classes
    for module in model.modules():
        assert not (module._state_dict_hooks or module._forward_hooks or module._forward_pre_hooks)
    unfold(model)
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save", "state_dict"])
@pytest.mark.parametrize("kind", ORDINARY)
def test_what_is_handed_on_does_not_carry_what_it_forgot(kind, how):
    model, edit = build(kind), random_edit(embedding_dim(build(kind)))
    secret = [bytes_of(p) for p in projections(model).values()] + [bytes_of(edit.left), bytes_of(edit.right)]
    fold(model, edit, "both")
    file = io.BytesIO()
    if how == "pickle":
        pickle.dump(model, file)
    else:
        torch.save({"deepcopy": copy.deepcopy(model), "state_dict": model.state_dict()}.get(how, model), file)
    blob = file.getvalue()
    assert not any(piece in blob for piece in secret)
    last = model.visual.proj if kind == "vit" else model.text_projection if kind == "resnet" else None
    assert last is None or bytes_of(last) in blob  # the search finds what is there


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("kind", ORDINARY)
def test_a_copy_is_edited_for_good(kind, copied):
    model = build(kind)
    z = features(model, "image")
    one, two = random_edit(z.shape[1], seed=1), random_edit(z.shape[1], seed=2)
    fold(model, one)
    after = features(model, "image")
    twin = copied(model)
    assert torch.equal(features(twin, "image"), after) and folded_edits(twin) == []
    for side in ("image", "both"):
        with pytest.raises(
            ValueError, match=r"edit of its image tower cannot be taken out.*copy of a folded model"
        ):
            unfold(twin, side)
    unfold(twin, "text")  # nothing is folded into it
    assert merged_state(twin)[1] == merged_state(model)[1]  # an added projection is saved
    with folded(twin, two):  # and it can be edited further
        assert_close(features(twin, "image"), two.apply_image(after))
    assert torch.equal(features(twin, "image"), after)
    assert torch.equal(features(unfold(model), "image"), z)
    assert torch.equal(features(twin, "image"), after)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("kind", ORDINARY)
def test_states_load_as_into_any_model(kind, assign):
    model = build(kind)
    plain = {k: x.clone() for k, x in model.state_dict().items()}
    z = features(model, "image")
    fold(model, random_edit(z.shape[1]))
    after, state = features(model, "image"), {k: x.clone() for k, x in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)  # what it holds already
    assert torch.equal(features(model, "image"), after)
    assert torch.equal(features(unfold(model), "image"), z)
    fold(model, random_edit(z.shape[1], seed=2))
    missing = model.load_state_dict(plain, strict=False, assign=assign)  # the weights of before
    assert bool(missing.missing_keys) == (kind == "siglip") and not missing.unexpected_keys
    if kind != "siglip":
        assert torch.equal(features(model, "image"), z)
    assert torch.equal(features(unfold(model), "image"), z)
    assert all(torch.equal(x, plain[k]) for k, x in model.state_dict().items())
    fold(model, random_edit(z.shape[1], seed=2))
    model.load_state_dict(state, strict=False, assign=assign)  # those of another edit
    assert torch.equal(features(model, "image"), after)
    with pytest.raises(ValueError, match=r"is not what fold wrote .*load_state_dict.*permanent=True"):
        unfold(model)
    assert torch.equal(features(model, "image"), after)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_training_goes_on_with_an_optimiser_made_before(kind):
    model = build(kind)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    last = model.visual.proj if kind == "vit" else model.visual.attnpool.c_proj.weight
    original, edit = last.detach().clone(), random_edit(D)
    fold(model, edit)
    written = {k: x.clone() for k, x in model.state_dict().items()}

    def step(model, optimiser):
        optimiser.zero_grad()
        model.encode_image(images(model)).square().sum().backward()
        optimiser.step()

    step(model, optimiser)
    assert torch.allclose(last, written_of(written, model, last) - 0.1 * last.grad)
    # a checkpoint resumed in another model takes the same next step
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, file)
    file.seek(0)
    resumed, saved = build(kind), torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["model"])
    again = torch.optim.SGD(resumed.parameters(), lr=0.1, momentum=0.9)
    again.load_state_dict(saved["optimiser"])
    step(model, optimiser)
    step(resumed, again)
    assert all(torch.equal(x, resumed.state_dict()[k]) for k, x in model.state_dict().items())
    # what was trained is no longer what fold wrote: nothing is thrown away unasked
    trained = last.detach().clone()
    for refused in (unfold, lambda m: fold(m, edit), lambda m: folded(m, edit).__enter__()):
        with pytest.raises(
            ValueError, match=r"last layer of its image tower is not what fold wrote \(it was trained"
        ):
            refused(model)
        assert torch.equal(last, trained)
    if kind == "vit":  # the ways out
        fold(model, random_edit(D, seed=2), permanent=True)
        assert_close(last, random_edit(D, seed=2).apply_image(trained))
        assert len(folded_edits(model)) == 2
    else:
        model.load_state_dict(written)
        assert torch.equal(unfold(model).visual.attnpool.c_proj.weight, original)


def written_of(state, model, parameter):
    return state[next(name for name, p in model.named_parameters() if p is parameter)]


def test_training_inside_a_block_is_not_thrown_away():
    model = build("vit")
    with pytest.raises(ValueError, match="is not what fold wrote"), folded(model, random_edit(D)):
        trained = model.visual.proj.data.add_(1).clone()
    assert torch.equal(model.visual.proj, trained)
    fold(model, random_edit(D), permanent=True)  # no block is open any more


@pytest.mark.parametrize("kind", ORDINARY)
def test_unfolding_after_a_cast_gives_the_cast_originals(kind):
    model = build(kind)
    plain = {k: x.clone() for k, x in model.state_dict().items()}
    fold(model, random_edit(embedding_dim(model)), "both")
    model.half()
    unfold(model)
    assert all(
        torch.equal(x, plain[k].half()) for k, x in model.state_dict().items() if x.is_floating_point()
    )
    assert list(model.state_dict()) == list(plain)
    model = fold(build(kind), random_edit(embedding_dim(model))).half().float()
    with pytest.raises(ValueError, match="trained or cast"):  # its rounding hides what fold wrote
        unfold(model)


def test_folding_on_after_a_cast():
    model, one, two = build("vit"), random_edit(D, seed=1), random_edit(D, seed=2)
    P = model.visual.proj.detach().clone()
    fold(fold(model, one).double(), two)
    assert_close(model.visual.proj, two.apply_image(one.apply_image(P)).double())
    assert torch.equal(unfold(model).visual.proj, P.double())


@pytest.mark.parametrize("kind", ORDINARY)
def test_permanent_forgets_the_originals(kind):
    model = build(kind)
    z = features(model, "image")
    one, two, three = (random_edit(z.shape[1], seed=i) for i in (1, 2, 3))
    fold(model, one)
    assert fold(model, two, permanent=True) is model
    after = features(model, "image")
    assert_close(after, two.apply_image(one.apply_image(z)))
    assert [e.left is f.left for (_, e), f in zip(folded_edits(model), (one, two), strict=True)] == [
        True,
        True,
    ]
    with pytest.raises(ValueError, match=r"cannot be taken out.*permanent=True"):
        unfold(model)
    fold(model, three)
    assert len(folded_edits(model)) == 3
    assert torch.equal(features(unfold(model), "image"), after)  # the later one alone
    assert bool(merged_state(model)[1]) == (kind == "siglip")
    with folded(model, three), pytest.raises(ValueError, match="permanent: got True inside `with folded`"):
        fold(model, one, permanent=True)
    assert torch.equal(features(model, "image"), after)


@pytest.mark.parametrize("kind", ORDINARY)
def test_scripting_and_exporting(kind):
    model = build(kind)
    fold(model, random_edit(embedding_dim(model)))
    z, x = features(model, "image"), images(model)
    assert_close(torch.jit.script(model.visual)(x).detach(), z)
    assert_close(torch.jit.trace(model.visual, x, check_trace=False)(x).detach(), z)
    with torch.autocast("cpu"):
        assert (features(model, "image") - z).norm() < 0.05 * z.norm()
    assert_close(torch.export.export(model.visual, (x,)).module()(x).detach(), z)
    unfold(model)


@pytest.mark.parametrize("kind", ORDINARY)
def test_exporting_to_onnx(kind):
    pytest.importorskip("onnx")
    model = build(kind)
    fold(model, random_edit(embedding_dim(model)))
    file = io.BytesIO()
    torch.onnx.export(model.visual, (images(model),), file, dynamo=False)
    assert file.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_quantising_gives_a_copy_that_has_forgotten():
    model = build("timm-linear")
    z, edit = features(model, "image"), random_edit(D)
    with folded(model, edit):
        small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    got, want = features(small, "image"), edit.apply_image(z)
    assert (got - want).norm() < 0.05 * want.norm() < 0.5 * (got - z).norm()


def test_locking_the_image_tower():
    model, plain = build("vit"), build("vit")
    with folded(model, random_edit(D)):
        for m in (model, plain):
            m.lock_image_tower(unlocked_groups=1)
        wanted = {n for n, p in plain.named_parameters() if p.requires_grad}
        assert {n for n, p in model.named_parameters() if p.requires_grad} == wanted
    assert "visual.proj" in wanted and "visual.conv1.weight" not in wanted
    assert model.visual.proj.requires_grad


def test_a_layer_computed_from_others_is_refused():
    model = build("timm-linear")
    torch.nn.utils.parametrizations.weight_norm(model.visual.head.proj)
    with pytest.raises(
        ValueError,
        match=r"clip: its last layer is a .*, not one that is quantised or computed \(weight_norm\)",
    ):
        fold(model, random_edit(D))


class Quantised(nn.Linear):
    """Holds a weight, as a library for eight bits does, and uses it in its own way."""

    def forward(self, x):
        return super().forward(x.round())


def test_a_layer_with_a_way_of_its_own_is_refused():
    model = build("timm-linear")
    model.visual.head.proj.__class__ = Quantised
    with pytest.raises(ValueError, match=r"clip: its last layer is a Quantised; want a plain nn\.Linear"):
        fold(model, random_edit(D))


def test_nothing_is_kept_of_a_model_that_is_gone():
    _RECORDS = sys.modules["clipnull.model.fold"]._RECORDS
    gc.collect()  # of other tests
    count = len(_RECORDS)
    model = fold(build("vit"), random_edit(D), "both")
    assert len(_RECORDS) == count + 2
    del model
    gc.collect()
    assert len(_RECORDS) == count


# --- all or nothing ------------------------------------------------------------------------

FOLD, TOWERS_FILE = (sys.modules[f"clipnull.model.{name}"].__file__ for name in ("fold", "towers"))


def watched(code):
    """Whether it may stop there: all of fold.py, and of towers.py what changes a model."""
    return code.co_filename == FOLD or (
        code.co_filename == TOWERS_FILE and code.co_name in ("put", "identity")
    )


def state_of(model):
    """What folding changes: what the towers' ends consist of, their data, and the edits listed."""
    slots = [towers.slot(model, side) for side in ("image", "text")]
    ends = [(slot.parent, slot.layer) for slot in slots]
    parts = [{k: id(v) for k, v in {**m._modules, **m._parameters, **vars(m)}.items()} for m, _ in ends]
    data = [p.detach().clone() for _, layer in ends for p, _ in towers.parts(layer)]
    return parts, data, len(folded_edits(model))


def edited_alike(one, other):
    return one[2] == other[2] and len(one[1]) == len(other[1]) and all(map(torch.equal, one[1], other[1]))


def the_same(one, other):
    return one[0] == other[0] and edited_alike(one, other)


def stopped_at(n, error, run, watched=watched):
    """Run with ``error`` raised before the n-th line of the package's that is executed; False if it has fewer.

    Not at a ``with``: Python comes back to its line to leave it, where no signal is ever delivered.
    """
    count = 0

    def line(frame, event, _):
        nonlocal count
        if event == "line":
            text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            count += not text.startswith("with ")
            if count == n:
                raise error
        return line

    before = sys.gettrace()
    sys.settrace(lambda frame, event, _: line if watched(frame.f_code) else None)
    try:
        run()
    except error:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("block", ["folded", "unprojected"])
@pytest.mark.parametrize(("kind", "nested"), [("resnet", True), ("siglip", False), ("vit", False)])
def test_an_interrupt_anywhere_in_a_block_leaves_no_edit_and_shuts_no_thread_out(kind, nested, block):
    model = build(kind)
    d = embedding_dim(model)
    if nested:
        fold(model, random_edit(d, seed=2))
    before = state_of(model)

    def run():
        with folded(model, random_edit(d), "both") if block == "folded" else unprojected(model):
            model.visual.eval()

    def elsewhere():
        with folded(model, random_edit(d)):
            return len(folded_edits(model))

    n = 1
    while stopped_at(n, KeyboardInterrupt, run):
        assert the_same(before, state_of(model)), n
        assert in_thread(elsewhere) == 1 + nested, n
        n += 1
    assert n > (100 if block == "folded" else 20)  # there were lines to stop at


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("kind", ["resnet", "siglip"])
def test_a_failure_anywhere_in_fold_or_unfold_leaves_all_or_nothing(kind, error):
    model, edit = build(kind), random_edit(embedding_dim(build(kind)))
    plain = state_of(model)
    edited = state_of(fold(model, edit, "both"))
    unfold(model)

    def state():
        found = state_of(model)
        assert edited_alike(found, edited) or the_same(found, plain)
        return "edited" if edited_alike(found, edited) else "plain"

    for run, wanted in ((lambda: fold(model, edit, "both"), "edited"), (lambda: unfold(model), "plain")):
        n, first = 1, state()
        while stopped_at(n, error, run):
            if state() == wanted:  # it was done already: back to where it starts
                unfold(model) if wanted == "edited" else fold(model, edit, "both")
            assert state() == first
            n += 1
        assert n > 50 and state() == wanted


@pytest.mark.parametrize("kind", ["vit", "text-none"])
def test_a_failure_anywhere_in_a_fold_for_good_leaves_all_or_nothing(kind):
    source = build(kind)
    edit, n = random_edit(embedding_dim(source)), 1
    plain, edited = state_of(source), state_of(fold(copy.deepcopy(source), edit, "both", permanent=True))
    while True:
        model = copy.deepcopy(source)
        if not stopped_at(n, MemoryError, lambda twin=model: fold(twin, edit, "both", permanent=True)):
            break
        found = state_of(model)
        if found[2]:
            assert edited_alike(found, edited), n
            with pytest.raises(ValueError, match="fold had permanent=True"):
                unfold(model)
        else:
            assert edited_alike(found, plain) and edited_alike(state_of(unfold(model)), plain), n
        n += 1
    assert n > 50 and edited_alike(state_of(model), edited)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_interrupts_by_signal_leave_no_edit():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    model, edit, stopped = build("vit"), random_edit(D), 0
    before = snapshot(model)

    def interrupt(*_):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 3e-5 * i)
                while True:
                    with folded(model, edit, "both"):
                        pass
            except KeyboardInterrupt:
                stopped += 1
            assert_same(before, snapshot(model))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert stopped == 200 and not folded_edits(model)


def in_thread(run):
    """What a call in another thread returned or raised."""
    found = []

    def work():
        try:
            found.append(run())
        except ValueError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    return found[0]


def test_a_second_thread_is_refused_while_a_block_is_open():
    model, edit = build("vit"), random_edit(D)
    calls = [
        lambda: fold(model, edit, "text"),
        lambda: unfold(model),
        lambda: folded(model, edit).__enter__(),
        lambda: unprojected(model, "text").__enter__(),
    ]
    for block in (folded(model, edit), unprojected(model)):
        with block:
            inside = features(model, "image")
            for call in calls:
                assert "another thread is inside `with folded`" in str(in_thread(call))
            assert torch.equal(features(model, "image"), inside)
            other = copy.deepcopy(model)
            assert in_thread(lambda twin=other: fold(twin, edit, "text")) is other
    before = snapshot(model)
    assert in_thread(lambda: fold(model, edit)) is model  # no block is open
    assert len(folded_edits(model)) == 1
    unfold(model)
    assert_same(before, snapshot(model))


def test_threads_that_fold_at_once_get_their_own_edit_or_a_refusal():
    model = build("vit")
    before, P = snapshot(model), model.visual.proj.detach().clone()
    done, refused, start = [], [], threading.Barrier(4)

    def work(seed):
        edit = random_edit(D, seed=seed)
        start.wait()
        for _ in range(40):
            try:
                with folded(model, edit):
                    done.append(torch.allclose(model.visual.proj, edit.apply_image(P), atol=1e-6))
            except ValueError:
                refused.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done and all(done) and len(done) + len(refused) == 160
    assert_same(before, snapshot(model))


# --- bad input -----------------------------------------------------------------------------


def test_bad_input_leaves_the_model_alone():
    model, edit = build("vit"), random_edit(D)
    state = snapshot(model)
    with pytest.raises(ValueError, match=r"edit: acts on 15 dimensions, want 16 like .* image embeddings"):
        fold(model, random_edit(15))
    with pytest.raises(ValueError, match=r"edit: got Tensor, want a clipnull\.Edit"):
        fold(model, torch.eye(D))
    with pytest.raises(ValueError, match="left: holds NaN"):
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
