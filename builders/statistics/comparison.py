"""Whether two measurements differ: their difference with its interval, and a test of it.

In: the same clusters measured twice (tasks that two models answered, snippets that two models wrote
for), or two estimates of different items. Out: a `Difference`, after minus before. It is noise
unless its interval lies on one side of 0.

    of_tasks(np.array([0, 0, 1]), np.array([1, 0, 1])).is_noise    # True: one task is no evidence
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from builders.statistics import resampling
from builders.statistics.intervals import CONFIDENCE, NO_ITEMS, ONE_ITEM, Estimate, is_constant, share, wilson


@dataclass(frozen=True)
class Difference:
    """After minus before. `p` is None where no test is made; `num_items` are those of both."""

    value: float | None
    low: float | None
    high: float | None
    method: str
    num_items: int
    p: float | None = None

    @property
    def is_noise(self) -> bool | None:
        """Whether the interval holds 0. None without an interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high

    @property
    def verdict(self) -> str | None:
        """`within noise`, `higher` or `lower`. None without an interval."""
        if self.low is None or self.high is None:
            return None
        return "within noise" if self.is_noise else "higher" if self.low > 0 else "lower"


# -- the same clusters, measured twice -------------------------------------------------------------


def mcnemar(num_lost: int, num_won: int) -> float:
    """The exact two-sided p of McNemar's test (1947).

    It is the probability of a split at least as uneven as `num_lost` to `num_won`, if either side
    of each were as likely as the other.

    >>> mcnemar(1, 5)
    0.21875
    """
    num, fewer = num_lost + num_won, min(num_lost, num_won)
    return min(1.0, 2 * sum(math.comb(num, i) for i in range(fewer + 1)) / 2**num)


def of_tasks(before_T: np.ndarray, after_T: np.ndarray) -> Difference:
    """The difference of the mean rates of two models on the same tasks.

    With one answer per task, every rate is 0 or 1. Then p is McNemar's, and the interval goes with
    it: it holds 0 exactly when p is 0.05 or more. With several answers, tasks are resampled, see
    `of_clusters`.
    """
    before_T, after_T = np.asarray(before_T, float), np.asarray(after_T, float)
    if not len(before_T):
        return Difference(None, None, None, NO_ITEMS, 0)
    if not np.isin(np.concatenate([before_T, after_T]), (0, 1)).all():
        one_T = np.ones(len(before_T))
        return replace(of_clusters(before_T, one_T, after_T, one_T), num_items=len(before_T))
    num_won, num_lost = int((after_T > before_T).sum()), int((after_T < before_T).sum())
    return _of_pairs(num_lost, num_won, len(before_T))


def _of_pairs(num_lost: int, num_won: int, num_tasks: int) -> Difference:
    """The difference is the share of tasks on which the models differ, times the balance of those.

    The balance, from -1 to 1, has Clopper and Pearson's interval, and the share has Wilson's. Both
    are put together as Zou and Donner (2008) do. Where the balance is surely not 0, neither is the
    difference: its limit is at least the product of both limits.
    """
    num = num_lost + num_won
    value, p = (num_won - num_lost) / num_tasks, mcnemar(num_lost, num_won)
    rate, (rate_low, rate_high) = num / num_tasks, wilson(num / num_tasks, num_tasks)
    if not num:
        return Difference(value, -rate_high, rate_high, "wilson", num_tasks, p)
    balance, (low, high) = (num_won - num_lost) / num, (2 * end - 1 for end in clopper_pearson(num_won, num))
    fewer, more = balance * (rate - rate_low), balance * (rate_high - rate)
    inner, outer = (fewer, more) if balance > 0 else (more, fewer)
    least = value - math.hypot(rate * (balance - low), inner)
    most = value + math.hypot(rate * (high - balance), outer)
    least = max(least, rate_low * low) if low > 0 else least
    most = min(most, rate_low * high) if high < 0 else most
    return Difference(value, least, most, "mcnemar", num_tasks, p)


def clopper_pearson(num_true: int, num_items: int) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934), by bisection.

    >>> clopper_pearson(0, 10)
    (0.0, 0.3084...)
    """
    outside = (1 - CONFIDENCE) / 2
    low = _root(lambda rate: 1 - _binomial_cdf(num_true - 1, num_items, rate) < outside) if num_true else 0.0
    high = _root(lambda rate: _binomial_cdf(num_true, num_items, rate) > outside) if num_true < num_items else 1.0
    return low, high


def _root(is_left: Callable[[float], bool]) -> float:
    """The rate at which a statement that is true for small rates becomes false."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_left(middle) else (low, middle)
    return low


def _binomial_cdf(most: int, num: int, rate: float) -> float:
    """The probability of at most `most` of `num`, for a rate between 0 and 1."""
    logs = (
        math.lgamma(num + 1) - math.lgamma(i + 1) - math.lgamma(num - i + 1)
        + i * math.log(rate) + (num - i) * math.log1p(-rate)
        for i in range(most + 1)
    )  # fmt: skip
    return math.fsum(math.exp(log) for log in logs)


def of_clusters(
    sum_before_C: np.ndarray, num_before_C: np.ndarray, sum_after_C: np.ndarray, num_after_C: np.ndarray
) -> Difference:
    """The difference of two means over clusters, each with its sum and its number of items.

    Both measurements of a cluster are drawn together. So what makes a cluster hard for both does
    not widen the interval. A cluster may lack one of the two: without any that has both, the
    measurements count as independent. `p` is two-sided, and at least 2 / (REPEATS + 1).
    """
    columns_CS = np.stack(
        [np.asarray(c, float) for c in (sum_before_C, num_before_C, sum_after_C, num_after_C)], axis=1
    )
    columns_CS = resampling.ordered(columns_CS[columns_CS[:, [1, 3]].any(axis=1)])
    totals_S = columns_CS.sum(axis=0)
    if not totals_S[1] or not totals_S[3]:
        return Difference(None, None, None, NO_ITEMS, 0)
    value, num_items = float(_change(totals_S)), int(totals_S[1] + totals_S[3])
    if len(columns_CS) == 1:
        return Difference(value, None, None, ONE_ITEM, num_items)
    totals_RS = resampling.resampled(columns_CS)
    drawn_R = _change(totals_RS[(totals_RS[:, 1] > 0) & (totals_RS[:, 3] > 0)])
    low, high = resampling.limits(drawn_R, len(columns_CS), CONFIDENCE)
    rarer = min((drawn_R <= 0).sum(), (drawn_R >= 0).sum())
    return Difference(value, low, high, "bootstrap", num_items, min(1.0, 2 * float(rarer + 1) / (len(drawn_R) + 1)))


def _change(totals_XS: np.ndarray) -> np.ndarray:
    return totals_XS[..., 2] / totals_XS[..., 3] - totals_XS[..., 0] / totals_XS[..., 1]


def of_shares(
    true_before_C: np.ndarray, num_before_C: np.ndarray, true_after_C: np.ndarray, num_after_C: np.ndarray
) -> Difference:
    """The same for shares. Where all clusters have one and the same share, before or after, a
    bootstrap finds no spread there: then the intervals of the two shares are combined, as if they
    were independent.
    """
    if is_constant(true_before_C, num_before_C) or is_constant(true_after_C, num_after_C):
        return independent(share(true_before_C, num_before_C), share(true_after_C, num_after_C))
    return of_clusters(true_before_C, num_before_C, true_after_C, num_after_C)


# -- different items -------------------------------------------------------------------------------


def independent(before: Estimate, after: Estimate) -> Difference:
    """The difference of two estimates of different items.

    The interval is put together from those of the two (Newcombe 1998, method 10; Zou and Donner
    2008). No test is made.
    """
    ends = (before.value, before.low, before.high, after.value, after.low, after.high)
    num_items = before.num_items + after.num_items
    if before.value is None or after.value is None:
        return Difference(None, None, None, NO_ITEMS, num_items)
    if any(end is None for end in ends):
        return Difference(after.value - before.value, None, None, ONE_ITEM, num_items)
    value_0, low_0, high_0, value_1, low_1, high_1 = (float(end) for end in ends if end is not None)
    value = value_1 - value_0
    low = value - math.hypot(value_1 - low_1, high_0 - value_0)
    high = value + math.hypot(high_1 - value_1, value_0 - low_0)
    return Difference(value, low, high, "newcombe", num_items)
