"""Run every benchmark, each in a process of its own, and write its tables into benchmarks/README.md.

    python benchmarks/run_all.py --threads 2

Six to fifteen minutes on two cores, if nothing else runs. A script's output goes between its two markers;
``--only`` runs some of them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = ("fit", "end_to_end", "throughput", "startup", "lab_latency", "hull", "real_clip")


def between(text: str, name: str, output: str) -> str:
    """``text`` with ``output`` between the markers of ``name``.

    Raises
    ------
    ValueError
        The markers are not there, or not once and in order.
    """
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise ValueError(
            f"README.md: want {first.strip()} and, after it, {last.strip()}, each once in a line"
        )
    head, rest = text.split(first)
    return f"{head}{first}\n{output.strip()}\n\n{last}{rest.split(last)[1]}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS, metavar="SCRIPT")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md")
    options = parser.parse_args(argv)
    for name in options.only:
        between(
            options.readme.read_text(encoding="utf-8"), name, ""
        )  # a missing marker shows before the wait
        began = time.perf_counter()
        command = [sys.executable, str(HERE / f"{name}.py"), "--threads", str(options.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        text = between(options.readme.read_text(encoding="utf-8"), name, done.stdout)
        options.readme.write_text(text, encoding="utf-8")
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
