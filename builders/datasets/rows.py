"""The rows of any dataset, one after the other: a file, a dataset folder, or a dataset of the Hub.

In: a path or a Hub id. Out: dictionaries in the order of the source.

How: files are read as streams, so memory does not grow with the file: Parquet, JSON lines, a JSON
array and a JSON object of rows, each JSON form with or without gzip. A single JSON object is one
row. Folders and Hub ids go through `datasets` in its streaming mode, which keeps no cache that
could be old.

    for row in rows("answers.jsonl.gz"): print(row)
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import InputError, MissingError, UserError
from training import hub
from training.errors import TrainingError, loading

Row = dict[str, Any]

FILE_SUFFIXES = (".json", ".jsonl", ".ndjson", ".gz", ".parquet")
BATCH_ROWS = 1000
BATCH_BYTES = 1 << 25
"""About what the rows of a batch may take, packed as they are in the file."""
_GZIP_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
_CHUNK_CHARS = 1 << 20
_LONGEST_ROW_CHARS = 1 << 28
"""The search for the end of a row in an array stops here: anything longer is broken JSON."""
_BETWEEN_ROWS = re.compile(r"[\s,]*")
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?\Z")


def rows(
    place: str | Path,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    columns: Sequence[str] | None = None,
    usual_split: str = "test",
) -> Iterator[Row]:
    """The rows of a file, dataset folder or Hub id.

    `columns` are the only columns that are read from Parquet. Without a `split`, a folder or Hub id
    gives its usual split, or its only one. FileNotFoundError if the place does not exist.
    ValueError, with the place and the row, for what cannot be parsed.
    """
    path = Path(place)
    if path.is_file():
        yield from _parquet_rows(path, columns) if is_parquet(path) else _json_rows(path)
    else:
        yield from _dataset_rows(str(place), config, split, revision, usual_split)


def check_place(place: str | Path) -> None:
    """FileNotFoundError if the place is no file, no folder, and cannot be an id of the Hub.

    Nothing is read.
    """
    path = Path(place)
    if not path.exists() and (path.suffix in FILE_SUFFIXES or not _HUB_ID.match(str(place))):
        raise MissingError(f"no file {place}, and the name cannot be a dataset of the Hub. Check the path.")


def digest(place: str | Path) -> str | None:
    """The SHA-256 of what a file or dataset folder holds. None for a dataset of the Hub.

    Of a gzip file, the text counts and not how it is packed: its header may name a path and a time.
    Of a folder, the names of the files in it count, too: they decide about splits and order. Hidden
    files do not, as `datasets` reads none. Files are read as streams.
    """
    path = Path(place)
    if path.is_file():
        return _digest_of_file(path)
    if not path.is_dir():
        return None
    found = hashlib.sha256()
    for name, file in _files(path):
        found.update(f"{_digest_of_file(file)} {name}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _digest_of_file(path: Path) -> str:
    with open(path, "rb") as plain:
        is_gzip = plain.read(2) == _GZIP_MAGIC
        plain.seek(0)
        if not is_gzip:
            return hashlib.file_digest(plain, "sha256").hexdigest()
        found = hashlib.sha256()
        try:
            with gzip.open(plain) as unpacked:
                while chunk := unpacked.read(1 << 20):
                    found.update(chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path} is not a whole gzip file ({error}). Copy or write it again.") from error
        return found.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """The files that `datasets` may read below a folder, by their place in it, in order."""
    found = []
    for place, names, files in os.walk(folder, followlinks=True):
        names[:] = [name for name in names if not name.startswith(".")]
        paths = [Path(place, file) for file in files if not file.startswith(".")]
        found += [(path.relative_to(folder).as_posix(), path) for path in paths if path.is_file()]
    return sorted(found)


def is_parquet(path: Path) -> bool:
    """Whether the file starts as Parquet does."""
    with open(path, "rb") as handle:
        return handle.read(4) == _PARQUET_MAGIC


def num_rows(place: str | Path) -> int | None:
    """The number of rows where it is cheap to know; None otherwise. It serves progress only.

    It is known for a Parquet file, and for plain JSON lines as the number of lines.
    """
    path = Path(place)
    if not path.is_file():
        return None
    if is_parquet(path):
        with loading(f"the Parquet file {path}"):
            return pq.read_metadata(path).num_rows
    with open(path, "rb") as handle:
        if handle.read(1) != b"{":
            return None
        return sum(chunk.count(b"\n") for chunk in iter(lambda: handle.read(1 << 20), b"")) or None


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    try:
        # the default, pre-buffering, keeps everything read of a file in memory until its end
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a whole Parquet file ({error}). Copy or write it again.") from error
    with file:
        size = _rows_at_once(file.metadata)
        for batch in file.iter_batches(batch_size=size, columns=list(columns) if columns else None):
            yield from batch.to_pylist()


def _rows_at_once(about: pq.FileMetaData) -> int:
    """So many rows that they take little memory, also where each has several MB."""
    num_bytes = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    return max(1, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(1, num_bytes)))


def _json_rows(path: Path) -> Iterator[Row]:
    with _text(path) as text:
        try:
            first = _first_sign(text)
            if not first:
                raise InputError(f"{path} is empty: a dataset needs at least one row")
            yield from _array_rows(text, path) if first == "[" else _line_rows(text, path)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
        except (EOFError, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is not a whole gzip file ({error}). Copy or write it again.") from error


def _text(path: Path) -> IO[str]:
    with open(path, "rb") as handle:
        is_gzip = handle.read(2) == _GZIP_MAGIC
    # Only a line feed ends a row: U+2028 and a lone carriage return may stand inside a text.
    if is_gzip:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return open(path, encoding="utf-8-sig", newline="\n")


def _first_sign(text: IO[str]) -> str:
    """The first character that is no white space, '' if there is none.

    The stream is at its start again afterwards.
    """
    while chunk := text.read(4096):
        if chunk.strip():
            text.seek(0)
            return chunk.lstrip()[0]
    return ""


def _line_rows(text: IO[str], path: Path) -> Iterator[Row]:
    lines = (line for line in text if line.strip())
    first, second = next(lines), next(lines, None)
    row = _json_or_none(first)
    if row is None or second is None:
        yield from _document_rows(first + (second or "") + "".join(lines), path)
        return
    yield row
    yield _json(second, f"{path}, row 2")
    for number, line in enumerate(lines, start=3):
        yield _json(line, f"{path}, row {number}")


def _document_rows(text: str, path: Path) -> Iterator[Row]:
    """One JSON object: an object whose values are rows, or one row."""
    document = _json(text, str(path))
    is_of_rows = isinstance(document, dict) and document and all(isinstance(row, dict) for row in document.values())
    yield from document.values() if is_of_rows else [document]


def _array_rows(text: IO[str], path: Path) -> Iterator[Row]:
    decoder, number = json.JSONDecoder(), 1
    buffer, is_end = text.read(_CHUNK_CHARS), False
    place = buffer.index("[") + 1
    while True:
        place = _between(buffer, place)
        if buffer[place : place + 1] == "]":
            return
        try:
            row, end = decoder.raw_decode(buffer, place)
        except json.JSONDecodeError as error:
            end, problem = len(buffer), str(error)
        else:
            problem = ""
        # a value that ends where the buffer ends may continue behind it: 12 may be 123
        if end < len(buffer) or (is_end and not problem):
            yield row
            place, number = end, number + 1
            continue
        if is_end or len(buffer) - place > _LONGEST_ROW_CHARS:
            raise InputError(f"{path}, row {number}: not JSON ({problem or 'the array does not end'})")
        more = text.read(max(_CHUNK_CHARS, len(buffer) - place))
        buffer, place, is_end = buffer[place:] + more, 0, not more


def _between(buffer: str, place: int) -> int:
    found = _BETWEEN_ROWS.match(buffer, place)
    return found.end() if found else place


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON ({error}). Give JSON lines, one JSON array, or Parquet.") from error


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _dataset_rows(
    place: str, config: str | None, split: str | None, revision: str | None, usual_split: str
) -> Iterator[Row]:
    import datasets

    check_place(place)
    hub.require("dataset", place, revision)
    where: dict[str, Any] = {"name": config, "revision": revision}
    try:
        chosen = split or _split(place, datasets.get_dataset_split_names(place, config, revision=revision), usual_split)
        with loading(f"the dataset {place} (split {chosen})"):
            rows = datasets.load_dataset(place, **where, split=chosen, streaming=True)
        yield from rows
    except (FileNotFoundError, ConnectionError) as error:
        raise MissingError(
            f"{place} is no file and no dataset folder, and the Hub gives no dataset of this name ({error}). "
            "Check the name and the network."
        ) from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        if isinstance(error, UserError | TrainingError):
            raise
        raise InputError(f"{place} cannot be read as a dataset: {str(error).splitlines()[0]}") from error


def _split(place: str, names: Sequence[str], usual: str) -> str:
    if usual in names or len(names) == 1:
        return usual if usual in names else names[0]
    raise InputError(f"{place} has the splits {', '.join(names)}: name one of them")
