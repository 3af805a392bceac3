"""The two real CLIPs that ship, and what forgetting does on them: findings pinned with their spread."""

from __future__ import annotations

import math
from functools import cache
from statistics import mean

import pytest
import torch

import clipnull as cn
from clipnull.datasets.arrays import embeddings


@cache
def coco():
    """The embeddings under the prompt of the edits, and T under the other prompt."""
    return embeddings("coco"), embeddings("coco", prompt="multi").T


@cache
def draws() -> list[tuple[cn.Case, cn.Case]]:
    """20 seeded draws of ten of the 28 classes that have pictures: under the prompt seen, and another."""
    data, other = coco()
    have, gen = data.labels.unique(), torch.Generator().manual_seed(0)
    forgets = [have[torch.randperm(len(have), generator=gen)[:10]].tolist() for _ in range(20)]
    return [
        (cn.Case(data.Z, data.T, data.labels, forget), cn.Case(data.Z, other, data.labels, forget))
        for forget in forgets
    ]


@cache
def reports(method: str, **hyperparameters) -> list[tuple[cn.Report, cn.Report]]:
    """What a method does on every draw: under the prompt seen, and another."""
    found = []
    for seen, other in draws():
        edit = cn.METHODS[method].make(seen.T_f, seen.T_r, **hyperparameters)
        found.append((seen.evaluate(edit), other.evaluate(edit)))
    return found


def two_way(method: str, **hyperparameters) -> list[float]:
    """2-way recall in percent, mean over the draws: under the prompt seen, and another."""
    pairs = reports(method, **hyperparameters)
    return [100 * mean(pair[i].n_way[2].after for pair in pairs) for i in (0, 1)]


# --- what ships -----------------------------------------------------------------------------


def test_shapes_lengths_and_accuracy():
    for prompt in ("single", "multi"):
        data = embeddings("coco", prompt=prompt)
        assert data.Z.shape == (160, 512) and data.T.shape == (80, 512) and data.labels.shape == (160,)
        assert len(data.classes) == len(set(data.classes)) == 80 and len(data.labels.unique()) == 28
        for x in (data.Z, data.T):
            assert x.dtype == torch.float32 and torch.allclose(x.norm(dim=1), torch.ones(len(x)), atol=1e-6)
        assert int(((data.Z @ data.T.T).argmax(1) == data.labels).sum()) == 144, "90.0%"
    names = [data.classes[i] for i in data.labels.bincount().argsort(descending=True)[:3].tolist()]
    assert names == ["airplane", "toilet", "motorcycle"]
    lvis = embeddings("lvis")
    assert lvis.Z is None and lvis.labels is None and lvis.T.shape == (1203, 512)
    assert len(lvis.classes) == 1203 and torch.allclose(lvis.T.norm(dim=1), torch.ones(1203), atol=1e-6)
    assert coco()[0].T.shape == coco()[1].shape and not torch.allclose(coco()[0].T, coco()[1], atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cocoa",), "name: got 'cocoa', want one of coco, lvis"),
        (("coco", "both"), "prompt: got 'both', want one of single, multi"),
        (("lvis", "multi"), "prompt: got 'multi', want one of single"),
    ],
)
def test_what_does_not_ship_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        embeddings(*arguments)


# --- what forgetting does -------------------------------------------------------------------


def test_the_mean_is_neutral_under_the_prompt_seen_and_not_under_another():
    for hyperparameters in ({}, {"mu": 1000.0}):
        seen, other = two_way("mean", **hyperparameters)
        assert 50 <= seen <= 55 and other > 60
    pairs = reports("mean")
    assert all(a.forget_after == 0 and 0.95 < a.retained for a, _ in pairs)
    assert 45 < 100 * mean(a.search.after for a, _ in pairs) < 56


def test_the_hull_finds_its_pictures_and_ccup_never_does():
    assert min(two_way("hull")) > 75
    assert all(a.forget_after == 0 for a, _ in reports("hull"))
    assert two_way("ccup", lam=math.inf, mu=1000.0) == [0, 0]
    assert {row.after for a, _ in reports("ccup") for row in a.n_way.values()} == {0.0}


def test_search_finds_what_ccup_silenced():
    found = [a.search for a, _ in reports("ccup", lam=30.0, mu=30.0)]
    before, after = (100 * mean(s[i] for s in found) for i in (0, 1))
    assert before > 93 and abs(after - before) < 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["nullspace", "ccup"])
def test_exact_silence_is_chance_in_search(method, dtype):
    more = {"lam": math.inf, "mu": 1000.0} if method == "ccup" else {}
    for seen, _ in draws()[:5]:
        case = cn.Case(seen.Z.to(dtype), seen.T.to(dtype), seen.labels, seen.forget)
        edit = cn.METHODS[method].make(case.T_f, case.T_r, dtype=dtype, **more)
        assert case.evaluate(edit).search.after == 0.5


def test_certificates_of_ten_names():
    largest = {}
    for method, more in (("nullspace", {}), ("ccup", {}), ("mean", {}), ("hull", {})):
        pairs = reports(method, **more)[: 4 if method in ("nullspace", "ccup") else 20]
        largest[method] = [float(cn.certificate(a.edit, a.case.T_f, a.case.T_r).max()) for a, _ in pairs]
    assert 0.08 < min(largest["nullspace"]) and max(largest["nullspace"]) < 0.15
    assert min(largest["ccup"]) > 0.55
    assert max(largest["mean"]) <= 1e-6 and max(largest["hull"]) <= 1e-6
    seen = draws()[0][0]
    assert 0.3 < float(cn.certificate(None, seen.T_f, seen.T_r).max()) < 0.6


def test_one_name_projected_out_alone_still_wins():
    data, _ = coco()
    for name in ("motorcycle", "toilet"):
        case = cn.Case(data.Z, data.T, data.labels, [name], classes=data.classes)
        projected, neutral = (cn.METHODS[m].make(case.T_f, case.T_r) for m in ("nullspace", "mean"))
        wins = [int((case.evaluate(e).predicted_after == case.forget[0]).sum()) for e in (projected, neutral)]
        assert wins[0] >= 1 and wins[1] == 0
        assert 0.2 < float(cn.certificate(projected, case.T_f, case.T_r)) < 0.5


# --- mixtures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "forgotten", "want"),
    [
        ("coco", "airplane", {"train": 0.19, "boat": 0.18, "bird": 0.12, "kite": 0.12}),
        ("lvis", "cat", {"kitten": 0.39, "dog": 0.24}),
    ],
)
def test_a_name_is_a_mixture_of_its_relatives(name, forgotten, want):
    data = embeddings(name)
    case = cn.Case(data.Z, data.T, data.labels, [forgotten], classes=data.classes)
    weights = cn.nearest_mixture(case.T_f, case.T_r).weights[0]
    first = weights.argsort(descending=True)[: len(want)].tolist()
    assert {case.classes[case.retain[i]]: round(float(weights[i]), 2) for i in first} == want
    assert 5 <= int((weights > 0).sum()) <= 30
