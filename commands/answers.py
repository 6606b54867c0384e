"""The rows of a statement, for people, for programs and into files, as they come.

In: an `Answer` of `store.catalog`. Out: tables on the terminal, JSON, or a file that is named by
its ending: .parquet, .csv or .jsonl. No more than some thousand rows are in memory at any time.

What JSON has no form for becomes text: dates and times as ISO 8601 writes them, bytes as base64,
and the numbers NaN, Infinity and -Infinity by these names. Intervals, times within lists and
structs, and times that Python cannot hold are as DuckDB writes them.
"""

from __future__ import annotations

import base64
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.reports import printable
from store.catalog import Answer
from store.errors import ContractError, InputError

CAP = 1000
"""How many rows are shown on a terminal. Pipes and files get all of them."""
BLOCK = 1000
"""How many rows one table of the output has. Its columns are as wide as its rows need."""
COUNT_S = 0.3
"""For how long the rows that are not shown are counted, in seconds."""
LONG = 300
"""How many characters of a value are shown on a terminal."""

_EXACT = {"VARCHAR", "BOOLEAN", "BIGINT", "UBIGINT", "INTEGER", "UINTEGER", "SMALLINT"}
_EXACT |= {"USMALLINT", "TINYINT", "UTINYINT"}
"""Types whose values JSON has as they are."""
_NUMBERS = (_EXACT - {"VARCHAR", "BOOLEAN"}) | {"FLOAT", "DOUBLE", "HUGEINT", "UHUGEINT"}


# -- for people ------------------------------------------------------------------------------------


def show(console: Console, answer: Answer) -> str:
    """Print the rows as tables. Returns a note if not all of them were shown."""
    cap = CAP if console.is_terminal else None
    if answer.columns == ["explain_key", "explain_value"]:
        for rows in answer.rows():
            for _, plan in rows:
                console.print(Text(printable(str(plan))), soft_wrap=True)
        return ""
    shown = 0
    blocks = answer.rows(BLOCK)
    for rows in blocks:
        console.print(_table(answer, rows, LONG if cap else None))
        shown += len(rows)
        if cap and shown >= cap:
            return _left_out(blocks, shown)
    if not shown:
        console.print(_table(answer, [], None))
        return "0 rows"
    return ""


def _left_out(blocks: Iterator[list[Any]], shown: int) -> str:
    """How many rows were not shown: counted, if that takes no time."""
    until, more = time.monotonic() + COUNT_S, 0
    for rows in blocks:
        more += len(rows)
        if time.monotonic() > until:
            return f"{shown:,} rows are shown, and there are more; -o FILE writes all of them"
    return f"{shown:,} rows are shown, {more:,} are not; -o FILE writes all of them" if more else ""


def _table(answer: Answer, rows: list[tuple[Any, ...]], longest: int | None) -> Table:
    table = Table()
    for name, kind in zip(answer.columns, answer.kinds, strict=True):
        is_number = kind in _NUMBERS or kind.startswith("DECIMAL")
        table.add_column(Text(printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("NULL", style="dim") if v is None else Text(cell(v, longest)) for v in row))
    return table


def cell(value: Any, longest: int | None = None) -> str:
    """A value as a person reads it, in at most `longest` characters."""
    if isinstance(value, bytes):
        text = f"{value[:8].hex(' ')}{' …' if len(value) > 8 else ''} ({len(value):,} bytes)"
    elif isinstance(value, float):
        text = f"{value:.10g}"
    elif isinstance(value, bool | dict | list | tuple):
        text = json.dumps(plain(value), ensure_ascii=False)
    else:
        text = printable(str(value))
    return text if longest is None or len(text) <= longest else text[:longest] + "…"


# -- for programs ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value of DuckDB as one that JSON has.

    >>> plain({1: [Decimal("1.5"), float("nan")], date(2026, 1, 2): b"a"})
    {'1': [1.5, 'NaN'], '2026-01-02': 'YQ=='}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, Decimal):
        number = int(value) if value == value.to_integral_value() else float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, dict):
        return {k if isinstance(k, str) else str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def _objects(answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """The rows as JSON objects, some thousand at a time."""
    names = answer.columns
    others = [n for n, kind in zip(names, answer.kinds, strict=True) if kind not in _EXACT]
    for rows in answer.rows(2000):
        objects = [dict(zip(names, row, strict=True)) for row in rows]
        for name in others:
            for one in objects:
                one[name] = plain(one[name])
        yield objects


def print_array(answer: Answer) -> None:
    """Print the rows as one JSON array."""
    before = "["
    for objects in _objects(answer):
        sys.stdout.write(f"{before}{json.dumps(objects)[1:-1]}")
        before = ",\n"
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def print_lines(answer: Answer) -> None:
    """Print the rows as JSON, an object on each line."""
    for objects in _objects(answer):
        sys.stdout.writelines(f"{json.dumps(one)}\n" for one in objects)


# -- into files ------------------------------------------------------------------------------------


def file_form(path: str | None) -> str | None:
    """The path, if its ending is one that can be written. A callback of options."""
    if path is not None and Path(path).suffix.lower() not in WRITERS:
        raise InputError(f"cannot write {path}: its name must end in {', '.join(WRITERS)}")
    return path


def write(answer: Answer, output: str) -> int:
    """Write all rows to a file, which appears when it is whole. Returns how many there are."""
    path = Path(output)
    working = Path(f"{output}.{os.getpid()}.tmp")
    working.parent.mkdir(parents=True, exist_ok=True)
    try:
        rows = WRITERS[path.suffix.lower()](answer, working)
        working.replace(path)
        return rows
    finally:
        working.unlink(missing_ok=True)


def _write_parquet(answer: Answer, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, batches = answer.batches()
    rows = 0
    try:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    except pa.ArrowNotImplementedError as error:
        kinds = ", ".join(f"{n} {k}" for n, k in zip(answer.columns, answer.kinds, strict=True))
        raise ContractError(
            f"Parquet has no type for one of these columns: {kinds} ({error}). Cast it to VARCHAR"
        ) from None
    return rows


def _write_csv(answer: Answer, path: Path) -> int:
    import csv

    def value(of: Any) -> Any:
        made = plain(of)
        return json.dumps(made, ensure_ascii=False) if isinstance(made, bool | dict | list) else made

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(answer.columns)
        rows = 0
        for batch in answer.rows():
            writer.writerows([value(v) for v in row] for row in batch)
            rows += len(batch)
    return rows


def _write_lines(answer: Answer, path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for objects in _objects(answer):
            file.writelines(f"{json.dumps(one)}\n" for one in objects)
            rows += len(objects)
    return rows


WRITERS: dict[str, Callable[[Answer, Path], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_lines,
}
