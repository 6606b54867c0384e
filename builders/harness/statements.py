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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builders.code.syntax import parsed

Names = frozenset[str]

_SETUPS = {"setrecursionlimit", "set_int_max_str_digits", "stack_size", "filterwarnings", "simplefilter"}
"""Calls that change the interpreter, not a value of the module. `random.seed` is one, too.

Those that begin with `set` count also without their module.
"""

_FILLS = {"heapify", "heappush", "insort", "insort_left", "insort_right", "shuffle"}
"""Functions that change what they are given. Those of a module (`heapq.heappush`) count as well."""

_FILLING_METHODS = {
    *("append", "appendleft", "extend", "insert", "pop", "popleft", "popitem", "remove", "discard"),
    *("add", "update", "setdefault", "clear", "sort", "reverse"),
}
"""Methods that change their object also where their result is used: `first = rows.pop(0)`."""

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_UPDATES = ast.Assign | ast.AnnAssign | ast.AugAssign
_ASSIGNMENTS = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For | ast.AsyncFor | ast.Delete


@dataclass(frozen=True)
class Statement:
    """A statement at the top level, or several that share a line.

    - binds: the names that it gives a value
    - loads: the module's names that it uses, also when what it defines is called later
    - needs_old: the names that it gives a value made of their old one (`f = cache(f)`, `k += 1`)
    - changes: the names whose values it changes in place (`f.cache = {}`, `table[0] = 1`)
    - registers: the names of which an attribute is a decorator (`@f.register`)
    - appends: the names of which it calls a method (`table.append(1)`), or that it gives to a
      function that changes them (`heapq.heappush(heap, 1)`)
    - calls: the functions that it calls for their effect, as a statement or a decorator
    - gives: the names that it gives to these functions
    - late_binds: the names that a call of what it defines gives a value (`global k`)
    - late_changes: what a call of what it defines changes
    - aliases: names for one value (`a = b = []`, `a = b`, `put = rows.append`)
    - methods: the functions of a class
    """

    source: str
    binds: Names
    loads: Names
    needs_old: Names
    changes: Names
    registers: Names
    appends: Names
    calls: Names
    gives: Names
    late_binds: Names
    late_changes: Names
    aliases: Names
    methods: Names
    is_import: bool
    is_definition: bool
    is_stub: bool
    is_setup: bool
    is_test: bool
    fills_given: bool
    has_star: bool

    def is_weak(self, name: str) -> bool:
        """Whether it binds the name of the solution without being the solution.

        A stub, `from solution import f`, or `f = cache(f)`.
        """
        return self.is_stub or self.is_import or name in self.needs_old


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
    changed, appended, called, given = _effects(now)
    definitions = [node for node in nodes if isinstance(node, _DEFINITIONS)]
    later = [inner for node in definitions for inner in ast.walk(node)]
    later_changed, later_appended, _, _ = _effects(later)
    decorators = [d.func if isinstance(d, ast.Call) else d for node in definitions for d in node.decorator_list]
    return Statement(
        source=source,
        binds=binds,
        loads=loads,
        needs_old=_needs_old(nodes),
        changes=changed,
        registers=frozenset(root for d in decorators if isinstance(d, ast.Attribute) and (root := _root(d))),
        appends=appended,
        calls=called | {root for d in decorators if (root := _root(d))},
        gives=given,
        late_binds=late,
        late_changes=late | ((later_changed | later_appended) & loads),
        aliases=_aliases(nodes),
        methods=_methods(nodes),
        is_import=any(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes),
        is_definition=all(isinstance(node, _DEFINITIONS) for node in nodes),
        is_stub=all(_is_stub(node) for node in nodes),
        is_setup=any(_is_setup(node) for node in nodes),
        is_test=all(_is_test(node) for node in nodes),
        fills_given=bool((later_changed | later_appended) & {i.arg for i in later if isinstance(i, ast.arg)}),
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
    everything = [inner for node in nodes for inner in ast.walk(node)]
    needs_value = _needing_value(everything)
    read_first = {name for inner in everything if isinstance(inner, ast.ClassDef) for name in _read_first(inner.body)}
    late, tables = set[str](), top.get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if symbol.is_global():
                # What is only given a value needs none: `global n; n = 3` below `n = int(input())`.
                loads |= {name} if symbol.is_referenced() or (symbol.is_assigned() and name in needs_value) else set()
                late |= {name} if symbol.is_assigned() else set()
            elif table.get_type() == "class" and name in read_first:
                loads.add(name)
    walrus = {i.target.id for node in nodes for i in _run_at_once(node) if isinstance(i, ast.NamedExpr)}
    return frozenset(binds | (walrus & (late | binds))), frozenset(loads), frozenset(late)


def _needing_value(nodes: Iterable[ast.AST]) -> set[str]:
    """Names of which the value must be there although it is not read: `k += 1`, `del k`."""
    augmented = (node.target for node in nodes if isinstance(node, ast.AugAssign))
    deleted = (target for node in nodes if isinstance(node, ast.Delete) for target in node.targets)
    return {name.id for name in (*augmented, *deleted) if isinstance(name, ast.Name)}


def _read_first(body: Sequence[ast.stmt]) -> set[str]:
    """Names that a class reads before it binds them (`K = K`). They are the module's."""
    bound, read = set[str](), set[str]()
    for node in body:
        now = list(_run_at_once(node))
        read |= (
            {n.id for n in now if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} | _needing_value(now)
        ) - bound
        bound |= {n.id for n in now if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.name for n in now if isinstance(n, _DEFINITIONS)}
    return read


def _needs_old(nodes: Sequence[ast.stmt]) -> Names:
    needed, bound = set[str](), set[str]()
    for node in nodes:
        if not isinstance(node, _UPDATES):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        inside = [n for n in _run_at_once(node) if isinstance(n, ast.Name) and n not in targets]
        # A name of a comprehension is another one.
        used = {n.id for n in inside} - {n.id for n in inside if isinstance(n.ctx, ast.Store)}
        needed |= (names if isinstance(node, ast.AugAssign) else names & used) - bound
        bound |= names
    return frozenset(needed)


def _aliases(nodes: Sequence[ast.stmt]) -> Names:
    found = set[str]()
    for node in nodes:
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            is_copy = isinstance(node.value, ast.Subscript) and isinstance(node.value.slice, ast.Slice)
            root = None if is_copy else _root(node.value)
            found |= names | {root} if names and root else names if len(names) > 1 else set()
    return frozenset(found)


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


def _effects(nodes: list[ast.AST]) -> tuple[Names, Names, Names, Names]:
    """Names whose attributes or items are set, whose methods are called, that are called; given."""
    changed, appended, called, given = set[Any](), set[Any](), set[Any](), set[Any]()
    for node in nodes:
        if isinstance(node, _ASSIGNMENTS):
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
            changed |= {_root(t) for t in targets if isinstance(t, ast.Attribute | ast.Subscript)}
        for call in _effective_calls(node):
            names = {arg.id for arg in call.args if isinstance(arg, ast.Name)}
            function = call.func
            if isinstance(function, ast.Name):
                called.add(function.id)
                given |= names
                changed |= names if function.id == "setattr" else set()
                appended |= names if function.id in _FILLS else set()
            else:
                appended |= {_root(function, through_calls=True), *names}
    nobody = {None}
    return frozenset(changed - nobody), frozenset(appended - nobody), frozenset(called - nobody), frozenset(given)


def _effective_calls(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of a statement that are made for their effect."""
    if isinstance(node, ast.Expr):
        value = node.value.elt if isinstance(node.value, ast.ListComp | ast.SetComp) else node.value
        if isinstance(value, ast.Call):
            yield value
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        calls = (inner for inner in _run_at_once(node.value) if isinstance(inner, ast.Call))
        yield from (c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in _FILLING_METHODS)


def _root(node: ast.AST, *, through_calls: bool = False) -> str | None:
    """`table` of `table[0].rows`, and through calls also of `table.setdefault(0, []).append`."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif through_calls and isinstance(node, ast.Call):
            node = node.func
        else:
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
    """Whether it is a call such as `sys.setrecursionlimit(…)`, or sets a field of a context.

    Also an `if` or `try` with nothing else in it.
    """
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        return "getcontext" in ast.dump(node.targets[0])
    if isinstance(node, ast.If | ast.Try):
        bodies = node.handlers if isinstance(node, ast.Try) else []
        inner = [*node.body, *node.orelse, *(s for handler in bodies for s in handler.body)]
        bare = [s for s in inner if not isinstance(s, ast.Pass | ast.Import | ast.ImportFrom)]
        return bool(bare) and not _is_test(node) and all(_is_setup(s) for s in bare)
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    module, _, name = ast.unparse(node.value.func).rpartition(".")
    return (name in _SETUPS and (bool(module) or name.startswith("set"))) or (name == "seed" and "random" in module)


def _is_test(node: ast.stmt) -> bool:
    """Whether it is an assertion, or the part of a file that is only run as a script."""
    return isinstance(node, ast.Assert) or (isinstance(node, ast.If) and "__name__" in ast.dump(node.test))
