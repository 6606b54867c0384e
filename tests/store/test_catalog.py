"""The catalog: every table is a view, and ad-hoc SQL reads the store and does nothing else."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import CONTRACTS, ContractError, Plan, Store, Usage
from store.catalog import Answer, ask, connect, tables_of, unique
from store.errors import JobError
from store.ledger import Ledger
from store.schemas import VERSION
from tests.rows import make_stale, put, table

TABLES = sorted(CONTRACTS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two pool snippets and one gradient, beside a file that is nobody's business."""
    (tmp_path / "secret.txt").write_text("hush")
    found = Store(tmp_path / "it's a store")
    put(found, "pool", [{"snippet_id": "s1", "position": 0}, {"snippet_id": "s2", "position": 1}])
    gradient = np.array([0.6, -0.8], np.float16).tobytes()
    row = {"item_id": "c1", "item_kind": "candidate", "gradient": gradient}
    put(found, "gradients", [row], item_kind="candidate", iteration=1, batch="main")
    return found


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> list[duckdb.DuckDBPyConnection]:
    """A store without any table, and one where every table is written without rows."""
    bare, written = (Store(tmp_path_factory.mktemp(name)) for name in ("bare", "written"))
    for name in TABLES:
        put(written, name, [])
    return [connect(bare), connect(written)]


def types(connection: duckdb.DuckDBPyConnection, name: str) -> list[tuple[str, str]]:
    found = connection.sql(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall()
    return [(str(column), str(kind)) for column, kind in found]


# -- views -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_table_is_a_view_with_the_types_of_a_written_one(
    catalogs: list[duckdb.DuckDBPyConnection], name: str
) -> None:
    expected = [(c.name, c.kind) for c in CONTRACTS[name].columns]
    assert [types(connection, name) for connection in catalogs] == [expected, expected]


def test_lists_come_back_as_lists_and_gradients_as_their_bytes(store: Store) -> None:
    assert types(connect(store), "gradients")[4] == ("gradient", "BLOB")
    ((found,),) = connect(store).sql("SELECT gradient FROM gradients").fetchall()
    assert np.frombuffer(found, np.float16).tolist() == np.array([0.6, -0.8], np.float16).tolist()
    put(store, "snippet_checks", [{"snippet_id": "s1", "modules": ["os", "sys"]}, {"snippet_id": "s2"}])
    listed = connect(store).sql("SELECT snippet_id, modules FROM snippet_checks ORDER BY ALL").fetchall()
    assert listed == [("s1", ["os", "sys"]), ("s2", [])]


def test_a_view_holds_all_complete_partitions_and_no_half_built_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for iteration in (1, 2):
        put(store, "candidates", [{"candidate_id": f"c{iteration}", "iteration": iteration}], iteration=iteration)
    half = Plan(table="candidates", partition={"iteration": 3}, num_shards=2)
    store.begin(half)
    store.write(half, 0, table("candidates", [{"candidate_id": "c3", "iteration": 3}]))
    assert connect(store).sql("SELECT candidate_id FROM candidates ORDER BY 1").fetchall() == [("c1",), ("c2",)]


def test_extra_views_read_other_files(store: Store) -> None:
    paths = store.shard_paths("pool")
    found = connect(store, extra={"extracted": paths}).sql("SELECT count(*) FROM extracted").fetchall()
    assert found == [(2,)]
    with pytest.raises(ContractError, match="at least one Parquet file"):
        connect(store, extra={"extracted": []})


# -- ad-hoc SQL ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "SELECT snippet_id FROM pool ORDER BY position",
        "SELECT snippet_id FROM pool ORDER BY position;  -- done",
        "WITH p AS (SELECT snippet_id, position FROM pool) SELECT snippet_id FROM p ORDER BY position",
        "FROM pool SELECT snippet_id ORDER BY position",
    ],
)
def test_one_select_is_answered(store: Store, text: str) -> None:
    assert ask(store, text).read_all().to_pylist() == [{"snippet_id": "s1"}, {"snippet_id": "s2"}]
    assert answered(store, text) == [("s1",), ("s2",)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PIVOT (SELECT snippet_id, position FROM pool) ON snippet_id USING sum(position)", (0, 1)),
        ("PIVOT (SELECT snippet_id, position FROM pool) ON snippet_id USING sum(position); -- done", (0, 1)),
        ("WITH p AS (PIVOT (SELECT snippet_id, position FROM pool) ON snippet_id USING sum(position)) FROM p", (0, 1)),
        ("FROM (PIVOT (SELECT snippet_id, position FROM pool) ON snippet_id IN ('s2') USING sum(position))", (1,)),
        ("DESCRIBE pool", ("snippet_id", "VARCHAR", "YES", None, None, None)),
        ("SUMMARIZE SELECT position FROM pool", ("position", "BIGINT", "0", "1", 2, "0.5")),
        ("SHOW TABLES", ("aspect_scores",)),
        ("VALUES (1)", (1,)),
        ("EXPLAIN SELECT snippet_id FROM pool", ("physical_plan",)),
        ("explain -- why\n analyze SELECT snippet_id FROM pool", ("analyzed_plan",)),
        (
            "EXPLAIN ANALYZE PIVOT (SELECT snippet_id, position FROM pool) ON snippet_id USING sum(position)",
            ("analyzed_plan",),
        ),
        ("EXPLAIN (FORMAT json) SELECT snippet_id FROM pool", ("physical_plan",)),
        ("EXPLAIN (SELECT snippet_id FROM pool)", ("physical_plan",)),
        ("SELECT * FROM query_table('po' || 'ol') ORDER BY position", ("s1", 0)),
    ],
)
def test_every_form_of_reading_is_answered(store: Store, text: str, expected: tuple[object, ...]) -> None:
    assert answered(store, text)[0][: len(expected)] == expected


def answered(store: Store, text: str) -> list[tuple[object, ...]]:
    return [row for rows in Answer(Ledger(store.root), text).rows() for row in rows]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT"),
        ("SELECT 1; DROP VIEW pool", "SELECT, DROP"),
        ("INSERT INTO pool VALUES (1)", "INSERT"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("COPY (SELECT 1) TO '{inside}/x.csv'", "COPY"),
        ("COPY (PIVOT pool ON snippet_id USING sum(position)) TO '{inside}/x.csv'", "one that also writes"),
        ("CREATE TABLE t AS PIVOT pool ON snippet_id USING sum(position)", "one that also writes"),
        ("SELECT 1; PIVOT pool ON snippet_id USING sum(position)", "SELECT, one that also writes"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{inside}/x.csv'", "EXPLAIN"),
        ("EXPLAIN /**/ ANALYZE -- x\n COPY (SELECT 1) TO '{inside}/x.csv'", "EXPLAIN"),
        ("EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{inside}/x.csv'", "EXPLAIN"),
        (
            "EXPLAIN ANALYZE COPY (PIVOT pool ON snippet_id USING sum(position)) TO '{inside}/x.csv'",
            "one that also writes",
        ),
        ("EXPLAIN COPY (SELECT 1) TO '{inside}/x.csv'", "EXPLAIN"),
        ("EXPLAIN ANALYZE SET threads = 1", "EXPLAIN"),
        ("EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "EXPLAIN"),
        ("EXPORT DATABASE '{inside}/x'", "EXPORT"),
        ("IMPORT DATABASE '{inside}/x'", "PRAGMA"),
        ("ATTACH 'x.db'", "ATTACH"),
        ("USE memory", "SET"),
        ("SET threads = 1", "SET"),
        ("RESET threads", "SET"),
        ("PRAGMA version", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("CHECKPOINT", "CALL"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("LOAD httpfs", "LOAD"),
        ("INSTALL httpfs", "LOAD"),
    ],
)
def test_anything_but_one_statement_that_reads_is_refused(store: Store, text: str, got: str) -> None:
    before = sorted(Path(store.root).rglob("*"))
    text = text.replace("{inside}", store.root.replace("'", "''"))
    for asked in (ask, answered):
        with pytest.raises(ContractError, match=f"only one statement that reads can be run, .*; got {got}$"):
            asked(store, text)
    assert sorted(Path(store.root).rglob("*")) == before


def test_text_that_is_not_sql_is_refused(store: Store) -> None:
    with pytest.raises(ContractError, match=r"not valid SQL: .*SELEC"):
        ask(store, "SELEC 1")


@pytest.mark.parametrize(
    "source",
    [
        "read_text('{outside}/secret.txt')",
        "read_text('{inside}/../secret.txt')",
        "read_text('{inside}/link.txt')",
        "read_blob('{outside}/*.txt')",
        "glob('{outside}/*')",
        "glob('{inside}/../*')",
        "read_csv('{outside}/secret.txt')",
        "sniff_csv('{outside}/secret.txt')",
        "'{outside}/secret.csv'",
        "read_parquet('{inside}-2/part-00000.parquet')",
        "query('COPY (SELECT 1) TO ''{inside}/x.csv''')",
    ],
)
def test_a_select_cannot_reach_files_outside_the_store(tmp_path: Path, source: str) -> None:
    inside, outside = tmp_path / "store", tmp_path
    put(Store(inside), "pool", [])
    put(Store(f"{inside}-2"), "pool", [])
    (outside / "secret.txt").write_text("hush")
    (outside / "secret.csv").write_text("a,b\n1,2\n")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    before = sorted(tmp_path.rglob("*"))
    table = source.format(inside=inside, outside=outside)
    with pytest.raises(ContractError):
        ask(Store(inside), f"SELECT * FROM {table}").read_all()
    for text in (
        f"FROM {table}",
        f"PIVOT (FROM {table}) ON 1 USING count(*)",
        f"WITH p AS (PIVOT {table} ON 1 USING count(*)) FROM p",
        f"EXPLAIN ANALYZE FROM {table}",
        f"SUMMARIZE FROM {table}",
        f"SELECT * FROM pool WHERE EXISTS (FROM {table})",
    ):
        with pytest.raises(ContractError):
            answered(Store(inside), text)
    for text in (f"EXPLAIN FROM {table}", f"DESCRIBE FROM {table}"):  # these read no rows
        with suppress(ContractError):
            assert "hush" not in str(answered(Store(inside), text))
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written either"


def test_a_select_can_read_the_files_of_the_store_itself(store: Store) -> None:
    path = store.shard_paths("pool")[0].replace("'", "''")
    assert ask(store, f"SELECT count(*) AS n FROM read_parquet('{path}')").read_all().to_pylist() == [{"n": 2}]


def test_writing_inside_a_select_is_refused(store: Store) -> None:
    before = store.shard_paths("pool")
    with pytest.raises(ContractError):
        ask(store, "WITH x AS (INSERT INTO pool VALUES ('s3', 2, '', 0, 0) RETURNING 1) SELECT * FROM x")
    assert store.shard_paths("pool") == before


def test_python_variables_are_not_tables(store: Store) -> None:
    local_rows = pa.table({"a": [1]})
    assert local_rows.num_rows == 1
    with pytest.raises(ContractError, match="local_rows does not exist"):
        ask(store, "SELECT a FROM local_rows")
    with pytest.raises(duckdb.CatalogException, match="local_rows does not exist"):
        connect(store).sql("SELECT a FROM local_rows")


def test_an_unknown_column_is_answered_with_the_tables_there_are(store: Store) -> None:
    for asked in (ask, answered):
        with pytest.raises(ContractError, match=r'(?s)"nonsense" not found.*Tables: raw_pool, .*runs.*docs/tables\.md'):
            asked(store, "SELECT nonsense FROM pool")


def test_an_error_of_a_value_is_not_answered_with_the_tables(store: Store) -> None:
    for asked in (ask, answered):
        with pytest.raises(ContractError, match="Could not convert") as error:
            asked(store, "SELECT 'x'::INTEGER FROM pool")
        assert "Tables:" not in str(error.value)


def test_an_unknown_table_is_answered_with_the_one_that_is_like_it(store: Store) -> None:
    with pytest.raises(ContractError, match=r'Did you mean "candidates"'):
        answered(store, "SELECT 1 FROM candidate")


def test_an_error_in_a_late_row_is_a_contract_error_too(store: Store) -> None:
    text = "SELECT CAST(CASE WHEN range = 70000 THEN 'seventy' ELSE '1' END AS INTEGER) AS n FROM range(100000)"
    with pytest.raises(ContractError, match="seventy"):
        ask(store, text).read_all()
    with pytest.raises(ContractError, match="seventy"):
        answered(store, text)
    with pytest.raises(ContractError, match="seventy"):
        list(Answer(Ledger(store.root), text).batches()[1])


def test_a_store_behind_a_symbolic_link_can_be_asked(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    assert ask(Store(tmp_path / "link"), "SELECT count(*) AS n FROM pool").read_all().to_pylist() == [{"n": 2}]


# -- answers ---------------------------------------------------------------------------------------


def test_rows_come_before_all_of_them_are_made(store: Store) -> None:
    """The whole answer would have 10^12 rows."""
    first = next(Answer(Ledger(store.root), "SELECT range AS n FROM range(1_000_000_000_000)").rows(10))
    assert first == [(n,) for n in range(10)]


def test_a_time_limit_ends_a_statement_wherever_it_is(store: Store) -> None:
    endless = "range(1_000_000_000_000)"
    for text in (f"SELECT count(*) FROM {endless}", f"FROM {endless} WHERE range % 7 = 8"):
        with pytest.raises(JobError, match=r"no answer within 0\.2 s.*--timeout"):
            list(Answer(Ledger(store.root), text, timeout=0.2).rows())
    with pytest.raises(JobError, match="no answer within"):
        for _ in Answer(Ledger(store.root), f"FROM {endless}", timeout=0.2).rows(1):
            pass


def test_columns_of_the_same_name_get_numbers(store: Store) -> None:
    answer = Answer(Ledger(store.root), "SELECT 1 AS n, 2 AS n, 3 AS id")
    assert answer.columns == ["n", "n_1", "id"]
    schema, batches = answer.batches()
    assert [batch.to_pylist() for batch in batches] == [[{"n": 1, "n_1": 2, "id": 3}]]
    assert schema.names == ["n", "n_1", "id"]
    assert unique(["n", "n_1", "n"]) == ["n", "n_1", "n_2"]


def test_times_with_a_zone_need_no_other_library(store: Store) -> None:
    ((found, number),) = answered(store, "SELECT TIMESTAMPTZ '2026-01-02 03:04:05+00' AS t, 1 AS n")
    assert (str(found), number) == ("2026-01-02 03:04:05+00:00", 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT INTERVAL 3 MONTH, INTERVAL 2 HOURS;  -- done", ("3 months", "02:00:00")),
        ("SELECT TIMESTAMP_NS '2026-01-02 03:04:05.123456789'", ("2026-01-02 03:04:05.123456789",)),
        ("SELECT TIMESTAMP 'infinity', DATE '-infinity'", ("infinity", "-infinity")),
        ("SELECT DATE '2026-01-02', NULL::DATE, DATE '20000-01-01'", (date(2026, 1, 2), None, "20000-01-01")),
        ("SELECT TIMESTAMP '2026-01-02 03:04:05.5'", (datetime(2026, 1, 2, 3, 4, 5, 500000),)),
        ("SELECT 1 AS n, INTERVAL 1 YEAR AS n, 2 AS n", (1, "1 year", 2)),
        ("SELECT {'DATE': DATE 'infinity', 'TIME': 1}", ({"DATE": "infinity", "TIME": 1},)),
        ("SELECT MAP {'DATE': DATE 'infinity'}, 'a'::ENUM('a', 'DATE')", ({"DATE": "infinity"}, "a")),
        ("PIVOT (SELECT DATE 'infinity' AS d, 'k' AS k) ON k USING max(d); -- done", ("infinity",)),
    ],
)
def test_times_are_what_the_statement_gave(store: Store, text: str, expected: tuple[object, ...]) -> None:
    assert answered(store, text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 'scored', 1 -- pool\n FROM \"candidates\" /* rejects */", {"candidates"}),
        ("FROM POOL JOIN runs ON true", {"pool", "runs"}),
        ("SELECT pool_id FROM near_duplicates_2", set()),
    ],
)
def test_the_tables_of_a_statement_are_found_outside_of_strings_and_comments(text: str, expected: set[str]) -> None:
    assert tables_of(text) == expected


def test_what_is_stale_and_what_is_not_finished_is_said_of_the_tables_that_are_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for iteration in range(1, 8):
        put(store, "candidates", [{"candidate_id": f"c{iteration}"}], iteration=iteration)
        make_stale(store, "candidates", iteration=iteration)
    store.begin(Plan(table="candidates", partition={"iteration": 8}, num_shards=2))
    put(store, "pool", [])
    said = Answer(Ledger(tmp_path), "SELECT 'pool' FROM candidates").notes
    names = ", ".join(f"candidates/iteration-{n}" for n in range(1, 6))
    assert said == [
        f"{names} and 2 more: stale: what they were made from was built again. `scoder run RECIPE` builds them again",
        "candidates/iteration-8: not finished: their rows are not seen yet",
    ]
    assert Answer(Ledger(tmp_path), "SELECT 'candidates' FROM pool").notes == []


# -- the runs --------------------------------------------------------------------------------------


def test_runs_has_a_row_per_partition_with_what_it_took(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paid = Usage(wall_s=2.0, prompt_tokens=10, completion_tokens=4, cost_usd=0.5)
    plan = Plan(table="candidates", partition={"iteration": 1}, num_shards=2)
    store.materialize(plan, lambda i: (table("candidates", [{"candidate_id": f"c{i}"}]), paid))
    store.begin(Plan(table="candidates", partition={"iteration": 2}, num_shards=2))
    columns = "partition, table_name, status, is_seen, num_rows, prompt_tokens, completion_tokens, cost_usd"
    assert answered(store, f"SELECT {columns} FROM runs ORDER BY partition") == [
        ("candidates/iteration-1", "candidates", "complete", True, 2, 20, 8, 1.0),
        ("candidates/iteration-2", "candidates", "building", False, 0, 0, 0, None),
    ]
    record = store.record("candidates", iteration=1)
    assert record is not None and record.finished is not None
    size = sum(path.stat().st_size for path in Path(store.directory("candidates", iteration=1)).iterdir())
    ((num_bytes, seconds, started, finished, command),) = answered(
        store, "SELECT num_bytes, seconds, epoch(started), epoch(finished), command FROM runs WHERE num_rows > 0"
    )
    assert (num_bytes, seconds, command) == (size, record.usage.wall_s, record.command)
    assert [started, finished] == pytest.approx([record.started, record.finished], abs=1e-5)
    assert connect(store).sql("SELECT count(*) FROM runs").fetchall() == [(2,)]
    assert answered(Store(tmp_path / "empty"), "SELECT count(*) FROM runs") == [(0,)]


# -- the inputs of a plan --------------------------------------------------------------------------


def test_views_of_inputs_hold_exactly_these_partitions(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "candidates", [{"candidate_id": "c1"}], iteration=1)
    put(store, "candidates", [{"candidate_id": "c2"}], iteration=2)
    put(store, "pool", [{"snippet_id": "s1"}])
    connection = connect(store, store.input("candidates", iteration=2))
    assert connection.sql("SELECT candidate_id FROM candidates").fetchall() == [("c2",)]
    assert connection.sql("SELECT count(*) FROM pool").fetchall() == [(0,)], "not named, so not seen"


def test_inputs_of_another_content_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    named = store.input("pool") if put(store, "pool", [{"snippet_id": "s1"}]) else {}
    put(Store(tmp_path, force=True), "pool", [{"snippet_id": "s2"}])
    with pytest.raises(ContractError, match="pool changed while it was read"):
        connect(store, named)


def test_a_store_of_other_contracts_is_not_called_damaged(store: Store) -> None:
    """Its table has no column that was added since."""
    (path,) = store.shard_paths("pool")
    rows = pq.read_table(path).drop_columns(["position"])
    footer = {**(rows.schema.metadata or {}), b"scoder.contract": b"4"}
    pq.write_table(rows.replace_schema_metadata(footer), path)
    with pytest.raises(ContractError, match=f"built under version 4 of the contracts, and this is version {VERSION}"):
        connect(store)
    pq.write_table(rows.replace_schema_metadata({}), path)
    with pytest.raises(ContractError, match="missing or damaged"):
        connect(store)
