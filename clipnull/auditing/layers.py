"""Do the layers before the edit still tell the class?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.cases import fewest
from clipnull.auditing.probes import balanced
from clipnull.evaluation import Case
from clipnull.model import last_layer, unprojected

__all__ = ["LayerProbe", "layer_probe", "layers"]

#: what `layers` calls the input, the features in front of the last layer, and what leaves it
PIXELS, HIDDEN, EMBEDDING = "pixels", "before the projection", "embedding"


@dataclass(frozen=True)
class LayerProbe:
    """`yes_or_no` of the features at one layer: balanced accuracy, a fraction; chance is 0.5.

    Of probes trained on the un-edited and on the edited model's features, and with shuffled labels
    (``control``). ``identical``: the features before and after the edit are equal, bit by bit.
    """

    layer: str
    width: int
    before: float
    after: float
    control: float
    identical: bool


def layers(clip: Any, images: Any, batch_size: int = 256) -> dict[str, torch.Tensor]:
    """Features of an image tower at every stage, by forward hooks.

    Returns
    -------
    dict of str to torch.Tensor [n, width], float32 on the CPU
        "pixels", the input averaged down to 16 x 16: what no network was needed for; the stages in
        order, averaged over positions; "before the projection", H [n, w], with a column of ones if
        the last layer has a bias; "embedding", H P [n, d] scaled to unit rows.

    Raises
    ------
    ValueError
        A tower that clipnull does not know; what ``embed_images`` raises.
    """
    visual = clip.model.visual
    found: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, pool: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            found.setdefault(name, []).append(pool(output).detach().float().cpu())

        return hook

    def look(module: Any, inputs: Any) -> None:
        small = F.adaptive_avg_pool2d(inputs[0].detach().float(), 16).flatten(1)
        found.setdefault(PIXELS, []).append(small.cpu())

    hooks = [visual.register_forward_pre_hook(look), visual.register_forward_hook(keep(HIDDEN, lambda x: x))]
    pool = functools.partial(_pooled, getattr(visual, "transformer", None))
    hooks += [stage.register_forward_hook(keep(name, pool)) for name, stage in _stages(visual)]
    try:
        with unprojected(clip):
            clip.embed_images(images, batch_size=batch_size)
    finally:
        for handle in hooks:
            handle.remove()
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
    trunk = getattr(visual, "trunk", None)
    blocks: Iterable[Any] = getattr(getattr(visual, "transformer", None), "resblocks", ())
    blocks = blocks or getattr(trunk, "blocks", ()) or getattr(trunk, "stages", ())
    blocks = blocks or getattr(getattr(getattr(visual, "vision_model", None), "encoder", None), "layers", ())
    return [(f"block {i}", block) for i, block in enumerate(blocks, 1)]


def _pooled(transformer: Any, x: torch.Tensor) -> torch.Tensor:
    """Mean over the positions of a map [n, c, h, w] or of tokens [n, L, c] (or [L, n, c])."""
    if x.ndim == 4:
        return x.mean((2, 3))
    return x.mean(1 if getattr(transformer, "batch_first", True) else 0)


@_check.by_name
def layer_probe(
    case: Case,
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    folds: int = 4,
    seed: int = 0,
) -> list[LayerProbe]:
    """Ask a linear probe on every layer's features "is it a forgotten class?".

    ``before`` and ``after`` map layers to features [n, width] of the case's images, in the un-edited and
    in the edited model (`layers`). The seed is that of the folds and of the control's labels. Folds are as
    many as images of the smallest forgotten class where these are fewer.

    Raises
    ------
    ValueError
        Different layers before and after, bad arrays, a forgotten class with fewer than two images.
    """
    for name, features in (("before", before), ("after", after)):
        if not isinstance(features, Mapping):
            raise ValueError(f"{name}: got {type(features).__name__}, want a mapping of layer to features")
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
        width = int(torch.as_tensor(X).shape[1])
        probes.append(LayerProbe(layer, width, b, a, balanced(X, shuffled, folds, seed), same))
    return probes
