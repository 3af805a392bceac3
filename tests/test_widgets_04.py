"""EraserDials, headless: dials in, a point and its figure out, the same numbers as the package's."""

import made_up
import pytest
import torch

import clipnull as cn
from clipnull.lab.dials import EraserDials
from clipnull.plots.base import FORGET, PALE


@pytest.fixture
def case():
    return made_up.case()


@pytest.fixture
def dials(case):
    return EraserDials(case)


def edits(case):
    T_f, T_r = case.T_f, case.T_r
    return {
        "partial": cn.nullspace(T_f, strength=0.3),
        "ccup": cn.consistent(T_f, T_r, 100.0, 1.0),
        "mean": cn.consistent(T_f, T_r, mu=1.0, anchor="mean"),
        "hull": cn.consistent(T_f, T_r, mu=1.0, anchor="hull"),
    }


@pytest.mark.parametrize("method", ["partial", "ccup", "mean", "hull"])
def test_dials_give_the_packages_edit(case, dials, method):
    dials.method.value = method  # it brings its own hyperparameters
    dials.set(**{"partial": {"strength": 0.3}, "ccup": {"lam": 100.0, "mu": 1.0}}.get(method, {"mu": 1.0}))
    want = edits(case)[method]
    assert torch.allclose(dials.edit().matrix(), want.matrix(), atol=1e-6)
    r = case.evaluate(want)
    assert f"<b>{100 * r.forget_after:.1f}%</b>" in dials.readout.value
    assert f"<b>{100 * r.retain_after:.1f}%</b>" in dials.readout.value
    size = float((want.matrix() - torch.eye(want.dim)).norm())
    assert f"‖W − I‖ = {size:.2f}" in dials.readout.value
    assert bytes(dials.image.value[:4]) == b"\x89PNG"


def test_only_the_methods_dials_are_shown(dials):
    shown = {}
    for method in ("partial", "ccup", "mean", "hull"):
        dials.method.value = method
        shown[method] = [n for n in ("strength", "lam", "mu") if getattr(dials, n).layout.display != "none"]
    assert shown == {"partial": ["strength"], "ccup": ["lam", "mu"], "mean": ["mu"], "hull": ["mu"]}


def test_a_method_starts_at_its_own_hyperparameters(case, dials):
    dials.method.value = "mean"
    chosen = cn.METHODS["mean"].make(case.T_f, case.T_r)
    assert dials.mu.value == "auto" and dials.mu.label == f"auto: {chosen.info['mu']:.3g}"
    assert torch.allclose(dials.edit().matrix(), chosen.matrix(), atol=1e-6)
    two, search = case.evaluate(chosen).n_way[2], case.evaluate(chosen).search
    assert f"2-way {100 * two.before:.1f} → <b>{100 * two.after:.1f}%</b>" in dials.readout.value
    assert f"search {100 * search.before:.1f} → <b>{100 * search.after:.1f}%</b>" in dials.readout.value
    dials.method.value = "ccup"
    assert (dials.lam.value, dials.mu.value) == (30.0, 30.0)


def test_every_method_is_in_grey_and_the_dials_in_colour(dials):
    fig = dials.figure()
    colours = {line.get_label().split(":")[0]: line.get_color() for line in fig.axes[0].get_lines()}
    assert set(colours) >= {*cn.METHODS, "candidate masking", "your dials"}
    assert colours["your dials"] == FORGET
    assert {colours[m] for m in cn.METHODS} == {PALE}
