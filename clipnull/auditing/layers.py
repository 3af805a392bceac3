"""Do the layers before the edit still tell the class?"""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull.auditing.controls import fewest
from clipnull.auditing.probes import balanced
from clipnull.evaluation import Case
from clipnull.model import last_layer, unprojected

__all__ = ["LayerProbe", "layer_probe", "layers"]

#: what `layers` calls the input, the features in front of the last layer, and what leaves it
PIXELS, HIDDEN, EMBEDDING = "pixels", "before the projection", "embedding"


class LayerProbe(NamedTuple):
    """`yes_or_no` at one layer, and (``control``) with shuffled labels; ``identical``: equal, bit for bit."""

    layer: str
    before: float
    after: float
    control: float
    identical: bool


def layers(clip: Any, images: Any) -> dict[str, torch.Tensor]:
    """Features [n, width] of an image tower at every stage, by forward hooks; float32 on the CPU.

    "pixels", the input averaged down to 16 x 16; the stages in order, averaged over positions; "before the
    projection", H [n, w], with a column of ones if the last layer has a bias; "embedding", H P at unit rows.
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
    H = F.pad(features[HIDDEN], (0, len(P) - features[HIDDEN].shape[1]), value=1.0)
    return features | {HIDDEN: H, EMBEDDING: F.normalize(H @ P, dim=1)}


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
    case: Case, before: Mapping[str, Any], after: Mapping[str, Any], folds: int = 4, seed: int = 0
) -> list[LayerProbe]:
    """Ask a linear probe "is it a forgotten class?" of `layers` [n, width], before and after the edit.

    Folds are as many as images of the smallest forgotten class, at most.
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
