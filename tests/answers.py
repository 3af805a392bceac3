"""What the checks of every lesson are held to, whichever exercise it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from clipnull.exercises.checking import Verdict

Check = Callable[[Callable[..., Any]], Verdict]
Answer = Callable[..., Any]


def answer_tests(
    right: Mapping[Check, Answer], wrong: Iterable[tuple[Check, Answer, str | tuple[str, ...]]]
) -> tuple[Callable[..., None], ...]:
    """Four tests: of right answers, untouched stubs, a missing return, and wrong answers.

    Parameters
    ----------
    right : mapping of check to right answer
    wrong : iterable of (check, wrong answer, words)
        The message holds the words, or one of several alternatives.
    """

    def name(value: Any) -> str | None:
        return getattr(value, "__name__", None)

    @pytest.mark.parametrize("check", right, ids=name)
    def right_answer(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
        verdict = check(right[check])
        assert verdict.passed and "Solved" in verdict.message, verdict.message
        assert capsys.readouterr().out == verdict.message + "\n"

    @pytest.mark.parametrize("check", right, ids=name)
    def stub(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
        def untouched(*args: Any) -> None:
            """What to write."""
            ...

        verdict = check(untouched)
        assert verdict.passed is None and not verdict
        assert capsys.readouterr().out == "not attempted yet\n"

    @pytest.mark.parametrize("check", right, ids=name)
    def no_return(check: Check) -> None:
        def forgot(*args: Any) -> None:
            result = right[check](*args)  # noqa: F841

        verdict = check(forgot)
        assert verdict.passed is False and "return statement missing" in verdict.message, verdict.message

    @pytest.mark.parametrize(("check", "answer", "words"), list(wrong))
    def wrong_answer(check: Check, answer: Answer, words: str | tuple[str, ...]) -> None:
        verdict = check(answer)
        assert verdict.passed is False and verdict.message.startswith("✗ Not yet, on "), verdict.message
        known = (words,) if isinstance(words, str) else words
        said = re.sub("in the line `.*`", "in the line `…`", verdict.message)  # which may hold the words too
        assert any(w in said for w in known), verdict.message

    return right_answer, stub, no_return, wrong_answer
