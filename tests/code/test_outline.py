"""The outline of a file has the same functions as its syntax tree.

That holds whatever stands in strings, comments and brackets.
"""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code.functions import _from_outline, whole
from builders.code.outline import CLASS, outline, outlined


def by_outline(source: str):
    """What the outline gives, None for an odd file."""
    data = source.encode()
    found = outlined(data)
    return None if found is None else _from_outline(data, found)


def names(source: str) -> list[str]:
    data = source.encode()
    return [data[d.name_at : d.name_end].decode() for d in outline(data) or () if d.kind != CLASS]


@pytest.mark.parametrize(
    "source",
    [
        '"""\ndef f():\n    \'Doc.\'\n"""\n',
        "x = '''\ndef f():\n    pass\n'''\n",
        "x = (\ndef_\n)\n",
        "x = 1 + \\\ndef_\n",
        "if x:\n    def f():\n        'Doc.'\n",
        "try:\n    pass\nfinally:\n    def f(): pass\n",
        "define = 1\ndef_f = 2\nclassify(x)\nasync_ = 3\n",
        "# def f(): pass\n",
        "with a as b:\n  class C:\n    def f(self): pass\n",
        "x = {\n    'def': 1,\n}\n",
        "x = f'''\ndef f(): pass\n'''\n",
    ],
)
def test_what_is_no_function_of_the_module_or_of_a_class_is_not_found(source):
    ast.parse(source)
    assert names(source) == [] and outline(source.encode()) is not None


@pytest.mark.parametrize(
    "source",
    [
        "def  f  (a) : pass\n",
        "@a\n\n# between\n@b(\n  '''\ndef g(): pass\n'''\n)\nclass C:\n  'doc'\n\n  @x\n  async  def f(self):\n    '''Doc'''\n    def g(): pass\n",
        "def f(a=lambda: 1, b={1: 2}, c=x[1:2]) -> {1: 2}[1]:\n\n    # note\n    'Doc'\n",
        "def f():\n    r'''Doc \\d'''; x = 1\n",
        "def f():\n    ('Doc '\n     'more')\n",
        "def f():\n    'Doc' 'more'\n",
        "def f():\n    'Doc'.strip()\n",
        "def f():\n    'Doc', 1\n",
        "def f():\n    'Doc' \\\n    'more'\n",
        "def f():\n    b'Doc'\n",
        "def f():\n    u'Doc'\n",
        "def f():\n    R'Doc'\n",
        "def f():\n    ''\n",
        "def f():\n    '''  '''\n",
        "def f(): 'Doc'\n",
        "def f(): x = 1\n",
        "def f(\n): 'Doc' # note\n",
        "class A: x = 1\ndef f():\n 'Doc'\n",
        "class A:\n\tdef f(self):\n\t\t'Doc'\n\t\treturn 1\n\n  # note\n\tdef g(self): 'Doc'\n",
        "class A:\n    def f(self):\n        'Doc'\n        if x:\n            pass\n        # trailing\n\n    # of the class\n    x = 1\n# end",
        "class A:\n  class B:\n    class C:\n      def f(self):\n        'Doc\\n'\n    def g(self): pass\n  def h(self): 'Doc'\n",
        "class A:\n    if x:\n        def f(self):\n            'Doc'\n    def g(self):\n        'Doc'\n",
        "class A:\n    def f(self):\n        '''Doc\n  \n\tleft\n    \n        '''\n        return '''\n  \n'''\n",
        "def f():\n    'Doc'\n\x0c\ndef g():\n    'Doc'\n",
        "def f():\n    'Doc'\n    return f'{a!r:>{w}} {b[\"c\"]} {{x}} {d=}'\n",
        "def f():\n    'Doc'\n    return 1 if x else'a' or b\"c\"\ndef g():\n    'Doc \\\n more'",
        "def f():\n    'Döc'\n    # ünï\n    return 'é'\n",
        "def f():\n    'Doc'\n    return [\n1,\n# note )\n]\ndef g():\n    'Doc'\n",
        "if x:\n    pass\nelse:\n    pass\ndef f():\n    'Doc'\n",
        "match x:\n    case 1:\n        pass\ndef f(match, case):\n    'Doc'\n",
        "def f():\n    'Doc'\n\n\n\n",
        "",
        "\n",
        "# nothing",
    ],
)
def test_the_outline_finds_what_the_syntax_tree_has(source):
    assert by_outline(source) == whole(source)
    assert whole(source).is_parsed


@pytest.mark.parametrize(
    "source",
    [
        "café = 1\n",
        "x = 1\n\x0cdef f(): pass\n",
        "x = 1 \\\n",
        "x = 1 \\\n\n",
        "\\\nx = 1\n",
        "x = 'open\n",
        "x = '''open\n",
        "x = (1\n",
        "x = 1)\n",
        "x = '\\N{DIGIT ONE}'\n",
        "x = 1" + "0" * 5000 + "\n",
        "x = " + "(" * 100 + "1" + ")" * 100 + "\n",
        "x = " + "-" * 1000 + "1\n",
        "x = " + " + ".join("1" * 500) + "\n",
        "x = a" + ".b()" * 500 + "\n",
        "if a:\n    pass\n" + "elif a:\n    pass\n" * 500,
        "".join(" " * n + "if a:\n" for n in range(80)) + " " * 80 + "pass\n",
        'x = f"{a["b"]}"\n',
        "x = f'{a:{b:{c}}}'\n",
        "x = f'{a!r }'\n",
        "x = f'{*a}'\n",
        "x = f'{a\\n}'\n",
        "x = f'''{a # note\n}'''\n",
        "x = f'{a'\n",
        "x = f'a}'\n",
        "def f() -> lambda: 1: pass\n",
        "x = 1\x00\n",
        "x = 1\x0b\n",
        "x = 1\u00a0\n",
    ],
    ids=lambda s: repr(s[:20]),
)
def test_odd_files_are_left_to_the_parser(source):
    assert outline(source.encode()) is None


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_are_too_strange(data):
    outline(data)


@given(st.text(st.sampled_from("def f():\n\t '\"\\#[]{}@x;,fr=!aclsync")))
@settings(max_examples=300, deadline=None)
def test_whatever_parses_is_outlined_as_its_tree(source):
    found = whole(source)
    if found.is_parsed:
        assert by_outline(source) in (None, found)


# -- modules of nasty parts ------------------------------------------------------------------------

STRINGS = [
    "'a'",
    '"b\'c"',
    "'''\ndef x():\n    'Doc'\n'''",
    '"""\n    @deco\nclass X:\n"""',
    "r'\\'",
    "b'\\''",
    "f'{a!r:>{b}}'",
    "rb'''\n#'''",
    "f\"{x['#'] if y else 1}\"",
    "'\\\ndef x(): pass'",
    "''",
    "f'{{'",
    "('a'\n'b')",
]
EXPRESSIONS = st.sampled_from(
    [*STRINGS, "1", "(\n1,\n# )\n)", "[x for x in y]", "{\n'def': 1}", "lambda: 0", "x if y else'z'", "a \\\n  + b"]
)
COMMENTS = st.sampled_from(["", "  # note", " # def x(): 'Doc'", "  # '''", " # (", "\n", "\n\n# left\n", "\n\x0c\n"])
DOCSTRINGS = st.sampled_from(
    [
        "'Doc.'",
        '"""Doc.\n\n  more\nleft\n"""',
        "r'Doc \\d'",
        "'Doc \\n'",
        "('Doc')",
        "'a' 'b'",
        "''",
        "f'x'",
        "b'x'",
        "1",
        "'Doc'; y = 1",
    ]
)
DECORATORS = st.lists(
    st.sampled_from(["@d", "@d(\n'''\n@e\n'''\n)", "@(\n  d\n)", "@d.e # note\n", "@d\n\n# between"]), max_size=2
)
HEADERS = st.sampled_from(
    ["(a)", "()", "( a,b )", "(a, b=1, *c, d: int = 2, **e) -> int", "(\n    a,  # note (\n    b='x:y',\n)", "(a=lambda: 1)", "(a, /, *, b) -> 'X'", '(a="x", b = "y")', "(a: X[int, str] | None = None,)"]
)  # fmt: skip


def indented(text: str, by: str) -> str:
    """The text with every line moved, what stands in strings too."""
    return "".join(by + line if line.strip() else line for line in text.splitlines(keepends=True))


@st.composite
def functions_(draw: st.DrawFn, depth: int) -> str:
    head = draw(st.sampled_from(["def ", "async def ", "def  "])) + draw(st.sampled_from(["f", "g_1", "def_"]))
    decorators = "".join(d + "\n" for d in draw(DECORATORS))
    body = (
        draw(DOCSTRINGS)
        + draw(COMMENTS)
        + "\n"
        + draw(st.sampled_from(["", "return 1\n", "if x:\n  def n():\n    'Doc'\n"]))
    )
    if draw(st.integers(0, 5)) == 0:
        return f"{decorators}{head}{draw(HEADERS)}: {draw(DOCSTRINGS)}{draw(COMMENTS)}\n"
    return f"{decorators}{head}{draw(HEADERS)}:{draw(COMMENTS)}\n{indented(body, draw(st.sampled_from(['    ', ' ', chr(9)])))}"


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.sampled_from(["function", "function", "class", "statement", "if"]))
    if kind == "function":
        return draw(functions_(depth))
    if kind == "statement" or depth > 2:
        return f"x = {draw(EXPRESSIONS)}{draw(COMMENTS)}\n"
    inner = "".join(draw(st.lists(blocks(depth + 1), min_size=1, max_size=3)))
    header = "class C(B):" if kind == "class" else "if x:"
    return header + draw(COMMENTS) + "\n" + indented(inner, draw(st.sampled_from(["    ", "  ", "\t"])))


MODULES = st.lists(blocks(), min_size=1, max_size=5).map("".join)


@given(MODULES)
@settings(max_examples=120, deadline=None)
def test_generated_modules_are_outlined_as_their_trees(source):
    found = whole(source)
    if found.is_parsed:
        assert by_outline(source) in (None, found)


def test_most_generated_modules_are_really_compared():
    seen = []

    @given(MODULES)
    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    def look(source):
        seen.append(whole(source).is_parsed and by_outline(source) is not None)

    look()
    assert sum(seen) > len(seen) / 2
