"""pass@k: the probability that one of k answers to a task passes its tests."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


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


def pass_rates(graded: list[dict[str, Any]], samples: int) -> dict[str, Any]:
    """The number of tasks, and their mean pass@1 and pass@k for k = `samples`."""
    passed: dict[str, int] = defaultdict(int)
    for row in graded:
        passed[row["task_id"]] += row["is_passed"]
    tasks = max(1, len(passed))
    return {
        "tasks": len(passed),
        "pass@1": round(sum(pass_at_k(samples, n, 1) for n in passed.values()) / tasks, 4),
        f"pass@{samples}": round(sum(pass_at_k(samples, n, samples) for n in passed.values()) / tasks, 4),
    }
