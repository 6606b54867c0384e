"""All text that the value of a column holds, for a search through it.

In: a text, turns in any form, or a list of texts. Out: one text. Of turns, what tools are called
with counts, what systems say and what is thought; who speaks does not.

    said([{"role": "user", "content": [{"type": "text", "text": "Add."}]}])    # "Add."
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from training.tool_calls import is_text
from training.turns import is_talk, unpacked

_UNSAID = {"role", "from", "type", "id", "tool_call_id", "call_id", "index", "weight", "image_url", "input_audio"}
"""Keys of a turn and of its parts whose values are not said by anybody."""


def said(value: Any, *, holds_turns: bool = False) -> str:
    """All text in the value of a column, in its order, '' if there is none.

    With `holds_turns` a list or an object is turns, even if it does not say who speaks.
    """
    if isinstance(value, str):
        held = unpacked(value)
        return value if held is None else "\n\n".join(_leaves(held))
    if isinstance(value, list | tuple | dict) and (holds_turns or is_talk(value)):
        return "\n\n".join(_leaves(value))
    if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
        return "\n\n".join(value)
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
            yield found


def _opened(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
