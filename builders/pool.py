"""pool: the clean, decontaminated pool, in the seeded order from which snippets are drawn.

In: raw_pool, snippet_occurrences, snippet_checks, near_duplicates, contamination of snippets, and the scores of a judge of docstrings
where the recipe has one. Out: `pool`. The decision is `queries/pool.sql`.
"""

from __future__ import annotations

from typing import Any

import queries
from builders.recipe import Recipe
from builders.sources.license_choices import choices
from store import Plan, Record, Store, fields_of
from store.catalog import connect


def values(recipe: Recipe) -> dict[str, Any]:
    """The `$parameters` of pool.sql and rejects_pool.sql."""
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
    """Those of the values that pool.sql reads."""
    return {name: given[name] for name in sorted(queries.parameters("pool"))}


def build(store: Store, recipe: Recipe) -> Record:
    """Decide which snippets are in the pool."""
    given = values(recipe)
    plan = Plan(
        table="pool",
        inputs=inputs(store, recipe),
        fields=thresholds(given),
        texts=queries.versions("pool"),
    )
    return store.materialize_stream(plan, lambda: queries.stream(connect(store), "pool", given))


def snippets(store: Store, start: int, stop: int | None = None) -> list[dict[str, Any]]:
    """Snippets at positions start..stop of the pool, with code, docstring and signature; too few are an error."""
    found = queries.rows(connect(store), "snippets", {"start": start, "stop": stop})
    if stop is not None and len(found) < stop - start:
        have = sum(t.num_rows for t in store.read("pool", ["position"]))
        raise ValueError(
            f"the pool has {have} snippets, but positions {start}..{stop} are needed; "
            "relax the thresholds of `pool`, add sources, or ask for fewer snippets per iteration"
        )
    return found
