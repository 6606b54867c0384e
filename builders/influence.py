"""influence: how much training on a candidate moves the model the way the reference samples do.

In: gradients of candidates and of the reference at the same checkpoints. Out: `influence/iteration-t/reference-R/batch-B`.

    I(x) = sum_i eta_i cos(g_i(x), mean_i),   mean_i the mean unit gradient of the reference at checkpoint i,
    eta_i the mean learning rate while checkpoint i was trained, normalised to sum 1   (method.md 2.3; LESS, eq. 4)
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from builders.gradients import MAIN, features
from builders.models import checkpoints
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store
from store.runs import Partition


def build(store: Store, recipe: Recipe, iteration: int, batch: str = MAIN) -> Record:
    """Influence of the candidates of one batch of gradients."""
    reference = recipe.influence.reference
    candidates: Partition = {"item_kind": "candidate", "iteration": iteration, "batch": batch}
    references: Partition = {"item_kind": "teacher", "iteration": iteration, "batch": MAIN}
    used = checkpoints(store, "synthesizer", iteration - 1, recipe.sampling.checkpoints)
    plan = Plan(
        table="influence",
        partition={"iteration": iteration, "reference": reference, "batch": batch},
        inputs=store.input("gradients", **candidates) | store.input("gradients", **references),
        fields={"learning_rates": {c["checkpoint_id"]: c["learning_rate"] for c in used}},
        num_shards=1,
    )

    def make(index: int) -> pa.Table:
        mean_CD = reference_means(store, references)
        sums = accumulate(store, candidates, mean_CD, learning_rate_shares(used))
        rows = [
            {
                "candidate_id": i,
                "iteration": iteration,
                "reference": reference,
                "features": features(recipe),
                "batch": batch,
            }
            | {"influence": s[0], "loss": s[1] / s[3], "norm": s[2] / s[3]}
            for i, s in sorted(sums.items())
            if s[3] == len(used)
        ]
        return pa.Table.from_pylist(rows, schema=CONTRACTS["influence"].schema)

    return store.materialize(plan, make)


def learning_rate_shares(used: list[dict[str, Any]]) -> dict[str, float]:
    """Mean learning rates normalised to sum 1; equal shares when all are zero (nothing was trained)."""
    total = sum(c["learning_rate"] for c in used)
    return {c["checkpoint_id"]: c["learning_rate"] / total if total else 1 / len(used) for c in used}


def matrix(table: pa.Table) -> np.ndarray:
    """The gradient column as a float32 matrix (N, D), without a copy into Python."""
    column = table.column("gradient").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return flat.reshape(len(column), -1)


def reference_means(store: Store, partition: dict[str, Any]) -> dict[str, np.ndarray]:
    """Mean unit gradient (D,) of the reference at each checkpoint."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = defaultdict(int)
    for table in store.read("gradients", **partition):
        for name, grads_ND in _by_checkpoint(table):
            sums[name] = sums.get(name, 0.0) + grads_ND.sum(axis=0, dtype=np.float64)
            counts[name] += len(grads_ND)
    if not sums:
        raise ValueError("the reference has no gradients: its samples were too long, or the split is empty")
    return {name: (total / counts[name]).astype(np.float32) for name, total in sums.items()}


def accumulate(
    store: Store, partition: dict[str, Any], mean_CD: dict[str, np.ndarray], shares: dict[str, float]
) -> dict[str, list[float]]:
    """Candidate -> [influence, sum of losses, sum of norms, number of checkpoints], a shard at a time."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0])
    for table in store.read("gradients", **partition):
        for name in table.column("checkpoint_id").unique().to_pylist():
            part = table.filter(pa.compute.equal(table.column("checkpoint_id"), name))
            mean_D = mean_CD[name]
            cosine_N = matrix(part) @ (mean_D / max(float(np.linalg.norm(mean_D)), 1e-12))
            rows = zip(
                part["item_id"].to_pylist(), cosine_N, part["loss"].to_pylist(), part["norm"].to_pylist(), strict=True
            )
            for item, cosine, loss, norm in rows:
                held = sums[item]
                held[0] += shares[name] * float(cosine)
                held[1] += loss
                held[2] += norm
                held[3] += 1
    return sums


def _by_checkpoint(table: pa.Table) -> list[tuple[str, np.ndarray]]:
    names = table.column("checkpoint_id")
    return [(n, matrix(table.filter(pa.compute.equal(names, n)))) for n in names.unique().to_pylist()]
