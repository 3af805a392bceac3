"""What the benchmarks share: arguments, timing in turns, tables, and the machine in words."""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from clipnull._show import version


def arguments(doc: str | None, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser that has ``--threads`` and ``--repeats``; a script adds its sizes."""
    parser = argparse.ArgumentParser(description=(doc or "").strip().splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: 2)")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"measured turns (default: {repeats})")
    return parser


def begin(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments, pin the threads and print the machine."""
    options = parser.parse_args(argv)
    os.environ |= {"CLIPNULL_CACHE": "off", "CLIPNULL_NO_PROGRESS": "1"}
    torch.set_num_threads(options.threads)
    print(f"{machine(options.threads)}. Medians (range) of {options.repeats} turns.\n")
    return options


def machine(threads: int) -> str:
    """Processor, cores, memory and versions."""
    packages = ("torch", "numpy", "open_clip_torch", "concept-erasure", "clip-benchmark")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{package} {found}" for package in packages if (found := version(package))]
    used = f"{os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}{_memory()}"
    return f"{_processor()}, {used}; {', '.join(versions)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return ""
    return f", {size / 2**30:.0f} GiB of memory"


def milliseconds(*calls: Callable[[], Any], repeats: int) -> list[list[float]]:
    """Times of each call, the calls taking turns, after one unmeasured turn.

    Every other turn runs backwards: what one call leaves in caches and heap is not always for the same.
    """
    times: list[list[float]] = [[] for _ in calls]
    pairs = list(zip(calls, times, strict=True))
    for turn in range(repeats + 1):
        for call, record in pairs[:: -1 if turn % 2 else 1]:
            began = time.perf_counter()
            call()
            if turn:
                record.append(1000 * (time.perf_counter() - began))
    return times


def figure(x: float) -> str:
    """A positive number with two digits, and all of them from ten on."""
    return f"{x:,.{max(0, 1 - math.floor(math.log10(x)))}f}" if x > 0 else f"{x:.0f}"


def spread(values: Sequence[float]) -> str:
    """Median and range; a dash for what took no time at all."""
    if max(values) == 0:
        return "–"
    return f"{figure(statistics.median(values))} ({figure(min(values))}–{figure(max(values))})"


def ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """How many times the median of ``slow`` that of ``fast`` is."""
    return figure(statistics.median(slow) / statistics.median(fast))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    print()


def names(C: int, d: int) -> torch.Tensor:
    """Unit rows [C, d] in a cone, as CLIP's names are."""
    g = torch.Generator().manual_seed(0)
    centre = F.normalize(torch.randn(d, generator=g), dim=0)
    return F.normalize(F.normalize(torch.randn(C, d, generator=g), dim=1) + 1.2 * centre, dim=1)


def pictures(T: torch.Tensor, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows [n, d] around the names of their classes, and the classes [n]."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(T), (n,), generator=g)
    noise = F.normalize(torch.randn(n, T.shape[1], generator=g), dim=1)
    return F.normalize(T[labels] + 1.5 * noise, dim=1), labels
