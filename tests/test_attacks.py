"""Attacks on an edit, on constructed data where the answer is known, and on PocketCLIP."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from scipy.linalg import subspace_angles

import clipnull as cn
from clipnull import auditing as attacks
from clipnull import plots
from clipnull.auditing.layers import EMBEDDING, HIDDEN, PIXELS
from clipnull.auditing.probes import linear_probe
from clipnull.auditing.relearning import _train
from clipnull.model import hf
from clipnull.subspace import orthonormal_basis

D, WIDTH, C = 24, 40, 30


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cone(n=C, d=D, seed=0):
    """Names around a shared direction, as CLIP's are: mean cosine about 0.6."""
    return F.normalize(
        F.normalize(normal(d, seed=seed + 1), dim=0) * 1.25 + F.normalize(normal(n, d, seed=seed), dim=1),
        dim=1,
    )


P, T = normal(WIDTH, D, seed=5), cone()
NAMES = [f"name {i}" for i in range(C)]


def close(U, V):
    return U.shape == V.shape and subspace_angles(U, V).max() < 1e-4


# --- fingerprint -----------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_planted_rank_two_is_found_with_its_directions_and_names(precision):
    edit = cn.nullspace(T[[3, 8]], dtype=torch.float64)
    before = P.to(precision)
    after = edit.apply_image(before.double()).to(precision)
    found = attacks.fingerprint(before, after, T, NAMES)
    assert found.rank == 2
    assert found.left.shape == found.right.shape == (D, 2)
    if precision in (torch.float64, torch.float32):
        U = orthonormal_basis(T[[3, 8]])
        assert close(found.left, U) and close(found.right, U)
    else:  # nearly: the inverse of the layer is not cut short by the coarse format
        scores = found.scores
        assert float(scores[[3, 8]].min()) > 0.9
    assert set(found.ranking()[:2]) == {"name 3", "name 8"}
    assert found.place("name 3") <= 2 and found.place(NAMES[0]) > 2


def test_oblique_edit_has_different_left_and_right_spans():
    edit = cn.Edit(normal(D, 2, seed=7), normal(D, 2, seed=8))
    found = attacks.fingerprint(P, edit.apply_image(P), T)
    assert close(found.left, torch.linalg.qr(edit.left).Q)
    assert close(found.right, torch.linalg.qr(edit.right).Q)
    assert not close(found.left, found.right)


def test_left_span_is_only_known_inside_the_row_space_of_a_narrow_layer():
    narrow, edit = normal(10, D, seed=6), cn.nullspace(T[3], dtype=torch.float64)
    found = attacks.fingerprint(narrow, edit.apply_image(narrow), T)
    inside = narrow.T @ torch.linalg.solve(narrow @ narrow.T, narrow @ T[3])
    assert close(found.left, F.normalize(inside, dim=0)[:, None])
    assert close(found.right, T[3][:, None])


def test_which_side_is_the_name_differs_by_method():
    """L is the name (CCUP) or the name less the mean; R is along M_r^-1 L, and is neither."""
    rest = [i for i in range(C) if i != 4]
    mean = T[rest].mean(0)
    for anchor, direction in ((None, T[4]), ("mean", T[4] - mean)):
        edit = cn.consistent(T[4], T[rest], anchor=anchor, dtype=torch.float64)
        found = attacks.fingerprint(P, edit.apply_image(P), T)
        assert close(found.left, F.normalize(direction, dim=0)[:, None])
        M = torch.eye(D) + edit.info["mu"] * T[rest].T @ T[rest]
        assert close(found.right, F.normalize(torch.linalg.solve(M, direction), dim=0)[:, None])
        assert found.place("4") == 1
        assert not close(found.right, T[4][:, None])


def test_equal_layers_have_no_fingerprint():
    found = attacks.fingerprint(P, P, T, NAMES)
    assert found.rank == 0 and found.ranking() == [] and found.place("name 3") == C
    # nor has rounding to half precision, in a layer that says so
    rounded = P.float().half()
    assert attacks.fingerprint(P.float(), rounded, T).rank == 0
    assert attacks.fingerprint(P.float(), rounded.float(), T).rank > 0


def test_both_layers_are_rounded():
    """A small layer after a large one: by its own length alone, the first one's rounding is a direction."""
    Q = torch.linalg.qr(normal(D, D, seed=9)).Q
    large = P @ (Q * torch.tensor([100.0] * (D - 1) + [0.001], dtype=torch.float64)) @ Q.T
    after = cn.nullspace(Q[:, : D - 1].T, dtype=torch.float64).apply_image(large)
    assert attacks.fingerprint(large.half(), after.half(), T).rank == D - 1


def test_random_subspace_names_nothing():
    places = [
        attacks.fingerprint(P, cn.random_subspace(D, 1, seed, dtype=torch.float64).apply_image(P), T).place(
            "4"
        )
        for seed in range(40)
    ]
    assert sum(p == 1 for p in places) <= 6  # chance is 40 / 30
    assert 8 < sum(places) / len(places) < 23


@pytest.mark.parametrize("method", ["nullspace", "partial", "ccup", "mean"])
def test_every_class_is_named_whatever_the_method(method):
    for c in range(0, 20, 4):
        edit = cn.METHODS[method].make(T[c], T[[i for i in range(20) if i != c]])
        found = attacks.fingerprint(P, edit.apply_image(P), T)
        assert found.rank == 1 and found.place(str(c)) == 1
        if method != "mean":  # then it is the name less the mean of the kept ones
            assert float((F.normalize(T[c], dim=0) @ found.left).norm()) == pytest.approx(1, abs=1e-4)


def test_fingerprint_bad_input():
    with pytest.raises(ValueError, match=r"after: got shape \(39, 24\), want \(40, 24\)"):
        attacks.fingerprint(P, P[1:], T)
    with pytest.raises(ValueError, match="vocabulary: rows have 23 entries, want 24"):
        attacks.fingerprint(P, P, T[:, 1:])
    with pytest.raises(ValueError, match="names: got 2 names, want 30"):
        attacks.fingerprint(P, P, T, ["a", "b"])
    with pytest.raises(ValueError, match="name: unknown class 'name 99'; the closest are"):
        attacks.fingerprint(P, P, T, NAMES).place("name 99")


# --- relearning ------------------------------------------------------------------------------


def scene(n=12, noise=0.3, seed=0):
    """Features whose class is linear in them, and a layer that maps a class to its name."""
    centres = F.normalize(normal(C, WIDTH, seed=seed + 2), dim=1)
    y = torch.arange(C).repeat_interleave(n)
    H = centres[y] + noise * F.normalize(normal(len(y), WIDTH, seed=seed + 3), dim=1)
    layer = torch.linalg.lstsq(centres, T, driver="gelsd").solution
    return H.float(), y, layer.float()


H, Y, LAYER = scene()


def edit_of(c, method="mean"):
    return cn.METHODS[method].make(T[c], T[[i for i in range(C) if i != c]])


#: new names, around the direction of the names
NEW = cone(2 * C)[C + 3 : C + 6]


def by_arm(H, y, layer, edits, shots, made_up=NEW, **options):
    rows = attacks.relearning(H, y, layer, T, edits, shots, made_up, **options)
    assert [r.arm for r in rows] == ["edited", "original", "new name"]
    return rows


def test_an_edited_class_comes_back_and_what_was_not_edited_needs_no_step():
    edits = {c: edit_of(c) for c in (4, 9, 17)}
    edited, original, new = by_arm(H, Y, LAYER, edits, 4, step=0.01)
    assert original.steps == 0 and original.recall_start == original.recall_end == original.back == 1
    assert edited.recall_start == 0 and edited.back == 1 and edited.recall_end >= 0.8
    assert 0 < edited.steps <= 40 and new.recall_start < 0.2
    many, few = (by_arm(H, Y, LAYER, {4: edit_of(4)}, k, step=0.01)[0] for k in (6, 1))
    assert many.steps <= few.steps + 2 < 42


def test_steps_are_a_share_of_the_norm_of_the_original_layer(monkeypatch):
    """An edit enlarges the layer: a share of its own norm would be a longer step than the controls take."""
    assert edit_of(4).apply_image(LAYER).norm() > LAYER.norm()
    lengths = []

    def train(H, y, P, T, c, k, length, seed):
        lengths.append(length)
        return _train(H, y, P, T, c, k, length, seed)

    monkeypatch.setattr(sys.modules["clipnull.auditing.relearning"], "_train", train)
    short, long = (by_arm(H, Y, LAYER, {4: edit_of(4)}, 4, step=step)[0] for step in (0.002, 0.02))
    assert lengths == pytest.approx([s * float(LAYER.norm()) for s in (0.002, 0.02) for _ in range(3)])
    assert long.steps < short.steps


def test_images_that_have_nothing_in_common_teach_nothing_about_each_other():
    """Each picture of the class has a feature of its own: those trained on are learned, no other is."""
    own = Y == 4
    X = torch.cat([H, torch.zeros(len(H), int(own.sum()))], 1)
    X[own] = torch.eye(X.shape[1])[WIDTH:]
    layer = torch.cat([LAYER, torch.zeros(int(own.sum()), D)])
    copies = [x.clone() for x in (X, Y, layer, T)]
    for seed in range(3):
        row = by_arm(X, Y, layer, {4: edit_of(4)}, 6, step=0.01, seed=seed)[0]
        assert (row.recall_start, row.recall_end, row.back) == (0, 0, 0) and row.steps == math.inf
    assert all(torch.equal(a, b) for a, b in zip(copies, (X, Y, layer, T), strict=True))
    # the control: the same class, its pictures alike
    X[own] = torch.eye(X.shape[1])[WIDTH]
    assert by_arm(X, Y, layer, {4: edit_of(4)}, 6, step=0.01)[0].recall_end == 1


def test_relearning_gives_every_class_its_own_draw_and_its_own_new_name():
    edits = {c: edit_of(c) for c in (4, 9, 17)}
    X, y, layer = scene(noise=1.5)  # hard enough that it matters which images are drawn
    row = by_arm(X, y, layer, edits, 2, seed=5)[0]

    def by_hand(seeds):
        length = 0.005 * float(layer.norm())
        cuts = {c: e.apply_image(layer) for c, e in edits.items()}
        runs = [_train(X, y, cuts[c], T.float(), c, 2, length, s) for c, s in zip(edits, seeds, strict=True)]
        return [sum(r[i] for r in runs) / 3 for i in (2, 4)]

    assert [row.recall_end, row.retain_end] == pytest.approx(by_hand((5, 6, 7)))
    assert [row.recall_end, row.retain_end] != pytest.approx(by_hand((5, 5, 5)))
    # a class whose "new name" is its old one is there from the start; the next name in the list is not its
    for words, known in ((T[[4, 9, 17]], 1), (T[[9, 17, 4]], 0), (T[[4]], 1 / 3)):
        new = by_arm(H, Y, LAYER, edits, 2, made_up=words)[2]
        assert new.recall_start == pytest.approx(known)


def test_relearning_bad_input():
    with pytest.raises(ValueError, match="weight: got 39 rows, want 40, one per feature of H"):
        attacks.relearning(H, Y, LAYER[1:], T, {4: edit_of(4)}, 4, NEW)
    with pytest.raises(ValueError, match="shots: got 7, want 1 to 6, half of the 12 images of class 4"):
        attacks.relearning(H, Y, LAYER, T, {4: edit_of(4)}, 7, NEW)
    with pytest.raises(ValueError, match="labels: every image is of the class"):
        attacks.relearning(H[Y == 4], Y[Y == 4], LAYER, T, {4: edit_of(4)}, 4, NEW)
    with pytest.raises(ValueError, match="edits: got no class"):
        attacks.relearning(H, Y, LAYER, T, {}, 4, NEW)


def test_an_oblique_edit_weakens_one_direction_and_strengthens_one():
    """For one name all singular values of W but two are 1, and those two multiply to |1 - R^T L|."""
    edit = edit_of(4)
    s = torch.linalg.svdvals(edit.matrix().double())
    assert torch.allclose(s[1:-1], torch.ones(len(s) - 2, dtype=s.dtype), atol=1e-5)
    gap = float(1 - edit.right[:, 0].double() @ edit.left[:, 0].double())
    assert float(s[0] * s[-1]) == pytest.approx(abs(gap), abs=1e-5)


# --- where it lives --------------------------------------------------------------------------


def test_probe_sees_what_a_layer_holds():
    """One layer with the class, one without, one that loses it in the edit."""
    y = torch.arange(6).repeat_interleave(20)
    code = F.one_hot(y, 6).double() + 0.1 * normal(120, 6, seed=1)
    noise = normal(120, 6, seed=2)
    merged = code.clone()
    merged[:, 0] = merged[:, 2] = merged[:, [0, 2]].mean(1)  # a forgotten class and a kept one fall together
    merged[:, 1] = merged[:, 3] = merged[:, [1, 3]].mean(1)
    before = {"there": code, "never": noise, "lost": code}
    case = cn.Case(noise, torch.eye(6), y, [0, 1])
    found = attacks.layer_probe(case, before, before | {"lost": merged})
    there, never, lost = found
    assert [p.layer for p in found] == list(before)
    assert there.before == there.after == 1 and there.identical
    assert never.before < 0.65 and never.identical
    assert lost.before == 1 and 0.5 < lost.after < 0.9 and not lost.identical
    assert all(p.control < 0.65 for p in found)


def test_an_erased_direction_cannot_be_read_off_its_rounding():
    y = torch.arange(2).repeat_interleave(100)
    u = F.normalize(normal(D, seed=3), dim=0)
    X = normal(200, D, seed=4)
    X = (X - torch.outer(X @ u, u) + torch.outer(2.0 * y - 1, u)).float()
    erased = cn.nullspace(u.float()).apply_image(X)
    case = cn.Case(X, torch.eye(2, D), y, [0])
    (probe,) = attacks.layer_probe(case, {"embedding": X}, {"embedding": erased})
    assert probe.before > 0.95 and 0.3 < probe.after < 0.7


def test_layers_before_the_edit_are_untouched(pocket):
    data = cn.datasets.load("twemoji", subset=["tiger", "lion", "pizza", "bus", "guitar"], scenes=4)
    names = pocket.embed_text(data.classes, templates=data.templates)
    edit = cn.METHODS["mean"].make(names[:1], names[1:])
    before = attacks.layers(pocket, data.images)
    with cn.folded(pocket, edit):
        after = attacks.layers(pocket, data.images)
    *inner, hidden, last = before
    assert (inner[0], hidden, last) == (PIXELS, HIDDEN, EMBEDDING) and len(inner) == 5
    assert all(torch.equal(before[k], after[k]) for k in [*inner, hidden])
    Z = pocket.embed_images(data.images)
    assert torch.allclose(before[last], Z, atol=1e-6)
    assert torch.allclose(after[last], edit.apply_image(Z, normalize=True), atol=1e-5)
    weight = cn.model.last_layer(pocket)
    assert torch.allclose(F.normalize(before[hidden] @ weight, dim=1), Z, atol=1e-6)
    found = attacks.layer_probe(cn.Case(Z, names, data.labels, [0]), before, after)
    assert [p.identical for p in found] == [True] * 6 + [False]
    assert not pocket.model.visual._forward_hooks and not pocket.model.visual._forward_pre_hooks


TEXT = dict(context_length=8, vocab_size=49408, width=16, heads=2, layers=1)


def open_clip_vit():
    vision = dict(image_size=32, patch_size=16, width=24, layers=2, head_width=12)
    return pytest.importorskip("open_clip").CLIP(embed_dim=16, vision_cfg=vision, text_cfg=TEXT)


def timm_vit():
    vision = dict(timm_model_name="test_vit", image_size=160, timm_pool="avg", timm_proj="linear")
    return pytest.importorskip("open_clip").CustomTextCLIP(embed_dim=16, vision_cfg=vision, text_cfg=TEXT)


def transformers_vit():
    transformers = pytest.importorskip("transformers")
    tower = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    vision = dict(tower, image_size=32, patch_size=16)
    config = transformers.CLIPConfig(
        text_config=dict(tower, vocab_size=50), vision_config=vision, projection_dim=12
    )
    return hf.TransformersCLIP(transformers.CLIPModel(config))


@pytest.mark.parametrize("build", [open_clip_vit, timm_vit, transformers_vit])
def test_layers_of_other_towers(build):
    torch.manual_seed(0)
    clip = SimpleNamespace(model=build().eval())
    size = clip.model.visual.image_size
    pictures = torch.rand(3, 3, *(size if isinstance(size, tuple) else (size, size)))

    def embed_images(images):
        with torch.inference_mode():
            return F.normalize(clip.model.encode_image(images, normalize=False), dim=1)

    clip.embed_images = embed_images
    found = attacks.layers(clip, pictures)
    assert list(found)[:3] == [PIXELS, "block 1", "block 2"]
    assert list(found)[-2:] == [HIDDEN, EMBEDDING]
    assert {len(x) for x in found.values()} == {3} and {x.ndim for x in found.values()} == {2}
    assert torch.allclose(found[EMBEDDING], embed_images(pictures), atol=1e-5)


def test_layer_probe_bad_input():
    y = torch.arange(4).repeat_interleave(3)
    X = {"a": normal(12, 5)}
    case = cn.Case(X["a"], torch.eye(4, 5), y, [0])
    with pytest.raises(ValueError, match=r"after: has layers \['b'\], want \['a'\]"):
        attacks.layer_probe(case, X, {"b": X["a"]})
    with pytest.raises(ValueError, match="labels: a forgotten class has fewer than 2 images"):
        attacks.layer_probe(cn.Case(X["a"][2:], torch.eye(4, 5), y[2:], [0]), X, X)


@pytest.mark.parametrize(("fewer", "as_many"), [([3] * 4, 3), ([2] * 4, 2), ([2, 9], 2), ([1, 1, 5], 5)])
def test_of_few_images_there_are_fewer_folds(fewer, as_many):
    y = torch.arange(len(fewer)).repeat_interleave(torch.tensor(fewer))
    X = normal(len(y), 5)
    assert torch.equal(linear_probe(X, y, folds=7), linear_probe(X, y, folds=as_many))
    case = cn.Case(X, torch.eye(len(fewer), 5), y, [0])
    if fewer[0] > 1:
        most = attacks.layer_probe(case, {"a": X}, {"a": X}, folds=7)
        assert most == attacks.layer_probe(case, {"a": X}, {"a": X}, folds=fewer[0])


# --- figures ---------------------------------------------------------------------------------


def test_figures_say_what_they_show():
    edit = edit_of(4)
    found = attacks.fingerprint(P, edit.apply_image(P), T, NAMES)
    case = cn.Case(H @ LAYER, T.float(), Y, [4])
    features = {"first": H, "embedding": H @ LAYER}
    after = features | {"embedding": H @ edit.apply_image(LAYER)}
    probes = attacks.layer_probe(case, features, after)
    figures = {
        "Share of each name: name 4 1.00": plots.fingerprint(found, ["name 4"], title="Read off the weights"),
        "before, after and with shuffled labels. first": plots.layer_probe(probes, (1.0, 0.0), title="C"),
    }
    for said, fig in figures.items():
        assert said in cn.plots.alt(fig), cn.plots.alt(fig)
        assert fig.get_suptitle() and "nan" not in cn.plots.alt(fig)
        fig.canvas.draw()


def test_figure_of_no_fingerprint():
    fig = plots.fingerprint(attacks.fingerprint(P, P, T, NAMES), ["name 4"], title="Nothing")
    assert "Nothing. 0 singular values stand above rounding" in cn.plots.alt(fig)
