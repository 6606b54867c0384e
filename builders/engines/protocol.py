"""The chat completions protocol: what is sent for a request, and what an answer says.

In: requests, and decoded JSON of any shape. Out: bodies and completions, or MalformedError where
the JSON is no answer. Nothing that a server sends is trusted to have the right type. `Dialect`
remembers what an endpoint turned out not to understand.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from builders.engines.types import Completion, FinishReason, Message, Request

# The most that the protocol allows.
TOP_LOGPROBS = 20
# Without logprobs the digit is read from the text, where a word may come before it.
CHOICE_TOKENS = 8
# OpenAI's own service takes no more.
FEWEST_STOPS = 4

Json = dict[str, Any]


class MalformedError(Exception):
    """An answer without the parts that the protocol promises."""


class NoChoiceError(Exception):
    """An answer that names none of the choices."""


@dataclass
class Dialect:
    """How an endpoint departs from the protocol, learned from its refusals."""

    token_field: str = "max_tokens"
    has_logprobs: bool = True
    takes_all_stops: bool = True

    def spoken(self, body: Json) -> Json:
        """The body as this endpoint takes it."""
        said = dict(body)
        if not self.has_logprobs and said.pop("logprobs", None):
            del said["top_logprobs"]
            said["max_tokens"] = CHOICE_TOKENS
        if not self.takes_all_stops and "stop" in said:
            said["stop"] = said["stop"][:FEWEST_STOPS]
        if self.token_field != "max_tokens":
            said[self.token_field] = said.pop("max_tokens")
        return said

    def learns(self, body: Json, refusal: str) -> bool:
        """Whether this refusal of a body tells of another way to ask.

        If so, `spoken` now takes it.
        """
        if "max_tokens" in body and "max_completion_tokens" in refusal:
            self.token_field = "max_completion_tokens"
            return True
        if "logprobs" in body and "logprobs" in refusal:
            self.has_logprobs = False
            return True
        if len(body.get("stop", ())) > FEWEST_STOPS and "stop" in refusal:
            self.takes_all_stops = False
            return True
        return False


def path_and_body(request: Request, model: str) -> tuple[str, Json]:
    """The path that a request goes to, and the body that is sent there."""
    body: Json = {
        "model": model,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": json.loads(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.messages is None:
        body["prompt"] = request.prompt
        return "completions", body
    body["messages"] = list(request.messages)
    return "chat/completions", body


def choice_body(question: tuple[Message, ...], model: str) -> Json:
    """One question whose answer is one token."""
    return {
        "model": model,
        "messages": list(question),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }


def checked(answer: Any) -> Json:
    """The answer if it has a choice with a text, else MalformedError."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise MalformedError("the answer has no choices")
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str | None):
        raise MalformedError(f"the content of the answer is {type(content).__name__}, not text")
    if not isinstance(message, dict) and not isinstance(choice.get("text"), str):
        raise MalformedError("the answer has neither a message nor a text")
    return answer


def usage(answer: Json) -> tuple[int, int] | None:
    """Prompt and completion tokens that were billed. None where the endpoint does not say."""
    told = answer.get("usage")
    if not isinstance(told, dict) or not _is_count(told.get("prompt_tokens")):
        return None
    return int(told["prompt_tokens"]), int(told["completion_tokens"]) if _is_count(told.get("completion_tokens")) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def completion(request: Request, answer: Json) -> Completion:
    """What a checked answer says to a request.

    The text ends before the first of the request's stops, also where the endpoint knew only some.
    """
    choice = answer["choices"][0]
    message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    text = (message.get("content") if request.messages is not None else choice.get("text")) or ""
    tokens = usage(answer) or (0, 0)
    told, refusal = choice.get("finish_reason"), message.get("refusal")
    if told == "content_filter" or (isinstance(refusal, str) and refusal and not text):
        error = "the endpoint filtered the answer" if told == "content_filter" else f"the model refused: {refusal}"
        return Completion(request.request_id, text, "error", *tokens, None, error[:200])
    end = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    reason: FinishReason = "length" if told == "length" and end is None else "stop"
    return Completion(request.request_id, text[:end], reason, *tokens, None)


def probabilities(answer: Json, choices: tuple[str, ...]) -> tuple[float, ...]:
    """The probability of each choice, from the logprobs of the first token.

    Where these hold no choice, the first choice in the text has probability 1.
    """
    choice = answer["choices"][0]
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in _top_logprobs(choice):
        # Some tokens hold a digit with the space before it: that is the same answer.
        if token.strip() in mass:
            mass[token.strip()] += math.exp(min(logprob, 0.0))
    if not sum(mass.values()):
        named = next((word for word in re.findall(r"\w+", _text(choice)) if word in mass), None)
        if named is None:
            raise NoChoiceError("none of the choices is among the tokens of the answer")
        mass[named] = 1.0
    total = sum(mass.values())
    return tuple(mass[name] / total for name in choices)


def _text(choice: Json) -> str:
    message = choice.get("message")
    return (message.get("content") if isinstance(message, dict) else choice.get("text")) or ""


def _top_logprobs(choice: Json) -> list[tuple[str, float]]:
    try:
        entries = choice["logprobs"]["content"][0]["top_logprobs"]
        return [(str(entry["token"]), float(entry["logprob"])) for entry in entries]
    except (KeyError, IndexError, TypeError, ValueError):
        return []
