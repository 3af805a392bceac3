"""Saving proves itself: what is on disk is the model that was saved, or the folder of before."""

from __future__ import annotations

import json
import os
import resource
import shutil

import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors.torch import load_file, save_file
from test_model_fold import stopped_at
from test_models import NAMES, TINY, pictures, plain_features, write_folder

import clipnull as cn
from clipnull import _files
from clipnull.model import load, saving
from clipnull.model.clip import Clip

VIT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": TINY["text_cfg"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "vit", VIT)


@pytest.fixture
def clip(folder):
    return load(f"local-dir:{folder}", device="cpu")


def around(model, **other):
    """A Clip around somebody's own open_clip model."""
    made = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    parts = {
        "preprocess": made,
        "tokenizer": open_clip.SimpleTokenizer(context_length=24),
        "config": VIT,
    } | other
    return Clip(model, **parts)


# --- what was written is this model --------------------------------------------------------


@pytest.mark.parametrize("forced", [{"image_size": 48}, {"quick_gelu": True}, {"custom_text": True}], ids=str)
def test_a_config_that_is_not_what_the_model_was_forced_to_is_refused(forced, folder, tmp_path):
    clip = around(
        open_clip.create_model(f"local-dir:{folder}", **{f"force_{k}": x for k, x in forced.items()})
    )
    with pytest.raises(ValueError, match=r"does not read back as this model .*want a config"):
        clip.save(tmp_path / "saved")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("there", "error"), [(False, MemoryError), (True, KeyboardInterrupt)])
def test_a_failure_anywhere_in_saving_leaves_the_old_folder_or_the_new(
    there, error, clip, tmp_path, monkeypatch
):
    monkeypatch.setattr(saving, "_prove", lambda clip, folder: None)  # it only reads, for long
    monkeypatch.setattr(_files, "ABANDONED", -1.0)
    target, files, kept = tmp_path / "saved", (saving.__file__, _files.__file__), None

    def steps(code):
        return code.co_filename in files and code.co_name not in ("<lambda>", "digest_of")  # which repeat

    if there:
        clip.save(target, {"is": "old"})
        kept = (target / saving.RECEIPT).read_bytes()
    n = 1
    while stopped_at(n, error, lambda: clip.save(target, {"is": "new"}), steps):
        if target.exists() and (said := (target / saving.RECEIPT).read_bytes()) != kept:
            assert b'"is": "new"' in said, n
            load(f"local-dir:{target}", device="cpu")
            shutil.rmtree(target)
            if there:
                clip.save(target, {"is": "old"})
                kept = (target / saving.RECEIPT).read_bytes()
        assert target.exists() == there, n
        _files.tidy(tmp_path)
        assert [*tmp_path.iterdir()] == [target][:there], n
        n += 1
    assert n > 100 and [*tmp_path.iterdir()] == [target]


def another_transform(clip):
    clip.preprocess = image_transform_v2(PreprocessCfg(size=32, resize_mode="squash", mean=(0.5,) * 3), False)


def another_tokenizer(clip):
    words = clip.tokenizer
    clip.tokenizer = lambda texts: words(texts).flip(1)


def another_shape(clip):
    clip.config["text_cfg"]["heads"] = 4


def another_size(clip):
    clip.config["embed_dim"] = 32


def another_layer(clip):
    clip.model.visual.ln_post.eps = 10.0


@pytest.mark.parametrize(
    "change",
    [another_transform, another_tokenizer, another_shape, another_size, another_layer],
    ids=lambda f: f.__name__,
)
def test_what_the_folder_cannot_say_is_refused(change, clip, tmp_path):
    kept = clip.save(tmp_path / "kept")
    before = (kept / saving.RECEIPT).read_bytes()
    change(clip)
    with pytest.raises(
        ValueError, match=r"save: what was written does not read back as this model \(.*\); want a"
    ):
        clip.save(kept)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (kept / saving.RECEIPT).read_bytes() == before and load(
        f"local-dir:{kept}", device="cpu"
    ).dim == 16


def test_a_disk_that_writes_something_else_is_noticed(clip, tmp_path, monkeypatch):
    write = safetensors.torch.save_file

    def doubled(state, *where, **how):
        write({k: 2 * x for k, x in state.items()}, *where, **how)

    monkeypatch.setattr(safetensors.torch, "save_file", doubled)
    with pytest.raises(ValueError, match=r"image embeddings lie .* of their length away"):
        clip.save(tmp_path / "saved")
    assert not [*tmp_path.iterdir()]


def test_a_compiled_model_is_saved_under_its_plain_names(clip, folder, tmp_path):
    want = clip.embed_text(NAMES)
    compiled = around(torch.compile(clip.model, backend="eager"), preprocess=clip.preprocess)
    edit = cn.nullspace(want[:1])
    cn.fold(compiled, edit, "both")
    Z, T = plain_features(compiled.save(tmp_path / "saved"), pictures(2))
    torch.testing.assert_close(Z, compiled.embed_images(pictures(2)))
    old, new = load_file(folder / saving.WEIGHTS), load_file(tmp_path / "saved" / saving.WEIGHTS)
    assert old.keys() == new.keys() and (T[1:] @ want[0]).abs().max() < 1e-5
    cn.unfold(compiled)


# --- the receipt, killed runs, full disks --------------------------------------------------


def test_weights_that_are_not_the_receipt_s_are_refused(clip, tmp_path):
    saved = clip.save(tmp_path / "saved")
    state = load_file(saved / saving.WEIGHTS)
    state["text_projection"][0, 0] += 1e-3
    save_file(state, saved / saving.WEIGHTS)
    with pytest.raises(
        ValueError, match=r"name: the weights in .*saved' are not those that its receipt\.json"
    ):
        load(f"local-dir:{saved}")
    receipt = json.loads((saved / saving.RECEIPT).read_text())
    del receipt["weights_sha256"]  # an older one: the folder is taken as it is
    (saved / saving.RECEIPT).write_text(json.dumps(receipt))
    assert load(f"local-dir:{saved}", device="cpu").receipt == receipt
    (saved / saving.RECEIPT).unlink()
    assert load(f"local-dir:{saved}", device="cpu").receipt is None


@pytest.mark.parametrize("receipt", ["[1]", "{", "3"])
def test_a_receipt_that_is_none_is_named(clip, tmp_path, receipt):
    saved = clip.save(tmp_path / "saved")
    (saved / saving.RECEIPT).write_text(receipt)
    with pytest.raises(ValueError, match=r"name: '.*receipt\.json' "):
        load(f"local-dir:{saved}")


def test_a_run_that_was_killed_between_two_names_costs_nothing(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "ABANDONED", -1.0)
    saved = clip.save(tmp_path / "saved")
    left = tmp_path / ".saved.0000abcd.partial"
    left.mkdir()
    saved.rename(tmp_path / ".saved.0000abcd.old")
    assert load(f"local-dir:{saved}", device="cpu").dim == 16
    assert [*tmp_path.iterdir()] == [saved]
    left.mkdir()
    saved.rename(tmp_path / ".saved.0000abcd.old")
    clip.save(saved)
    assert [*tmp_path.iterdir()] == [saved]


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_is_one_sentence_and_no_folder(clip, tmp_path, there):
    target = tmp_path / "saved"
    before = clip.save(target) if there else None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"^path: '.*saved' could not be written, (what was there|nothing of it)"
        ) as e:
            clip.save(target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(e.value)
    assert [*tmp_path.iterdir()] == ([target] if there else [])
    assert before is None or load(f"local-dir:{before}", device="cpu").dim == 16


@pytest.mark.parametrize("path", ["~nosuchuser/saved", 3, None])
def test_what_is_no_path_is_named(clip, path):
    with pytest.raises(ValueError, match=r"^path: got .*, want a path"):
        clip.save(path)


def test_a_home_is_filled_in(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert clip.save("~/saved") == tmp_path / "saved"
    assert load("local-dir:~/saved", device="cpu").dim == 16
    assert os.listdir(tmp_path) == ["saved"]
