"""MBPP: statements whose asserts tell the name of the function.

In: a row of MBPP, of sanitized MBPP, of the test split in DeepSeek's form, or of MBPP+ from the
Hub. Out: a task. Its tests are setup code, imports and `test_list`, but not `challenge_test_list`.
The test split leaves the setup code out, so no solution of its Mbpp/367 can pass.

    task = parse(row)      # {"task_id": 7, "test_list": ["assert add(1, 2) == 3"], ...}
    task.entry_point       # 'add'
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from builders.code.syntax import parsed
from builders.harness.layouts import hub
from builders.harness.layouts.fields import Row, optional, text, unix
from builders.harness.programs import defined_names
from builders.harness.questions import Question, below_docstring, docstring_of, with_asserts
from builders.harness.tasks import Task


def parse(row: Row) -> Task:
    """The task of a row."""
    code, number = text(row, "code"), row["task_id"]
    asserts = _asserts(row)
    setup = [optional(row, "test_setup_code"), *map(unix, row.get("test_imports") or [])]
    is_hub = isinstance(row.get("test"), str) and hub.is_hub(row["test"])
    statement = text(row, "text" if "text" in row else "prompt")
    question = _question(statement, asserts, is_hub)
    task = Task(
        task_id=f"Mbpp/{number}" if isinstance(number, int) else text(row, "task_id"),
        prompt=statement,
        solution=code,
        tests="\n".join(part for part in [*setup, *asserts] if part.strip()) + "\n",
        entry_point=_tested_name(code, asserts),
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
    )
    return hub.with_cases(task, row["test"], num_base_cases=len(asserts)) if is_hub else task


def _asserts(row: Row) -> list[str]:
    asserts = row["test_list"] if "test_list" in row else row["test"]
    if not isinstance(asserts, list) or not asserts or not all(isinstance(line, str) for line in asserts):
        raise ValueError(f"the tests of MBPP must be a list of assert statements, got {asserts!r:.80}")
    return [unix(line) for line in asserts]


def _question(statement: str, asserts: list[str], is_plus: bool) -> Question:
    """MBPP shows all asserts. EvalPlus shows the first one, as its own files do."""
    return below_docstring(docstring_of(statement, asserts[:1])) if is_plus else with_asserts(statement, asserts)


def _tested_name(code: str, asserts: Iterable[str]) -> str | None:
    """The function of `code` that the tests call first, outermost first."""
    defined = defined_names(parsed(code))
    for statement in asserts:
        tree = parsed(statement.strip())
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
                return node.func.id
    return None
