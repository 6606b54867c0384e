"""instructions: the final dataset: one clean pair per snippet of the pool, the best by score.

In: the final generation (candidates of iteration T+1), scored and checked for contamination. Out: `instructions`, and its
rejects. The decision is `queries/instruction_verdicts.sql`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

import queries
from builders.recipe import Recipe
from store import Plan, Record, Store
from store.catalog import connect

QUERY = "instruction_verdicts"


def build(store: Store, recipe: Recipe) -> Record:
    """Write the kept pairs."""
    return _build(store, recipe, "instructions", {})


def build_rejects(store: Store, recipe: Recipe) -> Record:
    """Write why the other scored candidates were left out."""
    return _build(store, recipe, "rejects_instructions", {"stage": "instructions"})


def _build(store: Store, recipe: Recipe, query: str, partition: dict[str, Any]) -> Record:
    iteration = recipe.iterations + 1
    given = {
        "iteration": iteration,
        "min_strength": recipe.decontamination.min_strength,
        "min_score": recipe.final.min_score,
        "max_rows": recipe.final.max_rows,
    }
    found = store.input("scored", iteration=iteration) | store.input("candidates", iteration=iteration)
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", item_kind="candidate", iteration=iteration, benchmark=benchmark.name)
    plan = Plan(
        table="rejects" if partition else "instructions",
        partition=partition,
        inputs=found,
        fields=given,
        texts=queries.versions(QUERY, query),
    )

    def rows() -> pa.RecordBatchReader:
        return queries.stream(queries.with_verdicts(connect(store), QUERY, given), query, given)

    return store.materialize_stream(plan, rows)
