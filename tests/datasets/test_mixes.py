"""Public instruction sets for the coder: layouts, limits, licences, and one in a training set."""

from __future__ import annotations

import json
import math
from pathlib import Path

import datasets
import pytest

from builders.datasets import mixes
from builders.publishing import sets
from builders.recipe import Mix, files
from store import Store
from tests.smoke_run import RECIPE, rows
from training.conversations import turns


def write(path: Path, *lines: dict) -> str:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_unknown_columns_are_listed_and_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", {"left": "1", "right": "2"})
    with pytest.raises(ValueError, match=r"row 1: no_conversation; its columns are left, right.*problem: "):
        list(mixes.conversations(Mix(dataset=path)))
    (found,) = mixes.conversations(Mix(dataset=path, columns={"problem": "left", "solution": "right"}))
    assert [turn["content"] for turn in found["messages"]] == ["1", "2"]
    with pytest.raises(ValueError, match="make no text: name messages, or problem and solution"):
        Mix(dataset=path, columns={"problem": "left"})


def test_rows_are_limited_and_carry_a_licence(tmp_path: Path) -> None:
    pair = {"instruction": "i", "output": "o"}
    path = write(
        tmp_path / "set.jsonl", {**pair, "license": "mit"}, {**pair, "license": None}, {**pair, "license": "x"}
    )
    found = list(mixes.conversations(Mix(dataset=path, max_rows=2, license="apache-2.0")))
    assert [row["license"] for row in found] == ["mit", "apache-2.0"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["mit"], "mit"),
        (["MIT", "Apache-2.0"], "MIT AND Apache-2.0"),
        (["MIT OR ISC", "GPL-2.0"], "(MIT OR ISC) AND GPL-2.0"),
        ('["MIT"]', "MIT"),
        ("[see LICENSE", "[see LICENSE"),
        (math.nan, "own"),
        ([], "own"),
        ([None], "own"),
        (" ", "own"),
        ({"id": "MIT"}, None),
        ([{"id": "MIT"}], None),
        (3, None),
    ],
)
def test_a_licence_is_a_text_or_unknown_and_never_python(tmp_path: Path, given: object, expected: str | None) -> None:
    path = write(tmp_path / "set.jsonl", {"instruction": "i", "output": "o", "license": given})
    assert [row["license"] for row in mixes.conversations(Mix(dataset=path, license="own"))] == [expected]


def test_the_coder_trains_on_instructions_and_mixes(smoke_store: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "set.jsonl", {"instruction": "i", "output": "o"})
    recipe = files.load(RECIPE, [f"coder.mix=[{{dataset: '{path}', license: mit}}]"])
    counts = sets.coder(Store(smoke_store), recipe.coder.mix, str(tmp_path / "mixed"))
    own = rows(smoke_store, "instructions").num_rows
    assert counts == {"train": own + 1}
    loaded = datasets.load_dataset(str(tmp_path / "mixed"), split="train")
    assert loaded["origin"][-1] == path and loaded["license"][-1] == "mit"


def test_calls_of_tools_and_rows_without_a_conversation_are_not_lost(smoke_store: Path, tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "run", "arguments": {"code": "1\n"}}}
    talk = [{"role": "user", "content": "Run it."}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    path = write(tmp_path / "set.jsonl", {"messages": talk}, {"messages": None})
    recipe = files.load(RECIPE, [f"coder.mix=[{{dataset: '{path}'}}]"])
    said: list[str] = []
    sets.coder(Store(smoke_store, said.append), recipe.coder.mix, str(tmp_path / "mixed"))
    row = datasets.load_dataset(str(tmp_path / "mixed"), split="train")[-1]
    assert turns(row) == [talk[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert said == [f"the mix {path}: 1 row left out: no_conversation"]
