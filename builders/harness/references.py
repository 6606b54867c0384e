"""Before answers are judged: what is known of each task, or why no answer to it can be judged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from builders import sandbox
from builders.harness.extraction import imports
from builders.harness.libraries import KNOWN
from builders.harness.tasks import Task
from builders.recipe import Grading
from store import Announce


@dataclass(frozen=True)
class Ready:
    """What is known of a task before its answers are judged."""

    is_apart: bool = True
    ungradable: str | None = None
    missing: tuple[str, ...] = ()


def prepare(tasks: Sequence[Task], settings: Grading, announce: Announce) -> dict[str, Ready]:
    """What is known of each task, by its id."""
    sandbox.require()
    wanted = {task.task_id: imports(task.solution or "") | imports(task.tests) for task in tasks}
    lacking = _missing(sorted(set().union(*wanted.values()) & KNOWN))
    return {task.task_id: _ready(task, sorted(wanted[task.task_id] & lacking)) for task in tasks}


def _ready(task: Task, missing: list[str]) -> Ready:
    if task.ungradable:
        return Ready(ungradable=task.ungradable)
    if not task.tests.strip():
        return Ready(ungradable="the file has no tests for it")
    if missing:
        return Ready(ungradable=f"the sandbox lacks {', '.join(missing)}", missing=tuple(missing))
    return Ready()


def _missing(names: list[str]) -> set[str]:
    code = f"import importlib.util as u\nprint(*[n for n in {names!r} if u.find_spec(n) is None])"
    result = sandbox.run_many([("", code)], 1)
    return set(next(iter(result))[1].stdout.split()) - sys.stdlib_module_names
