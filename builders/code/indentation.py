"""The text of a method without its indentation, and with its strings as they are.

In: the lines of a definition, as they stand in the file, and the width of its indentation. Out: the
same definition at column 0.

    dedented("    def f():\\n        'Doc.'", 4, docstring=(21, 27))    # "def f():\\n    'Doc.'"

What moves:
    code        lines of code, comments and blank lines lose the indentation
    strings     lines that begin inside a string keep all their bytes, so its value stays
    docstring   its lines move with the code where its cleaned text (`inspect.cleandoc`) stays the
                same, otherwise it keeps all its bytes like other strings

Lines that stand further left than the definition, such as comments, stay as they are.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator
from functools import cache

Span = tuple[int, int]
"""Where something starts and ends, in characters of the text."""

_TRIPLE = re.compile(r"\"{3}|'{3}")
_STRING = re.compile(
    r"""(?sx) \#[^\n]*
    | (?P<string> \"{3} (?:[^"\\]|\\.|"(?!""))*+ \"{3} | '{3} (?:[^'\\]|\\.|'(?!''))*+ '{3}
                | "(?:[^"\\\n]|\\.)*+" | '(?:[^'\\\n]|\\.)*+' )"""
)
_FORMAT = re.compile(r"(?i)(?:\b|_)[rb]?[ft]r?[\"']")


def dedented(text: str, width: int, docstring: Span | None = None, is_simple: bool = False) -> str:
    """The text of a definition that parses, moved to the left by `width` characters.

    `docstring` is where the string literal stands that is the whole first statement of a function.
    `is_simple` promises that the text has no white space but blanks and line ends.
    """
    page_breaks = len(text[:width]) - len(text[:width].lstrip("\f"))  # they do not indent
    if page_breaks:
        text, width = text[page_breaks:], width - page_breaks
        docstring = (docstring[0] - page_breaks, docstring[1] - page_breaks) if docstring else None
        if not width:
            return text
    fixed = list(_fixed(text, width, docstring))
    if fixed:
        return _line_by_line(text, width, fixed)
    if is_simple and text.isascii() and " \n" not in text:
        return text[width:].replace("\n" + " " * width, "\n")
    return _indentation(width).sub("", text)


def _fixed(text: str, width: int, docstring: Span | None) -> Iterator[Span]:
    """The strings over more than one line that keep their bytes."""
    num_triples = len(_TRIPLE.findall(text))
    is_triple = docstring is not None and text[docstring[1] - 3 : docstring[1]] in ('"""', "'''")
    if docstring and is_triple and num_triples == 2 and "\\\n" not in text:
        strings = [docstring]
    elif num_triples or "\\\n" in text:
        strings = list(_strings(text))
    else:
        return
    for span in strings:
        literal = text[slice(*span)]
        is_docstring = docstring is not None and docstring[0] <= span[0] and span[1] == docstring[1]
        if "\n" in literal and not (docstring and is_docstring and _moves(text, width, docstring)):
            yield span


def is_one_literal(text: str) -> bool:
    """Whether the text of a string expression is one literal, and not several that are joined."""
    found = _STRING.search(text)
    return found is not None and found.end() == len(text) and (found.start() == 0 or text[: found.start()].isalpha())


def _moves(text: str, width: int, docstring: Span) -> bool:
    """Whether the cleaned text of a docstring stays the same when its lines move."""
    literal = text[slice(*docstring)]
    rest = literal.partition("\n")[2]
    if "\\" not in literal and "\t" not in rest and not _further_left(text[:width]).search(rest):
        return True
    moved = _indentation(width).sub("", rest)
    return _cleaned(literal) == _cleaned(literal[: len(literal) - len(rest)] + moved)


def _cleaned(literal: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value: str = ast.literal_eval(literal)
    return inspect.cleandoc(value)


def _strings(text: str) -> Iterator[Span]:
    """Where the strings of a definition stand. Prefixes of some are left out."""
    if sys.version_info >= (3, 12) and _FORMAT.search(text):
        yield from _tokenized_strings(text)
        return
    for found in _STRING.finditer(text):
        if found["string"]:
            yield found.span()


def _tokenized_strings(text: str) -> Iterator[Span]:
    """The same by Python's tokens, since f-strings may have strings with the same quotes inside."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    opened: list[tuple[int, int]] = []
    for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
        name = tokenize.tok_name[token.type]
        if name in ("FSTRING_START", "TSTRING_START"):
            opened.append(token.start)
        elif name in ("FSTRING_END", "TSTRING_END"):
            start = opened.pop()
            if not opened:
                yield starts[start[0] - 1] + start[1], starts[token.end[0] - 1] + token.end[1]
        elif name == "STRING" and not opened:
            yield starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]


def _line_by_line(text: str, width: int, fixed: list[Span]) -> str:
    made, start, waiting = [], 0, iter(fixed)
    span = next(waiting, None)
    for line in text.split("\n"):
        while span and span[1] <= start:
            span = next(waiting, None)
        is_inside = span is not None and span[0] < start
        made.append(line[width:] if not is_inside and not line[:width].strip() else line)
        start += len(line) + 1
    return "\n".join(made)


@cache
def _indentation(width: int) -> re.Pattern[str]:
    """At the start of a line: that much white space, or less of it on a blank line."""
    return re.compile(rf"^(?:[^\S\n]{{{width}}}|[^\S\n]{{1,{width}}}$)", re.MULTILINE)


@cache
def _further_left(prefix: str) -> re.Pattern[str]:
    """At the start of a line with text: anything but this indentation."""
    return re.compile(rf"^(?!{re.escape(prefix)})[^\S\n]*\S", re.MULTILINE)
