"""What each method makes of a real CLIP: recall, n-way recall, search, kept accuracy, certificate, time.

    python benchmarks/real_clip.py --text T.pt --images Z.npy --labels y.npy --other-prompt T2.pt

Embeddings from disk (``.pt`` read weights-only, ``.npy``, ``.safetensors``), rows or columns. Without
them: the embeddings that ship with the package. Those of COCO have 160 photographs of 28 of the 80 names;
those of LVIS are names alone, 1,203 of them, for geometry and certificates.

Methods are at their defaults: nothing is tuned here. Forget sets are random among the names that have
pictures; certificates are those of the first one.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from _timing import arguments, begin, milliseconds, spread, table

import clipnull as cn
from clipnull._show import tenths
from clipnull.datasets.arrays import Embeddings, embeddings, load_arrays, read_array

LISTED = (1.0, 0.3)
WAYS = (2, 10)


def turned(name: str, x: Any, rows: int | None, columns: int | None) -> Any:
    """``x`` with samples in rows, whose number or whose width is known."""
    x = x if isinstance(x, torch.Tensor) else np.asarray(x)
    fits = [rows in (None, shape[0]) and columns in (None, shape[1]) for shape in (x.shape, x.shape[::-1])]
    if x.ndim == 2 and fits == [False, True]:
        print(f"{name} is [{x.shape[0]}, {x.shape[1]}]: turned, so that samples are rows.\n")
        return x.T
    return x


def read(options: Namespace) -> tuple[Embeddings, torch.Tensor | None]:
    """The embeddings asked for, and the names under the other prompt if there is one."""
    if options.text is None:
        return embeddings("coco"), embeddings("coco", "multi").T
    y = read_array(options.labels, "labels")
    Z = turned("images", read_array(options.images, "images"), len(y), None)
    T, *other = (
        turned(role, read_array(path, role), None, Z.shape[1])
        for role, path in (("text", options.text), ("other prompt", options.other_prompt))
        if path is not None
    )
    data = load_arrays(Z=Z, T=T, labels=y)
    return data, load_arrays(Z=Z, T=other[0], labels=y).T if other else None


def geometry(sets: dict[str, torch.Tensor]) -> None:
    """Print how the names of each set lie: cosines, and the spectrum of their covariance."""
    rows = []
    for name, T in sets.items():
        T = T.double()
        cosines = (T @ T.T)[~torch.eye(len(T), dtype=torch.bool)]
        variance = torch.linalg.svdvals(T - T.mean(0)).square()
        reached = (variance / variance.sum()).cumsum(0)
        parts = [int((reached < share - 1e-12).sum()) + 1 for share in (0.5, 0.9, 0.99)]
        ratio = float(variance.sum() ** 2 / variance.square().sum())
        rows.append((name, f"{len(T):,}", T.shape[1], f"{cosines.mean():.2f}", f"{ratio:.0f}", *parts))
    print("Geometry of the names\n")
    head = ("names of", "C", "d", "mean cosine", "participation ratio")
    table((*head, "components for 50%", "90%", "99%"), rows)


def certificates(edit: cn.Edit | None, T_f: torch.Tensor, T_r: torch.Tensor, most: int) -> str:
    """Smallest and largest of the first names' certificates."""
    found = cn.certificate(edit, T_f[:most], T_r)
    low, high = (f"{max(0.0, float(x)):.2f}" for x in (found.min(), found.max()))
    return high if low == high else f"{low}–{high}"


def pictures(data: Embeddings, other: torch.Tensor | None, sizes: Sequence[int], options: Namespace) -> None:
    """Print every method at each size of the forget set, all names listed and 30% of them."""
    case = cn.Case(data.Z, data.T, data.labels, [0], data.classes)
    pictured = len(case.labels.unique())
    print(
        f"{len(case.labels):,} pictures of {pictured} of {len(data.T):,} names; %, means over "
        f"{options.draws} random forget sets of the {pictured}; certificates of at most "
        f"{options.certified} names\n"
    )
    rows = []
    for m, listed in ((m, listed) for m in sizes for listed in LISTED):
        drawn = cn.trials(case, m, other=other, draws=options.draws, listed=listed)
        T_f, T_r = drawn[0].test.T_f, drawn[0].test.T_r
        for row in cn.compare(drawn).rows:
            last = ["–", "–"]
            if row.method in cn.METHODS:
                fit = partial(cn.METHODS[row.method].make, T_f, T_r)
                times = milliseconds(fit, repeats=options.repeats)[0]
                last = [certificates(fit(), T_f, T_r, options.certified), spread(times)]
            elif row.method == "no edit":
                last[0] = certificates(None, T_f, T_r, options.certified)
            rows.append(
                [m, f"{100 * listed:.0f}%", row.method, *figures(row.seen), *figures(row.other), *last]
            )
    ways = [f"{n}-way" for n in WAYS]
    seen = ["full", *ways, "search", "kept", "kept, unlisted"]
    head = ["forgotten", "listed", "method", *seen, *(f"other prompt, {name}" for name in seen)]
    table([*head, "certificate", "fit, ms"], rows)


def figures(found: cn.comparison.Figures | None) -> list[str]:
    if found is None:
        return ["–"] * (4 + len(WAYS))
    ways = [tenths(found.n_way[n].mean) if n in found.n_way else "–" for n in WAYS]
    rest = [tenths(x.mean) for x in (found.search, found.listed, found.unlisted)]
    return [tenths(found.full.mean), *ways, *rest]


def names_alone(name: str, T: torch.Tensor, sizes: Sequence[int], options: Namespace) -> None:
    """Print the certificates of every method where there are no pictures."""
    print(f"Certificates, names of {name} alone; of at most {options.certified} names\n")
    rows = []
    for m in sizes:
        order = torch.randperm(len(T), generator=torch.Generator().manual_seed(m))
        T_f, T_r = T[order[:m]], T[order[m:]]
        edits = {key: method.make(T_f, T_r) for key, method in cn.METHODS.items()}
        rows.append([m, *(certificates(e, T_f, T_r, options.certified) for e in (None, *edits.values()))])
    table(("forgotten", "no edit", *cn.METHODS), rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--text", help="T, names [C, d] or [d, C]")
    parser.add_argument("--images", help="Z, pictures [n, d] or [d, n]")
    parser.add_argument("--labels", help="y, the row of T of each picture [n]")
    parser.add_argument("--other-prompt", help="T2, the same names under another prompt")
    parser.add_argument("--forget", type=int, nargs="+", default=[1, 10, 50, 100, 200], metavar="m")
    parser.add_argument("--draws", type=int, default=5, help="random forget sets (default: 5)")
    parser.add_argument("--certified", type=int, default=20, help="names certified (default: 20)")
    given = parser.parse_args(argv)
    missing = [f"--{k}" for k in ("text", "images", "labels") if getattr(given, k) is None]
    if missing and (len(missing) < 3 or given.other_prompt):
        parser.error(f"{', '.join(missing)}: want --text, --images and --labels together, or none of them")
    options = begin(parser, argv)
    data, other = read(options)
    sets = {"COCO, ViT-B/16": data.T, "LVIS, ViT-B/32": embeddings("lvis").T}
    if options.text is not None:
        sets = {"the file": data.T}
    geometry(sets)
    most = min(len(data.labels.unique()), len(data.T) - 1, data.T.shape[1] - 1)
    sizes = [m for m in options.forget if m <= most]
    pictures(data, other, sizes, options)
    if left_out := [m for m in options.forget if m > most]:
        sizes_left = ", ".join(map(str, left_out))
        print(f"Left out: {sizes_left} forgotten; {most} names have pictures or fit the dimensions.\n")
    for name, T in list(sets.items())[1:]:
        names_alone(name, T, [m for m in options.forget if m < min(len(T), T.shape[1])], options)


if __name__ == "__main__":
    main()
