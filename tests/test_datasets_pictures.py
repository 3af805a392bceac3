"""Pictures come out as an ordinary viewer shows them, by path and as an open image, or are refused."""

from __future__ import annotations

import io
import itertools
import re
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from clipnull import datasets
from clipnull.datasets.pictures import LARGEST, LONGEST, as_shown, open_stored

ORIENTATION = 0x0112
#: how what is stored under an orientation is made of what is to be seen
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[::-1],
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda x: x.transpose(1, 0, 2)[:, ::-1],
}
#: 4 by 6 pixels, no two alike
SEEN = np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


def both(path):
    """Pixels by path; those of the open image are the same."""
    shown = pixels(datasets.open_image(path))
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels(as_shown(image)), shown)
    return shown


# --- EXIF ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, kind):
    path, stored = tmp_path / f"a.{kind}", STORED[orientation](SEEN)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    flat = np.kron(stored, np.ones((8, 8, 1), np.uint8)) if kind == "jpg" else stored  # whole JPEG blocks
    Image.fromarray(flat).save(path, exif=exif, **{"webp": {"lossless": True}}.get(kind, {}))
    seen = both(path)[4::8, 4::8] if kind == "jpg" else both(path)
    np.testing.assert_allclose(seen, SEEN, atol=12 if kind == "jpg" else 0)
    if kind != "tiff":  # Pillow itself turns those
        as_it_is = pixels(open_stored(path))
        np.testing.assert_array_equal(as_it_is, np.asarray(Image.open(path)))
        assert (as_it_is.shape == both(path).shape) == (orientation < 5)


def test_what_was_turned_is_not_turned_again(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(STORED[6](SEEN)).save(tmp_path / "a.png", exif=exif)
    for read in (datasets.open_image, open_stored):
        once = read(tmp_path / "a.png")
        assert (pixels(as_shown(once)) == pixels(once)).all()
        again = io.BytesIO()
        once.save(again, "png")
        assert (pixels(datasets.open_image(again)) == pixels(once)).all()


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"\0"])
def test_a_broken_exif_turns_nothing(tmp_path, exif):
    Image.fromarray(SEEN).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(both(tmp_path / "a.png"), SEEN)


def test_folders_turn_pictures_and_need_not(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    (tmp_path / "owl").mkdir()
    Image.new("RGB", (6, 4)).save(tmp_path / "owl" / "a.jpg", exif=exif)
    assert datasets.load(f"folder:{tmp_path}").images[0].size == (4, 6)
    assert datasets.load(f"folder:{tmp_path}", exif=False).images[0].size == (6, 4)


def test_features_of_turned_and_stored_pictures_are_kept_apart(pocket, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPNULL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("clipnull.model.clip.WORTH_CACHING", 1)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    (tmp_path / "set" / "owl").mkdir(parents=True)
    ramp = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 64, 3))
    Image.fromarray(ramp).save(tmp_path / "set" / "owl" / "a.png", exif=exif)
    turned, stored = (datasets.load(f"folder:{tmp_path / 'set'}", exif=e).images for e in (True, False))
    first = pocket.embed_images(turned)
    other = pocket.embed_images(stored)
    assert float((first * other).sum()) < 0.999
    with Image.open(tmp_path / "set" / "owl" / "a.png") as image:
        assert float((first * pocket.embed_images(image)).sum()) > 0.9999


# --- colour profiles -----------------------------------------------------------------------


def profile(space, tags, version=0x02400000):
    """An ICC profile with these tags, for pixels of this colour space."""
    lab = b"Lab " if any(name == "A2B0" for name in tags) else b"XYZ "
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name.encode() + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4xI4s4s4s12x4s", at + len(body), version, b"mntr", space, lab, b"acsp")
    white = struct.pack(">28x3i48x", 0xF6D6, 0x10000, 0xD32D)
    return head + white + struct.pack(">I", len(tags)) + table + body


def xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * x) for x in values))


def gamma(g):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * g))


WHITE = xyz(0.9642, 1.0, 0.8249)
#: Display P3's primaries, as seen under the D50 of profiles
P3 = [[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]]
DISPLAY_P3 = profile(
    b"RGB ",
    {"wtpt": WHITE, **{f"{c}XYZ": xyz(*of) for c, of in zip("rgb", P3, strict=True)}}
    | {f"{c}TRC": gamma(2.2) for c in "rgb"},
)
LINEAR_GREY = profile(b"GRAY", {"wtpt": WHITE, "kTRC": gamma(1.0)})


def inks():
    """A press whose cyan ink prints pure red; black is black, and the other inks are invisible."""
    ramp = bytes(range(256))
    paper, black = bytes([255, 128, 128]), bytes([0, 128, 128])  # L*, a*, b* in bytes
    red = bytes([139, 209, 198])  # 54.3, 81, 70
    grid = (paper + black) * 4 + (red + black) * 4  # two points per ink, the first ink slowest
    eye = [65536 * (i % 4 == 0) for i in range(9)]
    table = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *eye) + ramp * 4 + grid + ramp * 3
    return profile(b"CMYK", {"wtpt": WHITE, "A2B0": table})


def seen_on_srgb(stored):
    """What a colour of Display P3 is in sRGB, by the formulas of both."""
    linear = (np.asarray(stored) / 255) ** 2.2 @ np.array(P3)
    to_srgb = [[3.1341, -1.6174, -0.4907], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]  # from D50
    linear = np.clip(linear @ np.array(to_srgb).T, 0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


COLOURS = np.array(
    [[[200, 100, 50], [100, 160, 90], [60, 70, 180], [128, 128, 128], [255, 255, 255]]], np.uint8
)


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_colours_of_display_p3_are_shown_in_srgb(tmp_path, kind):
    path, more = tmp_path / f"a.{kind}", {"lossless": True} if kind == "webp" else {}
    Image.fromarray(COLOURS).save(path, icc_profile=DISPLAY_P3, **more)
    want = seen_on_srgb(COLOURS)
    assert abs(want - COLOURS).max() > 10  # there is something to see
    np.testing.assert_allclose(both(path), want, atol=3)
    np.testing.assert_array_equal(pixels(open_stored(path)), COLOURS)


def test_palettes_and_transparent_pictures_have_profiles_too(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 100, 50, 0, 0, 255])
    palette.putdata([0, 1])
    palette.save(tmp_path / "a.png", icc_profile=DISPLAY_P3, transparency=1)
    np.testing.assert_allclose(both(tmp_path / "a.png")[0, 0], seen_on_srgb([200, 100, 50]), atol=3)
    assert both(tmp_path / "a.png")[0, 1].tolist() == [255] * 3
    Image.fromarray(np.array([[[200, 100, 50, 255], [9, 9, 9, 0]]], np.uint8)).save(
        tmp_path / "b.png", icc_profile=DISPLAY_P3
    )
    np.testing.assert_array_equal(both(tmp_path / "b.png"), both(tmp_path / "a.png"))


@pytest.mark.parametrize("deep", [False, True])
def test_grey_goes_by_its_profile(tmp_path, deep):
    grey = np.array([[0, 55, 128, 255]], np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257 if deep else grey)
    image.save(tmp_path / "a.png", icc_profile=LINEAR_GREY)
    np.testing.assert_allclose(both(tmp_path / "a.png")[0, :, 0], [0, 127, 188, 255], atol=2)


@pytest.mark.parametrize("kind", ["jpg", "tiff"])
def test_inks_go_by_their_profile(tmp_path, kind):
    path, naive = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image.save(path, icc_profile=inks())
    image.save(naive)
    np.testing.assert_allclose(both(path).mean((0, 1)), [255, 0, 0], atol=8)
    np.testing.assert_allclose(both(naive).mean((0, 1)), [0, 255, 255], atol=8)  # no profile: plain cyan


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "profile",
    [SRGB, LINEAR_GREY, inks(), b"", b"nonsense", DISPLAY_P3[:200]],
    ids="sRGB grey inks none no cut".split(),
)
def test_a_profile_of_srgb_or_of_other_colours_or_a_broken_one_changes_nothing(tmp_path, profile):
    Image.fromarray(COLOURS).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(both(tmp_path / "a.png"), COLOURS)


def test_what_was_shown_by_its_profile_is_not_changed_again(pocket, tmp_path):
    flat = Image.new("RGB", (64, 64), (200, 100, 50))
    flat.save(tmp_path / "a.png", icc_profile=DISPLAY_P3)
    once = datasets.open_image(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(as_shown(once)), pixels(once))
    by_path, shown, stored = pocket.embed_images([tmp_path / "a.png", once, flat])
    assert float(by_path @ shown) > 0.9999 > float(by_path @ stored)


# --- formats -------------------------------------------------------------------------------


def palette(path):
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    image.putdata([0, 1, 2, 0])
    image.save(path, transparency=1)
    return [[255, 0, 0], [255, 255, 255], [0, 255, 0], [255, 0, 0]]


def plain_palette(path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(path)
    return [[255, 0, 0], [0, 0, 255]]


def grey_with_alpha(path):
    Image.fromarray(np.array([[[100, 255], [0, 0], [0, 128]]], np.uint8)).save(path)
    return [[100] * 3, [255] * 3, [127] * 3]


def alpha(path):
    Image.fromarray(np.array([[[9, 8, 7, 255], [0, 0, 0, 0], [255, 0, 0, 128]]], np.uint8)).save(path)
    return [[9, 8, 7], [255] * 3, [255, 127, 127]]


def one_bit(path):
    Image.fromarray(np.array([[True, False]])).save(path)
    return [[255] * 3, [0] * 3]


def sixteen_bits(path):
    Image.fromarray(np.array([[0, 256 * 100 + 9, 65535]], np.uint16)).save(path)
    return [[0] * 3, [100] * 3, [255] * 3]


def cmyk(path):
    Image.fromarray(np.array([[[0, 255, 255, 0], [255, 255, 0, 0], [0, 0, 0, 0]]], np.uint8), "CMYK").save(
        path
    )
    return [[255, 0, 0], [0, 0, 255], [255] * 3]


def grey(path):
    Image.fromarray(np.array([[0, 77, 255]], np.uint8)).save(path)
    return [[0] * 3, [77] * 3, [255] * 3]


FORMATS = [
    (palette, "png"), (palette, "gif"), (plain_palette, "bmp"), (grey_with_alpha, "png"), (alpha, "png"),
    (alpha, "tiff"), (one_bit, "png"), (one_bit, "tiff"), (sixteen_bits, "png"), (sixteen_bits, "tiff"),
    (cmyk, "tiff"), (grey, "png"), (grey, "pgm"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind"), FORMATS)
def test_formats_are_shown_as_a_viewer_shows_them(tmp_path, make, kind):
    wanted = make(tmp_path / f"a.{kind}")
    np.testing.assert_allclose(both(tmp_path / f"a.{kind}").astype(int), [wanted], atol=1)


def test_a_cmyk_jpeg(tmp_path):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red.save(tmp_path / "a.jpg")
    np.testing.assert_allclose(both(tmp_path / "a.jpg").mean((0, 1)), [255, 0, 0], atol=6)


@pytest.mark.parametrize("make", [palette, plain_palette, one_bit])
def test_a_picture_is_embedded_alike_by_path_and_open(pocket, tmp_path, make):
    """Resizing a palette picks pixels where it should blend colours."""
    make(tmp_path / "small.png")
    with Image.open(tmp_path / "small.png") as image:
        image.resize((90, 75), Image.Resampling.NEAREST).save(tmp_path / "a.png", **image.info)
    with Image.open(tmp_path / "a.png") as image:
        by_path, opened = pocket.embed_images([tmp_path / "a.png", image])
    np.testing.assert_allclose(by_path, opened, atol=1e-5)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_of_32_bits_are_refused(pocket, tmp_path, kind):
    path, image = tmp_path / "a.tiff", Image.fromarray(np.full((8, 8), 0.5, kind))
    image.save(path)
    for given, where in (
        (path, re.escape(str(path))),
        (Image.open(path), re.escape(str(path))),
        (image, "image 0"),
    ):
        with pytest.raises(ValueError, match=rf"{where}.*32-bit numbers, want 8 or 16 bits a channel"):
            pocket.embed_images(given)


# --- size ----------------------------------------------------------------------------------


def claimed(path, width, height, mode=2):
    """A PNG whose header claims a size; there is nothing behind it."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + b"\0\0\0\0"

    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    data = struct.pack(">I", len(header) - 4) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IDAT", b""))


@pytest.mark.parametrize(
    "size",
    [(1, 1_000_000), (20_000, 2), (LONGEST + 1, 1), (LARGEST // 10_000 + 1, 10_000), (2**31 - 1, 2**31 - 1)],
)
def test_giants_are_refused_before_they_are_decoded(pocket, tmp_path, size):
    path = tmp_path / "giant.png"
    claimed(path, *size)
    for call in (datasets.open_image, pocket.embed_images):
        with pytest.raises(ValueError, match=r"cannot read '.*giant\.png' \(.*(pixels|exceeds)"):
            call(path)
    if size[0] * size[1] < LARGEST:
        with pytest.raises(ValueError, match=r"giant\.png.*100 to 1"):
            pocket.embed_images(Image.open(path))
        with pytest.raises(ValueError, match=r"image 0.*100 to 1"):
            pocket.embed_images(Image.new("1", size))


@pytest.mark.parametrize("size", [(1, 1), (LONGEST, 1), (2, 2 * LONGEST)])
def test_small_and_narrow_pictures_are_read(tmp_path, size):
    Image.new("RGB", size, "lime").save(tmp_path / "a.png")
    assert both(tmp_path / "a.png").shape == (*size[::-1], 3)


# --- what somebody prepared ----------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "eps"])
def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch, ending):
    """Pillow has Ghostscript draw PostScript, whatever its file is called."""
    started = []
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: started.append(a))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match="cannot read"):
        datasets.open_image(path)
    assert not started


def test_what_is_broken_is_a_value_error_whatever_pillow_raises(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tiff")
    for error in (
        KeyError(1),
        struct.error("short"),
        IndexError(),
        OverflowError(),
        NotImplementedError("DDS"),
    ):
        monkeypatch.setattr(
            TiffImagePlugin.TiffImageFile, "load", lambda self, error=error: (_ for _ in ()).throw(error)
        )
        with pytest.raises(ValueError, match=r"image: cannot read .*a\.tiff"):
            datasets.open_image(tmp_path / "a.tiff")


def test_damaged_files_are_value_errors(tmp_path):
    """Every kind of picture, cut short or with bytes that fell over."""
    rng = np.random.default_rng(0)
    for kind, _ in itertools.product(
        ("png", "gif", "bmp", "tiff", "jpg", "webp", "tga", "ico", "ppm"), range(6)
    ):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(
            file, {"jpg": "jpeg"}.get(kind, kind)
        )
        broken = bytearray(file.getvalue())
        for at in rng.integers(0, min(len(broken), 60), 4):
            broken[at] = rng.integers(0, 255)
        path = tmp_path / f"a.{kind}"
        path.write_bytes(broken[: rng.integers(1, len(broken))])
        try:
            assert datasets.open_image(path).mode == "RGB"
        except ValueError as error:
            assert str(path) in str(error)
