"""Asking an engine for whole shards, one after the other.

The bits of the transformers engine depend on which requests are decoded together. So each shard is
asked for in one call, in the caller's thread, and a killed shard is asked for again as a whole.
With a journal, the answers of whole shards are kept there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Self, cast

from builders.engines.error_share import ErrorShare
from builders.engines.journal import Journal, Journals
from builders.engines.repeats import Answered, Asked, Repeats, in_order
from store.errors import JobError


class WholeShards(Generic[Asked, Answered]):
    """The answers of the shards of one plan; see the module."""

    def __init__(
        self,
        ask: Callable[[Iterable[Asked]], Iterator[Answered]],
        requests_of: Callable[[int], Sequence[Asked]],
        repeats: Repeats[Answered],
        errors: ErrorShare,
        journal: Journal | Journals | None = None,
    ) -> None:
        self._journal = journal
        self._ask: Callable[[Iterable[Asked]], Iterator[Answered]] = ask
        self._requests_of: Callable[[int], Sequence[Asked]] = requests_of
        self._repeats: Repeats[Answered] = repeats
        self._errors = errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal. Between two shards nothing is under way."""
        if self._journal is not None:
            self._journal.close()

    def of(self, shard: int, request_ids: Iterable[str]) -> list[Answered]:
        """The answers of a shard in the order of the ids. Each counts the tokens of all tries."""
        found = self._kept(shard)
        storm = None
        while to_ask := self._repeats.unanswered(shard, self._requests_of(shard), found):
            for answer in self._ask([entry.sent() for entry in to_ask]):
                found[answer.request_id] = answer
                self._keep(shard, answer)
                storm = self._errors.add(answer) or storm
            if lost := [entry.name for entry in to_ask if entry.name not in found]:
                raise JobError(f"the engine gave no answer to {len(lost)} requests, first {lost[0]}")
        if storm := storm or self._errors.of_complete_shard():
            raise storm
        if self._journal is not None:
            self._journal.finish(shard)
        return in_order(request_ids, found)

    def _kept(self, shard: int) -> dict[str, Answered]:
        """The answers of a shard that an earlier run has kept, if it has kept all of them.

        An error that cost nothing is no answer to keep.
        """
        if self._journal is None:
            return {}
        found = cast(dict[str, Answered], self._journal.paid(shard))
        return {} if self._repeats.unanswered(shard, self._requests_of(shard), found) else found

    def _keep(self, shard: int, answer: Answered) -> None:
        if self._journal is not None:
            self._journal.add(shard, answer, None)
