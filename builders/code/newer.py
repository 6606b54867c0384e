"""The functions of a file whose syntax is newer than the running Python.

In: the text of a file that a newer Python parses: PEP 695 and 696 (type parameters), PEP 701
(f-strings that nest), PEP 750 (t-strings), PEP 758 (`except A, B:`). Out: where its functions
stand. Whoever reads them takes those that the running Python parses, and reports the others by
their lines.

    found = definitions(text)
    [(d.name, d.line) for d in found]    # [("Box.put", 12)]

How: one pass over logical lines in plain Python. It knows strings that nest, brackets, comments,
continuations and indentation. Files like these are rare, so it need not be fast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_HEADER = re.compile(r"(?P<function>(?:async[ \t\f]+)?def)[ \t\f]+(?P<name>\w+)|class[ \t\f]+(?P<class>\w+)|@")
_DOCSTRING = re.compile(r"\(*[rRuU]?[\"']")
_PREFIX = re.compile(r"[A-Za-z]{1,2}\Z")


@dataclass
class Placed:
    """A function of the module level or of a class: its name with its class, and its lines.

    `line` and `end_line` count from 1 and are included; the former is that of its first decorator.
    """

    name: str
    line: int
    end_line: int
    width: int
    """Its indentation, in characters."""
    is_documented: bool = False
    """Whether its first statement begins with a string."""


class _Line(NamedTuple):
    """A logical line: the place of its first character, its lines, and its indentation."""

    at: int
    first: int
    last: int
    column: int
    """Its indentation, where a tab goes on to the next multiple of eight."""
    width: int


class _Block(NamedTuple):
    """A block of lines, and the names of its definitions begin with; None for other blocks."""

    column: int
    prefix: str | None


def definitions(text: str) -> list[Placed]:
    """The functions in their order. Empty for a text whose strings or brackets do not close."""
    try:
        return list(_definitions(text))
    except IndexError:  # a string or a field goes on behind the end
        return []


def _definitions(text: str) -> Iterator[Placed]:
    blocks, opens = [_Block(0, "")], None  # what a block below the last line would be
    decorated, last = 0, 0
    current, current_column, is_header = None, 0, False
    for line in _logical_lines(text):
        if current and line.column <= current_column:
            current.end_line = last
            yield current
            current = None
        if line.column > blocks[-1].column:
            blocks.append(_Block(line.column, opens))
        while line.column < blocks[-1].column:
            blocks.pop()
        if current and is_header:
            current.is_documented = bool(_DOCSTRING.match(text, line.at))
        opens, is_header, last = None, False, line.last
        prefix = blocks[-1].prefix
        header = _HEADER.match(text, line.at) if prefix is not None else None
        if header and header.group() == "@":
            decorated = decorated or line.first
            continue
        if header and header["class"]:
            opens = f"{prefix}{header['class']}."
        elif header:
            current, current_column, is_header = (
                Placed(f"{prefix}{header['name']}", decorated or line.first, line.last, line.width),
                line.column,
                True,
            )
        decorated = 0
    if current:
        current.end_line = last
        yield current


def _logical_lines(text: str) -> Iterator[_Line]:
    at, number, end = 0, 1, len(text)
    while at < end:
        start, column = at, 0
        while at < end and text[at] in " \t\f":
            column = 0 if text[at] == "\f" else (column // 8 + 1) * 8 if text[at] == "\t" else column + 1
            at += 1
        begin, depth, is_blank = at, 0, at >= end or text[at] in "#\n"
        first = number
        while at < end and (text[at] != "\n" or depth > 0):
            c = text[at]
            if c == "#":
                at = _line_end(text, at)
                continue
            if c in "\"'":
                after = _string_end(text, at, _prefix(text, begin, at))
                number += text.count("\n", at, after)
                at = after
                continue
            depth += (c in "([{") - (c in ")]}")
            number += c == "\n"
            if c == "\\":
                at += 1
                number += text[at] == "\n"
            at += 1
        if not is_blank:
            yield _Line(begin, first, number, column, begin - start)
        at += 1
        number += 1


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return found if found >= 0 else len(text)


def _prefix(text: str, begin: int, quote: int) -> str:
    found = _PREFIX.search(text, max(begin, quote - 3), quote)
    return found.group().lower() if found else ""


def _string_end(text: str, at: int, prefix: str) -> int:
    """The place behind the string whose quote opens at `at`. IndexError if there is none."""
    is_format = "f" in prefix or "t" in prefix
    close = text[at] * (3 if text.startswith(text[at] * 3, at) else 1)
    at += len(close)
    while not text.startswith(close, at):
        if text[at] == "\\":
            at += 1 if is_format and text[at + 1] in "{}" else 2
        elif is_format and text[at] == "{":
            at = at + 2 if text[at + 1] == "{" else _field_end(text, at + 1)
        else:
            at += 1
    return at + len(close)


def _field_end(text: str, at: int) -> int:
    """The place behind the replacement field whose expression begins at `at`."""
    begin, depth = at, 0
    while True:
        c = text[at]
        if c in "\"'":
            at = _string_end(text, at, _prefix(text, begin, at))
            continue
        if c == "#":
            at = _line_end(text, at)
            continue
        if depth == 0 and c == "}":
            return at + 1
        if depth == 0 and c == ":":
            return _format_end(text, at + 1)
        depth += (c in "([{") - (c in ")]}")
        at += 1


def _format_end(text: str, at: int) -> int:
    while text[at] != "}":
        at = _field_end(text, at + 1) if text[at] == "{" else at + 1
    return at + 1
