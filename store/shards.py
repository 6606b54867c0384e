"""One shard: an Arrow table checked against its contract, written as Parquet with the plan's fingerprint in its footer.

In: an Arrow table, its contract, the fingerprint of the plan. Out: `part-00000.parquet` and a `Shard` (rows, checksum).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pydantic import BaseModel

from store import files
from store.errors import ContractError
from store.schemas import VERSION, Contract

FOOTER_PLAN, FOOTER_TABLE, FOOTER_VERSION = b"scoder.plan", b"scoder.table", b"scoder.contract"


class Shard(BaseModel, frozen=True):
    """What the run record remembers of a shard."""

    index: int
    rows: int
    sha256: str


def shard_name(index: int) -> str:
    """`part-00000.parquet`."""
    return f"part-{index:05d}.parquet"


def conform(table: pa.Table, contract: Contract) -> pa.Table:
    """The table with exactly the contract's columns, order and types; a ContractError names what does not fit."""
    missing = [n for n in contract.schema.names if n not in table.column_names]
    excess = [n for n in table.column_names if n not in contract.schema.names]
    twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if missing or excess or twice:
        problem = f"missing columns {missing}, unknown columns {excess}, repeated columns {twice}"
        raise ContractError(f"{contract.name}: {problem}")
    columns = []
    for field in contract.schema:
        column = table.column(field.name)
        if column.null_count and not field.nullable:
            raise ContractError(f"{contract.name}.{field.name}: {column.null_count} NULLs in a required column")
        try:
            columns.append(column.cast(field.type, safe=not pa.types.is_floating(field.type)))
        except pa.ArrowException as error:
            raise ContractError(f"{contract.name}.{field.name}: {column.type} is not {field.type}: {error}") from None
        # a NaN passes every threshold and sorts above every number
        if pa.types.is_floating(field.type) and (nans := pc.sum(pc.is_nan(columns[-1])).as_py()):
            raise ContractError(f"{contract.name}.{field.name}: {nans} values are not numbers (NaN)")
    return pa.table(columns, schema=contract.schema)


def encode(table: pa.Table, contract: Contract, plan: str) -> bytes:
    """Parquet bytes, the same for the same rows and library versions."""
    schema = contract.schema.with_metadata(
        {FOOTER_PLAN: plan.encode(), FOOTER_TABLE: contract.name.encode(), FOOTER_VERSION: str(VERSION).encode()}
    )
    buffer = io.BytesIO()
    # gradients are noise: dictionary and compression make them slower to read and no smaller
    plain = contract.name == "gradients"
    rows = pa.table(conform(table, contract).columns, schema=schema)
    compression = "none" if plain else "zstd"
    with pq.ParquetWriter(buffer, schema, compression=compression, use_dictionary=not plain) as writer:
        if rows.num_rows:  # `datasets` cannot read a row group without rows
            writer.write_table(rows)
    return buffer.getvalue()


def write_shard(
    fs: AbstractFileSystem, directory: str, index: int, table: pa.Table, contract: Contract, plan: str
) -> Shard:
    """Write one shard whole or not at all."""
    data = encode(table, contract, plan)
    files.write_atomic(fs, f"{directory}/{shard_name(index)}", data)
    return Shard(index=index, rows=table.num_rows, sha256=hashlib.sha256(data).hexdigest())


def inspect_shard(fs: AbstractFileSystem, directory: str, index: int, plan: str) -> Shard | None:
    """The shard on disk, None when absent; a shard of another plan is refused."""
    path = f"{directory}/{shard_name(index)}"
    if not fs.exists(path):
        return None
    data = files.read_bytes(fs, path)
    footer = pq.read_metadata(io.BytesIO(data))
    found = (footer.metadata or {}).get(FOOTER_PLAN, b"").decode()
    if found != plan:
        raise ContractError(
            f"{path} belongs to plan {found or '(none)'}, not to {plan}. Remove its folder, and the folder of the "
            "same name in _runs; the next run builds both again."
        )
    return Shard(index=index, rows=footer.num_rows, sha256=hashlib.sha256(data).hexdigest())


def rechunk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows (the last may be shorter; at least one, perhaps empty) from a stream of batches."""
    held: list[pa.RecordBatch] = []
    count = emitted = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            whole = pa.Table.from_batches(held)
            yield whole.slice(0, rows)
            emitted += 1
            held = whole.slice(rows).to_batches()
            count -= rows
    if count or not emitted:
        yield pa.Table.from_batches(held) if held else schema.empty_table()
