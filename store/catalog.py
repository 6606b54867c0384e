"""DuckDB over a store: one view per table, and ad-hoc SQL that can read and do nothing else.

In: a store. Out: a connection whose views hold the rows of all complete partitions; a table without any is an empty view.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from store.errors import ContractError
from store.schemas import CONTRACTS
from store.store import Store

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


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type, as Parquet brings it back."""
    if pa.types.is_list(kind):
        return sql_type(kind.value_type) + "[]"
    return _SQL_TYPES[str(kind)]


def connect(
    store: Store, *, memory_limit: str = "4GB", threads: int | None = None, extra: dict[str, list[str]] | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with a view per table, and one per `extra` name over the Parquet files given for it."""
    connection = duckdb.connect()
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET memory_limit = '{memory_limit}'")
    connection.execute(f"SET temp_directory = '{_quoted(store.scratch('duckdb'))}'")
    connection.execute("SET preserve_insertion_order = true")
    if threads:
        connection.execute(f"SET threads = {threads}")
    records = store.records()
    for name, contract in CONTRACTS.items():
        paths = store.shard_paths(name, records)
        connection.execute(f"CREATE VIEW {name} AS {_source(paths, contract.schema)}")
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
    """The statement itself when `text` is exactly one SELECT; else a ContractError."""
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise ContractError(f"not valid SQL: {error}") from None
    kinds = [s.type.name for s in statements]
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise ContractError(f"give exactly one SELECT; got {len(kinds)} statements: {', '.join(kinds) or 'none'}")
    return statements[0].query


def lock_down(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    """From here on the connection reads the store's directory and nothing else."""
    connection.execute(f"SET allowed_directories = ['{_quoted(store.root)}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def ask(store: Store, text: str) -> pa.RecordBatchReader:
    """Ad-hoc SQL over all tables: exactly one SELECT, read-only, as a stream of Arrow batches."""
    connection = connect(store)
    statement = select_only(connection, text)
    lock_down(connection, store)
    try:
        reader = connection.sql(statement).to_arrow_reader(10_000)
    except duckdb.Error as error:
        raise ContractError(f"{error}\nTables: {', '.join(CONTRACTS)} (columns: docs/tables.md)") from None
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader))


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches; an error in a later row, which Arrow passes on as OSError, is the query's."""
    try:
        yield from reader
    except OSError as error:
        raise ContractError(str(error)) from None
