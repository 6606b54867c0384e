"""instructions: one row is one (problem, solution) pair of the final dataset.

In: the final generation (the candidates of iteration T+1), scored and checked for contamination,
and the selections that the last synthesizer was trained on. Out: `instructions`, and why the other
scored candidates are not in it. `queries/instruction_verdicts.sql` decides: it keeps the clean pair
of each snippet that has the best score.

Some snippets of the final generation stand in the synthesizer's training data, with a candidate of
an earlier iteration. Their pairs are marked in the column `is_snippet_trained_on`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb

import queries
from builders.recipe import Recipe
from store import Plan, Record, Store
from store.catalog import connect

QUERY = "instruction_verdicts"
MEMORY = "600MB"
"""What DuckDB may use; what does not fit is written to disk."""


def learned(recipe: Recipe) -> list[int]:
    """The iterations whose selections the last synthesizer was trained on, directly or before."""
    last = recipe.iterations
    has_all = recipe.synthesizer.accumulate or recipe.synthesizer.train_from == "previous"
    return list(range(1, last + 1)) if has_all else [last]


def inputs(store: Store, recipe: Recipe) -> dict[str, str]:
    """Everything that the decision and its rows are read from."""
    iteration = recipe.iterations + 1
    found = store.input("scored", iteration=iteration) | store.input("candidates", iteration=iteration)
    found |= store.input("raw_pool")
    for t in learned(recipe):
        found |= store.input("selected", iteration=t, selection=recipe.selection_name)
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", item_kind="candidate", iteration=iteration, benchmark=benchmark.name)
    return found


def values(recipe: Recipe) -> dict[str, Any]:
    """The `$parameters` of the decision and of its rows."""
    return {
        "iteration": recipe.iterations + 1,
        "min_strength": recipe.decontamination.min_strength,
        "min_score": recipe.final.min_score,
        "max_per_snippet": 1,
        "max_rows": recipe.final.max_rows,
        "iterations": learned(recipe),
        "selection": recipe.selection_name,
    }


def build(store: Store, recipe: Recipe) -> Record:
    """Decide about every pair once: write those that are kept, and why the others are not."""
    found, given = inputs(store, recipe), values(recipe)

    @cache
    def decided() -> duckdb.DuckDBPyConnection:
        return queries.with_verdicts(connect(store, found, memory_limit=MEMORY), QUERY, given)

    def written(query: str, also: dict[str, str], **partition: str | int) -> Record:
        plan = Plan(
            table=query.split("_")[0],
            partition=partition,
            inputs=found | also,
            fields=given,
            texts=queries.versions(*queries.steps(QUERY), query),
        )
        return store.materialize_stream(plan, lambda: queries.stream(decided(), query, given))

    record = written("instructions", {})
    # The rejects name the instructions, so after a kill in between the old ones are stale.
    written("rejects_instructions", store.input("instructions"), stage="instructions")
    return record
