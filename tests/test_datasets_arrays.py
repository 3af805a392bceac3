"""Embeddings from files that other programs wrote: every format, bad ones, and no model needed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import clipnull as cn
from clipnull import datasets
from clipnull.datasets.arrays import load_arrays

N, C, D = 7, 3, 5
RNG = np.random.default_rng(0)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


Z = unit(RNG.normal(size=(N, D))).astype(np.float32)
T = unit(RNG.normal(size=(C, D))).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2, 0])
NAMES = ["cat", "toy dog", "owl"]


def write_npz(path):
    np.savez(path, Z=Z, T=T, labels=Y, classes=NAMES)


def write_pt(path):
    arrays = {"Z": torch.tensor(Z), "T": torch.tensor(T), "labels": torch.tensor(Y), "classes": NAMES}
    torch.save(arrays, path)


def write_safetensors(path):
    arrays = {"Z": torch.tensor(Z), "T": torch.tensor(T), "labels": torch.tensor(Y)}
    save_file(arrays, path, metadata={"classes": json.dumps(NAMES)})


WRITERS = {".npz": write_npz, ".pt": write_pt, ".safetensors": write_safetensors}


def assert_ours(data, names=NAMES):
    torch.testing.assert_close(data.Z, torch.tensor(Z))
    torch.testing.assert_close(data.T, torch.tensor(T))
    assert data.labels.tolist() == Y.tolist() and data.labels.dtype == torch.long and data.classes == names
    assert data.Z.dtype == data.T.dtype == torch.float32


# --- formats -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", WRITERS)
def test_one_file(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"all{suffix}")
    data = load_arrays(tmp_path / f"all{suffix}")
    assert_ours(data)
    assert repr(data) == "Embeddings(7 images, 3 classes, 5 dimensions)"
    assert_ours(load_arrays(str(tmp_path / f"all{suffix}")))


def test_a_file_each(tmp_path):
    np.save(tmp_path / "images.npy", Z)
    torch.save(torch.tensor(T), tmp_path / "names.pt")
    save_file({"y": torch.tensor(Y)}, tmp_path / "y.safetensors")
    files = dict(Z=tmp_path / "images.npy", T=str(tmp_path / "names.pt"), labels=tmp_path / "y.safetensors")
    assert_ours(load_arrays(**files), ["class 0", "class 1", "class 2"])
    np.save(tmp_path / "names.npy", NAMES)
    for classes in (NAMES, tmp_path / "names.npy"):
        assert_ours(load_arrays(**files, classes=classes))


def test_arrays_as_they_are_and_in_place_of_a_file_s(tmp_path):
    np.savez(tmp_path / "clip.npz", Z=Z, T=T[:, ::-1].copy(), labels=Y)
    assert_ours(load_arrays(tmp_path / "clip.npz", T=T, classes=NAMES))
    np.savez(tmp_path / "more.npz", Z=Z, T=T)
    assert_ours(load_arrays(tmp_path / "clip.npz", T=tmp_path / "more.npz", classes=NAMES))
    assert_ours(load_arrays(Z=Z, T=torch.tensor(T), labels=Y.tolist(), classes=tuple(NAMES)))


def test_rows_are_scaled_and_types_are_one(tmp_path):
    np.savez(
        tmp_path / "all.npz",
        Z=(Z * 7).astype(np.float64),
        T=T.astype(np.float64) / 3,
        labels=Y.astype(np.float32),
    )
    assert_ours(load_arrays(tmp_path / "all.npz", classes=NAMES))
    half = load_arrays(Z=torch.tensor(Z).half(), T=torch.tensor(T).bfloat16(), labels=Y)
    assert half.Z.dtype == half.T.dtype == torch.float32
    torch.testing.assert_close(half.Z, torch.tensor(Z), rtol=0, atol=1e-3)


# --- evaluating them -----------------------------------------------------------------------


def test_evaluate_and_sweep_need_no_model(tmp_path):
    write_npz(tmp_path / "all.npz")
    code = f"""
import sys
for name in ("open_clip", "timm", "torchvision", "transformers"):
    sys.modules[name] = None  # importing it fails
import clipnull as cn
data = cn.datasets.load_arrays({str(tmp_path / "all.npz")!r})
case = cn.Case(data.Z, data.T, data.labels, ["cat"], data.classes)
report = case.evaluate(cn.consistent(case.T_f, case.T_r))
rows = cn.sweep(case, cn.nullspace, strength=[0, 1])
assert "clipnull.model" not in sys.modules
print(report.forget_after, len(rows))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = cn.Case(Z, T, Y, ["cat"], NAMES).evaluate(cn.consistent(T[:1], T[1:]))
    assert float(done.stdout.split()[0]) == here.forget_after


# --- bad input -----------------------------------------------------------------------------


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".safetensors"])
def test_nothing_is_unpickled(tmp_path, suffix):
    files = [tmp_path / f"{kind}{suffix}" for kind in ("bare", "torch", "numpy")]
    files[0].write_bytes(pickle.dumps(Trap()))
    torch.save({"Z": Trap()}, files[1])
    with files[2].open("wb") as file:
        if suffix == ".npz":
            np.savez(file, Z=np.array([Trap()], dtype=object), T=T, labels=Y)
        else:
            np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    for path in files:
        with pytest.raises(
            ValueError, match=r"^Z: (cannot read .* without unpickling|.* has .*want one array)"
        ):
            load_arrays(Z=path, T=T, labels=Y)
        with pytest.raises(ValueError, match=r"^(path: |Z: .* has )"):
            load_arrays(path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(
        ValueError, match=r"Z: got none, want an array of that name, or Z= with it or its file"
    ):
        load_arrays()
    with pytest.raises(ValueError, match=r"path: cannot read '.*absent\.npz'.*No such file"):
        load_arrays(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r"Z: cannot read 'absent\.npy'"):
        load_arrays(Z="absent.npy", T=T, labels=Y)
    np.savez(tmp_path / "some.npz", Z=Z, text=T)
    with pytest.raises(ValueError, match=r"T: '.*some\.npz' has Z, text, want an array of that name"):
        load_arrays(tmp_path / "some.npz")
    with pytest.raises(
        ValueError, match=r"labels: '.*some\.npz' has Z, text, want one array, or one called labels"
    ):
        load_arrays(Z=Z, T=T, labels=tmp_path / "some.npz")
    (tmp_path / "Z.csv").write_text("1,2")
    with pytest.raises(
        ValueError, match=r"Z: cannot read '.*Z\.csv' .*want a \.npy, \.npz, \.pt or \.safetensors file"
    ):
        load_arrays(Z=tmp_path / "Z.csv", T=T, labels=Y)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(Z=Z[:, :4]), "Z: rows have 4 entries, want 5"),
        (dict(Z=np.full_like(Z, np.nan)), "Z: 7 of 7 rows hold NaN or infinity"),
        (dict(T=T * [[1], [0], [1]]), "T: row 1 is all zeros"),
        (dict(Z=np.zeros((0, D))), r"Z: got shape \(0, 5\)"),
        (dict(labels=Y[:4]), r"labels: got shape \(4,\), want \[7\]"),
        (dict(labels=Y + 1), "labels: entries run from 1 to 3, want 0 to 2"),
        (dict(labels=np.array(NAMES)[Y]), "labels: cannot be read as an array of numbers"),
        (dict(classes=NAMES[:2]), "classes: got 2 names, want 3"),
    ],
)
def test_arrays_that_do_not_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        load_arrays(**{**dict(Z=Z, T=T, labels=Y, classes=NAMES), **changed})


def test_it_is_public():
    assert cn.datasets.load_arrays is load_arrays and hasattr(datasets, "Embeddings")
