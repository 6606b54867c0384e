"""pool: one row is one snippet that may be used: it passed every check and leaks no benchmark.

In: raw_pool, snippet_occurrences, snippet_checks, near_duplicates, the contamination of snippets,
and the scores of a judge of docstrings if the recipe has one. Out: `pool`, and why the other
snippets are not in it.

`queries/pool_verdicts.sql` decides: a snippet is in the pool when there is no reason against it.
The column `position` is its place in an order that depends on the seed. Snippets are drawn in this
order.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import duckdb

import queries
from builders.recipe import Recipe
from builders.sources.license_choices import choices
from store import Plan, Record, Store, fields_of
from store.catalog import connect
from store.errors import JobError

QUERY = "pool_verdicts"
_SHOWN, _SHOWN_CHARS = 8, 60
"""So many licences are named in a message, and so much of a long name."""


def values(recipe: Recipe) -> dict[str, Any]:
    """The `$parameters` of the decision and of the order."""
    return {
        **fields_of(recipe.pool),
        "licenses": sorted({name for text in recipe.pool.licenses for all_of in choices(text) for name in all_of}),
        "own_sources": sorted(s.name for s in recipe.sources if s.keeps_unknown_licenses),
        "min_similarity_raw": recipe.near_duplicates.min_similarity_raw,
        "min_similarity_renamed": recipe.near_duplicates.min_similarity_renamed,
        "min_similarity_docstring": recipe.near_duplicates.min_similarity_docstring,
        "floor": recipe.near_duplicates.floor,
        "short_docstring_words": recipe.near_duplicates.short_docstring_words,
        "whole_sources": sorted(s.name for s in recipe.sources if s.kind == "stdlib"),
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


def thresholds(query: str, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that change the rows of a query over the decision, such as pool.sql."""
    names = {*queries.all_parameters(QUERY), *queries.all_parameters(query)}
    return {name: given[name] for name in sorted(names)}


def versions(query: str) -> dict[str, str]:
    """The decision, such a query, and the steps before both, for a plan."""
    return queries.versions(*sorted({*queries.steps(QUERY), *queries.steps(query)}))


def build(store: Store, recipe: Recipe) -> Record:
    """Decide about every snippet once: write the pool, and why the others are not in it."""
    given, found = values(recipe), inputs(store, recipe)

    @cache
    def decided() -> duckdb.DuckDBPyConnection:
        return queries.with_verdicts(connect(store, found), QUERY, given)

    def written(query: str, also: dict[str, str], **partition: str | int) -> Record:
        plan = Plan(
            table=query.split("_")[0],
            partition=partition,
            inputs=found | also,
            fields=thresholds(query, given),
            texts=versions(query),
        )
        return store.materialize_stream(plan, lambda: queries.stream(decided(), query, given))

    record = written("pool", {})
    # The rejects name the pool, so after a kill in between the old ones are stale.
    written("rejects_pool", store.input("pool"), stage="pool")
    if decided.cache_info().currsize:
        _announce_licenses(store, decided(), {s.name: s.license for s in recipe.sources})
    return record


def _announce_licenses(store: Store, connection: duckdb.DuckDBPyConnection, declared: dict[str, str | None]) -> None:
    """Say what the allow-list left out, what was kept without a licence, and what was declared."""
    found = [row for row in queries.rows(connection, "pool_licenses") if row["num_left_out"]]
    if found:
        named = "; ".join(f"{row['num_left_out']:,} {row['license'][:_SHOWN_CHARS]}" for row in found[:_SHOWN])
        rest = sum(row["num_left_out"] for row in found[_SHOWN:])
        alone = sum(row["num_for_this_alone"] for row in found)
        store.announce(
            f"pool: `pool.licenses` leaves out {sum(row['num_left_out'] for row in found):,} functions, {alone:,} of them "
            f"for their licence alone: {named}{f'; {rest:,} of {len(found) - _SHOWN:,} more' if rest else ''}"
        )
    for row in queries.rows(connection, "pool_license_sources"):
        source = f"pool: source {row['source']!r}"
        if row["num_unknown"]:
            store.announce(
                f"{source}: warning: {row['num_unknown']:,} functions are kept whose licence nothing tells. Name it as "
                "`license` of the source, or leave them out with `keep_unknown_licenses: false`"
            )
        if row["num_declared"] and row["num_told"]:
            store.announce(
                f"{source}: {row['num_declared']:,} functions have the licence that the recipe declares "
                f"({declared.get(row['source']) or 'PSF-2.0'}), {row['num_told']:,} one of their own"
            )


def require_snippets(store: Store) -> None:
    """JobError for an empty pool; it says how many snippets were left out for which reasons."""
    record = store.record("pool")
    if store.builds and record is not None and not record.rows:
        raise JobError(_nothing(store))


def _nothing(store: Store) -> str:
    """Why no snippet is left: what was extracted, and the reasons that left the rest out."""
    reasons: Counter[str] = Counter()
    for stage in ("extract", "pool"):
        for part in store.read("rejects", stage=stage) if store.is_complete("rejects", stage=stage) else ():
            reasons.update(f"{stage}: {reason}" for reason in part["reason"].to_pylist())
    raw = store.record("raw_pool")
    funnel = (
        "; ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(6)) or "the sources have no files"
    )
    return (
        f"the pool is empty, so nothing can be built from it. {raw.rows if raw else 0:,} functions were extracted. Left "
        f"out, by reason: {funnel}. Change the sources, or the section `pool` of the recipe."
    )
