"""What the term for width costs: a small run for each weight w, on the classroom's 97 classes.

    python -m tools.pocket.trade --work build/pocket     # half an hour; writes docs/trade.png, prints a table

Reads the sprites that the recipe prepared. Towers, scenes, captions and loss are the shipped model's;
classes, pictures per step and steps are fewer.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from clipnull import datasets
from tools.pocket import art, measure
from tools.pocket.scenes import Sprites
from tools.pocket.train import Run, Settings

WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
FIGURE = Path(__file__).parents[2] / "docs" / "trade.png"


def point(work: Path, weight: float, steps: int, batch: int) -> tuple[float, float, float]:
    """Participation ratio of the names, top-1 accuracy on clean pictures and on scenes after such a run."""
    table, picked = datasets.class_table(), datasets.classroom()
    arrays = art.load_sprites(work / "sprites.npz")
    rows = np.isin(arrays["y"], picked)
    arrays = {name: values[rows] for name, values in arrays.items()}
    arrays["y"] = np.searchsorted(picked, arrays["y"])
    chosen = [table[i] for i in picked]
    run = Run(chosen, Sprites(arrays), Settings(steps=steps, batch=batch, weight=weight))
    with tempfile.TemporaryDirectory() as folder:
        run.train(Path(folder))
        found = measure.measure(Path(folder), subset=[c["label"] for c in chosen])
    ratio = found["geometry_all"]["participation_ratio"]
    return ratio, found["all"]["clean"]["top1"], found["all"]["scenes"]["top1"]


def draw(points: list[tuple[float, float, float]], path: Path = FIGURE) -> None:
    """Accuracy against participation ratio, each point with its w."""
    ratio, clean, scenes = zip(*points, strict=True)
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for values, label in ((clean, "clean"), (scenes, "scenes")):
        ax.plot(ratio, [100 * v for v in values], "o-", label=label)
    for weight, x, y in zip(WEIGHTS, ratio, clean, strict=True):
        ax.annotate(f"w = {weight:g}", (x, 100 * y), xytext=(0, 6), textcoords="offset points", ha="center")
    ax.set(xlabel="participation ratio of the names", ylabel="top-1 accuracy on Twemoji, %")
    ax.margins(0.1, 0.15)
    ax.legend()
    figure.savefig(path, dpi=90)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("build/pocket"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=96)
    args = parser.parse_args(argv)
    points = []
    print("| w | participation ratio | clean, % | scenes, % |\n| ---: | ---: | ---: | ---: |")
    for weight in WEIGHTS:
        points.append(point(args.work, weight, args.steps, args.batch))
        print(f"| {weight:g} | {points[-1][0]:.1f} | {100 * points[-1][1]:.1f} | {100 * points[-1][2]:.1f} |")
    draw(points)


if __name__ == "__main__":
    main()
