"""rejects: one row per reason why one item was left out at one stage, so that nothing is dropped silently.

In: the tables of a stage. Out: `rejects/stage-S/[iteration-K/][selection-N/]`. Each stage has its query `rejects_<stage>.sql`,
written from the same parameters as the decision; `queries/audits/conservation.sql` proves items in = items out + rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import queries
from store import Plan, Record, Store
from store.catalog import connect


def build(
    store: Store,
    stage: str,
    inputs: dict[str, str],
    values: Mapping[str, Any] | None = None,
    extra: Callable[[], dict[str, list[str]]] = dict,
    **partition: str | int,
) -> Record:
    """Write the rejects of one stage. `extra` makes further views for its query, when there is something to build."""
    name = f"rejects_{stage}"
    given = dict(values or {})
    plan = Plan(
        table="rejects",
        partition={"stage": stage, **partition},
        inputs=inputs,
        fields={k: given[k] for k in sorted(queries.parameters(name))},
        texts=queries.versions(name),
    )
    return store.materialize_stream(plan, lambda: queries.stream(connect(store, extra=extra()), name, given))
