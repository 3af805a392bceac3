"""What every measurement starts from: a case, an edit, and controls like the edit."""

from __future__ import annotations

from dataclasses import replace

import torch

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.report import NotMeasured
from clipnull.edit import Edit
from clipnull.erasers import METHODS, random_subspace
from clipnull.evaluation import Case

__all__ = ["rebuild", "turned"]


@_check.by_name
def rebuild(edit: Edit, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit, with the hyperparameters in its ``info``, for other names [m, d] and [k, d].

    `NotMeasured` for an edit that does not say how it was made, or was anchored at given embeddings.
    """
    method = METHODS.get(edit.info.get("method", ""))
    if method is None or not method.defaults.keys() <= edit.info.keys():
        raise NotMeasured(f"edit: cannot be made again from its info {edit.info}")
    own = {k: edit.info[k] for k in (*method.defaults, *method.grid) if k in edit.info}
    if "mu_rule" in edit.info:
        own["mu"] = edit.info["mu_rule"]
    return method.make(T_f, T_r, edit.info.get("seed", 0), **own)


def control(edit: Edit, seed: int) -> Edit:
    """A random subspace of the edit's rank and, if it is a projection too, strength."""
    method = METHODS.get(edit.info.get("method", ""))
    # other edits mean something else by their strength
    strength = edit.info.get("strength", 1.0) if method and "strength" in method.defaults else 1.0
    return random_subspace(edit.dim, max(1, edit.rank), seed, strength)


@_check.by_name
def turned(case: Case, edit: Edit, seed: int = 0) -> Edit:
    """The edit in a randomly rotated space, I - s Q L (Q R)^T: a control that moves images as far.

    s is such that the mean displacement |z' - z| of the case's images is that of the edit; Q is uniform.
    """
    gaussian = torch.randn(edit.dim, edit.dim, generator=torch.Generator().manual_seed(seed))
    Q = torch.linalg.qr(gaussian.double()).Q.to(edit.left)
    other = replace(edit, left=Q @ edit.left, right=Q @ edit.right, info={"method": "turned", "seed": seed})
    moved = displacement(case, other)
    return replace(other, left=other.left * (displacement(case, edit) / moved if moved else 1.0))


def displacement(case: Case, edit: Edit) -> float:
    """Mean |z' - z| of the images, z' not normalised."""
    return float((edit.apply_image(case.images) - case.images).norm(dim=1).double().mean())


def both_kinds(case: Case) -> Case:
    """The case; NotMeasured without an image of a forgotten, or of a retained, class."""
    try:
        return case.require(retained=True)
    except ValueError as error:
        raise NotMeasured(str(error)) from error


def fewest(case: Case) -> int:
    """Images of the forgotten class that has the fewest; NotMeasured where that is less than two."""
    if (least := int(torch.bincount(case.labels, minlength=len(case.T))[case.forget].min())) < 2:
        raise NotMeasured("labels: a forgotten class has fewer than 2 images: one to learn from, one to test")
    return least
