"""The rows of any dataset, one after the other: a file, a dataset folder, or a dataset of the Hub.

In: a path or a Hub id. Out: dictionaries in the order of the source.

How: files are read as streams, so memory does not grow with the file.

    .jsonl .json        lines, an array, an object of rows, one row     json_rows.py
    .csv .tsv           the first line names the columns                tables.py
    .parquet .arrow     told by their first bytes                       tables.py
    .gz .bz2 .xz .zst   any text above, packed                          packed.py
    folders, Hub ids    through `datasets`; also of `save_to_disk`      folders.py

    for row in rows("answers.jsonl.gz"): print(row)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from builders.datasets import folders, packed
from builders.datasets.json_rows import json_rows
from builders.datasets.places import Place
from builders.datasets.tables import SEPARATORS, arrow_rows, is_arrow, is_parquet, parquet_rows, separated_rows
from builders.sources import packing
from store.errors import InputError, MissingError
from training.errors import loading

FILE_SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow", *SEPARATORS, *packing.SUFFIXES)
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?\Z")


def rows(
    place: str | Path,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    columns: Sequence[str] | None = None,
    usual_split: str = "test",
) -> Iterator[Any]:
    """The rows of a file, dataset folder or Hub id.

    `columns` are the only columns that are read from Parquet. Without a `split`, a folder or Hub id
    gives its usual split, or its only one. FileNotFoundError if the place does not exist.
    ValueError, with the place and the row, for what cannot be parsed.
    """
    path = Path(place)
    if path.is_file():
        yield from _file_rows(path, columns)
    else:
        check_place(place)
        yield from folders.folder_rows(str(place), config=config, split=split, revision=revision, usual=usual_split)


def chosen(
    place: str | Path,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    usual_split: str = "test",
) -> Place:
    """What `rows` reads of a place: the config and the split, None where there are none."""
    if Path(place).is_file():
        return Place(str(place))
    check_place(place)
    return folders.chosen(str(place), config=config, split=split, revision=revision, usual=usual_split)


def _file_rows(path: Path, columns: Sequence[str] | None) -> Iterator[Any]:
    packing.require_content(path)
    if is_parquet(path):
        yield from parquet_rows(path, columns)
    elif is_arrow(path):
        yield from arrow_rows(path)
    elif archive := packed.archive(path):
        raise InputError(f"{path} is {archive}, and no file of rows: unpack it, and name the file or the folder in it")
    else:
        suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
        separator = next((SEPARATORS[suffix] for suffix in suffixes if suffix in SEPARATORS), None)
        yield from separated_rows(path, separator) if separator else json_rows(path)


def check_place(place: str | Path) -> None:
    """FileNotFoundError if the place is no file, no folder, and cannot be an id of the Hub.

    Nothing is read.
    """
    path = Path(place)
    if not path.exists() and (path.suffix.lower() in FILE_SUFFIXES or not _HUB_ID.match(str(place))):
        raise MissingError(f"no file {place}, and the name cannot be a dataset of the Hub. Check the path.")


def digest(place: str | Path) -> str | None:
    """The SHA-256 of what a file or dataset folder holds. None for a dataset of the Hub.

    Of a packed file, the text counts and not how it is packed: its header may name a path
    and a time.
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
    if packing.kind(path) is None:
        with open(path, "rb") as plain:
            return hashlib.file_digest(plain, "sha256").hexdigest()
    found = hashlib.sha256()
    with packed.unpacked(path) as unpacked:
        while chunk := unpacked.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """The files that `datasets` may read below a folder, by their place in it, in order."""
    found = []
    for place, names, files in os.walk(folder, followlinks=True):
        names[:] = [name for name in names if not name.startswith(".")]
        paths = [Path(place, file) for file in files if not file.startswith(".")]
        found += [(path.relative_to(folder).as_posix(), path) for path in paths if path.is_file()]
    return sorted(found)


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
