"""What every measurement starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.auditing.report import Eraser, _share
from clipnull.erasers import METHODS, Edit, random_subspace
from clipnull.evaluation import BLOCK, _argmax, _inputs

__all__ = ["edited", "rebuild"]


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
        A callable that returns another shape, or NaN.
    """
    Z = _check.rows("Z", Z)
    with torch.no_grad():
        out = edit.apply_image(Z) if isinstance(edit, Edit) else _check.rows("edit(Z)", edit(Z), Z.shape[1])
    if len(out) != len(Z):
        raise ValueError(f"edit: returned {len(out)} rows for {len(Z)}, want as many")
    return F.normalize(out, dim=1) if normalize else out


def rebuild(edit: Eraser, T_f: ArrayLike, T_r: ArrayLike) -> Edit:
    """The same kind of edit, with the parameters in its ``info``, for other names.

    Parameters
    ----------
    edit : Edit
        From `clipnull.nullspace`, `clipnull.consistent` or `clipnull.random_subspace`.
    T_f, T_r : array [m, d], array [k, d]
        Text embeddings to forget and to retain.

    Raises
    ------
    ValueError
        An edit that does not say how it was made, or was anchored at given embeddings.

    Examples
    --------
    >>> import torch
    >>> T = torch.eye(4)
    >>> rebuild(nullspace(T[0], strength=0.5), T[1:2], T[2:])
    Edit(dim=4, rank=1, method=partial, strength=0.5)
    """
    info = edit.info if isinstance(edit, Edit) else {}
    if info.get("method") in METHODS and info.get("anchor") != "given":
        parameters = {k: info[k] for k in ("strength", "lam", "mu", "seed") if k in info}
        return METHODS[info["method"]].make(T_f, T_r, **parameters)
    raise ValueError(f"edit: cannot be made again from its info {info}; pass builder=(T_f, T_r) -> Edit")


@dataclass(frozen=True)
class _Case:
    """Checked inputs."""

    Z: torch.Tensor
    T: torch.Tensor
    y: torch.Tensor
    forget: list[int]
    classes: list[str]

    @property
    def retain(self) -> list[int]:
        gone = set(self.forget)
        return [c for c in range(len(self.T)) if c not in gone]

    @property
    def gone(self) -> torch.Tensor:
        """Which images [n] are of a forgotten class."""
        return torch.isin(self.y, torch.tensor(self.forget, device=self.y.device))

    def recall(self, predicted: torch.Tensor) -> float:
        """Share of the forgotten classes' images that are recognised."""
        return _share((predicted == self.y)[self.gone])

    def accuracy(self, predicted: torch.Tensor) -> float:
        """Share of the other images that are recognised."""
        return _share((predicted == self.y)[~self.gone])


def _case(
    Z: ArrayLike, T: ArrayLike, labels: ArrayLike, forget: Any, classes: Sequence[str] | None = None
) -> _Case:
    Z, T, y, index, names = _inputs(Z, T, labels, forget, classes)
    if not bool(torch.isin(y, torch.tensor(index, device=y.device)).any()):
        raise ValueError("labels: no image is of a forgotten class, want at least one")
    return _Case(Z, T, y, index, names)


def _want_retained(case: _Case) -> None:
    if bool(case.gone.all()):
        raise ValueError("labels: no image of a retained class, want at least one")


def _zero_shot(X: torch.Tensor, T: torch.Tensor) -> torch.Tensor:
    return torch.cat([_argmax(x @ T.T) for x in X.split(BLOCK)])


def _control(case: _Case, edit: Eraser, seed: int) -> Edit:
    """A random subspace of the edit's rank and, if it is a projection too, strength."""
    rank = edit.rank if isinstance(edit, Edit) else len(case.forget)
    info = edit.info if isinstance(edit, Edit) else {}
    # other edits mean something else by their strength
    projects = info.get("method") in ("nullspace", "partial", "random")
    strength = info.get("strength", 1.0) if projects else 1.0
    d = case.T.shape[1]
    return random_subspace(d, min(max(1, rank), d), seed, strength)
