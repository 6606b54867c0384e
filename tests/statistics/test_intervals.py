"""Intervals: the published numbers, and what an interval must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.statistics.intervals import Estimate, mean, share, wilson


@pytest.mark.parametrize(
    ("num_true", "num_items", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_numbers_of_newcombe_1998_table_1(
    num_true: int, num_items: int, low: float, high: float
) -> None:
    assert wilson(num_true / num_items, num_items) == pytest.approx((low, high), abs=5e-5)


clusters = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)).map(lambda c: (min(c), c[1])), min_size=1)


@settings(max_examples=40, deadline=None)
@given(clusters)
def test_a_share_lies_in_its_interval_and_the_interval_in_0_to_1(given: list[tuple[int, int]]) -> None:
    found = share(*np.array(given).T)
    assert found.value is not None and found.low is not None and found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.num_items == sum(n for _, n in given)


@settings(max_examples=40, deadline=None)
@given(clusters, st.randoms())
def test_the_order_of_the_rows_changes_not_one_bit(given: list[tuple[int, int]], random) -> None:
    mixed = random.sample(given, len(given))
    assert share(*np.array(given).T) == share(*np.array(mixed).T)
    scores = np.array([0.1 * true + 1 / items for true, items in given])
    assert mean(scores, np.ones(len(scores))) == mean(np.array(sorted(scores, reverse=True)))


def width(of: Estimate) -> float:
    assert of.low is not None and of.high is not None
    return of.high - of.low


def test_one_item_per_cluster_has_wilsons_interval() -> None:
    found = share(np.array([1, 0, 0, 1, 0]), np.ones(5))
    assert (found.low, found.high) == wilson(0.4, 5) and found.method == "wilson"


def test_copies_of_an_item_in_its_cluster_do_not_narrow_the_interval() -> None:
    is_true = np.arange(100) % 3 == 0
    copied = share(10 * is_true, np.full(100, 10))
    assert copied.method == "bootstrap" and copied.num_items == 1000
    assert width(copied) == pytest.approx(width(share(is_true, np.ones(100))), rel=0.05)
    assert width(copied) > 2.5 * width(share(np.repeat(is_true, 10), np.ones(1000)))


def test_where_all_clusters_are_alike_each_counts_as_one_item() -> None:
    """A bootstrap would say that the rate is exactly 0."""
    found = share(np.zeros(20), np.full(20, 10))
    assert (found.low, found.high, found.method) == (0.0, wilson(0.0, 20)[1], "wilson")


def test_a_mean_has_the_interval_of_students_t() -> None:
    for num in (8, 40, 400):
        values = np.random.default_rng(num).normal(5, 2, num)
        reach = {8: 2.365, 40: 2.023, 400: 1.966}[num] * values.std(ddof=1) / num**0.5
        found = mean(values)
        assert (found.low, found.high) == pytest.approx(
            (values.mean() - reach, values.mean() + reach), abs=0.12 * reach
        )


def test_more_clusters_than_are_drawn_are_put_together() -> None:
    rng = np.random.default_rng(0)
    num_C = rng.integers(1, 4, 60_000)
    level_C = rng.normal(6, 1, 60_000)
    found = mean(level_C * num_C, num_C)
    ratio = (level_C * num_C).sum() / num_C.sum()
    error = ((level_C * num_C - ratio * num_C).std() / num_C.mean()) / 60_000**0.5
    assert found.value == pytest.approx(ratio)
    assert width(found) == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_nothing_has_no_number_and_one_item_no_interval() -> None:
    assert share(np.zeros(0), np.zeros(0)) == Estimate(None, None, None, "none: no items", 0)
    assert mean(np.zeros(3), np.zeros(3)) == Estimate(None, None, None, "none: no items", 0)
    assert mean(np.array([4.0])) == Estimate(4.0, None, None, "none: one item", 1)
    assert mean(np.array([0.0, 4.0]), np.array([0, 2])) == Estimate(2.0, None, None, "none: one item", 2)


def test_the_same_measurements_have_the_same_interval_on_every_machine() -> None:
    assert mean(np.arange(10.0)) == Estimate(4.5, pytest.approx(2.4), pytest.approx(6.7), "bootstrap", 10)
