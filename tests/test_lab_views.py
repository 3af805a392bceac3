"""What the views of the lab draw, from made-up results in which every number is different."""

from types import SimpleNamespace

import drawn
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.quiver import Quiver
from PIL import Image

from clipnull.datasets.pictures import Images
from clipnull.lab import views
from clipnull.lab.result import Became, Cloud, Geometry, Line, Mathematics, Neighbour, Single
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN

CLASSES = ["tiger", "wolf", "rose", "pizza", "cat"]
COLOURS = ["red", "green", "blue", "yellow", "black", "orange"]
DATA = SimpleNamespace(images=Images(lambda colour: Image.new("RGB", (64, 64), colour), COLOURS))
#: the forgotten classes are tiger and rose; pictures 1 and 3 are of them
REPORT = SimpleNamespace(forget_before=0.95, forget_after=0.11, retain_before=0.83, retain_after=0.47)
CASE = SimpleNamespace(
    classes=CLASSES, forget=[0, 2], forget_names=["tiger", "rose"],
    gone=torch.tensor([False, True, False, True, False, False]),
)  # fmt: skip


def draw(key, half=False, thumbnails=False, method="anchored", **parts):
    """The figure of a view; `parts` are those of the `LabResult` that it reads."""
    state = {"method": method, "lam": 10.0, "strength": 0.6}
    made = SimpleNamespace(state=state, report=REPORT, case=CASE, data=DATA, **parts)
    return views.figure(key, made, half, thumbnails)


def heading(fig):
    return " ".join(fig.texts[-1].get_text().split())


def rgb(colour):
    return Image.new("RGB", (1, 1), colour).getpixel((0, 0))


@pytest.mark.parametrize("half", [False, True])
def test_accuracy(half):
    fig = draw("numbers", half)
    (ax,) = fig.axes
    names = ["forget\nbefore", "forget\nafter", "retain\nbefore", "retain\nafter"]
    wanted = dict(zip(names, (95, 11, 83, 47), strict=True))
    drawn.same(drawn.ends(ax), wanted)
    assert [colour for colour, _ in drawn.fills(ax).values()] == [
        c.lower() for c in [FORGET] * 2 + [RETAIN] * 2
    ]
    drawn.same(
        [(x, y) for _, x, y in drawn.texts(ax)],
        [(x, wanted[n] + 1) for n, x in drawn.ticks(ax.xaxis).items()],
    )
    assert [text for text, *_ in drawn.texts(ax)] == ["95.0%", "11.0%", "83.0%", "47.0%"]
    assert ax.get_ylabel() == "accuracy, %" and not ax.yaxis_inverted()
    assert heading(fig).endswith("forget −84.0, retain −36.0 points")


LINES = {
    "partial": Line([0.0, 0.5, 1.0], forget=[0.9, 0.4, 0.1], retain=[0.8, 0.75, 0.7]),
    "random": Line([0.0, 0.5, 1.0], forget=[0.91, 0.85, 0.82], retain=[0.79, 0.78, 0.77]),
    "ccup": Line([0.1, 10.0, 1000.0], forget=[0.93, 0.3, 0.02], retain=[0.84, 0.6, 0.5]),
    "anchored": Line([0.1, 10.0, 1000.0], forget=[0.92, 0.2, 0.03], retain=[0.86, 0.85, 0.83]),
}


def paths(ax, colour):
    """Points of the lines of a colour, sorted."""
    found = [x for x in ax.get_lines() if x.get_color() == colour and len(x.get_xdata()) > 1]
    return sorted(np.asarray(x.get_xydata()).round(9).tolist() for x in found)


@pytest.mark.parametrize(
    "method, own, at", [("anchored", "anchored", 10), ("ccup", "ccup", 10), ("partial", "partial", 0.6), ("nullspace", "partial", 1)]
)  # fmt: skip
def test_curve(method, own, at):
    log = method in ("anchored", "ccup")
    fig = draw("curve", method=method, curve=LINES)
    left, right = fig.axes

    def along(m, kind):
        return [[x, round(100 * y, 9)] for x, y in zip(LINES[m].values, getattr(LINES[m], kind), strict=True)]

    def plane(m):
        return [
            [round(100 * f, 9), round(100 * r, 9)]
            for f, r in zip(LINES[m].forget, LINES[m].retain, strict=True)
        ]

    assert paths(left, FORGET) == [along(own, "forget")] and paths(left, RETAIN) == [along(own, "retain")]
    assert paths(right, "k") == [plane(own)]
    kin = ("ccup", "anchored") if log else ("partial", "random")
    assert paths(left, PALE) == sorted(along(m, k) for m in kin if m != own for k in ("forget", "retain"))
    assert paths(right, PALE) == sorted(plane(m) for m in LINES if m != own)
    (here,) = [x for x in left.get_lines() if x.get_marker() == "D"]
    (there,) = [x for x in right.get_lines() if x.get_marker() == "D"]
    drawn.same(here.get_xydata(), [(at, 11), (at, 47)])
    drawn.same(there.get_xydata(), [(11, 47)])
    assert left.get_xscale() == ("log" if log else "linear") and not left.xaxis_inverted()
    assert right.xaxis_inverted() and not right.yaxis_inverted()  # forgotten is to the right
    assert drawn.labels(left) == (
        "λ, pull on the forgotten names" if log else "α, strength of the projection",
        "accuracy after, %",
    )
    assert drawn.labels(right) == ("forget accuracy after, %", "retain")
    assert {text: look[0] for text, look in drawn.legend(fig).items()} == {
        "forget": FORGET.lower(), "retain": RETAIN.lower(), "you are here": "#000000", "other methods": PALE.lower()
    }  # fmt: skip


#: pictures drawn are rows 1, 3, 0, 5 of the data, the first two forgotten
IMAGE = torch.tensor([[1.0, 0.2], [2.0, 0.4], [-1.0, 0.7], [-2.0, -0.6]])
IMAGE_AFTER = torch.tensor([[-0.5, -1.1], [-0.7, 1.3], [-1.2, 0.8], [-2.0, -0.6]])
TEXT = torch.tensor([[3.0, 1.0], [0.1, 1.5], [2.5, -1.4], [0.3, -1.7], [0.6, 1.9]])
TEXT_AFTER = torch.tensor([[0.9, 1.2], [0.2, 1.6], [0.8, -1.3], [0.4, -1.8], [0.7, 2.0]])


PICTURES = Cloud(IMAGE, IMAGE_AFTER, torch.tensor([True, True, False, False]), [1, 3, 0, 5])
NAMES = Cloud(TEXT, TEXT_AFTER, torch.tensor([True, False, True, False, False]), [])


def geometry(*kinds):
    return Geometry([0.31, 0.12], {k: {"pictures": PICTURES, "names": NAMES}[k] for k in kinds})


CLOUDS = {
    "pictures": {"pictures after": IMAGE_AFTER[2:], "forgotten pictures": IMAGE_AFTER[:2]},
    "names": {"names after": TEXT_AFTER[[1, 3, 4]], "forgotten names": TEXT_AFTER[[0, 2]]},
}


@pytest.mark.parametrize("kinds", [("pictures",), ("names",), ("pictures", "names")])
def test_geometry(kinds):
    fig = draw("pca", geometry=geometry(*kinds))
    (ax,) = fig.axes
    before, after, gone = (np.concatenate([c[i] for c in geometry(*kinds).clouds.values()]) for i in range(3))
    clouds = {c.label: c for c in drawn.clouds(ax)}
    wanted = {"before": before, **{k: v.numpy() for kind in kinds for k, v in CLOUDS[kind].items()}}
    drawn.same({k: clouds[k].points for k in wanted if k in clouds}, wanted)
    assert set(clouds) == set(wanted)
    colours = {k: c.colour for k, c in clouds.items()}
    assert colours == {
        k: (PALE if k == "before" else FORGET if "forgotten" in k else RETAIN).lower() for k in wanted
    }
    assert set(drawn.legend(fig)) == set(wanted)
    quivers = [q for q in ax.collections if isinstance(q, Quiver)]
    for quiver, which, colour in zip(quivers, (False, True), (GREY, FORGET), strict=True):
        shown = ~np.broadcast_to(quiver.Umask, len(quiver.U))
        moves = (gone == which) & (np.linalg.norm(after - before, axis=1) > 0)  # what stays has no arrow
        drawn.same(quiver.XY[shown], before[moves])
        drawn.same(np.stack([quiver.U, quiver.V], 1)[shown], (after - before)[moves], 1e-6)
        assert to_hex(quiver.get_facecolor()[0]) == colour.lower() and quiver.scale == 1
    assert (quivers[0].angles, quivers[0].scale_units) == ("xy", "xy")
    assert drawn.labels(ax) == ("first principal component", "second principal component")
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    every = np.concatenate([before, after])
    assert left < every[:, 0].min() and every[:, 0].max() < right
    assert bottom < every[:, 1].min() and every[:, 1].max() < top
    assert "holds 43% of their variance" in heading(fig)


def test_geometry_with_pictures():
    (ax,) = draw("pca", thumbnails=True, geometry=geometry("pictures", "names")).axes
    boxes = [box for box in ax.artists if isinstance(box, AnnotationBbox)]
    drawn.same([box.xy for box in boxes], IMAGE_AFTER)
    assert [tuple(box.offsetbox.get_data()[0, 0]) for box in boxes] == [
        rgb(COLOURS[row]) for row in (1, 3, 0, 5)
    ]
    assert [box.patch.get_visible() for box in boxes] == [
        True,
        True,
        False,
        False,
    ]  # the forgotten are framed


@pytest.mark.parametrize("half", [False, True])
def test_pictures(half):
    went = [Became(1, "tiger", "wolf", 2, 7), Became(3, "rose", "cat", None, 4)]
    fig = draw("images", half, destinations=went, lost=[Became(0, "pizza", "cat", 5)])
    (ax,) = fig.axes
    sheet = np.asarray(ax.images[0].get_array())
    assert (
        ax.images[0].get_extent() == pytest.approx([0, sheet.shape[1], sheet.shape[0], 0])
        and ax.yaxis_inverted()
    )
    captions = [(t, x, y) for t, x, y in drawn.texts(ax) if t != "→"]
    assert [t for t, *_ in captions] == ["tiger\n→ wolf (×7)", "rose\n→ cat (×4)", "pizza\n→ cat"]
    pointers = [(x, y) for t, x, y in drawn.texts(ax) if t == "→"]
    for (_, x, y), (across, up), (row, now) in zip(
        captions, pointers, [(1, 2), (3, None), (0, 5)], strict=True
    ):
        assert x < across and up < y
        before, after = sheet[int(up), int(across) - 20], sheet[int(up), int(across) + 20]
        assert tuple(before) == rgb(COLOURS[row])
        assert tuple(after) == ((255,) * 3 if now is None else rgb(COLOURS[now]))
    forgotten, _, lost = (y for *_, y in captions)
    assert forgotten < lost
    assert heading(fig) == "The 2 forgotten pictures are now called"
    assert [t.get_text() for t in fig.texts[:-1]] == ["Retained pictures lost: 1"]


def test_neighbours():
    rows = [
        Neighbour("wolf", 0.91, -0.62), Neighbour("pizza", 0.13, 0.08), Neighbour("cat", 0.55, -0.24),
        Neighbour("fox", 0.34, 0.0), Neighbour("pear", 0.5, -0.25), Neighbour("bus", 0.2, -0.01),
    ]  # fmt: skip
    fig = draw("neighbours", neighbours=rows)
    (ax,) = fig.axes
    (points,) = drawn.clouds(ax)
    drawn.same(points.points, [(0.91, -62), (0.13, 8), (0.55, -24), (0.34, 0), (0.5, -25), (0.2, -1)])
    # the three that its sentence names, each at its point, those at nearly the same height apart
    named = {text.get_text(): text for text in ax.texts}
    drawn.same(
        {t: text.xy for t, text in named.items()},
        {"wolf": (0.91, -62), "pear": (0.5, -25), "cat": (0.55, -24)},
    )
    assert all(
        f"{name} (" in views.PANELS["neighbours"].sentence(SimpleNamespace(neighbours=rows)) for name in named
    )
    assert not named["pear"].get_window_extent().overlaps(named["cat"].get_window_extent())
    for text in ax.texts:
        assert np.hypot(*text.get_position()) < 60
    assert drawn.rules(ax) == [[(0, 0), (1, 0)]] and not ax.yaxis_inverted() and not ax.xaxis_inverted()
    assert drawn.labels(ax) == ("cosine of the name to the forget subspace", "change in accuracy, points")
    assert heading(fig) == "4 of 6 retained classes lose accuracy, 1 gain"


@pytest.mark.parametrize("half", [False, True])
def test_mathematics(half):
    values = Mathematics(
        rank=3.0,
        orthonormality=2e-7,
        idempotence=4e-15,
        forget_residual=0.512,
        retain_moved=0.034,
        norm_taken=-0.071,
    )
    (ax,) = draw("mathematics", half, mathematics=values).axes
    rows = {}
    for text, x, y in drawn.texts(ax):
        rows.setdefault(y, []).append((x, text))
    said = [[text for _, text in sorted(row)] for _, row in sorted(rows.items()) if len(row) > 1]
    assert ax.yaxis_inverted() and [(row[0], row[1]) for row in said] == [
        ("rank$(I - W)$", "3"),
        (r"$\|U^\top U - I\|$", "2.0e−07"),
        (r"$\|P^2 - P\|$", "< 1e−12"),
        (r"$\|W T_f\|$", "0.512"),
        (r"$\|W T_r - T_r\|$", "0.034"),
        (r"mean of $1 - \|W^\top z\| / \|z\|$", "−0.071"),
    ]


def test_one_picture():
    single = Single(
        row=3, true="rose", before=[("rose", 0.31), ("cat", 0.22), ("wolf", 0.17)],
        after=[("wolf", 0.28), ("rose", 0.12), ("cat", -0.05)],
    )  # fmt: skip
    fig = draw("single", single=single)
    picture, before, after = fig.axes
    assert tuple(np.asarray(picture.images[0].get_array())[5, 5]) == rgb(COLOURS[3])
    for ax, key, kept in ((before, "before", GREY), (after, "after", RETAIN)):
        best = getattr(single, key)
        bars = [bar for bar in ax.patches if bar.get_width()]
        drawn.same([bar.get_width() for bar in bars], [c for _, c in best if c > 0])
        words = drawn.texts(ax)
        assert [text for text, *_ in words] == [f"{name}  {c:.2f}" for name, c in best]
        for bar, (_, x, y) in zip(bars, words, strict=False):
            assert x == bar.get_x() == 0 and abs(bar.get_y() - y) < 0.5  # a name stands on its bar
        colours = [to_hex(bar.get_facecolor()) for bar in bars]
        assert colours == [(FORGET if name == "rose" else kept).lower() for name, c in best if c > 0]
        assert ax.yaxis_inverted() and ax.get_xlabel() == "cosine" and ax.get_title(loc="left") == key
    assert heading(fig) == "“rose” was called “rose”, now “wolf”"
    given = single._replace(row=None, true="", picture=Image.new("RGB", (8, 8), "purple"))
    shown = draw("single", single=given).axes[0].images[0].get_array()
    assert tuple(np.asarray(shown)[0, 0]) == rgb("purple")
