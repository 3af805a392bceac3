"""Attacks: can any image embedding, can any picture, bring a forgotten name back to the top?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from clipnull import _check, _show
from clipnull._check import ArrayLike, ClassesLike
from clipnull.auditing.pixels import optimise_pixels
from clipnull.edit import Edit
from clipnull.measures import TIE

if TYPE_CHECKING:
    from clipnull.model.clip import Clip

__all__ = ["Attack", "attack_embeddings", "attack_pixels"]

#: temperature of the smooth maximum over kept names: first and last for embeddings (of the names'
#: largest distance), and in cosines for pixels
HOT, COLD, PIXELS = 0.1, 1e-4, 0.01


@dataclass(frozen=True, eq=False)
class Attack:
    """The best that was found for m forgotten names: by ``leads``, by how much they beat the best kept one.

    ``made`` and the leads (the cosine's unit) are from each of s starts, [s, m, d] and [s, m], float64, for
    unit image embeddings before the edit; m pictures and [m] for pixels, read again from their 8 bits.
    ``size`` is the largest |score| over them and all names, before the edit.
    """

    made: Any
    leads: torch.Tensor
    size: float

    @property
    def wins(self) -> torch.Tensor:
        """Whether the lead is more than 1e-5 of the scores' size, bool, as ``leads``."""
        return self.leads > TIE * self.size


@_check.by_name
def attack_embeddings(
    edit: Edit | None, T_f: ArrayLike, T_r: ArrayLike, starts: int = 4, steps: int = 400, seed: int = 0
) -> Attack:
    """Optimise unit image embeddings for each forgotten name against all kept ones, after an edit.

    ``T_f`` [m, d] and ``T_r`` [k, d] are the names before the edit; an edit of None is the unedited model.
    The first start is the name itself, the others are random directions. A certificate below a hundredth of
    the scores' size takes more steps.

    Accelerated projected gradient ascent (Nesterov 1983) on z.(W t_f) - max_r z.(W t_r) over the ball
    |z| <= 1, the maximum smoothed by a falling temperature. The lead is concave in z: every start ends
    at the same value, the certificate (`clipnull.hull.certificate`). Where that is positive a win is
    found; where it is 0 there is none to find.
    """
    starts, steps = _check.whole("starts", starts, 1), _check.whole("steps", steps, 1)
    forget = _check.rows("T_f", T_f, nonzero=True).detach().double()
    retain = _check.rows("T_r", T_r, forget.shape[1], nonzero=True).detach().to(forget)
    gen = torch.Generator().manual_seed(seed)
    random = torch.randn(starts - 1, *forget.shape, generator=gen, dtype=torch.float64).to(forget)
    z = F.normalize(torch.cat([forget[None], random]), dim=2)
    names = torch.cat([forget, retain])
    if edit is not None:
        exact = edit.to(forget)
        forget, retain = exact.apply_text(forget), exact.apply_text(retain)
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

    A direction that wins need not be in the encoder's range: pixels may fail where embeddings succeed. The
    ``clip`` is unedited: the edit (None: none) is applied to what it makes of the pictures. ``T`` [C, d] are
    all names, before the edit. Steps and seed are those of `optimise_pixels`.
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
