"""The files of rows in a dataset folder: which they are, and what is wrong with them.

In: a folder. Out: its files, and InputErrors that name file, row and column. `datasets`, which
reads such folders, often names none of these.

    files = data_files("my-data")
    require_one_form("my-data", files)
    say_place(files)    # after `datasets` has failed
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets import packed
from builders.datasets.json_rows import json_rows
from builders.datasets.tables import SEPARATORS, arrow_schema, separated_rows
from builders.sources import packing
from store.errors import InputError

_FORMS = {".jsonl": ".json", ".ndjson": ".json"} | {
    form: form for form in (".json", ".csv", ".tsv", ".parquet", ".arrow")
}
_ABOUT = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files beside the data, which hold no rows."""
_ANY, _WHOLE, _DATE = "values of several kinds", "a whole number", "a date"
_SIMPLE = {"text", _DATE, "true or false", "a number", _WHOLE}
_DATES = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.Z+-]*)?\Z")
_SAME = "Give all files of a folder the same columns."


def data_files(place: str) -> list[Path]:
    """The files of rows in a folder, in order; none where its README.md says which they are."""
    card = Path(place, "README.md")
    if not Path(place).is_dir() or (card.is_file() and b"data_files:" in card.read_bytes()):
        return []
    return [path for path in _visible(place) if _form(path)]


def texts_beside(place: str, files: Sequence[Path]) -> list[str]:
    """The .txt files of a folder that are passed over, for there are files of rows."""
    return [str(path.relative_to(place)) for path in _visible(place) if ".txt" in path.suffixes[-2:]] if files else []


def _visible(place: str) -> list[Path]:
    found = []
    for folder, names, files in os.walk(place, followlinks=True):
        names[:] = [name for name in names if not name.startswith((".", "__"))]
        found += [Path(folder, name) for name in files if not name.startswith(".") and name not in _ABOUT]
    return sorted(found)


def _form(path: Path) -> str | None:
    name = path.name.lower()
    end = next((end for end in packing.SUFFIXES if name.endswith(end)), "")
    return _FORMS.get(Path(name.removesuffix(end)).suffix)


def are_json(files: Sequence[Path]) -> bool:
    """Whether all of them are files of JSON."""
    return bool(files) and all(_form(path) == ".json" for path in files)


def require_one_form(place: str, files: Sequence[Path]) -> None:
    """InputError for a folder of which `datasets` would read only some files, or none."""
    forms = {_form(path): path for path in reversed(files)}
    if len(forms) > 1:
        named = ", ".join(str(path.relative_to(place)) for path in forms.values())
        raise InputError(f"{place} has files of several kinds, such as {named}: name one file, or move the others away")
    for path in files:
        packing.require_content(path)
        if path.suffix.lower() == ".zst":
            raise InputError(f"{path}: files in Zstandard are not read in folders. Name the file itself, or unpack it.")


def require_read(place: str, builder: str | None) -> None:
    """InputError if `datasets` chose another kind of files than rows, as many .txt ones."""
    if builder in ("text", "imagefolder", "audiofolder", "videofolder") and (files := data_files(place)):
        raise InputError(
            f"{place}: `datasets` would read other files than {files[0].relative_to(place)}, for there are more of them. "
            "Name that file, or move the others away."
        )


def left(files: Sequence[Path], read: Iterable[str]) -> list[Path]:
    """The files that are none of those which `datasets` reads for some split."""
    known = {os.path.realpath(path) for path in read}
    return [path for path in files if os.path.realpath(path) not in known]


def are_alike(files: Sequence[Path], others: Sequence[Path]) -> bool:
    """Whether the first row of one of the others has a column of the files beside them."""
    main = next((path for path in files if path not in others), None)
    known = _columns(main) if main and others else set()
    return any(known & _columns(path) for path in others)


def _columns(path: Path) -> set[str]:
    first = next(_rows(path), (path, None))[1]
    return set(first) if isinstance(first, dict) else set()


def say_place(files: Sequence[Path]) -> None:
    """InputError with file, row and column of a fault, where our own readers find it."""
    names: dict[str, None] = {}
    kinds: dict[str, tuple[str, str]] = {}
    for path in files:
        is_first = path == files[0]
        for place, row in _rows(path):
            if not isinstance(row, dict):
                raise InputError(f"{place}: it is a {type(row).__name__}, not an object")
            if not is_first and (new := sorted(repr(name) for name in row if name not in names)):
                raise InputError(f"{place}: it has the columns {', '.join(new)}, which {files[0]} has not. {_SAME}")
            if is_first:
                names |= dict.fromkeys(row)
            _compare(place, row, kinds, is_first=is_first)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a file with their places; of Parquet and Arrow one row of types."""
    if _form(path) in (".parquet", ".arrow"):
        yield f"{path}, from row 1 on", {field.name: field.type for field in _schema(path)}
        return
    if packed.encoding(path) != packing.UTF8:
        raise InputError(f"{path}: files in UTF-16 are not read in folders. Name the file itself.")
    form = _form(path) or ""
    rows = separated_rows(path, SEPARATORS[form]) if form in SEPARATORS else json_rows(path)
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path) if _form(path) == ".parquet" else arrow_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no whole file ({error}). Copy or write it again.") from error


def _compare(place: str, row: Mapping[str, Any], kinds: dict[str, tuple[str, str]], *, is_first: bool) -> None:
    """InputError for a value that does not fit to the first one of its column.

    The first file may be mixed: `datasets` sees all of it before it decides what a column holds.
    """
    for column, value in _values(row):
        if (kind := _kind(value)) is None:
            continue
        known, where = kinds.setdefault(column, (kind, place))
        if _fits(value, kind, known):
            continue
        if is_first:
            kinds[column] = (_ANY, place)
            continue
        shown = "" if isinstance(value, pa.DataType) else f" ({str(value)[:40]!r})"
        raise InputError(
            f"{place}, column {column!r}: it is {kind}{shown}, and {known} in {where}. Write one kind of value in a column."
        )


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a row with their columns, and of keys inside of them as `column.key`."""
    stack: list[tuple[str, Any]] = [(str(name), value) for name, value in reversed(list(row.items()))]
    while stack:
        column, value = stack.pop()
        yield column, value
        if isinstance(value, dict):
            stack += [(f"{column}.{key}", inner) for key, inner in reversed(list(value.items()))]
        elif isinstance(value, list):
            stack += [(f"{column}[]", inner) for inner in reversed(value)]


def _kind(value: Any) -> str | None:
    """What kind of value it is, in words; None for null."""
    if value is None or (isinstance(value, pa.DataType) and pa.types.is_null(value)):
        return None
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return _WHOLE if value == value // 1 else "a number"
    if isinstance(value, str):
        return _DATE if _DATES.match(value) else "text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else str(value)


def _fits(value: Any, kind: str, known: str) -> bool:
    """Whether `datasets` can write a value into a column that began with a known kind."""
    if known in (_ANY, kind):
        return True
    if not {kind, known} <= _SIMPLE or known == _DATE:
        return False
    if known == "text":
        return True
    if isinstance(value, str):
        return _is_number(value, is_whole=known == _WHOLE)
    return known != _WHOLE or kind != "a number"


def _is_number(text: str, *, is_whole: bool) -> bool:
    try:
        int(text) if is_whole else float(text)
    except ValueError:
        return False
    return True
