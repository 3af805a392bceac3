"""What `folder:` takes, what it passes over, and how it says so."""

from __future__ import annotations

import os
import unicodedata
import warnings

import pytest
from PIL import Image

from clipnull import datasets


def picture(path, colour="red", **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), colour).save(path, **more)


@pytest.fixture
def root(tmp_path):
    """Two classes of one picture."""
    for name in ("owl", "tiger"):
        picture(tmp_path / "set" / name / "1.png")
    return tmp_path / "set"


def load(root, **options):
    """The data, and the words of their warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = datasets.load(f"folder:{root}", **options)
    return data, " ".join(str(w.message) for w in caught)


# --- what is passed over -------------------------------------------------------------------


def hidden_folder(root):
    picture(root / "owl" / ".ipynb_checkpoints" / "1-checkpoint.png")
    return "owl/.ipynb_checkpoints", "hidden"


def hidden_class(root):
    picture(root / ".ipynb_checkpoints" / "1.png")
    return ".ipynb_checkpoints", "hidden"


def system_folder(root):
    picture(root / "owl" / "@eaDir" / "1.png" / "SYNOPHOTO_THUMB_XL.jpg")
    return "owl/@eaDir", "hidden"


def hidden_file(root):
    (root / "owl" / "._1.png").write_bytes(b"a Mac's")
    return "owl/._1.png", "hidden"


def other_file(root):
    (root / "tiger" / "notes.txt").write_text("stripes")
    return "tiger/notes.txt", "not a picture"


def unknown_file(root):
    (root / "tiger" / "index.parquet").write_bytes(b"PAR1")
    return "tiger/index.parquet", "not a picture"


def pipe(root):
    os.mkfifo(root / "tiger" / "pipe.png")  # to open it would take forever
    return "tiger/pipe.png", "not a picture"


def empty_folder(root):
    (root / "annotations").mkdir()
    return "annotations", "folder without a picture"


@pytest.mark.parametrize("ending", ["h5", "hdf", "grib", "mpg", "pdf", "eps"])
def test_what_pillow_lists_but_does_not_show_is_no_picture(root, ending):
    (root / "owl" / f"features.{ending}").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    data, said = load(root)
    assert len(data) == 2 and not said and data.passed_over == {
        str(root / "owl" / f"features.{ending}"): "not a picture"
    }  # fmt: skip


QUIET = [
    hidden_folder,
    hidden_class,
    system_folder,
    hidden_file,
    other_file,
    unknown_file,
    pipe,
    empty_folder,
]


@pytest.mark.parametrize("add", QUIET)
def test_it_says_what_is_no_picture_to_who_asks(root, add):
    path, why = add(root)
    data, said = load(root)
    assert data.classes == ["owl", "tiger"] and len(data) == 2 and not said
    (passed,) = data.passed_over.items()
    assert passed[0] == str(root / path) and why in passed[1]
    assert f"passed over:\n  1 {passed[1]}: {passed[0]}" in str(data) and "owl (1), tiger (1)" in str(data)
    assert "\n" not in repr(data)


def heic(root):
    (root / "owl" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    return "owl/IMG_1.HEIC", ".heic: convert to JPEG, or install"


def raw(root):
    Image.new("RGB", (6, 4)).save(root / "owl" / "a.dng", format="TIFF")  # is one, but for its colours
    return "owl/a.dng", ".dng: convert"


def no_extension(root):
    picture(root / "owl" / "0a1b2c", format="PNG")
    return "owl/0a1b2c", "but PNG by content"


def wrong_extension(root):
    picture(root / "owl" / "a.jpg_large", format="JPEG")
    return "owl/a.jpg_large", "but JPEG by content"


def beside(root):
    picture(root / "1.png")
    return "1.png", "beside the classes' folders"


def broken_link(root):
    (root / "owl" / "2.png").symlink_to(root / "nowhere.png")
    return "owl/2.png", "link that leads nowhere"


def link_to_itself(root):
    (root / "owl" / "2").symlink_to(root / "owl" / "2")
    return "owl/2", "link that leads nowhere"


LOUD = [heic, raw, no_extension, wrong_extension, beside, broken_link, link_to_itself]


@pytest.mark.parametrize("add", LOUD)
def test_pictures_that_are_not_taken_are_warned_of(root, add):
    path, why = add(root)
    data, said = load(root)
    assert len(data) == 2 and [*data.passed_over] == [str(root / path)]
    assert why in data.passed_over[str(root / path)] and str(root / path) in said and why in said
    assert said.startswith("folder: passed over 1 ") and "data.passed_over" in said


def test_a_class_does_not_vanish_in_silence(root):
    for i in range(5):
        (root / "red panda").mkdir(exist_ok=True)
        (root / "red panda" / f"IMG_{i}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    data, said = load(root)
    assert data.classes == ["owl", "tiger"]
    assert "1 folder without a picture that can be read: " + str(root / "red panda") in said
    assert "5 in a format that cannot be read here" in said and "IMG_2.heic and 2 more" in said
    with pytest.raises(ValueError, match=r"no sub-folder with images; passed over: .*IMG_0\.heic"):
        (root / "owl" / "1.png").unlink(), (root / "tiger" / "1.png").unlink()
        load(root)


def test_a_folder_that_may_not_be_opened_is_named(root, monkeypatch):
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    picture(root / "locked" / "1.png")
    monkeypatch.setattr(os, "scandir", refuse)
    data, said = load(root)
    assert data.classes == ["owl", "tiger"] and "cannot be opened (Permission denied)" in said
    assert str(root / "locked") in data.passed_over


def test_a_plugin_s_formats_are_taken(root, monkeypatch):
    """Such as HEIC's, once its plugin is registered."""
    picture(root / "owl" / "a.heic", format="PNG")
    Image.registered_extensions()
    monkeypatch.setitem(Image.EXTENSION, ".heic", "PNG")
    data, said = load(root)
    assert len(data) == 3 and not said and data.images[1].size == (6, 4)


# --- links ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "../tiger", "deep"])
def test_a_loop_gives_no_copies(root, target):
    picture(root / "owl" / "deep" / "2.png")
    picture(root.parent / "another set" / "3.png")  # beside the root: not of this set
    (root / "owl" / "again").symlink_to(target)
    data, said = load(root)
    assert data.labels.tolist() == [0, 0, 1] and len({*data.images.items}) == 3
    assert (
        "link to a folder that is read already, or in or above this one: " + str(root / "owl" / "again")
        in said
    )


@pytest.mark.parametrize("name", ["0", "zebra"])
def test_a_class_that_is_a_link_to_another_is_no_second_class(root, name):
    (root / name).symlink_to("tiger")
    (root / "owl" / "to.tiger").symlink_to("../tiger")
    data, said = load(root)
    assert data.classes == ["owl", "tiger"] and len(data) == 2 and str(root / name) in said


@pytest.mark.parametrize("name", ["0", "zebra"])
def test_pictures_belong_to_the_class_they_lie_in(root, name):
    picture(root / "tiger" / "cubs" / "2.png")
    (root / name).symlink_to("tiger/cubs")
    data, _ = load(root)
    assert data.classes == ["owl", "tiger"] and data.labels.tolist() == [0, 1, 1]


def test_links_elsewhere_are_followed_once(root, tmp_path):
    picture(tmp_path / "elsewhere" / "a" / "2.png")
    (tmp_path / "elsewhere" / "a" / "loop").symlink_to("..")
    for name in ("first", "second"):
        (root / "owl" / name).symlink_to(tmp_path / "elsewhere")
    (root / "owl" / "file.png").symlink_to(tmp_path / "elsewhere" / "a" / "2.png")
    data, said = load(root)
    assert [os.path.relpath(p, root / "owl") for p in data.images.items[:-1]] == [
        "1.png",
        "file.png",
        "first/a/2.png",
    ]
    assert "2 link to a folder" in said


# --- splits --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "valid", "TEST"), ("train",)])
def test_a_root_of_splits_asks_which(tmp_path, names):
    for name in names:
        for cls in ("owl", "tiger"):
            picture(tmp_path / name / cls / f"{name}.png")
    (tmp_path / "__MACOSX").mkdir()
    with pytest.raises(ValueError, match=rf"split: got None, want one of .*{names[-1]}"):
        load(tmp_path)
    for name in names:
        data, said = load(tmp_path, split=name)
        assert data.classes == ["owl", "tiger"] and data.split == name and not said
        assert all(path.endswith(f"{name}.png") for path in data.images.items)
        assert load(f"{tmp_path}/{name}")[0].images.items == data.images.items
    with pytest.raises(ValueError, match=r"split: got 'dev', want one of"):
        load(tmp_path, split="dev")


def test_a_class_called_train_is_a_class(root):
    picture(root / "train" / "freight" / "1.png")
    picture(root / "test" / "1.png")
    assert load(root)[0].classes == ["owl", "test", "tiger", "train"]
    with pytest.raises(ValueError, match=r"split: got 'train', but .* has no splits"):
        load(root, split="train")


# --- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair",
    [
        ("polar_bear", "polar bear"),
        ("polar__bear", "polar bear "),
        ("Polar Bear", "polar_bear"),
        (unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")),
        ("ｃａｆｅ", "cafe"),
        ("straße", "STRASSE"),
    ],
)
def test_one_name_is_not_two_classes(root, pair):
    for name in pair:
        picture(root / name / "1.png")
    with pytest.raises(ValueError, match="for one class name; merge them, or rename all but one") as caught:
        load(root)
    assert all(ascii(name) in str(caught.value) for name in pair)


def test_a_name_is_composed(root):
    picture(root / unicodedata.normalize("NFD", "café_crème") / "1.png")
    assert load(root)[0].classes[0] == unicodedata.normalize("NFC", "café crème")


def test_wordnet_ids_become_names(tmp_path):
    for name in ("n01440764", "n02085620-Chihuahua", "n02113624_toy_poodle", "owl"):
        picture(tmp_path / name / "1.png")
    assert load(tmp_path)[0].classes == ["tench", "Chihuahua", "toy poodle", "owl"]
    picture(tmp_path / "tench" / "1.png")
    with pytest.raises(ValueError, match="'n01440764', 'tench' for one class name"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["n99999999", "___", "red\x1b[31m", os.fsdecode(b"caf\xe9")])
def test_what_is_no_name_is_refused(root, name):
    picture(root / name / "1.png")
    with pytest.raises(ValueError, match=r"rename it to the class's name") as caught:
        load(root)
    assert ascii(name) in str(caught.value)


# --- the call ------------------------------------------------------------------------------


def test_a_folder_as_a_name_is_answered_with_the_right_one(root, monkeypatch):
    with pytest.raises(ValueError, match=r"name: got the folder .*, want 'folder:"):
        datasets.load(str(root))
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(load("~/set")[0]) == 2
    with pytest.raises(ValueError, match="name: got '~nosuchuser/set', want a path"):
        load("~nosuchuser/set")


def test_exif_is_true_or_false(root):
    with pytest.raises(ValueError, match="exif: got 'no', want True or False"):
        load(root, exif="no")


def test_a_subset_keeps_what_was_passed_over(root):
    hidden_file(root)
    data, _ = load(root, subset=["owl"])
    assert len(data.passed_over) == 1 and "tiger" not in str(data) and "owl (1)" in str(data)


def test_what_cannot_be_read_is_told_with_it(root):
    (root / "owl" / "2.png").write_bytes(b"")
    data, _ = load(root, on_error="skip")
    assert f"1 cannot be read: {root / 'owl' / '2.png'}" in str(data)
