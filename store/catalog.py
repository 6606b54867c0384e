"""DuckDB over a store: one view per table, and statements of a user that can read and do no more.

In: a store. Out: a connection with a view for each table; a table without rows is an empty view. A
builder names the inputs of its plan: then the views hold exactly these partitions, and what a
builder forgot to name is empty. Without inputs, they hold all complete (or stale) partitions: that
is for people. They also get the table `runs`, with one row per partition.

    connect(store).sql("SELECT count(*) FROM pool").show()
    connect(store, plan.inputs).sql(text)  # what the plan names, and nothing else
    for rows in Answer(store, "SELECT snippet_id FROM pool").rows(): ...  # as they come
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import duckdb

from store.errors import ContractError, JobError
from store.ledger import Ledger
from store.schemas import CONTRACTS, RUNS, VERSION, Column
from store.shown import MACRO

if TYPE_CHECKING:
    import pyarrow as pa

    from store.runs import Record

T = TypeVar("T")

_ANY_TABLE = re.compile(r"\b(show|information_schema|duckdb_\w+|pragma_\w+|sqlite_\w+|pg_\w+|query\w*)\b", re.I)
"""Words of statements that may look at any table without naming it."""
_COMMENT_OR_STRING = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.S)
_SPACE = r"(?:\s|--[^\n]*\n|/\*.*?\*/)"
_EXPLAIN = re.compile(rf"{_SPACE}*explain\b({_SPACE}+analyze\b)?(.*)", re.I | re.S)
_OPTIONS = re.compile(rf"{_SPACE}*\([^()]*\)", re.S)
_MOMENT = r"TIMESTAMP WITH TIME ZONE|TIMESTAMP(?:_NS|_MS|_S)?|TIME WITH TIME ZONE|TIME(?:_NS)?|DATE|INTERVAL"
_MOMENTS = re.compile(rf"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|\b(?:{_MOMENT})\b(?! [A-Z])")
"""Types of dates, times and intervals inside a type, and what is quoted there: a name, a value."""
_READ: dict[str, Callable[[str], date]] = {
    "DATE": date.fromisoformat,
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE"), datetime.fromisoformat),
}
"""Types whose values Python can hold, unless the year is too early or too late, or infinite."""


class Files(Protocol):
    """What the catalog needs of a store.

    `Store` itself imports this module, so it is not imported.
    """

    root: str

    def scratch(self, name: str) -> str: ...

    def shard_paths(self, table: str, records: Sequence[Record] | None = None) -> list[str]: ...

    def input_records(self, inputs: Mapping[str, str]) -> list[Record]: ...


def connect(
    store: Files | Ledger,
    inputs: Mapping[str, str] | None = None,
    *,
    memory_limit: str = "4GB",
    threads: int | None = None,
    extra: dict[str, list[str]] | None = None,
    tables: Collection[str] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection with a view per table.

    `inputs` are those of a plan, `{partition: fingerprint of its content}`: the views hold exactly
    these partitions. ContractError if one of them is not built, stale, or has another content by
    now. Without `inputs`, the views hold all complete and stale partitions. `tables` are those that
    will be asked for; without it, all tables and `runs` are there. `extra` adds views: a name, and
    the Parquet files that the view reads.
    """
    connection = duckdb.connect(
        config={
            "python_enable_replacements": "false",
            "memory_limit": memory_limit,
            "temp_directory": store.scratch("duckdb"),
            "preserve_insertion_order": "true",
            **({"threads": str(threads)} if threads else {}),
        }
    )
    if isinstance(store, Ledger) or inputs is None:
        ledger = store if isinstance(store, Ledger) else Ledger(store.root)
        paths = ledger.paths
        if tables is None or "runs" in tables:
            _create_runs(connection, ledger)
    else:
        records = store.input_records(inputs)

        def paths(table: str) -> list[str]:
            return store.shard_paths(table, records)

    for name in CONTRACTS if tables is None else [t for t in CONTRACTS if t in tables]:
        _create_view(connection, name, paths(name), store.root)
    connection.execute(MACRO)
    for name, files in (extra or {}).items():
        if not files:
            raise ContractError("a view needs at least one Parquet file")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {_parquet(files)}")
    return connection


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, paths: list[str], root: str) -> None:
    columns = CONTRACTS[name].columns
    if paths:
        source = f"SELECT {', '.join(_name(c) for c in columns)} FROM {_parquet(paths)}"
    else:
        source = f"SELECT {', '.join(f'NULL::{c.kind} AS {_name(c)}' for c in columns)} WHERE false"
    try:
        connection.execute(f"CREATE VIEW {name} AS {source}")
    except duckdb.Error as error:
        versions = _versions(connection, paths) if isinstance(error, duckdb.BinderException) else []
        if other := next((version for version in versions if version != VERSION), None):
            raise ContractError(
                f"the table {name} of {root} was built under version {other} of the contracts, and this is version "
                f"{VERSION}: read this store with the SCoder that built it, or run its recipe into a new one"
            ) from None
        raise ContractError(
            f"the table {name} of {root} cannot be read: {str(error).splitlines()[0]}. `scoder verify` names the files "
            "that are missing or damaged"
        ) from None


def _versions(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> list[int]:
    """The versions of the contracts that these files were written under. Damaged ones tell none."""
    from store.shards import FOOTER_VERSION  # imported here: it loads Arrow and pydantic

    try:
        found = connection.execute(
            "SELECT DISTINCT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = ?",
            [paths, FOOTER_VERSION.decode()],
        ).fetchall()
    except duckdb.Error:
        return []
    return [int(version) for (version,) in found]


def _create_runs(connection: duckdb.DuckDBPyConnection, ledger: Ledger) -> None:
    rows = [
        {
            "table_name": entry.table,
            "partition": entry.where,
            "status": entry.status,
            "is_seen": entry.status != "building",
            "num_rows": entry.rows,
            "num_files": len(entry.files),
            "num_bytes": entry.bytes,
            "started": _utc(entry.started),
            "finished": _utc(entry.finished),
        }
        | {c.name: getattr(entry, c.name) for c in RUNS if c.name in _AS_THEY_ARE}
        for entry in ledger.entries
    ]
    columns = ", ".join(f"{_name(c)} {c.kind}{'' if c.nullable else ' NOT NULL'}" for c in RUNS)
    connection.execute(f"CREATE TABLE runs ({columns})")
    types = json.dumps([{c.name: c.kind for c in RUNS}])
    # One JSON text is bound. A parameter for each value would take a second for 10,000 partitions.
    connection.execute(
        f"INSERT INTO runs BY NAME SELECT unnest(from_json($rows, '{types}'), recursive := true)",
        {"rows": json.dumps(rows)},
    )


_AS_THEY_ARE = {"seconds", "prompt_tokens", "completion_tokens", "cost_usd", "command", "code_version"}


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).replace(tzinfo=None).isoformat(" ")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _name(column: Column) -> str:
    return f'"{column.name}"'


def _parquet(paths: list[str]) -> str:
    listed = ", ".join(f"'{_quoted(p)}'" for p in paths)
    return f"read_parquet([{listed}], hive_partitioning = false)"


# -- statements of a user --------------------------------------------------------------------------


def read_only(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """The statement, if `text` is exactly one that only reads. Anything else is a ContractError.

    That is a SELECT in any of its forms: WITH, FROM, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW; and
    EXPLAIN or EXPLAIN ANALYZE of one.
    """
    try:
        statements = connection.extract_statements(text)
    except duckdb.Error as error:
        raise ContractError(f"not valid SQL: {error}") from None
    if len(statements) == 1:
        statement = statements[0].query
        if _is_query(connection, statements[0]):
            return statement
        if explained := _explained(connection, statement):
            return explained
    kinds = ["one that also writes" if s.type.name == "MULTI" else s.type.name for s in statements]
    raise ContractError(
        f"only one statement that reads can be run, such as SELECT, PIVOT, DESCRIBE or EXPLAIN SELECT; got "
        f"{', '.join(kinds) or 'no statement'}"
    )


def _is_query(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> bool:
    """Whether a statement gives rows and does nothing else.

    DuckDB makes several statements of a PIVOT without a list of values, and likewise of COPY and
    CREATE of one. Only a query can stand in brackets after FROM.
    """
    if statement.type.name != "MULTI":
        return statement.type.name == "SELECT"
    return _in_brackets(connection, statement.query) is not None


def _in_brackets(connection: duckdb.DuckDBPyConnection, statement: str) -> str | None:
    """`(statement)`, as it can stand after FROM: without a `;` at its end. None if it cannot."""
    for text in (statement, statement.rpartition(";")[0]):
        with suppress(duckdb.Error):
            if len(connection.extract_statements(f"SELECT * FROM ({text}\n)")) == 1:
                return f"({text}\n)"
    return None


def _explained(connection: duckdb.DuckDBPyConnection, statement: str) -> str | None:
    """The statement, if it is EXPLAIN of a query. None if not.

    EXPLAIN ANALYZE runs what it explains, and DuckDB does not say what that is. So the rest is
    looked at on its own, and the statement is put together again: what runs is what was looked at.
    """
    found = _EXPLAIN.match(statement)
    if found is None:
        return None
    options = _OPTIONS.match(found[2])
    for given in ("", options[0] if options else ""):
        try:
            inner = connection.extract_statements(found[2].removeprefix(given))
        except duckdb.Error:
            continue
        if len(inner) == 1 and _is_query(connection, inner[0]):
            return f"EXPLAIN {'ANALYZE' if found[1] else ''} {given} {inner[0].query}"
    return None


def lock_down(connection: duckdb.DuckDBPyConnection, root: str) -> None:
    """Let the connection read the store's directory from now on, and nothing else."""
    connection.execute(f"SET allowed_directories = ['{_quoted(root)}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def relation(store: Files, text: str) -> duckdb.DuckDBPyRelation:
    """The rows of one statement over all tables, as a DuckDB relation. Nothing can be written."""
    connection = connect(store)
    statement = read_only(connection, text)
    lock_down(connection, store.root)
    try:
        return connection.sql(statement)
    except duckdb.Error as error:
        raise _with_tables(error) from None


def ask(store: Files, text: str) -> pa.RecordBatchReader:
    """The rows of `relation` as a stream of Arrow batches."""
    import pyarrow as pa

    found = relation(store, text)
    try:
        reader = found.to_arrow_reader(10_000)
    except duckdb.Error as error:
        raise _with_tables(error) from None
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader))


def _with_tables(error: duckdb.Error) -> ContractError:
    """The error for people. If a name is not known, the tables that there are."""
    if not isinstance(error, duckdb.CatalogException | duckdb.BinderException):
        return ContractError(str(error))
    return ContractError(f"{error}\nTables: {', '.join(CONTRACTS)}, runs (columns: docs/tables.md)")


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches. If a later row fails, Arrow raises OSError: it becomes an error of the query."""
    try:
        yield from reader
    except OSError as error:
        raise ContractError(str(error)) from None


class Answer:
    """The rows of one statement of a user, as they come. Nothing can be written.

    `columns` holds every name once: a second `n` is called `n_1`. `kinds` holds their types in SQL.
    `notes` says what the rows do not tell: stale partitions, and those that are not finished. With
    `timeout`, in seconds, JobError says that the time is over. Ctrl-C ends the statement, too.

    Example:
        for rows in Answer(Ledger("store-data"), "SELECT snippet_id FROM pool").rows():
            print(len(rows), rows[0])
    """

    def __init__(self, ledger: Ledger, text: str, *, timeout: float | None = None):
        self._timeout = timeout
        self._until = None if timeout is None else time.monotonic() + timeout
        self._connection = connect(ledger, tables=())
        self._statement = read_only(self._connection, text)
        named = tables_of(self._statement)
        self.notes = notes(ledger, named)
        every = bool(_ANY_TABLE.search(self._statement))
        self._add(ledger, {*CONTRACTS, "runs"} if every else named)
        lock_down(self._connection, ledger.root)
        try:
            self._wait(lambda: self._connection.execute(self._statement))
        except duckdb.CatalogException as error:
            # DuckDB names the tables that are like an unknown one, among those that are there.
            self._add(ledger, set() if every else {*CONTRACTS, "runs"} - named)
            raise self._unknown(error) from None
        except duckdb.Error as error:
            raise _with_tables(error) from None
        self.columns = unique([d[0] for d in self._connection.description or []])
        self.kinds = [str(d[1]) for d in self._connection.description or []]

    def rows(self, size: int = 1000) -> Iterator[list[tuple[Any, ...]]]:
        """The rows as Python values, up to `size` at a time.

        A date or time that Python cannot hold is text, as DuckDB writes it: after the year 9999,
        BC, infinite, or with nanoseconds. So are intervals, because Python has no months, and all
        of these in lists, structs and maps.
        """
        readers = [(n, _READ[kind]) for n, kind in enumerate(self.kinds) if kind in _READ]
        try:
            if any(_as_text(kind) != kind for kind in self.kinds):
                statement = self._with_texts()
                self._wait(lambda: self._connection.execute(statement))
            while rows := self._wait(lambda: self._connection.fetchmany(size)):
                yield [_read(row, readers) for row in rows] if readers else rows
        except duckdb.Error as error:
            raise ContractError(str(error)) from None

    def _with_texts(self) -> str:
        """The statement, but each date, time and interval is text."""
        columns = [
            f"c{n}" if _as_text(kind) == kind else f"CAST(c{n} AS {_as_text(kind)})"
            for n, kind in enumerate(self.kinds)
        ]
        names = ", ".join(f"c{n}" for n in range(len(self.kinds)))
        source = _in_brackets(self._connection, self._statement)
        return f"SELECT {', '.join(columns)} FROM {source} AS answer({names})"

    def batches(self, size: int = 10_000) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows as Arrow batches, and their schema. For files, and when nothing was read yet."""
        import pyarrow as pa

        self._connection.abort()
        try:
            reader = self._wait(lambda: self._connection.sql(self._statement).to_arrow_reader(size))
        except duckdb.Error as error:
            raise _with_tables(error) from None
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, self.columns, strict=True)])

        def renamed() -> Iterator[pa.RecordBatch]:
            try:
                while (batch := self._wait(lambda: next(reader, None))) is not None:
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            except (OSError, duckdb.Error) as error:
                raise ContractError(str(error)) from None

        return schema, renamed()

    def _add(self, ledger: Ledger, names: Collection[str]) -> None:
        for name in CONTRACTS:
            if name in names:
                _create_view(self._connection, name, ledger.paths(name), ledger.root)
        if "runs" in names:
            _create_runs(self._connection, ledger)

    def _unknown(self, error: duckdb.Error) -> ContractError:
        try:
            self._connection.execute(self._statement)
        except duckdb.Error as again:
            return _with_tables(again)
        return _with_tables(error)

    def _wait(self, call: Callable[[], T]) -> T:
        """What `call` returns. It can be ended while it runs, by Ctrl-C and by the time limit.

        DuckDB does not look at signals while it makes rows. So it works in another thread.
        """
        made: list[T] = []
        failed: list[BaseException] = []
        # `Thread.join` takes a thread for ended when Ctrl-C interrupts it (Python 3.11 and 3.12).
        # DuckDB would work on while Python ends, which aborts the process.
        ended = threading.Event()

        def work() -> None:
            try:
                made.append(call())
            except BaseException as error:
                failed.append(error)
            finally:
                ended.set()

        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
            ended.wait(None if self._until is None else max(0.0, self._until - time.monotonic()))
        except BaseException:
            self._end(ended)
            raise
        if not ended.is_set():
            self._end(ended)
            raise JobError(
                f"no answer within {self._timeout:g} s. Give it more time (--timeout), or ask for less: fewer tables, "
                "a WHERE, a LIMIT"
            )
        if failed:
            raise failed[0]
        return made[0]

    def _end(self, ended: threading.Event) -> None:
        """Let DuckDB stop. A further Ctrl-C is ignored: Python must not end before DuckDB has.

        DuckDB forgets an interrupt that comes before it has begun. So it is told again.
        """
        while not ended.is_set():
            with suppress(KeyboardInterrupt, SystemExit):
                self._connection.interrupt()
                ended.wait(0.1)


def _as_text(kind: str) -> str:
    """The type with VARCHAR in place of dates, times and intervals.

    >>> _as_text('STRUCT("DATE" BIGINT, b DATE[])')
    'STRUCT("DATE" BIGINT, b VARCHAR[])'
    """
    return _MOMENTS.sub(lambda found: found[0] if found[0][0] in "\"'" else "VARCHAR", kind)


def _read(row: tuple[Any, ...], readers: list[tuple[int, Callable[[str], date]]]) -> tuple[Any, ...]:
    """The row with dates and times for their texts, where Python can hold them."""
    values = list(row)
    for n, reader in readers:
        if values[n] is not None:
            with suppress(ValueError):
                values[n] = reader(values[n])
    return tuple(values)


def tables_of(statement: str) -> set[str]:
    """The tables of a store, and `runs`, that a statement names outside of strings and comments."""
    words = set(re.findall(r"\w+", _COMMENT_OR_STRING.sub(" ", statement).lower()))
    return words & {*CONTRACTS, "runs"}


def unique(names: list[str]) -> list[str]:
    """The names, each only once.

    >>> unique(["n", "n", "id", "n"])
    ['n', 'n_1', 'id', 'n_2']
    """
    found: list[str] = []
    for name in names:
        number, free = 0, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def notes(ledger: Ledger, tables: Collection[str]) -> list[str]:
    """What a reader of these tables should know: which partitions are stale, which not finished."""
    states = {
        "stale": "stale: what they were made from was built again. `scoder run RECIPE` builds them again",
        "building": "not finished: their rows are not seen yet",
    }
    found = []
    for status, meaning in states.items():
        names = [e.where for e in ledger.entries if e.table in tables and e.status == status]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            found.append(f"{', '.join(names[:5])}{more}: {meaning}")
    return found
