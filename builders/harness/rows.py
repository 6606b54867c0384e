"""The rows of the table evaluations, without the checkpoint: one for each answer that was wanted.

In: jobs with their completions, None where there is none. Out: a row each, in the same order.
Answers are judged in the sandbox. What could not be asked or judged is a row, too, and says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from builders.engines import Completion
from builders.harness import grading
from builders.harness.jobs import Job, Known, obstacle
from builders.harness.verdicts import Verdict
from builders.recipe import Grading
from store import Announce

Row = dict[str, Any]
Given = Sequence[tuple[Job, Completion | None]]

LOST = ("unanswered", "missing", "error", "ungradable")
"""The statuses of answers that should have a verdict, and have none: the engine gave no answer, the
sandbox lacks a library that it imports, the sandbox failed, or the task cannot be judged here."""
NEVER_ASKED = "it was not asked for"


def rows(
    given: Given,
    known: Known,
    settings: Grading,
    absent: str = NEVER_ASKED,
    *,
    is_code: bool = False,
    announce: Announce | None = None,
) -> Iterator[Row]:
    """One row per job. The answers of one benchmark are judged together.

    `announce` says once a minute how many are judged.

    `absent` is said of jobs without a completion. With `is_code`, the answers are programs, and run
    as they are.
    """
    for benchmark, part in groupby(given, lambda pair: pair[0].benchmark):
        pairs = list(part)
        answers = [
            (number, job.task, job.form, completion.text)
            for number, (job, completion) in enumerate(pairs)
            if completion is not None and is_answered(completion) and obstacle(job, known) is None
        ]
        progress = grading.Progress(len(answers), announce, benchmark) if announce else None
        judged = grading.verdicts(answers, known[benchmark], settings, is_code=is_code, progress=progress)
        found = dict(judged) if answers else {}
        for number, (job, completion) in enumerate(pairs):
            yield _row(job, completion, known, found.get(number), absent)


def unjudged(given: Given, known: Known, absent: str = NEVER_ASKED) -> Iterator[Row]:
    """The same where a run was broken off: what was answered is noted, but not judged."""
    for job, completion in given:
        yield _row(job, completion, known, None, absent)


def is_answered(completion: Completion) -> bool:
    """Whether there is an answer, whole or cut at its longest."""
    return completion.finish_reason in ("stop", "length")


def joined(wanted: Iterable[Job], given: Iterable[Completion]) -> Given:
    """Each job with its completion, or None if there is none."""
    found = {completion.request_id: completion for completion in given}
    return [(job, found.get(job.name)) for job in wanted]


def lost(found: Iterable[Row]) -> Counter[str]:
    """How many answers have no verdict, by form."""
    return Counter(row["form"] for row in found if row["status"] in LOST)


def _row(job: Job, completion: Completion | None, known: Known, verdict: Verdict | None, absent: str) -> Row:
    row = {
        "benchmark": job.benchmark,
        "form": job.form,
        "task_id": job.task.task_id,
        "sample_index": job.number,
        "completion": "" if completion is None else completion.text,
        "reasoning": None if completion is None else completion.reasoning,
        "finish_reason": "" if completion is None else completion.finish_reason,
        "completion_tokens": 0 if completion is None else completion.num_completion_tokens,
    }
    if verdict is None:
        return row | _without_verdict(job, completion, known, absent)
    return row | {
        "extracted": verdict.extracted,
        "is_passed": verdict.is_passed,
        "is_base_passed": verdict.is_base_passed,
        "status": verdict.status,
        "error": None,
        "message": verdict.message,
        "seconds": verdict.seconds,
        "is_apart": verdict.is_apart,
    }


def _without_verdict(job: Job, completion: Completion | None, known: Known, absent: str) -> Row:
    reason = obstacle(job, known)
    is_there = completion is not None and is_answered(completion)
    return {
        "extracted": "",
        "is_passed": False,
        "is_base_passed": None,
        "status": "ungradable" if reason else "unjudged" if is_there else "unanswered",
        "error": None if reason or is_there else _error(completion, absent),
        "message": reason,
        "seconds": 0.0,
        "is_apart": False,
    }


def _error(completion: Completion | None, absent: str) -> str | None:
    if completion is None:
        return absent
    if completion.finish_reason == "prompt_too_long":
        return completion.error or "the prompt and the longest answer do not fit into the model's window"
    return completion.error
