"""All text that the value of a column holds, for a search through it.

In: a text, turns in any form, or a list of texts. Out: one text. Of turns, what tools are called
with counts, what systems say and what is thought; who speaks does not.

JSON inside of a text, such as the answer {"code": "…"} or a call behind <tool_call>, has its
characters escaped. So the texts in it follow the text. Where nobody can read what is packed into a
text, as when pandas writes turns into a CSV file, the text follows once more without its escapes.

    said([{"role": "user", "content": [{"type": "text", "text": "Add."}]}])    # "Add."
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from training.json_text import joined
from training.tool_calls import is_text, texts
from training.turns import is_talk, unpacked

_UNSAID = {"role", "from", "type", "id", "tool_call_id", "call_id", "index", "weight", "image_url", "input_audio"}
"""Keys of a turn and of its parts whose values are not said by anybody."""
_CALL = re.compile(r"<\|?tool_calls?(?:_begin)?\|?>|<function_call>|\[TOOL_CALLS\]|```json")
"""What stands before JSON in a text."""
_ESCAPE = re.compile(r"\\(n|t|r|'|\"|\\)")
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\"}
_DECODER = json.JSONDecoder(object_pairs_hook=joined)
"""A search looks at both values of a key that stands twice."""


def said(value: Any, *, holds_turns: bool = False) -> str:
    """All text in the value of a column, in its order, '' if there is none.

    With `holds_turns` a list or an object is turns, even if it does not say who speaks.
    """
    if isinstance(value, str):
        held = unpacked(value)
        return "\n\n".join(_with_json(value) if held is None else _leaves(held))
    if isinstance(value, list | tuple | dict) and (holds_turns or is_talk(value)):
        return "\n\n".join(_leaves(value))
    if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        return "\n\n".join(part for text in value for part in _with_json(text))
    return ""


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a value, as deep as they are. JSON in the arguments of a call is opened."""
    stack = [(value, "")]
    while stack:
        found, key = stack.pop()
        if isinstance(found, Mapping):
            calls = "function_call" in (found.get("from"), found.get("role"))
            stack += [
                (inner, "arguments" if calls else str(name))
                for name, inner in reversed(list(found.items()))
                if name not in _UNSAID
            ]
        elif isinstance(found, list | tuple):
            stack += [(inner, key) for inner in reversed(found)]
        elif isinstance(found, str) and key in ("arguments", "tool_calls", "function_call"):
            stack.append((_opened(found), ""))
        elif is_text(found):
            yield from _with_json(found)


def _with_json(text: str) -> Iterator[str]:
    """A text, and the texts in the JSON that it is or holds, or itself without its escapes."""
    yield text
    if "\\" in text and (text.lstrip()[:1] in ("[", "{") or "\n" not in text):
        yield _ESCAPE.sub(lambda found: _UNESCAPED[found[1]], text)
    for part in _CALL.split(text):
        if (start := part.lstrip())[:1] in ("{", "["):
            try:
                held, _ = _DECODER.raw_decode(start)
            except (ValueError, RecursionError):
                continue
            yield from texts(held)


def _opened(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=joined)
    except (ValueError, RecursionError):
        return text
