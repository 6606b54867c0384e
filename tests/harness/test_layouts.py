"""Benchmark layouts: every published form of a row becomes the same kind of task."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from datetime import date, datetime

import pytest

from builders.harness import programs
from builders.harness.checker import literal
from builders.harness.files import read_tasks
from builders.harness.layouts import parse_task, private_tests
from builders.harness.tasks import Case
from tests.benchmark_rows import (
    APPS,
    APPS_LINES,
    APPS_METHOD,
    APPS_STDIN,
    BIG_CODE_BENCH,
    CRUX_EVAL,
    DATA,
    DS_1000,
    GRADED,
    HUMAN_EVAL,
    HUMAN_EVAL_HUB,
    HUMAN_EVAL_HUB_BROKEN,
    HUMAN_EVAL_PLUS,
    HUMAN_EVAL_PLUS_TESTED,
    LEET_CODE,
    LIVE_CODE_BENCH,
    LIVE_CODE_BENCH_FUNCTION,
    LIVE_CODE_BENCH_METHOD,
    LIVE_CODE_BENCH_STDIN,
    MBPP,
    MBPP_HUB,
    MBPP_HUB_REFERENCE,
    MBPP_PLUS,
    MBPP_PLUS_COMPLEX,
    MBPP_PLUS_MATCH,
    MULTIPL_E,
    MULTIPL_E_PYTHON,
    needs_data,
    private,
)


def test_fields_of_every_layout():
    rows = [*GRADED, LIVE_CODE_BENCH, APPS_STDIN, CRUX_EVAL, DS_1000, MULTIPL_E, MULTIPL_E_PYTHON]
    tasks = [parse_task(row) for row in rows]
    found = [(task.task_id, task.entry_point, task.comparison, task.call_form, task.solution is None) for task in tasks]
    assert found == [
        ("HumanEval/0", "root", "asserts", "function", False),
        ("Mbpp/7", "plus", "asserts", "function", False),
        ("Mbpp/8", "plus", "asserts", "function", False),
        ("Mbpp/9", "plus", "asserts", "function", False),
        ("Mbpp/2", "similar_elements", "equal", "function", False),
        ("Mbpp/56", "check", "equal", "function", False),
        ("HumanEval/45", "area", "equal", "function", False),
        ("HumanEval/45", "area", "equal", "function", False),
        ("Mbpp/3", "plus", "equal", "function", False),
        ("Mbpp/3", "plus", "equal", "function", False),
        ("BigCodeBench/0", "task_func", "asserts", "function", False),
        ("sum-of-nodes", "Solution().addNodes", "asserts", "method", False),
        ("APPS/4", "double", "apps", "function", False),
        ("APPS/6", "Solution().double", "apps", "method", False),
        ("2678", None, "text", "stdin", True),
        ("APPS/5", None, "text", "stdin", True),
        ("CRUXEval/sample_7", "f", "asserts", "function", False),
        ("DS-1000/12", None, "asserts", "function", False),
        ("HumanEval_23_strlen", "strlen", "asserts", "function", True),
        ("HumanEval_23_strlen", "strlen", "asserts", "function", True),
    ]
    assert [task.language for task in tasks] == ["python"] * 18 + ["rs", "python"]


def test_a_task_is_judged_or_says_why_not():
    """What judges is `tests` where the comparison is asserts, and `cases` elsewhere."""
    rows = [*GRADED, LIVE_CODE_BENCH_STDIN, LIVE_CODE_BENCH_METHOD, APPS_STDIN, APPS_LINES, MULTIPL_E_PYTHON]
    for row in rows:
        task = parse_task(row)
        assert (task.comparison == "asserts") == (not task.cases), task.task_id
        assert task.ungradable is None and bool(task.cases or task.tests.strip()), task.task_id
    reasons = {
        parse_task(row).task_id: parse_task(row).ungradable
        for row in (LIVE_CODE_BENCH, CRUX_EVAL, DS_1000, MULTIPL_E, HUMAN_EVAL_HUB_BROKEN)
    }
    assert reasons == {
        "2678": "the file has no tests for it: give a release with test cases (test.jsonl … test6.jsonl)",
        "CRUXEval/sample_7": "CRUXEval asks for the input or output of given code, and not for code: "
        "it serves decontamination (`scoder contamination`). Give a benchmark that asks for code, such as HumanEval or "
        "LiveCodeBench",
        "DS-1000/12": "DS-1000 asks for lines inside a program of its own, whose libraries and checks are not run here: "
        "it serves decontamination (`scoder contamination`). Give BigCodeBench for tasks with libraries",
        "HumanEval_23_strlen": "it is in the language 'rs', and only Python can be run",
        "HumanEval/32": "its test is broken in this file, no answer can pass: "
        "'assert _poly(*candidate(*inp), inp) <= 0.0001' unpacks the answer, a number",
    }


def test_texts_for_decontamination():
    human_eval = parse_task(HUMAN_EVAL)
    assert (human_eval.prompt, human_eval.solution) == (HUMAN_EVAL["prompt"], HUMAN_EVAL["canonical_solution"])
    assert human_eval.tests == HUMAN_EVAL["test"]
    mbpp = parse_task(MBPP)
    assert (mbpp.prompt, mbpp.tests) == (
        MBPP["text"],
        "three = 3\nassert plus(1, 2) == three\nassert plus(0, 0) == 0\n",
    )
    assert mbpp.solution == "import operator\ndef plus(a, b):\n\treturn operator.add(a, b)\n"
    assert parse_task(BIG_CODE_BENCH).prompt == BIG_CODE_BENCH["complete_prompt"]
    assert parse_task(LIVE_CODE_BENCH).prompt == "Count the seniors.\n\nclass Solution:\n    def count(self): "
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
    assert parse_task(HUMAN_EVAL_PLUS_TESTED).tests == HUMAN_EVAL_PLUS_TESTED["test"]
    assert parse_task(MBPP_HUB).tests == "assert plus(1, 2) == 3\nassert plus(2, 2) == 4\n"


def test_plus_inputs_judge_also_where_the_file_has_the_original_tests():
    for row in (HUMAN_EVAL_PLUS, HUMAN_EVAL_PLUS_TESTED):
        task = parse_task(row)
        assert task.cases == (Case("[5, 3]"), Case("[0.1, 0.3]"))
        assert (task.num_base_cases, task.atol, task.oracle) == (1, 1e-6, None)


def test_inputs_of_mbpp_plus_have_the_types_of_evalplus():
    task = parse_task(MBPP_PLUS)
    assert task.cases == (Case("[(1, 2), (2, 3)]"), Case("[(1, 2, 3), (3, 2)]"), Case("[(), ()]"))
    assert (task.num_base_cases, task.atol, task.oracle) == (1, 0, "set")
    task = parse_task(MBPP_PLUS_MATCH)
    assert (len(task.cases), task.num_base_cases, task.oracle) == (2, 2, "not_none")
    task = parse_task(MBPP_PLUS_COMPLEX)
    assert [literal(case.input) for case in task.cases] == [[0.0, 1j], [-0.0, complex("(-1-0j)")]]
    assert task.cases[1].input == "[-0.0, complex(-1.0, -0.0)]"


@pytest.mark.parametrize(
    ("task_id", "given", "expected"),
    [
        ("Mbpp/63", [[[1, 2], [3]]], [[(1, 2), (3,)]]),
        ("Mbpp/259", [[[1], [2]], [[3]]], [((1,), (2,)), ((3,),)]),
        ("Mbpp/75", [[[1], [2]], 3], [[(1,), (2,)], 3]),
        ("Mbpp/307", [[1], 2, 3], [(1,), 2, 3]),
        ("Mbpp/106", [[1], [2]], [[1], (2,)]),
        ("Mbpp/115", [[[1, 1], [], {"a": 1}]], [[{1}, {}, {}]]),
        ("Mbpp/278", [[1, [2], "a"]], [(1, (2,), "a")]),
        ("Mbpp/722", [{"a": [1, 2]}, 3], [{"a": (1, 2)}, 3]),
        ("Mbpp/252", ["1+2j"], [1 + 2j]),
        ("Mbpp/580", [[1, [2, [3]]]], [(1, (2, (3,)))]),
        ("Mbpp/6", [[1, [2]]], [[1, [2]]]),
    ],
)
def test_each_kind_of_input_of_mbpp_plus(task_id, given, expected):
    task = parse_task({**MBPP_PLUS, "task_id": task_id, "base_input": [given], "plus_input": []})
    assert literal(task.cases[0].input) == expected


def test_the_layouts_of_the_hub_have_inputs_and_results():
    task = parse_task(HUMAN_EVAL_HUB)
    assert task.cases == (Case("[4]", "2.0"), Case("[[[1, 'a],']], {'b': (2,)}]", "None"), Case("[inf]", "inf"))
    assert (task.num_base_cases, task.atol, task.comparison, task.tests) == (0, 1e-6, "equal", "")
    task = parse_task(MBPP_HUB)
    assert task.cases == (Case("[1, 2]", "3"), Case("[2, 2]", "4"), Case("[(1,), (2,)]", "(1, 2)"))
    assert (task.num_base_cases, task.atol, task.comparison) == (2, 0, "equal")
    assert [case.output for case in parse_task(MBPP_HUB_REFERENCE).cases] == [None] * 3


def test_tests_of_livecodebench():
    task = parse_task(LIVE_CODE_BENCH_STDIN)
    assert task.cases == (Case("1\n", "2\n"), Case("2\r\n", "4"))
    assert (task.call_form, task.comparison, task.entry_point, task.case_s) == ("stdin", "text", None, 6)
    assert (task.prompt, task.contest_date) == ("Double the number.\n", "2024-05-01")
    task = parse_task(LIVE_CODE_BENCH_METHOD)
    assert task.cases == (Case("[[1, 2], 3]", "6"), Case("[[True], None]", "[1.5]"))
    assert (task.call_form, task.comparison, task.entry_point) == ("method", "livecodebench", "Solution().add")
    task = parse_task(LIVE_CODE_BENCH_FUNCTION)
    assert (task.call_form, task.comparison, task.entry_point) == ("function", "livecodebench", "add")


@pytest.mark.parametrize("value", [datetime(2024, 5, 1, 7), date(2024, 5, 1), "2024-05-01", "2024-05-01T23:59:59"])
def test_a_contest_has_a_day(value):
    assert parse_task({**LIVE_CODE_BENCH_STDIN, "contest_date": value}).contest_date == "2024-05-01"


def test_tests_of_apps():
    assert parse_task(APPS).cases == (Case("[1]", "[2]"), Case("[2]", "[4]"))
    task = parse_task(APPS_LINES)
    assert task.cases == (Case("1\n2", "2\n4"), Case("3", "6"))
    assert (task.call_form, task.entry_point) == ("stdin", None)
    tests = {"fn_name": "double", "inputs": [[{"1": 2}, {"3": 4}], [{"a": 1}]], "outputs": [{"5": 6}, [{"7": 8}]]}
    task = parse_task({**APPS, "input_output": json.dumps(tests)})
    assert task.cases == (Case("[{1: 2}, {'3': 4}]", "{5: 6}"), Case("[{'a': 1}]", "[{7: 8}]"))


class Hostile:
    def __reduce__(self):
        return (print, ("it ran",))


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (packed(pickle.dumps(Hostile())), "must hold a text and nothing else: it has the instruction"),
        (packed(pickle.dumps(["[]"])), "must hold a text and nothing else"),
        (packed(pickle.dumps(b"[]")), "must hold a text and nothing else"),
        (packed(b"cbuiltins\nprint\n(S'x'\ntR."), "it has the instruction GLOBAL"),
        (packed(pickle.dumps("[]")[:-4]), "must hold a text and nothing else"),
        (packed(b"."), "must hold one text, got 0"),
        (packed(pickle.dumps("{broken")), "must hold JSON"),
        (packed(pickle.dumps("{}")), "must hold a list of tests"),
        (base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-6]).decode(), "is cut off"),
        ("not base64!", "is neither JSON nor base64 of zlib"),
        (5, "must hold a list of tests, got 5"),
        (private([{"input": 1, "output": "2"}]), "a test must have the texts input and output"),
    ],
)
def test_private_tests_hold_a_text_and_nothing_else(value, message, capsys):
    with pytest.raises(ValueError, match=message):
        parse_task({**LIVE_CODE_BENCH_STDIN, "private_test_cases": value})
    assert capsys.readouterr().out == ""


def test_every_protocol_of_pickle_holds_a_text():
    for protocol in range(1, pickle.HIGHEST_PROTOCOL + 1):
        for text in ("", "[]", "ü" * 300):
            assert private_tests.text_of(pickle.dumps(text, protocol)) == text


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(private_tests, "MAX_BYTES", 1000)
    assert private_tests.opened(private([])) == []
    with pytest.raises(ValueError, match="unpacks to more than the 1,000 bytes allowed"):
        private_tests.opened(packed(pickle.dumps(" " * 100_000)))
    with pytest.raises(ValueError, match="has 2,000 characters, more than"):
        private_tests.opened("A" * 2000)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": 1, "answer": 2},
            r"unknown benchmark layout with the fields \['answer', 'question'\].*BigCodeBench \(",
        ),
        ({**HUMAN_EVAL, "prompt": 3}, "the field prompt must be text, got int 3"),
        ({**MBPP, "test_list": []}, "the tests of MBPP must be a list"),
        ({**HUMAN_EVAL_PLUS, "plus_input": 3}, "the field plus_input must be a list of argument lists, got 3"),
        (
            {**MBPP_HUB, "test": MBPP_HUB["test"].replace("results = [3, ", "results = [")},
            "the field test has 3 inputs and 2 results",
        ),
        ({**APPS, "input_output": "{broken"}, "the field input_output must be JSON text, got '{broken'"),
        (
            {**APPS, "input_output": {"fn_name": "f", "inputs": [1], "outputs": [1]}},
            "an input of a call must be a list of arguments, got 1",
        ),
        ({**LIVE_CODE_BENCH_METHOD, "public_test_cases": '[{"input": "x", "output": "1"}]'}, "must be JSON, got 'x'"),
        ({**LIVE_CODE_BENCH_METHOD, "metadata": '{"func_name": "a b"}'}, "must be a name, got 'a b'"),
        ({**LIVE_CODE_BENCH_STDIN, "contest_date": "May"}, "contest_date must be a date such as 2024-05-01, got 'May'"),
        ({**DS_1000, "metadata": "{}"}, "the metadata of DS-1000 must hold a problem_id"),
        (1, "a task must be a JSON object, got int"),
    ],
)
def test_what_cannot_be_read_is_named(row, message):
    with pytest.raises(ValueError, match=message):
        parse_task(row)


def test_a_comparison_that_is_not_known_is_no_comparison():
    task = parse_task({**MBPP_HUB, "test": MBPP_HUB["test"].replace("assertion(plus(*inp), exp, 0)", "print(inp)")})
    assert (task.ungradable, task.cases) == ("its test in this file compares in an unknown way: 'print(inp)'", ())


@needs_data
@pytest.mark.parametrize(
    ("hub", "released", "num_cases", "ungradable"),
    [
        ("humaneval-plus/HumanEvalPlus-OriginFmt.jsonl.gz", "humaneval-plus/HumanEvalPlus.jsonl.gz", 124253, 1),
        ("mbpp-plus/MbppPlus-OriginFmt.jsonl.gz", "mbpp-plus/MbppPlus.jsonl.gz", 41015, 0),
    ],
)
def test_the_hub_has_every_input_of_the_released_file_once(hub, released, num_cases, ungradable):
    """The Hub leaves out inputs that occur twice, and no others."""
    ours = {task.task_id: task for task in read_tasks(DATA / released)}
    assert sum(len(task.cases) for task in ours.values()) == num_cases
    theirs = {task.task_id: task for task in read_tasks(DATA / hub)}
    assert ours.keys() == theirs.keys()
    assert sum(task.ungradable is not None for task in theirs.values()) == ungradable
    for task_id, task in theirs.items():
        # The Hub's file loses the sign of a complex zero.
        if task.ungradable is None and task_id not in ("Mbpp/124", "Mbpp/252"):
            inputs = [case.input for case in ours[task_id].cases]
            assert [case.input for case in task.cases] == list(dict.fromkeys(inputs)), task_id


@needs_data
def test_special_comparisons_of_the_released_files():
    tasks = [
        *read_tasks(DATA / "mbpp-plus/MbppPlus.jsonl.gz"),
        *read_tasks(DATA / "humaneval-plus/HumanEvalPlus.jsonl.gz"),
    ]
    assert {task.task_id.split("/")[1]: task.oracle for task in tasks if task.oracle} == {
        **dict.fromkeys(["2", "7", "111", "140", "232", "579", "769"], "set"),
        **dict.fromkeys(["737", "787", "794"], "not_none"),
        "558": "digit_distance",
        "581": "surface_area",
        "32": "find_zero",
    }


@pytest.mark.parametrize("row", GRADED)
def test_whole_code_of_a_solution_defines_the_entry_point(row):
    task = parse_task(row)
    assert programs.defines(programs.reference(task), task.entry_point)


def test_a_program_is_its_own_reference_and_a_statement_has_none():
    assert programs.reference(parse_task(APPS_LINES)) == "print(2 * int(input()))"
    assert programs.reference(parse_task(LIVE_CODE_BENCH_STDIN)) is None


def test_what_a_judge_has_in_scope():
    assert programs.prelude(parse_task(LEET_CODE)).strip() == LEET_CODE["prompt"].strip()
    for row in (APPS_LINES, LIVE_CODE_BENCH_METHOD):
        scope = {}
        exec(programs.prelude(parse_task(row)), scope)
        assert {"List", "deque", "heappush", "math", "pow"} <= scope.keys()
        assert scope["pow"] is pow
    assert [programs.prelude(parse_task(row)) for row in (HUMAN_EVAL, MBPP, HUMAN_EVAL_PLUS)] == ["", "", ""]
