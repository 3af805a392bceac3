"""The ``clipnull`` command: demo, audit, doctor, lab. The commands import what they use when they run."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipnull import _files
from clipnull._show import Table, tenths, version

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from clipnull.datasets.pictures import LabelledImages
    from clipnull.evaluation import Case
    from clipnull.model.clip import Clip
    from clipnull.report import Report

Parser = argparse.ArgumentParser
PACKAGE = Path(__file__).resolve().parent
WEIGHTS = PACKAGE / "pocket" / "open_clip_model.safetensors"
FIRST_NOTEBOOK = "00_tour.ipynb"
FORGET = "bus"
#: what `--help` lists without importing it; a test compares with the registries
METHODS = "nullspace, partial, ccup, mean, hull, random"
LISTS = f"""methods: {METHODS}
pictures, in CLIPNULL_DATA: twemoji, openmoji, folder:PATH, coop:PATH, dogs,
  caltech101, cars, flowers102, pets, cifar10, cifar100, food101
model, in CLIPNULL_MODEL: pocket, NAME:TAG, local-dir:PATH, hf-hub:ORG/REPO"""
PROTOCOL = f"""sets: animals-nature, food-drink, travel-places, activities; with --full
  StanfordDogs, StanfordCars, Caltech101, OxfordFlowers
methods, too: candidate masking, and with training gradient, lora
{LISTS}"""
SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend"}
EXTRAS = ["lab", "leace", "styles", "hf"]  # that `doctor` knows of
RECOMMENDED, MASKING = "mean", "candidate masking"
KEY = (
    "Full: recall of the forgotten names' pictures, all names being candidates. 2-way: the same against one "
    "other name at random, chance 50. Search: how well the name, as a query, ranks its own pictures first "
    "(AUC), chance 50. Kept: accuracy on the other pictures, in percent of that before. Certificate: the "
    "largest lead that any image there is can give a forgotten name over all kept ones; at 0 it cannot win."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0, or 1 when `doctor` misses something, 2 on bad input, 130 on Ctrl-C, 141 unread."""
    command = "clipnull"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console without λ gets the rest
    try:
        try:
            parser = _parser()
            args, others = parser.parse_known_args(argv)
            command += f" {args.command}"
            if others and args.command != "lab":
                parser.error(f"unrecognized arguments: {' '.join(others)}")
            return args.run(args, *others) or 0
        finally:
            print(end="", flush=True)  # a closed pipe is noticed here, not when Python ends
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # what is still to be flushed goes nowhere, and without a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        print(f"{command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> Parser:
    lists: Any = {"epilog": LISTS, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = Parser("clipnull", description="Unlearn classes of CLIP.", **lists)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(run: Callable[..., int | None], what: str, *parents: Parser) -> Parser:
        one = commands.add_parser(run.__name__, parents=parents, help=what, description=what, **lists)
        one.set_defaults(run=run)
        return one

    both = Parser(add_help=False)
    both.add_argument("--forget", **SEVERAL, metavar="CLASS", help=f"default: {FORGET}, else the first class")
    both.add_argument("--subset", help="of the drawings: classroom (default), all, or a category")
    both.add_argument("--scenes", type=int, help="drawings per class (default: 8)")
    both.add_argument("--seed", type=int, default=0, help="for the scenes and every random choice")
    one = add(demo, "make a CLIP forget a class by every method, and measure it", both)
    one.add_argument("--out", default="demo.png", help="where the picture goes (default: demo.png)")
    one = add(audit, "what an edit leaves: every measurement of `cn.audit`, one table", both)
    one.add_argument("--method", default=RECOMMENDED, help="default: mean")
    one = add(protocol, "forget by the Kravets-Namboodiri protocol, and compare")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--full", action="store_true", help="the published one; the default is a miniature")
    which.add_argument("--real", action="store_true", help="on embeddings of a real CLIP that are here")
    one.add_argument("--root", metavar="FOLDER", help="where the data sets are, for --full")
    one.add_argument("--methods", **SEVERAL, metavar="METHOD", help="by default all that need no training")
    one.epilog = PROTOCOL
    one = add(doctor, "versions, device, weights, and what is missing")
    one.add_argument("data", nargs="?", help="looked for in place of what CLIPNULL_DATA names")
    add(lab, "JupyterLab on the notebooks; further arguments go to it")
    return parser


def _load(args: argparse.Namespace) -> tuple[Clip, LabelledImages, list[int], Tensor]:
    """Model, pictures as large as it looks, the classes to forget, and all the names' embeddings."""
    import clipnull as cn
    from clipnull import _check
    from clipnull.protocol.run import DRAWN

    clip = cn.load()
    name = os.environ.get("CLIPNULL_DATA") or DRAWN[0]
    options = {k: v for k, v in (("subset", args.subset), ("scenes", args.scenes)) if v is not None}
    if name in DRAWN:
        options |= {"seed": args.seed, "size": clip.image_size}
    data = cn.datasets.load(name, **options)
    default = [FORGET if FORGET in data.classes else data.classes[0]]
    index = _check.forget_set(args.forget or default, len(data.classes), data.classes)
    return clip, data, index, clip.embed_text(data.classes, templates=data.templates)


def demo(args: argparse.Namespace) -> None:
    """Forget by every method, with PocketCLIP and with a real CLIP, print what is left, save a picture."""
    start = time.perf_counter()
    target = _writable(args.out)
    import clipnull as cn
    from clipnull import plots

    clip, data, index, T = _load(args)
    case = cn.Case(clip.embed_images(data.images), T, data.labels, index, data.classes)
    titles = {"pocket": "PocketCLIP", "twemoji": "Twemoji"}
    label = ", ".join(titles.get(x, x) for x in (clip.name, data.name))
    mine, real = (forget(one, args.seed) for one in (case, photographs(args.seed)))
    print(table(label, mine), table("ViT-B/16, COCO", real), textwrap.fill(KEY, 100) + "\n", sep="\n\n")

    own = (case.labels == case.forget[0]).nonzero()[:, 0]
    right = own[case.predicted[own] == case.forget[0]]
    i = int((right if len(right) else own)[0])  # one that was recognised if there is any
    z = case.images[i : i + 1]
    edit = cn.METHODS[RECOMMENDED].make(case.T_f, case.T_r)
    before, after = ((clip.logit_scale * x @ T.T).softmax(1)[0] for x in (z, edit.apply_image(z, True)))
    name = case.forget_names[0]
    title = f"A {name}, before and after '{RECOMMENDED}'"
    bars = plots.zero_shot_bars(data.images[i], data.classes, before, after, highlight=name, title=title)
    title = "Ten names forgotten by a real CLIP (ViT-B/16, COCO): in lists of n names, and in a search"
    _picture(target, bars, plots.n_way(real, title=title))
    print(f"Picture: {target}\nNext: `clipnull lab` opens notebooks/{FIRST_NOTEBOOK}.")
    print(f"This took {time.perf_counter() - start:.1f} s.")


def photographs(seed: int) -> Case:
    import clipnull as cn

    E = cn.datasets.embeddings("coco")
    return cn.trials(cn.Case(E.Z, E.T, E.labels, [0], E.classes), 10, draws=1, seed=seed)[0].test


def forget(case: Case, seed: int) -> dict[str, Report]:
    import clipnull as cn

    edits = {name: method.make(case.T_f, case.T_r, seed=seed) for name, method in cn.METHODS.items()}
    return {name: case.evaluate(edit) for name, edit in edits.items()} | {MASKING: cn.candidate_masking(case)}


def table(label: str, reports: Mapping[str, Report]) -> Table:
    """Full and 2-way recall, search, kept accuracy and certificate, one line per method."""
    import clipnull as cn

    first = next(iter(reports.values()))
    case, gone = first.case, int(first.case.gone.sum())
    before = [first.forget_before, first.n_way[2].before, first.search.before, 1.0]
    largest = cn.certificate(None, case.T_f, case.T_r).max()
    rows = [["no edit", "itself", *map(tenths, before), f"{largest:.2f}"]]
    for name, r in reports.items():
        becomes = cn.METHODS[name].what if r.edit else "no candidate, nothing is edited"
        after = [r.forget_after, r.n_way[2].after, r.search.after, r.retained]
        certificate = f"{cn.certificate(r.edit, case.T_f, case.T_r).max():.2f}" if r.edit else "–"
        rows.append([name, becomes, *map(tenths, after), certificate])
    head = "method; a forgotten name becomes; full, %; 2-way, %; search, %; kept, %; certificate"
    caption = (
        f"{label}: {len(case.forget)} of {len(case.T)} names forgotten: {', '.join(case.forget_names)}. "
        f"Pictures: {gone} of these, {len(case.labels) - gone} of others."
    )
    return Table(head.split("; "), rows, caption, left=2)


def _writable(out: str) -> Path:
    """The path of a picture to be, after a file was made beside it."""
    path = _files.path("out", out)
    with contextlib.suppress(OSError):
        tempfile.TemporaryFile(dir=path.parent).close()
        if path.suffix.lower() in (".jpg", ".png") and not path.is_dir():
            return path
    raise ValueError(f"out: got {out!r}, want a .jpg or .png file in a folder where files can be made")


def _picture(path: Path, *figures: Figure) -> None:
    from PIL import Image

    parts = []
    for figure in figures:
        figure.savefig(buffer := io.BytesIO(), format="png", dpi=120)
        parts.append(Image.open(buffer).convert("RGB"))
    sheet = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    for i, part in enumerate(parts):
        sheet.paste(part, (0, sum(p.height for p in parts[:i])))
    with _files.replacing(path.resolve()) as partial:
        sheet.save(partial, "png" if path.suffix.lower() == ".png" else "jpeg")


def audit(args: argparse.Namespace) -> None:
    import clipnull as cn
    from clipnull import _check

    method = cn.METHODS[args.method]  # refuses an unknown name before anything is loaded
    clip, data, index, T = _load(args)
    edit = method.make(T[index], T[_check.others(index, len(T))], seed=args.seed)
    print(cn.audit(clip, data, edit, index, seed=args.seed))


def protocol(args: argparse.Namespace) -> None:
    from clipnull import protocol as room

    which = room.KRAVETS if args.full else room.COCO if args.real else room.miniature(room.POCKET)
    print(room.run_protocol(replace(which, root=args.root), methods=args.methods))


def doctor(args: argparse.Namespace) -> int:
    """Print versions, device, the weights' checksum, and what is missing, model and data asked for too."""
    problems: list[str] = []
    print(f"python {sys.version.split()[0]} on {sys.platform}")
    for name, extra in _required().items():
        lacks = f'not here; optional: pip install -e ".[{extra}]"' if extra else "missing"
        print(f"{name:<18}{(found := version(name)) or lacks}")
        if not found and not extra:
            problems.append(f'{name} is missing: pip install -e "."')
    if importable := not problems:
        import torch

        print(f"{'device':<18}{'cuda' if torch.cuda.is_available() else 'cpu'}")  # that of `load`
    here = WEIGHTS.read_bytes() if WEIGHTS.is_file() else b""
    said = f"{len(here) / 1e6:.1f} MB, sha256 {hashlib.sha256(here).hexdigest()}" if here else "missing"
    print(f"{'PocketCLIP':<18}{said}")
    if not here:
        problems.append(f"clipnull/pocket/{WEIGHTS.name} is missing: every notebook needs it")
    for name, given in (("CLIPNULL_MODEL", None), ("CLIPNULL_DATA", args.data)):
        value = given or os.environ.get(name)
        print(f"{name:<18}{value or 'not set: the offline default'}")
        if not value or not importable:
            continue
        from clipnull import datasets, model

        try:  # nothing is fetched
            if name == "CLIPNULL_MODEL":
                model.check_here()
            else:
                print(f"{'':<18}{datasets.load(value)!r}")
        except (ValueError, OSError) as error:
            problems.append(f"{name}: {' '.join(str(error).removeprefix('name: ').split())}")
    if not _notebooks():
        problems.append("There are no notebooks here: get the source and run `clipnull lab` in it.")
    print("\n" + ("\n".join(problems) or "Nothing that is needed is missing."))
    return 1 if problems else 0


def _required() -> dict[str, str]:
    """Distributions in clipnull's metadata, each with the last of `EXTRAS` that installs it, or ""."""
    found: dict[str, str] = {}
    for line in importlib.metadata.requires("clipnull") or ():
        extra = re.search(r"extra == ['\"](.+?)['\"]", line)
        if extra is None or extra[1] in EXTRAS:
            found[re.split(r"[^\w.-]", line, maxsplit=1)[0]] = extra[1] if extra else ""
    return found


def _notebooks() -> Path | None:
    places = (PACKAGE.parent / "notebooks", Path.cwd() / "notebooks")
    return next((place for place in places if (place / FIRST_NOTEBOOK).is_file()), None)


def lab(args: argparse.Namespace, *others: str) -> int:
    """Become JupyterLab on the notebooks; arguments that are not ours go to it as they are."""
    if not (folder := _notebooks()):
        raise ValueError("no notebooks are here or beside the package. A wheel carries none: get the source")
    if not importlib.util.find_spec("jupyterlab"):
        raise ValueError('JupyterLab is missing: pip install -e ".[lab]"')
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", *others]
    command.append(f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}")
    if sys.platform == "win32":  # where exec gives the prompt back at once
        server = subprocess.Popen(command)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console's Ctrl-C reaches the server too
        return server.wait()
    os.execv(sys.executable, command)  # from here on this process is the server: signals are its own
