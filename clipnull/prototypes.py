"""One class in one style: pictures made from names, and edits that erase (class, style) alone.

A *cell* is a class drawn in a style. `synthesise` makes a picture of a name by gradient ascent on
pixels; `consistent_images` and `gated` forget cells given by prototypes: embeddings of pictures, or
of names that stand for them. Forgetting by domain is the subject of arXiv 2512.14113; the formulas
here are ours. Derived in notebook 09.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.erasers import Edit, consistent
from clipnull.evaluate import Evaluator

__all__ = [
    "Selective",
    "Synthesis",
    "cells",
    "consistent_images",
    "gated",
    "selective",
    "synthesise",
    "two_way",
]

#: default pull of the kept rows to where they are. Cells of one class lie close together, so that
#: a smaller one lets them go together (notebook 09).
MU = 1000.0


# --- cells ---------------------------------------------------------------------------------


def cells(Z: Mapping[str, ArrayLike], labels: ArrayLike, n_classes: int) -> torch.Tensor:
    """Mean embedding of each cell.

    Parameters
    ----------
    Z : dict of style -> array [n, d]
        Image embeddings; row i shows class ``labels[i]`` in every style.
    labels : array of int [n]
        Every class has at least one image.
    n_classes : int

    Returns
    -------
    torch.Tensor [S, C, d], not re-normalised, styles in the order of ``Z``
    """
    X = _styles(Z)
    y = _check.labels("labels", labels, len(next(iter(X.values()))), n_classes)
    counts = torch.bincount(y, minlength=n_classes)
    if bool((counts == 0).any()):
        raise ValueError(
            f"labels: class {int((counts == 0).nonzero()[0])} has no image, want at least one a class"
        )
    one_hot = F.one_hot(y, n_classes).T.to(next(iter(X.values())))
    return torch.stack([one_hot @ z / counts[:, None] for z in X.values()])


def _styles(Z: Mapping[str, ArrayLike]) -> dict[str, torch.Tensor]:
    X = {style: _check.rows(f"Z[{style!r}]", z) for style, z in Z.items()}
    if len({tuple(z.shape) for z in X.values()}) != 1:
        shapes = {style: tuple(z.shape) for style, z in X.items()}
        raise ValueError(f"Z: got {shapes}, want the same [n, d] for each style, at least one")
    return X


def two_way(M: ArrayLike) -> dict[str, torch.Tensor]:
    """Split cells into grand mean, style, class and interaction: M = g + s + c + i.

    Parameters
    ----------
    M : array [S, C, d]

    Returns
    -------
    dict
        ``mean [1, 1, d]``, ``style [S, 1, d]``, ``class [1, C, d]``, ``interaction [S, C, d]``. The
        last three have mean zero over styles and over classes and are orthogonal to each other,
        summed over cells, so that their squared lengths add up.

    References
    ----------
    The two-way analysis of variance, entry by entry.

    Examples
    --------
    >>> import torch
    >>> additive = torch.tensor([[[0., 0.], [1., 0.]], [[0., 2.], [1., 2.]]])
    >>> float(two_way(additive)["interaction"].abs().max())
    0.0
    """
    M = torch.as_tensor(M)
    if M.ndim != 3 or 0 in M.shape:
        raise ValueError(f"M: got shape {tuple(M.shape)}, want [styles, classes, d]")
    mean = M.mean((0, 1), keepdim=True)
    style, cls = M.mean(1, keepdim=True) - mean, M.mean(0, keepdim=True) - mean
    return {"mean": mean, "style": style, "class": cls, "interaction": M - mean - style - cls}


# --- edits ---------------------------------------------------------------------------------


def consistent_images(
    P_f: ArrayLike,
    P_r: ArrayLike,
    lam: float = math.inf,
    mu: float = MU,
    anchor: str | ArrayLike | None = "mean",
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """`clipnull.consistent` for rows that are pictures: send some to an anchor, keep others in place.

    V minimises ||V - I||^2 + lam ||V P_f - A||^2 + mu ||V P_r - P_r||^2 (prototypes in columns).
    An image embedding is to become V f, and an `Edit` maps it to W^T f: so W = V^T, the two
    factors of `consistent` swapped.

    Parameters
    ----------
    P_f, P_r : array [m, d], array [k, d]
        Embeddings of pictures (or what stands for them) to erase and to keep.
    lam, mu, anchor, dtype
        As in `clipnull.consistent`.

    Returns
    -------
    Edit
        ``apply_image(P_f)`` is the anchor and ``apply_image(P_r)`` is ``P_r``, as far as lam and mu
        say.

    Notes
    -----
    If four cells form a parallelogram, p_cA - p_cB = p_xA - p_xB, an edit that keeps three of them
    in place keeps the fourth, since it is linear. Only the interaction can be erased.

    References
    ----------
    Ours.
    """
    V = consistent(P_f, P_r, lam, mu, anchor=anchor, dtype=dtype)
    return Edit(V.right, V.left, {**V.info, "method": "consistent on images"})


def gated(
    P_f: ArrayLike,
    P_r: ArrayLike,
    T_f: ArrayLike,
    T_r: ArrayLike,
    strength: float = 0.2,
    mu: float = MU,
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """Lower the score of a name on the pictures that look like one prototype and unlike others.

    W = I - strength * sum_i l_i r_i^T. The *reader* l_i minimises ||l||^2 + mu ||P_r^T l||^2 with
    l_i . p_i = 1; the *writer* r_i minimises ||r||^2 + mu ||T_r^T r||^2 with r_i . t_j = 1 for j = i
    and 0 for the other names to forget. An image z then loses strength * (z . l_i)(r_i . t) of its
    score with name t: all of it if z is p_i and t is t_i, nothing on ``P_r`` or with ``T_r``, as far
    as mu says.

    Parameters
    ----------
    P_f, P_r : array [m, d], array [k, d]
        Prototypes of the cells to forget, all in one style, and of cells to keep: the same classes
        in the other style, at least.
    T_f, T_r : array [m, d], array [j, d]
        Names of those m classes, and the names to leave alone.
    strength : float >= 0, cosine
        How much a picture like its prototype loses. More than its lead over the second name, and
        it is lost.
    mu : float >= 0
        How strictly readers and writers vanish on ``P_r`` and ``T_r``.

    Returns
    -------
    Edit
        L = strength * readers, R = writers; rank at most m.

    Notes
    -----
    Unlike `consistent_images` this needs no interaction. A reader that sees the style alone will do:
    every picture of that style may lose score with a name that is not its own. On a picture that was
    not among the prototypes a reader can also say less than 0; there the name gains.

    The writer is R of `clipnull.consistent` with lam infinite, and so is the reader of one cell.

    References
    ----------
    Ours.
    """
    strength = _check.number("strength", strength, 0.0)
    mu = _check.number("mu", mu, 0.0)
    P = _check.rows("P_f", P_f, nonzero=True)
    names = consistent(T_f, T_r, math.inf, mu, dtype=torch.float64)
    if P.T.shape != names.left.shape:
        shapes = tuple(P.shape), tuple(names.left.T.shape)
        raise ValueError(f"P_f, T_f: got shapes {shapes[0]} and {shapes[1]}, want a prototype for each name")
    # one reader at a time: it need not vanish on the other cells to forget, where its name may lose too
    readers = torch.cat([consistent(p, P_r, math.inf, mu, dtype=torch.float64).right for p in P], 1)
    info = {"method": "gated", "strength": strength, "mu": mu}
    return Edit((strength * readers).to(dtype), names.right.to(dtype), info)


# --- measuring -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Selective:
    """Accuracies of cells, as fractions, averaged over the classes that were forgotten one by one.

    Attributes
    ----------
    styles : (str, str)
        The style it is forgotten in, and the style it is kept in.
    before, after : torch.Tensor [2, 2]
        Rows: the class, the other classes. Columns: ``styles``.
    """

    styles: tuple[str, str]
    before: torch.Tensor
    after: torch.Tensor

    @property
    def gap(self) -> float:
        """Recall of the class in the kept style minus that in the other: 0 if the edit is blind to style."""
        return float(self.after[0, 1] - self.after[0, 0])

    def __str__(self) -> str:
        (own, kept), others = self.after[0].tolist(), (self.after - self.before)[1].tolist()
        return (
            f"class in {self.styles[0]} {100 * own:.1f}%, in {self.styles[1]} {100 * kept:.1f}%; "
            f"others {100 * others[0]:+.1f} and {100 * others[1]:+.1f} points"
        )


def selective(
    Z: Mapping[str, ArrayLike],
    T: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[int],
    erase: str,
    keep: str,
    eraser: Callable[[int, str, str], Edit],
) -> Selective:
    """Forget each of some classes, alone, in one style, and average what that does to the cells.

    Parameters
    ----------
    Z : dict of style -> array [n, d]
        Image embeddings; row i shows class ``labels[i]`` in every style.
    T : array [C, d]
        Names, without a style: the candidates.
    labels : array of int [n]
    classes : list of int
    erase, keep : str
        Keys of ``Z``.
    eraser : callable
        ``eraser(c, erase, keep)`` -> Edit.

    Returns
    -------
    Selective
        Accuracies as `clipnull.evaluate` counts them.
    """
    for name, style in (("erase", erase), ("keep", keep)):
        _check.one_of(name, style, Z)
    if erase == keep:
        raise ValueError(f"keep: got {keep!r}, the style to erase in, want another one")
    X = _styles({style: Z[style] for style in (erase, keep)})
    scores = [Evaluator(x, T, labels) for x in X.values()]
    sums = torch.zeros(2, 2, 2, dtype=torch.float64)
    indices = _check.class_indices("classes", classes, len(T))
    for c in indices:
        edit = eraser(c, erase, keep)
        for column, evaluator in enumerate(scores):
            r = evaluator.report([c], edit)
            sums[0, :, column] += torch.tensor([r.forget_before, r.retain_before])
            sums[1, :, column] += torch.tensor([r.forget_after, r.retain_after])
    before, after = sums / len(indices)
    return Selective((erase, keep), before, after)


# --- pictures from names -------------------------------------------------------------------


@dataclass(frozen=True)
class Synthesis:
    """Pictures made by `synthesise`.

    Attributes
    ----------
    images : list of PIL.Image [k]
    embeddings : torch.Tensor [k, d]
        Unit rows.
    cosines : torch.Tensor [steps, k]
        Cosine of each step's view with its target.
    """

    images: list[Image.Image]
    embeddings: torch.Tensor
    cosines: torch.Tensor


def synthesise(
    clip: Any,
    targets: ArrayLike,
    steps: int = 30,
    seed: int = 0,
    *,
    start: Any = None,
    pull: ArrayLike | None = None,
    rate: float = 0.1,
    jitter: float = 0.15,
    smooth: float = 3.0,
) -> Synthesis:
    """Pictures whose embeddings point along given ones, by gradient ascent on their pixels.

    Each step looks at the pictures turned, scaled and shifted at random and climbs
    z . t + z . pull - smooth * total variation, z being the view's unit embedding.

    Parameters
    ----------
    clip : Clip
        Its weights are used, not changed.
    targets : array [k, d]
        One picture each: embeddings of names.
    steps : int
    seed : int
        Of the views. The same seed gives the same pictures on the same machine.
    start : image or list of k images, optional
        What to begin with: the mean picture of a style, for instance. Mid-grey by default.
    pull : array [d] or [k, d], optional
        Another direction to climb, such as that of a style; its length is its weight.
    rate : float > 0
        Adam's learning rate, on the logits of the pixels.
    jitter : float in [0, 1]
        Views are shifted by up to this share of the width, scaled by up to exp(±jitter) and turned
        by up to 2 jitter radians. Without it the ascent finds patterns that only one pixel grid shows.
    smooth : float >= 0
        Weight of the mean absolute difference of neighbouring pixels.

    Returns
    -------
    Synthesis

    Raises
    ------
    ValueError
        Targets of another dimension, steps below 1, images of the wrong number or size.

    References
    ----------
    arXiv 2512.14113 uses synthesised visual prototypes; how it makes them we do not know. This
    recipe is ours: activation maximisation with pixels as a sum of coarse and fine grids.
    """
    t = F.normalize(_check.rows("targets", targets, clip.dim, nonzero=True).float(), dim=1)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps: got {steps!r}, want a whole number of at least 1")
    rate, smooth = _check.number("rate", rate, 1e-6), _check.number("smooth", smooth, 0.0)
    jitter = _check.number("jitter", jitter, 0.0, 1.0)
    goal = t if pull is None else t + _check.rows("pull", pull, clip.dim)
    base, generator = torch.logit(_pixels(clip, start, len(t)), eps=0.03), torch.Generator().manual_seed(seed)
    t, goal, base = (x.to(clip.device) for x in (t, goal, base))
    layers = [torch.zeros(len(t), 3, *size).to(base).requires_grad_() for size in _pyramid(base.shape[2:])]
    # Adam divides by |gradient| + eps: a larger eps than usual keeps rounding noise from being amplified
    optimiser, cosines = torch.optim.Adam(layers, lr=rate, eps=1e-4), []
    for _ in range(steps):
        x = _compose(base, layers)
        z = _embed(clip, _view(x, jitter, generator))
        gain = (z * goal).sum() - smooth * _total_variation(x)
        # gradients of the pixels alone: the model's own are neither computed nor stored
        for layer, gradient in zip(layers, torch.autograd.grad(-gain, layers), strict=True):
            layer.grad = gradient
        optimiser.step()
        cosines.append((z * t).sum(1).detach().cpu())
    with torch.no_grad():
        x = _compose(base, layers)
        arrays = (255 * x).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return Synthesis([Image.fromarray(a) for a in arrays], _embed(clip, x).cpu(), torch.stack(cosines))


def _size(clip: Any) -> tuple[int, int]:
    size = clip.image_size
    return (size, size) if isinstance(size, int) else size


def _pixels(clip: Any, start: Any, k: int) -> torch.Tensor:
    """What the ascent begins with, in [0, 1]: [k, 3, H, W]."""
    height, width = _size(clip)
    if start is None:
        return torch.full((k, 3, height, width), 0.5)
    images = list(start) if isinstance(start, Sequence) else [start] * k
    x = np.stack([np.asarray(image, np.float32) for image in images]) if images else np.zeros(0)
    if x.shape != (k, height, width, 3):
        raise ValueError(
            f"start: got shape {x.shape}, want {k} RGB images of {width} x {height} pixels, or one"
        )
    return torch.from_numpy(x).permute(0, 3, 1, 2) / 255


def _pyramid(size: Sequence[int]) -> list[tuple[int, int]]:
    """The grid's size and its halves, four in all: coarse ones move large areas at once."""
    height, width = size
    return [(max(1, height >> i), max(1, width >> i)) for i in range(4)]


def _compose(base: torch.Tensor, layers: Sequence[torch.Tensor]) -> torch.Tensor:
    size = base.shape[2:]
    grown = (F.interpolate(layer, size=size, mode="bilinear", align_corners=False) for layer in layers)
    return torch.sigmoid(base + sum(grown))


def _view(x: torch.Tensor, jitter: float, generator: torch.Generator) -> torch.Tensor:
    angle, zoom, right, down = jitter * (2 * torch.rand(4, len(x), generator=generator) - 1)
    zoom, angle = zoom.exp(), 2 * angle
    rows = [(zoom * angle.cos(), -zoom * angle.sin(), right), (zoom * angle.sin(), zoom * angle.cos(), down)]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1).to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _total_variation(x: torch.Tensor) -> torch.Tensor:
    across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return (across.abs().mean((1, 2, 3)) + down.abs().mean((1, 2, 3))).sum()


def _embed(clip: Any, x: torch.Tensor) -> torch.Tensor:
    from open_clip import get_input_dtype

    config = clip.model.visual.preprocess_cfg
    mean, std = (torch.tensor(config[k]).view(1, 3, 1, 1).to(x) for k in ("mean", "std"))
    pixels = ((x - mean) / std).to(get_input_dtype(clip.precision) or torch.float32)
    return F.normalize(clip.model.encode_image(pixels, normalize=False).float(), dim=1)
