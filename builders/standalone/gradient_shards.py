"""Gradients of texts outside of a store: a folder of shards, kept for the next run.

    <folder>/<model, adapter and settings>/<texts>.parquet
        text_id, gradient, norm, loss, num_tokens; rejects in the footer
    <folder>/_texts/<texts>.turns.parquet
        texts of shards that are not finished; deleted when the last shard is made
    <folder>/_warmup/<model, settings and sample>/
        the adapter of a model that had none

A path names everything that a shard was made from. So a shard that exists is right, whoever made
it. A killed run continues. Another reference set, or a longer dataset, costs only its own shards. A
shard appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets.conversations import Conversation, Dataset, texts
from builders.executors.devices import Keeper
from store import files, fingerprint
from store.half_floats import as_bytes
from training.settings import DtypeName, GradientSettings

ROWS = 1000
REJECTS = b"scoder.rejects"
SCHEMA = pa.schema(
    [
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("gradient", pa.binary(), nullable=False),
        pa.field("norm", pa.float32(), nullable=False),
        pa.field("loss", pa.float32(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
    ]
)
TEXTS = pa.schema([("text_id", pa.string()), ("messages", pa.string())])
"""Turns are JSON text: the calls of tools have other keys each."""


@dataclass(frozen=True)
class Maker:
    """What makes gradients of texts: a model, an adapter, the settings. `key` names it in paths."""

    model: str
    adapter: str | None
    revision: str | None
    settings: GradientSettings
    dtype: DtypeName
    key: str
    template_arguments: tuple[tuple[str, bool | int | float | str], ...] = ()


@dataclass(frozen=True)
class Job:
    """A shard that is still to be made."""

    folder: str
    maker: Maker
    name: str


def shards(text_ids: Sequence[str]) -> dict[str, list[str]]:
    """Name of each shard -> its texts."""
    parts = (list(text_ids[start : start + ROWS]) for start in range(0, len(text_ids), ROWS))
    return {fingerprint(part)[:24]: part for part in parts}


def path(folder: str | Path, maker: Maker, name: str) -> Path:
    """The path of a shard."""
    return Path(folder, maker.key, f"{name}.parquet")


def missing(folder: Path, makers: Sequence[Maker], names: Sequence[str]) -> list[Job]:
    """The shards that do not exist yet; those of one model stand together."""
    return [Job(str(folder), m, name) for m in makers for name in names if not path(folder, m, name).exists()]


def write_texts(folder: Path, dataset: Dataset, wanted: dict[str, list[str]]) -> None:
    """Write the texts of some shards, for the processes that make them. Existing files are kept."""
    wanted = {name: ids for name, ids in wanted.items() if not _texts(folder, name).exists()}
    shard_of = {text_id: name for name, ids in wanted.items() for text_id in ids}
    held: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for text_id, turns in texts(dataset, set(shard_of)) if wanted else ():
        name = shard_of[text_id]
        held[name].append({"text_id": text_id, "messages": json.dumps(turns, ensure_ascii=False)})
        if len(held[name]) == len(wanted[name]):
            write(_texts(folder, name), pa.Table.from_pylist(held.pop(name), schema=TEXTS), compression="zstd")


def drop_texts(folder: Path) -> None:
    """Delete the texts, once all shards are made."""
    shutil.rmtree(folder / "_texts", ignore_errors=True)


def _texts(folder: str | Path, name: str) -> Path:
    return Path(folder, "_texts", f"{name}.turns.parquet")


def read_texts(folder: str | Path, name: str) -> list[tuple[str, Conversation]]:
    """The texts of a shard that is not finished."""
    return [(row["text_id"], json.loads(row["messages"])) for row in pq.read_table(_texts(folder, name)).to_pylist()]


def make(job: Job, keeper: Keeper) -> None:
    """Compute and write one shard."""
    from training.gradients import GradientModel

    maker = job.maker
    model = keeper.get(
        GradientModel,
        maker.model,
        maker.adapter,
        maker.settings,
        maker.dtype,
        maker.revision,
        maker.template_arguments,
    )
    tables, rejects = [SCHEMA.empty_table()], []
    for batch in model.stream(read_texts(job.folder, job.name)):
        rejects += [reject.model_dump() for reject in batch.rejects]
        columns = [batch.ids, as_bytes(batch.unit_ND), batch.norm_N, batch.loss_N, batch.num_tokens_N]
        tables.append(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))
        keeper.alive()
    table = pa.concat_tables(tables).replace_schema_metadata({REJECTS: json.dumps(rejects).encode()})
    write(path(job.folder, maker, job.name), table)


def write(target: Path, table: pa.Table, compression: str = "none") -> None:
    """Write a Parquet file, whole or not at all.

    Gradients are noise: a dictionary and compression would only slow them down.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=compression, use_dictionary=compression != "none")
    fs, where = files.open_root(target)
    files.write_atomic(fs, where, sink.getvalue().to_pybytes())


def rejects(shard: Path) -> Iterator[dict[str, Any]]:
    """The texts of a shard that have no gradient, with reason, value and threshold."""
    for found in json.loads((pq.read_schema(shard).metadata or {}).get(REJECTS, b"[]")):
        yield {"text_id": found.pop("row"), **found}
