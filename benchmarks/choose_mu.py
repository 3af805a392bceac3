"""How CCUP's and the hull's defaults were chosen: on pictures and names that no lesson reports.

    python benchmarks/choose_mu.py

OpenMoji scenes of 200 classes outside the classroom; 1, 10 and 50 of them forgotten, means over draws, %.
The hull's mu is the one that keeps most; all of them forget everything. CCUP's lambda and mu keep most of ten
names' rivals among those that leave at most 2% full recall of one name and of ten.
"""

from __future__ import annotations

import torch

import clipnull as cn

MUS = [10.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0]
GRIDS = {
    "hull": [{"mu": mu} for mu in MUS],
    "ccup": [{"lam": lam, "mu": mu} for lam in (30.0, 100.0, 300.0, 1000.0) for mu in MUS],
}
CLASSES, DRAWS = 200, 8


def main() -> list[tuple[int, str, list[float]]]:
    """Print, and return, forgotten classes, edit and [forget, kept, 2-way, search] after (fractions)."""
    clip = cn.load(device="cpu")
    data = cn.datasets.load("openmoji", subset="all", scenes=3, seed=7, size=clip.image_size)
    g = torch.Generator().manual_seed(0)
    room = set(cn.datasets.classroom())
    outside = [c for c in range(len(data.classes)) if c not in room]
    data = data.subset(
        sorted(outside[i] for i in torch.randperm(len(outside), generator=g)[:CLASSES].tolist())
    )
    T = clip.embed_text(data.classes, templates=data.templates)
    case = cn.Case(clip.embed_images(data.images), T, data.labels, [0], data.classes)
    found = []
    print(f"{len(data)} pictures, {len(T)} classes")
    print("forgotten                        forget    kept   2-way  search")
    for m in (1, 10, 50):
        cases = [case.forgetting(torch.randperm(len(T), generator=g)[:m].tolist()) for _ in range(DRAWS)]
        for method, how in [(name, how) for name, grid in GRIDS.items() for how in grid]:
            rows = []
            for one in cases:
                r = one.evaluate(cn.METHODS[method].make(one.T_f, one.T_r, **how))
                rows.append([r.forget_after, r.retained, r.n_way[2].after, r.search.after])
            means = torch.tensor(rows, dtype=torch.float64).nanmean(0).tolist()
            title = " ".join([method, *(f"{k} {v:g}" for k, v in how.items())])
            found.append((m, title, means))
            print(f"{m:9d} {title:22s}" + " ".join(f"{100 * x:7.1f}" for x in means))
    return found


if __name__ == "__main__":
    main()
