"""A small row of every benchmark layout, none from a benchmark; where the public files may lie."""

from __future__ import annotations

import json
import os
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
MBPP_PLUS = {
    "task_id": "Mbpp/2",
    "prompt": '"""\nShared elements.\nassert set(shared((1, 2),(2, 3))) == set((2,))\n"""\n',
    "entry_point": "shared",
    "canonical_solution": "\ndef shared(a, b):\n  return tuple(set(a) & set(b))\n",
    "base_input": [[[1, 2], [2, 3]]],
    "plus_input": [[[1, 2, 3], [3, 2]], [5, 6]],
    "atol": 0,
    "assertion": "\nassert shared((1, 2),(2, 3)) == (2,)\n",
}
# Named like HumanEval's test function. Its canonical solution needs tuples, which JSON cannot hold.
MBPP_PLUS_CHECK = {
    **MBPP_PLUS,
    "task_id": "Mbpp/56",
    "prompt": '"""\nAdd.\nassert check((1, 2), [(3,)]) == 6\n"""\n',
    "entry_point": "check",
    "canonical_solution": "def check(a, b):\n    return sum(a + sum(b, ()))\n",
    "base_input": [[[1, 2], [[3]]]],
    "plus_input": [[[1, 2, float("inf")], [[4], [5]]]],
    "assertion": "\nassert check((1, 2), [(3,)]) == 6\n",
}
MBPP_PLUS_MATCH = {
    **MBPP_PLUS,
    "prompt": '"""\nFind.\n"""\n',
    "entry_point": "found",
    "canonical_solution": "import re\ndef found(a):\n    return re.search('ab', a)\n",
    "base_input": [["ab"], ["b"]],
    "plus_input": [],
    "assertion": "\nassert found('ab')\n",
}
MBPP_PLUS_COMPLEX = {
    **MBPP_PLUS_MATCH,
    "entry_point": "angle",
    "canonical_solution": "def angle(a, b):\n    return complex(a + b).imag\n",
    "base_input": [["0", "1j"]],
    "assertion": "\nassert angle(0,1j) == 1.0\n",
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
BIG_CODE_BENCH = {
    "task_id": "BigCodeBench/0",
    "complete_prompt": 'import os\n\ndef task_func(path):\n    """Whether a path exists."""\n',
    "instruct_prompt": "Whether a path exists.",
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
    BIG_CODE_BENCH,
    LEET_CODE,
    APPS,
    APPS_METHOD,
]
"""Rows of layouts with solutions and tests."""
