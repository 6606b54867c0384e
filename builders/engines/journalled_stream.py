"""Asking an engine for the shards of a plan in one stream, with a journal.

A thread asks for all missing shards in one stream, so that one slow sequence at the end of a shard
holds up neither the engine nor the shards after it. Every answer goes into the journal as it
arrives. It is read back when its shard is complete, so memory holds only what is under way, however
far the engine is ahead of whoever writes the rows. After a kill only unanswered requests are sent.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, Self, cast

from builders.engines.error_share import ErrorShare
from builders.engines.gate import StoppedError
from builders.engines.journal import Journal
from builders.engines.journals import Journals
from builders.engines.repeats import Answered, Asked, Repeats, UnderWay, in_order
from builders.engines.settings import EngineSettings
from store.errors import JobError

LAST_ANSWERS_S = 5.0
"""Seconds that answers under way have after Ctrl-C or SIGTERM."""


class JournalledStream(Generic[Asked, Answered]):
    """The answers of the shards of one plan; see the module."""

    def __init__(
        self,
        journal: Journal | Journals,
        shards: Sequence[int],
        settings: EngineSettings,
        ask: Callable[[Iterable[Asked]], Iterator[Answered]],
        requests_of: Callable[[int], Sequence[Asked]],
        repeats: Repeats[Answered],
        errors: ErrorShare,
        watch: Callable[[Answered], Exception | None] = lambda answer: None,
        first: Sequence[int] = (),
    ) -> None:
        self._settings, self._shards = settings, shards
        self._ask: Callable[[Iterable[Asked]], Iterator[Answered]] = ask
        self._requests_of: Callable[[int], Sequence[Asked]] = requests_of
        self._repeats: Repeats[Answered] = repeats
        self._errors = errors
        self._watch: Callable[[Answered], Exception | None] = watch
        # A batch takes hours, and a model that is loaded here bills nothing.
        self._first = first if settings.is_endpoint and not settings.is_collected_later else ()
        self._journal = journal
        self._under_way: dict[str, UnderWay[Asked]] = {}
        self._left: dict[int, int] = {}
        self._again: deque[UnderWay[Asked]] = deque()
        self._changed = threading.Condition()
        self._complete: set[int] = set()
        self._is_stopping = self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._pump, name="answers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send nothing new after a failure, but wait for what is under way, as it is paid for.

        A batch is not waited for: it goes on at the provider, and the next run collects it. After
        Ctrl-C or SIGTERM there are a few seconds: an endpoint that refuses everything would be
        asked again and again, and long answers of a local model take minutes. Closing the engine
        then ends what is left.
        """
        self._is_stopping = True
        if kind and self._settings.is_collected_later:
            return
        is_stopped = kind is not None and not issubclass(kind, Exception)
        self._thread.join(LAST_ANSWERS_S if is_stopped else None)

    def of(self, shard: int, request_ids: Iterable[str]) -> list[Answered]:
        """The answers of a shard in the order of the ids, each with the tokens of all its attempts.

        Raises what ended the stream, if that was before the shard was complete.
        """
        with self._changed:
            self._changed.wait_for(lambda: shard in self._complete or self._is_over)
        if shard not in self._complete:
            raise self._error or JobError(f"the answers ended before shard {shard}: run again")
        return in_order(request_ids, cast(dict[str, Answered], self._journal.answers(shard)))

    # -- the thread that asks ----------------------------------------------------------------------

    def _pump(self) -> None:
        try:
            requests = self._first_requests()
            for count in self._first:
                self._take_all(islice(requests, count))
            self._take_all(requests)
            while self._again and not self._is_stopping:
                self._take_all(self._repeated_requests())
            if self._under_way and not self._is_stopping:
                raise JobError(
                    f"the engine gave no answer to {len(self._under_way)} requests, first {next(iter(self._under_way))}"
                )
        except (StoppedError, asyncio.CancelledError, concurrent.futures.CancelledError):
            pass  # the engine was closed
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._end()

    def _end(self) -> None:
        """Tell whoever waits that nothing more comes, also where the journal cannot be closed."""
        try:
            self._journal.close()
        except BaseException as error:
            self._error = self._error or error  # on a full disk, the one that came first
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _first_requests(self) -> Iterator[Asked]:
        for shard in self._shards:
            try:
                paid = self._journal.paid(shard, ask_failed_again=self._settings.ask_failed_again)
                to_ask = self._repeats.unanswered(shard, self._requests_of(shard), paid)
            except Exception as error:
                # Not raised through the engine, which would drop the answers under way.
                self._stop(error)
                return
            self._errors.add_answered(paid.values())
            self._left[shard] = len(to_ask)
            if not to_ask:
                self._finish(shard)
            for entry in to_ask:
                yield from self._repeated_requests()
                if self._is_stopping:
                    return
                yield self._sent(entry)

    def _repeated_requests(self) -> Iterator[Asked]:
        while self._again and not self._is_stopping:
            yield self._sent(self._again.popleft())

    def _sent(self, entry: UnderWay[Asked]) -> Asked:
        self._under_way[entry.name] = entry
        return entry.sent()

    def _take_all(self, requests: Iterator[Asked]) -> None:
        for answer in self._ask(requests):
            entry = self._under_way.pop(answer.request_id)
            self._journal.add(entry.shard, answer, self._cost(answer))
            self._stop(self._errors.add(answer) or self._watch(answer))
            if self._repeats.wanted(answer, entry.num_reasks):
                self._again.append(entry.again())
                continue
            self._left[entry.shard] -= 1
            if self._left[entry.shard] == 0:
                self._finish(entry.shard)

    def _finish(self, shard: int) -> None:
        del self._left[shard]
        self._journal.finish(shard)
        storm = self._errors.of_complete_shard()
        self._stop(storm)
        if storm is None:
            with self._changed:
                self._complete.add(shard)
                self._changed.notify_all()

    def _stop(self, error: Exception | None) -> None:
        """End the stream with its first error, if this is one."""
        if error is not None:
            self._error = self._error or error
            self._is_stopping = True

    def _cost(self, answer: Answered) -> float | None:
        return self._settings.cost(answer.num_prompt_tokens, answer.num_completion_tokens)
