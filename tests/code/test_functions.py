"""Extraction: which functions of a file become snippets, and that their text is still Python."""

import argparse
import ast
import dataclasses
import enum
import inspect
import sys
import textwrap
import typing
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import functions as extraction
from builders.code import validity
from builders.code.functions import (
    Extracted,
    Function,
    extract,
    functions,
    parsed,
    signature_of,
    whole,
    without_docstring,
)


def found(source: str) -> dict[str, object]:
    return {f.name: f for f in functions(textwrap.dedent(source))}


def test_only_documented_functions_are_found():
    source = '''
        def documented(a):
            """Doc."""
            return a

        def bare(a):
            return a

        def blank(a):
            """   """
            return a

        def numbered(a):
            1
            return a

        def formatted(a):
            f"""Not a docstring {a}."""
            return a
    '''
    assert list(found(source)) == ["documented"]


def test_decorators_belong_to_the_function_and_to_its_line():
    source = "import x\n\n\n@x.one\n@x.two(\n    3,\n)\ndef f(a):\n    'Doc.'\n    return a\n"
    (f,) = functions(source)
    assert (f.line, f.num_lines) == (4, 7)
    assert f.code == "@x.one\n@x.two(\n    3,\n)\ndef f(a):\n    'Doc.'\n    return a"
    assert f.signature == "def f(a):"


def test_a_decorator_in_parentheses_is_kept_whole():
    (f,) = functions("x = 1\n@(\n    deco\n)\ndef f(a):\n    'Doc.'\n    return a\n")
    assert (f.line, f.code.split("\n")[0]) == (2, "@(")
    ast.parse(f.code)


def test_methods_carry_the_names_of_their_classes():
    source = '''
        class Outer:
            def method(self):
                """Doc."""
                return 1

            class Inner:
                @property
                async def deep(self):
                    """Doc."""
                    return 2

        async def free():
            """Doc."""
    '''
    methods = found(source)
    assert list(methods) == ["Outer.method", "Outer.Inner.deep", "free"]
    assert [f.is_method for f in methods.values()] == [True, True, False]
    assert [f.is_async for f in methods.values()] == [False, True, True]
    assert methods["Outer.Inner.deep"].code.startswith("@property\nasync def deep(self):\n    ")
    assert methods["Outer.Inner.deep"].signature == "async def deep(self):"


def test_nested_functions_stay_inside():
    source = '''
        def outer(a):
            """Outer."""
            def inner(b):
                """Inner."""
                return b
            return inner(a)
    '''
    assert list(found(source)) == ["outer"]
    assert "def inner" in found(source)["outer"].code


def test_line_ends_and_a_byte_order_mark_do_not_make_another_snippet():
    unix = "def f(a):\n    '''Doc\n    more.'''\n    return a\n"
    variants = [unix, unix.replace("\n", "\r\n"), unix.replace("\n", "\r"), "\ufeff" + unix]
    assert {next(functions(v)).code for v in variants} == {unix.rstrip("\n")}
    assert {next(functions(v)).line for v in variants} == {1}


def test_docstring_lines_further_left_than_the_method():
    source = 'class A:\n    def f(self):\n        """Doc.\n\n  left\nfar left\n        """\n        return 1\n'
    (f,) = functions(source)
    assert f.code == 'def f(self):\n    """Doc.\n\n  left\nfar left\n        """\n    return 1'
    assert ast.get_docstring(ast.parse(f.code).body[0]) == f.docstring


def test_tabs_and_page_breaks_before_a_definition():
    (tabbed,) = functions("class A:\n\tdef f(self):\n\t\t'Doc.'\n\t\treturn 1\n")
    assert tabbed.code == "def f(self):\n\t'Doc.'\n\treturn 1"
    (broken,) = functions("\x0cdef f():\n 'Doc.'\n return 1\n")
    assert broken.code == "def f():\n 'Doc.'\n return 1"
    (method,) = functions("class A:\n\x0c  def f():\n    'Doc.'\n    return 1\n")
    assert method.code == "def f():\n  'Doc.'\n  return 1"


def test_one_line_definitions():
    (f,) = functions("def f(): 'Doc.'; return 1\n\n\ndef g(): return 1\n")
    assert (f.code, f.num_lines) == ("def f(): 'Doc.'; return 1", 1)


def test_an_escape_that_is_no_character_leaves_a_docstring_that_can_be_stored():
    (f,) = functions('def f():\n    """Half of \\ud83d and a \\0 byte."""\n    return 1\n')
    assert f.docstring.encode("utf-8") == b"Half of ? and a \0 byte."
    assert "\\ud83d" in f.code


@pytest.mark.parametrize("source", ["print 'two'\n", "def f(:\n", "def f():\n    'Doc.'\n  x\n", "\ud800"])
def test_what_does_not_parse_raises_for_the_caller_to_count(source):
    with pytest.raises((SyntaxError, ValueError)):
        list(functions(source))


def test_foreign_style_prints_no_warning_and_is_no_error():
    source = "def f():\n    'Doc \\d.'\n    return '\\d'\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [f.name for f in functions(source)] == ["f"]
        assert without_docstring(source.strip()) == "def f():\n    return '\\d'"


@pytest.mark.parametrize(
    "written, signature",
    [
        ("def f(a,b = 1):\n 'D'", "def f(a, b=1):"),
        ("@deco\nasync def f(*args: int, **kw) -> 'x':\n 'D'", "async def f(*args: int, **kw) -> 'x':"),
        ("def f(a, /, b, *, c='\\n    pass'):\n 'D'", "def f(a, /, b, *, c='\\n    pass'):"),
        ("def f(\n    a,\n    b: dict[str, int],\n):\n 'D'", "def f(a, b: dict[str, int]):"),
    ],
)
def test_signatures_are_normalised(written, signature):
    assert signature_of(parsed(written).body[0]) == signature


def test_without_docstring_keeps_the_formatting_of_the_rest():
    code = "@deco( 1 )\ndef f( a,b ):\n    '''Doc.\n\n    more'''  # said\n\n    # why\n    return  a+b   # sum"
    assert without_docstring(code) == "@deco( 1 )\ndef f( a,b ):\n    # why\n    return  a+b   # sum"


def test_without_docstring_of_a_header_over_several_lines():
    code = "def f(\n    a,\n):\n    ('Doc '\n     'more.')\n    return a"
    assert without_docstring(code) == "def f(\n    a,\n):\n    return a"


@pytest.mark.parametrize(
    "code",
    [
        "def f(): 'Doc.'; return 1",
        "def f(a,\n  b): 'Doc.'; return 1",
        "def f(a):\n    'Doc.'; b = a\n    return b",
        "def f(a):\n    'Doc.'",
        "def f(a):\n    return a",
        "x = 1",
    ],
)
def test_without_docstring_refuses_what_it_would_mutilate(code):
    with pytest.raises(ValueError):
        without_docstring(code)


NAMES = st.sampled_from(["a", "b_1", "Ünü"])
STATEMENTS = st.sampled_from(["x = 1", "return a", "'text'", "if a:\n    pass", "y = '''\nleft\n'''", "# note\npass"])


@settings(deadline=None)
@given(name=NAMES, depth=st.integers(0, 3), body=st.lists(STATEMENTS, min_size=1, max_size=4), tab=st.booleans())
def test_what_is_cut_out_parses_to_the_same_function(name, depth, body, tab):
    step = "\t" if tab else "   "
    inner = [step + line for line in ["'Doc.'", *"\n".join(body).split("\n")]]
    lines = [step * depth + line for line in [f"def {name}():", *inner]]
    source = "\n".join([step * d + f"class C{d}:" for d in range(depth)] + lines)
    (f,) = functions(source)
    alone = ast.parse(source).body[0]
    for _ in range(depth):
        alone = alone.body[0]
    assert ast.dump(ast.parse(f.code).body[0]) == ast.dump(alone)
    assert extract([source])[0].functions == [f]
    kept = ast.parse(without_docstring(f.code)).body[0]
    assert [ast.dump(n) for n in kept.body] == [ast.dump(n) for n in alone.body[1:]]


# -- many files at once ----------------------------------------------------------------------------

GOOD = "class A:\n    @property\n    def f(self):\n        'Doc.'\n        return 1\n\n\ndef g(a=1):\n    return a\n"
SOURCES = [
    GOOD,
    "print 'two'\n",
    GOOD.replace("\n", "\r\n"),
    "\ufeff" + GOOD,
    "def café():\n    'Doc.'\n",
    "def f():\n    'Doc.'\n    return f'{a!r }'\n",
    "def f():\n    '\ud800'\n",
    "def f():\n    'Doc.'\n\0",
    "x = " + "-" * 100_000 + "1\ndef f():\n    'Doc.'\n",
    "x = '''\ndef f():\n    'Doc.'\n'''\n",
    "if x:\n",
    "",
]


def test_many_files_at_once_give_what_each_gives_by_its_syntax_tree():
    found = extract(SOURCES)
    assert found == [whole(s) for s in SOURCES]
    assert [(len(f.functions), f.num_undocumented, f.is_parsed) for f in found] == [
        (1, 1, True),
        (0, 0, False),
        (1, 1, True),
        (1, 1, True),
        (1, 0, True),
        (0, 0, True),  # a newer Python parses it, and its function is refused
        (0, 0, False),
        (0, 0, False),
        (0, 0, False),
        (0, 0, True),
        (0, 0, False),
        (0, 0, True),
    ]
    assert extract([]) == []


def test_ordinary_files_need_no_syntax_tree(monkeypatch):
    monkeypatch.setattr(extraction, "parsed", None)
    (found,) = extract([GOOD])
    code = "@property\ndef f(self):\n    'Doc.'\n    return 1"
    assert found == Extracted([Function("A.f", code, "def f(self):", "Doc.", 2, 4, True, False)], 1)


def test_without_a_linter_everything_goes_through_the_syntax_tree(monkeypatch):
    monkeypatch.setattr(validity, "accepted", lambda texts: [False] * len(texts))
    assert extract(SOURCES) == [whole(s) for s in SOURCES]


def test_top_level_functions_alone():
    source = GOOD + "\n\ndef h():\n    'Doc.'\n"
    (found,) = extract([source], methods=False)
    assert [f.name for f in found.functions] == ["h"] and found.num_undocumented == 1
    assert found == whole(source, methods=False)


def test_files_of_the_standard_library_give_what_their_syntax_trees_give():
    modules = [argparse, ast, dataclasses, enum, inspect, textwrap, typing]
    sources = [inspect.getsource(m) for m in modules]
    found = extract(sources)
    assert found == [whole(s) for s in sources] and sum(len(f.functions) for f in found) > 200


# -- strings of methods ----------------------------------------------------------------------------


def method(*lines: str) -> str:
    return "\n".join(["class A:", "    def f(self, a):", *(" " * 8 * bool(line) + line for line in lines)]) + "\n"


STRINGS = [
    method("'Doc.'", 'text = """', "    SELECT *", "  FROM t", '""", "return text"'),
    method("'Doc.'", "return '''", "  ", "    '''"),
    method("'Doc.'", "return f'''", "    {a}", "  {", "    a", "  }'''"),
    method("'Doc.'", "return b'''", "    a", "'''"),
    method("'Doc.'", "return 'a\\", "    b'"),
    method("'Doc.'", "return ('a'", "    'b')"),
    method("'Doc.'", "return [", '  \'"""\', a,', '    \'"""\']'),
    method("'Doc.'", "# it's", "return '''", "x'''"),
    method("'Doc.'", "return a + \\", "    1"),
    method('"""One.', "", "    Two.", '"""', "return '''", "x'''"),
    method('"""One.', "", "    Two\\tthree\\nfour.", '"""', "return 1"),
    method('"""One.', "", "    Two\tthree.", '"""', "return 1"),
    method('"""One.\\', "    Two.", '"""', "return 1"),
    method("('''One.", "    Two.''')", "return 1"),
    method("'''One.", "    Two.''' 'three'", "return 1"),
    method("r'''One \\d.", "    Two.'''", "return 1"),
]


@pytest.mark.parametrize("source", STRINGS)
def test_the_strings_of_a_method_stay_as_they_are(source):
    (found,) = extract([source])
    assert found == whole(source)
    (f,) = found.functions
    before, after = ast.parse(source).body[0].body[0], ast.parse(f.code).body[0]
    assert [ast.dump(n) for n in after.body[1:]] == [ast.dump(n) for n in before.body[1:]]
    assert ast.get_docstring(after) == ast.get_docstring(before) == f.docstring
    assert f.code.startswith("def f(self, a):\n    ")


def test_an_ordinary_docstring_moves_with_its_method():
    source = method('"""One.', "", "    Two.", '"""', "return 1")
    (f,) = extract([source])[0].functions
    assert f.code == 'def f(self, a):\n    """One.\n\n        Two.\n    """\n    return 1'


# -- newer syntax ----------------------------------------------------------------------------------

NEWER = """import x


def first[T](a: T) -> T:
    '''Doc.'''
    return a


class Box[T]:
    @x.y(
        1,
    )
    def put(self, a):
        '''Doc.'''
        text = '''
  left'''
        return a + text

    def nested(self, a):
        '''Doc.'''
        return f"{a["x"]:{a["n"]}} {{ {f"{a!r}"}"


def caught(a):
    '''Doc.'''
    try:
        return a()
    except KeyError, ValueError:
        return t'{a}'


def bare[T](a): return a


def plain(a): 'Doc.'; return a
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python knows the syntax")
def test_newer_syntax_costs_only_the_functions_that_have_it():
    (found,) = extract([NEWER])
    assert found == whole(NEWER)
    assert [(f.name, f.line, f.num_lines) for f in found.functions] == [("Box.put", 10, 8), ("plain", 35, 1)]
    assert found.functions[0].code.startswith("@x.y(\n    1,\n)\ndef put")
    assert "'''\n  left'''" in found.functions[0].code
    assert found.refused == [("first", 4), ("Box.nested", 19), ("caught", 24)]
    assert (found.num_undocumented, found.is_parsed) == (1, True)
    assert extract(["print 'two'\n", "def f[T](:\n"]) == [Extracted(is_parsed=False)] * 2


def test_functions_of_newer_syntax_without_methods():
    (found,) = extract([NEWER], methods=False)
    assert found == whole(NEWER, methods=False)
    assert {f.name for f in found.functions} | {r.name for r in found.refused} == {"first", "caught", "plain"}
