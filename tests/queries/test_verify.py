"""`verify` finds nothing in a sound store, and what was broken on purpose in another."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from queries.verify import verify
from store import Store
from tests.rows import put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A partition of two snippets, and one of a teacher sample."""
    found = Store(tmp_path)
    put(found, "raw_pool", [{"snippet_id": "s1"}, {"snippet_id": "s2"}])
    put(found, "teacher_samples", [{"sample_id": "t1", "snippet_id": "s2"}])
    return found


def checks(store: Store) -> list[tuple[str, str]]:
    return [(p["check"], p["result"]) for p in verify(store)]


def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "raw_pool", [{"snippet_id": "s1"}])
    put(store, "near_duplicates", [])
    assert checks(store) == []


def test_verify_finds_a_changed_and_a_missing_file(store: Store) -> None:
    changed, gone = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    metadata = pq.read_schema(changed).metadata
    pq.write_table(pq.read_table(changed).replace_schema_metadata(metadata).slice(1), changed)
    Path(gone).unlink()
    assert checks(store) == [
        ("checksum", "raw_pool/part-00000.parquet"),
        ("missing", "teacher_samples/part-00000.parquet"),
    ]


def test_verify_finds_a_file_of_another_plan_and_half_a_file(store: Store) -> None:
    foreign, half = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    pq.write_table(pq.read_table(foreign).replace_schema_metadata(None), foreign)
    Path(half).write_bytes(Path(half).read_bytes()[:-100])
    found = checks(store)
    assert [check for check, _ in found] == ["contract", "contract"]
    assert "belongs to plan" in found[0][1]
    assert found[1][1].startswith("teacher_samples: ")


def test_verify_finds_keys_that_occur_twice_and_failed_audits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "raw_pool", [{"snippet_id": "s1"}])
    put(store, "raw_pool", [{"snippet_id": "s1"}], origin="import")
    put(store, "selected", [{"candidate_id": "c9", "selection": "a", "iteration": 1}], iteration=1, selection="a")
    assert checks(store) == [
        ("key", "raw_pool: 1 keys (snippet_id) occur more than once"),
        ("audits/conservation", "stage=selected, iteration=1, selection=a, num_in=0, num_out=1, num_rejected=0"),
        ("audits/orphans", "table_name=selected, item_id=c9, missing=candidate_id"),
    ]
