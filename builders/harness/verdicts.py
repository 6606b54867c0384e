"""The verdict on one answer: which trial the sandbox runs, and what its end means.

In: a task, what a model wrote, and what is known of the task. Out: a `Trial`, and after it a
`Verdict`. `builders/harness/grading.py` runs them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

from builders import sandbox
from builders.harness import programs
from builders.harness.extraction import Candidate, imports
from builders.harness.failed_asserts import failed_assert
from builders.harness.libraries import ALSO, missing_library
from builders.harness.references import (
    Ready,
    asserts_trial,
    is_absent,
    last_line,
)
from builders.harness.tasks import Task
from builders.recipe import Grading

LONGEST_CASES_S = 60.0
"""Seconds that all cases of a task may take together, as in EvalPlus, if the reference is quick."""
MORE_PER_CASE_S, MORE_PER_ANSWER_S = 1.0, 5.0
"""What LiveCodeBench adds to the time limits of the cases for the whole of an answer
(`lcb_runner/evaluation/compute_code_generation_metrics.py`)."""
_STAND_IN = """\
def stand_in(wanted):
    import importlib.machinery
    import sys

    class Finder:
        def find_spec(self, name, path=None, target=None):
            is_wanted = name.partition(".")[0] == wanted
            return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_wanted else None

        def create_module(self, spec):
            return None

        def exec_module(self, module):
            pass

    sys.meta_path.insert(0, Finder())


stand_in(%r)
del stand_in
"""
"""Makes an empty module of that name importable. What is imported from it is such a module, too."""

Outcome = Literal["passed", "failed", "timeout", "memory", "output", "missing", "error"]


@dataclass(frozen=True)
class Verdict:
    """How an answer did.

    `missing` means that it stopped where it imports a known library that the sandbox lacks, and
    `error` that the sandbox did not work: neither says anything about the model. An answer that
    raises such an error itself has failed: it does so also with a stand-in for the library. Code
    that looks for the stand-in can still be taken for `missing`; an evaluation with more such
    answers than its `max_error_share` fails. `is_base_passed` is about the tests
    of the original benchmark alone. It is None where there are no others.
    """

    status: Outcome
    is_passed: bool
    is_base_passed: bool | None
    extracted: str
    seconds: float
    message: str | None
    is_apart: bool


def trial_of(task: Task, candidate: Candidate, ready: Ready, settings: Grading) -> sandbox.Trial:
    """The trial of an answer."""
    if task.comparison == "asserts":
        return asserts_trial(task, candidate.pieces, ceiling(task, ready, settings), is_apart=ready.is_apart)
    job = programs.comparison_of(task) | {
        "num_base": task.num_base_cases,
        "min_case_s": settings.min_case_s,
        "factor": settings.reference_factor,
        "case_s": task.case_s,
    }
    return sandbox.Trial(
        solution=candidate.pieces,
        tests=(programs.checker_text(), "check()\n"),
        prelude=programs.prelude(task),
        entry_point=task.entry_point,
        data=ready.data(json.dumps(job).encode() + b"\n"),
        wall_s=ceiling(task, ready, settings),
        is_script=task.call_form == "stdin",
    )


def ceiling(task: Task, ready: Ready, settings: Grading) -> float:
    """Seconds that an answer may take for all of its tests.

    Each case has a limit of its own. So the ceiling of all is generous: it ends what is slow in
    many cases, not what hangs in one. Where the benchmark itself has a limit for a case
    (LiveCodeBench), every case may use it up.
    """
    least = settings.wall_s + settings.reference_factor * ready.seconds
    if task.comparison == "asserts":
        return least
    if task.case_s is not None:
        return max(least, len(task.cases) * (task.case_s + MORE_PER_CASE_S) + MORE_PER_ANSWER_S)
    all_cases = len(task.cases) * settings.min_case_s + settings.reference_factor * ready.seconds
    return max(least, min(LONGEST_CASES_S, all_cases))


def verdict(
    task: Task, candidate: Candidate, ready: Ready, result: sandbox.SandboxResult, environment: str | None = None
) -> Verdict:
    """What the end of a trial in the sandbox of this environment says about the answer."""
    message = None if result.status == "passed" else last_line(result.stderr) or _in_short(result)
    if message == "AssertionError" and task.comparison == "asserts":
        tests = asserts_trial(task, (), 1.0, is_apart=ready.is_apart).tests[0]
        message = ": ".join(filter(None, (message, failed_assert(result.stderr, tests))))
    status: Outcome = result.status
    if status == "failed" and _lacks_library(candidate, message, environment):
        status = "missing"
    is_passed = status == "passed"
    has_more = 0 < task.num_base_cases < len(task.cases)
    return Verdict(
        status=status,
        is_passed=is_passed,
        is_base_passed=(is_passed or result.given.startswith(b"base")) if has_more else None,
        extracted=candidate.whole,
        seconds=result.wall_s,
        message=message,
        is_apart=ready.is_apart,
    )


def with_stand_in(candidate: Candidate, missing: Verdict) -> Candidate:
    """The same answer, with an empty module in place of the library that it is said to lack."""
    return replace(candidate, pieces=(_STAND_IN % missing_library(missing.message), *candidate.pieces))


def confirmed(missing: Verdict, result: sandbox.SandboxResult) -> Verdict:
    """The verdict `missing` after a run with the stand-in.

    The answer has failed if it says again that the library is not there.
    """
    is_pretence = missing_library(last_line(result.stderr)) == missing_library(missing.message)
    return replace(missing, status="failed") if is_pretence else missing


def _lacks_library(candidate: Candidate, message: str | None, environment: str | None) -> bool:
    """Whether the answer imports a known library that the sandbox really lacks.

    The message alone is no proof: an answer can raise the same error itself.
    """
    name = missing_library(message)
    if name is None:
        return False
    wanted = set[str]().union(*map(imports, candidate.pieces))
    asked = wanted.union(*(ALSO.get(library, ()) for library in wanted))
    return name in asked and is_absent(name, environment)


def _in_short(result: sandbox.SandboxResult) -> str:
    return f"ended as {result.status} with exit code {result.exit_code}"
