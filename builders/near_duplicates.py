"""near_duplicates: snippets whose texts are equal once case, comments and white space are normalised.

In: `raw_pool`, those with `snippet_checks`. Out: one row per member of a cluster of two or more. The decision to keep only representatives is in pool.sql.
"""

from __future__ import annotations

import queries
from store import Plan, Record, Store
from store.catalog import connect


def build(store: Store) -> Record:
    """Cluster raw_pool."""
    plan = Plan(
        table="near_duplicates",
        inputs=store.input("raw_pool") | store.input("snippet_checks"),
        texts=queries.versions("near_duplicates"),
    )
    return store.materialize_stream(plan, lambda: queries.stream(connect(store), "near_duplicates"))
