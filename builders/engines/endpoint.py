"""One HTTP endpoint: the key, the connections, the retries, and what each status means.

In: paths and JSON bodies. Out: checked answers. `RefusedError` means that this one request will not
be answered, and `StoppedError` that the run must end.

The calls run on an event loop in a thread of its own. Every attempt passes the gate (`gate.py`). A
call that waits before its next attempt takes up no place. An answer 429 (too many requests) says
that we are too fast, not that the row is bad, so it does not count as a retry. An error inside of
an answer 2xx is that error (`refusals.py`), and costs what its usage says. A refusal that names a
parameter is asked again without it (`dialect.py`): the raw text is read for that, before keys are
hidden in it. What an attempt without an answer cost is written down (`losses.py`).

The key is read from the environment (`credentials.py`). It goes into the header of the connection
(`connection.py`) and nowhere else. Messages and answers that repeat it are redacted.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from builders.engines import credentials, pace, reading, refusals
from builders.engines.budget import Budget, Spent, most_billed
from builders.engines.choices import needs_room
from builders.engines.complaints import named
from builders.engines.connection import Connection, Head, StatusError
from builders.engines.dialect import LADDERS, ROOM, Dialect, Trial
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.gate import Ending, Gate, Load, StoppedError
from builders.engines.malformed import MalformedError, UnreadableError
from builders.engines.protocol import Answer, Json, billed_anyway, checked, tokens_of
from builders.engines.redaction import hidden_bytes, hider
from builders.engines.refusals import PassingError, RefusedError, short
from store.files import private

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
# A 429 is no failure. But a request that is over a limit by itself gets one for ever.
PACE_REFUSALS_PER_RETRY = 10
# Each lesson of a dialect is learnt once. So many ways to say a request there are not.
MOST_WAYS = 24
# A completion is a few kilobytes. A broken endpoint must not fill our memory.
LONGEST_ANSWER_BYTES = 64 * 2**20
# Our guess for the length of a completion before the first one came, for `tokens_per_minute`.
FIRST_COMPLETION_TOKENS = 256.0
BYTES_PER_TOKEN = 3.5

Result = TypeVar("Result")
Asked = tuple[Json, tuple[str, ...]]
"""A body as it is sent, and in words what is different about it."""


class Endpoint:
    """See the module. Holds a thread and connections until it is closed."""

    def __init__(self, settings: OpenAISettings, spent: Spent) -> None:
        self.settings, self.dialect = settings, Dialect()
        headers, secrets = credentials.credentials(settings)
        proxy = credentials.proxy(settings)
        password = urlsplit(proxy).password if proxy else None
        self.redact = hider([*secrets, password or ""])
        self._completion_tokens, self._has_answered = FIRST_COMPLETION_TOKENS, False
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()
        address = credentials.base_url(settings)
        opening = _open(settings, address, headers, proxy, self.redact, spent)
        self._connection, self.gate = self.submit(opening).result()

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run on the event loop of the endpoint."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel what is under way and leave the connections; closing twice is harmless."""
        if self.loop.is_closed():
            return
        self.submit(self._connection.close()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # -- calls, on the loop ------------------------------------------------------------------------

    async def complete(self, path: str, body: Json) -> Answer:
        """The checked answer to a completion request, after as many attempts as are allowed."""
        self.gate.begin()
        try:
            return await self._complete(path, body)
        finally:
            self.gate.end()

    async def _complete(self, path: str, body: Json) -> Answer:
        num_failures = num_pace = num_ways = 0
        own = Trial()
        while True:
            before, _ = self.dialect.spoken(body, own.lessons)
            most = most_billed(before)
            load = self._load(most, is_first=num_failures == 0)
            await self.gate.enter(load, is_next=bool(own.lessons))
            asked = self.dialect.spoken(body, own.lessons)
            if asked[0] is not before and sum(most_billed(asked[0])) > sum(most):
                # While it waited, another call learned that such calls need more tokens.
                self.gate.leave(load, "cancelled", Spent())
                continue
            try:
                answer = await self._attempt(path, asked, most, load)
            except PassingError as passing:
                failure = passing
            except RefusedError as refused:
                num_ways += 1
                if num_ways < MOST_WAYS and self._is_another_way(body, asked[0], refused, own):
                    continue
                raise
            else:
                if ROOM not in own.lessons and needs_room(body, asked[0], answer.body):
                    self.lose(answer)
                    own.lessons.append(ROOM)
                    continue
                self.dialect.confirm(lesson for lesson in own.helped() if lesson.told in answer.notes)
                return answer
            num_failures += not failure.is_pace
            num_pace += failure.is_pace
            if num_failures + num_pace // PACE_REFUSALS_PER_RETRY > self.settings.max_retries:
                message = short(f"gave up after {num_failures + num_pace} attempts: {failure}")
                self.gate.gave_up(message)
                raise RefusedError(message)
            if failure.retry_after_s is None or not failure.is_overload:
                wait_s = max(backoff_s(num_failures + num_pace), failure.retry_after_s or 0.0)
                await self.gate.sleep(wait_s, str(failure))

    def _is_another_way(self, body: Json, said: Json, refused: RefusedError, own: Trial) -> bool:
        """Whether a refused request can be said in another way, which joins its `own`."""
        if refused.finish_reason == "prompt_too_long" or any(refused.tokens):
            return False
        if self.dialect.spoken(body, own.lessons)[0] != said:
            return True
        lesson = self.dialect.lesson_of(said, refused.raw, [*self.dialect.known, *own.lessons])
        if lesson:
            own.learn(lesson, refused.raw)
        return lesson is not None

    def _load(self, most: tuple[int, int], *, is_first: bool) -> Load:
        expected = most[0] / BYTES_PER_TOKEN + min(most[1], self._completion_tokens)
        return Load(self.gate.budget.price(*most), expected, is_first)

    async def _attempt(self, path: str, asked: Asked, most: tuple[int, int], load: Load) -> Answer:
        """One attempt, said as the endpoint takes it."""
        ending: Ending = "cancelled"
        actual, message = load.worst, ""
        try:
            answer = await self._answer(path, asked, most)
            ending, actual = "answered", self._billed(answer)
            self._has_answered = True
            return answer
        except PassingError as passing:
            ending, message = "overloaded" if passing.is_pace else "failed", str(passing)
            actual = load.worst if passing.is_paid else self.gate.budget.price(*passing.tokens)
            if passing.retry_after_s is not None and passing.is_overload:
                # Pause before the place is given back: the next in the queue would take it at once.
                self.gate.pause(passing.retry_after_s, message)
            raise
        except RefusedError as refused:
            ending, message, actual = "refused", str(refused), self.gate.budget.price(*refused.tokens)
            raise
        except StoppedError:
            ending, actual = "refused", Spent()
            raise
        finally:
            self.gate.leave(load, ending, actual, message)
            if ending not in ("answered", "refused"):
                self.gate.budget.lose(actual)

    def lose(self, answer: Answer | RefusedError) -> None:
        """Write down what an answer cost that nobody is given."""
        self.gate.budget.lose(self.gate.budget.price(*answer.tokens))

    async def _answer(self, path: str, asked: Asked, most: tuple[int, int]) -> Answer:
        """What came, as an answer. What nobody can read is paid for, and not asked again."""
        said, notes = asked
        found: Any = None
        try:
            content, head = await self._received("POST", path, json=said)
            content = hidden_bytes(content, self.redact)
            found = reading.decoded(content, head.charset)
            if told := refusals.error_in(found):
                failure = self._failure(path, {"json": said}, told.status, head.headers, told.text)
                if not isinstance(failure, StoppedError):
                    failure.tokens = billed_anyway(found, most)
                raise failure
            answer = checked(found)
        except MalformedError as malformed:
            raise PassingError(self._short(str(malformed)), is_paid=True) from None
        except UnreadableError as unreadable:
            tokens, estimated = tokens_of(found, most)
            told_notes = (*notes, *estimated)
            raise RefusedError(self._short(str(unreadable)), tokens=tokens, notes=told_notes) from None
        tokens, estimated = tokens_of(answer, most)
        return Answer(answer, tokens, (*notes, *estimated, *reading.doubts(content, head.charset)))

    def _billed(self, answer: Answer) -> Spent:
        self._completion_tokens += 0.05 * (answer.tokens[1] - self._completion_tokens)
        return self.gate.budget.price(*answer.tokens)

    async def send(self, method: str, path: str, **options: Any) -> bytes:
        """The body of an answer 2xx. Anything else is raised. There are no retries, and no gate."""
        try:
            content, _ = await self._received(method, path, **options)
        except UnreadableError as unreadable:
            raise RefusedError(str(unreadable)) from None
        return content

    async def _received(self, method: str, path: str, **options: Any) -> tuple[bytes, Head]:
        content, head = bytearray(), Head()
        try:
            async for chunk in self._connection.chunks(method, path, head, **options):
                content += chunk
                if len(content) > LONGEST_ANSWER_BYTES:
                    raise UnreadableError(f"the answer is longer than {LONGEST_ANSWER_BYTES:,} bytes")
        except StatusError as refused:
            raise self._failure(path, options, refused.status, refused.headers, refused.text) from None
        return bytes(content), head

    async def download(self, path: str, target: Path) -> str | None:
        """Write the body of an answer 2xx into a file, however long it is. Returns its charset."""
        # A large file may take long, so only silence counts as a time-out.
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self.settings.timeout_s)
        head = Head()
        try:
            with open(target, "wb", opener=private) as handle:
                async for chunk in self._connection.chunks("GET", path, head, timeout=timeout):
                    handle.write(chunk)
        except StatusError as refused:
            raise self._failure(path, {}, refused.status, refused.headers, refused.text) from None
        except UnreadableError as unreadable:
            raise RefusedError(str(unreadable)) from None
        return head.charset

    def _failure(
        self, path: str, options: Mapping[str, Any], status: int, headers: Mapping[str, str], text: str
    ) -> RefusedError | PassingError | StoppedError:
        """What a status means: the run ends, one request is refused, or the failure may pass."""
        where = f"{self._connection.address}/{path} answered {status}"
        headers = pace.as_retry_after(status, headers, refusals.retry_after_s({}, text))
        said = options.get("json") or {}
        hidden = self.redact(text)
        # A 403 that names a parameter teaches what to leave out, as a 400 does.
        is_lesson = status == 403 and bool(named(text, said, LADDERS))
        if is_lesson or refusals.is_of_one_request(status, text, has_answered=self._has_answered):
            return refusals.failure(status, text, hidden, headers)
        key = f"the variable {self.settings.api_key_env}, and headers"
        if reason := refusals.end_of_run(status, text, where, said.get("model", "this model"), key, hidden):
            return self._stopped(reason)
        return refusals.failure(status, text, hidden, headers)

    def _stopped(self, error: Exception) -> StoppedError:
        self.gate.stop(error)
        return StoppedError()

    def _short(self, message: str) -> str:
        return short(self.redact(message))


async def _open(
    settings: OpenAISettings,
    address: str,
    headers: Mapping[str, str],
    proxy: str | None,
    redact: Callable[[str], str],
    spent: Spent,
) -> tuple[Connection, Gate]:
    return Connection(settings, address, headers, proxy, redact), Gate(settings, Budget(settings, spent))


def backoff_s(num_failures: int) -> float:
    """Seconds before the next attempt.

    They are random, so that waiting calls do not all return at once.
    """
    return min(FIRST_BACKOFF_S * 2.0 ** min(num_failures - 1, 16), LONGEST_BACKOFF_S) * random.uniform(0.5, 1.5)
