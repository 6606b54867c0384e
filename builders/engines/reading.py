"""The bytes of an answer 200 as JSON, or why they are none.

In: bytes of any kind. Out: decoded JSON. `MalformedError` where the answer was cut or is the page
of a proxy: the next one may be whole. `UnreadableError` where it is whole, but nothing that we
read: the next one would look the same.

- JSON is written in UTF-8. Another charset is read where the header names it (`characters.py`).
- A byte order mark, blank lines and the comments of a proxy that keeps a connection alive are left
  out.
- A stream of events, or of lines of JSON, that nobody asked for is joined into one answer
  (`streams.py`).
- An answer that was written as JSON twice, or stands alone in a list, is that answer. So is one of
  Ollama's own protocol.

    decoded(b'data: {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}')
    # {'choices': [{'finish_reason': 'stop', 'message': {'content': 'hi'}}]}
"""

from __future__ import annotations

import json
from typing import Any

from builders.engines import characters, streams
from builders.engines.malformed import MalformedError, UnreadableError, quoted


def decoded(content: bytes, charset: str | None = None) -> Any:
    """The JSON of an answer whose header names this charset; see the module for the errors."""
    said = characters.read(content, charset)
    text = said.text.lstrip("\ufeff")
    if said.is_broken:
        raise UnreadableError(f"the answer is not written in the charset {charset} that it names: {quoted(text)}")
    try:
        return unwrapped(streams.loads(text))
    except RecursionError:
        raise UnreadableError(f"the answer is nested too deeply: {quoted(text)}") from None
    except json.JSONDecodeError:
        pass
    lines = [line for line in text.lstrip().split("\n") if line.strip() and not line.startswith(":")]
    if not lines:
        raise MalformedError("the answer is empty")
    if lines[0].startswith(("data:", "event:")):
        return streams.of_events(lines)
    joined = streams.of_json_lines(lines) if len(lines) > 1 else None
    if joined is None:
        raise MalformedError(f"the answer is not JSON: {quoted(text)}")
    return joined


def unwrapped(answer: Any) -> Any:
    """An answer without what some put around it: a list of it alone, or JSON text."""
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict):
        answer = answer[0]
    elif isinstance(answer, str) and answer.lstrip().startswith("{"):
        try:
            inner = streams.loads(answer)
        except (ValueError, RecursionError):
            return answer
        answer = inner if isinstance(inner, dict) else answer
    return streams.of_ollama(answer) if isinstance(answer, dict) else answer


def text_of(content: bytes, charset: str | None = None) -> str:
    """The characters of an answer, whatever its encoding is."""
    return characters.read(content, charset).text


def doubts(content: bytes, charset: str | None = None) -> tuple[str, ...]:
    """What is not sure about the characters of an answer, in words."""
    is_guess = not content.isascii() and characters.read(content, charset).is_guess
    return (characters.GUESSED,) if is_guess else ()
