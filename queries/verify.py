"""Check whether a store is sound.

In: a store. Out: one dictionary per problem. Nothing is mended, and nothing is left out because
something else was found: what cannot be checked is told.

1. The files: records, checksums, contracts, files that no record lists, models and datasets
   (`store.inspection`).
2. The keys of the tables. No two rows may have the same.
3. The audits, which return rows that must not be.

Keys and audits read the partitions that are complete and sound. So a store that was killed between
a table and its rejects gives no false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import queries
from store import CONTRACTS, Record, Store, segments
from store.catalog import connect
from store.inspection import Inspection, Problem
from store.schemas import Contract

MEMORY = "150MB"
"""For DuckDB, which writes what is more to disk."""
HASHES_AT_ONCE = 8_000_000
"""Hashes of keys that are sorted together: 64 MB of them."""
KEY_HASH = "hash({keys})"
MAY_REPEAT = {"rejects"}
"""Tables where a key says what a row is about, and not that it is the only one."""
PUBLISHED = ("pool", "instructions", "selected")


def verify(store: Store) -> list[dict[str, Any]]:
    """The problems of a store; an empty list when it is sound.

    What is stale or being built is announced, because it is no damage: its keys and audits are not
    checked.

    Example:
        for problem in verify(Store("store-data")):
            print(problem["check"], problem["result"])
    """
    return [problem._asdict() for problem in _Check(store).run()]


class _Check:
    """One check of a store, and what it knows by then."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.files = Inspection(store)

    def run(self) -> list[Problem]:
        problems = self.files.run()
        for status in sorted(set(self.files.unfinished.values())):
            names = sorted(where for where, is_so in self.files.unfinished.items() if is_so == status)
            said = f"{names[0]} is {status}: its"
            if len(names) > 1:
                more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
                said = f"{len(names):,} partitions are {status}, {', '.join(names[:5])}{more}: their"
            self.store.announce(f"{said} keys and audits are not checked")
        checks = [self._keys, self._conservation, self._leaks, self._orphans]
        for number in self.store.track(range(len(checks)), "verify rows"):
            problems += checks[number]()
        return [*problems, *self._skipped()]

    @cached_property
    def _sound(self) -> dict[str, str]:
        return {where: record.content for where, record in self.files.sound.items()}

    def _connect(self, inputs: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
        return connect(self.store, inputs, memory_limit=MEMORY, threads=2)

    # -- keys --------------------------------------------------------------------------------------

    def _keys(self) -> Iterator[Problem]:
        rows = dict.fromkeys(CONTRACTS, 0)
        for record in self.files.sound.values():
            rows[record.plan.table] += record.rows
        with self._connect(self._sound) as connection:
            for name, contract in CONTRACTS.items():
                if rows[name] and name not in MAY_REPEAT and (count := repeated(connection, contract, rows[name])):
                    keys = ", ".join(contract.key)
                    yield Problem("key", f"{name}: {count} keys ({keys}) occur more than once")

    # -- audits ------------------------------------------------------------------------------------

    def _conservation(self) -> Iterable[Problem]:
        teacher = self.files.sound.get("teacher_samples")
        values = {
            "num_teacher_snippets": teacher.plan.fields.get("num_snippets") if teacher else None,
            "stages": [stage for record in self.files.sound.values() if (stage := self._whole_stage(record))],
        }
        with self._connect(self._sound) as connection:
            return self._audit(connection, "audits/conservation", values)

    def _whole_stage(self, rejects: Record) -> str | None:
        """The stage whose rejects these are, if the table and all that both came from is sound."""
        if rejects.plan.table != "rejects":
            return None
        stage, *rest = rejects.plan.partition.values()
        table = {"teacher": "teacher_samples"}.get(str(stage), str(stage))
        of_table = {k: v for k, v in rejects.plan.partition.items() if k != "stage"}
        # Gradients, too, are a table, but no audit counts them: their parts are others.
        if table not in CONTRACTS or not of_table.keys() <= set(CONTRACTS[table].partition):
            return None
        made = self.files.sound.get(segments(table, of_table))
        if made is None or not {*made.plan.inputs, *rejects.plan.inputs} <= self._sound.keys():
            return None
        return "/".join(map(str, [stage, *rest]))

    def _leaks(self) -> Iterator[Problem]:
        """Each published partition with the hits that it was decided by.

        A benchmark that the recipe does not name any more is not looked for.
        """
        for where, record in self.files.sound.items():
            if record.plan.table not in PUBLISHED or not record.plan.inputs.keys() <= self._sound.keys():
                continue
            with self._connect({where: record.content, **record.plan.inputs}) as connection:
                yield from self._audit(connection, "audits/leaks", {"min_strength": self._min_strength(record)})

    def _min_strength(self, record: Record) -> float:
        """The threshold of the partition's own plan, or that of the pool."""
        pool = self.files.sound.get("pool")
        said = record.plan.fields.get("min_strength", pool.plan.fields.get("min_strength") if pool else None)
        return 1.1 if said is None else float(said)

    def _orphans(self) -> Iterable[Problem]:
        if self.files.damaged:
            return []  # the parents of healthy rows may be among what cannot be read
        with self._connect(self._sound) as connection:
            return self._audit(connection, "audits/orphans", {})

    def _audit(self, connection: duckdb.DuckDBPyConnection, name: str, values: Mapping[str, Any]) -> list[Problem]:
        found = queries.rows(connection, name, values)
        return [Problem(name, ", ".join(f"{k}={v}" for k, v in row.items())) for row in found]

    def _skipped(self) -> Iterator[Problem]:
        """What could not be checked, because files are damaged."""
        for where in sorted(self.files.damaged):
            yield Problem("skipped", f"{where} is damaged: its keys, and audits that need it, were not checked")
        if self.files.damaged:
            yield Problem("skipped", "audits/orphans: a damaged partition may hold the parents")


def repeated(connection: duckdb.DuckDBPyConnection, contract: Contract, num_rows: int) -> int:
    """How many keys of a table occur more than once.

    Rows whose keys have the same 64-bit hash are found first; only these are compared. Hashes are
    sorted in slices, so that memory does not grow with the table.
    """
    keys = ", ".join(contract.key)
    hashed = KEY_HASH.format(keys=keys)
    num_slices = math.ceil(num_rows / HASHES_AT_ONCE)
    suspects = [_repeated_hashes(connection, contract.name, hashed, i, num_slices) for i in range(num_slices)]
    if not any(map(len, suspects)):
        return 0
    connection.register("suspects", pa.table({"key_hash": np.concatenate(suspects)}))
    twice = f"""
        SELECT count(*) FROM (
            SELECT {keys} FROM {contract.name}
            WHERE {hashed} IN (SELECT key_hash FROM suspects)
            GROUP BY {keys} HAVING count(*) > 1
        )
    """
    ((count,),) = connection.execute(twice).fetchall()
    connection.unregister("suspects")
    return int(count)


def _repeated_hashes(
    connection: duckdb.DuckDBPyConnection, table: str, hashed: str, number: int, num_slices: int
) -> np.ndarray:
    text = f"SELECT {hashed}::UBIGINT AS key_hash FROM {table}"
    if num_slices > 1:
        text += f" WHERE {hashed} % {num_slices} = {number}"
    batches = connection.sql(text).to_arrow_reader(100_000)
    parts = [batch.column(0).to_numpy() for batch in batches]
    if not parts:
        return np.array([], np.uint64)
    hashes = np.concatenate(parts)
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
