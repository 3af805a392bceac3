"""How long nearest mixtures and certificates take.

    python benchmarks/hull.py --threads 2

Before they are timed, the two are checked against each other: the image embedding that points from the
nearest mixture to the name has the lead that the certificate promises.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from _timing import arguments, begin, milliseconds, names, spread, table

import clipnull as cn


def agree(T_f: torch.Tensor, T_r: torch.Tensor) -> None:
    """Whether the certificates are the leads of the images that point from each mixture to its name."""
    z = torch.nn.functional.normalize(T_f - cn.nearest_mixture(T_f, T_r).H, dim=1)
    difference = (z * T_f).sum(1) - (z @ T_r.double().T).amax(1) - cn.certificate(None, T_f, T_r)
    assert float(difference.abs().max()) < 1e-7, difference


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("--names", type=int, nargs="+", default=[100, 1_000], metavar="C")
    parser.add_argument("--forget", type=int, default=100, help="m of the largest C (default: 100)")
    parser.add_argument("--dim", type=int, default=512, metavar="d")
    options = begin(parser, argv)
    rows = []
    for C in options.names:
        m = max(1, options.forget * C // max(options.names))
        T = names(C, options.dim)
        T_f, T_r = T[:m], T[m:]
        agree(T_f[:2], T_r)
        edits = {"no edit": None} | {k: cn.METHODS[k].make(T_f, T_r) for k in ("nullspace", "ccup", "mean")}
        calls = [partial(cn.certificate, e, T_f[:1], T_r) for e in edits.values()]
        mixtures, *certified = milliseconds(
            partial(cn.nearest_mixture, T_f, T_r), *calls, repeats=options.repeats
        )
        rows.append([f"{C:,}", m, options.dim, spread(mixtures), *map(spread, certified)])
    print("All nearest mixtures of m of C names, and one certificate\n")
    head = ("C", "m", "d", "m nearest mixtures, ms")
    table((*head, *(f"certificate, {k}, ms" for k in edits)), rows)


if __name__ == "__main__":
    main()
