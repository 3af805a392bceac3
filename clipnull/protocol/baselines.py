"""Trained baselines, for contrast with the closed form: gradient ascent, and LoRA on the names.

Both change the same last layers that `clipnull.fold` edits, so what they learn is an `Edit` and is
measured by the same evaluation. Both are the idea alone, small enough to run anywhere; they are no
reproduction of a paper's code.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import Edit

__all__ = ["BASELINES", "GRIDS", "Trained", "gradient_forgetting", "lora_forgetting", "tuned"]

#: name -> what it is and what it is given
BASELINES: dict[str, str] = {
    "gradient": "trained: ascent on the forgotten images' loss; needs labelled images",
    "lora": "trained: LoRA sends the name to the empty prompt, on the text side; needs no images",
}
#: The settings that the protocol tries. They are what a wider search on the miniature's food and
#: travel pictures left over: learning rates 3e-4 to 3e-2, weights 1 to 100, ranks 2 to 32, up to 200 steps.
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "gradient": {"weight": (30.0, 100.0)},
    "lora": {"rank": (4, 8)},
}


@dataclass(frozen=True)
class Trained:
    """What a baseline learnt.

    Attributes
    ----------
    edit : Edit
    side : {"image", "text"}
        Where the edit acts.
    objective : float
        What settings are compared by, higher is better; computed from training data alone.
    losses : list of float
        One a step.
    seconds : float
        Time of this training.
    tuning_seconds : float
        Time of all the trainings it was chosen from; equal to ``seconds`` without tuning.
    tried : int
        Number of those.
    """

    edit: Edit
    side: str
    objective: float
    losses: list[float] = field(repr=False)
    seconds: float
    tuning_seconds: float
    tried: int = 1


def gradient_forgetting(
    Z: ArrayLike,
    T: ArrayLike,
    labels: ArrayLike,
    forget: Any,
    *,
    lr: float = 3e-3,
    weight: float = 30.0,
    steps: int = 40,
    scale: float = 100.0,
    classes: Sequence[str] | None = None,
) -> Trained:
    """Train the image side's last layer to be wrong about the forgotten images and right about the rest.

    Adam on all entries of W [d, d], from W = I, all images in every step. The loss is
    weight * CE(retain images) - CE(forget images), CE the cross-entropy of the softmax over
    scale * cos(z W, t_c). Of all the steps, the W is kept that has the widest gap between
    accuracy on the retained and on the forgotten training images.

    Parameters
    ----------
    Z : array [n, d]
        Embeddings of training images; some of a forgotten class, some of a retained one.
    T : array [C, d]
        Text embeddings of all the classes.
    labels : array of int [n]
    forget : list of int or of str
        Classes to forget; names need ``classes``.
    lr, weight : float >= 0
        Adam's step, and how much the retained images count.
    steps : int
    scale : float
        What cosines are multiplied by (``clip.logit_scale``).
    classes : list of str, optional

    Returns
    -------
    Trained
        ``edit`` has L = I - W, R = I; ``objective`` is the gap (fraction). Nothing is random.

    Raises
    ------
    ValueError
        Bad arrays, labels or forget set, a number out of range, or training images that are all
        to forget or all to retain.

    References
    ----------
    Ours in this form; the ascent needs images, which the data-free protocol of arXiv 2407.07485
    does not give. Compared in notebook 07.
    """
    Z = _check.rows("Z", Z, nonzero=True).float()
    T = _check.rows("T", T, Z.shape[1], nonzero=True).to(Z)
    y = _check.labels("labels", labels, len(Z), len(T)).to(Z.device)
    index = _check.forget_set(forget, len(T), classes)
    lr, weight = _check.number("lr", lr, 0.0), _check.number("weight", weight, 0.0)
    scale, steps = _check.number("scale", scale, 0.0), _steps(steps)
    gone = torch.isin(y, torch.tensor(index, device=y.device))
    if bool(gone.all()) or not bool(gone.any()):
        raise ValueError(
            f"labels: {int(gone.sum())} of {len(y)} images are of a forgotten class, want some and not all"
        )
    start = time.perf_counter()
    W = torch.eye(Z.shape[1], device=Z.device, requires_grad=True)
    best, kept = -math.inf, W.detach().clone()
    adam, losses = torch.optim.Adam([W], lr=lr), []
    for step in range(steps + 1):
        logits = scale * F.normalize(Z @ W, dim=1) @ T.T
        right = (logits.argmax(1) == y).double()
        gap = float(right[~gone].mean() - right[gone].mean())
        if gap > best:
            best, kept = gap, W.detach().clone()
        if step == steps:
            break
        loss = weight * F.cross_entropy(logits[~gone], y[~gone]) - F.cross_entropy(logits[gone], y[gone])
        losses.append(_descend(adam, loss))
    eye = torch.eye(len(kept), device=Z.device)
    info = {"method": "gradient", "lr": lr, "weight": weight, "steps": steps}
    seconds = time.perf_counter() - start
    return Trained(Edit(eye - kept, eye, info), "image", best, losses, seconds, seconds)


def lora_forgetting(
    T: ArrayLike,
    forget: Any,
    empty: ArrayLike,
    *,
    rank: int = 8,
    lr: float = 2e-2,
    steps: int = 150,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Trained:
    """Train a low-rank update of the text projection: a forgotten name becomes the empty prompt.

    A row t of T becomes t' = t (I + A B), A [d, rank], B [rank, d], and the text projection P
    becomes P + (P A) B: a LoRA update. The loss is the mean of ||t'_f - t_empty||^2 over the
    forgotten names plus the mean of ||t'_r - t_r||^2 over the retained ones, all of unit length.
    Adam from A random, B = 0, with a step that falls linearly to zero: without it, the last steps
    jump about, and which pictures are lost depends on rounding.

    Parameters
    ----------
    T : array [C, d]
        Text embeddings of all the classes.
    forget : list of int or of str
        Classes to forget; names need ``classes``.
    empty : array [d]
        Embedding of the empty prompt "".
    rank : int
        At most d.
    lr : float >= 0
    steps, seed : int
    classes : list of str, optional

    Returns
    -------
    Trained
        ``edit`` is for the text side: L = -B^T, R = A; ``objective`` is minus the last loss.

    Raises
    ------
    ValueError
        Bad arrays or forget set, a number out of range.

    Notes
    -----
    With several prompt templates a row of ``T`` is their mean; the update is then trained on
    means, while a folded model applies it to each prompt.

    References
    ----------
    The idea of text-image space adaptation (TMLR 2025): LoRA on the text projection, the
    forgotten class goes to the embedding of "". LoRA: Hu et al., arXiv 2106.09685. The loss, all
    retained names in it, and these settings are ours. Compared in notebook 07.
    """
    T = F.normalize(_check.rows("T", T, nonzero=True).float(), dim=1)
    index = _check.forget_set(forget, len(T), classes)
    target = T.clone()
    goal = _check.rows("empty", empty, T.shape[1], nonzero=True).to(T)
    if len(goal) != 1:
        raise ValueError(f"empty: got {len(goal)} rows, want the one embedding of the empty prompt")
    target[index] = F.normalize(goal, dim=1)
    if isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= T.shape[1]:
        raise ValueError(f"rank: got {rank!r}, want a whole number from 1 to d = {T.shape[1]}")
    lr, steps = _check.number("lr", lr, 0.0), _steps(steps)
    gone = torch.zeros(len(T), dtype=torch.bool, device=T.device)
    gone[index] = True
    start = time.perf_counter()
    noise = torch.randn(T.shape[1], rank, generator=torch.Generator().manual_seed(seed))
    A = (noise / T.shape[1] ** 0.5).to(T).requires_grad_()
    B = torch.zeros(rank, T.shape[1], device=T.device, requires_grad=True)

    def objective() -> torch.Tensor:
        apart = (F.normalize(T + (T @ A) @ B, dim=1) - target).square().sum(1)
        return apart[gone].mean() + apart[~gone].mean()

    adam, losses = torch.optim.Adam([A, B], lr=lr), []
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        losses.append(_descend(adam, objective()))
    with torch.no_grad():
        final = float(objective())
    info = {"method": "lora", "rank": rank, "lr": lr, "steps": steps, "seed": seed}
    seconds = time.perf_counter() - start
    edit = Edit(-B.detach().T.contiguous(), A.detach(), info)
    return Trained(edit, "text", -final, losses, seconds, seconds)


def tuned(
    train: Callable[..., Trained], *args: Any, grid: Mapping[str, Sequence[Any]], **fixed: Any
) -> Trained:
    """Train once for every combination in ``grid``; keep the one with the highest objective.

    Parameters
    ----------
    train : callable
        `gradient_forgetting` or `lora_forgetting`; ``args`` and ``fixed`` go to it as they are.
    grid : dict of name to values
        For instance ``GRIDS["lora"]``.

    Returns
    -------
    Trained
        With the time of all runs in ``tuning_seconds``. Among equals the first.

    Raises
    ------
    ValueError
        A grid without a combination.
    """
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if not points:
        raise ValueError(f"grid: got {dict(grid)!r}, want at least one value for each setting")
    runs = [train(*args, **fixed, **point) for point in points]
    best = max(runs, key=lambda run: run.objective)
    return replace(best, tuning_seconds=sum(run.seconds for run in runs), tried=len(runs))


def _steps(steps: Any) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}, want a whole number, at least 1")
    return steps


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())
