"""A bare AssertionError gets the assert that has failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders import sandbox
from builders.harness.failed_asserts import LONGEST, failed_assert
from builders.harness.grading import verdicts
from builders.harness.references import prepare
from builders.harness.tasks import Task
from builders.recipe import Grading

TESTS = """
def check(candidate):
    assert True
    assert candidate(1) == 2 and \\
        candidate(2) == 3
    assert candidate(3) == 4, "three"
"""
TASK = Task("T/0", "def f(x):\n", "    return x + 1\n", TESTS, "f")


@pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")
@pytest.mark.parametrize("is_apart", [True, False])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(x): return x", "AssertionError: assert candidate(1) == 2 and \\ candidate(2) == 3"),
        ("def f(x): return x + (x < 3)", "AssertionError: three"),
        ("def f(x): return x.y", "AttributeError: 'int' object has no attribute 'y'"),
    ],
)
def test_a_wrong_answer_says_which_assert_it_failed(code: str, expected: str, is_apart: bool) -> None:
    task = replace(TASK, tests=TESTS if is_apart else f"from unittest import mock\n{TESTS}")
    ready = prepare([task], Grading(), print)
    [(_, found)] = verdicts([(0, task, "chat", code)], ready, Grading())
    assert (found.is_apart, found.message) == (is_apart, expected)


FRAMES = 'Traceback (most recent call last):\n  File "tests_1.py", line 1, in <module>\n  File "{}", line {}, in f\nX\n'


@pytest.mark.parametrize(
    ("place", "expected"),
    [(("tests_0.py", 1), "assert x"), (("solution_0.py", 1), None), (("tests.py", 2), None), (("tests.py", 9), None)],
)
def test_only_an_assert_of_the_tests_is_told(place: tuple[str, int], expected: str | None) -> None:
    assert failed_assert(FRAMES.format(*place), "assert x\ny = 1\n") == expected
    assert failed_assert("AssertionError", "assert x") is None


def test_a_long_assert_is_cut() -> None:
    found = failed_assert(FRAMES.format("tests.py", 1), f"assert x == {'9' * 1000}")
    assert found is not None and len(found) == LONGEST + 1
