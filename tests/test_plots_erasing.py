"""What the figures of forgetting draw: series, hyperparameters, losers."""

import math

import drawn
import numpy as np
import pytest

from clipnull import plots
from clipnull.plots.base import FORGET, GREY, RETAIN


def test_collateral():
    cosine = np.array([0.9, 0.2, 0.5, 0.7, 0.35, 0.1])
    change = np.array([-0.2, 0.1, -1.0, 0.0, -0.07, -0.01])
    names = ["wolf", "rose", "lion", "pizza", "cat", "fox"]
    fig = plots.collateral(cosine, change, names)
    (ax,) = fig.axes
    others, losers = drawn.clouds(ax)
    drawn.same(others.points, [(0.2, 10), (0.7, 0)])
    drawn.same(losers.points, [(0.9, -20), (0.5, -100), (0.35, -7), (0.1, -1)])
    assert (others.colour, losers.colour) == (RETAIN.lower(), FORGET.lower())
    *numbers, (listed, _, _) = drawn.texts(ax)
    drawn.same(
        {t: (x, y) for t, x, y in numbers},
        {"1": (0.5, -100), "2": (0.9, -20), "3": (0.35, -7), "4": (0.1, -1)},
    )
    assert listed.split("\n") == [
        "largest losses, points",
        "1  lion -100",
        "2  wolf -20",
        "3  cat -7",
        "4  fox -1",
    ]
    assert drawn.rules(ax) == [[(0, 0), (1, 0)]] and not ax.yaxis_inverted()
    assert drawn.labels(ax) == ("cosine of the name with the forgotten one", "change in accuracy, points")
    assert drawn.title(fig) == "67% of the retained classes lose accuracy; the worst is lion (-100 points)"


def test_collateral_keeps_numbers_at_their_points():
    """Numbers of points that lie too close for one each stand together, at the first of them."""
    cosine, change = [0.5, 0.501, 0.9, 0.499, 0.1], [-1.0, -0.999, -0.6, -0.998, 0.2]
    (ax,) = plots.collateral(cosine, change, [f"class {i}" for i in range(5)]).axes
    *numbers, _ = drawn.texts(ax)
    drawn.same({t: (x, y) for t, x, y in numbers}, {"1, 2, 3": (0.5, -100), "4": (0.9, -60)})
    ax.figure.canvas.draw()
    for text in ax.texts[:-1]:
        low, bottom = ax.transData.transform(text.xy)[1], text.get_window_extent().y0
        assert low <= bottom <= low + 10  # pixels


def test_scores_before_after():
    names = ["tiger", "wolf", "rose", "pizza", "cat"]
    before, after = [0.31, 0.27, 0.12, 0.22, 0.05], [0.02, 0.24, 0.13, 0.18, 0.29]
    fig = plots.scores_before_after(before, after, names, forget=["tiger"], k=3, title="T")
    (ax,) = fig.axes
    assert list(drawn.ticks(ax.yaxis)) == ["tiger", "wolf", "pizza", "cat"]  # the last for its score after
    wanted = []
    for row, i in enumerate([0, 1, 3, 4]):
        wanted += [[(before[i], row), (after[i], row)], [(before[i], row)], [(after[i], row)]]
    assert drawn.rules(ax) == wanted
    marks = [line for line in ax.get_lines() if len(line.get_xdata()) == 1]
    filled = [(m.get_color(), m.get_markeredgecolor(), m.get_marker()) for m in marks]
    for row, (colour, shape) in enumerate([(FORGET, "o"), *[(RETAIN, "s")] * 3]):
        assert filled[2 * row] == ("white", colour, shape)
        assert filled[2 * row + 1][::2] == (colour, shape)
    assert {text: look[0] for text, look in drawn.legend(fig).items()} == {"before": "#ffffff", "after": GREY}
    assert ax.get_xlabel() == "cosine of the image with the name" and not ax.xaxis_inverted()
    assert "tiger 0.31 to 0.02; wolf 0.27 to 0.24" in plots.alt(fig)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ((1, 1), "framed: λ = 30, μ = 5, inside the map"),
        ((1, 2), "framed: λ = 30, μ = 10⁴, at the edge in μ"),
        ((2, 0), "framed: λ = ∞, μ = 0, at the edge in λ and μ"),
    ],
)
def test_hyperparameter_map(best, said):
    lams, mus = [1.0, 30.0, math.inf], [0.0, 5.0, 1e4]
    full = np.array([[0.91, 0.82, 0.73], [0.14, 0.25, 0.36], [0.02, 0.01, 0.0]])
    measures = {"full recall": full, "kept": 1 - full, "search": full / 2}
    fig = plots.hyperparameter_map(lams, mus, measures, best=best)
    assert drawn.title(fig).endswith(said)
    for ax, (name, values) in zip(fig.axes, measures.items(), strict=False):
        wanted = {
            r: dict(zip(["0", "5", "10⁴"], 100 * v, strict=True))
            for r, v in zip(["1", "30", "∞"], values, strict=True)
        }
        drawn.same(drawn.table(ax), wanted)
        drawn.same(drawn.numbers(drawn.written(ax)), wanted, 0.5)
        assert ax.get_title(loc="left") == name
        r, _, b, _ = ax.images[0].cmap(0.6)
        assert (b > r) == (name == "kept") and ax.images[0].norm(90) > ax.images[0].norm(10)
        frames = [(p.get_y() + p.get_height() / 2, p.get_x() + p.get_width() / 2) for p in ax.patches]
        assert frames == [pytest.approx(best)]


@pytest.mark.parametrize(
    ("measures", "said"),
    [({}, "got none"), ({"kept": np.ones((3, 2))}, r"measures\['kept'\]: got shape \[3, 2\], want \[2, 3\]")],
)
def test_a_hyperparameter_map_wants_a_value_in_every_cell(measures, said):
    with pytest.raises(ValueError, match=said):
        plots.hyperparameter_map([1.0, 2.0], [0.0, 1.0, 2.0], measures, best=(0, 0))


def test_anchor_maps():
    anchors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.25, 0.75, 0]])
    full = np.array([0.11, 0.52, 0.93, 0.34, 0.45])
    measures = {"search": full, "kept, listed": 1 - full, "certificate": full / 2}
    fig = plots.anchor_maps(anchors, measures, title="Where it goes")
    for ax, (name, values) in zip(fig.axes, measures.items(), strict=True):
        (mesh,) = ax.collections
        drawn.same(mesh.get_array(), values)
        r, _, b, _ = mesh.cmap(0.6)
        assert (b > r) == (name == "kept, listed") and mesh.norm(0.4) > mesh.norm(0.1)
        texts = {text: (x, y) for text, x, y in drawn.texts(ax)}
        for k, corner in enumerate(("silent", "neutral", "its relatives")):
            number = f"{100 * values[k]:.0f}" if name != "certificate" else f"{values[k]:.2f}"
            assert texts[corner] == pytest.approx(texts[number], abs=0.11)
        assert len(texts) == 7, "corners and their numbers, and one middle of an edge"
        assert ax.get_title() == name + ("" if name == "certificate" else ", %")
    assert drawn.title(fig) == "Where it goes"


@pytest.mark.parametrize(
    ("measures", "said"),
    [({}, "got none"), ({"kept": [1.0]}, r"measures\['kept'\]: got shape \[1\], want \[3\]")],
)
def test_anchor_maps_want_a_value_for_each_anchor(measures, said):
    with pytest.raises(ValueError, match=said):
        plots.anchor_maps(np.eye(3), measures, title="Anchors")
