"""Trained baselines, for contrast with the closed form: gradient ascent, and LoRA on the names.

Both learn an `Edit` of the last layers. They are the idea alone, no reproduction of a paper's code.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.edit import Edit
from clipnull.evaluation import Case
from clipnull.report import Side

__all__ = ["BASELINES", "GRIDS", "Trained", "gradient_forgetting", "lora_forgetting", "tuned"]

#: name -> what it is and what it is given
BASELINES: dict[str, str] = {
    "gradient": "trained: ascent on the forgotten images' loss; needs labelled images",
    "lora": "trained: LoRA sends the name to the empty prompt, on the text side; needs no images",
}
#: what the protocol tries: what a wider search on the miniature's food and travel pictures left over
GRIDS: dict[str, dict[str, Sequence[float]]] = {
    "gradient": {"weight": (30.0, 100.0)},
    "lora": {"rank": (4, 8)},
}


class Trained(NamedTuple):
    """What a baseline learnt: the best ``objective``, from training data alone, and a loss per step."""

    edit: Edit
    side: Side
    objective: float
    losses: list[float]
    seconds: float


@_check.by_name
def gradient_forgetting(
    case: Case, *, lr: float = 3e-3, weight: float = 30.0, steps: int = 40, scale: float = 100.0
) -> Trained:
    """Train the image side's last layer to be wrong about the forgotten images and right about the rest.

    Adam on all entries of W [d, d] from W = I, all images in every step; nothing is random. The loss is
    weight * CE(retain images) - CE(forget images), CE the cross-entropy of the softmax over
    scale * cos(z W, t_c). Of all the steps the W is kept, as L = I - W and R = I, with the widest gap (the
    objective, a fraction) between accuracy on the retained and the forgotten images. Ours in this form. A
    ``case`` of training images of which none, or all, are of a forgotten class is a ValueError.
    """
    case.require(retained=True)
    for name, value in {"lr": lr, "weight": weight, "scale": scale}.items():
        _check.number(name, value, 0.0)
    Z, T, y, gone = case.images.float(), case.T.float(), case.labels, case.gone
    eye = torch.eye(Z.shape[1], device=Z.device)
    W = eye.clone().requires_grad_()

    def measure() -> tuple[torch.Tensor, float]:
        logits = scale * F.normalize(Z @ W, dim=1) @ T.T
        predicted = logits.argmax(1)
        loss = weight * F.cross_entropy(logits[~gone], y[~gone]) - F.cross_entropy(logits[gone], y[gone])
        return loss, case.accuracy(predicted) - case.recall(predicted)

    (W,), *found = _trained([W], measure, steps, lr)
    info = {"method": "gradient", "lr": lr, "weight": weight, "steps": steps}
    return Trained(Edit(eye - W, eye, info), "image", *found)


@_check.by_name
def lora_forgetting(
    T_f: ArrayLike, T_r: ArrayLike, empty: ArrayLike, *, rank: int = 8, steps: int = 150, seed: int = 0
) -> Trained:
    """Train a low-rank update of the text projection: a forgotten name becomes the empty prompt.

    A row t of ``T_f`` [m, d] (to forget) or ``T_r`` [k, d] (to retain) becomes t' = t (I + A B), A [d, rank],
    B [rank, d], and the text projection P becomes P + (P A) B: a LoRA update (arXiv 2106.09685), here
    L = -Bᵀ, R = A. The loss is the mean of ‖t'_f - t_empty‖² plus that of ‖t'_r - t_r‖², all of unit length;
    ``empty`` [d] embeds the prompt "". Adam from A random, B = 0, its step falling linearly to zero; the
    objective is minus the smallest loss. The idea: text-image space adaptation (TMLR 2025); the loss is ours.
    """
    T_f = F.normalize(_check.rows("T_f", T_f, nonzero=True).float(), dim=1)
    d = T_f.shape[1]
    T_r = F.normalize(_check.rows("T_r", T_r, d, nonzero=True).to(T_f), dim=1)
    goal = F.normalize(_check.rows("empty", empty, d, nonzero=True).to(T_f), dim=1)
    if len(goal) != 1:
        raise ValueError(f"empty: got {len(goal)} rows, want the one embedding of the empty prompt")
    rank = _check.whole("rank", rank, 1, d)
    noise = torch.randn(d, rank, generator=torch.Generator().manual_seed(seed))
    A, B = (noise / d**0.5).to(T_f).requires_grad_(), T_f.new_zeros(rank, d, requires_grad=True)

    T, aim = torch.cat([T_f, T_r]), torch.cat([goal.expand_as(T_f), T_r])
    share = torch.cat([T_i.new_full((len(T_i),), 1 / len(T_i)) for T_i in (T_f, T_r)])

    def measure() -> tuple[torch.Tensor, float]:
        loss = share @ (2 - 2 * F.cosine_similarity(T + (T @ A) @ B, aim))  # squared distances of unit rows
        return loss, -float(loss.detach())

    (A, B), *found = _trained([A, B], measure, steps, lr=2e-2, falling=True)
    info = {"method": "lora", "rank": rank, "steps": steps, "seed": seed}
    return Trained(Edit(-B.T.contiguous(), A, info), "text", *found)


def _trained(
    parameters: list[torch.Tensor], measure: Callable[[], Any], steps: int, lr: float, falling: bool = False
) -> tuple[Any, ...]:
    """Adam on the loss that ``measure`` gives: the parameters of its best objective, and `Trained`'s rest."""
    _check.whole("steps", steps, 1)
    start = time.perf_counter()
    best, kept, losses = -math.inf, parameters, []
    adam = torch.optim.Adam(parameters, lr=lr)
    for step in range(steps + 1):
        loss, objective = measure()
        if objective > best:
            best, kept = objective, [p.detach().clone() for p in parameters]
        if step < steps:
            losses.append(float(loss.detach()))
            adam.param_groups[0]["lr"] = lr * (1 - falling * step / steps)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return kept, best, losses, time.perf_counter() - start


def tuned(train: Callable[..., Trained], grid: Mapping[str, Sequence[float]]) -> Trained:
    """``train``, one of the above, at every combination in ``grid``: the best, with the seconds of all."""
    runs = [train(**dict(zip(grid, point, strict=True))) for point in itertools.product(*grid.values())]
    best = max(_check.having("grid", runs, ""), key=lambda run: run.objective)
    return best._replace(seconds=sum(run.seconds for run in runs))
