"""The rows of JSON text: lines, one array, or one object of rows. A single object is one row.

In: a path. Out: its rows, one after the other, so memory does not grow with the file.
InputError names the file, the row, and in lines also the line. A row, or a file that is one
object, has at most `packed.MAX_ROW_CHARS`. A key that stands twice in an object, with other values,
is such an error: nobody knows which value counts.

    for row in json_rows(Path("rows.jsonl.gz")): print(row)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from builders.datasets import packed
from builders.sources import packing
from store.errors import InputError
from training.json_text import RepeatedKeyError, distinct, parsed

FORMS = "Give JSON lines, one JSON array, CSV, TSV, Parquet or Arrow."
_CHUNK_CHARS = 1 << 20
_BETWEEN_ROWS = re.compile(r"[\s,]*")


def json_rows(path: Path) -> Iterator[Any]:
    """The rows of a file, which may be packed."""
    first = _first_sign(path)
    if not first:
        raise InputError(f"{path} is empty: a dataset needs at least one row")
    with packed.text(path) as text:
        yield from packed.read_up_to(_array_rows(text, path) if first == "[" else _line_rows(text, path))


def json_object(path: Path, way_on: str) -> dict[str, Any]:
    """The object in a small file that describes others. InputError ends with the way on."""
    try:
        packing.require_content(path)
        found = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). {way_on}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object. {way_on}")
    return found


def _first_sign(path: Path) -> str:
    """The first character that is no white space, '' if there is none.

    The file is opened for it alone: some packed files cannot be wound back.
    """
    with packed.text(path) as text:
        while chunk := text.read(4096):
            if chunk.strip():
                return chunk.lstrip()[0]
    return ""


def _line_rows(text: IO[str], path: Path) -> Iterator[Any]:
    lines = _lines(text, path)
    (start, first), second = next(lines), next(lines, None)
    try:
        row = parsed(first)
    except ValueError as error:
        # an object in several lines goes on where its first line ends, other rows are broken
        if second is not None and (not isinstance(error, json.JSONDecodeError) or error.pos < len(first)):
            _json(first, f"{path}, row 1 (line {start})")
        second = second or (0, "")
        yield from _document_rows(_joined(first + second[1], text, path), path)
        return
    if second is None:
        yield from _document_rows(first, path)
        return
    yield row
    yield _json(second[1], f"{path}, row 2 (line {second[0]})")
    for place, (number, line) in enumerate(lines, start=3):
        yield _json(line, f"{path}, row {place} (line {number})")


def _lines(text: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers. InputError for one that is too long."""
    row, number, most = 1, 1, packed.MAX_ROW_CHARS
    while line := text.readline(most + 1):
        if len(line) > most:
            raise packed.too_long(f"{path}, row {row:,} (line {number:,})")
        if line.strip():
            yield number, line
            row += 1
        number += 1


def _joined(start: str, text: IO[str], path: Path) -> str:
    """A start with all that follows it: an object that stands in several lines."""
    rest = text.read(max(0, packed.MAX_ROW_CHARS - len(start)) + 1)
    if len(start) + len(rest) > packed.MAX_ROW_CHARS:
        raise packed.too_long(f"{path}, row 1 (an object in several lines)")
    return start + rest


def _document_rows(text: str, path: Path) -> Iterator[Any]:
    """One JSON object: an object whose values are rows, or one row."""
    document = _json(text, str(path))
    is_of_rows = isinstance(document, dict) and document and all(isinstance(row, dict) for row in document.values())
    if _is_of_columns(document):
        raise InputError(
            f"{path} is one object of columns, {', '.join(list(document)[:5])}: write each row as an object in a line of "
            "its own, as with pandas' to_json(orient='records', lines=True)"
        )
    yield from document.values() if is_of_rows else [document]


def _is_of_columns(document: Any) -> bool:
    """Whether an object holds a list for each column: equally long ones, and none of turns."""
    if not isinstance(document, dict) or len(document) < 2:
        return False
    lists = [value for value in document.values() if isinstance(value, list)]
    is_even = len(lists) == len(document) and len(set(map(len, lists))) == 1
    return is_even and len(lists[0]) > 0 and not any(isinstance(one, list | dict) for value in lists for one in value)


def _array_rows(text: IO[str], path: Path) -> Iterator[Any]:
    decoder, number = json.JSONDecoder(object_pairs_hook=distinct), 1
    buffer, is_end = text.read(_CHUNK_CHARS), False
    while "[" not in buffer:  # blanks may stand before it
        buffer = text.read(_CHUNK_CHARS)
    place = buffer.index("[") + 1
    while True:
        place = _between(buffer, place)
        if buffer[place : place + 1] == "]":
            _require_end(buffer[place + 1 :], text, path, number)
            return
        problem = ""
        try:
            row, end = decoder.raw_decode(buffer, place)
        except json.JSONDecodeError as error:
            end, problem = len(buffer), str(error)
        except (ValueError, RecursionError) as error:
            raise _broken(f"{path}, row {number}", error) from error
        # a value that ends where the buffer ends may continue behind it: 12 may be 123
        if end < len(buffer) or (is_end and not problem):
            yield row
            place, number = end, number + 1
            continue
        if is_end:
            raise InputError(f"{path}, row {number}: not JSON ({problem or 'the array does not end'}). {FORMS}")
        if len(buffer) - place > packed.MAX_ROW_CHARS:
            if problem:
                most = f"{packed.MAX_ROW_CHARS:,} characters"
                raise InputError(f"{path}, row {number}: not JSON, or longer than {most} ({problem}). {FORMS}")
            raise packed.too_long(f"{path}, row {number}")
        more = text.read(max(_CHUNK_CHARS, len(buffer) - place))
        buffer, place, is_end = buffer[place:] + more, 0, not more


def _require_end(rest: str, text: IO[str], path: Path, number: int) -> None:
    """InputError if anything stands behind the array: it would be lost."""
    while not rest.strip():
        rest = text.read(_CHUNK_CHARS)
        if not rest:
            return
    found = rest.lstrip()[:40]
    told = "another array: write each row as an object in a line of its own" if found[0] == "[" else repr(found)
    raise InputError(f"{path}: the array ends after row {number - 1:,}, and then comes {told}. {FORMS}")


def _between(buffer: str, place: int) -> int:
    found = _BETWEEN_ROWS.match(buffer, place)
    return found.end() if found else place


def _json(text: str, place: str) -> Any:
    try:
        return parsed(text)
    except ValueError as error:
        if "\0" in text:
            raise InputError(f"{place}: not UTF-8 text, for it holds NUL bytes. Save the file as UTF-8.") from None
        raise _broken(place, error) from error


def _broken(place: str, error: Exception) -> InputError:
    if isinstance(error, RepeatedKeyError):
        return InputError(f"{place}: {error}.")
    return InputError(f"{place}: not JSON ({str(error)[:200]}). {FORMS}")
