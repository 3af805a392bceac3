"""Labelled images: Twemoji's scenes, folders, CoOp splits, torchvision layouts, and bad input."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from clipnull import datasets


def pixels(image):
    return np.asarray(image).astype(int)


def picture(path, colour="red", size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


# --- Twemoji -------------------------------------------------------------------------------


def test_default_is_classroom_in_four_scenes():
    data = datasets.load("twemoji")
    assert 80 <= len(data.classes) <= 100 and "tiger" in data.classes
    assert len(data) == len(data.images) == 4 * len(data.classes)
    assert data.labels.dtype == torch.long and data.labels.tolist() == sorted(data.labels.tolist())
    assert data.scene.tolist() == [0, 1, 2, 3] * len(data.classes)
    assert len(set(data.categories)) == 5
    assert max(data.categories.count(c) for c in data.categories) <= 20
    assert len(data.keywords) == len(data.subcategories) == len(data.classes)
    assert all("{}" in t for t in data.templates)


def test_classroom_follows_its_rule():
    table = datasets.class_table()
    chosen = [table[i] for i in datasets.classroom()]
    assert all(c["label"].isalpha() and c["version"] <= 1 for c in chosen)
    longer = [dict(label="ab" + chr(97 + i), version=1, category="x") for i in range(26)]
    assert datasets.classroom(longer) == [i * 26 // 20 for i in range(20)]
    assert datasets.classroom([dict(label="two words", version=1, category="x")]) == []


def test_every_class_can_be_drawn():
    data = datasets.load("twemoji", subset="all", scenes=1)
    assert len(data) == 853
    ink = [np.ptp(pixels(image)) for image in data.images]
    assert min(ink) > 30  # no blank picture


def test_an_image_is_rgb_of_the_size_asked_for():
    image, label = datasets.load("twemoji", subset=["tiger"], size=224)[0]
    assert image.size == (224, 224) and image.mode == "RGB" and label == 0
    assert datasets.load("twemoji", subset=["tiger"], size=(32, 32)).images[0].size == (32, 32)


def test_the_clean_scene_is_upright_and_centred_on_white():
    data = datasets.load("twemoji", subset=["basketball", "house"], scenes="clean")
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
    datasets._png.cache_clear()
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
        (lambda: datasets.load("cifar11"), r"'cifar10'"),
        (lambda: datasets.load("folder:"), "name: unknown data set"),
        (lambda: datasets.load(3), "name: got 3"),
        (lambda: datasets.load("twemoji", scenes=0), "scenes: got 0"),
        (lambda: datasets.load("twemoji", scenes="many"), "scenes: got 'many'"),
        (lambda: datasets.load("twemoji", size=2), "size: got 2"),
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
    assert data.categories == ["", ""] and data.keywords == [[], []]
    assert datasets.load(f"folder:{tmp_path}", subset=["red panda"]).labels.tolist() == [0, 0]


def test_a_broken_image_is_named_or_skipped(tmp_path):
    picture(tmp_path / "owl" / "a.png")
    (tmp_path / "owl" / "b.png").write_bytes((tmp_path / "owl" / "a.png").read_bytes()[:50])
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data) == 2
    with pytest.raises(ValueError, match=r"image: cannot read '.*b\.png'"):
        data.images[1]
    assert len(datasets.load(f"folder:{tmp_path}", skip_broken=True)) == 1


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert datasets.open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


def test_folders_that_are_not_there_or_empty(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        datasets.load(f"folder:{tmp_path}/nowhere")
    with pytest.raises(ValueError, match="no sub-folder with readable images"):
        datasets.load(f"folder:{tmp_path}")


# --- CoOp and torchvision ------------------------------------------------------------------


def test_coop_split(tmp_path):
    for name in ("rose", "fire_lily"):
        picture(tmp_path / "jpg" / f"{name}.jpg")
    rows = [["rose.jpg", 1, "rose"], ["fire_lily.jpg", 0, "fire_lily"]]
    split = tmp_path / "split_zhou_OxfordFlowers.json"
    split.write_text(json.dumps({"train": [], "val": [], "test": rows}))
    data = datasets.load(f"coop:{split}")
    assert data.classes == ["fire lily", "rose"] and data.labels.tolist() == [1, 0]
    assert data.templates == ["a photo of a {}, a type of flower."] and data.images[0].size == (12, 10)
    with pytest.raises(ValueError, match=r"root: no 'rose\.jpg'"):
        datasets.load(f"coop:{split}", root=tmp_path)
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load(f"coop:{split}", split="nonsense")
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load(f"coop:{tmp_path}/missing.json")


def test_caltech_has_the_names_of_the_protocol(tmp_path):
    for name in ("BACKGROUND_Google", "Faces", "Faces_easy", "airplanes", "crocodile_head"):
        picture(tmp_path / "caltech101" / "101_ObjectCategories" / name / "image_0001.jpg")
    data = datasets.load("caltech101", root=tmp_path)
    assert data.classes == ["face", "airplane", "crocodile head"] and data.labels.tolist() == [0, 1, 2]
    assert data.images[2].size == (12, 10)
    assert datasets.load(f"caltech101:{tmp_path}").classes == data.classes


def test_pets_and_food_from_their_layouts(tmp_path):
    pets = tmp_path / "oxford-iiit-pet"
    picture(pets / "images" / "Abyssinian_1.jpg")
    picture(pets / "images" / "american_bulldog_2.jpg")
    (pets / "annotations").mkdir()
    (pets / "annotations" / "test.txt").write_text("Abyssinian_1 1 1 1\namerican_bulldog_2 2 2 1\n")
    data = datasets.load("pets", root=tmp_path)
    assert data.classes == ["Abyssinian", "American Bulldog"] and data.split == "test"
    food = tmp_path / "food-101"
    picture(food / "images" / "apple_pie" / "1.jpg")
    (food / "meta").mkdir()
    (food / "meta" / "test.json").write_text(json.dumps({"apple_pie": ["apple_pie/1"]}))
    assert datasets.load("food101", root=tmp_path).classes == ["apple pie"]


def test_cars_put_the_year_first():
    assert datasets._car_name("Spyker C8 Coupe 2009") == "2009 Spyker C8 Coupe"
    assert datasets._car_name("smart") == "smart"


@pytest.mark.parametrize(
    "name", ["caltech101", "flowers102", "pets", "cars", "cifar10", "cifar100", "food101"]
)
def test_a_missing_set_says_what_to_do(name, tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=f"name: cannot load '{name}'.*root=.*download=True"):
            datasets.load(name, root=root)
    assert not (tmp_path / "nowhere").exists()
