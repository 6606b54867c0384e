"""The weights of aspects that tell two kinds of items apart, and how well they do it on new items.

In: a score in 0..1 per item and aspect, which items are the teacher's, and which belong together.
Out: weights that are not negative and sum to 1, and the AUC of weights on items that they were not
fitted on. Shapes: N items, Z aspects.

    weight_Z = contrast(scores_NZ, is_teacher_N, l2=1.0)
    cross_validated(scores_NZ, is_teacher_N, cluster_N, l2=1.0).low    # 0.61
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from builders.statistics import areas
from builders.statistics.intervals import Estimate, nothing
from store.errors import InputError

FOLDS = 5
SEED = 0
"""Of the order in which clusters are dealt out to the folds."""
MAX_SLOPE = 100.0
"""No slope is steeper: one digit more in a score then makes the odds 60,000 times as high. Where
the two sides do not overlap, the loss alone has no minimum."""
FLAT, STEEP = 1.0, 10.0
"""The slopes to begin with."""
LEAST = 1e-6
"""Of a weight, before all are scaled to sum to 1. So no step of the search makes all of them 0."""


def contrast(scores_NZ: np.ndarray, is_teacher_N: np.ndarray, l2: float) -> np.ndarray:
    """The weights (Z,) under which teacher samples score above candidates; equal ones in doubt.

    They minimise, over weights w >= 0 that sum to 1, a slope a >= 0 and an intercept b,
        n * balanced logistic loss of a * (scores @ w) + b  +  l2 / 2 * sum over z of (Z w_z - 1)^2
    The loss is the mean of the mean losses of both sides, so that both count the same, however many
    items they have. n is the number of items of the smaller side: that is how much the data can
    tell. The penalty says how many times its equal share an aspect gets, give or take 1 / sqrt(l2).
    `is_teacher_N` is 1 for a teacher sample and 0 for a candidate. Raises InputError when one side
    has no item.

    The slope takes up how far the sides are apart. So noise, which leaves the slope near 0, leaves
    the weights near equal, and so do few items. Many items that differ outweigh the penalty.
    """
    num_teacher, num_aspects = int(is_teacher_N.sum()), scores_NZ.shape[1]
    num_candidates = len(is_teacher_N) - num_teacher
    if not num_teacher or not num_candidates:
        raise InputError(
            f"the contrast fit compares teacher samples with candidates, but there are {num_teacher} "
            f"teacher samples and {num_candidates} candidates; set scoring.method: fixed"
        )
    strength = l2 / min(num_teacher, num_candidates)
    balance_N = np.where(is_teacher_N == 1, 0.5 / num_teacher, 0.5 / num_candidates)
    sign_N = 2.0 * is_teacher_N - 1

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient. The weights are v / sum(v), so nothing ties the v together."""
        v_Z, slope, bias = parameters[:-2], parameters[-2], parameters[-1]
        weight_Z = v_Z / v_Z.sum()
        score_N = scores_NZ @ weight_Z
        margin_N = sign_N * (slope * score_N + bias)
        pull_N = -balance_N * sign_N / (1.0 + np.exp(np.clip(margin_N, -500, 500)))
        excess_Z = num_aspects * weight_Z - 1
        value = float(balance_N @ np.logaddexp(0.0, -margin_N) + strength / 2 * excess_Z @ excess_Z)
        by_weight_Z = slope * (scores_NZ.T @ pull_N) + strength * num_aspects * excess_Z
        by_v_Z = (by_weight_Z - weight_Z @ by_weight_Z) / v_Z.sum()
        return value, np.concatenate([by_v_Z, [pull_N @ score_N, pull_N.sum()]])

    return _least(loss, _starts(scores_NZ, is_teacher_N))


def _starts(scores_NZ: np.ndarray, is_teacher_N: np.ndarray) -> list[np.ndarray]:
    """Where to begin: equal weights, and weights by how far the means of the sides are apart.

    Under equal weights alone, one good aspect among bad ones would not be found: the slope is 0
    there, and then the loss does not depend on the weights.
    """
    gap_Z = scores_NZ[is_teacher_N == 1].mean(axis=0) - scores_NZ[is_teacher_N == 0].mean(axis=0)
    above_Z = np.maximum(gap_Z, 0.0)
    equal_Z = np.ones(scores_NZ.shape[1])
    starts = [(equal_Z, FLAT)]
    if above_Z.any():
        starts.append((np.maximum(above_Z / above_Z.sum() * len(above_Z), LEAST), STEEP))
    return [np.concatenate([v_Z, [slope, -slope * (scores_NZ @ v_Z).mean() / v_Z.sum()]]) for v_Z, slope in starts]


def _least(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], starts: list[np.ndarray]) -> np.ndarray:
    from scipy.optimize import minimize

    bounds = [(LEAST, None)] * (len(starts[0]) - 2) + [(0.0, MAX_SLOPE), (None, None)]
    found = [minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds) for start in starts]
    v_Z = min(found, key=lambda f: f.fun).x[:-2]
    return v_Z / v_Z.sum()


def cross_validated(scores_NZ: np.ndarray, is_teacher_N: np.ndarray, cluster_N: np.ndarray, l2: float) -> Estimate:
    """The AUC of weights on items that they were not fitted on, with its interval.

    The clusters, which are snippets with all that was made of them, are dealt out to `FOLDS` folds,
    those of each side apart. Every fold is scored under weights that are fitted on the others. With
    fewer clusters than folds on a side, there are as many folds as clusters. With one, there is no
    number: the fold that it is in would be fitted on one side alone.
    """
    fold_N, num_folds = folds(is_teacher_N, cluster_N)
    if num_folds < 2:
        return nothing("none: one side has fewer than two snippets", len(is_teacher_N))
    # Folds have other weights, and aspects other means. Without this, folds would differ in level.
    centred_NZ = scores_NZ - scores_NZ.mean(axis=0)
    score_N = np.zeros(len(is_teacher_N))
    for fold in range(num_folds):
        is_held_N = fold_N == fold
        weight_Z = contrast(scores_NZ[~is_held_N], is_teacher_N[~is_held_N], l2)
        score_N[is_held_N] = centred_NZ[is_held_N] @ weight_Z
    return areas.area(score_N, is_teacher_N, cluster_N)


def folds(is_teacher_N: np.ndarray, cluster_N: np.ndarray) -> tuple[np.ndarray, int]:
    """The fold of each item (N,), and how many folds there are: each has items of both sides.

    A cluster that has items of both sides is dealt out with those of the teacher.
    """
    teachers = np.unique(cluster_N[is_teacher_N == 1])
    others = np.setdiff1d(cluster_N[is_teacher_N == 0], teachers)
    num_folds = min(FOLDS, len(teachers), len(others))
    rng = np.random.default_rng(SEED)
    names = np.concatenate([rng.permutation(teachers), rng.permutation(others)])
    dealt = np.concatenate([np.arange(len(side)) % max(1, num_folds) for side in (teachers, others)])
    order = np.argsort(names)
    return dealt[order][np.searchsorted(names[order], cluster_N)], num_folds
