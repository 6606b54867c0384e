"""Inside a box: which names the tests read but do not define.

In: the pieces of the tests. Out: names. Only these may be taken from the solution. Those that stand
for modules are not: the tests import these themselves.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Collection, Iterator, Sequence

_BUILTIN_NAMES = frozenset(dir(builtins))
_SHORT = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot"}
"""Names under which modules of libraries are usually imported."""


def names_needed(tests: Sequence[str]) -> set[str]:
    """The names that the tests read but neither they nor Python define."""
    read: set[str] = set()
    defined: set[str] = set(_BUILTIN_NAMES)
    for node in _nodes(tests):
        _sort(node, read, defined)
    return read - defined


def modules_among(names: Collection[str], tests: Sequence[str]) -> dict[str, str]:
    """Which of the names stand for modules, as `sys` in `sys.getsizeof(1)`, and for which ones.

    A name that the tests use in any other way, such as `queue` in `queue([1])`, is none.
    """
    nodes = set(_nodes(tests))
    others = nodes - {node.value for node in nodes if isinstance(node, ast.Attribute)}
    other = {node.id for node in others if isinstance(node, ast.Name)}
    known = {name: _SHORT.get(name, name) for name in names}
    return {n: m for n, m in known.items() if n not in other and (n in _SHORT or m in sys.stdlib_module_names)}


def _nodes(tests: Sequence[str]) -> Iterator[ast.AST]:
    for text in tests:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # it fails when it runs, which says why
        yield from ast.walk(tree)


def _sort(node: ast.AST, read: set[str], defined: set[str]) -> None:
    if isinstance(node, ast.Name):
        (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        defined.add(node.name)
    elif isinstance(node, ast.alias):
        defined.add((node.asname or node.name).split(".")[0])
    elif isinstance(node, ast.arg):
        defined.add(node.arg)
