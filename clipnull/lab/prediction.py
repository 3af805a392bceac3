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
    """A guess, and once it is committed the answer beside it.

    The answer is a number, guessed ``between`` two ends by a slider of this step, shown with as many digits
    and its unit; or one of ``choices``.
    """

    @_check.by_name
    def __init__(
        self, question: str, answer: float | str, between: tuple[float, float] | None = None,
        choices: Sequence[str] | None = None, step: float = 1.0, unit: str = "",
    ) -> None:  # fmt: skip
        if (between is None) == (choices is None):
            raise ValueError("between, choices: got both or neither, want one of them")
        if choices is not None and answer not in choices:
            raise ValueError(f"answer: got {answer!r}, want one of choices, {list(choices)}")
        _check.number("step", step, 1e-9)
        self.answer, self.unit = answer, unit
        self.digits = max(0, len(f"{step:g}".partition(".")[2]))
        self.guess: Any
        if between is None:
            wide = widgets.Layout(width="max-content")
            self.guess = widgets.RadioButtons(options=list(choices or []), layout=wide)
            self.guess.index = None
        else:
            _check.number("answer", answer, -inf)
            low, high = _check.interval("between", between)
            look: dict[str, Any] = {"layout": widgets.Layout(width="420px", max_width="100%")}
            look |= {"step": step, "readout_format": f".{self.digits}f"}
            self.guess = widgets.FloatSlider((low + high) / 2, min=low, max=high, **look)
        apart = widgets.Layout(margin="2px 2px 2px 1em")  # from the longest choice
        self.commit = widgets.Button(description="That is my guess", layout=apart)
        self.commit.on_click(self._show)
        self.verdict = widgets.HTML()
        asked = widgets.HTML(f"<b>{html.escape(question)}</b>")
        super().__init__([asked, row(self.guess, self.commit), self.verdict])

    def say(self, value: Any) -> str:
        """A guess or the answer, as it is shown."""
        return value if isinstance(value, str) else f"{value:.{self.digits}f}{self.unit}"

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

    ``because``: one or two sentences that follow the answer. The other arguments are those of `Prediction`.
    """
    asked = Prediction(question, answer, **control)
    folded = html.escape(f"{asked.say(answer)}. {because}".strip())
    display(asked, HTML(f"<details><summary>Answer: {html.escape(question)}</summary>{folded}</details>"))
