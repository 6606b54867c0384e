"""APPS: functions, methods, and programs that read standard input.

In: a row. Out: a task with all inputs and outputs. Of its many `solutions` the first one is taken.

    task = parse(row)      # {"input_output": '{"inputs": ["1"], "outputs": ["2"]}', ...}
    task.cases             # (Case("1", "2"),)
"""

from __future__ import annotations

import re
from typing import Any

from builders.harness import literals
from builders.harness.layouts.fields import Row, json_field, optional, text, unix, with_starter
from builders.harness.questions import of_apps
from builders.harness.tasks import Case, Task

CASE_SECONDS = 4.0
"""What a solution may take for one input, as in APPS."""


def parse(row: Row) -> Task:
    """The task of a row."""
    solutions, tests = (json_field(row, name) for name in ("solutions", "input_output"))
    tests = tests if isinstance(tests, dict) else {}
    question, starter = text(row, "question"), optional(row, "starter_code")
    name = tests.get("fn_name")
    is_method = name and re.search(r"^class Solution\b", starter, re.MULTILINE)
    pairs = list(zip(tests.get("inputs") or [], tests.get("outputs") or [], strict=False))
    asked = of_apps(question, starter, name)
    return Task(
        task_id=f"APPS/{row['problem_id' if 'problem_id' in row else 'id']}",
        prompt=with_starter(question, row),
        solution=unix(solutions[0]) if solutions else None,
        tests="",
        entry_point=f"Solution().{name}" if is_method else name,
        chat=asked.chat,
        completion=asked.completion,
        stops=asked.stops,
        call_form="method" if is_method else "function" if name else "stdin",
        comparison="apps" if name else "text",
        case_s=CASE_SECONDS,
        cases=tuple(_call(*pair) if name else _lines(*pair) for pair in pairs),
        ungradable=None if pairs else "the file has no tests for it: give the file with input_output",
    )


def _lines(given: Any, expected: Any) -> Case:
    """Text, or a list of lines."""
    return Case(*("\n".join(map(str, part)) if isinstance(part, list) else str(part) for part in (given, expected)))


def _call(arguments: Any, expected: Any) -> Case:
    """A list of arguments, and the answer.

    JSON made texts of the keys of dictionaries. Where all are numbers, APPS makes them numbers
    again, in the first argument, in the answer, and in its first item.
    """
    if not isinstance(arguments, list):
        raise ValueError(f"an input of a call must be a list of arguments, got {arguments!r:.80}")
    first = [_with_numbers(arguments[0]), *arguments[1:]] if arguments else []
    if isinstance(expected, list) and expected:
        expected = [_with_numbers(expected[0]), *expected[1:]]
    return Case(literals.text(first), literals.text(_with_numbers(expected)))


def _with_numbers(value: Any) -> Any:
    try:
        return {int(key): item for key, item in value.items()} if isinstance(value, dict) else value
    except ValueError:
        return value
