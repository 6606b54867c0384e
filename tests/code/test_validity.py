"""Which files parse: a linter's yes is never wrong, and whatever brings it down costs only time."""

from __future__ import annotations

import ast
import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import validity
from builders.code.outline import outline
from tests.code.test_outline import MODULES

BROKEN = [
    "x = = 1  # noqa\n", "# ruff: noqa\nx = = 1\n", "print 'x'\n", "exec 'x'\n", "if 1:\n\tx = 1\n        y = 2\n", "x = 'a' b'b'\n",
    "x = '\\u12'\n", "x = '\\xZZ'\n", "x = b'\u00e9'\n", "x = '\\U00110000'\n", "x = f'{a!z}'\n", "x = f'{}'\n", "x = f'{lambda x:1}'\n", "x = f'{a b}'\n",
    "class C(x for x in y): pass\n", "[x for x in *a, b]\n", "print(*a for a in b)\n", "{**a for a in b}\n", "f(x for x in y, 1)\n",
    "match x:\n    case 1+2: pass\n", "match x:\n case A(b=1, c): pass\n", "match x:\n case {**r, 'a': 1}: pass\n", "match x:\n case x as _: pass\n",
    "try: pass\nexcept a, b: pass\n", "try:\n pass\nexcept* A:\n pass\nexcept B:\n pass\n", "try:\n pass\nexcept* :\n pass\n",
    "def f(*, **k): pass\n", "def f(a=1, b): pass\n", "def f(/, a): pass\n", "def f(*, *a): pass\n", "lambda *: 1\n", "def True(): pass\n",
    "x = 0777\n", "x = 1__0\n", "x = 0o8\n", "x = 1e\n", "x = 0xg\n", "(a.b := 1)\n", "x := 1\n", "f(a=b:=1)\n", "f(None=1)\n", "f(a=1, b)\n",
    "f(**k, *a)\n", "f(a.b=1)\n", "(a, b): int\n", "del 1\n", "del f()\n", "f() = 1\n", "f() += 1\n", "(a, b) += 1\n", "a = yield = 1\n",
    "for f() in x: pass\n", "with a as 1: pass\n", "import a.b as c.d\n", "from a import b,\n", "from a import ()\n", "from a import *, b\n",
    "async = 1\n", "a <> b\n", "`a`\n", "x = a if b\n", "x = *a if b else c\n", "x = **a\n", "(*a)\n", "x[]\n", "x[a:b:c:d]\n", "x = ..\n",
    "  x = 1\n", "x = 1\n  y = 2\n", "if x:\n", "def f():\n", "x = 1;; y = 2\n", ";\n", "@x\ny = 1\n", "@x\n", "try:\n    x\n", "else: x\n", "x = ub'a'\n",
    "return = 1\n", "x = 1 +\n", "x = [1, 2}\n", "x.None\n", "raise a from\n", "assert x,\n", "global x,\n",
]  # fmt: skip


def parses(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


def test_every_broken_file_is_refused_alone_and_among_others():
    assert not [b for b in BROKEN if parses(b)]
    regular = [b.encode() for b in BROKEN if outline(b.encode()) is not None]
    assert len(regular) > 80
    assert not any(validity.accepted(regular))
    mixed = [text for broken in regular for text in (broken, b"x = 1\n")]
    assert validity.accepted(mixed) == [False, True] * len(regular)


@pytest.mark.parametrize(
    "pair",
    [
        ("if x:\n", "    pass\n"),
        ("try:\n    pass\n", "finally:\n    pass\n"),
        ("@x\n", "def f(): pass\n"),
        ("if x: pass\n", "else: pass\n"),
        ("x = 1;", "; y = 2\n"),
        ("def f():", "    pass\n"),
        ("for x in y: pass", "else: pass"),
    ],
)
def test_two_halves_are_no_whole(pair):
    assert validity.accepted([half.encode() for half in pair]).count(True) == sum(parses(half) for half in pair) < 2


def test_a_late_future_import_is_no_fault_of_a_file(monkeypatch):
    asked, refused = [], validity._refused
    monkeypatch.setattr(validity, "_refused", lambda texts: asked.append(len(texts)) or refused(texts))
    text = b'"""Doc."""\nfrom __future__ import annotations\n'
    assert validity.accepted([text] * 3) == [True] * 3
    assert asked == [1, 0]


def test_tabs_here_and_blanks_there_get_no_yes():
    """Both lines stand at column 8 for Python, but not where a tab is one column wide."""
    broken = "if x:\n    if y:\n    \tx = 1\n \ty = 2\n"
    assert not parses(broken)
    assert validity.accepted([broken.encode(), b"if x:\n\ty = 1\n", b"if x:\n    y = '\t'\n"]) == [False, True, True]


def test_nothing_is_asked_about_nothing():
    assert validity.accepted([]) == []
    assert validity.accepted([b"", b"\n", b"# note"]) == [True] * 3


def test_chunks_keep_all_texts_in_their_order(monkeypatch):
    monkeypatch.setattr(validity, "CHUNK_BYTES", 10)
    texts = [b"x = %d\n" % n for n in range(9)]
    assert [n for chunk in validity._chunks(texts) for n in chunk] == list(range(9))
    assert validity.accepted([*texts[:4], b"x = = 1\n", *texts[4:]]) == [True] * 4 + [False] + [True] * 5


def test_a_text_that_brings_the_linter_down_is_found_and_the_others_are_accepted(monkeypatch):
    monkeypatch.setattr(validity, "CHUNK_BYTES", 1)
    deep = b"x = " + b"-" * 200_000 + b"1\n"
    texts = [b"x = 1\n", b"y = 2\n", deep, b"z = 3\n"]
    assert validity.accepted(texts) == [True, True, False, True]


def test_an_unknown_program_version_accepts_nothing(monkeypatch):
    command = [*validity._command(), "--no-such-option"]
    monkeypatch.setattr(validity, "_command", lambda *_: command)
    assert validity.accepted([b"x = 1\n", b"y = 2\n"]) == [False, False]


@given(st.lists(st.tuples(MODULES, st.integers(0, 10_000), st.sampled_from(["", "(", "'", ":", " ", "def ", "\n", "1", "=", "*", ","])), min_size=20, max_size=20))  # fmt: skip
@settings(max_examples=8, deadline=None)
def test_a_yes_is_right_on_files_that_are_broken_at_random(cases):
    texts = [module[: at % len(module)] + put + module[at % len(module) + 1 :] for module, at, put in cases]
    regular = [t for t in texts if outline(t.encode()) is not None]
    wrong = [
        t for t, yes in zip(regular, validity.accepted([t.encode() for t in regular]), strict=True) if yes > parses(t)
    ]
    assert not wrong, json.dumps(wrong)
