"""snippet_checks: the static measurements of each snippet. No decision is taken here; `queries/pool.sql` decides.

In: `raw_pool`. Out: `snippet_checks`, one shard per shard of raw_pool.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders import lint
from builders.extraction import FunctionNode, parsed
from builders.recipe import Recipe
from builders.tasks import build_sharded
from store import CONTRACTS, Plan, Record, Store
from store.shards import shard_name

_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert)
_COMPUTES = (ast.Call, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.comprehension, ast.Lambda)
_SKIPPED_TOKENS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_TEST = re.compile(r"(^|\.)(test|Test|setUp|tearDown)")


def build(store: Store, recipe: Recipe) -> Record:
    """Measure every snippet of raw_pool."""
    raw = store.record("raw_pool")
    plan = Plan(
        table="snippet_checks",
        inputs=store.input("raw_pool"),
        fields={"banned_imports": list(recipe.pool.banned_imports)},
        num_shards=len(raw.shards) if raw else 0,
    )
    return build_sharded(store, plan, "builders.snippet_checks:shard", recipe.executor.workers)


def shard(store: Store, plan: Plan, index: int) -> pa.Table:
    """The measurements of one shard of raw_pool."""
    path = f"{store.directory('raw_pool')}/{shard_name(index)}"
    snippets = pq.read_table(path, columns=["snippet_id", "name", "code", "docstring"]).to_pylist()
    undefined = lint.findings([s["code"] for s in snippets], lint.UNDEFINED)
    banned = set(plan.fields["banned_imports"])
    rows = [
        {
            **measure(s["name"], s["code"], s["docstring"], banned),
            "snippet_id": s["snippet_id"],
            "num_undefined_names": u,
        }
        for s, u in zip(snippets, undefined, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["snippet_checks"].schema)


def measure(name: str, code: str, docstring: str, banned: set[str]) -> dict[str, Any]:
    """All measurements but the linter's of one function that parses."""
    node = parsed(code).body[0]
    assert isinstance(node, FunctionNode), f"{name}: expected a function, got {type(node).__name__}"
    arguments = _arguments(node)
    short = name.rpartition(".")[2]
    named = sum(bool(re.search(rf"\b{re.escape(a)}\b", docstring)) for a in arguments)
    return {
        "num_tokens": num_tokens(code),
        "num_statements": sum(isinstance(n, ast.stmt) for n in ast.walk(node)) - 2,
        "num_arguments": len(arguments),
        "cyclomatic": cyclomatic(node),
        "num_docstring_words": len(docstring.split()),
        "docstring_ascii": sum(c.isascii() for c in docstring) / max(1, len(docstring)),
        "docstring_name_overlap": named / len(arguments) if arguments else 1.0,
        "returns_value": any(_gives_value(n) for n in _own(node)),
        "is_trivial": _is_trivial(node),
        "is_test": bool(_TEST.search(name)),
        "is_dunder": short.startswith("__") and short.endswith("__"),
        "banned_imports": sorted(_imports(node) & banned),
    }


def num_tokens(code: str) -> int:
    """Python lexical tokens without comments and layout; 0 for text that cannot be tokenised."""
    try:
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        return sum(t.type not in _SKIPPED_TOKENS for t in tokens)
    except (tokenize.TokenError, SyntaxError, IndentationError):
        return 0


def cyclomatic(node: ast.AST) -> int:
    """Decision points + 1; `a and b and c` counts two, a comprehension one and one per condition, a default case none."""
    return 1 + sum(_decisions(n) for n in ast.walk(node))


def _decisions(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        is_default = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None and node.guard is None
        return 0 if is_default else 1
    return int(isinstance(node, _BRANCHES))


def _arguments(node: FunctionNode) -> list[str]:
    a = node.args
    named = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    stars = [x.arg for x in (a.vararg, a.kwarg) if x is not None]
    return [x for x in named + stars if x not in ("self", "cls")]


def _own(node: FunctionNode) -> Iterator[ast.AST]:
    """Nodes of the function itself, not of functions and classes inside it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        current = waiting.pop()
        yield current
        if not isinstance(current, (*FunctionNode.__args__, ast.ClassDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(current))


def _gives_value(node: ast.AST) -> bool:
    if isinstance(node, ast.Return):
        return node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    return isinstance(node, (ast.Yield, ast.YieldFrom))


def _is_trivial(node: FunctionNode) -> bool:
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


def _imports(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for n in ast.walk(node):
        if isinstance(n, ast.Import):
            found |= {alias.name.split(".")[0] for alias in n.names}
        elif isinstance(n, ast.ImportFrom) and n.module and n.level == 0:  # `from .os import x` is not the os module
            found.add(n.module.split(".")[0])
    return found
