"""Shards: checked against the contract, whole or absent, and marked with their plan."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from store import CONTRACTS, ContractError, files
from store.schemas import VERSION
from store.shards import conform, encode, plan_of, rechunk, write_shard
from tests.rows import Row, table

FS = LocalFileSystem()
POOL = CONTRACTS["pool"]
ROWS: list[Row] = [
    {
        "snippet_id": "s1",
        "position": 0,
        "license": "mit",
        "num_tokens": 40,
        "cyclomatic": 2,
        "repo": "a",
        "topic": "re",
    },
    {"snippet_id": "s2", "position": 1, "license": "bsd", "num_tokens": 55, "cyclomatic": 3, "repo": "b", "topic": ""},
]


# -- the contract ----------------------------------------------------------------------------------


def test_conform_orders_columns_and_widens_types() -> None:
    given = pa.table(
        {
            "topic": ["re"],
            "repo": ["a"],
            "cyclomatic": pa.array([2], pa.int64()),
            "num_tokens": pa.array([40], pa.int8()),
            "license": ["mit"],
            "position": pa.array([0], pa.int32()),
            "snippet_id": ["s1"],
        }
    )
    found = conform(given, POOL)
    assert found.schema.equals(POOL.schema, check_metadata=True)
    assert found.to_pylist() == ROWS[:1]


def test_conform_rounds_doubles_to_the_width_of_the_contract() -> None:
    wide = table("influence", [{"candidate_id": "c", "loss": 0.0}])
    wide = wide.set_column(wide.column_names.index("loss"), "loss", pa.array([0.1], pa.float64()))
    assert conform(wide, CONTRACTS["influence"])["loss"].to_pylist() == [float(np.float32(0.1))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["license"]), r"pool: missing columns \['license'\], unknown columns \[\]"),
        (lambda t: t.append_column("metadata", pa.array(["{}", "{}"])), r"unknown columns \['metadata'\]"),
        (lambda t: t.rename_columns({"license": "licence"}), r"\['license'\], unknown columns \['licence'\]"),
        (lambda t: t.append_column("license", t["license"]), r"repeated columns \['license'\]"),
        (
            lambda t: t.set_column(2, "license", pa.array(["mit", None])),
            r"pool\.license is required, but 1 values are NULL",
        ),
        (lambda t: t.set_column(1, "position", pa.array(["0", "one"])), r"pool\.position: string is not int64: .*one"),
        (lambda t: t.set_column(3, "num_tokens", pa.array([1, 2**40])), r"pool\.num_tokens: int64 is not int32"),
        (lambda t: t.set_column(3, "num_tokens", pa.array([1.5, 2.0])), r"pool\.num_tokens: double is not int32"),
    ],
)
def test_what_breaks_the_contract_is_named_with_its_column(change, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        conform(change(table("pool", ROWS)), POOL)


def test_optional_columns_may_be_null_but_not_absent() -> None:
    checkpoints = table("checkpoints", [{"checkpoint_id": "k", "role": "base"}])
    assert conform(checkpoints, CONTRACTS["checkpoints"])["iteration"].to_pylist() == [None]
    with pytest.raises(ContractError, match=r"missing columns \['iteration'\]"):
        conform(checkpoints.drop_columns(["iteration"]), CONTRACTS["checkpoints"])


# -- files -----------------------------------------------------------------------------------------


def test_a_shard_is_written_with_its_plan_and_checksum(tmp_path: Path) -> None:
    shard = write_shard(FS, str(tmp_path), 3, table("pool", ROWS), POOL, "plan-a")
    data = (tmp_path / "part-00003.parquet").read_bytes()
    assert (shard.index, shard.rows, shard.sha256) == (3, 2, hashlib.sha256(data).hexdigest())
    footer = pq.read_metadata(tmp_path / "part-00003.parquet").metadata
    assert {k: footer[k] for k in (b"scoder.plan", b"scoder.table", b"scoder.contract")} == {
        b"scoder.plan": b"plan-a",
        b"scoder.table": b"pool",
        b"scoder.contract": str(VERSION).encode(),
    }
    assert pq.read_table(tmp_path / "part-00003.parquet").to_pylist() == ROWS


def test_the_same_rows_give_the_same_bytes() -> None:
    assert encode(table("pool", ROWS), POOL, "p") == encode(table("pool", ROWS), POOL, "p")
    assert encode(table("pool", ROWS), POOL, "p") != encode(table("pool", ROWS[::-1]), POOL, "p")


def test_the_footer_of_a_file_names_its_plan(tmp_path: Path) -> None:
    written = write_shard(FS, str(tmp_path), 0, table("pool", ROWS), POOL, "plan-a")
    path = tmp_path / "part-00000.parquet"
    assert plan_of(str(path)) == "plan-a"
    assert (written.rows, written.size) == (2, path.stat().st_size)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    pq.write_table(table("pool", ROWS), path)
    assert plan_of(str(path)) == "", "nobody's plan"
    path.write_bytes(b"no Parquet")
    assert plan_of(str(path)) is None


def test_a_refused_table_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="missing columns"):
        write_shard(FS, str(tmp_path), 0, table("pool", ROWS).drop_columns(["license"]), POOL, "plan-a")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "file")
    files.write_atomic(FS, path, b"old")
    with pytest.raises(TypeError):
        files.write_atomic(FS, path, "not bytes")  # type: ignore[arg-type]
    assert files.read_bytes(FS, path) == b"old"
    files.write_atomic(FS, path, b"new")
    assert files.read_bytes(FS, path) == b"new"
    assert files.names(FS, str(tmp_path / "deep"), "file") == ["file"]
    assert files.names(FS, str(tmp_path / "absent"), "file") == []


def test_gradients_are_half_floats_without_compression_or_dictionary(tmp_path: Path) -> None:
    rows: list[Row] = [{"item_id": "c1", "item_kind": "candidate", "gradient": np.array([0.6, -0.8], "<f2").tobytes()}]
    write_shard(FS, str(tmp_path), 0, table("gradients", rows), CONTRACTS["gradients"], "plan-a")
    path = tmp_path / "part-00000.parquet"
    found = pq.read_table(path)
    assert found.schema.field("gradient").type == pa.binary()
    assert np.frombuffer(found["gradient"][0].as_py(), "<f2").tolist() == np.array([0.6, -0.8], "<f2").tolist()
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {c.compression for c in columns} == {"UNCOMPRESSED"}
    assert [c.path_in_schema for c in columns if c.has_dictionary_page] == []


def test_other_tables_are_compressed(tmp_path: Path) -> None:
    write_shard(FS, str(tmp_path), 0, table("pool", ROWS), POOL, "plan-a")
    assert pq.read_metadata(tmp_path / "part-00000.parquet").row_group(0).column(0).compression == "ZSTD"


# -- rechunking ------------------------------------------------------------------------------------

NUMBERS = pa.schema([pa.field("n", pa.int64(), nullable=False)])


@given(sizes=st.lists(st.integers(0, 9), max_size=8), rows=st.integers(1, 7))
def test_rechunk_keeps_all_rows_in_order_in_tables_of_one_size(sizes: list[int], rows: int) -> None:
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    batches = [pa.record_batch([list(range(a, a + n))], schema=NUMBERS) for a, n in zip(starts, sizes, strict=True)]
    tables = list(rechunk(batches, NUMBERS, rows))
    assert [n for t in tables for n in t["n"].to_pylist()] == list(range(sum(sizes)))
    assert [t.num_rows for t in tables[:-1]] == [rows] * (len(tables) - 1)
    assert len(tables) == max(1, -(-sum(sizes) // rows))
    assert all(t.schema == NUMBERS for t in tables)
    if sum(sizes):
        assert 1 <= tables[-1].num_rows <= rows


def test_a_value_that_is_not_a_number_is_refused() -> None:
    row = {"name": "n", "iteration": 1, "subject": "s", "value": float("nan"), "num_items": 1}
    table = pa.Table.from_pylist([row], schema=CONTRACTS["metrics"].schema)
    with pytest.raises(ContractError, match=r"metrics\.value: 1 values are not numbers"):
        conform(table, CONTRACTS["metrics"])
