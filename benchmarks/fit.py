"""How long a fit takes: each eraser, the dense d × d formula for the same W, and LEACE's fit.

    python benchmarks/fit.py --threads 2

All sides of a comparison run in one process, taking turns, on the same names; before they are timed,
closed form and dense formula are checked to give the same W. LEACE (arXiv 2306.03819, the published
package) fits on features and their labels, not on names, and gives another eraser: it stands here for
what a fit on features costs once the features are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from _timing import arguments, begin, milliseconds, names, pictures, ratio, spread, table

import clipnull as cn
from clipnull.hull import nearest_mixture

ERASERS = ("nullspace", "ccup", "mean", "hull")
Fit = Callable[[], Any]


def dense(method: str, T_f: torch.Tensor, T_r: torch.Tensor, mu: float = 0.0) -> torch.Tensor:
    """W [d, d] as the formula has it, in float64, from one d × d solve.

    nullspace: I − T_f T_f⁺. The others, with D = T_f − A and M = I + μ T_r T_rᵀ: M (M + λ D Dᵀ)⁻¹, which
    for λ = ∞ is I − D (Dᵀ M⁻¹ D)⁻¹ Dᵀ M⁻¹. A is zero for ccup, the mean of T_r for mean, the nearest
    mixture, a twentieth of the way to the mean, for hull. μ is given: the one that "auto" found for mean.
    """
    f, r = T_f.double().T, T_r.double().T
    I = torch.eye(len(f), dtype=f.dtype)
    if method == "nullspace":
        return I - f @ torch.linalg.pinv(f)
    how = cn.METHODS[method].defaults
    A = r.mean(1, keepdim=True) if method != "ccup" else 0 * f
    if method == "hull":
        A = (1 - how["margin"]) * nearest_mixture(T_f, T_r).H.double().T + how["margin"] * A
    D, M = f - A, I + mu * r @ r.T
    if math.isfinite(how["lam"]):
        return torch.linalg.solve(M + how["lam"] * D @ D.T, M, left=False)
    X = torch.linalg.solve(M, D)
    return I - D @ torch.linalg.solve(D.T @ X, X.T)


def sides(C: int, m: int, d: int) -> tuple[list[Fit], list[Fit]]:
    """For each of `ERASERS` the closed form and the dense formula, checked against each other."""
    T = names(C, d)
    T_f, T_r = T[:m], T[m:]
    ours: list[Fit] = [partial(cn.METHODS[name].make, T_f, T_r) for name in ERASERS]
    chosen = [closed().info.get("mu", 0.0) for closed in ours]
    theirs: list[Fit] = [partial(dense, name, T_f, T_r, mu) for name, mu in zip(ERASERS, chosen, strict=True)]
    for name, closed, solved in zip(ERASERS, ours, theirs, strict=True):
        difference = float((closed().matrix().double() - solved()).abs().max())
        assert difference < 1e-4, (name, difference)
    return ours, theirs


def leace(n: int, C: int, m: int, d: int) -> Fit:
    """LEACE's fit on n features: the concept is which of the m forgotten classes, if any, an image shows."""
    from concept_erasure import LeaceFitter

    Z, labels = pictures(names(C, d), n)
    concept = F.one_hot(labels, C)[:, :m].to(Z)
    return lambda: LeaceFitter.fit(Z, concept).eraser


def against(C: int, ms: Sequence[int], ds: Sequence[int], features: int, repeats: int) -> None:
    """Print the table of erasers against the dense formula and LEACE."""
    print(f"m of {C:,} names; LEACE on {features:,} features\n")
    rows = []
    for d in ds:
        for m in ms:
            ours, theirs = sides(C, m, d)
            calls = (*ours, *theirs, leace(features, C, m, d))
            *times, fitted = milliseconds(*calls, repeats=repeats)
            for name, closed, solved in zip(ERASERS, times[: len(ours)], times[len(ours) :], strict=True):
                rows.append(
                    (d, m, name, spread(closed), spread(solved), spread(fitted))
                    + (ratio(solved, closed), ratio(fitted, closed))
                )
    head = ("d", "m", "eraser", "closed form, ms", "dense d × d, ms", "LEACE, ms")
    table((*head, "times faster than dense", "than LEACE"), rows)


def growth(shapes: Sequence[tuple[int, int, int]], repeats: int) -> None:
    """Print how the closed form grows with C, m and d."""
    print("How the closed form grows, ms\n")
    rows = []
    for C, m, d in shapes:
        ours, _ = sides(C, m, d)
        rows.append((f"{C:,}", m, d, *map(spread, milliseconds(*ours, repeats=repeats))))
    table(("C", "m", "d", *ERASERS), rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--names", type=int, default=1_000, help="C of the first table (default: 1000)")
    parser.add_argument("--forget", type=int, nargs="+", default=[1, 10, 100], metavar="m")
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 1024], metavar="d")
    parser.add_argument("--features", type=int, default=10_000, help="for LEACE (default: 10000)")
    parser.add_argument("--most", type=int, default=20_000, help="largest C of the second table")
    options = begin(parser, argv)
    C, ms, ds = options.names, options.forget, options.dims
    against(C, ms, ds, options.features, options.repeats)
    m, d = ms[len(ms) // 2], ds[0]
    more = [(c, m, d) for c in sorted({C // 10, C, options.most // 4, options.most})]
    growth(
        [*more, *((C, k, d) for k in (ms[0], ms[-1], C // 2)), *((C, m, x) for x in (d // 2, *ds[1:]))],
        options.repeats,
    )


if __name__ == "__main__":
    main()
