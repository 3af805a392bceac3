"""What the figures of the protocol draw."""

import math

import drawn
import numpy as np

from clipnull import plots
from clipnull.plots.base import BLUE, FORGET, ORANGE, RETAIN
from clipnull.protocol.published import BeforeRow
from clipnull.protocol.result import SummaryRow
from clipnull.report import Change


def row(model, data, name, forget, retain, published_forget=None, published_retain=None):
    return BeforeRow(model, data, name, 4, forget, retain, published_forget, published_retain)


def test_recall_before():
    fig = plots.recall_before([
        row("RN50", "pets", "beagle", 0.91, 0.7, 89.0, 70.0), row("RN50", "pets", "pug", 0.83, 0.7, 80.0, 70.0),
        row("RN50", "pets", "all classes", None, 0.71, None, 72.0),
        row("ViT", "pets", "beagle", 0.62, 0.7), row("ViT", "pets", "pug", math.nan, 0.7),
        row("ViT", "pets", "all classes", None, 0.75),
        row("RN50", "cars", "audi", None, None, 26.0, 48.0)._replace(images=0),
        row("RN50", "cars", "all classes", None, None, None, 48.0),
    ])  # fmt: skip
    (ax,) = fig.axes
    rows = drawn.ticks(ax.yaxis)
    assert list(rows) == ["beagle (4)", "pug (4)", "audi"]
    beagle, pug, audi = rows.values()
    measured, published = [(91, beagle), (83, pug)], [(89, beagle), (80, pug), (26, audi)]
    drawn.same(drawn.lines(ax), {"RN50": measured, "RN50, published": published, "ViT": [(62, beagle)]})
    wanted = [(71, beagle, pug), (72, beagle, pug), (48, audi, audi), (75, beagle, pug)]
    for line, (x, first, last) in zip(drawn.rules(ax), wanted, strict=True):
        drawn.same(line, [(x, first - 0.45), (x, last + 0.45)])
    looks = {x.get_label(): (x.get_color(), x.get_markerfacecolor()) for x in ax.get_lines()}
    assert looks["RN50"] == (BLUE, BLUE) and looks["RN50, published"] == (BLUE, "white")
    assert looks["ViT"] == (ORANGE, ORANGE)
    styles = [x.get_linestyle() for x in ax.get_lines() if str(x.get_label()).startswith("_")]
    assert styles == ["-", "--", "--", "-"]
    assert [(text, y) for text, _, y in drawn.texts(ax)] == [("pets", beagle), ("cars", audi)]
    assert list(drawn.legend(fig)) == ["RN50", "RN50, published", "ViT", "all classes"]
    assert drawn.title(fig) == "Before forgetting, recall of a single class runs from 26 to 91%"


SUMMARY = [
    SummaryRow(
        "m", joint, method, 5, *[Change(0.8, 0.1)] * 3, 0.9, 0.95, 0.1, tuple(parts), sum(parts), seconds
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
    two = [r._replace(terms=2) for r in SUMMARY]  # no other data set
    assert [drawn.rules(ax) for ax in plots.score_parts(two).axes] == [[[(0.5, 0), (0.5, 1)]]] * 2
    lost = [SUMMARY[0]._replace(parts=(math.nan,) * 3, score=math.nan)]
    assert [t for t, *_ in drawn.texts(plots.score_parts(lost).axes[0])] == ["–"]
