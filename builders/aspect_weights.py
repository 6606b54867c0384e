"""aspect_weights: how much each aspect counts, as rows with the statistics of their fit.

In: aspect scores of teacher samples that the scorer has not seen, and of the candidates of an iteration. Out:
`aspect_weights/iteration-t/weights-NAME`, non-negative and summing to 1, so that the score lies in 0..9.
    contrast   logistic regression, teacher against candidate, non-negative and L2-regularised (method.md, 2.2 a)
    fixed      the recipe's weights, equal ones by default
"""

from __future__ import annotations

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
    return store.materialize(plan, lambda index: _rows(store, scoring, iteration, weights))


def _rows(store: Store, scoring: Scoring, iteration: int, weights: str) -> pa.Table:
    matrix = queries.table(connect(store), "aspect_matrix", {"iteration": iteration, "aspects": list(ALL)})
    is_teacher_N = matrix["is_teacher"].to_numpy().astype(float)
    scores_NZ = np.array(matrix["digits"].to_pylist(), dtype=float).reshape(-1, len(ALL)) / 9.0
    given = scoring.weights
    if scoring.method == "fixed":
        weight_Z, raw_Z, fit_auc = normalised([given.get(a, 0.0) if given else 1.0 for a in ALL]), None, None
    else:
        raw_Z = contrast(scores_NZ, is_teacher_N, scoring.l2)
        weight_Z = normalised(raw_Z)
        fit_auc = auc(scores_NZ @ weight_Z, is_teacher_N)
    rows = [
        {
            "weights": weights,
            "iteration": iteration,
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


def normalised(raw: object) -> np.ndarray:
    """Non-negative numbers made to sum to 1; all zeros become equal weights."""
    raw_Z = np.asarray(raw, dtype=float)
    total = raw_Z.sum()
    return raw_Z / total if total > 0 else np.full(len(raw_Z), 1.0 / len(raw_Z))


def contrast(scores_NZ: np.ndarray, is_teacher_N: np.ndarray, l2: float) -> np.ndarray:
    """Coefficients (Z,) of the balanced, non-negative, L2-regularised logistic regression teacher against candidate.

    Raises ValueError when one side is missing.
    """
    from scipy.optimize import minimize

    num_teacher = is_teacher_N.sum()
    if num_teacher == 0 or num_teacher == len(is_teacher_N):
        raise InputError(
            f"the contrast fit needs both sides, got {int(num_teacher)} teacher samples and "
            f"{int(len(is_teacher_N) - num_teacher)} candidates; use scoring.method: fixed"
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
    """Probability that a positive scores above a negative, ties counting half; None without both."""
    positive, negative = score_N[is_positive_N == 1], score_N[is_positive_N == 0]
    if not len(positive) or not len(negative):
        return None
    above = np.searchsorted(np.sort(negative), positive, side="left").sum()
    upto = np.searchsorted(np.sort(negative), positive, side="right").sum()
    return float((above + upto) / (2.0 * len(positive) * len(negative)))
