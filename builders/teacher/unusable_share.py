"""Stopping a teacher whose answers are mostly of no use, before the rest is paid for.

In: its answers as they come. Out: a JobError with three of them, when more than
`teacher.max_unusable_share` give no pair. What an earlier run has kept does not count: the server
may have been mended since. So a run that is given again pays for 20 more answers. An endpoint gets
no further question before these are judged.

A good teacher fails in a few of a hundred answers, and a prompt or a server that does not fit fails
in nearly all. The default of 0.5 lies between: of 20 answers of a teacher that fails in three of
ten, more than half are unusable once in 60 runs. An answer that is asked for again counts each
time. Examples are not run for this: they are judged shard by shard.
"""

from __future__ import annotations

import threading

from builders.engines import Completion
from builders.pairs import Parsed
from builders.recipe import Teacher
from builders.teacher import asking
from store.errors import JobError

ANSWERS_TO_JUDGE = 20
NUM_EXAMPLES = 3
LONGEST_EXAMPLE = 200


class UnusableShare:
    """Counts answers and those without a pair; see the module."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self._lock = threading.Lock()
        self._num_answers = self._num_unusable = 0
        self._examples: list[str] = []

    def __call__(self, answer: Completion) -> JobError | None:
        """Count an answer; an error when too many are of no use."""
        if answer.finish_reason == "error":
            return None  # `max_error_share` counts these
        pair = asking.pair(self._teacher, answer)
        with self._lock:
            self._num_answers += 1
            if pair.status != "ok":
                self._num_unusable += 1
                self._remember(pair, _said(answer))
            too_many = self._num_unusable > self._teacher.max_unusable_share * self._num_answers
            return self._error() if too_many and self._num_answers >= ANSWERS_TO_JUDGE else None

    def _remember(self, pair: Parsed, text: str) -> None:
        if len(self._examples) < NUM_EXAMPLES:
            self._examples.append(f"{pair.status}: {pair.reason}: {shortened(text)!r}")

    def _error(self) -> JobError:
        examples = "".join(f"\n  {example}" for example in self._examples)
        return JobError(
            f"{self._num_unusable} of {self._num_answers} answers of the teacher give no pair, more than "
            f"teacher.max_unusable_share={self._teacher.max_unusable_share:g}, such as:{examples}\n"
            "The answers are kept, and nothing more was asked. Mend the server and run the same command again: it asks "
            "for the rest, and `scoder ask-again` then asks for those of no use once more. A mended teacher.prompt is "
            "another teacher, who is asked for all. To go on as it is: --set teacher.max_unusable_share=1"
        )


def _said(answer: Completion) -> str:
    """What there is to see of an answer: its text, or else what the model thought."""
    return answer.text or (f"(it only thinks) {answer.reasoning}" if answer.reasoning else "")


def shortened(text: str) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[:LONGEST_EXAMPLE]}…"
