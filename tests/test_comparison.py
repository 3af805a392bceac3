"""The fair comparison: tuned here, measured there, by one rule, on grids of one size, with its spread."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
import torch.nn.functional as F

import clipnull as cn
from clipnull import _show, comparison
from clipnull.comparison import compare, trials
from clipnull.erasers import Method

C, D = 14, 24
TUNED = ["partial", "ccup", "mean"]
FIGURES = ("full", "search", "listed", "unlisted")


def names(seed=0, like=None):
    """Unit rows in a cone; ``like`` given: the same under another prompt."""
    g = torch.Generator().manual_seed(seed)
    own = torch.randn(C, D, generator=g)
    return F.normalize(
        own + 1.5 * torch.randn(1, D, generator=g) if like is None else like + 0.08 * own, dim=1
    )


def case(seed, forget=(0, 1), T=None, n=210, **options):
    T = names() if T is None else T
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % C
    Z = F.normalize(T[labels] + 0.14 * torch.randn(n, D, generator=g), dim=1)
    return cn.Case(Z, T, labels, list(forget), **options)


@pytest.fixture(scope="module")
def draws():
    return trials(case(1), 3, tune=case(2), other=names(5, like=names()), draws=3, seed=4, listed=0.5)


@pytest.fixture(scope="module")
def found(draws):
    return compare(draws, ["nullspace", *TUNED, "random"], seed=7)


def figures(reports, when="after"):
    """What `Row` should say of these reports, by hand."""
    kept = [(r.retained_listed, r.retained_unlisted) if when == "after" else (1.0, 1.0) for r in reports]
    columns = {
        "full": [getattr(r, f"forget_{when}") for r in reports],
        "search": [getattr(r.search, when) for r in reports],
        "listed": [k[0] for k in kept],
        "unlisted": [k[1] for k in kept],
    }
    columns |= {n: [getattr(r.n_way[n], when) for r in reports] for n in (2, 5, 10, "all")}
    nothing = (math.nan, math.nan)
    return {
        k: nothing if any(map(math.isnan, v)) else (statistics.mean(v), statistics.stdev(v))
        for k, v in columns.items()
    }


def said(row):
    return {k: tuple(getattr(row, k)) for k in FIGURES} | {n: tuple(s) for n, s in row.n_way.items()}


def same(row, wanted):
    assert said(row).keys() == wanted.keys()
    for key, pair in said(row).items():
        assert pair == pytest.approx(wanted[key], abs=1e-12, nan_ok=True), key


# --- draws -----------------------------------------------------------------------------------


def test_draws_repeat_with_the_seed_and_differ_within_it():
    one, again, other = (trials(case(1), 3, tune=case(2), draws=3, seed=s, listed=0.5) for s in (0, 0, 1))
    sets = [[(t.test.forget, t.test.listed) for t in x] for x in (one, again, other)]
    assert sets[0] == sets[1] and not {map(str, sets[0])} & {map(str, sets[2])}
    assert len({str(forget) for forget, _ in sets[0]}) == 3
    for t in one:
        assert len(t.test.forget) == 3 and len(t.test.listed) == round(0.5 * 11)
        assert not {*t.test.forget} & {*t.test.listed}
        assert (t.tune.forget, t.tune.listed) == (t.test.forget, t.test.listed) and t.other is None
        assert torch.equal(t.tune.Z, case(2).Z) and torch.equal(t.test.Z, case(1).Z)


def test_only_classes_with_pictures_are_drawn():
    T, some = names(), case(3, n=40)
    few = cn.Case(some.Z, T, some.labels % 5, [0])
    assert {i for t in trials(few, 2, draws=20) for i in t.test.forget} == {0, 1, 2, 3, 4}
    tuned = cn.Case(case(4).Z, T, case(4).labels.clamp_min(3), [3])
    assert {i for t in trials(few, 1, tune=tuned, draws=20) for i in t.test.forget} == {3, 4}
    with pytest.raises(ValueError, match="size: got 3, want a whole number from 1 to 2"):
        trials(few, 3, tune=tuned)


def test_pictures_to_tune_on_are_not_those_to_test_on():
    test, tune = case(1), case(2)
    shared = cn.Case(
        torch.cat([tune.Z, test.Z[5:7]]), test.T, torch.cat([tune.labels, test.labels[5:7]]), [0, 1]
    )
    with pytest.raises(ValueError, match="tune: 2 of its pictures are among those of test"):
        trials(test, 3, tune=shared)


def test_names_to_tune_on_are_those_to_test_on():
    with pytest.raises(ValueError, match="tune: its T differs"):
        trials(case(1), 3, tune=case(2, T=names(9)))


# --- what is measured ------------------------------------------------------------------------


def ruled(method, tune, seed):
    """The rule of `compare`, written another way: sort all points of the grid."""
    reports = [
        (p, tune.evaluate(cn.METHODS[method].make(tune.T_f, tune.T_r, seed=seed, **p)))
        for p in cn.METHODS[method].combinations
    ]
    before = reports[0][1].forget_before
    lowest = min(r.forget_after for _, r in reports)

    def order(entry):
        i, (_, r) = entry
        passed = r.forget_after <= 0.02 * before or r.forget_after == lowest > 0.02 * before
        return not passed, -r.retain_after, abs(r.n_way[2].after - 0.5) + abs(r.search.after - 0.5), i

    return min(enumerate(reports), key=order)[1][0]


def test_tuned_on_one_set_and_measured_on_another(draws, found):
    assert [row.method for row in found.rows] == [
        "no edit", "candidate masking", "nullspace", *TUNED, "random"
    ]  # fmt: skip
    for name in (*TUNED, "random"):
        points = [ruled(name, t.tune, 7 + i) for i, t in enumerate(draws)]
        method = cn.METHODS[name]
        assert found[name].chosen == [{**method.defaults, **p} for p in points], name
        edits = [
            method.make(t.test.T_f, t.test.T_r, seed=7 + i, **p)
            for i, (t, p) in enumerate(zip(draws, points, strict=True))
        ]
        pairs = list(zip(draws, edits, strict=True))
        same(found[name].seen, figures([t.test.evaluate(e) for t, e in pairs]))
        same(found[name].other, figures([t.other.evaluate(e) for t, e in pairs]))
    # the tuning matters here: other points would have been taken on the test pictures
    assert any(
        found[name].chosen[i] != {**cn.METHODS[name].defaults, **ruled(name, t.test, 7 + i)}
        for name in TUNED
        for i, t in enumerate(draws)
    )


def test_a_method_without_a_grid_and_the_rows_of_reference(draws, found):
    assert found["nullspace"].chosen == [{"strength": 1.0}] * 3
    same(found["nullspace"].seen, figures([t.test.evaluate(cn.nullspace(t.test.T_f)) for t in draws]))
    for role in ("test", "other"):
        reports = [cn.candidate_masking(getattr(t, role)) for t in draws]
        got = [
            getattr(found[name], "seen" if role == "test" else "other")
            for name in ("no edit", "candidate masking")
        ]
        same(got[0], figures(reports, "before"))
        same(got[1], figures(reports))
    assert found["candidate masking"].seen.full == (0, 0) and found["candidate masking"].chosen == []


def test_the_rule_on_points_of_known_truth():
    """Of edits that leave 3, 2 and 0% of recall, that of 2% is taken, which keeps more than that of 0%."""
    T_f, T_r = names()[:2], names()[2:]

    class Known:
        def __init__(self, forget, retain, two):
            self.forget_before, self.forget_after, self.retain_after = 0.5, forget, retain
            self.n_way = {2: type("", (), {"after": two})}
            self.search = type("", (), {"after": 0.5})

    def best(*points):
        grid = Method("known", "", {}, {"i": list(range(len(points)))}, lambda T_f, T_r, seed, i: i)
        fake = type("", (), {"evaluate": lambda self, i: Known(*points[i]), "T_f": T_f, "T_r": T_r})()
        return comparison._best(grid, fake, 0, _show.progress(what=""))["i"]

    assert best((0.015, 0.9, 0.5), (0.01, 0.7, 0.5), (0.0, 0.6, 0.5)) == 1
    assert best((0.01, 0.7, 0.9), (0.0, 0.7, 0.3), (0.0, 0.7, 0.8)) == 1  # a tie: nearest to chance
    assert best((0.4, 0.7, 0.5), (0.3, 0.1, 0.5), (0.3, 0.2, 0.5)) == 2  # none forgets: of the lowest


def test_without_pictures_to_tune_on_all_are_at_their_defaults():
    plain = compare(trials(case(1), 2, draws=2), ["partial", "mean"])
    assert plain["mean"].chosen == [cn.METHODS["mean"].defaults] * 2 and plain["mean"].other is None


def test_grids_have_one_size():
    assert len({len(m.combinations) for m in cn.METHODS.values() if m.grid}) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda d: compare([]), "trials: got 0 kinds"),
        (lambda d: compare([*d, *trials(case(1), 2, tune=case(2))]), "trials: got 2 kinds"),
        (lambda d: compare([*d, *trials(case(1), 3, tune=case(2))]), "trials: got 2 kinds"),
        (lambda d: compare(d, ["meen"]), "methods: got 'meen', want one of "),
    ],
)
def test_what_cannot_be_compared_is_refused(draws, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(draws)


# --- the table -------------------------------------------------------------------------------


def test_table_counts_pictures_and_shows_chance(draws, found):
    table = found.table()
    n = 3 * 15
    listed, unlisted = (6 if round(5.5) == 6 else 5) * 15, (11 - round(5.5)) * 15
    assert table.head == ["%", f"full ({n})", f"2-way ({n})", f"10-way ({n})", f"search ({n} of 210)",
                          f"kept ({listed})", f"unlisted ({unlisted})"]  # fmt: skip
    assert table.rows[0] == ["chance", "7.1", "50.0", "10.0", "50.0", "–", "–"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert len(rows) == 1 + 2 * len(found.rows)
    for name, part in (("mean", found["mean"].seen), ("mean, other prompt", found["mean"].other)):
        spreads = [part.full, part.n_way[2], part.n_way[10], part.search, part.listed, part.unlisted]
        assert rows[name] == [f"{100 * s.mean:.1f} ± {100 * s.std:.1f}" for s in spreads]
    assert rows["candidate masking"][3] == "–"
    assert "3 of 14 names forgotten, draws: 3" in table.caption
    assert (
        table.notes[0].startswith("tuned on other pictures")
        and "at most 2.0% of that before" in table.notes[0]
    )
    assert "nullspace: strength = 1.0 (3)" in table.notes
    assert str(found) == str(table) and "<table>" in found._repr_html_()


def test_one_draw_has_no_spread_and_all_listed_no_column():
    got = compare(trials(case(1), 2, draws=1), ["nullspace"])
    assert math.isnan(got["nullspace"].seen.full.std) and str(got["nullspace"].seen.full) == "0.0"
    assert got.table().head[-1] == "kept (180)" and {len(row) for row in got.table().rows} == {6}
    assert got.pictures == [(30, 180, 0, 210)]
