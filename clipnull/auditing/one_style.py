"""Forget a class in one style of picture and keep it in another (notebook 09).

A *cell* is a class drawn in a style. Forgetting by domain is the subject of arXiv 2512.14113; the
formulas here are ours.
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

    W = I - strength * sum_i l_i r_i^T. The *reader* l_i minimises ||l||^2 + mu ||P_r^T l||^2 with
    l_i . p_i = 1; the *writer* r_i minimises ||r||^2 + mu ||T_r^T r||^2 with r_i . t_j = 1 for j = i
    and 0 for the other names to forget. An image z then loses strength * (z . l_i)(r_i . t) of its
    score with name t: all of it if z is p_i and t is t_i, nothing on ``P_r`` or with ``T_r``, as far
    as mu says.

    Parameters
    ----------
    P_f, P_r : array [m, d], array [k, d]
        Prototypes (embeddings of pictures, or of names that stand for them) of the cells to forget,
        all in one style, and of cells to keep: the same classes in the other style, at least.
    T_f, T_r : array [m, d], array [j, d]
        Names of those m classes, and the names to leave alone.
    strength : float >= 0, cosine
        How much a picture like its prototype loses. More than its lead over the second name, and
        it is lost.
    mu : float >= 0
        How strictly readers and writers vanish on ``P_r`` and ``T_r``. Cells of one class lie close
        together, so that much less than the default lets them go together.

    Returns
    -------
    Edit
        L = strength * readers, R = writers; rank at most m.

    Notes
    -----
    On a picture that was not among the prototypes a reader can say less than 0; there the name gains.
    The writer is R of `clipnull.consistent` with lam infinite, and so is the reader of one cell.
    """
    strength = _check.number("strength", strength, 0.0)
    P, T = _check.rows("P_f", P_f, nonzero=True), _check.rows("T_f", T_f, nonzero=True)
    if P.shape != T.shape:
        shapes = tuple(P.shape), tuple(T.shape)
        raise ValueError(f"P_f, T_f: got shapes {shapes[0]} and {shapes[1]}, want a prototype for each name")
    # one reader at a time: it need not vanish on the other cells to forget, where its name may lose too
    readers = [consistent(p[None], P_r, math.inf, mu, dtype=torch.float64).right for p in P]
    writers = consistent(T, T_r, math.inf, mu, dtype=dtype).right
    info = {"method": "gated", "strength": strength, "mu": mu}
    return Edit((strength * torch.cat(readers, 1)).to(dtype), writers, info)


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
        Accuracies as `clipnull.evaluation` counts them.
    """
    for name, style in (("erase", erase), ("keep", keep)):
        _check.one_of(name, style, Z)
    if erase == keep:
        raise ValueError(f"keep: got {keep!r}, the style to erase in, want another one")
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
    before, after = sums / len(indices)
    return Selective((erase, keep), before, after)
