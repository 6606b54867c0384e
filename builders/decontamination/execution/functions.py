"""The functions of a text that can be tried: they take positional arguments and return something.

In: Python code, bare or in ``` fences. Out: code that only defines, and the functions in it. Of the
text's statements only imports, definitions and assignments are kept. Each may fail without harm to
the others. The text is only parsed; nothing is executed here.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from builders.code.fences import fenced_python
from builders.code.syntax import parsed

MAX_FUNCTIONS = 20
"""The most functions of one text that are tried. A text with more is a library, not a solution."""

_PRELUDE = (
    "from __future__ import annotations\n"
    "import bisect, collections, datetime, functools, heapq, itertools, math, operator, random, re, string, statistics\n"
    "from collections import *\nfrom typing import *\n"
)
"""What a function cut out of its file may have had above it."""


@dataclass(frozen=True)
class Function:
    """A function of an item: an expression for it, how many positional arguments it takes, its
    text.
    """

    expression: str
    least: int
    most: int
    source: str


def functions_of(text: str) -> tuple[str, list[Function]]:
    """Code that only defines, and the functions in it that take and return something.

    The code comes from the text, or from its fenced blocks.
    """
    blocks = fenced_python(text) or [text]
    tree = next(
        (t for t in (parsed(_unix("\n\n".join(blocks))), *(parsed(_unix(b)) for b in blocks)) if t is not None), None
    )
    if tree is None:
        return "", []
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found += _function(node, node.name, skipped=0)
        elif isinstance(node, ast.ClassDef) and not _needs_arguments(node):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
                    found += _function(inner, f"{node.name}().{inner.name}", skipped=int(not _is_static(inner)))
    return (_definitions(tree), found[:MAX_FUNCTIONS]) if found else ("", [])


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _function(node: ast.FunctionDef, expression: str, skipped: int) -> list[Function]:
    """The function as a list of one, or an empty list.

    It is empty if the function returns nothing or takes no positional arguments.
    """
    arguments = [*node.args.posonlyargs, *node.args.args][skipped:]
    has_value = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(node))
    required_named = [d for d in node.args.kw_defaults if d is None]
    if not has_value or required_named or not (arguments or node.args.vararg):
        return []
    least = max(0, len(arguments) - len(node.args.defaults))
    most = 99 if node.args.vararg else len(arguments)
    return [Function(expression, least, most, ast.unparse(node))]


def _is_static(node: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)


def _needs_arguments(node: ast.ClassDef) -> bool:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return len(inner.args.args) - 1 > len(inner.args.defaults)
    return False


def _definitions(tree: ast.Module) -> str:
    """The imports, definitions and assignments; each may fail without harm to the others."""
    kinds = (
        ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    )
    kept = [
        n
        for n in tree.body
        if isinstance(n, kinds) and not (isinstance(n, ast.ImportFrom) and n.module == "__future__")
    ]
    guarded = (f"try:\n{_indented(ast.unparse(node))}\nexcept Exception:\n    pass\n" for node in kept)
    return _PRELUDE + "".join(guarded)


def _indented(code: str) -> str:
    """The code one block deeper; lines inside text literals stay where they are."""
    tree = ast.parse("if True:\n    pass")
    tree.body[0].body = ast.parse(code).body  # type: ignore[attr-defined]
    return ast.unparse(tree).split("\n", 1)[1]
