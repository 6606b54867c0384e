"""raw_pool: one row is one distinct function text, with everything that is read off that text.

In: the sources of the recipe. Out: `raw_pool`.

How: worker processes extract the functions of each shard of a source into a staging file, a few
megabytes of text at a time. The functions of all files are read once and go to buckets by their
id, each small enough for the memory, and in each bucket a query keeps each text once.
`snippet_occurrences` and the rejects of the stage `extract` are made from the same staging files.
`clean` removes these files when all three are built.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import queries
from builders import rejects, sources
from builders.checks import imports
from builders.code.functions import Extracted
from builders.code.functions import extract as extract_functions
from builders.executors.build import num_workers
from builders.recipe import Executor, Source
from builders.sources import bounds
from builders.sources.files import Shard, SourceFile
from store import Plan, Record, Store, content_id, fields_of, files
from store.catalog import connect
from store.errors import JobError
from store.lock import owner, stop_with_coordinator
from store.staging import scattered

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
            "license_source": pa.string(),
            "license_score": pa.float32(),
            "name": pa.string(),
            "code": pa.string(),
            "signature": pa.string(),
            "docstring": pa.string(),
            "is_method": pa.bool_(),
            "is_async": pa.bool_(),
            "imports": pa.list_(pa.string()),
            "context": pa.string(),
            "is_generated": pa.bool_(),
            "reject": pa.string(),
            "value": pa.float64(),
        }.items()
    ]
)
"""One row is one function found, or one reason why a file gave no function or not all of them: the
reason stands in `reject`, its number in `value`."""

IMPORTED: dict[str, str | int] = {"origin": "import"}
"""The partition of the snippets that imported samples are about and that no source has."""

_TEXT_COLUMNS = [name for name in STAGING.names if name not in ("repo", "license_score", "value")]

BATCH_CHARS, BATCH_FILES = 4_000_000, 500
"""A batch of files is extracted when one of the two is reached."""
WORKER_BYTES = 50_000_000
"""A process takes about as long to start as this much text takes to read. Less is not worth one."""
ROWS_SORTED_TOGETHER, MOST_BUCKETS = 20_000, 512
"""About 25 MB of text, and files that are open at a time."""
_ROWS_AT_ONCE = 40_000
"""Enough that each bucket gets some hundred of them at a time: to write few rows costs as much."""
TREE_FILE_BYTES = 15_000
"""Mean size of the files of the standard library and of PyPI's packages, to guess a tree's size."""


def plan(chosen: Sequence[Source]) -> Plan:
    """The plan of raw_pool: sources, what they list, and the query that keeps each text once."""
    listings = {s.name: sources.listing(s) for s in chosen}
    return Plan(
        table="raw_pool",
        fields={"sources": [{**_fields(s), "listing": listings[s.name].fingerprint} for s in chosen]},
        texts=queries.versions("raw_pool"),
    )


def _fields(source: Source) -> dict[str, Any]:
    """The settings of a source. Bounds are named only where they are not the usual ones."""
    return {k: v for k, v in fields_of(source).items() if k not in bounds.BOUNDS} | bounds.fields(source)


def inputs(store: Store) -> dict[str, str]:
    """The partitions that hold the texts of teacher samples, as inputs of a plan.

    These are all functions that were extracted, and the snippets of imported samples, if there are
    any. The pool only has the former.
    """
    found = store.input("raw_pool")
    return found | store.input("raw_pool", **IMPORTED) if store.is_complete("raw_pool", **IMPORTED) else found


def build(store: Store, chosen: Sequence[Source], executor: Executor) -> Record:
    """Extract what is not staged yet, then keep each text once."""
    wanted = plan(chosen)

    def rows() -> Iterator[pa.RecordBatch]:
        _discard_staging(store, keep=_staging_name(wanted))
        extract(store, wanted, chosen, executor)
        return _distinct(store, wanted)

    return store.materialize_stream(wanted, rows)


def _distinct(store: Store, wanted: Plan) -> Iterator[pa.RecordBatch]:
    """Each staged text once, in the order of the ids.

    One range of ids is in memory at a time, so that memory does not grow with the pool.
    """
    staging = staging_paths(store, wanted)
    num_rows = sum(pq.read_metadata(path).num_rows for path in staging)
    num_buckets = min(MOST_BUCKETS, num_rows // ROWS_SORTED_TOGETHER + 1)
    folder = Path(store.scratch(_staging_name(wanted)), "by-id")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def bucket_of(functions: pa.Table) -> np.ndarray:
        # The first 16 bits of an id, so that the buckets come in the order of the ids.
        digits = pc.utf8_slice_codeunits(functions["snippet_id"], 0, 4).to_pylist()
        return np.array([int(four, 16) for four in digits], np.int64) * num_buckets >> 16

    with connect(store, {}, memory_limit="256MB", threads=1) as connection:
        for bucket in scattered(_functions(staging), bucket_of, num_buckets, folder):
            connection.register("extracted", bucket)
            found = queries.table(connection, "raw_pool")
            connection.unregister("extracted")
            yield from found.sort_by("snippet_id").to_batches()
    shutil.rmtree(folder)


def _functions(staging: list[str]) -> Iterator[pa.Table]:
    """The staged functions, one group of rows at a time."""
    for path in staging:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_TEXT_COLUMNS, use_threads=False):
                yield pa.Table.from_batches([batch.filter(pc.is_valid(batch["snippet_id"]))])


def build_rejects(store: Store, chosen: Sequence[Source], executor: Executor) -> Record:
    """Write the rejects of the stage `extract`.

    These are the files that gave no function, and how many functions of a file are undocumented.
    """
    wanted = plan(chosen)

    def staging() -> dict[str, list[str]]:
        extract(store, wanted, chosen, executor)
        return {"extracted": staging_paths(store, wanted)}

    return rejects.build(store, "extract", store.input("raw_pool"), extra=staging)


def clean(store: Store) -> None:
    """Remove all staging files once everything that is made from them is built.

    They are large: they hold every function text a second time. Those that an unfinished build
    still needs stay: all three must be complete, and the latter two must come from the raw_pool
    that is there.
    """
    raw = store.record("raw_pool")
    made_of_it = [store.record("snippet_occurrences"), store.record("rejects", stage="extract")]
    is_whole = raw is not None and raw.status == "complete" and all(_is_made_of(raw, record) for record in made_of_it)
    if store.builds and is_whole:
        _discard_staging(store, keep=None)


def _is_made_of(raw: Record, record: Record | None) -> bool:
    return record is not None and record.status == "complete" and record.plan.inputs.get("raw_pool") == raw.content


def _staging_name(wanted: Plan) -> str:
    return f"extract-{wanted.fingerprint}"


def _discard_staging(store: Store, keep: str | None) -> None:
    """Remove all staging files but those of the plan `keep`.

    Nothing will read those of other plans.
    """
    scratch = store.scratch("")
    if store.fs.isdir(scratch):
        for path in store.fs.ls(scratch, detail=False):
            name = os.path.basename(path.rstrip("/"))
            if name.startswith("extract-") and name != keep:
                store.fs.rm(path, recursive=True)


def staging_paths(store: Store, wanted: Plan) -> list[str]:
    """The staging files of a raw_pool plan."""
    directory = store.scratch(_staging_name(wanted))
    return [f"{directory}/{n}" for n in files.names(store.fs, directory, ".parquet")]


# -- extraction into staging files -----------------------------------------------------------------

Job = tuple[Source, Shard, str]
"""A source, one of its shards, and the staging file that the shard becomes."""


def extract(store: Store, wanted: Plan, chosen: Sequence[Source], executor: Executor) -> None:
    """Write the staging files that are missing, one per shard of a source.

    Local processes share the work when there is enough of it.
    """
    directory = store.scratch(_staging_name(wanted))
    store.fs.makedirs(directory, exist_ok=True)
    jobs: list[Job] = [
        (source, shard, f"{directory}/{source.name}-{index:05d}.parquet")
        for source in chosen
        for index, shard in enumerate(sources.listing(source).shards)
    ]
    missing = [job for job in jobs if not os.path.exists(job[2])]
    workers = _workers(store, executor, missing)
    staged = map(stage, missing) if workers <= 1 else _staged_by_workers(store, missing, workers)
    for _ in zip(staged, store.track(range(len(missing)), "extract"), strict=False):
        pass


def _workers(store: Store, executor: Executor, jobs: list[Job]) -> int:
    """How many processes are worth starting.

    Staging files are always made on the coordinator's machine: the tasks of a cluster build tables
    only. Workers stop with their coordinator, so without one there are no workers.
    """
    if owner(store.root) is None:
        return 1
    asked = num_workers(executor if executor.kind == "local" else Executor())
    whole = {shard.file for _, shard, _ in jobs if not shard.paths}
    num_bytes = TREE_FILE_BYTES * sum(len(shard.paths) for _, shard, _ in jobs)
    num_bytes += sum(os.path.getsize(f) if os.path.exists(f) else WORKER_BYTES for f in whole)
    return min(asked, len(jobs), num_bytes // WORKER_BYTES)


def _staged_by_workers(store: Store, jobs: list[Job], workers: int) -> Iterator[None]:
    # A forked process would inherit locks that are held by threads it does not have.
    context = multiprocessing.get_context("spawn")
    started = (store.root, owner(store.root))
    with ProcessPoolExecutor(workers, context, stop_with_coordinator, started) as pool:
        try:
            for done in as_completed([pool.submit(stage, job) for job in jobs]):
                yield done.result()
        except BrokenProcessPool:
            raise JobError(
                "a worker process died while it extracted functions; most often the memory did not suffice. "
                "Run the same command again to resume, with fewer `executor.workers`"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def stage(job: Job) -> None:
    """Write the staging file of one shard, whole or not at all."""
    source, shard, path = job
    temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "wb") as handle:
            with pq.ParquetWriter(handle, STAGING, compression="zstd") as writer:
                for batch in _batches(sources.read(source, shard)):
                    writer.write_table(pa.Table.from_pylist(_rows(source, batch), schema=STAGING))
            handle.flush()
            os.fsync(handle.fileno())
    except Exception as error:
        place = f"{shard.file} {shard.paths[0] if shard.paths else shard.start}"
        error.add_note(f"while extracting the source {source.name!r}, in the shard that starts at {place}")
        raise
    os.replace(temporary, path)


def _batches(found: Iterator[SourceFile]) -> Iterator[list[SourceFile]]:
    batch: list[SourceFile] = []
    num_chars = 0
    for file in found:
        batch.append(file)
        num_chars += len(file.text or "")
        if num_chars >= BATCH_CHARS or len(batch) >= BATCH_FILES:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _rows(source: Source, batch: list[SourceFile]) -> list[dict[str, Any]]:
    readable = [f for f in batch if f.text is not None]
    extracted = iter(extract_functions([f.text or "" for f in readable]))
    return [
        row for file in batch for row in _file_rows(source, file, next(extracted) if file.text is not None else None)
    ]


def _file_rows(source: Source, file: SourceFile, extracted: Extracted | None) -> Iterator[dict[str, Any]]:
    place: dict[str, Any] = {"source": source.name, "path": file.path, "repo": file.repo, "license": file.license}
    place |= {"license_source": file.license_source, "license_score": file.license_score}
    if extracted is None:
        yield {**place, "reject": file.error}
        return
    if not extracted.is_parsed:
        yield {**place, "reject": "syntax_error"}
        return
    if not extracted.functions and not extracted.refused:
        yield {**place, "reject": "no_documented_function"}
    if extracted.num_undocumented:
        yield {**place, "reject": "undocumented_functions", "value": float(extracted.num_undocumented)}
    for refused in extracted.refused:
        yield {**place, **refused._asdict(), "reject": "newer_syntax", "value": float(refused.line)}
    place["is_generated"] = extracted.is_generated
    for f in extracted.functions:
        needed = None if f.imports is None else imports.standing(f.imports, file.path)
        yield {**place, **f._asdict(), "imports": needed, "snippet_id": content_id("python", f.code)}
