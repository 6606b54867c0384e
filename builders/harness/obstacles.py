"""What stands in the way of an evaluation before the first request: tasks not judged here.

In: what `references.prepare` says of the tasks. Out: words for people, and the reason why a
benchmark would have no number. A task that cannot be judged counts as missing, like one that is not
answered: pass@1 over the few tasks that are left is not the benchmark's.

    too_few({"humaneval": ready}, 0.02)    # None, or why not
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from builders.harness.jobs import Known
from builders.harness.missing import counts, lacking
from builders.harness.references import Ready
from builders.harness.summary import first_names, most
from store import Announce
from store.counts import counted


def tell_ungradable(announce: Announce, known: Known) -> None:
    """Say, before the first request, which tasks cannot be judged here, and what they lack."""
    for benchmark, tasks in known.items():
        ungradable = _ungradable(tasks)
        if not ungradable:
            continue
        announce(f"{benchmark}: {len(ungradable)} of {len(tasks)} tasks cannot be judged here, and are not asked:")
        by_reason: dict[str, list[str]] = {}
        for task_id, ready in ungradable.items():
            by_reason.setdefault(str(ready.ungradable), []).append(task_id)
        for reason, names in by_reason.items():
            announce(f"  {reason}: {first_names(names, 10)}")
        if modules := sorted({name for ready in ungradable.values() for name in lacking(ready)}):
            announce(
                f"  missing libraries: {', '.join(modules)}. `scoder environment DIR --benchmarks …` installs them; "
                "then give --environment DIR, or set evaluation.grading.environment"
            )


def too_few(known: Known, max_error_share: float, option: str = "--max-error-share") -> str | None:
    """Why benchmarks would have no number, and what to do. None if all can have one.

    `option` is what raises the share: an option, or a key of a recipe.
    """
    found = [_too_few(name, tasks, max_error_share, option) for name, tasks in known.items()]
    return "; ".join(reason for reason in found if reason) or None


def _too_few(benchmark: str, tasks: Mapping[str, Ready], max_error_share: float, option: str) -> str | None:
    ungradable = _ungradable(tasks)
    if len(ungradable) <= max_error_share * len(tasks):
        return None
    least = least_share(len(ungradable), len(tasks))
    has_libraries = any(lacking(ready) for ready in ungradable.values())
    install = "install the libraries with `scoder environment DIR --benchmarks …` and give --environment DIR, or "
    left = len(tasks) - len(ungradable)
    return (
        f"{len(ungradable):,} of {len(tasks):,} tasks of {benchmark} cannot be judged here, more than "
        f"{option} {max_error_share:g} allows: {most(counts(str(r.ungradable) for r in ungradable.values()))}. "
        f"To go on, {install if has_libraries else ''}bear it with {option} {least:g}: the number is then over at most "
        f"{counted(left, 'task')}"
    )


def least_share(missing: int, wanted: int) -> float:
    """The least share, in thousandths, that bears so many missing ones.

    least_share(109, 148)    # 0.737
    """
    return min(1.0, math.ceil(1000 * missing / wanted) / 1000)


def _ungradable(tasks: Mapping[str, Ready]) -> dict[str, Ready]:
    return {task_id: ready for task_id, ready in tasks.items() if ready.ungradable}
