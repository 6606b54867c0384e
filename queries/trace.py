"""Where a row came from, and what came of it.

In: a store and an id. Out: the rows of all tables that hold the id, and the rows that these came from.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from store import CONTRACTS, ContractError, Store
from store.catalog import connect

_LINKS = {
    "candidates": ("snippet_id", "checkpoint_id"),
    "teacher_samples": ("snippet_id",),
    "selected": ("candidate_id",),
}
_UNLINKED = {"gradients"}
"""Tables that a trace leaves out: numbers that nobody reads."""


def trace(store: Store, id_: str) -> dict[str, list[dict[str, Any]]]:
    """Rows by table that hold an id, and the rows that these came from; an unknown id is a ContractError."""
    connection = connect(store)
    wanted, found = [id_], defaultdict(list)
    for table, keys in _LINKS.items():
        for row in _holding(connection, table, id_):
            wanted += [
                row[k] for k in keys if row.get(k) not in (None, id_) and row.get(CONTRACTS[table].key[-1]) == id_
            ]
    for table in CONTRACTS:
        if table not in _UNLINKED:
            rows = {
                str(r): r for name in dict.fromkeys(wanted) for r in _parents_or_children(connection, table, name, id_)
            }
            if rows:
                found[table] = list(rows.values())[:50]
    if not found:
        raise ContractError(f"no table holds the id {id_!r}")
    return dict(found)


def _parents_or_children(connection: Any, table: str, name: str, id_: str) -> list[dict[str, Any]]:
    """Children of the id itself, but of its parents only the rows that they are."""
    if name == id_:
        return _holding(connection, table, name)
    own = {"raw_pool": "snippet_id", "checkpoints": "checkpoint_id", "snippet_occurrences": "snippet_id"}
    return _where(connection, table, [own[table]], name) if table in own else []


def _holding(connection: Any, table: str, id_: str) -> list[dict[str, Any]]:
    columns = [n for n in CONTRACTS[table].schema.names if n.endswith("_id") and n not in ("task_id", "file_id")]
    return _where(connection, table, columns, id_) if columns else []


def _where(connection: Any, table: str, columns: list[str], id_: str) -> list[dict[str, Any]]:
    # names come from the contracts, values are bound
    condition = " OR ".join(f"{c} = $id" for c in columns)
    names = ", ".join(CONTRACTS[table].schema.names)
    return (
        connection.sql(f"SELECT {names} FROM {table} WHERE {condition} LIMIT 50", params={"id": id_})
        .to_arrow_table()
        .to_pylist()
    )
