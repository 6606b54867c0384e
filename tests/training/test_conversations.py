"""What rows say: layouts, columns that a user names, turns in any form, and calls of tools."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from builders.datasets.mixes import stored
from training.conversations import mapping, require, turns
from training.errors import TrainingError, UnusableRowError
from training.said import said
from training.tool_calls import without_filled

ASK, ANSWER = {"role": "user", "content": "Add."}, {"role": "assistant", "content": "a + b"}
PAIR = [("user", "Add."), ("assistant", "a + b")]
CALL = {"type": "function", "function": {"name": "run", "arguments": {"code": "a + b\n"}}}
ALIKE = {
    "messages": {"messages": [ASK, ANSWER]},
    "as JSON text": {"messages": json.dumps([ASK, ANSWER])},
    "as Python writes it": {"messages": str([ASK, ANSWER])},
    "as lists by key": {"messages": {"role": ["user", "assistant"], "content": ["Add.", "a + b"]}},
    "a row that is its turns": [ASK, ANSWER],
    "parts": {"messages": [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in (ASK, ANSWER)]},
    "parts with thoughts": {
        "messages": [ASK, {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, "a + b"]}]
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "a + b"}]},
    "sharegpt, other names": {
        "conversations": [{"from": "user", "value": "Add."}, {"from": "model", "value": "a + b"}]
    },
    "open assistant": {"conversation": [{"role": "prompter", "text": "Add."}, {"role": "assistant", "text": "a + b"}]},
    "other letters": {"messages": [{**ASK, "role": "User"}, {**ANSWER, "role": "Assistant"}]},
    "parts as JSON text": {"messages": [ASK, {**ANSWER, "content": json.dumps([{"type": "text", "text": "a + b"}])}]},
    "input and output": {"input": "Add.", "output": "a + b"},
    "alpaca": {"instruction": "Add.", "input": "", "output": "a + b"},
    "instruction and response": {"instruction": "Add.", "response": "a + b"},
    "question and solution": {"question": "Add.", "solution": "a + b", "test": "x"},
    "problem and solution": {"problem": "Add.", "solution": "a + b"},
    "texts": {"prompt": "Add.", "completion": "a + b"},
    "turns of a prompt": {"prompt": [ASK], "completion": [ANSWER]},
    "first one empty": {"messages": None, "problem": " ", "question": "Add.", "answer": "a + b"},
    "NaN beside it": {"messages": math.nan, "problem": "Add.", "solution": math.nan, "output": "a + b"},
}


@pytest.mark.parametrize("row", ALIKE.values(), ids=ALIKE)
def test_all_layouts_give_the_same_turns(row) -> None:
    assert turns(row) == [ASK, ANSWER]


def test_other_columns_are_named() -> None:
    row = {"ask": "Add.", "data": {"code": "a + b"}, "chat": [ASK, ANSWER], "rules": "Be brief.", "output": "no"}
    assert turns(row, mapping(["problem=ask,solution=data.code"])) == [ASK, ANSWER]
    assert turns(row, mapping(["messages=chat", "system=rules"])) == [
        {"role": "system", "content": "Be brief."},
        ASK,
        ANSWER,
    ]
    with pytest.raises(UnusableRowError, match="no_conversation"):
        turns(row, mapping(["problem=ask,solution=gone"]))
    require(row, mapping(["problem=ask,solution=data.code"]), "mine")
    with pytest.raises(TrainingError, match=r"mine has no column gone\. It has ask, data, chat, rules, output"):
        require(row, mapping(["problem=ask,solution=gone"]), "mine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("problem", "'problem' names no column: write FIELD=COLUMN"),
        ("ask=problem", "where FIELD is messages, or system"),
        ("problem=a,solution=b,problem=c", "problem is given two columns, a and c"),
        ("problem=a", "the columns problem make no text"),
    ],
)
def test_a_wrong_mapping_says_the_way_on(given, message) -> None:
    with pytest.raises(TrainingError, match=message):
        mapping([given])


def test_systems_stand_before_the_other_turns() -> None:
    lead = {"role": "system", "content": "Be brief."}
    assert turns({"system": "Be brief.", "conversations": ALIKE["sharegpt"]["conversations"]}) == [lead, ASK, ANSWER]
    assert turns({"system": "other", "messages": [lead, ASK, ANSWER]}) == [lead, ASK, ANSWER]


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "run", "arguments": '{"code": "a + b\\n"}'}}]},
        {"role": "assistant", "content": None, "tool_calls": json.dumps([CALL])},
        {"role": "assistant", "content": None, "function_call": {"name": "run", "arguments": '{"code": "a + b\\n"}'}},
        {"from": "function_call", "value": '{"name": "run", "arguments": {"code": "a + b\\n"}}'},
        {
            "role": "assistant",
            "tool_calls": [{"function": {"name": "run", "arguments": {"code": "a + b\n"}}}],
        },
    ],
)
def test_calls_of_tools_have_one_form(turn) -> None:
    found = turns({"messages": [ASK, turn, {"role": "tool", "content": "3", "tool_call_id": "1"}, ANSWER]})
    assert found[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert found[2] == {"role": "tool", "content": "3", "tool_call_id": "1"}
    assert "a + b\n" in said([ASK, turn])


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (
            [ASK, {"role": "assistant", "content": None}, ASK, ANSWER],
            "empty_turn: a turn of the assistant holds nothing",
        ),
        ([ASK, {"role": "assistant", "content": ""}, ASK, ANSWER], "empty_turn: a turn of the assistant"),
        ([{"role": "user", "content": " \n"}, ANSWER], "empty_turn: a turn of the user"),
        (
            [ASK, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}, ASK, ANSWER],
            "empty_turn: a turn of the assistant",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}, ANSWER], "a part of type image_url"),
        ([ASK, {"role": "assistant", "content": "half \ud83d"}], "half of a character"),
        ([ASK, {"from": "function_call", "value": "run it"}], "the call of a tool is no JSON"),
        ([ASK, {"role": "assistant", "tool_calls": [{"function": {}}]}], "needs the name of a function"),
        ([ASK, {"content": "a"}], "a turn needs a role"),
        ([ASK, {"role": "assistant"}], "a turn needs role and content"),
        ([ASK, "a + b"], "a turn has role and content"),
        ("[" * 200_000, "turns are a list"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(messages, reason) -> None:
    with pytest.raises(UnusableRowError, match=reason):
        turns({"messages": messages})


@pytest.mark.parametrize("row", ["text", 3, {}, {"problem": "p"}, {"messages": []}, {"text": "x"}])
def test_rows_without_a_conversation_have_none(row) -> None:
    with pytest.raises(UnusableRowError):
        turns(row)


@pytest.mark.parametrize("system", ["Be kind.", [{"role": "system", "content": "Be kind."}], {"content": "Be kind."}])
def test_a_system_in_any_form_and_a_history_stand_before_the_question(system) -> None:
    row = {"system": system, "history": [["Hi.", "Hello."]], "instruction": "Add.", "output": "a + b"}
    texts = [(turn["role"], turn["content"]) for turn in turns(row)]
    assert texts == [("system", "Be kind."), ("user", "Hi."), ("assistant", "Hello."), *PAIR]
    with pytest.raises(UnusableRowError, match="list of pairs"):
        turns({"history": ["Hi."], "instruction": "Add.", "output": "a + b"})


def test_a_null_in_arguments_that_are_json_text_is_kept_however_often_they_are_read() -> None:
    arguments = {"code": "x", "timeout": None}
    forms = [
        {"role": "assistant", "tool_calls": [{"function": {"name": "run", "arguments": json.dumps(arguments)}}]},
        {"role": "assistant", "tool_calls": json.dumps([{"function": {"name": "run", "arguments": arguments}}])},
        {"from": "function_call", "value": json.dumps({"name": "run", "arguments": arguments})},
    ]
    for form in forms:
        found = turns({"messages": [ASK, form, ANSWER]})
        for again in (found, turns({"messages": stored(found)})):
            assert again[1]["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize("question", ["instruction", "prompt", "question"])
@pytest.mark.parametrize(("given", "expected"), [("1, 2", "1, 2"), (12, "12"), (0.5, "0.5"), (0, "0")])
def test_an_input_follows_its_question(question, given, expected) -> None:
    asked = turns({question: "Add.", "input": given, "output": "3"})[0]
    assert asked == {"role": "user", "content": f"Add.\n\n{expected}"}


def test_an_input_that_nobody_named_belongs_to_the_problem_unless_another_field_has_it() -> None:
    row = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    named = {"problem": "instruction", "solution": "output"}
    assert turns(row, named) == turns(row) and turns(row)[0]["content"] == "Add.\n\n1, 2"
    assert turns(row | {"more": "x"}, named | {"input": "more"})[0]["content"] == "Add.\n\nx"
    assert [turn["content"] for turn in turns(row, named | {"solution": "input"})] == ["Add.", "1, 2"]
    assert turns(row | {"input": {"n": 1}}, named)[0]["content"] == "Add.", "tests, and no text"


@pytest.mark.parametrize("name", ["context", "starter_code"])
def test_what_belongs_to_a_question_is_part_of_it(name) -> None:
    row = {"instruction": "Add.", name: "1, 2", "response": "3"}
    for columns in (None, {"problem": "instruction", "solution": "response"}):
        assert turns(row, columns)[0]["content"] == "Add.\n\n1, 2"
    with pytest.raises(UnusableRowError, match=f"the {name} beside a question is text"):
        turns(row | {name: {"title": ["x"]}})
    named = {"problem": "instruction", "solution": "response", "input": name}
    assert turns(row, named)[0]["content"] == "Add.\n\n1, 2", "not twice"


def test_starter_code_that_stands_in_the_question_is_not_repeated() -> None:
    row = {"question": "Write:\ndef f(x):\n    pass", "starter_code": "def f(x):\n  pass", "answer": "x"}
    assert turns(row)[0]["content"] == row["question"]


def test_two_questions_that_differ_are_refused_and_named() -> None:
    row = {"prompt": "import math", "query": "Add.", "completion": "a + b"}
    with pytest.raises(UnusableRowError, match=r"prompt and query differ\. Name the columns with --columns problem="):
        turns(row)
    assert turns(row, {"problem": "query", "solution": "completion"}) == [ASK, ANSWER]
    code = {"response": "a  + b", "completion": "x"}
    assert turns(row | code) == [ASK, {"role": "assistant", "content": "a  + b"}], "LeetCodeDataset"
    for question in ("Subtract.", [{"role": "user", "content": "Subtract."}]):
        with pytest.raises(UnusableRowError, match="query and question differ"):
            turns(row | code | {"question": question})


@pytest.mark.parametrize(
    "other", ["Add.", " Add.\n", "", "Below is a task.\n# Task:\nAdd.\n# Input:\n1\n# Answer:\na + b"]
)
def test_a_second_question_that_says_the_same_does_no_harm(other) -> None:
    row = {"instruction": "Add.", "input": "1", "output": "a + b", "prompt": other}
    assert turns(row)[0]["content"] == "Add.\n\n1"


@pytest.mark.parametrize("mark", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}])
def test_an_answer_that_is_marked_as_not_to_train_on_is_no_answer(mark) -> None:
    with pytest.raises(UnusableRowError, match="weight_0"):
        turns({"messages": [ASK, ANSWER | mark]})
    talk = [ASK, ANSWER | mark, ASK, ANSWER | {"weight": 1, "train": None}]
    assert turns({"messages": talk}) == [ASK, ANSWER, ASK, ANSWER], "only the last turn is learnt"


def test_a_question_has_a_letter_or_a_digit() -> None:
    for row in ({"input": "-", "output": "x"}, {"messages": [{**ASK, "content": "…"}, ANSWER]}):
        with pytest.raises(UnusableRowError, match="no_words"):
            turns(row)
        with pytest.raises(UnusableRowError, match="no_words"):
            turns({"ask": "-", "say": "x"}, {"problem": "ask", "solution": "say"})
    assert turns({"input": "加", "output": "+"}) and turns({"instruction": "-", "input": "1", "output": "+"})


def test_a_null_in_arguments_stays_and_what_arrow_filled_goes() -> None:
    calls = [
        {"function": {"name": "f", "arguments": found}} for found in ({"a": {"b": None}, "c": None}, {"d": [None]})
    ]
    row = {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": calls}]}

    def arguments(given: dict) -> list:
        return [call["function"]["arguments"] for call in turns(given)[1]["tool_calls"]]

    assert arguments(row) == [{"a": {"b": None}, "c": None}, {"d": [None]}]
    filled = pa.Table.from_pylist([row]).to_pylist()[0]
    assert arguments(filled)[1] == {"a": None, "c": None, "d": [None]}
    assert arguments(without_filled(filled)) == [{"a": {}}, {"d": [None]}]


def test_json_text_whose_key_stands_twice_is_no_talk_and_both_values_are_searched() -> None:
    text = '[{"role": "user", "content": "first\\n", "content": "second"}, {"role": "assistant", "content": "x"}]'
    with pytest.raises(UnusableRowError, match="turns are a list, but a row has"):
        turns({"messages": text})
    assert "first\n" in said(text) and "second" in said(text)
    call = '<tool_call>\n{"arguments": {"code": "one\\ntwo", "code": "three\\nfour"}}</tool_call>'
    assert "one\ntwo" in said(call) and "three\nfour" in said(call)


@pytest.mark.parametrize("given", [None, "", " \n", [], float("nan")])
def test_an_input_without_anything_adds_nothing(given) -> None:
    assert turns({"instruction": "Add.", "input": given, "output": "3"})[0]["content"] == "Add."


@pytest.mark.parametrize("given", [[1, 2], {"a": 1}, ["a"]])
def test_an_input_that_is_no_text_is_not_lost(given) -> None:
    for columns in (None, {"problem": "instruction", "input": "input", "solution": "output"}):
        with pytest.raises(UnusableRowError, match="the input beside a question is text, but a row has"):
            turns({"instruction": "Add.", "input": given, "output": "3"}, columns)


def test_turns_as_json_text_may_be_a_question_and_its_answer() -> None:
    assert turns({"prompt": json.dumps([ASK]), "completion": json.dumps([ANSWER])}) == [ASK, ANSWER]
    assert turns({"prompt": json.dumps([ASK]), "completion": ANSWER["content"]}) == [ASK, ANSWER]


def test_a_tool_may_say_nothing() -> None:
    for content in ("", None):
        silent = {"role": "tool", "content": content}
        found = turns({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}, silent, ANSWER]})
        assert found[2] == {"role": "tool", "content": ""}


def test_an_answer_that_is_itself_a_list_of_turns_stays_as_it_is() -> None:
    answer = json.dumps([{"role": "user", "content": "hi"}])
    assert turns({"problem": "Write messages.", "solution": answer})[1]["content"] == answer


def test_all_that_is_said_is_read() -> None:
    talk = [
        {"role": "system", "content": "in the system"},
        {"role": "assistant", "reasoning_content": "in thoughts", "content": [{"type": "text", "text": "in parts"}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "unsaid", "function": {"name": "f", "arguments": '{"a": ["in\\ncalls"]}'}}],
        },
    ]
    for given in (talk, json.dumps(talk)):
        text = said(given)
        assert [part in text for part in ("in the system", "in thoughts", "in parts", "in\ncalls")] == [True] * 4
        assert "unsaid" not in text and "assistant" not in text
    assert said(["a", "b"]) == "a\n\nb" and said("[1]") == "[1]" and said(5) == said(None) == said([5]) == ""


CODE = "def f(x):\n    'Add one.'\n    return x + 1"
TALK = [ASK, {"role": "assistant", "content": CODE}]


@pytest.mark.parametrize(
    "packed",
    [
        str(np.array(TALK, object)),  # as pandas writes a list of turns into CSV
        str([{**turn, "weight": math.nan} for turn in TALK]),
        "\n".join(map(json.dumps, TALK)),
        str([CODE]),
        str({"python": CODE}),
        json.dumps(CODE)[1:-1],
    ],
    ids=["numpy", "nan", "lines", "a list", "an object", "escaped twice"],
)
def test_code_in_a_text_that_nobody_can_unpack_is_found(packed) -> None:
    assert CODE in said(packed, holds_turns=True)


def test_a_long_text_is_not_parsed_twice() -> None:
    """Python's parser takes 500 times the memory of the text, and JSON was enough."""
    text = "[" + ",".join(["1"] * 200_000) + "]"
    tracemalloc.start()
    try:
        assert said(text) == text
        assert tracemalloc.get_traced_memory()[1] < 20 * len(text)
        assert said(text[:-1]) == text[:-1]
        assert tracemalloc.get_traced_memory()[1] < 20 * len(text)
    finally:
        tracemalloc.stop()
