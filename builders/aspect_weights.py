"""aspect_weights: one row is the weight of one aspect in one named weighting, with its fit.

In: aspect scores of the candidates of an iteration, and of teacher samples that the scorer was not
trained on. Out: `aspect_weights/iteration-t/weights-NAME`. The weights are non-negative and sum to
1, so that a score lies in 0..9. The recipe's `scoring.method` says where they come from:
    contrast   a logistic regression that tells the teacher's samples from candidates, with
               non-negative coefficients and L2 regularisation (docs/method.md, 2.2 a)
    fixed      the weights of the recipe; equal ones when it gives none
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

import queries
from builders.recipe import Scoring
from store import ASPECTS, CODE_ASPECTS, CONTRACTS, Plan, Record, Store
from store.catalog import connect
from store.errors import InputError

ALL = (*ASPECTS, *CODE_ASPECTS)


def build(store: Store, scoring: Scoring, iteration: int, weights: str = "default") -> Record:
    """Fit or write the weighting of one iteration."""
    plan = Plan(
        table="aspect_weights",
        partition={"iteration": iteration, "weights": weights},
        inputs=store.input("aspect_scores", item_kind="candidate", iteration=iteration)
        | store.input("aspect_scores", item_kind="teacher"),
        fields=scoring.model_dump(mode="json"),
        texts=queries.versions("aspect_matrix"),
        num_shards=1,
    )
    return store.materialize(plan, lambda index: _rows(store, plan, scoring))


def _rows(store: Store, plan: Plan, scoring: Scoring) -> pa.Table:
    connection = connect(store, plan.inputs, memory_limit="500MB")
    digits_NZ, is_teacher_N = _digits(queries.stream(connection, "aspect_matrix"), scoring.method == "contrast")
    given = scoring.weights
    if scoring.method == "fixed":
        weight_Z, raw_Z, fit_auc = normalised([given.get(a, 0.0) if given else 1.0 for a in ALL]), None, None
    else:
        scores_NZ = digits_NZ / 9.0
        raw_Z = contrast(scores_NZ, is_teacher_N, scoring.l2)
        weight_Z = normalised(raw_Z)
        fit_auc = auc(scores_NZ @ weight_Z, is_teacher_N)
    rows = [
        {
            **plan.partition,
            "aspect": aspect,
            "weight": float(weight_Z[z]),
            "method": scoring.method,
            "coefficient": None if raw_Z is None else float(raw_Z[z]),
            "fit_auc": fit_auc,
            "num_teacher": int(is_teacher_N.sum()),
            "num_candidates": int(len(is_teacher_N) - is_teacher_N.sum()),
        }
        for z, aspect in enumerate(ALL)
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_weights"].schema)


def _digits(batches: Iterable[pa.RecordBatch], is_fit: bool) -> tuple[np.ndarray, np.ndarray]:
    """The digits (N, Z) as bytes, and whether each item is the teacher's (N,).

    Fixed weights need only the number of items: without a fit there are no digits, (N, 0).
    """
    digits, is_teacher = [np.zeros((0, len(ALL) * is_fit), np.int8)], [np.zeros(0)]
    for batch in batches:
        is_teacher.append(batch["is_teacher"].to_numpy(zero_copy_only=False).astype(float))
        columns = [batch[a].to_numpy().astype(np.int8) for a in ALL] if is_fit else []
        digits.append(np.stack(columns, axis=1) if columns else np.zeros((batch.num_rows, 0), np.int8))
    return np.concatenate(digits), np.concatenate(is_teacher)


def normalised(raw: object) -> np.ndarray:
    """The same non-negative numbers, scaled so that they sum to 1.

    All zeros become equal weights.
    """
    raw_Z = np.asarray(raw, dtype=float)
    total = raw_Z.sum()
    return raw_Z / total if total > 0 else np.full(len(raw_Z), 1.0 / len(raw_Z))


def contrast(scores_NZ: np.ndarray, is_teacher_N: np.ndarray, l2: float) -> np.ndarray:
    """Coefficients (Z,) of the logistic regression that tells teacher samples from candidates.

    `scores_NZ` has a row per item and a column per aspect; `is_teacher_N` is 1 for a teacher sample
    and 0 for a candidate. Both sides count equally, however many items they have. No coefficient is
    negative. `l2` is the strength of the L2 regularisation. Raises InputError when one side has no
    item.

    Example:
        raw_Z = contrast(scores_NZ, is_teacher_N, l2=1.0)
        weight_Z = normalised(raw_Z)
    """
    from scipy.optimize import minimize

    num_teacher = is_teacher_N.sum()
    if num_teacher == 0 or num_teacher == len(is_teacher_N):
        raise InputError(
            f"the contrast fit compares teacher samples with candidates, but there are {int(num_teacher)} "
            f"teacher samples and {int(len(is_teacher_N) - num_teacher)} candidates; set scoring.method: fixed"
        )
    balance_N = np.where(is_teacher_N == 1, 0.5 / num_teacher, 0.5 / (len(is_teacher_N) - num_teacher))
    sign_N = 2 * is_teacher_N - 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights_Z, bias = parameters[:-1], parameters[-1]
        margin_N = sign_N * (scores_NZ @ weights_Z + bias)
        slope_N = -balance_N * sign_N / (1.0 + np.exp(np.clip(margin_N, -500, 500)))
        penalty = l2 / (2 * len(is_teacher_N))
        value = float(balance_N @ np.logaddexp(0.0, -margin_N) + penalty * weights_Z @ weights_Z)
        gradient = np.append(scores_NZ.T @ slope_N + 2 * penalty * weights_Z, slope_N.sum())
        return value, gradient

    width = scores_NZ.shape[1]
    bounds = [(0.0, None)] * width + [(None, None)]
    found = minimize(loss, np.zeros(width + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1]


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
