"""Tasks as units: the parts of benchmark tasks that a detector looks for.

In: tasks. Out: an inverted index over units, and the task of each unit.

How: a task is found by any of its parts. So a copy of only the solution, or of only the examples,
is still seen whole. An n-gram weighs its information in the background, less one bit for each
doubling of the number of the benchmark's tasks that have it: what all ask says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from builders.code import tokens
from builders.decontamination.detectors import background, prose
from builders.decontamination.detectors.features import normalised, of_tokens
from builders.decontamination.detectors.postings import Postings, inverted
from builders.decontamination.detectors.prose import Statements
from builders.decontamination.detectors.statements import asked

MIN_BITS = 6.0
"""N-grams of less information are left out: they are in very many texts."""

WORTHWHILE = 1.5
"""Prompt and solution together are a unit of their own only if they have this many times the bits
of the solution alone.
"""

TASKS_VERSION = 3
"""Raise it when the same task is made into other texts, or its tests compare in another way."""

Task = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """The units of one detector; tasks: int64 (units,), the task of each unit.

    `said`: for prose, what each unit says.
    """

    postings: Postings
    tasks: np.ndarray
    said: Statements | None = None

    def bits(self, num_tasks: int) -> np.ndarray:
        """The information of the most informative unit of each task, float64 (tasks,)."""
        found = np.zeros(num_tasks)
        np.maximum.at(found, self.tasks, self.postings.totals[: len(self.tasks)])
        return found


def _whole(task: Task) -> str:
    return f"{task['prompt']}\n{task['solution']}" if task["solution"] else ""


def tests_of(task: Task) -> str:
    """The tests that are code, or else the inputs of the cases and then their outputs.

    What a script reads and prints is left out.
    """
    if task["tests"] or not task.get("cases") or task.get("call_form") == "stdin":
        return task["tests"] or ""
    return "\n".join([*(case["input"] for case in task["cases"]), *(case["output"] or "" for case in task["cases"])])


PARTS: dict[str, tuple[Callable[[Task], str], ...]] = {
    "ngram": (lambda task: task["solution"] or "", _whole),
    "renamed": (lambda task: task["solution"] or "", _whole),
    "prose": (lambda task: asked(task["prompt"]),),
    "literals": (lambda task: task["prompt"], tests_of),
}
"""Detector -> the parts of a task that are its units."""


def view(detector: str, tasks: Sequence[Task], ngram: int) -> View:
    """The units of one detector, with their weighted n-grams."""
    parts = PARTS[detector]
    texts = pa.array([part(task) for task in tasks for part in parts], pa.large_string())
    owners = np.repeat(np.arange(len(tasks)), len(parts))
    benchmarks = np.unique(np.array([str(task["benchmark"]) for task in tasks]), return_inverse=True)[1]
    units, hashes, weights = [], [], []
    sets = of_tokens(tokens.lex(normalised(texts)), (detector,), ngram)[detector]
    for name, (_, grams) in sets.items():
        unit = np.repeat(np.arange(len(texts)), np.diff(grams.offsets))
        owner = owners[unit]
        bits = background.bits(name, grams.hashes) - np.log2(_num_tasks_with(grams.hashes, owner, benchmarks[owner]))
        units.append(unit)
        hashes.append(grams.hashes)
        if detector == "prose":
            weights.append(np.maximum(bits, 0.0))
            continue
        # One token is in n n-grams of each set: divide, so that it does not count many times.
        weights.append(np.where(bits >= MIN_BITS, bits, 0.0) / (grams.n * len(sets)))
    unit, weight = np.concatenate(units), np.concatenate(weights)
    if _whole in parts:
        totals = np.bincount(unit, weight, len(texts)).reshape(-1, len(parts))
        is_idle = (np.array(parts) == _whole) & (totals < WORTHWHILE * totals[:, :1])
        weight[is_idle.ravel()[unit]] = 0
    is_prose = detector == "prose"
    made = (prose.index if is_prose else inverted)(unit, np.concatenate(hashes), weight, len(texts))
    said = prose.statements(list(zip(units, hashes, weights, strict=True)), len(texts)) if is_prose else None
    return View(made, owners, said)


def _num_tasks_with(hashes: np.ndarray, tasks: np.ndarray, benchmarks: np.ndarray) -> np.ndarray:
    """For each n-gram of a task, the number of tasks of its benchmark that have it."""
    order = np.lexsort((tasks, benchmarks, hashes))
    h, b, t = hashes[order], benchmarks[order], tasks[order]
    is_group = np.ones(len(h), bool)
    is_group[1:] = (h[1:] != h[:-1]) | (b[1:] != b[:-1])
    is_task = is_group.copy()
    is_task[1:] |= t[1:] != t[:-1]
    group = np.cumsum(is_group) - 1
    counts = np.empty(len(h), np.int64)
    counts[order] = np.bincount(group[is_task], minlength=1)[group] if len(h) else 0
    return counts
