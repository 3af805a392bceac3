"""What the figures of the audit draw."""

import math
import sys
from types import SimpleNamespace

import drawn
import numpy as np
import torch

from clipnull import plots
from clipnull.auditing.confidence import Bins
from clipnull.auditing.words import Word
from clipnull.plots.base import BLACK, FORGET, GREY, PALE, RETAIN


def test_fingerprint():
    names = ["wolf", "tiger", "rose", "pizza"]
    share = {"wolf": 0.8, "rose": 0.7, "pizza": 0.4, "tiger": 0.2}
    scores = torch.tensor([share[n] for n in names])
    found = SimpleNamespace(
        rank=2, singular_values=torch.tensor([7.0, 3.0, 2e-6, 1e-6, 5e-7]), noise=4e-6, scores=scores, names=names,
        ranking=lambda: list(share),
    )  # fmt: skip
    fig = plots.fingerprint(found, ["tiger", "pizza"], title="Two directions")
    left, right = fig.axes
    every, edited, noise = (np.array(points) for points in drawn.rules(left))
    drawn.same(every, [(1, 7), (2, 3), (3, 2e-6), (4, 1e-6), (5, 5e-7)])
    drawn.same(edited, [(1, 7), (2, 3)])
    drawn.same(noise, [(0, 4e-6), (1, 4e-6)])
    assert [line.get_color() for line in left.get_lines()] == [GREY, FORGET, BLACK]
    assert left.get_yscale() == "log" and drawn.labels(left) == ("number", "singular value of the difference")
    drawn.same(drawn.ends(right), share, 1e-6)
    hit, other = (FORGET.lower(), "///"), (PALE.lower(), "")
    assert drawn.fills(right) == {n: hit if n in ("tiger", "pizza") else other for n in share}
    assert [(t, y) for t, _, y in drawn.texts(right)] == [
        (f"{v:.2f}", i) for i, v in enumerate(share.values())
    ]
    assert right.get_xlabel() == "share of the name in the span" and not right.xaxis_inverted()
    assert drawn.title(fig) == "Two directions" and "wolf 0.80, rose 0.70" in plots.alt(fig)


def probe(layer, before, after, control, identical):
    return SimpleNamespace(layer=layer, before=before, after=after, control=control, identical=identical)


def test_layer_probe():
    probes = [
        probe("block 1", 0.41, 0.42, 0.11, True),
        probe("before the layer", 0.73, 0.74, 0.13, True),
        probe("embedding", 0.95, 0.36, 0.17, False),
    ]
    fig = plots.layer_probe(probes, (0.89, 0.03))
    (ax,) = fig.axes
    series = {
        "probe, before": ("before", RETAIN, "s"),
        "probe, after": ("after", FORGET, "o"),
        "probe, shuffled labels": ("control", GREY, "x"),
    }
    wanted = {
        label: [(i, 100 * getattr(p, k)) for i, p in enumerate(probes)] for label, (k, _, _) in series.items()
    }
    drawn.same(drawn.lines(ax), wanted)
    looks = drawn.legend(fig)
    assert {n: (look[0], look[2]) for n, look in looks.items()} == {
        n: (colour.lower(), mark) for n, (_, colour, mark) in series.items()
    }
    assert list(drawn.ticks(ax.xaxis)) == ["block 1", "before\nthe layer", "embedding", "names"]
    edge, before, after = drawn.rules(ax)
    assert edge == [(1.5, 0), (1.5, 1)]
    drawn.same([before, after], [[(3, 89)], [(3, 3)]])
    assert [line.get_color() for line in ax.get_lines()[-2:]] == [RETAIN, FORGET]
    said = {text: x for text, x, _ in drawn.texts(ax)}
    assert said["equal, bit for bit"] < 1.5 < said["edited"]
    assert ax.get_ylabel() == "balanced accuracy, %" and ax.get_ylim() == (-4, 104)


def measurement(name, before, after, control, spread=math.nan, against="", unit="%", **more):
    return SimpleNamespace(
        name=name, before=before, after=after, control=control, spread=spread, against=against, unit=unit,
        **{"values": ()} | more, cells=lambda: [name, f"{before}", f"{after}", f"{control}"],
    )  # fmt: skip


def test_controls():
    rows = [
        measurement(
            "a",
            0.92,
            0.04,
            0.5,
            against="random directions",
            values=(0.61, 0.33, 0.61, 0.61, 0.87),
        ),
        measurement(
            "b",
            0.83,
            0.15,
            0.5,
            against="names of other classes",
            values=torch.tensor([0.22, 0.76]),
        ),
        measurement("c", 0.7, 0.6, 0.5, against="left out"),
    ]
    fig = plots.controls(rows)
    (ax,) = fig.axes
    drawn.same(drawn.ticks(ax.yaxis), {"random directions": 0, "names of other classes": 1})
    fan = 0.08  # three seeds with the same recall lie side by side
    first = [(61, -fan), (33, 0), (61, 0), (61, fan), (87, 0)]
    wanted = {"controls, one per seed": first, "before": [(92, 0), (83, 1)], "after": [(4, 0), (15, 1)]}
    drawn.same(drawn.lines(ax), wanted, 1e-5)
    (second,) = drawn.rules(ax)
    drawn.same(second, [(22, 1), (76, 1)], 1e-5)
    looks = drawn.legend(fig)
    assert looks["after"][0] == FORGET.lower() and looks["before"] == ("#ffffff", BLACK, "D", "None")
    assert ax.get_xlabel() == "recall of the forgotten classes, %" and ax.get_xlim() == (-3, 103)


def test_verdicts_are_cells_in_hundredths_and_a_dash_for_none():
    panels = {
        "one": {"recall": [0.98, 0.0], "probe": [0.9, math.nan]},
        "two": {"recall": [0.91, 0.07]},
    }
    fig = plots.verdicts(panels, ["before", "mean"], title="T")
    left, right = fig.axes
    assert list(drawn.ticks(left.yaxis)) == ["recall", "probe"]
    assert list(drawn.ticks(right.xaxis)) == ["before", "mean"]
    cells = [{(y, x): text for text, x, y in drawn.texts(ax)} for ax in (left, right)]
    assert cells[0] == {(0, 0): "98", (0, 1): "0", (1, 0): "90", (1, 1): "–"}
    assert cells[1] == {(0, 0): "91", (0, 1): "7", (1, 0): "–", (1, 1): "–"}
    assert [ax.get_title("left") for ax in fig.axes] == ["one", "two"] and drawn.title(fig) == "T"
    assert "one, probe: before 90; two, recall: before 91, mean 7" in plots.alt(fig)


def test_words(monkeypatch):
    words = [
        Word("hound", 1, 0.81, 0.14, 0.07, False),
        Word("big cat", 0, 0.72, 0.45, 0.08, True),
        Word("kitty", 0, 0.63, 0.36, 0.09, False),
        Word("tigers", 0, 0.94, 0.16, 0.02, False),
        Word("wolves", 1, 0.55, 0.57, 0.03, True),
    ]
    row = measurement("other words", 0, 0, 0, against="another class's word", words=words)
    monkeypatch.setattr(sys.modules["clipnull.plots.auditing"], "WORDS", 4)
    fig = plots.words(row, ["tiger", "wolf"])
    (ax,) = fig.axes
    loudest = {  # before, after, control in percent: by what is recalled after the edit
        "wolves (wolf)": (55, 57, 3),
        "big cat (tiger)": (72, 45, 8),
        "kitty (tiger)": (63, 36, 9),
        "tigers (tiger)": (94, 16, 2),
    }
    assert drawn.ticks(ax.yaxis) == {name: i for i, name in enumerate(loudest)}
    before, after, control = ([(v[k], i) for i, v in enumerate(loudest.values())] for k in range(3))
    drawn.same(drawn.lines(ax), {"another class's word": control, "before": before, "after": after})
    spans = [[(min(b, a), i), (max(b, a), i)] for i, (b, a, _) in enumerate(loudest.values())]
    drawn.same(drawn.segments(ax), spans)
    assert list(drawn.legend(fig)) == ["another class's word", "before", "after"]
    assert ax.get_xlabel() == "recall of the class by this word, %" and ax.get_xlim() == (-3, 103)


def test_reliability():
    tables = {
        "before": Bins(images=[0, 30, 70, 0], confidence=[0, 0.35, 0.66, 0], accuracy=[0, 0.5, 0.6, 0]),
        "after": Bins(images=torch.tensor([5, 0, 0, 15]), confidence=torch.tensor([0.2, 0, 0, 0.9]),
                      accuracy=torch.tensor([0.4, 0, 0, 0.7])),
    }  # fmt: skip
    fig = plots.reliability(tables)
    wanted = {  # middle of the bin, accuracy, confidence, images
        "before": [(37.5, 50, 35, "30"), (62.5, 60, 66, "70")],
        "after": [(12.5, 40, 20, "5"), (87.5, 70, 90, "15")],
    }
    for ax, rows in zip(fig.axes, wanted.values(), strict=True):
        accuracy, gap = ax.containers
        middles = [x for x, *_ in rows]
        for bars in (accuracy, gap):
            drawn.same([bar.get_x() + bar.get_width() / 2 for bar in bars], middles)
        drawn.same([bar.get_bbox().intervaly for bar in accuracy], [(0, a) for _, a, *_ in rows], 1e-5)
        drawn.same(
            [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in gap],
            [(a, c) for _, a, c, _ in rows],
            1e-5,
        )
        assert [(t, x) for t, x, _ in drawn.texts(ax)] == [(n, x) for x, _, _, n in rows]
        drawn.same(drawn.lines(ax), {"accuracy = confidence": [(0, 0), (100, 100)]})
        assert ax.get_xlim() == (0, 100) and ax.get_xlabel() == "top-1 confidence, %"
    assert [ax.get_title(loc="left") for ax in fig.axes] == [
        "before: 8.7 points apart",
        "after: 20.0 points apart",
    ]
    assert fig.axes[0].get_ylabel() == "accuracy, %"
    looks = drawn.legend(fig)
    assert set(looks) == {"accuracy", "gap to confidence", "accuracy = confidence"}
    assert looks["accuracy"] == (RETAIN.lower(), None) and looks["gap to confidence"][1] == "///"
