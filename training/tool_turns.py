"""Turns that call tools, rendered by chat templates: whole, or not at all.

In: turns, some with `tool_calls`. Out: what the template writes. Templates differ in what they take
for the arguments of a call: most an object, and some JSON text. A template that knows no tools
leaves a call out without a word. Its name and its arguments may stand elsewhere in the chat, such
as in the question. So the chat is written a second time, with other names and arguments in its
calls: exactly these must change.

    text = written(tokenizer, turns, template, add_generation_prompt=False)
    others, words = named_apart(turns)
    apart = written(tokenizer, others, template, add_generation_prompt=False)
    shows_calls(turns, text, apart, words)    # whether all of the calls stands in the text
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from training import plain_text
from training.tool_calls import called

Turns = Sequence[Mapping[str, Any]]
_FIRST_NUMBER = 91736450000
"""Numbers from here on stand for those of a call. Rows hardly have such numbers."""


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
    return [arguments for arguments in found if isinstance(arguments, dict)]


def _as_text(turn: Mapping[str, Any]) -> dict[str, Any]:
    if not _objects(turn):
        return dict(turn)
    calls = [{**call, "function": {**call["function"], "arguments": _json(call)}} for call in turn["tool_calls"]]
    return {**turn, "tool_calls": calls}


def _json(call: Mapping[str, Any]) -> str:
    arguments = call["function"]["arguments"]
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def named_apart(turns: Turns) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The same chat with other calls, and the words in them -> what each of them replaces.

    A word stands behind a name, a text or a key, which it makes another one: it replaces "". In
    place of a number, a truth or null there is a number.
    """
    words: dict[str, Any] = {}
    return [_apart(turn, words) for turn in turns], words


def _apart(turn: Mapping[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    if not turn.get("tool_calls"):
        return dict(turn)
    calls = [
        {**call, "function": {key: _other(part, words) for key, part in call["function"].items()}}
        for call in turn["tool_calls"]
    ]
    return {**turn, "tool_calls": calls}


def _other(value: Any, words: dict[str, Any]) -> Any:
    """A value with a word behind each of its texts and keys."""
    if isinstance(value, Mapping):
        return {_other(key, words): _other(inner, words) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_other(inner, words) for inner in value]
    if isinstance(value, str):
        word = f"0zq{len(words)}qz"  # 0 sorts before letters, for templates that sort the keys
        words[word] = ""
        return value + word
    number = _FIRST_NUMBER + len(words)
    words[str(number)] = value
    return number


def shows_calls(turns: Turns, rendered: str, apart: str, words: Mapping[str, Any]) -> bool:
    """Whether a template writes the calls of a chat whole.

    `apart` is what it writes for the calls of `named_apart`. All words must stand there, behind
    the texts of the calls. With what they replace, it must be what was rendered.
    """
    if not all(word in apart for word in words):
        return False
    texts = [text for turn in turns for text in called(turn)]
    if not all(any(form in rendered for form in _forms(text)) for text in texts):
        return False
    return any(_replaced(apart, words, form) == rendered for form in (json.dumps, str))


def _replaced(text: str, words: Mapping[str, Any], form: Callable[[Any], str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value if value == "" else form(value))
    return text


def _forms(text: str) -> set[str]:
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
