"""Asking a model about tasks, and running their tests on its answers in the sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from builders import sandbox
from builders.engines import Engine
from builders.executors.cpus import usable_cpus
from builders.harness import asking
from builders.harness.programs import test_program
from builders.harness.tasks import Task
from builders.recipe import Evaluation


def grade(
    engine: Engine,
    settings: Evaluation,
    tasks: Iterable[Task],
    seed: int,
    adapter: str | None = None,
    *,
    is_base: bool = False,
) -> Iterator[dict[str, Any]]:
    """One row per task and sample, in their order, with `is_passed` and the status of the run.

    Tasks without tests are skipped. A base model (`is_base`) continues the prompt as it stands. Any
    other model is asked in a chat.
    """
    gradable = [t for t in tasks if t.tests]
    asked = [
        (task, number, asking.request(task, number, settings, seed, adapter, is_base=is_base))
        for task in gradable
        for number in range(settings.num_samples)
    ]
    jobs = {request.request_id: (task, number) for task, number, request in asked}
    answers = {c.request_id: c for c in engine.generate(request for _, _, request in asked)}
    programs = ((name, test_program(task, answers[name].text)) for name, (task, _) in jobs.items())
    limits = sandbox.SandboxLimits(wall_s=settings.wall_s)
    for name, result in sandbox.run_many(programs, workers=usable_cpus(), limits=limits):
        task, number = jobs[name]
        yield {
            "task_id": task.task_id,
            "sample_index": number,
            "completion": answers[name].text,
            "is_passed": result.status == "passed",
            "status": result.status,
            "completion_tokens": answers[name].num_completion_tokens,
        }
