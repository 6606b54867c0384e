"""A source, opened: whether its files are there, can be read, and have the columns that are named.

In: a source of this machine. Out: nothing, or the error that a run would end with. Of each file
only the first rows or members are read, of at most MAX_FILES files. Datasets of the Hub are not
asked for.

    check(recipe.sources[0])
    print(passed_over(recipe.sources[0]))
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

from builders.datasets import rows as dataset_rows
from builders.recipe import Source
from builders.sources import archives, json_lines, packing, row_columns, rows, trees
from builders.sources.bounds import TOO_MUCH
from builders.sources.files import Shard, paths_of
from store.counts import counted
from store.errors import InputError, MissingError

MAX_FILES = 5_000
"""To look at so many took 1 to 3 seconds of CPU, packed or not."""
_HEAD_ROWS = 20
_BROKEN_ARCHIVE = "broken_archive"
_WHY = {row_columns.NO_OBJECT: "no JSON object in its first lines"}


def check(source: Source) -> None:
    """MissingError or InputError, with the name of the source, for what cannot be read."""
    if source.kind in ("stdlib", "tree", "packages"):
        if not trees.tree_paths(source.model_copy(update={"max_files": 1})):
            raise InputError(f"source {source.name!r}: no .py files under {trees.tree_root(source)}. Check its `path`.")
    elif source.kind == "archive":
        check_content(source)
        _check_archives(source)
    elif source.kind == "hub":
        _check_dataset(source)
    else:
        check_content(source)
        heads = row_columns.heads(source, _paths(source)[:MAX_FILES])
        if all(head.fault == row_columns.EMPTY for head in heads.values()):
            raise InputError(f"source {source.name!r}: {source.path} holds no row. Check its `path`.")
        _require_whole(source, {path: head.fault for path, head in heads.items()})
        row_columns.require(source, heads)


def check_content(source: Source) -> None:
    """InputError for files that are a pointer of Git LFS, an HTML page, or one JSON array.

    Of each file only the first bytes are read, so a run does it, too. What else is wrong with one
    file among others the run counts.
    """
    if source.kind not in ("archive", "jsonl", "parquet"):
        return
    paths: list[str] = []
    with suppress(MissingError):  # the run itself says so
        paths = _paths(source)[: row_columns.CHECKED_FILES]
    for path in paths:
        packing.require_content(Path(path))
        with suppress(*json_lines.BROKEN):
            if source.kind == "jsonl" and json_lines.is_array(source, path):
                raise InputError(
                    f"source {source.name!r}: {path} is a JSON array, and no JSON lines. Write each row as an object in a "
                    "line of its own, as with `jq -c '.[]'`."
                )


def passed_over(source: Source) -> str | None:
    """What of a source `check` does not look at; None if it looks at every file."""
    if source.kind == "hub":
        is_here = Path(source.dataset or "").exists() and source.data_dir is None
        return None if is_here else f"source {source.name!r}: the Hub is not asked for {source.dataset}"
    num_files = len(_paths(source)) if source.kind in ("archive", "jsonl", "parquet") else 0
    if num_files <= MAX_FILES:
        return None
    return f"source {source.name!r}: only the first {MAX_FILES:,} of {num_files:,} files are looked at"


def _paths(source: Source) -> list[str]:
    if source.kind == "archive":
        return list(paths_of(source, (*archives.ZIPS, *archives.TARS)))
    return list(rows.paths(source))


def _require_whole(source: Source, faults: Mapping[str, str | None]) -> None:
    """InputError that names the first files that cannot be read. Empty ones do no harm."""
    found = [(path, why) for path, why in faults.items() if why not in (None, row_columns.EMPTY)]
    if not found:
        return
    told = ", ".join(f"{path} ({_WHY.get(str(why), why)})" for path, why in found[:3])
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    way = (
        "Give JSON lines in UTF-8 or UTF-16, with one object in each line."
        if any(why == row_columns.NO_OBJECT for _, why in found)
        else "Copy them again, or leave them out."
    )
    raise InputError(
        f"source {source.name!r}: of {counted(len(faults), 'file')} {len(found):,} cannot be read: {told}{more}. {way}"
    )


def _check_archives(source: Source) -> None:
    """The first archive is read up to its first file, of the others only the head."""
    first, *others = _paths(source)[:MAX_FILES]
    file = next(archives.files(source, Shard(first, stop=1)), None)
    if file is None and not others:
        raise InputError(
            f"source {source.name!r}: {source.path} holds no file to read. Check its `path` and `exclude`."
        )
    fault = file.error if file and file.error in (_BROKEN_ARCHIVE, TOO_MUCH) else None
    _require_whole(source, {first: fault, **{path: _fault(path) for path in others}})


def _fault(path: str) -> str | None:
    """What is wrong with the head of an archive: of a zip its directory, of a tar a block."""
    if path.endswith(archives.ZIPS):
        return None if zipfile.is_zipfile(path) else _BROKEN_ARCHIVE
    try:
        with packing.opened(Path(path), packing.kind(Path(path))) as handle:
            block = handle.read(tarfile.BLOCKSIZE)
        if block.strip(b"\0"):  # a tar without members has empty blocks only
            tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (*packing.BROKEN, tarfile.HeaderError):
        return _BROKEN_ARCHIVE
    return None


def _check_dataset(source: Source) -> None:
    if not Path(source.dataset or "").exists() or source.data_dir is not None:
        return
    head = list(
        islice(dataset_rows.rows(str(source.dataset), split=source.split, usual_split=source.split), _HEAD_ROWS)
    )
    known = list(dict.fromkeys(column for row in head for column in row))
    if head and source.content_column not in known:
        raise InputError(
            f"source {source.name!r}: {source.dataset} has no column {source.content_column!r}. The columns are "
            f"{', '.join(known)}: name the right one as `content_column`."
        )
