"""Calls of tools in training rows: the chat template writes them whole, or the row is rejected."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.chat_families import tokenizer
from training.examples import Example, Flaw, as_messages, encode
from training.fingerprints import dataset_fingerprint

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


def weather(arguments: object, name: str = "get_weather", text: str = "") -> list[dict]:
    """A chat in which all that the call says stands elsewhere, too."""
    return [
        {"role": "system", "content": "You may call get_weather(city): f, true, 2, 0.5, null, {}, days, exact."},
        {"role": "user", "content": "What is the weather in Paris? Call get_weather."},
        {
            "role": "assistant",
            "content": text,
            "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
        },
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]


NESTED = {"city": "Paris", "days": [2, 0.5, None], "exact": {"is": True}}
CALLS = [
    weather({"city": "Paris"}),
    weather({}),
    weather({}, name="f"),
    weather({"days": 2}),
    weather({"exact": True}),
    weather({"city": ""}),
    weather("Paris"),
    weather({"city": "Paris"}, text="Let me look."),
    weather(NESTED),
]


@pytest.mark.parametrize("length", [3, 5], ids=["the answer", "in the middle"])
@pytest.mark.parametrize("turns", CALLS)
def test_a_call_that_is_left_out_is_missed_even_if_its_words_stand_elsewhere(turns, length) -> None:
    made = tokenizer("qwen2.5", OPENING + CLOSING)
    found = encode(made, turns[:length], 1000)
    assert found == Flaw("the chat template leaves out a tool call of the assistant", 0, 1)


@pytest.mark.parametrize(
    "written",
    [
        "{{ c.function.name }} ",  # only the name
        "{{ c.function.arguments | tojson }}",
        "{{ c.function.name }}{% for k, v in c.function.arguments | items %} {{ k }}{% endfor %}",
        "{{ c.function.name }}{% for k, v in c.function.arguments | items %} {{ v }}{% endfor %}",
        "{{ c.function.name }}{{ c.function.arguments.city | upper }}",
        "{{ c.function.name }}{{ {'city': c.function.arguments['city'] | default('')} | tojson }}",
    ],
)
def test_a_part_of_a_call_that_is_left_out_is_missed(written) -> None:
    made = tokenizer("qwen2.5", OPENING + written + CLOSING)
    found = encode(made, weather(NESTED), 1000)
    assert found == Flaw("the chat template leaves out a tool call of the assistant", 0, 1)


@pytest.mark.parametrize(
    "written",
    [
        "{{ c.function | tojson }}",
        "{{ c.function.name + c.function.arguments }}",
        "{{ c.function.name }}{{ c.function.arguments }}",
        "{{ c.function.name }}{% for k, v in c.function.arguments | dictsort %} {{ k }}={{ v | tojson }}{% endfor %}",
        "{{ c.function.name }}{% for k, v in c.function.arguments | items %}"
        " {{ k }}={{ v if v is string else v | tojson }}{% endfor %}",
    ],
)
@pytest.mark.parametrize("arguments", [NESTED, {}, {"n": 1}, {"b": True, "a": "<|im_end|>", "ab": ""}])
def test_a_call_that_is_written_whole_is_kept(written, arguments) -> None:
    made = tokenizer("qwen2.5", OPENING + written + CLOSING)
    for length in (3, 5):
        found = encode(made, weather(arguments)[:length], 1000)
        assert isinstance(found, Example), found


def test_a_training_leaves_out_what_arrow_filled_into_the_arguments_of_calls() -> None:
    calls = [[{"function": {"name": "f", "arguments": found}}] for found in ({"a": 1}, {"b": 2})]
    rows = [{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": c}]} for c in calls]
    filled = pa.Table.from_pylist(rows).to_pylist()
    assert filled[0]["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1, "b": None}
    found = [as_messages(row)[1]["tool_calls"][0]["function"]["arguments"] for row in filled]
    assert found == [{"a": 1}, {"b": 2}]
    assert dataset_fingerprint(filled) == dataset_fingerprint(rows)
