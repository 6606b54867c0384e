"""One HTTP endpoint: the key, the connections, the retries, and what each status means.

In: paths and JSON bodies. Out: decoded answers. `RefusedError` means that this one request will not
be answered, and `StoppedError` that the run must end.

The calls run on an event loop in a thread of its own. Every attempt passes the gate (`gate.py`). A
call that waits before its next attempt takes up no place. An answer 429 (too many requests) says
that we are too fast, not that the row is bad, so it does not count as a retry.

The key is read from the environment. It goes into the header of the connection and nowhere else. A
message that could repeat it is redacted. Redirects are not followed, as they would carry the key to
another host.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from builders.engines.budget import Budget, Spent
from builders.engines.gate import Ending, Gate, Load, StoppedError
from builders.engines.protocol import Dialect, Json, MalformedError, UnreadableError, checked, usage
from builders.engines.settings import OpenAISettings
from builders.engines.types import FinishReason
from store.errors import DeniedError, InputError
from store.files import private

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
ERROR_CHARS = 200
# A 429 is no failure. But a request that is over a limit by itself gets one for ever.
PACE_REFUSALS_PER_RETRY = 10
# A completion is a few kilobytes. A broken endpoint must not fill our memory.
LONGEST_ANSWER_BYTES = 64 * 2**20
LONGEST_REFUSAL_BYTES = 64 * 2**10
# Our guess for the length of a completion before the first one came, for `tokens_per_minute`.
FIRST_COMPLETION_TOKENS = 256.0
BYTES_PER_TOKEN = 3.5

Result = TypeVar("Result")


class RefusedError(Exception):
    """The endpoint will not answer this one request, however often it is asked."""

    def __init__(self, message: str, finish_reason: FinishReason = "error", whole_text: str = "") -> None:
        super().__init__(message)
        self.finish_reason, self.whole_text = finish_reason, whole_text


class PassingError(Exception):
    """A failure that may be over next time.

    `is_paid` says that the attempt may have cost money, `retry_after_s` when the endpoint wants us
    back.
    """

    def __init__(
        self, message: str, *, status: int = 0, is_paid: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.is_paid, self.retry_after_s = status, is_paid, retry_after_s

    @property
    def is_pace(self) -> bool:
        """Whether it says that we send too many requests."""
        return self.status == 429

    @property
    def is_overload(self) -> bool:
        """Whether the whole endpoint is overloaded, rather than this request at fault."""
        return self.status in (429, 503, 529)


class Endpoint:
    """See the module. Holds a thread and connections until it is closed."""

    def __init__(self, settings: OpenAISettings, spent: Spent) -> None:
        self.settings, self.dialect = settings, Dialect()
        self._base_url = (settings.base_url or DEFAULT_BASE_URL).rstrip("/")
        key = api_key(settings.api_key_env, self._base_url)
        self.redact: Callable[[str], str] = lambda text: text.replace(key, "[key]") if key else text
        self._completion_tokens = FIRST_COMPLETION_TOKENS
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session, self.gate = self.submit(_open(settings, headers, spent)).result()

    def submit(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run on the event loop of the endpoint."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel what is under way and leave the connections; closing twice is harmless."""
        if self.loop.is_closed():
            return
        self.submit(_close(self._session)).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    # -- calls, on the loop ------------------------------------------------------------------------

    async def complete(self, path: str, body: Json) -> Json:
        """The checked answer to a completion request, after as many attempts as are allowed."""
        self.gate.begin()
        try:
            return await self._complete(path, body)
        finally:
            self.gate.end()

    async def _complete(self, path: str, body: Json) -> Json:
        num_failures = num_pace = 0
        while True:
            load = self._load(body, is_first=num_failures == 0)
            await self.gate.enter(load)
            try:
                answer = await self._attempt(path, body, load)
            except PassingError as passing:
                failure = passing
            else:
                if answer is not None:
                    return answer
                continue
            num_failures += not failure.is_pace
            num_pace += failure.is_pace
            if num_failures + num_pace // PACE_REFUSALS_PER_RETRY > self.settings.max_retries:
                message = f"gave up after {num_failures + num_pace} attempts: {failure}"[:ERROR_CHARS]
                self.gate.gave_up(message)
                raise RefusedError(message)
            if failure.retry_after_s is None or not failure.is_overload:
                wait_s = max(backoff_s(num_failures + num_pace), failure.retry_after_s or 0.0)
                await self.gate.sleep(wait_s, str(failure))

    def _load(self, body: Json, *, is_first: bool) -> Load:
        longest = self.dialect.spoken(body)[self.dialect.token_field]
        worst = self.gate.budget.worst_case(body, longest)
        expected = (worst.tokens - longest) / BYTES_PER_TOKEN + min(longest, self._completion_tokens)
        return Load(worst, expected, is_first)

    async def _attempt(self, path: str, body: Json, load: Load) -> Json | None:
        """One attempt.

        None when the request must be said in another way, as the dialect has learned.
        """
        ending: Ending = "cancelled"
        actual, message = load.worst, ""
        spoken = self.dialect.spoken(body)
        try:
            answer = checked(_decoded(await self.send("POST", path, json=spoken)))
            ending, actual = "answered", self._billed(answer, load.worst)
            return answer
        except PassingError as passing:
            ending, message = "overloaded" if passing.is_pace else "failed", str(passing)
            actual = load.worst if passing.is_paid else Spent()
            if passing.retry_after_s is not None and passing.is_overload:
                # Pause before the place is given back: the next in the queue would take it at once.
                self.gate.pause(passing.retry_after_s, message)
            raise
        except MalformedError as malformed:
            ending, message = "failed", str(malformed)
            raise PassingError(message, is_paid=True) from None
        except UnreadableError as unreadable:
            # Such an answer is paid for. The next one would look the same.
            ending, message = "refused", str(unreadable)
            raise RefusedError(message) from None
        except RefusedError as refused:
            ending, actual = "refused", Spent()
            if body.get("response_format") and _is_about_schema(refused.whole_text):
                raise self._stopped(_no_schema(str(refused))) from None
            if self.dialect.learns(spoken, refused.whole_text) or spoken != self.dialect.spoken(body):
                return None
            raise
        except StoppedError:
            ending, actual = "refused", Spent()
            raise
        finally:
            self.gate.leave(load, ending, actual, message)

    def _billed(self, answer: Json, worst: Spent) -> Spent:
        tokens = usage(answer)
        if tokens is None:
            return worst
        self._completion_tokens += 0.05 * (tokens[1] - self._completion_tokens)
        return self.gate.budget.price(*tokens)

    async def send(self, method: str, path: str, **options: Any) -> bytes:
        """The body of an answer 200. Anything else is raised. There are no retries, and no gate."""
        content = bytearray()
        async for chunk in self._chunks(method, path, **options):
            content += chunk
            if len(content) > LONGEST_ANSWER_BYTES:
                raise PassingError(f"the answer is longer than {LONGEST_ANSWER_BYTES:,} bytes", is_paid=True)
        return bytes(content)

    async def download(self, path: str, target: Path) -> None:
        """Write the body of an answer 200 into a file, however long it is."""
        # A large file may take long, so only silence counts as a time-out.
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self.settings.timeout_s)
        with open(target, "wb", opener=private) as handle:
            async for chunk in self._chunks("GET", path, timeout=timeout):
                handle.write(chunk)

    async def _chunks(self, method: str, path: str, **options: Any) -> AsyncIterator[bytes]:
        url = f"{self._base_url}/{path}"
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as response:
                if response.status != 200:
                    text = (await response.content.read(LONGEST_REFUSAL_BYTES)).decode("utf-8", "replace")
                    raise self._failure(path, options, response.status, response.headers, text)
                async for chunk in response.content.iter_any():
                    yield chunk
        except aiohttp.ClientConnectorError as error:
            raise PassingError(self._short(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PassingError(self._short(error), is_paid=True) from None

    def _failure(
        self, path: str, options: Mapping[str, Any], status: int, headers: Mapping[str, str], text: str
    ) -> Exception:
        """What a status means: the run ends, one request is refused, or the failure may pass."""
        where = f"{self._base_url}/{path} answered {status}"
        model = (options.get("json") or {}).get("model", "this model")
        if status in (401, 403):
            variable = self.settings.api_key_env
            return self._stopped(
                DeniedError(
                    f"{where}: the key is missing or wrong, or it may not use {model!r}: check the variable {variable}"
                )
            )
        if status == 404 or 300 <= status < 400:
            return self._stopped(
                InputError(f"{where} for model {model!r}: check the model's name, and base_url (mostly it ends in /v1)")
            )
        if status == 402 or (status == 429 and "insufficient_quota" in text):
            return self._stopped(
                DeniedError(f"{where}: the account has no credit left. All answers are kept: top it up and run again")
            )
        text = self.redact(text)
        message = f"{status}: {text}"[:ERROR_CHARS]
        if status in (408, 409, 429) or status >= 500:
            return PassingError(message, status=status, retry_after_s=retry_after_s(headers))
        too_long = "context_length" in text or "maximum context length" in text
        return RefusedError(message, "prompt_too_long" if too_long else "error", text)

    def _stopped(self, error: Exception) -> StoppedError:
        self.gate.stop(error)
        return StoppedError()

    def _short(self, error: BaseException) -> str:
        return self.redact(f"{type(error).__name__}: {error}".rstrip(": "))[:ERROR_CHARS]


async def _open(settings: OpenAISettings, headers: dict[str, str], spent: Spent) -> tuple[aiohttp.ClientSession, Gate]:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.max_in_flight),
        timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
        headers=headers,
    )
    return session, Gate(settings, Budget(settings, spent))


async def _close(session: aiohttp.ClientSession) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await session.close()


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8", "replace"))
    except ValueError:
        raise MalformedError("the answer is not JSON") from None


def _is_about_schema(refusal: str) -> bool:
    return any(word in refusal.lower() for word in ("response_format", "json_schema", "structured output"))


def _no_schema(refusal: str) -> InputError:
    return InputError(
        f"the endpoint takes no JSON schema ({refusal}): set teacher.answer_form to tagged and teacher.prompt to teacher"
    )


def api_key(variable: str, base_url: str) -> str:
    """The key in an environment variable; '' for an endpoint on this machine without one."""
    key = os.environ.get(variable, "").strip()
    if not key and urlsplit(base_url).hostname not in LOCAL_HOSTS:
        raise InputError(
            f"the environment variable {variable} is not set, and {base_url} needs a key: export the variable "
            "(with any text, if the endpoint takes no key), or name another one with api_key_env"
        )
    if not key.isascii() or not key.isprintable():
        raise InputError(f"the key in {variable} holds characters that an HTTP header cannot: copy it again")
    return key


def backoff_s(num_failures: int) -> float:
    """Seconds before the next attempt.

    They are random, so that waiting calls do not all return at once.
    """
    return min(FIRST_BACKOFF_S * 2.0 ** min(num_failures - 1, 16), LONGEST_BACKOFF_S) * random.uniform(0.5, 1.5)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After, which holds seconds or a date (RFC 9110, 10.2.3).

    None for neither.
    """
    told = headers.get("Retry-After")
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(told).timestamp() - time()
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
