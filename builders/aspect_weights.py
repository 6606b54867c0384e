"""aspect_weights: one row is the weight of one aspect in one named weighting, with its fit.

In: aspect scores of the candidates of an iteration, and of clean teacher samples that the scorer
was not trained on. Out: `aspect_weights/iteration-t/weights-NAME`. The weights are non-negative and
sum to 1, so that a score lies in 0..9. The recipe's `scoring.method` says where they come from:
    contrast   fitted so that the teacher's samples score above candidates (docs/method.md, 2.2 a)
    fixed      the weights of the recipe; equal ones when it gives none

The contrast fit is tried on snippets that it was not fitted on. If the interval of that AUC reaches
down to 0.5, chance tells as much as the fit. Then all aspects weigh the same, and `method` is
'equal'. What makes an aspect say little is said before: `queries/weak_aspects.sql`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

import queries
from builders import contamination
from builders.recipe import Recipe, Scoring
from builders.statistics import weighting
from store import ASPECTS, CODE_ASPECTS, CONTRACTS, Plan, Record, Store
from store.catalog import connect
from store.counts import counted, with_interval

ALL = (*ASPECTS, *CODE_ASPECTS)
CHANCE = 0.5


def build(store: Store, recipe: Recipe, iteration: int, weights: str = "default") -> Record:
    """Fit or write the weighting of one iteration."""
    is_fit = recipe.scoring.method == "contrast"
    inputs = store.input("aspect_scores", item_kind="candidate", iteration=iteration)
    inputs |= store.input("aspect_scores", item_kind="teacher")
    fields = recipe.scoring.model_dump(mode="json")
    if is_fit:
        inputs |= store.input("candidates", iteration=iteration) | store.input("teacher_samples")
        inputs |= contamination.inputs(store, recipe.benchmarks, "teacher")
        fields["min_strength"] = recipe.decontamination.min_strength
    plan = Plan(
        table="aspect_weights",
        partition={"iteration": iteration, "weights": weights},
        inputs=inputs,
        fields=fields,
        texts=queries.versions("aspect_matrix" if is_fit else "scored_items_count"),
        num_shards=1,
    )
    return store.materialize(plan, lambda index: (_fitted if is_fit else _fixed)(store, plan, recipe.scoring))


def _fixed(store: Store, plan: Plan, scoring: Scoring) -> pa.Table:
    (counts,) = queries.rows(connect(store, plan.inputs), "scored_items_count")
    return _table(plan, fixed(scoring), {"method": "fixed", **counts})


def fixed(scoring: Scoring) -> np.ndarray:
    """The weights (Z,) of the recipe, scaled to sum to 1; equal ones when it gives none."""
    given = scoring.weights if scoring.method == "fixed" else {}
    return normalised([given.get(a, 0.0) if given else 1.0 for a in ALL])


def _fitted(store: Store, plan: Plan, scoring: Scoring) -> pa.Table:
    for words in weak_aspects(store, plan.inputs):
        store.announce(words)
    connection = connect(store, plan.inputs, memory_limit="500MB")
    digits_NZ, is_teacher_N, cluster_N = _digits(queries.stream(connection, "aspect_matrix", plan.fields))
    scores_NZ = digits_NZ / 9.0
    fitted_Z = weighting.contrast(scores_NZ, is_teacher_N, scoring.l2)
    found = weighting.cross_validated(scores_NZ, is_teacher_N, cluster_N, scoring.l2)
    is_taken = found.low is not None and found.low > CHANCE
    measured, of = (
        with_interval(found.value, found.low, found.high),
        f"weights of iteration {plan.partition['iteration']}",
    )
    if is_taken:
        heaviest = sorted(zip(fitted_Z, ALL, strict=True), reverse=True)[:3]
        told = ", ".join(f"{aspect} {weight:.2f}" for weight, aspect in heaviest)
        store.announce(f"{of}: fitted, AUC {measured} on samples that they were not fitted on. Heaviest: {told}")
    else:
        told = f"AUC {measured}, no better than chance" if measured else found.method
        store.announce(
            f"{of}: all aspects weigh the same, because fitted weights do not tell the teacher's samples from "
            f"candidates that they were not fitted on ({told})"
        )
    shared = {
        "method": "contrast" if is_taken else "equal",
        "fit_auc": auc(scores_NZ @ fitted_Z, is_teacher_N),
        "cv_auc": found.value,
        "cv_auc_low": found.low,
        "cv_auc_high": found.high,
        "cv_method": found.method,
        "num_teacher": int(is_teacher_N.sum()),
        "num_candidates": int(len(is_teacher_N) - is_teacher_N.sum()),
    }
    return _table(plan, fitted_Z if is_taken else normalised(np.zeros(len(ALL))), shared, fitted_Z)


def _table(plan: Plan, weight_Z: np.ndarray, shared: dict[str, Any], fitted_Z: np.ndarray | None = None) -> pa.Table:
    rows = [
        {
            **plan.partition,
            **shared,
            "aspect": aspect,
            "weight": float(weight_Z[z]),
            "coefficient": None if fitted_Z is None else float(fitted_Z[z]),
        }
        for z, aspect in enumerate(ALL)
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_weights"].schema)


def weak_aspects(store: Store, inputs: dict[str, str]) -> list[str]:
    """Which aspects have digits that say little: a line for each reason, for people.

    The AUC on held-out pairs is looked up too, though no weight depends on it.
    """
    measured = {"name": "scorer_auc"}
    known = store.input("metrics", **measured) if store.is_complete("metrics", **measured) else {}
    found: dict[str, list[str]] = {}
    for row in queries.rows(connect(store, inputs | known, memory_limit="500MB"), "weak_aspects"):
        value = with_interval(row["value"], row["low"], row["high"]) or "none"
        aspects = found.setdefault(f"{row['reason']} ({row['measure']})", [])
        aspects.append(f"{row['aspect']} {value} of {counted(row['num_items'], 'item')}")
    return [f"digits that say little, {reason}: {', '.join(aspects)}" for reason, aspects in found.items()]


def _digits(batches: Iterable[pa.RecordBatch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The digits (N, Z) as bytes, whether each item is the teacher's (N,), and its snippet (N,)."""
    digits, is_teacher, cluster = [np.zeros((0, len(ALL)), np.int8)], [np.zeros(0)], [np.zeros(0, np.int64)]
    for batch in batches:
        is_teacher.append(batch["is_teacher"].to_numpy(zero_copy_only=False).astype(float))
        cluster.append(batch["snippet_number"].to_numpy())
        digits.append(np.stack([batch[a].to_numpy().astype(np.int8) for a in ALL], axis=1))
    return np.concatenate(digits), np.concatenate(is_teacher), np.concatenate(cluster)


def normalised(raw: object) -> np.ndarray:
    """The same non-negative numbers, scaled so that they sum to 1.

    All zeros become equal weights.
    """
    raw_Z = np.asarray(raw, dtype=float)
    total = raw_Z.sum()
    return raw_Z / total if total > 0 else np.full(len(raw_Z), 1.0 / len(raw_Z))


def auc(score_N: np.ndarray, is_positive_N: np.ndarray) -> float | None:
    """The probability that a positive scores above a negative; a tie counts half.

    None when there is no positive or no negative.
    """
    positive, negative = score_N[is_positive_N == 1], score_N[is_positive_N == 0]
    if not len(positive) or not len(negative):
        return None
    above = np.searchsorted(np.sort(negative), positive, side="left").sum()
    upto = np.searchsorted(np.sort(negative), positive, side="right").sum()
    return float((above + upto) / (2.0 * len(positive) * len(negative)))
