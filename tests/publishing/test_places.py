"""What leaves a store names no place of the machine it was made on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.publishing import places, sets
from store import CONTRACTS, ContractError, Store
from tests.rows import put

# Texts of code and answers are somebody else's: what stands there is kept.
TEXTS = {
    "code",
    "context",
    "imports",
    "docstring",
    "completion",
    "solution",
    "problem",
    "messages",
    "tests",
    "prompt",
    "statement",
}


def test_names_of_models_and_paths_are_published_without_their_folders(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(
        store,
        "teacher_samples",
        [{"sample_id": "1", "model": "/home/ada/models/big"}, {"sample_id": "2", "model": "a/b"}],
    )
    put(store, "checkpoints", [{"checkpoint_id": "c", "base_model": f"{tmp_path}/tiny-base"}], role="base")
    put(
        store, "snippet_occurrences", [{"snippet_id": "s", "path": "/root/x.py"}, {"snippet_id": "t", "path": "x/y.py"}]
    )
    said = {}
    for table, column in (("teacher_samples", "model"), ("checkpoints", "base_model"), ("snippet_occurrences", "path")):
        sets.table(store, table, str(tmp_path / table))
        said[table] = pq.read_table(tmp_path / table / "data")[column].to_pylist()
    assert said["teacher_samples"] == ["big", "a/b"]
    assert said["checkpoints"] == ["tiny-base"]
    assert said["snippet_occurrences"] == ["root/x.py", "x/y.py"]


def test_messages_name_the_store_and_the_home_by_a_word() -> None:
    rows = pa.RecordBatch.from_pylist(
        [{"error": f"{Path.home()}/models and /data/store/pool are gone"}, {"error": None}]
    )
    assert places.without_places(rows, "/data/store").to_pylist() == [
        {"error": "~/models and STORE/pool are gone"},
        {"error": None},
    ]


def test_nothing_that_a_finished_store_publishes_names_its_machine(smoke_store: Path, tmp_path: Path) -> None:
    """Of every table: no text of ours holds the store, the home or the project."""
    store, absolute = Store(smoke_store), ("/tmp/", "/root/", "/home/", str(smoke_store), str(Path.cwd()))
    published = 0
    for name in CONTRACTS:
        try:
            sets.table(store, name, str(tmp_path / name))
        except ContractError:  # it has no rows
            continue
        published += 1
        assert not any(place in (tmp_path / name / "README.md").read_text() for place in absolute)
        table = pq.read_table(tmp_path / name / "data")
        for column in set(table.column_names) - TEXTS:
            values = map(str, table[column].to_pylist())
            found = [value[:80] for value in values if any(place in value for place in absolute)]
            assert not found, (name, column, found[:3])
    assert published > 10


@pytest.mark.parametrize("model", ["a/b", "big", "", None])
def test_ids_of_the_hub_stay(model: str | None) -> None:
    rows = pa.RecordBatch.from_pylist([{"model": model}], schema=pa.schema([("model", pa.string())]))
    assert places.without_places(rows, "/s").to_pylist() == [{"model": model}]
