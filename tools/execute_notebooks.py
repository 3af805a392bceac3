"""Re-execute notebooks in place and leave them as they are committed.

    python tools/execute_notebooks.py                     # all of them
    python tools/execute_notebooks.py notebooks/00_tour.ipynb
    python tools/execute_notebooks.py --check             # write nothing, show what would change

Each notebook runs top to bottom in a fresh kernel of this environment, in its own folder.
Random ids, timings and widget state are dropped, so that a diff shows only what changed.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbval.plugin import get_sanitize_patterns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools.nbval_close import SANITIZE, alt_texts, kernel_environment, settle_widgets, texts_close

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def find(paths: list[str] | None = None) -> list[Path]:
    """The notebooks named, or all of them, in course order."""
    if paths:
        return [Path(p) for p in paths]
    return sorted(p for p in NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def execute(nb: Any, folder: Path, timeout: int = 600) -> Any:
    """Run every cell of ``nb`` in ``folder`` and return it cleaned."""
    # stale counts and outputs must not survive a cell that now shows nothing
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.metadata.kernelspec = nbformat.from_dict(KERNEL)
    NotebookClient(
        nb, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return clean(nb)


def clean(nb: Any) -> Any:
    """Drop from ``nb`` what differs between two runs that computed the same."""
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in nb.cells:
        for key in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            settle_widgets(cell.outputs)
            merge_streams(cell.outputs)
    return nb


def merge_streams(outputs: list[Any]) -> None:
    """Join neighbouring pieces of one stream: where they were cut depends on timing."""
    merged: list[Any] = []
    for out in outputs:
        last = merged[-1] if merged else None
        if last is not None and out.output_type == "stream" == last.output_type and out.name == last.name:
            last.text += out.text
        else:
            merged.append(out)
    outputs[:] = merged


def texts(cell: Any) -> list[str]:
    """Every text that a cell shows, in order: streams, text and HTML, alt texts of figures."""
    found = []
    for out in cell.get("outputs", []):
        data = {**out.get("data", {}), **alt_texts(out)}
        # a stored file has the kinds in the order of the alphabet, a fresh run has not
        shown = [text for mime, text in sorted(data.items()) if not mime.startswith("image/")]
        found += [out["text"]] if "text" in out else shown
    return found


def changes(before: Any, after: Any) -> list[tuple[str, str]]:
    """Texts that differ as nbval would see it, cell by cell, the stored one first."""
    cells = zip(before.cells, after.cells, strict=True)
    pairs = [pair for a, b in cells for pair in itertools.zip_longest(texts(a), texts(b), fillvalue="")]
    for pattern, replacement in get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8")):
        pairs = [(re.sub(pattern, replacement, a), re.sub(pattern, replacement, b)) for a, b in pairs]
    return [(a, b) for a, b in pairs if not texts_close(a, b)]


def main(argv: list[str] | None = None) -> int:
    """Command line; 0 when every notebook ran (and, with --check, is up to date)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a text output changed")
    args = parser.parse_args(argv)
    kernel_environment()
    failed = 0
    for path in find(args.notebooks):
        start, stored = time.perf_counter(), nbformat.read(path, as_version=4)
        try:
            nb = execute(copy.deepcopy(stored), path.parent)
        except CellExecutionError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = 1
            continue
        changed = changes(stored, nb)
        if args.check:
            failed |= bool(changed)
            for before, after in changed:
                print(f"--- stored\n{before}\n--- now\n{after}")
        else:
            nbformat.write(nb, path)
        warned = sum(o.get("name") == "stderr" for c in nb.cells for o in c.get("outputs", []))
        note = f", {warned} outputs on stderr" if warned else ""
        size = path.stat().st_size / 1024
        print(
            f"{path}: {time.perf_counter() - start:.1f} s, {size:.0f} KB, "
            f"{'changed' if changed else 'same'}{note}"
        )
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
