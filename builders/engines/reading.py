"""The bytes of an answer 200 as JSON, or why they are none.

In: bytes of any kind. Out: decoded JSON. `MalformedError` where the answer was cut or is the page
of a proxy: the next one may be whole. `UnreadableError` where it is whole, but nothing that we
read: the next one would look the same.

- UTF-8 is what JSON is written in. Bytes that are no UTF-8 and hold no other UTF-8 are Latin-1.
- A byte order mark, blank lines and the comments of a proxy that keeps a connection alive are left
  out.
- A stream of events that nobody asked for is joined into one answer.

    decoded(b'data: {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}')
    # {'choices': [{'message': {'content': 'hi', ...}, 'finish_reason': 'stop'}]}
"""

from __future__ import annotations

import json
from typing import Any

QUOTED_CHARS = 120
LONGEST_NUMBER = 400

Json = dict[str, Any]


class MalformedError(Exception):
    """An answer without the parts that the protocol promises. The next one may have them."""


class UnreadableError(Exception):
    """An answer whose content has a format that we do not read. The next one will have it, too."""


def decoded(content: bytes) -> Any:
    """The JSON of an answer; see the module for the errors."""
    text = text_of(content).lstrip("\ufeff")
    try:
        return _loaded(text)
    except RecursionError:
        raise UnreadableError(f"the answer is nested too deeply: {quoted(text)}") from None
    except json.JSONDecodeError:
        pass
    lines = [line for line in text.lstrip().split("\n") if line.strip() and not line.startswith(":")]
    if lines and lines[0].startswith(("data:", "event:")):
        return _joined(lines)
    if not lines:
        raise MalformedError("the answer is empty")
    raise MalformedError(f"the answer is not JSON: {quoted(text)}")


def _loaded(text: str) -> Any:
    """JSON whose numbers may have any length: what has more digits than Python reads is None.

    No text hangs on such a number. As a count of tokens, it is one that is not told.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(text, parse_int=_count)


def _count(digits: str) -> int | None:
    return int(digits) if len(digits) < LONGEST_NUMBER else None


def text_of(content: bytes) -> str:
    """The characters of an answer, whatever its encoding is."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        is_latin = content.decode("utf-8", "ignore").isascii()
        return content.decode("latin-1") if is_latin else content.decode("utf-8", "replace")


def quoted(text: Any) -> str:
    """The beginning of what came, for a message."""
    try:
        said = text if isinstance(text, str) else json.dumps(text)
    except (RecursionError, ValueError):
        said = "(too deep to be shown)"
    said = " ".join(said[: 4 * QUOTED_CHARS].split())
    return repr(said if len(said) <= QUOTED_CHARS else said[:QUOTED_CHARS] + "…")


def _joined(lines: list[str]) -> Any:
    """The events of a stream as one answer. MalformedError where it ends too soon."""
    texts: dict[str, list[str]] = {"content": [], "reasoning_content": [], "text": []}
    choice: Json = {}
    answer: Json = {}
    for event in map(_event, lines):
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            return event
        if isinstance(event.get("usage"), dict):
            answer["usage"] = event["usage"]
        _take(event, texts, choice)
    if choice.get("finish_reason") is None:
        raise MalformedError(f"the answer is a stream of events that was cut: {quoted(lines[0])}")
    joined = {name: "".join(parts) for name, parts in texts.items() if parts}
    message = {"content": joined.get("content"), "reasoning_content": joined.get("reasoning_content")}
    text = {"text": joined["text"]} if "text" in joined else {}
    return answer | {"choices": [choice | text | {"message": message}]}


def _take(event: Json, texts: dict[str, list[str]], choice: Json) -> None:
    choices = event.get("choices")
    part = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(part, dict):
        return
    delta: Any = part.get("delta")
    if not isinstance(delta, dict):
        delta = {}
    said = {
        "content": delta.get("content"),
        "reasoning_content": delta.get("reasoning_content") or delta.get("reasoning"),
        "text": part.get("text"),
    }
    for name, value in said.items():
        if isinstance(value, str):
            texts[name].append(value)
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]


def _event(line: str) -> Any:
    if not line.startswith("data:"):
        return None
    try:
        return _loaded(line.removeprefix("data:"))
    except (ValueError, RecursionError):
        return None
