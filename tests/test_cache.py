"""The feature cache: what is found again, what must never be, and what happens to damaged entries."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipnull as cn
from clipnull.model import cache
from clipnull.model import clip as clip_module


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty cache, for few pictures too; the folder of its entries. No damage may go unnoticed."""
    monkeypatch.setenv("CLIPNULL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(clip_module, "WORTH_CACHING", 1)
    warnings.simplefilter("error", UserWarning)
    return tmp_path / "cache" / "features"


@pytest.fixture(scope="module")
def clip(pocket):
    return copy.deepcopy(pocket)


@pytest.fixture
def forwards(clip, monkeypatch) -> list[int]:
    """Sizes of the batches that went through the image tower."""
    seen: list[int] = []
    encode = clip.model.encode_image

    def counted(pixels, normalize=False):
        seen.append(len(pixels))
        return encode(pixels, normalize=normalize)

    monkeypatch.setattr(clip.model, "encode_image", counted)
    return seen


def noise(seed: int, size: int = 24) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        (root / f"class {i % 2}").mkdir(exist_ok=True)
        noise(i).save(root / f"class {i % 2}" / f"{i}.png")
    return root


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def entry_of(place: Path, pattern: str = "*") -> Path:
    (path,) = place.glob(pattern)
    return path


# --- found again ---------------------------------------------------------------------------


def test_second_time_comes_from_disk_and_is_the_same(clip, folder, forwards, place):
    first = clip.embed_images(files_of(folder))
    again = clip.embed_images(files_of(folder))
    assert forwards == [6] and torch.equal(first, again) and again.dtype == torch.float32
    again += 1  # what was returned is not the file's own memory
    assert torch.equal(clip.embed_images(files_of(folder)), first)
    assert torch.equal(clip._embed_images(files_of(folder), 256), first) and forwards == [6, 6]
    assert entry_of(place)


def test_a_folder_data_set_its_paths_and_another_batch_size_share_an_entry(clip, folder, forwards, place):
    data = cn.datasets.load(f"folder:{folder}")
    clip.embed_images(data.images)
    clip.embed_images([str(p) for p in data.images.items], batch_size=2)
    assert forwards == [6] and entry_of(place)


@pytest.mark.parametrize("kind", ["pictures", "arrays", "tensors", "one tensor", "array set"])
def test_pictures_in_memory_are_found_by_their_pixels(kind, clip, forwards):
    def images():
        pictures = [noise(i) for i in range(3)]
        arrays = [np.asarray(p) for p in pictures]
        tensors = [clip.preprocess(p) for p in pictures]
        return {
            "pictures": pictures,
            "arrays": arrays,
            "tensors": tensors,
            "one tensor": torch.stack(tensors),
            "array set": cn.datasets.Images(Image.fromarray, arrays),  # as CIFAR is kept
        }[kind]

    first = clip.embed_images(images())
    assert torch.equal(clip.embed_images(images()), first) and forwards == [3]


def test_default_is_on_for_many_files_and_pictures_in_memory_only(clip, folder, monkeypatch, place):
    few, drawn = files_of(folder), cn.datasets.Images(noise, range(6))
    monkeypatch.setattr(clip_module, "WORTH_CACHING", 7)
    clip.embed_images(few)
    assert not place.exists()
    monkeypatch.setattr(clip_module, "WORTH_CACHING", 6)
    clip.embed_images(few)
    clip.embed_images([noise(i) for i in range(6)])
    clip.embed_images(np.stack([np.asarray(noise(i)) for i in range(6)]))
    assert len([*place.iterdir()]) == 3
    clip.embed_images(drawn)  # hashing would draw each twice
    clip.embed_images(few[:5])
    clip.embed_images(iter(few))
    with cn.folded(clip, cn.random_subspace(256, 2)):
        clip.embed_images(few)
    assert len([*place.iterdir()]) == 3


def test_off_means_off(clip, folder, forwards, place, monkeypatch):
    monkeypatch.setenv("CLIPNULL_CACHE", "off")
    for _ in range(2):
        clip.embed_images(files_of(folder))
    assert forwards == [6, 6] and not place.exists()
    assert cache.folder() is None


def test_default_place_is_the_users_cache_folder(monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.delenv("CLIPNULL_CACHE")
    found = cache.folder()
    assert found == platformdirs.user_cache_path("clipnull", appauthor=False) / "features"
    assert Path.home() in found.parents
    monkeypatch.setenv("CLIPNULL_CACHE", "~/elsewhere")
    assert cache.folder() == Path.home() / "elsewhere" / "features"


# --- never mistaken for one another --------------------------------------------------------


def edits(clip) -> list[cn.Edit]:
    T = clip.embed_text(["tiger", "lion", "pig", "bus"])
    weak, full = (cn.nullspace(T[:1], strength=s) for s in (0.5, 1.0))
    return [weak, full, cn.consistent(T[:1], T[1:], anchor="mean"), cn.random_subspace(256, 1)]


def test_an_edited_model_is_another_model(clip, folder, forwards):
    plain = clip.embed_images(files_of(folder))
    for edit in edits(clip):
        with cn.folded(clip, edit):
            Z = clip.embed_images(files_of(folder))
            keys = [cache.key(clip.model, clip.preprocess, {}, [])]
        assert torch.allclose(Z, edit.apply_image(plain, normalize=True), atol=1e-5)
        assert keys != [cache.key(clip.model, clip.preprocess, {}, [])]
    n = len(forwards)
    assert torch.equal(clip.embed_images(files_of(folder)), plain)
    assert len(forwards) == n


def test_a_saved_edit_is_another_model(clip, folder, tmp_path):
    edit = edits(clip)[2]
    plain = clip.embed_images(files_of(folder))
    with cn.folded(clip, edit):
        clip.save(tmp_path / "unlearned")
    saved = cn.load(f"local-dir:{tmp_path / 'unlearned'}")
    Z = saved.embed_images(files_of(folder))
    assert torch.allclose(Z, edit.apply_image(plain, normalize=True), atol=1e-5)
    assert not torch.allclose(Z, plain, atol=1e-3)


def nudge(clip):
    clip.model.visual.attnpool.c_proj.weight.data[0, 0] += (
        0.1  # .data: not even torch's version counter notices
    )


def change_buffer(clip):
    clip.model.visual.register_buffer("extra", torch.ones(1), persistent=False)


def change_setting(clip):
    clip.model.visual.bn1.eps = 1e-2


def change_heads(clip):
    clip.model.visual.attnpool.num_heads *= 2


def change_activation(clip):
    clip.model.visual.act1 = torch.nn.LeakyReLU(0.1).eval()


def change_preprocess(clip):
    normalize = clip.preprocess.transforms[-1]
    clip.preprocess.transforms[-1] = type(normalize)(mean=[0.5] * 3, std=normalize.std)


def change_precision(clip):
    clip.precision = "bf16"
    clip.model.bfloat16()


@pytest.mark.parametrize(
    "change",
    [
        nudge,
        change_buffer,
        change_setting,
        change_activation,
        change_heads,
        change_preprocess,
        change_precision,
    ],
    ids=lambda f: f.__name__,
)
def test_another_model_transform_or_precision_is_computed_anew(change, clip, folder, place):
    other = copy.deepcopy(clip)
    before = other.embed_images(files_of(folder))
    change(other)
    cached = other.embed_images(files_of(folder))
    assert torch.equal(cached, other._embed_images(files_of(folder), 256))
    assert len([*place.iterdir()]) == 2
    assert change is change_buffer or not torch.equal(cached, before)
    assert torch.equal(clip.embed_images(files_of(folder)), before)


def mirrored(axis):
    plain = cn.load("pocket", device="cpu").preprocess
    return lambda picture: plain(picture).flip(axis)


def own_step(picture):
    return picture.rotate(90)


class OwnStep(torch.nn.Module):
    def forward(self, picture):
        return picture.rotate(90)


class OwnActivation(torch.nn.Module):
    def forward(self, x):
        return -x


@pytest.mark.parametrize("own", ["lambda", "function", "class", "activation", "forward"])
def test_code_that_a_name_does_not_tell_is_not_kept(own, clip, folder, place):
    """A function of a notebook may be written anew under the same name."""
    other = copy.deepcopy(clip)
    if own == "lambda":
        other.preprocess = mirrored(-1)
    elif own in ("function", "class"):
        other.preprocess.transforms.insert(0, own_step if own == "function" else OwnStep())
    elif own == "activation":
        other.model.visual.act1 = OwnActivation().eval()
    else:
        other.model.visual.bn1.forward = OwnActivation().forward
    other.embed_images(files_of(folder))
    assert not place.exists()


def test_hooks_and_training_are_not_kept(clip, folder, place):
    other = copy.deepcopy(clip)
    hook = other.model.visual.register_forward_hook(lambda module, args, out: -out)
    assert torch.equal(other.embed_images(files_of(folder)), -clip._embed_images(files_of(folder), 256))
    hook.remove()
    other.model.visual.train()
    other.embed_images(files_of(folder))
    assert not place.exists()
    other.model.visual.eval()
    other.embed_images(files_of(folder))
    assert entry_of(place)


def test_changed_pictures_are_computed_anew(clip, folder, tmp_path, forwards):
    paths = []
    for i, path in enumerate(files_of(folder)):
        paths.append(tmp_path / f"{i}.bmp")  # a bitmap's size does not tell
        Image.open(path).save(paths[-1])
    first, stat = clip.embed_images(paths), paths[0].stat()
    noise(99).save(paths[0])
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same name, size and modification time
    assert paths[0].stat().st_size == stat.st_size
    changed = clip.embed_images(paths)
    assert (
        len(forwards) == 2 and torch.equal(changed[1:], first[1:]) and not torch.equal(changed[0], first[0])
    )
    assert torch.equal(clip.embed_images(paths[::-1]), changed.flip(0))
    picture = noise(0)
    one = clip.embed_images(picture)
    picture.putpixel((3, 3), (0, 0, 0))
    assert not torch.equal(clip.embed_images(picture), one)


@pytest.mark.parametrize("kind", [str, object])
def test_paths_in_an_array_are_told_apart_by_their_files(kind, clip, tmp_path, forwards):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    array = np.array([str(p) for p in paths], dtype=kind)
    for i, path in enumerate(paths):
        noise(i).save(path)
    first = clip.embed_images(array)
    assert torch.equal(clip.embed_images(paths), first) and forwards == [3]  # one entry
    for i, path in enumerate(paths):
        noise(i + 10).save(path)
    changed = clip.embed_images(array)
    assert torch.equal(changed, clip._embed_images(paths, 256)) and not torch.equal(changed, first)


def test_text_in_an_array_is_no_picture():
    with pytest.raises(TypeError):
        cache._picture(np.array(["a.png"]))


def test_the_key_is_the_same_in_another_process(clip, folder):
    code = (
        "import sys, clipnull as cn\n"
        "clip = cn.load('pocket', device='cpu')\n"
        "print(cn.model.cache.key(clip.model, clip.preprocess, {}, sys.argv[1:]))"
    )
    paths = [str(path) for path in files_of(folder)]
    path = str(Path(cn.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    fresh = cn.load("pocket", device="cpu")
    assert done.stdout.strip() == cache.key(fresh.model, fresh.preprocess, {}, paths), done.stderr


def test_a_missing_picture_is_reported_as_ever(clip, folder, tmp_path, place):
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        clip.embed_images([*files_of(folder), tmp_path / "nowhere.png"])
    assert not place.exists()


# --- damage, and a disk that refuses -------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def exchange(path: Path) -> None:
    """A sound entry of other features under this name."""
    cache.write(path.parent, "0" * 64, torch.zeros(6, 256))
    os.replace(path.with_name(f"{'0' * 64}.safetensors"), path)


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, exchange], ids=lambda f: f.__name__)
def test_a_damaged_entry_is_noticed_and_replaced(damage, clip, folder, forwards, place):
    right = clip.embed_images(files_of(folder))
    damage(entry_of(place))
    with pytest.warns(UserWarning, match=r"cache: .* is damaged; .* computed again") as caught:
        assert torch.equal(clip.embed_images(files_of(folder)), right)
    assert caught[0].filename == __file__  # the note points at the caller
    assert torch.equal(clip.embed_images(files_of(folder)), right) and forwards == [6, 6]


def test_a_disk_that_refuses_costs_the_cache_and_not_the_features(clip, folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CLIPNULL_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cache: features were not kept"):
        Z = clip.embed_images(files_of(folder))
    assert torch.equal(Z, clip._embed_images(files_of(folder), 256))


def test_a_failed_write_leaves_the_old_entry_and_no_scraps(clip, folder, place, monkeypatch):
    right = clip.embed_images(files_of(folder))
    name, before = entry_of(place).stem, entry_of(place).read_bytes()

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        cache.write(place, name, right + 1)
    assert entry_of(place).read_bytes() == before


def race(clip: cn.Clip, me: str, start: Path, folder: Path) -> torch.Tensor:
    """What each of two processes does once both are there: the same features, then the same entry, often."""
    start.with_suffix(f".{me}").touch()
    while len(list(start.parent.glob(f"{start.name}.*"))) < 2:
        time.sleep(0.01)
    Z = clip.embed_images(files_of(folder))
    big = torch.full((2000, 256), float(me))
    for _ in range(40):
        cache.write(cache.folder(), "f" * 64, big)
        found = cache.read(cache.folder(), "f" * 64)  # a torn entry would be reported
        assert found is not None and found.shape == big.shape and bool((found == found[0, 0]).all())
    return Z


OTHER = """\
import pathlib, sys, warnings, torch, clipnull, test_cache
warnings.simplefilter("error", UserWarning)
start, folder = map(pathlib.Path, sys.argv[1:])
Z = test_cache.race(clipnull.load("pocket", device="cpu"), "2", start, folder)
torch.save(Z, start.with_name("Z"))
"""


def test_two_processes_at_once(folder, tmp_path, place):
    start = tmp_path / "start"
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    command = [sys.executable, "-c", OTHER, str(start), str(folder)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as other:
        while not start.with_suffix(".2").exists() and other.poll() is None:
            time.sleep(0.05)
        if other.poll() is None:
            Z = race(cn.load("pocket", device="cpu"), "1", start, folder)
        errors = other.communicate(timeout=120)[1]
    assert other.returncode == 0, errors
    assert torch.equal(Z, torch.load(tmp_path / "Z", weights_only=True))
    assert len(list(place.iterdir())) == 2


def test_what_killed_runs_left_goes_with_the_next_entry(place):
    cache.write(place, "0" * 64, torch.zeros(1, 2))
    old, young = (place / f".{'1' * 64}.safetensors.0000abc{i}.partial" for i in (0, 1))
    for left in (old, young):
        left.write_text("half")
    os.utime(old, (0, 0))
    cache.write(place, "2" * 64, torch.zeros(1, 2))
    assert sorted(path.name[:3] for path in place.iterdir()) == [".11", "000", "222"] and young.exists()


def test_a_home_that_nobody_has_is_named(monkeypatch):
    monkeypatch.setenv("CLIPNULL_CACHE", "~nosuchuser/cache")
    with pytest.raises(ValueError, match="CLIPNULL_CACHE: got '~nosuchuser/cache', want a path"):
        cache.folder()
