"""Values between a solution's process and its checker's, as bytes that are safe to read.

In: a value. Out: bytes, and from these a value that is made of builtin types, of handles, and of
instances of the prelude's classes. The form is pickle's, since that is fast. But the reader builds
nothing that the bytes name:

    decode(encode([1, (2.5, {"a"})]))           # [1, (2.5, {'a'})]
    decode(b"cos\nsystem\n(S'ls'\ntR.")         # FrameError

Exact builtin values keep their type. An instance of a subclass loses its class: a Counter becomes a
dict, an object that equals everything but derives from int becomes that int. numpy's numbers and
arrays become numbers and lists. Some values of the standard library (Decimal, Fraction, dates,
deque) are taken apart and built again. Everything else is kept by its owner, and the other side
gets a handle.

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
from typing import Any, NoReturn

Handle = tuple[str, int, str, str]
"""The owner (`solution` or `checker`), its number of it, its kind, the name of its class."""

_BUILD = __build_class__
"""Stands in the bytes for "build this". It is only a name there; the reader never calls it."""
_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in [
        *(int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, range),
        *(slice, object, type, type(None)),
    ]
}
_TYPE_NAMES = {kind: name for name, kind in _TYPES.items()}
_SINGLE: dict[str, Any] = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}
_SPECIAL = tuple(map(type, _SINGLE.values()))


class FrameError(ValueError):
    """Bytes that the codec did not make, or a value that it cannot send."""


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
            if isinstance(value, plain):
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


_TAKEN_APART: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    complex: lambda v: ("complex", v.real, v.imag),
    range: lambda v: ("range", v.start, v.stop, v.step),
    slice: lambda v: ("slice", v.start, v.stop, v.step),
    collections.deque: lambda v: ("deque", list(v), v.maxlen),
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


class _Builder:
    """What stands for every name in the bytes. It can be called with a kind and plain arguments."""

    __slots__ = ("_decoder",)
    _decoder: Decoder

    def __init__(self, decoder: Decoder) -> None:
        object.__setattr__(self, "_decoder", decoder)

    def __call__(self, kind: Any, *given: Any) -> Any:
        made = _BUILT.get(kind) if type(kind) is str else None
        if made is not None:
            return made(*given)
        if kind == "instance":
            return self._decoder.instance(*given)
        if kind == "handle":
            return self._decoder.handle(*given)
        raise FrameError(f"the codec builds no {kind!r:.40}")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrameError("a frame tried to change the codec")

    def __setstate__(self, state: Any) -> NoReturn:
        # pickle's BUILD would set attributes if this were not here
        raise FrameError("a frame tried to change the codec")


def _exact(*kinds: type) -> Callable[..., None]:
    """A check that the arguments have these very types."""

    def check(*given: Any) -> None:
        if len(given) != len(kinds) or any(type(v) is not k for v, k in zip(given, kinds, strict=True)):
            raise FrameError(f"a frame has arguments of other types: {[type(v).__name__ for v in given]}")

    return check


def _made(build: Callable[..., Any], *kinds: type) -> Callable[..., Any]:
    check = _exact(*kinds)

    def make(*given: Any) -> Any:
        check(*given)
        return build(*given)

    return make


def _deque(items: Any, longest: Any) -> Any:
    if type(items) is not list or not (longest is None or type(longest) is int):
        raise FrameError("a deque needs a list")
    return collections.deque(items, longest)


def _slice(*given: Any) -> slice:
    if len(given) != 3:
        raise FrameError("a slice has three parts")
    return slice(*given)


_BUILT: dict[str, Callable[..., Any]] = {
    "value": lambda value: value,
    "complex": _made(complex, float, float),
    "range": _made(range, int, int, int),
    "slice": _slice,
    "deque": _deque,
    "Decimal": _made(decimal.Decimal, str),
    "Fraction": _made(fractions.Fraction, int, int),
    "date": _made(datetime.date, int, int, int),
    "time": _made(datetime.time, *[int] * 4),
    "datetime": _made(datetime.datetime, *[int] * 7),
    "timedelta": _made(datetime.timedelta, *[int] * 3),
    "text": _made(str, str),
    "type": _made(_TYPES.__getitem__, str),
    "single": _made(_SINGLE.__getitem__, str),
}


def _unknown_handle(owner: str, number: int, kind: str, name: str) -> Any:
    raise FrameError(f"a handle of a {name} is of no use here")


class Decoder(pickle.Unpickler):
    """Reads one value. `handle` gives what stands for the other side's object, or the own one."""

    def __init__(
        self,
        data: bytes,
        handle: Callable[[str, int, str, str], Any] = _unknown_handle,
        classes: Mapping[str, type] = {},
    ) -> None:
        super().__init__(io.BytesIO(data))
        self._handle = handle
        self._classes = classes
        self._instances: list[Any] = []

    def read(self) -> Any:
        """The value. FrameError for bytes that the codec did not make."""
        global _num_reading
        _num_reading += 1
        try:
            value = self.load()
            done = 0
            while done < len(self._instances):
                _fill(self._instances[done], self.load())
                done += 1
            return value
        except FrameError:
            raise
        # A frame with nonsense can make the unpickler raise any of these and more.
        except Exception as error:
            raise FrameError(f"a frame cannot be read: {type(error).__name__}: {error!s:.200}") from None
        finally:
            _num_reading -= 1

    def find_class(self, module: str, name: str) -> Any:
        """The builder, whatever the bytes name. Nothing is imported or looked up."""
        if module != "builtins" or name != "__build_class__":
            raise FrameError(f"a frame names {module!r:.80}.{name!r:.80}")
        return _Builder(self)

    def instance(self, number: Any, name: Any) -> Any:
        """The instance of a prelude's class with that number, empty at first."""
        if type(number) is not int or type(name) is not str or name not in self._classes:
            raise FrameError(f"a frame has an instance of {name!r:.80}, which is no class of the prelude")
        if 0 <= number < len(self._instances):
            return self._instances[number]
        if number != len(self._instances):
            raise FrameError(f"a frame has instance {number} after {len(self._instances)} others")
        made: Any = object.__new__(self._classes[name])
        self._instances.append(made)
        return made

    def handle(self, *given: Any) -> Any:
        """What stands for an object that is not plain."""
        _CHECK_HANDLE(*given)
        return self._handle(*given)


_CHECK_HANDLE = _exact(str, int, str, str)
_num_reading = 0


def is_reading() -> bool:
    """Whether a frame is being read. Until it is whole, none of its objects may do anything."""
    return _num_reading > 0


def guard(kind: type) -> None:
    """Forbid pickle's BUILD on instances of a prelude's class, which would set any attribute."""
    original = getattr(kind, "__setstate__", None)

    def __setstate__(self: Any, state: Any) -> None:  # noqa: N807  pickle looks for this name
        if is_reading():
            raise FrameError("a frame tried to change an instance")
        if original is not None:
            original(self, state)
        else:
            slots = state[1] if isinstance(state, tuple) else {}
            vars(self).update((state[0] if isinstance(state, tuple) else state) or {})
            for name, value in (slots or {}).items():
                setattr(self, name, value)

    try:
        kind.__setstate__ = __setstate__  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise FrameError(f"instances of {kind.__name__} cannot be sent") from None


def _fill(made: Any, attributes: Any) -> None:
    """Set an instance's attributes. None may hide a method of its class."""
    if type(attributes) is not dict:
        raise FrameError("the attributes of an instance are no dict")
    kind = type(made)
    for name, value in attributes.items():
        if type(name) is not str or name.startswith("__") or callable(getattr(kind, name, None)):
            raise FrameError(f"a frame sets the attribute {name!r:.80} of a {kind.__name__}")
        object.__setattr__(made, name, value)


def encode(
    value: Any,
    keep: Callable[[Any], Handle] = _no_handle,
    classes: Mapping[str, type] = {},
) -> bytes:
    """The bytes of a value. FrameError where something in it is not plain and cannot be kept."""
    buffer = io.BytesIO()
    Encoder(buffer, keep, classes).write(value)
    return buffer.getvalue()


def decode(
    data: bytes,
    handle: Callable[[str, int, str, str], Any] = _unknown_handle,
    classes: Mapping[str, type] = {},
) -> Any:
    """The value of the bytes. FrameError where they are not the codec's."""
    return Decoder(data, handle, classes).read()
