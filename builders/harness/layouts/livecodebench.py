"""LiveCodeBench in its public format: programs that read standard input, functions and methods.

In: a row. Out: a task with the public tests and then the private ones. A row without tests, as in
the published answers of models, serves decontamination only.

    task = parse(row)      # {"question_id": "1_A", "contest_date": "2024-05-01T00:00:00", ...}
    task.contest_date      # '2024-05-01'

In a test of a function each line of the input is one argument, in JSON. LiveCodeBench stops a test
after 6 seconds, and all tests of an answer after 7 seconds for each, plus 5
(`builders/harness/verdicts.py`, `ceiling`).

A method is called on a new `Solution()` for each test, as on the site that the task is from.
LiveCodeBench makes one instance for all tests, so that an answer whose instance keeps a result from
one test to the next may be wrong there and right here.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

from builders.harness import literals
from builders.harness.layouts import private_tests
from builders.harness.layouts.fields import Row, json_field, optional, text, with_starter
from builders.harness.questions import Question, reads_stdin
from builders.harness.questions import with_starter as question_with_starter
from builders.harness.tasks import Case, Task

CASE_SECONDS = 6.0


def parse(row: Row) -> Task:
    """The task of a row."""
    statement, starter = text(row, "question_content"), optional(row, "starter_code")
    tests = _tests(row)
    name = _function(row) if tests else None
    is_method = name and re.search(r"^class Solution\b", starter, re.MULTILINE)
    question = _question(statement, starter)
    return Task(
        task_id=str(row["question_id"]),
        prompt=with_starter(statement, row),
        solution=None,
        tests="",
        entry_point=f"Solution().{name}" if is_method else name,
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
        call_form="method" if is_method else "function" if name else "stdin",
        comparison="livecodebench" if name else "text",
        cases=tuple(_call(test) if name else Case(*test) for test in tests),
        case_s=CASE_SECONDS,
        contest_date=_date(row.get("contest_date")),
        ungradable=None
        if tests
        else "the file has no tests for it: give a release with test cases (test.jsonl … test6.jsonl)",
    )


def _question(statement: str, starter: str) -> Question:
    return question_with_starter(statement, starter) if starter.strip() else reads_stdin(statement)


def _function(row: Row) -> str | None:
    """The name of the function, or None where a program is asked for."""
    about = json_field(row, "metadata") if "metadata" in row else None
    name = about.get("func_name") if isinstance(about, dict) else None
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"the func_name in the field metadata must be a name, got {name!r:.80}")
    return name


def _tests(row: Row) -> list[tuple[str, str]]:
    """Inputs and outputs as they stand in the file."""
    public = (json_field(row, "public_test_cases") or []) if "public_test_cases" in row else []
    private = private_tests.opened(row["private_test_cases"]) if row.get("private_test_cases") else []
    return [_pair(test) for test in [*public, *private]]


def _pair(test: Any) -> tuple[str, str]:
    if not isinstance(test, dict) or not all(isinstance(test.get(part), str) for part in ("input", "output")):
        raise ValueError(f"a test must have the texts input and output, got {test!r:.80}")
    return test["input"], test["output"]


def _call(test: tuple[str, str]) -> Case:
    given, expected = test
    try:
        arguments = [json.loads(line) for line in given.strip("\n").split("\n")]
        return Case(literals.text(arguments), literals.text(json.loads(expected)))
    except json.JSONDecodeError as error:
        raise ValueError(f"the lines of a test of a function must be JSON, got {error.doc!r:.80} ({error})") from error


def _date(value: Any) -> str | None:
    """The day in ISO form. A row may have a text with a time, or a date of Parquet."""
    if not value:
        return None
    if isinstance(value, date):
        return (value.date() if isinstance(value, datetime) else value).isoformat()
    try:
        return datetime.fromisoformat(str(value)).date().isoformat()
    except ValueError as error:
        raise ValueError(f"the field contest_date must be a date such as 2024-05-01, got {value!r:.80}") from error
