"""Loading, embedding and saving: shapes, invariance, what plain open_clip makes of a saved folder."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

import clipnull as cn
from clipnull.erasers import nullspace, random_subspace
from clipnull.model import fold, folded, loading, saving, sources, unfold
from clipnull.model.clip import Clip
from clipnull.model.loading import load

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SIGLIP = {
    "embed_dim": 96,
    "custom_text": True,
    "init_logit_bias": -10,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit3",
        "timm_pool": "map",
        "timm_proj": "none",
        "timm_model_pretrained": False,
    },
    "text_cfg": dict(TINY["text_cfg"], width=96, proj_type="none"),
}
NAMES = ["tiger", "house cat", "owl"]


def write_folder(path, config):
    """A random model as an open_clip folder."""
    path.mkdir()
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    (path / saving.CONFIG).write_text(text)
    torch.manual_seed(0)
    config = copy.deepcopy(config)
    cls = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    model = cls(**config)
    torch.nn.init.normal_(model.visual.attnpool.c_proj.bias) if hasattr(model.visual, "attnpool") else None
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path / saving.WEIGHTS)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "tiny", TINY)


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("models") / "siglip", SIGLIP)


@pytest.fixture
def clip(folder):
    return load(f"local-dir:{folder}", device="cpu")


@pytest.fixture
def small_rn50(monkeypatch):
    """Under the name RN50, a tiny one."""
    for module in (open_clip, open_clip.factory):
        monkeypatch.setattr(module, "get_model_config", lambda name: copy.deepcopy(TINY))


def pictures(n=7, size=(40, 36)):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]


def plain_features(folder, arrays):
    """What open_clip alone makes of a folder: unit image and text features."""
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    tokens = open_clip.get_tokenizer(name)(NAMES)
    with torch.no_grad():
        pixels = torch.stack([preprocess(Image.fromarray(a)) for a in arrays])
        return model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)


# --- loading -------------------------------------------------------------------------------


def test_importing_costs_no_open_clip():
    code = "import sys, clipnull; print(sorted({'open_clip', 'timm', 'matplotlib'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_load_a_folder(clip, folder):
    assert isinstance(clip, Clip) and cn.load is load
    assert (clip.dim, clip.image_size, clip.device.type) == (16, 32, "cpu")
    assert not clip.model.training and clip.receipt is None
    assert clip.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    Z, T = plain_features(folder, pictures())
    torch.testing.assert_close(clip.embed_images(pictures()), Z)
    torch.testing.assert_close(clip.embed_text(NAMES), T)
    assert repr(clip).startswith("Clip(local-dir:") and "16 dimensions, 32 px" in repr(clip)
    with folded(clip, random_subspace(16)):
        assert "folded: random on image" in repr(clip)


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(small_rn50):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = load("RN50", device="cpu", seed=1)
    assert torch.equal(torch.rand(3), want)
    two, three = load("RN50", device="cpu", seed=1), load("RN50", device="cpu", seed=2)
    weights = [c.model.visual.conv1.weight for c in (one, two, three)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert (one.dim, one.image_size) == (16, 32)


def test_the_environment_names_the_model(monkeypatch, folder):
    monkeypatch.setenv("CLIPNULL_MODEL", f"local-dir:{folder}")
    assert load(device="cpu").dim == 16
    seen = {}
    monkeypatch.setattr(sources, "find", lambda *a: seen.setdefault("asked", a) and 1 / 0)
    monkeypatch.setenv("CLIPNULL_MODEL", "ViT-B-32:laion2b_s34b_b79k")
    with pytest.raises(ZeroDivisionError):
        load()
    assert seen["asked"] == ("ViT-B-32", "laion2b_s34b_b79k")
    monkeypatch.setenv("CLIPNULL_MODEL", "ViT-B-32")
    with pytest.raises(ValueError, match=r"CLIPNULL_MODEL: got 'ViT-B-32', want NAME:TAG"):
        load()


def test_a_tag_is_fetched_and_loaded_with_its_own_transform(monkeypatch, folder, small_rn50):
    tag = {"mean": (0.1,) * 3, "std": (0.2,) * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    known, fetched = tag | {"hf_hub": "someone/model/"}, []
    monkeypatch.setattr(sources, "_reach", lambda repository, fetch: set())
    monkeypatch.setattr(
        open_clip, "get_pretrained_cfg", lambda name, asked: known if asked == "some_tag" else {}
    )
    monkeypatch.setattr(
        open_clip,
        "download_pretrained",
        lambda known: fetched.append(known) or str(folder / saving.WEIGHTS),
    )
    clip = load("RN50", "some_tag", device="cpu")
    assert fetched == [known] and clip.pretrained == "some_tag"
    cfg = clip.model.visual.preprocess_cfg
    assert {k: cfg[k] for k in tag} == tag and cfg["size"] == 32
    file = load("RN50", str(folder / saving.WEIGHTS), device="cpu")  # a file in place of a tag
    weight = load_file(folder / saving.WEIGHTS)["text_projection"]
    assert torch.equal(clip.model.text_projection, weight) and torch.equal(file.model.text_projection, weight)


# --- text ----------------------------------------------------------------------------------


def test_text_embeddings(clip):
    T = clip.embed_text(NAMES)
    assert T.shape == (3, 16) and T.dtype == torch.float32 and not T.requires_grad
    torch.testing.assert_close(T.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(clip.embed_text("owl"), T[2:])
    torch.testing.assert_close(clip.embed_text(NAMES, batch_size=1), T)
    T.clone().requires_grad_().sum().backward()  # not an inference tensor


def test_templates(clip):
    prompts = ["a photo of a {}.", "a drawing of a {}."]
    parts = [clip.embed_text([p.format(n) for n in NAMES]) for p in prompts]
    mean = F.normalize((parts[0] + parts[1]) / 2, dim=1)
    torch.testing.assert_close(clip.embed_text(NAMES, prompts), mean)
    torch.testing.assert_close(clip.embed_text(NAMES, prompts[0]), parts[0])
    mixed = [prompts[0], lambda name: f"a drawing of a {name}."]
    torch.testing.assert_close(clip.embed_text(NAMES, mixed), mean)
    simple = clip.embed_text(NAMES, list(open_clip.SIMPLE_IMAGENET_TEMPLATES))
    torch.testing.assert_close(clip.embed_text(NAMES, "simple"), simple)
    assert clip.embed_text("owl", "openai").shape == (1, 16)
    assert clip.embed_text("owl", open_clip.OPENAI_IMAGENET_TEMPLATES).shape == (1, 16)


def test_bad_text(clip):
    for templates in ("a photo", ["{}", "a photo"], ["{1}"], ["{name}"], [3]):
        with pytest.raises(ValueError, match=r"templates: .* has no place for the name"):
            clip.embed_text(NAMES, templates)
    with pytest.raises(ValueError, match="templates: got none"):
        clip.embed_text(NAMES, [])
    with pytest.raises(ValueError, match="names: got none"):
        clip.embed_text([])
    for names, templates in ((3, "{}"), (None, "{}"), ("owl", 3)):
        with pytest.raises(ValueError, match=r"(names|templates): got (3|None), want"):
            clip.embed_text(names, templates)
    for bad in (["owl", 3], ["owl", " "]):
        with pytest.raises(ValueError, match=r"names: got (3|' '), want text"):
            clip.embed_text(bad)


# --- images --------------------------------------------------------------------------------


class Pairs(torch.utils.data.Dataset):
    """A Dataset that, like many, never raises IndexError."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i % len(self.items)], i


def test_images_come_in_many_forms(clip, tmp_path):
    arrays = pictures(4)
    Z = clip.embed_images(arrays)
    assert Z.shape == (4, 16) and Z.dtype == torch.float32
    torch.testing.assert_close(Z.norm(dim=1), torch.ones(4))
    pil = [Image.fromarray(a) for a in arrays]
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for image, path in zip(pil, paths, strict=True):
        image.save(path)
    ready = [clip.preprocess(image) for image in pil]
    for images in (
        pil,
        paths,
        [str(p) for p in paths],
        np.stack(arrays),
        torch.from_numpy(np.stack(arrays)),
        ready,
        torch.stack(ready),
        (image for image in pil),
        [pil[0], paths[1], arrays[2], ready[3]],
        Pairs(pil),
        Pairs(ready),
        torch.utils.data.DataLoader(Pairs(ready), batch_size=3),
        cn.datasets.Images(Image.fromarray, arrays),
    ):
        torch.testing.assert_close(clip.embed_images(images), Z)
    for image in (pil[1], paths[1], arrays[1], ready[1]):
        torch.testing.assert_close(clip.embed_images(image), Z[1:2])


class Labelled:
    """Like a pandas Series: an index is looked up among its labels, not counted."""

    def __init__(self, items, labels):
        self.items = dict(zip(labels, items, strict=True))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, label):
        return self.items[label]

    def __iter__(self):
        return iter(self.items.values())


@pytest.mark.parametrize("labels", [[2, 0, 1], [5, 7, 9]])  # shuffled, filtered
def test_images_with_labels_keep_their_order(clip, labels):
    arrays = pictures(3)
    torch.testing.assert_close(clip.embed_images(Labelled(arrays, labels)), clip.embed_images(arrays))


def test_a_file_that_is_lost_while_reading_is_named(clip, tmp_path):
    def read():
        yield pictures(1)[0]
        yield Image.open(tmp_path / "lost.png")

    class Lost(Pairs):
        def __getitem__(self, i):
            raise OSError("the disk is gone")

    with pytest.raises(ValueError, match=r"images: cannot read .*lost\.png"):
        clip.embed_images(read())
    with pytest.raises(ValueError, match=r"images: cannot read 'item 0' \(the disk is gone\)"):
        clip.embed_images(Lost([1, 2]))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 256])
def test_rows_do_not_depend_on_the_batch_size(clip, batch_size):
    torch.testing.assert_close(clip.embed_images(pictures(), batch_size), clip.embed_images(pictures(), 2))


def test_transparent_parts_are_white_from_a_file_and_from_memory(clip, tmp_path):
    image = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (8, 8, 24, 24))
    image.save(tmp_path / "a.png")
    white = Image.new("RGB", (32, 32), "white")
    white.paste((0, 0, 255), (8, 8, 24, 24))
    want = clip.embed_images(white)
    torch.testing.assert_close(clip.embed_images(image), want)
    torch.testing.assert_close(clip.embed_images(tmp_path / "a.png"), want)


def test_sixteen_bits_of_grey_are_those_eight(clip, tmp_path):
    grey = pictures(1)[0][..., 0]
    want = clip.embed_images(Image.fromarray(grey))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    deep.save(tmp_path / "deep.png")
    for image in (deep, tmp_path / "deep.png", Image.open(tmp_path / "deep.png")):
        torch.testing.assert_close(clip.embed_images(image), want)


def test_bad_images(clip, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"cannot read .*broken\.png"):
        clip.embed_images([*pictures(1), tmp_path / "broken.png"])
    with pytest.raises(ValueError, match=r"cannot read .*absent\.png"):
        clip.embed_images(str(tmp_path / "absent.png"))
    Image.fromarray(pictures(1, (300, 300))[0]).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot read .*cut\.png"):
        clip.embed_images([Image.open(tmp_path / "cut.png")])
    with pytest.raises(ValueError, match="images: got none"):
        clip.embed_images([])
    with pytest.raises(ValueError, match=r"images: array 0 is float64 \(4, 4, 3\), want uint8"):
        clip.embed_images(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"images: tensor 0 has shape \(3, 8, 8\), want \(3, 32, 32\)"):
        clip.embed_images(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="images: the embedding of image 1 is NaN"):
        clip.embed_images([torch.zeros(3, 32, 32), torch.full((3, 32, 32), torch.nan)])
    with pytest.raises(ValueError, match="images: item 0 is a int"):
        clip.embed_images([3])
    with pytest.raises(ValueError, match="images: got a int"):
        clip.embed_images(3)
    with pytest.raises(ValueError, match="batch_size: got 0"):
        clip.embed_images(pictures(1), batch_size=0)


def test_progress_is_silent_here_and_shown_where_it_takes_long(clip, capsys, monkeypatch):
    clip.embed_images(pictures(2))
    assert capsys.readouterr() == ("", "")
    for name in ("PYTEST_CURRENT_TEST", "CLIPNULL_NO_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(clip, "preprocess", lambda image, how=clip.preprocess: time.sleep(1.1) or how(image))
    clip.embed_images(pictures(3), batch_size=1)
    out, err = capsys.readouterr()
    assert out == "" and "images" in err


# --- saving --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "siglip_folder"])
def test_open_clip_alone_loads_what_has_forgotten(kind, request, tmp_path):
    source = request.getfixturevalue(kind)
    clip = load(f"local-dir:{source}", device="cpu")
    arrays, T = pictures(3), clip.embed_text(NAMES)
    before = clip.embed_images(arrays)
    edit = nullspace(T[:1])
    fold(clip, edit, "both")
    want = clip.embed_images(arrays), clip.embed_text(NAMES)
    saved = clip.save(tmp_path / "unlearned")
    Z, T_after = plain_features(saved, arrays)
    torch.testing.assert_close(Z, want[0])
    torch.testing.assert_close(T_after[1:], want[1][1:])  # row 0 is rounding noise, normalised
    torch.testing.assert_close(Z, edit.apply_image(before, normalize=True), rtol=1e-4, atol=1e-5)
    assert (Z @ T[0]).abs().max() < 1e-5 < (before @ T[0]).abs().max()
    # saving leaves the fold in place, and unfolding gives the model of before
    torch.testing.assert_close(unfold(clip).embed_images(arrays), before)
    again = load(f"local-dir:{saved}", device="cpu")
    torch.testing.assert_close(again.embed_images(arrays), want[0])
    # the folder of before is no subset of this one: no original weight is left in it
    old, new = load_file(source / saving.WEIGHTS), load_file(saved / saving.WEIGHTS)
    assert not any("parametrizations" in key for key in new)
    if kind == "folder":
        assert list(new) == list(old)
        changed = {k for k in old if not torch.equal(old[k], new[k])}
        assert changed == {"text_projection", "visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias"}


def test_saving_unedited_gives_the_same_weights(clip, folder, tmp_path):
    saved = clip.save(tmp_path / "a" / "copy")
    old, new = load_file(folder / saving.WEIGHTS), load_file(saved / saving.WEIGHTS)
    assert old.keys() == new.keys() and all(torch.equal(old[k], new[k]) for k in old)
    config = json.loads((saved / saving.CONFIG).read_text())
    assert config["model_cfg"] == TINY
    assert config["preprocess_cfg"]["mean"] == [0.5] * 3


def test_receipt(clip, tmp_path):
    T = clip.embed_text(NAMES)
    edit = cn.consistent(T[:1], T[1:], lam=float("inf"), mu=10.0)
    report = cn.Case(T, T, range(len(T)), ["tiger"], NAMES).evaluate(edit)  # each name its own picture
    fold(clip, edit)
    saved = clip.save(tmp_path / "unlearned", report=report)
    receipt = json.loads((saved / saving.RECEIPT).read_text())
    assert receipt["classes"] == ["tiger"]
    (done,) = receipt["edits"]
    assert (done["side"], done["method"], done["dim"], done["rank"]) == ("image", "ccup", 16, 1)
    assert done["parameters"] == {k: v for k, v in edit.info.items() if k != "method"} | {"lam": "inf"}
    two, search = report.n_way[2], report.search
    assert receipt["report"] == {
        "title": report.title, "unit": "fraction",
        "forget_before": report.forget_before, "forget_after": report.forget_after,
        "retain_before": report.retain_before, "retain_after": report.retain_after,
        "two_way_before": two.before, "two_way_after": two.after,
        "search_before": search.before, "search_after": search.after,
        "certificate": {"tiger": float(cn.certificate(edit, T[:1], T[1:]))},
    }  # fmt: skip
    assert receipt["report"]["certificate"]["tiger"] > 0
    assert two.before > two.after and search.before > search.after
    assert {"clipnull", "torch", "open_clip_torch"} <= receipt["versions"].keys()
    assert receipt["date"][:2] == "20" and len(receipt["weights_sha256"]) == 64
    # edited again, the earlier receipt goes along
    again = load(f"local-dir:{saved}", device="cpu")
    assert again.receipt == receipt
    house = nullspace(T[1:2])
    fold(again, replace(house, info={**house.info, "classes": ["house cat"]}))
    later = json.loads((again.save(saved) / saving.RECEIPT).read_text())
    assert later["classes"] == ["house cat"] and later["earlier"] == receipt
    assert later["model"] == "local-dir:unlearned"  # not the folders that lead to it
    with pytest.raises(ValueError, match=r"report: got float, want a clipnull\.Report"):
        clip.save(tmp_path / "other", report=0.5)
    assert not (tmp_path / "other").exists()


def test_a_failure_leaves_no_half_folder(clip, tmp_path, monkeypatch):
    kept = clip.save(tmp_path / "kept")
    before = (kept / saving.RECEIPT).read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(saving, "_receipt", fail)
    for name in ("new", "kept"):
        with pytest.raises(OSError, match="disk full"):
            clip.save(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (kept / saving.RECEIPT).read_bytes() == before


def test_where_not_to_save(clip, folder, tmp_path):
    with pytest.raises(ValueError, match=r"was not written by Clip\.save, want a new folder"):
        clip.save(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"was not written by Clip\.save, want a new folder"):
        clip.save(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert (clip.save(tmp_path / "empty") / saving.WEIGHTS).is_file()
    bare = Clip(clip.model, clip.preprocess, clip.tokenizer)
    with pytest.raises(ValueError, match="came without open_clip's model_cfg"):
        bare.save(tmp_path / "bare")


def test_a_config_that_cannot_say_it_is_refused(clip, tmp_path, monkeypatch):
    state, _ = saving.merged_state(clip)
    changes = {"text_cfg": {"proj_bias": True}}
    monkeypatch.setattr(saving, "merged_state", lambda model: (state, changes))
    with pytest.raises(
        ValueError, match=r"does not read back as this model \(Error\(s\) in loading state_dict"
    ):
        clip.save(tmp_path / "odd")
    assert not list(tmp_path.iterdir())


# --- bad names and checkpoints -------------------------------------------------------------


def test_unknown_names_come_with_the_closest():
    with pytest.raises(ValueError, match=r"name: unknown model 'ViT-B32'; the closest are .*ViT-B-32"):
        load("ViT-B32")
    with pytest.raises(ValueError, match=r"name: unknown model 'pockt'; the closest are pocket"):
        load("pockt")
    with pytest.raises(
        ValueError, match=r"'laion2b' is neither a tag of ViT-B-32 nor a file; the closest are laion"
    ):
        load("ViT-B-32", "laion2b")
    with pytest.raises(ValueError, match=r"name: got 3"):
        load(3)


WAYS = "want 'local-dir:FOLDER', 'hf-hub:ORG/REPO', or a name of open_clip's with a tag or file as pretrained"


@pytest.mark.parametrize(
    "asked", ["models/mine", Path("models/mine"), "~/models", "openai/clip-vit-base-patch32"]
)
def test_a_path_or_a_repository_is_answered_with_the_ways_to_name_one(asked, monkeypatch):
    for arguments, argument in (((asked,), "name"), (("RN50", asked), "pretrained")):
        with pytest.raises(ValueError, match=rf"^{argument}: .*; the closest are .*{WAYS}$"):
            load(*arguments)
    monkeypatch.setenv("CLIPNULL_MODEL", str(asked))
    with pytest.raises(
        ValueError, match=rf"^CLIPNULL_MODEL: got .*, want NAME:TAG of open_clip's; else {WAYS}"
    ):
        load()


def test_a_path_object_is_as_good_as_its_text(folder, small_rn50):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load("RN50", folder / saving.WEIGHTS, device="cpu").dim == 16


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("local-dir:~nosuchuser/x",), "name: got '~nosuchuser/x', want a path"),
        (("local-dir:a\0b",), "name: got .*, want a path .it holds NUL"),
        ((f"local-dir:{'a' * 300}",), "name: no open_clip_config.json in 'aaa.*', want a folder"),
        (("local-dir:epoch_4.pt",), "name: no .* in 'epoch_4.pt', want .*; a file goes into load.NAME, FILE"),
        (("RN50", "~nosuchuser/x.pt"), "pretrained: got '~nosuchuser/x.pt', want a path"),
        (("RN50", 3), "pretrained: got 3, want a text"),
    ],
)
def test_what_is_no_place_is_named(arguments, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        load(*arguments)


@pytest.mark.parametrize("config", [None, {"model_type": "chinese_clip"}, {"peft_type": "LORA"}])
def test_a_folder_without_a_config_says_what_is_wanted(config, tmp_path):
    (tmp_path / "epoch_1.pt").touch()
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    said = r"name: no open_clip_config\.json in .*, want .* transformers CLIPModel .*merge_and_unload.*load\(NAME, F"
    with pytest.raises(ValueError, match=said):
        load(f"local-dir:{tmp_path}")


def broken_configs():
    """Texts that are no config, by what is wrong with them."""
    for section, values in {
        "model_cfg": [
            None,
            [],
            3,
            "x",
            {},
            {"embed_dim": 16},
            {**TINY, "text_cfg": None},
            {**TINY, "vision_cfg": [1]},
        ],
        "preprocess_cfg": [
            "x",
            {"mean": "x"},
            {"resize_mode": "x"},
            {"std": [0] * 3},
            {"interpolation": 3},
        ],
    }.items():
        for value in values:
            yield json.dumps({"model_cfg": TINY} | {section: value})
    for key, value in {
        "embed_dim": "x",
        "unknown": 1,
        "force_image_size": 48,
        "text_cfg": {"context_length": "x"},
    }.items():
        yield json.dumps({"model_cfg": {**TINY, key: value}})
    yield from ("", "{", "[]", "null", "3", "[" * 100_000, '{"model_cfg":' * 5000, "\x00")


@pytest.mark.filterwarnings("ignore:.*no preprocess_cfg")
@pytest.mark.parametrize("text", [*broken_configs()], ids=lambda text: text[:40])
def test_a_broken_config_names_its_folder(text, folder, tmp_path):
    (tmp_path / saving.CONFIG).write_text(text)
    (tmp_path / saving.WEIGHTS).write_bytes((folder / saving.WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match=rf"(name|pretrained): .*{tmp_path.name}"):
        load(f"local-dir:{tmp_path}", device="cpu")
    (tmp_path / saving.CONFIG).rename(tmp_path / "config.json")
    with pytest.raises(ValueError, match=rf"(name|pretrained): .*{tmp_path.name}"):
        load(f"local-dir:{tmp_path}", device="cpu")


# --- models that are none ------------------------------------------------------------------


class OpenAIs(torch.nn.Module):
    """As the package clip has it: no normalize, no image_size."""

    def __init__(self):
        super().__init__()
        self.visual, self.logit_scale = torch.nn.Linear(2, 2), torch.nn.Parameter(torch.ones(()))

    def encode_image(self, image):
        return image

    encode_text = encode_image


OpenAIs.__module__, OpenAIs.__qualname__ = "clip.model", "CLIP"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (OpenAIs(), r"model\.visual: got Linear, want what has image_size"),
        (
            torch.nn.DataParallel(OpenAIs()),
            "model: got DataParallel, want what has encode_image, encode_text",
        ),
        (torch.nn.Linear(2, 2), "model: got Linear, want what has"),
        (None, "model: got NoneType, want what has"),
    ],
)
def test_what_is_no_open_clip_model_is_refused_by_name(model, said, clip):
    with pytest.raises(ValueError, match=f"^{said}"):
        Clip(model, clip.preprocess, clip.tokenizer)


def test_every_tag_of_open_clip_gets_its_preprocessing_and_activation(monkeypatch):
    fetched = []
    monkeypatch.setattr(open_clip, "download_pretrained", lambda known: fetched.append(known) or "f")
    monkeypatch.setattr(sources, "_reach", lambda repository, fetch: set())
    for name, tag in open_clip.list_pretrained():
        source = sources.find(name, tag)
        said = (open_clip.get_model_config(name), fetched[-1])  # a tag may lack what its config says
        assert source.config["quick_gelu"] == any(cfg.get("quick_gelu", False) for cfg in said)
        assert source.checkpoint == Path("f") and source.preprocess["mean"] == fetched[-1]["mean"]
    assert sources.find("ViT-B-32", "openai").config["quick_gelu"]
    with pytest.raises(ValueError, match=r"'laion2b_s34b_b79k' is neither a tag of ViT-B-32-quickgelu nor"):
        load("ViT-B-32-quickgelu", "laion2b_s34b_b79k")


def test_a_tag_decides_on_the_activation(monkeypatch, folder, small_rn50):
    tag = {"quick_gelu": True, "mean": (0.1,) * 3, "hf_hub": "someone/model/"}
    monkeypatch.setattr(sources, "_reach", lambda repository, fetch: set())
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, asked: tag if name == "RN50" else {})
    weights = str(folder / saving.WEIGHTS)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda known: weights)
    clip = load("RN50", "some_tag", device="cpu")
    kinds = {type(m).__name__ for m in clip.model.modules()}
    assert "QuickGELU" in kinds and "GELU" not in kinds and clip.config["quick_gelu"]


@pytest.fixture
def no_network(monkeypatch):
    """No host has an address; the hosts that were asked for."""
    asked = []

    def fail(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    yield asked


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache folder of the Hugging Face hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("ViT-B-32", "laion2b_s34b_b79k"), "ViT-B-32, laion2b_s34b_b79k"),
        (("hf-hub:someone/model",), "hf-hub:someone/model"),
    ],
)
def test_no_network_is_one_sentence_soon(no_network, hub_cache, arguments, what):
    with pytest.raises(
        ValueError, match=f"^pretrained: {what} is not in the cache folder .*could not be fetched .*; want"
    ) as e:
        load(*arguments)
    assert str(hub_cache) in str(e.value) and "\n" not in str(e.value)
    assert set(no_network) == {"huggingface.co"} and len(no_network) <= 4  # no retries


def test_a_tag_in_the_cache_folder_needs_no_network(no_network, folder, hub_cache, monkeypatch, small_rn50):
    known = {**open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: known if name == "RN50" else {})
    with pytest.raises(ValueError, match="not in the cache folder"):
        loading.check_here("RN50", "some_tag")
    saved = hub_cache / ("models--" + known["hf_hub"].strip("/").replace("/", "--"))
    (saved / "refs").mkdir(parents=True)
    (saved / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, saved / "snapshots" / ("0" * 40))
    loading.check_here("RN50", "some_tag")
    assert not no_network
    clip = load("RN50", "some_tag", device="cpu")
    weight = load_file(folder / saving.WEIGHTS)["text_projection"]
    assert torch.equal(clip.model.text_projection, weight) and not no_network


def test_threads_in_load_leave_everything_as_it_was(folder, small_rn50):
    from huggingface_hub import constants

    def state():
        return (
            dict(os.environ), logging.root.manager.disable, constants.HF_HUB_OFFLINE,
            torch.get_default_dtype(), torch.get_rng_state().tolist(),
        )  # fmt: skip

    ways = ["RN50", "RN50", f"local-dir:{folder}"]

    def weights(i):
        return load(ways[i % 3], device="cpu", seed=i % 3).model.text_projection

    want, before = [weights(i) for i in range(3)], state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(weights, range(12)))
    assert state() == before and not torch.equal(want[0], want[1])
    assert all(torch.equal(found[i], want[i % 3]) for i in range(12))


def test_a_model_in_the_cache_folder_needs_no_network(no_network, folder, hub_cache):
    saved = hub_cache / "models--someone--model"
    (saved / "refs").mkdir(parents=True)
    (saved / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, saved / "snapshots" / ("0" * 40))
    clip = load("hf-hub:someone/model", device="cpu")
    want = load(f"local-dir:{folder}", device="cpu").embed_text(NAMES)
    torch.testing.assert_close(clip.embed_text(NAMES), want)


def test_a_refusal_of_the_network_is_reported(monkeypatch):
    def fail(known):
        raise OSError("404: no such file\nwith\na\nlong\ntale")

    monkeypatch.setattr(sources, "_reach", lambda repository, fetch: set())
    monkeypatch.setattr(open_clip, "download_pretrained", fail)
    with pytest.raises(ValueError, match=r"could not be fetched \(404: no such file with\); want") as error:
        load("ViT-B-32", "laion2b_s34b_b79k")
    assert "\n" not in str(error.value)


def test_checkpoints_that_do_not_fit(folder, tmp_path):
    wide = {**TINY, "embed_dim": 24}
    (tmp_path / saving.CONFIG).write_text(json.dumps({"model_cfg": wide}))
    with pytest.raises(ValueError, match="name: no weights in"):
        load(f"local-dir:{tmp_path}")
    weights = (folder / saving.WEIGHTS).read_bytes()
    (tmp_path / saving.WEIGHTS).write_bytes(weights)
    with pytest.raises(ValueError, match=r"pretrained: the checkpoint '.*' does not fit its config"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / saving.WEIGHTS).write_bytes(weights[:1000])
    with pytest.raises(ValueError, match=r"name: .*cannot be read .*; want it copied"):
        load(f"local-dir:{tmp_path}")
    (tmp_path / saving.CONFIG).write_text("{}")
    with pytest.raises(ValueError, match="is no config of open_clip"):
        load(f"local-dir:{tmp_path}")
    with pytest.raises(ValueError, match=r"name: no open_clip_config\.json in"):
        load("local-dir:/nowhere")
    with pytest.raises(ValueError, match=r"pretrained: got 'openai', but local-dir:.* has its own weights"):
        load(f"local-dir:{folder}", "openai")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_is_unpickled(tmp_path):
    (tmp_path / saving.CONFIG).write_text(json.dumps({"model_cfg": TINY}))
    for write in (
        lambda p: torch.save({"state_dict": Trap()}, p),
        lambda p: p.write_bytes(pickle.dumps(Trap())),
    ):
        write(tmp_path / "open_clip_pytorch_model.bin")
        with pytest.raises(ValueError, match="cannot be read without unpickling"):
            load(f"local-dir:{tmp_path}")


def test_other_bad_arguments(folder):
    with pytest.raises(ValueError, match="precision: got 'fp8', want one of fp32"):
        load(precision="fp8")
    with pytest.raises(ValueError, match="device: got 'toaster'"):
        load(device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device: got 'cuda'"):
            load(device="cuda")


@pytest.mark.parametrize("precision", loading.PRECISIONS)
def test_every_precision_embeds_folds_and_saves(folder, precision, tmp_path):
    full = load(f"local-dir:{folder}", device="cpu")
    clip = load(f"local-dir:{folder}", device="cpu", precision=precision)
    tolerance = {"fp32": 1e-6, "fp16": 5e-3, "pure_fp16": 5e-3}.get(precision, 4e-2)
    Z, T = full.embed_images(pictures(2)), full.embed_text(NAMES)
    for got, want in ((clip.embed_images(pictures(2)), Z), (clip.embed_text(NAMES), T)):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance)
        torch.testing.assert_close(got.norm(dim=1), torch.ones(len(got)))
    edit = nullspace(T[:1])
    fold(clip, edit)
    after = clip.embed_images(pictures(2))
    torch.testing.assert_close(after, edit.apply_image(Z, normalize=True), rtol=0, atol=2 * tolerance)
    saved = load(f"local-dir:{clip.save(tmp_path / 'saved')}", device="cpu", precision=precision)
    torch.testing.assert_close(saved.embed_images(pictures(2)), after)
