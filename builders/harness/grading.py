"""Answers to benchmark tasks are judged in the sandbox, several at a time.

In: tasks with what a model wrote for them, and what `references.prepare` says of the tasks. Out: a
`Verdict` for each.

    ready = references.prepare([task], Grading(), print)
    [(_, found)] = grading.verdicts([(0, task, "completion", "    return a + b")], ready, Grading())
    found.status    # 'passed'

A time-out under load may be the load's fault. So answers that were too slow are tried once more,
alone, and the second verdict counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from builders.harness.extraction import Candidate, candidate
from builders.harness.references import Ready, run
from builders.harness.tasks import Form, Task
from builders.harness.verdicts import Verdict, trial_of, verdict
from builders.recipe import Grading

Id = TypeVar("Id", bound=Hashable)

JUDGING_VERSION = 2
"""Raise it when the same answer to the same task may get another verdict, or other extracted code.
That may be a change of extraction, checker, references, verdicts or sandbox. Tables of older
verdicts are then of another plan. Judging them anew asks no model again."""
TOGETHER = 256
"""Answers that are judged before those among them that were too slow are tried again."""


def verdicts(
    answers: Iterable[tuple[Id, Task, Form, str]],
    ready: Mapping[str, Ready],
    settings: Grading,
    *,
    is_code: bool = False,
) -> Iterator[tuple[Id, Verdict]]:
    """A verdict for each answer, in their order. The answers are read lazily.

    With `is_code`, each answer is a whole program and runs as it is: nothing is extracted.
    ValueError for a task that is ungradable.
    """
    stream = iter(answers)
    while part := list(islice(stream, TOGETHER)):
        found = _judged(part, ready, settings, settings.workers, is_code)
        slow = [number for number, one in found.items() if one.status == "timeout"]
        for number in slow:
            found |= {number: _judged([part[number]], ready, settings, 1, is_code)[0]}
        yield from ((answer[0], found[number]) for number, answer in enumerate(part))


def _judged(
    part: list[tuple[Id, Task, Form, str]],
    ready: Mapping[str, Ready],
    settings: Grading,
    workers: int | None,
    is_code: bool,
) -> dict[int, Verdict]:
    for _, task, _, _ in part:
        if reason := ready[task.task_id].ungradable:
            raise ValueError(f"no answer to {task.task_id} can be judged ({reason}): leave it out")
    candidates = [Candidate((text,), text) if is_code else candidate(task, text, form) for _, task, form, text in part]
    tasks = [task for _, task, _, _ in part]
    trials = (
        (str(number), trial_of(task, found, ready[task.task_id], settings))
        for number, (task, found) in enumerate(zip(tasks, candidates, strict=True))
    )
    return {
        int(name): verdict(
            tasks[int(name)], candidates[int(name)], ready[tasks[int(name)].task_id], result, settings.environment
        )
        for name, result in run(trials, settings, workers)
    }
