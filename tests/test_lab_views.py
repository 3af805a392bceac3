"""What the views of the lab draw, from made-up results in which every number is different."""

from types import SimpleNamespace

import drawn
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.quiver import Quiver
from matplotlib.text import Text
from PIL import Image

from clipnull.datasets.pictures import Images
from clipnull.lab import views
from clipnull.lab.bench import Neighbour, Single
from clipnull.plots.base import FORGET, GREY, PALE, RETAIN, alt
from clipnull.report import Change, NWay

CLASSES = ["tiger", "wolf", "rose", "pizza", "cat"]
COLOURS = ["red", "green", "blue", "yellow", "black", "orange"]
BENCH = SimpleNamespace(
    images=Images(lambda colour: Image.new("RGB", (64, 64), colour), COLOURS),
    where=lambda name: {"pizza": [2], "wolf": [5, 0]}.get(name, []),
)
#: the forgotten classes are tiger and rose; pictures 1 and 3 are of them
LABELS = torch.tensor([1, 0, 3, 2, 4, 1])
CASE = SimpleNamespace(
    classes=CLASSES, forget=[0, 2], forget_names=["tiger", "rose"], retain=[1, 3, 4], listed=[1, 3, 4],
    labels=LABELS, gone=torch.tensor([False, True, False, True, False, False]),
    of=lambda classes: torch.isin(LABELS, torch.tensor(classes)),
)  # fmt: skip


def report(**other):
    """All right before but a wolf; after, one of four kept pictures, and the forgotten became pizza and cat."""
    ways = {2: NWay(2, 0.5, 0.99, 0.36), 4: NWay(4, 0.25, 0.97, 0.12)}
    known = dict(
        forget_before=0.95, forget_after=0.11, retain_before=0.83, retain_after=0.47, retained=0.566,
        predicted_before=torch.tensor([4, 0, 3, 2, 4, 1]), predicted_after=torch.tensor([4, 3, 3, 4, 1, 4]),
        n_way=ways, search=Change(0.91, 0.28), became=lambda k: "wolf (7), cat (4) and 3 others (5)",
        destinations=lambda k: [("pizza", 1), ("cat", 1)][:k],
    )  # fmt: skip
    return SimpleNamespace(**{"case": CASE, **known, **other})


def draw(key, method="mean", **parts):
    """The figure of a view; `parts` are those of the `LabResult` that it reads."""
    state = {"method": method, "lam": None, "mu": None, "strength": None}
    info = {"lam": 3.0, "mu": 7.0, "strength": 1.0 if method == "nullspace" else 0.6}
    made = dict(state=state, report=report(), case=CASE, bench=BENCH, edit=SimpleNamespace(info=info))
    return views.view(key, SimpleNamespace(**{**made, **parts}))


def heading(fig):
    return " ".join(fig.texts[-1].get_text().split())


def rgb(colour):
    return Image.new("RGB", (1, 1), colour).getpixel((0, 0))


OTHERS = {"hull": report(n_way={2: NWay(2, 0.5, 0.99, 0.81), 4: NWay(4, 0.25, 0.97, 0.55)})}
MEASURED = [("full recall", 95, 11), ("2-way recall", 99, 36), ("search", 91, 28), ("kept", 75, 25)]


def test_accuracy():
    fig = draw("numbers", others=OTHERS)
    left, right = fig.axes
    lines = {line.get_label(): (line.get_color(), line.get_xydata()) for line in left.get_lines()}
    wanted = {
        "before": ("#000000", [(2, 99), (4, 97)]), "hull": (views.COLOURS["hull"], [(2, 81), (4, 55)]),
        "mean, here": (views.COLOURS["mean"], [(2, 36), (4, 12)]),
        "chance": ("#000000", [(2, 50), (4, 25)]),
    }  # fmt: skip
    assert {k: colour for k, (colour, _) in lines.items()} == {k: c for k, (c, _) in wanted.items()}
    drawn.same({k: points for k, (_, points) in lines.items()}, {k: p for k, (_, p) in wanted.items()})
    assert list(drawn.legend(fig)) == list(wanted)
    assert left.get_xscale() == "log" and not left.yaxis_inverted() and not left.xaxis_inverted()
    assert drawn.labels(left) == ("names in the list, of 5", "recall of the forgotten, %")
    rows = drawn.ticks(right.yaxis)
    assert list(rows) == [name for name, *_ in MEASURED] and right.yaxis_inverted()
    for (name, before, after), bar, dash in zip(MEASURED, right.patches, right.get_lines(), strict=True):
        assert bar.get_y() < rows[name] < bar.get_y() + bar.get_height()
        assert bar.get_width() == pytest.approx(after) and to_hex(bar.get_facecolor()) == (
            RETAIN if name == "kept" else FORGET
        ).lower()  # fmt: skip
        drawn.same(dash.get_xdata(), [before, before])
        assert min(dash.get_ydata()) < rows[name] < max(dash.get_ydata())
    assert [text for text, *_ in drawn.texts(right)] == [f"{after}.0" for *_, after in MEASURED]
    assert right.get_xlabel() == "%, dashed: before" and heading(fig).startswith("mean (neutral):")
    assert alt(fig) == (
        "Full recall 95.0% before, 11.0% after; 2-way recall 99.0% before, 36.0% after; search 91.0% before, "
        "28.0% after; kept 75.0% before, 25.0% after. Recall in lists of 2: 36.0%, 4: 12.0%."
    )


def test_unlisted_names_have_a_bar_of_their_own():
    case = SimpleNamespace(**{**vars(CASE), "listed": [1, 4]})
    found = views.measures(report(case=case))
    assert list(found)[3:] == ["kept, listed", "unlisted"]
    assert found["kept, listed"] == (pytest.approx(2 / 3), 0.0) and found["unlisted"] == (1.0, 1.0)


def test_triangle():
    before, after = torch.tensor([[-0.1, 1.2], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    fig = draw("triangle", triangle=(before.double(), after.double(), (0.31, 0.04)))
    (ax,) = fig.axes
    said = {name: np.array(at) for name, *at in drawn.texts(ax)}
    corners = np.array([said["silent"], said["neutral"], said["its relatives"]])
    assert corners[0][1] < corners[1][1] == corners[2][1] and corners[1][0] < corners[0][0] < corners[2][0]
    dots = {line.get_label(): line.get_xydata() for line in ax.get_lines() if line.get_marker() == "o"}

    def at(w):
        return [(1 - a - b) * corners[0] + a * corners[1] + b * corners[2] for a, b in w.tolist()]

    drawn.same(dots, {"before": np.array(at(before)), "after": np.array(at(after))}, 1e-6)
    drawn.same(said["tiger"], corners[1])
    drawn.same(said["rose"], corners[0])
    assert "0.04 off the triangle" in heading(fig) and "certificate 0" in said
    assert alt(fig) == (
        "The forgotten names became 50.0% neutral and 0.0% their relatives, the rest silent; 0.04 of them "
        "lies off the triangle, 0.31 before."
    )


PARTLY = [0.0, 0.5, 1.0], [[0.9, 0.4, 0.1], [0.99, 0.74, 0.35], [0.8, 0.75, 0.7]]
LONG = [0.1, 10.0, 1000.0], [[0.93, 0.3, 0.02], [0.95, 0.64, 0.24], [0.84, 0.6, 0.5]]


@pytest.mark.parametrize(
    "method, own, at, along",
    [
        ("mean", "mean", 7, "μ, how firmly the kept names stay"),
        ("ccup", "ccup", 3, "λ, how much of the forgotten names must go"),
        ("partial", "partial", 0.6, "α, strength of the projection"),
        ("nullspace", "partial", 1, "α, strength of the projection"),
    ],
)
def test_curve(method, own, at, along):
    values, lines = PARTLY if own == "partial" else LONG
    kinds = dict(zip(("full recall", "2-way recall", "kept"), lines, strict=True))
    fig = draw("curve", method=method, curve=(own, values, kinds))
    (ax,) = fig.axes
    named = {x.get_label(): x for x in ax.get_lines()}
    for label, kind in kinds.items():
        drawn.same(named[label].get_xydata(), list(zip(values, [100 * y for y in kind], strict=True)))
    drawn.same(named["you are here"].get_xydata(), [(at, 11), (at, 47)])
    assert len(named) == 4 and ax.get_xscale() == ("linear" if own == "partial" else "log")
    assert not ax.xaxis_inverted() and not ax.yaxis_inverted()
    assert drawn.labels(ax) == (along, "accuracy after, %")
    assert {text: look[0] for text, look in drawn.legend(fig).items()} == {
        "full recall": FORGET.lower(), "2-way recall": FORGET.lower(), "kept": RETAIN.lower(),
        "you are here": "#000000",
    }  # fmt: skip
    assert ("the end of partial" in heading(fig)) == (method == "nullspace")


#: the first two are forgotten
BEFORE = torch.tensor([[1.0, 0.2], [2.0, 0.4], [-1.0, 0.7], [-2.0, -0.6]])
AFTER = torch.tensor([[-0.5, -1.1], [-0.7, 1.3], [-1.2, 0.8], [-2.1, -0.5]])


@pytest.mark.parametrize("what", ["pictures", "names"])
def test_geometry(what):
    gone = torch.tensor([True, True, False, False])
    fig = draw("pca", geometry=(what, BEFORE, AFTER, gone, [0.31, 0.12]))
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
    fig = draw("images", destinations=[(1, 7), (3, 4)], lost=[4])
    (ax,) = fig.axes
    sheet = np.asarray(ax.images[0].get_array())
    assert (
        ax.images[0].get_extent() == pytest.approx([0, sheet.shape[1], sheet.shape[0], 0])
        and ax.yaxis_inverted()
    )
    captions = [(t, x, y) for t, x, y in drawn.texts(ax) if t != "→"]
    assert [t for t, *_ in captions] == ["tiger\n→ pizza (×7)", "rose\n→ cat (×4)", "cat\n→ wolf"]
    pointers = [(x, y) for t, x, y in drawn.texts(ax) if t == "→"]
    for (_, x, y), (across, up), (row, now) in zip(
        captions, pointers, [(1, 2), (3, None), (4, 5)], strict=True
    ):
        assert x < across and up < y
        before, after = sheet[int(up), int(across) - 20], sheet[int(up), int(across) + 20]
        assert tuple(before) == rgb(COLOURS[row])
        assert tuple(after) == ((255,) * 3 if now is None else rgb(COLOURS[now]))
    forgotten, _, lost = (y for *_, y in captions)
    assert forgotten < lost
    assert heading(fig) == "The 2 forgotten pictures are now called"
    assert [t.get_text() for t in fig.texts[:-1]] == ["Kept pictures lost: 1"]


def test_pictures_of_a_table_without_any_are_counts():
    fig = draw("images", bench=SimpleNamespace(images=None), destinations=[], lost=[])
    (ax,) = fig.axes
    assert heading(fig).startswith("No pictures at this table")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["tiger (1)", "rose (1)"]
    columns = [t.get_text() for t in ax.get_xticklabels()]
    assert columns == ["pizza", "cat", "others"] and ax.yaxis_inverted()
    assert [(text, x, y) for text, x, y in drawn.texts(ax)] == [("1", 0, 0), ("1", 1, 1)]
    drawn.same(np.asarray(ax.images[0].get_array()), np.array([[1, 0, 0], [0, 1, 0]]))
    assert alt(fig).startswith("The forgotten pictures are now called wolf (7), cat (4) and 3 others (5).")
    none = SimpleNamespace(**{**vars(CASE), "forget": [4], "labels": LABELS.clamp_max(3)})
    fig = draw(
        "images",
        bench=SimpleNamespace(images=None),
        destinations=[],
        lost=[],
        case=none,
        report=report(case=none),
    )
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["cat (0)"]


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
        "4 of 6 kept classes lose accuracy and 1 gain. The nearest is wolf (−62.0 at cosine 0.91). "
        "Most of all: wolf (−62.0 at cosine 0.91), "
        "cat (−24.0 at cosine 0.55), pear (−24.0 at cosine 0.50) and 1 more."
    )
    assert not ax.yaxis_inverted() and not ax.xaxis_inverted()
    low, high = ax.get_ylim()
    assert low < -62 and high > 8
    assert drawn.labels(ax) == ("cosine of the name to the forget subspace", "change in accuracy, points")
    assert heading(fig) == "4 of 6 kept classes lose accuracy, 1 gain; the nearest, wolf: −62.0 points"


def test_mathematics():
    values = dict(
        rank=3.0,
        idempotence=4e-15,
        forget_residual=0.512,
        retain_moved=0.034,
        norm_taken=-0.071,
        certificate=0.1234,
        shorter=0.985,
    )
    (ax,) = draw("mathematics", mathematics=values).axes
    rows = {}
    for text, x, y in drawn.texts(ax):
        rows.setdefault(y, []).append((x, text))
    said = [[text for _, text in sorted(row)] for _, row in sorted(rows.items()) if len(row) > 1]
    assert ax.yaxis_inverted() and [(row[0], row[1]) for row in said] == [
        ("rank$(I - W)$", "3"),
        (r"$\|P^2 - P\|$", "< 1e−12"),
        (r"$\|W T_f\|$", "0.512"),
        (r"$\|W T_r - T_r\|$", "0.034"),
        (r"mean of $1 - \|W^\top z\| / \|z\|$", "−0.071"),
        ("certificate", "0.1234"),
        ("answers of the shorter list", "98.5%"),
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
    bare = draw("single", single=single, bench=SimpleNamespace(images=None)).axes[0]
    assert not bare.images and [t.get_text() for t in bare.texts] == ["no picture\nat this table"]


@pytest.mark.parametrize("name", [r"$\frac$", "b $a_1$ and $\\alpha^2$", "c" + 10_000 * "x", "caf\udce9"])
def test_a_name_draws_as_itself(name):
    single = Single(before=[(name, 0.3)], after=[("cat", 0.1)], true=name, row=1)
    parts = {
        "images": dict(case=SimpleNamespace(**{**vars(CASE), "classes": [name] * 5}), destinations=[(1, 7)],
                       lost=[4]),
        "neighbours": dict(neighbours=[Neighbour(name, 0.9, -0.6), Neighbour("cat", 0.5, 0.0)]),
        "single": dict(single=single),
    }  # fmt: skip
    for key, part in parts.items():
        fig = draw(key, **part)
        FigureCanvasAgg(fig).draw()
        texts = [t for t in fig.findobj(Text) if t.get_text().strip()]
        assert not any(t.get_parse_math() for t in texts)
        assert max(len(line) for t in texts for line in t.get_text().split("\n")) < 110
        whole = name.replace("\udce9", "?")
        assert any(whole[:7] in t.get_text() for t in texts) and whole in alt(fig)
