"""Cells of class and style: what a linear edit can erase, on planted axes; pictures made from names."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import clipnull as cn
from clipnull import prototypes as pr

C, D = 6, 40
OTHERS = list(range(1, C))
FORGET = 0
EXACT = 1e9  # mu: kept rows do not move


@pytest.fixture(scope="module")
def axes():
    """Orthonormal directions: one a class, one a style, one for the interaction, one shared."""
    Q = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    return {"class": Q[:, :C].T, "style": Q[:, C : C + 2].T, "own": Q[:, C + 2], "shared": Q[:, C + 3]}


def world(axes, interaction=0.0):
    """Cells [2, C, D] = shared + class + style, and names [C, D]; class 0 in style 0 has a part of its own."""
    M = axes["shared"] + axes["class"] + 0.5 * axes["style"][:, None]
    M[0, FORGET] += interaction * axes["own"]
    return M, F.normalize(axes["shared"] + axes["class"], dim=1)


def kept(M):
    """Every cell but the one of class 0 in style 0."""
    return torch.cat([M[0, OTHERS], M[1]])


def right(M, T, edit):
    """Whether each cell is recognised, [2, C]."""
    return torch.stack([(edit.apply_image(m) @ T.T).argmax(1) == torch.arange(C) for m in M])


# --- two-way decomposition ----------------------------------------------------------------------


def test_two_way_adds_up_and_finds_what_was_planted(axes):
    M, _ = world(axes)
    parts = pr.two_way(M)
    assert torch.allclose(sum(parts.values()), M)
    assert parts["interaction"].abs().max() < 1e-12
    assert torch.allclose(
        parts["style"][0, 0] - parts["style"][1, 0], 0.5 * (axes["style"][0] - axes["style"][1])
    )
    total = ((M - parts["mean"]) ** 2).sum()
    sizes = [(parts[k].expand_as(M) ** 2).sum() for k in ("style", "class", "interaction")]
    assert torch.isclose(sum(sizes), total)
    planted = pr.two_way(world(axes, interaction=1.0)[0])["interaction"]
    own = planted @ axes["own"]
    assert own[0, FORGET] == own.max() and own[0, FORGET] > 0.3
    assert torch.allclose(planted.sum(0), torch.zeros(C, D).double(), atol=1e-12)
    assert torch.allclose(planted.sum(1), torch.zeros(2, D).double(), atol=1e-12)


def test_two_way_refuses():
    with pytest.raises(ValueError, match=r"M: got shape \(3, 4\)"):
        pr.two_way(torch.zeros(3, 4))


def test_cells_are_means():
    Z = {"a": torch.tensor([[1.0, 0], [3, 0], [0, 1]]), "b": torch.tensor([[0.0, 2], [0, 4], [1, 1]])}
    M = pr.cells(Z, [0, 0, 1], 2)
    assert M.tolist() == [[[2, 0], [0, 1]], [[0, 3], [1, 1]]]
    with pytest.raises(ValueError, match="labels: class 2 has no image"):
        pr.cells(Z, [0, 0, 1], 3)
    with pytest.raises(ValueError, match=r"Z: got .* want the same \[n, d\]"):
        pr.cells({"a": Z["a"], "b": Z["b"][:2]}, [0, 0, 1], 2)
    with pytest.raises(ValueError, match="Z: got"):
        pr.cells({}, [0], 1)


# --- theorems -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_parallelogram(axes, seed):
    """Any linear edit moves the fourth cell by what it moves the other three, plus what it does to the interaction."""
    g = torch.Generator().manual_seed(seed)
    edit = cn.Edit(*(torch.randn(D, 3, dtype=torch.float64, generator=g) for _ in "LR"))
    for interaction in (0.0, 0.7):
        M, _ = world(axes, interaction)
        move = torch.stack([edit.apply_image(m) - m for m in M])
        i = interaction * axes["own"][None]
        extra = edit.apply_image(i) - i
        for x in OTHERS:
            three = move[1, FORGET] + move[0, x] - move[1, x]
            assert torch.allclose(move[0, FORGET], three + extra[0])


def test_holding_the_others_holds_an_additive_cell(axes):
    """With class and style additive, no dial of consistent_images forgets in one style alone."""
    M, T = world(axes)
    for lam in (10.0, 1e3, 1e6):
        edit = pr.consistent_images(M[0, [FORGET]], kept(M), lam=lam, mu=1e6 * lam, dtype=torch.float64)
        moves = [(edit.apply_image(m) - m).norm(dim=1).max() for m in M]
        assert max(moves) < 1e-3, "three corners held: the fourth is"
        assert right(M, T, edit).all()
    # lam infinite forces the cell onto its anchor, and the kept ones pay at least as much together
    forced = pr.consistent_images(M[0, [FORGET]], kept(M), mu=EXACT, dtype=torch.float64)
    move = torch.stack([(forced.apply_image(m) - m) for m in M]).norm(dim=2)
    assert move[0, FORGET] > 0.5
    assert move[1, FORGET] + move[0, 1] + move[1, 1] >= move[0, FORGET] - 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_additive_margins_shift_alike(axes, seed):
    """Whatever the edit, additive styles shift a margin between two names by the same for every class."""
    M, T = world(axes)
    g = torch.Generator().manual_seed(seed)
    edit = cn.Edit(*(torch.randn(D, 2, dtype=torch.float64, generator=g) for _ in "LR"))
    S = torch.stack([edit.apply_image(m) @ T.T for m in M])
    margin = S[:, :, FORGET] - S[:, :, 1]
    assert torch.allclose(margin[0] - margin[1], (margin[0] - margin[1])[0].expand(C))


def test_a_planted_interaction_is_erased_and_nothing_else(axes):
    M, T = world(axes, interaction=1.0)
    before = cn.Edit(torch.zeros(D, 0), torch.zeros(D, 0))
    assert right(M, T, before).all()
    edit = pr.consistent_images(M[0, [FORGET]], kept(M), mu=EXACT, dtype=torch.float64)
    wanted = torch.ones(2, C, dtype=torch.bool)
    wanted[0, FORGET] = False
    assert torch.equal(right(M, T, edit), wanted)
    assert torch.allclose(edit.apply_image(kept(M)), kept(M), atol=1e-6)
    assert torch.allclose(edit.apply_image(M[0, [FORGET]])[0], kept(M).mean(0), atol=1e-6)
    # the same rows on the text side of an edit do not do it: rows that are pictures need the transpose
    swapped = cn.consistent(M[0, [FORGET]], kept(M), float("inf"), EXACT, anchor="mean", dtype=torch.float64)
    assert not torch.allclose(swapped.apply_image(kept(M)), kept(M), atol=1e-2)


def test_gate_mutes_one_name_in_one_style_even_when_additive(axes):
    """No interaction, and yet one cell is lost and no other: only one name's score changes, in one style."""
    M, T = world(axes)
    strength = 5.0
    edit = pr.gated(M[0, [FORGET]], M[1], T[[FORGET]], T[OTHERS], strength, mu=EXACT, dtype=torch.float64)
    wanted = torch.ones(2, C, dtype=torch.bool)
    wanted[0, FORGET] = False
    assert torch.equal(right(M, T, edit), wanted)
    change = torch.stack([edit.apply_image(m) @ T.T - m @ T.T for m in M])
    assert change[:, :, OTHERS].abs().max() < 1e-6, "no other name's score"
    assert torch.allclose(change[0, :, FORGET], torch.full((C,), -strength).double(), atol=1e-6)
    assert change[1, :, FORGET].abs().max() < 1e-6


def test_gate_that_was_shown_one_kept_cell_may_err_on_the_others(axes):
    """Its reader is 0 on that cell; on other classes of the style it is negative, and their pictures take the name."""
    M, T = world(axes)
    edit = pr.gated(
        M[0, [FORGET]], M[1, [FORGET]], T[[FORGET]], T[OTHERS], 5.0, mu=EXACT, dtype=torch.float64
    )
    assert right(M, T, edit)[:, FORGET].tolist() == [False, True]
    assert (M[1, OTHERS] @ edit.left < -0.5).all() and not right(M, T, edit)[1, OTHERS].any()
    gentle = pr.gated(
        M[0, [FORGET]], M[1, [FORGET]], T[[FORGET]], T[OTHERS], 0.8, mu=EXACT, dtype=torch.float64
    )
    assert right(M, T, gentle)[:, FORGET].tolist() == [False, True] and right(M, T, gentle)[:, OTHERS].all()


def test_gate_is_blind_without_a_style(axes):
    """Prototypes that differ in no direction: the cells go together."""
    M, T = world(axes)
    same = M[0, [FORGET]]
    edit = pr.gated(same, same, T[[FORGET]], T[OTHERS], 1.0, mu=100.0, dtype=torch.float64)
    assert right(M, T, edit)[:, FORGET].tolist() == [False, False]
    assert right(M, T, edit)[:, OTHERS].all()


def test_gate_of_several_cells(axes):
    M, T = world(axes)
    gone = [0, 1]
    edit = pr.gated(M[0, gone], M[1], T[gone], T[2:], 5.0, mu=EXACT, dtype=torch.float64)
    assert torch.allclose((M[0, gone] @ edit.left).diagonal(), torch.full((2,), 5.0).double())
    assert torch.allclose(T[gone] @ edit.right, torch.eye(2).double(), atol=1e-6)
    wanted = torch.ones(2, C, dtype=torch.bool)
    wanted[0, gone] = False
    assert torch.equal(right(M, T, edit), wanted)
    assert edit.rank == 2 and edit.info["method"] == "gated"
    # one cell: both factors are R of the consistent edit with lam infinite
    one = pr.gated(M[0, [0]], M[1], T[:1], T[1:], 1.0, mu=30.0, dtype=torch.float64)
    for factor, rows in ((one.left, (M[0, [0]], M[1])), (one.right, (T[:1], T[1:]))):
        assert torch.allclose(factor, cn.consistent(*rows, float("inf"), 30.0, dtype=torch.float64).right)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda P, T: pr.gated(P[:2], P[2:], T[:1], T[1:]), r"P_f, T_f: got shapes \(2, 8\) and \(1, 8\)"),
        (lambda P, T: pr.gated(P[:1], P[1:], T[:1], T[1:], strength=-1), "strength: got -1"),
        (lambda P, T: pr.gated(P[:1], P[1:], T[:1], T[1:], mu=float("nan")), "mu: got nan"),
        (lambda P, T: pr.gated(P[:1], P[1:], T[:1, :4], T[1:, :4]), "P_f, T_f: got shapes"),
        (lambda P, T: pr.consistent_images(P[:1], P[1:, :4]), "T_r: rows have 4 entries, want 8"),
        (lambda P, T: pr.consistent_images(P[:1], P[1:], mu=-1.0), "mu: got -1"),
    ],
)
def test_edits_refuse(call, message):
    g = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 8, generator=g), torch.randn(4, 8, generator=g))


# --- measuring ----------------------------------------------------------------------------------


def test_selective_averages_the_four_cells(axes):
    M, T = world(axes)
    Z = {"one": M[0], "two": M[1]}

    def gate(c, erase, keep):
        a, b = (0, 1) if erase == "one" else (1, 0)
        rest = [i for i in range(C) if i != c]
        return pr.gated(M[a, [c]], M[b], T[[c]], T[rest], 5.0, mu=EXACT)

    for erase, keep in (("one", "two"), ("two", "one")):
        result = pr.selective(Z, T, torch.arange(C), range(C), erase, keep, gate)
        assert result.styles == (erase, keep)
        assert result.before.tolist() == [[1, 1], [1, 1]]
        assert result.after.tolist() == [[0, 1], [1, 1]] and result.gap == 1
        assert f"class in {erase} 0.0%, in {keep} 100.0%; others +0.0 and +0.0 points" == str(result)

    def mute(c, erase, keep):
        """A reader that sees what all pictures share: the name is lost in both styles."""
        writer = gate(c, erase, keep).right
        return cn.Edit(5.0 * axes["shared"][:, None], writer.double())

    everywhere = pr.selective(Z, T, torch.arange(C), range(C), "one", "two", mute)
    assert everywhere.after[0].tolist() == [0, 0] and everywhere.gap == 0
    with pytest.raises(ValueError, match="erase: got 'three', want one of one, two"):
        pr.selective(Z, T, torch.arange(C), [0], "three", "two", gate)
    with pytest.raises(ValueError, match="keep: got 'one', the style to erase in"):
        pr.selective(Z, T, torch.arange(C), [0], "one", "one", gate)


# --- pictures from names ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip():
    return cn.load("pocket", device="cpu")


@pytest.fixture(scope="module")
def targets(clip):
    return clip.embed_text(["tiger", "banana", "house"], templates="a drawing of a {}.")


def test_ascent_raises_the_cosine_and_leaves_the_model_alone(clip, targets):
    before = {k: v.clone() for k, v in clip.model.state_dict().items()}
    made = pr.synthesise(clip, targets, steps=15)
    grey = clip.embed_images(np.full((64, 64, 3), 128, np.uint8))
    assert ((made.embeddings * targets).sum(1) > (grey @ targets.T)[0] + 0.03).all()
    assert (made.cosines[-5:].mean(0) > made.cosines[:5].mean(0)).all()
    assert torch.equal((made.embeddings @ targets.T).argmax(1), torch.arange(3)), (
        "each is most like its own name"
    )
    assert torch.allclose(made.embeddings.norm(dim=1), torch.ones(3), atol=1e-5)
    # the pictures, read from their 8-bit pixels as any other, say the same
    assert torch.allclose(clip.embed_images(made.images), made.embeddings, atol=0.05)
    assert made.cosines.shape == (15, 3) and made.images[0].size == (64, 64)
    assert all(torch.equal(before[k], v) for k, v in clip.model.state_dict().items())
    assert all(
        p.grad is None and p.requires_grad for n, p in clip.model.named_parameters() if n != "logit_scale"
    )


def test_a_seed_gives_the_same_pictures(clip, targets):
    one, again, other = (pr.synthesise(clip, targets[:1], steps=3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(np.asarray(one.images[0]), np.asarray(again.images[0]))
    assert torch.equal(one.embeddings, again.embeddings)
    assert not np.array_equal(np.asarray(one.images[0]), np.asarray(other.images[0]))


def test_pull_start_and_smoothness(clip, targets):
    direction = F.normalize(torch.randn(256, generator=torch.Generator().manual_seed(0)), dim=0)
    plain, pulled = (pr.synthesise(clip, targets[:1], steps=6, pull=p) for p in (None, 2 * direction))
    assert float(pulled.embeddings @ direction) > float(plain.embeddings @ direction) + 0.05
    white = np.full((64, 64, 3), 255, np.uint8)
    started = pr.synthesise(clip, targets[:2], steps=1, start=[white, white])
    assert np.asarray(started.images[0]).mean() > 200
    one_for_all = pr.synthesise(clip, targets[:2], steps=1, start=white)
    assert np.array_equal(np.asarray(one_for_all.images[1]), np.asarray(started.images[1]))

    def roughness(smooth):
        x = np.asarray(pr.synthesise(clip, targets[:1], steps=6, smooth=smooth).images[0], float)
        return np.abs(np.diff(x, axis=0)).mean()

    assert roughness(30.0) < 0.8 * roughness(0.0)


def test_ascent_on_another_tower(tmp_path):
    """A transformer at half precision, with a size and pixel statistics of its own."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": [32, 48], "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), tmp_path / "open_clip_model.safetensors")
    text = json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    (tmp_path / "open_clip_config.json").write_text(text)
    tower = cn.load(f"local-dir:{tmp_path}", device="cpu", precision="bf16")
    t = F.normalize(torch.randn(1, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    made = pr.synthesise(tower, t, steps=10, jitter=0.0)
    assert made.images[0].size == (48, 32) and made.cosines[-1] > made.cosines[0] + 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps: got 0"),
        (dict(steps=2.5), "steps: got 2.5"),
        (dict(rate=0.0), "rate: got 0.0"),
        (dict(jitter=2.0), "jitter: got 2.0"),
        (dict(smooth=-1.0), "smooth: got -1.0"),
        (dict(pull=torch.ones(3)), "pull: rows have 3 entries, want 256"),
        (
            dict(start=np.zeros((32, 32, 3), np.uint8)),
            r"start: got shape \(3, 32, 32, 3\), want 3 RGB images",
        ),
        (dict(start=[np.zeros((64, 64, 3), np.uint8)]), r"start: got shape \(1, 64, 64, 3\), want 3"),
        (dict(start=[]), "start: got shape"),
    ],
)
def test_ascent_refuses(clip, targets, options, message):
    with pytest.raises(ValueError, match=message):
        pr.synthesise(clip, targets, **{"steps": 1, **options})
    with pytest.raises(ValueError, match="targets: rows have 5 entries, want 256"):
        pr.synthesise(clip, torch.ones(2, 5))
