"""How the default mu of the hull was chosen: on pictures and names that no lesson reports.

    python benchmarks/choose_mu.py

OpenMoji scenes of 200 classes outside the classroom; 1, 10 and 50 of them forgotten, means over draws, %.
The mu that keeps most is the default; all of them forget everything.
"""

from __future__ import annotations

import torch

import clipnull as cn

MUS = [10.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0]
CLASSES, DRAWS = 200, 8


def main() -> list[tuple[int, float, list[float]]]:
    """Print, and return, forgotten classes, mu and [forget, kept, 2-way, search] after (fractions)."""
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
    _ = case.scores  # kept: each edit is then a rank-m update
    found = []
    print(f"{len(data)} pictures, {len(T)} classes")
    print("forgotten       mu   forget    kept   2-way  search")
    for m in (1, 10, 50):
        cases = [case.forgetting(torch.randperm(len(T), generator=g)[:m].tolist()) for _ in range(DRAWS)]
        for mu in MUS:
            rows = []
            for one in cases:
                r = one.evaluate(cn.METHODS["hull"].make(one.T_f, one.T_r, mu=mu))
                rows.append([r.forget_after, r.retained, r.n_way[2].after, r.search.after])
            means = torch.tensor(rows, dtype=torch.float64).nanmean(0).tolist()
            found.append((m, mu, means))
            print(f"{m:9d} {mu:8g}  " + " ".join(f"{100 * x:7.1f}" for x in means))
    return found


if __name__ == "__main__":
    main()
