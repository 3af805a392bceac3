"""The ``clipnull`` command: demo, audit, doctor, lab. The commands import what they use when they run."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from clipnull._show import Table
    from clipnull.datasets.pictures import LabelledImages
    from clipnull.evaluation import Case
    from clipnull.model.clip import Clip
    from clipnull.report import Report

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "pocket" / "open_clip_model.safetensors"
FIRST_NOTEBOOK = "00_tour.ipynb"
#: extras and what each is for; `lab` is what the notebooks run with
EXTRAS = {
    "lab": "the notebooks",
    "leace": "LEACE in lesson 06a",
    "styles": "lesson 09",
    "hf": "Hugging Face models",
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
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--forget", nargs="+", default=["tiger"], metavar="CLASS", help="default: tiger")
    both.add_argument("--subset", default="classroom", help="classroom (default), all, or a category")
    both.add_argument("--scenes", type=int, default=4, help="pictures per class (default: 4)")
    both.add_argument("--seed", type=int, default=0, help="for the scenes and every random choice")
    what = "make a CLIP forget a class, and measure it"
    one = commands.add_parser("demo", parents=[both], help=what)
    one.add_argument("--method", default="all", help="all, or one of the table's first column")
    one.add_argument("--out", default="demo.png", help="where the picture goes (default: demo.png)")
    one.set_defaults(run=demo)
    what = "what an edit leaves: every measurement of `cn.audit`, one table"
    one = commands.add_parser("audit", parents=[both], help=what)
    one.add_argument("--method", default="mean", help="a key of clipnull.METHODS (default: mean)")
    one.set_defaults(run=audit)
    one = commands.add_parser("protocol", help="forget by the Kravets-Namboodiri protocol, and compare")
    one.add_argument("--full", action="store_true", help="the published one; the default is a miniature")
    one.add_argument("--root", metavar="FOLDER", help="where the data sets are, for --full")
    one.add_argument("--models", nargs="+", metavar="MODEL", help="only these, such as ViT-B/16")
    one.add_argument("--data", nargs="+", metavar="SET", help="only these data sets")
    one.add_argument("--methods", nargs="+", metavar="METHOD", help="by default all that need no training")
    one.add_argument("--out", metavar="FILE", help="save the result too, as .json or .csv")
    one.set_defaults(run=protocol)
    one = commands.add_parser("doctor", help="versions, device, weights, and what is missing")
    one.set_defaults(run=doctor)
    one = commands.add_parser("cache", help="image features kept on disk: show them, or clear them")
    one.add_argument("action", nargs="?", choices=["show", "clear"], default="show", help="default: show")
    one.set_defaults(run=cache)
    commands.add_parser("lab", help="JupyterLab on the notebooks; further arguments go to it")
    return parser


def _load(args: argparse.Namespace) -> tuple[Clip, LabelledImages, list[int], Tensor]:
    """Model, pictures as large as it looks, the classes to forget, and all the names' embeddings."""
    import clipnull as cn
    from clipnull import _check

    clip = cn.load()
    options = {"subset": args.subset, "scenes": args.scenes, "seed": args.seed}
    data = cn.datasets.load("twemoji", **options, size=clip.image_size)
    index = _check.forget_set(args.forget, len(data.classes), data.classes)
    return clip, data, index, clip.embed_text(data.classes, templates=data.templates)


# --- demo ----------------------------------------------------------------------------------


def demo(args: argparse.Namespace) -> int:
    """Forget classes by every method, print what each took and left, and save a picture."""
    start = time.perf_counter()
    target = _writable(args.out, (".jpg", ".png"))
    import clipnull as cn
    from clipnull import _check, plots

    _check.one_of("method", args.method, ["all", *cn.METHODS])
    clip, data, index, T = _load(args)
    case = cn.Case(clip.embed_images(data.images), T, data.labels, index, data.classes)
    names = cn.METHODS if args.method == "all" else dict.fromkeys([args.method, "random"])
    edits = {name: cn.METHODS[name].make(case.T_f, case.T_r, seed=args.seed) for name in names}
    reports = {name: case.evaluate(edit) for name, edit in edits.items()}
    reports[BASELINE] = cn.drop_label(case)

    print(f"{len(data)} Twemoji pictures, {len(T)} classes, embeddings of {T.shape[1]} dimensions.")
    print(f"To forget: {', '.join(case.forget_names)}.\n")
    print(table(reports, {name: cn.METHODS[name].what for name in names}))
    print("\n" + textwrap.fill(meaning(reports), 100) + "\n")

    shown = _least_cost(reports)
    i = _example(case, reports[shown])
    z = edits[shown].apply_image(case.Z[i : i + 1], normalize=True)
    before, after = ((clip.logit_scale * x @ T.T).softmax(1)[0] for x in (case.Z[i : i + 1], z))
    name = case.forget_names[0]
    title = f"A {name}, before and after '{shown}'"
    bars = plots.zero_shot_bars(data.images[i], data.classes, before, after, highlight=name, title=title)
    _picture(target, bars, plots.forget_retain_bars(reports))
    print(f"Picture: {target}")
    folder = _notebooks()
    tour = f"{folder.name}/{FIRST_NOTEBOOK}"
    print(f"Next: {tour} (`clipnull lab` opens it)." if folder.is_dir() else f"Next: {tour}, in a checkout.")
    print(f"This took {time.perf_counter() - start:.1f} s.")
    return 0


def _example(case: Case, report: Report) -> int:
    """A picture of the first forgotten class, one that was recognised if there is any."""
    own = (case.labels == case.forget[0]).nonzero()[:, 0]
    right = own[report.predicted_before[own] == case.forget[0]]
    return int((right if len(right) else own)[0])


def table(reports: Mapping[str, Report], what: Mapping[str, str]) -> Table:
    """Forget and retain accuracies (percent) before and after, one line per method."""
    from clipnull._show import Table, tenths

    strike = {BASELINE: "strike the name off the candidates; edits nothing"}
    rows = []
    for name, r in reports.items():
        figures = (r.forget_before, r.forget_after, r.retain_before, r.retain_after)
        rows.append([name, {**what, **strike}[name], *map(tenths, figures)])
    head = ["method", "what it does", "forget: before", "after", "retain: before", "after"]
    return Table(head, rows, "Accuracy, %", left=2)


def meaning(reports: Mapping[str, Report]) -> str:
    """One sentence, from the numbers: which edit forgot at the least cost, and against what."""
    control, baseline = reports["random"], reports[BASELINE]
    edits = {n: r for n, r in reports.items() if n not in ("random", BASELINE)}
    names = ", ".join(baseline.case.forget_names)
    if not baseline.forget_before > 0:
        return f"The model recognised no picture of {names} to begin with, so there was nothing to forget."
    pictures = int(baseline.case.gone.sum())
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


def _writable(out: str, kinds: Sequence[str]) -> Path:
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


def audit(args: argparse.Namespace) -> int:
    """Forget classes by one method, and print what is left of them."""
    start = time.perf_counter()
    import clipnull as cn
    from clipnull import _check

    method = cn.METHODS[args.method]  # refuses an unknown name before anything is loaded
    clip, data, index, T = _load(args)
    edit = method.make(T[index], T[_check.others(index, len(T))], seed=args.seed)
    print(cn.audit(clip, data, edit, index, seed=args.seed))
    print(f"\nThis took {time.perf_counter() - start:.1f} s.")
    return 0


# --- protocol ------------------------------------------------------------------------------


def protocol(args: argparse.Namespace) -> int:
    """Run the protocol, print its tables, save them if asked to."""
    target = None if args.out is None else _writable(args.out, (".csv", ".json"))
    from clipnull import protocol as room

    which = room.KRAVETS if args.full else room.POCKET
    only = {"models": args.models, "data": args.data, "methods": args.methods}
    result = room.run_protocol(which, root=args.root, **only)
    print(result)
    if target is not None:
        print(f"\nSaved: {result.save(target)}")
    return 0


# --- doctor --------------------------------------------------------------------------------


def doctor(_: argparse.Namespace) -> int:
    """Print versions, device, the weights' checksum, and what is missing.

    An optional package that is not there is listed with the extra that installs it; it is no problem.
    """
    problems = []
    print(f"python {sys.version.split()[0]} on {sys.platform}")
    complete = True
    for distribution, extra in _required().items():
        version = _version(distribution)
        if version is None and extra:
            complete = False
            print(f'{distribution:<18}not here; optional, for {EXTRAS[extra]}: pip install -e ".[{extra}]"')
            continue
        print(f"{distribution:<18}{version or 'missing'}")
        if version is None:
            problems.append(f'{distribution} is missing: pip install -e "."')
    if _version("torch"):
        print(f"{'device':<18}{_device()}")
    if WEIGHTS.is_file():
        digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
        print(f"{'PocketCLIP':<18}{WEIGHTS.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    else:
        print(f"{'PocketCLIP':<18}missing")
        problems.append(f"clipnull/pocket/{WEIGHTS.name} is missing: every notebook needs it")
    for variable in ("CLIPNULL_MODEL", "CLIPNULL_DATA"):
        print(f"{variable:<18}{os.environ.get(variable) or 'not set: the offline default'}")
    if not _notebooks().is_dir():
        problems.append("There are no notebooks here: get the source and run `clipnull lab` in it.")
    fine = f"Nothing is missing{'' if complete else ', optional packages aside'}."
    print("\n" + ("\n".join(problems) or fine))
    return 1 if problems else 0


def _required() -> dict[str, str]:
    """Distributions in clipnull's metadata, each with the last of `EXTRAS` that installs it, or ""."""
    found: dict[str, str] = {}
    for line in importlib.metadata.requires("clipnull") or ():
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"](.+?)['\"]", line)
        if extra is None or extra[1] in EXTRAS:
            found[name] = extra[1] if extra else ""
    return found


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()}"
    return "mps" if torch.backends.mps.is_available() else f"cpu, {torch.get_num_threads()} threads"


# --- cache ---------------------------------------------------------------------------------


def cache(args: argparse.Namespace) -> int:
    """List the image features on disk with their size, or delete them; ``CLIPNULL_CACHE`` says where."""
    from clipnull.model import cache as features

    if (place := features.folder()) is None:
        print("The cache is off: CLIPNULL_CACHE=off.")
        return 0
    found = [(path, path.stat()) for path in features.entries()]
    if args.action == "clear":
        features.clear()
    for path, stat in found if args.action == "show" else []:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(stat.st_mtime))
        print(f"{used}{stat.st_size / 1e6:>9.1f} MB   {path.name}")
    size = f"{sum(stat.st_size for _, stat in found) / 1e6:.1f} MB"
    print(f"{'Deleted' if args.action == 'clear' else 'Entries'}: {len(found)}, {size}, in {place}")
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
