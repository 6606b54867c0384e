"""influence: one row is the influence of one candidate on one reference set.

Influence says how far training on the candidate moves the model the way the reference samples do.

In: gradients of candidates and of the teacher's reference split, at the same checkpoints.
Out: `influence/iteration-t/reference-R/batch-B`, for every reference set R of the recipe.

How: `training/ranking.py` has the formula. The reference gradients stay in memory while the
candidates are read once, block by block, for all reference sets together. No model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.engines.checkpoints import checkpoint_input, last_checkpoints
from builders.gradients import MAIN, aligned_shards, features
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store
from store.catalog import connect, lock_down, read_only
from store.errors import InputError
from store.half_floats import as_matrix
from store.runs import Partition
from training.ranking import Ranking, Reference, common_rows, learning_rate_shares, picked, read_ahead

TEACHER = "teacher"
"""The reference set that is the teacher's whole reference split."""


def build(store: Store, recipe: Recipe, iteration: int, batch: str = MAIN) -> Record:
    """Write the influence of the candidates of one batch on every reference set.

    Returns the record of the reference set that selections use (`influence.reference`).
    """
    candidates: Partition = {"item_kind": "candidate", "iteration": iteration, "batch": batch}
    references: Partition = {"item_kind": "teacher", "iteration": iteration, "batch": MAIN}
    used = last_checkpoints(store, "synthesizer", iteration - 1, recipe.sampling.checkpoints)
    given = store.input("gradients", **candidates) | store.input("gradients", **references)
    given |= checkpoint_input(store, "synthesizer", iteration - 1)
    rates = {c["checkpoint_id"]: c["learning_rate"] for c in used}
    conditions = {TEACHER: None, **recipe.influence.reference_sets}

    plans = {
        name: Plan(
            table="influence",
            partition={"iteration": iteration, "reference": name, "batch": batch},
            inputs=given | (store.input("teacher_samples") if where else {}),
            fields={"learning_rates": rates} | ({"condition": where} if where else {}),
            num_shards=1,
        )
        for name, where in conditions.items()
    }
    lacking = [name for name, plan in plans.items() if not store.is_built(plan)]

    @cache
    def tables() -> dict[str, pa.Table]:
        sets = [reference_set(store, references, list(rates), name, conditions[name]) for name in lacking]
        named: dict[str, str | int] = {"iteration": iteration, "features": features(recipe), "batch": batch}
        return rank(store, candidates, sets, learning_rate_shares(rates), named)

    records = {
        name: store.materialize(plan, lambda index, name=name: tables()[name])  # type: ignore[misc]
        for name, plan in plans.items()
    }
    return records[recipe.influence.reference]


def reference_set(
    store: Store, partition: Partition, checkpoint_ids: list[str], name: str, condition: str | None = None
) -> Reference:
    """The gradients of the reference samples, or of those that meet a condition on teacher_samples.

    Raises InputError when none of them has a gradient.
    """
    kept = None
    if condition is not None:
        kept = _meeting(store, condition)
    reference = Reference(name)
    for units, table in blocks(store, partition, checkpoint_ids):
        ids = table.column("item_id").to_pylist()
        is_kept = np.array([kept is None or item in kept for item in ids], dtype=bool)
        for checkpoint, unit_ND in units.items():
            reference.add(checkpoint, unit_ND[is_kept], [None] * int(is_kept.sum()))
    if not reference.num_samples:
        raise InputError(
            f"the reference set {name} has no gradients: "
            + (
                f"no sample with a gradient meets {condition!r}; change influence.reference_sets"
                if condition
                else "the teacher's split `reference` is empty, or its samples were too long"
            )
        )
    return reference


def _meeting(store: Store, condition: str) -> set[str]:
    """The reference samples that meet a condition: SQL of the recipe, which can only read."""
    connection = connect(store, store.input("teacher_samples"))
    text = f"SELECT sample_id FROM teacher_samples WHERE split = 'reference' AND ({condition})"
    statement = read_only(connection, text)
    lock_down(connection, store.root)
    try:
        return {sample for (sample,) in connection.execute(statement).fetchall()}
    except duckdb.Error as error:
        raise InputError(f"influence.reference_sets: {condition!r} cannot be run: {error}") from None


def rank(
    store: Store,
    partition: Partition,
    references: list[Reference],
    shares: dict[str, float],
    named: dict[str, str | int],
) -> dict[str, pa.Table]:
    """The rows of `influence` for each reference set, by its name, sorted by candidate."""
    schema = CONTRACTS["influence"].schema
    parts: dict[str, list[pa.Table]] = {r.name: [schema.empty_table()] for r in references}
    ranking = Ranking(references, shares)
    for units, table in blocks(store, partition, list(shares)):
        for reference, found in zip(references, ranking.of(units), strict=True):
            columns = {"candidate_id": table["item_id"], "influence": found.mean_N, "influence_max": found.max_N}
            columns |= {"loss": table["loss"], "norm": table["norm"]}
            columns |= {k: pa.repeat(v, table.num_rows) for k, v in (named | {"reference": reference.name}).items()}
            parts[reference.name].append(pa.table({n: columns[n] for n in schema.names}).cast(schema))
    return {name: pa.concat_tables(tables).sort_by("candidate_id") for name, tables in parts.items()}


def blocks(
    store: Store, partition: Partition, checkpoint_ids: list[str]
) -> Iterator[tuple[dict[str, np.ndarray], pa.Table]]:
    """Block by block, the items that have a gradient at all checkpoints.

    A block is the unit gradients (N, D) by checkpoint, and a table with item_id and the means of
    loss and norm over the checkpoints.
    """
    for tables in read_ahead(_read, aligned_shards(store, checkpoint_ids, **partition)):
        rows = common_rows([table.column("item_id").to_pylist() for table in tables])
        if not len(rows[0]):
            continue
        means = {
            n: np.mean([t[n].to_numpy()[r] for t, r in zip(tables, rows, strict=True)], axis=0)
            for n in ("loss", "norm")
        }
        units = {c: picked(as_matrix(t), r) for c, t, r in zip(checkpoint_ids, tables, rows, strict=True)}
        yield units, pa.table({"item_id": tables[0].column("item_id").take(rows[0]), **means})


def _read(paths: list[str]) -> list[pa.Table]:
    return [pq.read_table(path, columns=["item_id", "gradient", "loss", "norm"]) for path in paths]
