"""Telling a storm of errors from a few bad rows.

A few requests may end in an engine error, and their rows are then missing. When a larger share than
`max_error_share` fails, something is wrong with the engine, and the stream ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from builders.engines.journal import is_final
from builders.engines.types import ChoiceCompletion, Completion
from store.errors import JobError

ANSWERS_TO_JUDGE = 200
"""A share is judged against at least so many answers, or when a shard is complete."""
FEW_ERRORS = 3
"""Fewer errors than this are bad rows, unless nothing else was answered."""


class StormError(JobError):
    """Too many requests ended in an engine error. `example` is one of the errors.

    `is_unread` says that some of them were answered, and paid for, and could not be read.
    """

    def __init__(self, what: str, example: str | None, advice: str, *, is_unread: bool = False) -> None:
        super().__init__(f"{what}, such as: {example!r}. {advice}")
        self.example, self.is_unread = example, is_unread


class ErrorShare:
    """Counts answers and errors. An item of `per_item` requests is lost with one of them."""

    def __init__(self, max_share: float, per_item: int) -> None:
        self._max_share, self._per_item = max_share, per_item
        self._num_answers = self._num_errors = self._num_unread = 0
        self._last_error: str | None = None

    def add_answered(self, answers: Iterable[Completion | ChoiceCompletion]) -> None:
        """Answers of an earlier run, and those of them that could not be read.

        Bad rows take longest, so after a kill they may be all that is left to ask. They are few
        beside what was answered before.
        """
        for answer in answers:
            self._count(answer)

    def add(self, answer: Completion | ChoiceCompletion) -> JobError | None:
        """Count an answer; an error when it shows that there are too many."""
        if not self._count(answer):
            return None
        is_storm = self._num_errors > self._max_share * max(self._num_items, ANSWERS_TO_JUDGE)
        return self._error() if is_storm else None

    def _count(self, answer: Completion | ChoiceCompletion) -> bool:
        """Whether it is an error."""
        self._num_answers += 1
        if answer.finish_reason != "error":
            return False
        self._num_errors += 1
        self._num_unread += is_final(answer)
        self._last_error = answer.error
        return True

    def of_complete_shard(self) -> JobError | None:
        """An error when there are too many at the end of a shard."""
        is_few = self._num_errors < FEW_ERRORS and self._num_errors < self._num_answers
        is_storm = not is_few and self._num_errors > self._max_share * self._num_items
        return self._error() if is_storm else None

    @property
    def _num_items(self) -> float:
        return self._num_answers / self._per_item

    def _error(self) -> JobError:
        of_item = f" ({self._per_item} for each item)" if self._per_item > 1 else ""
        return StormError(
            f"{self._num_errors:,} of {self._num_answers:,} requests{of_item} ended in an engine error",
            self._last_error,
            f"That is more than max_error_share={self._max_share:g}. All answers are kept: mend the cause and run again"
            f"{way_on(self._num_unread > 0)}, or raise max_error_share to go on without these rows",
            is_unread=self._num_unread > 0,
        )


def way_on(is_unread: bool, option: str = "the engine's ask_failed_again=true") -> str:
    """How a run goes on after failures: what is asked again by itself, and what only if wanted.

    `is_unread` says that some were answered, and paid for, and could not be read.
    """
    if not is_unread:
        return ", which asks for what failed once more"
    return (
        ", which asks for what was never answered. What was answered and could not be read was paid for: it is asked "
        f"for, and paid for, again only with {option}"
    )
