"""The sets of the literature, each on a small copy in the layout that it has on a disk."""

from __future__ import annotations

import hashlib
import json
import pickle

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from clipnull import datasets
from clipnull import model as models
from clipnull.datasets.folders import imagenet_names
from clipnull.datasets.pictures import open_stored
from clipnull.model.inputs import known

PHOTO = ["a photo of a {}."]
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


def picture(path, colour="red", size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def colour(image):
    """The name of a one-coloured picture's colour, whatever JPEG made of it."""
    mean = np.asarray(image, dtype=float).mean((0, 1))
    return min(COLOURS, key=lambda name: np.abs(mean - COLOURS[name]).sum())


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def colours_of(data):
    return {data.classes[y]: colour(image) for image, y in data}


def assert_lazy(data):
    """Paths, which the feature cache can tell apart, and no pixels."""
    assert data.images.read is open_stored
    assert all(isinstance(item, str) for item in data.images.items)
    assert known(data.images) == data.images.items


# --- torchvision's -------------------------------------------------------------------------


def test_caltech101(tmp_path):
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    names = {
        "BACKGROUND_Google": "lime", "Faces": "red", "Faces_easy": "lime", "Leopards": "blue",
        "Motorbikes": "red", "airplanes": "blue", "crocodile_head": "red",
    }  # fmt: skip
    for name, shown in names.items():
        for i in (1, 2):
            picture(folder / name / f"image_{i:04d}.jpg", shown)
            (tmp_path / "caltech101" / "Annotations" / name).mkdir(parents=True, exist_ok=True)
    data = datasets.load("caltech101", root=tmp_path)
    assert data.classes == ["face", "leopard", "motorbike", "airplane", "crocodile head"]
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4] and data.templates == PHOTO
    assert colours_of(data) == dict(zip(data.classes, ["red", "blue", "red", "blue", "red"], strict=True))
    assert data.images.items[1] == str(folder / "Faces" / "image_0002.jpg")
    assert datasets.load(f"caltech101:{tmp_path}").classes == data.classes
    with pytest.raises(ValueError, match="split: got 'train', but Caltech-101 has none; want CoOp's"):
        datasets.load("caltech101", root=tmp_path, split="train")
    assert_lazy(data)


@pytest.mark.parametrize("folder", [".", "caltech101", "caltech-101"])
@pytest.mark.parametrize("background", [True, False])
def test_caltech101_as_it_is_unpacked(tmp_path, folder, background):
    """Whatever its folder is called, with a Mac's files in it, with or without pictures of no class."""
    categories = tmp_path / folder / "101_ObjectCategories"
    for name in ["Faces", "Faces_easy", "ant", *(["BACKGROUND_Google"] if background else [])]:
        picture(categories / name / "image_0002.jpg", "blue" if name == "ant" else "red")
    for place in (categories, categories / "ant"):
        (place / ".DS_Store").write_bytes(b"Bud1")
        (place / "._image_0001.jpg").write_bytes(b"a Mac's")
    data = datasets.load("caltech101", root=tmp_path)
    assert data.classes == ["face", "ant"] and colours_of(data) == {"face": "red", "ant": "blue"}
    assert_lazy(data)


def test_torchvision_s_caltech101_goes_before_another(tmp_path):
    picture(tmp_path / "caltech-101" / "101_ObjectCategories" / "bee" / "image_0001.jpg")
    picture(tmp_path / "caltech101" / "101_ObjectCategories" / "ant" / "image_0001.jpg")
    assert datasets.load("caltech101", root=tmp_path).classes == ["ant"]


def test_caltech101_without_pictures_says_so(tmp_path):
    (tmp_path / "101_ObjectCategories" / "ant").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"'folder:.*101_ObjectCategories' has no sub-folder with images"):
        datasets.load("caltech101", root=tmp_path)


def test_flowers102(tmp_path, monkeypatch):
    import torchvision.datasets

    names = torchvision.datasets.Flowers102.classes
    wanted = ["gazania", "tree mallow", "trumpet creeper"]
    folder = tmp_path / "flowers-102"
    shown = ["red", "lime", "blue", "red"]
    for i, c in enumerate(shown, 1):
        picture(folder / "jpg" / f"image_{i:05d}.jpg", c)
    labels = [names.index(name) + 1 for name in [*wanted, wanted[0]]]
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    ids = {"trnid": [[4, 2]], "valid": [[4, 1]], "tstid": [[1, 2, 3]]}
    scipy.io.savemat(folder / "setid.mat", {k: np.array(v, dtype=np.uint16) for k, v in ids.items()})
    with pytest.raises(ValueError, match="cannot load 'flowers102'"):  # not the files that torchvision knows
        datasets.load("flowers102", root=tmp_path)
    known = dict(torchvision.datasets.Flowers102._file_dict)
    for key in ("label", "setid"):
        file = known[key][0]
        known[key] = (file, hashlib.md5((folder / file).read_bytes()).hexdigest())
    monkeypatch.setattr(torchvision.datasets.Flowers102, "_file_dict", known)
    data = datasets.load("flowers102", root=tmp_path)
    assert len(data.classes) == 102 and data.templates == ["a photo of a {}, a type of flower."]
    assert colours_of(data) == dict(zip(wanted, shown[:3], strict=True)) and data.split == "test"
    assert len(datasets.load("flowers102", root=tmp_path, split="val")) == 2
    few = datasets.load("flowers102", root=tmp_path, subset=["trumpet creeper"])
    assert few.labels.tolist() == [0] and colour(few.images[0]) == "blue"
    assert_lazy(data)


def test_pets(tmp_path):
    folder = tmp_path / "oxford-iiit-pet"
    for name, c in {"Abyssinian_201": "red", "american_bulldog_203": "blue", "Abyssinian_1": "lime"}.items():
        picture(folder / "images" / f"{name}.jpg", c)
        picture(folder / "annotations" / "trimaps" / f"{name}.png")
    write(folder / "annotations" / "test.txt", "Abyssinian_201 1 1 1\namerican_bulldog_203 2 2 1\n")
    write(folder / "annotations" / "trainval.txt", "Abyssinian_1 1 1 1\n")
    data = datasets.load("pets", root=tmp_path)
    assert (
        data.classes == ["Abyssinian", "American Bulldog"]
        and data.split == "test"
        and data.templates == PHOTO
    )
    assert colours_of(data) == {"Abyssinian": "red", "American Bulldog": "blue"}
    assert colour(datasets.load("pets", root=tmp_path, split="trainval").images[0]) == "lime"
    assert_lazy(data)


@pytest.fixture
def cars(tmp_path):
    """The folder of three cars as torchvision keeps them."""
    folder = tmp_path / "stanford_cars"
    names = ["AM General Hummer SUV 2000", "Spyker C8 Coupe 2009", "smart"]
    cells = np.empty((1, len(names)), dtype=object)
    cells[0, :] = names
    (folder / "devkit").mkdir(parents=True)
    scipy.io.savemat(folder / "devkit" / "cars_meta.mat", {"class_names": cells})
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    rows = [(1, 1, 9, 9, 2, "00001.jpg"), (1, 1, 9, 9, 3, "00002.jpg"), (1, 1, 9, 9, 1, "00003.jpg")]
    table = np.array(rows, dtype=[(f, object) for f in fields])
    scipy.io.savemat(folder / "devkit" / "cars_train_annos.mat", {"annotations": table[:2]})
    scipy.io.savemat(folder / "cars_test_annos_withlabels.mat", {"annotations": table})
    for row, c in zip(rows, COLOURS, strict=True):
        picture(folder / "cars_test" / row[-1], c)
        picture(folder / "cars_train" / row[-1], "lime")
    return folder


def test_cars(cars):
    data = datasets.load("cars", root=cars.parent)
    assert data.classes == ["2000 AM General Hummer SUV", "2009 Spyker C8 Coupe", "smart"]
    assert data.labels.tolist() == [1, 2, 0] and data.templates == PHOTO
    assert [colour(image) for image in data.images] == list(COLOURS)
    assert set(colours_of(datasets.load("cars", root=cars.parent, split="train"))) == set(data.classes[1:])
    assert datasets.load(f"cars:{cars.parent}").images.items == data.images.items
    assert_lazy(data)


@pytest.mark.parametrize("fault", ["no table", "another table", "no pictures"])
def test_cars_that_are_not_whole(cars, fault):
    table = cars / "cars_test_annos_withlabels.mat"
    if fault == "no table":
        table.write_bytes(b"<!DOCTYPE html>")
    elif fault == "another table":
        (cars / "devkit" / "cars_meta.mat").rename(table)
    else:
        (cars / "cars_test").rename(cars / "elsewhere")
    with pytest.raises(ValueError, match=r"cannot load 'cars'.*as torchvision keeps it"):
        datasets.load("cars", root=cars.parent)


def cifar_rows(shown):
    """As in the file: a row an image, its red plane first."""
    return np.stack([np.repeat(np.array(COLOURS[c], dtype=np.uint8), 1024) for c in shown])


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar10(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder, names = tmp_path / CIFAR10.base_folder, ["airplane", "automobile", "bird"]
    parts = {f"data_batch_{i}": (["red"], [0]) for i in range(1, 6)} | {
        "test_batch": (["blue", "lime"], [2, 1])
    }
    sums = {
        file: dump(folder / file, {"data": cifar_rows(shown), "labels": y, "batch_label": file})
        for file, (shown, y) in parts.items()
    }
    meta = dump(folder / "batches.meta", {"label_names": names, "num_vis": 3072})
    monkeypatch.setattr(CIFAR10, "train_list", [[f, sums[f]] for f, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta})
    data = datasets.load("cifar10", root=tmp_path)
    assert data.classes == names and data.labels.tolist() == [2, 1] and data.templates == PHOTO
    assert colours_of(data) == {"bird": "blue", "automobile": "lime"} and data.images[0].size == (32, 32)
    assert len(datasets.load("cifar10", root=tmp_path, split="train")) == 5
    assert len(datasets.load("cifar10", root=tmp_path, on_error="skip")) == 2
    assert known(data.images) is data.images.items
    with pytest.raises(ValueError, match="split: got 'val', want one of train, test"):
        datasets.load("cifar10", root=tmp_path, split="val")
    (folder / "test_batch").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="cannot load 'cifar10'"):
        datasets.load("cifar10", root=tmp_path)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_cifar100(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    folder, names = tmp_path / CIFAR100.base_folder, ["apple", "aquarium_fish"]
    sums = {
        file: dump(
            folder / file,
            {"data": cifar_rows(["red", "blue"]), "fine_labels": [1, 0], "coarse_labels": [0, 0]},
        )
        for file in ("train", "test")
    }
    meta = dump(folder / "meta", {"fine_label_names": names, "coarse_label_names": ["food"]})
    for part in ("train", "test"):
        monkeypatch.setattr(CIFAR100, f"{part}_list", [[part, sums[part]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": meta})
    data = datasets.load("cifar100", root=tmp_path)
    assert data.classes == ["apple", "aquarium fish"] and data.templates == PHOTO
    assert colours_of(data) == {"aquarium fish": "red", "apple": "blue"}


def test_food101(tmp_path):
    folder = tmp_path / "food-101"
    for name, c in {"apple_pie/1005649": "red", "beet_salad/1011328": "blue"}.items():
        picture(folder / "images" / f"{name}.jpg", c)
    for split in ("train", "test"):
        listed = {"apple_pie": ["apple_pie/1005649"], "beet_salad": ["beet_salad/1011328"]}
        write(folder / "meta" / f"{split}.json", json.dumps(listed))
    data = datasets.load("food101", root=tmp_path)
    assert data.classes == ["apple pie", "beet salad"] and data.templates == PHOTO
    assert colours_of(data) == {"apple pie": "red", "beet salad": "blue"}
    assert_lazy(data)


# --- layouts of their own ------------------------------------------------------------------


def test_imagenet_is_a_folder(tmp_path):
    wnids = {"n01440764": "red", "n02123045": "blue", "n03773504": "lime"}
    for wnid, c in wnids.items():
        picture(tmp_path / "val" / wnid / "ILSVRC2012_val_00000001.JPEG", c)
        picture(tmp_path / "train" / wnid / f"{wnid}_1.JPEG", "lime")
    data = datasets.load(f"folder:{tmp_path}", split="val")
    assert data.classes == ["tench", "tabby cat", "missile"] and len(data) == 3
    assert [colour(image) for image in data.images] == list(wnids.values())
    with pytest.raises(ValueError, match="ImageNet too, is folder:PATH"):
        datasets.load("imagenet", root=tmp_path)


def test_imagenet_names_follow_the_wordnet_ids():
    table = imagenet_names()
    assert len(table) == 1000 and list(table) == sorted(table)
    known = {
        "n01443537": "goldfish",
        "n02099601": "Golden Retriever",
        "n07873807": "pizza",
        "n15075141": "toilet paper",
    }
    assert {wnid: table[wnid] for wnid in known} == known


DOGS = {"n02085620-Chihuahua": "red", "n02086079-Pekinese": "blue", "n02113624-toy_poodle": "lime"}


@pytest.fixture
def dogs(tmp_path):
    folder = tmp_path / "stanford_dogs"
    for breed, c in DOGS.items():
        for k in (1, 2):
            picture(folder / "Images" / breed / f"{breed[:9]}_{k}.jpg", c)
        write(folder / "Annotation" / breed / f"{breed[:9]}_1", "<annotation/>")
    return folder


def file_list(breeds, k):
    cells = np.empty((len(breeds), 1), dtype=object)
    cells[:, 0] = [f"{breed}/{breed[:9]}_{k}.jpg" for breed in breeds]
    return {"file_list": cells, "annotation_list": cells, "labels": np.arange(1, len(breeds) + 1)[:, None]}


@pytest.mark.parametrize("place", [".", "lists"])
def test_dogs_by_the_lists_that_come_with_them(dogs, place):
    (dogs / place).mkdir(exist_ok=True)
    scipy.io.savemat(dogs / place / "train_list.mat", file_list(list(DOGS), 1))
    scipy.io.savemat(dogs / place / "test_list.mat", file_list(list(DOGS)[1:], 2))
    data = datasets.load("dogs", root=dogs.parent)
    assert data.classes == ["Chihuahua", "Pekinese", "toy poodle"] and data.labels.tolist() == [1, 2]
    assert colours_of(data) == {"Pekinese": "blue", "toy poodle": "lime"} and data.templates == PHOTO
    assert len(datasets.load(f"dogs:{dogs}", split="train")) == 3
    assert_lazy(data)
    with pytest.raises(ValueError, match=r"cannot load 'dogs'.*val_list\.mat"):
        datasets.load("dogs", root=dogs, split="val")


@pytest.mark.parametrize("start", ["", "Images/"])
def test_dogs_by_the_protocol_s_own_split(dogs, start):
    rows = [[f"{start}{b}/{b[:9]}_2.jpg", i, b.partition("-")[2]] for i, b in enumerate(DOGS)]
    split = dogs / "split_alexey_stanford_dogs.json"
    split.write_text(json.dumps({"train": rows, "val": [], "test": rows[1:]}))
    data = datasets.load(f"coop:{split}")
    assert data.classes == ["Chihuahua", "Pekinese", "toy poodle"] and data.labels.tolist() == [1, 2]
    assert colours_of(data) == {"Pekinese": "blue", "toy poodle": "lime"}
    assert_lazy(data)
    with pytest.raises(ValueError, match=r"test_list\.mat.*; a split_.*\.json is 'coop:PATH'"):
        datasets.load("dogs", root=dogs)


@pytest.mark.parametrize("rows", [[], [["a.jpg", 1, "ant"]], [["a.jpg", "x", "ant"]], [["a.jpg", 0]], 3])
def test_coop_files_that_are_none_are_refused(tmp_path, rows):
    (tmp_path / "split.json").write_text(json.dumps({"train": [], "val": [], "test": rows}))
    with pytest.raises(ValueError, match=r"name: 'coop:.*cannot be read .*of pictures of classes 0, 1, …"):
        datasets.load(f"coop:{tmp_path}/split.json")


# --- CoOp's splits of the others -----------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "images", "file", "path", "name", "templates"),
    [
        ("caltech-101", "101_ObjectCategories", "Caltech101", "airplanes/image_0001.jpg", "airplane", PHOTO),
        ("stanford_cars", ".", "StanfordCars", "cars_test/00001.jpg", "2009 Spyker C8 Coupe", PHOTO),
        (
            "oxford_flowers", "jpg", "OxfordFlowers", "image_00001.jpg", "tree mallow",
            ["a photo of a {}, a type of flower."],
        ),
        ("oxford_pets", "images", "OxfordPets", "Abyssinian_1.jpg", "abyssinian", PHOTO),
        ("food-101", "images", "Food101", "apple_pie/1005649.jpg", "apple_pie", PHOTO),
    ],
)  # fmt: skip
def test_coop_splits_find_their_images(tmp_path, folder, images, file, path, name, templates):
    picture(tmp_path / folder / images / path, "blue")
    split = tmp_path / folder / f"split_zhou_{file}.json"
    rows = [[path, 0, name], ["lost/image.jpg", 1, "another"]]
    split.write_text(json.dumps({"train": rows[1:], "val": [], "test": rows}))
    data = datasets.load(f"coop:{split}")
    assert data.classes == [name.replace("_", " "), "another"] and data.templates == templates
    assert colour(data.images[0]) == "blue" and data.split == "test"
    assert_lazy(data)
    with pytest.raises(ValueError, match=r"image: cannot read .*lost.image\.jpg"):
        data.images[1]
    with pytest.warns(UserWarning, match=r"1 of 2 cannot be read .*lost.image\.jpg"):
        assert len(datasets.load(f"coop:{split}", on_error="skip")) == 1


# --- what is not there ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name in datasets.LOADERS if name.islower() and not name.endswith("moji")]
)
def test_a_missing_set_says_what_to_do(name, tmp_path):
    fetched = name not in ("cars", "dogs")
    advice = r"root=.*download=True" if fetched else "root="
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=f"name: cannot load '{name}'.*{advice}"):
            datasets.load(name, root=root)
        with pytest.raises(ValueError, match=f"name: cannot load '{name}'"):
            datasets.load(f"{name}:{root}")
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_read_before_it_is_asked_for(cars):
    for path in (cars / "cars_test").iterdir():
        path.write_bytes(b"")
    data = datasets.load("cars", root=cars.parent)
    assert len(data) == 3 and isinstance(data.labels, torch.LongTensor)
    with pytest.raises(ValueError, match=r"image: cannot read .*00001\.jpg"):
        data.images[0]
    with pytest.raises(ValueError, match=r"cannot read .*00001\.jpg"):
        models.load("pocket", device="cpu").embed_images(data.images)
    (cars / "cars_test").rename(cars / "moved")
    (cars / "cars_test").mkdir()
    with pytest.raises(ValueError, match=r"'cars'.*the pictures are not there, such as .*00001\.jpg"):
        datasets.load("cars", root=cars.parent)
