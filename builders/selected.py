"""selected: the candidates of an iteration that a named selection keeps, ranked. Never calls a model.

In: scored, aspect_scores, contamination, influence, and the thresholds of the recipe. Out:
`selected/iteration-t/selection-NAME`, and its rejects. The decision is `queries/selection_verdicts.sql`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

import queries
from builders import aspect_weights
from builders.gradients import MAIN, features
from builders.recipe import Recipe
from store import Plan, Record, Store, fields_of
from store.catalog import connect

QUERY = "selection_verdicts"


def weighting(store: Store, recipe: Recipe, iteration: int) -> dict[str, float]:
    """The selection's own weights, normalised, or the default ones of the iteration."""
    own = recipe.selection.weights
    if own:
        weight_Z = aspect_weights.normalised([own.get(a, 0.0) for a in aspect_weights.ALL])
        return dict(zip(aspect_weights.ALL, map(float, weight_Z), strict=True))
    rows = [r for t in store.read("aspect_weights", iteration=iteration, weights="default") for r in t.to_pylist()]
    return {r["aspect"]: r["weight"] for r in rows}


def values(store: Store, recipe: Recipe, iteration: int, name: str) -> dict[str, Any]:
    """The `$parameters` of the decision."""
    weights = weighting(store, recipe, iteration)
    batches = [MAIN] + ([name] if _is_filled(store, recipe, iteration, name) else [])
    return {
        **fields_of(recipe.selection),
        "iteration": iteration,
        "aspects": list(weights),
        "weights": list(weights.values()),
        "min_strength": recipe.decontamination.min_strength,
        "reference": recipe.influence.reference,
        "features": features(recipe),
        "batches": batches,
    }


def _is_filled(store: Store, recipe: Recipe, iteration: int, name: str) -> bool:
    return store.is_complete("influence", iteration=iteration, reference=recipe.influence.reference, batch=name)


def inputs(store: Store, recipe: Recipe, iteration: int, name: str) -> dict[str, str]:
    """Everything that the decision reads."""
    found = store.input("scored", iteration=iteration)
    found |= store.input("aspect_scores", item_kind="candidate", iteration=iteration)
    reference = recipe.influence.reference
    found |= store.input("influence", iteration=iteration, reference=reference, batch=MAIN)
    if _is_filled(store, recipe, iteration, name):
        found |= store.input("influence", iteration=iteration, reference=reference, batch=name)
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", item_kind="candidate", iteration=iteration, benchmark=benchmark.name)
    return found


def verdicts(store: Store, recipe: Recipe, iteration: int, name: str) -> pa.Table:
    """Every scored candidate of the iteration with its verdict, without writing anything."""
    return queries.table(connect(store), QUERY, values(store, recipe, iteration, name))


def missing(store: Store, recipe: Recipe, iteration: int, name: str) -> list[dict[str, Any]]:
    """The candidates that a selection admits but that have no influence yet, with their texts."""
    given = values(store, recipe, iteration, name)
    return queries.rows(queries.with_verdicts(connect(store), QUERY, given), "missing_items")


def build(store: Store, recipe: Recipe, iteration: int, name: str) -> Record:
    """Write the kept candidates."""
    return _build(store, recipe, "selected", {"iteration": iteration, "selection": name})


def build_rejects(store: Store, recipe: Recipe, iteration: int, name: str) -> Record:
    """Write why the other scored candidates were left out."""
    return _build(store, recipe, "rejects_selected", {"stage": "selected", "iteration": iteration, "selection": name})


def _build(store: Store, recipe: Recipe, query: str, partition: dict[str, Any]) -> Record:
    where = partition["iteration"], partition["selection"]
    given = values(store, recipe, *where)
    plan = Plan(
        table=query.split("_")[0],
        partition=partition,
        inputs=inputs(store, recipe, *where),
        fields={k: given[k] for k in sorted(queries.parameters(QUERY))},
        texts=queries.versions(QUERY, query),
    )

    def rows() -> pa.RecordBatchReader:
        return queries.stream(queries.with_verdicts(connect(store), QUERY, given), query, partition)

    return store.materialize_stream(plan, rows)
