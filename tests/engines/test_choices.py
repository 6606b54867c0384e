"""Which choice an answer names: a number off the scale is refused, not read as its first digit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from builders.engines.choices import (
    DIGITS,
    LABEL_TOKENS,
    NoChoiceError,
    choice_body,
    choice_mass,
    named_in,
    needs_room,
    probabilities,
)


@pytest.mark.parametrize(
    ("text", "digit"),
    [
        ("8", "8"),
        (" 8\n", "8"),
        ("8.", "8"),
        ("**8**", "8"),
        ("Score: 8", "8"),
        ("Clarity: **8**", "8"),
        ("The score is 8.", "8"),
        ("8/9", "8"),
        ("8 out of 9", "8"),
        ("8 because 2 names are missing", "8"),
        ("On a scale from 0 to 9, I give it a 7", "7"),
        ("0-9: 6", "6"),
        ("I give it a 7.", "7"),
        ("There are 2 faults in 3 lines. Score: 5", "5"),
        ("1. The task is clear.\nScore: 5", "5"),
        ("1\n", "1"),
        ("\\boxed{4}", "4"),
        ("On a scale of 0 to 9, this is a 7.", "7"),
        ("Score (0-9): 7", "7"),
        ("Consistency 1/6: 7", "7"),
        ("I rate it **7**, as it is clear.", "7"),
    ],
)
def test_the_digit_of_an_answer(text: str, digit: str) -> None:
    named = named_in(text, DIGITS)
    assert named is not None and named.choice == digit and text[named.start] == digit


@pytest.mark.parametrize(
    "text",
    [
        "10",
        "Score: 10",
        "8/10",
        "8 / 10",
        "Score: 8 (out of 10)",
        "8 out of 10",
        "8 on a scale of 10",
        "7.5",
        "7,5",
        "-1",
        "80%",
        "8%",
        "7-8",
        "7 or 8",
        "100",
        "１０",
        "Clarity: 7, difficulty: 3",
        "in 3 lines, and 4 slips",
        "1. The task is clear.\n2. It is hard.",
        "1. The task is clear.",
        "10th",
        ".8",
        "return 2 * x",
        "def f(x):\n    return x + 2",
        "```python\nreturn 3\n```",
        "print(5)",
        "The code has 2 bugs",
    ],
)
def test_what_is_no_single_digit_of_the_scale_is_refused(text: str) -> None:
    with pytest.raises(NoChoiceError, match="none of the choices 0 to 9"):
        named_in(text, DIGITS)


@pytest.mark.parametrize("text", ["", "I would rather not.", "The 8th is GPT4"])
def test_a_text_without_a_number_names_nothing(text: str) -> None:
    assert named_in(text, DIGITS) is None


def test_a_number_at_which_an_answer_was_cut_may_go_on() -> None:
    for text in ("Score: 1", "Score: 7.", "8/"):
        with pytest.raises(NoChoiceError, match="may have gone on"):
            named_in(text, DIGITS, may_go_on=True)
    for text in ("8", "8 because", "Score: 8, as"):
        assert named_in(text, DIGITS, may_go_on=True) is not None


def answer(*tokens: tuple[str, dict[str, float]], finish: str = "stop", **message: Any) -> dict[str, Any]:
    """An answer of these tokens, each with the probabilities of what could have stood there."""
    told = [
        {"token": token, "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top.items()]}
        for token, top in tokens
    ]
    said = {"content": "".join(token for token, _ in tokens), **message}
    return {"choices": [{"message": said, "finish_reason": finish, "logprobs": {"content": told}}]}


def test_the_probabilities_are_those_of_the_token_with_the_digit() -> None:
    said = answer(("Score", {"Score": 0.9, "3": 0.1}), (":", {":": 1.0}), (" 8", {" 8": 0.6, "7": 0.2, "x": 0.2}))
    row = probabilities(said, DIGITS)
    assert row[8] == pytest.approx(0.75) and row[7] == pytest.approx(0.25) and row[3] == 0
    assert choice_mass(said, DIGITS) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "tokens",
    [(("1", {"1": 1.0}), ("0", {"0": 1.0})), (("10", {"10": 0.9, "9": 0.1}),), (("8", {"8": 1.0}), ("/10", {}))],
)
def test_logprobs_make_no_digit_of_a_number_off_the_scale(tokens) -> None:
    said = answer(*tokens, finish="length")
    with pytest.raises(NoChoiceError, match="none of the choices 0 to 9"):
        probabilities(said, DIGITS)
    assert len(tokens) <= LABEL_TOKENS


def test_an_answer_without_a_number_has_the_probabilities_of_its_first_token() -> None:
    said = answer(("The", {"The": 0.9, "6": 0.1}), (" task", {}), finish="length")
    assert probabilities(said, DIGITS)[6] == 1.0 and choice_mass(said, DIGITS) == pytest.approx(0.1)


def test_the_tokens_of_thinking_hold_no_choice() -> None:
    said = answer(("Two", {"2": 1.0}), (" 2", {"2": 1.0}), finish="length", content=None, reasoning_content="Two 2")
    question = choice_body(({"role": "user", "content": "How good?"},), "m", {})
    assert needs_room(question, question, said) and choice_mass(said, DIGITS) is None
    assert not needs_room(question, question | {"max_tokens": 1024}, said)
    with pytest.raises(NoChoiceError, match="raise the engine's max_thinking_tokens"):
        probabilities(said, DIGITS)


def test_choices_that_are_words() -> None:
    said = {"choices": [{"message": {"content": "It is b, not a."}, "finish_reason": "stop"}]}
    assert probabilities(said, ("a", "b")) == (0.0, 1.0) and choice_mass(said, ("a", "b")) is None
