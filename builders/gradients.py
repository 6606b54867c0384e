"""gradients: the projected per-sample gradient of each item at each checkpoint of the reference model.

In: texts of the teacher's reference split or of candidates, the checkpoints of G_{t-1}. Out:
`gradients/item_kind-K/iteration-t/batch-B`. The loop computes them for `influence.margin` candidates per snippet, best first,
whatever a selection's thresholds; a later selection that admits others fills the missing ones in as a batch of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa

import queries
from builders import prompts
from builders.models import checkpoints, weights
from builders.pairs import render
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store, fingerprint
from store.catalog import connect
from training.settings import features_name

MAIN = "main"
SHARD = 1000


def features(recipe: Recipe) -> str:
    """The name of what makes gradients comparable."""
    return features_name(recipe.influence.gradients, prompts.version(recipe.synthesizer.prompt))


def items(store: Store, recipe: Recipe, iteration: int, item_kind: str) -> list[dict[str, Any]]:
    """The items of the main batch: the teacher's reference split, or the best candidates of each snippet."""
    min_strength = recipe.decontamination.min_strength
    if item_kind == "teacher":
        return queries.rows(connect(store), "reference_items", {"min_strength": min_strength})
    count = queries.rows(connect(store), "scored_snippets_count", {"iteration": iteration})[0]["num_snippets"]
    limit = math.ceil(recipe.influence.margin * count)
    values = {"iteration": iteration, "limit": limit, "min_strength": min_strength}
    return queries.rows(connect(store), "gradient_items", values)


def build(
    store: Store,
    recipe: Recipe,
    iteration: int,
    item_kind: str,
    batch: str = MAIN,
    chosen: list[dict[str, Any]] | None = None,
) -> Record:
    """Gradients of the items of a batch at every checkpoint that the iteration was sampled from."""
    found = items(store, recipe, iteration, item_kind) if chosen is None else chosen
    used = checkpoints(store, "synthesizer", iteration - 1, recipe.sampling.checkpoints)
    blocks = [(c, start) for c in used for start in range(0, max(1, len(found)), SHARD)]
    inputs = store.input("teacher_samples") if item_kind == "teacher" else store.input("scored", iteration=iteration)
    plan = Plan(
        table="gradients",
        partition={"item_kind": item_kind, "iteration": iteration, "batch": batch},
        inputs=inputs,
        fields={
            "gradients": recipe.influence.gradients.model_dump(mode="json", exclude={"batch_size"}),
            "checkpoints": [c["checkpoint_id"] for c in used],
            "items": items_fingerprint(found),
            "features": features(recipe),
        },
        texts=prompts.versions(recipe.synthesizer.prompt),
        num_shards=len(blocks),
    )
    return store.materialize(plan, lambda index: _shard(store, recipe, item_kind, found, *blocks[index]))


def items_fingerprint(found: list[dict[str, Any]]) -> str:
    """The items of a batch, by their ids."""
    return fingerprint([i["item_id"] for i in found])


def _shard(
    store: Store, recipe: Recipe, kind: str, found: list[dict[str, Any]], checkpoint: dict[str, Any], start: int
) -> pa.Table:
    from training.gradients import stream_gradients

    model, adapter, revision = weights(store, checkpoint)
    rows = ((i["item_id"], conversation(recipe, i)) for i in found[start : start + SHARD])
    schema = CONTRACTS["gradients"].schema
    tables = [schema.empty_table()]
    settings, dtype = recipe.influence.gradients, recipe.synthesizer.training.dtype
    for batch in stream_gradients(model, adapter, rows, settings, dtype, revision=revision):
        for reject in batch.rejects:
            store.announce(
                f"gradients: {reject.row} left out, {reject.reason} ({reject.value} against {reject.threshold})"
            )
        size = len(batch.ids)
        columns = {
            "item_id": batch.ids,
            "item_kind": [kind] * size,
            "checkpoint_id": [checkpoint["checkpoint_id"]] * size,
            "features": [features(recipe)] * size,
            "gradient": as_lists(batch.unit_ND),
            "norm": batch.norm_N,
            "loss": batch.loss_N,
            "num_tokens": batch.num_tokens_N,
        }
        tables.append(pa.table(columns, schema=schema))
    return pa.concat_tables(tables)


def as_lists(unit_ND: np.ndarray) -> pa.Array:
    """Rows of a matrix as a list column, without a copy into Python."""
    rows, width = unit_ND.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(unit_ND.reshape(-1), type=pa.float16()))


def conversation(recipe: Recipe, item: dict[str, Any]) -> list[dict[str, str]]:
    """(c -> q, s): the synthesizer's own training form of an item."""
    return [
        {"role": "user", "content": prompts.render(recipe.synthesizer.prompt, code=item["code"])},
        {"role": "assistant", "content": render(item["problem"], item["solution"])},
    ]
