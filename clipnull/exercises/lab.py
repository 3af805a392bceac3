"""Checks of lesson 06."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from clipnull.exercises.checking import Call, Inputs, check, expect

__all__ = ["check_retain_change"]


@check("the retain accuracy after less before, in points, for several classes.")
def check_retain_change(case: Inputs, call: Call) -> None:
    """Check ``retain_change(bench, name, method)`` -> number, in points (notebook 06)."""
    from clipnull.datasets.pictures import Images, LabelledImages
    from clipnull.lab.bench import Bench

    clip: Any = _Embedded(case)
    nothing: Any = Images(lambda _: None, range(len(case.Z)))  # type: ignore[arg-type, return-value]
    bench = Bench(clip, LabelledImages(nothing, case.labels, list(clip.names), ["{}"]))

    def report(name: str, method: str) -> Any:
        return bench.compute({"forget": [name], "method": method}).report

    def change(name: str, method: str) -> float:
        r = report(name, method)
        return 100 * (r.retain_after - r.retain_before)

    for method in ("nullspace", "mean"):
        name = max(clip.names, key=lambda name: abs(change(name, method)))
        r, want, usual = report(name, method), change(name, method), change(name, "mean")
        mistakes = {
            "that is a fraction; a point is a hundredth.": want / 100,
            "the sign: after less before.": -want,
            "the sign, and points are hundredths.": -want / 100,
            "that is the accuracy after; take the one before away.": 100 * r.retain_after,
            "that is the forget accuracy's change.": 100 * (r.forget_after - r.forget_before),
            "that is relative to the accuracy before; points are a difference.": 100 * (r.retained - 1),
            "the method is not passed on: that is the change with the default one.": usual,
        }
        said = f'retain_change(bench, "{name}", "{method}")'
        expect(said, call(bench, name, method), want, mistakes, tolerance=1e-6)


class _Embedded:
    """In place of a model for `clipnull.lab.Bench`: a case's rows, noisy so that some images are missed."""

    loaded_with = None

    def __init__(self, case: Inputs) -> None:
        noise = torch.randn(case.Z.shape, generator=torch.Generator().manual_seed(0))
        self.Z = F.normalize(case.Z + F.normalize(noise, dim=1), dim=1)
        self.names = {f"class {i}": row for i, row in enumerate(case.T)}

    def embed_text(self, names: Sequence[str], templates: Any = None) -> torch.Tensor:
        return torch.stack([self.names[name] for name in names])

    def embed_images(self, images: Any) -> torch.Tensor:
        return self.Z
