"""How long it takes until something happens: import, load, demo, each in fresh processes.

    python benchmarks/startup.py --threads 2

A turn starts one Python process for each line of the table, one after the other; the first turn, which
fills the disk cache, is not measured. `import clipnull` alone imports next to nothing, torch included: its
names are resolved when they are used. What the mathematics adds to `import torch` is the median of the
differences within a turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from _timing import arguments, begin, milliseconds, spread, table

MATHEMATICS = "from clipnull import Case, consistent"
IMPORTS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import clipnull": ["-c", "import clipnull"],
    MATHEMATICS: ["-c", MATHEMATICS],
}
COMMANDS = {
    "import clipnull; clipnull.load()": ["-c", "import clipnull; clipnull.load()"],
    "clipnull demo": ["-c", "import clipnull.cli; clipnull.cli.main(['demo'])"],
}


def run(arguments: Sequence[str], threads: int, folder: str) -> None:
    """One fresh process, in a folder of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "CLIPNULL_NO_PROGRESS": "1"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only-imports", action="store_true", help="leave load and demo out")
    options = begin(parser, argv)
    lines = IMPORTS if options.only_imports else {**IMPORTS, **COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        calls = [lambda line=line: run(line, options.threads, folder) for line in lines.values()]
        times = milliseconds(*calls, repeats=options.repeats)
    seconds = {name: [t / 1000 for t in side] for name, side in zip(lines, times, strict=True)}
    print("Fresh processes\n")
    table(("process", "s"), [(f"`{name}`", spread(side)) for name, side in seconds.items()])
    added = [c - t for c, t in zip(seconds[MATHEMATICS], seconds["import torch"], strict=True)]
    print(
        f"`{MATHEMATICS}` adds {statistics.median(added):.2f} s to `import torch` "
        f"({min(added):.2f} to {max(added):.2f} s).\n"
    )


if __name__ == "__main__":
    main()
