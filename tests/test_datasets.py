"""Labelled images: Twemoji's scenes, folders, CoOp splits, torchvision layouts, and bad input."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipnull import datasets
from clipnull.datasets import emoji
from clipnull.datasets.emoji import _png


def pixels(image):
    return np.asarray(image).astype(int)


def picture(path, colour="red", size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


# --- Twemoji -------------------------------------------------------------------------------


def test_default_is_classroom_in_eight_scenes():
    data = datasets.load("twemoji")
    assert 80 <= len(data.classes) <= 100 and "tiger" in data.classes
    assert len(data) == len(data.images) == 8 * len(data.classes)
    assert data.labels.dtype == torch.long and data.labels.tolist() == sorted(data.labels.tolist())
    assert data.scene.tolist() == [*range(8)] * len(data.classes)
    assert len(set(data.categories)) == 5
    assert max(data.categories.count(c) for c in data.categories) <= 20
    assert len(data.keywords) == len(data.classes)
    assert all("{}" in t for t in data.templates)


def test_classroom_follows_its_rule(monkeypatch):
    table = datasets.class_table()
    chosen = [table[i] for i in datasets.classroom()]
    assert all(c["label"].isalpha() and c["version"] <= 1 for c in chosen)
    longer = [dict(label="ab" + chr(97 + i), version=1, category="x") for i in range(26)]
    monkeypatch.setattr(emoji, "class_table", lambda: [*longer, dict(label="a b", version=1, category="y")])
    assert datasets.classroom() == [i * 26 // 20 for i in range(20)]


def test_every_class_can_be_drawn():
    data = datasets.load("twemoji", subset="all", scenes=1)
    assert len(data) == 853
    ink = [np.ptp(pixels(image)) for image in data.images]
    assert min(ink) > 30  # no blank picture


def test_an_image_is_rgb_of_the_size_asked_for():
    image, label = datasets.load("twemoji", subset=["tiger"], size=224)[0]
    assert image.size == (224, 224) and image.mode == "RGB" and label == 0
    for size in ((32, 32), (24, 32)):  # what a model with windows of that height and width has
        assert datasets.load("twemoji", subset=["tiger"], size=size).images[0].size == (32, 32)


def test_the_clean_scene_is_upright_and_centred_on_white():
    data = datasets.load("twemoji", subset=["basketball", "house"], scenes=1)
    assert len(data) == 2
    for image in data.images:
        x = pixels(image)
        edge = np.concatenate([x[:2].ravel(), x[-2:].ravel(), x[:, :2].ravel(), x[:, -2:].ravel()])
        assert (edge == 255).all()
    ball = (pixels(data.images[0]) < 250).any(2)
    rows, columns = np.nonzero(ball)
    assert abs(rows.mean() - 31.5) < 1 and abs(columns.mean() - 31.5) < 1


def test_a_scene_depends_on_seed_class_and_number_alone():
    alone = datasets.load("twemoji", subset=["tiger"], scenes=3)
    among = datasets.load("twemoji", subset="animals-nature", scenes=2)
    tiger = among.where("tiger")
    for scene in range(2):
        assert (pixels(alone.images[scene]) == pixels(among.images[int(tiger[scene])])).all()
    other = datasets.load("twemoji", subset=["tiger"], scenes=3, seed=1)
    assert (pixels(alone.images[0]) == pixels(other.images[0])).all()
    assert (pixels(alone.images[1]) != pixels(other.images[1])).any()
    assert (pixels(alone.images[1]) != pixels(alone.images[2])).any()


def test_drawing_twice_gives_the_same_picture():
    data = datasets.load("twemoji", subset=["tiger"])
    first = pixels(data.images[3])
    _png.cache_clear()
    assert (first == pixels(data.images[3])).all()


def test_subsets():
    animals = datasets.load("twemoji", subset="animals-nature", scenes=1)
    assert set(animals.categories) == {"animals-nature"} and len(animals) > 100
    few = datasets.load("twemoji", subset=["rose", "tiger"], scenes=2)
    assert few.classes == ["rose", "tiger"] and few.labels.tolist() == [0, 0, 1, 1]
    again = few.subset(["tiger"])
    assert again.classes == ["tiger"] and again.labels.tolist() == [0, 0] and again.scene.tolist() == [0, 1]
    assert (pixels(again.images[0]) == pixels(few.images[2])).all()
    assert few.subset([1, 0]).classes == ["tiger", "rose"]
    assert "tiger" in again.keywords[0] or again.keywords[0]


def test_images_take_masks_slices_and_lists():
    data = datasets.load("twemoji", subset=["rose", "tiger"], scenes=2)
    assert len(data.images[data.scene == 0]) == 2
    assert len(data.images[1:]) == 3 and len(data.images[[0, 3]]) == 2
    assert data.images[-1].size == (64, 64)
    assert len(list(data)) == 4 and [y for _, y in data] == [0, 0, 1, 1]


def test_it_is_a_dataset_for_torch():
    data = datasets.load("twemoji", subset=["rose", "tiger"], scenes=2)
    loader = torch.utils.data.DataLoader(data, batch_size=3, collate_fn=list)
    assert [len(batch) for batch in loader] == [3, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datasets.load("twemojo"), r"name: unknown data set 'twemojo'; the closest are 'twemoji'"),
        (lambda: datasets.load("folder:"), "name: unknown data set"),
        (lambda: datasets.load(3), "name: got 3"),
        (lambda: datasets.load("twemoji", scenes=0), "scenes: got 0"),
        (lambda: datasets.load("twemoji", scenes=True), "scenes: got True"),
        (lambda: datasets.load("twemoji", scenes="many"), "scenes: got 'many'"),
        (lambda: datasets.load("twemoji", scenes=[]), "scenes: got none, want at least one"),
        (lambda: datasets.load("twemoji", scenes=["blue"]), "scenes: got str, want a clipnull.Scene"),
        (
            lambda: datasets.load("twemoji", scenes=[datasets.Scene(beside="guitarr")]).images[0],
            "beside: unknown class 'guitarr'; the closest are 'guitar'",
        ),
        (lambda: datasets.load("twemoji", size=2), "size: got 2"),
        (lambda: datasets.load("twemoji", size=(32, 32, 3)), r"size: got \(32, 32, 3\)"),
        (lambda: datasets.load("twemoji", subset="animal"), "subset: got 'animal'.*animals-nature"),
        (
            lambda: datasets.load("twemoji", subset=["tigre"]),
            "subset: unknown class 'tigre'; the closest are 'tiger'",
        ),
        (lambda: datasets.load("twemoji", subset=[]), "subset: got no class"),
        (lambda: datasets.load("twemoji", split="test"), "split: 'twemoji' has no such option.*scenes"),
        (lambda: datasets.load("twemoji").subset([999]), "classes: class index 999 is out of range"),
        (lambda: datasets.load("twemoji").where("tigger"), "'tiger'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "name", ["~/pictures", "./a", "a/b", "a/split.json", Path("a") / "b", str(HERE), HERE.name]
)
def test_a_path_is_answered_with_its_spelling(name, monkeypatch):
    monkeypatch.chdir(HERE.parent)
    kind = "coop" if str(name).endswith(".json") else "folder"
    with pytest.raises(ValueError, match=rf"name: got the (file|folder) .*, want '{kind}:{name}'"):
        datasets.load(name)


def test_unknown_names_get_three_suggestions():
    with pytest.raises(ValueError) as caught:
        datasets.load("flower")
    assert str(caught.value).count("'") == 2 + 2 * 3


# --- the environment -----------------------------------------------------------------------


def test_the_environment_chooses_the_default(tmp_path, monkeypatch):
    for name in ("red_panda", "owl"):
        picture(tmp_path / name / "1.png")
    monkeypatch.setenv("CLIPNULL_DATA", f"folder:{tmp_path}")
    data = datasets.load(scenes=4, size=64, subset="classroom")  # a notebook's cell, on another set
    assert data.classes == ["owl", "red panda"] and len(data) == 2
    assert datasets.load("twemoji", scenes=1).name == "twemoji"
    monkeypatch.delenv("CLIPNULL_DATA")
    assert datasets.load(scenes=1).name == "twemoji"


# --- folders -------------------------------------------------------------------------------


def test_folder_layout(tmp_path):
    picture(tmp_path / "red_panda" / "a.png", "red")
    picture(tmp_path / "red_panda" / "deep" / "b.jpg", "red")
    picture(tmp_path / "owl" / "c.png", "blue", size=(7, 9))
    (tmp_path / "owl" / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "empty").mkdir()
    data = datasets.load(f"folder:{tmp_path}")
    assert data.classes == ["owl", "red panda"] and data.labels.tolist() == [0, 1, 1]
    assert data.images[0].size == (7, 9) and data.images[0].getpixel((0, 0)) == (0, 0, 255)
    assert data.templates == ["a photo of a {}."] and data.scene.tolist() == [0, 0, 0]
    assert data.categories == ["", ""] and data.keywords == [[], []] and data.descriptions is None
    assert datasets.load(f"folder:{tmp_path}", subset=["red panda"]).labels.tolist() == [0, 0]


def test_a_broken_image_is_named_or_skipped(tmp_path):
    picture(tmp_path / "owl" / "a.png")
    (tmp_path / "owl" / "b.png").write_bytes((tmp_path / "owl" / "a.png").read_bytes()[:50])
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data) == 2
    with pytest.raises(ValueError, match=r"image: cannot read '.*b\.png'"):
        data.images[1]
    with pytest.warns(
        UserWarning, match=r"images: 1 of 2 cannot be read and are skipped: .*b\.png \(data\.skipped\)$"
    ):
        kept = datasets.load(f"folder:{tmp_path}", on_error="skip")
    assert len(kept) == 1 and kept.skipped == [str(tmp_path / "owl" / "b.png")] and not data.skipped
    assert kept.images[0].size == (12, 10) and kept.loaded_with["on_error"] == "skip"
    (tmp_path / "owl" / "a.png").unlink()
    with pytest.raises(
        ValueError, match=r"on_error: none of the 1 images can be read, the first is .*b\.png"
    ):
        datasets.load(f"folder:{tmp_path}", on_error="skip")
    with pytest.raises(ValueError, match="on_error: got 'ignore', want one of raise, skip"):
        datasets.load(f"folder:{tmp_path}", on_error="ignore")


def test_labels_follow_the_images_that_are_left(tmp_path):
    for name, colours in {"cat": ["red", None, "red"], "dog": [None] * 12, "owl": ["blue"]}.items():
        for i, colour in enumerate(colours):
            path = tmp_path / name / f"{i:02d}.png"
            picture(path, colour or "white")
            if colour is None:
                path.write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"13 of 16 cannot be read .*dog.08\.png and 3 more \(data\.skipped\)"
    ):
        data = datasets.load(f"folder:{tmp_path}", on_error="skip")
    assert (
        data.classes == ["cat", "dog", "owl"]
        and data.labels.tolist() == [0, 0, 2]
        and len(data.skipped) == 13
    )
    assert [image.getpixel((0, 0)) for image in data.images] == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the other classes' broken images are nobody's business here
        assert len(datasets.load(f"folder:{tmp_path}", subset=["owl"], on_error="skip")) == 1


def test_hidden_files_are_no_pictures_and_links_are_followed(tmp_path):
    picture(tmp_path / "set" / "owl" / "a.PNG")
    (tmp_path / "set" / "owl" / "._a.PNG").write_bytes(b"what macOS leaves in archives")
    picture(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "set" / "tiger").symlink_to(tmp_path / "elsewhere")
    data = datasets.load(f"folder:{tmp_path / 'set'}")
    assert data.classes == ["owl", "tiger"] and data.labels.tolist() == [0, 1]


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert datasets.open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "<u2"), ("a.tiff", "<u2"), ("big-endian.tiff", ">u2"), ("a.pgm", ">u2")]
)
def test_sixteen_bits_of_grey_become_eight(name, kind, tmp_path):
    grey = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
    deep = (grey.astype(np.uint16) * 256 + 9).astype(kind)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(b"P5 4 3 65535\n" + deep.tobytes())
    else:
        Image.fromarray(deep).save(tmp_path / name)
    image = datasets.open_image(tmp_path / name)
    assert image.mode == "RGB" and (pixels(image) == grey[..., None]).all()


def test_transparent_sixteen_bit_grey_becomes_white(tmp_path):
    deep = np.array([[0, 300, 301]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png", transparency=300)
    assert pixels(datasets.open_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 255, 1]


def test_folders_that_are_not_there_or_empty(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        datasets.load(f"folder:{tmp_path}/nowhere")
    with pytest.raises(ValueError, match="no sub-folder with images"):
        datasets.load(f"folder:{tmp_path}")


# --- CoOp ----------------------------------------------------------------------------------


def test_coop_split(tmp_path):
    for name in ("rose", "fire_lily"):
        picture(tmp_path / "jpg" / f"{name}.jpg")
    rows = [["rose.jpg", 1, "rose"], ["fire_lily.jpg", 0, "fire_lily"]]
    split = tmp_path / "split_zhou_OxfordFlowers.json"
    split.write_text(json.dumps({"train": [], "val": [], "test": rows}))
    data = datasets.load(f"coop:{split}")
    assert data.classes == ["fire lily", "rose"] and data.labels.tolist() == [1, 0]
    assert data.templates == ["a photo of a {}, a type of flower."] and data.images[0].size == (12, 10)
    for path in (tmp_path / "jpg").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"name: 'coop:.*: no 'rose\.jpg' beside it, or one folder down"):
        datasets.load(f"coop:{split}")
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load(f"coop:{split}", split="nonsense")
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load(f"coop:{tmp_path}/missing.json")
