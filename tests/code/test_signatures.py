"""Signatures: the fast way writes what `ast.unparse` writes."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import signatures
from builders.code.outline import CLASS, outline
from builders.code.signatures import signature, signature_of


def unparsed(header: str) -> str:
    return signature_of(ast.parse(f"{header} pass").body[0])


@pytest.mark.parametrize(
    "header, is_fast",
    [
        ("def f():", True),
        ("async def f(a, b=1):", True),
        ("def f(self, *args, key: str='x', **kwargs) -> None:", True),
        ('def f(a="x", *, b: "X" = None) -> "Y":', True),
        ("def f(\n    a,\n    b: int = 1,\n):", True),
        ("def f(\n    a: Dict[str, int],\n    b: Optional[List[int]] = None,\n) -> Tuple[int, ...]:", True),
        ("def f(a: int | None = -1, b=0.5, c=(), d=[], e={}, g=...):", True),
        ("def f(a, /, b, *, c):", True),
        ("def f(a: Tuple[int,]):", False),
        ("def f(a=(1,)):", False),
        ("def f(a=1.0, b=0.50, c=1e3, d=0x10, e=1_000):", False),
        ("def f(a='x', b=\"y\"):", False),
        ("def f(a: Literal['a\", \"b']):", False),
        ("def f(a='x = 1'):", False),
        ('def f(\n    a="( x )",\n):', False),
        ("def f(a='\\n'):", False),
        ("def f(a=b'x', c=r'y', d='a' 'b'):", False),
        ("def f(a='''x\ny'''):", False),
        ("def f(a=lambda x: x, b=not c):", False),
        ("def f(  # note\n    a):", False),
        ("def f(é):", False),
        ("def f(a='é'):", True),
        ("def f (a) :", False),
        ("def f(a='\t'):", False),
        ("def f(a='\\x7f'):", False),
        ("def f(a = 1):", True),
        ("def f(a: int=1, b:int=2):", False),
        ("def f(x: List[Dict[str, List[int]]]):", False),
    ],
)
def test_the_signature_is_that_of_unparse(monkeypatch, header, is_fast):
    assert signature(header) == unparsed(header)
    slow = []
    monkeypatch.setattr(signatures, "_parsed_signature", slow.append)
    signature(header)
    assert (not slow) == is_fast


PIECES = st.lists(
    st.sampled_from(["a", "b", ", ", ",", " ", "\n ", "=", " = ", ": ", ":", "int", "'x'", '"y"', "'=", "1", "0.5", "-", "*", "**", "/", "[", "]", "(", ")", "|", " | ", ".", "...", "#", "None", "'( '", '" = "']),
    max_size=14,
)  # fmt: skip


@given(PIECES, st.sampled_from(["", " -> int", "->'x'", ' -> "y"']))
@settings(max_examples=500, deadline=None)
def test_whatever_parses_is_written_as_by_unparse(pieces, result):
    header = f"def f({''.join(pieces)}){result}:"
    try:
        expected = unparsed(header)
    except SyntaxError:
        return
    assert signature(header) == expected


@pytest.mark.parametrize("module", [ast, inspect, textwrap])
def test_the_standard_library_has_the_same_signatures(module):
    data = inspect.getsource(module).encode()
    headers = [data[d.def_at : d.header_end].decode() for d in outline(data) if d.kind != CLASS]
    assert len(headers) > 5 and [signature(h) for h in headers] == [unparsed(h) for h in headers]
