"""The heads of files of rows: which columns they have, and what is wrong with them.

In: a `Source` and the paths of its files. Out: a `Head` for each, or the InputError for files that
lack a column which the recipe names.

    require(source, heads(source, paths))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from builders.recipe import Source
from builders.sources import json_lines, parquet_rows
from builders.sources.bounds import TOO_MUCH, TooMuchError
from builders.sources.files import Shard, printable
from store.errors import InputError

CHECKED_FILES = 200
"""So many files tell which columns a source has. Of each further one the first row is enough."""
_HEAD_ROWS = 100
"""So many rows of JSON lines tell which columns a file has."""
NO_OBJECT, EMPTY, BROKEN_FILE = "no_json", "empty", "broken_file"


@dataclass(frozen=True)
class Head:
    """The columns of a file in the order in which they come; `fault` says why it has none."""

    columns: tuple[str, ...]
    fault: str | None = None


def heads(source: Source, paths: Sequence[str]) -> dict[str, Head]:
    """What the first rows of each file tell."""
    return {path: _head(source, path, is_whole=n < CHECKED_FILES) for n, path in enumerate(paths)}


def _head(source: Source, path: str, *, is_whole: bool) -> Head:
    """The columns of a file. If not `is_whole`, a row with the content is enough."""
    try:
        if source.kind == "parquet" or path.endswith(".parquet"):
            return Head(tuple(parquet_rows.columns(path)))
        return _of_lines(source, path, is_whole=is_whole)
    except json_lines.BROKEN as error:
        return Head((), TOO_MUCH if isinstance(error, TooMuchError) else BROKEN_FILE)


def _of_lines(source: Source, path: str, *, is_whole: bool) -> Head:
    found: dict[str, None] = {}
    num_rows, has_object = 0, False
    for row in islice(json_lines.rows(source, Shard(path)), _HEAD_ROWS):
        num_rows += row is not json_lines.BLANK
        has_object |= bool(row) or row is json_lines.TOO_LONG or row is json_lines.REPEATED
        found |= dict.fromkeys(row)
        if source.content_column in row and not is_whole:
            break
    return Head(tuple(found), None if has_object else NO_OBJECT if num_rows else EMPTY)


def require(source: Source, found: Mapping[str, Head]) -> None:
    """InputError, with the columns that there are, if files of rows lack the columns of a source.

    Each file must have its content column, and some file the others that the recipe names. A file
    that cannot be read is left to the run, which counts it.
    """
    others = ("path_column", "license_column", "repo_column")
    named = {field: getattr(source, field) for field in ("content_column", *others) if _is_named(source, field)}
    seen = dict.fromkeys(column for head in found.values() for column in head.columns)
    lacking = {field: column for field, column in named.items() if column not in seen}
    if seen and lacking:
        told = ", ".join(f"`{field}` {column!r}" for field, column in lacking.items())
        raise InputError(
            f"source {source.name!r}: no column for {told} in the first rows of {Path(next(iter(found))).name}"
            f"{f' and {len(found) - 1:,} more' if len(found) > 1 else ''}. The columns are "
            f"{printable(', '.join(seen))}. Name the right one in the recipe."
        )
    content = named["content_column"]
    if odd := next((path for path, head in found.items() if head.columns and content not in head.columns), None):
        raise InputError(
            f"source {source.name!r}: no column `content_column` {content!r} in the first rows of {Path(odd).name}, which "
            f"other files have. Its columns are {printable(', '.join(found[odd].columns))}. Leave this file out, "
            "or give it a source of its own."
        )


def _is_named(source: Source, field: str) -> bool:
    return field == "content_column" or field in source.model_fields_set
