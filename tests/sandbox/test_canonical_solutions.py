"""The public benchmarks' own solutions pass their own tests, apart and unchanged."""

from __future__ import annotations

import pytest

from builders import sandbox
from builders.harness.files import read_tasks
from builders.harness.programs import reference, split_tests, test_call
from builders.harness.tasks import Task
from builders.sandbox import SandboxLimits, Trial, run_many
from tests.benchmark_rows import DATA, needs_data

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")


def trial(task: Task) -> Trial:
    before, tests = split_tests(task)
    solution = (reference(task) or "",)
    return Trial(solution, (tests + test_call(task),), prelude="\n".join(before), entry_point=task.entry_point)


@needs_data
@pytest.mark.parametrize(
    ("file", "step", "lacking"),
    [
        ("human-eval/HumanEval.jsonl.gz", 1, set()),
        # the canonical solutions of Mbpp/123 and others take seconds
        ("mbpp/mbpp.jsonl", 7, set()),
        # one expects the order of a set, which is another one here
        ("leetcode/LeetCodeDataset-v0.1.0-train.jsonl.gz", 10, {"word-ladder-ii"}),
    ],
)
def test_canonical_solutions_pass_apart(file, step, lacking):
    tasks = list(read_tasks(DATA / file))[::step][:250]
    programs = ((task.task_id, trial(task)) for task in tasks)
    results = dict(run_many(programs, 2, SandboxLimits(wall_s=30)))
    failed = {
        name: result.stderr[-300:]
        for name, result in results.items()
        if result.status != "passed" and "No module named" not in result.stderr
    }
    assert failed.keys() <= lacking, failed
    assert len(results) > 100
