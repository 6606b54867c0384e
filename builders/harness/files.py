"""Benchmarks as tasks, from a file, a dataset folder or the Hub.

In: a path or Hub id; HumanEval(+), MBPP(+), BigCodeBench, LiveCodeBench, LeetCodeDataset, APPS, CRUXEval, DS-1000 and
MultiPL-E are told by their fields (`builders/harness/layouts.py`). Out: `Task` rows in the order of the source. How:
`builders/datasets/rows.py` streams the rows; `builders/harness/programs.py` makes the program that grades a completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builders.datasets.rows import rows
from builders.harness.layouts import parse_task
from builders.harness.programs import Task
from store.errors import InputError


def read_tasks(
    place: str | Path, *, config: str | None = None, split: str | None = None, revision: str | None = None
) -> Iterator[Task]:
    """Tasks of a benchmark in its order; ValueError names the place and row of what cannot be read.

    `config`, `split` and `revision` are for datasets of the Hub: without a split it is `test`, or the only one.
    """
    seen: set[str] = set()
    for position, row in enumerate(rows(place, config=config, split=split, revision=revision), start=1):
        try:
            task = parse_task(row)
        except ValueError as error:
            raise InputError(f"{place}, row {position}: {error}") from error
        if task.task_id in seen:
            raise InputError(f"{place}, row {position}: task_id {task.task_id!r} occurs twice; make the ids distinct")
        seen.add(task.task_id)
        yield task
    if not seen:
        raise InputError(f"{place} is empty: a benchmark holds at least one task")
