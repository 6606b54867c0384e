"""Write and inspect shards, and join them to the files that a partition consists of.

In: an Arrow table, its contract, and the fingerprint of the plan. Out: a file such as
`part-00000.parquet`, and a `Shard` with its number of rows, its size and its checksum. The table is
checked against the contract first. The fingerprint stands in the file's footer, so that a shard of
another plan is noticed.

While a partition is built, its shards lie in a folder of its plan, and each has its `Shard` beside
it, in `part-00000.json`. So nobody has to read a shard again to know its checksum. When all are
there, small neighbours are joined to files of at least JOINED_ROWS rows and JOINED_BYTES bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from pydantic import BaseModel, Field

from store import files
from store.errors import ContractError
from store.schemas import VERSION, Contract

JOINED_ROWS, JOINED_BYTES = 10_000, 4_000_000
"""A file has at least as many rows and bytes, where its neighbours have enough. Thousands of small
files make every query slow, and one large file cannot be shared out among workers."""

WIDE_ROW_BYTES, WIDE_GROUP_BYTES = 1 << 18, 1 << 25
"""Rows of more bytes than the first are compressed in groups of about the second."""
FOOTER_PLAN, FOOTER_TABLE, FOOTER_VERSION = b"scoder.plan", b"scoder.table", b"scoder.contract"


class Shard(BaseModel, frozen=True):
    """What the run record says of a shard."""

    index: int
    rows: int
    size: int = Field(description="bytes of the file")
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
            writer.write_table(rows, row_group_size=_rows_in_group(rows))
    return buffer.getvalue()


def _rows_in_group(table: pa.Table) -> int:
    """How many rows are compressed together: all of them, unless a row has hundreds of kB.

    Such rows could not be read one after the other, as a page of Parquet holds 1,024 values.
    """
    is_wide = table.nbytes > WIDE_ROW_BYTES * table.num_rows
    return max(1, WIDE_GROUP_BYTES * table.num_rows // table.nbytes) if is_wide else max(1, table.num_rows)


def write_shard(
    fs: AbstractFileSystem, directory: str, index: int, table: pa.Table, contract: Contract, plan: str
) -> Shard:
    """Write one file whole or not at all."""
    data = encode(table, contract, plan)
    files.write_atomic(fs, f"{directory}/{shard_name(index)}", data)
    return Shard(index=index, rows=table.num_rows, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_work_shard(
    fs: AbstractFileSystem, directory: str, index: int, table: pa.Table, contract: Contract, plan: str
) -> Shard:
    """Write one shard of a partition that is being built, and its `Shard` beside it."""
    shard = write_shard(fs, directory, index, table, contract, plan)
    files.write_atomic(fs, f"{directory}/{work_names(index)[1]}", shard.model_dump_json().encode())
    return shard


def work_shards(fs: AbstractFileSystem, directory: str, plan: str) -> dict[int, Shard]:
    """The shards in the folder of a build, by their index."""
    numbers = [int(n[5:-5]) for n in files.names(fs, directory, ".json") if re.fullmatch(r"part-\d{5,}\.json", n)]
    return {i: shard for i in sorted(numbers) if (shard := work_shard(fs, directory, i, plan)) is not None}


def work_shard(fs: AbstractFileSystem, directory: str, index: int, plan: str) -> Shard | None:
    """One shard in the folder of a build, None if it is not there.

    Only its size and its footer are read. A shard that was cut, or that lacks its note, is not
    there: it is made again.
    """
    path, note = (f"{directory}/{name}" for name in work_names(index))
    try:
        shard = Shard.model_validate_json(files.read_bytes(fs, note))
    except (FileNotFoundError, ValueError):
        return None
    is_ours = shard.index == index and _size(path) == shard.size and plan_of(path) == plan
    return shard if is_ours else None


def work_names(index: int) -> tuple[str, str]:
    """The names of a shard and of its note in the folder of a build."""
    return shard_name(index), f"part-{index:05d}.json"


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return None


def plan_of(path: str) -> str | None:
    """The fingerprint of the plan in the footer of a file; None if the footer cannot be read."""
    try:
        return (pq.read_metadata(path).metadata or {}).get(FOOTER_PLAN, b"").decode()
    except (pa.ArrowException, OSError):
        return None


def is_whole(directory: str, shard: Shard) -> bool:
    """Whether the file of a shard is there and has its size. `scoder verify` looks at its bytes."""
    return _size(f"{directory}/{shard_name(shard.index)}") == shard.size


def joined(shards: Sequence[Shard]) -> list[list[Shard]]:
    """Neighbours that become one file: the shards in their order, cut into runs.

    Rows and sizes decide, so the same shards are always joined in the same way.
    """
    groups: list[list[Shard]] = []
    rows = size = 0
    for shard in shards:
        if not groups or (rows >= JOINED_ROWS and size >= JOINED_BYTES):
            groups.append([])
            rows = size = 0
        groups[-1].append(shard)
        rows, size = rows + shard.rows, size + shard.size
    return groups


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
