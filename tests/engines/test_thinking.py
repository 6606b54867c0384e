"""Thinking: what is reasoning, what is the answer, and that no text makes it raise."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.engines.thinking import Split, first_of_answer, opened_by, split

PIECES = ["<think>", "</think>", "[THINK]", "◁/think▷", "<|channel|>final<|message|>", "<|channel|>analysis", "\n"]
PIECES += ["<|im_end|>", "```", "```python\nx = 1\n```\n", "analysis", "assistantfinal", "'", "# ", "a"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("4", Split(None, "4")),
        ("<think>\nTwo.\n</think>\n\n4", Split("Two.", "\n\n4")),
        ("<think>\n\n</think>\n\n4", Split(None, "\n\n4")),
        ("Two.\n</think>4", Split("Two.", "4")),
        ("<think>\nTwo", Split("Two", "", True, "\nTwo")),
        ("4\n<think>Or 5", Split("Or 5", "4\n", True, "Or 5")),
        ("[THINK]Two[/THINK]4", Split("Two", "4")),
        ("I <think> so", Split(None, "I <think> so")),
        ("4<|im_end|>more", Split(None, "4")),
        ("analysisTwoassistantfinal4", Split("analysisTwo", "4")),
        ("```python\nx = '</think>'\n```", Split(None, "```python\nx = '</think>'\n```")),
    ],
)
def test_the_parts_of_a_text(text, expected):
    assert split(text) == expected


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12).map("".join))
def test_no_text_makes_it_raise_and_no_answer_holds_what_is_not_in_the_text(text):
    found = split(text)
    assert found.answer in text and found.unclosed in text
    assert found.is_open or not found.unclosed


@pytest.mark.parametrize("piece", PIECES)
def test_hostile_texts_take_no_time(piece):
    start = time.process_time()
    split(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "tokens, place",
    [
        (["<think>", "5?", "</think>\n", "\n", "7", " of"], 4),
        (["5?", "</think>\n\n7"], 1),
        (["7"], 0),
        ([" ", "7"], 1),
        (["<think>", "5?"], None),
        ([], None),
    ],
)
def test_the_first_token_of_the_answer(tokens, place):
    assert first_of_answer(tokens) == place


def test_the_tag_at_the_end_of_a_prompt():
    assert opened_by("<|assistant|><think>\n") == "<think>\n"
    assert opened_by("<think>\n\n</think>\n\n") == opened_by("What is <think>?") == ""
