"""The catalog: every table is a view, and ad-hoc SQL reads the store and does nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from store import CONTRACTS, ContractError, Plan, Store
from store.catalog import ask, connect, sql_type
from tests.rows import put, table

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
    expected = [(f.name, sql_type(f.type)) for f in CONTRACTS[name].schema]
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


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT"),
        ("SELECT 1; DROP VIEW pool", "SELECT, DROP"),
        ("INSERT INTO pool VALUES (1)", "INSERT"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("COPY (SELECT 1) TO 'x.csv'", "COPY"),
        ("ATTACH 'x.db'", "ATTACH"),
        ("SET threads = 1", "SET"),
        ("PRAGMA version", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("INSTALL httpfs", "LOAD"),
    ],
)
def test_anything_but_one_select_is_refused(store: Store, text: str, got: str) -> None:
    with pytest.raises(ContractError, match=f"only a single SELECT can be run, got {got}$"):
        ask(store, text)


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
    with pytest.raises(ContractError):
        ask(Store(inside), f"SELECT * FROM {source.format(inside=inside, outside=outside)}").read_all()
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
    with pytest.raises(ContractError, match=r'(?s)"nonsense" not found.*Tables: raw_pool, .*docs/tables\.md'):
        ask(store, "SELECT nonsense FROM pool")


def test_an_error_in_a_late_row_is_a_contract_error_too(store: Store) -> None:
    text = "SELECT CAST(CASE WHEN range = 70000 THEN 'seventy' ELSE '1' END AS INTEGER) AS n FROM range(100000)"
    with pytest.raises(ContractError, match="seventy"):
        ask(store, text).read_all()


def test_a_store_behind_a_symbolic_link_can_be_asked(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    assert ask(Store(tmp_path / "link"), "SELECT count(*) AS n FROM pool").read_all().to_pylist() == [{"n": 2}]


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
