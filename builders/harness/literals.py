"""Values as Python literals: how the cases of a task are stored.

In: a value of built-in types. Out: its text, from which `literal` of `checker.py` makes the same
value in the sandbox. Beside what Python calls a literal there are `inf`, `nan` and `set()`, which
`repr` writes, and `complex(-0.0, 1.0)`, because `repr` loses the sign of a zero. Nothing is
executed here.

    text([1, float("inf")])     # '[1, inf]'
    items("[[1, 'a,b'], (2,)]") # ["[1, 'a,b']", '(2,)']
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_PIECE = re.compile(
    r"""'(?:[^'\\]|\\.)*+'? | "(?:[^"\\]|\\.)*+"?   # a string, or what is left of one that does not end
      | \[[^][(){}'"]*\] | \([^][(){}'"]*\)     # a list or tuple without strings or other brackets
      | [][(){}] | ,""",
    re.VERBOSE,
)
"""What matters for the structure of a literal. All between is numbers, names, colons and blanks."""


def text(value: Any) -> str:
    """The literal of a value of built-in types."""
    written = repr(value)
    return _with_complex(value) if "j" in written and _has_complex(value) else written


def _has_complex(value: Any) -> bool:
    if isinstance(value, dict):
        return _has_complex([*value.keys(), *value.values()])
    return any(map(_has_complex, value)) if isinstance(value, list | tuple | set) else isinstance(value, complex)


def _with_complex(value: Any) -> str:
    if isinstance(value, complex):
        return f"complex({value.real!r}, {value.imag!r})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_with_complex(key)}: {_with_complex(item)}" for key, item in value.items()) + "}"
    if not isinstance(value, list | tuple | set) or not value:
        return repr(value)
    items = ", ".join(map(_with_complex, value))
    return f"[{items}]" if isinstance(value, list) else f"({items},)" if isinstance(value, tuple) else f"{{{items}}}"


def items(literal: str) -> list[str]:
    """The literals of the items of a list, without reading them: a list may be megabytes long.

    ValueError if it is no list, or if its brackets do not match.
    """
    body = literal.strip()
    if body[:1] != "[" or body[-1:] != "]":
        raise ValueError(f"{body!r:.80} is no list")
    return [found for found in _between_commas(body[1:-1]) if found]


def _between_commas(body: str) -> Iterator[str]:
    depth = start = 0
    for piece in _PIECE.finditer(body):
        sign = piece.group()
        if len(sign) > 1:
            continue
        if sign != ",":
            depth += 1 if sign in "[({" else -1
        elif depth == 0:
            yield body[start : piece.start()].strip()
            start = piece.end()
    if depth:
        raise ValueError(f"the brackets of {body!r:.80} do not match")
    yield body[start:].strip()
