"""The fields of a row. Each has the type that a layout expects, or a ValueError says what it is.

Line ends in texts become those of Unix. The inputs and outputs of tests are left as they are.
"""

from __future__ import annotations

import json
from typing import Any

Row = dict[str, Any]


def text(row: Row, name: str) -> str:
    """A field that must be text."""
    if not isinstance(row[name], str):
        shown = f"{type(row[name]).__name__} {row[name]!r:.80}"
        raise ValueError(f"the field {name} must be text, got {shown}")
    return unix(row[name])


def optional(row: Row, name: str) -> str:
    """A text that may be absent or null: then it is empty."""
    return text(row, name) if row.get(name) is not None else ""


def unix(value: str) -> str:
    """The text with the line ends of Unix."""
    return value.replace("\r\n", "\n").replace("\r", "\n")


def json_field(row: Row, name: str) -> Any:
    """A field that is JSON text in some files and plain data in others. Empty text gives None."""
    value = row[name]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except json.JSONDecodeError as error:
        raise ValueError(f"the field {name} must be JSON text, got {value!r:.80} ({error})") from error


def with_starter(statement: str, row: Row) -> str:
    """A statement, and below it the code that an answer starts with, if there is any."""
    starter = optional(row, "starter_code")
    return f"{statement}\n\n{starter}" if starter.strip() else statement
