"""Answers to benchmark tasks are judged in the sandbox, several at a time.

In: tasks with what a model wrote for them, and what `references.prepare` says of the tasks. Out: a
`Verdict` for each.

    ready = references.prepare([task], Grading(), print)
    [(_, found)] = grading.verdicts([(0, task, "completion", "    return a + b")], ready, Grading())
    found.status    # 'passed'

A time-out under load may be the load's fault. So an answer that was too slow is tried once more,
alone, and the second verdict counts. One that hardly ever waited for a CPU, since it was running
or asleep, was not kept from it by others: it is not tried again. Answers that lack a library are
run once more with an empty module in place of it: those that still say that it is not there have
failed.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from builders import sandbox
from builders.harness.extraction import MAX_CHARACTERS, Candidate, candidate
from builders.harness.references import Ready, run
from builders.harness.tasks import Form, Task
from builders.harness.verdicts import Verdict, confirmed, trial_of, verdict, with_stand_in
from builders.recipe import Grading
from store import Announce

Id = TypeVar("Id", bound=Hashable)

JUDGING_VERSION = 3
"""Raise it when the same answer to the same task may get another verdict, or other extracted code.
That may be a change of extraction, checker, references, verdicts or sandbox. Tables of older
verdicts are then of another plan. Judging them anew asks no model again."""
TOGETHER = 256
"""Answers that are judged before those among them that were too slow are tried again."""
WAITED = 0.1
"""Who waited for a CPU for more than this share of its time may be slow because of others."""
SAY_EVERY_S = 60.0


class Progress:
    """Says once a minute how many answers are judged. Judging may take longer than answering."""

    def __init__(self, total: int, announce: Announce, about: str = "") -> None:
        self._total, self._announce, self._about = total, announce, about and f" of {about}"
        self._done, self._told = 0, time.monotonic()

    def judged(self) -> None:
        """One more answer is judged."""
        self._done += 1
        self._say(f"judged: {self._done:,} of {self._total:,} answers{self._about}")

    def again(self, number: int, total: int) -> None:
        """Of the answers that were too slow, so many are tried again."""
        self._say(f"judged: {number:,} of {total:,} answers{self._about} that were too slow are tried again alone")

    def _say(self, text: str) -> None:
        if time.monotonic() - self._told >= SAY_EVERY_S:
            self._told = time.monotonic()
            self._announce(text)


def verdicts(
    answers: Iterable[tuple[Id, Task, Form, str]],
    ready: Mapping[str, Ready],
    settings: Grading,
    *,
    is_code: bool = False,
    progress: Progress | None = None,
) -> Iterator[tuple[Id, Verdict]]:
    """A verdict for each answer, in their order. The answers are read lazily.

    With `is_code`, each answer is a whole program and runs as it is: nothing is extracted.
    ValueError for a task that is ungradable.
    """
    stream, progress = iter(answers), progress or Progress(0, _say_nothing)
    while part := list(islice(stream, TOGETHER)):
        found, slow = dict[int, Verdict](), list[int]()
        for number, one, result in _judged(part, ready, settings, settings.workers, is_code):
            found[number] = one
            if may_be_kept_waiting(result):
                slow.append(number)
            progress.judged()
        for count, number in enumerate(slow, start=1):
            progress.again(count, len(slow))
            ((_, found[number], _),) = _judged([part[number]], ready, settings, 1, is_code)
        found |= _confirmed(part, found, ready, settings, is_code)
        yield from ((answer[0], found[number]) for number, answer in enumerate(part))


def may_be_kept_waiting(result: sandbox.SandboxResult) -> bool:
    """Whether a trial was too slow, and others may have had the CPU meanwhile."""
    if result.status != "timeout":
        return False
    return result.waited_s is None or result.waited_s > WAITED * result.wall_s


def _say_nothing(message: str) -> None: ...


def _judged(
    part: list[tuple[Id, Task, Form, str]],
    ready: Mapping[str, Ready],
    settings: Grading,
    workers: int | None,
    is_code: bool,
) -> Iterator[tuple[int, Verdict, sandbox.SandboxResult]]:
    for _, task, _, _ in part:
        if reason := ready[task.task_id].ungradable:
            raise ValueError(f"no answer to {task.task_id} can be judged ({reason}): leave it out")
    candidates = list[Candidate]()

    def trials() -> Iterator[tuple[str, sandbox.Trial]]:
        """The code of an answer is looked for while those before it run."""
        for number, answer in enumerate(part):
            candidates.append(_candidate(answer, is_code))
            yield str(number), trial_of(answer[1], candidates[-1], ready[answer[1].task_id], settings)

    for name, result in run(trials(), settings, workers):
        number = int(name)
        _, task, _, text = part[number]
        one = verdict(task, candidates[number], ready[task.task_id], result, settings.environment)
        yield number, one if is_code or one.is_passed else noted(one, text), result


def noted(found: Verdict, text: str) -> Verdict:
    """The verdict, with a word on it where the answer was so long that not all of it was read."""
    if len(text) <= MAX_CHARACTERS:
        return found
    note = f"(of {len(text):,} characters of the answer {MAX_CHARACTERS:,} were read)"
    return replace(found, message=f"{found.message or found.status} {note}")


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
