"""pass@k: the estimate is the share of draws with a passed sample, over what was graded."""

from __future__ import annotations

from itertools import combinations

import pytest

from builders.harness.statistics import compared, pass_at_k, pass_rates, passes, task_counts
from builders.statistics.intervals import wilson


@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_pass_at_k_is_the_share_of_draws_with_a_passed_sample(num_samples: int) -> None:
    for num_passed in range(num_samples + 1):
        for k in range(1, num_samples + 1):
            draws = list(combinations(range(num_samples), k))
            share = sum(min(draw) < num_passed for draw in draws) / len(draws)
            assert pass_at_k(num_samples, num_passed, k) == pytest.approx(share)


def test_there_is_a_number_for_every_k_up_to_the_answers_of_a_task() -> None:
    found = passes([4, 4, 4, 4], [0, 1, 2, 4])
    assert list(found) == [1, 2, 3, 4]
    for k, estimate in found.items():
        assert estimate.value == pytest.approx(sum(pass_at_k(4, c, k) for c in (0, 1, 2, 4)) / 4)
        assert estimate.num_items == 4
    assert [found[k].method for k in found] == ["bootstrap", "bootstrap", "bootstrap", "wilson"]
    assert (found[4].low, found[4].high) == wilson(0.75, 4), "with k = n, a task has passed or not"


def test_there_is_no_k_of_which_a_graded_task_has_fewer_answers() -> None:
    """pass@2 of the first task alone would be 1.0, and would not be the benchmark's."""
    found = passes([2, 1, 0], [1, 1, 0])
    assert {k: (e.value, e.num_items) for k, e in found.items()} == {1: (0.75, 2)}
    assert list(passes([3, 2, 0], [1, 1, 0])) == [1, 2]
    nothing = passes([0, 0], [0, 0])
    assert {k: (e.value, e.method) for k, e in nothing.items()} == {1: (None, "none: no items")}
    assert passes([], [])[1].value is None


def rows(task: str, *statuses: str) -> list[dict]:
    return [{"task_id": task, "status": s, "is_passed": s == "passed"} for s in statuses]


@pytest.mark.parametrize("status", ["unanswered", "ungradable", "missing", "error", "unjudged"])
def test_what_was_never_graded_is_no_failure(status: str) -> None:
    graded = [*rows("a", "passed", status), *rows("b", "failed", "timeout"), *rows("c", status, status)]
    assert task_counts(graded) == {"a": (1, 1), "b": (2, 0), "c": (0, 0)}
    found = pass_rates(graded)
    assert (found["tasks"], found["not_graded"], found["pass@1"]) == (2, 3, 0.5) and "pass@2" not in found
    assert [found["pass@1_low"], found["pass@1_high"]] == [round(end, 4) for end in wilson(0.5, 2)]


def test_rates_are_means_over_tasks() -> None:
    graded = [{"task_id": task, "is_passed": passed} for task, passed in (("a", 1), ("a", 0), ("b", 0), ("b", 0))]
    found = pass_rates(graded)
    assert (found["tasks"], found["pass@1"], found["pass@2"]) == (2, 0.25, 0.5)
    nothing = pass_rates(rows("a", "unanswered"))
    assert (nothing["tasks"], nothing["not_graded"], nothing["pass@1"]) == (0, 1, None)


def test_models_are_compared_on_the_tasks_that_both_have_graded_answers_to() -> None:
    before = {"a": (1, 0), "b": (1, 1), "c": (0, 0), "d": (1, 0)}
    after = {"d": (1, 1), "c": (1, 1), "b": (1, 1), "a": (1, 1)}
    found = compared(before, after)
    assert (found.value, found.num_items, found.p) == (2 / 3, 3, 0.5)
    assert compared({"a": (1, 1)}, {"b": (1, 1)}).value is None
