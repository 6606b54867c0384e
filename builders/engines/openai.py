"""The openai engine: any endpoint that speaks the chat completions protocol of OpenAI.

In: requests. Out: completions as they come. The calls run on the event loop of the endpoint, and
the caller sees a plain iterator. We use aiohttp, as OpenAI's own package takes ten times the CPU
for a request. At most twice `max_in_flight` requests are held at a time, so an endless stream of
requests needs no more memory.

Sometimes the run must end: the budget is used up, the key is wrong, the endpoint is down. Then
nothing more is sent. The answers under way are still given out, as they are paid for. After them
the reason is raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builders.engines.budget import Spent
from builders.engines.choices import NoChoiceError, choice_body, choice_mass, probabilities
from builders.engines.endpoint import Endpoint
from builders.engines.endpoint_settings import OpenAISettings
from builders.engines.gate import StoppedError
from builders.engines.protocol import Answer, Json, completion, extended, path_and_body
from builders.engines.redaction import hidden
from builders.engines.refusals import PassingError, RefusedError
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request
from store.errors import UnreachableError

if TYPE_CHECKING:
    from training.chat_templates import Arguments

ADAPTER_WEIGHTS = "adapter_model.safetensors"

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class OpenAIEngine(Engine):
    """See the module.

    `adapters` maps names to the model names under which the endpoint serves them.
    """

    def __init__(
        self,
        settings: OpenAISettings,
        model: str,
        adapters: Mapping[str, str],
        spent: Spent,
        template_arguments: Arguments | None = None,
    ) -> None:
        self._settings = settings
        self._template_arguments = template_arguments or {}
        self._model_names: dict[str | None, str] = {None: model}
        self._model_names.update(adapters)
        self._endpoint = Endpoint(settings, spent)
        folders = {name: path for name, path in adapters.items() if Path(path, ADAPTER_WEIGHTS).is_file()}
        if settings.load_adapters and folders:
            try:
                self._model_names.update(self._loaded(folders))
            except BaseException:
                self._endpoint.close()
                raise

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        return self._stream(requests, self._complete)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        return self._stream(requests, self._choose)

    def close(self) -> None:
        self._endpoint.close()

    def _stream(
        self, requests: Iterable[Asked], answer: Callable[[Asked], Coroutine[Any, Any, Answered]]
    ) -> Iterator[Answered]:
        """Answers as they come.

        `requests` is read in the caller's thread: it may own a connection.
        """
        loop, gate = self._endpoint.loop, self._endpoint.gate
        outcomes: queue.SimpleQueue[asyncio.Task[Answered]] = queue.SimpleQueue()
        tasks: set[asyncio.Task[Answered]] = set()
        num_held = 0

        def start(request: Asked) -> None:
            task = loop.create_task(answer(request))
            tasks.add(task)
            task.add_done_callback(ended)

        def ended(task: asyncio.Task[Answered]) -> None:
            tasks.discard(task)
            outcomes.put(task)

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        source = iter(requests)
        is_open = True
        try:
            while is_open or num_held:
                if is_open and gate.error is None and num_held < 2 * self._settings.max_in_flight and outcomes.empty():
                    request = next(source, None)
                    if request is None:
                        is_open = False
                        continue
                    loop.call_soon_threadsafe(start, request)
                    num_held += 1
                    continue
                if gate.error is not None:
                    is_open = False
                if num_held:
                    outcome = outcomes.get()
                    num_held -= 1
                    try:
                        answered = outcome.result()
                    except StoppedError:
                        continue
                    yield answered
            if gate.error is not None:
                raise gate.error
        finally:
            if num_held and not loop.is_closed():
                loop.call_soon_threadsafe(cancel)

    async def _complete(self, request: Request) -> Completion:
        path, body = path_and_body(request, self._model_name(request.adapter), self._template_arguments)
        try:
            said = completion(request, await self._endpoint.complete(path, self._extended(body)))
        except RefusedError as refused:
            said = refused_completion(request, refused)
        return hidden(said, self._endpoint.redact)

    async def _choose(self, request: ChoiceRequest) -> ChoiceCompletion:
        model = self._model_name(request.adapter)
        bodies = [choice_body(question, model, self._template_arguments) for question in request.questions]
        for body in bodies:
            body["max_tokens"] += self._settings.max_thinking_tokens
        calls = [self._endpoint.complete("chat/completions", self._extended(body)) for body in bodies]
        # Wait for all: the answered questions of a request that fails are paid for, and must be
        # counted.
        answers = await asyncio.gather(*calls, return_exceptions=True)
        if not all(isinstance(one, Answer | RefusedError) for one in answers):
            for one in answers:
                if isinstance(one, Answer | RefusedError):
                    self._endpoint.lose(one)
        said = choice_completion(request, answers)
        return hidden(said, self._endpoint.redact)

    def _extended(self, body: Json) -> Json:
        return extended(body, self._settings.extra_body)

    def _loaded(self, folders: Mapping[str, str]) -> dict[str, str]:
        """Have vLLM's server load adapters. Returns {name: the name that it has there}.

        The name there holds a hash of the weights. So another training of the same name is not
        answered by the old weights, and what a killed run had loaded is found again.
        """
        served = {name: f"{name}-{_hash(Path(folder, ADAPTER_WEIGHTS))}" for name, folder in folders.items()}
        say = self._endpoint.send
        try:
            listed = json.loads(self._endpoint.submit(say("GET", "models")).result())
            there = {entry["id"] for entry in listed["data"]}
            for name, folder in folders.items():
                if served[name] not in there:
                    load = say("POST", "load_lora_adapter", json={"lora_name": served[name], "lora_path": folder})
                    self._endpoint.submit(load).result()
        except (StoppedError, RefusedError, PassingError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreachableError(
                f"{self._settings.base_url} does not load adapters ({self._endpoint.gate.error or error}): start it as "
                f"`VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve {self._model_names[None]} --enable-lora`, with a "
                "--max-lora-rank of at least the adapters', on a machine that sees the store under the same path"
            ) from None
        return served

    def _model_name(self, adapter: str | None) -> str:
        if adapter not in self._model_names:
            known = sorted(name for name in self._model_names if name is not None)
            raise ValueError(f"adapter {adapter!r} is unknown: the engine has {known}")
        return self._model_names[adapter]


def _hash(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:12]


def refused_completion(request: Request, refused: RefusedError) -> Completion:
    """A refusal as the answer to a request, with what it cost."""
    reason, told = refused.finish_reason, str(refused)
    return Completion(request.request_id, "", reason, *refused.tokens, None, told, notes=refused.notes)


def choice_completion(request: ChoiceRequest, answers: Sequence[Answer | BaseException]) -> ChoiceCompletion:
    """The answers to all questions of a request as one. Raises what is no answer and no refusal."""
    paid = [answer for answer in answers if isinstance(answer, Answer | RefusedError)]
    num_prompt, num_completion = (sum(answer.tokens[side] for answer in paid) for side in (0, 1))
    notes = tuple(dict.fromkeys(note for answer in paid for note in answer.notes))
    try:
        rows = tuple(_row(answer, request) for answer in answers)
        masses = tuple(choice_mass(answer.body, request.choices) for answer in answers if isinstance(answer, Answer))
    except RefusedError as refused:
        reason, told = refused.finish_reason, str(refused)
        return ChoiceCompletion(request.request_id, None, num_prompt, reason, told, num_completion, notes=notes)
    except NoChoiceError as error:
        return ChoiceCompletion(request.request_id, None, num_prompt, "error", str(error), num_completion, notes=notes)
    return ChoiceCompletion(request.request_id, rows, num_prompt, "stop", None, num_completion, masses, notes)


def _row(answer: Answer | BaseException, request: ChoiceRequest) -> tuple[float, ...]:
    if isinstance(answer, BaseException):
        raise answer
    return probabilities(answer.body, request.choices)
