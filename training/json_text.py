"""JSON text, read so that nothing of it is lost: no key of an object may stand twice.

In: a text. Out: its value. JSON does not say which of two values of one key counts, and Python
keeps the last one without a word. A key may be there again with the same value.

    parsed('{"a": 1, "a": 2}')    # RepeatedKeyError: the key 'a' stands twice, with other values
"""

from __future__ import annotations

import json
from typing import Any

Pairs = list[tuple[str, Any]]


class RepeatedKeyError(ValueError):
    """An object whose key stands twice, with two values."""


def parsed(text: str) -> Any:
    """The value of a text. ValueError says what is wrong, also for too deep or too long values."""
    try:
        return json.loads(text, object_pairs_hook=distinct)
    except RecursionError as error:
        raise ValueError("lists or objects stand inside each other too deeply") from error


def distinct(pairs: Pairs) -> dict[str, Any]:
    """An object of its pairs, as `object_pairs_hook` gives them. RepeatedKeyError for a key that
    has two values.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        # as text, for 1 is true in Python, and NaN is not NaN
        lost = next((key for key, value in pairs if repr(value) != repr(found[key])), None)
        if lost is not None:
            raise RepeatedKeyError(f"the key {lost[:100]!r} stands twice, with other values: keep one")
    return found


def joined(pairs: Pairs) -> dict[str, Any]:
    """An object in which a key that stands twice has the list of its values: for a search."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = [found[key], value] if key in found else value
    return found
