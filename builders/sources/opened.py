"""A source, opened: whether its files are there, can be read, and have the columns that are named.

In: a source of this machine. Out: nothing, or the error that a run would end with. Only the first
rows or members of the first file are read. Datasets of the Hub are not asked for.

    check(recipe.sources[0])
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from builders.datasets import rows as dataset_rows
from builders.recipe import Source
from builders.sources import archives, rows, trees
from builders.sources.bounds import TOO_MUCH
from builders.sources.files import Shard, SourceFile, paths_of
from store.errors import InputError

HEAD_ROWS = 20


def check(source: Source) -> None:
    """MissingError or InputError, with the name of the source, for what cannot be read."""
    if source.kind in ("stdlib", "tree", "packages"):
        if not trees.tree_paths(source.model_copy(update={"max_files": 1})):
            raise InputError(f"source {source.name!r}: no .py files under {trees.tree_root(source)}. Check its `path`.")
    elif source.kind == "archive":
        paths = paths_of(source, (*archives.ZIPS, *archives.TARS))
        _require_whole(source, next(archives.files(source, Shard(next(iter(paths)), stop=1)), None))
    elif source.kind == "hub":
        _check_dataset(source)
    else:
        paths = rows.paths(source)
        _require_json(source, next(iter(paths)))
        rows.require_columns(source, list(paths))
        _require_whole(source, next(rows.files(source, Shard(next(iter(paths)), stop=1)), None))


def _require_whole(source: Source, first: SourceFile | None) -> None:
    if first is None:
        raise InputError(
            f"source {source.name!r}: {source.path} holds no file to read. Check its `path` and `exclude`."
        )
    if first.error in ("broken_file", "broken_archive", TOO_MUCH):
        raise InputError(
            f"source {source.name!r}: the first file of {source.path} cannot be read ({first.error}). Copy it again."
        )


def _require_json(source: Source, path: str) -> None:
    """InputError for a file whose first rows hold no JSON object, as those of an array do."""
    if source.kind == "jsonl" and rows.has_no_object(source, path):
        raise InputError(
            f"source {source.name!r}: the first lines of {path} hold no JSON object. Give JSON lines in UTF-8, with "
            "one object in each line."
        )


def _check_dataset(source: Source) -> None:
    if not Path(source.dataset or "").exists() or source.data_dir is not None:
        return
    head = list(islice(dataset_rows.rows(str(source.dataset), split=source.split, usual_split=source.split), HEAD_ROWS))
    known = list(dict.fromkeys(column for row in head for column in row))
    if head and source.content_column not in known:
        raise InputError(
            f"source {source.name!r}: {source.dataset} has no column {source.content_column!r}. The columns are "
            f"{', '.join(known)}: name the right one as `content_column`."
        )
