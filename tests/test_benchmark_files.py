"""Benchmark files: every layout becomes the same tasks, and `test_program` tells right completions from wrong ones."""

import ast
import gzip
import inspect
import json
import os
import textwrap
from pathlib import Path

import pytest

from builders import benchmark_files, sandbox
from builders.benchmark_files import Task, candidate_parts, extract_code, read_tasks
from builders.sandbox import SandboxLimits, run_many, run_python

PROJECT = Path(__file__).resolve().parents[1]
DEMO = PROJECT / "recipes" / "demo-benchmark.jsonl"
DATA = Path(os.environ.get("SCODER_DATA", PROJECT.parent / "shared" / "data"))

needs_sandbox = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")
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
# Named like HumanEval's test function, and its canonical solution needs the tuples that JSON cannot hold.
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
GRADED = [HUMAN_EVAL, MBPP, MBPP_TEST, SANITIZED, MBPP_PLUS, MBPP_PLUS_CHECK, HUMAN_EVAL_PLUS, BIG_CODE_BENCH]


def task_of(row: dict) -> Task:
    return benchmark_files.parse_task(row)


def statuses(programs: list[str]) -> list[str]:
    return [result.status for _, result in run_many(enumerate(programs), workers=2)]


def test_fields_of_every_layout():
    tasks = [task_of(row) for row in [*GRADED, LIVE_CODE_BENCH]]
    assert [(task.task_id, task.entry_point) for task in tasks] == [
        ("HumanEval/0", "root"),
        ("Mbpp/7", "plus"),
        ("Mbpp/8", "plus"),
        ("Mbpp/9", "plus"),
        ("Mbpp/2", "shared"),
        ("Mbpp/56", "check"),
        ("HumanEval/45", "area"),
        ("BigCodeBench/0", "task_func"),
        ("2678", None),
    ]
    assert tasks[0] == Task(
        "HumanEval/0",
        HUMAN_EVAL["prompt"],
        HUMAN_EVAL["canonical_solution"],
        HUMAN_EVAL["test"],
        "root",
        "python",
    )
    assert tasks[1].prompt == MBPP["text"]
    assert tasks[1].solution == "import operator\ndef plus(a, b):\n\treturn operator.add(a, b)\n"
    assert tasks[1].tests == "three = 3\nassert plus(1, 2) == three\nassert plus(0, 0) == 0\n"
    assert tasks[7].prompt == BIG_CODE_BENCH["complete_prompt"]
    assert tasks[8] == Task("2678", "Count the seniors.\n\nclass Solution:\n    def count(self): ", None, "", None)


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
        lambda rows: "\r\n\r\n".join(json.dumps(row) for row in rows).encode(),
        lambda rows: json.dumps(rows).encode(),
        lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
        lambda rows: json.dumps({row["task_id"]: row for row in rows}).encode(),
        lambda rows: json.dumps({row["task_id"]: row for row in rows}, indent=2).encode(),
        lambda rows: gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()),
    ],
    ids=["lines", "crlf-lines", "array", "indented-array", "object", "indented-object", "gzip"],
)
def test_every_container_gives_the_same_tasks(tmp_path, write):
    rows = [HUMAN_EVAL, {**HUMAN_EVAL, "task_id": "HumanEval/1", "prompt": "# line separator \u2028\n"}]
    path = tmp_path / "file"
    path.write_bytes(write(rows))
    assert list(read_tasks(path)) == [task_of(row) for row in rows]


def test_one_row_is_a_file_too(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(HUMAN_EVAL, indent=2))
    assert [task.task_id for task in read_tasks(path)] == ["HumanEval/0"]
    path.write_text(json.dumps(HUMAN_EVAL))
    assert [task.task_id for task in read_tasks(path)] == ["HumanEval/0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"question": 1, "answer": 2}\n',
            r"row 1: unknown benchmark layout.*\['answer', 'question'\].*BigCodeBench \(",
        ),
        (json.dumps(HUMAN_EVAL) + "\n" + json.dumps(HUMAN_EVAL), "row 2: task_id 'HumanEval/0' occurs twice"),
        (json.dumps(HUMAN_EVAL) + "\n{broken", "row 2: not JSON"),
        (json.dumps({**HUMAN_EVAL, "prompt": 3}), "row 1: the field prompt is text, got int 3"),
        (json.dumps({**MBPP, "test_list": []}), "row 1: the tests of MBPP are a list"),
        ("[1]", "row 1: a task is a JSON object, got int"),
        ("\n", "is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "tasks.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_tasks(path))


def test_code_comes_out_of_fences():
    fenced = "Sure:\n```bash\npip install x\n```\n```python\nimport x\n```\nand\n```py\ndef f():\n    pass\n```\nDone."
    assert extract_code(fenced, "f") == "def f():\n    pass\n"
    assert extract_code(fenced, "g") == "import x\n"
    assert extract_code("```\r\ndef f(): pass\r\n", "f") == "def f(): pass\n"
    assert extract_code("    return 1\n", "f") == "    return 1\n"


def test_candidates_continue_the_prompt_or_stand_below_what_it_has_above():
    task = task_of(HUMAN_EVAL)
    head = task.prompt[: task.prompt.index("def root")]
    whole = "def root(x):\n    return x ** 0.5\n"
    assert candidate_parts(task, "    return 2\n") == [task.prompt + "    return 2\n"]
    assert candidate_parts(task, f"```python\n{whole}```") == [head, whole]
    assert candidate_parts(task, "    return 2\n\nThat is all.") == [task.prompt + "    return 2\n\n"]
    # Cut off in the middle: still taken for a whole function, which then does not compile.
    assert candidate_parts(task, "def root(x):\n    return (") == [head, "def root(x):\n    return ("]
    assert candidate_parts(task_of(MBPP), whole) == [whole]


@needs_sandbox
def test_canonical_solutions_of_every_layout_pass():
    tasks = [task_of(row) for row in GRADED]
    assert statuses([benchmark_files.test_program(task, task.solution) for task in tasks]) == ["passed"] * len(tasks)


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
        # As sets, in any order; the second input of plus_input makes the canonical solution raise.
        (MBPP_PLUS, "def shared(a, b): return [x for x in b if x in a]", "passed"),
        (MBPP_PLUS, "def shared(a, b): return (2,)", "failed"),
        (MBPP_PLUS_CHECK, "def check(a, b): return sum(a) + sum(x[0] for x in b)", "passed"),
        (MBPP_PLUS_CHECK, "def check(a, b): return 0", "failed"),
        (MBPP_PLUS_MATCH, "import re\ndef found(a): return re.match('a.', a)", "passed"),
        (MBPP_PLUS_MATCH, "def found(a): return 'ab' == a", "passed"),
        (MBPP_PLUS_MATCH, "def found(a): return True", "failed"),
        (MBPP_PLUS_COMPLEX, "def angle(a, b): return (a + b).imag", "passed"),
        (HUMAN_EVAL_PLUS, "    return h / 2 * a + 1e-9", "passed"),
        (HUMAN_EVAL_PLUS, "    return h / 2 * a + 1e-3", "failed"),
        (HUMAN_EVAL_PLUS, "    return a * h // 2", "failed"),
        (BIG_CODE_BENCH, "    return True", "failed"),
        (BIG_CODE_BENCH, "    raise SystemExit(0)", "failed"),
    ],
)
def test_right_completions_pass_and_wrong_ones_fail(row, completion, status):
    result = run_python(benchmark_files.test_program(task_of(row), completion))
    assert result.status == status, result


def test_a_task_without_tests_is_not_graded():
    with pytest.raises(ValueError, match="task 2678 has no tests"):
        benchmark_files.test_program(task_of(LIVE_CODE_BENCH), "pass")


@needs_sandbox
def test_demo_tasks_pass_with_their_solutions_and_fail_without():
    tasks = list(read_tasks(DEMO))
    assert [task.task_id for task in tasks] == [f"Demo/{number}" for number in range(16)]
    right = [benchmark_files.test_program(task, task.solution) for task in tasks]
    empty = [benchmark_files.test_program(task, "    return None\n") for task in tasks]
    assert statuses(right) == ["passed"] * 16
    assert statuses(empty) == ["failed"] * 16


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
@pytest.mark.parametrize(
    ("file", "num_tasks", "num_entry_points", "num_tested"),
    [
        ("human-eval/HumanEval.jsonl.gz", 164, 164, 164),
        ("mbpp/mbpp.jsonl", 974, 974, 974),
        ("mbpp/mbpp_test.jsonl", 500, 500, 500),
        ("mbpp-plus/MbppPlus-v0.1.0.jsonl", 399, 399, 399),
        ("bigcodebench-hard/bigcodebench_hard.json", 148, 148, 148),
        ("livecodebench/o1-mini_eval_all.json", 880, 0, 0),
    ],
)
def test_public_files_are_read_whole(file, num_tasks, num_entry_points, num_tested):
    tasks = list(read_tasks(DATA / file))
    assert len(tasks) == num_tasks
    assert sum(task.entry_point is not None for task in tasks) == num_entry_points
    assert sum(bool(task.tests) for task in tasks) == num_tested
    assert all(task.prompt.strip() for task in tasks)
    assert not any("\r" in f"{task.prompt}{task.solution}{task.tests}" for task in tasks)


@needs_data
@needs_sandbox
@pytest.mark.parametrize(
    "file", ["human-eval/HumanEval.jsonl.gz", "mbpp/mbpp_test.jsonl", "mbpp-plus/MbppPlus-v0.1.0.jsonl"]
)
def test_every_twentieth_public_solution_passes(file):
    # The canonical solution of Mbpp/271 alone takes longer than all others together.
    tasks = [task for task in list(read_tasks(DATA / file))[::20] if task.task_id != "Mbpp/271"]
    programs = ((task.task_id, benchmark_files.test_program(task, task.solution)) for task in tasks)
    results = list(run_many(programs, 2, SandboxLimits(wall_s=30, cpu_s=30)))
    assert [(task_id, result.stderr) for task_id, result in results if result.status != "passed"] == []
