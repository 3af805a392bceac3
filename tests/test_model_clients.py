"""Architectures that an edit goes into, and programs that use a model without knowing of clipnull."""

from __future__ import annotations

import re

import open_clip
import pytest
import torch
from PIL import Image
from test_models import NAMES, clip, folder, pictures  # noqa: F401

import clipnull as cn
from clipnull.model import towers


def kind(name):
    """What decides where the towers of one of open_clip's architectures end."""
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    trunk = re.match("[a-z]*", vision.get("timm_model_name", type(vision.get("layers")).__name__))
    ends = [vision.get(key) for key in ("timm_pool", "timm_proj", "attentional_pool", "pool_type")]
    ends += [text.get(key) for key in ("proj_type", "proj_bias", "pool_type", "hf_model_name")]
    return trunk[0], *ends, config.get("custom_text"), "multimodal_cfg" in config


#: one of each kind; a text tower of transformers has its config on the hub
ARCHITECTURES = [*{kind(n): n for n in open_clip.list_models() if not kind(n)[8]}.values()]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_ends_where_an_edit_goes(name):
    with torch.device("meta"):  # its layers, without numbers
        model = open_clip.create_model(name, device="meta")
    wanted = open_clip.get_model_config(name)["embed_dim"]
    for side in ("image", "text"):
        slot = towers.slot(model, side)
        assert slot.dim == wanted and bool(towers.parts(slot.layer)) != slot.is_empty
        slot.put(slot.identity(model.logit_scale))
        assert towers.slot(model, side).dim == wanted and not towers.slot(model, side).is_empty


@pytest.fixture
def saved(clip, tmp_path):  # noqa: F811
    """A folder that has forgotten the first of the names, its unit image features and all the names'."""
    T = clip.embed_text(NAMES)
    with cn.folded(clip, cn.nullspace(T[:1])):
        return clip.save(tmp_path / "saved"), clip.embed_images(pictures(3)), T


def test_clip_benchmark_loads_what_has_forgotten(saved):
    load_clip = pytest.importorskip("clip_benchmark.models.open_clip").load_open_clip
    place, Z, T = saved
    model, transform, tokenizer = load_clip(
        model_name=f"local-dir:{place}", pretrained=None, cache_dir=None, device="cpu"
    )
    model.eval()
    with torch.no_grad():
        seen = model.encode_image(torch.stack([transform(Image.fromarray(x)) for x in pictures(3)]))
        read = model.encode_text(tokenizer(NAMES))
    torch.testing.assert_close(torch.nn.functional.normalize(seen, dim=1), Z)
    torch.testing.assert_close(torch.nn.functional.normalize(read, dim=1), T)
