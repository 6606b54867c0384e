"""Write and inspect shards: the Parquet files that a partition consists of.

In: an Arrow table, its contract, and the fingerprint of the plan. Out: a file such as
`part-00000.parquet`, and a `Shard` with its number of rows and its checksum. The table is checked
against the contract first. The fingerprint stands in the file's footer, so that a shard of another
plan is noticed.
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
    """What the run record says of a shard."""

    index: int
    rows: int
    sha256: str


def shard_name(index: int) -> str:
    """The file name of a shard, such as `part-00000.parquet`."""
    return f"part-{index:05d}.parquet"


def conform(table: pa.Table, contract: Contract) -> pa.Table:
    """The table with the contract's columns, in their order and with their types.

    Raises ContractError, which names what does not fit: a column, a type, a NULL or a NaN.
    """
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
            raise ContractError(f"{contract.name}.{field.name} is required, but {column.null_count} values are NULL")
        try:
            columns.append(column.cast(field.type, safe=not pa.types.is_floating(field.type)))
        except pa.ArrowException as error:
            raise ContractError(f"{contract.name}.{field.name}: {column.type} is not {field.type}: {error}") from None
        # In DuckDB a NaN is greater than every number, so it would pass a threshold.
        if pa.types.is_floating(field.type) and (nans := pc.sum(pc.is_nan(columns[-1])).as_py()):
            raise ContractError(f"{contract.name}.{field.name}: {nans} values are not numbers (NaN)")
    return pa.table(columns, schema=contract.schema)


def encode(table: pa.Table, contract: Contract, plan: str) -> bytes:
    """The bytes of a Parquet file.

    The same rows give the same bytes, with the same library versions.
    """
    schema = contract.schema.with_metadata(
        {FOOTER_PLAN: plan.encode(), FOOTER_TABLE: contract.name.encode(), FOOTER_VERSION: str(VERSION).encode()}
    )
    buffer = io.BytesIO()
    # Gradients are noise. A dictionary or compression makes them slower to read, and no smaller.
    plain = contract.name == "gradients"
    rows = pa.table(conform(table, contract).columns, schema=schema)
    compression = "none" if plain else "zstd"
    with pq.ParquetWriter(buffer, schema, compression=compression, use_dictionary=not plain) as writer:
        if rows.num_rows:  # Hugging Face `datasets` cannot read a row group without rows
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
    """The shard on disk, None if it is not there.

    Raises ContractError for a shard of another plan.
    """
    path = f"{directory}/{shard_name(index)}"
    if not fs.exists(path):
        return None
    data = files.read_bytes(fs, path)
    footer = pq.read_metadata(io.BytesIO(data))
    found = (footer.metadata or {}).get(FOOTER_PLAN, b"").decode()
    if found != plan:
        raise ContractError(
            f"{path} was written under the plan {found or '(none)'}, but the plan is {plan} now. Remove its folder, "
            "and the folder of the same name in _runs: the next run builds both again"
        )
    return Shard(index=index, rows=footer.num_rows, sha256=hashlib.sha256(data).hexdigest())


def rechunk(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Tables of exactly `rows` rows each, from a stream of batches.

    The last table may be shorter. Without any row, there is one empty table.
    """
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
