"""Hiding keys: no message and no answer may carry one to a table or a terminal.

In: the keys of an endpoint. Out: a function that replaces them in a text. A placeholder such as
`none` is shorter than any key. It stays, as it would destroy ordinary words.

    hide = hider(["sk-1234567890"])
    hide("Incorrect key sk-1234567890")    # 'Incorrect key [key]'
"""

from __future__ import annotations

import json
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

    def hide(text: str) -> str:
        for key in ordered:
            text = text.replace(key, "[key]")
        return text

    return hide


def hidden(answer: Answer, hide: Callable[[str], str]) -> Answer:
    """An answer without the keys that its server may have repeated."""
    names = [name for name in ("text", "reasoning", "error") if getattr(answer, name, None)]
    changed = {name: new for name in names if (new := hide(getattr(answer, name))) != getattr(answer, name)}
    return cast(Answer, replace(cast(Any, answer), **changed)) if changed else answer
