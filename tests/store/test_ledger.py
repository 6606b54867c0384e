"""The ledger reads the same records as the store, and says the same of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from store import ContractError, Plan, Store, segments
from store.catalog import connect
from store.ledger import Ledger
from store.shards import shard_name
from tests.rows import put, table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A chain pool <- candidates <- scored, with a partition that is not finished."""
    found = Store(tmp_path)
    put(found, "pool", [{"snippet_id": "s1"}])
    for name, made_from in (("candidates", found.input("pool")), ("scored", None)):
        inputs = made_from or found.input("candidates", iteration=1)
        made = table(name, [{"candidate_id": "c1"}])
        found.materialize(
            Plan(table=name, partition={"iteration": 1}, inputs=inputs, num_shards=1), {0: made}.__getitem__
        )
    found.begin(Plan(table="candidates", partition={"iteration": 2}, num_shards=2))
    return found


def statuses(store: Store) -> dict[str, str]:
    ours = {entry.where: entry.status for entry in Ledger(store.root).entries}
    theirs = {segments(r.plan.table, r.plan.partition): r.status for r in store.records()}
    assert ours == theirs
    assert list(ours) == list(theirs), "in the same order"
    return ours


def test_it_says_of_every_partition_what_the_store_says(store: Store) -> None:
    assert statuses(store) == {
        "pool": "complete",
        "candidates/iteration-1": "complete",
        "scored/iteration-1": "complete",
        "candidates/iteration-2": "building",
    }


def test_what_was_made_from_rows_that_changed_is_stale_however_many_steps_away(store: Store) -> None:
    put(Store(store.root, force=True), "pool", [{"snippet_id": "s2"}])
    assert {name for name, status in statuses(store).items() if status == "stale"} == {
        "candidates/iteration-1",
        "scored/iteration-1",
    }


def test_a_complete_record_is_stale_if_its_input_is_gone(store: Store) -> None:
    """That is derived: nobody has to write it down."""
    (Path(store.root) / "_runs" / "pool" / "record.json").unlink()
    found = {entry.where: entry.status for entry in Ledger(store.root).entries}
    assert found["candidates/iteration-1"] == found["scored/iteration-1"] == "stale"


def test_it_names_the_files_that_the_store_names(store: Store) -> None:
    for name in ("pool", "candidates", "scored", "instructions"):
        assert Ledger(store.root).paths(name) == store.shard_paths(name)
    assert Ledger(store.root).paths("pool")[0].endswith(f"/pool/{shard_name(0)}")


def test_records_in_scratch_are_no_partitions(store: Store) -> None:
    where = Path(store.scratch("old")) / "record.json"
    where.parent.mkdir(parents=True)
    where.write_text("{")
    assert len(Ledger(store.root).entries) == 4


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"plan": {"table": "pool"}, "shards": [{"rows": 1}]}', "\xff"])
def test_a_damaged_record_is_named(store: Store, text: str) -> None:
    path = Path(store.root) / "_runs" / "pool" / "record.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ContractError, match=r"_runs/pool/record\.json is damaged"):
        Ledger(store.root).entries  # noqa: B018


def test_a_record_that_says_its_sizes_is_believed(store: Store) -> None:
    path = Path(store.root) / "_runs" / "pool" / "record.json"
    raw = json.loads(path.read_text())
    raw["shards"][0]["size"] = 7
    path.write_text(json.dumps(raw))
    assert Ledger(store.root).entries[0].bytes == 7


def test_looking_at_a_store_loads_neither_arrow_nor_pydantic(store: Store) -> None:
    """Each takes a tenth of a second or more, which every `scoder sql` would wait for."""
    code = (
        "import sys; from store.catalog import Answer; from store.ledger import Ledger; import commands.answers\n"
        "import commands.reports, queries.trace\n"
        f"print(list(Answer(Ledger({store.root!r}), 'SELECT snippet_id FROM pool JOIN runs ON true').rows())[0])\n"
        "print({'pyarrow', 'numpy', 'pydantic', 'fsspec', 'polars', 'yaml'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[1:] == ["set()"], done.stdout + done.stderr


def test_a_connection_can_be_told_its_tables(store: Store) -> None:
    found = connect(Ledger(store.root), tables=["pool"]).sql("SHOW TABLES").fetchall()
    assert found == [("pool",)]
