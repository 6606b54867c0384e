"""Any dataset as conversations: the usual columns, ids, repeated texts, rows without text."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builders.datasets.conversations import Dataset, conversation, read_index, text_id_of, texts
from builders.standalone import influence
from store.errors import InputError
from training.errors import UnusableRowError

ASK, ANSWER = {"role": "user", "content": "add"}, {"role": "assistant", "content": "a + b"}


def dataset(folder: Path, rows: list, **columns: str) -> Dataset:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Dataset("data", str(path), **columns)


def test_the_usual_columns_are_read_alike() -> None:
    same = [
        {"messages": [ASK, ANSWER]},
        {"problem": "add", "solution": "a + b"},
        {"instruction": "add", "input": "", "output": "a + b"},
        {"prompt": "add", "completion": "a + b", "id": 3},
    ]
    assert [conversation(row) for row in same] == [[ASK, ANSWER]] * 4
    with_input = {"instruction": "add", "input": "1, 2", "output": "a + b"}
    assert conversation(with_input) == [{"role": "user", "content": "add\n\n1, 2"}, ANSWER]


@pytest.mark.parametrize(
    "row", ["text", 3, {}, {"problem": "add"}, {"prompt": "a", "completion": None}, {"messages": [{"role": "user"}]}]
)
def test_rows_without_a_conversation_have_none(row: object) -> None:
    assert conversation(row) is None


def test_ids_are_the_rows_own_or_those_of_their_content(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "problem": "p", "solution": "s", "task": "x"},
        {"problem": "p", "solution": "s"},
        {"problem": "q", "solution": "s", "name": "n", "task": 1},
        {"other": 1},
    ]
    index = read_index(dataset(tmp_path, rows, group_column="task"))
    text = text_id_of(conversation(rows[0]) or [])
    assert index.ids[:2] == ["7", text] and index.ids[3] == "row-3"
    assert index.text_ids[:2] == [text, text] and index.text_ids[3] is None
    assert index.texts == [text, index.text_ids[2]], "a text that repeats stands once"
    assert index.groups == ["x", None, "1", None]
    assert read_index(dataset(tmp_path, rows, id_column="name")).ids[2] == "n"
    found = dict(texts(dataset(tmp_path, rows), {text}))
    assert found == {text: [{"role": "user", "content": "p"}, {"role": "assistant", "content": "s"}]}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"none of 1 row has text in messages, conversations, conversation or data; .*columns are text.*text, one text has no answer",
    ):
        read_index(dataset(tmp_path, [{"text": "x"}]))
    with pytest.raises(ValueError, match="no row has a value in the group column 'task'"):
        read_index(dataset(tmp_path, [{"problem": "p", "solution": "s"}], group_column="task"))
    with pytest.raises(ValueError, match="changed while it was read: 1 texts"):
        list(texts(dataset(tmp_path, [{"problem": "p", "solution": "s"}]), {"other"}))


def test_named_columns_are_used_in_the_rows_that_have_them() -> None:
    columns = (("problem", "ask"), ("solution", "data.code"))
    either, only = (Dataset("d", "d.jsonl", columns=columns, may_differ=differ) for differ in (True, False))
    named, usual = {"ask": "Add.", "data": {"code": "3"}, "prompt": "no"}, {"problem": "Add.", "solution": "3"}
    assert either.conversation(named) == either.conversation(usual) == only.conversation(named)
    for wrong in ({"ask": "Add.", "problem": "Add.", "solution": "3"}, {"other": 1}):
        with pytest.raises(UnusableRowError):
            either.conversation(wrong)
    with pytest.raises(UnusableRowError):
        only.conversation(usual)


def test_columns_that_no_dataset_has_are_refused(tmp_path: Path) -> None:
    rows = [{"problem": "Add.", "solution": "3"}]
    named = replace(dataset(tmp_path, rows), columns=(("messages", "talk"),), may_differ=True)
    index = read_index(named)
    assert (index.num_named, len(index.texts)) == (0, 1)
    with pytest.raises(InputError, match="no dataset has a column talk"):
        influence._check_columns(named, [index])
    index.num_named = 1
    influence._check_columns(named, [index])
