"""The calls of tools in a turn, in one form: that which chat templates take.

In: a turn with `tool_calls`, with OpenAI's older `function_call`, or one of ShareGPT's speaker
function_call. Arguments may be an object, or JSON text. Out: a list of calls, empty without any.

    calls({"function_call": {"name": "run", "arguments": '{"code": "1"}'}}, None)
    # [{"type": "function", "function": {"name": "run", "arguments": {"code": "1"}}}]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from training.errors import UnusableRowError
from training.json_text import parsed


def is_call(turn: Mapping[str, Any]) -> bool:
    """Whether a turn calls a tool."""
    return is_given(turn.get("tool_calls")) or is_given(turn.get("function_call"))


def calls(turn: Mapping[str, Any], said: Any) -> list[dict[str, Any]]:
    """The calls of tools: those of `tool_calls`, of the older `function_call`, or of ShareGPT's."""
    given = turn.get("tool_calls") or turn.get("function_call") or said
    if isinstance(given, str):
        try:
            given = parsed(given)
        except ValueError:
            raise UnusableRowError(f"the call of a tool is no JSON: {shown(given)}") from None
    if not is_given(given):
        return []
    return [_call(call) for call in (given if isinstance(given, list | tuple) else [given])]


def _call(call: Any) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not is_text(function.get("name")):
        raise UnusableRowError(f"the call of a tool needs the name of a function, but a row has {shown(call)}")
    found = {"type": "function", "function": {"name": function["name"], "arguments": _arguments(function)}}
    return {"id": call["id"], **found} if is_text(call.get("id")) else found


def _arguments(function: Mapping[str, Any]) -> Any:
    """The arguments as templates take them: an object. A key without a value stays: see
    `without_filled`.
    """
    given = function.get("arguments", function.get("parameters"))
    if isinstance(given, str):
        try:
            found = parsed(given)
        except ValueError:
            return given
        return {} if found is None else found if isinstance(found, dict) else given
    return dict(given or {}) if isinstance(given, Mapping | None) else given


def without_filled(value: Any, *, is_inside: bool = False) -> Any:
    """A value as Arrow gives it, without what Arrow filled into the arguments of calls.

    Arrow gives all objects of a column the same keys, and those of others have no value. Whether a
    null was there before, nobody can tell then. In JSON it is one.
    """
    if isinstance(value, dict):
        return {
            key: without_filled(inner, is_inside=is_inside or key in ("arguments", "parameters"))
            for key, inner in value.items()
            if inner is not None or not is_inside
        }
    if isinstance(value, list):
        return [without_filled(inner, is_inside=is_inside) for inner in value]
    return value


def called(turn: Mapping[str, Any]) -> list[str]:
    """The texts in the calls of a turn: the names of functions, and texts in their arguments."""
    functions = [call["function"] for call in turn.get("tool_calls", ())]
    return [text for function in functions for text in (function["name"], *texts(function["arguments"]))]


def texts(value: Any) -> Iterator[str]:
    """The texts in a value, as deep as they are, in their order. Keys are none."""
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, Mapping):
            stack += reversed(list(found.values()))
        elif isinstance(found, list | tuple):
            stack += reversed(found)
        elif is_text(found):
            yield found


def is_given(value: Any) -> bool:
    """Whether there is anything in a value: null, NaN, blanks and empty lists hold nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    return bool(value.strip()) if isinstance(value, str) else not isinstance(value, list | tuple | dict) or bool(value)


def is_text(value: Any) -> bool:
    """Whether a value is text, and not the empty one."""
    return isinstance(value, str) and bool(value)


def shown(value: Any) -> str:
    """The beginning of a value, for messages."""
    return repr(value)[:200]
