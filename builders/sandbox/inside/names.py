"""Inside a box: which names the tests read but do not define.

In: the pieces of the tests. Out: names. Only these may be taken from the solution.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence

_BUILTIN_NAMES = frozenset(dir(builtins))


def names_needed(tests: Sequence[str]) -> set[str]:
    """The names that the tests read but neither they nor Python define."""
    read: set[str] = set()
    defined: set[str] = set(_BUILTIN_NAMES)
    for text in tests:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # it fails when it runs, which says why
        for node in ast.walk(tree):
            _sort(node, read, defined)
    return read - defined


def _sort(node: ast.AST, read: set[str], defined: set[str]) -> None:
    if isinstance(node, ast.Name):
        (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        defined.add(node.name)
    elif isinstance(node, ast.alias):
        defined.add((node.asname or node.name).split(".")[0])
    elif isinstance(node, ast.arg):
        defined.add(node.arg)
