"""The chat completions protocol: what is sent for a request, and what an answer says.

In: requests, and decoded JSON of any shape. Out: bodies and completions, or MalformedError where
the JSON is no answer, UnreadableError where it has a form that we do not know. Nothing that a
server sends is trusted to have the right type. What an endpoint turns out not to understand is in
`dialect.py`, how bytes become JSON in `reading.py`, and how a choice is read in `choices.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builders.engines.malformed import MalformedError, UnreadableError, quoted
from builders.engines.streams import THOUGHTS
from builders.engines.types import Completion, FinishReason, Request

if TYPE_CHECKING:
    from training.chat_templates import Arguments

# More tokens than any answer has: such a count is a fault of the server.
MOST_TOKENS = 2**31 - 1
ESTIMATED = "the endpoint did not tell its tokens: they are counted as the most that they can be"
CUT = ("length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded")
"""How providers call an answer that reached a limit."""
FILTERED = (
    "content_filter", "safety", "sensitive", "recitation", "prohibited_content", "blocklist", "spii",
)  # fmt: skip
"""How they call one that they hold back."""

THOUGHT_PARTS = ("text", "thinking", "reasoning", "content", "summary")

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A checked answer: its JSON, its prompt and completion tokens, what was different about it."""

    body: Json
    tokens: tuple[int, int]
    notes: tuple[str, ...] = ()


def path_and_body(request: Request, model: str, template_arguments: Arguments | None = None) -> tuple[str, Json]:
    """The path that a request goes to, and the body that is sent there.

    Arguments of the chat template are sent as vLLM's and SGLang's servers take them. A temperature
    or a `top_p` of None is left to the model. A `top_p` of 1 changes nothing, and some endpoints
    refuse it, so it is never sent.
    """
    body: Json = {"model": model, "max_tokens": request.max_tokens, "seed": request.seed}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p not in (None, 1):
        body["top_p"] = request.top_p
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


def extended(body: Json, extra: Mapping[str, Any]) -> Json:
    """A body with the further fields of a recipe. A field that is null there is left out."""
    return {name: value for name, value in (body | dict(extra)).items() if value is not None} if extra else body


def checked(answer: Any) -> Json:
    """The answer if it has a choice with a text or a message.

    MalformedError if it has none, UnreadableError if it is whole but has another form.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict):
        if not isinstance(choice.get("message"), dict) and not isinstance(choice.get("text"), str):
            raise MalformedError(f"the answer has neither a message nor a text: {quoted(answer)}")
        parts(choice)
        return answer
    is_paid = isinstance(answer, dict) and (usage(answer)[1] or 0) > 0
    if is_paid or (isinstance(answer, dict) and answer and "choices" not in answer and not answer.get("error")):
        raise UnreadableError(f"the answer has no choices: {quoted(answer)}")
    raise MalformedError(f"the answer has no choices: {quoted(answer)}")


def usage(answer: Any) -> tuple[int | None, int | None]:
    """Prompt and completion tokens that were billed. None where the endpoint does not say.

    Some endpoints count what a model thought in the total alone. All that is no prompt is
    completion.
    """
    told = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        return None, None
    prompt, completion = (
        next((count for name in names if (count := _count(told.get(name))) is not None), None)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    )
    total = _count(told.get("total_tokens"))
    if prompt and total is not None and total > prompt + (completion or 0):
        completion = total - prompt
    # Every prompt has tokens. A server that counts none does not count.
    return (None, completion or None) if prompt == 0 else (prompt, completion)


def tokens_of(answer: Any, most: tuple[int, int]) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The tokens of an answer, and a note where one of them is not told. It is the `most` then."""
    prompt, completion = usage(answer)
    if prompt is not None and completion is not None:
        return (prompt, completion), ()
    return (most[0] if prompt is None else prompt, most[1] if completion is None else completion), (ESTIMATED,)


def billed_anyway(answer: Any, most: tuple[int, int]) -> tuple[int, int]:
    """The tokens of an answer that is an error.

    They are none where it tells no usage. They are the `most` where the model had begun to answer.
    """
    return tokens_of(answer, most)[0] if any(usage(answer)) or _has_begun(answer) else (0, 0)


def _has_begun(answer: Any) -> bool:
    """Whether an answer that is an error holds a text, too, or a thought."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    try:
        return isinstance(choice, dict) and any((*parts(choice), choice.get("text")))
    except UnreadableError:
        return True


def reasoning_tokens(answer: Json) -> int | None:
    """Those of the completion tokens that a model thought with. None where it is not told."""
    told = answer.get("usage")
    details = told.get("completion_tokens_details") if isinstance(told, dict) else None
    return _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    """A count of tokens, also as 100.0 or "100". None for anything else, and for absurd counts."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else None


def completion(request: Request, given: Answer) -> Completion:
    """What a checked answer says to a request.

    The text ends before the first of the request's stops, also where the endpoint knew only some.
    A message without any content is an error: the model called tools, or the server put the text
    into another field. It is no error if the answer was cut, as thinking may take all tokens. An
    empty text is an answer: a model may say nothing. What a model thought is kept beside the text.
    """
    choice = given.body["choices"][0]
    message = choice.get("message") if isinstance(choice.get("message"), dict) else {}
    is_raw = request.messages is None and isinstance(choice.get("text"), str)
    content, thought = (choice["text"], None) if is_raw else parts(choice)
    text, told = content or "", choice.get("finish_reason")
    error = _no_answer(content, told, message.get("refusal"), thought)
    end = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    reason: FinishReason = "error" if error else "length" if _is(told, CUT) and end is None else "stop"
    return Completion(
        request.request_id,
        text if error else text[:end],
        reason,
        *given.tokens,
        None,
        error and error[:200],
        thought,
        reasoning_tokens(given.body),
        given.notes,
    )


def _no_answer(content: str | None, told: Any, refusal: Any, thought: str | None) -> str | None:
    """Why what came is no answer of the model. None if it is one."""
    if _is(told, FILTERED):
        return f"the endpoint filtered the answer (finish_reason {told})"
    if isinstance(refusal, str) and refusal and not content:
        return f"the model refused: {refusal}"
    if not content and told in ("tool_calls", "function_call"):
        return f"the answer has no text (finish_reason {told}): the model called a tool instead of answering"
    if content is None and thought and not _is(told, CUT):
        return f"the answer has no text, only what the model thought (content null, finish_reason {told})"
    if content is None and not _is(told, CUT):
        return f"the answer has no text (content null, finish_reason {told}): it may be in another field"
    return None


def is_cut(choice: Json) -> bool:
    """Whether a choice of an answer reached a limit."""
    return _is(choice.get("finish_reason"), CUT)


def _is(told: Any, reasons: tuple[str, ...]) -> bool:
    """Whether it is one of these reasons. Some endpoints say more after the first word."""
    word = re.match(r"\w+", told) if isinstance(told, str) else None
    return word is not None and word[0].lower() in reasons


def parts(choice: Json) -> tuple[str | None, str | None]:
    """The text of a choice, and what the model thought before it; None for each that is not there.

    Some endpoints answer with a list of parts. Those that hold thoughts are no text.
    """
    message: Any = choice.get("message")
    if not isinstance(message, dict):
        message = {}
    content = message.get("content") if message else choice.get("text")
    thought = next(filter(None, (_thought(message.get(name)) for name in THOUGHTS)), None)
    if isinstance(content, str | None):
        return content, thought
    if not isinstance(content, list):
        raise UnreadableError(f"the content of the answer is {type(content).__name__}, not text: {quoted(content)}")
    texts: list[str | None] = []
    thoughts: list[str | None] = []
    for part in content:
        is_thought = isinstance(part, dict) and part.get("type") in ("thinking", "reasoning", "redacted_thinking")
        (thoughts if is_thought else texts).append(_part_text(part))
    if None in texts:
        raise UnreadableError(f"the content of the answer is a list with parts that are no text: {quoted(content)}")
    thought = thought or "".join(filter(None, thoughts)) or None
    return ("".join(filter(None, texts)) if texts else None), thought


def _thought(told: Any, depth: int = 4) -> str:
    """What a model thought: a text, an object that holds one, or a list of these."""
    if isinstance(told, list) and depth:
        return "".join(_thought(one, depth - 1) for one in told)
    if isinstance(told, dict) and depth:
        return next(filter(None, (_thought(told.get(name), depth - 1) for name in THOUGHT_PARTS)), "")
    return told if isinstance(told, str) else ""


def _part_text(part: Any) -> str | None:
    """The text of a part: a text, an object with one, or a thought that holds parts of its own."""
    if isinstance(part, dict):
        found = [part[name] for name in ("text", "thinking", "reasoning") if part.get(name) is not None]
        part = found[0] if found else None
    if isinstance(part, list):
        inner = [one.get("text") if isinstance(one, dict) else one for one in part]
        return "".join(one for one in inner if isinstance(one, str))
    return part if isinstance(part, str) else None
