"""Files of weights as people have them: read where that is safe, else one sentence on what they are."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_models import TINY, small_rn50, write_folder  # noqa: F401

from clipnull.model import load, saving, sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny", TINY)


@pytest.fixture(scope="module")
def state(folder):
    return load_file(folder / saving.WEIGHTS)


@pytest.fixture
def beside_a_config(folder, tmp_path):
    """A folder with a config, into which a file of weights is put."""
    place = tmp_path / "model"
    place.mkdir()
    (place / saving.CONFIG).write_bytes((folder / saving.CONFIG).read_bytes())
    return place


@pytest.fixture
def tags(monkeypatch, small_rn50):  # noqa: F811
    """Tags of RN50, to be filled in."""
    known = {}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: [*known])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: known.get(tag, {}))
    return known


def under(prefix, state):
    return {f"{prefix}{key}": x for key, x in state.items()}


def training(state):
    optimiser = {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"lr": np.float64(1e-3)}]}
    return {"epoch": 4, "name": "run", "state_dict": under("module.", state), "optimizer": optimiser}


def by_numpy_1(state):
    """As `training`, under the names that NumPy had before its second edition."""
    written, renamed = io.BytesIO(), io.BytesIO()
    torch.save(training(state), written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(renamed, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry).replace(b"numpy._core", b"numpy.core"))
    return renamed.getvalue()


READ = {
    "as it is": dict,
    "open_clip's training": training,
    "open_clip's training with NumPy 1": by_numpy_1,
    "compiled": lambda state: under("_orig_mod.", state),
    "compiled, then DDP": lambda state: {"state_dict": under("module._orig_mod.", state)},
    "one tower compiled": lambda state: {
        k.replace("visual.", "visual._orig_mod."): x for k, x in state.items()
    },
    "Lightning": lambda state: {"state_dict": under("model.clip.", state), "hyper_parameters": {"lr": 1e-3}},
    "OpenAI's package": lambda state: {"epoch": 1, "model_state_dict": state, "loss": torch.ones(())},
    "OpenAI's archive, converted": lambda state: state | {"input_resolution": torch.tensor(32)},
    "beside its average": lambda state: {"model": state, "ema": {k: 0 * x for k, x in state.items()}},
}


def put(path, made):
    path.write_bytes(made) if isinstance(made, bytes) else torch.save(made, path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "epoch_4.pt") for kind in READ),
        *((kind, name) for kind in [*READ][:2] for name in ("a.ckpt", "open_clip_pytorch_model.bin")),
    ],
)
def test_a_checkpoint_is_read(kind, name, state, beside_a_config, tags):
    put(beside_a_config / name, READ[kind](state))
    for clip in (
        load(f"local-dir:{beside_a_config}", device="cpu"),
        load("RN50", str(beside_a_config / name), device="cpu"),
    ):
        found = clip.model.state_dict()
        assert found.keys() == state.keys() and all(torch.equal(x, state[key]) for key, x in found.items())


def test_an_old_checkpoint_is_read(state, tmp_path, tags):
    torch.save({"state_dict": state}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    clip = load("RN50", str(tmp_path / "old.pth"), device="cpu")
    assert torch.equal(clip.model.text_projection, state["text_projection"])


def test_safetensors_are_read_as_a_file(state, tmp_path, tags):
    save_file(under("module.", state), tmp_path / "mine.safetensors")
    clip = load("RN50", str(tmp_path / "mine.safetensors"), device="cpu")
    assert torch.equal(clip.model.text_projection, state["text_projection"])


def test_several_models_are_not_chosen_among(state, tmp_path, tags):
    torch.save(under("student.", state) | under("teacher.", state), tmp_path / "last.ckpt")
    with pytest.raises(
        ValueError, match=r"^pretrained: '.*last.ckpt' holds .* and 2 logit_scale; want the plain"
    ):
        load("RN50", str(tmp_path / "last.ckpt"), device="cpu")


def test_several_files_are_not_chosen_among(beside_a_config, state):
    for i in (1, 2):
        put(beside_a_config / f"epoch_{i}.pt", dict(state))
    with pytest.raises(ValueError, match=r"name: epoch_1\.pt, epoch_2\.pt in '.*', want one file"):
        load(f"local-dir:{beside_a_config}")


def torchscript(state):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


def zip_of_pictures(state):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.png", "")
    return file.getvalue()


def half(made):
    file = io.BytesIO()
    torch.save(made, file)
    return file.getvalue()[: file.tell() // 2]


REFUSED = {
    "empty": (lambda state: b"", "is empty; want it copied or downloaded again"),
    "LFS pointer": (
        lambda state: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "is a Git LFS pointer; want `git lfs pull`",
    ),
    "web page": (lambda state: b"\n<!DOCTYPE html><html>", "is a web page; want the file itself"),
    "old web page": (lambda state: b"<HTML><HEAD>", "is a web page"),
    "TorchScript": (torchscript, "is a TorchScript archive, .*; want load.'ViT-B-32-quickgelu', 'openai'"),
    "another program's": (lambda state: b"\x89HDF\r\n", "cannot be read"),
    "cut short": (half, "cannot be read .*; want it copied or downloaded again"),
    "a zip of pictures": (zip_of_pictures, "cannot be read"),
    "pickled module": (
        lambda state: {"state_dict": torch.nn.Linear(2, 2)},
        "cannot be read without unpickling, which may run code .*; want the state_dict alone",
    ),
    "PEFT adapter": (
        lambda state: {"base_model.model.visual.proj.lora_A.weight": torch.ones(2, 2)},
        r"holds a PEFT adapter; want its model, after model\.merge_and_unload\(\)",
    ),
    "PEFT, not merged": (
        lambda state: (
            under("base_model.model.", state) | {"base_model.model.proj.base_layer.weight": torch.ones(1)}
        ),
        "holds a PEFT adapter",
    ),
    "transformers": (
        lambda state: {"logit_scale": torch.ones(()), "vision_model.post_layernorm.weight": torch.ones(2)},
        "is of a transformers model; want load.'local-dir:FOLDER'",
    ),
    "one tower": (
        lambda state: {"visual.conv1.weight": torch.ones(2)},
        "holds visual.conv1.weight and no logit_scale",
    ),
    "no tensors": (lambda state: [1, 2], "holds nothing and no logit_scale"),
}


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit")
@pytest.mark.parametrize("kind", REFUSED)
def test_anything_else_is_named_with_the_way_out(kind, state, tmp_path, beside_a_config, tags):
    make, said = REFUSED[kind]
    put(beside_a_config / "pytorch_model.bin", make(state))
    for argument, ask in {
        "pretrained": ("RN50", str(beside_a_config / "pytorch_model.bin")),
        "name": (f"local-dir:{beside_a_config}",),
    }.items():
        with pytest.raises(ValueError, match=f"^{argument}: '.*' ({said})") as error:
            load(*ask, device="cpu")
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_the_command_for_torchscript_converts_it(folder, tmp_path, monkeypatch, tags):
    model = load(f"local-dir:{folder}", device="cpu").model
    inputs = {"encode_image": torch.zeros(1, 3, 32, 32), "encode_text": torch.ones(1, 24, dtype=torch.int64)}
    path = tmp_path / "it's.pt"
    torch.jit.trace_module(model, inputs, check_trace=False).save(str(path))
    with pytest.raises(ValueError, match="TorchScript") as error:
        load("RN50", str(path))
    code, argument = re.search(r'python -c "(.*)" (.*)$', str(error.value)).groups()
    assert argument == "'" + str(path).replace("'", "'\"'\"'") + "'"
    monkeypatch.setattr(sys, "argv", ["-c", str(path)])
    exec(code, {})
    clip = load("RN50", f"{path}.weights.pt", device="cpu")
    assert torch.equal(clip.model.text_projection, model.text_projection)


def test_a_config_may_be_one_of_these_too(beside_a_config, state):
    put(beside_a_config / saving.WEIGHTS, dict(state))
    (beside_a_config / saving.CONFIG).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=rf"name: .*{saving.CONFIG}' is a Git LFS pointer"):
        load(f"local-dir:{beside_a_config}")


# --- what a file does not say --------------------------------------------------------------


SIGLIP = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "resize_mode": "squash"}
OPENAI = {"interpolation": "bicubic", "resize_mode": "shortest"}


def settings(clip):
    return {key: clip.model.visual.preprocess_cfg[key] for key in SIGLIP}


@pytest.mark.filterwarnings("error")
def test_weights_get_what_all_tags_share_and_saving_passes_it_on(tags, folder, tmp_path):
    tags |= {"one": SIGLIP, "two": SIGLIP}
    clip = load("RN50", str(folder / saving.WEIGHTS), device="cpu")
    assert settings(clip) == SIGLIP
    again = load(f"local-dir:{clip.save(tmp_path / 'saved')}", device="cpu")
    assert {k: tuple(v) if isinstance(v, list) else v for k, v in settings(again).items()} == SIGLIP


def test_a_warning_says_where_tags_differ(tags, folder):
    tags |= {"one": OPENAI | {"mean": (0.1,) * 3}, "two": OPENAI | {"mean": (0.2,) * 3, "quick_gelu": True}}
    said = "does not say its mean, quick_gelu, in which the tags of RN50 differ: it gets open_clip's default"
    with pytest.warns(UserWarning, match=said) as found:
        clip = load("RN50", str(folder / saving.WEIGHTS), device="cpu")
    assert len(found) == 1 and found[0].filename == __file__
    assert settings(clip)["mean"] == open_clip.OPENAI_DATASET_MEAN and activations(clip) == {"GELU"}


def activations(clip):
    return {type(m).__name__ for m in clip.model.modules()} & {"QuickGELU", "GELU"}


@pytest.mark.filterwarnings("error")
def test_the_activation_is_that_of_all_tags(tags, folder, tmp_path):
    tags |= {"one": {"quick_gelu": True}, "two": {"quick_gelu": True}}
    clip = load("RN50", str(folder / saving.WEIGHTS), device="cpu")
    assert activations(clip) == {"QuickGELU"}
    assert activations(load(f"local-dir:{clip.save(tmp_path / 'saved')}", device="cpu")) == {"QuickGELU"}


def test_every_architecture_gets_what_its_own_tags_share(tmp_path):
    (tmp_path / "mine.pt").touch()
    differ, special = set(), set()
    for name in open_clip.list_models():
        known = [
            open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)
        ]
        source = sources.find(name, str(tmp_path / "mine.pt"))
        for key in sources.PREPROCESS if known else ():
            values = {cfg[key] for cfg in known}
            if len(values) == 1:
                assert source.preprocess[key] == values.pop()
                special |= (
                    {name}
                    if source.preprocess[key] != getattr(open_clip.transform.PreprocessCfg(), key)
                    else set()
                )
            else:
                assert key in source.note
                differ.add(name)
    assert "ViT-B-16-SigLIP" in special and "ViT-L-14" in differ


def test_a_config_without_preprocessing_is_said(beside_a_config, state):
    save_file(state, beside_a_config / saving.WEIGHTS)
    (beside_a_config / saving.CONFIG).write_text(json.dumps({"model_cfg": TINY}))
    with pytest.warns(
        UserWarning, match=rf"name: .*{saving.CONFIG}' has no preprocess_cfg, OpenAI's is used"
    ):
        load(f"local-dir:{beside_a_config}", device="cpu")
