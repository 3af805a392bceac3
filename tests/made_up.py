"""Embeddings of no model, for tests that need some."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import clipnull as cn


def case(C: int = 20, d: int = 48, per_class: int = 4, seed: int = 1) -> cn.Case:
    """Names and images in two narrow cones, as CLIP's are; the first three classes are to be forgotten."""
    g = torch.Generator().manual_seed(seed)
    center, gap = F.normalize(torch.randn(2, d, generator=g), dim=1)
    own = F.normalize(torch.randn(C, d, generator=g), dim=1)
    labels = torch.arange(C).repeat_interleave(per_class)
    noise = F.normalize(torch.randn(len(labels), d, generator=g), dim=1)
    T = F.normalize(1.25 * center + own, dim=1)
    Z = F.normalize(1.25 * (center + 0.7 * gap) + own[labels] + 0.5 * noise, dim=1)
    return cn.Case(Z, T, labels, [0, 1, 2], classes=[f"class {c}" for c in range(C)])
