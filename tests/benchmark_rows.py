"""A small row of every benchmark layout, none from a benchmark; where the public files may lie."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SCODER_DATA", PROJECT.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no benchmark files at {DATA} (set SCODER_DATA)")

HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\n\ndef half(x):\n    return x / 2\n\n\ndef root(x: float) -> float:\n    """Root of x."""\n',
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "\n\ndef check(candidate):\n    assert candidate(4) == 2\n    assert half(4) == 2\n",
    "entry_point": "root",
}
MBPP = {
    "text": "Write a function to add two numbers.",
    "code": "import operator\r\ndef plus(a, b):\r\n\treturn operator.add(a, b)\r\n",
    "task_id": 7,
    "test_setup_code": "three = 3",
    "test_list": ["assert plus(1, 2) == three", "assert plus(0, 0) == 0"],
    "challenge_test_list": ["assert plus(1, 1) == 'never run'"],
}
MBPP_TEST = {"prompt": "Add.", "test": ["assert plus(1, 2) == 3"], "code": MBPP["code"], "task_id": 8}
SANITIZED = {
    "prompt": "Add.",
    "code": MBPP["code"],
    "task_id": 9,
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(plus(1, 2), 3)"],
}
# Compared as sets: EvalPlus has a list of such functions.
MBPP_PLUS = {
    "task_id": "Mbpp/2",
    "prompt": '"""\nShared elements.\nassert set(similar_elements((1, 2),(2, 3))) == set((2,))\n"""\n',
    "entry_point": "similar_elements",
    "canonical_solution": "\ndef similar_elements(a, b):\n  return tuple(set(a) & set(b + ()))\n",
    "base_input": [[[1, 2], [2, 3]]],
    "plus_input": [[[1, 2, 3], [3, 2]], [[], []]],
    "atol": 0,
    "assertion": "\nassert similar_elements((1, 2),(2, 3)) == (2,)\n",
}
# Named like HumanEval's test function. JSON of Python may hold infinity.
MBPP_PLUS_CHECK = {
    **MBPP_PLUS,
    "task_id": "Mbpp/56",
    "prompt": '"""\nAdd.\nassert check([1, 2], [3]) == 6\n"""\n',
    "entry_point": "check",
    "canonical_solution": "def check(a, b):\n    return sum(a + b)\n",
    "base_input": [[[1, 2], [3]]],
    "plus_input": [[[1, 2, float("inf")], [4, 5]]],
}
MBPP_PLUS_MATCH = {
    **MBPP_PLUS,
    "task_id": "Mbpp/787",
    "prompt": '"""\nFind.\nassert text_match_three("ab")\n"""\n',
    "entry_point": "text_match_three",
    "canonical_solution": "import re\ndef text_match_three(a):\n    return re.search('ab', a)\n",
    "base_input": [["ab"], ["b"]],
    "plus_input": {},
}
MBPP_PLUS_COMPLEX = {
    **MBPP_PLUS_MATCH,
    "task_id": "Mbpp/124",
    "entry_point": "angle_complex",
    "prompt": '"""\nAngle.\nassert angle_complex(0,1j) == 1.0\n"""\n',
    "canonical_solution": "import cmath\ndef angle_complex(a, b):\n    return cmath.phase(a + b)\n",
    "base_input": [["0", "1j"], ["-0.0", "(-1-0j)"]],
    "atol": 1e-4,
}
HUMAN_EVAL_PLUS = {
    "task_id": "HumanEval/45",
    "prompt": 'def area(a, h):\n    """Area of a triangle."""\n',
    "entry_point": "area",
    "canonical_solution": "    return a * h / 2.0\n",
    "base_input": [[5, 3]],
    "plus_input": [[0.1, 0.3]],
    "atol": 1e-6,
}
# As released from v0.1.10 on: with the tests of HumanEval, too.
HUMAN_EVAL_PLUS_TESTED = {
    **HUMAN_EVAL_PLUS,
    "test": "\n\ndef check(candidate):\n    assert candidate(5, 3) == 7.5\n",
    "contract": "\n    assert a > 0\n",
}
_ASSERTION = "import numpy as np\n\n\ndef assertion(out, exp, atol):\n    assert out == exp\n\n\n"
HUMAN_EVAL_HUB = {
    **HUMAN_EVAL,
    "test": (
        f"{_ASSERTION}def check(candidate):\n    inputs = [[4], [[[1, 'a],']], {{'b': (2,)}}], [inf]]\n"
        "    results = [2.0, None, inf]\n    for i, (inp, exp) in enumerate(zip(inputs, results)):\n"
        "        assertion(candidate(*inp), exp, 1e-06)\n"
    ),
}
HUMAN_EVAL_HUB_BROKEN = {
    **HUMAN_EVAL_HUB,
    "task_id": "HumanEval/32",
    "test": HUMAN_EVAL_HUB["test"].replace(
        "assertion(candidate(*inp), exp, 1e-06)", "assert _poly(*candidate(*inp), inp) <= 0.0001"
    ),
}
MBPP_HUB = {
    "task_id": 3,
    "code": "def plus(a, b):\n    return a + b\n",
    "prompt": "Add.",
    "source_file": "Questions.ipynb",
    "test_imports": [],
    "test_list": ["assert plus(1, 2) == 3", "assert plus(2, 2) == 4"],
    "test": (
        f"{_ASSERTION}inputs = [[1, 2], [2, 2], ((1,), (2,))]\nresults = [3, 4, (1, 2)]\n"
        "for i, (inp, exp) in enumerate(zip(inputs, results)):\n    assertion(plus(*inp), exp, 0)\n"
    ),
}
MBPP_HUB_REFERENCE = {
    **MBPP_HUB,
    "test": (
        f"{_ASSERTION}def ref_func(a, b):\n    return a + b\n\ninputs = [[1, 2], [2, 2], ['a', 'b']]\n"
        "for i, inp in enumerate(inputs):\n    assertion(plus(*inp), ref_func(*inp), 0)\n"
    ),
}
BIG_CODE_BENCH = {
    "task_id": "BigCodeBench/0",
    "complete_prompt": 'import os\n\ndef task_func(path):\n    """Whether a path exists."""\n',
    "instruct_prompt": "Whether a path exists.\nStart with:\n```\nimport os\ndef task_func(path):\n```",
    "canonical_solution": "    return os.path.exists(path)\n",
    "test": (
        "import unittest\nclass TestCases(unittest.TestCase):\n"
        "    def test_there(self):\n        self.assertTrue(task_func('/tmp'))\n"
        "    def test_not_there(self):\n        self.assertFalse(task_func('/tmp/nothing'))\n"
    ),
    "entry_point": "task_func",
    "libs": "['os']",
}
LIVE_CODE_BENCH = {
    "question_title": "Count",
    "question_content": "Count the seniors.",
    "question_id": 2678,
    "starter_code": "class Solution:\n    def count(self): ",
    "code_list": ["never run"],
}


def private(tests: list[dict]) -> str:
    """Private tests as LiveCodeBench packs them."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


LIVE_CODE_BENCH_STDIN = {
    "question_title": "Double",
    "question_content": "Double the number.\r\n",
    "platform": "codeforces",
    "question_id": "1_A",
    "contest_id": "1",
    "contest_date": "2024-05-01T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps([{"input": "1\n", "output": "2\n", "testtype": "stdin"}]),
    "private_test_cases": private([{"input": "2\r\n", "output": "4", "testtype": "stdin"}]),
    "metadata": "{}",
}
LIVE_CODE_BENCH_METHOD = {
    **LIVE_CODE_BENCH_STDIN,
    "question_id": "2",
    "platform": "leetcode",
    "contest_date": "2024-08-31T00:00:00",
    "starter_code": "class Solution:\n    def add(self, numbers: List[int], more: Optional[int]) -> int:\n        ",
    "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
    "private_test_cases": json.dumps([{"input": "[true]\nnull", "output": "[1.5]", "testtype": "functional"}]),
    "metadata": json.dumps({"func_name": "add"}),
}
LIVE_CODE_BENCH_FUNCTION = {
    **LIVE_CODE_BENCH_METHOD,
    "question_id": "3",
    "contest_date": "2025-01-04T00:00:00",
    "starter_code": "def add(numbers, more):\n    ",
}
LEET_CODE = {
    "task_id": "sum-of-nodes",
    "prompt": "from typing import *\n\nclass Node:\n    def __init__(self, value):\n        self.value = value\n",
    "query": "Add the values.\n```python\nclass Solution:\n    def addNodes(self, first: Node, second: Node) -> int:\n```",
    "completion": (
        "class Solution:\n    def addNodes(self, first: Node, second: Optional[Node]) -> int:\n"
        "        return first.value + second.value\n"
    ),
    "test": "def check(candidate):\n    assert candidate(first = Node(1), second = Node(2)) == 3\n",
    "entry_point": "Solution().addNodes",
}
APPS = {
    "problem_id": 4,
    "question": "Double it.",
    "solutions": json.dumps(["def double(x):\r\n    return (2 * x,)", "def double(x): return [x + x]"]),
    "input_output": json.dumps({"fn_name": "double", "inputs": [[1], [2]], "outputs": [[2], [4]]}),
    "starter_code": "\ndef double(x):\n\t",
}
APPS_STDIN = {
    **APPS,
    "problem_id": 5,
    "solutions": "",
    "input_output": json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]}),
    "starter_code": "",
}
APPS_LINES = {
    **APPS,
    "problem_id": 7,
    "solutions": ["print(2 * int(input()))", "pass"],
    "input_output": {"inputs": [["1", "2"], "3"], "outputs": [["2", "4"], "6"]},
    "starter_code": "",
}
APPS_METHOD = {
    **APPS,
    "problem_id": 6,
    "solutions": ["class Solution:\n    def double(self, x):\n        return 2 * x"],
    "input_output": {"fn_name": "double", "inputs": [[1], [2]], "outputs": [2, 4]},
    "starter_code": "class Solution:\n    def double(self, x):\n        ",
}
CRUX_EVAL = {"id": "sample_7", "code": "def f(x):\n    return x[::-1]", "input": "'ab'", "output": "'ba'"}
DS_1000 = {
    "prompt": "Problem:\nShuffle the rows.\nA:\n<code>\nresult = ... # put solution in this variable",
    "reference_code": "result = df.iloc[List]",
    "code_context": "import pandas as pd\n",
    "metadata": {"problem_id": 12, "library": "Pandas"},
}
MULTIPL_E = {
    "name": "HumanEval_23_strlen",
    "language": "rs",
    "prompt": "/// Length of a string\nfn strlen(string: String) -> isize {\n",
    "tests": '}\n\nfn main() { assert_eq!(strlen(String::from("")), 0); }\n',
}
MULTIPL_E_PYTHON = {
    **MULTIPL_E,
    "language": "py",
    "prompt": 'def strlen(string: str) -> int:\n    """Length of a string."""\n',
    "tests": "def check(candidate):\n    assert candidate('') == 0\n    assert candidate('ab') == 2\n",
}
GRADED = [
    HUMAN_EVAL,
    MBPP,
    MBPP_TEST,
    SANITIZED,
    MBPP_PLUS,
    MBPP_PLUS_CHECK,
    HUMAN_EVAL_PLUS,
    HUMAN_EVAL_PLUS_TESTED,
    MBPP_HUB,
    MBPP_HUB_REFERENCE,
    BIG_CODE_BENCH,
    LEET_CODE,
    APPS,
    APPS_METHOD,
]
"""Rows of layouts with solutions and tests."""
