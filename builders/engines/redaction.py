"""Hiding keys: no message and no answer may carry one to a table or a terminal.

In: the keys of an endpoint. Out: a function that replaces them in a text. A placeholder such as
`none` is shorter than any key. It stays, as it would destroy ordinary words.

What an endpoint sends is hidden as it came, before it is decoded and before it is cut: a key that
JSON writes with escapes is found, and no message shows the first half of one.

    hide = hider(["sk-1234567890"])
    hide("Incorrect key sk-1234567890")           # 'Incorrect key [key]'
    hide(r'{"error": "sk\u002d1234567890"}')      # '{"error": "[key]"}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

from builders.engines.types import ChoiceCompletion, Completion

SHORTEST_KEY = 8

Answer = TypeVar("Answer", Completion, ChoiceCompletion)


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these secrets, also as JSON writes them, by `[key]`."""
    keys = {secret for secret in secrets if len(secret) >= SHORTEST_KEY}
    written = {json.dumps(key)[1:-1] for key in keys} | {key.replace("/", "\\/") for key in keys}
    # Longer ones first: one key may be the beginning of another.
    ordered = sorted(keys | written, key=len, reverse=True)
    escaped = re.compile(
        "|".join("".join(map(_in_any_form, key)) for key in sorted(keys, key=len, reverse=True)) or r"\Z\A."
    )

    def hide(text: str) -> str:
        for key in ordered:
            text = text.replace(key, "[key]")
        # The search for escapes is slow, and few texts have any of ASCII.
        return escaped.sub("[key]", text) if "\\u00" in text else text

    return hide


def hidden_bytes(content: bytes, hide: Callable[[str], str]) -> bytes:
    """The bytes of an answer without keys, whatever its encoding keeps of ASCII."""
    text = content.decode("latin-1")
    changed = hide(text)
    return content if changed == text else changed.encode("latin-1")


def _in_any_form(sign: str) -> str:
    """A pattern of one sign of a key: itself, or as an escape of JSON."""
    code = f"{ord(sign):04x}"
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in code)
    return rf"(?:\\?{re.escape(sign)}|\\u{digits})"


def hidden(answer: Answer, hide: Callable[[str], str]) -> Answer:
    """An answer without the keys that its server may have repeated."""
    names = [name for name in ("text", "reasoning", "error") if getattr(answer, name, None)]
    changed = {name: new for name in names if (new := hide(getattr(answer, name))) != getattr(answer, name)}
    return cast(Answer, replace(cast(Any, answer), **changed)) if changed else answer
