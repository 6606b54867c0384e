"""The openai engine: any endpoint that speaks the OpenAI chat completions protocol.

Written on aiohttp, as the SDK spends 3 ms of CPU on a request against 0.24 ms here. Calls run on an event
loop in a thread of their own; the caller sees a plain iterator. At most twice `max_in_flight` requests are
held at a time, under way or answered and not yet consumed, so an endless stream of requests stays in flat
memory.

The key is read from the environment, goes into the header of the session and nowhere else.
"""

import asyncio
import json
import math
import os
import queue
import random
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from builders.engines import (
    ChoiceCompletion,
    ChoiceRequest,
    Completion,
    Engine,
    FinishReason,
    Message,
    Request,
)
from builders.engines.settings import EngineSettings

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
# A wrong Retry-After must not hang a run for days.
LONGEST_RETRY_AFTER_S = 600.0
# The most that the protocol allows.
TOP_LOGPROBS = 20
ERROR_CHARS = 200

Json = dict[str, Any]
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class _RefusedError(Exception):
    """The endpoint will not answer this one request, however often it is asked."""

    def __init__(self, message: str, finish_reason: FinishReason = "error") -> None:
        super().__init__(message)
        self.finish_reason = finish_reason


class _PassingError(Exception):
    """A failure that may be over next time; `retry_after_s` where the endpoint said when."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OpenAIEngine(Engine):
    """See the module. `adapters` maps names to the model names under which the endpoint serves them."""

    def __init__(self, settings: EngineSettings, model: str, adapters: Mapping[str, str]) -> None:
        self._settings = settings
        self._base_url = (settings.base_url or DEFAULT_BASE_URL).rstrip("/")
        self._model_names: dict[str | None, str] = {None: model}
        self._model_names.update(adapters)
        key = _api_key(settings.api_key_env, self._base_url)
        self._redact: Callable[[str], str] = lambda text: text.replace(key, "[key]") if key else text
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._session, self._free_places = self._on_loop(_open_session(settings, headers)).result()

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        return self._stream(requests, self._complete)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        return self._stream(requests, self._choose)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._on_loop(_close_session(self._session)).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _on_loop(self, coroutine: Coroutine[Any, Any, Answered]) -> Future[Answered]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _stream(
        self, requests: Iterable[Asked], answer: Callable[[Asked], Coroutine[Any, Any, Answered]]
    ) -> Iterator[Answered]:
        """Answers as they come. `requests` is read in the caller's thread: it may own a connection."""
        answered: queue.SimpleQueue[Future[Answered]] = queue.SimpleQueue()
        held: set[Future[Answered]] = set()

        def next_answer() -> Answered:
            future = answered.get()
            held.discard(future)
            return future.result()

        try:
            for request in requests:
                future = self._on_loop(answer(request))
                held.add(future)
                future.add_done_callback(answered.put)
                while len(held) >= 2 * self._settings.max_in_flight or not answered.empty():
                    yield next_answer()
            while held:
                yield next_answer()
        finally:
            for future in held:
                future.cancel()

    async def _complete(self, request: Request) -> Completion:
        body: Json = {
            "model": self._model_name(request.adapter),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        try:
            if request.messages is not None:
                path, body["messages"] = "chat/completions", list(request.messages)
            else:
                path, body["prompt"] = "completions", request.prompt
            return _completion(request, await self._call(path, body))
        except _RefusedError as refused:
            return Completion(request.request_id, "", refused.finish_reason, 0, 0, None, str(refused))

    async def _choose(self, request: ChoiceRequest) -> ChoiceCompletion:
        model = self._model_name(request.adapter)
        calls = [self._call("chat/completions", _choice_body(model, question)) for question in request.questions]
        try:
            answers = await asyncio.gather(*calls)
            rows = tuple(_choice_probabilities(answer, request.choices) for answer in answers)
        except _RefusedError as refused:
            return ChoiceCompletion(request.request_id, None, 0, refused.finish_reason, str(refused))
        num_tokens = sum(_usage(answer)[0] for answer in answers)
        return ChoiceCompletion(request.request_id, rows, num_tokens, "stop")

    def _model_name(self, adapter: str | None) -> str:
        if adapter not in self._model_names:
            known = sorted(name for name in self._model_names if name is not None)
            raise ValueError(f"adapter {adapter!r} is unknown: the engine has {known}")
        return self._model_names[adapter]

    async def _call(self, path: str, body: Json) -> Json:
        """The endpoint's answer, after as many attempts as the settings allow."""
        async with self._free_places:
            for attempt in range(self._settings.max_retries + 1):
                try:
                    return await self._attempt(path, body)
                except _PassingError as passing:
                    failure = passing
                except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                    failure = _PassingError(f"{type(error).__name__}: {error}".rstrip(": "))
                if attempt < self._settings.max_retries:
                    await asyncio.sleep(_wait_s(attempt, failure.retry_after_s))
        message = self._redact(f"gave up after {self._settings.max_retries + 1} attempts: {failure}")
        raise _RefusedError(message[:ERROR_CHARS])

    async def _attempt(self, path: str, body: Json) -> Json:
        # A redirect is not followed: it would carry the key to another host.
        async with self._session.post(f"{self._base_url}/{path}", json=body, allow_redirects=False) as response:
            text = await response.text(errors="replace")
            if response.status != 200:
                raise self._failure(path, body["model"], response.status, response.headers, text)
        try:
            answer = json.loads(text)
        except ValueError:
            raise _PassingError("the answer is not JSON") from None
        if not isinstance(answer, dict) or not answer.get("choices"):
            raise _PassingError(f"the answer has no choices: {text}")
        return answer

    def _failure(self, path: str, model: str, status: int, headers: Mapping[str, str], text: str) -> Exception:
        """What a status means: the end of the run, one refused request, or a failure that may pass."""
        where = f"{self._base_url}/{path} answered {status}"
        if status in (401, 403):
            variable = self._settings.api_key_env
            return PermissionError(f"{where}: the key in {variable} is missing, wrong or may not use {model!r}")
        if status == 404 or 300 <= status < 400:
            return ValueError(f"{where} for model {model!r}: check base_url (it ends in /v1 as a rule) and the model")
        if status == 402 or (status == 429 and "insufficient_quota" in text):
            return PermissionError(f"{where}: the account has no credit left; what was answered is kept, so run again")
        message = self._redact(f"{status}: {text}")[:ERROR_CHARS]
        if status in (408, 409, 429) or status >= 500:
            return _PassingError(message, _retry_after_s(headers.get("Retry-After")))
        too_long = "context_length" in text or "maximum context length" in text
        return _RefusedError(message, "prompt_too_long" if too_long else "error")


async def _open_session(
    settings: EngineSettings, headers: dict[str, str]
) -> tuple[aiohttp.ClientSession, asyncio.Semaphore]:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.max_in_flight),
        timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
        headers=headers,
    )
    return session, asyncio.Semaphore(settings.max_in_flight)


async def _close_session(session: aiohttp.ClientSession) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await session.close()


def _api_key(variable: str, base_url: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key and urlsplit(base_url).hostname not in LOCAL_HOSTS:
        raise ValueError(
            f"the environment variable {variable} is not set, and {base_url} needs a key: export it "
            "(any text where the endpoint takes no key), or name another variable with api_key_env"
        )
    if not key.isascii() or not key.isprintable():
        raise ValueError(f"the key in {variable} holds characters that no header can: copy it again")
    return key


def _completion(request: Request, answer: Json) -> Completion:
    choice = answer["choices"][0]
    message = choice.get("message") or {}
    text = (message.get("content") if request.messages is not None else choice.get("text")) or ""
    if choice.get("finish_reason") == "content_filter":
        error = "the endpoint filtered the answer"
        return Completion(request.request_id, text, "error", *_usage(answer), None, error)
    reason: FinishReason = "length" if choice.get("finish_reason") == "length" else "stop"
    return Completion(request.request_id, text, reason, *_usage(answer), None)


def _usage(answer: Json) -> tuple[int, int]:
    """Prompt and completion tokens that were billed; 0 where the endpoint does not say."""
    usage = answer.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0


def _choice_body(model: str, question: tuple[Message, ...]) -> Json:
    return {
        "model": model,
        "messages": list(question),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }


def _choice_probabilities(answer: Json, choices: tuple[str, ...]) -> tuple[float, ...]:
    """From the logprobs of the first token; where there are none from its text, as a certainty."""
    choice = answer["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    mass = dict.fromkeys(choices, 0.0)
    if content and content[0].get("top_logprobs"):
        for entry in content[0]["top_logprobs"]:
            # Tokenizers write a digit with or without the space before it: both are the same answer.
            if (token := entry["token"].strip()) in mass:
                mass[token] += math.exp(entry["logprob"])
    else:
        text = ((choice.get("message") or {}).get("content") or "").strip()
        if text in mass:
            mass[text] = 1.0
    total = sum(mass.values())
    if total == 0:
        raise _RefusedError("none of the choices is among the tokens of the answer")
    return tuple(mass[name] / total for name in choices)


def _wait_s(attempt: int, retry_after_s: float | None) -> float:
    """At least what the endpoint asks for; the jitter keeps waiting calls from returning all at once."""
    jitter = random.uniform(0.5, 1.5)
    if retry_after_s is not None:
        return min(retry_after_s, LONGEST_RETRY_AFTER_S) + FIRST_BACKOFF_S * (jitter - 0.5)
    return min(FIRST_BACKOFF_S * 2**attempt, LONGEST_BACKOFF_S) * jitter


def _retry_after_s(header: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None where it holds neither."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
