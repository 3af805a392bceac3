"""Evaluation in bounded memory: a memory-mapped file of embeddings larger than the memory it may take.

    python benchmarks/memory.py --threads 2

Writes the embeddings to a temporary folder (2 GB at full size; TMPDIR moves it) and removes them at the
end. Each turn is a fresh process that calls `clipnull.evaluation` on `np.load(path, mmap_mode="r")` and
reports the peak of the memory that is its own (RssAnon, sampled every 5 ms; Linux). Pages of the mapped
file that are resident are not counted: they are the system's file cache, which takes them back when
memory is short. The accuracies are checked against a plain product, block by block, with the dense W.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from _timing import arguments, begin, figure, names, pictures, spread, table

import clipnull as cn

GIB = 2**30
BLOCK = 10_000


def own() -> float:
    """Resident memory of this process that no file backs, in GiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (x for x in status if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024 / GIB


@contextlib.contextmanager
def sampled() -> Iterator[list[float]]:
    """`own` every 5 ms, and at both ends."""
    samples, done = [own()], threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            samples.append(own())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(own())


def edit_of(T: torch.Tensor, m: int) -> cn.Edit:
    """The first m names forgotten, anchored at the mean."""
    return cn.consistent(T[:m], T[m:], anchor="mean")


def write(folder: Path, n: int, C: int, d: int, m: int) -> tuple[float, ...]:
    """Write Z, T and labels; accuracies (fractions) from plain products with T and with W T."""
    T = names(C, d)
    after = T @ edit_of(T, m).matrix().T  # image-side scores are Z W T^T = Z (T W^T)^T
    np.save(folder / "T.npy", T.numpy())
    labels, right = [], []
    with (folder / "Z.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, d)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, BLOCK):
            Z, y = pictures(T, min(BLOCK, n - start), seed=1 + start)
            file.write(Z.numpy())
            labels.append(y)
            right.append(torch.stack([(Z @ t.T).argmax(1) == y for t in (T, after)], 1))
    y, correct = torch.cat(labels), torch.cat(right).double()
    np.save(folder / "labels.npy", y.numpy())
    return tuple(float(x) for part in (y < m, y >= m) for x in correct[part].mean(0))


def child(folder: Path, m: int) -> None:
    """What one fresh process does: prints peaks, seconds and accuracies as JSON."""
    T, labels = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("T", "labels"))
    edit = edit_of(T, m)
    with sampled() as samples:
        began = time.perf_counter()
        report = cn.Case(np.load(folder / "Z.npy", mmap_mode="r"), T, labels, list(range(m))).evaluate(edit)
        accuracies = (report.forget_before, report.forget_after, report.retain_before, report.retain_after)
        seconds = time.perf_counter() - began
    found = {"before": samples[0], "peak": max(samples), "seconds": seconds, "accuracies": accuracies}
    print(json.dumps(found))


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=[1_000_000, 1_000, 512], metavar=("n", "C", "d"))
    parser.add_argument("--forget", type=int, default=10, help="number of names (default: 10)")
    parser.add_argument("--child", type=Path, help="evaluate what lies in this folder, and report")
    if (options := parser.parse_args(argv)).child:
        torch.set_num_threads(options.threads)
        return child(options.child, options.forget)
    options = begin(parser, argv)
    n, C, d = options.size

    with tempfile.TemporaryDirectory() as folder:
        expected = write(Path(folder), n, C, d, options.forget)
        command = [sys.executable, __file__, "--child", folder, "--forget", str(options.forget)]
        command += ["--threads", str(options.threads)]
        turns = [json.loads(subprocess.check_output(command)) for _ in range(options.repeats)]
    for turn in turns:
        difference = max(abs(a - b) for a, b in zip(turn["accuracies"], expected, strict=True))
        assert difference < 1e-3, (turn["accuracies"], expected)  # float32 decides near ties either way

    print(
        f"{n:,} pictures × {C:,} classes × {d} dimensions, {options.forget} forgotten. The file has "
        f"{figure(4 * n * d / GIB)} GiB; all scores at once would take {figure(4 * n * C / GIB)} GiB more.\n"
    )
    columns = [[turn[key] for turn in turns] for key in ("before", "peak", "seconds")]
    speed = [n / s for s in columns[2]]
    head = ("before, GiB", "peak, GiB", "largest peak, GiB", "s", "pictures/s")
    row = (*map(spread, columns[:2]), f"{max(columns[1]):.2f}", *map(spread, (columns[2], speed)))
    table(head, [row])


if __name__ == "__main__":
    main()
