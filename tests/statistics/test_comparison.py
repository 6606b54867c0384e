"""Differences: the exact test and its interval agree, and pairs are drawn as pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from builders.statistics.comparison import (
    Difference,
    clopper_pearson,
    independent,
    mcnemar,
    of_clusters,
    of_shares,
    of_tasks,
)
from builders.statistics.intervals import mean, share


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 5), (1, 5), (12, 4), (50, 80), (0, 300)])
def test_mcnemar_is_the_binomial_test_of_the_tasks_that_differ(lost: int, won: int) -> None:
    expected = binomtest(won, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected)
    if lost + won:
        exact = binomtest(won, lost + won).proportion_ci(method="exact")
        assert clopper_pearson(won, lost + won) == pytest.approx((exact.low, exact.high), abs=1e-9)


def tasks(lost: int, won: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """What two models made of tasks, one answer each."""
    before = np.repeat([1, 0, 1, 0], [lost, won, both, neither])
    return before, np.repeat([0, 1, 1, 0], [lost, won, both, neither])


counts = st.integers(0, 60)


@settings(deadline=None)
@given(counts, counts, counts, counts)
def test_with_one_answer_per_task_the_interval_agrees_with_the_test(
    lost: int, won: int, both: int, neither: int
) -> None:
    found = of_tasks(*tasks(lost, won, both, neither + 1))
    assert found.p == mcnemar(lost, won)
    assert found.is_noise is (found.p >= 0.05)
    assert found.low is not None and found.value is not None and found.high is not None
    assert -1 <= found.low <= found.value <= found.high <= 1
    back = of_tasks(*reversed(tasks(lost, won, both, neither + 1)))
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_two_models_with_the_same_answers_may_still_differ() -> None:
    found = of_tasks(*tasks(0, 0, 100, 64))
    assert (found.value, found.p, found.verdict) == (0.0, 1.0, "within noise")
    assert found.high == pytest.approx(0.0229, abs=1e-4) and found.low == -found.high


def test_several_answers_per_task_are_drawn_by_tasks() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.random(164)
    before, after = (rng.binomial(10, np.clip(hardness + gain, 0, 1)) / 10 for gain in (0, 0.05))
    found = of_tasks(before, after)
    error = (after - before).std(ddof=1) / 164**0.5
    assert (found.method, found.num_items, found.verdict) == ("bootstrap", 164, "higher")
    assert (found.low, found.high) == pytest.approx(
        ((after - before).mean() - 1.975 * error, (after - before).mean() + 1.975 * error), abs=0.003
    )
    assert found.p is not None and found.p < 0.01
    apart = independent(mean(before), mean(after))
    assert apart.verdict == "within noise", "without the pairs, the hardness of the tasks hides the gain"


def test_clusters_that_were_measured_once_count_as_independent() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(5, 1, 300), rng.normal(5.3, 1, 200)
    none_0, none_1, one_0, one_1 = np.zeros(300), np.zeros(200), np.ones(300), np.ones(200)
    found = of_clusters(
        np.concatenate([before, none_1]),
        np.concatenate([one_0, none_1]),
        np.concatenate([none_0, after]),
        np.concatenate([none_0, one_1]),
    )
    apart = independent(mean(before), mean(after))
    assert (found.value, found.num_items) == (pytest.approx(apart.value), 500)
    assert (found.low, found.high) == pytest.approx((apart.low, apart.high), abs=0.02)


def test_the_order_of_the_clusters_changes_not_one_bit() -> None:
    rng = np.random.default_rng(2)
    columns = rng.integers(1, 9, (4, 50)).astype(float)
    order = rng.permutation(50)
    assert of_clusters(*columns) == of_clusters(*columns[:, order])


def test_independent_shares_have_newcombes_interval() -> None:
    """56 of 70 against 48 of 80: Newcombe 1998, table II, method 10."""
    first, second = (share(np.arange(n) < k, np.ones(n)) for k, n in ((56, 70), (48, 80)))
    found = independent(second, first)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert (found.verdict, found.p, found.num_items) == ("higher", None, 150)


def test_shares_without_any_spread_are_no_proof() -> None:
    """The base parsed nothing for 3 snippets, and G0 all: a bootstrap would be sure of it."""
    ten = np.full(3, 10.0)
    found = of_shares(np.zeros(3), ten, ten, ten)
    assert found.value == 1.0 and found.low is not None and found.low < 0.3
    assert of_clusters(np.zeros(3), ten, ten, ten).low == 1.0


def test_without_measurements_there_is_no_difference() -> None:
    nothing = Difference(None, None, None, "none: no items", 0)
    assert of_tasks(np.zeros(0), np.zeros(0)) == nothing
    assert of_clusters(np.ones(3), np.ones(3), np.zeros(3), np.zeros(3)) == nothing
    assert nothing.is_noise is None and nothing.verdict is None
    (one,) = [of_clusters(*np.ones((4, 1)))]
    assert (one.value, one.low, one.method) == (0.0, None, "none: one item")
