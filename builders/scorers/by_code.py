"""Scores that need no model, as rows of `aspect_scores` whose scorer is 'code'.

In: the kind of items, and items. Out: rows: whether a solution parses, its lint, and an estimate of
how far a docstring suffices.

    code_facts("candidate", [{"item_id": "1", "solution": "def double(x): return 2 * x"}])
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from builders.checks import names

SUFFICIENCY = "sufficiency"
"""The aspect of a snippet: whether its docstring suffices to write it again."""
_BY_CODE = {"scorer": "code", "prompt_version": ""}

Item = dict[str, Any]


def docstring_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The estimate that comes from counting words, on the scale 0 to 9.

    Every snippet that the judge was asked about gets such a row, also where the judge gave no
    answer.
    """
    rows = []
    for item in items:
        fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": SUFFICIENCY, **_BY_CODE}
        value = 9 * item["docstring_sufficiency"]
        rows.append({**fact, "score": round(value), "expected": value})
    return rows


def code_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Lint and parsing of the solutions, on the scale 0 to 9: two rows for each item."""
    counts = names.findings([i["solution"] for i in items], names.PYFLAKES)
    rows = []
    for item, count in zip(items, counts, strict=True):
        for aspect, score in (("lint", max(0, 9 - count)), ("parses", parses(item["solution"]))):
            fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": aspect, **_BY_CODE}
            rows.append({**fact, "score": score, "expected": float(score)})
    return rows


def parses(solution: str) -> int:
    """9 when the solution defines a function with a body, 5 when it only parses, 0 otherwise.

    Example:
        parses("def double(x): return 2 * x")  # 9
        parses("print(1)")  # 5
    """
    try:
        tree = ast.parse(solution)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return 9 if any(not isinstance(b[-1], ast.Pass) for b in bodies) else 5
