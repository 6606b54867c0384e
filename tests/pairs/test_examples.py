"""examples: which examples a pair carries, and that they are run in the sandbox."""

from __future__ import annotations

import pytest

from builders import sandbox
from builders.pairs.examples import program

ADD = "def add(a, b):\n    return a + b"
FENCED = "Write `add`.\n\n```python\n>>> add(1, 2)\n%d\n```\nThat is all."
DOCUMENTED = 'def add(a, b):\n    """The sum.\n\n    >>> add(1, 2)\n    %d\n    """\n    return a + b'

PAIRS = {
    "a doctest in the problem": (FENCED % 3, ADD, True),
    "a doctest in the problem fails": (FENCED % 4, ADD, False),
    "a doctest in the docstring": ("Write `add`.", DOCUMENTED % 3, True),
    "a doctest in the docstring fails": ("Write `add`.", DOCUMENTED % 4, False),
    "an assert in the problem": ("Such as:\n    assert add(1, 2) == 3\n    assert add(0, 0) == 0", ADD, True),
    "an assert in the problem fails": ("Such as:\nassert add(1, 2) == 5", ADD, False),
    "an assert of the solution": ("Write `add`.", ADD + "\nassert add(1, 2) == 3", True),
    "an assert of the solution fails": ("Write `add`.", ADD + "\nassert add(1, 2) == 4", False),
    "another name than the problem's": (FENCED % 3, ADD.replace("add", "plus"), False),
    "white space does not matter": ("Make a list.\n>>> f()\n[1,\n 2]", "def f():\n    return [1, 2]", True),
    "an exception that is expected": (
        "Divide.\n\n>>> 1 / zero\nTraceback (most recent call last):\n    ...\nZeroDivisionError: division by zero\n",
        "zero = 0",
        True,
    ),
}


@pytest.mark.parametrize(
    "problem, solution",
    [
        ("Write `add`.", ADD),
        ("Type >>> and wait.", ADD),
        (">>> add 1 to 2\n3", ADD),
        ("We assert that it adds.\nassert that it does", ADD),
        ("Write `add`.", ADD + "\n\ndef check():\n    assert add(1, 2) == 4"),
    ],
)
def test_pairs_without_examples_have_no_program(problem, solution):
    assert program(problem, solution) is None


@pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox here")
def test_examples_decide():
    programs = (
        (name, program(problem, solution) or "raise SystemExit") for name, (problem, solution, _) in PAIRS.items()
    )
    found = {name: result.status == "passed" for name, result in sandbox.run_many(programs, workers=2)}
    assert found == {name: passes for name, (*_, passes) in PAIRS.items()}
