"""The JSON form of a (problem, solution) pair, for endpoints that can be held to a schema.

In: what a model wrote. Out: a `Parsed`, with the statuses of the tagged form
(`builders/pairs/__init__.py`). The object may stand in a fence, or behind a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from builders.code.fences import fenced
from builders.code.syntax import fault
from builders.pairs import Parsed, no_answer

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
    if (nothing := no_answer(text, finish_reason)) is not None:
        return nothing
    answer, why = _object(text)
    if answer is None:
        return Parsed("unfinished" if finish_reason == "length" else "no_problem", reason=why)
    problem, solution = (_part(answer, name) for name in ("problem", "solution"))
    if problem is None:
        return Parsed("no_problem", reason=_absent(answer, "problem"))
    if solution is None:
        return Parsed("no_solution", problem.strip(), reason=_absent(answer, "solution"))
    solution = solution.strip("\n")
    if (wrong := fault(solution)) is None:
        return Parsed("ok", problem.strip(), solution)
    return Parsed("syntax_error", problem.strip(), solution, f"the solution is no Python: {wrong}")


def _object(text: str) -> tuple[dict[str, object] | None, str | None]:
    """The JSON object of a text, or why there is none."""
    why = "the answer is no JSON object"
    for part in _places(text):
        try:
            found = json.loads(part)
        except RecursionError:
            why = "the JSON is nested too deeply"
        except ValueError as error:
            why = f"the answer is no JSON: {error}"
        else:
            if isinstance(found, dict):
                return found, None
    return None, why


def _places(text: str) -> Iterator[str]:
    """Where the object may be: the whole text, its first fenced blocks, its outer braces."""
    yield text
    yield from (block.code for block in fenced(text)[0][:3])
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end:
        yield text[start : end + 1]


def _part(answer: dict[str, object], name: str) -> str | None:
    """A text of the object. None where there is none, or where it cannot be stored as UTF-8."""
    value = answer.get(name)
    if not isinstance(value, str) or not value.strip() or not _is_storable(value):
        return None
    return value


def _is_storable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _absent(answer: dict[str, object], name: str) -> str:
    value = answer.get(name)
    if isinstance(value, str) and not _is_storable(value):
        return f"the text of {name!r} has half of a surrogate pair, which no table can hold"
    return f"the object has no text {name!r}; its keys are {sorted(answer)}"[:300]
