"""Commands that look at rows: show, sql, trace."""

from __future__ import annotations

import json
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
    open_ledger,
    print_rows,
)
from store.counts import counted
from store.errors import InputError

PANEL = "Its rows"


def _output(path: str | None) -> str | None:
    from commands.answers import file_form

    return file_form(local_file(path))


@app.command(rich_help_panel=PANEL)
def show(
    table: Annotated[str, typer.Argument(help="A table; docs/tables.md lists them.")],
    where: Annotated[str, typer.Option(help="SQL condition, such as \"parse_status = 'ok'\".")] = "true",
    n: Annotated[int, typer.Option("-n", min=0, help="How many rows.")] = 3,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show some rows of a table as a person reads them: code highlighted, long text folded.

    Rows of the pool come with their code, and the imports and the context that it needs.

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
    from commands.answers import plain
    from commands.reports import print_records
    from store.catalog import Answer
    from store.schemas import RUNS, contract_of

    if table == "runs":
        names, key = [c.name for c in RUNS], ["started", "partition"]
    else:
        contract = contract_of(table)
        names, key = list(contract.names), list(contract.key)
    columns, order = ", ".join(names), ", ".join(key)
    query = f"SELECT {columns} FROM {table} WHERE ({where}\n) ORDER BY {order} LIMIT {int(n)}"
    if table == "pool":  # a pool is read by its code, which raw_pool has
        query = (
            "SELECT p.*, r.name, shown_code(r.imports, r.context, r.code) AS code "
            f"FROM ({query}) AS p LEFT JOIN raw_pool AS r USING (snippet_id) ORDER BY p.{order}"
        )
    answer = Answer(open_ledger(store), query)
    rows = [dict(zip(answer.columns, row, strict=True)) for rows in answer.rows() for row in rows]
    if as_json:
        print(json.dumps([plain(row) for row in rows]))
    else:
        print_records(console, rows, table)
    for note in answer.notes:
        announce(note)


@app.command(rich_help_panel=PANEL)
def sql(
    text: Annotated[
        str | None, typer.Argument(help="One statement that reads, or @file.sql. Without it, a prompt opens.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", help="Write all rows to this file: .parquet, .csv or .jsonl.", callback=_output),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Stop after so many seconds. Default: no limit.")
    ] = None,
    as_lines: Annotated[bool, typer.Option("--jsonl", help="Print JSON, one row on each line.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run one statement over all tables: SELECT in any form, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN.

    Nothing in the store can be changed by it. A terminal shows the first 1,000 rows; pipes and
    files get all. The table runs has what each partition took and cost.

    Example:
    ```
    $ scoder sql "SELECT reason, count(*) AS n FROM rejects GROUP BY reason"
    │ reason          │   n │
    │ too_many_chars  │ 449 │
    │ returns_nothing │ 370 │
    …
    ```
    """
    from commands import prompt

    def answer(statement: str) -> None:
        _answer(store, statement, output, timeout, as_json, as_lines)

    if text is not None:
        answer(_file_text(Path(text[1:])) if text.startswith("@") else text)
        return
    open_ledger(store)
    prompt.run(answer, report, lambda: _tables(store))


def _tables(store: str) -> None:
    entries = open_ledger(store).entries
    seen = dict.fromkeys(sorted({e.table for e in entries}), 0)
    for entry in entries:
        seen[entry.table] += entry.rows if entry.status != "building" else 0
    print_rows([{"table": table, "rows": rows} for table, rows in seen.items()], as_json=False)


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from None


def _answer(
    store: str, statement: str, output: str | None, timeout: float | None, as_json: bool, as_lines: bool
) -> None:
    from commands import answers
    from store.catalog import Answer

    answer = Answer(open_ledger(store), statement, timeout=timeout)
    if output is not None:
        announce(f"{counted(answers.write(answer, output), 'row')} to {output}")
    elif as_lines:
        answers.print_lines(answer)
    elif as_json:
        answers.print_array(answer)
    elif left_out := answers.show(console, answer):
        announce(left_out)
    for note in answer.notes:
        announce(note)


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

    found = tracing.trace(open_ledger(store), id_)
    if as_json:
        print(json.dumps(found, default=str))
        return
    for table, rows in found.items():
        print_records(console, rows, table)
