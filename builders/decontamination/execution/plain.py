"""Answers as plain values: what a class of the function's own says of itself is not asked.

The confirmation sends this text into the sandbox, where it stands in a namespace of its own: a
function under test may be called `list`. In: an answer. Out: the same value, or where it holds an
instance of a subclass of a builtin type, the value without that class.

    plain([Always(1)])    # [1], whatever Always.__eq__ says
"""

import collections
import types
import typing

LEAVES = (bool, int, float, complex, str, bytes, bytearray)
KNOWN = (collections.Counter, collections.OrderedDict, collections.defaultdict)
NOTHING = object()
"""Equal to no answer."""


def plain(value):
    """The answer without the classes of the solution. One that is plain stays the same object."""
    kind = type(value)
    if value is None or kind in LEAVES or kind in KNOWN:
        return value
    base: typing.Any = next(
        (one for one in (*LEAVES, list, tuple, set, frozenset, dict) if issubclass(kind, one)), None
    )
    if base is None:
        return NOTHING if has_own_equality(kind) else value
    if base in (int, complex):
        return base.__add__(value, 0)
    if base is float:
        return float.__float__(value)
    if base in LEAVES:
        return base.__getitem__(value, slice(None))
    if base is dict:
        pairs = list(dict.items(value))
        held = [part for pair in pairs for part in pair]
        made = [plain(part) for part in held]
        is_same = kind is dict and all(map(is_identical, held, made))
        return value if is_same else dict(zip(made[::2], made[1::2], strict=True))
    held = list(base.__iter__(value))
    made = [plain(part) for part in held]
    return value if kind is base and all(map(is_identical, held, made)) else base(made)


def is_identical(one, other):
    """Whether two are the same object."""
    return one is other


def has_own_equality(kind):
    """Whether a class of the solution compares itself."""
    return isinstance(kind.__eq__, types.FunctionType) and kind.__eq__.__globals__.get("__name__") == "solution"
