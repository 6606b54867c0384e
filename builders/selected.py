"""selected: one row is one candidate of an iteration that a named selection keeps, with its rank.

In: scored, candidates, contamination, influence, and the thresholds of the recipe. Out:
`selected/iteration-t/selection-NAME`, and why the other scored candidates are not in it.
`queries/selection_verdicts.sql` decides. No model is called, so another selection takes seconds.

Influence comes in batches. The batch main is that of the loop. `scoder fill` adds a batch for the
candidates that a looser selection admits and that have none yet; its name is made of their ids. The
plan of a selection says which batches it reads: main, and those that `fill` gave to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb

import queries
from builders import aspect_weights
from builders.gradients import MAIN, features
from builders.recipe import Recipe
from store import Plan, Record, Store, content_id, fields_of, segments
from store.catalog import connect
from store.errors import InputError

QUERY = "selection_verdicts"
MEMORY = "600MB"
"""What DuckDB may use; what does not fit is written to disk. A million candidates need no more."""


def weighting(store: Store, recipe: Recipe, iteration: int) -> dict[str, float]:
    """The weight of each aspect: the selection's own weights, or the default of the iteration."""
    own = recipe.selection.weights
    if own:
        weight_Z = aspect_weights.normalised([own.get(a, 0.0) for a in aspect_weights.ALL])
        return dict(zip(aspect_weights.ALL, map(float, weight_Z), strict=True))
    rows = [r for t in store.read("aspect_weights", iteration=iteration, weights="default") for r in t.to_pylist()]
    return {r["aspect"]: r["weight"] for r in rows}


def values(store: Store, recipe: Recipe, iteration: int, batches: list[str]) -> dict[str, Any]:
    """The `$parameters` of the decision."""
    return {
        **fields_of(recipe.selection),
        "iteration": iteration,
        "weights": weighting(store, recipe, iteration),
        "min_strength": recipe.decontamination.min_strength,
        "reference": recipe.influence.reference,
        "features": features(recipe),
        "batches": batches,
    }


def inputs(store: Store, recipe: Recipe, iteration: int, batches: list[str]) -> dict[str, str]:
    """Everything that the decision reads."""
    found = store.input("scored", iteration=iteration) | store.input("candidates", iteration=iteration)
    for batch in batches:
        found |= store.input("influence", iteration=iteration, reference=recipe.influence.reference, batch=batch)
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", item_kind="candidate", iteration=iteration, benchmark=benchmark.name)
    return found


def decided(
    store: Store,
    recipe: Recipe,
    iteration: int,
    batches: list[str],
    also: dict[str, str] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection with every scored candidate and its verdict as the table `verdicts`.

    Nothing is written. The views also hold the partitions `also`, which reports read.
    """
    seen = inputs(store, recipe, iteration, batches) | (also or {})
    connection = connect(store, seen, memory_limit=MEMORY)
    return queries.with_verdicts(connection, QUERY, values(store, recipe, iteration, batches))


def written(store: Store, iteration: int, name: str, also: dict[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """The same for a selection that is written: no decision is made."""
    connection = connect(store, outputs(store, iteration, name) | (also or {}), memory_limit=MEMORY)
    where = {"iteration": iteration, "selection": name}
    return queries.with_verdicts(connection, "written_verdicts", where)


def outputs(store: Store, iteration: int, name: str) -> dict[str, str]:
    """A selection that is written, as inputs of a plan. ContractError if it is not there."""
    where: dict[str, Any] = {"iteration": iteration, "selection": name}
    return store.input("selected", **where) | store.input("rejects", stage="selected", **where)


def build(store: Store, recipe: Recipe, iteration: int, name: str, batches: list[str] | None = None) -> Record:
    """Decide about every scored candidate once: write who is kept, and why the others are not.

    `batches` are the batches of influence to read; without them, those that the selection of this
    name has read so far.
    """
    read = own_batches(store, recipe, iteration, name) if batches is None else batches

    @cache
    def verdicts() -> duckdb.DuckDBPyConnection:
        return decided(store, recipe, iteration, read)

    def write(query: str) -> Record:
        plan = _plan(store, recipe, iteration, name, read, query)
        return store.materialize_stream(plan, lambda: queries.stream(verdicts(), query, plan.partition))

    record = write("selected")
    if verdicts.cache_info().currsize:
        _announce_below_zero(store, verdicts(), name)
    write("rejects_selected")
    return record


def _announce_below_zero(store: Store, verdicts: duckdb.DuckDBPyConnection, name: str) -> None:
    """Say where a share such as `top_share` keeps candidates that do harm."""
    (found,) = queries.rows(verdicts, "selected_below_zero_count")
    if found["num_below"]:
        store.announce(
            f"selection {name}: {found['num_below']} of {found['num_kept']} kept candidates have an influence below 0: "
            "to train on them raises the loss on the reference samples, as their gradients tell. "
            "selection.min_influence: 0.0 leaves them out"
        )


def is_built(store: Store, recipe: Recipe, iteration: int, name: str, batches: list[str]) -> bool:
    """Whether the selection is written under exactly these choices."""
    return all(
        store.is_built(_plan(store, recipe, iteration, name, batches, query))
        for query in ("selected", "rejects_selected")
    )


def _plan(store: Store, recipe: Recipe, iteration: int, name: str, batches: list[str], query: str) -> Plan:
    given, found = values(store, recipe, iteration, batches), inputs(store, recipe, iteration, batches)
    stage = {}
    if query.startswith("rejects"):
        stage = {"stage": "selected"}
        # The rejects name their selection, so after a kill in between the old ones are stale.
        found |= store.input("selected", iteration=iteration, selection=name)
    return Plan(
        table=query.split("_")[0],
        partition={**stage, "iteration": iteration, "selection": name},
        inputs=found,
        fields={k: given[k] for k in queries.all_parameters(QUERY)},
        texts=queries.versions(*queries.steps(QUERY), query),
        rows_per_shard=100_000,
    )


# -- what a selection lacks ------------------------------------------------------------------------


def own_batches(store: Store, recipe: Recipe, iteration: int, name: str) -> list[str]:
    """The batches that the selection of this name reads: main, and those that `fill` gave to it.

    With other thresholds it is another selection and begins with main: the same choices give the
    same rows, whatever was filled before.
    """
    record = store.record("selected", iteration=iteration, selection=name)
    if record is None:
        return [MAIN]
    held = record.plan.fields["batches"]
    given = values(store, recipe, iteration, held)
    if record.plan.fields != Plan(table="selected", fields={k: given[k] for k in queries.all_parameters(QUERY)}).fields:
        return [MAIN]
    return [MAIN] + [b for b in known_batches(store, recipe, iteration) if b in held and b != MAIN]


def known_batches(store: Store, recipe: Recipe, iteration: int) -> list[str]:
    """All batches whose influence on the recipe's reference is complete, main first."""
    where = {"iteration": iteration, "reference": recipe.influence.reference}
    found = [str(p["batch"]) for p in store.partitions("influence") if where.items() <= p.items()]
    return [MAIN, *sorted(b for b in found if b != MAIN)]


def batches_without_influence(store: Store, recipe: Recipe, iteration: int) -> list[str]:
    """The batches whose gradients are complete and whose influence is not: a `fill` was killed."""
    known = known_batches(store, recipe, iteration)
    return [b for b in _batches_with_gradients(store, recipe, iteration) if b not in known]


def new_batch(recipe: Recipe, item_ids: list[str]) -> str:
    """The name of a batch of these candidates, such as `fill-3f2a9c01`.

    The same candidates have the same name, so that a `fill` that was killed goes on with its batch.
    """
    return f"fill-{content_id(features(recipe), *item_ids)[:8]}"


def missing(store: Store, recipe: Recipe, iteration: int, batches: list[str]) -> list[str]:
    """The candidates that a selection admits and that have no influence in these batches, sorted.

    Those whose gradient cannot be computed are left out: they would be asked for again and again.
    """
    also = without_gradient(store, recipe, iteration)
    found = queries.table(decided(store, recipe, iteration, batches, also), "missing_items")
    return found["item_id"].to_pylist()


def without_gradient(store: Store, recipe: Recipe, iteration: int) -> dict[str, str]:
    """The rejects of the stage gradients as inputs: candidates that were too long, for example."""
    found: dict[str, str] = {}
    for batch in _batches_with_gradients(store, recipe, iteration):
        found |= store.input("rejects", **_rejects(iteration, batch))
    return found


def _batches_with_gradients(store: Store, recipe: Recipe, iteration: int) -> list[str]:
    """The batches whose gradients are of the recipe's kind and complete, with their rejects."""
    found = []
    for record in store.records():
        part, fields = record.plan.partition, record.plan.fields
        is_ours = record.plan.table == "gradients" and record.status == "complete"
        if is_ours and part.get("item_kind") == "candidate" and part.get("iteration") == iteration:
            batch = str(part["batch"])
            if fields.get("features") == features(recipe) and store.is_complete(
                "rejects", **_rejects(iteration, batch)
            ):
                found.append(batch)
    return sorted(found)


def _rejects(iteration: int, batch: str) -> dict[str, Any]:
    of_fill = {} if batch == MAIN else {"selection": batch}
    return {"stage": "gradients", "iteration": iteration, **of_fill}


def require_untrained(store: Store, iteration: int, name: str) -> None:
    """InputError if a model was trained on the selection: another one must not take its place."""
    where = segments("selected", {"iteration": iteration, "selection": name})
    for record in store.records():
        if record.plan.table == "checkpoints" and record.status != "building" and where in record.plan.inputs:
            model = segments("checkpoints", record.plan.partition)
            raise InputError(
                f"{model} was trained on {where}. To fill the selection would replace it, and the model would be stale. "
                "Give the filled selection another --name; or replace it with --force"
            )
