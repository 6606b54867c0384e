"""The queries: one `.sql` file per decision or report. Those in `audits/` return offending rows.

In: a DuckDB connection with a view per table (`store.catalog.connect`), and values for the
`$parameters` of a query. Out: its rows. The header of each file says what one row is. Each query
gets exactly the parameters that stand in its text. A query that is too long for one file comes in
`STEPS`, which stand in files of their own and may be shared.

    connection = connect(Store("store-data"))
    rows(connection, "report_rejects")
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store import content_id

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

HERE = Path(__file__).parent
_COMMENT_OR_STRING = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
_SPACE_OR_STRING = re.compile(r"('(?:[^']|'')*')|(?:--[^\n]*|\s)+")
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")
STEPS = {
    "gradient_items": {"weighed": "instruction_weighed", "best": "best_of_snippets"},
    "pool": {"repos": "snippet_repos"},
    "pool_verdicts": {"repos": "snippet_repos"},
    "instruction_verdicts": {"weighed": "instruction_weighed", "best": "best_of_snippets"},
    "selection_verdicts": {"weighed": "selection_weighed", "best": "best_of_snippets"},
    "weak_aspects": {"digits": "aspect_digits"},
}
"""Queries in steps: the queries that run before, each by the name of the table that holds its rows
for the next one."""


def names(folder: str = "") -> list[str]:
    """The names of the queries of a folder, without `.sql`.

    '' is the folder of the decisions and reports, 'audits' that of the audits.
    """
    return sorted(str(p.relative_to(HERE).with_suffix("")) for p in (HERE / folder).glob("*.sql"))


@cache
def text(name: str) -> str:
    """The text of a query."""
    return (HERE / f"{name}.sql").read_text()


@cache
def parameters(name: str) -> frozenset[str]:
    """The names of the `$parameters` that stand in the text of a query."""
    return frozenset(_PARAMETER.findall(_COMMENT_OR_STRING.sub("", text(name))))


def statement(sql: str) -> str:
    """SQL without comments and with one blank for any space outside of strings.

    >>> statement("-- One row is a number.\\nSELECT  1,\\n    'a  b'")
    "SELECT 1, 'a  b'"
    """
    return _SPACE_OR_STRING.sub(lambda m: m[1] or " ", sql).strip()


def versions(*query_names: str) -> dict[str, str]:
    """`{file: hash of its statement}` for `Plan.texts`. Comments and line breaks change no row."""
    return {f"queries/{n}.sql": content_id(statement(text(n))) for n in query_names}


def steps(name: str) -> list[str]:
    """A query and the steps before it, in the order in which they run."""
    return [*STEPS.get(name, {}).values(), name]


def all_parameters(name: str) -> list[str]:
    """The names of the `$parameters` of a query and of the steps before it."""
    return sorted({p for n in steps(name) for p in parameters(n)})


def relation(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyRelation:
    """A query as a DuckDB relation. The steps before it are run first.

    Of `values` each gets those whose names stand in its text. A missing one is a KeyError that
    names it.
    """
    _run_steps(connection, name, values)
    return connection.sql(text(name), params=_bound(name, values) or None)


def with_verdicts(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Run a decision, and keep its rows as the table `verdicts`, which other queries read.

    Returns the connection. DuckDB writes the rows to disk when they do not fit in memory.

    Example:
        decided = queries.with_verdicts(connect(store), "instruction_verdicts", values)
        queries.rows(decided, "rejects_instructions", values)
    """
    _run_steps(connection, name, values)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE verdicts AS {text(name)}", _bound(name, values))
    for held in STEPS.get(name, {}):
        connection.execute(f"DROP TABLE {held}")
    return connection


def _run_steps(connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None) -> None:
    for held, step in STEPS.get(name, {}).items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {held} AS {text(step)}", _bound(step, values))


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
    """The rows of a query as one Arrow table. For queries with few rows, such as reports."""
    return relation(connection, name, values).to_arrow_table()


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a query as dictionaries. For queries with few rows.

    Example:
        rows(connect(Store("store-data")), "report_metrics")
    """
    return table(connection, name, values).to_pylist()
