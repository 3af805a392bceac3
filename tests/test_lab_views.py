"""What the views of the lab draw, from made-up results in which every number is different."""

from types import SimpleNamespace

import drawn
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

from clipnull.datasets.pictures import Images
from clipnull.lab import views
from clipnull.lab.result import Became, Geometry, Line, Mathematics, Neighbour, Single
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN, alt
from clipnull.report import Change, NWay

CLASSES = ["tiger", "wolf", "rose", "pizza", "cat"]
COLOURS = ["red", "green", "blue", "yellow", "black", "orange"]
DATA = SimpleNamespace(images=Images(lambda colour: Image.new("RGB", (64, 64), colour), COLOURS))
#: the forgotten classes are tiger and rose; pictures 1 and 3 are of them
CASE = SimpleNamespace(
    classes=CLASSES, forget=[0, 2], forget_names=["tiger", "rose"],
    gone=torch.tensor([False, True, False, True, False, False]),
)  # fmt: skip
REPORT = SimpleNamespace(
    forget_before=0.95, forget_after=0.11, retain_before=0.83, retain_after=0.47, retained=0.566, case=CASE,
    n_way={2: NWay(2, 0.5, 0.99, 0.36)}, search=Change(0.91, 0.28),
)  # fmt: skip


def draw(key, method="mean", **parts):
    """The figure of a view; `parts` are those of the `LabResult` that it reads."""
    state = {"method": method, "lam": None, "mu": None, "strength": None}
    info = {"lam": 3.0, "mu": 7.0, "strength": 1.0 if method == "nullspace" else 0.6}
    made = SimpleNamespace(
        state=state, report=REPORT, case=CASE, data=DATA, edit=SimpleNamespace(info=info), **parts
    )
    return views.view(key, made)


def heading(fig):
    return " ".join(fig.texts[-1].get_text().split())


def rgb(colour):
    return Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_accuracy():
    fig = draw("numbers")
    (ax,) = fig.axes
    names = [
        f"{what}\n{when}" for what in ("forget", "2-way", "search", "retain") for when in ("before", "after")
    ]
    wanted = dict(zip(names, (95, 11, 99, 36, 91, 28, 83, 47), strict=True))
    drawn.same(drawn.ends(ax), wanted)
    assert [colour for colour, _ in drawn.fills(ax).values()] == [
        c.lower() for c in [FORGET] * 6 + [RETAIN] * 2
    ]
    drawn.same(
        [(x, y) for _, x, y in drawn.texts(ax)],
        [(x, wanted[n] + 1) for n, x in drawn.ticks(ax.xaxis).items()],
    )
    said = ["95.0%", "11.0%", "99.0%", "36.0%", "91.0%", "28.0%", "83.0%", "47.0%"]
    assert [text for text, *_ in drawn.texts(ax)] == said
    # chance, each under its own two bars: one of five names, one of two, and of a ranking
    chance = [segment for lines in ax.collections for segment in lines.get_segments()]
    places = list(drawn.ticks(ax.xaxis).values())
    for (start, end), height, k in zip(chance, (20, 50, 50), (0, 2, 4), strict=True):
        assert start[1] == end[1] == pytest.approx(height)
        assert start[0] < places[k] < places[k + 1] < end[0]
    assert ax.get_ylabel() == "%" and not ax.yaxis_inverted()
    assert heading(fig) == "mean (neutral): forget −84.0 points, kept 56.6%; dashed: chance"
    assert alt(fig) == (
        "Forget accuracy 95.0% before, 11.0% after; 2-way recall 99.0% before, 36.0% after, and search 91.0% "
        "before, 28.0% after (chance 50% for both); retain accuracy 83.0% before, 47.0% after, 56.6% of it kept."
    )


LINES = {
    "partial": Line([0.0, 0.5, 1.0], [0.9, 0.4, 0.1], [0.99, 0.74, 0.35], [0.8, 0.75, 0.7]),
    "random": Line([0.0, 0.5, 1.0], [0.91, 0.85, 0.82], [0.98, 0.97, 0.96], [0.79, 0.78, 0.77]),
    "ccup": Line([0.1, 10.0, 1000.0], [0.93, 0.3, 0.02], [0.95, 0.64, 0.24], [0.84, 0.6, 0.5]),
    "mean": Line([0.1, 10.0, 1000.0], [0.06, 0.05, 0.03], [0.51, 0.52, 0.53], [0.86, 0.85, 0.83]),
    "hull": Line([0.1, 10.0, 1000.0], [0.08, 0.07, 0.01], [0.81, 0.88, 0.94], [0.87, 0.89, 0.9]),
}


def paths(ax, colour):
    """Points of the lines of a colour, sorted."""
    found = [x for x in ax.get_lines() if x.get_color() == colour and len(x.get_xdata()) > 1]
    return sorted(np.asarray(x.get_xydata()).round(9).tolist() for x in found)


@pytest.mark.parametrize(
    "method, own, at, kin",
    [
        ("mean", "mean", 7, ["hull"]), ("ccup", "ccup", 3, []),
        ("partial", "partial", 0.6, ["random"]), ("nullspace", "partial", 1, ["random"]),
    ],
)  # fmt: skip
def test_curve(method, own, at, kin):
    fig = draw("curve", method=method, curve=LINES)
    (ax,) = fig.axes

    def along(m, kind):
        return [[x, round(100 * y, 9)] for x, y in zip(LINES[m].values, getattr(LINES[m], kind), strict=True)]

    assert paths(ax, FORGET) == sorted([along(own, "forget"), along(own, "two_way")])
    assert paths(ax, RETAIN) == [along(own, "retain")]
    assert paths(ax, PALE) == sorted(along(m, k) for m in kin for k in ("forget", "retain"))
    named = {line.get_label(): line for line in ax.get_lines()}
    for label, kind in (("forget", "forget"), ("2-way", "two_way"), ("retain", "retain")):
        drawn.same(named[label].get_xydata(), along(own, kind))
    drawn.same(named["you are here"].get_xydata(), [(at, 11), (at, 47)])
    assert ax.get_xscale() == ("linear" if own == "partial" else "log")
    assert not ax.xaxis_inverted() and not ax.yaxis_inverted()
    assert drawn.labels(ax) == (
        {
            "mean": "μ, hold on the other names", "ccup": "λ, pull on the forgotten names",
            "partial": "α, strength of the projection",
        }[own],
        "accuracy after, %",
    )  # fmt: skip
    assert {text: look[0] for text, look in drawn.legend(fig).items()} == {
        "forget": FORGET.lower(), "2-way": FORGET.lower(), "retain": RETAIN.lower(),
        "you are here": "#000000", "other methods": PALE.lower(),
    }  # fmt: skip


#: the first two are forgotten
BEFORE = torch.tensor([[1.0, 0.2], [2.0, 0.4], [-1.0, 0.7], [-2.0, -0.6]])
AFTER = torch.tensor([[-0.5, -1.1], [-0.7, 1.3], [-1.2, 0.8], [-2.1, -0.5]])


@pytest.mark.parametrize("what", ["pictures", "names"])
def test_geometry(what):
    gone = torch.tensor([True, True, False, False])
    fig = draw("pca", geometry=Geometry(what, BEFORE, AFTER, gone, [0.31, 0.12]))
    (ax,) = fig.axes
    clouds = {c.label: c for c in drawn.clouds(ax)}
    wanted = {"before": BEFORE, f"{what} after": AFTER[2:], f"forgotten {what}": AFTER[:2]}
    drawn.same(
        {k: clouds[k].points for k in wanted if k in clouds}, {k: v.numpy() for k, v in wanted.items()}
    )
    assert set(clouds) == set(wanted) == set(drawn.legend(fig))
    colours = [clouds[k].colour for k in wanted]
    assert colours == [PALE.lower(), RETAIN.lower(), FORGET.lower()]
    quivers = [q for q in ax.collections if isinstance(q, Quiver)]
    for quiver, rows, colour in zip(quivers, (slice(2, 4), slice(2)), (GREY, FORGET), strict=True):
        drawn.same(quiver.XY, BEFORE[rows].numpy())
        drawn.same(np.stack([quiver.U, quiver.V], 1), (AFTER - BEFORE)[rows].numpy(), 1e-6)
        assert to_hex(quiver.get_facecolor()[0]) == colour.lower() and quiver.scale == 1
        assert (quiver.angles, quiver.scale_units) == ("xy", "xy")
    assert drawn.labels(ax) == ("first principal component", "second principal component")
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    every = torch.cat([BEFORE, AFTER])
    assert left < every[:, 0].min() and every[:, 0].max() < right
    assert bottom < every[:, 1].min() and every[:, 1].max() < top
    assert "holds 43% of their variance" in heading(fig)
    assert alt(fig) == (
        f"In this plane the forgotten {what} move by 2.415 and the others by 0.183 on average."
    )


def test_pictures():
    went = [Became(1, "tiger", "wolf", 2, 7), Became(3, "rose", "cat", None, 4)]
    fig = draw("images", destinations=went, lost=[Became(0, "pizza", "cat", 5)])
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
        Neighbour("fox", 0.34, 0.0), Neighbour("pear", 0.5, -0.24), Neighbour("bus", 0.2, -0.01),
    ]  # fmt: skip
    fig = draw("neighbours", neighbours=rows)
    (ax,) = fig.axes
    others, lost = drawn.clouds(ax)
    drawn.same(others.points, [(0.13, 8), (0.34, 0), (0.2, -1)])
    drawn.same(sorted(map(tuple, lost.points)), [(0.5, -24), (0.55, -24), (0.91, -62)])
    # the three that its sentence names, in its order
    assert [t.get_text() for t in ax.texts][-1].endswith("1  wolf -62\n2  cat -24\n3  pear -24")
    assert alt(fig).endswith(
        "4 of 6 retained classes lose accuracy and 1 gain. Most of all: wolf (−62.0 at cosine 0.91), "
        "cat (−24.0 at cosine 0.55), pear (−24.0 at cosine 0.50) and 1 more."
    )
    assert not ax.yaxis_inverted() and not ax.xaxis_inverted()
    low, high = ax.get_ylim()
    assert low < -62 and high > 8
    assert drawn.labels(ax) == ("cosine of the name to the forget subspace", "change in accuracy, points")
    assert heading(fig) == "4 of 6 retained classes lose accuracy, 1 gain"


def test_mathematics():
    values = Mathematics(
        rank=3.0,
        orthonormality=2e-7,
        idempotence=4e-15,
        forget_residual=0.512,
        retain_moved=0.034,
        norm_taken=-0.071,
        certificate=0.1234,
    )
    (ax,) = draw("mathematics", mathematics=values).axes
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
        ("certificate", "0.1234"),
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


@pytest.mark.parametrize("name", [r"$\frac$", "b $a_1$ and $\\alpha^2$", "c" + 10_000 * "x", "caf\udce9"])
def test_a_name_draws_as_itself(name):
    single = Single(before=[(name, 0.3)], after=[("cat", 0.1)], true=name, row=1)
    parts = {
        "images": dict(destinations=[Became(1, name, name, 2, 7)], lost=[Became(0, name, "cat", 5)]),
        "neighbours": dict(neighbours=[Neighbour(name, 0.9, -0.6), Neighbour("cat", 0.5, 0.0)]),
        "single": dict(single=single),
    }
    for key, part in parts.items():
        fig = draw(key, **part)
        fig.canvas.draw()
        texts = [t for t in fig.findobj(Text) if t.get_text().strip()]
        assert not any(t.get_parse_math() for t in texts)
        assert max(len(line) for t in texts for line in t.get_text().split("\n")) < 110
        whole = name.replace("\udce9", "?")
        assert any(whole[:7] in t.get_text() for t in texts) and whole in alt(fig)
