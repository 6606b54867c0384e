"""DuckDB over a store: one view per table, and SQL of a user that can read and do nothing else.

In: a store. Out: a connection with a view for each table; a table without rows is an empty view. A
builder names the inputs of its plan: then the views hold exactly these partitions, and what a
builder forgot to name is empty. Without inputs, they hold all complete (or stale) partitions: that
is for people.

    connect(store).sql("SELECT count(*) FROM pool").show()
    connect(store, plan.inputs).sql(text)  # what the plan names, and nothing else
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import duckdb
import pyarrow as pa

from store.errors import ContractError
from store.runs import Record
from store.schemas import CONTRACTS

_SQL_TYPES = {
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "binary": "BLOB",
}


class Files(Protocol):
    """What the catalog needs of a store.

    `Store` itself imports this module, so it is not imported.
    """

    root: str

    def scratch(self, name: str) -> str: ...

    def records(self) -> list[Record]: ...

    def shard_paths(self, table: str, records: Sequence[Record] | None = None) -> list[str]: ...

    def input_records(self, inputs: Mapping[str, str]) -> list[Record]: ...


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name for an Arrow type that was read from Parquet."""
    if pa.types.is_list(kind):
        return sql_type(kind.value_type) + "[]"
    return _SQL_TYPES[str(kind)]


def connect(
    store: Files,
    inputs: Mapping[str, str] | None = None,
    *,
    memory_limit: str = "4GB",
    threads: int | None = None,
    extra: dict[str, list[str]] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection with a view per table.

    `inputs` are those of a plan, `{partition: fingerprint of its content}`: the views hold exactly
    these partitions. ContractError if one of them is not built, stale, or has another content by
    now. Without `inputs`, the views hold all complete and stale partitions. `extra` adds views: a
    name, and the Parquet files that the view reads.
    """
    connection = duckdb.connect()
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET memory_limit = '{memory_limit}'")
    connection.execute(f"SET temp_directory = '{_quoted(store.scratch('duckdb'))}'")
    connection.execute("SET preserve_insertion_order = true")
    if threads:
        connection.execute(f"SET threads = {threads}")
    records = store.records() if inputs is None else store.input_records(inputs)
    for name, contract in CONTRACTS.items():
        paths = store.shard_paths(name, records)
        try:
            connection.execute(f"CREATE VIEW {name} AS {_source(paths, contract.schema)}")
        except duckdb.Error as error:
            raise ContractError(
                f"the table {name} of {store.root} cannot be read: {str(error).splitlines()[0]}. `scoder verify` names "
                "the files that are missing or damaged"
            ) from None
    for name, paths in (extra or {}).items():
        connection.execute(f"CREATE VIEW {name} AS {_source(paths, None)}")
    return connection


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _source(paths: list[str], schema: pa.Schema | None) -> str:
    if not paths:
        if schema is None:
            raise ContractError("a view needs at least one Parquet file")
        columns = ", ".join(f'NULL::{sql_type(f.type)} AS "{f.name}"' for f in schema)
        return f"SELECT {columns} WHERE false"
    listed = ", ".join(f"'{_quoted(p)}'" for p in paths)
    columns = ", ".join(f'"{f.name}"' for f in schema) if schema is not None else "*"
    return f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)"


def select_only(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """The statement, if `text` is exactly one SELECT. Anything else is a ContractError."""
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise ContractError(f"not valid SQL: {error}") from None
    kinds = [s.type.name for s in statements]
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ContractError(f"only a single SELECT can be run, got {', '.join(kinds) or 'no statement'}")
    return statements[0].query


def lock_down(connection: duckdb.DuckDBPyConnection, store: Files) -> None:
    """Let the connection read the store's directory from now on, and nothing else."""
    connection.execute(f"SET allowed_directories = ['{_quoted(store.root)}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def relation(store: Files, text: str) -> duckdb.DuckDBPyRelation:
    """The rows of one SELECT over all tables, as a DuckDB relation. Nothing can be written."""
    connection = connect(store)
    statement = select_only(connection, text)
    lock_down(connection, store)
    try:
        return connection.sql(statement)
    except duckdb.Error as error:
        raise _with_tables(error) from None


def ask(store: Files, text: str) -> pa.RecordBatchReader:
    """The rows of `relation` as a stream of Arrow batches."""
    found = relation(store, text)
    try:
        reader = found.to_arrow_reader(10_000)
    except duckdb.Error as error:
        raise _with_tables(error) from None
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader))


def _with_tables(error: duckdb.Error) -> ContractError:
    return ContractError(f"{error}\nTables: {', '.join(CONTRACTS)} (columns: docs/tables.md)")


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches. If a later row fails, Arrow raises OSError: it becomes an error of the query."""
    try:
        yield from reader
    except OSError as error:
        raise ContractError(str(error)) from None
