"""The figure of n-way recall and search draws what reports and comparisons say, where they say it."""

import drawn
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

import clipnull as cn
from clipnull import plots
from clipnull.comparison import Comparison, Figures, Row, Spread
from clipnull.plots.base import BLACK, GREY
from clipnull.report import Change, NWay

WAYS = (2, 5, 10, "all")
NAMES = (2, 5, 10, 30)


class Said:
    """What a report says: no two numbers are equal."""

    def __init__(self, after, search, before=(0.99, 0.97, 0.95, 0.93), found=0.98):
        pairs = zip(WAYS, NAMES, before, after, strict=True)
        self.n_way = {n: NWay(names, 1 / names, b, a) for n, names, b, a in pairs}
        self.search = Change(found, search)


def reports():
    return {
        "mean": Said((0.52, 0.21, 0.08, 0.01), 0.47),
        "hull": Said((0.83, 0.61, 0.34, 0.01), 0.72),
        "partial": Said((0.94, 0.89, 0.79, 0.66), 0.96),
        "candidate masking": Said((0.0, 0.0, 0.0, 0.0), float("nan")),
    }


def spreads(values, std):
    return [Spread(v, std + v / 100) for v in values]


def figures(values, search, std):
    one = Spread(0.5, 0.1)
    return Figures(one, dict(zip(WAYS, spreads(values, std), strict=True)), Spread(search, std), one, one)


def comparison(other=True):
    rows = [
        Row("no edit", figures((0.99, 0.95, 0.9, 0.8), 0.97, 0.01), figures((0.98, 0.94, 0.89, 0.79), 0.96, 0.02), []),
        Row("mean", figures((0.5, 0.2, 0.1, 0.02), 0.45, 0.03), figures((0.7, 0.4, 0.3, 0.22), 0.65, 0.04), [{}]),
    ]  # fmt: skip
    if not other:
        rows = [row._replace(other=None) for row in rows]
    return Comparison(rows, 3, 29, [(1, 2, 3, 6)] * 2, [])


def series(ax):
    """Label -> points of the lines with (or without) bars."""
    return {c.get_label(): c[0].get_xydata() for c in ax.containers if isinstance(c, ErrorbarContainer)}


def test_reports():
    fig = plots.n_way(reports())
    left, right = fig.axes
    before = {"no edit": (0.99, 0.97, 0.95, 0.93)}
    curves = before | {k: [w.after for w in r.n_way.values()] for k, r in reports().items()}
    drawn.same(series(left), {k: list(zip(NAMES, 100 * np.array(v), strict=True)) for k, v in curves.items()})
    drawn.same(drawn.lines(left), {"chance": [(n, 100 / n) for n in NAMES]})
    search = {"no edit": 0.98} | {k: r.search.after for k, r in reports().items()}
    wanted = {k: [(100 * x, row)] for row, (k, x) in enumerate(search.items())}
    drawn.same(series(right), wanted)
    assert drawn.ticks(right.yaxis) == {k: row for row, k in enumerate(search)} and right.yaxis_inverted()
    assert drawn.lines(right)["chance"][:, 0].tolist() == [50, 50]
    assert drawn.texts(right) == [("no query", 2, 4)]
    assert left.get_xscale() == "log" and list(drawn.ticks(left.xaxis)) == ["2", "5", "10", "all"]
    assert drawn.labels(left) == ("n, names in the list (30 in all)", "n-way recall of the forgotten, %")
    assert right.get_xlabel() == "search AUC of the forgotten, %"
    looks = {k: (c[0].get_color(), c[0].get_marker()) for ax in fig.axes for c, k in
             [(c, c.get_label()) for c in ax.containers]}  # fmt: skip
    assert len({colour for colour, _ in looks.values()}) == len({m for _, m in looks.values()}) == 5
    assert looks["no edit"][0] == BLACK and left.get_lines()[0].get_color() == GREY
    for c in right.containers:
        assert looks[c.get_label()] == (c[0].get_color(), c[0].get_marker()), "one look on both sides"
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["chance", *search]
    assert drawn.title(fig) == (
        "Silent among all names, hull still wins 83% against one other (chance 50); "
        "asked for by name, hull still finds its pictures (AUC 72)"
    )
    text = plots.alt(fig)
    assert "in lists of 2, 5, 10, all names" in text and "hull: 83.0, 61.0, 34.0, 1.0, search 72.0" in text
    assert "candidate masking: 0.0, 0.0, 0.0, 0.0, search none" in text and "no edit: 99.0" in text


@pytest.mark.parametrize("other", [False, True])
def test_a_comparison_has_bars_of_one_standard_deviation(other):
    fig = plots.n_way(comparison(), other=other)
    left, right = fig.axes
    for row in comparison().rows:
        got = row.other if other else row.seen
        points, bars = drawn.error_bars(left)[row.method]
        mean, std = 100 * np.array([tuple(s) for s in got.n_way.values()]).T
        drawn.same(points, np.column_stack([NAMES, mean]))
        drawn.same(bars[:, :, 1], np.column_stack([mean - std, mean + std]))
        (point,), (bar,) = drawn.error_bars(right)[row.method]
        middle, half = 100 * np.array(got.search)
        assert point[0] == pytest.approx(middle) and bar[:, 0].tolist() == pytest.approx(
            [middle - half, middle + half]
        )
    assert left.get_xlabel() == "n, names in the list (30 in all)"


def test_titles_of_quiet_edits():
    quiet = {"mean": Said((0.51, 0.2, 0.1, 0.0), 0.5), "partial": Said((0.9, 0.8, 0.7, 0.6), 0.9)}
    title = "What is silent among all names is at chance in short lists and in a search"
    assert drawn.title(plots.n_way(quiet)) == title
    assert drawn.title(plots.n_way(quiet, title="A title")) == "A title"
    loud = quiet | {"ccup": Said((0.0, 0.0, 0.0, 0.0), 0.99)}
    assert drawn.title(plots.n_way(loud)) == "Asked for by name, ccup still finds its pictures (AUC 99)"


def test_on_real_reports():
    real = cn.datasets.embeddings("coco")
    case = cn.Case(real.Z, real.T, real.labels, ["airplane", "cat"], real.classes)
    report = case.evaluate(cn.METHODS["mean"].make(case.T_f, case.T_r))
    left, _ = plots.n_way({"mean": report}).axes
    assert series(left)["mean"][:, 0].tolist() == [2, 5, 10, 50, 79]
    drawn.same(series(left)["mean"][:, 1], [100 * w.after for w in report.n_way.values()])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="curves: got none"):
        plots.n_way({})
    with pytest.raises(ValueError, match="other: got True"):
        plots.n_way(comparison(other=False), other=True)
    fewer = Said((0.5, 0.2, 0.1, 0.0), 0.5)
    del fewer.n_way["all"]
    with pytest.raises(ValueError, match="as many kept names each"):
        plots.n_way({"one": fewer, **reports()})
