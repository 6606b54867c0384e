"""Programs of tasks: they tell right completions from wrong ones, in every layout."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from dataclasses import replace

import pytest

from builders import sandbox
from builders.harness import grading, programs, references
from builders.harness.files import read_tasks
from builders.harness.layouts import parse_task
from builders.harness.tasks import Case, Task
from builders.harness.verdicts import Verdict
from builders.recipe import Grading
from builders.sandbox import run_many
from tests.benchmark_rows import (
    APPS,
    APPS_METHOD,
    BIG_CODE_BENCH,
    DATA,
    GRADED,
    HUMAN_EVAL,
    HUMAN_EVAL_PLUS,
    LEET_CODE,
    MBPP,
    MBPP_PLUS,
    MBPP_PLUS_CHECK,
    MBPP_PLUS_COMPLEX,
    MBPP_PLUS_MATCH,
    MULTIPL_E_PYTHON,
    PROJECT,
    needs_data,
)

DEMO = PROJECT / "recipes" / "demo-benchmark.jsonl"

needs_sandbox = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")


def program(task: Task, solution: str) -> str:
    """Solution and tests in one process, as decontamination runs them."""
    before, tests = programs.split_tests(task)
    return sandbox.tested_program(*before, solution, tests + programs.test_call(task))


def verdicts(*answers: tuple[Task, str]) -> list[Verdict]:
    settings = Grading(workers=2)
    ready = references.prepare([task for task, _ in answers], settings, lambda text: None)
    asked = [(number, task, "completion", text) for number, (task, text) in enumerate(answers)]
    return [found for _, found in grading.verdicts(asked, ready, settings)]


def statuses(*answers: tuple[Task, str]) -> list[str]:
    return [found.status for found in verdicts(*answers)]


@needs_sandbox
def test_canonical_solutions_of_every_layout_pass():
    tasks = [parse_task(row) for row in GRADED]
    assert statuses(*((task, task.solution) for task in tasks)) == ["passed"] * len(tasks)


@needs_sandbox
def test_the_tests_as_code_accept_the_reference_and_refuse_nothing():
    tasks = [task for task in map(parse_task, GRADED) if programs.tests_as_code(task)]
    assert len(tasks) > 8
    right = run_many(enumerate(program(task, programs.reference(task)) for task in tasks), workers=2)
    assert [result.status for _, result in right] == ["passed"] * len(tasks)
    empty = run_many(enumerate(program(task, f"{task.entry_point} = None") for task in tasks), workers=2)
    assert "passed" not in {result.status for _, result in empty}


@needs_sandbox
@pytest.mark.parametrize(
    ("row", "completion", "status"),
    [
        (HUMAN_EVAL, "    return 2\n", "passed"),
        (HUMAN_EVAL, "    return 3\n", "failed"),
        (HUMAN_EVAL, "    pass\n\ndef check(candidate):\n    pass\n", "failed"),
        (HUMAN_EVAL, "    return 2\n\nif __name__ == '__main__':\n    raise SystemExit(input())\n", "passed"),
        (
            HUMAN_EVAL,
            "```python\nfrom __future__ import annotations\ndef root(x):\n    return math.sqrt(x)\n```",
            "passed",
        ),
        (HUMAN_EVAL, "import sys\nsys.exit(0)", "failed"),
        (HUMAN_EVAL, "", "failed"),
        (MBPP, "def plus(a, b): return a + b", "passed"),
        (MBPP, "def plus(a, b): return 3", "failed"),
        (MBPP, "def minus(a, b): return a + b", "failed"),
        # As sets, in any order.
        (MBPP_PLUS, "def similar_elements(a, b): return [x for x in b if x in a]", "passed"),
        (MBPP_PLUS, "def similar_elements(a, b): return (2,)", "failed"),
        (MBPP_PLUS_CHECK, "def check(a, b): return sum(a) + sum(b)", "passed"),
        (MBPP_PLUS_CHECK, "def check(a, b): return 0", "failed"),
        (MBPP_PLUS_MATCH, "import re\ndef text_match_three(a): return re.match('a.', a)", "passed"),
        (MBPP_PLUS_MATCH, "def text_match_three(a): return 'ab' == a", "passed"),
        (MBPP_PLUS_MATCH, "def text_match_three(a): return True", "failed"),
        (MBPP_PLUS_COMPLEX, "import cmath\ndef angle_complex(a, b): return cmath.log(a + b).imag", "passed"),
        (HUMAN_EVAL_PLUS, "    return h / 2 * a + 1e-9", "passed"),
        (HUMAN_EVAL_PLUS, "    return h / 2 * a + 1e-3", "failed"),
        (HUMAN_EVAL_PLUS, "    return a * h // 2", "failed"),
        (BIG_CODE_BENCH, "    return True", "failed"),
        (BIG_CODE_BENCH, "    raise SystemExit(0)", "failed"),
        # The judge's imports and classes come first: the candidate may use them in its annotations.
        (
            LEET_CODE,
            "```python\nclass Solution:\n    def addNodes(self, first: List[Node], second): return 3\n```",
            "passed",
        ),
        (LEET_CODE, "class Solution:\n    def addNodes(self, first, second): return 4", "failed"),
        (LEET_CODE, "def addNodes(first, second): return 3", "failed"),
        (APPS, "def double(x): return 2 * x", "passed"),
        (APPS, "def double(x): return 2", "failed"),
        (APPS_METHOD, "class Solution:\n    def double(self, x): return x + x", "passed"),
        (MULTIPL_E_PYTHON, "    return len(string)", "passed"),
        (MULTIPL_E_PYTHON, "    return 0", "failed"),
    ],
)
def test_right_completions_pass_and_wrong_ones_fail(row, completion, status):
    (found,) = verdicts((parse_task(row), completion))
    assert found.status == status, found


@needs_sandbox
def test_demo_tasks_pass_with_their_solutions_and_fail_without():
    tasks = list(read_tasks(DEMO))
    assert [task.task_id for task in tasks] == [f"Demo/{number}" for number in range(16)]
    assert statuses(*((task, task.solution) for task in tasks)) == ["passed"] * 16
    assert statuses(*((task, "    return None\n") for task in tasks)) == ["failed"] * 16


def test_the_last_demo_tasks_are_in_the_standard_library():
    import calendar
    import html
    import statistics
    import string

    tasks = list(read_tasks(DEMO))[-4:]
    for task, original in zip(
        tasks, (calendar.leapdays, string.capwords, html.escape, statistics.median_low), strict=True
    ):
        source = textwrap.dedent(inspect.getsource(original)).replace("StatisticsError", "ValueError")
        assert task.entry_point == original.__name__
        # The same code in every supported Python; docstrings are reworded between versions.
        ours, theirs = (without_docstring(text) for text in (task.prompt + task.solution, source))
        assert ours == theirs
        assert len(source.splitlines()) <= 25


def without_docstring(source: str) -> str:
    function = ast.parse(source).body[0]
    function.body = function.body[1:]
    return ast.unparse(function)


@needs_data
@needs_sandbox
@pytest.mark.parametrize(
    "file", ["human-eval/HumanEval.jsonl.gz", "mbpp/mbpp_test.jsonl", "mbpp-plus/MbppPlus-v0.1.0.jsonl"]
)
def test_every_twentieth_public_solution_passes(file):
    # The canonical solution of Mbpp/271 alone takes longer than all others together.
    tasks = [task for task in list(read_tasks(DATA / file))[::20] if task.task_id != "Mbpp/271"]
    found = zip(tasks, verdicts(*((task, task.solution) for task in tasks)), strict=True)
    assert [(task.task_id, one.message) for task, one in found if not one.is_passed] == []


@pytest.mark.parametrize(
    ("oracle", "answer", "is_right"),
    [
        (None, "[2, 1]", False),
        (None, "[1.0, 2.0]", True),
        ("set", "[2, 1, 2]", True),
        ("set", "[2]", False),
        ("zero", "0", True),
        ("zero", "1", False),
        ("any", "'what it likes'", True),
        ("not_none", "True", True),
        ("not_none", "False", False),
        ("not_none", "None", False),
    ],
)
def test_the_tests_as_code_compare_as_an_evaluation_does(oracle, answer, is_right):
    task = Task(
        "T/0", "", "def f(x):\n    return [1, 2]\n", "", "f", comparison="equal", cases=(Case("[3]"),), oracle=oracle
    )
    assert passes(programs.tests_as_code(task), {"f": lambda x: ast.literal_eval(answer)}) == is_right


def test_the_tests_as_code_know_nan_and_leave_out_what_no_solution_answers():
    solution = "def f(x):\n    return [float('nan'), 1 / x]\n"
    task = Task("T/0", "", solution, "", "f", comparison="equal", cases=(Case("[0]"), Case("[4]")))
    tests = programs.tests_as_code(task)
    assert passes(tests, {"f": lambda x: [math.nan, 0.25]})
    assert not passes(tests, {"f": lambda x: [math.nan, 0.5]})
    assert not passes(programs.tests_as_code(replace(task, cases=task.cases[:1])), {"f": lambda x: [math.nan, 0.25]})


def test_the_tests_as_code_and_the_answer_have_names_of_their_own():
    task = Task("T/0", "", "def f(x):\n    return 3", "", "f", comparison="equal", cases=(Case("[0]"),))
    scope: dict = {}
    exec("def literal(x):\n    return 3\n\ndef f(x):\n    return literal(x)\n\nzip = compare = None\n", scope)
    assert passes(programs.tests_as_code(task), scope)


def passes(tests: str, scope: dict) -> bool:
    try:
        exec(tests, scope)
    except AssertionError:
        return False
    return True


def test_tests_of_calls_take_an_only_item_where_apps_does():
    task = Task("one", "", None, "", "one", comparison="livecodebench", cases=(Case("[3]", "[3]"),))
    for comparison, is_right in (("apps", True), ("livecodebench", False)):
        tests = programs.tests_as_code(replace(task, comparison=comparison))
        assert passes(tests, {"one": lambda x: (x,)})
        assert passes(tests, {"one": lambda x: x}) == is_right
        assert programs.prelude(replace(task, comparison=comparison)) == programs.JUDGE_IMPORTS
