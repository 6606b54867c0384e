"""Telling a storm of errors from a few bad rows.

A few requests may end in an engine error, and their rows are then missing. When a larger share than
`max_error_share` fails, something is wrong with the engine, and the stream ends.
"""

from __future__ import annotations

from builders.engines.types import ChoiceCompletion, Completion
from store.errors import JobError

ANSWERS_TO_JUDGE = 200
"""A share is judged against at least so many answers, or when a shard is complete."""
FEW_ERRORS = 3
"""Fewer errors than this are bad rows, unless nothing else was answered."""


class StormError(JobError):
    """Too many requests ended in an engine error. `example` is one of the errors."""

    def __init__(self, what: str, example: str | None, advice: str) -> None:
        super().__init__(f"{what}, such as: {example!r}. {advice}")
        self.example = example


class ErrorShare:
    """Counts answers and errors. An item of `per_item` requests is lost with one of them."""

    def __init__(self, max_share: float, per_item: int) -> None:
        self._max_share, self._per_item = max_share, per_item
        self._num_answers = self._num_errors = 0
        self._last_error: str | None = None

    def add_answered(self, num: int) -> None:
        """Answers of an earlier run.

        Bad rows take longest, so after a kill they may be all that is left to ask. They are few
        beside what was answered before.
        """
        self._num_answers += num

    def add(self, answer: Completion | ChoiceCompletion) -> JobError | None:
        """Count an answer; an error when it shows that there are too many."""
        self._num_answers += 1
        if answer.finish_reason != "error":
            return None
        self._num_errors += 1
        self._last_error = answer.error
        is_storm = self._num_errors > self._max_share * max(self._num_items, ANSWERS_TO_JUDGE)
        return self._error() if is_storm else None

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
            f"That is more than max_error_share={self._max_share:g}. All answers are kept, "
            "and the failed requests are asked again: mend the cause and run again, or raise max_error_share to go on "
            "without these rows",
        )
