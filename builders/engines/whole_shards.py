"""Asking an engine for whole shards, one after the other, without a journal.

The bits of the transformers engine depend on which requests are decoded together. So each shard is
asked for in one call, in the caller's thread, and a killed shard is asked for again as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Self

from builders.engines.error_share import ErrorShare
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
    ) -> None:
        self._ask: Callable[[Iterable[Asked]], Iterator[Answered]] = ask
        self._requests_of: Callable[[int], Sequence[Asked]] = requests_of
        self._repeats: Repeats[Answered] = repeats
        self._errors = errors

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end: between two shards nothing is under way."""

    def of(self, shard: int, request_ids: Iterable[str]) -> list[Answered]:
        """The answers of a shard in the order of the ids. Each counts the tokens of all tries."""
        found: dict[str, Answered] = {}
        storm = None
        while to_ask := self._repeats.unanswered(shard, self._requests_of(shard), found):
            for answer in self._ask([entry.sent() for entry in to_ask]):
                found[answer.request_id] = answer
                storm = self._errors.add(answer) or storm
            if lost := [entry.name for entry in to_ask if entry.name not in found]:
                raise JobError(f"the engine gave no answer to {len(lost)} requests, first {lost[0]}")
        if storm := storm or self._errors.of_complete_shard():
            raise storm
        return in_order(request_ids, found)
