"""The offline teacher: a function's own docstring is the problem, and its body the solution."""

from __future__ import annotations

from typing import Any

from builders.code.functions import without_docstring
from builders.pairs import Parsed, is_python


def pair_of(snippet: dict[str, Any]) -> Parsed:
    """The pair of a snippet: signature and docstring as the problem, the body as the solution."""
    signature = snippet["signature"].split("def ", 1)[1].rstrip(":")
    problem = f"Write a function `{signature}`.\n\n{snippet['docstring']}"
    if "###" in problem or "```" in problem:
        return Parsed("no_problem")
    try:
        solution = without_docstring(snippet["code"])
    except (SyntaxError, ValueError):
        return Parsed("no_solution", problem)
    return Parsed("ok" if is_python(solution) else "syntax_error", problem, solution)
