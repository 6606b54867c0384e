"""The card of a published folder says what is in it, and the Hub can read its front matter."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import yaml

from builders.publishing.card import Card
from builders.publishing.folder import write_dataset

SCHEMA = pa.schema([("text", pa.string()), ("license", pa.string())])
MESSAGES = pa.schema([("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))])
CARD = Card("Pairs", "What they are.", columns={"text": "a pair", "license": "of its snippet"})
TRAIN = [{"text": "a", "license": "mit"}, {"text": "b", "license": "bsd"}, {"text": "c", "license": "mit"}]
HELD = [{"text": "d", "license": "apache-2.0"}]


def batches(rows: list[dict[str, str]]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([row], schema=SCHEMA) for row in rows]


def test_the_card_parses_and_counts_rows_and_licences(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", {"train": (SCHEMA, batches(TRAIN)), "validation": (SCHEMA, batches(HELD))}, CARD)
    _, front, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    meta = yaml.safe_load(front)
    assert meta["pretty_name"] == "Pairs"
    assert "configs" not in meta
    lines = body.splitlines()
    assert "# Pairs" in lines
    assert "What they are." in lines
    assert [line for line in lines if line.startswith(("| train", "| vali"))] == ["| train | 3 |", "| validation | 1 |"]
    assert "| text | a pair |" in lines
    start = lines.index("| licence | rows |")
    assert lines[start + 2 : start + 5] == ["| mit | 2 |", "| apache-2.0 | 1 |", "| bsd | 1 |"]


def test_a_card_without_licences_says_nothing_of_them(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pylist([{"messages": []}], schema=MESSAGES)
    write_dataset(tmp_path / "out", {"train": (MESSAGES, [batch])}, CARD)
    assert "licence of the code" not in (tmp_path / "out" / "README.md").read_text()
