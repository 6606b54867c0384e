"""The JSON form of a (problem, solution) pair, for endpoints that can be held to a schema.

In: what a model wrote. Out: a `Parsed`, with the statuses of the tagged form
(`builders/pairs/__init__.py`).
"""

from __future__ import annotations

import json

from builders.pairs import Parsed, is_python

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"problem": {"type": "string"}, "solution": {"type": "string"}},
        "required": ["problem", "solution"],
        "additionalProperties": False,
    }
)


def parse(text: str, finish_reason: str = "stop") -> Parsed:
    """Problem and solution of an answer that should be one JSON object."""
    if finish_reason == "prompt_too_long":
        return Parsed("prompt_too_long")
    if finish_reason == "error":
        return Parsed("engine_error")
    try:
        answer = json.loads(_unfenced(text))
    except (ValueError, RecursionError):
        return Parsed("unfinished" if finish_reason == "length" else "no_problem")
    problem, solution = (_part(answer, name) for name in ("problem", "solution"))
    if problem is None:
        return Parsed("no_problem")
    if solution is None:
        return Parsed("no_solution", problem.strip())
    solution = solution.strip("\n")
    return Parsed("ok" if is_python(solution) else "syntax_error", problem.strip(), solution)


def _unfenced(text: str) -> str:
    """The text without the code fence that some endpoints put around the object."""
    lines = text.strip().splitlines()
    is_fenced = len(lines) > 2 and lines[0].startswith("```") and lines[-1] == "```"
    return "\n".join(lines[1:-1]) if is_fenced else text


def _part(answer: object, name: str) -> str | None:
    """A text of the object. None where there is none, or where it cannot be stored as UTF-8."""
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None  # half of a surrogate pair
    return value
