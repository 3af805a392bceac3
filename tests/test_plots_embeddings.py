"""What the figures of embeddings draw: pictures, cosines, principal components, curves."""

import drawn
import numpy as np
import pytest
import torch
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from clipnull import plots
from clipnull.plots.base import BLUE, FORGET, PALE, RED, SERIES

NAMES = ["tiger", "wolf", "rose", "pizza"]
COLOURS = ["red", "green", "blue", "yellow", "black"]
PICTURES = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
#: five points, three directions; every coordinate differs from every other one
Z = np.array([[9.0, 1.0, 0.2], [-7.0, 2.5, -0.4], [1.5, -4.0, 0.6], [-6.0, -1.2, -1.1], [3.1, 0.9, 0.7]])
AFTER = Z + np.array([[1.0, -2.0, 0.3], [0.0, 0.0, 0.0], [-3.0, 1.5, 0.2], [2.0, 2.2, 0.1], [0.5, -1.7, 0.9]])


def pixel(ax):
    return tuple(np.asarray(ax.images[0].get_array())[0, 0][:3])


def test_image_grid():
    fig = plots.image_grid(
        PICTURES, [f"a {c}" for c in COLOURS], columns=2, right=[True, False, True, True, False]
    )
    shown = [ax for ax in fig.axes if ax.images]
    assert [pixel(ax) for ax in shown] == [picture.getpixel((0, 0)) for picture in PICTURES]
    assert [ax.texts[0].get_text() for ax in shown] == [
        "✓ a red", "✗ a green", "✓ a blue", "✓ a yellow", "✗ a black"
    ]  # fmt: skip
    assert [ax.texts[0].get_color() for ax in shown] == [BLUE, RED, BLUE, BLUE, RED]
    places = [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in shown]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)] and len(fig.axes) == 6
    assert [ax.texts[0].get_text() for ax in plots.image_grid(PICTURES[:1], ["red"]).axes] == ["red"]
    assert len(plots.image_grid(PICTURES * 2).axes) == 16  # rows of eight


def test_zero_shot_bars():
    before, after = torch.tensor([0.5, 0.04, 0.16, 0.3]), torch.tensor([0.02, 0.7, 0.19, 0.09])
    fig = plots.zero_shot_bars(PICTURES[1], NAMES, before, after, k=3, highlight="pizza")
    picture, left, right = fig.axes
    assert pixel(picture) == PICTURES[1].getpixel((0, 0))
    assert left.get_title(loc="left") == "before" and right.get_title(loc="left") == "after"
    for ax, wanted in (
        (left, {"tiger": 50, "pizza": 30, "rose": 16}), (right, {"wolf": 70, "rose": 19, "pizza": 9})
    ):  # fmt: skip
        drawn.same(drawn.ends(ax), wanted, atol=1e-5)
        assert [(text, y) for text, _, y in drawn.texts(ax)] == [
            (f"{v:.0f}", i) for i, v in enumerate(wanted.values())
        ]
        drawn.same([x for _, x, _ in drawn.texts(ax)], [v + 2 for v in wanted.values()], atol=1e-5)
        plain, hit = (PALE.lower(), ""), (FORGET.lower(), "///")
        assert drawn.fills(ax) == {name: hit if name == "pizza" else plain for name in wanted}
        assert drawn.labels(ax) == ("probability, %", "")
    assert [a.get_title(loc="left") for a in plots.zero_shot_bars(PICTURES[0], NAMES, before).axes] == [
        "",
        "",
    ]


@pytest.mark.parametrize("components", [(1, 2), (3, 1)])
def test_pca_scatter(components):
    groups = ["cat", "dog", "cat", "owl", "dog"]
    scores, V, ratio = plots.pca(Z, 3)
    index = [c - 1 for c in components]
    fig = plots.pca_scatter(Z, groups, after=AFTER, components=components)
    (ax,) = fig.axes
    to = ((AFTER - Z.mean(0)) @ V.T)[:, index]
    xy = scores[:, index]
    after, *clouds = drawn.clouds(ax)
    drawn.same(after.points, to)
    assert after.colour == "#ffffff"
    assert [(c.label, c.colour) for c in clouds] == [
        (kind, SERIES[i].lower()) for i, kind in enumerate(["cat", "dog", "owl"])
    ]
    for kind, cloud in zip(["cat", "dog", "owl"], clouds, strict=True):
        drawn.same(cloud.points, xy[[g == kind for g in groups]])
    assert list(drawn.legend(fig)) == ["after", "cat", "dog", "owl"]
    moved = [0, 2, 3, 4]  # the second one stays
    drawn.same(drawn.arrows(ax), np.stack([xy[moved], to[moved]], 1))
    assert drawn.labels(ax) == tuple(f"component {c} ({100 * ratio[c - 1]:.0f}%)" for c in components)
    assert not ax.xaxis_inverted() and not ax.yaxis_inverted()


def test_pca_scatter_of_pictures():
    (ax,) = plots.pca_scatter(Z, thumbnails=PICTURES).axes
    boxes = [box for box in ax.artists if isinstance(box, AnnotationBbox)]
    drawn.same([box.xy for box in boxes], plots.pca(Z, 2)[0])
    pixels = [tuple(box.offsetbox.get_data()[0, 0][:3]) for box in boxes]
    assert pixels == [picture.getpixel((0, 0)) for picture in PICTURES]


def test_pca_scatter_3d():
    components, groups = (2, 3, 1), ["cat", "dog", "cat", "dog", "cat"]
    scores, V, ratio = plots.pca(Z, 3)
    index = [c - 1 for c in components]
    fig = plots.pca_scatter_3d(Z, groups, after=AFTER, components=components, azimuth=-17, elevation=41)
    (ax,) = fig.axes
    xyz, to = scores[:, index], ((AFTER - Z.mean(0)) @ V.T)[:, index]
    shown = {c.get_label(): np.stack(c._offsets3d, 1) for c in ax.collections}
    cats = [g == "cat" for g in groups]
    drawn.same(shown, {"after": to, "cat": xyz[cats], "dog": xyz[np.invert(cats)]})
    drawn.same([np.stack(line.get_data_3d(), 1) for line in ax.get_lines()], np.stack([xyz, to], 1))
    assert list(drawn.legend(fig)) == ["after", "cat", "dog"] and (ax.elev, ax.azim) == (41, -17)
    assert [ax.get_xlabel(), ax.get_ylabel(), ax.get_zlabel()] == [
        f"component {c} ({100 * ratio[c - 1]:.0f}%)" for c in components
    ]


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_curves(log):
    x, first, second = [1.0, 3.0, 7.5], [0.5, 40.0, 2.0], [6.0, 0.0]
    fig = plots.curves(
        x, {"first": first, "second": second}, x_label="rank", y_label="recall, %", title="T", log=log
    )
    (ax,) = fig.axes
    zero = 0.5 if "y" in log else 0.0  # there is no zero on a logarithmic axis
    drawn.same(drawn.lines(ax), {"first": list(zip(x, first, strict=True)), "second": [(1, 6), (3, zero)]})
    assert drawn.legend(fig) == {
        "first": (SERIES[0].lower(), SERIES[0].lower(), "o", "-"),
        "second": (SERIES[1].lower(), SERIES[1].lower(), "s", "--"),
    }
    assert (ax.get_xscale(), ax.get_yscale()) == tuple("log" if k in log else "linear" for k in "xy")
    assert drawn.labels(ax) == ("rank", "recall, %")


@pytest.mark.parametrize("log", ["", "x"])
def test_curves_of_counts_have_a_tick_for_each(log):
    (ax,) = plots.curves([1, 2, 50], {"a": [3, 1, 2]}, x_label="k", y_label="y", title="T", log=log).axes
    assert drawn.ticks(ax.xaxis) == {"1": 1, "2": 2, "50": 50} and not len(ax.xaxis.get_minorticklocs())


def test_curves_with_levels_to_compare_with():
    fig = plots.curves(
        [1, 2], {"a": [3, 1]}, x_label="k", y_label="y", title="T", levels={"noise": 1.5, "rounding": 0.25}
    )
    (ax,) = fig.axes
    across = {name: points[:, 1] for name, points in drawn.lines(ax).items()}
    drawn.same(across, {"a": [3, 1], "noise": [1.5, 1.5], "rounding": [0.25, 0.25]})
    assert list(drawn.legend(fig)) == ["a", "noise", "rounding"]
    assert "noise: 1.5. rounding: 0.25." in plots.alt(fig)


def test_cosine_histogram():
    rng = np.random.default_rng(0)
    given = {
        "name – other name": rng.uniform(0.5, 0.7, 40),
        "image – image of another class": rng.uniform(0.2, 0.45, 50),
        "image – own name": rng.uniform(0.1, 0.3, 60),
        "image – other name": rng.uniform(-0.2, 0.05, 70),
    }
    fig = plots.cosine_histogram(*given.values())
    (ax,) = fig.axes
    edges = np.linspace(min(map(np.min, given.values())), 1, 61)
    middle = (edges[1:] + edges[:-1]) / 2
    wanted = {
        f"{label}, mean {x.mean():.2f}": np.stack([middle, np.histogram(x, edges, density=True)[0]], 1)
        for label, x in given.items()
    }
    drawn.same(drawn.lines(ax), wanted)
    looks = drawn.legend(fig)
    assert list(looks) == list(wanted) and len(set(looks.values())) == 4
    assert drawn.rules(ax)[0][0][0] == 0 and ax.get_ylim()[0] == 0
    assert drawn.labels(ax) == ("cosine", "density")
    own, other = given["image – own name"].mean(), given["image – other name"].mean()
    assert f"{own:.2f} with its own name, {other:.2f} with others" in drawn.title(fig)
