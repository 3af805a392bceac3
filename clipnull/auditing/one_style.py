"""Forget a class in one style of picture and keep it in another; the formulas are ours.

A *cell* is a class drawn in a style. Forgetting by domain is the subject of arXiv 2512.14113.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from clipnull import _check
from clipnull._check import ArrayLike
from clipnull.edit import Edit
from clipnull.erasers import consistent
from clipnull.evaluation import Case

__all__ = ["Selective", "gated", "selective"]


def gated(
    P_f: ArrayLike,
    P_r: ArrayLike,
    T_f: ArrayLike,
    T_r: ArrayLike,
    strength: float = 0.2,
    mu: float = 1000.0,
    dtype: torch.dtype = torch.float32,
) -> Edit:
    """Lower the score of a name on the pictures that look like one prototype and unlike others.

    W = I - strength * l r^T. The *reader* l minimises ||l||^2 + mu ||P_r^T l||^2 with l . p = 1; the
    *writer* r minimises ||r||^2 + mu ||T_r^T r||^2 with r . t = 1: both are the R of
    `clipnull.consistent` with lam infinite. An image z loses strength * (z . l)(r . t') of its score
    with a name t'.

    Parameters
    ----------
    P_f, P_r : array [1, d], array [k, d]
        Prototypes of the cell to forget, and of cells to keep: the class in the other style, at least.
    T_f, T_r : array [1, d], array [j, d]
        The name of the class, and the names to leave alone.
    strength : float >= 0, cosine
        How much a picture like its prototype loses; more than its lead, and it is lost.
    mu : float >= 0
        How strictly reader and writer vanish on ``P_r`` and ``T_r``.
    """
    strength = _check.number("strength", strength, 0.0)
    P, T = _check.rows("P_f", P_f), _check.rows("T_f", T_f)
    P_r = _check.rows("P_r", P_r, P.shape[1], nonzero=True)
    if len(P) != 1 or len(T) != 1:
        raise ValueError(f"P_f, T_f: got {len(P)} and {len(T)} rows, want one prototype and its name")
    reader, writer = (consistent(*rows, math.inf, mu, dtype=dtype).right for rows in ((P, P_r), (T, T_r)))
    # R of a span's unit basis: scaled so that the prototype and the name themselves read 1
    reader, writer = reader / (P.to(reader) @ reader), writer / (T.to(writer) @ writer)
    return Edit(strength * reader, writer, {"method": "gated", "strength": strength, "mu": mu})


@dataclass(frozen=True)
class Selective:
    """Accuracies of cells, as fractions, averaged over the classes that were forgotten one by one.

    ``before`` and ``after`` [2, 2] have the class and the other classes as rows and ``styles`` as
    columns: the style it is forgotten in, and the style it is kept in.
    """

    styles: tuple[str, str]
    before: torch.Tensor
    after: torch.Tensor

    @property
    def gap(self) -> float:
        """Recall of the class in the kept style minus that in the other: 0 if the edit is blind to style."""
        return float(self.after[0, 1] - self.after[0, 0])


@_check.by_name
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

    ``Z`` maps styles to image embeddings [n, d], row i of each showing class ``labels[i]``; the candidates
    ``T [C, d]`` have no style. ``eraser(c, erase, keep)`` gives the edit for class c.
    """
    for name, style in (("erase", erase), ("keep", keep)):
        _check.one_of(name, style, Z)
    indices = _check.class_indices("classes", classes, len(T))
    cases = [Case(Z[style], T, labels, indices[:1]) for style in (erase, keep)]
    _ = [case.scores for case in cases]  # kept from here on
    sums = torch.zeros(2, 2, 2, dtype=torch.float64)
    for c in indices:
        edit = eraser(c, erase, keep)
        for column, case in enumerate(cases):
            r = case.forgetting([c]).evaluate(edit)
            sums[0, :, column] += torch.tensor([r.forget_before, r.retain_before])
            sums[1, :, column] += torch.tensor([r.forget_after, r.retain_after])
    return Selective((erase, keep), *sums / len(indices))
