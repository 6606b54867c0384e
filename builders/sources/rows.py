"""Source files that are rows: JSON lines, Parquet, datasets of the Hub or of a local folder.

In: a `Source` and a shard. Out: one `SourceFile` per row. The default columns are those of The
Stack.

How: `json_lines`, `parquet_rows` and `hub_rows` read the rows. A shard reads only its own ones,
where a file can be begun inside. Where it cannot, each file is one shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders.recipe import Source
from builders.sources import hub_rows, json_lines, license_choices, packing, parquet_rows, row_columns
from builders.sources.bounds import TOO_MUCH, TooMuchError
from builders.sources.files import (
    MAX_FILE_BYTES,
    UNKNOWN,
    License,
    Shard,
    SourceFile,
    content_of,
    file_of,
    paths_of,
    printable,
)
from store.errors import InputError

_NO_ROWS = {
    id(json_lines.NO_JSON): "no_json",
    id(json_lines.NO_UTF8): "no_utf8",
    id(json_lines.REPEATED): "repeated_key",
    id(json_lines.TOO_LONG): "too_large",
}
"""Why there is no text where one of these stands in place of a row."""


def shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of all files of rows, and what tells one listing from another."""
    if source.kind == "hub":
        return _hub_shards(source)
    found = paths(source)
    row_columns.require(source, row_columns.heads(source, list(found)[: row_columns.CHECKED_FILES]))
    cut = parquet_rows.cut if source.kind == "parquet" else json_lines.cut
    return _limited(source, found, cut), [(name, content_of(path)) for path, name in found.items()]


def paths(source: Source) -> dict[str, str]:
    """The files of JSON lines or of Parquet that a source names."""
    suffix = ".parquet" if source.kind == "parquet" else ".jsonl"
    return paths_of(source, tuple(suffix + end for end in ("", *packing.SUFFIXES)))


def files(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard. A damaged file ends in one whose `error` says so."""
    number, tells_licenses = shard.start, _tells_licenses(source, shard)
    try:
        for row in _rows(source, shard):
            if row is not json_lines.BLANK:
                yield _from_row(source, shard, number, row, tells_licenses)
            number += 1
    except json_lines.BROKEN as error:
        reason = TOO_MUCH if isinstance(error, TooMuchError) else "broken_file"
        yield file_of(f"{shard.name or Path(shard.file).name}/from-row-{number}", None, None, UNKNOWN, reason)


def _limited(source: Source, paths: dict[str, str], cut: Any) -> list[Shard]:
    """The shards up to the source's limit of rows. Files behind the limit are not even opened."""
    found: list[Shard] = []
    left = source.max_files
    for path, name in paths.items():
        for shard in cut(source, path, source.files_per_shard, left):
            found.append(Shard(path, start=shard[0], stop=shard[1], offset=shard[2], name=name))
        if left is not None:
            left -= sum((s.stop or 0) - s.start for s in found if s.file == path)
            if left <= 0:
                break
    return found


def _rows(source: Source, shard: Shard) -> Iterator[dict[str, Any]]:
    if source.kind == "jsonl":
        return json_lines.rows(source, shard)
    if source.kind == "parquet" or shard.file.endswith(".parquet"):
        columns = (source.content_column, source.path_column, source.license_column, source.repo_column)
        return parquet_rows.rows(shard, columns)
    return hub_rows.rows(source, shard)


def _tells_licenses(source: Source, shard: Shard) -> bool:
    """Whether a file of rows has a column of licences, though some rows may lack the key."""
    if source.license_column != Source.model_fields["license_column"].default:
        return True
    heads = row_columns.heads(source, [shard.file] if source.kind == "jsonl" else [])
    return any(source.license_column in head.columns for head in heads.values())


def _from_row(source: Source, shard: Shard, number: int, row: dict[str, Any], tells_licenses: bool) -> SourceFile:
    text = row.get(source.content_column)
    repo = printable(str(row.get(source.repo_column) or ""))
    inside = row.get(source.path_column)
    # many repositories have a setup.py: the repository makes the path unique
    numbered = f"{shard.name}/row-{number}" if shard.name else f"row-{number}"
    path = printable(f"{repo}/{inside}" if repo and inside else str(inside or numbered))
    license_ = _license(source, row, tells_licenses)
    error = _NO_ROWS.get(id(row)) or _fault(text)
    return file_of(path, None if error else text, repo or None, license_, error)


def _fault(text: Any) -> str | None:
    """Why the content of a row is no text of a file."""
    if not isinstance(text, str):
        return "no_content"
    if len(text) > MAX_FILE_BYTES:
        return "too_large"
    return "null_bytes" if "\0" in text else None


def _license(source: Source, row: dict[str, Any], tells_licenses: bool) -> License:
    """What a row says about its licence, else what the recipe declares.

    A row with an empty licence is of others, who did not say: its licence is unknown, by the
    dataset. So is one that lacks the column, where its file has one.
    """
    if found := license_choices.listed(row.get(source.license_column)):
        return License(found, "dataset")
    if source.license:
        return License(source.license, "declared")
    return License("unknown", "dataset" if tells_licenses or source.license_column in row else "none")


def _hub_shards(source: Source) -> tuple[list[Shard], Any]:
    """The shards of a dataset: of its Parquet files, else one per file, read through `datasets`."""
    builder = hub_rows.builder(source)
    paths = [str(p) for p in (builder.config.data_files or {}).get(source.split, [])]
    identity = [source.dataset, source.revision, source.data_dir, source.split]
    if not paths:
        known = ", ".join(map(str, builder.config.data_files or {})) or "none"
        raise InputError(
            f"source {source.name!r}: {source.dataset} has no split {source.split!r}. Its splits are: {known}."
        )
    contents = [(Path(p).name, content_of(p)) if Path(p).exists() else p for p in paths]
    if all(p.endswith(".parquet") for p in paths):
        row_columns.require(source, row_columns.heads(source, paths[: row_columns.CHECKED_FILES]))
        found = _limited(source, {p: Path(p).name if len(paths) > 1 else "" for p in paths}, parquet_rows.cut)
        return found, [*identity, contents, [(s.start, s.stop) for s in found]]
    if source.max_files is not None:
        return [Shard("", stop=source.max_files)], [*identity, contents]
    num_shards = hub_rows.stream(source).num_shards
    names = [f"file-{n}" if num_shards > 1 else "" for n in range(num_shards)]
    return [Shard("", offset=n, name=name) for n, name in enumerate(names)], [*identity, contents]
