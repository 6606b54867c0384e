"""The AUC: DeLong's variance as it is defined, and clusters that count once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builders.aspect_weights import auc
from builders.statistics.areas import area, newcombe
from builders.statistics.intervals import Z


def made(num: int, seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and labels."""
    rng = np.random.default_rng(seed)
    is_positive = np.arange(num) % 3 == 0
    return np.round(rng.normal(0, 1, num) + shift * is_positive, 1), is_positive


def delong_by_pairs(score: np.ndarray, is_positive: np.ndarray) -> tuple[float, float]:
    """The AUC and its variance by all pairs, as DeLong et al. (1988) define them."""
    positive, negative = score[is_positive], score[~is_positive]
    wins = np.array([[1.0 if p > n else 0.5 if p == n else 0.0 for n in negative] for p in positive])
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    return float(wins.mean()), float(variance)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_delongs_on_the_scale_of_the_logit(seed: int) -> None:
    score, is_positive = made(60, seed)
    value, variance = delong_by_pairs(score, is_positive)
    found = area(score, is_positive)
    assert found.value == pytest.approx(value) == auc(score, is_positive)
    reach = Z * math.sqrt(variance) / (value * (1 - value))
    ends = [1 / (1 + math.exp(-(math.log(value / (1 - value)) + side))) for side in (-reach, reach)]
    assert [found.low, found.high] == pytest.approx(ends)
    assert (found.method, found.num_items) == ("delong", 60)


def test_copies_of_an_item_in_its_cluster_do_not_narrow_the_interval() -> None:
    score, is_positive = made(60, 1)
    once = area(score, is_positive)
    copied, labels, cluster = (np.repeat(x, 4) for x in (score, is_positive, np.arange(60)))
    together, apart = area(copied, labels, cluster), area(copied, labels)
    assert (together.low, together.high) == pytest.approx((once.low, once.high))
    assert apart.high - apart.low < 0.6 * (once.high - once.low)  # type: ignore[operator]


def test_a_cluster_with_both_classes_is_drawn_as_one() -> None:
    """A snippet whose good pair scores high and whose bad pair scores high, too, says little."""
    rng = np.random.default_rng(0)
    level = np.repeat(rng.normal(0, 3, 40), 2)
    is_positive = np.tile([True, False], 40)
    score = level + is_positive + rng.normal(0, 0.2, 80)
    by_pair, apart = area(score, is_positive, np.repeat(np.arange(40), 2)), area(score, is_positive)
    assert by_pair.high - by_pair.low < 0.3 * (apart.high - apart.low)  # type: ignore[operator]


def test_the_order_of_the_items_changes_not_one_bit() -> None:
    score, is_positive = made(50, 2)
    cluster = np.array([f"s{n % 20}" for n in range(50)], dtype=object)
    order = np.random.default_rng(0).permutation(50)
    assert area(score, is_positive, cluster) == area(score[order], is_positive[order], cluster[order])


def test_a_perfect_score_has_an_interval_below_it() -> None:
    is_positive = np.arange(40) >= 20
    found = area(np.arange(40), is_positive)
    assert (found.value, found.high, found.method) == (1.0, 1.0, "newcombe")
    assert found.low == pytest.approx(0.899, abs=0.001)
    low = newcombe(1.0, 20, 20)[0]
    spread = low * (1 - low) * (1 + 19 * (1 - low) / (2 - low) + 19 * low / (1 + low)) / 400
    assert (1 - low) / math.sqrt(spread) == pytest.approx(Z)
    assert area(-np.arange(40), is_positive).high == pytest.approx(1 - low)


def test_one_class_has_no_area() -> None:
    found = area(np.arange(4), np.ones(4))
    assert (found.value, found.method, found.num_items) == (None, "none: one class", 4)
    assert area(np.zeros(0), np.zeros(0)).method == "none: no items"
