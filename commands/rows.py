"""Commands that look at rows: show, sql, trace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from commands.errors import report
from commands.terminal import (
    DEFAULT_STORE,
    JsonOption,
    StoreOption,
    announce,
    app,
    console,
    local_file,
    open_store,
    print_rows,
)
from store import ContractError, Store
from store.errors import InputError

PANEL = "Its rows"


@app.command(rich_help_panel=PANEL)
def show(
    table: Annotated[str, typer.Argument(help="A table; docs/tables.md lists them.")],
    where: Annotated[str, typer.Option(help="SQL condition, such as \"parse_status = 'ok'\".")] = "true",
    n: Annotated[int, typer.Option("-n", help="How many rows.")] = 3,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show some rows of a table as a person reads them: code highlighted, long text folded.

    Example:
    ```
    $ scoder show pool -n 1
    ╭─ pool ───────────────────────────────────────╮
    │ snippet_id: 02c26f4c132cc9713f940d9dd9581cb0 │
    │ position: 8                                  │
    │ license: PSF-2.0                             │
    …
    ```
    """
    from commands.reports import print_records
    from store.catalog import ask
    from store.store import contract_of

    columns = ", ".join(contract_of(table).schema.names)
    order = ", ".join(contract_of(table).key)
    rows = ask(
        open_store(store), f"SELECT {columns} FROM {table} WHERE ({where}) ORDER BY {order} LIMIT {int(n)}"
    ).read_all()
    if as_json:
        print(json.dumps(rows.to_pylist(), default=str))
    else:
        print_records(console, rows.to_pylist(), table)


@app.command(rich_help_panel=PANEL)
def sql(
    text: Annotated[str | None, typer.Argument(help="One SELECT, or @file.sql. Without it, a prompt opens.")] = None,
    output: Annotated[
        str | None, typer.Option("-o", help="Write the rows to this Parquet file.", callback=local_file)
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run one SELECT over all tables. Nothing in the store can be changed by it.

    Example:
    ```
    $ scoder sql "SELECT reason, count(*) AS n FROM rejects GROUP BY reason"
    │ reason          │   n │
    │ too_many_chars  │ 449 │
    │ returns_nothing │ 370 │
    …
    ```
    """
    opened = open_store(store)
    for statement in _statements(text):
        try:
            _answer(opened, statement, output, as_json)
        except ContractError as error:
            if text is not None:
                raise
            report(error)


def _statements(text: str | None) -> Iterator[str]:
    if text is not None:
        yield _file_text(Path(text[1:])) if text.startswith("@") else text
        return
    while True:
        try:
            line = input("scoder sql> ").strip()
        except EOFError:
            return
        if line in ("exit", "quit", "\\q"):
            return
        if line:
            yield line


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None


def _answer(store: Store, statement: str, output: str | None, as_json: bool) -> None:
    import pyarrow.parquet as pq

    from store.catalog import ask

    reader = ask(store, statement)
    if output is None:
        print_rows(reader.read_all().to_pylist(), as_json)
        return
    rows, working = 0, Path(f"{output}.{os.getpid()}.tmp")
    working.parent.mkdir(parents=True, exist_ok=True)
    try:
        with pq.ParquetWriter(working, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
        working.replace(output)
    finally:
        working.unlink(missing_ok=True)
    announce(f"{rows:,} rows to {output}")


@app.command(rich_help_panel=PANEL)
def trace(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The id of a snippet, sample, candidate or checkpoint.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show everything that led to a row, and all that came of it.

    Example:
    ```
    $ scoder trace e71d5b7693cf52078ca2ab96ce1d5977
    ╭─ raw_pool ───────────────────────────────────╮
    │ snippet_id: e71d5b7693cf52078ca2ab96ce1d5977 │
    …
    ╭─ rejects ────────────────────────────────────╮
    │ reason: contaminated                         │
    …
    ```
    """
    from commands.reports import print_records
    from queries import trace as tracing

    found = tracing.trace(open_store(store), id_)
    if as_json:
        print(json.dumps(found, default=str))
        return
    for table, rows in found.items():
        print_records(console, rows, table)
