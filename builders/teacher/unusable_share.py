"""Stopping a teacher whose answers are mostly of no use, before the rest is paid for.

In: its answers as they come. Out: a JobError with three of them, when more than
`teacher.max_unusable_share` give no pair. An endpoint gets no further question before the first 20
are judged.

What an earlier run has kept does not count towards these 20, as the server may have been mended
since. But that it was stopped is remembered beside its answers (`stopped.json`). The next run asks
for 3 answers first. If none of them is of use, and the share of both runs together is still too
large, it stops there. One that is of use, and the run goes on as any other. So a server that is
not mended costs 3 answers each time, and a mended one is asked for the rest by the same command. A
mended prompt, or another model, is another plan with a journal of its own.

A good teacher fails in a few of a hundred answers, and a prompt or a server that does not fit fails
in nearly all. The default of 0.5 lies between: of 20 answers of a teacher that fails in three of
ten, more than half are unusable once in 60 runs, and 3 of 3 once in 37. An answer that is asked for
again counts each time. Examples are not run for this: they are judged shard by shard.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from builders.engines import Completion
from builders.pairs import reading
from builders.recipe import Teacher
from builders.teacher import asking
from store.errors import JobError
from store.files import write_text

ANSWERS_TO_JUDGE = 20
ANSWERS_OF_TRIAL = 3
"""So many are asked for first, where the run before was stopped."""
STOPPED = "stopped.json"
"""In the folder of a journal: how many answers a run had when it was stopped, and how many were of
no use."""
NUM_EXAMPLES = 3
LONGEST_EXAMPLE = 200


class UnusableShare:
    """Counts answers and those without a pair; see the module. `folder` is that of the journal."""

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        settings = teacher.engine_settings()
        self._teacher, self._path = teacher, folder / STOPPED
        self._lock = threading.Lock()
        self._num_answers = self._num_unusable = 0
        self._examples: list[str] = []
        # A batch is paid for as a whole, and a model that is loaded here bills nothing.
        is_paid_one_by_one = settings.is_endpoint and not settings.is_collected_later
        self._before = _remembered(self._path) if is_paid_one_by_one else None

    @property
    def first(self) -> Sequence[int]:
        """How many answers are judged before the next ones are asked for, group by group."""
        if self._teacher.max_unusable_share >= 1:
            return ()
        if self._before is None:
            return (ANSWERS_TO_JUDGE,)
        return (ANSWERS_OF_TRIAL, ANSWERS_TO_JUDGE - ANSWERS_OF_TRIAL)

    def __call__(self, answer: Completion) -> JobError | None:
        """Count an answer; an error when too many are of no use."""
        if answer.finish_reason == "error":
            return None  # `max_error_share` counts these
        found = reading.answer(answer, asking.reader(self._teacher))
        with self._lock:
            self._num_answers += 1
            if found.pair.status == "ok":
                self._forget()
            else:
                self._num_unusable += 1
                if len(self._examples) < NUM_EXAMPLES:
                    said = seen(found.text, found.reasoning)
                    self._examples.append(f"{found.pair.status}: {found.pair.reason}: {said}")
            return self._error() if self._is_too_many() else None

    def _is_too_many(self) -> bool:
        most = self._teacher.max_unusable_share
        if self._num_answers >= ANSWERS_TO_JUDGE:
            return self._num_unusable > most * self._num_answers
        if self._before is None or self._num_answers < ANSWERS_OF_TRIAL:
            return False
        num_answers, num_unusable = self._before
        return num_unusable + self._num_unusable > most * (num_answers + self._num_answers)

    def _forget(self) -> None:
        """An answer is of use: whatever was wrong before is mended, at least in part."""
        if self._before is not None:
            self._before = None
            self._path.unlink(missing_ok=True)

    def _error(self) -> JobError:
        num_answers, num_unusable = self._before or (0, 0)
        told = {"answers": num_answers + self._num_answers, "unusable": num_unusable + self._num_unusable}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(told) + "\n")
        again = ", as in the run before" if self._before else ""
        examples = "".join(f"\n  {example}" for example in self._examples)
        return JobError(
            f"{self._num_unusable} of {self._num_answers} answers of the teacher give no pair{again}, more than "
            f"teacher.max_unusable_share={self._teacher.max_unusable_share:g}, such as:{examples}\n"
            "The answers are kept, and nothing more was asked. Mend the server and run the same command again: it asks "
            f"for {ANSWERS_OF_TRIAL} answers, and for the rest if one of them is of use; `scoder ask-again` then asks "
            "for those of no use once more. A mended teacher.prompt is another teacher, who is asked for all. To go on "
            "as it is: --set teacher.max_unusable_share=1"
        )


def _remembered(path: Path) -> tuple[int, int] | None:
    """Answers, and those of no use, of a run that was stopped. None where none was."""
    try:
        told = json.loads(path.read_bytes())
        return int(told["answers"]), int(told["unusable"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def seen(text: str, reasoning: str | None) -> str:
    """What there is to see of an answer, for a message: its beginning, or that of its thinking."""
    if text.strip() or not reasoning:
        return repr(_shortened(text))
    return f"no text, only thinking: {_shortened(reasoning)!r}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[:LONGEST_EXAMPLE]}…"
