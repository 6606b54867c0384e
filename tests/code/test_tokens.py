"""lexing: tokens as Python sees them, on any text; n-grams that neither names nor layout change."""

import ast
import bisect
import builtins
import heapq
import inspect
import io
import random
import statistics
import textwrap
import tokenize
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import compiled as compiling
from builders.code import lexer
from builders.code import tokens as lexing
from builders.code.tokens import ANNOTATION, IMPORT, PROSE, code, grams, lex, literals, words

CLASSES = [
    "identifier",
    "attribute",
    "argument",
    "keyword",
    "builtin",
    "operator",
    "number",
    "string",
    "fstring",
    "word",
]


def tokens(lexed, text=0) -> list[str]:
    return [lexed.text(i, i) for i in range(lexed.offsets[text], lexed.offsets[text + 1])]


def tagged(source: str) -> dict[str, str]:
    """Token -> class and regions, for sources in which no token occurs twice."""
    lexed = lex([source])
    regions = [(PROSE, "prose"), (ANNOTATION, "annotation"), (IMPORT, "import")]
    return {
        token: " ".join([CLASSES[kind & 15], *(name for bit, name in regions if kind & bit)])
        for token, kind in zip(tokens(lexed), lexed.kinds.tolist(), strict=True)
    }


def code_of(source: str) -> str:
    return " ".join(tokens(code(lex([source]))))


def renamed_grams(source: str, n: int = 5) -> list[int]:
    return grams(code(lex([source])), n, rename=True).hashes.tolist()


def test_classes():
    assert tagged("total = math.fsum(values, start=len) + 1.5e-3 if 'a' in f'{b}' else None") == {
        "total": "identifier",
        "=": "operator",
        "math": "identifier",
        ".": "operator",
        "fsum": "attribute",
        "(": "operator",
        "values": "identifier",
        ",": "operator",
        "start": "argument",
        "len": "builtin",
        ")": "operator",
        "+": "operator",
        "1.5e-3": "number",
        "if": "keyword",
        "'a'": "string",
        "in": "keyword",
        "f'{b}'": "fstring",
        "else": "keyword",
        "None": "keyword",
    }


def test_regions():
    found = tagged('import os\n"""What it does."""\nsize: int = x  # nothing else\nReturn the list of numbers.\n')
    assert {token: tag for token, tag in found.items() if " " in tag} == {
        "import": "keyword import",
        "os": "identifier import",
        "What": "word prose",
        "it": "word prose",
        "does": "word prose",
        ":": "operator annotation",
        "int": "builtin annotation",
        "nothing": "word prose",
        "else": "word prose",
        "Return": "word prose",
        "the": "word prose",
        "list": "word prose",
        "of": "word prose",
        "numbers": "word prose",
        ".": "operator prose",
    }


@pytest.mark.parametrize(
    "source, expected",
    [
        ("def f(a: int, b: Dict[str, int] = {}, *c) -> List[int]:\n    pass", "def f a , b = { } , * c : pass"),
        ("def f(x, key=lambda y: y, z: int = 1): pass", "def f x , key = lambda y : y , z = 1 : pass"),
        ("self.x[0]: int = 5\nd = {a: b}", "self . x [ 0 ] = 5 d = { a : b }"),
        ("from a import (b,\n  c)\nimport d; x = 1", "x = 1"),
        ("f((a),\n  [b, c,],)", "f a , [ b , c ]"),
        ("if a: b\nelse:\n    if c: d", "if a : b if c : d"),
        ("match x:\n    case y: pass\nprint(z)", "match x : case y : pass print z"),
        ("a = '# no comment'  # a comment", "a = '# no comment'"),
        ("x = 1; y = 2;", "x = 1 y = 2"),
        ("f(x, ',')", "f x , ','"),
        ("a = b + \\\n    c", "a = b + c"),
        ("```python\nx = 1\n```", "x = 1"),
        ("The list doesn't matter :-(\ndef f(): return 1", "def f : return 1"),
        ("f(((\ndef g(): pass", "f def g : pass"),
        ("x = '''never closed\nwords here", "x ="),
        ("`` \0 \x1f ? $", ""),
    ],
)
def test_code_is_python_in_one_form(source, expected):
    assert code_of(source) == expected


@pytest.mark.parametrize(
    "one, other",
    [
        ("x = 'a\\'b'", 'x = "a\'b"'),
        ("x = ('a' 'b'\n  'c')", "x = 'abc'"),
        ("x = r'\\d+\\n'", "x = '\\\\d+\\\\n'"),
        ("x = '\\w'", "x = '\\\\w'"),
        ("x = '''a\nb\tc'''", "x = 'a\\nb\\tc'"),
        ("x = 1_000.50 + 2. + 0XFF", "x = 1000.5 + 2.0 + 0xff"),
        ("x = u'a'", "x = 'a'"),
        ("x = 'a\\\nb'", "x = 'ab'"),
        ("if a:\r\n    b = '''c\r\nd'''\r\n", "if a:\n    b = '''c\nd'''\n"),
    ],
)
def test_spellings_of_one_thing_have_one_hash(one, other):
    assert code(lex([one])).hashes.tolist() == code(lex([other])).hashes.tolist()


def test_different_strings_and_numbers_differ():
    texts = ["'a'", "'b'", "'ab'", "'\\n'", "'\\\\n'", "r'\\n'", "1", "10", "1.5", "15", "0x1", "''"]
    hashes = [code(lex([f"x = {text}"])).hashes[-1] for text in texts]
    assert len(set(hashes)) == len(texts) - 1  # '\\\\n' and r'\\n' are one string


def test_words_and_literals():
    lexed = lex(["def f(x):\n    '''Count The 'big' ones: f([1, 2.0]) == 3.'''\n    return x + 4 + 'five'\n"])
    assert tokens(words(lexed)) == ["Count", "The", "ones", "f"]
    assert words(lexed).hashes[1] == lexing.hash_text("the")
    assert tokens(literals(lexed)) == ["'big'", "1", "2.0", "3.", "4", "'five'"]
    assert literals(lexed).hashes[:4].tolist() == literals(lex(["'big' 1 2 3"])).hashes.tolist()


def test_every_chinese_character_is_a_word():
    assert tokens(words(lex(["# 给定 list 列表"]))) == ["给", "定", "list", "列", "表"]


def test_a_builtin_that_the_text_binds_is_a_name():
    for binding in (
        "def f(list): return list",
        "list = 1\nlist",
        "for list in x: list",
        "list, b = c\nlist",
        "list += 1",
    ):
        lexed = lex([binding])
        kinds = {k & 15 for t, k in zip(tokens(lexed), lexed.kinds.tolist(), strict=True) if t == "list"}
        assert kinds == {lexer.IDENTIFIER}, binding
    for use in (
        "x = list(y)",
        "list == x",
        "f(x, list=1)[list]",
        "def f(x: list, y=list): return list",
        "x.list = list",
    ):
        assert "list" in [t for t, k in zip(tokens(lex([use])), lex([use]).kinds.tolist(), strict=True) if k & 15 == 4]


def tokens_by_tokenize(source: str) -> list[str]:
    """Names, numbers and signs outside of strings."""
    found, depth = [], 0
    starts = {getattr(tokenize, name, -1) for name in ("FSTRING_START", "TSTRING_START")}
    ends = {getattr(tokenize, name, -1) for name in ("FSTRING_END", "TSTRING_END")}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        depth += (token.type in starts) - (token.type in ends)
        if depth == 0 and token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.OP):
            found += ["."] * 3 if token.string == "..." else [token.string]
    return found


@pytest.mark.parametrize("module", [ast, bisect, heapq, inspect, random, statistics, textwrap, tokenize])
def test_tokens_are_those_of_python(module):
    source = Path(inspect.getsourcefile(module)).read_text()
    lexed = lex([source])
    ours = [
        t
        for t, kind in zip(tokens(lexed), lexed.kinds.tolist(), strict=True)
        if not kind & PROSE and kind & 15 not in (lexer.STRING, lexer.FSTRING)
    ]
    assert ours == tokens_by_tokenize(source)


# -- invariance ------------------------------------------------------------------------------------


def own_functions() -> list[str]:
    modules = (bisect, heapq, inspect, random, statistics, textwrap, tokenize)
    found = []
    for module in modules:
        source = Path(inspect.getsourcefile(module)).read_text()
        lines = source.splitlines()
        for node in ast.parse(source).body:
            # repr writes floats of many digits in another way
            if isinstance(node, ast.FunctionDef) and node.name != "_normal_dist_inv_cdf":
                # ast.get_source_segment splits the whole module again for every function
                last = lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode()
                found.append("\n".join([*lines[node.lineno - 1 : node.end_lineno - 1], last]))
    return found


FUNCTIONS = own_functions()


class Renamer(ast.NodeTransformer):
    """New names for what a function binds, and for the function."""

    def __init__(self, tree: ast.AST, prefix: str):
        bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        bound |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        bound -= set(dir(builtins)) | {n for node in ast.walk(tree) if isinstance(node, ast.Global) for n in node.names}
        self.names = {name: f"{prefix}{k}" for k, name in enumerate(sorted(bound))}

    def visit_Name(self, node):
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node):
        node.arg = self.names.get(node.arg, node.arg)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.name = self.names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_Nonlocal(self, node):
        node.names = [self.names.get(name, name) for name in node.names]
        return node


def disguised(source: str, prefix: str) -> str:
    """Renamed, laid out anew, without docstrings, comments and annotations."""
    tree = ast.parse(source)
    Renamer(tree, prefix).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FUNCTIONS), st.sampled_from(["v", "name_", "Ö", "x9"]), st.integers(1, 9))
def test_renamed_grams_see_neither_names_nor_layout(source, prefix, n):
    assert renamed_grams(disguised(source, prefix), n) == renamed_grams(source, n)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(FUNCTIONS), st.integers(1, 9))
def test_raw_grams_see_names_but_no_layout(source, n):
    def raw(text):
        return grams(code(lex([text])), n).hashes.tolist()

    relaid = ast.unparse(ast.parse(source)).replace("\n", "\r\n").replace("    ", "\t")
    assert raw(relaid) == raw(source)


def test_renamed_grams_tell_structures_apart():
    sources = [
        "a = a + b",
        "a = b + a",
        "a = b + c",
        "a = b + b",
        "a.x = b + c",
        "a = len + c",
        "f(a, k=b)",
        "f(a, j=b)",
    ]
    assert len({tuple(renamed_grams(source, 5)) for source in sources}) == len(sources)
    assert renamed_grams("x = x + y", 4) == renamed_grams("p = p + q", 4)
    assert renamed_grams("a = 1\nb = 1\na = 1", 9) != renamed_grams("a = 1\nb = 1\nb = 1", 9)


# -- any text --------------------------------------------------------------------------------------

ANY = st.text(alphabet="ab_ \n\r\t'\"\\#()[]{}:;,.=<>-+*1.5é给`x", max_size=60) | st.text(max_size=40)


def parts(lexed, text) -> list:
    span = slice(lexed.offsets[text], lexed.offsets[text + 1])
    begin = int(lexed.bounds[text])
    rest = (lexed.hashes[span].tolist(), lexed.kinds[span].tolist())
    return [*rest, (lexed.starts[span] - begin).tolist(), (lexed.ends[span] - begin).tolist()]


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY, max_size=4))
def test_any_text_is_lexed_and_none_depends_on_its_neighbours(texts):
    lexed = lex(texts)
    assert lexed.num_texts == len(texts)
    for k, text in enumerate(texts):
        assert parts(lexed, k) == parts(lex([text]), 0)
        _, _, starts, ends = parts(lexed, k)
        assert all(a < b for a, b in zip(starts, ends, strict=True))
        assert all(b <= a for a, b in zip(starts[1:], ends, strict=False))
        assert not ends or ends[-1] <= len(text.encode("utf-8", "replace"))
    for view in (code, words, literals):
        made = grams(view(lexed), 3)
        assert np.diff(made.offsets).tolist() == [max(n - 2, 0) for n in np.diff(view(lexed).offsets)]


def test_arrays_are_taken_as_they_are():
    texts = ["x = 1", None, "", "def f(): pass"]
    expected = lex([t or "" for t in texts])
    made = [
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        pa.array(["skipped", *texts, "skipped"]).slice(1, 4),
        pa.chunked_array([texts[:1], texts[1:]]),
        pa.array(texts).dictionary_encode().cast(pa.string()),
    ]
    for array in made:
        lexed = lex(array)
        assert lexed.offsets.tolist() == expected.offsets.tolist()
        assert lexed.hashes.tolist() == expected.hashes.tolist()
    assert lex([]).num_texts == lex(pa.array([], pa.string())).num_texts == 0
    assert lex(pa.chunked_array([], pa.string())).num_texts == 0


def test_broken_quotes_are_searched_once():
    """A million quotes that never close on a line, and as many in a comment.

    A search at each of them would take too long.
    """
    assert len(lex(["x = '" + "\\'" * 500_000]).hashes) == 2
    assert len(lex(["# " + "'''\\" * 200_000 + " x"]).hashes) > 0


def test_hashes_are_the_same_everywhere():
    """Stored document frequencies and hits depend on them."""
    assert int(lexing.hash_text("def")) == 14155505763593541217
    assert lex(["x = 'a'"]).hashes[-1] != lexing.hash_text("a") == 198367012849983736
    assert renamed_grams("a = b + c", 5) == [3317120686942506709]
    assert grams(code(lex(["a = b + c"])), 5).hashes.tolist() == [8708745099168824209]


@pytest.mark.parametrize("n", [0, -1, 33])
def test_a_window_has_a_size(n):
    with pytest.raises(ValueError, match=f"n is {n}, but n-grams have 1 to 32 tokens"):
        grams(lex(["x"]), n)


def test_a_kernel_is_compiled_where_nothing_can_be_kept(monkeypatch):
    def no_folder(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return lambda function: function

    monkeypatch.setattr(compiling, "njit", no_folder)
    assert compiling.compiled(len) is len
