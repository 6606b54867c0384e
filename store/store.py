"""A store: a folder of tables in Parquet, and the rules by which they are built and read.

    <store>/<table>/[iteration-K/][selection-NAME/]part-00000.parquet   a partition of a table
    <store>/_runs/<table>/<partition>/record.json                       how it was built
    <store>/_models/ and <store>/_datasets/                             models, published datasets

To read: `scan` for Polars, `sql` for DuckDB, `read` for Arrow tables. All columns are inside the
files, so any other reader of Parquet works, too.

To build: `materialize` builds a partition shard by shard, `materialize_stream` from one ordered
stream. A build that was killed is resumed. A partition that is built already under the same plan is
left alone, and one that was built under another plan is refused. A store that is opened with
`force` builds it again instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from store import files
from store.errors import ContractError
from store.ids import NAME
from store.runs import Partition, Plan, Record, Usage, code_version, command_line, completed
from store.schemas import CONTRACTS, Contract
from store.shards import Shard, inspect_shard, rechunk, shard_name, write_shard

if TYPE_CHECKING:
    import duckdb
    import polars as pl

Announce = Callable[[str], None]
Track = Callable[[Sequence[int], str], Iterable[int]]
"""Shows a progress bar while a build goes through its shards."""


def segments(table: str, partition: Partition) -> str:
    """The path of a partition, such as `selected/iteration-1/selection-default`.

    The contract of the table says in which order the parts come.
    """
    contract = contract_of(table)
    unknown = [k for k in partition if k not in contract.partition]
    if unknown:
        raise ContractError(f"{table} is partitioned by {list(contract.partition)}, not by {unknown}")
    parts = [f"{k}-{partition[k]}" for k in contract.partition if k in partition]
    for part in parts:
        if not NAME.match(part):
            raise ContractError(
                f"partition {part!r} of {table} must match [a-z0-9][a-z0-9_-]*: lower-case letters, digits, - and _"
            )
    return "/".join([table, *parts])


def contract_of(table: str) -> Contract:
    """The contract of a table. Raises ContractError, which lists the tables, when there is none."""
    if table not in CONTRACTS:
        raise ContractError(f"no table {table!r}; the tables are {', '.join(CONTRACTS)}")
    return CONTRACTS[table]


class Store:
    """A directory of tables. It is cheap to open, and nothing is written before the first build.

    Example:
        store = Store("store-data")
        store.sql("SELECT count(*) FROM pool").show()
    """

    def __init__(
        self,
        path: str | Path,
        announce: Announce | None = None,
        track: Track | None = None,
        *,
        force: bool = False,
    ):
        self.fs, self.root = files.open_root(path)
        if os.path.isfile(self.root):
            raise ContractError(f"a store must be a directory, but {self.root} is a file")
        self.announce: Announce = announce or (lambda message: None)
        self.track: Track = track or (lambda items, label: items)
        self.force = force

    # -- paths and records -------------------------------------------------------------------------

    def directory(self, table: str, **partition: str | int) -> str:
        """The absolute directory of a partition."""
        return f"{self.root}/{segments(table, partition)}"

    def scratch(self, name: str) -> str:
        """An absolute directory for what a builder keeps until it is done.

        Queries do not see it.
        """
        return f"{self.root}/_runs/_scratch/{name}"

    def _at(self, where: str) -> Record | None:
        """The record of a partition that is named by its path, such as candidates/iteration-1."""
        path = f"{self.root}/_runs/{where}/record.json"
        return self._read_record(path) if self.fs.exists(path) else None

    def _record_path(self, table: str, partition: Partition) -> str:
        return f"{self.root}/_runs/{segments(table, partition)}/record.json"

    def record(self, table: str, **partition: str | int) -> Record | None:
        """The run record of a partition, None if it was never begun."""
        path = self._record_path(table, partition)
        if not self.fs.exists(path):
            return None
        return self._read_record(path)

    def _read_record(self, path: str) -> Record:
        try:
            return Record.model_validate_json(files.read_bytes(self.fs, path))
        except ValueError as error:
            raise ContractError(
                f"{path} is damaged: {str(error).splitlines()[0]}. Restore it, or remove it together with the files of "
                "its partition: the next run builds the partition again"
            ) from None

    def records(self) -> list[Record]:
        """All run records, ordered by start."""
        runs = f"{self.root}/_runs/"
        scratch = self.scratch("")
        paths = [p for p in self.fs.find(runs) if p.endswith("/record.json") and not p.startswith(scratch)]
        found = [self._read_record(p) for p in paths]
        return sorted(found, key=lambda r: (r.started, segments(r.plan.table, r.plan.partition)))

    def save(self, record: Record) -> None:
        """Write a run record, whole or not at all."""
        path = self._record_path(record.plan.table, record.plan.partition)
        files.write_atomic(self.fs, path, record.model_dump_json(indent=1).encode())

    def input(self, table: str, **partition: str | int) -> dict[str, str]:
        """A partition as an input of a plan: `{its path: fingerprint of its content}`.

        Raises ContractError when it is not complete.
        """
        record = self.record(table, **partition)
        where = segments(table, partition)
        if record is None or record.status != "complete":
            state = "not built" if record is None else record.status
            raise ContractError(
                f"{where} is needed, but it is {state}; `scoder run RECIPE` builds all stages in their order"
            )
        return {where: record.content}

    def input_records(self, inputs: Mapping[str, str]) -> list[Record]:
        """The records of the partitions that a plan names as its inputs.

        Raises ContractError when one is not complete, or has another content than the plan says.
        """
        found = []
        for where, content in inputs.items():
            record = self._at(where)
            if record is None or record.status != "complete" or record.content != content:
                state = "not built" if record is None else record.status
                raise ContractError(
                    f"{where} changed while it was read: the plan names the content {content}, but it is {state} with "
                    f"{record.content if record else 'none'}. Run the same command again"
                )
            found.append(record)
        return found

    def is_complete(self, table: str, **partition: str | int) -> bool:
        """Whether a partition is built and not stale."""
        record = self.record(table, **partition)
        return record is not None and record.status == "complete"

    def shard_paths(self, table: str, records: Sequence[Record] | None = None) -> list[str]:
        """The Parquet files of all complete or stale partitions of a table: what queries see.

        `records` are all run records, if the caller has read them already.
        """
        paths = []
        for record in self.records() if records is None else records:
            if record.plan.table == table and record.status != "building":
                directory = self.directory(table, **record.plan.partition)
                paths += [f"{directory}/{shard_name(s.index)}" for s in record.shards]
        return sorted(paths)

    def partitions(self, table: str) -> list[Partition]:
        """The complete partitions of a table."""
        return [r.plan.partition for r in self.records() if r.plan.table == table and r.status == "complete"]

    def read(self, table: str, columns: list[str] | None = None, /, **partition: str | int) -> Iterator[pa.Table]:
        """The rows of one complete partition, one shard after the other."""
        self.input(table, **partition)
        record = self.record(table, **partition)
        assert record is not None
        for shard in record.shards:
            yield pq.read_table(f"{self.directory(table, **partition)}/{shard_name(shard.index)}", columns=columns)

    def scan(self, table: str) -> pl.LazyFrame:
        """The rows of all complete partitions of a table, as a Polars frame.

        Without any partition, the frame has the contract's columns and no rows.

        Example:
            store = Store("store-data")
            store.scan("scored").filter(pl.col("score") > 7).select("candidate_id").collect()
        """
        import polars as pl

        paths = self.shard_paths(table)
        if not paths:
            return pl.DataFrame(contract_of(table).schema.empty_table()).lazy()
        return pl.scan_parquet(paths, glob=False, hive_partitioning=False)

    def sql(self, text: str) -> duckdb.DuckDBPyRelation:
        """The rows of one SELECT over all tables, as a DuckDB relation. Nothing can be written.

        Example:
            store = Store("store-data")
            store.sql("SELECT reason, count(*) AS n FROM rejects GROUP BY reason").show()
        """
        from store.catalog import relation

        return relation(self, text)

    # -- building ----------------------------------------------------------------------------------

    def is_built(self, plan: Plan) -> bool:
        """Whether a partition is built under exactly this plan, and not stale."""
        record = self.record(plan.table, **plan.partition)
        return record is not None and record.status == "complete" and record.plan.fingerprint == plan.fingerprint

    def built(self, plan: Plan) -> Record | None:
        """The record of a plan that is built already.

        None if it must be built: then it is begun.
        """
        record = self.begin(plan)
        return record if record.status == "complete" else None

    def begin(self, plan: Plan) -> Record:
        """The record of a plan, to build it. If it is complete, that is announced.

        A partition that was built under another plan is a ContractError. With `force` it is
        removed, so that it is built again.
        """
        old = self.record(plan.table, **plan.partition)
        where = segments(plan.table, plan.partition)
        if old is not None and old.plan.fingerprint == plan.fingerprint and old.status != "stale":
            if old.status == "complete":
                self.announce(f"{where}: up to date, {old.rows:,} rows")
            return old
        if old is not None and old.status != "stale" and not self.force:
            raise ContractError(_refusal(where, old.plan.differences(plan)))
        if old is not None:
            self._discard(old)
        record = Record(plan=plan, code_version=code_version(), command=command_line())
        # DuckDB makes its own directory in there for what does not fit in memory.
        # It does not make the one above it.
        os.makedirs(self.scratch(""), exist_ok=True)
        self.save(record)
        return record

    def _discard(self, record: Record) -> None:
        """Remove a partition that is built again, and mark all that was made from it as stale."""
        where = segments(record.plan.table, record.plan.partition)
        # Its own record comes first: if this is killed half-way, the partition must not say that it
        # is complete.
        self.save(record.model_copy(update={"status": "stale", "shards": []}))
        self._mark_downstream(record, because=where)
        directory = self.directory(record.plan.table, **record.plan.partition)
        for name in files.names(self.fs, directory, ".parquet"):
            self.fs.rm_file(f"{directory}/{name}")

    def _mark_downstream(self, record: Record, because: str) -> None:
        """Mark all that was made from a partition as stale, however many steps away."""
        where = segments(record.plan.table, record.plan.partition)
        for later in self.records():
            if where in later.plan.inputs and later.status != "stale":
                self.save(later.model_copy(update={"status": "stale"}))
                name = segments(later.plan.table, later.plan.partition)
                self.announce(f"{name}: stale, because {because} is built again")
                self._mark_downstream(later, because)

    def write(self, plan: Plan, index: int, table: pa.Table) -> Shard:
        """Write one shard of a begun plan."""
        directory = self.directory(plan.table, **plan.partition)
        return write_shard(self.fs, directory, index, table, contract_of(plan.table), plan.fingerprint)

    def present(self, plan: Plan) -> dict[int, Shard]:
        """The shards of a plan that are on disk. Raises ContractError for one of another plan."""
        assert plan.num_shards is not None, f"{plan.table}: this plan has no fixed shards"
        directory = self.directory(plan.table, **plan.partition)
        found = (inspect_shard(self.fs, directory, i, plan.fingerprint) for i in range(plan.num_shards))
        return {shard.index: shard for shard in found if shard is not None}

    def missing(self, plan: Plan) -> list[int]:
        """The indices of the shards that are not on disk yet."""
        have = self.present(plan)
        return [i for i in range(plan.num_shards or 0) if i not in have]

    def finish(self, record: Record, shards: list[Shard], usage: Usage) -> Record:
        """Complete a record. From now on, queries see the partition."""
        done = completed(record, shards, usage)
        self.save(done)
        where = segments(record.plan.table, record.plan.partition)
        self.announce(f"{where}: {done.rows:,} rows in {done.usage.wall_s:.1f} s")
        return done

    def materialize(self, plan: Plan, make: Callable[[int], tuple[pa.Table, Usage] | pa.Table]) -> Record:
        """Build a partition of fixed shards.

        `make(index)` is called for each shard that is missing. It returns the rows of the shard, or
        the rows and what they cost.
        """
        with self.building(plan) as record:
            if record.status == "complete":
                return record
            for index in self.track(self.missing(plan), segments(plan.table, plan.partition)):
                start = time.monotonic()
                made = make(index)
                table, usage = made if isinstance(made, tuple) else (made, Usage())
                self.write(plan, index, table)
                usage = usage.model_copy(update={"wall_s": time.monotonic() - start})
                record.usage = record.usage.add(usage)
                self.save(record)
            return self.finish(record, list(self.present(plan).values()), record.usage)

    def materialize_stream(self, plan: Plan, batches: Callable[[], Iterable[pa.RecordBatch]]) -> Record:
        """Build a partition from one ordered stream.

        A killed build starts with the first row again.
        """
        with self.building(plan) as record:
            if record.status == "complete":
                return record
            start = time.monotonic()
            schema = contract_of(plan.table).schema
            shards = [
                self.write(plan, index, table)
                for index, table in enumerate(rechunk(batches(), schema, plan.rows_per_shard))
            ]
            return self.finish(record, shards, record.usage.add(Usage(wall_s=time.monotonic() - start)))

    @contextmanager
    def building(self, plan: Plan) -> Iterator[Record]:
        """The record to build under. If it is complete, there is nothing to do.

        An exception in the block gets a note that names the partition.
        """
        record = self.begin(plan)
        try:
            yield record
        except Exception as error:
            error.add_note(f"while building {segments(plan.table, plan.partition)} in {self.root}")
            raise

    # -- forks -------------------------------------------------------------------------------------

    def link_into(self, target: Store, keep: Callable[[Record], bool]) -> list[str]:
        """Hard-link the complete partitions that `keep` accepts into an empty store.

        Where links cannot be made, files are copied. Returns the paths of the partitions. The
        record of a partition is written after its files.
        """
        linked = []
        for record in self.records():
            if record.status == "complete" and keep(record):
                source = self.directory(record.plan.table, **record.plan.partition)
                to = target.directory(record.plan.table, **record.plan.partition)
                os.makedirs(to, exist_ok=True)
                for shard in record.shards:
                    files.link_or_copy(f"{source}/{shard_name(shard.index)}", f"{to}/{shard_name(shard.index)}")
                target.save(record)
                linked.append(segments(record.plan.table, record.plan.partition))
        return linked


def _refusal(where: str, differences: list[str]) -> str:
    lines = "\n".join(f"  {line}" for line in differences[:12])
    return (
        f"{where} was built under another plan. What differs (built -> now):\n{lines}\n"
        "Nothing was changed. You can\n"
        "  - give the old values again;\n"
        "  - write another selection beside it: scoder select --name NAME;\n"
        "  - go on in a copy of the store: scoder fork SRC DST --until STAGE;\n"
        "  - build it again with --force. What was made from it is then stale; everything else is kept."
    )


def fields_of(model: Any) -> dict[str, Any]:
    """A settings model as plain JSON values for `Plan.fields`."""
    return model.model_dump(mode="json")
