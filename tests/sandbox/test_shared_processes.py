"""Tests that share a process with the solution: plain tricks do not pass, and mocks still work."""

from __future__ import annotations

import pytest

from builders import sandbox
from builders.harness import programs
from builders.harness.tasks import Task
from builders.sandbox import SandboxLimits, SandboxResult, Trial

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")

TESTS = """
import json
import unittest
from unittest.mock import patch

class TestCases(unittest.TestCase):
    def test_json(self):
        with patch("json.dumps", return_value="mocked"):
            self.assertEqual(task_func(1), "mocked")
    def test_value(self):
        found = task_func([1, 2])
        self.assertEqual(found, "[1, 2]")
        self.assertTrue(isinstance(found, str))
        self.assertEqual(len(found), 6)
"""
TASK = Task("T/0", "", None, TESTS, "task_func")
RIGHT = "import json\ndef task_func(value):\n    return json.dumps(value)\n"
WRONG = "\ndef task_func(value):\n    return None\n"

TRICKS = {
    "TestCase.run replaced": (
        "import unittest\nunittest.TestCase.run = lambda self, result=None: "
        "(result.startTest(self), result.addSuccess(self), result.stopTest(self))" + WRONG
    ),
    "TestCase.run replaced, and no test is run": "import unittest\nunittest.TestCase.run = lambda self, result=None: None" + WRONG,
    "its code replaced": (
        "import unittest\ndef run(self, result=None):\n    result.testsRun += 1\n"
        "unittest.TestCase.run.__code__ = run.__code__" + WRONG
    ),
    "asserts replaced": (
        "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith('assert'):\n"
        "        setattr(unittest.TestCase, name, lambda *a, **k: None)" + WRONG
    ),
    "asserts replaced in the call": (
        "import unittest\ndef task_func(value):\n    for name in dir(unittest.TestCase):\n"
        "        if name.startswith('assert'): setattr(unittest.TestCase, name, lambda *a, **k: None)\n"
    ),
    "an attribute added to TestCase": (
        "import unittest\ndef get(self, name):\n    found = object.__getattribute__(self, name)\n"
        "    return (lambda *a: None) if name.startswith('assert') else found\n"
        "unittest.TestCase.__getattribute__ = get" + WRONG
    ),
    "another unittest": (
        "import sys, types, unittest\nclass TestCase(unittest.TestCase):\n"
        "    def run(self, result): result.testsRun += 1\nfake = types.ModuleType('unittest')\n"
        "fake.__dict__.update(vars(unittest), TestCase=TestCase)\nsys.modules['unittest'] = fake" + WRONG
    ),
    "the module's TestCase replaced": (
        "import unittest\nclass TestCase(unittest.TestCase):\n    def run(self, result): result.testsRun += 1\n"
        "unittest.TestCase = unittest.case.TestCase = TestCase" + WRONG
    ),
    "every result is a success": "import unittest\nunittest.TestResult.wasSuccessful = lambda self: True" + WRONG,
    "every result is a success, in the call": (
        "import unittest\ndef task_func(value):\n    unittest.TestResult.wasSuccessful = lambda self: True\n"
    ),
    "failures are not added": (
        "import unittest\nfor kind in (unittest.TestResult, unittest.TextTestResult):\n"
        "    kind.addFailure = kind.addError = kind.addSubTest = lambda *a: None" + WRONG
    ),
    "no test is found": "import unittest\nunittest.TestLoader.getTestCaseNames = lambda *a: []" + WRONG,
    "the loader's prefix": "import unittest\nunittest.TestLoader.testMethodPrefix = 'test_json_'" + WRONG,
    "the suite stops": "import unittest\nunittest.TestSuite.run = lambda self, result, debug=False: result" + WRONG,
    "a runner that finds nothing": (
        "import unittest\nclass R:\n    testsRun = 2\n    skipped = ()\n    def wasSuccessful(s): return True\n"
        "class Runner:\n    def __init__(s, **k): pass\n    def run(s, suite): return R()\n"
        "unittest.TextTestRunner = Runner" + WRONG
    ),
    "a test that is skipped": "import unittest\ndef task_func(value): raise unittest.SkipTest('not today')",
    "equal to everything": (
        "class Any(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\n"
        "def task_func(value): return Any('123456')"
    ),
    "builtins hidden": (
        "isinstance = lambda *a: True\nlen = lambda v: 6\nclass T(str):\n    def __eq__(s, o): return True\n"
        "    __hash__ = None\ndef task_func(value): return T()"
    ),
    "builtins replaced": (
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.AssertionError = SystemExit" + WRONG
    ),
    "a namespace of other builtins": "__builtins__ = dict(vars(__import__('builtins')), len=lambda v: 6)" + WRONG,
    "patch replaced": (
        "import contextlib, unittest.mock\nunittest.mock.patch = lambda *a, **k: contextlib.suppress(BaseException)" + WRONG
    ),
    "os._exit in the call": "import os\ndef task_func(value): os._exit(0)",
    "sys.exit in the call": "import sys\ndef task_func(value): sys.exit(0)",
    "os._exit at the end": "import atexit, os\natexit.register(os._exit, 0)" + WRONG,
    "a tracer": (
        "import sys\ndef trace(frame, event, arg):\n    if frame.f_code.co_name.startswith('test'):\n"
        "        frame.f_trace_lines = True\n    return trace\nsys.settrace(trace)" + WRONG
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def box():
    from builders.sandbox.box import Box

    with Box() as box:
        yield box


def ended(box, solution: str, task: Task = TASK) -> SandboxResult:
    tests = task.tests + programs.test_call(task)
    trial = Trial((solution,), (tests,), entry_point="task_func", is_apart=False)
    return box.run(sandbox.job_of(trial), SandboxLimits(wall_s=10))


@pytest.mark.parametrize("name", TRICKS)
def test_a_plain_trick_fails(box, name):
    result = ended(box, TRICKS[name])
    assert result.status == "failed", result
    assert "AttributeError" not in result.stderr.splitlines()[-1:], result.stderr


def test_a_right_solution_passes(box):
    assert ended(box, RIGHT).status == "passed", ended(box, RIGHT)


def test_names_that_hide_builtins_stay_the_solutions_own(box):
    solution = "def len(value): return 7\ndef task_func(value): return len(value)"
    tests = "assert task_func('ab') == 7 and len('ab') == 2\ndef sum(v): return 3\nassert sum([1]) == 3"
    assert ended(box, solution, Task("T/1", "", None, tests, "task_func")).status == "passed"


def test_the_tests_see_the_solutions_module_by_its_name(box):
    tests = (
        "import unittest\nfrom unittest.mock import patch\nclass TestCases(unittest.TestCase):\n"
        "    @patch(f'{__name__}.helper', return_value=5)\n    def test(self, _):\n"
        "        self.assertEqual(task_func(), 5)\n"
    )
    solution = "import weakref\nclass C: pass\nproxy = weakref.proxy(C())\ndef helper(): return 1\ndef task_func(): return helper()\n"
    assert ended(box, solution, Task("T/3", "", None, tests, "task_func")).status == "passed"


def test_a_class_with_an_honest_comparison_passes(box):
    solution = RIGHT + "class P:\n    def __eq__(s, o): return isinstance(o, P)\n    def __ne__(s, o): return s.x\n"
    assert ended(box, solution).status == "passed"


def test_tests_that_skip_themselves_may_do_so(box):
    tests = TESTS.replace("    def test_value", "    @unittest.skip('slow')\n    def test_value")
    assert ended(box, RIGHT, Task("T/2", "", None, tests, "task_func")).status == "passed"


def test_what_a_solution_replaces_is_named(box):
    result = ended(box, "import unittest\n" + RIGHT + "    \ndef other(): pass\n".replace("pass", "return 1"))
    assert result.status == "passed"
    late = RIGHT.replace("    return", "    unittest.TestCase.fail = None\n    return")
    result = ended(box, "import unittest\n" + late)
    assert result.status == "failed"
    assert result.stderr.splitlines()[-1] == "AssertionError: the solution replaced TestCase.fail while the tests ran"
