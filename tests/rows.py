"""Rows for tests: a test writes the columns that it is about, the contract gives the others.

In: rows as dictionaries. Out: tables, and partitions of a store. Required columns get a neutral
value of their type.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from store import CONTRACTS, Plan, Record, Store, content_id

Row = dict[str, Any]


def neutral(field: pa.Field) -> Any:
    """NULL, or for a required column '', b'', false, 0 or []."""
    if field.nullable:
        return None
    if pa.types.is_list(field.type):
        return []
    if pa.types.is_string(field.type):
        return ""
    if pa.types.is_binary(field.type):
        return b""
    return False if pa.types.is_boolean(field.type) else 0


def table(name: str, rows: list[Row]) -> pa.Table:
    """The rows under the contract; a column that the contract does not know is an error."""
    schema = CONTRACTS[name].schema
    unknown = {column for row in rows for column in row} - set(schema.names)
    assert not unknown, f"{name} has no columns {sorted(unknown)}"
    return pa.Table.from_pylist([{f.name: neutral(f) for f in schema} | row for row in rows], schema=schema)


def make_stale(store: Store, name: str, **partition: str | int) -> None:
    """Let a complete partition come from what is gone: the next build makes it again."""
    record = store.record(name, **partition)
    assert record is not None, f"{name} {partition} is not built"
    inputs = record.plan.inputs | {"benchmarks/benchmark-gone": "a content that nothing has"}
    store.save(record.model_copy(update={"plan": record.plan.model_copy(update={"inputs": inputs})}))


def put(store: Store, name: str, rows: list[Row], **partition: str | int) -> Record:
    """Write the rows as one complete partition of one shard; other rows are another plan."""
    plan = Plan(table=name, partition=partition, fields={"rows": content_id(repr(rows))}, num_shards=1)
    return store.materialize(plan, lambda index: table(name, rows))
