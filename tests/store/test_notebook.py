"""A store in a notebook: `Store.scan` for Polars and `Store.sql` for DuckDB give the same rows."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from store import CONTRACTS, ContractError, Plan, Store
from tests.rows import make_stale, put, table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Candidates of two iterations with scores, measurements of a snippet, and one gradient."""
    found = Store(tmp_path / "a [store]")
    for iteration in (1, 2):
        ids = [f"c{iteration}{n}" for n in range(4)]
        same = {"iteration": iteration, "snippet_id": "s1"}
        put(found, "candidates", [same | {"candidate_id": c, "problem": f"P {c}"} for c in ids], iteration=iteration)
        scored = [same | {"candidate_id": c, "score": float(n + iteration)} for n, c in enumerate(ids)]
        put(found, "scored", scored, iteration=iteration)
    checks = [{"snippet_id": "s1", "modules": ["os", "sys"]}, {"snippet_id": "s2", "modules": []}]
    put(found, "snippet_checks", checks)
    put(found, "gradients", [{"item_id": "c10", "gradient": b"\x00\x3c\xff"}], item_kind="candidate", iteration=1)
    return found


def test_a_filter_and_a_join_give_the_rows_of_the_same_sql(store: Store) -> None:
    good = store.scan("scored").filter(pl.col("score") >= 3).select("candidate_id", "score")
    texts = store.scan("candidates").select("candidate_id", "iteration", "problem")
    joined = good.join(texts, on="candidate_id").sort("score", "candidate_id").collect()
    asked = store.sql(
        "SELECT s.candidate_id, s.score, c.iteration, c.problem "
        "FROM scored s JOIN candidates c USING (candidate_id) WHERE s.score >= 3 ORDER BY s.score, s.candidate_id"
    )
    assert joined.rows() == asked.fetchall()
    assert [row[0] for row in joined.rows()] == ["c12", "c21", "c13", "c22", "c23"]


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_table_without_rows_has_the_columns_and_types_of_a_written_one(tmp_path: Path, name: str) -> None:
    written = Store(tmp_path / "written")
    put(written, name, [{}])
    (tmp_path / "empty").mkdir()
    empty = Store(tmp_path / "empty").scan(name)
    assert empty.collect().height == 0
    assert written.scan(name).collect().height == 1
    assert empty.collect_schema() == written.scan(name).collect_schema()
    assert empty.collect_schema().names() == CONTRACTS[name].schema.names


def test_lists_and_bytes_come_back_as_they_were_written(store: Store) -> None:
    assert store.scan("snippet_checks").select("modules").collect().to_series().to_list() == [["os", "sys"], []]
    assert store.sql("SELECT modules FROM snippet_checks ORDER BY snippet_id").fetchall() == [(["os", "sys"],), ([],)]
    assert store.scan("gradients").select("gradient").collect().item() == b"\x00\x3c\xff"
    assert store.sql("SELECT gradient FROM gradients").fetchall() == [(b"\x00\x3c\xff",)]


def test_all_columns_of_a_table_are_those_of_its_files(store: Store) -> None:
    for name in ("candidates", "scored", "snippet_checks", "gradients"):
        files = [row for path in store.shard_paths(name) for row in pq.read_table(path).to_pylist()]
        assert store.scan(name).collect().to_dicts() == files


def test_half_built_partitions_are_left_out_and_stale_ones_are_not(store: Store) -> None:
    half = Plan(table="candidates", partition={"iteration": 3}, num_shards=2)
    store.begin(half)
    store.write(half, 0, table("candidates", [{"candidate_id": "c30", "iteration": 3}]))
    make_stale(store, "candidates", iteration=1)
    assert store.scan("candidates").collect().height == 8
    assert store.sql("SELECT count(*) FROM candidates").fetchall() == [(8,)]


def test_a_relation_can_be_asked_further(store: Store) -> None:
    found = store.sql("SELECT iteration, score FROM scored")
    assert found.filter("score > 4").aggregate("count(*)").fetchall() == [(1,)]
    assert found.pl().filter(pl.col("score") > 4).height == 1


def test_sql_reads_and_does_nothing_else(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"only one statement that reads .* got DROP"):
        store.sql("DROP VIEW scored")
    with pytest.raises(ContractError, match=r"only one statement that reads .* got SELECT, SELECT"):
        store.sql("SELECT 1; SELECT 2")
    with pytest.raises(ContractError, match=r"(?s)nonsense.*Tables: raw_pool, "):
        store.sql("SELECT nonsense FROM scored")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(ContractError, match="Permission"):
        store.sql(f"FROM read_csv('{tmp_path}/secret.csv')")
    with pytest.raises(duckdb.PermissionException):
        store.sql("SELECT 1 AS n").write_parquet(str(tmp_path / "out.parquet"))


def test_an_unknown_table_is_answered_with_those_there_are(store: Store) -> None:
    with pytest.raises(ContractError, match="no table 'score'; the tables are raw_pool"):
        store.scan("score")
