"""Answers that are none: those that may come whole next time, and those that would look the same.

In: what came. Out: the errors of reading it, and its beginning for a message.
"""

from __future__ import annotations

import json
from typing import Any

QUOTED_CHARS = 120

Json = dict[str, Any]


class MalformedError(Exception):
    """An answer without the parts that the protocol promises. The next one may have them."""


class UnreadableError(Exception):
    """An answer whose content has a format that we do not read. The next one will have it, too."""


def quoted(text: Any) -> str:
    """The beginning of what came, for a message."""
    try:
        said = text if isinstance(text, str) else json.dumps(text)
    except (RecursionError, ValueError):
        said = "(too deep to be shown)"
    said = " ".join(said[: 4 * QUOTED_CHARS].split())
    return repr(said if len(said) <= QUOTED_CHARS else said[:QUOTED_CHARS] + "…")
