"""What the figures of the protocol draw."""

import math
from dataclasses import replace

import drawn
import numpy as np
import pytest

from clipnull import plots
from clipnull.plots.base import BLUE, FORGET, ORANGE, RETAIN
from clipnull.protocol.published import Protocol, ProtocolData
from clipnull.protocol.result import ResultRow, SummaryRow
from clipnull.protocol.score import ScoreParts
from clipnull.report import Change


def test_published_recall():
    data = (
        ProtocolData("pets", ("x",), {"beagle": {"RN50": (91.0, 0), "ViT": (62.0, 0)}, "pug": {"RN50": (83.0, 0), "ViT": (94.0, 0)}},
                     {"RN50": 71.0, "ViT": 75.0}),
        ProtocolData("unpublished", ("y",), {"boat": {}}),
        ProtocolData("cars", ("z",), {"audi": {"RN50": (26.0, 0), "ViT": (37.0, 0)}}, {"RN50": 48.0, "ViT": 59.0}),
    )  # fmt: skip
    fig = plots.published_recall(Protocol("p", (), data))
    (ax,) = fig.axes
    rows = drawn.ticks(ax.yaxis)
    assert list(rows) == ["beagle", "pug", "audi"]
    beagle, pug, audi = rows.values()
    drawn.same(drawn.lines(ax), {"RN50": [(91, beagle), (83, pug)], "ViT": [(62, beagle), (94, pug)]})
    full_a, full_b, cars_a, points_a, cars_b, points_b = drawn.rules(ax)
    drawn.same([points_a, points_b], [[(26, audi)], [(37, audi)]])
    for line, x, first, last in (
        (full_a, 71, beagle, pug), (full_b, 75, beagle, pug), (cars_a, 48, audi, audi), (cars_b, 59, audi, audi)
    ):  # fmt: skip
        drawn.same(line, [(x, first - 0.45), (x, last + 0.45)])
    colours = [line.get_color() for line in ax.get_lines() if len(line.get_xdata())]
    assert colours == [BLUE, BLUE, ORANGE, ORANGE] * 2
    assert [(text, y) for text, _, y in drawn.texts(ax)] == [("pets", beagle), ("cars", audi)]
    looks = drawn.legend(fig)
    assert list(looks) == ["RN50", "ViT", "all classes"]
    assert ax.get_xlabel() == "accuracy before forgetting, %" and ax.get_xlim() == (0, 100)
    assert drawn.title(fig) == "Before forgetting, recall of a single class runs from 26 to 94%"


SUMMARY = [
    SummaryRow(
        "m", joint, method, 3, *[Change(0.8, 0.1)] * 3, 0.9, 0.95, 0.1, ScoreParts(*parts), sum(parts), seconds
    )
    for joint, method, parts, seconds in [
        (False, "CCUP", [0.05, 0.03, 0.011], 0.002), (True, "CCUP", [0.07, 0.04, 0.013], 0.006),
        (False, "finetune", [0.02, 0.09, 0.06], 30.0), (True, "finetune", [0.01, 0.08, 0.1], 50.0),
        (False, "candidate masking", [0.0, 0.001, 0.002], 0.0), (True, "candidate masking", [0.0, 0.003, 0.004], 0.0),
    ]
]  # fmt: skip


def test_score_parts():
    fig = plots.score_parts(SUMMARY)
    labels = ["not forgotten", "lost on the other classes", "lost on other data sets"]
    for ax, joint in zip(fig.axes, (False, True), strict=True):
        rows = {r.method: r for r in SUMMARY if r.joint == joint}
        edges = {m: np.concatenate([[0], np.cumsum(r.parts)]) for m, r in rows.items()}
        wanted = {label: {m: (e[k], e[k + 1]) for m, e in edges.items()} for k, label in enumerate(labels)}
        drawn.same(drawn.bars(ax), wanted)
        assert [(t, y) for t, _, y in drawn.texts(ax)] == [
            (f"{r.score:.3f}", i) for i, r in enumerate(rows.values())
        ]
        assert drawn.rules(ax) == [[(0.2, 0), (0.2, 1)]]  # the score of doing nothing
        assert ax.get_title(loc="left") == ("jointly" if joint else "one at a time")
        assert ax.get_xlabel() == "score (low is good)" and not ax.xaxis_inverted()
    assert drawn.legend(fig) == {
        labels[0]: (FORGET.lower(), ""), labels[1]: (RETAIN.lower(), "///"), labels[2]: (ORANGE.lower(), "...")
    }  # fmt: skip
    lost = [replace(SUMMARY[0], parts=ScoreParts(*[math.nan] * 3), score=math.nan)]
    assert [t for t, *_ in drawn.texts(plots.score_parts(lost).axes[0])] == ["–"]


def kept(method, data, retain, **others):
    changes = {name: Change(*pair) for name, pair in others.items()}
    parts = ScoreParts(0.0, 0.0, 0.0)
    full = Change(1.0, 0.0)
    return ResultRow(
        "m", data, ["x"], method, "image", full, {"2": full}, full, Change(*retain), changes, 0.0, parts, 0.1
    )


def test_kept_elsewhere():
    rows = [
        kept("CCUP", "pets", (0.8, 0.6), cars=(0.5, 0.45), food=(0.9, 0.99)),
        kept("CCUP", "pets", (0.8, 0.4), cars=(0.5, 0.35), food=(0.9, 0.81)),
        kept("CCUP", "cars", (0.5, 0.3), pets=(0.8, 0.76), food=(0.9, 0.45)),
        kept("CCUP", "food", (0.9, 0.63), pets=(0.8, 0.44), cars=(0.0, 0.0)),
        kept("mean", "pets", (0.8, 0.72), cars=(0.5, 0.41), food=(0.9, 0.774)),
        kept("mean", "cars", (0.5, 0.47), pets=(0.8, 0.624), food=(0.9, 0.558)),
        kept("mean", "food", (0.9, 0.873), pets=(0.8, 0.536), cars=(0.5, 0.27)),
    ]
    names = ["pets", "cars", "food"]
    fig = plots.kept_elsewhere(rows, ["mean", "CCUP"])
    wanted = {  # forgotten in a row's data, measured on a column's
        "mean": [[0.9, 0.82, 0.86], [0.78, 0.94, 0.62], [0.67, 0.54, 0.97]],
        "CCUP": [[0.625, 0.8, 1.0], [0.95, 0.6, 0.5], [0.55, math.nan, 0.7]],
    }
    for ax, (method, cells) in zip(fig.axes, wanted.items(), strict=True):
        cells = {a: dict(zip(names, row, strict=True)) for a, row in zip(names, cells, strict=True)}
        drawn.same(drawn.table(ax), cells)
        said = drawn.written(ax)
        for a, row in cells.items():
            for b, x in row.items():
                assert (
                    said[a][b] == "–"
                    if math.isnan(x)
                    else float(said[a][b]) == pytest.approx(100 * x, abs=0.51)
                )
        assert ax.get_title(loc="left") == method and ax.images[0].get_clim() == (0.4, 1.6)
    assert fig.axes[0].get_ylabel() == "forgotten in"
    assert fig.get_supxlabel() == "measured on; the diagonal: its other classes"
