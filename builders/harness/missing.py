"""The libraries that tasks and answers lack, by name, and the command that gives them.

In: rows of an evaluation, and what `references.prepare` says of the tasks. Out: how often which
module is missing. A library that we know is the sandbox's to have. A module that we do not know is
the answer's own mistake, but it is named as well.

    modules_of("ModuleNotFoundError: No module named 'cv2.aruco'")    # ['cv2']
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping

from builders.harness.extraction import imports
from builders.harness.libraries import KNOWN, PACKAGES, missing_module
from builders.harness.references import Ready
from builders.harness.rows import Row


def modules_of(message: str | None) -> list[str]:
    """The top-level module that an error message says is not there, if it says so."""
    name = missing_module(message)
    return [name] if name else []


def lacking(ready: Ready) -> list[str]:
    """The libraries that a task's own solution lacks, also those that we do not know."""
    return list(ready.missing) or [n for n in modules_of(ready.ungradable) if n not in sys.stdlib_module_names]


def missing_modules(rows: Iterable[Row], known: Mapping[str, Ready]) -> dict[str, int]:
    """Each library that the sandbox lacks, and for how many tasks and answers."""
    rows = list(rows)
    tasks = {row["task_id"] for row in rows if row["status"] == "ungradable"}
    of_tasks = [name for task_id in tasks for name in lacking(known[task_id])]
    return counts([*of_tasks, *(n for row in rows if row["status"] == "missing" for n in modules_of(row["message"]))])


def unknown_modules(rows: Iterable[Row]) -> dict[str, int]:
    """The modules that failed answers import, that are not there, and that are no library we know.

    Such an answer is wrong: mostly the module does not exist. The message alone is no proof, as an
    answer can raise the same error itself.
    """
    failed = [row for row in rows if row["status"] == "failed"]
    named = [(name, row) for row in failed for name in modules_of(row["message"])]
    return counts(
        name
        for name, row in named
        if name not in KNOWN and name not in sys.stdlib_module_names and name in imports(row["extracted"])
    )


def install(modules: Iterable[str]) -> str:
    """The command that gives these libraries to answers."""
    names = ",".join(sorted({PACKAGES.get(name, name) for name in modules}))
    return f"`scoder environment DIR --packages {names}`, then give --environment DIR to evaluate or grade"


def counts(texts: Iterable[str]) -> dict[str, int]:
    """How often which text came, the most frequent first."""
    return dict(sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0])))
