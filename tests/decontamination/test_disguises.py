"""Disguised copies of tasks do what the original does, look different, and never change."""

from __future__ import annotations

import ast

import pytest

from benchmarks.decontamination.disguises import DISGUISES, disguised, original
from builders.harness.tasks import Task

PROMPT = '''\
from typing import List


def runs_below(values: List[int], limit: int = 10) -> List[int]:
    """Write a function to find the lengths of all runs of given numbers below the limit.

    >>> runs_below([1, 2, 30, 4])
    [2, 1]
    """
'''
SOLUTION = """\
    lengths = []
    length = 0  # of the run so far
    for value in values:
        if value < limit:
            length += 1
        elif length > 0:
            lengths.append(length)
            length = 0
    while length != 0:
        lengths.append(length)
        length = 0
    return sorted(lengths, key=lambda size: -size)
"""
TASK = Task("T/0", PROMPT, SOLUTION, "", "runs_below")
MBPP = Task("T/1", "Write a function to add.", "def add(a, b):\n  return a + b\n", "", "add")
CASES = [([1, 2, 30, 4],), ([],), ([50],), ([1, 9, 9], 9), ([3, 3, 3, 30, 1, 99, 1, 1],)]


def answers(code: str, expression: str) -> list[object]:
    scope: dict = {}
    exec(code, scope)
    function = eval(expression, scope)
    return [function(*case) for case in CASES]


@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguise_changes_the_text_and_not_what_it_does(name):
    task = original(TASK)
    made = disguised(task, name)
    assert made is not None
    assert made == disguised(task, name), "the same copy in every run"
    assert (made.text == task.code) == (name == "verbatim")
    if made.entry_point is not None:
        assert answers(made.text, made.entry_point) == answers(task.code, "runs_below")


def test_what_each_disguise_takes_away():
    task = original(TASK)
    texts = {name: disguised(task, name).text for name in DISGUISES}
    plain = texts["renamed, reformatted, no docstring"]
    assert not {"runs_below", "values", "limit", "length"} & {
        n.id for n in ast.walk(ast.parse(plain)) if isinstance(n, ast.Name)
    }
    assert "lengths of all runs" not in plain and "# of the run" not in plain
    assert "lengths of all runs" in texts["renamed"] and "# of the run" in texts["renamed"]
    assert "# of the run" not in texts["comments changed"]
    assert "class Solution" in texts["wrapped in a class"]
    assert "for value in values" not in texts["loops rewritten"]
    assert "limit > value" in texts["comparisons mirrored"]
    assert (
        texts["paraphrased prompt alone"]
        == "Determine the lengths of every one of the runs of supplied values below the limit: implement a routine that does it."
    )


def test_a_statement_becomes_a_docstring_and_nothing_to_change_is_none():
    task = original(MBPP)
    assert task.code == 'def add(a, b):\n  """Write a function to add."""\n  return a + b\n'
    assert disguised(task, "loops rewritten") is None
    assert disguised(task, "comparisons mirrored") is None
    assert original(Task("T/2", "Text.", None, "", None)) is None
