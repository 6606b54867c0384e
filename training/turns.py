"""The turns of a conversation, in any form that datasets have, as chat templates take them.

In: what a column holds, or the same as JSON text, or as `datasets` stores it. Out: turns with
`role` and `content`.

    turns       objects that say who speaks: OpenAI's role and content, ShareGPT's from and value
    pairs       objects with what both say: Capybara's input and output, or others of PAIRS;
                XTuner's have a `system`, too
    texts       UltraChat's: the user's and the assistant's in turn, so there is an even number
    one text    a turn of the role that the caller names

    listed([{"from": "human", "value": "Add 1 and 2."}], None)    # [{"role": "user", "content": …
    listed(["Add 1 and 2.", "3"], None)[:1]                       # the same
    listed("Add 1 and 2.", "user")                                # the same
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.errors import UnusableRowError
from training.json_text import RepeatedKeyError, parsed
from training.tool_calls import calls, is_call, is_given, is_text, shown

Turn = dict[str, Any]
"""`role` and `content`, and where there are any `tool_calls`, `tool_call_id` and `name`."""

_ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(
        ("gpt", "chatgpt", "bing", "bard", "bot", "model", "ai", "assistant", "function_call"), "assistant"
    ),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "tool_response"), "tool"),
}
"""ShareGPT's names of the speakers."""
PAIRS = (
    ("input", "output"),
    ("human", "assistant"),
    ("user", "assistant"),
    ("prompt", "response"),
    ("question", "answer"),
    ("instruction", "output"),
)
"""What the user and the assistant say, in one object: Capybara's, MOSS', and others."""
_OF_PAIRS = {*(name for pair in PAIRS for name in pair), "context"}
_MARKS = ("train", "training", "loss", "output_with_loss")
"""Keys by which a turn or a pair says whether a model learns it. OpenAI's is `weight`."""
LONGEST_LITERAL = 200_000
"""Characters of turns that are written as Python writes them; of JSON there may be any number."""
_TEXTS = ("content", "value", "text")
"""Where a turn has its text: as OpenAI, ShareGPT and Open Assistant write it."""
_OPENAI = {"system", "developer", "user", "assistant", "tool", "function"}
_PARTS = re.compile(r'\s*\[\s*\{\s*"type"\s*:')
"""The beginning of a content that is a list of parts, written as JSON."""
_TEXT_PARTS = {"text", "input_text", "output_text"}
_THOUGHTS = {"thinking", "reasoning", "redacted_thinking"}


def listed(value: Any, role: str | None, *, is_end: bool = True) -> list[Turn]:
    """Turns in any form. A text is one turn of the role; without a role, it holds turns as JSON.

    `is_end` says that the conversation ends with these turns: only its last one may be empty.
    UnusableRowError says why a value is no turns.
    """
    if isinstance(value, str):
        if role is not None:
            return [{"role": role, "content": value}]
        held = unpacked(value, are_turns)
        value = value if held is None else held
    elif isinstance(value, int | float) and role is not None:
        return [{"role": role, "content": str(value)}]
    found = _rows_of(value) if isinstance(value, Mapping) else value
    if not isinstance(found, list | tuple) or not found:
        raise UnusableRowError(f"turns are a list, but a row has {shown(value)}")
    if role is None:
        found = _spoken(found)
    return [_turn(turn, is_last=is_end and place == len(found) - 1) for place, turn in enumerate(found)]


def _spoken(found: Sequence[Any]) -> Sequence[Any]:
    """Pairs and texts as turns that say who speaks."""
    if _are_texts(found):
        if len(found) % 2:
            raise UnusableRowError(
                f"odd_turns: the number of texts without roles is {len(found)}, so they do not end with an answer"
            )
        roles = ("user", "assistant")
        return [{"role": roles[place % 2], "content": text} for place, text in enumerate(found)]
    return [turn for pair in found for turn in _of_pair(pair)] if _are_pairs(found) else found


def _of_pair(pair: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The turns of a pair, its system's first. UnusableRowError where text would be lost."""
    asked, answered = next(names for names in PAIRS if set(names) <= pair.keys())
    if more := [name for name in pair if name in _OF_PAIRS - {asked, answered} and is_given(pair[name])]:
        raise UnusableRowError(f"two questions: a pair of {asked} and {answered} also has {', '.join(more)}")
    lead = [{"role": "system", "content": pair["system"]}] if is_given(pair.get("system")) else []
    marks = {name: pair[name] for name in ("weight", *_MARKS) if name in pair}
    answer = {**marks, "role": "assistant", "content": pair[answered]}
    return [*lead, {"role": "user", "content": pair[asked]}, answer]


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_pair, value))


def _is_pair(turn: Any) -> bool:
    if not isinstance(turn, Mapping) or {"role", "from"} & turn.keys():
        return False
    return any(set(names) <= turn.keys() for names in PAIRS)


def _are_texts(value: Any) -> bool:
    """Whether a list holds texts alone. A null is an empty one."""
    is_list = isinstance(value, list | tuple) and any(isinstance(text, str) for text in value)
    return is_list and all(isinstance(text, str | None) for text in value)


def are_turns(value: Any) -> bool:
    """Whether a value has the form of turns, of pairs or of texts, also as JSON text."""
    if isinstance(value, str):
        return unpacked(value, are_turns) is not None
    if isinstance(value, Mapping):
        value = _rows_of(value)
    return bool(value) and (is_talk(value) or _are_pairs(value) or _are_texts(value))


def have_speakers(value: Any) -> bool:
    """Whether a value that is no text is turns that say who speaks."""
    return bool(value) and is_talk(_rows_of(value) if isinstance(value, Mapping) else value)


def unpacked(text: str, accepts: Callable[[Any], bool] | None = None) -> list[Any] | None:
    """The turns that a text holds as JSON, or as Python writes a list. None if it holds none.

    `accepts` says what turns are: without it, objects that say who speaks.
    """
    start = text.lstrip()[:1]
    if start not in ("[", "{"):
        return None
    try:
        found = parsed(text)
    except RepeatedKeyError:
        return None  # nobody knows which value counts
    except ValueError:
        found = _as_python(text.strip())
    if found and (accepts or is_talk)(held := [found] if isinstance(found, dict) else found):
        return list(held)
    return None


def _as_python(text: str) -> Any:
    """What Python reads in a text that is no JSON. It takes 500 times the memory of the text."""
    if len(text) > LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _rows_of(value: Mapping[str, Any]) -> list[Any]:
    """Turns as `datasets` may store them, a list for each key; or one turn."""
    lists = {key: held for key, held in value.items() if isinstance(held, list | tuple)}
    if any(set(names) <= lists.keys() for names in (("role", "content"), ("from", "value"), *PAIRS)):
        longest = max(map(len, lists.values()))
        return [{key: held[n] for key, held in lists.items() if n < len(held)} for n in range(longest)]
    return [value]


def _turn(turn: Any, *, is_last: bool) -> Turn:
    if not isinstance(turn, Mapping):
        raise UnusableRowError(f"a turn has role and content, but a row has {shown(turn)}")
    speaker = turn.get("role") or turn.get("from")
    if not isinstance(speaker, str) or not speaker:
        raise UnusableRowError(f"a turn needs a role, but a row has {shown(turn)}")
    given = next((turn[key] for key in _TEXTS if key in turn), None)
    role = _role(speaker, is_of_openai="role" in turn)
    if is_last and role == "assistant" and _is_unweighted(turn):
        raise UnusableRowError("weight_0: the answer is marked as one not to train on")
    used = calls(turn, given if speaker == "function_call" else None)
    if used and speaker == "function_call":
        given = ""
    content = _content(given, turn)
    found: Turn = {"role": role, "content": content}
    if used:
        found["tool_calls"] = used
    elif not content.strip() and not is_last and role not in ("system", "tool"):
        raise UnusableRowError(f"empty_turn: a turn of the {role} holds nothing")
    return found | {key: turn[key] for key in ("tool_call_id", "name") if role == "tool" and is_text(turn.get(key))}


def _is_unweighted(turn: Mapping[str, Any]) -> bool:
    """Whether a turn says that no model learns it: OpenAI's weight 0, or false in other formats."""
    weight = turn.get("weight")
    is_zero = isinstance(weight, int | float) and weight == 0
    return is_zero or any(turn.get(key) is False for key in _MARKS)


def _role(speaker: str, *, is_of_openai: bool) -> str:
    """The role of a speaker. OpenAI's own roles stay, such as `function`, in any letters."""
    if is_of_openai and speaker.lower() in _OPENAI:
        return speaker.lower()
    return _ROLES.get(speaker.lower(), speaker)


def _content(given: Any, turn: Mapping[str, Any]) -> str:
    """The text of a turn; of parts, those of its texts. Thoughts are left out."""
    if isinstance(given, str):
        return _content_of_json(given, turn)
    if not is_given(given):
        if not any(key in turn for key in _TEXTS) and not is_call(turn):
            raise UnusableRowError(f"a turn needs role and content, but a row has {shown(turn)}")
        return ""
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list | tuple):
        raise UnusableRowError(f"the content of a turn is text, but a row has {shown(turn)}")
    return "".join(_part(part) for part in given)


def _content_of_json(text: str, turn: Mapping[str, Any]) -> str:
    """A text; where it is a list of parts as JSON, the texts of these."""
    if _PARTS.match(text) is None:
        return text
    try:
        held = parsed(text)
    except ValueError:
        return text
    has_types = all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in held)
    return _content(held, turn) if has_types else text


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if kind in _THOUGHTS:
        return ""
    text = part.get("text") if isinstance(part, Mapping) and (kind in _TEXT_PARTS or kind is None) else None
    if not isinstance(text, str):
        raise UnusableRowError(f"a turn has a part of type {str(kind)[:40]}, which is no text")
    return text


def is_talk(value: Any) -> bool:
    """Whether a list holds turns: objects that say who speaks."""
    turns = value if isinstance(value, list | tuple) else [None]
    return all(isinstance(turn, Mapping) and {"role", "from"} & turn.keys() for turn in turns)
