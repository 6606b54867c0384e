"""HumanEval, and MultiPL-E, which has its functions in many languages.

In: a row. Out: a task whose open function a model continues. The file's `check(candidate)` judges.

    task = parse(row)      # {"task_id": "HumanEval/0", "prompt": "def f(x):\\n", "test": ..., ...}
    task.completion        # 'def f(x):\\n'

The Hub's layout of HumanEval+ has the same fields. It is told by its tests.
"""

from __future__ import annotations

import re
from dataclasses import replace

from builders.harness.layouts import hub
from builders.harness.layouts.fields import Row, text
from builders.harness.questions import open_function
from builders.harness.tasks import Task


def parse(row: Row) -> Task:
    """The task of a row of HumanEval, or of HumanEval+ from the Hub."""
    prompt, tests = text(row, "prompt"), text(row, "test")
    question = open_function(prompt)
    task = Task(
        task_id=text(row, "task_id"),
        prompt=prompt,
        solution=text(row, "canonical_solution"),
        tests=tests,
        entry_point=text(row, "entry_point"),
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
    )
    if not hub.is_hub(tests):
        return task
    plus = hub.with_cases(task, tests)
    return replace(plus, tests="") if plus.cases else plus


def multipl_e(row: Row) -> Task:
    """The task of a row of MultiPL-E. Only Python can be judged."""
    name, language, prompt = (text(row, field) for field in ("name", "language", "prompt"))
    is_python = language in ("py", "python")
    function = re.match(r"[A-Za-z]+_\d+_(\w+)\Z", name)
    question = open_function(prompt)
    return Task(
        task_id=name,
        prompt=prompt,
        solution=None,
        tests=text(row, "tests") if is_python else "",
        entry_point=function.group(1) if function else None,
        language="python" if is_python else language,
        chat=question.chat if is_python else "",
        completion=question.completion if is_python else "",
        stops=question.stops if is_python else (),
        ungradable=None if is_python else f"it is in the language {language!r}, and only Python can be run",
    )
