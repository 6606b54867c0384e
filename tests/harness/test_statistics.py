"""pass@k: the estimate is the share of draws of k samples that hold a passed one."""

from __future__ import annotations

from itertools import combinations

import pytest

from builders.harness.statistics import pass_at_k, pass_rates


@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_passed_sample(num_samples: int) -> None:
    for num_passed in range(num_samples + 1):
        for k in range(1, num_samples + 1):
            draws = list(combinations(range(num_samples), k))
            share = sum(min(draw) < num_passed for draw in draws) / len(draws)
            assert pass_at_k(num_samples, num_passed, k) == pytest.approx(share)


def test_rates_are_means_over_tasks() -> None:
    graded = [{"task_id": task, "is_passed": passed} for task, passed in (("a", 1), ("a", 0), ("b", 0), ("b", 0))]
    assert pass_rates(graded, 2) == {"tasks": 2, "pass@1": 0.25, "pass@2": 0.5}
