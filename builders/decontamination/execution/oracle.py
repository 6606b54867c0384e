"""Benchmark tasks as oracles: the calls that their own tests make, recorded in the sandbox.

In: tasks as rows of the table `benchmarks`. Out: an `Oracle`: the tasks that a function can be
tried on, and the number of the other tasks by reason.

How: each solution runs through its tests while its outermost calls and answers are recorded.
Nothing runs outside of the sandbox. `run` sends requests to
`builders/decontamination/execution/runner.py`; `builders/decontamination/execution/__init__.py`
uses it too.

A task is left out when

- its solution is missing or fails,
- its calls are not literals (linked nodes),
- a trivial function gives all its answers (a constant, an argument, one built-in or operator),
- its answers bear less than MIN_BITS (`information`). Three true-or-false answers are guessed right
  once in eight times.

Of 1,368 LeetCode tasks with calls, 743 have 6 bits or more. We also counted which pairs of
functions of CodeAlpaca and such tasks pass: 202 when no bits are asked for, most of them by chance,
and 9 with MIN_BITS.
"""

from __future__ import annotations

import ast
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from builders import sandbox
from builders.benchmarks import task_of
from builders.harness.programs import reference, split_tests, test_call, tests_as_code
from builders.harness.tasks import Task

MIN_BITS = 6.0
MOST_ANSWER_BITS = 12.0
TASKS_PER_PROGRAM = 40
RECORD_SECONDS = 5.0
"""Time limit for one task. An oracle must be quick, because every function is tried on it."""
CALLS_PER_TASK = 4
MAX_OUTPUT = 1 << 26

_SIGNS = ("+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">", "<=", ">=", "&", "|", "^", "in", "and", "or")
PANEL = (
    *(f"lambda *a: {value}" for value in ("None", "True", "False", "0", "1", "-1", "''", "[]", "{}", "()")),
    *(f"lambda *a: a[{position}]" for position in (0, -1)),
    *("len", "sum", "max", "min", "sorted", "abs", "str", "int", "float", "list", "set", "tuple", "bool", "round", "any", "all"),
    *("lambda a: a[::-1]", "lambda a: a[0]", "lambda a: a[-1]", "lambda a: sorted(set(a))", "lambda a: len(set(a))"),
    *("str.upper", "str.lower", "str.swapcase", "str.strip", "str.title", "str.split", "str.isdigit", "ord", "chr", "bin", "hex"),
    *(f"lambda a, b: a {sign} b" for sign in _SIGNS),
    *("lambda a, b: b in a", "lambda a, b: b - a", "lambda a, b: a.split(b)", "lambda a, b: b.join(a)", "max", "min"),
    *("''.join", "' '.join", "lambda a: ''.join(map(str, a))", "lambda a: a[1:]", "lambda a: a[:-1]"),
    *("lambda a: a * a", "lambda a: a + 1", "lambda a: a - 1", "lambda a: a * 2", "lambda a: a % 2 == 0", "lambda a: a > 0"),
)  # fmt: skip
"""Functions that are too plain to be a leak."""


@dataclass(frozen=True)
class Oracle:
    """Tasks that can be tried, with their recorded calls, and how many were left out for which
    reason.
    """

    tasks: list[tuple[str, Task]]
    arities: list[int]
    calls: list[list[tuple[str, str]]]
    bits: list[float]
    left_out: Counter[str] = field(default_factory=Counter)


def record_oracle(tasks: Sequence[Mapping[str, Any]], workers: int = 1) -> Oracle:
    """Record the calls of every task. Raises an error where the machine has no sandbox."""
    sandbox.require()
    known = [(str(row["benchmark"]), task_of(row)) for row in tasks]
    left_out: Counter[str] = Counter()
    runnable = []
    for name, task in known:
        reason = _unrunnable(task)
        left_out[reason] += bool(reason)
        if not reason:
            runnable.append((name, task))
    made = Oracle([], [], [], [], +left_out)
    for (name, task), answer in zip(runnable, _recorded([t for _, t in runnable], workers), strict=True):
        _add(made, name, task, answer)
    return made


def _unrunnable(task: Task) -> str:
    if task.language != "python" or not tests_as_code(task).strip() or not task.entry_point:
        return "no tests in Python"
    return "" if task.solution else "no solution to record"


def _recorded(tasks: Sequence[Task], workers: int) -> list[dict[str, Any]]:
    """What the runner says of each task."""
    parts = [tasks[start : start + TASKS_PER_PROGRAM] for start in range(0, len(tasks), TASKS_PER_PROGRAM)]
    programs = ((number, _record_program(part)) for number, part in enumerate(parts))
    seconds = TASKS_PER_PROGRAM * RECORD_SECONDS
    answers: dict[int, dict[str, Any]] = {}
    for number, _, lines in run(programs, workers, seconds):
        answers |= {number * TASKS_PER_PROGRAM + line["index"]: line for line in lines}
    return [answers.get(index, {"passed": False}) for index in range(len(tasks))]


def _record_program(tasks: Sequence[Task]) -> str:
    rows = []
    for task in tasks:
        before, tests = split_tests(task)
        parts = [*before, reference(task) or ""]
        rows.append({"parts": parts, "entry_point": task.entry_point, "tests": tests + test_call(task)})
    return program({"mode": "record", "tasks": rows, "panel": PANEL, "seconds": RECORD_SECONDS})


def _add(made: Oracle, name: str, task: Task, answer: dict[str, Any]) -> None:
    calls = [(str(a), str(b)) for a, b in answer.get("calls") or []]
    bits = information([b for _, b in calls])
    if not answer["passed"]:
        made.left_out["its own solution fails, or takes too long"] += 1
    elif not calls:
        made.left_out["its calls are not literals"] += 1
    elif answer["trivial"] is not None:
        made.left_out["a trivial function gives its answers"] += 1
    elif bits < MIN_BITS:
        made.left_out[f"its answers bear less than {MIN_BITS:g} bits"] += 1
    else:
        made.tasks.append((name, task))
        made.arities.append(Counter(len(ast.literal_eval(a)) for a, _ in calls).most_common(1)[0][0])
        made.calls.append(_telling(calls, made.arities[-1]))
        made.bits.append(bits)


def information(answers: Sequence[str]) -> float:
    """The bits that keep a function from passing by chance. `answers` are literals.

    It is the greater of two numbers. Somebody who knows how often each answer occurs has to guess
    their order: the sum of -log2 of the frequencies. Somebody who knows nothing has to guess the
    different answers themselves: about one bit for a truth value, log2(|n| + 2) for a number, three
    for a letter.
    """
    counts = Counter(answers)
    order = sum(-count * math.log2(count / len(answers)) for count in counts.values())
    return max(order, sum(min(MOST_ANSWER_BITS, _bits(ast.literal_eval(answer))) for answer in counts))


def _bits(value: Any) -> float:
    """Roughly the bits of a literal; 0 for None."""
    if value is None or isinstance(value, bool):
        return float(value is not None)
    if isinstance(value, int | float):
        is_usual = isinstance(value, int) or math.isfinite(value)
        return (3.0 if isinstance(value, float) else 0.0) + (math.log2(abs(value) + 2) if is_usual else 0.0)
    if isinstance(value, str | bytes):
        return 1.0 + 3.0 * len(value)
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return 1.0 + sum(map(_bits, items)) if isinstance(items, list | tuple | set) else 4.0


def _telling(calls: list[tuple[str, str]], arity: int) -> list[tuple[str, str]]:
    """A few calls, those with different answers first, of middling length.

    Too many functions answer rightly for an empty list or 0.
    """
    usual = sorted((c for c in calls if len(ast.literal_eval(c[0])) == arity), key=lambda c: (len(c[0]) + len(c[1]), c))
    different = list({answer: (arguments, answer) for arguments, answer in reversed(usual)}.values())[::-1]
    spread = different[1 :: max(1, len(different) // CALLS_PER_TASK)] + different + usual
    return list(dict.fromkeys(spread))[:CALLS_PER_TASK]


# -- the runner ------------------------------------------------------------------------------------


def run(
    programs: Iterable[tuple[int, str]], workers: int, seconds: float
) -> Iterator[tuple[int, bool, list[dict[str, Any]]]]:
    """For each program of the runner: whether it came to its end, and the lines that it printed."""
    limits = sandbox.SandboxLimits(
        wall_s=seconds + 10, cpu_s=int(seconds) + 10, output_bytes=MAX_OUTPUT, memory_mb=2048
    )
    for number, result in sandbox.run_many(programs, workers, limits):
        lines = [line for line in result.stdout.split("\n")[:-1] if line.startswith("{")]
        yield number, result.status == "passed", [json.loads(line) for line in lines]


def program(request: dict[str, Any]) -> str:
    return f"{_runner_text()}\n\nmain({json.dumps(request)!r})\n"


@cache
def _runner_text() -> str:
    return Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
