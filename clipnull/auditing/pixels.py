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


@dataclass(frozen=True)
class Optimised:
    """k images, their embeddings [k, d] in unit rows, cosines of views and targets [steps, k]."""

    images: list[Image.Image]
    embeddings: torch.Tensor
    cosines: torch.Tensor


def optimise_pixels(
    clip: Any,
    targets: ArrayLike,
    steps: int = 30,
    seed: int = 0,
    *,
    start: Any = None,
    objective: Callable[[torch.Tensor], torch.Tensor] | None = None,
    rate: float = 0.1,
    jitter: float = 0.15,
    smooth: float = 3.0,
) -> Optimised:
    """Change the pixels of images until their embeddings point along given directions.

    Each step turns, scales and shifts the images at random and climbs z . t - smooth * total
    variation, z being the view's unit embedding and t the unit target.

    Parameters
    ----------
    clip : Clip
        Its weights are used, not changed.
    targets : array [k, d]
        Directions in embedding space, one image each: embeddings of names, for instance.
    steps, seed : int
        The seed is that of the views; the same gives the same images on the same machine.
    start : image or list of k images, optional
        Arrays or PIL images, RGB, 8 bit, of the model's size. Mid-grey by default.
    objective : callable, optional
        What is climbed in place of z . t: takes unit embeddings [k, d], gives [k].
    rate : float > 0
        Adam's learning rate, on the logits of the pixels.
    jitter : float in [0, 1]
        Views are shifted by up to this share of the width, scaled by up to exp(±jitter) and turned
        by up to 2 jitter radians. Without it the ascent finds patterns that only one pixel grid shows.
    smooth : float >= 0
        Weight of the mean absolute difference of neighbouring pixels.

    Raises
    ------
    ValueError
        Targets of another dimension, steps below 1, images of the wrong number or size.

    References
    ----------
    Activation maximisation with transformed views, as in Olah et al., Feature Visualization (Distill
    2017). That pixels are a sum of coarse and fine grids is our choice.
    """
    t = F.normalize(_check.rows("targets", targets, clip.dim, nonzero=True).float(), dim=1).to(clip.device)
    steps = _check.whole("steps", steps, 1)
    rate, smooth = _check.number("rate", rate, 1e-6), _check.number("smooth", smooth, 0.0)
    jitter, generator = _check.number("jitter", jitter, 0.0, 1.0), torch.Generator().manual_seed(seed)
    base = torch.logit(_start(clip, start, len(t)), eps=0.03).to(clip.device)
    # the grid's size and its halves, four in all: coarse ones move large areas at once
    sizes = [[max(1, n >> i) for n in base.shape[2:]] for i in range(4)]
    layers = [torch.zeros(len(t), 3, *size).to(base).requires_grad_() for size in sizes]
    # Adam divides by |gradient| + eps: a larger eps than usual keeps rounding noise from being amplified
    optimiser, cosines = torch.optim.Adam(layers, lr=rate, eps=1e-4), []
    for _ in range(steps):
        x = _compose(base, layers)
        z = _embed(clip, _view(x, jitter, generator))
        cosine = (z * t).sum(1)
        variation = sum(x.diff(dim=axis).abs().mean((1, 2, 3)).sum() for axis in (2, 3))
        gain = (cosine if objective is None else objective(z)).sum() - smooth * variation
        # gradients of the pixels alone: the model's own are neither computed nor stored
        for layer, gradient in zip(layers, torch.autograd.grad(-gain, layers), strict=True):
            layer.grad = gradient
        optimiser.step()
        cosines.append(cosine.detach().cpu())
    with torch.no_grad():
        x = _compose(base, layers)
        arrays = (255 * x).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return Optimised([Image.fromarray(a) for a in arrays], _embed(clip, x).cpu(), torch.stack(cosines))


def _start(clip: Any, start: Any, k: int) -> torch.Tensor:
    """What the ascent begins with, in [0, 1]: [k, 3, H, W]."""
    height, width = np.broadcast_to(clip.image_size, 2).tolist()
    x = np.full((height, width, 3), 127.5, np.float32) if start is None else np.array(start, np.float32)
    if x.shape not in [(height, width, 3), (k, height, width, 3)]:
        raise ValueError(f"start: got shape {x.shape}, want {k} RGB images of {width} x {height}, or one")
    return torch.from_numpy(x).expand(k, -1, -1, -1).permute(0, 3, 1, 2) / 255


def _compose(base: torch.Tensor, layers: Sequence[torch.Tensor]) -> torch.Tensor:
    grown = (F.interpolate(layer, base.shape[2:], mode="bilinear", align_corners=False) for layer in layers)
    return torch.sigmoid(base + sum(grown))


def _view(x: torch.Tensor, jitter: float, generator: torch.Generator) -> torch.Tensor:
    angle, zoom, right, down = jitter * (2 * torch.rand(4, len(x), generator=generator) - 1)
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
