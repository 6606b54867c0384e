"""Whether a store is sound: checksums, contracts, keys and audits.

In: a store. Out: one dictionary per problem. Nothing is mended.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import queries
from store import CONTRACTS, ContractError, Store, segments
from store.catalog import connect
from store.shards import conform, inspect_shard, shard_name


def verify(store: Store) -> list[dict[str, Any]]:
    """Problems found: checksums, contracts, keys and audits. An empty list is a clean store."""
    problems = []
    for record in store.records():
        if record.status != "complete":
            continue
        table, where = record.plan.table, segments(record.plan.table, record.plan.partition)
        directory = store.directory(table, **record.plan.partition)
        for shard in record.shards:
            try:
                found = inspect_shard(store.fs, directory, shard.index, record.plan.fingerprint)
                if found is None:
                    problems.append({"check": "missing", "result": f"{where}/{shard_name(shard.index)}"})
                elif found.sha256 != shard.sha256:
                    problems.append({"check": "checksum", "result": f"{where}/{shard_name(shard.index)}"})
                else:
                    conform(pq.read_table(f"{directory}/{shard_name(shard.index)}"), CONTRACTS[table])
            except (ContractError, pa.ArrowException, OSError) as error:
                problems.append({"check": "contract", "result": f"{where}: {error}"})
    return problems or _keys_and_audits(store)


def _keys_and_audits(store: Store) -> list[dict[str, Any]]:
    connection = connect(store)
    problems = []
    for name, contract in CONTRACTS.items():
        keys = ", ".join(contract.key)
        twice = f"SELECT count(*) FROM (SELECT {keys} FROM {name} GROUP BY {keys} HAVING count(*) > 1)"
        # all rows are fetched: a result that is not read to its end keeps the connection busy
        ((count,),) = connection.execute(twice).fetchall()
        if name != "rejects" and count:
            problems.append({"check": "key", "result": f"{name}: {count} keys ({keys}) occur more than once"})
    for audit in queries.names("audits"):
        for found in queries.rows(connection, audit, audit_values(store)):
            problems.append({"check": audit, "result": ", ".join(f"{k}={v}" for k, v in found.items())})
    return problems


def audit_values(store: Store) -> dict[str, Any]:
    """The `$parameters` of the audits, from the plans on record."""
    teacher, pool = store.record("teacher_samples"), store.record("pool")
    return {
        "num_teacher_snippets": teacher.plan.fields.get("num_snippets") if teacher else None,
        "min_strength": pool.plan.fields["min_strength"] if pool else 1.1,
    }
