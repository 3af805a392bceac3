"""Gradient ascent on pixels: images whose embeddings point along given directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipnull import _check
from clipnull._check import ArrayLike

__all__ = ["Optimised", "optimise_pixels"]

#: Adam's learning rate, on the logits of the pixels; weight of the total variation; views are shifted by up
#: to this share of the width, scaled by up to exp(±) of it and turned by up to twice as many radians: without
#: it the ascent finds patterns that only one pixel grid shows
RATE, SMOOTH, JITTER = 0.1, 3.0, 0.15


@dataclass(frozen=True, eq=False)
class Optimised:
    """k images, their embeddings [k, d] in unit rows, cosines of views and targets [steps, k].

    ``film`` has the k images before each step and after the last, steps + 1 times.
    """

    film: list[list[Image.Image]]
    embeddings: torch.Tensor
    cosines: torch.Tensor

    @property
    def images(self) -> list[Image.Image]:
        """Those after the last step."""
        return self.film[-1]


def optimise_pixels(
    clip: Any,
    targets: ArrayLike,
    steps: int = 30,
    seed: int = 0,
    objective: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Optimised:
    """Change the pixels of grey images until their embeddings point along given directions [k, d], one each.

    Each step turns, scales and shifts the images at random (``seed``) and climbs z . t - 3 * total
    variation, z being the view's unit embedding and t the unit target; an ``objective`` takes unit
    embeddings [k, d], and gives the [k] that are climbed in place of z . t. The model's weights are used,
    not changed.

    Activation maximisation with transformed views, as in Olah et al., Feature Visualization (Distill
    2017). That pixels are a sum of coarse and fine grids is our choice.
    """
    t = F.normalize(_check.rows("targets", targets, clip.dim, nonzero=True).float(), dim=1).to(clip.device)
    steps, generator = _check.whole("steps", steps, 1), torch.Generator().manual_seed(seed)
    # the grid's size and its halves, four in all: coarse ones move large areas at once
    height, width = np.broadcast_to(clip.image_size, 2).tolist()
    sizes = [(max(1, height >> i), max(1, width >> i)) for i in range(4)]
    layers = [torch.zeros(len(t), 3, *size, device=clip.device).requires_grad_() for size in sizes]
    # Adam divides by |gradient| + eps: a larger eps than usual keeps rounding noise from being amplified
    optimiser, cosines, film = torch.optim.Adam(layers, lr=RATE, eps=1e-4), [], []
    for _ in range(steps):
        x = _compose(layers)
        film.append(_pictures(x))
        z = _embed(clip, _view(x, generator))
        cosine = (z * t).sum(1)
        variation = sum(x.diff(dim=axis).abs().mean((1, 2, 3)).sum() for axis in (2, 3))
        gain = (cosine if objective is None else objective(z)).sum() - SMOOTH * variation
        # gradients of the pixels alone: the model's own are neither computed nor stored
        for layer, gradient in zip(layers, torch.autograd.grad(-gain, layers), strict=True):
            layer.grad = gradient
        optimiser.step()
        cosines.append(cosine.detach().cpu())
    with torch.no_grad():
        x = _compose(layers)
        return Optimised([*film, _pictures(x)], _embed(clip, x).cpu(), torch.stack(cosines))


def _pictures(x: torch.Tensor) -> list[Image.Image]:
    arrays = (255 * x.detach()).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(a) for a in arrays]


def _compose(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    size = layers[0].shape[2:]
    grown = [F.interpolate(layer, size, mode="bilinear", align_corners=False) for layer in layers]
    return torch.sigmoid(torch.stack(grown).sum(0))


def _view(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    angle, zoom, right, down = JITTER * (2 * torch.rand(4, len(x), generator=generator) - 1)
    zoom, angle = zoom.exp(), 2 * angle
    rows = [(zoom * angle.cos(), -zoom * angle.sin(), right), (zoom * angle.sin(), zoom * angle.cos(), down)]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1).to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _embed(clip: Any, x: torch.Tensor) -> torch.Tensor:
    from open_clip import get_input_dtype

    cfg = clip.model.visual.preprocess_cfg
    mean, std = (torch.tensor(cfg[k]).view(3, 1, 1).to(x) for k in ("mean", "std"))
    pixels = ((x - mean) / std).to(get_input_dtype(clip.precision) or torch.float32)
    return F.normalize(clip.model.encode_image(pixels, normalize=False).float(), dim=1)
