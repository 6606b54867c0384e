"""Asking an engine for the answers of a plan, shard after shard in one stream, without paying twice.

In: an engine, and the requests of each shard. Out: the answers of a shard in the order of its requests. How: a thread
asks for all missing shards in one stream, so that a slow sequence at the end of a shard holds up neither the engine nor
the shards after it. Every answer goes into the journal as it arrives and is read back when its shard is complete, so
memory holds only what is under way, however far the engine is ahead of who writes the rows.

After a kill only unanswered requests are sent. The transformers engine is the exception: its bits depend on which
requests are decoded together, so it is asked for whole shards, in the caller's thread and without a journal.

    with (
        open_engine(settings, model, spent=spent(store, table, settings), state=batches(store, plan)) as engine,
        Answers(journals(store, plan), store.missing(plan), settings, engine.generate, requests_of) as answers,
    ):
        store.materialize(plan, lambda shard: rows(answers.of(shard, ids_of(shard))))
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

from builders.engines import ChoiceCompletion, ChoiceRequest, Completion, Request
from builders.engines.budget import Spent
from builders.engines.gate import StoppedError
from builders.engines.journal import Journal, is_final
from builders.engines.journal import spent as spent_in
from builders.engines.settings import EngineSettings
from store import Plan, Store, Usage, seed_from

Asked = TypeVar("Asked", Request, ChoiceRequest)
Answered = TypeVar("Answered", Completion, ChoiceCompletion)

# A storm of errors is told from a few bad rows once so many answers are there, or a shard is complete.
ANSWERS_TO_JUDGE = 200
FEW_ERRORS = 3


def journals(store: Store, plan: Plan, account: str | None = None) -> Path:
    """The folder where the answers of a plan are kept; it stays, so that lost rows are not paid for again.

    `account` is the table on whose budget they are, where it is not the plan's own.
    """
    return Path(store.scratch(f"journal-{account or plan.table}-{plan.fingerprint}"))


def batches(store: Store, plan: Plan, account: str | None = None) -> Path:
    """The file in which the submitted batches of a plan are kept."""
    return journals(store, plan, account) / "batches.jsonl"


def spent(store: Store, account: str, settings: EngineSettings) -> Spent:
    """What all answers on the budget of a table have cost, under whatever plan; counted only where there is a budget."""
    if settings.budget_usd is None and settings.budget_tokens is None:
        return Spent()
    return spent_in(sorted(Path(store.scratch("")).glob(f"journal-{account}-*")))


class UnderWay(NamedTuple, Generic[Asked]):
    """A request that was given to the engine: for which row, and the how many-th time after the first."""

    shard: int
    request: Asked
    num_reasks: int


class Answers(Generic[Asked, Answered]):
    """The answers of the shards of one plan; see the module.

    `ask` is a method of an engine. `requests_of` gives the requests of a shard, whose ids are unique in the plan; it is
    called in another thread. An answer that is not `is_usable` is asked for again up to `max_reasks` times, with
    another seed. An item of `per_item` requests is lost with one of them, and it is of items that a share may be lost.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[int],
        settings: EngineSettings,
        ask: Callable[[Iterable[Asked]], Iterator[Answered]],
        requests_of: Callable[[int], Sequence[Asked]],
        *,
        is_usable: Callable[[Answered], bool] = lambda answer: True,
        max_reasks: int = 0,
        per_item: int = 1,
    ) -> None:
        self._settings, self._shards = settings, shards
        self._ask: Callable[[Iterable[Asked]], Iterator[Answered]] = ask
        self._requests_of: Callable[[int], Sequence[Asked]] = requests_of
        self._is_usable: Callable[[Answered], bool] = is_usable
        self._max_reasks, self._per_item = max_reasks, per_item
        self._journal = Journal(folder)
        self._under_way: dict[str, UnderWay[Asked]] = {}
        self._left: dict[int, int] = {}
        self._again: deque[tuple[str, UnderWay[Asked]]] = deque()
        self._num_answers = self._num_errors = 0
        self._changed = threading.Condition()
        self._complete: set[int] = set()
        self._is_stopping = self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._pump, name="answers", daemon=True)

    def __enter__(self) -> Self:
        if self._settings.engine != "transformers":
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """On a failure nothing new is sent, and what is under way is waited for, as it is paid for.

        A batch is not waited for: it goes on at the provider, and the next run collects it.
        """
        self._is_stopping = True
        if self._thread.is_alive() and not (kind and self._settings.batch):
            self._thread.join()

    def of(self, shard: int, request_ids: Iterable[str]) -> list[Answered]:
        """The answers of a shard in the order of the ids, each with the tokens of all its attempts.

        Raises what ended the stream, if that was before the shard was complete.
        """
        if self._settings.engine == "transformers":
            return _in_order(request_ids, self._asked_whole(shard))
        with self._changed:
            self._changed.wait_for(lambda: shard in self._complete or self._is_over)
        if shard not in self._complete:
            raise self._error or RuntimeError(f"the answers ended before shard {shard}: run again")
        return _in_order(request_ids, cast(dict[str, Answered], self._journal.answers(shard)))

    # -- the thread that asks ------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        try:
            self._take_all(self._first_requests())
            while self._again and not self._is_stopping:
                self._take_all(self._repeated_requests())
            if self._under_way and not self._is_stopping:
                raise RuntimeError(
                    f"the engine gave no answer to {len(self._under_way)} requests, first {next(iter(self._under_way))}"
                )
        except (StoppedError, asyncio.CancelledError, concurrent.futures.CancelledError):
            pass  # the engine was closed
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._journal.close()
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _first_requests(self) -> Iterator[Asked]:
        for shard in self._shards:
            try:
                paid = self._journal.paid(shard)
                to_ask = self._unanswered(shard, paid)
            except Exception as error:
                # Not raised through the engine, which would drop the answers under way.
                self._error, self._is_stopping = error, True
                return
            # Bad rows take longest, so after a kill they may be all that is asked: they are few beside what was answered.
            self._num_answers += len(paid)
            self._left[shard] = len(to_ask)
            if not to_ask:
                self._finish(shard)
            for name, entry in to_ask:
                yield from self._repeated_requests()
                if self._is_stopping:
                    return
                yield self._sent(name, entry)

    def _repeated_requests(self) -> Iterator[Asked]:
        while self._again and not self._is_stopping:
            yield self._sent(*self._again.popleft())

    def _unanswered(self, shard: int, paid: dict[str, Any]) -> list[tuple[str, UnderWay[Asked]]]:
        to_ask, requests = [], self._requests_of(shard)
        names = [request.request_id for request in requests]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"request {twice} is asked twice: the ids of a plan must be unique")
        for request in requests:
            num_reasks = 0
            while (answer := paid.get(_name(request, num_reasks))) and self._is_asked_again(answer, num_reasks):
                num_reasks += 1
            if answer is None:
                to_ask.append((_name(request, num_reasks), UnderWay(shard, request, num_reasks)))
        return to_ask

    def _sent(self, name: str, entry: UnderWay[Asked]) -> Asked:
        self._under_way[name] = entry
        return _renamed(entry.request, name) if entry.num_reasks else entry.request

    def _take_all(self, requests: Iterator[Asked]) -> None:
        for answer in self._ask(requests):
            entry = self._under_way.pop(answer.request_id)
            self._journal.add(entry.shard, answer, self._cost(answer))
            self._count(answer)
            if self._is_asked_again(answer, entry.num_reasks):
                again = entry._replace(num_reasks=entry.num_reasks + 1)
                self._again.append((_name(entry.request, again.num_reasks), again))
                continue
            self._left[entry.shard] -= 1
            if self._left[entry.shard] == 0:
                self._finish(entry.shard)

    def _is_asked_again(self, answer: Answered, num_reasks: int) -> bool:
        is_answered = answer.finish_reason in ("stop", "length")
        return is_answered and num_reasks < self._max_reasks and not self._is_usable(answer)

    def _finish(self, shard: int) -> None:
        del self._left[shard]
        self._journal.finish(shard)
        if not self._judge(is_shard_complete=True):
            with self._changed:
                self._complete.add(shard)
                self._changed.notify_all()

    def _cost(self, answer: Answered) -> float | None:
        return self._settings.cost(answer.num_prompt_tokens, answer.num_completion_tokens)

    # -- errors --------------------------------------------------------------------------------------------------------

    def _count(self, answer: Answered) -> None:
        self._num_answers += 1
        if answer.finish_reason == "error":
            self._num_errors += 1
            self._last_error = answer.error
            self._judge(is_shard_complete=False)

    def _judge(self, *, is_shard_complete: bool) -> bool:
        """Whether errors are no longer a few bad rows, which ends the stream."""
        share, num_errors = self._settings.max_error_share, self._num_errors
        num_items = self._num_answers / self._per_item
        if is_shard_complete:
            is_few = num_errors < FEW_ERRORS and num_errors < self._num_answers
            is_storm = not is_few and num_errors > share * num_items
        else:
            is_storm = num_errors > share * max(num_items, ANSWERS_TO_JUDGE)
        of_item = f" ({self._per_item} for each item)" if self._per_item > 1 else ""
        if is_storm and self._error is None:
            self._error = RuntimeError(
                f"{num_errors:,} of {self._num_answers:,} requests{of_item} ended in an engine error, such as: "
                f"{self._last_error!r}. That is more than max_error_share={share:g}. What was answered is kept, and the "
                "failed requests are asked again: mend the cause and run again, or raise max_error_share to go on "
                "without these rows"
            )
            self._is_stopping = True
        return is_storm

    # -- whole shards --------------------------------------------------------------------------------------------------

    def _asked_whole(self, shard: int) -> dict[str, Answered]:
        found: dict[str, Answered] = {}
        while to_ask := self._unanswered(shard, found):
            for answer in self._ask([self._sent(*each) for each in to_ask]):
                found[answer.request_id] = answer
                self._count(answer)
            if lost := [name for name, _ in to_ask if name not in found]:
                raise RuntimeError(f"the engine gave no answer to {len(lost)} requests, first {lost[0]}")
            self._under_way.clear()
        self._judge(is_shard_complete=True)
        if self._error is not None:
            raise self._error
        return found


def _name(request: Request | ChoiceRequest, num_reasks: int) -> str:
    return f"{request.request_id}#{num_reasks}" if num_reasks else request.request_id


def _renamed(request: Asked, name: str) -> Asked:
    seed = {"seed": seed_from(name, request.seed)} if isinstance(request, Request) else {}
    return cast(Asked, replace(cast(Any, request), request_id=name, **seed))


def _in_order(request_ids: Iterable[str], found: dict[str, Answered]) -> list[Answered]:
    """The last answer to each id that is more than an error, with the tokens of all."""
    ordered = []
    for request_id in request_ids:
        given = [found[request_id]]
        while (name := f"{request_id}#{len(given)}") in found:
            given.append(found[name])
        best = next((a for a in reversed(given) if is_final(a)), given[-1])
        ordered.append(
            replace(
                best,
                request_id=request_id,
                num_prompt_tokens=sum(a.num_prompt_tokens for a in given),
                num_completion_tokens=sum(a.num_completion_tokens for a in given),
            )
        )
    return ordered


def usage(settings: EngineSettings, answers: Iterable[Completion | ChoiceCompletion]) -> Usage:
    """Tokens and cost of a shard."""
    prompt = completion = 0
    for answer in answers:
        prompt += answer.num_prompt_tokens
        completion += answer.num_completion_tokens
    cost = settings.cost(prompt, completion) if prompt or completion else None
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cost_usd=cost)
