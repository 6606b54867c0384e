"""Answers that came in pieces though nobody asked for a stream, as one answer.

In: the lines of server-sent events (`data: {…}`), or lines of JSON, each with a piece as OpenAI's
protocol or Ollama's own has it. Out: the answer as if it had come whole.

`MalformedError` where the stream was cut: the next one may be whole. `UnreadableError` where no
line has a form that we know: the next one would look the same. An error in the middle of a stream
is kept beside the text before it, as that text may be billed.
"""

from __future__ import annotations

import json
import math
from typing import Any

from builders.engines.malformed import Json, MalformedError, UnreadableError, quoted

THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "thinking")
"""Where a message holds what a model thought."""
# Python reads no numbers of more digits from a text.
_MOST_DIGITS = 4000


def loads(text: str) -> Any:
    """JSON. A number of thousands of digits is infinite. ValueError and RecursionError as json."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=_number)


def _number(digits: str) -> float:
    if len(digits) <= _MOST_DIGITS:
        return int(digits)
    return -math.inf if digits.startswith("-") else math.inf


def of_events(lines: list[str]) -> Json:
    """The answer that these lines of events hold."""
    joined = _Joined()
    for line in lines:
        if line.startswith("data:"):
            said = line.removeprefix("data:").strip()
            if said == "[DONE]":
                joined.is_done = True
            else:
                joined.take(_event(said))
    return joined.answer(lines[0])


def of_json_lines(lines: list[str]) -> Json | None:
    """The answer that these lines of JSON hold. None if the first of them is no JSON object."""
    events = [_event(line) for line in lines]
    if not isinstance(events[0], dict):
        return None
    joined = _Joined()
    for event in events:
        joined.take(event)
    return joined.answer(lines[0])


def of_ollama(answer: Json) -> Json:
    """The one whole object of Ollama's own protocol as an answer; any other one as it is."""
    if "choices" in answer or answer.get("done") is not True:
        return answer
    if not isinstance(answer.get("message"), dict) and not isinstance(answer.get("response"), str):
        return answer
    joined = _Joined()
    joined.take(answer)
    return joined.answer("")


def _event(text: str) -> Any:
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None


class _Joined:
    """The pieces of one answer."""

    def __init__(self) -> None:
        self.is_done = False
        self._is_known = self._is_torn = False
        self._num_events = 0
        self._pieces: dict[str, list[Any]] = {}
        self._logprobs: list[Any] = []
        self._answer: Json = {}
        self._choice: Json = {}

    def take(self, event: Any) -> None:
        """Add an event. All that is no event was cut."""
        if not isinstance(event, dict):
            self._is_torn = True
            return
        self._num_events += 1
        if event.get("error"):
            self._answer["error"] = event["error"]
        if isinstance(event.get("usage"), dict):
            self._answer["usage"] = event["usage"]
        choices = event.get("choices")
        if isinstance(choices, list):
            self._is_known = True
            if choices and isinstance(choices[0], dict):
                self._take_choice(choices[0])
        elif isinstance(event.get("done"), bool):
            self._take_ollama(event)

    def _take_choice(self, part: Json) -> None:
        piece: Any = part.get("delta") or part.get("message")
        if isinstance(piece, dict):
            for name in ("content", "refusal", *THOUGHTS):
                self._add(name, piece.get(name))
        self._add("text", part.get("text"))
        logprobs = part.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self._logprobs += logprobs["content"]
        for name in ("finish_reason", "error"):
            if part.get(name) is not None:
                self._choice[name] = part[name]

    def _take_ollama(self, event: Json) -> None:
        self._is_known = True
        message = event.get("message")
        if isinstance(message, dict):
            self._add("content", message.get("content"))
        self._add("content", event.get("response"))
        self._add("thinking", (message if isinstance(message, dict) else event).get("thinking"))
        if event["done"]:
            self._choice["finish_reason"] = event.get("done_reason") or "stop"
            counts = event.get("prompt_eval_count"), event.get("eval_count")
            self._answer["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True))

    def _add(self, name: str, piece: Any) -> None:
        """A piece is a text or, as some write it, a list of parts."""
        if isinstance(piece, str | list):
            self._pieces.setdefault(name, []).extend([piece] if isinstance(piece, str) else piece)

    def answer(self, first_line: str) -> Json:
        """All pieces as one answer; see the module for the errors."""
        pieces = {name: _whole(parts) for name, parts in self._pieces.items()}
        if self._answer.get("error") and not any(pieces.values()):
            return self._answer
        is_broken = bool(self._answer.get("error") or self._choice.get("error"))
        if not self._is_known and not is_broken:
            if self._is_torn or not self._num_events:
                raise MalformedError(f"the answer is a stream of events that was cut: {quoted(first_line)}")
            raise UnreadableError(f"the answer is a stream of a form that nobody reads here: {quoted(first_line)}")
        if is_broken:
            self._choice["finish_reason"] = "error"
        elif self._choice.get("finish_reason") is None and not (self.is_done and pieces):
            raise MalformedError(f"the answer is a stream of events that was cut: {quoted(first_line)}")
        text = {"text": pieces.pop("text")} if "text" in pieces else {}
        logprobs = {"logprobs": {"content": self._logprobs}} if self._logprobs else {}
        message = {"content": None} | pieces
        return self._answer | {"choices": [self._choice | text | logprobs | {"message": message}]}


def _whole(parts: list[Any]) -> Any:
    """Texts as one text. Where some are objects, all are left as parts."""
    return "".join(parts) if all(isinstance(part, str) for part in parts) else parts
