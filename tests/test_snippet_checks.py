"""snippet_checks: each measurement on functions small enough to count by hand."""

import ast
import textwrap

import pytest

from builders import raw_pool, snippet_checks
from builders.snippet_checks import cyclomatic, measure, num_tokens
from store import Store
from tests.tiny_recipes import read, recipe, tree


def measured(code: str, name: str = "f", docstring: str = "Doc.", banned: tuple[str, ...] = ()) -> dict:
    return measure(name, textwrap.dedent(code).strip("\n"), docstring, set(banned))


def body(*lines: str) -> str:
    return "\n    ".join(["def f(a, b):", "'Doc.'", *lines])


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["pass"],
        ["..."],
        ["raise NotImplementedError"],
        ["return"],
        ["return None"],
        ["return 3"],
        ["return a"],
        ["return self.x.y"],
        ["return other(a, b)"],
        ["return self.other(*a, key=b)"],
        ["super().f(a)"],
    ],
)
def test_trivial(lines):
    assert measured(body(*lines))["is_trivial"]


@pytest.mark.parametrize(
    "lines",
    [
        ["return a + b"],
        ["return other(a + b)"],
        ["return other(other(a))"],
        ["return other(key=other(a))"],
        ["return sum(x * x for x in a)"],
        ["return sorted(a, key=lambda x: -x)"],
        ["return [x for x in a]"],
        ["return a if b else 3"],
        ["b = a", "return b"],
        ["if a:", "    return b"],
        ["a.x = b"],
    ],
)
def test_not_trivial(lines):
    assert not measured(body(*lines))["is_trivial"]


@pytest.mark.parametrize(
    "lines, expected",
    [
        (["return a"], True),
        (["return 0"], True),
        (["return"], False),
        (["return None"], False),
        (["print(a)"], False),
        (["if a:", "    return b", "return"], True),
        (["try:", "    return a", "finally:", "    pass"], True),
        (["yield"], True),
        (["yield from a"], True),
        (["x = yield a"], True),
        (["def g():", "    return a", "g()"], False),
        (["def g():", "    yield a", "return g()"], True),
        (["class G:", "    def h(self):", "        return a"], False),
        (["a(lambda: (yield b))"], False),
        (["async def g():", "    return a"], False),
        (["a[0] = [x for x in b]"], False),
    ],
)
def test_returns_value(lines, expected):
    assert measured(body(*lines))["returns_value"] is expected


@pytest.mark.parametrize(
    "code, expected",
    [
        ("pass", 1),
        ("if a:\n    pass\nelif b:\n    pass\nelse:\n    pass", 3),
        ("for x in a:\n    pass\nelse:\n    pass", 2),
        ("while a and b and c:\n    pass", 4),
        ("x = a if b else c", 2),
        ("x = a or b", 2),
        ("try:\n    pass\nexcept A:\n    pass\nexcept B:\n    pass\nfinally:\n    pass", 3),
        ("x = [y for y in a if y if b]", 4),
        ("x = {y: z for y in a for z in y}", 3),
        ("assert a", 2),
        ("with a:\n    pass", 1),
        ("match a:\n    case 1:\n        pass\n    case [x, y] if x:\n        pass\n    case _:\n        pass", 3),
        ("match a:\n    case _ if b:\n        pass\n    case x:\n        pass", 2),
        ("def g():\n    if a:\n        pass", 2),
    ],
)
def test_cyclomatic(code, expected):
    assert cyclomatic(ast.parse(code)) == expected


@pytest.mark.parametrize(
    "header, expected",
    [
        ("def f():", 0),
        ("def f(self, a):", 1),
        ("def f(cls):", 0),
        ("def f(a, /, b, *c, d, e=1, **g):", 6),
        ("async def f(a, *, b):", 2),
    ],
)
def test_num_arguments(header, expected):
    assert measured(f"{header}\n    'Doc.'\n    return 1")["num_arguments"] == expected


@pytest.mark.parametrize(
    "lines, expected",
    [
        ([], 0),
        (["return a"], 1),
        (["if a:", "    b = 1", "return b"], 3),
        (["def g():", "    return a", "return g"], 3),
        (["x = [y for y in a]; return x"], 2),
    ],
)
def test_num_statements_leaves_the_docstring_out(lines, expected):
    assert measured(body(*lines))["num_statements"] == expected


@pytest.mark.parametrize(
    "name, is_test, is_dunder",
    [
        ("test_add", True, False),
        ("TestAdd.helper", True, False),
        ("Suite.test_add", True, False),
        ("Suite.setUp", True, False),
        ("latest", False, False),
        ("contest.attest", False, False),
        ("A.__init__", False, True),
        ("__all_of__", False, True),
        ("__private", False, False),
        ("A__.f__", False, False),
    ],
)
def test_names_of_tests_and_dunders(name, is_test, is_dunder):
    found = measured(body("return a"), name=name)
    assert (found["is_test"], found["is_dunder"]) == (is_test, is_dunder)


@pytest.mark.parametrize(
    "line, expected",
    [
        ("import os", ["os"]),
        ("import os.path as p, sys", ["os", "sys"]),
        ("from os.path import join", ["os"]),
        ("from os import *", None),
        ("from .os import x", []),
        ("from . import os", []),
        ("import ostrich", []),
        ("x = 'import os'", []),
        ("# import os", []),
        ("def g(): import os", ["os"]),
        ("os = 1", []),
    ],
)
def test_banned_imports_are_those_of_the_syntax_tree(line, expected):
    # a star import parses, though it cannot run inside a function
    found = measured(body(line, "return a"), banned=("os", "sys"))["banned_imports"]
    assert found == (["os"] if expected is None else expected)


def test_the_docstring_measurements():
    found = measured(body("return a"), docstring="Adds `a` to bé.\n\nTwo é.")
    assert found["num_docstring_words"] == 6
    assert found["docstring_ascii"] == pytest.approx(1 - 2 / 23)
    assert found["docstring_name_overlap"] == 0.5  # `bé` is not b
    assert measured("def f():\n    'Doc.'\n    return 1")["docstring_name_overlap"] == 1.0


@pytest.mark.parametrize(
    "code, expected",
    [
        ("x = 1", 3),
        ("x = 1  # one\n\n\ny = 2\n", 6),
        ("if x:\n    y", 4),
        ("'''a\nb'''", 1),
        ("x = (", 0),
        ("", 0),
    ],
)
def test_num_tokens(code, expected):
    assert num_tokens(code) == expected


def test_measuring_does_not_depend_on_the_comments():
    bare, noted = body("return a + b"), body("# why", "return a + b  # sum")
    assert measured(bare) == measured(noted)


def test_one_row_per_snippet_with_undefined_names_counted_by_the_linter(tmp_path):
    source = '''
import math

def uses_globals(a):
    """Two names from outside, and one hidden from the linter."""
    b = math.floor(a)
    c = GLOBAL  # noqa: F821
    return b + c

def alone(a):
    """Nothing from outside."""
    import math
    return len(str(math.floor(a)))
'''
    root = tree(tmp_path / "code", {"a.py": source})
    store, made = Store(tmp_path / "store"), recipe(root, pool={"banned_imports": ["math"]})
    raw_pool.build(store, made)
    snippet_checks.build(store, made)
    names = {r["snippet_id"]: r["name"] for r in read(store, "raw_pool")}
    rows = {names[r["snippet_id"]]: r for r in read(store, "snippet_checks")}
    assert {n: r["num_undefined_names"] for n, r in rows.items()} == {"uses_globals": 2, "alone": 0}
    assert {n: r["banned_imports"] for n, r in rows.items()} == {"uses_globals": [], "alone": ["math"]}
