"""pass@k of graded answers, and two models compared on the same tasks.

In: the graded answers as rows of `evaluations`, or how many of each task were graded and passed.
Out: numbers with their intervals. An answer that was never graded is no failure: the numbers are
about those that were.

    passes([2, 2], [1, 0])[1].value    # 0.25
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from builders.statistics import comparison, intervals

NOT_GRADED = ("unanswered", "ungradable", "missing", "error")
"""The statuses of answers that say nothing about the model: the engine gave none, the task cannot
be judged here, the sandbox lacks a library that it imports, or the sandbox failed."""
UNJUDGED = "unjudged"
"""The status of an answer of a run that was broken off. No table holds it."""

Counts = Mapping[str, tuple[int, int]]
"""Task -> (answers that were graded, those of them that passed)."""


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Unbiased estimate of pass@k for one task (Chen et al. 2021, eq. 1).

    pass_at_k(num_samples=4, num_passed=1, k=1)    # 0.25
    """
    if num_samples - num_passed < k:
        return 1.0
    failing = 1.0
    for i in range(num_samples - num_passed + 1, num_samples + 1):
        failing *= 1.0 - k / i
    return 1.0 - failing


def passes(num_graded_T: Iterable[int], num_passed_T: Iterable[int]) -> dict[int, intervals.Estimate]:
    """pass@k over tasks, for k = 1 and every other k of which all tasks have graded answers.

    `num_items` are the tasks with a graded answer. If one of them has fewer answers than k, there
    is no pass@k, as in EvalPlus: that of the others would not be the benchmark's. The tasks are
    what is drawn: the interval is Wilson's where each task has passed or not, as with one answer
    per task or with k = n, and a bootstrap over tasks elsewhere.
    """
    pairs = [(int(n), int(c)) for n, c in zip(num_graded_T, num_passed_T, strict=True)]
    graded = [(n, c) for n, c in pairs if n]
    return {k: _pass_at_k(graded, k) for k in range(1, min([n for n, _ in graded], default=1) + 1)}


def _pass_at_k(pairs: list[tuple[int, int]], k: int) -> intervals.Estimate:
    rates_T = np.array([pass_at_k(n, c, k) for n, c in pairs])
    return intervals.share(rates_T, np.ones(len(rates_T)))


def compared(before: Counts, after: Counts) -> comparison.Difference:
    """pass@1 of one model minus that of another, on the tasks that both have graded answers to.

    Example:
        compared({"a": (1, 0), "b": (1, 1)}, {"a": (1, 1), "b": (1, 1)}).value    # 0.5
    """
    shared = [task for task in before if before[task][0] and after.get(task, (0, 0))[0]]
    return comparison.of_tasks(_rates(before, shared), _rates(after, shared))


def _rates(counts: Counts, tasks: list[str]) -> np.ndarray:
    return np.array([counts[task][1] / counts[task][0] for task in tasks])


def task_counts(graded: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """How many answers of each task were graded, and passed. The rows are those of one form."""
    answers, passed = Counter[str](), Counter[str]()
    for row in graded:
        is_graded = row.get("status") not in (*NOT_GRADED, UNJUDGED)
        answers[row["task_id"]] += is_graded
        passed[row["task_id"]] += is_graded and row["is_passed"]
    return {task: (answers[task], passed[task]) for task in answers}


def rates_if_missing(wanted: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """pass@1 over all tasks if all answers without a verdict had failed, and if all had passed.

    Between the two lies the number of the whole benchmark, whatever is missing. The rows are those
    of one form.

    rates_if_missing([{"task_id": "a", "status": "error", "is_passed": False}])    # (0.0, 1.0)
    """
    sizes = Counter(row["task_id"] for row in wanted)
    found = task_counts(wanted)
    low = sum(passed / sizes[task] for task, (_, passed) in found.items()) / len(sizes)
    high = sum((passed + sizes[task] - graded) / sizes[task] for task, (graded, passed) in found.items()) / len(sizes)
    return round(low, 4), round(high, 4)


def pass_rates(graded: list[dict[str, Any]]) -> dict[str, Any]:
    """What a report says of the answers of one form: tasks, and pass@k with its ends, as `passes`.

    `tasks` are those with a graded answer. `not_graded` counts the answers that say nothing about
    the model.

    pass_rates([{"task_id": "a", "status": "passed", "is_passed": True}])["pass@1_low"]    # 0.2065
    """
    counts = task_counts(graded)
    found = passes([n for n, _ in counts.values()], [c for _, c in counts.values()])
    row: dict[str, Any] = {
        "tasks": found[1].num_items,
        "not_graded": len(graded) - sum(n for n, _ in counts.values()),
    }
    for k, estimate in found.items():
        ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
        row |= {f"pass@{k}{end}": _rounded(value) for end, value in ends.items()}
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
