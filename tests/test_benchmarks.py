"""The benchmarks run at small size, print their tables, and compare equal things. Nothing is timed here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import clipnull as cn

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SHORT = ["--threads", "1", "--repeats", "1"]
NAMES = "tiger dog cat horse pizza banana hammer airplane".split()


@pytest.fixture
def script(monkeypatch):
    """A benchmark as a module; the number of threads is as before afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name, value in {"CLIPNULL_NO_PROGRESS": "1", "CLIPNULL_CACHE": "off"}.items():
        monkeypatch.setenv(name, value)
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each Markdown table, header first, the rule left out."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.M)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in (re.sub(r"^\|(?: *---[- ]*\|)+\n", "", block, flags=re.M) for block in found)
    ]


def run(module: ModuleType, capsys, *arguments: str) -> list[list[list[str]]]:
    module.main([*SHORT, *arguments])
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith("Medians (range) of 1 turns."), "the machine comes first"
    for table in tables(out):
        assert {len(row) for row in table} == {len(table[0])} and len(table) > 1
    return tables(out)


# --- the scripts -----------------------------------------------------------------------------


@pytest.mark.parametrize("C", [30, 90], ids=["fewer names than dimensions", "more"])
def test_the_dense_formula_is_the_minimiser(script, C):
    fit = script("fit")
    T = script("_timing").names(C, 48)
    for method in fit.ERASERS:
        edit = cn.METHODS[method].make(T[:3], T[3:])
        W = fit.dense(method, T[:3], T[3:], edit.info.get("mu", 0.0))
        assert torch.allclose(edit.matrix().double(), W, atol=2e-5), method
    lam, mu = (cn.METHODS["ccup"].defaults[k] for k in ("lam", "mu"))
    W = fit.dense("ccup", T[:3], T[3:], mu).requires_grad_()
    f, r, I = T[:3].double().T, T[3:].double().T, torch.eye(48, dtype=torch.float64)
    loss = (W - I).square().sum() + lam * (W @ f).square().sum() + mu * (W @ r - r).square().sum()
    assert torch.autograd.grad(loss, W)[0].abs().max() < 1e-8


def test_fit(script, capsys):
    pytest.importorskip("concept_erasure")
    sizes = "--names 40 --forget 1 3 9 --dims 24 32 --features 200 --most 100".split()
    against, growth = run(script("fit"), capsys, *sizes)
    assert [row[:3] for row in against[1:5]] == [["24", "1", e] for e in script("fit").ERASERS]
    assert len(against) == 1 + 2 * 3 * 4
    assert {"4", "40", "100"} <= {row[0] for row in growth} and {"12", "32"} <= {row[2] for row in growth}


def test_a_wrong_formula_is_found_out(script, monkeypatch):
    fit = script("fit")
    transposed = fit.dense
    monkeypatch.setattr(fit, "dense", lambda *a: transposed(*a).T)
    with pytest.raises(AssertionError, match="ccup"):
        fit.sides(60, 3, 24)


def test_end_to_end(script, capsys):
    (table,) = run(script("end_to_end"), capsys, *"--scenes 1 --forget tiger --subset".split(), *NAMES)
    assert [row[0] for row in table[1:]] == list(script("end_to_end").METHODS)
    head = table[0]
    pictures, mean = head.index("pictures, ms"), head.index("fit / mean's")
    for row in table[1:]:
        assert (row[pictures] == "–") == (row[0] != "gradient")
        assert row[0] != "mean" or row[mean] == "1.0"
        assert all(0 <= float(cell) <= 100 for cell in row[-4:-1]) and float(row[-1]) > 0
        assert row[0] not in ("mean", "hull") or float(row[-4]) == 0
    assert head[-4:] == ["full, %", "2-way, %", "search, %", "kept, %"]


def test_throughput(script, capsys):
    sizes = ["--models", "pocket:10", "--scenes", "1", "--batch", "4", "--subset", *NAMES]
    tensors, *whole = run(script("throughput"), capsys, *sizes)
    assert tensors[1][:2] == ["pocket, 64 px", "10"]
    # the comparison with clip-benchmark is made where it is installed
    assert len(whole) == (importlib.util.find_spec("clip_benchmark") is not None)
    assert all(table[1][0] == "pocket" for table in whole)


def test_startup(script, capsys, monkeypatch):
    startup = script("startup")
    quick = {name: ["-c", "import json"] for name in startup.IMPORTS}
    monkeypatch.setattr(startup, "IMPORTS", quick)
    (table,) = run(startup, capsys, "--only-imports")
    assert [row[0] for row in table[1:]] == [f"`{name}`" for name in startup.IMPORTS]


def test_lab_latency(script, capsys):
    evaluation, redraw = run(script("lab_latency"), capsys, "--size", "500", "40", "64", "--ranks", "1")
    assert evaluation[1][0] == "1" and len(redraw) > 3


def test_hull(script, capsys):
    (table,) = run(script("hull"), capsys, *"--names 30 60 --forget 4 --dim 24".split())
    assert [row[:3] for row in table[1:]] == [["30", "2", "24"], ["60", "4", "24"]]
    assert table[0][3:] == ["m nearest mixtures, ms"] + [
        f"certificate, {k}, ms" for k in ("no edit", "nullspace", "ccup", "mean")
    ]


def test_certificates_that_are_no_leads_are_found_out(script, monkeypatch):
    hull, T = script("hull"), script("_timing").names(30, 24)
    hull.agree(T[:2], T[2:])
    monkeypatch.setattr(cn, "certificate", lambda *a, **k: torch.zeros(2))
    with pytest.raises(AssertionError):
        hull.agree(T[:2], T[2:])


def real_files(folder: Path, script, turn: bool) -> list[str]:
    """Arguments for arrays on disk in three formats, [d, n] if ``turn``."""
    timing = script("_timing")
    T = timing.names(12, 24)
    Z, y = timing.pictures(T, 90)
    other = torch.nn.functional.normalize(T + 0.02 * timing.pictures(T, 12)[0], dim=1)
    T, Z, other = ((x.T if turn else x).contiguous() for x in (T, Z, other))
    torch.save(T, folder / "T.pt")
    np.save(folder / "Z.npy", Z.numpy())
    np.save(folder / "y.npy", y.numpy())
    save_file({"T": other}, folder / "other.safetensors")
    options = {"text": "T.pt", "images": "Z.npy", "labels": "y.npy", "other-prompt": "other.safetensors"}
    return [x for k, name in options.items() for x in (f"--{k}", str(folder / name))]


def test_real_clip_on_arrays_from_disk(script, capsys, tmp_path):
    sizes = "--forget 2 3 50 --draws 2 --certified 2".split()
    real_clip = script("real_clip")
    real_clip.main([*SHORT, *real_files(tmp_path, script, False), *sizes])
    plain = capsys.readouterr().out
    real_clip.main([*SHORT, *real_files(tmp_path, script, True), *sizes])
    turned = capsys.readouterr().out
    for name, shape in (("images", "[24, 90]"), ("text", "[24, 12]"), ("other prompt", "[24, 12]")):
        assert f"{name} is {shape}: turned" in turned
    assert "turned" not in plain and "Left out: 50 forgotten" in plain
    # columns turned say what rows say, times apart
    assert [[r[:-1] for r in t] for t in tables(plain)] == [[r[:-1] for r in t] for t in tables(turned)]
    geometry, methods = tables(plain)
    assert geometry[1][:3] == ["the file", "12", "24"] and len(geometry) == 2
    wanted = ["no edit", "candidate masking", *cn.METHODS]
    assert [r[:3] for r in methods[1:]] == [
        [m, listed, name] for m in ("2", "3") for listed in ("100%", "30%") for name in wanted
    ]
    head = methods[0]
    for row in methods[1:]:
        cells = dict(zip(head, row, strict=True))
        assert (cells["kept, unlisted"] == "–") == (cells["listed"] == "100%")
        assert (cells["certificate"] == "–") == (cells["method"] == "candidate masking")
        if cells["method"] in ("mean", "hull"):
            assert cells["certificate"] == "0.00" and cells["full"] == "0.0"
    # the first row of the mean is what the comparison says
    T = script("_timing").names(12, 24)
    Z, y = script("_timing").pictures(T, 90)
    found = cn.compare(cn.trials(cn.Case(Z, T, y, [0]), 2, draws=2), ["mean"])["mean"].seen
    (row,) = (r for r in methods if r[:3] == ["2", "100%", "mean"])
    assert float(row[4]) == pytest.approx(100 * found.n_way[2].mean, abs=0.051)
    assert float(row[head.index("kept")]) == pytest.approx(100 * found.listed.mean, abs=0.051)


def test_real_clip_on_what_ships(script, capsys):
    geometry, methods, alone = run(
        script("real_clip"), capsys, *"--forget 1 40 --draws 1 --certified 1".split()
    )
    assert [row[:3] for row in geometry[1:]] == [
        ["COCO, ViT-B/16", "80", "512"],
        ["LVIS, ViT-B/32", "1,203", "512"],
    ]
    assert geometry[2][-3:] == ["44", "197", "381"] and geometry[2][3] == "0.74"
    assert {row[0] for row in methods[1:]} == {"1"}
    assert [row[0] for row in alone[1:]] == ["1", "40"]
    assert alone[1][alone[0].index("mean")] == "0.00" < alone[1][alone[0].index("ccup")]


def test_real_clip_wants_all_three_files(script, capsys):
    with pytest.raises(SystemExit):
        script("real_clip").main([*SHORT, "--text", "T.pt"])
    assert "--images, --labels: want --text, --images and --labels together" in capsys.readouterr().err


# --- what they share -------------------------------------------------------------------------


def test_numbers_keep_two_digits(script):
    timing = script("_timing")
    assert [timing.figure(x) for x in (0.01234, 1.26, 45.6, 12345.6)] == ["0.012", "1.3", "46", "12,346"]
    assert timing.spread([3.0, 1.0, 2.0]) == "2.0 (1.0–3.0)"
    assert timing.ratio([20.0, 40.0, 30.0], [10.0]) == "3.0"


def test_sides_take_turns_and_the_first_is_not_counted(script):
    order = []
    times = script("_timing").milliseconds(lambda: order.append("a"), lambda: order.append("b"), repeats=2)
    assert order == ["a", "b", "b", "a", "a", "b"] and [len(side) for side in times] == [2, 2]


def test_output_goes_between_the_markers_and_nothing_else_moves(script):
    between = script("run_all").between
    text = "before\n<!-- fit -->\nold\n<!-- /fit -->\nafter\n"
    once = between(text, "fit", "new\n")
    assert once == "before\n<!-- fit -->\n\nnew\n\n<!-- /fit -->\nafter\n" == between(once, "fit", "new")
    with pytest.raises(ValueError, match="<!-- other -->"):
        between(text, "other", "new")


def test_every_script_has_its_place_in_the_readme(script):
    run_all = script("run_all")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"_timing", "run_all", "choose_mu"}
    assert set(run_all.SCRIPTS) == scripts
    for name in scripts:
        run_all.between(text, name, "")
        assert f"`{name}.py`" in text
