"""What the syntax tree of a function says, on functions small enough to count by hand."""

import ast
import io
import sysconfig
import tokenize
from pathlib import Path

import pytest

from builders.checks.structure import Syntax, num_tokens, syntax


def body(*lines: str) -> str:
    return "\n    ".join(["def f(a, b):", "'Doc.'", *lines])


def of(code: str) -> Syntax:
    return syntax(ast.parse(code).body[0])


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
    assert of(body(*lines)).is_trivial


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
    assert not of(body(*lines)).is_trivial


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
    assert of(body(*lines)).returns_value is expected


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
    assert of(body(*code.split("\n"))).cyclomatic == expected


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
    assert len(of(f"{header}\n    'Doc.'\n    return 1").arguments) == expected


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
    assert of(body(*lines)).num_statements == expected


@pytest.mark.parametrize(
    "code, expected",
    [
        ("x = 1", 3),
        ("x = 1  # one\n\n\ny = 2\n", 6),
        ("if x:\n    y", 4),
        ("'''a\nb'''", 1),
        ("x = (", 3),
        ("", 0),
        ("f'{x!r} {y}' + rb'\\'' + '''a # b'''", 5),
        ("a.b[1:2] @= .5e-3 + 0x_ff + 1_0j", 14),
        ("x: int = y if z else (w := 3) ; a -> b ... != ~c ** d //= e", 25),
        ("\\x $ ? word", 2),
    ],
)
def test_num_tokens(code, expected):
    assert num_tokens(code) == expected


@pytest.mark.parametrize(
    "line, expected",
    [
        ("import os", {"os"}),
        ("import os.path as p, sys", {"os", "sys"}),
        ("from os.path import join", {"os"}),
        ("from .os import x", set()),
        ("from . import os", set()),
        ("import ostrich", {"ostrich"}),
        ("x = 'import os'", set()),
        ("# import os", set()),
        ("def g(): import os", {"os"}),
        ("os = 1", set()),
        ("__import__('os').system(a)", {"os"}),
        ("importlib.import_module('os.path')", {"os"}),
        ("importlib.import_module('.os', a)", set()),
        ("importlib.import_module(a)", set()),
        ("print('os')", set()),
    ],
)
def test_modules_are_those_of_the_syntax_tree(line, expected):
    assert of(body(line)).modules == expected


def test_the_uses_of_names_are_told_apart():
    found = of(body("c.d.e = f.g(h)", "for i in f.j: k = i", "@m.n", "def o(p=q): r"))
    assert found.attributes == {"c": {"d"}, "f": {"g", "j"}, "m": {"n"}}
    assert {"h", "i", "q", "r"} <= found.bare and not found.bare & {"c", "f", "m", "k"}
    assert {"c", "d", "e", "f", "g", "j", "k"} <= found.words


@pytest.mark.parametrize(
    "line, expected",
    [("return 1", 1), ("x = [1, 'a', b'c', 2.5, 3j]", 5), ("return True, None, ...", 0), ("x = f'{a} and'", 1)],
)
def test_literals_are_numbers_and_strings(line, expected):
    assert of(body(line)).num_literals == expected


def test_decorators_annotations_and_defaults_are_seen():
    found = of("@a.b\ndef f(x: c.d = 1 if e else 2) -> g:\n    'Doc.'")
    assert found.attributes == {"a": {"b"}, "c": {"d"}}
    assert found.bare == {"e", "g"} and found.num_literals == 2 and found.cyclomatic == 2


def test_a_very_deep_expression_is_walked():
    assert of(body("return " + "-" * 80 + "a")).returns_value
    assert of(body("return " + "+".join("a" * 900))).num_statements == 1


def test_tokens_are_those_of_the_tokenizer():
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    # Python 3.12 cuts f-strings into pieces
    parts = {"FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"}
    for name in ("textwrap", "dis", "heapq", "fractions", "tokenize"):
        code = Path(sysconfig.get_paths()["stdlib"], f"{name}.py").read_text()
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
        if not parts & {tokenize.tok_name[t.type] for t in tokens}:
            assert num_tokens(code) == sum(t.type not in skipped for t in tokens), name
