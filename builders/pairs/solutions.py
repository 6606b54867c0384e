"""Which code is the solution, where an answer has several blocks.

In: what follows the heading of the solution. Out: its code, and whether its block is closed.

    solution("So:\\n```python\\ndef f(): return 1\\n```\\nUse:\\n```python\\nprint(f())\\n```").code
    # 'def f(): return 1'

The first block of Python that defines a function or a class is the solution: it stands where the
prompt asks for it, and what comes later shows how it is used. Two kinds of later blocks count:
- a block that defines all these names again is a later version, and takes its place;
- a block that defines further names and uses one of the solution's, or defines one that the
  solution uses, belongs to the same program: both are joined.
Tests (`test_…`, `Test…`) are no part of it. Without any definition, the first block of Python
counts. A block in another language counts only if there is none of Python.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from builders.code.fences import Fenced, fenced
from builders.code.syntax import parsed

Names = frozenset[str]
MOST_BLOCKS = 50
"""So many blocks are looked at. No model writes more of them under one heading."""


@dataclass(frozen=True)
class Solution:
    """The code, None where there is none. A block without its closing fence is not closed."""

    code: str | None
    is_closed: bool


@dataclass(frozen=True)
class _Piece:
    code: str
    is_closed: bool
    defines: Names
    uses: Names


def solution(text: str) -> Solution:
    """The solution in a text."""
    blocks = fenced(text)[0][:MOST_BLOCKS]
    if any(block.is_closed for block in blocks):
        blocks = [block for block in blocks if block.is_closed]
    if not blocks:
        return Solution(None, False)
    python = [block for block in blocks if block.is_python] or blocks
    pieces = [_piece(block) for block in python]
    defining = [piece for piece in pieces if piece.defines]
    if not defining:
        return Solution(pieces[0].code, pieces[0].is_closed)
    return _together(defining)


def _together(pieces: Sequence[_Piece]) -> Solution:
    kept, names, uses = [pieces[0]], pieces[0].defines, pieces[0].uses
    for piece in pieces[1:]:
        if piece.defines >= names:
            kept, names, uses = [piece], piece.defines, piece.uses
        elif not piece.defines & names and (piece.uses & names or piece.defines & uses):
            kept.append(piece)
            names, uses = names | piece.defines, uses | piece.uses
    return Solution("\n\n\n".join(piece.code for piece in kept), kept[-1].is_closed)


def _piece(block: Fenced) -> _Piece:
    code = block.code.strip("\n")
    tree = parsed(code)
    body = tree.body if tree is not None else []
    defines = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    uses = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} if tree is not None else set()
    own = frozenset(name for name in defines if not name.lower().startswith("test"))
    return _Piece(code, block.is_closed, own, frozenset(uses))
