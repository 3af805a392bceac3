"""What the figures of embeddings draw: pictures, cosines, principal components, curves."""

import drawn
import numpy as np
import pytest
import torch
from PIL import Image

from clipnull import plots
from clipnull.plots.base import BLUE, FORGET, PALE, RED, SERIES

NAMES = ["tiger", "wolf", "rose", "pizza"]
COLOURS = ["red", "green", "blue", "yellow", "black"]
PICTURES = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
#: five points, three directions; every coordinate differs from every other one
Z = np.array([[9.0, 1.0, 0.2], [-7.0, 2.5, -0.4], [1.5, -4.0, 0.6], [-6.0, -1.2, -1.1], [3.1, 0.9, 0.7]])


def pixel(ax):
    return tuple(np.asarray(ax.images[0].get_array())[0, 0][:3])


def test_image_grid():
    fig = plots.image_grid(
        PICTURES, [f"a {c}" for c in COLOURS], title="T", columns=2, right=[True, False, True, True, False]
    )
    shown = [ax for ax in fig.axes if ax.images]
    assert [pixel(ax) for ax in shown] == [picture.getpixel((0, 0)) for picture in PICTURES]
    assert [ax.texts[0].get_text() for ax in shown] == [
        "✓ a red", "✗ a green", "✓ a blue", "✓ a yellow", "✗ a black"
    ]  # fmt: skip
    assert [ax.texts[0].get_color() for ax in shown] == [BLUE, RED, BLUE, BLUE, RED]
    places = [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in shown]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)] and len(fig.axes) == 6
    assert [ax.texts[0].get_text() for ax in plots.image_grid(PICTURES[:1], ["red"], title="T").axes] == [
        "red"
    ]
    assert len(plots.image_grid(PICTURES * 2, range(10), title="T").axes) == 16  # rows of eight


def test_a_number_stays_clear_of_the_names_beside_it():
    sure = np.eye(4)[0]
    fig = plots.zero_shot_bars(PICTURES[1], ["bus", "videocassette", "pizza", "tram"], sure, sure[::-1])
    fig.draw_without_rendering()
    last, names = fig.axes[1].get_window_extent().x1, fig.axes[2].get_yticklabels()
    assert last + 10 < min(name.get_window_extent().x0 for name in names)


def test_zero_shot_bars():
    before, after = torch.tensor([0.5, 0.04, 0.16, 0.3]), torch.tensor([0.02, 0.7, 0.19, 0.09])
    fig = plots.zero_shot_bars(PICTURES[1], NAMES, before, after, highlight="pizza")
    picture, left, right = fig.axes
    assert pixel(picture) == PICTURES[1].getpixel((0, 0))
    assert left.get_title(loc="left") == "before" and right.get_title(loc="left") == "after"
    for ax, wanted in (
        (left, {"tiger": 50, "pizza": 30, "rose": 16, "wolf": 4}),
        (right, {"wolf": 70, "rose": 19, "pizza": 9, "tiger": 2}),
    ):  # fmt: skip
        drawn.same(drawn.ends(ax), wanted, atol=1e-5)
        assert [(text, y) for text, _, y in drawn.texts(ax)] == [
            (f"{v:.0f}", i) for i, v in enumerate(wanted.values())
        ]
        drawn.same([x for _, x, _ in drawn.texts(ax)], [v + 2 for v in wanted.values()], atol=1e-5)
        plain, hit = (PALE.lower(), ""), (FORGET.lower(), "///")
        assert drawn.fills(ax) == {name: hit if name == "pizza" else plain for name in wanted}
        assert drawn.labels(ax) == ("probability, %", "")
    alone = plots.zero_shot_bars(PICTURES[0], NAMES, before)
    assert [a.get_title(loc="left") for a in alone.axes] == ["", ""] and drawn.title(alone) == "Tiger (50%)"


def test_pca_scatter():
    groups = ["cat", "dog", "cat", "owl", "dog"]
    scores, _, ratio = plots.pca(Z)
    fig = plots.pca_scatter(Z, groups, title="T")
    (ax,) = fig.axes
    clouds = drawn.clouds(ax)
    kinds = ["cat", "dog", "owl"]
    assert [(c.label, c.colour) for c in clouds] == [(k, SERIES[i].lower()) for i, k in enumerate(kinds)]
    for kind, cloud in zip(kinds, clouds, strict=True):
        drawn.same(cloud.points, scores[[g == kind for g in groups]])
    assert list(drawn.legend(fig)) == kinds
    assert drawn.labels(ax) == tuple(f"component {c} ({100 * ratio[c - 1]:.0f}%)" for c in (1, 2))
    assert not ax.xaxis_inverted() and not ax.yaxis_inverted()


#: at length 1 they are 60, 0 and 60 degrees from their mean, which is along the first axis
SIN, COS = np.sqrt(0.75), 0.5
NAMES_3 = np.array([[COS, SIN, 0, 0], [3, 0, 0, 0], [COS, -SIN, 0, 0]])
ACROSS = np.array([[0, 0, 0.5, 0], [0.6, 0, 0, 0.8], [0, 0, 0.6, -0.8], [0.6, 0.8, 0, 0]])


def test_cone():
    fig = plots.cone({"names": NAMES_3, "pictures": ACROSS})
    (ax,) = fig.axes
    names, pictures = drawn.clouds(ax)
    assert (names.label, pictures.label) == ("names 40° ± 28°", "pictures 72° ± 18°")
    drawn.same(names.points, [[COS, SIN], [1, 0], [COS, SIN]], atol=1e-7)  # every second one below the axis
    drawn.same(pictures.points, [[0, 1], [0.6, -0.8], [0, 1], [0.6, -0.8]], atol=1e-7)
    assert [line for line in drawn.rules(ax) if len(line) == 2] == [[(0, 0), tuple(p)] for p in names.points]
    drawn.same(drawn.arrows(ax), [[[0, 0], [1, 0]]])
    assert ax.get_aspect() == 1 and "names 40° ± 28°, pictures 72° ± 18°" in drawn.title(fig)


def test_two_means():
    fig = plots.two_means({"names": NAMES_3, "pictures": ACROSS, "others": np.eye(4)})
    (ax,) = fig.axes
    unit = ACROSS / np.linalg.norm(ACROSS, axis=1, keepdims=True)
    up = unit.mean(0) * [0, 1, 1, 1]
    up /= np.linalg.norm(up)
    names, pictures, others = drawn.clouds(ax)
    drawn.same(names.points, [[COS, SIN * up[1]], [1, 0], [COS, -SIN * up[1]]], atol=1e-7)
    drawn.same(pictures.points, np.stack([unit[:, 0], unit @ up], 1), atol=1e-7)
    drawn.same(others.points, np.stack([np.eye(4)[:, 0], up], 1), atol=1e-7)
    drawn.same(drawn.arrows(ax), [[[0, 0], [2 / 3, 0]], [[0, 0], [0.3, unit.mean(0) @ up]]], atol=1e-7)
    gap = np.linalg.norm(unit.mean(0) - [2 / 3, 0, 0, 0])
    length = np.linalg.norm(unit.mean(0))
    assert drawn.title(fig) == f"Names and pictures: means 0.67 and {length:.2f} long, {gap:.2f} apart"
    assert ax.get_aspect() == 1


def test_cumulative_variance():
    # about their mean, variances as 4 : 1 : 1, and as 3 : 1
    wide = np.concatenate([np.eye(3), -np.eye(3)]) * [2.0, 1.0, 1.0] + [5, 0, 0]
    flat = np.array([[3**0.5, 0.0], [-(3**0.5), 0.0], [0.0, 1.0], [0.0, -1.0]])
    fig = plots.cumulative_variance({"wide": wide, "flat": flat}, title="T")
    (ax,) = fig.axes
    wanted = {"wide: 1, 3, 3; participation ratio 2": [(1, 200 / 3), (2, 250 / 3), (3, 100)]}
    wanted["flat: 1, 2, 2; participation ratio 2"] = [(1, 75), (2, 100)]
    drawn.same(drawn.lines(ax), wanted)
    assert [line.get_markevery() for line in ax.get_lines()] == [[0, 2, 2], [0, 1, 1]]
    assert list(drawn.legend(fig)) == list(wanted)
    assert ax.get_xscale() == "log" and list(drawn.ticks(ax.yaxis).values()) == [99, 90, 50, 0]
    assert "flat: 1, 2, 2; participation ratio 2" in plots.alt(fig)


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


def test_curves_of_many_counts_have_whole_ticks():
    (ax,) = plots.curves(range(1, 19), {"a": range(18)}, x_label="k", y_label="y", title="T").axes
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


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
    Z, T, labels = rng.normal(size=(9, 4)), rng.normal(size=(3, 4)), torch.tensor([0, 1, 2] * 3)
    Z, T = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (Z, T))
    given = {
        "name – other name": [T[i] @ T[j] for i in range(3) for j in range(3) if i != j],
        "picture – picture of another class": [
            Z[i] @ Z[j] for i in range(9) for j in range(9) if (i - j) % 3
        ],
        "picture – own name": [Z[i] @ T[i % 3] for i in range(9)],
        "picture – other name": [Z[i] @ T[j] for i in range(9) for j in range(3) if i % 3 != j],
    }
    fig = plots.cosine_histogram(Z, T, labels)
    (ax,) = fig.axes
    edges = np.linspace(min(map(min, given.values())), 1, 61)
    middle = (edges[1:] + edges[:-1]) / 2
    wanted = {
        f"{label}, mean {np.mean(x):.2f}": np.stack([middle, np.histogram(x, edges, density=True)[0]], 1)
        for label, x in given.items()
    }
    drawn.same(drawn.lines(ax), wanted, atol=1e-6)
    looks = drawn.legend(fig)
    assert list(looks) == list(wanted) and len(set(looks.values())) == 4
    assert drawn.rules(ax)[0][0][0] == 0 and ax.get_ylim()[0] == 0
    assert drawn.labels(ax) == ("cosine", "density")
    own, other = (np.mean(given[f"picture – {which} name"]) for which in ("own", "other"))
    assert f"{own:.2f} with its own name, {other:.2f} with the others" in drawn.title(fig)


def test_equal_rows_are_refused():
    with pytest.raises(ValueError, match="its 3 rows are all the same"):
        plots.cumulative_variance({"a": np.eye(3), "b": np.ones((3, 4))}, title="Variance")
