"""What a function needs of its own file: imports, and the constants and functions beside it.

In: a file as bytes, its logical lines of the module level, and its functions. Out: per function the
import statements that it needs, and its context: the text of the assignments, functions and small
classes of its file that it needs, and of those that they need. Both are in the order of the file.

    imports    one statement per module. Of several that bind one name, that of a standard module
               counts, otherwise the first; they stand in branches of `try` or `if`. What `*`
               imports is unknown. Relative imports are left out: they need the package
    context    None where nothing is needed, or where it would be longer than MAX_CONTEXT_BYTES:
               then the names stay undefined. A variable that the file changes after its assignment
               is no constant, so it stays undefined too

How: `builders.code.free_names` finds the names by a compiled scan. Here their texts are made.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from builders.code.free_names import needs

MAX_CONTEXT_BYTES = 8000
"""A longer context is none. The pool's own limit is `pool.max_context_chars`."""
MAX_CLASS_BYTES = 1500
"""A larger class is not taken into a context."""
_DEFINITION = re.compile(r"@|(?:async\s+)?def\b|class\b")
_COMMENT = re.compile(r"#[^\n]*|\\\n")


class Needs(NamedTuple):
    """What a function needs of its file. `imports` is None in a file of definitions alone."""

    imports: tuple[str, ...] | None
    context: str | None


NOTHING = Needs(None, None)


def surroundings(
    data: bytes,
    lines: np.ndarray,
    of_module: np.ndarray,
    functions: Sequence[tuple[int, int, int, int]],
) -> list[Needs]:
    """What each function needs.

    `lines` and `of_module` are those of `builders.code.outline.Outlined`. A function is given by
    its bytes and those of the first part of its name, `A` in `A.method`.
    """
    if not functions:
        return []
    found, counts, entries, num_entries, items, is_bare = needs(
        np.frombuffer(data + b"\n\0\0\0", np.uint8),
        lines,
        of_module,
        np.array(functions, np.int64),
        MAX_CONTEXT_BYTES,
        MAX_CLASS_BYTES,
    )
    numbers, made, at = found.tolist(), list[Needs](), 0
    bindings = _Bindings(data, entries[:num_entries])
    for num_names, num_parts in counts.tolist():
        middle, stop = at + num_names, at + num_names + num_parts
        texts = [data[slice(*items[n, :2].tolist())].decode() for n in numbers[middle:stop]]
        imports = None if is_bare else bindings.statements(tuple(numbers[at:middle]))
        made.append(Needs(imports, _joined(texts) or None))
        at = stop
    return made


def _joined(texts: Sequence[str]) -> str:
    """Assignments on lines that follow each other, definitions with two blank lines around them."""
    made = ""
    for before, text in pairwise(["", *texts]):
        is_apart = _DEFINITION.match(before) or _DEFINITION.match(text)
        made += ("\n\n\n" if is_apart else "\n") * bool(made) + text
    return made


class _Bindings:
    """The names that the imports of a file bind, and the statements for some of them."""

    def __init__(self, data: bytes, entries: np.ndarray) -> None:
        self._data, self._entries = data, entries
        self._of_name: dict[int, list[int]] | None = None
        self._made: dict[tuple[int, ...], tuple[str, ...]] = {(): ()}

    def statements(self, names: tuple[int, ...]) -> tuple[str, ...]:
        """Import statements that bind these names, in the order of the file."""
        made = self._made.get(names)
        if made is None:
            made = self._made[names] = self._statements(names)
        return made

    def _statements(self, names: tuple[int, ...]) -> tuple[str, ...]:
        modules: dict[str, list[str]] = {}
        for _, head, what in sorted(one for name in names for one in self._chosen(name)):
            whats = modules.setdefault(head if head else f"import {what}", [])
            if head and what not in whats:
                whats.append(what)
        return tuple(head + ", ".join(whats) for head, whats in modules.items())

    def _chosen(self, name: int) -> list[tuple[int, str, str]]:
        """Which imports of one name count: (place, `from ... import ` or nothing, what)."""
        if self._of_name is None:
            self._of_name = {}
            for place, uid in enumerate(self._entries[:, 2].tolist()):
                self._of_name.setdefault(uid, []).append(place)
        found = [self._import(place) for place in self._of_name[name]]
        if len(found) < 2 or not any(head or " as " in what for _, head, what in found):
            return found  # `import os` and `import os.path` belong together
        return [next((one for one in found if _top(one) in sys.stdlib_module_names), found[0])]

    def _import(self, place: int) -> tuple[int, str, str]:
        _, _, _, _, at, end, module_at, module_end = self._entries[place].tolist()
        what = self._data[at:end].decode()
        if not what.isidentifier():
            what = " ".join(_COMMENT.sub(" ", what).split())
        module = self._data[module_at:module_end].decode()
        return place, f"from {module} import " if module else "", what


def _top(one: tuple[int, str, str]) -> str:
    """The top-level module of an import."""
    return (one[1].split()[1] if one[1] else one[2].split()[0]).split(".")[0]
