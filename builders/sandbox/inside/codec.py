"""Values between a solution's process and its checker's, as bytes that are safe to read.

In: a value. Out: bytes, and from these a value that is made of builtin types, of handles, and of
instances of the prelude's classes. The form is pickle's, since that is fast. But the reader
(`decoding.py`) builds nothing that the bytes name:

    decode(encode([1, (2.5, {"a"})]))           # [1, (2.5, {'a'})]
    decode(b"cos\nsystem\n(S'ls'\ntR.")         # FrameError

Exact builtin values keep their type. An instance of a subclass loses its class: a Counter becomes a
dict, an object that equals everything but derives from int becomes that int. numpy's numbers and
arrays become numbers and lists. Some values of the standard library (Decimal, Fraction, dates,
deque, the views of a dict) are taken apart and built again. Everything else is kept by its owner,
and the other side gets a handle.

A class of the prelude exists on both sides. Its instances travel as their attributes, one after the
other, so that a long chain of nodes needs no deep recursion and may have circles.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from builders.sandbox.inside.decoding import SINGLE, TYPES, Decoder, FrameError, decode

__all__ = ["Decoder", "FrameError", "Handle", "decode", "encode"]

Handle = tuple[str, int, str, str]
"""The owner (`solution` or `checker`), its number of it, its kind, the name of its class."""

_BUILD = __build_class__
"""Stands in the bytes for "build this". It is only a name there; the reader never calls it."""
_TYPE_NAMES = {kind: name for name, kind in TYPES.items()}
_SPECIAL = tuple(map(type, SINGLE.values()))


def _no_handle(value: Any) -> Handle:
    raise FrameError(f"a value of type {type(value).__name__} cannot be sent: it is not plain")


class Encoder(pickle.Pickler):
    """Writes one value. `keep` gives the handle of what stays with its owner."""

    def __init__(
        self,
        buffer: io.BytesIO,
        keep: Callable[[Any], Handle] = _no_handle,
        classes: Mapping[str, type] = {},
    ) -> None:
        super().__init__(buffer, 5)
        self._keep = keep
        self._classes = classes
        self._numbers: dict[int, int] = {}
        self._instances: list[Any] = []

    def write(self, value: Any) -> None:
        """Write the value, then the attributes of the prelude's instances in it."""
        self.dump(value)
        done = 0
        while done < len(self._instances):
            self.dump(dict(vars(self._instances[done])))
            done += 1

    def reducer_override(self, value: Any) -> Any:
        """What pickle does not know itself, as arguments of the reader's builder."""
        if value is _BUILD:
            return NotImplemented
        kind = type(value)
        taken = _TAKEN_APART.get(kind)
        if taken is not None:
            return _BUILD, taken(value)
        if self._classes.get(kind.__name__) is kind and hasattr(value, "__dict__"):
            return _BUILD, ("instance", self._number(value), kind.__name__)
        if kind is type and value in _TYPE_NAMES:
            return _BUILD, ("type", _TYPE_NAMES[value])
        for plain in _PLAIN:
            if issubclass(kind, plain):
                return _BUILD, ("value", _without_class(value, plain))
        if kind.__module__ == "numpy" and hasattr(value, "tolist"):
            return _BUILD, ("value", value.tolist())
        return _BUILD, ("handle", *self._keep(value))

    def _number(self, value: Any) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._instances)
            self._instances.append(value)
        return number


_PLAIN = (int, float, str, tuple, list, dict, set, frozenset, bytes, bytearray, complex)


def _without_class(value: Any, plain: Any) -> Any:
    """The value of an instance of a subclass. What the subclass overrides is not asked for."""
    if plain is float:
        return float.__float__(value)
    if plain in (int, complex):
        return plain.__add__(value, plain(0))
    if plain in (str, bytes, bytearray):
        return plain.__getitem__(value, slice(None))
    return plain(plain.__iter__(value)) if plain is not dict else dict(dict.items(value))


_VIEWS: dict[type, str] = {
    type(view): f"dict_{name}"
    for made in (dict[Any, Any](), collections.OrderedDict[Any, Any]())
    for name, view in (("keys", made.keys()), ("values", made.values()), ("items", made.items()))
}
_TAKEN_APART: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    complex: lambda v: ("complex", v.real, v.imag),
    range: lambda v: ("range", v.start, v.stop, v.step),
    slice: lambda v: ("slice", v.start, v.stop, v.step),
    collections.deque: lambda v: ("deque", list(v), v.maxlen),
    **dict.fromkeys(_VIEWS, lambda v: (_VIEWS[type(v)], list(v))),
    decimal.Decimal: lambda v: ("Decimal", str(v)),
    fractions.Fraction: lambda v: ("Fraction", v.numerator, v.denominator),
    datetime.date: lambda v: ("date", v.year, v.month, v.day),
    datetime.time: lambda v: (
        ("time", v.hour, v.minute, v.second, v.microsecond) if v.tzinfo is None else ("text", v.isoformat())
    ),
    datetime.datetime: lambda v: (
        ("datetime", v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond)
        if v.tzinfo is None
        else ("text", v.isoformat())
    ),
    datetime.timedelta: lambda v: ("timedelta", v.days, v.seconds, v.microseconds),
    **dict.fromkeys(_SPECIAL, lambda v: ("single", repr(v))),
}


def encode(
    value: Any,
    keep: Callable[[Any], Handle] = _no_handle,
    classes: Mapping[str, type] = {},
) -> bytes:
    """The bytes of a value. FrameError where something in it is not plain and cannot be kept."""
    buffer = io.BytesIO()
    Encoder(buffer, keep, classes).write(value)
    return buffer.getvalue()
