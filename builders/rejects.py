"""rejects: one row is one reason why one item was left out at one stage.

In: the tables of a stage. Out: `rejects/stage-S/[iteration-K/][selection-N/]`. Each stage has a
query `rejects_<stage>.sql`, which gets the same parameters as the decision. So nothing is dropped
silently: `queries/audits/conservation.sql` proves that items in = items out + items rejected.
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
    """Write the rejects of one stage.

    `extra` gives files that the query reads as further views. It is called only if there is
    something to build.
    """
    name = f"rejects_{stage}"
    given = dict(values or {})
    plan = Plan(
        table="rejects",
        partition={"stage": stage, **partition},
        inputs=inputs,
        fields={k: given[k] for k in sorted(queries.parameters(name))},
        texts=queries.versions(name),
    )
    return store.materialize_stream(
        plan, lambda: queries.stream(connect(store, plan.inputs, extra=extra()), name, given)
    )
