"""One `.sql` file per decision or report; `audits/` return the offending rows.

In: a DuckDB connection with a view per table (`store.catalog.connect`) and named parameters. Out: Arrow.
The header of each file says what one row is. Parameters are `$name` only and bound strictly: exactly what a file declares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store import content_id

HERE = Path(__file__).parent
_COMMENT_OR_STRING = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")


def names(folder: str = "") -> list[str]:
    """Names of the queries of a folder, without `.sql`: '' for decisions and reports, 'audits' for audits."""
    return sorted(str(p.relative_to(HERE).with_suffix("")) for p in (HERE / folder).glob("*.sql"))


@cache
def text(name: str) -> str:
    """The text of a query."""
    return (HERE / f"{name}.sql").read_text()


@cache
def parameters(name: str) -> frozenset[str]:
    """The `$names` that a query declares."""
    return frozenset(_PARAMETER.findall(_COMMENT_OR_STRING.sub("", text(name))))


def versions(*query_names: str) -> dict[str, str]:
    """`{file: hash of its text}` for `Plan.texts`."""
    return {f"queries/{n}.sql": content_id(text(n)) for n in query_names}


def relation(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """A query with those of `values` that it declares; a missing one is a KeyError that names it."""
    return connection.sql(text(name), params=_bound(name, values) or None)


def with_verdicts(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """The connection, with the rows of a decision as its table `verdicts`, which other queries read.

    DuckDB holds the rows and puts them on disk when they do not fit under its memory limit.

        decided = queries.with_verdicts(connect(store), "instruction_verdicts", values)
        queries.rows(decided, "rejects_instructions", values)
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE verdicts AS {text(name)}", _bound(name, values))
    return connection


def _bound(name: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
    given = values or {}
    absent = sorted(parameters(name) - given.keys())
    if absent:
        raise KeyError(f"queries/{name}.sql needs ${', $'.join(absent)}; given: {', '.join(given) or 'nothing'}")
    return {p: given[p] for p in parameters(name)}


def stream(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> pa.RecordBatchReader:
    """The rows of a query as a stream of batches."""
    return relation(connection, name, values).to_arrow_reader(10_000)


def table(connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None) -> pa.Table:
    """The rows of a query that is small by nature (a report, a summary)."""
    return relation(connection, name, values).to_arrow_table()


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a small query as dictionaries."""
    return table(connection, name, values).to_pylist()
