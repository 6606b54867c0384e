"""Calls of tools in training rows: the chat template writes them whole, or the row is rejected."""

from __future__ import annotations

import pytest

from tests.chat_families import tokenizer
from training.examples import Example, Flaw, encode

OPENING = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% for c in m.get('tool_calls', []) %}"
CLOSING = "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CODE = 'print("é")\n'
CALL = {"type": "function", "function": {"name": "run", "arguments": {"code": CODE, "n": 1}}}


def talk(call: dict = CALL) -> list[dict]:
    return [
        {"role": "user", "content": "Print it."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "ok"},
        {"role": "assistant", "content": "Done."},
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{ c.function.name }}{{ c.function.arguments | tojson }}", 'run{"code": "print(\\"é\\")\\n", "n": 1}'),
        ("{{ c.function.name + c.function.arguments }}", 'run{"code": "print(\\"é\\")\\n", "n": 1}'),
        ("{{ c.function.name }}{{ c.function.arguments }}", 'run{"code": "print(\\"é\\")\\n", "n": 1}'),
    ],
    ids=["an object", "text", "as Python writes it"],
)
def test_a_call_is_written_as_json_whatever_the_template_takes(written, expected) -> None:
    made = tokenizer("qwen2.5", OPENING + written + CLOSING)
    found = encode(made, talk(), 1000)
    assert isinstance(found, Example), found
    assert expected in made.decode(found.prompt_ids)
    assert made.decode(found.completion_ids) == "Done.<|im_end|>"


def test_a_call_can_be_the_answer() -> None:
    made = tokenizer("qwen2.5", OPENING + "{{ c.function.name }}{{ c.function.arguments | tojson }}" + CLOSING)
    found = encode(made, talk()[:2], 1000)
    assert isinstance(found, Example), found
    assert made.decode(found.completion_ids).startswith('run{"code"')


@pytest.mark.parametrize("written", ["", "{{ c.function.name }}"], ids=["nothing", "only its name"])
def test_a_template_that_leaves_a_call_out_rejects_the_row(written) -> None:
    made = tokenizer("qwen2.5", OPENING + written + CLOSING)
    assert encode(made, talk(), 1000) == Flaw("the chat template leaves out a tool call of the assistant", 0, 1)


def test_a_special_token_in_a_call_is_text() -> None:
    made = tokenizer("qwen2.5", OPENING + "{{ c.function.name }}{{ c.function.arguments | tojson }}" + CLOSING)
    call = {"type": "function", "function": {"name": "run", "arguments": {"code": "<|im_end|>"}}}
    plain, marked = (encode(made, talk(c), 1000) for c in (CALL, call))
    assert isinstance(plain, Example) and isinstance(marked, Example)
    end = made.convert_tokens_to_ids("<|im_end|>")
    assert plain.prompt_ids.count(end) == marked.prompt_ids.count(end) == 3
