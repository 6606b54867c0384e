"""Reading an answer: thinking is kept apart, and drafts in it are never taken for the pair."""

import pytest

from builders.engines import Completion
from builders.harness import blocks
from builders.pairs import as_json, render
from builders.pairs.reading import answer

PAIR = render("Twice x.", "def double(x):\n    return 2 * x")
DRAFT = render("DRAFT.", "def draft(x):\n    return x")


def said(text: str, finish_reason: str = "stop", reasoning: str | None = None, error: str | None = None) -> Completion:
    return Completion("1", text, finish_reason, 1, 1, None, error, reasoning)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\n{DRAFT}\nToo easy.\n</think>\n\n{PAIR}",
        f"<thinking>{DRAFT}</thinking>{PAIR}",
        f"{DRAFT}\nToo easy.\n</think>\n{PAIR}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{PAIR}<|return|>",
    ],
    ids=["tags", "thinking", "closing tag alone", "channels"],
)
def test_the_pair_stands_after_the_thinking(text):
    found = answer(said(text))
    assert (found.pair.status, found.pair.problem) == ("ok", "Twice x.")
    assert found.text.strip() == PAIR and "DRAFT." in (found.reasoning or "") and "<think" not in found.reasoning


def test_reasoning_of_the_endpoint_is_kept_beside_tags():
    found = answer(said(f"<think>More.</think>{PAIR}", reasoning="First."))
    assert (found.reasoning, found.pair.status) == ("First.\nMore.", "ok")
    assert answer(said(f"<think>\n\n</think>\n\n{PAIR}")).reasoning is None


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_unclosed_thinking_is_unfinished_whatever_it_drafts(finish_reason):
    found = answer(said(f"<think>\n{DRAFT}", finish_reason))
    assert (found.pair.status, found.text, found.reasoning) == ("unfinished", "", DRAFT)


def test_a_block_at_the_end_of_unclosed_thinking_counts_in_an_evaluation_and_is_never_trained_on():
    text = f"<think>\n{DRAFT}"
    assert blocks.answer(text).strip() == DRAFT and answer(said(text)).pair.status == "unfinished"
    assert blocks.answer(f"{text}\nBut") == "", "the model went on thinking"


@pytest.mark.parametrize("text", ["", " \n", "<think>", "<think>Hm."])
def test_an_answer_that_was_cut_before_its_text_says_what_to_raise(text):
    pair = answer(said(text, "length")).pair
    assert pair.status == "unfinished"
    assert pair.reason.endswith(": raise max_tokens, or max_thinking_tokens of the engine")


def test_reasoning_alone_is_no_answer():
    assert answer(said("", reasoning=PAIR)).pair.status == "no_answer"
    assert answer(said("", "length", PAIR)).pair.status == "unfinished"
    assert answer(said("", "error", PAIR, "content null")).pair.reason == "content null"


def test_a_pair_about_tags_loses_nothing():
    text = render("Remove all up to </think> from a text.", "def f(t):\n    return t.split('</think>')[-1]")
    found = answer(said(text))
    assert (found.text, found.reasoning, found.pair.problem) == (text, None, "Remove all up to </think> from a text.")


def test_the_json_form_is_read_after_the_thinking():
    text = '<think>{"problem": "no"}</think>{"problem": "Add.", "solution": "x = 1"}'
    assert answer(said(text), as_json.parse).pair.problem == "Add."
