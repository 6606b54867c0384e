"""Pairs: what is rendered is parsed back, and a malformed answer gets the status that says why."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from builders.pairs import PROBLEM, SOLUTION, Parsed, fenced, is_python, parse, render
from store.schemas import PARSE_STATUSES

PIECES = st.sampled_from(
    [
        "### Problem",
        "### Solution",
        "### Solution x",
        " ### Solution",
        "```",
        "````python",
        "\n",
        "\r\n",
        " ",
        "a = 1",
        "\x0b",
    ]
)
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=12).map("".join))


@given(problem=TEXTS, solution=TEXTS)
@example(problem="Use ```x``` in\n```\ncode\n```", solution='s = """\n```\n`````\n"""')
@example(problem="### Problem\nagain", solution="### Solution\n### Problem")
@example(problem="x", solution="    indented\n  ")
def test_parse_undoes_render(problem, solution):
    problem, solution = problem.strip(), solution.strip("\n")
    assume(problem and solution.strip())
    try:
        text = render(problem, solution)
    except ValueError:
        assume(False)
    found = parse(text)
    assert (found.problem, found.solution) == (problem, solution)
    assert found.status == ("ok" if is_python(solution) else "syntax_error")
    assert parse(text, "length") == found
    assert render(found.problem, found.solution) == text


@given(text=TEXTS, finish_reason=st.sampled_from(["stop", "length", "error", "prompt_too_long"]))
def test_any_text_has_one_of_the_statuses(text, finish_reason):
    found = parse(text, finish_reason)
    assert found.status in PARSE_STATUSES
    assert (found.text_hash is not None) == (found.status == "ok")
    if found.status == "ok":
        assert found.problem.strip() and found.solution.strip()


WHOLE = "### Problem\nAdd.\n\n### Solution\n```python\nx = 1\n```"


@pytest.mark.parametrize(
    "text, finish_reason, expected",
    [
        (WHOLE, "stop", Parsed("ok", "Add.", "x = 1")),
        (f"Sure!\n{WHOLE}\nIt adds.\n```\nmore\n```", "stop", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.replace("python", "py"), "stop", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.replace("python", ""), "stop", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.replace("### Solution", "### Solution \t"), "stop", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.removesuffix("```"), "stop", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.removesuffix("```"), "length", Parsed("unfinished", "Add.", "x = 1")),
        (WHOLE, "length", Parsed("ok", "Add.", "x = 1")),
        (WHOLE.replace("x = 1", "x = ("), "stop", Parsed("syntax_error", "Add.", "x = (")),
        (WHOLE.replace("x = 1", ""), "stop", Parsed("no_solution", "Add.")),
        (WHOLE.replace("```python", "").replace("```", ""), "stop", Parsed("no_solution", "Add.")),
        ("### Problem\nAdd.\n\n### Solution\n```py", "length", Parsed("unfinished", "Add.")),
        ("### Problem\nAdd.\n\n### Solution\n```python\n", "length", Parsed("unfinished", "Add.")),
        ("### Problem\nAdd.", "stop", Parsed("no_solution", "Add.")),
        ("### Problem\nAdd.", "length", Parsed("unfinished", "Add.")),
        ("### Problem\n\n### Solution\n```python\nx = 1\n```", "stop", Parsed("no_problem")),
        ("### Solution\n```python\nx = 1\n```\n### Problem\nAdd.", "stop", Parsed("no_problem")),
        ("x = 1", "stop", Parsed("no_problem")),
        ("", "stop", Parsed("no_problem")),
        ("", "error", Parsed("engine_error")),
        (WHOLE, "error", Parsed("engine_error")),
        ("", "prompt_too_long", Parsed("prompt_too_long")),
    ],
)
def test_statuses(text, finish_reason, expected):
    assert parse(text, finish_reason) == expected


def test_the_cases_above_reach_every_status():
    (mark,) = test_statuses.pytestmark
    assert {expected.status for _, _, expected in mark.args[1]} == set(PARSE_STATUSES)


def test_a_fence_is_longer_than_the_backticks_in_it():
    assert fenced("x") == "```python\nx\n```"
    assert fenced("x = '```'").startswith("````python\n")
    assert fenced("`" * 7).endswith("\n" + "`" * 8)


def test_a_problem_that_would_be_cut_short_is_refused():
    with pytest.raises(ValueError, match="### Solution"):
        render(f"Before\n{SOLUTION}  \nafter", "x = 1")
    assert parse(render(f"In line {SOLUTION} is fine, and {PROBLEM}", "x = 1")).status == "ok"


def test_the_text_hash_ignores_case_and_white_space_only():
    hashes = [Parsed("ok", p, s).text_hash for p, s in [("Add a.", "x = 1"), ("ADD\ta. ", "X=1"), ("Add a", "x = 1")]]
    assert hashes[0] == hashes[1] != hashes[2]
    assert Parsed("ok", "ab", "c").text_hash != Parsed("ok", "a", "bc").text_hash
    assert Parsed("syntax_error", "Add a.", "x = 1").text_hash is None


@pytest.mark.parametrize("code", ["x = (", "x\0", "\ud800", "x = " + "-" * 100_000 + "1", "  x = 1"])
def test_what_is_not_python_is_false_and_no_error(code):
    assert not is_python(code)
