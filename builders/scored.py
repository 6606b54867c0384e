"""scored: the parsed candidates of an iteration with their aspects side by side and the default score.

In: candidates, aspect_scores, aspect_weights. Out: `scored/iteration-t`. All of it is `queries/scored.sql`.
"""

from __future__ import annotations

import queries
from store import Plan, Record, Store
from store.catalog import connect


def build(store: Store, iteration: int, weights: str = "default") -> Record:
    """Join and weigh the scores of one iteration."""
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
    return store.materialize_stream(plan, lambda: queries.stream(connect(store), "scored", values))
