"""A prediction shows the answer beside the guess, once there is one."""

from __future__ import annotations

import pytest

import clipnull as cn
from clipnull.lab.base import Guard


def test_a_number_is_shown_beside_the_guess() -> None:
    asked = cn.lab.Prediction("How long?", 0.534, between=(0, 1), step=0.01)
    assert asked.guess.value == 0.5 and asked.verdict.value == ""
    asked.guess.value = 0.3
    asked.commit.click()
    assert asked.verdict.value == "You said <b>0.30</b>; it is <b>0.53</b>."
    assert asked.guess.disabled and not asked.commit.disabled, "a disabled button would lose the focus"


def test_a_choice_must_be_made_first() -> None:
    asked = cn.lab.Prediction("Which?", "b < c", choices=["a", "b < c"])
    asked.commit.click()
    assert asked.verdict.value == "Choose first." and not asked.guess.disabled
    asked.guess.value = "a"
    asked.commit.click()
    assert asked.verdict.value == "You said <b>a</b>; it is <b>b &lt; c</b>."


def test_the_answer_is_folded_beside_the_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list = []
    monkeypatch.setattr("clipnull.lab.lessons.display", lambda *things: shown.extend(things))
    cn.lab.predict("How much, <at most>?", 41.7, "The cone.", between=(0, 100), unit="%")
    widget, folded = shown
    assert isinstance(widget, cn.lab.Prediction)
    html = "<details><summary>Answer: How much, &lt;at most&gt;?</summary>42%. The cone.</details>"
    assert folded.data == html


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "between, choices: got both or neither"),
        ({"between": (0, 1), "choices": ["a"]}, "between, choices: got both or neither"),
        ({"choices": ["a", "b"]}, "answer: got 'c'"),
    ],
)
def test_bad_questions_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cn.lab.Prediction("Which?", "c", **wrong)


def test_keys_typed_in_a_prediction_stay_in_it() -> None:
    asked = cn.lab.Prediction("How long?", 0.5, between=(0, 1))
    assert any(isinstance(child, Guard) for child in asked.children)
