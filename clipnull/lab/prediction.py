"""A question that the reader answers before the notebook does."""

from __future__ import annotations

import html
from collections.abc import Sequence
from math import inf
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML, display

from clipnull import _check
from clipnull.lab.base import Live, in_turn, row

__all__ = ["Prediction", "predict"]


class Prediction(Live):
    """A guess, and beside it, once it is made, the answer.

    Parameters
    ----------
    question : str
    answer : float or str
        A number, or one of ``choices``.
    between : (low, high), optional
        Range of the slider for a number.
    choices : sequence of str, optional
        What a choice is made from.
    step : float
        Of the slider; the answer is shown with as many digits.
    unit : str
        Written behind a number: ``"%"``, ``"°"``.

    Attributes
    ----------
    guess : widgets.FloatSlider or widgets.RadioButtons
    commit : widgets.Button
        Shows the answer, once.
    verdict : widgets.HTML
    """

    @_check.by_name
    def __init__(
        self,
        question: str,
        answer: float | str,
        between: tuple[float, float] | None = None,
        choices: Sequence[str] | None = None,
        step: float = 1.0,
        unit: str = "",
    ) -> None:
        if (between is None) == (choices is None):
            raise ValueError("between, choices: got both or neither, want one of them")
        if choices is not None and answer not in choices:
            raise ValueError(f"answer: got {answer!r}, want one of choices, {list(choices)}")
        _check.number("step", step, 1e-9)
        if between is not None:
            _check.number("answer", answer, -inf)
            _check.interval("between", between)
        self.answer, self.step, self.unit = answer, step, unit
        wide = widgets.Layout(width="max-content")
        if between is None:
            self.guess: Any = widgets.RadioButtons(options=list(choices or []), layout=wide)
            self.guess.index = None
        else:
            low, high = between
            layout = widgets.Layout(width="420px", max_width="100%")
            self.guess = widgets.FloatSlider(
                (low + high) / 2,
                min=low,
                max=high,
                step=step,
                readout_format=f".{self._digits}f",
                layout=layout,
            )
        self.commit = widgets.Button(description="That is my guess")
        self.commit.on_click(self._show)
        self.verdict = widgets.HTML()
        super().__init__(
            [widgets.HTML(f"<b>{html.escape(question)}</b>"), row(self.guess, self.commit), self.verdict]
        )

    @property
    def _digits(self) -> int:
        return max(0, len(f"{self.step:g}".partition(".")[2]))

    def say(self, value: Any) -> str:
        """A guess or the answer, as it is shown."""
        return value if isinstance(value, str) else f"{value:.{self._digits}f}{self.unit}"

    @in_turn
    def _show(self, button: Any = None) -> None:
        if self.guess.value is None:
            self.verdict.value = "Choose first."
            return
        said, true = html.escape(self.say(self.guess.value)), html.escape(self.say(self.answer))
        self.guess.disabled = self.commit.disabled = True
        self.verdict.value = f"You said <b>{said}</b>; it is <b>{true}</b>."


@_check.by_name
def predict(question: str, answer: float | str, because: str = "", **control: Any) -> None:
    """Ask for a prediction; the answer stays folded until it is wanted, with or without a kernel.

    Parameters
    ----------
    question, answer
        As for `Prediction`.
    because : str
        One or two sentences that follow the answer.
    **control
        ``between`` or ``choices``, ``step``, ``unit``, as for `Prediction`.
    """
    asked = Prediction(question, answer, **control)
    folded = html.escape(f"{asked.say(answer)}. {because}".strip())
    display(asked, HTML(f"<details><summary>Answer: {html.escape(question)}</summary>{folded}</details>"))
