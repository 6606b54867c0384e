"""Turns that call tools, rendered by chat templates: whole, or not at all.

In: turns, some with `tool_calls`. Out: what the template writes. Templates differ in what they take
for the arguments of a call: most an object, and some JSON text. A template that knows no tools
leaves a call out without a word, so what it wrote is looked through.

    text = written(tokenizer, turns, template, add_generation_prompt=False)
    shows_calls(turns[1], text)    # whether every text of its calls stands there
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from training import plain_text
from training.tool_calls import called

Turns = Sequence[Mapping[str, Any]]


def marked_turn(tokenizer: Any, turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn with the marks of plain_text in its content and in its calls."""
    return {
        key: _marked(tokenizer, value) if key in ("content", "tool_calls") else value for key, value in turn.items()
    }


def _marked(tokenizer: Any, value: Any) -> Any:
    if isinstance(value, str):
        return plain_text.marked(tokenizer, value)
    if isinstance(value, Mapping):
        return {key: _marked(tokenizer, inner) for key, inner in value.items()}
    return [_marked(tokenizer, inner) for inner in value] if isinstance(value, list) else value


def written(tokenizer: Any, turns: Turns, template: str, add_generation_prompt: bool) -> str:
    """The chat as the template writes it. TemplateError for turns that it does not take.

    Arguments that a template cannot take as an object, or writes as Python does, are given to it as
    JSON text.
    """

    def rendered(given: Turns) -> str:
        text = tokenizer.apply_chat_template(
            given, tokenize=False, add_generation_prompt=add_generation_prompt, chat_template=template
        )
        assert isinstance(text, str), type(text)
        return text

    arguments = [found for turn in turns for found in _objects(turn)]
    if not arguments:
        return rendered(turns)
    try:
        text = rendered(turns)
        if not any(str(found) in text and str(found) != json.dumps(found, ensure_ascii=False) for found in arguments):
            return text
    except (TypeError, ValueError, AttributeError):  # such as a text and an object, put together
        pass
    try:
        return rendered([_as_text(turn) for turn in turns])
    except (TypeError, ValueError, AttributeError) as error:
        raise TemplateError(f"the call of a tool: {error}") from None


def _objects(turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [call["function"]["arguments"] for call in turn.get("tool_calls", ())]
    return [arguments for arguments in found if isinstance(arguments, dict) and arguments]


def _as_text(turn: Mapping[str, Any]) -> dict[str, Any]:
    if not _objects(turn):
        return dict(turn)
    calls = [{**call, "function": {**call["function"], "arguments": _json(call)}} for call in turn["tool_calls"]]
    return {**turn, "tool_calls": calls}


def _json(call: Mapping[str, Any]) -> str:
    arguments = call["function"]["arguments"]
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def shows_calls(turn: Mapping[str, Any], rendered: str) -> bool:
    """Whether every text of a turn's calls stands in what was rendered, as it is or as in JSON."""
    return all(any(form in rendered for form in _forms(text)) for text in called(turn))


def _forms(text: str) -> set[str]:
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
