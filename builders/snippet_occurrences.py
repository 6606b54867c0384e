"""snippet_occurrences: one row is one place where a function text was found, with its licence.

In: the staging files of raw_pool. Out: `snippet_occurrences`. raw_pool keeps each text once; this
table keeps where every copy comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

import queries
from builders import raw_pool
from builders.recipe import Executor, Source
from store import Plan, Record, Store
from store.catalog import connect


def build(store: Store, chosen: Sequence[Source], executor: Executor) -> Record:
    """Every occurrence, ordered by its key."""
    pool_plan = raw_pool.plan(chosen)
    plan = Plan(
        table="snippet_occurrences",
        inputs=store.input("raw_pool"),
        texts=queries.versions("snippet_occurrences"),
    )

    def rows() -> pa.RecordBatchReader:
        raw_pool.extract(store, pool_plan, chosen, executor)
        connection = connect(store, plan.inputs, extra={"extracted": raw_pool.staging_paths(store, pool_plan)})
        return queries.stream(connection, "snippet_occurrences")

    return store.materialize_stream(plan, rows)
