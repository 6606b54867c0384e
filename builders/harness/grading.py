"""Answers to benchmark tasks are judged in the sandbox, several at a time.

In: tasks with what a model wrote for them, and what `references.prepare` says of the tasks. Out: a
`Verdict` for each.

    ready = references.prepare([task], Grading(), print)
    [(_, found)] = grading.verdicts([(0, task, "completion", "    return a + b")], ready, Grading())
    found.status    # 'passed'

A time-out under load may be the load's fault. So answers that were too slow are tried once more,
alone, and the second verdict counts. Answers that lack a library are run once more with an empty
module in place of it: those that still say that it is not there have failed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from builders.harness.extraction import Candidate, candidate
from builders.harness.references import Ready, run
from builders.harness.tasks import Form, Task
from builders.harness.verdicts import Verdict, confirmed, trial_of, verdict, with_stand_in
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
        found |= _confirmed(part, found, ready, settings, is_code)
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
    candidates = [_candidate(answer, is_code) for answer in part]
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


def _confirmed(
    part: list[tuple[Id, Task, Form, str]],
    found: Mapping[int, Verdict],
    ready: Mapping[str, Ready],
    settings: Grading,
    is_code: bool,
) -> dict[int, Verdict]:
    """The verdicts on answers that lack a library, after a run with a stand-in for it."""
    lacking = {number: one for number, one in found.items() if one.status == "missing"}
    tasks = {number: part[number][1] for number in lacking}
    trials = (
        (str(number), trial_of(tasks[number], again, ready[tasks[number].task_id], settings))
        for number, one in lacking.items()
        for again in [with_stand_in(_candidate(part[number], is_code), one)]
    )
    return {int(name): confirmed(lacking[int(name)], result) for name, result in run(trials, settings)}


def _candidate(answer: tuple[Id, Task, Form, str], is_code: bool) -> Candidate:
    _, task, form, text = answer
    return Candidate((text,), text) if is_code else candidate(task, text, form)
