"""The rows of files of columns: Parquet, Arrow, CSV and TSV.

In: a path. Out: rows as dictionaries, some hundred at a time, so memory does not grow with the
file. `datasets` writes Arrow in folders of `save_to_disk`, and in its cache.

    for row in parquet_rows(Path("rows.parquet"), ["id", "text"]): print(row)
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets import packed
from store.errors import InputError
from training.tool_calls import without_filled

Row = dict[str, Any]

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 25
"""About what the rows of a batch may take, packed as they are in the file."""
SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


def is_parquet(path: Path) -> bool:
    """Whether the file starts as Parquet does."""
    return _starts(path, _PARQUET)


def is_arrow(path: Path) -> bool:
    """Whether the file starts as one of Arrow's two forms does."""
    return _starts(path, _ARROW_FILE, _ARROW_STREAM)


def _starts(path: Path, *magic: bytes) -> bool:
    with open(path, "rb") as handle:
        return handle.read(6).startswith(magic)


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a Parquet file, with all or some of their columns."""
    number = 0
    try:
        # the default, pre-buffering, keeps everything read of a file in memory until its end
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            size = rows_at_once(file.metadata)
            for batch in file.iter_batches(batch_size=size, columns=list(columns) if columns else None):
                yield from _rows(batch)
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "Parquet", number, error) from error


def rows_at_once(about: pq.FileMetaData) -> int:
    """So many rows that they take little memory, also where each has several MB."""
    num_bytes = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    return max(1, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(1, num_bytes)))


def arrow_rows(path: Path) -> Iterator[Row]:
    """The rows of an Arrow file, or of a stream that was written to a file."""
    number = 0
    try:
        with pa.OSFile(str(path)) as source:
            for batch in _batches(source, _starts(path, _ARROW_FILE)):
                size = max(1, min(BATCH_ROWS, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
                for start in range(0, batch.num_rows, size):
                    yield from _rows(batch.slice(start, size))
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, "Arrow", number, error) from error


def _rows(batch: pa.RecordBatch) -> list[Row]:
    """The rows of a batch, without what Arrow filled into the arguments of calls."""
    rows: list[Row] = batch.to_pylist()
    if any(pa.types.is_nested(field.type) for field in batch.schema):
        return [without_filled(row) for row in rows]
    return rows


def arrow_schema(path: Path) -> pa.Schema:
    """The columns of an Arrow file, or of a stream."""
    with pa.OSFile(str(path)) as source:
        return (pa.ipc.open_file if _starts(path, _ARROW_FILE) else pa.ipc.open_stream)(source).schema


def _batches(source: Any, is_file: bool) -> Iterator[pa.RecordBatch]:
    if not is_file:
        yield from pa.ipc.open_stream(source)
        return
    reader = pa.ipc.open_file(source)
    yield from (reader.get_batch(number) for number in range(reader.num_record_batches))


def _broken(path: Path, form: str, number: int, error: Exception) -> InputError:
    after = f" after row {number:,}" if number else ""
    return InputError(f"{path} is not a whole {form} file{after} ({error}). Copy or write it again.")


def separated_rows(path: Path, separator: str) -> Iterator[Row]:
    """The rows of CSV or TSV, whose first line names the columns. All values are text."""
    with packed.text(path) as text:
        yield from packed.read_up_to(_separated(text, path, separator))


def _require_distinct(names: Sequence[str], path: Path) -> None:
    """InputError for two columns of one name: the values of the first would be lost."""
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise InputError(f"{path} has two columns {twice!r}: give each its own name. It has {', '.join(names)}.")


class _Lines:
    """The lines of a text for a reader of CSV, which may need several for one row.

    InputError if they are more than a row may have.
    """

    def __init__(self, text: IO[str], path: Path):
        self.text, self.path, self.row = text, path, 0
        self.left = packed.MAX_ROW_CHARS

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.text.readline(self.left + 1)
        self.left -= len(line)
        if self.left < 0:
            place = f"row {self.row:,}" if self.row else "the line with the names of the columns"
            raise packed.too_long(f"{self.path}, {place}")
        if not line:
            raise StopIteration
        return line

    def next_row(self) -> None:
        """Called when a row has ended."""
        self.row, self.left = self.row + 1, packed.MAX_ROW_CHARS


def _separated(text: IO[str], path: Path, separator: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default ends a run at a text of 128 KiB
    lines = _Lines(text, path)
    reader = csv.DictReader(lines, delimiter=separator, strict=True)
    number = 0
    try:
        _require_separator(reader.fieldnames or (), path, separator)
        _require_distinct(reader.fieldnames or (), path)
        lines.next_row()
        for number, row in enumerate(reader, 1):
            if None in row:
                raise InputError(
                    f"{path}, row {number} (line {reader.line_num}): it has more values than the "
                    f"{len(reader.fieldnames or ())} columns {', '.join(reader.fieldnames or ())}. Quote texts that "
                    f"hold {separator!r} or line breaks."
                )
            yield row
            lines.next_row()
    except csv.Error as error:
        raise InputError(f"{path}, row {number + 1} (line {reader.line_num}): not CSV ({error})") from error
    if not number:
        raise InputError(f"{path} has no rows: the first line names the columns, and rows follow it")


def _require_separator(names: Sequence[str], path: Path, separator: str) -> None:
    """InputError for one column whose name shows that another sign stands between the values."""
    other = next((sign for sign in ";\t|," if sign in names[0]), None) if len(names) == 1 else None
    if other and other != separator:
        raise InputError(
            f"{path} has one column, {names[0]!r}: its values seem to be parted by {other!r}, not by {separator!r}. "
            f"Write it with {separator!r}{', or name it .tsv' if other == chr(9) else ''}."
        )
