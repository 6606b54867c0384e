"""The code of a benchmark task: its own solution, what its judge has in scope, and its tests.

In: a `Task`. Out: texts of Python code, and what such a text defines. Nothing is executed here.

    reference(task)    # whole code of the task's own solution
    prelude(task)      # what its site's judge has in scope
    tests_as_code(task) + test_call(task)    # code that raises if the solution above it is wrong
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from builders.code.syntax import parsed, parses
from builders.harness import checker
from builders.harness.tasks import Task

_RUN_UNITTESTS = """
import unittest
_loader = unittest.TestLoader()
_suite = unittest.TestSuite(_loader.loadTestsFromTestCase(case) for case in [{classes}])
_outcome = unittest.TextTestRunner(verbosity=0).run(_suite)


def _what_failed(outcome):
    wrong = sorted(outcome.errors + outcome.failures, key=lambda one: "No module named" not in one[1])
    for test, trace in wrong:
        lines = trace.rstrip().splitlines()
        place = max([number for number, line in enumerate(lines) if line.startswith("  File ")], default=0)
        said = [line for line in lines[place:] if line and not line.startswith(" ")]
        return test.id().split(".")[-1] + ": " + (said or lines)[0]
    return str(outcome)


assert _outcome.wasSuccessful() and _outcome.testsRun, "unittest: " + _what_failed(_outcome)
assert _outcome.testsRun >= {num_tests}, f"only {{_outcome.testsRun}} of {num_tests} tests ran"
assert {may_skip} or not _outcome.skipped, "unittest: the solution skipped " + str(_outcome.skipped[0][0])
"""
"""A library that is not there comes first: it says nothing about the solution."""


JUDGE_IMPORTS = """\
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics
import itertools, functools, operator, io, sys, json
sys.setrecursionlimit(50000)
"""
"""The imports of LiveCodeBench's judge (`lcb_runner/evaluation/testing_util.py`), in its order."""

# The comparison has namespaces of its own. So it hides no name of the candidate, and the candidate
# hides none of its: one MBPP task is called `check`, another one `sum`.
_COMPARED = "__import__('builtins').exec({code!r}, {{'candidate': {entry_point}, '__name__': 'tests'}})\n"


def split_tests(task: Task) -> tuple[list[str], str]:
    """What runs before the candidate, in one piece or none, and the tests themselves.

    Candidates that are methods (`Solution().twoSum`) come from sites whose judge has imports and
    node classes in scope already. In the tests these stand above `check`.
    """
    if task.entry_point is None or "." not in task.entry_point:
        return [], tests_as_code(task)
    tree = parsed(task.tests)
    lines = task.tests.split("\n")
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            return ["\n".join(lines[: node.lineno - 1])], "\n".join(lines[node.lineno - 1 :])
    return [], tests_as_code(task)


def test_call(task: Task) -> str:
    """The code that starts the tests, where the task only defines them.

    Tests that `tests_as_code` writes for cases start themselves.
    """
    tree = parsed(task.tests)
    body = tree.body if tree is not None else []
    if any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in body):
        return f"\ncheck({task.entry_point})\n"
    cases = [node for node in body if isinstance(node, ast.ClassDef) and _is_test_case(node)]
    if not cases:
        return ""
    return _RUN_UNITTESTS.format(
        classes=", ".join(node.name for node in cases),
        num_tests=sum(len(_test_methods(node)) for node in cases),
        may_skip="skip" in task.tests.lower(),
    )


test_call.__test__ = False  # type: ignore[attr-defined]


def reference(task: Task) -> str | None:
    """Whole code of the task's own solution. It defines the entry point, or is a whole program.

    None where the file has no solution.

    Example:
        reference(Task("T/0", "def f(x):", " return x", "", "f"))  # 'def f(x): return x'
    """
    if task.solution is None or task.call_form == "stdin":
        return task.solution
    if defines(task.solution, task.entry_point):
        return (above_entry_point(task) or "") + task.solution
    return task.prompt + task.solution


def prelude(task: Task) -> str:
    """What the judge of the task's site has in scope: imports, and classes of nodes.

    LeetCodeDataset writes it above its tests. Sites that LiveCodeBench and APPS take their tasks
    from have the modules of the standard library that `JUDGE_IMPORTS` lists. Other tasks have none.
    """
    if task.comparison in ("apps", "livecodebench", "text"):
        return JUDGE_IMPORTS
    return "\n".join(split_tests(task)[0]) if task.comparison == "asserts" else ""


def tests_as_code(task: Task) -> str:
    """The tests as Python code: those of the file, or else code that compares all cases.

    It is for decontamination, which records the calls. The code runs in one process with the
    solution, so a hostile solution can cheat it. Answers are compared by `checker.py`, as in an
    evaluation. Tasks that read standard input have none.

    Example:
        tests_as_code(task)  # 'def check(candidate):\\n    ...'
    """
    if task.tests or not task.cases or task.call_form == "stdin":
        return task.tests
    job = comparison_of(task) | {
        "inputs": [case.input for case in task.cases],
        "outputs": [case.output for case in task.cases],
        "solution": reference(task),
        "entry_point": task.entry_point,
    }
    return _COMPARED.format(code=f"{checker_text()}\n\ncompare(candidate, {job!r})\n", entry_point=task.entry_point)


tests_as_code.__test__ = False  # type: ignore[attr-defined]


def comparison_of(task: Task) -> dict[str, Any]:
    """What the checker must know of a task to compare its answers."""
    return {"form": task.call_form, "comparison": task.comparison, "atol": task.atol, "oracle": task.oracle}


@cache
def checker_text() -> str:
    """The code of `builders/harness/checker.py`."""
    return Path(str(checker.__file__)).read_text(encoding="utf-8")


def above_entry_point(task: Task) -> str | None:
    """The prompt's text before it defines the entry point. None where it does not define it."""
    if task.entry_point is None:
        return None
    name = re.escape(_defined_name(task.entry_point))
    found = re.search(rf"^(?:(?:async )?def|class) {name}\b", task.prompt, re.MULTILINE)
    if found is None:
        return None
    head = task.prompt[: found.start()]
    imports = re.findall(r"^(?:import|from) .+$", head, re.MULTILINE)
    return head if parses(head) else "\n".join(line for line in imports if parses(line))


def defines(code: str, entry_point: str | None) -> bool:
    """Whether the code defines the name at its top level. If it does not parse, it is searched."""
    if entry_point is None:
        return False
    name = _defined_name(entry_point)
    tree = parsed(code)
    if tree is None:
        return re.search(rf"^(?:async def|def|class) {re.escape(name)}\b", code, re.MULTILINE) is not None
    return name in defined_names(tree)


def defined_names(tree: ast.Module | None) -> set[str]:
    """What a module defines or assigns at its top level."""
    names: set[str] = set()
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _defined_name(entry_point: str) -> str:
    """`Solution` of `Solution().twoSum`."""
    return re.split(r"\W", entry_point, maxsplit=1)[0]


def _test_methods(node: ast.ClassDef) -> set[str]:
    """The names of the class's own methods that unittest runs."""
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {one.name for one in methods if one.name.startswith("test")}


def _is_test_case(node: ast.ClassDef) -> bool:
    return any(ast.unparse(parent).split(".")[-1] == "TestCase" for parent in node.bases)
