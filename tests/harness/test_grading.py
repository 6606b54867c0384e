"""Answers are judged in the real sandbox: what passes, what fails, and what says nothing."""

from __future__ import annotations

import os
import time
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builders import sandbox
from builders.harness import grading, missing, references, summary
from builders.harness.extraction import MAX_CHARACTERS, candidate
from builders.harness.tasks import Case, Form, Task
from builders.harness.verdicts import Verdict, ceiling, trial_of
from builders.recipe import Grading

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")

ADD = Task(
    task_id="add",
    prompt="def add(a, b):\n",
    solution="    return a + b\n",
    tests="def check(candidate):\n    assert candidate(1, 2) == 3\n",
    entry_point="add",
)
MEAN = Task(
    task_id="mean",
    prompt="def mean(xs):\n",
    solution="    return sum(xs) / len(xs) if xs else 0.0\n",
    tests="",
    entry_point="mean",
    comparison="equal",
    cases=(Case("[[1, 2]]"), Case("[[4.0]]"), Case("[[]]")),
    num_base_cases=2,
)
ECHO = Task(
    task_id="echo",
    prompt="Print the number that you read.",
    solution="print(int(input()))\n",
    tests="",
    entry_point=None,
    call_form="stdin",
    comparison="text",
    cases=(Case("1\n", "1\n"), Case("22\n", "22\n")),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scoder" / "references"


def ready(*tasks: Task, settings: Grading | None = None) -> dict[str, references.Ready]:
    return references.prepare(tasks, settings or Grading(workers=1), lambda text: None)


def judged(task: Task, *answers: str, settings: Grading | None = None, form: Form = "completion") -> list[Verdict]:
    settings = settings or Grading(workers=2)
    asked = [(number, task, form, text) for number, text in enumerate(answers)]
    found = list(grading.verdicts(asked, ready(task, settings=settings), settings))
    assert [number for number, _ in found] == list(range(len(answers)))
    return [one for _, one in found]


def statuses(task: Task, *answers: str, settings: Grading | None = None, form: Form = "completion") -> list[str]:
    return [one.status for one in judged(task, *answers, settings=settings, form=form)]


def test_right_answers_pass_and_wrong_ones_fail_in_every_form() -> None:
    assert statuses(ADD, "    return a + b\n", "    return a - b\n", "    return a +\n") == [
        "passed",
        "failed",
        "failed",
    ]
    whole = "```python\ndef add(a, b):\n    return {}\n```"
    assert statuses(ADD, whole.format("b + a"), whole.format("a"), form="chat") == ["passed", "failed"]
    scripts = ["print(input())", "print(input() + '1')", "print(1)", "while True: print(input())"]
    assert statuses(ECHO, *scripts, form="chat") == ["passed", "failed", "failed", "failed"]


def test_the_tests_of_the_original_benchmark_are_told_apart() -> None:
    found = judged(
        MEAN,
        "    return sum(xs) / len(xs) if xs else 0.0\n",
        "    return sum(xs) / len(xs)\n",
        "    return 1.5\n",
    )
    assert [(one.is_passed, one.is_base_passed) for one in found] == [(True, True), (False, True), (False, False)]
    assert found[1].message == "AssertionError: [[]]: ZeroDivisionError: division by zero"
    assert found[2].message == "AssertionError: [[4.0]]: expected 4.0, got 1.5"
    assert judged(ADD, "    return a + b\n")[0].is_base_passed is None


def test_messages_name_the_input_and_both_values_on_one_line() -> None:
    text = replace(ECHO, cases=(Case("1\n2\n", "1\n2\n"),), solution=None)
    assert judged(text, "print('3\\n4')", form="chat")[0].message == (
        r"AssertionError: '1\n2\n': expected '1\n2\n', got '3\n4\n'"
    )
    raising = "    raise ValueError('first\\n\\n  second\\nNone')\n"
    of_cases, of_asserts = judged(MEAN, raising)[0], judged(ADD, raising)[0]
    assert of_cases.message == "AssertionError: [[1, 2]]: ValueError: first second None"
    assert of_asserts.message == "ValueError: first second None"
    traced = "    raise ValueError('first\\n  File \"x\"\\n    second')\n"
    assert judged(MEAN, traced)[0].message == 'AssertionError: [[1, 2]]: ValueError: first File "x" second'
    assert judged(ADD, "    return a +\n")[0].message == "SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("", None),
        (" \n", None),
        ("a\nb\n\n", "b"),
        ('Traceback:\n  File "x", line 1\n    f()\nValueError: a\n\n  b\nc\n', "ValueError: a b c"),
        ('ValueError: a\n\nThen:\n  File "x", line 1\n    f()\n    ^^^\nKeyError: 1\n', "KeyError: 1"),
        ('  File "x", line 1\n    f()\n', "f()"),
    ],
)
def test_what_was_raised_is_told_on_one_line(stderr: str, message: str | None) -> None:
    assert references.last_line(stderr) == message


def test_a_case_may_take_what_the_reference_takes_four_times() -> None:
    slow = replace(MEAN, solution="    import time\n    time.sleep(0.3)\n    return sum(xs) / max(1, len(xs))\n")
    assert ready(slow)["mean"].seconds == pytest.approx(0.9, abs=0.4)
    settings = Grading(min_case_s=0.2, workers=1)
    sleeping = "    import time\n    time.sleep({})\n    return sum(xs) / max(1, len(xs))\n"
    assert statuses(slow, sleeping.format(0.8), sleeping.format(2.5), settings=settings) == ["passed", "timeout"]
    assert statuses(MEAN, sleeping.format(0.8), settings=settings) == ["timeout"]


def test_an_endless_answer_is_a_time_out_and_does_not_delay_the_others() -> None:
    settings = Grading(wall_s=1, workers=2)
    endless = "    while True: pass\n"
    assert statuses(ADD, "    return a + b\n", endless, "    return 3\n", settings=settings) == [
        "passed",
        "timeout",
        "passed",
    ]
    assert statuses(MEAN, endless, settings=Grading(min_case_s=0.5, workers=1)) == ["timeout"]
    assert statuses(ECHO, "while True: pass", settings=Grading(min_case_s=0.5, workers=1), form="chat") == ["timeout"]


def test_an_answer_that_is_slow_only_beside_others_passes_when_it_is_tried_alone() -> None:
    """Seven answers that compute for 0.5 s share one CPU: there they take longer than 2 s."""
    answer = """    import time
    while time.process_time() < 0.5:
        pass
    return sum(xs) / max(1, len(xs))
"""
    task = replace(MEAN, cases=(Case("[[1, 2]]"),), num_base_cases=0)
    settings = Grading(min_case_s=2.0, workers=7)
    known = ready(task)
    trial = trial_of(task, candidate(task, answer, "completion"), known["mean"], settings)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        once = [result.status for _, result in references.run(((str(n), trial) for n in range(7)), settings)]
        again = [one for one in references.run([("slow", trial)] * 7, settings) if one[1].status == "timeout"]
        found = grading.verdicts([(n, task, "completion", answer) for n in range(7)], known, settings)
        assert [one.status for _, one in found] == ["passed"] * 7
    finally:
        os.sched_setaffinity(0, cpus)
    assert "timeout" in once and again
    assert all(grading.may_be_kept_waiting(result) for _, result in again)


def test_an_answer_that_sleeps_is_not_tried_again() -> None:
    """It never waits for a CPU, so nobody kept it from one."""
    settings = Grading(min_case_s=3, workers=1)
    answer, known = "    import time\n    time.sleep(100)\n", ready(MEAN)
    began = time.monotonic()
    [(_, found)] = grading.verdicts([(0, MEAN, "completion", answer)], known, settings)
    assert found.status == "timeout" and 3 <= time.monotonic() - began < 5.5


def test_it_is_said_how_many_answers_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "SAY_EVERY_S", 0.0)
    said, known = list[str](), ready(MEAN)
    progress = grading.Progress(3, said.append, "made")
    answers = [(number, MEAN, "completion", "    return 1\n") for number in range(3)]
    list(grading.verdicts(answers, known, Grading(workers=1), progress=progress))
    assert said == [f"judged: {n} of 3 answers of made" for n in (1, 2, 3)]
    progress.again(1, 2)
    assert said[-1] == "judged: 1 of 2 answers of made that were too slow are tried again alone"
    monkeypatch.setattr(grading, "SAY_EVERY_S", 60.0)
    list(grading.verdicts(answers, known, Grading(workers=1), progress=progress))
    assert len(said) == 4


def test_it_is_said_that_a_long_answer_was_not_read_as_a_whole() -> None:
    lost = f"x = '{'y' * 994}'\n" * (MAX_CHARACTERS // 1000)
    text = f"No.\n{lost}def mean(xs):\n    return sum(xs) / max(1, len(xs))\n{lost}"
    [(_, found)] = grading.verdicts([(0, MEAN, "chat", text)], ready(MEAN), Grading(workers=1))
    assert found.status == "failed"
    assert (found.message or "").endswith(f"(of {len(text):,} characters of the answer 1,000,000 were read)")
    right = "```python\ndef mean(xs):\n    return sum(xs) / max(1, len(xs))\n```\n" + "x" * MAX_CHARACTERS
    [(_, found)] = grading.verdicts([(0, MEAN, "chat", right)], ready(MEAN), Grading(workers=1))
    assert (found.status, found.message) == ("passed", None)


def test_the_ceiling_of_an_answer_grows_with_the_reference() -> None:
    settings = Grading()
    quick, slow = references.Ready(seconds=0.01), references.Ready(seconds=90)
    assert ceiling(ADD, quick, settings) == pytest.approx(10.04)
    assert ceiling(ADD, slow, settings) == 370
    assert ceiling(MEAN, quick, settings) == pytest.approx(10.04)
    assert ceiling(replace(MEAN, cases=MEAN.cases * 10), quick, settings) == pytest.approx(30.04)
    assert ceiling(replace(MEAN, cases=MEAN.cases * 100), quick, settings) == 60
    assert ceiling(MEAN, slow, settings) == 370


def test_a_known_library_that_is_not_there_says_nothing_about_the_model() -> None:
    assert statuses(
        ADD, "    import tensorflow\n    return a + b\n", "    import no_such_thing\n    return a + b\n"
    ) == [
        "missing",
        "failed",
    ]


def test_much_memory_is_refused_and_more_is_an_option() -> None:
    answer = "    x = bytearray(700 * 2**20)\n    return a + b\n"
    assert statuses(ADD, answer, settings=Grading(memory_mb=512, workers=1)) == ["memory"]
    assert statuses(ADD, answer, settings=Grading(memory_mb=2048, workers=1)) == ["passed"]


BIG = Task(
    task_id="big",
    prompt="def big(letter):\n",
    solution="    return letter * (90 << 20)\n",
    tests="",
    entry_point="big",
    comparison="equal",
    cases=(Case("['a']"), Case("['b']")),
)


def test_a_right_answer_that_is_large_needs_no_more_memory_than_it_takes_itself() -> None:
    right, wrong = BIG.solution or "", "    return letter * (90 << 20) + 'c'\n"
    greedy = "    x = bytearray(500 << 20)\n" + right
    settings = Grading(memory_mb=512, workers=1)
    known = ready(BIG, settings=settings)
    assert known["big"].ungradable is None
    answers = [(n, BIG, "completion", text) for n, text in enumerate([right, wrong, greedy])]
    found = [verdict for _, verdict in grading.verdicts(answers, known, settings)]  # type: ignore[arg-type]
    assert [one.status for one in found] == ["passed", "failed", "memory"]
    assert (found[1].message or "").startswith("AssertionError: ['a']: expected …aaa")


def test_the_ceiling_of_a_benchmark_with_limits_of_its_own_lets_every_case_use_them_up() -> None:
    slow = replace(ECHO, cases=ECHO.cases * 20, case_s=6.0)
    quick = references.Ready(seconds=0)
    assert ceiling(slow, quick, Grading()) == 40 * 7 + 5
    assert ceiling(slow, quick, Grading(wall_s=500)) == 500
    assert ceiling(replace(slow, case_s=None), quick, Grading()) == pytest.approx(40)


def test_livecodebench_and_apps_judge_calls_by_rules_of_their_own() -> None:
    task = Task(
        task_id="one",
        prompt="Give the list of the number.",
        solution=None,
        tests="",
        entry_point="Solution().one",
        call_form="method",
        comparison="livecodebench",
        cases=(Case("[3]", "[3]"), Case("[4]", "[4]")),
        case_s=6.0,
    )
    method = "class Solution:\n    def one(self, x):\n        return {}\n"
    state = "class Solution:\n    def one(self, x):\n        self.n = getattr(self, 'n', 0) + 1\n        return [x] * self.n\n"
    answers = method.format("[x]"), method.format("(x,)"), method.format("x"), "def one(x):\n    return [x]\n", state
    assert statuses(task, *answers, form="chat") == ["passed", "passed", "failed", "passed", "passed"]
    assert statuses(replace(task, comparison="apps"), method.format("x"), form="chat") == ["passed"]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("print(input())\nraise SystemExit(1)", "passed"),
        ("import sys\nprint(input())\nsys.exit('done')", "passed"),
        ("def main():\n    print(input())\n    exit(2)\nmain()", "passed"),
        ("print(7)\nraise SystemExit(0)", "failed"),
        ("print(input())\n1 / 0", "failed"),
        ("import os\nprint(input(), flush=True)\nos._exit(1)", "failed"),
        # the judge has the standard library in scope
        ("print(sys.stdin.readline().strip())", "passed"),
        ("print(int(input()) * gcd(2, 3) + len(defaultdict(list)) + sum([]))", "passed"),
    ],
)
def test_scripts_end_as_for_livecodebench(script: str, status: str) -> None:
    assert statuses(replace(ECHO, solution=None), script, form="chat") == [status]


SAID = "    raise ModuleNotFoundError(\"No module named 'tensorflow'\")\n"


def test_an_answer_that_only_says_that_a_library_is_missing_is_wrong() -> None:
    said = "    raise ModuleNotFoundError(\"No module named 'tensorflow'\")\n"
    given = "    return \"ModuleNotFoundError: No module named 'tensorflow'\"\n"
    there = "    import {}\n" + said
    inside = "    def inner():\n        from tensorflow.keras import layers\n    inner()\n"
    assert statuses(ADD, said, there.format("math"), inside) == ["failed", "failed", "missing"]
    assert statuses(MEAN, given, inside) == ["failed", "missing"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("    if a > 9:\n        import tensorflow\n" + SAID, "failed"),
        ("    return a - b\n    import tensorflow\n", "failed"),
        (
            "    try:\n        from tensorflow import keras\n    except ImportError:\n"
            + SAID.replace("    ", "        "),
            "missing",
        ),
        (
            "    import importlib\n    return importlib.import_module('tensorflow').a\n    import tensorflow\n",
            "missing",
        ),
        ("    import tensorflow.keras.layers as layers\n    return layers.Dense(a, b)\n", "missing"),
        ("    from tensorflow import add as plus\n    return plus(a, b)\n", "missing"),
        ("    import tensorflow\n    import torch\n    return torch.add(a, b)\n", "missing"),
        ("    import tensorflow\n    return a + b\n", "missing"),
    ],
)
def test_missing_is_what_ends_otherwise_with_a_stand_in(answer: str, status: str) -> None:
    assert statuses(ADD, answer) == [status]
    assert statuses(replace(MEAN, solution="    a = b = sum(xs)\n    return a + b\n"), f"    a = b = 1\n{answer}") == [
        status
    ]
    assert statuses(ECHO, f"def add(a, b):\n{answer}print(add(1, 2))\n", form="chat") == [status]


def test_a_library_that_another_one_asks_for_is_named(tmp_path: Path) -> None:
    venv.create(tmp_path / "libraries", symlinks=True)
    (site,) = (tmp_path / "libraries" / "lib").glob("python3*/site-packages")
    (site / "pandas.py").write_text("raise ImportError(\"Missing optional dependency 'xlrd'. Install it\")\n")
    settings = Grading(environment=str(tmp_path / "libraries"), workers=1)
    task = replace(ADD, solution="    import pandas\n    return a + b\n")
    assert ready(task, settings=settings)["add"].ungradable == "the sandbox lacks xlrd"


@pytest.mark.parametrize(
    "said",
    [
        "No module named '.pandas'",
        "No module named ''",
        "No module named 'pandas.x'",
        "Missing optional dependency '.'",
    ],
)
def test_what_is_said_of_a_missing_library_always_names_one(said: str) -> None:
    for kind in ("ModuleNotFoundError", "ImportError"):
        task = replace(ADD, solution=f"    raise {kind}({said!r})\n")
        known = ready(task)["add"]
        names = missing.lacking(known)
        assert all(names) and (known.ungradable or "").removeprefix("the sandbox lacks ").strip(), known
        row = {"status": "missing", "message": f"{kind}: {said}", "error": None}
        assert summary._loss(row).removeprefix("the sandbox lacks ").strip()


def test_a_library_that_is_there_is_not_missing(tmp_path: Path) -> None:
    venv.create(tmp_path / "libraries", symlinks=True)
    (site,) = (tmp_path / "libraries" / "lib").glob("python3*/site-packages")
    (site / "tensorflow.py").write_text("")
    answer = "    import tensorflow\n    raise ModuleNotFoundError(\"No module named 'tensorflow'\")\n"
    with_library = Grading(environment=str(tmp_path / "libraries"), workers=1)
    assert statuses(ADD, answer, settings=with_library) == ["failed"]
    # it would fail with the library, too
    assert statuses(ADD, answer, answer.replace("    raise", "    tensorflow.a()\n    raise")) == ["failed", "missing"]
    own = ready(replace(ADD, solution=answer), settings=with_library)["add"]
    assert own.ungradable == "its own solution does not pass (ModuleNotFoundError: No module named 'tensorflow')"
    assert own.missing == ()


def test_what_judges_is_told_by_the_comparison_and_not_by_tests() -> None:
    both = replace(MEAN, tests="def check(candidate):\n    import tensorflow\n    assert False\n")
    assert statuses(both, "    return sum(xs) / len(xs) if xs else 0.0\n", "    return 1.5\n") == ["passed", "failed"]
    neither = ready(replace(both, cases=()))["mean"]
    assert neither.ungradable == "the file has no tests for it"
    other = replace(ADD, cases=(Case("[1, 2]", "4"),))
    assert statuses(other, "    return a + b\n", "    return 4\n") == ["passed", "failed"]


def test_a_library_that_another_one_asks_for_says_nothing_about_the_model(tmp_path: Path) -> None:
    optional = (
        "    raise ImportError(\"Missing optional dependency 'xlrd'. Install xlrd >= 2.0.1 for xls Excel support\")\n"
    )
    excel = f"def read_excel():\n    try:\n        import xlrd\n    except ImportError:\n    {optional}    xlrd.open_workbook()\n"
    venv.create(tmp_path / "libraries", symlinks=True)
    (site,) = (tmp_path / "libraries" / "lib").glob("python3*/site-packages")
    (site / "pandas.py").write_text(excel)
    reads, says = "    import pandas\n    pandas.read_excel()\n", f"    import pandas\n{optional}"
    with_pandas = Grading(environment=str(tmp_path / "libraries"), workers=1)
    guarded = """    try:
        import numpy
    except ImportError:
        return a + b
    return numpy.add(a, b)
"""
    assert statuses(ADD, reads, says, optional, guarded, settings=with_pandas) == [
        "missing",
        "failed",
        "failed",
        "passed",
    ]


def test_tests_with_mocks_share_the_process_of_the_solution_even_if_it_passes_apart() -> None:
    tests = """
import unittest
from unittest.mock import patch

class Tests(unittest.TestCase):
    @patch("time.sleep")
    def test_it(self, sleep):
        self.assertEqual(quick(), 1)
"""
    task = Task("quick", "def quick():\n", "    return 1\n", tests, "quick")
    assert not ready(task)["quick"].is_apart
    assert not ready(replace(task, solution=None))["quick"].is_apart
    assert statuses(task, "    import time\n    time.sleep(60)\n    return 1\n") == ["passed"]


def test_libraries_may_start_more_threads(tmp_path: Path) -> None:
    venv.create(tmp_path / "libraries", symlinks=True)
    answer = """    import threading
    go = threading.Event()
    threads = [threading.Thread(target=go.wait) for _ in range(100)]
    for thread in threads:
        thread.start()
    go.set()
    return a + b
"""
    with_libraries = Grading(environment=str(tmp_path / "libraries"), workers=1)
    assert statuses(ADD, answer, settings=with_libraries) == ["passed"]
    assert statuses(ADD, answer) == ["failed"]


def test_a_unittest_says_which_test_failed_and_which_library_is_missing() -> None:
    tests = """
import unittest

class Tests(unittest.TestCase):
    def test_a(self):
        self.assertEqual(add(1, 2), 4)
    def test_b(self):
        self.assertEqual(add(2, 2), 4)
"""
    own = "    if a == 1:\n        return 4\n    return 4\n"
    late = "    if a == 1:\n        raise ValueError\n    import tensorflow\n    return 4\n"
    long = "    raise LookupError('\\n' + '*' * 70 + '\\n  not found\\n' + '*' * 70)\n"
    found = judged(replace(ADD, tests=tests, solution=own), "    return a + b\n", late, long)
    assert [(one.status, one.message) for one in found] == [
        ("failed", "AssertionError: unittest: test_a: AssertionError: 3 != 4"),
        ("missing", "AssertionError: unittest: test_b: ModuleNotFoundError: No module named 'tensorflow'"),
        ("failed", "AssertionError: unittest: test_a: LookupError:"),
    ]


def test_tests_that_patch_the_solution_run_in_its_process() -> None:
    tests = """
import unittest
from unittest.mock import patch

class Tests(unittest.TestCase):
    @patch("os.getcwd", return_value="/here")
    def test_it(self, getcwd):
        self.assertEqual(where(), "/here")
"""
    task = Task("where", "import os\n\ndef where():\n", "    return os.getcwd()\n", tests, "where")
    found = ready(ADD, task)
    assert (found["add"].is_apart, found["where"].is_apart) == (True, False)
    right, wrong = judged(task, "    return os.getcwd()\n", "    return '/tmp'\n")
    assert (right.status, right.is_apart, wrong.status) == ("passed", False, "failed")


def test_a_task_whose_own_solution_fails_is_ungradable_with_the_reason() -> None:
    found = ready(
        replace(ADD, solution="    return 4\n"),
        replace(MEAN, cases=(Case("[3]"),)),
        replace(ECHO, cases=(Case("1\n", "2\n"),)),
        Task("a", "", None, "", "f"),
        replace(ADD, task_id="d", tests=" \n"),
        Task("b", "", "", "", "f", ungradable="it is a fragment"),
        Task("c", "import tensorflow\n\ndef f():\n", "    return 1\n", "def check(candidate):\n    candidate()\n", "f"),
    )
    assert {name: one.ungradable for name, one in found.items()} == {
        "add": "its own solution does not pass (AssertionError)",
        "mean": "its own solution fails on [3]: TypeError: 'int' object is not iterable",
        "echo": "its own solution does not pass (AssertionError: '1\\n': expected '2\\n', got '1\\n')",
        "a": "the file has no tests for it",
        "d": "the file has no tests for it",
        "b": "it is a fragment",
        "c": "the sandbox lacks tensorflow",
    }
    assert found["c"].missing == ("tensorflow",)


def test_what_is_known_of_a_task_is_kept_until_the_task_changes(cache: Path) -> None:
    said: list[str] = []
    settings = Grading(workers=1)
    first = references.prepare([ADD, MEAN], settings, said.append)
    assert len(said) == 1 and len(list(cache.iterdir())) == 2
    assert references.prepare([ADD, MEAN], settings, said.append) == first
    assert len(said) == 1
    references.prepare([ADD, replace(MEAN, chat="asked otherwise")], settings, said.append)
    assert len(said) == 1
    references.prepare([ADD, replace(MEAN, atol=1e-3)], settings, said.append)
    assert len(said) == 2 and "1 task " in said[1]


@pytest.mark.parametrize(
    "damage", [lambda whole: b"torn", lambda whole: whole[:-3], lambda whole: whole[:-9] + b"x" * 9]
)
def test_a_damaged_file_of_what_is_known_is_made_again(cache: Path, damage: Callable[[bytes], bytes]) -> None:
    said: list[str] = []
    settings = Grading(workers=1)
    first = references.prepare([MEAN], settings, said.append)
    (path,) = cache.iterdir()
    path.write_bytes(damage(whole := path.read_bytes()))
    again = references.prepare([MEAN], settings, said.append)["mean"]
    assert len(said) == 2 and again.kept == first["mean"].kept
    assert path.read_bytes().partition(b"\n")[2] != damage(whole).partition(b"\n")[2]
    assert statuses(MEAN, "    return sum(xs) / len(xs) if xs else 0.0\n") == ["passed"]


def test_what_others_may_write_is_not_believed(cache: Path) -> None:
    ready(MEAN)
    (path,) = cache.iterdir()
    cache.chmod(0o777)
    elsewhere = ready(MEAN)["mean"].kept
    assert elsewhere is not None and elsewhere.parent != path.parent


def test_a_script_has_what_its_judge_has_in_scope() -> None:
    answer = "n = int(sys.stdin.readline())\nprint(Counter([n]).most_common()[0][0])"
    assert statuses(ECHO, answer, form="chat") == ["passed"]


def test_what_is_known_of_a_task_changes_with_the_libraries(cache: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (packages,) = (tmp_path / "venv").glob("lib/python3*/site-packages")
    settings = Grading(environment=str(tmp_path / "venv"))
    for version in ("1.0", "2.0", "2.0"):
        for old in packages.glob("library-*.dist-info"):
            old.rmdir()
        (packages / f"library-{version}.dist-info").mkdir()
        references.prepare([ADD], settings, lambda text: None)
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert statuses(MEAN, "    return sum(xs) / max(1, len(xs))\n") == ["passed"]


def test_answers_cannot_see_the_expected_outputs() -> None:
    peeking = """    import gc, sys
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "outputs" in thing:
            return thing["outputs"]
    frame = sys._getframe(1)
    while frame:
        if "expected" in frame.f_locals or "outputs" in frame.f_locals:
            return 0
        frame = frame.f_back
    class Same(float):
        def __eq__(self, other): return True
        __hash__ = None
    return Same(7)
"""
    assert statuses(MEAN, peeking) == ["failed"]


def test_tests_call_the_helpers_of_the_prompt_and_not_those_of_an_answer() -> None:
    prompt = 'def double(x):\n    return 2 * x\n\n\ndef half(x):\n    """The inverse of double."""\n'
    tests = "def check(candidate):\n    assert candidate(double(21)) == 21\n"
    task = Task("half", prompt, "    return x // 2\n", tests, "half", completion=prompt)
    whole = "def double(x):\n    return 21\n\n\ndef half(x):\n    return 21 if double(x) else 0\n"
    wrong = "def double(x):\n    return x\n\n\ndef half(x):\n    return x\n"
    assert statuses(task, "    return x // 2\n", wrong) == ["passed", "failed"]
    assert statuses(task, wrong, whole.replace("21", "22"), form="chat") == ["failed", "failed"]


def test_answers_to_an_ungradable_task_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no answer to add can be judged \(the file has no tests for it\)"):
        judged(replace(ADD, tests=""), "    return a + b\n")


def test_an_iterator_is_no_value() -> None:
    task = replace(MEAN, task_id="set", solution="    return list(xs)\n", oracle="set")
    right, wrong = judged(task, "    return tuple(xs)\n", "    return iter(xs)\n")
    assert right.is_passed and wrong.status == "failed"
    assert wrong.message is not None and "got <list_iterator of the solution>" in wrong.message
