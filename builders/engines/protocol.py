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
from typing import TYPE_CHECKING, Any

from builders.engines import thinking
from builders.engines.types import Completion, FinishReason, Message, Request

if TYPE_CHECKING:
    from training.chat_templates import Arguments

# The most that the protocol allows.
TOP_LOGPROBS = 20
# Without logprobs the digit is read from the text, where a word may come before it.
CHOICE_TOKENS = 8
# OpenAI's own service takes no more.
FEWEST_STOPS = 4

Json = dict[str, Any]


class MalformedError(Exception):
    """An answer without the parts that the protocol promises. The next one may have them."""


class UnreadableError(Exception):
    """An answer whose content has a format that we do not read. The next one will have it, too."""


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


def path_and_body(request: Request, model: str, template_arguments: Arguments | None = None) -> tuple[str, Json]:
    """The path that a request goes to, and the body that is sent there.

    Arguments of the chat template are sent as vLLM's and SGLang's servers take them.
    """
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
    if template_arguments:
        body["chat_template_kwargs"] = dict(template_arguments)
    return "chat/completions", body


def choice_body(question: tuple[Message, ...], model: str, template_arguments: Arguments) -> Json:
    """One question whose answer is one token."""
    return {
        "model": model,
        "messages": list(question),
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
        **({"chat_template_kwargs": dict(template_arguments)} if template_arguments else {}),
    }


def checked(answer: Any) -> Json:
    """The answer if it has a choice with a text or a message.

    MalformedError if it has none, UnreadableError if the content of the message is no text.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise MalformedError("the answer has no choices")
    message = choice.get("message")
    if not isinstance(message, dict) and not isinstance(choice.get("text"), str):
        raise MalformedError("the answer has neither a message nor a text")
    _text(choice)
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
    A message without any content is an error: the model called tools, or the server put the text
    into another field. It is no error if the answer was cut, as thinking may take all tokens. An
    empty text is an answer: a model may say nothing.
    """
    choice = answer["choices"][0]
    message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    content = _text(choice) if request.messages is not None else choice.get("text")
    text, tokens = content or "", usage(answer) or (0, 0)
    told, refusal = choice.get("finish_reason"), message.get("refusal")
    thought = next((t for t in map(message.get, ("reasoning_content", "reasoning")) if isinstance(t, str) and t), None)
    if error := _no_answer(content, told, refusal):
        return Completion(request.request_id, text, "error", *tokens, None, error[:200], thought)
    end = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    reason: FinishReason = "length" if told == "length" and end is None else "stop"
    return Completion(request.request_id, text[:end], reason, *tokens, None, None, thought)


def _no_answer(content: str | None, told: Any, refusal: Any) -> str | None:
    """Why what came is no answer of the model. None if it is one."""
    if told == "content_filter":
        return "the endpoint filtered the answer"
    if isinstance(refusal, str) and refusal and not content:
        return f"the model refused: {refusal}"
    if not content and told in ("tool_calls", "function_call"):
        return f"the answer has no text (finish_reason {told}): the model called a tool instead of answering"
    if content is None and told != "length":
        return f"the answer has no text (content null, finish_reason {told}): it may be in another field"
    return None


def probabilities(answer: Json, choices: tuple[str, ...]) -> tuple[float, ...]:
    """The probability of each choice, from the logprobs of the answer's first token.

    Where these hold no choice, the first choice in the text has probability 1.
    """
    choice = answer["choices"][0]
    mass = _mass_by_choice(choice, choices)
    if not sum(mass.values()):
        said = thinking.split(_text(choice) or "").answer
        named = next((word for word in re.findall(r"\w+", said) if word in mass), None)
        if named is None:
            raise NoChoiceError("none of the choices is among the tokens of the answer")
        mass[named] = 1.0
    total = sum(mass.values())
    return tuple(mass[name] / total for name in choices)


def choice_mass(answer: Json, choices: tuple[str, ...]) -> float | None:
    """The probability that the model gave to all choices together; None without logprobs.

    An endpoint tells the most probable tokens alone, so it may be a little more. Where none of
    these is a choice, it is 0.
    """
    choice = answer["choices"][0]
    return min(1.0, sum(_mass_by_choice(choice, choices).values())) if _top_logprobs(choice) else None


def _mass_by_choice(choice: Json, choices: tuple[str, ...]) -> dict[str, float]:
    mass = dict.fromkeys(choices, 0.0)
    for token, logprob in _top_logprobs(choice):
        # Some tokens hold a digit with the space before it: that is the same answer.
        if token.strip() in mass:
            # A server with broken weights sends NaN, which is never more than -inf.
            mass[token.strip()] += math.exp(min(logprob, 0.0)) if logprob > -math.inf else 0.0
    return mass


def _text(choice: Json) -> str | None:
    """The text of a choice, None without one. Some endpoints answer with a list of texts."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else choice.get("text")
    if not isinstance(content, list):
        if isinstance(content, str | None):
            return content
        raise UnreadableError(f"the content of the answer is {type(content).__name__}, not text")
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    if not all(isinstance(part, str) for part in parts):
        raise UnreadableError("the content of the answer is a list with parts that are no text")
    return "".join(part for part in parts if isinstance(part, str)) if parts else None


def _top_logprobs(choice: Json) -> list[tuple[str, float]]:
    """Those of the first token of the answer, which may follow thinking."""
    try:
        tokens = choice["logprobs"]["content"]
        place = thinking.first_of_answer([str(entry["token"]) for entry in tokens]) if len(tokens) > 1 else 0
        entries = tokens[place]["top_logprobs"] if place is not None else []
        return [(str(entry["token"]), float(entry["logprob"])) for entry in entries]
    except (KeyError, IndexError, TypeError, ValueError):
        return []
