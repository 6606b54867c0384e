"""The outline of a Python file: where its functions and classes stand, found without a parser.

In: UTF-8 text with LF line ends. Out: one row per function or class of the module level and of
class bodies. An odd file gives None: only a parser can read it.

How: one compiled pass over logical lines that knows strings, comments, brackets, continuations and
indentation. The rows are right for every file that parses and is not odd. This module does not say
whether a file parses: `builders.code.validity` does.

A file is odd when it has something rare that Python and a linter read differently: names outside
ASCII, page breaks before code, deep nesting, endless numbers, or f-strings with replacement fields
that are more than a plain expression.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builders.code.compiled import compiled

CLASS, FUNCTION, ASYNC_FUNCTION = range(3)
"""Kinds of definitions."""
UNDOCUMENTED, DOCUMENTED, UNCLEAR = range(3)
"""What the body begins with: something else, one string literal alone, or what only a parser can
tell.
"""

MAX_BRACKETS, MAX_LEVELS = 60, 60
MAX_CHAIN, MAX_ELIFS, MAX_FIELD, MAX_NUMBER = 400, 400, 200, 4000
"""Deeper or longer code makes a file odd. CPython's own limits are well above these: 200 brackets,
100 levels, 4300 digits, and its stack.
"""

_PLAIN, _WORD, _SPACE, _NEWLINE, _QUOTE, _HASH, _OPEN, _CLOSE, _COMMA, _COLON, _BACKSLASH, _DIGIT, _ODD = range(13)
_DEF, _CLASS_WORD, _ASYNC, _ELIF, _LAMBDA, _IMPORT, _FROM, _GLOBAL = (
    np.frombuffer(w, np.uint8) for w in (b"def", b"class", b"async", b"elif", b"lambda", b"import", b"from", b"global")
)
(_KIND, _PARENT, _START, _LINE, _DEF_AT, _WIDTH, _NAME_AT, _NAME_END, _HEADER_END, _DOC, _DOC_AT, _DOC_END, _END, _END_LINE) = range(14)  # fmt: skip
_OF_MODULE = np.array([_START, _END, _NAME_AT, _NAME_END, _KIND])


class Definition(NamedTuple):
    """A function or class; places are byte offsets, lines count from 1."""

    kind: int
    parent: int
    """The row of its class in the outline; -1 at module level."""
    start: int
    """Where the line of its first decorator starts, or its own line."""
    line: int
    def_at: int
    """Where its `def`, `async` or `class` stands."""
    width: int
    """Its indentation, in bytes."""
    name_at: int
    name_end: int
    header_end: int
    """The place behind the colon of the header."""
    doc: int
    doc_at: int
    doc_end: int
    """The first statement's string with prefix and quotes. For UNCLEAR only the start counts."""
    end: int
    """The end of its last line, before the line end. For a class in a class, of its header."""
    end_line: int


class Outlined(NamedTuple):
    """The definitions of a file, and its module level in bytes."""

    rows: np.ndarray
    """(n, 14) one `Definition` a row."""
    lines: np.ndarray
    """(n, 2) start and end of logical lines: those of the module level and its branches that define
    nothing, and `global` statements anywhere."""

    @property
    def of_module(self) -> np.ndarray:
        """(m, 5) start, end, start and end of the name, and kind of the definitions of the module
        level."""
        return self.rows[self.rows[:, _PARENT] < 0][:, _OF_MODULE]

    def documented(self, methods: bool) -> tuple[list[Definition], int]:
        """The functions that begin with a string, or may, and the number of all functions."""
        is_function = self.rows[:, _KIND] != CLASS
        if not methods:
            is_function &= self.rows[:, _PARENT] < 0
        chosen = self.rows[is_function & (self.rows[:, _DOC] != UNDOCUMENTED)]
        return [Definition._make(row) for row in chosen.tolist()], int(is_function.sum())


def outline(data: bytes) -> list[Definition] | None:
    """The definitions of a file in their order; None for an odd file.

    The result is meaningless for a file that does not parse.
    """
    found = outlined(data)
    return None if found is None else [Definition._make(row) for row in found.rows.tolist()]


def outlined(data: bytes) -> Outlined | None:
    """The same, with what else the module level has."""
    if b"\\N{" in data:  # a character name that Python or the linter may not know
        return None
    rows = np.empty((len(data) // len("def f():0\n") + 1, 14), np.int64)
    lines, num_lines = np.empty((len(data) // len("a\n") + 1, 2), np.int64), np.zeros(1, np.int64)
    found = _outline(np.frombuffer(data + b"\n\0\0\0", np.uint8), len(data) + 1, rows, lines, num_lines)
    return None if found < 0 else Outlined(rows[:found].copy(), lines[: num_lines[0]].copy())


def _byte_kinds() -> np.ndarray:
    kinds = np.full(256, _ODD, np.uint8)
    for characters, kind in (
        (b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", _WORD),
        (b"0123456789", _DIGIT),
        (b" \t", _SPACE),
        (b"\n", _NEWLINE),
        (b"'\"", _QUOTE),
        (b"#", _HASH),
        (b"([{", _OPEN),
        (b")]}", _CLOSE),
        (b",", _COMMA),
        (b":", _COLON),
        (b"\\", _BACKSLASH),
        (b".;=<>!+-*/%&|^~@`$?", _PLAIN),
    ):
        kinds[list(characters)] = kind
    return kinds


_KINDS = _byte_kinds()


@compiled
def _is_word(data, at, end, word):
    """Whether `word` stands at a place and is not part of a longer word."""
    if at + len(word) >= end:
        return False
    for k in range(len(word)):
        if data[at + k] != word[k]:
            return False
    after = _KINDS[data[at + len(word)]]
    return after != _WORD and after != _DIGIT and after != _QUOTE


@compiled
def _is_definition(data, at, end):
    first = data[at]
    if first == 100:
        return _is_word(data, at, end, _DEF)
    if first == 99:
        return _is_word(data, at, end, _CLASS_WORD)
    return first == 97 and _is_word(data, at, end, _ASYNC)


@compiled
def _skip_spaces(data, i, end):
    while i < end and _KINDS[data[i]] == _SPACE:
        i += 1
    return i


@compiled
def _string_end(data, i, end):
    """The place behind the string whose opening quote stands at `i`, and the width of its quotes.

    The place is -1 when the string does not close.
    """
    quote = data[i]
    if data[i + 1] == quote and data[i + 2] == quote:
        i += 3
        while i < end:
            if data[i] == 92:
                i += 1
            elif data[i] == quote and data[i + 1] == quote and data[i + 2] == quote:
                return i + 3, 3
            i += 1
        return -1, 3
    i += 1
    while i < end:
        if data[i] == quote:
            return i + 1, 1
        if data[i] == 10:
            return -1, 1
        i += 2 if data[i] == 92 else 1
    return -1, 1


@compiled
def _is_plain_format(data, i, end, is_raw):
    """Whether every reader understands the replacement fields of an f-string's content alike.

    Fields must be short, with at most one field in their format. They may have no backslash,
    comment, starred expression or odd conversion, and only text in their own strings.
    """
    depth, opened = 0, 0
    while i < end:
        c = data[i]
        if depth == 0:
            if c == 123 and data[i + 1] == 123:
                i += 1
            elif c == 123:
                depth, opened = 1, i
                k = i + 1
                while k < end and (_KINDS[data[k]] == _SPACE or data[k] == 10):
                    k += 1
                if data[k] == 42:
                    return False
            elif c == 125:
                if i + 1 >= end or data[i + 1] != 125:
                    return False
                i += 1
            elif c == 92 and not is_raw and data[i + 1] != 123 and data[i + 1] != 125:
                i += 1
        elif c == 123:
            depth += 1
            if depth > 2:
                return False
        elif c == 125:
            depth -= 1
            if i - opened > MAX_FIELD:
                return False
        elif c == 33:
            if data[i + 1] != 61:
                is_known = data[i + 1] == 114 or data[i + 1] == 115 or data[i + 1] == 97
                if not is_known or (data[i + 2] != 125 and data[i + 2] != 58):
                    return False
        elif c == 39 or c == 34:
            k = i + 1
            while k < end and data[k] != c:
                if data[k] in (123, 125, 33, 35, 58, 92):
                    return False
                k += 1
            i = k
        elif c == 35 or _KINDS[c] == _BACKSLASH or _KINDS[c] == _ODD:
            return False
        i += 1
    return depth == 0 and i == end


@compiled
def _is_string_fine(data, prefix, quote, after, width):
    """Whether the string, whose prefix starts at `prefix`, can be delimited without a parser."""
    is_format, is_raw = False, False
    for k in range(prefix, quote):
        letter = data[k] | 32
        is_format |= letter == 102 or letter == 116
        is_raw |= letter == 114
    return not is_format or _is_plain_format(data, quote + width, after - width, is_raw)


@compiled
def _docstring(data, i, end):
    """What the statement at `i` begins with, and where its string starts and ends."""
    at = i
    while i < at + 2 and _KINDS[data[i]] == _WORD:
        i += 1
    if _KINDS[data[i]] != _QUOTE:
        return (UNCLEAR if data[at] == 40 else UNDOCUMENTED), at, at
    for k in range(at, i):
        if data[k] | 32 != 114 and data[k] | 32 != 117:
            return UNDOCUMENTED, at, at
    after, _ = _string_end(data, i, end)
    if after < 0:
        return UNDOCUMENTED, at, at
    follows = _skip_spaces(data, after, end)
    is_alone = data[follows] == 10 or data[follows] == 35 or data[follows] == 59
    return (DOCUMENTED if is_alone else UNCLEAR), at, after


@compiled
def _logical_line(data, i, end, line, is_function, place):
    """Where the logical line that starts at `i` ends, and the line number there; -1 when it is odd.

    `place[0]` is set to the place behind the first colon outside brackets, or 0 when there is none.
    """
    bases = np.zeros(MAX_BRACKETS + 2, np.int64)
    depth, chain, word, before = 0, 0, -1, _SPACE
    place[0] = 0
    while i < end:
        kind = _KINDS[data[i]]
        if kind in (_WORD, _DIGIT):
            if before != _WORD and before != _DIGIT:
                word = i
                chain += 1
                if is_function and depth == 0 and place[0] == 0 and _is_word(data, i, end, _LAMBDA):
                    return -1, line
            elif i - word > MAX_NUMBER:
                return -1, line
        elif kind == _QUOTE:
            prefix = word if before == _WORD else i
            after, width = _string_end(data, i, end)
            if after < 0 or not _is_string_fine(data, prefix, i, after, width):
                return -1, line
            if width == 3 or after - i > 2:
                for k in range(i, after):
                    line += data[k] == 10
            i = after
            before = _QUOTE
            continue
        elif kind == _NEWLINE:
            line += 1
            if depth == 0:
                return i + 1, line
        elif kind == _HASH:
            while data[i] != 10:
                i += 1
            before = _HASH
            continue
        elif kind == _OPEN:
            depth += 1
            chain += 1
            if depth > MAX_BRACKETS:
                return -1, line
            bases[depth] = chain
        elif kind == _CLOSE:
            if depth == 0:
                return -1, line
            chain = bases[depth]
            depth -= 1
        elif kind == _COMMA:
            chain = bases[depth]
        elif kind == _COLON:
            if depth == 0 and place[0] == 0:
                place[0] = i + 1
        elif kind == _BACKSLASH:
            if data[i + 1] != 10 or i + 2 >= end:
                return -1, line
            line += 1
            follows = _KINDS[data[_skip_spaces(data, i + 2, end)]]
            if follows in (_NEWLINE, _HASH, _BACKSLASH):
                return -1, line
            i += 1
        elif kind == _ODD:
            return -1, line
        elif kind == _PLAIN:
            chain = 0 if data[i] == 59 else chain + 1
        if chain > MAX_CHAIN:
            return -1, line
        before = kind
        i += 1
    return -1, line


@compiled
def _outline(data, end, rows, lines, num_lines):
    """Fill the rows and return their number, or -1 for an odd file. Fill the lines likewise.

    The data must end in a line end and three bytes of padding.
    """
    columns = np.zeros(MAX_LEVELS + 2, np.int64)
    # the row of the class or function; -1 for the module, -2 for anything else
    owners = np.full(MAX_LEVELS + 2, -1, np.int64)
    place, elifs = np.zeros(1, np.int64), 0
    level, found, begun, begun_line = 0, 0, -1, 0
    opened, opened_column = -1, 0  # the function that lines belong to
    opened_class = -1  # the class of the module level that lines belong to
    inside = -1  # the column of the outermost definition that lines belong to, in a branch or not
    # of the logical line before: its row, its end, its last line
    previous, last_end, last_line = -2, 0, 0
    i, line = 0, 1
    while i < end:
        start, column = i, 0
        while _KINDS[data[i]] == _SPACE:
            column = (column // 8 + 1) * 8 if data[i] == 9 else column + 1
            i += 1
        if data[i] == 12:
            while data[i] == 12 or _KINDS[data[i]] == _SPACE:
                i += 1
            if data[i] != 10:
                return -1
        if data[i] == 35:
            while data[i] != 10:
                i += 1
        if data[i] == 10:
            i += 1
            line += 1
            continue
        if data[i] == 92 or i >= end:
            return -1

        first_line, is_first = line, column > columns[level]
        if is_first:
            level += 1
            if level > MAX_LEVELS:
                return -1
            columns[level], owners[level] = column, previous
        while columns[level] > column:
            level -= 1
        if opened >= 0 and column <= opened_column:
            rows[opened, _END], rows[opened, _END_LINE], opened = last_end, last_line, -1
        if opened_class >= 0 and column == 0:
            rows[opened_class, _END], rows[opened_class, _END_LINE], opened_class = last_end, last_line, -1
        if column <= inside:
            inside = -1
        owner = owners[level]
        if is_first and owner >= 0 and rows[owner, _KIND] != CLASS:
            rows[owner, _DOC], rows[owner, _DOC_AT], rows[owner, _DOC_END] = _docstring(data, i, end)
        is_recorded = owner == -1 or (owner >= 0 and rows[owner, _KIND] == CLASS)

        kind, at = -1, i
        if is_recorded and data[i] == 100 and _is_word(data, i, end, _DEF):
            kind, at = FUNCTION, i + 3
        elif is_recorded and data[i] == 99 and _is_word(data, i, end, _CLASS_WORD):
            kind, at = CLASS, i + 5
        elif is_recorded and data[i] == 97 and _is_word(data, i, end, _ASYNC):
            at = _skip_spaces(data, i + 5, end)
            if _is_word(data, at, end, _DEF):
                kind, at = ASYNC_FUNCTION, at + 3
        elif data[i] == 101 and _is_word(data, i, end, _ELIF):
            elifs += 1
            if elifs > MAX_ELIFS:
                return -1
        after, line = _logical_line(data, i, end, line, kind > CLASS, place)
        if after < 0:
            return -1
        previous, last_end, last_line = -2, after - 1, line - 1
        if inside < 0 and (kind >= 0 or _is_definition(data, i, end)):
            inside = column
        is_line = owner == -1 and kind < 0 and data[i] != 64
        if data[i] == 105 or data[i] == 102:
            is_line |= inside < 0 and (_is_word(data, i, end, _IMPORT) or _is_word(data, i, end, _FROM))
        elif data[i] == 103:
            is_line |= _is_word(data, i, end, _GLOBAL)
        # in a branch of the module level
        is_line |= inside < 0 and column > 0 and _KINDS[data[i]] == _WORD
        if is_line:
            lines[num_lines[0], 0], lines[num_lines[0], 1] = i, after - 1
            num_lines[0] += 1
        if kind >= 0:
            at = _skip_spaces(data, at, end)
            stop = at
            while _KINDS[data[stop]] == _WORD or _KINDS[data[stop]] == _DIGIT:
                stop += 1
            if stop == at or place[0] == 0 or found >= len(rows):
                return -1
            row = rows[found]
            row[_KIND], row[_PARENT], row[_DEF_AT], row[_WIDTH] = kind, owner, i, i - start
            row[_START], row[_LINE] = (begun, begun_line) if begun >= 0 else (start, first_line)
            row[_DOC], row[_DOC_AT], row[_DOC_END] = UNDOCUMENTED, 0, 0
            row[_NAME_AT], row[_NAME_END], row[_HEADER_END] = at, stop, place[0]
            row[_END], row[_END_LINE] = last_end, last_line
            body = _skip_spaces(data, place[0], end)
            if data[body] == 10 or data[body] == 35:
                previous = found
                if kind != CLASS:
                    opened, opened_column = found, column
                elif owner == -1:
                    opened_class = found
            elif kind != CLASS:
                if data[body] == 92:
                    return -1
                row[_DOC], row[_DOC_AT], row[_DOC_END] = _docstring(data, body, end)
            found += 1
        if data[i] != 64:
            begun = -1
        elif begun < 0:
            begun, begun_line = start, first_line
        i = after
    if opened_class >= 0:
        rows[opened_class, _END], rows[opened_class, _END_LINE] = last_end, last_line
    if opened >= 0:
        rows[opened, _END], rows[opened, _END_LINE] = last_end, last_line
    return found
