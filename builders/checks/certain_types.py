"""Which findings of the type checker count: those that a function's own annotations make certain.

In: a text of code and one finding of ty in it. Out: whether it counts.

A function alone is checked without its class, its module and installed packages. Most findings then
come of what the checker guesses: a variable that begins as None, a value that is narrowed later, a
standard module of the same name. Those do not count. RULES lists the rules that do, and for each
the places where it does. benchmarks/pool/type_errors.py shows how they were chosen.

How: the two types of a message are compared once more (`type_names.py`), and the tree of the text
tells whether an annotation of its own stands behind the finding.

    code = "def f(x: int) -> str:\\n    return x\\n"
    found = Finding("invalid-explicit-return", 2, 12, "… expected `str`, found `int`")
    counts(code, found)    # True
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from builders.checks.type_names import BUILT_IN, certain, head
from builders.code.functions import FunctionNode

RULES = {
    "invalid-explicit-return": "a value is returned that is surely not of the annotated type",
    "invalid-implicit-return": "nothing is ever returned, and the annotated type excludes None",
    "invalid-generator-return-type": "a function that yields is annotated with a type that no generator is",
    "invalid-yield": "a value is yielded that is surely not of the annotated type",
    "invalid-assignment": "a variable that is annotated in the body gets a value that is surely of another type",
    "invalid-parameter-default": "a default value other than None is surely not of the annotated type",
    "invalid-argument-type": "a function of the text is called with a value that is surely not of the annotated type, or "
    "an annotated variable is given to a function of Python that surely takes another type",
    "unsupported-operator": "an annotated variable has no such operator with the other operand",
    "missing-attribute": "a variable that is annotated with a built-in type is asked for what that type lacks",
}
"""The rules of ty that count, and in which places they do."""
VERSION = 1
"""Raise it when another finding counts."""

_QUOTED = re.compile(r"`([^`]*)`")
_NAMED = FunctionNode | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar


class Finding(NamedTuple):
    """One line of the checker. `line` and `column` count from 1."""

    rule: str
    line: int
    column: int
    message: str


def counts(code: str, finding: Finding) -> bool:
    """Whether a finding is an error by the annotations of the text itself."""
    check = _CHECKS.get(finding.rule)
    if check is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return check(_Place(code, tree, finding), _QUOTED.findall(finding.message))


class _Place:
    """Where a finding stands in the tree of its text."""

    def __init__(self, code: str, tree: ast.Module, finding: Finding) -> None:
        self.message, self.line = finding.message, finding.line
        line = code.split("\n")[finding.line - 1]
        self._start = (finding.line, len(line[: finding.column - 1].encode()))
        self._tree = tree

    def at(self) -> Iterator[ast.AST]:
        """The nodes that begin where the finding does."""
        for node in ast.walk(self._tree):
            if (getattr(node, "lineno", 0), getattr(node, "col_offset", -1)) == self._start:
                yield node

    def functions(self) -> list[FunctionNode]:
        """All functions of the text, nested ones too."""
        return [n for n in ast.walk(self._tree) if isinstance(n, FunctionNode)]

    def statement(self) -> ast.stmt | None:
        """The innermost statement around the finding."""
        around = [n for n in ast.walk(self._tree) if isinstance(n, ast.stmt) and _begins(n) <= self._start <= _ends(n)]
        return max(around, key=_begins, default=None)

    def is_declared(self, node: ast.AST) -> bool:
        """Whether a node is a variable that has an annotation and nothing else that binds it."""
        return isinstance(node, ast.Name) and self._bound()[node.id] == 1 and node.id in self._annotated(ast.arg)

    def is_annotated_in_body(self, name: str) -> bool:
        return name in self._annotated(ast.AnnAssign) and name not in self._annotated(ast.arg, only_annotated=False)

    def helper(self, name: str) -> bool:
        """Whether a name is one function of the text that can be called by it: a method cannot."""
        named = [f for f in self.functions() if f.name == name]
        first = [argument.arg for f in named for argument in [*f.args.posonlyargs, *f.args.args][:1]]
        return len(named) == 1 and not named[0].decorator_list and not {"self", "cls"} & set(first)

    def _annotated(self, kind: type[ast.AST], only_annotated: bool = True) -> set[str]:
        found = set()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.arg) and kind is ast.arg and (node.annotation or not only_annotated):
                found.add(node.arg)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id) if kind is ast.AnnAssign or only_annotated else None
        return found

    def _bound(self) -> Counter[str]:
        names: Counter[str] = Counter()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                names[node.id] += 1
            elif isinstance(node, ast.arg):
                names[node.arg] += 1
            elif isinstance(node, ast.alias):
                names[(node.asname or node.name).partition(".")[0]] += 1
            elif isinstance(node, _NAMED) and node.name:
                names[node.name] += 1
        return names


def _begins(node: ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _ends(node: ast.stmt) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or 0


def _returned(place: _Place, types: list[str]) -> bool:
    statement = place.statement()
    if len(types) != 2 or not isinstance(statement, ast.Return):
        return False
    if types[1] == "None":  # a variable that is None here may be set elsewhere
        is_written = statement.value is None or (isinstance(statement.value, ast.Constant))
        return is_written and certain(types[0], "None")
    return certain(*types)


def _returned_nothing(place: _Place, types: list[str]) -> bool:
    around = [n for n in place.functions() if n.lineno <= place.line]
    if not around or not place.message.startswith("Function always implicitly returns"):
        return False
    # pass or a docstring: not written yet, not wrong; a call at the end: one that may always raise
    last = max(around, key=_begins).body[-1]
    is_open = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant | ast.Call | ast.Await)
    return not isinstance(last, ast.Pass) and not is_open


def _generator(place: _Place, types: list[str]) -> bool:
    return len(types) == 2 and certain(types[0], types[1])


def _yielded(place: _Place, types: list[str]) -> bool:
    return len(types) == 2 and types[0] != "None" and certain(types[1], types[0])


def _assigned(place: _Place, types: list[str]) -> bool:
    statement = place.statement()
    if len(types) != 2 or types[0] == "None" or not isinstance(statement, ast.AnnAssign | ast.Assign):
        return False
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
    is_own = all(isinstance(t, ast.Name) and place.is_annotated_in_body(t.id) for t in targets)
    return is_own and certain(types[1], types[0])


def _default(place: _Place, types: list[str]) -> bool:
    return len(types) == 2 and types[0] != "None" and certain(types[1], types[0])


def _argument(place: _Place, types: list[str]) -> bool:
    if len(types) < 3 or types[-1] == "None" or not place.message.startswith("Argument to function"):
        return False
    given = [n.value if isinstance(n, ast.keyword) else n for n in place.at()]
    return (place.helper(types[0]) or any(map(place.is_declared, given))) and certain(*types[-2:])


def _operator(place: _Place, types: list[str]) -> bool:
    operands: list[ast.expr] = []
    for node in place.at():
        if isinstance(node, ast.BinOp):
            operands += [node.left, node.right]
        elif isinstance(node, ast.Compare):
            operands += [node.left, *node.comparators]
    plain = [head(one) for one in types[1:]]
    is_plain = len(plain) == 2 and all(name in BUILT_IN - {"None"} for name in plain)
    return is_plain and any(map(place.is_declared, operands))


def _attribute(place: _Place, types: list[str]) -> bool:
    if len(types) != 2 or head(types[0]) not in BUILT_IN - {"None", "type"}:
        return False
    return any(isinstance(n, ast.Attribute) and place.is_declared(n.value) for n in place.at())


_CHECKS: dict[str, Callable[[_Place, list[str]], bool]] = {
    "invalid-explicit-return": _returned,
    "invalid-implicit-return": _returned_nothing,
    "invalid-generator-return-type": _generator,
    "invalid-yield": _yielded,
    "invalid-assignment": _assigned,
    "invalid-parameter-default": _default,
    "invalid-argument-type": _argument,
    "unsupported-operator": _operator,
    "missing-attribute": _attribute,
}
