"""pool: the clean, decontaminated pool, in the seeded order from which snippets are drawn.

In: raw_pool, snippet_occurrences, snippet_checks, near_duplicates, contamination of snippets, and the
scores of a judge of docstrings where the recipe has one. Out: `pool`, and its rejects. The decision is
`queries/pool_verdicts.sql`: the pool is what has no reason against it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

import queries
from builders.recipe import Recipe
from builders.sources.license_choices import choices
from store import Plan, Record, Store, fields_of
from store.catalog import connect
from store.errors import InputError

QUERY = "pool_verdicts"


def values(recipe: Recipe) -> dict[str, Any]:
    """The `$parameters` of the decision and of the order."""
    return {
        **fields_of(recipe.pool),
        "licenses": sorted({name for text in recipe.pool.licenses for all_of in choices(text) for name in all_of}),
        "min_similarity_raw": recipe.near_duplicates.min_similarity_raw,
        "min_similarity_renamed": recipe.near_duplicates.min_similarity_renamed,
        "min_docstring_score": recipe.pool.min_docstring_score if recipe.docstring_judge else None,
        "min_strength": recipe.decontamination.min_strength,
        "seed": str(recipe.seed),
    }


def inputs(store: Store, recipe: Recipe) -> dict[str, str]:
    """Everything that the decision reads."""
    judged = store.input("aspect_scores", item_kind="snippet") if recipe.docstring_judge else {}
    return unjudged_inputs(store, recipe) | judged


def unjudged_inputs(store: Store, recipe: Recipe) -> dict[str, str]:
    """The same without the judge's scores."""
    found = store.input("raw_pool") | store.input("snippet_occurrences") | store.input("snippet_checks")
    found |= store.input("near_duplicates")
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", item_kind="snippet", benchmark=benchmark.name)
    return found


def thresholds(given: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that the rows of the pool follow from."""
    return _read_by("pool", given)


def rows(store: Store, given: dict[str, Any]) -> pa.RecordBatchReader:
    """The rows of the pool under these values, without writing anything."""
    return queries.stream(queries.with_verdicts(connect(store), QUERY, given), "pool", given)


def build(store: Store, recipe: Recipe) -> Record:
    """Decide about every snippet once: write the pool, and why the others are not in it."""
    given, found = values(recipe), inputs(store, recipe)

    @cache
    def decided() -> duckdb.DuckDBPyConnection:
        return queries.with_verdicts(connect(store), QUERY, given)

    def written(query: str, **partition: str | int) -> Record:
        plan = Plan(
            table=query.split("_")[0],
            partition=partition,
            inputs=found,
            fields=_read_by(query, given),
            texts=queries.versions(QUERY, query),
        )
        return store.materialize_stream(plan, lambda: queries.stream(decided(), query, given))

    record = written("pool")
    written("rejects_pool", stage="pool")
    return record


def _read_by(query: str, given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in sorted(queries.parameters(QUERY) | queries.parameters(query))}


def snippets(store: Store, start: int, stop: int | None = None) -> list[dict[str, Any]]:
    """Snippets at positions start..stop of the pool, with code, docstring and signature; too few are an error."""
    found = queries.rows(connect(store), "snippets", {"start": start, "stop": stop})
    if stop is not None and len(found) < stop - start:
        have = sum(t.num_rows for t in store.read("pool", ["position"]))
        raise InputError(
            f"the pool has {have} snippets, but positions {start}..{stop} are needed; "
            "relax the thresholds of `pool`, add sources, or ask for fewer snippets per iteration"
        )
    return found
