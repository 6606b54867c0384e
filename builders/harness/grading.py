"""Answers to benchmark tasks are judged in the sandbox, several at a time."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from builders import sandbox
from builders.harness.extraction import candidate
from builders.harness.libraries import missing_library
from builders.harness.programs import split_tests, test_call
from builders.harness.references import Ready
from builders.harness.tasks import Form, Task
from builders.harness.verdicts import Outcome, Verdict
from builders.recipe import Grading

Id = TypeVar("Id", bound=Hashable)


def verdicts(
    answers: Iterable[tuple[Id, Task, Form, str]], ready: Mapping[str, Ready], settings: Grading
) -> Iterator[tuple[Id, Verdict]]:
    """A verdict for each answer, in their order."""
    kept = [(name, task, candidate(task, text, form)) for name, task, form, text in answers]
    programs = []
    for name, task, found in kept:
        before, tests = split_tests(task)
        programs.append((name, sandbox.tested_program(*before, *found.pieces, tests + test_call(task))))
    limits = sandbox.SandboxLimits(wall_s=settings.wall_s)
    results = sandbox.run_many(programs, settings.workers or os.cpu_count() or 1, limits)
    for (name, task, found), (_, result) in zip(kept, results, strict=True):
        lines = result.stderr.strip().splitlines()
        message = lines[-1] if lines and result.status != "passed" else None
        status: Outcome = "missing" if missing_library(message) else result.status
        yield (
            name,
            Verdict(
                status,
                status == "passed",
                None,
                found.code,
                result.wall_s,
                message,
                ready[task.task_id].is_apart,
            ),
        )
