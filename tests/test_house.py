"""The house rules: packaging in step, imports downwards, nothing private in the repository."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import operator
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest
import yaml

import clipnull

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
#: what conda calls differently
CONDA_NAMES = {"playwright-python": "playwright"}
#: who may import whom: a room (or flat module) imports those of its own line, and lines above it here
LEVELS = [
    {"_check", "_files", "_show"},
    {"subspace", "edit", "measures"},
    {"hull"},
    {"erasers", "solver"},
    {"report"},
    {"evaluation"},
    {"comparison", "plots", "datasets"},
    {"model"},
    {"auditing"},
    {"protocol"},
    {"exercises", "lab"},
    {"cli"},
]


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def requirement(text: str) -> tuple[str, str]:
    """Name (in one spelling) and bound."""
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)\s*(.*)", text.strip())
    assert match, text
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    return CONDA_NAMES.get(name, name), match[2].replace(" ", "")


def required() -> dict[str, str]:
    extras = PROJECT["optional-dependencies"]
    return dict(map(requirement, [*PROJECT["dependencies"], *extras["lab"], *extras["test"]]))


# --- packaging -------------------------------------------------------------------------------


def test_environment_asks_for_the_same_packages():
    asked: dict[str, str] = {}
    for entry in yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]:
        entries = entry["pip"] if isinstance(entry, dict) else [entry]
        asked |= dict(requirement(e) for e in entries if e != "-e .")
    assert asked.pop("python") == PROJECT["requires-python"]
    assert asked.pop("pip") == asked.pop("nodejs") == ""
    assert asked == required()


def test_bounds_are_lower_bounds():
    for name, bound in required().items():
        assert re.fullmatch(r">=[\d.]+", bound), (name, bound)


def test_citation_names_paper_and_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == clipnull.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"
    paper = citation["references"][0]
    assert paper["identifiers"][0]["value"] == "arXiv:2512.14137"
    assert len(paper["authors"]) == 6


def test_wheel_carries_pocketclip_and_stays_small():
    folder, globs = (
        ROOT / "clipnull" / "pocket",
        PYPROJECT["tool"]["setuptools"]["package-data"]["clipnull.pocket"],
    )
    data = {path for pattern in globs for path in folder.glob(pattern)}
    rest = {p for p in tracked() if p.parent == folder} - data
    assert all(path.suffix == ".py" for path in rest), rest
    assert {"open_clip_config.json", "open_clip_model.safetensors", "classes.json"} <= {p.name for p in data}
    assert sum(len(zlib.compress(path.read_bytes())) for path in data) < 9.5e6
    assert sum(path.stat().st_size for path in tracked()) < 40e6


def test_readme_has_the_two_commands_and_every_lesson():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 'pip install -e ".[lab]" && clipnull demo\n' in readme
    assert 'pip install -e ".[test]" && pytest\n' in readme
    linked = set(re.findall(r"\((notebooks/(?:electives/)?\w+\.ipynb)\)", readme))
    lessons = [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("notebooks/electives/*.ipynb")]
    assert linked == {path.relative_to(ROOT).as_posix() for path in lessons}
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_readme_code_runs(tmp_path, monkeypatch, capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code, *others = re.findall(r"```python\n(.*?)```", readme, re.S)
    for other in others:  # needs weights and pictures that are not here
        for path in re.findall(r"\bcn((?:\.\w+)+)\(", other):
            assert callable(operator.attrgetter(path[1:])(clipnull)), path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPNULL_NO_PROGRESS", "1")
    exec(code.replace('load("twemoji")', 'load("twemoji", scenes=1)'), {})
    assert "forget" in capsys.readouterr().out
    assert (tmp_path / "unlearned" / "open_clip_config.json").is_file()


def test_ci_runs_the_readme_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for line in ('-e ".[test]"', "ruff format --check", "ruff check", "mypy", "\npytest\n", "trap 'rm -rf"):
        assert line in script


# --- the code --------------------------------------------------------------------------------


def modules() -> list[tuple[str, Path]]:
    """Every file of the package with the room, or flat module, that it belongs to."""
    files = sorted((ROOT / "clipnull").rglob("*.py"))
    parts = [path.relative_to(ROOT / "clipnull").with_suffix("").parts for path in files]
    return [(part[0], path) for part, path in zip(parts, files, strict=True) if part != ("__init__",)]


def imports(path: Path) -> set[tuple[str, str]]:
    """(module, name) of the package that a file imports, anywhere but under TYPE_CHECKING."""
    found: set[tuple[str, str]] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    hidden = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "clipnull":
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clipnull."):
            found |= {(str(node.module).removeprefix("clipnull."), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                (a.name.removeprefix("clipnull."), "") for a in node.names if a.name.startswith("clipnull.")
            }
    return found


def test_imports_run_downwards():
    level = {name: i for i, names in enumerate(LEVELS) for name in names}
    assert {room for room, _ in modules()} == {*level, "pocket"}
    for room, path in modules():
        for module, _ in imports(path):
            other = module.split(".")[0]
            if other in level:
                assert level[other] <= level[room], f"{path.name} of {room} imports {other} from above"


def test_only_the_commands_go_through_the_packages_table():
    """It finds a name of any room, whatever the direction."""
    for room, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name == "clipnull"
        }
        assert room == "cli" or used(tree, aliases) <= {"__version__"}, path


def used(tree: ast.AST, names: set[str]) -> set[str]:
    """Attributes that are asked of some names."""
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    return {n.attr for n in nodes if n.value.id in names}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_a_room_keeps_its_private_names():
    for room, path in modules():
        found = imports(path)
        for module, name in found:
            assert module.split(".")[0] == room or not private(name), f"{path} imports {module}.{name}"
        # `from clipnull import erasers`, then `erasers._eye`
        foreign = {(name or module).split(".")[-1] for module, name in found if module.split(".")[0] != room}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not {name for name in used(tree, foreign) if private(name)}, path


def test_files_are_short():
    long = {path.name: n for _, path in modules() if (n := len(path.read_text("utf-8").splitlines())) > 460}
    assert not long, long


def test_mathematics_knows_no_clip():
    first = next(i for i, names in enumerate(LEVELS) if "plots" in names)
    for name in set.union(*LEVELS[:first], {"comparison"}):
        source = (ROOT / "clipnull" / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (open_clip|matplotlib|ipywidgets|PIL)", source, re.M), name


def loaded_by(statement: str) -> set[str]:
    """Packages that a statement in a fresh process imports."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


HEAVY = {"IPython", "PIL", "ipywidgets", "matplotlib", "open_clip", "pandas", "scipy", "sklearn", "tqdm"}


def test_importing_costs_what_is_used():
    assert not loaded_by("import clipnull") & {"torch", "numpy", *HEAVY}
    # torch imports what it likes
    assert not (loaded_by("import clipnull.comparison") - loaded_by("import torch")) & HEAVY


def test_the_table_lists_each_name_once_and_finds_it():
    names = [name for row in clipnull._TABLE.values() for name in row.split()]
    assert sorted(names) == clipnull.__all__
    for name in names:
        assert getattr(clipnull, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        clipnull.evalute  # noqa: B018


def test_what_holds_arrays_is_compared_without_an_error():
    """A dataclass compares its fields, and arrays have no one truth value."""
    for file in (ROOT / "clipnull").rglob("[!_]*.py"):
        room = vars(importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts)))
        for kind in filter(dataclasses.is_dataclass, room.values()):
            arrays = [
                f.name for f in dataclasses.fields(kind) if re.search(r"Tensor|ndarray|^Any$", str(f.type))
            ]
            assert not (arrays and kind.__dataclass_params__.eq), f"{kind}: {arrays}"


def test_nothing_private_is_tracked():
    # spelled in pieces, so that this file passes its own test
    hosts = ["py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian"]
    paths = ["/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/", "." + "library"]
    for path in tracked():
        if path.suffix in {".png", ".safetensors"}:
            continue
        text = path.read_text(encoding="utf-8")
        for word in [*hosts, *paths]:
            assert word not in text, f"{path.relative_to(ROOT)} names {word}"
