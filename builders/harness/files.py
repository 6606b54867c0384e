"""Benchmarks as tasks, from a file, a dataset folder or the Hub.

In: a path or Hub id. Out: `Task` rows in the order of the source.

`builders/datasets/rows.py` streams the rows. `builders/harness/layouts.py` makes a task of each
row: HumanEval(+), MBPP(+), BigCodeBench, LiveCodeBench, LeetCodeDataset, APPS, CRUXEval, DS-1000
and MultiPL-E are known by their fields. `builders/harness/programs.py` makes the program that
grades an answer.

    for task in read_tasks("HumanEval.jsonl.gz"):
        print(task.task_id, task.entry_point)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builders.datasets.rows import rows
from builders.harness.layouts import parse_task
from builders.harness.tasks import Task
from store.errors import InputError


def read_tasks(
    place: str | Path, *, config: str | None = None, split: str | None = None, revision: str | None = None
) -> Iterator[Task]:
    """The tasks of a benchmark, in its order. InputError names the row that cannot be read.

    `config`, `split` and `revision` are for datasets of the Hub. Without a split it is `test`, or
    the only one there is.
    """
    seen: set[str] = set()
    for position, row in enumerate(rows(place, config=config, split=split, revision=revision), start=1):
        try:
            task = parse_task(row)
        except ValueError as error:
            raise InputError(f"{place}, row {position}: {error}") from error
        if task.task_id in seen:
            raise InputError(f"{place}, row {position}: task_id {task.task_id!r} occurs twice: give each task its own")
        seen.add(task.task_id)
        yield task
    if not seen:
        raise InputError(f"{place} is empty, but a benchmark has at least one task: check the file")
