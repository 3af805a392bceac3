"""Models with adapters of the PEFT library: edited right, merged and saved, or refused by name; never half."""

from __future__ import annotations

import pytest
import torch
from test_model_fold import assert_close, build, features, random_edit
from test_model_saving import VIT
from test_models import pictures as arrays
from test_models import plain_features, write_folder
from test_models_hf import NAMES, PIXELS, an_edit, image_features, model, pictures, processor  # noqa: F401

import clipnull as cn
from clipnull import model as models
from clipnull.model.clip import Clip

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MERGE = r"model\.merge_and_unload\(\)"
#: layers that an adapter may sit in, all of them before the projections
INSIDE = {"transformers": ["q_proj", "v_proj"], "open_clip": ["c_fc", "c_proj"]}


def adapted(net, *targets, kind=peft.LoraConfig, **how):
    """PEFT's wrapper around a model, its adapter trained, so to say."""
    made = peft.get_peft_model(net, kind(target_modules=[*targets], **{"r": 2, **how}))
    torch.manual_seed(1)
    for name, p in made.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(p, std=0.3)
    return made.eval()


@pytest.fixture
def clip(tmp_path):
    return cn.load(f"local-dir:{write_folder(tmp_path / 'vit', VIT)}", device="cpu")


def around(clip, net):
    return Clip(net, clip.preprocess, clip.tokenizer, config=clip.config)


# --- an adapter before the last layer ------------------------------------------------------


def test_a_transformers_model_is_edited_through_its_adapter(model, processor):  # noqa: F811
    plain = image_features(model, PIXELS)
    net, edit = adapted(model, *INSIDE["transformers"]), an_edit()
    before = image_features(net, PIXELS)
    assert (before - plain).abs().max() > 0.01  # the adapter does something
    with cn.folded(net, edit):
        assert_close(image_features(net, PIXELS), edit.apply_image(before))
    assert torch.equal(image_features(net, PIXELS), before)
    with pytest.raises(
        ValueError, match=rf"^model: got a PeftModel, want .*, with an adapter merged: {MERGE}"
    ):
        models.from_transformers(net, processor)
    merged = models.from_transformers(net.merge_and_unload(), processor)
    cn.fold(merged, edit)
    assert_close(image_features(merged.model.source, PIXELS), edit.apply_image(before))


def test_what_is_merged_is_saved_with_its_edit(model, processor, tmp_path):  # noqa: F811
    merged = adapted(model, *INSIDE["transformers"]).merge_and_unload()
    clip, edit = models.from_transformers(merged, processor), an_edit()
    Z = cn.fold(clip, edit).embed_images(pictures())
    again = cn.load(f"local-dir:{clip.save(tmp_path / 'saved')}", device="cpu")
    torch.testing.assert_close(again.embed_images(pictures()), Z, rtol=0, atol=1e-5)


def test_an_open_clip_model_is_edited_through_its_adapter_and_saved_once_merged(clip, tmp_path):
    wrapped = around(clip, adapted(clip.model, *INSIDE["open_clip"]))
    before = wrapped.embed_images(arrays(2))
    edit = cn.nullspace(wrapped.embed_text(NAMES)[:1])
    with cn.folded(wrapped, edit):
        want = wrapped.embed_images(arrays(2))
        assert_close(want, edit.apply_image(before, normalize=True))
        with pytest.raises(ValueError, match=rf"save: this model has a PEFT adapter .*; want {MERGE} first"):
            wrapped.save(tmp_path / "saved")
        assert not (tmp_path / "saved").exists()
    merged = around(clip, wrapped.model.merge_and_unload())
    Z, _ = plain_features(cn.fold(merged, edit).save(tmp_path / "saved"), arrays(2))
    torch.testing.assert_close(Z, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_inside_a_model_of_an_ordinary_class_is_not_lost(model, processor, tmp_path, merge):  # noqa: F811
    config = peft.LoraConfig(target_modules=INSIDE["transformers"], r=2, init_lora_weights=False)
    net = peft.inject_adapter_in_model(config, model)
    if merge:  # the weights hold it, under the adapter's names
        for layer in net.modules():
            if isinstance(layer, peft.tuners.lora.LoraLayer):
                layer.merge()
    clip = models.from_transformers(net, processor)
    with pytest.raises(ValueError, match=rf"save: this model has a PEFT adapter .*; want {MERGE} first"):
        cn.fold(clip, an_edit()).save(tmp_path / "saved")
    assert not [*tmp_path.iterdir()]


# --- an adapter in the last layer itself ---------------------------------------------------

#: tower -> the layer that its image embeddings come out of
LAST = {"resnet": "attnpool.c_proj", "timm-linear": "head.proj", "timm-mlp": "mlp.fc2", "timm-classifier": ""}


@pytest.mark.parametrize("how", ["LoRA", "whole layer"])
@pytest.mark.parametrize("kind", LAST)
def test_an_adapter_in_the_last_layer_is_refused(kind, how):
    net = build(kind)
    if not (layer := LAST[kind]):
        trunk = net.visual.trunk
        layer = next(f"trunk.{n}" for n, m in trunk.named_modules() if m is trunk.get_classifier())
    net = adapted(net, layer) if how == "LoRA" else adapted(net, "c_fc", modules_to_save=[layer])
    before, t = features(net, "image"), features(net, "text")
    said = rf"clip: no image tower with a final projection .* in PeftModel; want .*{MERGE}"
    calls = (cn.fold, lambda *args: cn.folded(*args).__enter__(), lambda net, edit: models.last_layer(net))
    for call in calls:
        with pytest.raises(ValueError, match=said):
            call(net, random_edit(before.shape[1]))
    assert torch.equal(features(net, "image"), before)
    edit = random_edit(t.shape[1])
    with cn.folded(net, edit, "text"):  # which ends as ever
        assert_close(features(net, "text"), edit.apply_text(t))
    merged = net.merge_and_unload()
    before, edit = features(merged, "image"), random_edit(before.shape[1])
    with cn.folded(merged, edit):
        assert_close(features(merged, "image"), edit.apply_image(before))


@pytest.mark.parametrize("kind", ["text-linear", "text-linear-custom"])
def test_an_adapter_in_a_text_projection_of_open_clip_is_refused(kind):
    net = adapted(build(kind), "text_projection")  # with which open_clip itself fails
    with pytest.raises(ValueError, match=rf"^clip: no text tower .* in PeftModel; want .*{MERGE}"):
        cn.fold(net, random_edit(16), "text")


@pytest.mark.parametrize("layer", ["visual_projection", "text_projection"])
def test_an_adapter_in_a_projection_of_transformers_is_refused(model, processor, layer):  # noqa: F811
    side = "image" if layer == "visual_projection" else "text"
    config = peft.LoraConfig(target_modules=[layer], r=2)
    net = peft.inject_adapter_in_model(config, model)
    with pytest.raises(ValueError, match=rf"^clip: no {side} tower .* in CLIPModel; want .*{MERGE}"):
        cn.fold(net, an_edit(), side)


def test_an_adapter_on_a_parameter_is_refused(clip):
    net = peft.get_peft_model(
        clip.model, peft.LoraConfig(r=2, target_modules=[], target_parameters=["visual.proj"])
    )
    with pytest.raises(ValueError, match=rf"^clip: no image tower .* in PeftModel; want .*{MERGE}"):
        cn.fold(net, random_edit(16))


# --- what PEFT writes ----------------------------------------------------------------------


def test_an_adapter_s_files_are_named(model, tmp_path):  # noqa: F811
    adapted(model, *INSIDE["transformers"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=rf"^name: no .*, want a folder that .*{MERGE}"):
        cn.load(f"local-dir:{tmp_path}")
    with pytest.raises(ValueError, match=rf"^pretrained: .*adapter_model.* holds a PEFT adapter; .*{MERGE}"):
        cn.load("ViT-B-32", tmp_path / "adapter_model.safetensors")
