"""Asking an engine for whole shards, one after the other, or several at once.

The bits of the transformers engine depend on which requests are decoded together. So each shard is
asked for in one call, and a killed shard is asked for again as a whole. With a journal, the answers
of whole shards are kept there.

An engine in this process is asked in the caller's thread. One that has replicas is asked for the
next shards meanwhile, so that no replica waits. No more than `num_ahead` shards are held in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, cast

from builders.engines.error_share import ErrorShare
from builders.engines.journal import Journal
from builders.engines.journals import Journals
from builders.engines.repeats import Answered, Asked, Repeats, in_order
from store.errors import JobError

_Shard = tuple[dict[str, Answered], list[Answered]]
"""All answers of a shard by the names of their requests, and those that were asked for now."""


class WholeShards(Generic[Asked, Answered]):
    """The answers of the shards of one plan; see the module."""

    def __init__(
        self,
        ask: Callable[[Iterable[Asked]], Iterator[Answered]],
        requests_of: Callable[[int], Sequence[Asked]],
        repeats: Repeats[Answered],
        errors: ErrorShare,
        journal: Journal | Journals | None = None,
        shards: Sequence[int] = (),
        num_ahead: int = 0,
        watch: Callable[[Answered], Exception | None] = lambda answer: None,
    ) -> None:
        self._journal = journal
        self._ask: Callable[[Iterable[Asked]], Iterator[Answered]] = ask
        self._requests_of: Callable[[int], Sequence[Asked]] = requests_of
        self._repeats: Repeats[Answered] = repeats
        self._errors = errors
        self._watch: Callable[[Answered], Exception | None] = watch
        self._next = iter(shards)
        self._num_ahead = num_ahead
        self._threads = ThreadPoolExecutor(num_ahead, "shard") if num_ahead else None
        self._ahead: dict[int, Future[_Shard[Answered]]] = {}
        self._lock = threading.Lock()  # of the journal, and of whoever reads the requests
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the journal. What is still under way ends when the engine is closed.

        A journal that cannot be closed is no news after an error: that one is raised.
        """
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed = True
            try:
                if self._journal is not None:
                    self._journal.close()
            except OSError:
                if kind is None:
                    raise

    def of(self, shard: int, request_ids: Iterable[str]) -> list[Answered]:
        """The answers of a shard in the order of the ids. Each counts the tokens of all tries."""
        self._go_ahead()
        given = self._ahead.pop(shard, None)
        found, asked = self._answers(shard) if given is None else given.result()
        storm: Exception | None = None
        for answer in asked:
            storm = self._errors.add(answer) or self._watch(answer) or storm
        if storm := storm or self._errors.of_complete_shard():
            raise storm
        if self._journal is not None:
            with self._lock:
                self._journal.finish(shard)
        return in_order(request_ids, found)

    def _go_ahead(self) -> None:
        """Ask for the next shards, this one and those after it."""
        while self._threads is not None and len(self._ahead) < self._num_ahead:
            shard = next(self._next, None)
            if shard is None:
                return
            self._ahead[shard] = self._threads.submit(self._answers, shard)

    def _answers(self, shard: int) -> _Shard[Answered]:
        """The answers of a shard."""
        asked: list[Answered] = []
        with self._lock:
            found, requests = self._kept(shard), self._requests_of(shard)
        while to_ask := self._repeats.unanswered(shard, requests, found):
            for answer in self._ask([entry.sent() for entry in to_ask]):
                found[answer.request_id] = answer
                asked.append(answer)
                self._keep(shard, answer)
            if lost := [entry.name for entry in to_ask if entry.name not in found]:
                raise JobError(f"the engine gave no answer to {len(lost)} requests, first {lost[0]}")
        return found, asked

    def _kept(self, shard: int) -> dict[str, Answered]:
        """The answers of a shard that an earlier run has kept, if it has kept all of them.

        An error that cost nothing is no answer to keep.
        """
        if self._journal is None:
            return {}
        found = cast(dict[str, Answered], self._journal.paid(shard))
        return {} if self._repeats.unanswered(shard, self._requests_of(shard), found) else found

    def _keep(self, shard: int, answer: Answered) -> None:
        with self._lock:
            if self._journal is not None and not self._is_closed:
                self._journal.add(shard, answer, None)
