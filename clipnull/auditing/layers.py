"""Do the layers before the edit still tell the class?"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.controls import fewest
from clipnull.auditing.probes import balanced
from clipnull.evaluation import Case
from clipnull.model import last_layer, unprojected

__all__ = ["LayerProbe", "layer_probe", "layers"]

#: what `layers` calls the input, the features in front of the last layer, and what leaves it
PIXELS, HIDDEN, EMBEDDING = "pixels", "before the projection", "embedding"


@dataclass(frozen=True)
class LayerProbe:
    """`yes_or_no` of the features at one layer, un-edited and edited, and (``control``) with shuffled labels.

    Balanced accuracy, chance 0.5. ``identical``: features before and after the edit are equal, bit for bit.
    """

    layer: str
    before: float
    after: float
    control: float
    identical: bool


def layers(clip: Any, images: Any) -> dict[str, torch.Tensor]:
    """Features [n, width] of an image tower at every stage, by forward hooks; float32 on the CPU.

    "pixels", the input averaged down to 16 x 16: what no network was needed for; the stages in order,
    averaged over positions; "before the projection", H [n, w], with a column of ones if the last layer has
    a bias; "embedding", H P [n, d] scaled to unit rows. A ValueError for a tower that clipnull does not know.
    """
    visual = clip.model.visual
    first = getattr(getattr(visual, "transformer", None), "batch_first", True)
    found: dict[str, list[torch.Tensor]] = {PIXELS: []}

    def keep(name: str, module: Any, inputs: Any, output: Any) -> None:
        x = output[0] if isinstance(output, tuple) else output
        if x.ndim > 2:  # tokens [n, L, c] or [L, n, c], or a map [n, c, h, w]
            x = x.mean((2, 3) if x.ndim == 4 else 1 if first else 0)
        found.setdefault(name, []).append(x.detach().float().cpu())
        if module is visual:
            small = F.adaptive_avg_pool2d(inputs[0].detach().float(), 16)
            found[PIXELS].append(small.flatten(1).cpu())

    with contextlib.ExitStack() as hooks:
        for name, stage in [*_stages(visual), (HIDDEN, visual)]:
            hooks.enter_context(stage.register_forward_hook(functools.partial(keep, name)))
        hooks.enter_context(unprojected(clip))
        clip.embed_images(images)
    # in the order in which they ran; the tower as a whole ends last
    features = {name: torch.cat(chunks) for name, chunks in found.items()}
    P = last_layer(clip)
    if len(P) == features[HIDDEN].shape[1] + 1:
        features[HIDDEN] = torch.cat([features[HIDDEN], torch.ones(len(features[HIDDEN]), 1)], 1)
    return features | {EMBEDDING: F.normalize(features[HIDDEN] @ P, dim=1)}


def _stages(visual: Any) -> list[tuple[str, Any]]:
    """The blocks of a ViT (open_clip's, timm's or transformers'), or the stages of a ResNet or timm trunk."""
    if hasattr(visual, "layer1"):
        return [(f"stage {i}", getattr(visual, f"layer{i}")) for i in range(1, 5)]
    for path in ("transformer.resblocks", "trunk.blocks", "trunk.stages", "vision_model.encoder.layers"):
        blocks: Any = functools.reduce(lambda x, name: getattr(x, name, None), path.split("."), visual)
        if blocks:
            return [(f"block {i}", block) for i, block in enumerate(blocks, 1)]
    return []


@_check.by_name
def layer_probe(
    case: Case, before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike], folds: int = 4, seed: int = 0
) -> list[LayerProbe]:
    """Ask a linear probe on every layer's features "is it a forgotten class?".

    ``before`` and ``after`` map layers to features [n, width] of the case's images, in the un-edited and
    in the edited model (`layers`). Folds are as many as images of the smallest forgotten class, at most.
    """
    if list(before) != list(after):
        raise ValueError(f"after: has layers {list(after)}, want {list(before)} like before")
    folds = min(folds, fewest(case))
    yes = case.gone
    shuffled = yes[torch.randperm(len(yes), generator=torch.Generator().manual_seed(seed))]
    probes = []
    for layer, X in before.items():
        same = torch.equal(torch.as_tensor(X), torch.as_tensor(after[layer]))
        b = balanced(X, yes, folds, seed)
        a = b if same else balanced(after[layer], yes, folds, seed)
        probes.append(LayerProbe(layer, b, a, balanced(X, shuffled, folds, seed), same))
    return probes
