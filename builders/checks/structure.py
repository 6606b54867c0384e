"""What the syntax tree and the tokens of one function say.

In: a documented function. Out: `Syntax` (sizes, decisions, results, literals, names and modules),
from one walk over the tree; and `num_tokens` of any Python text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from builders.code.functions import FunctionNode

_SCOPES = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda})
_STATEMENTS = frozenset(c for c in vars(ast).values() if isinstance(c, type) and issubclass(c, ast.stmt))
_BRANCHES = frozenset({ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert})
_COMPUTES = (ast.Call, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.comprehension, ast.Lambda)
_DECIDERS = _BRANCHES | {ast.BoolOp, ast.comprehension, ast.match_case}
_IMPORTS = frozenset({ast.Import, ast.ImportFrom, ast.Call})
_IMPORTERS = frozenset({"__import__", "import_module"})
_TOKEN = re.compile(
    r"""(?sx)
    [ \t\f\r\n]+ | \#[^\n]* | \\\r?\n                        # layout and comments, outside the group
  | (                                                        # one token
        [rRbBuUfF]{0,2} (?: \"{3} (?:[^"\\]|\\.|"(?!""))*+ (?:\"{3})? | '{3} (?:[^'\\]|\\.|'(?!''))*+ (?:'{3})?
                          | "(?:[^"\\\n]|\\.)*+"? | '(?:[^'\\\n]|\\.)*+'? )
      | [^\W\d]\w*
      | (?:\d|\.\d) (?:[\w.]|(?<=[eE])[+-])*
      | \*\*=? | //=? | >>=? | <<=? | \.\.\. | != | -> | := | [-+*/%@&|^=<>]=? | [][(){},:.;~]
    ) """
)


@dataclass
class Syntax:
    """The measurements of one function."""

    arguments: list[str]
    is_trivial: bool
    num_statements: int = 0
    cyclomatic: int = 1
    num_literals: int = 0
    returns_value: bool = False
    modules: set[str] = field(default_factory=set)
    """The top-level modules that are imported inside."""
    words: set[str] = field(default_factory=set)
    """The names and attributes that are read or written."""
    attributes: dict[str, set[str]] = field(default_factory=dict)
    """For each plain name, the attributes that are taken of it."""
    bare: set[str] = field(default_factory=set)
    """The names that are read in any other way than to take an attribute."""
    module_names: set[str] = field(default_factory=set)
    """Names that only the function's own module or package can define: names of `global`, of a
    relative import, of private imports.
    """


def syntax(node: FunctionNode) -> Syntax:
    """Measure a function whose first statement is its docstring.

    Code of functions, classes and lambdas inside it counts too, except for `returns_value`.
    """
    found = Syntax(arguments(node), is_trivial(node))
    own: list[ast.AST] = list(node.body[1:])
    inner: list[ast.AST] = [node.args, *node.decorator_list, *([node.returns] if node.returns else [])]
    while own:
        current = own.pop()
        found.returns_value = found.returns_value or _gives_value(current)
        _see(current, inner if type(current) in _SCOPES else own, found)
    while inner:
        _see(inner.pop(), inner, found)
    return found


def _see(node: Any, waiting: list[ast.AST], found: Syntax) -> None:
    """Count one node and queue its children.

    Names, attributes and constants come first because they are by far the most frequent.
    """
    kind = type(node)
    if kind is ast.Name:
        found.words.add(node.id)
        if type(node.ctx) is ast.Load:
            found.bare.add(node.id)
        return
    if kind is ast.Constant:
        found.num_literals += isinstance(node.value, (str, bytes, int, float, complex)) and type(node.value) is not bool
        return
    if kind is ast.Attribute:
        found.words.add(node.attr)
        if type(node.value) is ast.Name:
            found.words.add(node.value.id)
            found.attributes.setdefault(node.value.id, set()).add(node.attr)
        else:
            waiting.append(node.value)
        return
    if kind in _STATEMENTS:
        found.num_statements += 1
    if kind in _DECIDERS:
        found.cyclomatic += _decisions(node)
    elif kind in _IMPORTS:
        found.modules.update(_imports(node))
        if kind is ast.ImportFrom:
            is_relative = node.level > 0
            found.module_names.update(a.asname or a.name for a in node.names if is_relative or a.name.startswith("_"))
    elif kind is ast.Global:
        found.module_names.update(node.names)
    for name in kind._fields:
        value = getattr(node, name, None)
        if type(value) is list:
            waiting.extend(v for v in value if isinstance(v, ast.AST))
        elif isinstance(value, ast.AST):
            waiting.append(value)


def _decisions(node: ast.AST) -> int:
    """`a and b and c` counts two, a comprehension one and one per condition, a default case 0."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        is_default = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None and node.guard is None
        return 0 if is_default else 1
    return 1


def _imports(node: ast.AST) -> Iterable[str]:
    """Top-level modules that a node imports, by a statement or by a call with a literal name."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):  # `from .os import x` is not the os module
        return {node.module.split(".")[0]} if node.module and node.level == 0 else ()
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "id", getattr(node.func, "attr", None))
        name = node.args[0].value
        if called in _IMPORTERS and isinstance(name, str) and not name.startswith("."):
            return {name.split(".")[0]}
    return ()


def _gives_value(node: ast.AST) -> bool:
    if isinstance(node, ast.Return):
        return node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    return isinstance(node, (ast.Yield, ast.YieldFrom))


def arguments(node: FunctionNode) -> list[str]:
    """The names of all parameters except self and cls."""
    a = node.args
    named = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    stars = [x.arg for x in (a.vararg, a.kwarg) if x is not None]
    return [x for x in named + stars if x not in ("self", "cls")]


def is_trivial(node: FunctionNode) -> bool:
    """Whether the body does nothing of its own.

    It is only pass, raise, a constant, a name, or one call whose arguments compute nothing.
    """
    body = node.body[1:]
    if not body:
        return True
    if len(body) > 1:
        return False
    only = body[0]
    if isinstance(only, (ast.Pass, ast.Raise)):
        return True
    if isinstance(only, ast.Return) and only.value is None:
        return True
    value = only.value if isinstance(only, (ast.Return, ast.Expr)) else None
    return isinstance(value, (ast.Constant, ast.Name, ast.Attribute)) or (
        isinstance(value, ast.Call)
        and not any(isinstance(n, _COMPUTES) for a in (*value.args, *value.keywords) for n in ast.walk(a))
    )


def num_tokens(code: str) -> int:
    """Python lexical tokens without comments and layout.

    An f-string is one token in every version of Python. Text that is not Python is counted too:
    characters that no token starts with are skipped.
    """
    return sum(map(bool, _TOKEN.findall(code)))
