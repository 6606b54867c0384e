"""The written form of a (problem, solution) pair. `render` writes it, `parse` reads it.

    ### Problem
    <problem>

    ### Solution
    ```python
    <solution>
    ```

`parse(render(problem, solution))` gives the stripped texts back, whatever is in them. Other forms
that models write are understood, too (`headings`, `solutions`). A malformed text is no error but
data: `Parsed.status` and `Parsed.reason` say what is wrong with it. No text makes `parse` raise.
`reading` reads the answer of a model, with its thinking apart.

    parse(render("Add two numbers.", "def add(a, b):\n    return a + b")).status    # 'ok'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from builders.code import syntax
from builders.pairs import headings, solutions
from store import content_id

__all__ = [
    "Parsed", "as_json", "corruptions", "exact", "examples", "fenced", "is_python", "labels", "no_answer", "parse",
    "reading", "render",
]  # fmt: skip

PROBLEM, SOLUTION = "### Problem", "### Solution"
_SOLUTION_LINE = re.compile(r"^### Solution[ \t]*$", re.MULTILINE)
_OPENED = re.compile(r"\n(`{3,})python\n")
MAX_CHARACTERS = 1_000_000
"""A longer text is no answer of a model, but what a broken server sends."""


@dataclass(frozen=True)
class Parsed:
    """What was found.

    `status` is one of store.schemas.PARSE_STATUSES; what was not found is None. `reason` says in
    words what is wrong, and is None where nothing is.
    """

    status: str
    problem: str | None = None
    solution: str | None = None
    reason: str | None = field(default=None, compare=False)

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
    if (nothing := no_answer(text, finish_reason)) is not None:
        return nothing
    if (pair := exact(text)) is not None:
        return _judged(*pair)
    found = headings.parts(_unix(text))
    if found.problem is None:
        return Parsed("no_problem", reason=found.fault)
    is_cut = finish_reason == "length"
    if found.rest is None:
        return Parsed("unfinished" if is_cut else "no_solution", found.problem, reason=found.fault)
    made = solutions.solution(found.rest)
    if not made.is_closed and is_cut:
        return Parsed("unfinished", found.problem, made.code or None, "the answer was cut off in its solution")
    if not made.code or not made.code.strip():
        return Parsed("no_solution", found.problem, reason="there is no fenced code under '### Solution'")
    return _judged(found.problem, made.code)


def no_answer(text: str, finish_reason: str) -> Parsed | None:
    """Why there is nothing to be read. None where there is."""
    if finish_reason == "prompt_too_long":
        return Parsed("prompt_too_long", reason="prompt and answer together have no room in the model's context")
    if finish_reason == "error":
        return Parsed("engine_error", reason="the engine gave an error")
    if not text.strip():
        is_cut = finish_reason == "length"
        return Parsed("unfinished" if is_cut else "no_answer", reason="the answer is empty")
    if len(text) > MAX_CHARACTERS:
        return Parsed("no_problem", reason=f"the answer has {len(text):,} characters; {MAX_CHARACTERS:,} are read")
    return None


def exact(text: str) -> tuple[str, str] | None:
    """Problem and solution of a text that is just as `render` writes it. None for another text."""
    text = text.strip()
    head = _SOLUTION_LINE.search(text)
    opened = _OPENED.match(text, head.end()) if head else None
    if head is None or opened is None or not text.startswith(f"{PROBLEM}\n"):
        return None
    problem = text[len(PROBLEM) + 1 : head.start()].removesuffix("\n\n")
    solution = text[opened.end() :].removesuffix(f"\n{opened[1]}")
    is_pair = bool(problem) and bool(solution.strip()) and render(problem, solution) == text
    return (problem, solution) if is_pair else None


def _judged(problem: str, solution: str) -> Parsed:
    fault = syntax.fault(solution)
    if fault is None:
        return Parsed("ok", problem, solution)
    return Parsed("syntax_error", problem, solution, f"the solution is no Python: {fault}")


def _unix(text: str) -> str:
    """The text with Unix line ends, if it has those of Windows throughout."""
    is_windows = "\r\n" in text and text.count("\r\n") == text.count("\n")
    return text.replace("\r\n", "\n") if is_windows else text


def is_python(code: str) -> bool:
    """Whether the code parses. Nothing is executed."""
    return syntax.parses(code)
