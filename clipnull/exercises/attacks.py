"""Checks of lesson 07b."""

from typing import Any

import torch
import torch.nn.functional as F

from clipnull.erasers import consistent
from clipnull.exercises.checking import Call, Inputs, Wrong, check, expect

__all__ = ["check_name_scores", "check_read_direction"]


@check("P⁺(P − Q) = L Rᵀ, and its columns are multiples of L.")
def check_read_direction(case: Inputs, call: Call) -> None:
    """Check ``function(P, Q)`` for layers [w, d] that differ by one edit: the unit vector [d] along L."""
    P, Q, L, R = _two_layers(case)
    U = torch.linalg.svd(P - Q, full_matrices=False).U[:, 0]
    read = torch.linalg.pinv(P) @ U
    mistakes = {
        "that is along R. L is in the columns of P − Q = P L Rᵀ.": R,
        "that is the left singular vector, along P L: undo P.": U,
        "that uses Pᵀ where P⁺, the pseudo-inverse, undoes P.": F.normalize(P.T @ U, dim=0),
        "it is not of unit length.": read,
    }
    _expect_direction("the direction", call(P, Q), L, mistakes)


@check("the forgotten name is first although the edit hid it.")
def check_name_scores(case: Inputs, call: Call) -> None:
    """Check ``function(direction [d], V [C, d])``: |cosine| [C] of each name, less the mean name."""
    V = 1.5 * case.T.double()  # their length must not matter
    direction = _two_layers(case)[2]
    less, unit, own = V - V.mean(0), F.normalize(V, dim=1), V - V.mean(1, keepdim=True)
    cosines = F.normalize(less, dim=1) @ direction
    mistakes = {
        "the sign of a singular vector means nothing: take absolute values.": cosines,
        "the mean name was not taken off.": (unit @ direction).abs(),
        "the names less their mean are not of unit length.": (less @ direction).abs(),
        "each name lost the mean of its own entries: want the mean over names.":
            (F.normalize(own, dim=1) @ direction).abs(),
        "names are scaled to unit length before the mean is taken off, not after.":
            ((unit - unit.mean(0)) @ direction).abs(),
    }  # fmt: skip
    expect("the scores", call(direction, V), cosines.abs(), mistakes)


def _two_layers(case: Inputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A last layer P [w, d], the same with one name forgotten, and that edit's L and R [d], unit."""
    d = case.T.shape[1]
    P = torch.randn(d + 8, d, generator=torch.Generator().manual_seed(3)).double()
    edit = consistent(case.T[:1], case.T[1:], anchor="mean", dtype=torch.float64)
    L, R = (F.normalize(x[:, 0], dim=0) for x in (edit.left, edit.right))
    return P, edit.apply_image(P), L, R


def _expect_direction(what: str, got: torch.Tensor, want: torch.Tensor, mistakes: dict[str, Any]) -> None:
    """`expect` for a unit vector up to its sign."""

    def signed(x: torch.Tensor) -> torch.Tensor:
        return x * torch.sign(x.flatten()[x.abs().argmax()]) if x.numel() else x

    got = got.double()
    if got.ndim == 2 and 1 in got.shape:
        raise Wrong(f"{what} has shape {list(got.shape)}, want {list(want.shape)}: a vector, not a matrix.")
    expect(what, signed(got), signed(want), {hint: signed(x) for hint, x in mistakes.items()})
