"""The written form of a (problem, solution) pair. `render` writes it, `parse` reads it.

    ### Problem
    <problem>

    ### Solution
    ```python
    <solution>
    ```

`parse(render(problem, solution))` gives the stripped texts back. A malformed text is no error but
data: `Parsed.status` says what is wrong with it.

    parse(render("Add two numbers.", "def add(a, b):\n    return a + b")).status    # 'ok'
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from builders.code.functions import parsed
from store import content_id

__all__ = ["Parsed", "as_json", "corruptions", "examples", "fenced", "is_python", "labels", "parse", "render"]

PROBLEM, SOLUTION = "### Problem", "### Solution"
_SOLUTION_LINE = re.compile(r"^### Solution[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,})[^\n`]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """What was found.

    `status` is one of store.schemas.PARSE_STATUSES; what was not found is None.
    """

    status: str
    problem: str | None = None
    solution: str | None = None

    @property
    def text_hash(self) -> str | None:
        """A hash that ignores case and white space. None unless the pair is whole."""
        if self.status != "ok":
            return None
        return content_id(*("".join((t or "").lower().split()) for t in (self.problem, self.solution)))


def render(problem: str, solution: str) -> str:
    """The pair as a model should write it.

    ValueError for a problem with a solution heading in it.
    """
    problem, solution = problem.strip(), solution.strip("\n")
    if _SOLUTION_LINE.search(problem):
        raise ValueError("a problem must not hold a line '### Solution'")
    return f"{PROBLEM}\n{problem}\n\n{SOLUTION}\n{fenced(solution)}"


def fenced(code: str) -> str:
    """The code in a fence that is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code}\n{fence}"


def parse(text: str, finish_reason: str = "stop") -> Parsed:
    """Problem and solution of what a model wrote."""
    if finish_reason == "prompt_too_long":
        return Parsed("prompt_too_long")
    if finish_reason == "error":
        return Parsed("engine_error")
    head = _SOLUTION_LINE.search(text)
    start = text.find(PROBLEM)
    if start < 0 or (head and head.start() < start):
        return Parsed("no_problem")
    problem = text[start + len(PROBLEM) : head.start() if head else None].strip()
    if not problem:
        return Parsed("no_problem")
    if head is None:
        return Parsed("unfinished" if finish_reason == "length" else "no_solution", problem)
    solution, closed = _code(text[head.end() :])
    if not closed and finish_reason == "length":
        return Parsed("unfinished", problem, solution or None)
    if not solution or not solution.strip():
        return Parsed("no_solution", problem)
    return Parsed("ok" if is_python(solution) else "syntax_error", problem, solution)


def _code(text: str) -> tuple[str | None, bool]:
    """The first fenced block and whether it is closed."""
    opening = _FENCE.search(text)
    if opening is None:
        return None, False
    rest = text[opening.end() :]
    closing = re.search(rf"^{opening.group(1)}[ \t]*$", rest, re.MULTILINE)
    return rest[: closing.start() if closing else None].strip("\n"), closing is not None


def is_python(code: str) -> bool:
    """Whether the code parses. Nothing is executed."""
    try:
        parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
