"""Numbers with their intervals: shares and means, of items that may come in clusters.

In: arrays with a number per cluster. A cluster is what was drawn independently: a task with all its
answers, a snippet with all its candidates. Out: an `Estimate`, whose interval holds the true value
in 95 of 100 measurements.

    share(np.array([1, 0, 1]), np.ones(3)).high    # 0.94
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from builders.statistics import resampling

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
NO_ITEMS, ONE_ITEM = "none: no items", "none: one item"


@dataclass(frozen=True)
class Estimate:
    """A measured number, its interval, and how the interval was found.

    `value` is None if there was nothing to measure. Without an interval, `low` and `high` are None,
    and `method` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    method: str
    num_items: int


def nothing(method: str = NO_ITEMS, num_items: int = 0) -> Estimate:
    """The estimate where there is no number; `method` says why."""
    return Estimate(None, None, None, method, num_items)


def wilson(value: float, num_items: float) -> tuple[float, float]:
    """The interval of a share of independent items (Wilson 1927).

    Unlike a share plus and minus its error, it is right for few items and for shares near 0 and 1.

    >>> wilson(0.0, 10)
    (0.0, 0.2775...)
    """
    spread = Z * math.sqrt(value * (1 - value) / num_items + Z * Z / (4 * num_items * num_items))
    scale, middle = 1 + Z * Z / num_items, value + Z * Z / (2 * num_items)
    # at a share of 0 or 1 the limit is that share, which rounding would miss by 1e-17
    low = 0.0 if value == 0 else max(0.0, (middle - spread) / scale)
    high = 1.0 if value == 1 else min(1.0, (middle + spread) / scale)
    return low, high


def share(num_true_C: np.ndarray, num_items_C: np.ndarray) -> Estimate:
    """The share of items that are true, over clusters of items.

    If every cluster is one item, the interval is Wilson's. Else clusters are resampled, because the
    items of one are alike. If all clusters have the same share, a bootstrap would find no spread at
    all: then Wilson's interval is taken, as if each cluster were one item.
    """
    columns_CS = _columns(num_true_C, num_items_C)
    num_true, num_items = columns_CS.sum(axis=0)
    if not num_items:
        return nothing()
    value = float(num_true / num_items)
    is_single = bool((columns_CS[:, 1] == 1).all() and np.isin(columns_CS[:, 0], (0, 1)).all())
    if is_single or is_constant(columns_CS[:, 0], columns_CS[:, 1]):
        return Estimate(value, *wilson(value, len(columns_CS)), "wilson", int(num_items))
    return _bootstrapped(value, columns_CS)


def mean(sum_C: np.ndarray, num_items_C: np.ndarray | None = None) -> Estimate:
    """The mean of items, from the sum and the number of items of each cluster.

    Clusters are resampled. Without numbers, every cluster is one item. The interval of items that
    are all equal has no width.
    """
    columns_CS = _columns(sum_C, np.ones(len(sum_C)) if num_items_C is None else num_items_C)
    total, num_items = columns_CS.sum(axis=0)
    if not num_items:
        return nothing()
    value = float(total / num_items)
    if len(columns_CS) == 1:
        return Estimate(value, None, None, ONE_ITEM, int(num_items))
    return _bootstrapped(value, columns_CS)


def _columns(sum_C: np.ndarray, num_items_C: np.ndarray) -> np.ndarray:
    """Both columns in one order, without the clusters that have no items."""
    columns_CS = np.stack([np.asarray(sum_C, float), np.asarray(num_items_C, float)], axis=1)
    return resampling.ordered(columns_CS[columns_CS[:, 1] > 0])


def is_constant(sum_C: np.ndarray, num_items_C: np.ndarray) -> bool:
    """Whether all clusters with items have the same mean, so that a bootstrap sees no spread."""
    mean_C = sum_C[num_items_C > 0] / num_items_C[num_items_C > 0]
    return bool((mean_C == mean_C[:1]).all())


def _bootstrapped(value: float, columns_CS: np.ndarray) -> Estimate:
    totals_RS = resampling.resampled(columns_CS)
    low, high = resampling.limits(totals_RS[:, 0] / totals_RS[:, 1], len(columns_CS), CONFIDENCE)
    return Estimate(value, low, high, "bootstrap", int(columns_CS[:, 1].sum()))
