"""The area under a ROC curve with its interval.

In: a score per item, whether the item is positive, and which items belong together. Out: an
`Estimate` of the probability that a positive scores above a negative; a tie counts half.

    area(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).value    # 0.75
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from builders.statistics.intervals import Estimate, Z, nothing

ONE_CLASS = "none: one class"


def area(score_N: np.ndarray, is_positive_N: np.ndarray, cluster_N: np.ndarray | None = None) -> Estimate:
    """The AUC and its interval, after DeLong et al. (1988).

    The variance is that of Obuchowski (1997), which allows for items of one cluster that are alike;
    with one item per cluster it is DeLong's. The components come from ranks, as Sun and Xu (2014)
    found. The interval is made on the scale of the logit, so it stays within 0 and 1. Where the
    variance is 0, as it is if all positives score above all negatives, the interval is Newcombe's
    (2006, method 5). If one of the classes is missing, there is no number.
    """
    is_positive = np.asarray(is_positive_N).astype(bool)
    score, cluster = np.asarray(score_N, float), np.arange(len(is_positive)) if cluster_N is None else cluster_N
    if is_positive.all() or not is_positive.any():
        return nothing(ONE_CLASS if len(score) else "none: no items", len(score))
    above_P = _share_below(score[is_positive], score[~is_positive])
    below_M = 1 - _share_below(score[~is_positive], score[is_positive])
    value = float(np.sort(above_P).mean())
    variance, num_positive, num_negative = _variance(
        above_P, below_M, cluster[is_positive], cluster[~is_positive], value
    )
    if variance > 0 and 0 < value < 1:
        reach = Z * math.sqrt(variance) / (value * (1 - value))
        middle = math.log(value / (1 - value))
        return Estimate(value, _expit(middle - reach), _expit(middle + reach), "delong", len(score))
    return Estimate(value, *newcombe(value, num_positive, num_negative), "newcombe", len(score))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _share_below(score_A: np.ndarray, other_B: np.ndarray) -> np.ndarray:
    """For each score, the share of the others that are below it; a tie counts half: (A,)."""
    ranked = np.sort(other_B)
    below_A = np.searchsorted(ranked, score_A, side="left") + np.searchsorted(ranked, score_A, side="right")
    return below_A / (2.0 * len(ranked))


def _variance(
    above_P: np.ndarray, below_M: np.ndarray, cluster_P: np.ndarray, cluster_M: np.ndarray, value: float
) -> tuple[float, int, int]:
    """Obuchowski's variance, and how many clusters have positives, and negatives.

    `above_P` and `below_M` are DeLong's components V10 and V01. The variance is 0 where a class has
    one cluster only.
    """
    names, place = np.unique(np.concatenate([cluster_P, cluster_M]), return_inverse=True)
    num = len(names)
    of_P, of_M = place[: len(above_P)], place[len(above_P) :]
    # sums of deviations per cluster
    positive_C = np.bincount(of_P, weights=above_P - value, minlength=num)
    negative_C = np.bincount(of_M, weights=below_M - value, minlength=num)
    num_positive, num_negative = len(np.unique(of_P)), len(np.unique(of_M))
    if num_positive < 2 or num_negative < 2:
        return 0.0, num_positive, num_negative
    s10 = num_positive / (num_positive - 1) * np.sort(positive_C**2).sum()
    s01 = num_negative / (num_negative - 1) * np.sort(negative_C**2).sum()
    s11 = num / (num - 1) * np.sort(positive_C * negative_C).sum()
    found = s10 / len(above_P) ** 2 + s01 / len(below_M) ** 2 + 2 * s11 / (len(above_P) * len(below_M))
    return max(0.0, float(found)), num_positive, num_negative


def newcombe(value: float, num_positive: int, num_negative: int) -> tuple[float, float]:
    """The interval of an AUC that also holds for 0 and 1 (Newcombe 2006, method 5).

    Its limits are the areas from which the measured one is Z standard errors away.

    >>> newcombe(1.0, 20, 20)
    (0.84..., 1.0)
    """
    more = (num_positive + num_negative) / 2 - 1

    def is_near(area: float) -> bool:
        spread = area * (1 - area) * (1 + more * (1 - area) / (2 - area) + more * area / (1 + area))
        return (value - area) ** 2 <= Z * Z * spread / (num_positive * num_negative)

    return _last_near(value, 0.0, is_near), _last_near(value, 1.0, is_near)


def _last_near(start: float, end: float, is_near: Callable[[float], bool]) -> float:
    """Where, on the way from `start` to `end`, a statement stops to be true."""
    if is_near(end):
        return end
    for _ in range(60):
        middle = (start + end) / 2
        start, end = (middle, end) if is_near(middle) else (start, middle)
    return start
