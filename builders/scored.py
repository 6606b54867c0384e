"""scored: one row is one parsed candidate with all its aspect scores and the score made of them.

In: candidates, aspect_scores, aspect_weights. Out: `scored/iteration-t`. `queries/scored.sql` does
it all: it puts the aspects side by side and sums weight times score.
"""

from __future__ import annotations

import queries
from store import Plan, Record, Store
from store.catalog import connect

MEMORY = "600MB"
"""What DuckDB may use; what does not fit is written to disk. A million candidates need no more."""


def build(store: Store, iteration: int, weights: str = "default") -> Record:
    """Write the scored candidates of one iteration."""
    values = {"iteration": iteration, "weights": weights}
    plan = Plan(
        table="scored",
        partition={"iteration": iteration},
        inputs=store.input("candidates", iteration=iteration)
        | store.input("aspect_scores", item_kind="candidate", iteration=iteration)
        | store.input("aspect_weights", iteration=iteration, weights=weights),
        fields=values,
        texts=queries.versions("scored"),
    )
    return store.materialize_stream(
        plan, lambda: queries.stream(connect(store, plan.inputs, memory_limit=MEMORY), "scored", values)
    )
