"""What is wrong with the files of a store: records, tables, models and published datasets.

In: a store. Out: `Problem`s, and the records whose rows can be trusted. Each file is read once, for
its checksum; whether it keeps its contract is read off its footer. No table is loaded, so memory
stays flat. `queries.verify` asks the rows themselves the rest.

    for problem in Inspection(Store("store-data")).run():
        print(problem.check, problem.result)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import leftovers, markers
from store.counts import counted
from store.errors import ContractError
from store.ids import fingerprint
from store.lock import coordinator_alive
from store.runs import Record
from store.schemas import CONTRACTS, VERSION, Contract
from store.shards import FOOTER_PLAN, Shard, shard_name
from store.store import Store, segments


class Problem(NamedTuple):
    """One thing that is wrong: what was checked, and what was found."""

    check: str
    result: str


class Inspection:
    """One look at all files of a store.

    After `run`, `sound` holds the complete records whose files are as they were written, by the
    path of the partition. `damaged` holds the paths of the others, `unfinished` those of what is
    being built or is stale.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sound: dict[str, Record] = {}
        self.damaged: set[str] = set()
        self.unfinished: dict[str, str] = {}

    def run(self) -> list[Problem]:
        """All problems of the files."""
        found, records = self._records()
        found += self._shards(records)
        found += self._unlisted(records)
        found += self._folders(records)
        return found

    # -- records -----------------------------------------------------------------------------------

    def _records(self) -> tuple[list[Problem], dict[str, Record]]:
        """What is wrong with records, and the readable ones by the path of their partition."""
        runs = Path(self.store.root, "_runs")
        problems: list[Problem] = []
        records: dict[str, Record] = {}
        for path in sorted(runs.rglob("record.json")):
            where = str(path.parent.relative_to(runs))
            if where.startswith("_scratch/"):
                continue
            try:
                read = Record.model_validate_json(path.read_bytes())
                said = segments(read.plan.table, read.plan.partition)
                if said != where:
                    raise ContractError(f"it is the record of {said}")
            except (ValueError, OSError) as error:
                self.damaged.add(where)
                problems.append(Problem("record", f"{path} is damaged: {str(error).splitlines()[0]}"))
                continue
            records[where] = self._judged(read)
            if read.status == "complete" and (wrong := _content_of(read)) != read.content:
                self.damaged.add(where)
                problems.append(Problem("record", f"{where}: its content is {read.content}, its shards give {wrong}"))
        self.unfinished = {where: r.status for where, r in records.items() if r.status != "complete"}
        return problems, records

    def _judged(self, read: Record) -> Record:
        """The record with the status that the store gives it: whether it is stale."""
        try:
            return self.store.record(read.plan.table, **read.plan.partition) or read
        except ContractError:
            # A record of what it came from cannot be read. That is a problem of its own.
            return read.model_copy(update={"status": "stale"})

    # -- the files of tables -----------------------------------------------------------------------

    def _shards(self, records: dict[str, Record]) -> list[Problem]:
        listed = [(where, r, s) for where, r in records.items() if r.status != "building" for s in r.shards]
        problems: dict[str, list[Problem]] = {where: [] for where in records}
        for number in self.store.track(range(len(listed)), "verify files"):
            where, record, shard = listed[number]
            problems[where] += self._shard(where, record, shard)
        for where, record in records.items():
            if problems[where] and self._has_changed(record):
                # It was built again while it was read: what was found is of yesterday.
                problems[where], self.unfinished[where] = [], "building"
            if problems[where]:
                self.damaged.add(where)
            elif where not in self.damaged and where not in self.unfinished:
                self.sound[where] = record
        return [problem for found in problems.values() for problem in found]

    def _has_changed(self, record: Record) -> bool:
        now = self.store.record(record.plan.table, **record.plan.partition)
        return now is None or now.content != record.content

    def _shard(self, where: str, record: Record, shard: Shard) -> list[Problem]:
        directory = self.store.directory(record.plan.table, **record.plan.partition)
        path, name = f"{directory}/{shard_name(shard.index)}", f"{where}/{shard_name(shard.index)}"
        if not os.path.exists(path):
            return [Problem("missing", name)]
        try:
            footer = pq.read_metadata(path)
            rows = f"{name} has {counted(footer.num_rows, 'row')}, its record says {shard.rows:,}"
            problems = [Problem("rows", rows)] if footer.num_rows != shard.rows else []
            if markers.sha256(path) != shard.sha256:
                problems.append(Problem("checksum", name))
            wrong = _breach(path, footer, record)
        except (pa.ArrowException, OSError) as error:
            return [Problem("contract", f"{name} cannot be read: {str(error).splitlines()[0]}")]
        return problems + ([Problem("contract", f"{name}: {wrong}")] if wrong else [])

    def _unlisted(self, records: dict[str, Record]) -> list[Problem]:
        """Files that no record lists: a plain glob reads them, and queries do not."""
        known = {
            f"{where}/{shard_name(s.index)}" for where, r in records.items() if r.status != "building" for s in r.shards
        }
        # What is being built moves its files in before its record says so. And who can tell which
        # files a damaged record lists?
        elsewhere = {where for where, r in records.items() if r.status == "building"} | self.damaged - records.keys()
        is_running = coordinator_alive(self.store.root)
        problems = []
        for table in CONTRACTS:
            for place, _, names in sorted(os.walk(f"{self.store.root}/{table}")):
                where = os.path.relpath(place, self.store.root)
                for name in sorted(names):
                    if name.endswith(".tmp"):
                        if not is_running:
                            problems.append(_leftover(f"{where}/{name}"))
                    elif where not in elsewhere and f"{where}/{name}" not in known:
                        problems.append(Problem("unlisted", f"{where}/{name} is in no record. Remove it"))
        return problems

    # -- models and published datasets -------------------------------------------------------------

    def _folders(self, records: dict[str, Record]) -> list[Problem]:
        owners = {name: where for where, r in records.items() for name in markers.folders_of(r)}
        is_running = coordinator_alive(self.store.root)
        building = {r.plan.fingerprint for r in records.values() if r.status == "building"}
        problems = []
        for room in ("_models", "_datasets"):
            folder = Path(self.store.root, room)
            left = [] if is_running else [*leftovers.folders(folder), *leftovers.partial_trainings(folder, building)]
            problems += [_leftover(f"{room}/{path.name}") for path in left]
            folders = [p for p in sorted(folder.iterdir()) if p.is_dir()] if folder.is_dir() else []
            for path in folders:
                if not path.name.startswith(".") and path not in left:
                    name = f"{room}/{path.name}"
                    problems += self._folder(path, name, records.get(owners.get(name, "")))
        return problems + [problem for record in self.sound.values() for problem in self._absent(record)]

    def _folder(self, path: Path, name: str, owner: Record | None) -> Iterator[Problem]:
        check = "model" if name.startswith("_models/") else "dataset"
        changes = markers.changes(path)
        if changes is None:
            if owner is None and any(path.iterdir()):
                yield Problem(
                    check,
                    f"{name} has no marker ({markers.MARKER}) and belongs to no partition: nothing reads it. "
                    "Remove it, unless it is yours",
                )
            elif owner is not None and owner.status == "complete":
                # One that is being built may have been killed before its model was marked.
                yield Problem(
                    check,
                    f"{name} has no marker ({markers.MARKER}): nobody can tell whether it is whole. {_mended(owner)}",
                )
            return
        mended = f". {_mended(owner)}" if owner is not None else ""
        yield from (Problem(check, f"{name}: {change}{mended}") for change in changes)
        made_under = markers.read(path)
        plan = owner.plan.fingerprint if owner is not None and owner.plan.table == "checkpoints" else None
        if plan and made_under is not None and made_under.plan != plan:
            yield Problem(
                check, f"{name} was made under the plan {made_under.plan or '(none)'}, its record says {plan}"
            )

    def _absent(self, record: Record) -> Iterator[Problem]:
        """The folders of a partition that are gone, and the checkpoints in those that are there.

        An untrained model has no folders. The dataset of a living run may still be on its way.
        """
        where = segments(record.plan.table, record.plan.partition)
        rows = self._checkpoints(record)
        expected = markers.folders_of(record)
        if record.plan.table == "checkpoints" and not rows:
            expected = []
        if record.plan.table == "instructions" and coordinator_alive(self.store.root):
            expected = []
        gone = [name for name in expected if not Path(self.store.root, name).is_dir()]
        for name in gone:
            check = "model" if name.startswith("_models/") else "dataset"
            yield Problem(check, f"{name} of {where} is gone. {_mended(record, is_gone=True)}")
        for row in rows:
            location = row["location"]
            is_told = any(location.startswith(f"{name}/") for name in gone)
            if not is_told and not Path(self.store.root, location).is_dir():
                yield Problem(
                    "model",
                    f"{where}: the checkpoint {row['checkpoint_id']} is not at {location}. {_mended(record)}",
                )

    def _checkpoints(self, record: Record) -> list[dict[str, str]]:
        """The checkpoints of a partition that have weights of their own."""
        if record.plan.table != "checkpoints":
            return []
        parts = self.store.read("checkpoints", ["checkpoint_id", "location"], **record.plan.partition)
        return [row for part in parts for row in part.to_pylist() if row["location"] is not None]


def _mended(owner: Record, *, is_gone: bool = False) -> str:
    """How a folder of a partition is made again."""
    if owner.plan.table == "instructions":
        return (
            "`scoder run RECIPE` writes it again" if is_gone else "Remove it, and `scoder run RECIPE` writes it again"
        )
    return "`scoder run RECIPE --rebuild checkpoints` makes it again"


def _leftover(path: str) -> Problem:
    return Problem("leftover", f"{path} was left by something that was killed; `scoder clean` removes it")


def _content_of(record: Record) -> str:
    return fingerprint([record.plan.fingerprint, [s.sha256 for s in record.shards]])


def _breach(path: str, footer: pq.FileMetaData, record: Record) -> str | None:
    """How a file breaks its contract, in words; None if it keeps it.

    NULLs are counted in the footer. Only columns of numbers are read, because a NaN is not.
    """
    plan = (footer.metadata or {}).get(FOOTER_PLAN, b"").decode()
    if plan != record.plan.fingerprint:
        return f"it was written under the plan {plan or '(none)'}, its record says {record.plan.fingerprint}"
    if record.plan.contract != VERSION:
        return f"it was built under version {record.plan.contract} of the contracts, and this is version {VERSION}"
    contract = CONTRACTS[record.plan.table]
    schema = footer.schema.to_arrow_schema()
    if schema.names != contract.schema.names:
        return f"its columns are {schema.names}, the contract says {contract.schema.names}"
    for field in contract.schema:
        if (kind := schema.field(field.name).type) != field.type:
            return f"{field.name} is {kind}, the contract says {field.type}"
    return _null_or_nan(path, footer, contract)


def _null_or_nan(path: str, footer: pq.FileMetaData, contract: Contract) -> str | None:
    counted = _null_counts(footer)
    floats = [f.name for f in contract.schema if pa.types.is_floating(f.type)]
    unknown = [f.name for f in contract.schema if not f.nullable and counted.get(f.name) is None]
    read = pq.read_table(path, columns=sorted({*floats, *unknown})) if floats or unknown else None
    for field in contract.schema:
        nulls = counted.get(field.name)
        if nulls is None and not field.nullable and read is not None:
            nulls = read[field.name].null_count
        if nulls and not field.nullable:
            return f"{field.name} is required, but {nulls} values are NULL"
        if field.name in floats and read is not None and (nans := pc.sum(pc.is_nan(read[field.name])).as_py()):
            return f"{field.name}: {nans} values are not numbers (NaN)"
    return None


def _null_counts(footer: pq.FileMetaData) -> dict[str, int | None]:
    """Column -> number of NULLs. None if the footer does not say, as for lists."""
    counts: dict[str, int | None] = dict.fromkeys(footer.schema.to_arrow_schema().names, 0)
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            name, statistics = column.path_in_schema, column.statistics
            before = counts.get(name)
            if name not in counts or statistics is None or not statistics.has_null_count:
                counts[name.split(".")[0]] = None
            elif before is not None:
                counts[name] = before + statistics.null_count
    return counts
