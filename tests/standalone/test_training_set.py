"""What `scoder train` trains on: any dataset becomes a folder, and no row is lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.recipe import Mix
from builders.standalone.influence_request import named
from builders.standalone.training_set import prepared
from store.errors import InputError

PAIR = {"instruction": "Add.", "output": "a + b"}


def lines(path: Path, *rows: dict, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding)


def count(said: list[str]) -> str:
    return next(line for line in said if " in " in line)


def test_a_file_beside_a_relative_output_of_two_parts_is_no_address_of_the_hub(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "set.jsonl", PAIR)
    made = prepared("set.jsonl", "runs/coder", {}, lambda text: None)
    assert made.place == "runs/coder.dataset" and (tmp_path / made.place / "README.md").is_file()
    again = prepared(made.place, "runs/coder", {}, lambda text: None)
    assert again.place == made.place, "what is published is taken as it is"


def test_a_folder_is_read_as_by_every_other_command(tmp_path) -> None:
    said: list[str] = []
    lines(tmp_path / "one" / "validation.jsonl", PAIR, PAIR)
    with pytest.raises(InputError, match="has the splits validation: name one of them"):
        prepared(str(tmp_path / "one"), str(tmp_path / "out"), {}, said.append)
    prepared(f"{tmp_path / 'one'}@validation", str(tmp_path / "out"), {}, said.append)
    assert "2 rows" in count(said)
    lines(tmp_path / "two" / "train.jsonl", PAIR)
    (tmp_path / "two" / "b.csv").write_text("instruction,output\na,b\n")
    with pytest.raises(InputError, match="csv"):
        prepared(str(tmp_path / "two"), str(tmp_path / "out"), {}, said.append)
    lines(tmp_path / "three" / "a.jsonl", PAIR)
    lines(tmp_path / "three" / "b.jsonl", PAIR | {"more": "x"})
    with pytest.raises(InputError, match="b"):
        prepared(str(tmp_path / "three"), str(tmp_path / "out"), {}, said.append)


def test_a_text_is_no_conversation(tmp_path) -> None:
    lines(tmp_path / "set.jsonl", {"text": "x"})
    for read in (
        lambda columns: prepared(str(tmp_path / "set.jsonl"), str(tmp_path / "out"), columns, print),
        lambda columns: named(str(tmp_path / "set.jsonl"), None, "id", columns=columns),
        lambda columns: Mix(dataset="set.jsonl", columns=columns),
    ):
        with pytest.raises(ValueError, match="the column body is named as a text, and a text is no conversation: name"):
            read({"text": "body"})
