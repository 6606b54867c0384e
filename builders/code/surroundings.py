"""What a function needs of its own file: imports, and the constants and functions beside it.

In: a file as bytes, its statements of the module level, and its functions. Out: per function the
import statements that it needs, and its context: the text of the assignments, functions and small
classes of its file that it needs, and of those that they need. Both are in the order of the file.

    imports    one statement per module. Of several that bind one name, that of a standard module
               counts, otherwise the first; they stand in branches of `try` or `if`. What `*`
               imports is unknown
    context    None where nothing is needed, or where it would be longer than MAX_CONTEXT_CHARS:
               then the names stay undefined

How: a compiled scan finds which names of the module level a text mentions outside of strings,
comments and attributes. Where the text may bind such a name itself, Python's symbol table decides.
"""

from __future__ import annotations

import re
import symtable
import sys
import warnings
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from builders.code.compiled import compiled

MAX_CONTEXT_CHARS = 8000
"""A longer context is none. The pool's own limit is `pool.max_context_chars`."""
MAX_CLASS_CHARS = 1500
"""A larger class is not taken into a context."""

_ASSIGNED = re.compile(rb"([A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?=(?!=)")
_IMPORT = re.compile(r"(?:from\s+(\S+)\s+)?import\s+(.*)", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*|\\\n")
_DEF, _AS, _CLASS, _IN, _FOR, _IMPORT_WORD, _GLOBAL, _NONLOCAL, _DEL, _LAMBDA, _CASE = (
    np.frombuffer(word, np.uint8)
    for word in (b"def", b"as", b"class", b"in", b"for", b"import", b"global", b"nonlocal", b"del", b"lambda", b"case")
)


class Item(NamedTuple):
    """A part of the module level that binds one name: its bytes, and whether it is a class."""

    name: str
    start: int
    end: int
    is_class: bool = False


class Import(NamedTuple):
    """One name that an import binds. `module` is None for `import x`."""

    name: str
    module: str | None
    what: str

    @property
    def top(self) -> str:
        """The top-level module; empty for a relative import."""
        return (self.module or self.what.split()[0]).split(".")[0]


class Needs(NamedTuple):
    """What a function needs of its file."""

    imports: tuple[str, ...]
    context: str | None


class Module:
    """The module level of a file.

    `statements` are (start, end) of all logical lines of the module level and of the imports in its
    branches, in their order; `definitions` its functions and classes.
    """

    def __init__(self, data: bytes, statements: Iterable[tuple[int, int]], definitions: list[Item]) -> None:
        self._data = data
        self._imports: list[Import] = []
        items = list(definitions)
        self.is_bare = True
        """Whether the file has definitions alone: such a text may be a row of a dataset."""
        for start, end in statements:
            text = data[start:end]
            if text.startswith((b"from ", b"import ", b"from\t", b"import\t", b"from\\", b"import\\")):
                self.is_bare = False
                self._imports += _imports(text.decode())
            elif found := _ASSIGNED.match(text):
                self.is_bare = False
                items.append(Item(found[1].decode(), start, end))
        self._items = {item.name: item for item in sorted(items, key=lambda item: item.start)}
        self._bound: dict[str, list[Import]] = {}
        for one in self._imports:
            self._bound.setdefault(one.name, []).append(one)
        self._names = [*self._bound, *(name for name in self._items if name not in self._bound)]
        self._uses: dict[str, list[str]] | None = None

    def needs(self, functions: list[tuple[int, int, str]]) -> list[Needs | None]:
        """Per function, given by its bytes and its first name. None in a bare file without items."""
        uses = self._used([(start, end) for start, end, _ in functions])
        return [
            self._closed([name for name in used if name != own or name in self._bound], own)
            for used, (_, _, own) in zip(uses, functions, strict=True)
        ]

    def _closed(self, used: list[str], own: str) -> Needs:
        """The imports and the context of a function that uses some names."""
        seen, waiting, size = set(used), [n for n in used if n not in self._bound], 0
        while waiting:
            item = self._items[waiting.pop()]
            size += item.end - item.start + 1
            if size > MAX_CONTEXT_CHARS or (item.is_class and item.end - item.start > MAX_CLASS_CHARS):
                return Needs(self._statements(used), None)
            more = [n for n in self._item_uses()[item.name] if n not in seen and n != own]
            seen.update(more)
            waiting += [n for n in more if n not in self._bound]
        parts = sorted((self._items[n] for n in seen if n not in self._bound), key=lambda item: item.start)
        texts = [self._data[item.start : item.end].decode() for item in parts]
        return Needs(self._statements(seen), "\n".join(texts) or None)

    def _item_uses(self) -> dict[str, list[str]]:
        if self._uses is None:
            items = list(self._items.values())
            found = self._used([(item.start, item.end) for item in items])
            self._uses = {item.name: used for item, used in zip(items, found, strict=True)}
        return self._uses

    def _used(self, ranges: list[tuple[int, int]]) -> list[list[str]]:
        """The names of the module level that each part of the file takes from there."""
        if not self._names or not ranges:
            return [[] for _ in ranges]
        blob = np.frombuffer("\0".join([*self._names, ""]).encode(), np.uint8)
        found = _mentions(np.frombuffer(self._data + b"\n\0\0", np.uint8), np.array(ranges, np.int64), blob)
        marks = found.reshape(len(ranges), -1)
        uses = []
        for (start, end), row in zip(ranges, marks, strict=True):
            places = np.flatnonzero(row[: len(self._names)])
            names = [self._names[n] for n in places]
            if (row[places] > 1).any():
                free = _globals(self._data[start:end].decode())
                names = [n for n, mark in zip(names, row[places].tolist(), strict=True) if mark == 1 or n in free]
            uses.append(names)
        return uses

    def _statements(self, names: Iterable[str]) -> tuple[str, ...]:
        chosen = {id(one) for name in names for one in self._chosen(name)}
        modules: dict[str, list[str]] = {}
        for one in self._imports:
            if id(one) in chosen:
                head = f"import {one.what}" if one.module is None else f"from {one.module} import "
                whats = modules.setdefault(head, [])
                if one.module is not None and one.what not in whats:
                    whats.append(one.what)
        return tuple(head + ", ".join(whats) for head, whats in modules.items())

    def _chosen(self, name: str) -> list[Import]:
        found = self._bound.get(name, [])
        if len(found) < 2:
            return found
        if all(one.module is None and " as " not in one.what for one in found):
            return found  # `import os` and `import os.path`
        return [next((one for one in found if one.top in sys.stdlib_module_names), found[0])]


def _imports(text: str) -> list[Import]:
    """The names that a statement binds; none for `*` and for what is no import."""
    plain = _COMMENT.sub(" ", text).split(";")[0]
    found = _IMPORT.match(plain.strip())
    if not found:
        return []
    made = []
    for part in found[2].replace("(", " ").replace(")", " ").split(","):
        what = " ".join(part.split())
        if what and what != "*":
            name = what.rpartition(" as ")[2]
            made.append(Import(name if found[1] or " as " in what else name.split(".")[0], found[1], what))
    return made


def _globals(text: str) -> set[str]:
    """The names that a part of a file takes from its module. All of them if it does not parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = symtable.symtable("if 1:\n" + text if text[:1] in " \t" else text, "module", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return set(re.findall(r"\w+", text))
    found, waiting = set[str](), [table]
    while waiting:
        scope = waiting.pop()
        waiting += scope.get_children()
        top = scope is table
        found.update(s.get_name() for s in scope.get_symbols() if s.is_referenced() and (s.is_global() or top))
    return found


@compiled
def _is_letter(c):
    return (97 <= c <= 122) or (65 <= c <= 90) or c == 95 or (48 <= c <= 57) or c > 127


@compiled
def _hash(data, start, end):
    state = np.uint64(0xCBF29CE484222325)
    for k in range(start, end):
        state = (state ^ np.uint64(data[k])) * np.uint64(0x100000001B3)
    return state ^ (state >> np.uint64(29))


@compiled
def _is_one(data, at, length, word):
    same = length == len(word)
    for k in range(min(length, len(word))):
        same = same and data[at + k] == word[k]
    return same


@compiled
def _word_kind(data, at, length):
    """1 for words that bind names up to `in` or the end of the line, 2 for `in`, 3 for words that bind
    the next name, 4 for `def`, 0 for others.
    """
    if _is_one(data, at, length, _DEF):
        return 4
    if _is_one(data, at, length, _AS) or _is_one(data, at, length, _CLASS):
        return 3
    if _is_one(data, at, length, _IN):
        return 2
    is_list = _is_one(data, at, length, _FOR) or _is_one(data, at, length, _IMPORT_WORD)
    is_list |= _is_one(data, at, length, _GLOBAL) or _is_one(data, at, length, _NONLOCAL)
    is_list |= _is_one(data, at, length, _DEL) or _is_one(data, at, length, _LAMBDA) or _is_one(data, at, length, _CASE)
    return 1 if is_list else 0


@compiled
def _mentions(data, ranges, blob):
    """A mark for each range and name: 0 not mentioned, 1 mentioned, 2 perhaps bound there too.

    Names end with a null byte each. The marks are those of the ranges in a row.
    """
    num = 0
    for k in range(len(blob)):
        num += blob[k] == 0
    size = 4
    while size < 4 * num:
        size *= 2
    keys, values = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
    begin, number = 0, 0
    for k in range(len(blob)):
        if blob[k] == 0:
            key = _hash(blob, begin, k)
            slot = np.int64(key & np.uint64(size - 1))
            while values[slot] >= 0:
                slot = (slot + 1) & (size - 1)
            keys[slot], values[slot] = key, number
            begin, number = k + 1, number + 1
    marks = np.zeros(len(ranges) * num, np.uint8)
    for r in range(len(ranges)):
        i, end = ranges[r, 0], ranges[r, 1]
        depth, in_header, in_targets, before_word, last = 0, False, False, 0, 10
        # before_word: 1 behind a word that binds the next name; last: the last character that counts
        is_bracket_line = False
        while i < end:
            c = data[i]
            if c == 35:
                while i < end and data[i] != 10:
                    i += 1
                continue
            if c == 10:
                if depth == 0:
                    before_word, in_targets, last = 0, False, 10
                i += 1
                continue
            if c == 32 or c == 9 or c == 12 or c == 92:
                i += 1
                continue
            if c == 34 or c == 39:
                quote, width = c, 1
                if data[i + 1] == c and data[i + 2] == c:
                    width = 3
                is_format = False
                k = i - 1
                while (
                    k >= ranges[r, 0]
                    and i - k <= 2
                    and (
                        (data[k] | 32) == 114 or (data[k] | 32) == 102 or (data[k] | 32) == 98 or (data[k] | 32) == 116
                    )
                ):
                    is_format |= (data[k] | 32) == 102 or (data[k] | 32) == 116
                    k -= 1
                is_type = in_header and last != 61 and width == 1
                i += width
                fields, is_spec = 0, False
                while i < end:
                    d = data[i]
                    if d == 92:
                        i += 2
                        continue
                    if d == quote and (width == 1 or (data[i + 1] == quote and data[i + 2] == quote)):
                        i += width
                        break
                    if is_format and d == 123:
                        if data[i + 1] == 123 and fields == 0:
                            i += 2
                            continue
                        fields, is_spec = fields + 1, False
                    elif is_format and d == 125:
                        fields = max(0, fields - 1)
                        is_spec = fields > 0
                    elif is_format and fields == 1 and d == 58:
                        is_spec = True
                    if (
                        ((fields > 0 and not is_spec) or is_type)
                        and _is_letter(d)
                        and not _is_letter(data[i - 1])
                        and data[i - 1] != 46
                    ):
                        k = i
                        while k < end and _is_letter(data[k]):
                            k += 1
                        key = _hash(data, i, k)
                        slot = np.int64(key & np.uint64(size - 1))
                        while values[slot] >= 0:
                            if keys[slot] == key:
                                at = r * num + values[slot]
                                marks[at] = max(marks[at], 1)
                            slot = (slot + 1) & (size - 1)
                        i = k
                        continue
                    i += 1
                last = 34
                continue
            if not _is_letter(c):
                if c == 40 or c == 91 or c == 123:
                    is_bracket_line = is_bracket_line or last == 10
                    depth += 1
                elif c == 41 or c == 93 or c == 125:
                    depth -= 1
                elif c == 58 and depth == 0:
                    in_header = False
                if last == 10 and c != 40 and c != 91:
                    is_bracket_line = False
                last = c
                i += 1
                continue
            k = i
            while k < end and _is_letter(data[k]):
                k += 1
            length = k - i
            if last == 10:
                is_bracket_line = False
            key = _hash(data, i, k)
            slot = np.int64(key & np.uint64(size - 1))
            which = -1
            while values[slot] >= 0:
                if keys[slot] == key:
                    which = values[slot]
                slot = (slot + 1) & (size - 1)
            if which >= 0 and last != 46:
                n = k
                while n < end and (data[n] == 32 or data[n] == 9):
                    n += 1
                after = data[n]
                is_equals = after == 61 and data[n + 1] != 61
                is_keyword = is_equals and depth > 0 and not in_header and (last == 40 or last == 44 or last == 10)
                if not is_keyword:
                    is_doubtful = before_word == 1 or in_targets or is_bracket_line
                    is_doubtful |= in_header and (last == 40 or last == 44 or last == 42)
                    is_doubtful |= is_equals or (after == 58 and (data[n + 1] == 61 or (depth == 0 and last == 10)))
                    is_doubtful |= depth == 0 and (after == 44 or last == 44 or last == 42)
                    is_doubtful |= (
                        depth == 0
                        and n + 1 < end
                        and data[n + 1] == 61
                        and after != 61
                        and after != 33
                        and after != 60
                        and after != 62
                    )
                    is_doubtful |= (
                        depth == 0 and n + 2 < end and data[n + 2] == 61 and (after == data[n + 1]) and after != 61
                    )
                    at = r * num + which
                    marks[at] = max(marks[at], 2 if is_doubtful else 1)
            before_word = 0
            kind = _word_kind(data, i, length)
            if kind == 1:
                in_targets = True
            elif kind == 2:
                in_targets = False
            elif kind >= 3:
                in_header = in_header or kind == 4
                before_word = 1
            last = 97
            i = k
    return marks
