"""What every measurement starts from: a case, an edit, and a control like the edit."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.report import NotMeasured
from clipnull.edit import Edit
from clipnull.erasers import METHODS, Method, random_subspace
from clipnull.evaluation import Case

__all__ = ["edited", "rebuild"]

#: a fitted edit of image embeddings
Eraser = Edit | Callable[[torch.Tensor], torch.Tensor]
#: names to forget, names to retain -> edit
Builder = Callable[[torch.Tensor, torch.Tensor], Edit]


def edited(Z: ArrayLike, edit: Eraser, normalize: bool = True) -> torch.Tensor:
    """Image embeddings after an edit.

    Parameters
    ----------
    Z : array [n, d]
    edit : Edit or callable
        An edit is applied on the image side, Z W.
    normalize : bool
        Scale rows to unit length, as CLIP does after its last layer.

    Returns
    -------
    torch.Tensor [n, d]

    Raises
    ------
    ValueError
        An edit of another dimension; a callable that returns another shape, or NaN.
    """
    Z = _check.rows("Z", Z)
    if isinstance(edit, Edit) and edit.dim != Z.shape[1]:
        raise ValueError(f"edit: acts on {edit.dim} dimensions, want {Z.shape[1]} like Z")
    with torch.no_grad():
        out = edit.apply_image(Z) if isinstance(edit, Edit) else _check.rows("edit(Z)", edit(Z), Z.shape[1])
    if len(out) != len(Z):
        raise ValueError(f"edit: returned {len(out)} rows for {len(Z)}, want as many")
    return F.normalize(out, dim=1) if normalize else out


def rebuild(edit: Eraser, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit, with the hyperparameters in its ``info``, for other names.

    Parameters
    ----------
    edit : Edit
        From a method of `clipnull.METHODS`, whatever its hyperparameters.
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.

    Raises
    ------
    NotMeasured
        A ValueError: an edit that does not say how it was made, or was anchored at given embeddings.

    Examples
    --------
    >>> import torch
    >>> from clipnull import nullspace
    >>> T = torch.eye(4)
    >>> rebuild(nullspace(T[0], strength=0.5), T[1:2], T[2:])
    Edit(dim=4, rank=1, method=partial, strength=0.5)
    """
    info, method = edit.info if isinstance(edit, Edit) else {}, _method(edit)
    if method is None or info.get("anchor") == "given" or not method.defaults.keys() <= info.keys():
        raise NotMeasured(f"edit: cannot be made again from its info {info}; pass builder=(T_f, T_r) -> Edit")
    return method.make(T_f, T_r, info.get("seed", 0), **{k: info[k] for k in method.defaults})


def _method(edit: Eraser) -> Method | None:
    return METHODS.get(edit.info.get("method", "")) if isinstance(edit, Edit) else None


def control(case: Case, edit: Eraser, seed: int) -> Edit:
    """A random subspace of the edit's rank and, if it is a projection too, strength."""
    rank = edit.rank if isinstance(edit, Edit) else len(case.forget)
    method = _method(edit)
    # other edits mean something else by their strength
    projects = isinstance(edit, Edit) and method is not None and "strength" in method.defaults
    strength = edit.info.get("strength", 1.0) if isinstance(edit, Edit) and projects else 1.0
    d = case.T.shape[1]
    return random_subspace(d, min(max(1, rank), d), seed, strength)


def images(case: Case) -> torch.Tensor:
    """Z [n, d] as a tensor, also where the case reads it from a file."""
    return torch.as_tensor(case.Z).to(case.T)


def predict(case: Case, edit: Eraser) -> torch.Tensor:
    """Zero-shot predictions [n] after an edit."""
    return case.predict(edited(images(case), edit))


def at_random(case: Case, edit: Eraser, seeds: int, seed: int) -> list[torch.Tensor]:
    """Predictions [n] after each of several random subspaces in the edit's place."""
    return [predict(case, control(case, edit, seed + i)) for i in range(seeds)]


def both_kinds(case: Case) -> Case:
    """The case; NotMeasured without an image of a forgotten, or of a retained, class."""
    try:
        return case.require(retained=True)
    except ValueError as error:
        raise NotMeasured(str(error)) from error


def fewest(case: Case) -> int:
    """Images of the forgotten class that has the fewest."""
    return int(torch.bincount(case.labels, minlength=len(case.T))[case.forget].min())


def subset(case: Case, rows: torch.Tensor) -> Case:
    """The case of some of its images."""
    return Case(images(case)[rows], case.T, case.labels[rows], case.forget, case.classes)
