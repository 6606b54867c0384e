"""A store: a folder of tables in Parquet, and the rules by which they are built and read.

    <store>/<table>/[iteration-K/][selection-NAME/]part-00000.parquet   a partition of a table
    <store>/_runs/<table>/<partition>/record.json                       how it was built
    <store>/_models/ and <store>/_datasets/                             models, published datasets

To read: `scan` for Polars, `sql` for DuckDB, `read` for Arrow tables. All columns are inside the
files, so any other reader of Parquet works, too.

To build: `materialize` builds a partition shard by shard, `materialize_stream` from one ordered
stream. A build that was killed is resumed. A partition that is built already under the same plan is
left alone, and one that was built under another plan is refused. A store that is opened with
`force` builds it again instead. What was made from a partition that has other rows now is stale: it
is built again when its turn comes.

Shards under work lie in `_runs/_scratch/shards-<fingerprint of the plan>/`. The folder of a
partition gets its files when all shards are there, so nobody reads half of a partition.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from store import files
from store.counts import counted
from store.errors import ContractError, MissingError
from store.ids import NAME
from store.rebuild import Rebuild
from store.runs import (
    Partition,
    Plan,
    Record,
    Usage,
    code_version,
    command_line,
    completed,
    read_record,
    versions,
)
from store.schemas import contract_of
from store.shards import (
    Shard,
    is_whole,
    joined,
    rechunk,
    shard_name,
    work_shard,
    work_shards,
    write_shard,
    write_work_shard,
)

if TYPE_CHECKING:
    import duckdb
    import polars as pl

Announce = Callable[[str], None]
Track = Callable[[Sequence[int], str], Iterable[int]]
"""Shows a progress bar while a build goes through its shards."""
Follow = Callable[[str], AbstractContextManager[Callable[[Any], None]]]
"""Shows how far a training is, whose name is given: it is called with each step."""


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


class Store:
    """A directory of tables. It is cheap to open, and nothing is written before the first build.

    Example:
        store = Store("store-data")
        store.sql("SELECT count(*) FROM pool").show()
    """

    builds = True
    """False for a preview (`store/preview.py`): then nothing may be written."""

    def __init__(
        self,
        path: str | Path,
        announce: Announce | None = None,
        track: Track | None = None,
        *,
        follow: Follow | None = None,
        force: bool = False,
        rebuild: Rebuild | None = None,
    ):
        self.fs, self.root = files.open_root(path)
        if os.path.isfile(self.root):
            raise ContractError(f"a store must be a directory, but {self.root} is a file")
        self.announce: Announce = announce or (lambda message: None)
        self.track: Track = track or (lambda items, label: items)
        self.follow: Follow = follow or (lambda label: nullcontext(lambda step: None))
        self.force = force
        self.rebuild = rebuild

    # -- paths and records -------------------------------------------------------------------------

    def directory(self, table: str, **partition: str | int) -> str:
        """The absolute directory of a partition."""
        return f"{self.root}/{segments(table, partition)}"

    def scratch(self, name: str) -> str:
        """An absolute directory for what a builder keeps until it is done.

        Queries do not see it.
        """
        return f"{self.root}/_runs/_scratch/{name}"

    def work_folder(self, plan: Plan) -> str:
        """Where the shards of a plan lie until all of them are there."""
        return self.scratch(f"shards-{plan.fingerprint}")

    def _record_path(self, table: str, partition: Partition) -> str:
        return f"{self.root}/_runs/{segments(table, partition)}/record.json"

    def record(self, table: str, **partition: str | int) -> Record | None:
        """The run record of a partition, None if it was never begun."""
        return self._judged(self._written(segments(table, partition)))

    def at(self, where: str) -> Record | None:
        """The same by the path of a partition, such as candidates/iteration-1."""
        return self._judged(self._written(where))

    def _written(self, where: str) -> Record | None:
        """The record of a partition as it is written, by the path of the partition."""
        return read_record(f"{self.root}/_runs/{where}/record.json")

    def records(self) -> list[Record]:
        """All run records, ordered by start."""
        found = []
        for folder, below, names in os.walk(f"{self.root}/_runs"):
            if "_scratch" in below:
                below.remove("_scratch")  # thousands of files, none of them a record
            if "record.json" in names and (record := read_record(f"{folder}/record.json")) is not None:
                found.append(record)
        contents: dict[str, str | None] = {}
        judged = [self._judged(r, contents) for r in found]
        return sorted(judged, key=lambda r: (r.started, segments(r.plan.table, r.plan.partition)))

    @overload
    def _judged(self, record: Record, contents: dict[str, str | None] | None = None) -> Record: ...

    @overload
    def _judged(self, record: None, contents: dict[str, str | None] | None = None) -> None: ...

    def _judged(self, record: Record | None, contents: dict[str, str | None] | None = None) -> Record | None:
        """The record, with status `stale` if an input has not the content that its plan names."""
        if (
            record is None
            or record.status != "complete"
            or self._is_current(record, {} if contents is None else contents)
        ):
            return record
        return record.model_copy(update={"status": "stale"})

    def _is_current(self, record: Record, contents: dict[str, str | None]) -> bool:
        """Whether all inputs of a plan have the contents that it names.

        `contents` are those of the partitions looked at so far: None where it is not complete, or
        itself stale.
        """
        for where in record.plan.inputs:
            if where not in contents:
                contents[where] = None  # a partition that would come from itself is not current
                found = self._written(where)
                if found is not None and found.status == "complete" and self._is_current(found, contents):
                    contents[where] = found.content
        return all(contents[where] == content for where, content in record.plan.inputs.items())

    def save(self, record: Record) -> None:
        """Write a run record, whole or not at all."""
        assert record.status != "stale", "whether a partition is stale follows from its inputs"
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
            record = self._judged(self._written(where))
            if record is None or record.status != "complete" or record.content != content:
                state = "not built" if record is None else record.status
                raise ContractError(
                    f"{where} changed while it was read: the plan names the content {content}, but it is {state} with "
                    f"{record.content if record else 'none'}. Run the same command again"
                )
            found.append(record)
        return found

    def downstream(self, wheres: Iterable[str]) -> list[Record]:
        """The records of all that was made from these partitions, however many steps away."""
        found, known = dict[str, Record](), set(wheres)
        records = self.records()
        while True:
            made = {
                where: r
                for r in records
                if (where := segments(r.plan.table, r.plan.partition)) not in known and known & r.plan.inputs.keys()
            }
            if not made:
                return [r for r in records if segments(r.plan.table, r.plan.partition) in found]
            found |= made
            known |= made.keys()

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
        """The rows of all complete and stale partitions of a table, as a Polars frame.

        Without any partition, the frame has the contract's columns and no rows. MissingError if
        there is no store at all.

        Example:
            store = Store("store-data")
            store.scan("scored").filter(pl.col("score") > 7).select("candidate_id").collect()
        """
        import polars as pl

        self._check_exists()
        paths = self.shard_paths(table)
        if not paths:
            return pl.DataFrame(contract_of(table).schema.empty_table()).lazy()
        return pl.scan_parquet(paths, glob=False, hive_partitioning=False)

    def sql(self, text: str) -> duckdb.DuckDBPyRelation:
        """The rows of one SELECT over all tables, as a DuckDB relation. Nothing can be written.

        MissingError if there is no store at all.

        Example:
            store = Store("store-data")
            store.sql("SELECT reason, count(*) AS n FROM rejects GROUP BY reason").show()
        """
        from store.catalog import relation

        self._check_exists()
        return relation(self, text)

    def _check_exists(self) -> None:
        if not os.path.isdir(self.root):
            raise MissingError(f"no store at {self.root}; build one with `scoder run RECIPE --store {self.root}`")

    # -- building ----------------------------------------------------------------------------------

    def is_built(self, plan: Plan) -> bool:
        """Whether a partition is built under just this plan, not stale, and not to be rebuilt."""
        record = self.record(plan.table, **plan.partition)
        if record is None or record.status != "complete" or record.plan.fingerprint != plan.fingerprint:
            return False
        return self.rebuild is None or not self.rebuild.wants(segments(plan.table, plan.partition), record)

    def built(self, plan: Plan) -> Record | None:
        """The record of a plan that is built already.

        None if it must be built: then it is begun.
        """
        record = self.begin(plan)
        return record if record.status == "complete" else None

    def begin(self, plan: Plan) -> Record:
        """The record of a plan, to build it. If it is complete, that is announced.

        A partition that was built under another plan is a ContractError; with `force` it is removed
        and built again. A stale partition, and one without a finished shard, need no `force`.
        ContractError also if a file of a complete partition is gone or was cut.
        """
        old = self.record(plan.table, **plan.partition)
        where = segments(plan.table, plan.partition)
        is_wanted = old is not None and self.rebuild is not None and self.rebuild.wants(where, old)
        if old is not None and old.plan.fingerprint == plan.fingerprint and old.status != "stale":
            if old.status == "building":
                return old
            if not is_wanted:
                self._check_files(old)
                self.announce(f"{where}: up to date, {counted(old.rows, 'row')}")
                return old
        elif old is not None and old.status != "stale" and not (self.force or is_wanted) and self._has_rows(old):
            raise ContractError(_refusal(where, plan, old.plan.differences(plan)))
        return self._begin_anew(plan, old)

    def is_rebuilding(self, plan: Plan) -> bool:
        """Whether a user asked that this partition is built again although its plan is the same."""
        return self.rebuild is not None and segments(plan.table, plan.partition) in self.rebuild.partitions

    def _has_rows(self, old: Record) -> bool:
        """Whether something would be lost if a record gave way to another plan.

        A killed stream loses nothing, because it begins with the first row again. A build whose
        inputs have changed loses nothing either, because nobody can go on with it.
        """
        if old.status == "building" and (old.plan.num_shards is None or not self._is_current(old, {})):
            return False
        return old.status == "complete" or bool(work_shards(self.fs, self.work_folder(old.plan), old.plan.fingerprint))

    def _check_files(self, record: Record) -> None:
        directory = self.directory(record.plan.table, **record.plan.partition)
        lost = [shard_name(s.index) for s in record.shards if not is_whole(directory, s)]
        if lost:
            where = segments(record.plan.table, record.plan.partition)
            raise ContractError(
                f"{where} is damaged: {', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''} of {directory} "
                f"is gone or was cut. Build it again with `scoder run RECIPE --rebuild {record.plan.table}`"
            )

    def _begin_anew(self, plan: Plan, old: Record | None) -> Record:
        where = segments(plan.table, plan.partition)
        wanted = self.rebuild.id if self.rebuild is not None and self.is_rebuilding(plan) else ""
        record = Record(
            plan=plan, code_version=code_version(), command=command_line(), versions=versions(), rebuilt_for=wanted
        )
        # DuckDB makes its own directory in there for what does not fit in memory.
        # It does not make the one above it.
        os.makedirs(self.scratch(""), exist_ok=True)
        if wanted:
            shutil.rmtree(self.work_folder(plan), ignore_errors=True)
        # The new record comes first: if this is killed half-way, the old one must not say that the
        # partition is complete.
        self.save(record)
        if old is not None:
            self.announce(f"{where}: {_gives_way(old)}")
            self._empty_folder(plan)
        return record

    def _empty_folder(self, plan: Plan) -> None:
        """Remove all files of a partition's folder. Partitions in folders below stay."""
        directory = self.directory(plan.table, **plan.partition)
        for name in files.names(self.fs, directory, ""):
            if not self.fs.isdir(f"{directory}/{name}"):
                self.fs.rm_file(f"{directory}/{name}")

    def write(self, plan: Plan, index: int, table: pa.Table) -> Shard:
        """Write one shard of a begun plan."""
        return write_work_shard(
            self.fs, self.work_folder(plan), index, table, contract_of(plan.table), plan.fingerprint
        )

    def present(self, plan: Plan) -> dict[int, Shard]:
        """The shards of a plan that is being built, by index: those that are there by now."""
        assert plan.num_shards is not None, f"{plan.table}: this plan has no fixed shards"
        found = work_shards(self.fs, self.work_folder(plan), plan.fingerprint)
        return {i: found[i] for i in sorted(found) if i < plan.num_shards}

    def has_shard(self, plan: Plan, index: int) -> bool:
        """Whether one shard of a plan that is being built is there."""
        return work_shard(self.fs, self.work_folder(plan), index, plan.fingerprint) is not None

    def missing(self, plan: Plan) -> list[int]:
        """The indices of the shards that are not there yet."""
        have = self.present(plan)
        return [i for i in range(plan.num_shards or 0) if i not in have]

    def finish(self, record: Record, shards: list[Shard], usage: Usage) -> Record:
        """Move all shards into the folder of the partition, and complete its record.

        From now on, queries see the partition, and nothing else lies in its folder.
        """
        plan = record.plan
        done = completed(record, self._move(plan, shards), usage)
        self.save(done)
        shutil.rmtree(self.work_folder(plan), ignore_errors=True)
        self.announce(
            f"{segments(plan.table, plan.partition)}: {counted(done.rows, 'row')} in {done.usage.wall_s:.1f} s"
        )
        return done

    def _move(self, plan: Plan, shards: list[Shard]) -> list[Shard]:
        """The files of the partition, made of its shards. A kill on the way loses no shard."""
        working, directory = self.work_folder(plan), self.directory(plan.table, **plan.partition)
        os.makedirs(directory, exist_ok=True)
        # Influence finds the gradients of one checkpoint beside those of another by their number.
        groups = [[s] for s in shards] if plan.table == "gradients" else joined(shards)
        made, places = [], []
        for index, group in enumerate(groups):
            if len(group) == 1:
                made.append(group[0].model_copy(update={"index": index}))
                places.append(f"{working}/{shard_name(group[0].index)}")
                continue
            whole = pa.concat_tables(pq.read_table(f"{working}/{shard_name(s.index)}") for s in group)
            contract = contract_of(plan.table)
            made.append(write_shard(self.fs, f"{working}/joined", index, whole, contract, plan.fingerprint))
            places.append(f"{working}/joined/{shard_name(index)}")
        self._empty_folder(plan)
        for shard, place in zip(made, places, strict=True):
            files.link_or_copy(place, f"{directory}/{shard_name(shard.index)}")
        files.sync_directory(directory)
        return made

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
            shutil.rmtree(self.work_folder(plan), ignore_errors=True)
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


def _gives_way(old: Record) -> str:
    """Why a record gives way to a new one, for people."""
    if old.status == "building":
        return "begun under another plan; begun anew"
    return "stale, as what it was made from has changed; built again" if old.status == "stale" else "built again"


def _refusal(where: str, plan: Plan, differences: list[str]) -> str:
    lines = "\n".join(f"  {line}" for line in differences[:12])
    more = f"\n  and {len(differences) - 12} more" if len(differences) > 12 else ""
    beside = (
        "  - write another selection beside it: scoder select --name NAME;\n" if "selection" in plan.partition else ""
    )
    return (
        f"{where} was built under another plan. What differs (built -> now):\n{lines}{more}\n"
        "Nothing was changed. You can\n"
        "  - give the old values again;\n"
        f"{beside}"
        "  - go on in a copy of the store: scoder fork SRC DST --until STAGE;\n"
        "  - build it again with --force. What was made from it is then stale; everything else is kept."
    )


def fields_of(model: Any) -> dict[str, Any]:
    """A settings model as plain JSON values for `Plan.fields`."""
    return model.model_dump(mode="json")
