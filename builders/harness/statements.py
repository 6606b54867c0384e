"""What the top-level statements of a module define and need, and which of them a name needs.

In: Python code. Out: its `Statement`s, and those without which a function cannot work. Everything
is done on syntax trees and symbol tables; nothing is executed here.

    statements("import math\\ndef f(x):\\n    return math.sqrt(x)\\nprint(f(4))\\n")
    # three statements; the second binds f and loads math
"""

from __future__ import annotations

import ast
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builders.harness.programs import parsed

Names = frozenset[str]

_SETUPS = {
    "sys.setrecursionlimit",
    "sys.set_int_max_str_digits",
    "threading.stack_size",
    "random.seed",
    "np.random.seed",
    "numpy.random.seed",
    "warnings.filterwarnings",
    "warnings.simplefilter",
    "setrecursionlimit",
}
"""Calls that change the interpreter, not a value of the module."""

_FILLS = {"heapify", "heappush", "insort", "insort_left", "insort_right", "setattr", "shuffle"}
"""Functions that change what they are given. Those of a module (`heapq.heappush`) count as well."""

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_ASSIGNMENTS = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For | ast.AsyncFor | ast.Delete


@dataclass(frozen=True)
class Statement:
    """A statement at the top level, or several that share a line.

    - binds: the names that it gives a value
    - loads: the module's names that it uses, also when what it defines is called later
    - changes: the names whose values it changes in place (`f.cache = {}`, `table[0] = 1`)
    - appends: the names of which it calls a method (`table.append(1)`), or that it gives to a
      function that changes them (`heapq.heappush(heap, 1)`)
    - calls: the functions that it calls for their effect, as a statement or a decorator
    - late_changes: what a call of what it defines changes
    - methods: the functions of a class
    """

    source: str
    binds: Names
    loads: Names
    changes: Names
    appends: Names
    calls: Names
    late_changes: Names
    methods: Names
    is_import: bool
    is_definition: bool
    is_stub: bool
    is_setup: bool
    is_test: bool
    has_star: bool

    @property
    def is_weak(self) -> bool:
        """Whether it names the solution without being one: a stub, or `from solution import f`."""
        return self.is_stub or self.is_import


def statements(code: str) -> list[Statement]:
    """The statements of code with Unix line ends. Empty for what is not Python."""
    tree = parsed(code)
    lines = code.split("\n")
    return [_statement("\n".join(lines[first:end]), nodes) for first, end, nodes in _groups(tree)] if tree else []


def _groups(tree: ast.Module) -> Iterator[tuple[int, int, list[ast.stmt]]]:
    """First line, line after the last, and the statements in between that share lines."""
    first, end, nodes = 0, 0, list[ast.stmt]()
    for node in tree.body:
        decorators = node.decorator_list if isinstance(node, _DEFINITIONS) else []
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        if nodes and start >= end:
            yield first, end, nodes
            nodes = []
        first = first if nodes else start
        end = node.end_lineno or node.lineno
        nodes = [*nodes, node]
    if nodes:
        yield first, end, nodes


def _statement(source: str, nodes: list[ast.stmt]) -> Statement:
    binds, loads, late = _names(source, nodes)
    now = [inner for node in nodes for inner in _run_at_once(node)]
    changed, appended, called = _effects(now)
    later_changed, later_appended, _ = _effects([i for n in nodes if isinstance(n, _DEFINITIONS) for i in ast.walk(n)])
    decorators = [d for node in nodes if isinstance(node, _DEFINITIONS) for d in node.decorator_list]
    return Statement(
        source=source,
        binds=binds,
        loads=loads,
        changes=changed,
        appends=appended,
        calls=called | {root for d in decorators if (root := _root(d.func if isinstance(d, ast.Call) else d))},
        late_changes=late | ((later_changed | later_appended) & loads),
        methods=_methods(nodes),
        is_import=any(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes),
        is_definition=all(isinstance(node, _DEFINITIONS) for node in nodes),
        is_stub=all(_is_stub(node) for node in nodes),
        is_setup=any(_is_setup(node) for node in nodes),
        is_test=all(_is_test(node) for node in nodes),
        has_star=any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes),
    )


def _names(source: str, nodes: list[ast.stmt]) -> tuple[Names, Names, Names]:
    """Bound, used, and the module's names that a later call binds (`global`)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(source, "answer", "exec")
    # It parses but does not compile: a `return` outside of a function, an argument given twice.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        named = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
        return frozenset(n.name for n in nodes if isinstance(n, _DEFINITIONS)), frozenset(named), frozenset()
    binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    loads = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    late, tables = set[str](), top.get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        symbols = [s for s in table.get_symbols() if s.is_global()]
        loads |= {s.get_name() for s in symbols if s.is_referenced()}
        late |= {s.get_name() for s in symbols if s.is_assigned()}
    return frozenset(binds), frozenset(loads), frozenset(late)


def _methods(nodes: list[ast.stmt]) -> Names:
    inside = [inner for node in nodes if isinstance(node, ast.ClassDef) for inner in node.body]
    return frozenset(inner.name for inner in inside if isinstance(inner, _FUNCTIONS))


def _run_at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is inside of it, without the bodies of functions."""
    waiting = [node]
    while waiting:
        inner = waiting.pop()
        yield inner
        if not _is_function(inner) and not isinstance(inner, ast.Lambda):
            waiting += ast.iter_child_nodes(inner)


def _effects(nodes: list[ast.AST]) -> tuple[Names, Names, Names]:
    """Names whose attributes or items are set, whose methods are called, and that are called."""
    changed, appended, called = set[Any](), set[Any](), set[Any]()
    for node in nodes:
        if isinstance(node, _ASSIGNMENTS):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            changed |= {_root(t) for t in targets if isinstance(t, ast.Attribute | ast.Subscript)}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            (called if isinstance(function, ast.Name) else appended).add(_root(function))
            if isinstance(function, ast.Attribute) or (isinstance(function, ast.Name) and function.id in _FILLS):
                appended |= {given.id for given in node.value.args if isinstance(given, ast.Name)}
    nobody = {None}
    return frozenset(changed - nobody), frozenset(appended - nobody), frozenset(called - nobody)


def _root(node: ast.AST) -> str | None:
    """`table` of `table[0].rows`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, _FUNCTIONS)


def _is_stub(node: ast.stmt) -> bool:
    """Whether it is a function without content: a docstring, `pass`, `...`."""
    return isinstance(node, _FUNCTIONS) and all(
        isinstance(inner, ast.Pass)
        or (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
        or (isinstance(inner, ast.Raise) and "NotImplementedError" in ast.dump(inner))
        for inner in node.body
    )


def _is_setup(node: ast.stmt) -> bool:
    """Whether it is a call such as `sys.setrecursionlimit(…)`, or sets a field of a context."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        return "getcontext" in ast.dump(node.targets[0])
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in _SETUPS


def _is_test(node: ast.stmt) -> bool:
    """Whether it is an assertion, or the part of a file that is only run as a script."""
    return isinstance(node, ast.Assert) or (isinstance(node, ast.If) and "__name__" in ast.dump(node.test))
