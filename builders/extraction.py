"""Documented functions and methods of one Python file.

In: source text. Out: `Function`s in the order of the file: module level and class bodies, decorators kept, nested functions
not separate. A file that does not parse raises SyntaxError or ValueError, which the caller counts as a reject.
"""

from __future__ import annotations

import ast
import inspect
import warnings
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
    for prefix, node in _definitions(parsed(source).body):
        docstring = ast.get_docstring(node, clean=False)
        if docstring and docstring.strip():
            yield _function(prefix, node, docstring, lines)


def parsed(source: str) -> ast.Module:
    """The syntax tree; warnings about the style of foreign code, such as invalid escapes, are not ours to print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    for node in body:
        if isinstance(node, FunctionNode):
            yield prefix, node
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")


def _function(prefix: str, node: FunctionNode, docstring: str, lines: list[str]) -> Function:
    first = _first_line(node, lines)
    last = node.end_lineno or node.lineno
    return Function(
        name=prefix + node.name,
        code="\n".join(dedented(lines[first - 1 : last], node.col_offset)),
        signature=signature_of(node),
        # an escape such as \\ud800 names half a character, which no file or table can hold
        docstring=inspect.cleandoc(docstring).encode("utf-8", "replace").decode("utf-8"),
        line=first,
        num_lines=last - first + 1,
        is_method=bool(prefix),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )


def _first_line(node: FunctionNode, lines: list[str]) -> int:
    """1-based line of the first decorator's @, which may stand above its expression, or of the def."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    while node.decorator_list and not lines[first - 1].lstrip().startswith("@"):
        first -= 1
    return first


def dedented(lines: list[str], width: int) -> list[str]:
    """Lines without the indentation of their definition; text of a docstring may stand further left and stays."""
    page_breaks = len(lines[0][:width]) - len(lines[0][:width].lstrip("\f"))  # they indent nothing
    lines, width = [lines[0][page_breaks:], *lines[1:]], width - page_breaks
    return [line[width:] if not line[:width].strip() else line for line in lines]


def signature_of(node: FunctionNode) -> str:
    """`def f(a, b=1) -> int:`, normalised as by `ast.unparse`, without decorators."""
    bare = type(node)(name=node.name, args=node.args, body=[ast.Pass()], decorator_list=[], returns=node.returns)
    if hasattr(node, "type_params"):  # Python 3.12
        bare.type_params = node.type_params  # type: ignore[union-attr,unused-ignore]
    return ast.unparse(ast.fix_missing_locations(bare)).split("\n    pass")[0]


def without_docstring(code: str) -> str:
    """The code of one documented function without its docstring; SyntaxError or ValueError when that cannot be."""
    node = parsed(code).body[0]
    if not isinstance(node, FunctionNode) or ast.get_docstring(node) is None or len(node.body) < 2:
        raise ValueError("not a documented function with a body")
    text = node.body[0]
    lines = code.split("\n")
    end = text.end_lineno or text.lineno
    head, tail = lines[: text.lineno - 1], lines[end:]
    if lines[text.lineno - 1][: text.col_offset].strip() or node.body[1].lineno == end:
        raise ValueError("the docstring shares its line with other code")
    while tail and not tail[0].strip():
        tail = tail[1:]
    return "\n".join(head + tail)
