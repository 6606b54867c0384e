"""Pairs: what is rendered is parsed back, and a malformed answer gets the status that says why."""

import time

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
        "**Problem**\n",
        "Solution:\n",
        "## Solution\n",
        "```markdown\n",
        "~~~\n",
        "<think>",
        "</think>",
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
        ("", "stop", Parsed("no_answer")),
        (" \n", "length", Parsed("unfinished")),
        ("x" * 1_000_001, "stop", Parsed("no_problem")),
        ("", "error", Parsed("engine_error")),
        (WHOLE, "error", Parsed("engine_error")),
        ("", "prompt_too_long", Parsed("prompt_too_long")),
    ],
)
def test_statuses(text, finish_reason, expected):
    assert parse(text, finish_reason) == expected


DOUBLE = "### Problem\nTwice x.\n\n### Solution\n```python\ndef double(x):\n    return 2 * x\n```\n"
CODE = "def double(x):\n    return 2 * x"
TICKS = "```"
FORMS = {
    "windows": DOUBLE.replace("\n", "\r\n"),
    "two signs": DOUBLE.replace("###", "##"),
    "one sign, small": DOUBLE.replace("### Problem", "# problem").replace("### Solution", "# SOLUTION"),
    "colon": DOUBLE.replace("Problem", "Problem:").replace("Solution", "Solution:"),
    "statement": DOUBLE.replace("### Problem\n", "## Problem Statement: "),
    "bold": DOUBLE.replace("### Problem", "**Problem**").replace("### Solution", "**Solution**"),
    "bold, in a line": DOUBLE.replace("### Problem\n", "**Problem:** ").replace("### Solution", "__Solution__:"),
    "bold behind signs": DOUBLE.replace("### Problem", "### **Problem**").replace("### Solution", "## **Solution:**"),
    "plain": DOUBLE.replace("### Problem\n", "Problem: ").replace("### Solution", "Solution:"),
    "in a sentence": f"Sure! {DOUBLE}",
    "outer fence": f"```markdown\n{DOUBLE}```\n",
    "outer fence, two signs": f"```markdown\n{DOUBLE.replace('###', '##')}```\n",
    "outer fence behind a sentence": f"Here it is:\n\n````\n{DOUBLE}````\nGood luck!",
    "tildes": DOUBLE.replace(TICKS, "~~~"),
    "blanks in the fence": DOUBLE.replace("```python", "``` python  "),
    "indented fence": DOUBLE.replace("```python", "1. So:\n\n   ```python")
    .replace("def", "   def")
    .replace("    return", "       return"),
    "set-up in a shell": DOUBLE.replace("```python", "```bash\npip install x\n```\n\n```python"),
    "used below": f"{DOUBLE}\nUse it:\n```python\nprint(double(2))\n```\n",
    "tested below": f"{DOUBLE}\n```python\ndef test_double():\n    assert double(2) == 4\n```\n",
    "cut in a later block": f"{DOUBLE}\n```python\ndef other():\n",
    "another pair below": f"{DOUBLE}\n### Problem\nX.\n\n### Solution\n```python\ndef double(): ...\n```",
    "an earlier version": DOUBLE.replace("```python", "```python\ndef double(x):\n    return x\n```\nNo:\n```python"),
    "an example of a solution": DOUBLE.replace("Twice x.", "Twice x.\nSolution: 4").replace(
        "Solution: 4", "Solution: 4"
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_that_models_write(name):
    found = parse(FORMS[name], "length" if "cut" in name else "stop")
    problem = "Twice x.\nSolution: 4" if "example" in name else "Twice x."
    assert (found.status, found.problem, found.solution) == ("ok", problem, CODE)


@pytest.mark.parametrize("inner", ["```\n>>> double(2)\n4\n```", "    ```python\n    double(2)\n    ```"])
def test_a_docstring_with_a_fence_is_not_cut(inner):
    body = f'def double(x):\n    """Twice.\n\n{inner}\n    """\n    return 2 * x'
    assert parse(DOUBLE.replace(CODE, body)).solution == body


def test_blocks_of_one_program_are_joined():
    helper = f"{DOUBLE}And then:\n```python\ndef four(x):\n    return double(double(x))\n```"
    assert parse(helper).solution == f"{CODE}\n\n\ndef four(x):\n    return double(double(x))"
    other = f"{DOUBLE}Another way:\n```python\ndef twice(x):\n    return x + x\n```"
    assert parse(other).solution == CODE


def test_a_plain_line_of_an_example_is_no_heading_under_a_marked_one():
    found = parse("### Problem\nTwice x.\nSolution: 4\n```python\nx = 1\n```")
    assert (found.status, found.reason) == ("no_solution", "there is no heading '### Solution'")


def test_a_comment_in_the_code_of_a_problem_is_no_heading():
    text = DOUBLE.replace("###", "##").replace("Twice x.", "Mend:\n```python\n# Solution\nx = 1\n```\nIt is wrong.")
    assert parse(text).problem == "Mend:\n```python\n# Solution\nx = 1\n```\nIt is wrong."


@pytest.mark.parametrize("sign", ["###", "##", "**"])
def test_a_solution_before_its_problem_is_not_whole(sign):
    end = sign if sign == "**" else ""
    found = parse(f"{sign} Solution{end}\n```python\nx = 1\n```\n{sign} Problem{end}\nAdd.".replace("** ", "**"))
    assert (found.status, found.reason) == ("no_problem", "'### Solution' stands before '### Problem'")


@pytest.mark.parametrize("status", [s for s in PARSE_STATUSES if s != "ok"])
def test_every_fault_has_its_reason(status):
    (mark,) = test_statuses.pytestmark
    cases = [(text, reason) for text, reason, expected in mark.args[1] if expected.status == status]
    assert cases and all(parse(*case).reason for case in cases)


MEGA = 900_000
HOSTILE = {
    "fences": "```\n" * (MEGA // 4),
    "headings": "## Problem\n" * (MEGA // 11),
    "solutions": "### Solution\n" * (MEGA // 13),
    "opened": f"{DOUBLE[:38]}" + "```python\n" * (MEGA // 11),
    "blocks": f"{DOUBLE[:38]}" + "```python\ndef f(): pass\n```\n" * (MEGA // 30),
    "blanks": "### Problem\nx\n### Solution\n" + " " * MEGA,
    "blanks and signs": " " * (MEGA // 2) + "#" * (MEGA // 2),
    "stars": "*" * MEGA,
    "brackets": DOUBLE.replace("2 * x", "(" * MEGA),
    "brackets in lines": DOUBLE.replace("2 * x", "(\n" * (MEGA // 2)),
    "minuses": DOUBLE.replace("2 * x", "-" * MEGA + "x"),
    "nul": DOUBLE.replace("2 * x", "2\0" * (MEGA // 2)),
    "surrogates": DOUBLE.replace("2 * x", "\ud800" * (MEGA // 2)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_take_no_time(name):
    start = time.process_time()
    assert parse(HOSTILE[name]).status in PARSE_STATUSES
    assert time.process_time() - start < 5


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
