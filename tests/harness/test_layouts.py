"""Benchmark layouts: every published form of a row becomes the same kind of task."""

from __future__ import annotations

import pytest

from builders.harness.layouts import parse_task
from builders.harness.tasks import Task
from tests.benchmark_rows import (
    APPS,
    APPS_METHOD,
    APPS_STDIN,
    BIG_CODE_BENCH,
    CRUX_EVAL,
    DS_1000,
    GRADED,
    HUMAN_EVAL,
    LEET_CODE,
    LIVE_CODE_BENCH,
    MBPP,
    MULTIPL_E,
    MULTIPL_E_PYTHON,
)


def test_fields_of_every_layout():
    rows = [*GRADED, LIVE_CODE_BENCH, APPS_STDIN, CRUX_EVAL, DS_1000, MULTIPL_E, MULTIPL_E_PYTHON]
    tasks = [parse_task(row) for row in rows]
    assert [(task.task_id, task.entry_point, bool(task.tests), task.solution is None) for task in tasks] == [
        ("HumanEval/0", "root", True, False),
        ("Mbpp/7", "plus", True, False),
        ("Mbpp/8", "plus", True, False),
        ("Mbpp/9", "plus", True, False),
        ("Mbpp/2", "shared", True, False),
        ("Mbpp/56", "check", True, False),
        ("HumanEval/45", "area", True, False),
        ("BigCodeBench/0", "task_func", True, False),
        ("sum-of-nodes", "Solution().addNodes", True, False),
        ("APPS/4", "double", True, False),
        ("APPS/6", "Solution().double", True, False),
        ("2678", None, False, True),
        ("APPS/5", None, False, True),
        ("CRUXEval/sample_7", "f", False, False),
        ("DS-1000/12", None, False, False),
        ("HumanEval_23_strlen", "strlen", False, True),
        ("HumanEval_23_strlen", "strlen", True, True),
    ]
    assert [task.language for task in tasks] == ["python"] * 15 + ["rs", "python"]


def test_texts_of_the_layouts():
    assert parse_task(HUMAN_EVAL) == Task(
        "HumanEval/0", HUMAN_EVAL["prompt"], HUMAN_EVAL["canonical_solution"], HUMAN_EVAL["test"], "root", "python"
    )
    mbpp = parse_task(MBPP)
    assert (mbpp.prompt, mbpp.tests) == (
        MBPP["text"],
        "three = 3\nassert plus(1, 2) == three\nassert plus(0, 0) == 0\n",
    )
    assert mbpp.solution == "import operator\ndef plus(a, b):\n\treturn operator.add(a, b)\n"
    assert parse_task(BIG_CODE_BENCH).prompt == BIG_CODE_BENCH["complete_prompt"]
    statement = "Count the seniors.\n\nclass Solution:\n    def count(self): "
    assert parse_task(LIVE_CODE_BENCH) == Task("2678", statement, None, "", None)
    leet_code = parse_task(LEET_CODE)
    assert (leet_code.prompt, leet_code.solution) == (LEET_CODE["query"], LEET_CODE["completion"])
    assert leet_code.tests == f"{LEET_CODE['prompt']}\n{LEET_CODE['test']}"
    apps = parse_task(APPS)
    assert (apps.prompt, apps.solution) == ("Double it.\n\n\ndef double(x):\n\t", "def double(x):\n    return (2 * x,)")
    assert parse_task(APPS_METHOD).solution == APPS_METHOD["solutions"][0]
    crux_eval = parse_task(CRUX_EVAL)
    assert crux_eval.prompt == "def f(x):\n    return x[::-1]\n\nassert f('ab') == 'ba'\n"
    assert crux_eval.solution == CRUX_EVAL["code"]
    assert parse_task(DS_1000).solution == "result = df.iloc[List]"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": 1, "answer": 2},
            r"unknown benchmark layout with the fields \['answer', 'question'\].*BigCodeBench \(",
        ),
        ({**HUMAN_EVAL, "prompt": 3}, "the field prompt must be text, got int 3"),
        ({**MBPP, "test_list": []}, "the tests of MBPP must be a list"),
        ({**APPS, "input_output": "{broken"}, "the field input_output must be JSON text, got '{broken'"),
        ({**DS_1000, "metadata": "{}"}, "the metadata of DS-1000 must hold a problem_id"),
        (1, "a task must be a JSON object, got int"),
    ],
)
def test_what_cannot_be_read_is_named(row, message):
    with pytest.raises(ValueError, match=message):
        parse_task(row)
