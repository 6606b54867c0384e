"""Types as ty writes them in its messages, compared: can a value of the one be one of the other?

In: two types, as texts. Out: whether they surely share no value.

    certain("str", "int")    # True: no int is a str
"""

import ast
import re

BUILT_IN = frozenset(
    [
        *("str", "int", "float", "complex", "bool", "bytes", "bytearray", "range", "slice"),
        *("list", "dict", "set", "frozenset", "tuple", "type", "None"),
    ]
)
"""Types that are not related, as far as a function can rely on it. bool and int are, and so are
int, float and complex, but ty knows these."""
_BYTES = frozenset({"bytes", "bytearray", "memoryview"})
"""Type checkers took each for bytes until PEP 688."""
_ABSTRACT = re.compile(
    r"^(?:object|Any|Unknown|Never|Divergent|LiteralString|Top|Bottom|Async\w+|Awaitable|Buffer|Callable|Collection|Container"
    r"|Coroutine|Generator|Hashable|ItemsView|Iterable|Iterator|KeysView|Mapping|MutableMapping|MutableSequence"
    r"|MutableSet|AbstractSet|Set|Reversible|Sequence|Sized|Supports\w+|ValuesView|IO|TextIO|BinaryIO|Number)$"
)
"""Types whose values may be of many classes, so that one of them may be right."""
_OPEN, _CLOSE = "([<", ")]>"


def certain(expected: str, found: str) -> bool:
    """Whether no value of the type `found` can be one of the type `expected`.

    Both are as the checker writes them. The checker says already that they do not fit; here only
    what it may have guessed is left out: types of elements, and what is known of a value in part.

    Example:
        certain("str", "int")  # True
        certain("list[str]", "list[int]")  # False: the list may be filled later
        certain("str", "str | int")  # False
    """
    members = _members(expected)
    return bool(members) and all(_unlike(members, one) for one in _members(found))


def _unlike(expected: list[str], found: str) -> bool:
    own = head(found)
    if not re.fullmatch(r"[A-Za-z_][\w.]*", own) or _ABSTRACT.match(own):
        return False
    for one in expected:
        other = head(one)
        if "@" in one or not other or other in ("Unknown", "Any", "object"):
            return False
        if (own == other and not _other_length(one, found)) or {own, other} <= _BYTES:
            return False
        if "[" in found and not found.startswith("Literal[") and other not in BUILT_IN:
            return False
    return True


def _other_length(expected: str, found: str) -> bool:
    """Whether both are tuples of fixed and different lengths."""
    sizes = []
    for one in (expected, found):
        if not one.startswith("tuple["):
            return False
        parts = _split(one[len("tuple[") : -1], ",")
        if "..." in parts or any(part.startswith("*") for part in parts):
            return False
        sizes.append(0 if parts == ["()"] else len(parts))
    return sizes[0] != sizes[1]


def head(name: str) -> str:
    """The class of a type: `list` of `list[int]`, `str` of `Literal["a"]`; "" for what has none."""
    if name.startswith("Literal["):
        return _class_of_literal(name[len("Literal[") : -1])
    if name.startswith("<class "):
        return "type"
    return "" if any(sign in name.partition("[")[0] for sign in "&~(<") else name.partition("[")[0].rstrip("*")


def _class_of_literal(values: str) -> str:
    try:
        kinds = {type(ast.literal_eval(value)).__name__ for value in _split(values, ",")}
    except (SyntaxError, ValueError):
        return ""
    return kinds.pop() if len(kinds) == 1 else ""


def _members(name: str) -> list[str]:
    return _split(name, "|")


def _split(text: str, sign: str) -> list[str]:
    """The parts of a type between the signs that stand in no bracket and in no string."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and text[place - 1] != "\\" else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _CLOSE and text[place - 1 : place + 1] != "->":
            depth -= 1
        elif letter == sign and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]
