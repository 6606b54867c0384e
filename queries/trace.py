"""Trace a row: where it came from, and what came of it.

In: a store and an id. Out: the rows of all tables that hold the id, and the rows that they came
from.

    trace(Store("store-data"), candidate_id)["raw_pool"]  # the snippet of the candidate
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from store.catalog import Files, connect
from store.errors import ContractError
from store.ledger import Ledger
from store.schemas import CONTRACTS

_LINKS = {
    "candidates": ("snippet_id", "checkpoint_id"),
    "teacher_samples": ("snippet_id",),
    "selected": ("candidate_id",),
}
_UNLINKED = {"gradients"}
"""Tables that a trace leaves out, because nobody reads their numbers."""


def trace(store: Files | Ledger, id_: str) -> dict[str, list[dict[str, Any]]]:
    """The rows that hold an id and the rows that they came from, by table; at most 50 of a table.

    Raises ContractError when no table holds the id.
    """
    connection = connect(store, tables=CONTRACTS.keys() - _UNLINKED)
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
        raise ContractError(
            f"no table holds the id {id_!r}; give a whole id of a snippet, sample, candidate or checkpoint"
        )
    return dict(found)


def _parents_or_children(connection: Any, table: str, name: str, id_: str) -> list[dict[str, Any]]:
    """For the id itself, all rows that hold it. For a row that it came from, only that row."""
    if name == id_:
        return _holding(connection, table, name)
    own = {"raw_pool": "snippet_id", "checkpoints": "checkpoint_id", "snippet_occurrences": "snippet_id"}
    return _where(connection, table, [own[table]], name) if table in own else []


def _holding(connection: Any, table: str, id_: str) -> list[dict[str, Any]]:
    columns = [n for n in CONTRACTS[table].names if n.endswith("_id") and n not in ("task_id", "file_id")]
    return _where(connection, table, columns, id_) if columns else []


def _where(connection: Any, table: str, columns: list[str], id_: str) -> list[dict[str, Any]]:
    # The names come from the contracts. The value of a user is bound as a parameter.
    condition = " OR ".join(f"{c} = $id" for c in columns)
    names = CONTRACTS[table].names
    text = f"SELECT {', '.join(names)} FROM {table} WHERE {condition} LIMIT 50"
    return [dict(zip(names, row, strict=True)) for row in connection.execute(text, {"id": id_}).fetchall()]
