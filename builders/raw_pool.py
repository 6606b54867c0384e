"""raw_pool: one row per distinct function text, with everything that is read off the text itself.

In: the recipe's sources. Out: `raw_pool` and, from the same pass, the staging that `snippet_occurrences` and the rejects of
stage `extract` are made of. Tasks extract file groups into staging shards; one streaming query keeps each text once.
"""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq

import queries
from builders import sources
from builders.extraction import functions
from builders.recipe import Recipe, Source
from store import Plan, Record, Store, content_id, fields_of, files
from store.catalog import connect

STAGING = pa.schema(
    [
        pa.field(name, kind)
        for name, kind in {
            "snippet_id": pa.string(),
            "source": pa.string(),
            "path": pa.string(),
            "line": pa.int32(),
            "num_lines": pa.int32(),
            "repo": pa.string(),
            "license": pa.string(),
            "name": pa.string(),
            "code": pa.string(),
            "signature": pa.string(),
            "docstring": pa.string(),
            "is_method": pa.bool_(),
            "is_async": pa.bool_(),
            "file_id": pa.string(),
            "reject": pa.string(),
        }.items()
    ]
)
"""One row per function found, and one per file that gave none because of an error (`reject` says which)."""


def plan(recipe: Recipe) -> Plan:
    """Sources, their listings and the extraction query."""
    listings = {s.name: sources.listing(s) for s in recipe.sources}
    return Plan(
        table="raw_pool",
        fields={"sources": [{**fields_of(s), "listing": listings[s.name].fingerprint} for s in recipe.sources]},
        texts=queries.versions("raw_pool"),
    )


def build(store: Store, recipe: Recipe) -> Record:
    """Extract what is not staged yet, then keep each text once."""
    wanted = plan(recipe)

    def rows() -> pa.RecordBatchReader:
        extract(store, wanted, recipe)
        connection = connect(store, extra={"extracted": staging_paths(store, wanted)})
        return queries.stream(connection, "raw_pool")

    return store.materialize_stream(wanted, rows)


def extract(store: Store, wanted: Plan, recipe: Recipe) -> None:
    """Stage every shard of every source that is not staged yet."""
    directory = store.scratch(f"extract-{wanted.fingerprint}")
    for source in recipe.sources:
        for index in range(sources.listing(source).num_shards):
            path = f"{directory}/{source.name}-{index:05d}.parquet"
            if not os.path.exists(path):
                sink = pa.BufferOutputStream()
                pq.write_table(stage(source, index), sink, compression="zstd")
                files.write_atomic(store.fs, path, sink.getvalue().to_pybytes())


def staging_paths(store: Store, wanted: Plan) -> list[str]:
    """The staging files of a raw_pool plan."""
    directory = store.scratch(f"extract-{wanted.fingerprint}")
    return [f"{directory}/{n}" for n in files.names(store.fs, directory, ".parquet")]


def stage(source: Source, index: int) -> pa.Table:
    """The staging rows of one shard of a source."""
    rows = [row for file in sources.files(source, index) for row in _rows(source, file)]
    return pa.Table.from_pylist(rows, schema=STAGING)


def _rows(source: Source, file: sources.SourceFile) -> list[dict]:
    place = {"source": source.name, "path": file.path, "repo": file.repo, "license": file.license}
    place["file_id"] = content_id(source.name, file.path)
    if file.text is None:
        return [{**place, "reject": file.error}]
    try:
        found = list(functions(file.text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [{**place, "reject": "syntax_error"}]
    if not found:
        return [{**place, "reject": "no_documented_function"}]
    return [
        {
            **place,
            "snippet_id": content_id("python", f.code),
            "line": f.line,
            "num_lines": f.num_lines,
            "name": f.name,
            "code": f.code,
            "signature": f.signature,
            "docstring": f.docstring,
            "is_method": f.is_method,
            "is_async": f.is_async,
        }
        for f in found
    ]
