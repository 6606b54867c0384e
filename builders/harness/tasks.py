"""A benchmark task: how it is asked, how its answers are judged, and where it came from.

In: what `builders/harness/layouts` reads from a published file. Out: one `Task` that the rest of
the room works with, so that nobody else needs to know the layout of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from builders.engines import Form

__all__ = ["FORMS", "CallForm", "Case", "Comparison", "Form", "Task"]

FORMS: tuple[Form, ...] = ("chat", "completion")

CallForm = Literal["function", "method", "stdin"]
"""How a solution is run: a function, a method of a class, or a script that reads standard input."""

Comparison = Literal["asserts", "equal", "apps", "livecodebench", "text"]
"""How an answer is judged.

- asserts: `Task.tests` is Python code that calls the solution and raises if it is wrong
- equal: the value for each case, as EvalPlus compares (numbers within `atol`, `oracle`)
- apps: the value for each case, as APPS compares (a tuple equals a list, and so does an only item)
- livecodebench: the value for each case, as LiveCodeBench compares (a tuple equals a list)
- text: what the script prints for each case, as LiveCodeBench compares
"""


@dataclass(frozen=True)
class Case:
    """One input, and the output that is expected.

    Of a function or method, both are Python literals: the list of the arguments, and the value
    (`builders/harness/literals.py`; `inf`, `nan` and `complex(…)` may be in them).
    Of a script, both are text. Without an output, that of the task's own solution is expected.
    """

    input: str
    output: str | None = None


@dataclass(frozen=True)
class Task:
    """One task. `prompt` and `solution` are as in the file, for decontamination.

    `chat` is the text of the user's turn. `completion` is the text that a model continues, until
    one of `stops`. `entry_point` is a name, or for a method an expression such as
    `Solution().twoSum`. It is None for a script.

    A task is judged by `tests` (Python code) where `comparison` is asserts, and by `cases`
    elsewhere, never by both. Some files have tests beside the cases: they are kept in `tests`, for
    decontamination. Cases may lie in a file (`stored_cases.py`), which is read each time that they
    are gone through. `num_base_cases` of the cases are those of the original
    benchmark, the rest was added by EvalPlus. It is 0 where the file does not say. `oracle` names a
    comparison of EvalPlus for this one task. `case_s` is the time limit of a case where the
    benchmark has one. `contest_date` is in ISO form. `ungradable` is the reason why no answer to
    this task can be judged.
    """

    task_id: str
    prompt: str
    solution: str | None
    tests: str
    entry_point: str | None
    language: str = "python"
    chat: str = ""
    completion: str = ""
    stops: tuple[str, ...] = ()
    call_form: CallForm = "function"
    comparison: Comparison = "asserts"
    cases: Sequence[Case] = ()
    num_base_cases: int = 0
    atol: float = 0.0
    oracle: str | None = None
    case_s: float | None = None
    contest_date: str | None = None
    ungradable: str | None = None
