"""Decontamination by execution: which functions of an item pass the tests of a benchmark task.

    oracle = execution.record_oracle(tasks, workers=2)           # once, for all benchmarks together
    found = execution.hits(oracle, item_ids, texts, workers=2)   # per batch of texts

In: `tasks` as for `builders/decontamination/detectors`; texts of Python code, bare or in ```
fences. Out: a table with the schema detectors.HITS and the detector 'execution'. One row is an item
and a task where a function of the item passes all of the task's tests, whatever it looks like. Its
strength is 1.

How, in three steps that all run in the sandbox:

    record    (`oracle`) each task's own solution runs through its tests. Its outermost calls and
              their answers are written down
    screen    each function with the right number of parameters is called with up to four of the
              recorded arguments. A wrong answer ends it
    confirm   a function that gave all answers takes the place of the solution, and the benchmark's
              own tests are run, one program per pair. They see its answers as plain values
              (`plain.py`): a class of its own could be equal to all

Not found are functions with another order of parameters, functions that print instead of returning
or that need what the sandbox lacks, and programs that read standard input.

A pass says that two functions do the same. Whether one is a leak is for the reader to decide:
common exercises (greatest common divisor, prime, palindrome) are written independently every day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders import sandbox
from builders.decontamination.detectors import HITS
from builders.decontamination.execution.functions import MAX_FUNCTIONS, Function, functions_of
from builders.decontamination.execution.oracle import CALLS_PER_TASK, MIN_BITS, Oracle, program, record_oracle, run
from builders.harness.programs import above_entry_point, split_tests, test_call
from builders.harness.tasks import Task

__all__ = ["Oracle", "confirmation", "hits", "record_oracle", "rules"]

ITEMS_PER_PROGRAM = 16
ITEM_SECONDS = 5.0
CALL_SECONDS = 0.1

VERSION = 1
"""Raise it when another function is tried, or passes."""

_PLAIN = "_plain_answers_of_the_sandbox"
"""The namespace of `plain.py` in the program that confirms."""

Item = tuple[int, str, list[Function]]
"""The place of the text in its batch, its code, its functions."""
Pair = tuple[int, int, int]
"""The places of an item, of a function in it, and of a task."""


def rules() -> dict[str, Any]:
    """What decides about hits, as plain values. It is part of the plan of a table of hits."""
    limits = {"item_seconds": ITEM_SECONDS, "call_seconds": CALL_SECONDS, "calls": CALLS_PER_TASK}
    return {"version": VERSION, "min_bits": MIN_BITS, "max_functions": MAX_FUNCTIONS, **limits}


def hits(
    oracle: Oracle, item_ids: pa.Array, texts: pa.Array, workers: int = 1, stats: Counter[str] | None = None
) -> pa.Table:
    """The hits of a batch of texts, as HITS, in the order of the items.

    A NULL text and a text without functions have none. `stats` counts functions, screened pairs,
    passes, and what was not tried to the end.
    """
    counts: Counter[str] = Counter() if stats is None else stats
    items: list[Item] = []
    for position, text in enumerate(texts.to_pylist()):
        code, functions = functions_of(text) if text else ("", [])
        if functions:
            items.append((position, code, functions))
            counts["functions"] += len(functions)
    pairs = sorted(_screened(oracle, items, workers, counts))
    counts["screened pairs"] += len(pairs)
    best: dict[tuple[int, int], Function] = {}
    for (item, number, index), passed in _confirmed(oracle, items, pairs, workers):
        counts["passes"] += passed
        if passed:
            best.setdefault((item, index), items[item][2][number])
    ids = item_ids.to_pylist()
    rows = [
        _hit(oracle, ids[items[item][0]], index, function)
        for (item, index), function in sorted(
            best.items(), key=lambda found: (found[0][0], oracle.tasks[found[0][1]][0])
        )
    ]
    return pa.Table.from_pylist(rows, schema=HITS)


def _hit(oracle: Oracle, item_id: str, index: int, function: Function) -> dict[str, Any]:
    benchmark, task = oracle.tasks[index]
    return {
        "item_id": item_id,
        "benchmark": benchmark,
        "task_id": task.task_id,
        "detector": "execution",
        "strength": 1.0,
        "similarity": 1.0,
        "information": oracle.bits[index],
        "evidence": function.source[:200],
    }


def _screened(oracle: Oracle, items: Sequence[Item], workers: int, counts: Counter[str]) -> set[Pair]:
    """The pairs where the function gives the recorded answers."""
    if not oracle.tasks:
        return set()
    places = range(len(items))
    parts = [places[start : start + ITEMS_PER_PROGRAM] for start in places[::ITEMS_PER_PROGRAM]]
    found, stopped = _screen(oracle, items, parts, workers, counts)
    # one item can crash the program of its part: try each item of that part again, alone
    again = [range(place, place + 1) for part in stopped for place in part]
    rest, lost = _screen(oracle, items, again, workers, counts)
    counts["not tried to the end"] += len(lost)
    return found | rest


def _screen(
    oracle: Oracle, items: Sequence[Item], parts: Sequence[range], workers: int, counts: Counter[str]
) -> tuple[set[Pair], list[range]]:
    """The pairs found by one program per part, and the parts whose program was stopped."""
    tasks = [{"arity": a, "calls": c} for a, c in zip(oracle.arities, oracle.calls, strict=True)]
    programs = ((number, _screen_program(tasks, [items[place] for place in part])) for number, part in enumerate(parts))
    found: set[Pair] = set()
    stopped: list[range] = []
    for number, is_whole, lines in run(programs, workers, ITEMS_PER_PROGRAM * ITEM_SECONDS):
        if not is_whole:
            stopped.append(parts[number])
            continue
        for line in lines:
            counts["not tried to the end"] += line.get("gave_up", 0)
            if "function" in line:
                found.add((parts[number][line["item"]], line["function"], line["task"]))
    return found, stopped


def _screen_program(tasks: list[dict[str, Any]], items: Sequence[Item]) -> str:
    rows = [
        {"code": code, "functions": [(f.expression, f.least, f.most) for f in functions]}
        for _, code, functions in items
    ]
    request = {"mode": "screen", "tasks": tasks, "items": rows, "seconds": ITEM_SECONDS, "call_seconds": CALL_SECONDS}
    return program(request)


def _confirmed(
    oracle: Oracle, items: Sequence[Item], pairs: Sequence[Pair], workers: int
) -> Iterator[tuple[Pair, bool]]:
    """Whether each pair passes the benchmark's own tests."""
    programs = (
        (pair, confirmation(oracle.tasks[pair[2]][1], items[pair[0]][1], items[pair[0]][2][pair[1]].expression))
        for pair in pairs
    )
    for pair, result in sandbox.run_many(programs, workers):
        yield pair, result.status == "passed"


def confirmation(task: Task, code: str, expression: str) -> str:
    """The program that runs the task's tests on the function `expression` of the code."""
    before, tests = split_tests(task)
    name, _, method = str(task.entry_point).partition("().")
    # tests may pass arguments by the solution's parameter names: pass them on by position
    answer = "plain(function(*given, *named.values()))"
    candidate = f"(lambda function, plain: lambda *given, **named: {answer})({expression}, {_PLAIN}['plain'])"
    place = f"class {name}:\n    {method} = staticmethod({candidate})" if method else f"{name} = {candidate}"
    above = [f"{_PLAIN} = {{}}\nexec({_plain_text()!r}, {_PLAIN})\n", *before, above_entry_point(task) or ""]
    return sandbox.tested_program(*above, code, place + "\n", tests + test_call(task))


@cache
def _plain_text() -> str:
    return Path(__file__).with_name("plain.py").read_text(encoding="utf-8")
