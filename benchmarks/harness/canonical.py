"""Every benchmark's own solutions must pass its own tests, asked in every form.

    SCODER_DATA=DIR python benchmarks/harness/canonical.py
    SCODER_DATA=DIR python benchmarks/harness/canonical.py humaneval mbpp --environment DIR --list

Each solution is given as an answer in a chat (in a fence, with words around it) and as a completion
(the body, where the prompt is open code). The table says how many tasks can be judged here, how
many pass, how many of them with tests and solution apart, and what it took. What does not pass is
listed with its reason. LiveCodeBench's files have no solutions: `livecodebench_tasks.py` makes some
of its format.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import livecodebench_tasks
from meters import CpuTime, Peak

from builders.benchmarks import named, tasks
from builders.harness import grading, programs, references
from builders.harness.tasks import Form, Task
from builders.recipe import Grading

CPU = CpuTime()
DATA = Path(os.environ.get("SCODER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {
    "humaneval": "human-eval/HumanEval.jsonl.gz",
    "humaneval+": "humaneval-plus/HumanEvalPlus.jsonl.gz",
    "humaneval+ mini": "humaneval-plus/HumanEvalPlus-Mini.jsonl.gz",
    "humaneval+ hub": "humaneval-plus/HumanEvalPlus-OriginFmt.jsonl.gz",
    "mbpp": "mbpp/mbpp.jsonl",
    "mbpp test": "mbpp/mbpp_test.jsonl",
    "mbpp+": "mbpp-plus/MbppPlus.jsonl.gz",
    "mbpp+ hub": "mbpp-plus/MbppPlus-OriginFmt.jsonl.gz",
    "mbpp+ 0.1.0": "mbpp-plus/MbppPlus-v0.1.0.jsonl",
    "leetcode": "leetcode/LeetCodeDataset-v0.1.0-train.jsonl.gz",
    "bigcodebench-hard": "bigcodebench-hard/bigcodebench_hard.json",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "benchmarks", nargs="*", help=f"some of {', '.join([*FILES, 'livecodebench form'])}; default all"
    )
    parser.add_argument("--environment", help="folder of a virtual environment with the libraries of the benchmarks")
    parser.add_argument("--forms", nargs="+", default=["chat", "completion"])
    parser.add_argument("--limit", type=int, help="tasks of each benchmark at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="list the tasks that cannot be judged, too")
    options = parser.parse_args()
    settings = Grading(environment=options.environment, workers=options.workers)
    chosen = options.benchmarks or [*FILES, "livecodebench form"]
    print("benchmark            form        tasks gradable passed apart  prepare s / CPU s   grade s / CPU s   peak MB")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name in chosen:
            measure(name, read(name, folder)[: options.limit], settings, options)


def read(name: str, folder: str) -> list[Task]:
    """The tasks of a benchmark."""
    if name != "livecodebench form":
        return list(tasks(named(str(DATA / FILES[name]))))
    path = Path(folder, "livecodebench.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in livecodebench_tasks.rows()))
    return list(tasks(named(str(path))))


def measure(name: str, found: list[Task], settings: Grading, options: argparse.Namespace) -> None:
    """One line per form, and what did not pass."""
    clock, peak = Clock(), Peak()
    ready = references.prepare(found, settings, lambda text: None)
    prepared = clock.since()
    gradable = [task for task in found if not ready[task.task_id].ungradable]
    for form in options.forms:
        answers = [(task.task_id, task, form, answer(task, form)) for task in gradable]
        outcomes = dict(grading.verdicts(answers, ready, settings))
        took = clock.since()
        passed = {task_id for task_id, one in outcomes.items() if one.is_passed}
        apart = sum(outcomes[task_id].is_apart for task_id in passed)
        print(f"{name:20} {form:10} {len(found):6} {len(gradable):8} {len(passed):6} {apart:5}  "
              f"{prepared[0]:8.1f} / {prepared[1]:7.1f}   {took[0]:7.1f} / {took[1]:7.1f}  {peak.stop():8.0f}", flush=True)  # fmt: skip
        for task_id, one in outcomes.items():
            if not one.is_passed:
                print(f"    {task_id}: {one.status}: {one.message}")
    reasons = Counter(str(ready[task.task_id].ungradable) for task in found if ready[task.task_id].ungradable)
    for reason, count in reasons.most_common():
        print(f"    ungradable, {count}: {reason}")
    if options.list:
        for task in found:
            if ready[task.task_id].ungradable:
                print(f"    {task.task_id}: {ready[task.task_id].ungradable}")


def answer(task: Task, form: Form) -> str:
    """The task's own solution as a model would write it."""
    code = programs.reference(task) or livecodebench_tasks.solutions()[task.task_id]
    if form == "chat":
        return f"Here is my solution.\n\n```python\n{code.strip()}\n```\n\nIt handles all cases."
    is_open = task.solution is not None and programs.reference(task) != task.solution
    return task.solution if is_open and task.solution is not None else code


class Clock:
    """Wall and CPU seconds since the last look."""

    def __init__(self) -> None:
        self._cpu = CPU
        self._last = self._now()

    def _now(self) -> tuple[float, float]:
        return time.monotonic(), self._cpu.seconds()

    def since(self) -> tuple[float, float]:
        before, self._last = self._last, self._now()
        return self._last[0] - before[0], self._last[1] - before[1]


if __name__ == "__main__":
    main()
