"""EraserDials, headless: dials in, a point and its figure out, the same numbers as the package's."""

import pytest
import torch

import clipnull as cn
from clipnull import exercises, plots
from clipnull.lab.dials import EraserDials


@pytest.fixture
def case():
    return exercises._synthetic("CLIP-shaped", 1.25, 20, 48, seed=1)


@pytest.fixture
def dials(case):
    return EraserDials(case.Z, case.T, case.labels, case.forget)


def edits(case):
    T_f, T_r = case.T[case.forget], case.T[case.retain]
    return {
        "partial": cn.nullspace(T_f, strength=0.3),
        "ccup": cn.consistent(T_f, T_r, 100.0, 1.0),
        "mean": cn.consistent(T_f, T_r, 100.0, 1.0, anchor="mean"),
    }


@pytest.mark.parametrize("method", ["partial", "ccup", "mean"])
def test_dials_give_the_packages_edit(case, dials, method):
    dials.set(method=method, alpha=0.3, lam=100.0, mu=1.0)
    want = edits(case)[method]
    assert torch.allclose(dials.edit().matrix(), want.matrix(), atol=1e-6)
    r = cn.evaluate(case.Z, case.T, case.labels, case.forget, want)
    assert f"<b>{100 * r.forget_after:.1f}%</b>" in dials.readout.value
    assert f"<b>{100 * r.retain_after:.1f}%</b>" in dials.readout.value
    size = float((want.matrix() - torch.eye(want.dim)).norm())
    assert f"‖W − I‖ = {size:.2f}" in dials.readout.value
    assert bytes(dials.image.value[:4]) == b"\x89PNG"


def test_only_the_methods_dials_are_shown(dials):
    shown = {}
    for method in ("partial", "ccup", "mean"):
        dials.method.value = method
        shown[method] = [n for n in ("alpha", "lam", "mu") if getattr(dials, n).layout.display != "none"]
    consistent = ["lam", "mu"]
    assert shown == {
        "partial": ["alpha"],
        "ccup": consistent,
        "mean": consistent,
    }


def test_every_method_is_in_grey_and_the_dials_in_colour(dials):
    fig = dials.figure()
    colours = {line.get_label().split(":")[0]: line.get_color() for line in fig.axes[0].get_lines()}
    assert set(colours) >= {*cn.METHODS, "drop the label", "your dials"}
    assert colours["your dials"] == plots.FORGET
    assert {colours[m] for m in cn.METHODS} == {plots.PALE}


def test_bad_input_is_named(case):
    with pytest.raises(ValueError, match="forget"):
        EraserDials(case.Z, case.T, case.labels, [99])
