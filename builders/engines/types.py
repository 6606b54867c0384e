"""What an engine is asked and what it answers, and what an engine promises.

Completions come in any order and carry the id of their request. A request that cannot be answered
is a completion with a reason, so nothing is dropped. A mistake in the request or in the set-up
raises an error.

An engine promises four things to whoever drives it (`builders/engines/answers.py`):

- It reads `requests` lazily, in the thread that consumes the completions, and reading on does not
  wait for anything.
- One stream may span many shards. An engine that batches by itself should fill the places of
  finished sequences from the same stream.
- `None` in `requests` means: nothing more at the moment, go on with what is under way. It comes
  only while something is, and only to an engine whose settings say `is_journalled`. So an engine
  never waits for requests while it has others to answer.
- A stream that must end early (a budget, an endpoint that is down) gives out what is answered, and
  then raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from store.texts import one_line, storable

Message = dict[str, str]
FinishReason = Literal["stop", "length", "prompt_too_long", "error"]
Form = Literal["chat", "completion"]
"""How a model is asked: in a turn of a chat, or with a text to continue."""


@dataclass(frozen=True)
class Request:
    """One generation: either chat turns, for the model's chat template, or a raw text to continue.

    `adapter` names a LoRA adapter that the engine was opened with. None is the model itself.
    `temperature` 0 always takes the most probable token. None leaves the temperature, or `top_p`,
    to the server. The text of a completion ends before the first of the `stop` strings.
    `json_schema` is the text of a JSON schema that the completion must follow. Only the openai
    engine takes None, and a schema.

        Request("1", messages=({"role": "user", "content": "Write a haiku."},), max_tokens=64)
    """

    request_id: str
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    adapter: str | None = None
    max_tokens: int = 512
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: str | None = None

    def __post_init__(self) -> None:
        if (self.messages is None) == (self.prompt is None):
            given = "neither" if self.prompt is None else "both"
            raise ValueError(f"request {self.request_id!r} has {given} of messages and prompt: give one")
        if not self.messages and not self.prompt:
            raise ValueError(f"request {self.request_id!r} is empty: give at least one message or character")
        is_sampled = (self.temperature is None or self.temperature >= 0) and (self.top_p is None or 0 < self.top_p <= 1)
        if self.max_tokens < 1 or not is_sampled or not 0 <= self.seed < 2**63:
            raise ValueError(
                f"request {self.request_id!r} has max_tokens={self.max_tokens}, temperature={self.temperature}, "
                f"top_p={self.top_p}, seed={self.seed}: needed are max_tokens >= 1, temperature >= 0, "
                "0 < top_p <= 1 and 0 <= seed < 2**63"
            )
        if isinstance(self.stop, str) or "" in self.stop:
            raise ValueError(f"request {self.request_id!r} has stop={self.stop!r}: give a tuple of non-empty strings")


@dataclass(frozen=True)
class Completion:
    """The answer to a `Request`.

    `num_completion_tokens` counts every token that was generated, with the end token and those of a
    stop string. `logprob` is the sum of their log-probabilities (nats) under the model at
    temperature 1. It is None where an engine cannot tell. `error` is a short message where
    `finish_reason` is 'error'.

    `notes` say in words what was different about it: a parameter that its endpoint does not take,
    tokens that are an estimate.

    `reasoning` is what a reasoning model thought before it answered. It is never part of `text`.
    `num_reasoning_tokens` are those of the completion tokens that it took. Both are None where an
    engine cannot tell them.

    An endpoint's JSON can hold half of a surrogate pair, which no table can. It is replaced here,
    where every answer of an engine, of a journal and of a file of samples comes by.
    An `error` is one line that steers no terminal, whoever wrote it.
    """

    request_id: str
    text: str
    finish_reason: FinishReason
    num_prompt_tokens: int
    num_completion_tokens: int
    logprob: float | None
    error: str | None = None
    reasoning: str | None = None
    num_reasoning_tokens: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "text", storable(self.text))
        object.__setattr__(self, "error", self.error and one_line(self.error))
        object.__setattr__(self, "reasoning", self.reasoning and storable(self.reasoning))


@dataclass(frozen=True)
class ChoiceRequest:
    """Several questions about one text. Each is a chat, answered by one token among `choices`.

    Put the text first and the question after it. What the questions share is then computed once.
    """

    request_id: str
    questions: tuple[tuple[Message, ...], ...]
    choices: tuple[str, ...] = tuple("0123456789")
    adapter: str | None = None

    def __post_init__(self) -> None:
        if not self.questions or not all(self.questions):
            raise ValueError(f"choice request {self.request_id!r} has an empty question or none: give whole chats")
        if len(self.choices) < 2 or len(set(self.choices)) < len(self.choices):
            raise ValueError(
                f"choice request {self.request_id!r} has choices {self.choices}: give at least two distinct ones"
            )


@dataclass(frozen=True)
class ChoiceCompletion:
    """The answer to a `ChoiceRequest`.

    `probabilities` holds one row per question: the probability of each choice, renormalised to sum
    to 1. It is None where the request could not be answered. The tokens are sums over the
    questions. The shared prefix counts each time, as an endpoint bills it. `finish_reason` is
    'stop' for an answer.

    `masses` holds, per question, the probability that the model gave to all choices together, of
    all that it could have said. Where it is small, the model would say something else, however sure
    the renormalised probabilities look. It is None where an engine cannot tell, or could not when
    the answer was kept. `notes` are as those of a completion.
    """

    request_id: str
    probabilities: tuple[tuple[float, ...], ...] | None
    num_prompt_tokens: int
    finish_reason: FinishReason
    error: str | None = None
    num_completion_tokens: int = 0
    masses: tuple[float | None, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "error", self.error and one_line(self.error))


class EngineDiedError(Exception):
    """An engine cannot go on, but another one could: a process of it died. Only local engines."""


class Engine(Protocol):
    """A model that answers. It holds memory, threads or connections until it is closed."""

    steps: int = 0
    """Grows with whatever the model computes. A local engine counts, so that others see whether it
    hangs, however long an answer takes."""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion per request, in any order; `requests` is read as answers are consumed."""
        ...

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        """One answer per request, in any order; `requests` is read as answers are consumed."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
