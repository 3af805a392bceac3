"""A folder somebody prepared: whatever its config asks for, no code that lies in it is run."""

from __future__ import annotations

import copy
import json

import pytest
from test_models import TINY, write_folder

import clipnull as cn

transformers = pytest.importorskip("transformers")

PLANTED = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import PretrainedConfig, PreTrainedTokenizer

class Planted(PreTrainedTokenizer):
    pass

class PlantedConfig(PretrainedConfig):
    model_type = "planted"
"""


@pytest.fixture
def mark(tmp_path):
    """The file that the planted module leaves behind when it is run."""
    return tmp_path / "it ran"


@pytest.fixture
def prepared(tmp_path, mark):
    """A folder whose tokenizer and config point at a module in it."""
    folder = write_folder(tmp_path / "model", TINY)
    (folder / "planted.py").write_text(PLANTED.format(mark=str(mark)))
    auto = {"auto_map": {"AutoTokenizer": ["planted.Planted", None]}, "tokenizer_class": "Planted"}
    (folder / "tokenizer_config.json").write_text(json.dumps(auto))
    auto = {"model_type": "planted", "auto_map": {"AutoConfig": "planted.PlantedConfig"}}
    (folder / "config.json").write_text(json.dumps(auto))
    return folder


def configure(folder, **text):
    config = copy.deepcopy(TINY)
    config["text_cfg"] |= text
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))


def test_the_trap_would_work(prepared, mark):
    with pytest.raises(Exception):  # the module runs, and its tokenizer is none
        transformers.AutoTokenizer.from_pretrained(prepared, trust_remote_code=True)
    assert mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        {"hf_tokenizer_name": "anything", "tokenizer_kwargs": {"trust_remote_code": True}},
        {"hf_tokenizer_name": "anything", "tokenizer_kwargs": {"deeper": [{"trust_remote_code": 1}]}},
        {"tokenizer_kwargs": {"trust_remote_code": True}},
        {"hf_tokenizer_name": "anything", "auto_map": {"AutoTokenizer": ["planted.Planted", None]}},
    ],
)
def test_a_config_that_asks_for_it_is_refused_by_name(prepared, mark, text):
    configure(prepared, **text)
    with pytest.raises(
        ValueError,
        match=r"name: the config of local-dir:.* asks to run code .*\((trust_remote_code|auto_map)\)",
    ):
        cn.load(f"local-dir:{prepared}")
    assert not mark.exists()


def test_a_tokenizer_that_needs_it_is_refused(prepared, mark):
    configure(prepared, hf_tokenizer_name="anything")
    with pytest.raises(ValueError, match=r"name: the tokenizer of local-dir:.* asks to run code"):
        cn.load(f"local-dir:{prepared}")
    assert not mark.exists()


def test_a_text_tower_that_needs_it_is_refused(prepared, mark):
    configure(prepared, hf_model_name=str(prepared), hf_proj_type="linear")
    with pytest.raises(ValueError, match=r"name: the config of .* asks to run code"):
        cn.load(f"local-dir:{prepared}")
    assert not mark.exists()


def test_a_transformers_folder_is_refused(prepared, mark):
    (prepared / "open_clip_config.json").unlink()
    config = {"model_type": "clip", "text_config": {}, "vision_config": {}}
    (prepared / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "planted.Planted"}}))
    with pytest.raises(ValueError, match=r"name: the config of .* asks to run code .*auto_map"):
        cn.load(f"local-dir:{prepared}")
    config |= {"text_config": {"num_hidden_layers": 1}, "vision_config": {"num_hidden_layers": 1}}
    (prepared / "config.json").write_text(json.dumps(config))
    made = transformers.CLIPModel(transformers.CLIPConfig(**config))
    made.save_pretrained(prepared)
    for part in ({"AutoProcessor": "planted.Planted"}, {"AutoImageProcessor": "planted.Planted"}):
        name = "processor_config.json" if "AutoProcessor" in part else "preprocessor_config.json"
        (prepared / name).write_text(json.dumps({"auto_map": part}))
        with pytest.raises(ValueError, match="lacks a part of its processor"):
            cn.load(f"local-dir:{prepared}")
    assert not mark.exists()
