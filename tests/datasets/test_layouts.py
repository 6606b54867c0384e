"""Every layout of rows × contamination, influence, trainings and mixes: all four see the same text.

Trainings read a dataset in two ways: a file by way of a folder, and a folder of the Hub as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from builders.datasets import mixes
from builders.datasets.conversations import Dataset, read_index, texts
from builders.datasets.texts import batches, text_columns
from builders.recipe import Mix
from store.errors import InputError
from training.conversations import turns
from training.errors import UnusableRowError
from training.examples import as_messages

ASK, ANSWER = {"role": "user", "content": "Add."}, {"role": "assistant", "content": "a + b"}
MORE = [{"role": "user", "content": "Print \u00e9."}, {"role": "assistant", "content": 'print("\u00e9")\n'}]
LEAD = {"role": "system", "content": "Be brief."}
TALKS = {"one": [ASK, ANSWER], "several": [ASK, ANSWER, *MORE], "system": [LEAD, ASK, ANSWER, *MORE]}
EMPTY = [ASK, {"role": "assistant", "content": ""}, *MORE]

Talk = list[dict[str, Any]]


def said(talk: Talk) -> list[str]:
    return [turn["content"] for turn in talk]


def parted(talk: Talk) -> tuple[dict[str, str], Talk]:
    """A column for the system's turn, and the other turns."""
    return ({"system": said(talk)[0]}, talk[1:]) if talk[0]["role"] == "system" else ({}, talk)


def sharegpt(talk: Talk) -> Talk:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in talk]


def pairs(talk: Talk, asked: str = "input", answered: str = "output") -> list[dict[str, str]]:
    lead, talk = parted(talk)
    found = [{asked: a, answered: b} for a, b in zip(said(talk)[::2], said(talk)[1::2], strict=True)]
    return [lead | found[0], *found[1:]]


def beside(name: str, form: Callable[[Talk], Any]) -> Callable[[Talk], dict[str, Any]]:
    """Turns without the system's, which has a column."""
    return lambda talk: parted(talk)[0] | {name: form(parted(talk)[1])}


def last(question: str, answer: str, form: Callable[[Talk], Any]) -> Callable[[Talk], dict[str, Any]]:
    """The turns before the last one as the question, and it as the answer."""
    return lambda talk: {question: form(talk[:-1]), answer: said(talk)[-1]}


def history(talk: Talk) -> dict[str, Any]:
    lead, talk = parted(talk)
    before = [list(pair) for pair in zip(said(talk)[:-2:2], said(talk)[1:-2:2], strict=True)]
    return lead | {"history": before, "instruction": said(talk)[-2], "output": said(talk)[-1]}


LAYOUTS: dict[str, Callable[[Talk], Any]] = {
    "messages": lambda talk: {"messages": talk},
    "messages as JSON text": lambda talk: {"messages": json.dumps(talk)},
    "sharegpt": lambda talk: {"conversations": sharegpt(talk)},
    "conversation": lambda talk: {"conversation": talk},
    "capybara": lambda talk: {"conversation": pairs(talk), "source": "x"},
    "capybara as JSON text": lambda talk: {"conversation": json.dumps(pairs(talk))},
    "capybara, a list for each key": beside(
        "conversation", lambda talk: {"input": said(talk)[::2], "output": said(talk)[1::2]}
    ),
    "moss": lambda talk: {"conversation": pairs(talk, "human", "assistant")},
    "texts as messages": beside("messages", said),
    "ultrachat": beside("data", said),
    "ultrachat as JSON text": beside("data", lambda talk: json.dumps(said(talk))),
    "ultrachat's column of messages": lambda talk: {"data": talk, "id": 1},
    "ultrachat's column of pairs": lambda talk: {"data": pairs(talk)},
    "nemotron": last("input", "output", list),
    "nemotron as JSON text": last("input", "output", json.dumps),
    "turns as a prompt": last("prompt", "completion", list),
    "alpaca with a history": history,
}
OTHER_ORDER = ("capybara, a list for each key", "alpaca with a history")
"""A search reads column by column, and key by key."""
WITH_JSON = ("capybara as JSON text", "ultrachat as JSON text")
"""Lists that do not say who speaks are searched as they are packed, too."""


def searched(row: Any) -> str:
    """What contamination sees of a row."""
    (batch,) = batches([row], text_columns([row]), 1)
    return batch.texts[0].as_py() or ""


def through_arrow(row: Any) -> Any:
    """A row as `datasets` gives it to a training."""
    return pa.Table.from_pylist([row]).to_pylist()[0]


@pytest.fixture(scope="module")
def read(tmp_path_factory) -> Callable[[Any], dict[str, Any]]:
    """What the uses that need conversations see of one row, or the reason why they see nothing."""
    path = tmp_path_factory.mktemp("layouts") / "rows.jsonl"

    def read_one(row: Any) -> dict[str, Any]:
        # two lines, for a single object may be one of rows
        path.write_text(2 * (json.dumps(row) + "\n"), encoding="utf-8")
        found: dict[str, Any] = {}
        dataset = Dataset("rows", str(path))
        uses: dict[str, Callable[[], Any]] = {
            "influence": lambda: dict(texts(dataset, set(read_index(dataset).texts))).popitem()[1],
            "train": lambda: as_messages(through_arrow(row)),
            "mixes": lambda: next(mixes.conversations(Mix(dataset=str(path))))["messages"],
        }
        for use, see in uses.items():
            try:
                found[use] = see()
            except (UnusableRowError, InputError) as error:
                found[use] = str(error)
        return found

    return read_one


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_four_uses_see_the_same_text(layout, talk, read) -> None:
    row = LAYOUTS[layout](talk)
    assert read(row) == dict.fromkeys(("influence", "train", "mixes"), talk)
    if layout in OTHER_ORDER:
        assert sorted(searched(row).split("\n\n")) == sorted(said(talk))
    elif layout in WITH_JSON:
        assert searched(row).endswith("\n\n".join(said(talk)[-2:]))
        assert all(part in searched(row) for part in said(talk))
    else:
        assert searched(row) == "\n\n".join(said(talk))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_an_empty_turn_is_refused_with_its_reason_and_the_others_are_searched(layout, read) -> None:
    row = layout(EMPTY)
    for use, reason in read(row).items():
        assert "empty_turn: a turn of the assistant holds nothing" in reason, use
    assert all(part in searched(row) for part in said(EMPTY))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"data": ["Add.", "a + b", "Print."]}, "odd_turns: the number of texts without roles is 3"),
        ({"messages": ["Add."]}, "odd_turns: the number of texts without roles is 1"),
        ({"input": [ASK, ANSWER], "output": "a + b"}, "two_turns: the question ends with a turn of the assistant"),
        ({"prompt": [ASK], "completion": [ASK, ANSWER]}, "two_turns: the question ends with a turn of the user"),
        (
            {"conversation": [{"input": "Add.", "output": "a + b", "question": "Print."}]},
            "a pair of input and output also has question",
        ),
        ({"conversation": [{"input": "Add.", "output": "a + b", "weight": 0}]}, "weight_0"),
        ({"data": ["Add.", "a + b"], "text": "Print."}, "two texts: data and text differ"),
        ({"text": "Add."}, "no_conversation: text, one text has no answer"),
        ({"prompt": "Add.", "chosen": "a + b", "rejected": "a"}, "no_conversation: chosen, nobody says"),
        ({"question": "Add.", "solutions": ["a + b"]}, "no_conversation: solutions, nobody says which"),
    ],
)
def test_what_would_be_a_guess_is_refused_by_all_trainings_and_is_searched(row, reason, read) -> None:
    for use, found in read(row).items():
        assert reason in found, use
    assert "Add." in searched(row)


def test_a_column_data_that_holds_no_turns_is_not_read() -> None:
    pair = {"problem": "Add.", "solution": "a + b"}
    for other in ("2026-01-01", {"question": "x"}, [1, 2], [{"input": "1"}], ["a", "b"]):
        assert turns(pair | {"data": other}) == [ASK, ANSWER]
    assert searched({"text": "Add.", "data": {"question": "x"}}) == "Add."
    assert "Add." in searched({"text": "Add.", "data": ["x", "y"]}), "a text beside turns is searched, too"
