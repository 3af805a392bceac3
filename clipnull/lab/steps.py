"""Gram-Schmidt, step by step."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from clipnull import _check, subspace
from clipnull.lab.base import FigureWidget, player
from clipnull.plots.mathematics import gram_schmidt_step

__all__ = ["StepPlayer"]


@dataclass(frozen=True)
class _Moment:
    """What `StepPlayer` shows at one position of its slider."""

    words: str
    entered: int
    Q: torch.Tensor
    residual: torch.Tensor | None
    before: torch.Tensor | None


class StepPlayer(FigureWidget):
    """Gram-Schmidt, one subtraction at a time (notebook 02).

    Parameters
    ----------
    T : array [m, d]
        Embeddings, in the order in which they enter; the drawing shows the first three directions.
    names : m str

    Attributes
    ----------
    play : widgets.Play
    step : widgets.IntSlider
        One position per row that enters, component that is subtracted, residual that is scaled.
    azimuth : widgets.IntSlider
        Where the drawing is seen from.
    moments : list
        What each position shows.
    """

    def __init__(self, T: Any, names: Sequence[str]) -> None:
        self.T = _check.rows("T", T, nonzero=True).double()
        self.T = torch.nn.functional.normalize(self.T, dim=1)
        self.names = [str(n) for n in names]
        self.moments = _moments(self.T, self.names)
        Q = self.moments[-1].Q
        # a single direction still needs a plane to be drawn in
        U = torch.linalg.qr(torch.cat([Q, torch.eye(len(Q), 2, dtype=Q.dtype)], 1)).Q
        self.frame = Q[:, :3] if Q.shape[1] >= 2 else torch.cat([Q, U[:, 1:2]], 1)
        self.play, self.step = player(len(self.moments) - 1)
        self.azimuth = widgets.IntSlider(35, -180, 180, 5, description="turn °")
        super().__init__([[self.play, self.step, self.azimuth]])

    @property
    def moment(self) -> _Moment:
        """The one at the slider."""
        return self.moments[self.step.value]

    def figure(self) -> Figure:
        """The vectors so far."""
        m = self.moment
        return gram_schmidt_step(
            self.T[: m.entered], self.names[: m.entered], m.Q, self.frame, residual=m.residual,
            before=m.before, azimuth=self.azimuth.value, title=m.words,
        )  # fmt: skip

    def text(self) -> str:
        """The step in words, the length of the residual, and how far QᵀQ is from I."""
        m = self.moment
        off = subspace.orthogonality_error(m.Q)
        words = f"<b>{self.step.value} of {len(self.moments) - 1}.</b> {html.escape(m.words)}."
        if m.residual is not None:
            words += f" Length of the residual: {m.residual.norm():.3f}."
        size = "below 10⁻¹²" if off < 1e-12 else f"{off:.1e}"
        return f"{words} Basis vectors: {m.Q.shape[1]}; |QᵀQ − I| is {size}."


def _moments(T: torch.Tensor, names: Sequence[str]) -> list[_Moment]:
    """`gram_schmidt_steps`, told one subtraction at a time."""
    moments, Q = [], T.new_zeros(T.shape[1], 0)
    for s in subspace.gram_schmidt_steps(T):
        name, running, n = names[s.index], T[s.index], s.index + 1
        moments.append(_Moment(f"{name} enters, length 1", n, Q, running, None))
        for k, c in enumerate(s.coefficients):
            left = running - c * Q[:, k]
            words = f"Subtract the part of {name} along q{k + 1}: {c:.3f} q{k + 1}"
            moments.append(_Moment(words, n, Q, left, running))
            running = left
        if s.kept:
            words = f"Divide the residual by its length, {s.norm:.3f}: this is q{s.Q.shape[1]}"
        else:
            words = f"Nothing of {name} is left: it adds no direction and is dropped"
        moments.append(_Moment(words, n, s.Q, None, None))
        Q = s.Q
    return moments
