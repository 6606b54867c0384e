"""Documented functions and methods of one Python file.

In: source text. Out: `Function`s in the order of the file: module level and class bodies, decorators kept, nested functions
not separate. A file that does not parse raises SyntaxError or ValueError, which the caller counts as a reject.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Function:
    """A function as found."""

    name: str
    code: str
    signature: str
    docstring: str
    line: int
    num_lines: int
    is_method: bool
    is_async: bool


def functions(source: str) -> Iterator[Function]:
    """Documented functions of a module; line ends are normalised to LF."""
    source = source.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    lines = source.split("\n")
    for prefix, node in _definitions(ast.parse(source).body):
        docstring = ast.get_docstring(node, clean=False)
        if docstring and docstring.strip():
            yield _function(prefix, node, docstring, lines)


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    for node in body:
        if isinstance(node, FunctionNode):
            yield prefix, node
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")


def _function(prefix: str, node: FunctionNode, docstring: str, lines: list[str]) -> Function:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    last = node.end_lineno or node.lineno
    return Function(
        name=prefix + node.name,
        code="\n".join(dedented(lines[first - 1 : last], node.col_offset)),
        signature=signature_of(node),
        docstring=inspect.cleandoc(docstring),
        line=first,
        num_lines=last - first + 1,
        is_method=bool(prefix),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def dedented(lines: list[str], width: int) -> list[str]:
    """Lines without the indentation of their definition; text of a docstring may stand further left and stays."""
    return [line[width:] if not line[:width].strip() else line for line in lines]


def signature_of(node: FunctionNode) -> str:
    """`def f(a, b=1) -> int:`, normalised as by `ast.unparse`, without decorators."""
    bare = type(node)(name=node.name, args=node.args, body=[ast.Pass()], decorator_list=[], returns=node.returns)
    bare.type_params = getattr(node, "type_params", [])
    return ast.unparse(ast.fix_missing_locations(bare)).split("\n    pass")[0]


def without_docstring(code: str) -> str:
    """The code of one documented function without its docstring; raises SyntaxError when it does not parse."""
    module = ast.parse(code)
    node = module.body[0]
    if not isinstance(node, FunctionNode) or ast.get_docstring(node) is None or len(node.body) < 2:
        raise ValueError("not a documented function with a body")
    text = node.body[0]
    lines = code.split("\n")
    head, tail = lines[: text.lineno - 1], lines[text.end_lineno or text.lineno :]
    if node.body[0].lineno == node.lineno:
        raise ValueError("the docstring stands on the def line")
    while tail and not tail[0].strip():
        tail = tail[1:]
    return "\n".join(head + tail)
