"""Attacks: can any image embedding, can any picture, bring a forgotten name back to the top?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.edit import Edit
from clipnull.measures import TIE
from clipnull.model import Clip

__all__ = ["Attack", "Optimised", "attack_embeddings", "attack_pixels", "optimise_pixels"]

#: of unit embeddings [k, d], the [k] to climb
Objective = Callable[[torch.Tensor], torch.Tensor]
#: temperature of the smooth maximum over kept names: first, last (of their largest distance); in cosines
HOT, COLD, PIXELS = 0.1, 1e-4, 0.01
#: Adam's rate, on the logits of pixels; weight of the total variation; views are shifted by up to this share
#: of the width, scaled by exp(±) of it, turned by twice as much: or patterns show on one pixel grid alone
RATE, SMOOTH, JITTER = 0.1, 3.0, 0.15


@dataclass(frozen=True, eq=False)
class Attack:
    """The best found for m forgotten names: unit image embeddings before the edit, or pictures.

    ``made`` and the ``leads`` over the best kept name, cosines, are [s, m, d] and [s, m], float64, of s
    starts; m and [m] of pixels, read again from their 8 bits. ``size`` is the largest |score| before it.
    """

    made: Any
    leads: torch.Tensor
    size: float

    @property
    def wins(self) -> torch.Tensor:
        return self.leads > TIE * self.size


@_check.by_name
def attack_embeddings(
    edit: Edit | None, T_f: ArrayLike, T_r: ArrayLike, starts: int = 4, steps: int = 400, seed: int = 0
) -> Attack:
    """Optimise unit image embeddings for each of ``T_f`` [m, d] against all of ``T_r`` [k, d], after an edit.

    Starts are the name itself, then random. Accelerated projected gradient ascent (Nesterov 1983) on
    z.(W t_f) - max_r z.(W t_r) over |z| <= 1, the maximum smoothed by a falling temperature. The lead is
    concave in z: every start ends at the certificate (`clipnull.hull.certificate`). Where that is positive a
    win is found (below a hundredth of the scores' size it takes more steps); where it is 0 there is none.
    """
    starts, steps = _check.whole("starts", starts, 1), _check.whole("steps", steps, 1)
    forget = _check.rows("T_f", T_f, nonzero=True).detach().double()
    retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).detach().to(forget)
    gen = torch.Generator().manual_seed(seed)
    random = torch.randn(starts - 1, *forget.shape, generator=gen, dtype=torch.float64).to(forget)
    z = F.normalize(torch.cat([forget[None], random]), dim=2)
    names = torch.cat([forget, retain])
    edited = names if edit is None else edit.to(names).apply_text(names)
    forget, retain = edited.split([len(forget), len(retain)])
    leads, best = z.new_full(z.shape[:2], -math.inf), z
    distance = max(float(torch.cdist(forget, retain).max()), torch.finfo(z.dtype).tiny)
    y, momentum = z, 1.0
    for i in _show.progress(range(steps + 1), what="attack", unit="step"):
        unit = F.normalize(z, dim=2)
        lead = (unit * forget).sum(2) - (unit @ retain.T).amax(2)
        best, leads = torch.where((lead > leads)[..., None], unit, best), torch.maximum(lead, leads)
        temperature = distance * HOT * (COLD / HOT) ** (i / steps)
        gradient = forget - torch.softmax(y @ retain.T / temperature, 2) @ retain
        ahead = y + gradient * temperature / distance**2
        ahead = ahead / ahead.norm(dim=2, keepdim=True).clamp_min(1)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        y, z, momentum = ahead + (momentum - 1) / following * (ahead - z), ahead, following
    return Attack(best, leads, float((best @ names.T).abs().max()))


@_check.by_name
def attack_pixels(
    clip: Clip, edit: Edit | None, T: ArrayLike, forget: ClassesLike, steps: int = 60, seed: int = 0
) -> Attack:
    """Optimise a picture for each forgotten name against all kept ones, after an edit on the image side.

    Pixels may fail where embeddings succeed: not every direction is in the encoder's range. The ``clip`` is
    unedited: the edit is applied to what it makes of the pictures. ``T`` [C, d] are all names before it.
    """
    names = _check.rows("T", T, clip.dim, nonzero=True).detach().float().to(clip.device)
    gone = _check.forget_set(forget, len(names))
    edited = names if edit is None else edit.to(names).apply_text(names)
    own, kept = edited[gone], edited[_check.others(gone, len(names))]

    def lead(z: torch.Tensor) -> torch.Tensor:
        return (z * own).sum(1) - PIXELS * torch.logsumexp(z @ kept.T / PIXELS, 1)

    images = optimise_pixels(clip, names[gone], steps, seed, lead).images
    Z = clip.embed_images(images).to(names)
    leads = (Z * own).sum(1) - (Z @ kept.T).amax(1)
    return Attack(images, leads.cpu(), float((Z @ names.T).abs().max()))


class Optimised(NamedTuple):
    """k images before each step and after the last: ``film``, steps + 1 times; ``images`` are the last."""

    film: list[list[Image.Image]]
    images: list[Image.Image]


def optimise_pixels(
    clip: Any, targets: ArrayLike, steps: int = 30, seed: int = 0, objective: Objective | None = None
) -> Optimised:
    """Change the pixels of grey images until their embeddings point along given directions [k, d], one each.

    Each step turns, scales and shifts the images at random (``seed``) and climbs z . t - 3 * total
    variation, z being the view's unit embedding and t the unit target, or an ``objective`` in place of z . t.
    Activation maximisation with transformed views, as in Olah et al., Feature Visualization (Distill 2017);
    that pixels are a sum of coarse and fine grids is our choice.
    """
    from open_clip import get_input_dtype

    t = F.normalize(_check.rows("targets", targets, clip.dim, nonzero=True).float(), dim=1).to(clip.device)
    steps, generator = _check.whole("steps", steps, 1), torch.Generator().manual_seed(seed)
    cfg, dtype = clip.model.visual.preprocess_cfg, get_input_dtype(clip.precision) or torch.float32
    mean, std = (torch.tensor(cfg[k], device=clip.device).view(3, 1, 1) for k in ("mean", "std"))
    # the grid's size and its halves, four in all: coarse ones move large areas at once
    height, width = np.broadcast_to(clip.image_size, 2).tolist()
    sizes = [(max(1, height >> i), max(1, width >> i)) for i in range(4)]
    layers = [torch.zeros(len(t), 3, *size, device=clip.device).requires_grad_() for size in sizes]
    # Adam divides by |gradient| + eps: a larger eps than usual keeps rounding noise from being amplified
    optimiser, film = torch.optim.Adam(layers, lr=RATE, eps=1e-4), [_pictures(_compose(layers))]
    for _ in range(steps):
        x = _compose(layers)
        pixels = ((_view(x, generator) - mean) / std).to(dtype)
        z = F.normalize(clip.model.encode_image(pixels, normalize=False).float(), dim=1)
        variation = sum(x.diff(dim=axis).abs().mean((1, 2, 3)).sum() for axis in (2, 3))
        gain = ((z * t).sum(1) if objective is None else objective(z)).sum() - SMOOTH * variation
        # gradients of the pixels alone: the model's own are neither computed nor stored
        for layer, gradient in zip(layers, torch.autograd.grad(-gain, layers), strict=True):
            layer.grad = gradient
        optimiser.step()
        film.append(_pictures(_compose(layers)))
    return Optimised(film, film[-1])


def _pictures(x: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(a) for a in (255 * x.detach()).round().byte().permute(0, 2, 3, 1).cpu().numpy()]


def _compose(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    size = layers[0].shape[2:]
    grown = [F.interpolate(layer, size, mode="bilinear", align_corners=False) for layer in layers]
    return torch.sigmoid(torch.stack(grown).sum(0))


def _view(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    angle, zoom, right, down = JITTER * (2 * torch.rand(4, len(x), generator=generator) - 1)
    cos, sin = zoom.exp() * (2 * angle).cos(), zoom.exp() * (2 * angle).sin()
    theta = torch.stack([cos, -sin, right, sin, cos, down], 1).view(-1, 2, 3).to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
