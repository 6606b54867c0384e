"""Reads what `codec.py` has written, from a process that may be hostile.

In: bytes. Out: a value made of builtin values, of handles, and of instances of the prelude's
classes. FrameError for all other bytes.

    decode(encode([1, (2.5, {"a"})]))           # [1, (2.5, {'a'})]
    decode(b"cos\nsystem\n(S'ls'\ntR.")         # FrameError

The bytes are a pickle, and a pickle may call and change whatever it has on its stack. So there is
nothing on the stack that could be called or changed: only builtin values, the builder, and notes.
Every name in the bytes stands for the builder. It makes a note of its arguments and nothing else.
Only when the last byte is read are the notes replaced: by numbers, dates, types, handles or
instances, each from arguments of the right types.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import io
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in [
        *(int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, range),
        *(slice, object, type, type(None)),
    ]
}
"""The types that may be values themselves."""
SINGLE: dict[str, Any] = {"Ellipsis": Ellipsis, "NotImplemented": NotImplemented}
_ATOMS = frozenset({int, float, bool, str, bytes, bytearray, type(None)})
_OPEN = object()


class FrameError(ValueError):
    """Bytes that the codec did not make, or a value that it cannot send."""


class _Inert:
    """Something that pickle's BUILD cannot change. It has none of the methods that pickle calls."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise FrameError("a frame tried to change the codec")

    def __setstate__(self, state: Any) -> NoReturn:
        raise FrameError("a frame tried to change the codec")


class _Note(_Inert):
    """What the builder was asked for. It equals itself only."""

    __slots__ = ("given",)
    given: tuple[Any, ...]

    def __init__(self, given: tuple[Any, ...]) -> None:
        object.__setattr__(self, "given", given)


class _Builder(_Inert):
    """What stands for every name in the bytes."""

    __slots__ = ()

    def __call__(self, *given: Any) -> _Note:
        return _Note(given)


_THE_BUILDER = _Builder()


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


def _dict_items(pairs: Any) -> Any:
    # A pair that is no tuple could be an object that asks the other process for its items.
    if type(pairs) is not list or any(type(pair) is not tuple or len(pair) != 2 for pair in pairs):
        raise FrameError("the items of a dict need a list of pairs")
    return dict(pairs).items()


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
    "dict_keys": _made(lambda keys: dict.fromkeys(keys).keys(), list),
    "dict_values": _made(lambda values: dict(enumerate(values)).values(), list),
    "dict_items": _dict_items,
    "Decimal": _made(decimal.Decimal, str),
    "Fraction": _made(fractions.Fraction, int, int),
    "date": _made(datetime.date, int, int, int),
    "time": _made(datetime.time, *[int] * 4),
    "datetime": _made(datetime.datetime, *[int] * 7),
    "timedelta": _made(datetime.timedelta, *[int] * 3),
    "text": _made(str, str),
    "type": _made(TYPES.__getitem__, str),
    "single": _made(SINGLE.__getitem__, str),
}
_CHECK_HANDLE = _exact(str, int, str, str)


def _unknown_handle(owner: str, number: int, kind: str, name: str) -> Any:
    raise FrameError(f"a handle of a {name} is of no use here")


class Decoder(pickle.Unpickler):
    """Reads one value. `handle` gives what stands for the other side's object, or the own one."""

    def __init__(
        self,
        data: bytes | memoryview,
        handle: Callable[[str, int, str, str], Any] = _unknown_handle,
        classes: Mapping[str, type] = {},
    ) -> None:
        content = bytes(data)
        super().__init__(io.BytesIO(content))
        self._handle = handle
        self._classes = classes
        # Without notes, only READONLY_BUFFER makes what is not plain: a memoryview of a bytearray.
        self._is_looked_through = pickle.READONLY_BUFFER in content
        self._seen: dict[int, tuple[Any, Any]] = {}
        self._instances: dict[int, Any] = {}

    def read(self) -> Any:
        """The value. FrameError for bytes that the codec did not make."""
        try:
            value = self.load()
            return self._finished(value) if self._is_looked_through else value
        except FrameError:
            raise
        # A frame with nonsense can make the unpickler raise any of these and more.
        except Exception as error:
            raise FrameError(f"a frame cannot be read: {type(error).__name__}: {error!s:.200}") from None

    def find_class(self, module: str, name: str) -> Any:
        """The builder, whatever the bytes name. Nothing is imported or looked up."""
        if module != "builtins" or name != "__build_class__":
            raise FrameError(f"a frame names {module!r:.80}.{name!r:.80}")
        self._is_looked_through = True
        return _THE_BUILDER

    def _finished(self, value: Any) -> Any:
        """The value with its notes replaced. Below it lie the attributes of its instances."""
        made = self._replaced(value)
        done = 0
        while done < len(self._instances):
            if done not in self._instances:
                raise FrameError(f"a frame has no instance {done} of {len(self._instances)}")
            _fill(self._instances[done], self._replaced(self.load()))
            done += 1
        return made

    def _replaced(self, value: Any) -> Any:
        """The same value without notes. What can be changed is changed in place."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        known = self._seen.get(id(value))
        if known is None:
            replace = _REPLACE.get(kind)
            if replace is None:
                raise FrameError(f"a frame gives a {kind.__name__} of the codec as a value")
            known = self._seen[id(value)] = value, replace(self, value)
        if known[1] is _OPEN:
            raise FrameError("a frame has a circle through a value that cannot change")
        return known[1]

    def _each(self, items: Iterable[Any]) -> list[Any]:
        return [self._replaced(item) for item in items]

    def _list(self, value: list[Any]) -> Any:
        self._seen[id(value)] = value, value
        if not _ATOMS.issuperset(map(type, value)):
            value[:] = self._each(value)
        return value

    def _dict(self, value: dict[Any, Any]) -> Any:
        self._seen[id(value)] = value, value
        if not (_ATOMS.issuperset(map(type, value)) and _ATOMS.issuperset(map(type, value.values()))):
            keys, values = self._each(value), self._each(value.values())
            value.clear()
            value.update(zip(keys, values, strict=True))
        return value

    def _set(self, value: set[Any]) -> Any:
        if _ATOMS.issuperset(map(type, value)):
            return value
        self._seen[id(value)] = value, _OPEN  # a set cannot hold itself
        items = self._each(value)
        value.clear()
        value.update(items)
        return value

    def _fixed(self, value: Any) -> Any:
        """A tuple or a frozenset. With notes in it, another takes its place."""
        if _ATOMS.issuperset(map(type, value)):
            return value
        self._seen[id(value)] = value, _OPEN
        return type(value)(self._each(value))

    def _note(self, note: _Note) -> Any:
        self._seen[id(note)] = note, _OPEN
        kind, *given = self._each(note.given)
        made = _BUILT.get(kind) if type(kind) is str else None
        if made is not None:
            return made(*given)
        if kind == "instance":
            return self._instance(*given)
        if kind == "handle":
            _CHECK_HANDLE(*given)
            return self._handle(*given)
        raise FrameError(f"the codec builds no {kind!r:.40}")

    def _instance(self, number: Any, name: Any) -> Any:
        """The instance of a prelude's class with that number, empty at first."""
        if type(number) is not int or type(name) is not str or name not in self._classes:
            raise FrameError(f"a frame has an instance of {name!r:.80}, which is no class of the prelude")
        if number not in self._instances:
            self._instances[number] = object.__new__(self._classes[name])
        return self._instances[number]


_REPLACE: dict[type, Callable[[Decoder, Any], Any]] = {
    list: Decoder._list,
    dict: Decoder._dict,
    set: Decoder._set,
    tuple: Decoder._fixed,
    frozenset: Decoder._fixed,
    _Note: Decoder._note,
}


def _fill(made: Any, attributes: Any) -> None:
    """Set an instance's attributes. None may hide a method or a property of its class."""
    if type(attributes) is not dict:
        raise FrameError("the attributes of an instance are no dict")
    kind = type(made)
    for name in attributes:
        of_class = getattr(kind, name, None) if type(name) is str and name.isidentifier() else _OPEN
        if of_class is _OPEN or name.startswith("__") or callable(of_class) or hasattr(type(of_class), "__get__"):
            raise FrameError(f"a frame sets the attribute {name!r:.80} of a {kind.__name__}")
    made.__dict__.update(attributes)


def decode(
    data: bytes,
    handle: Callable[[str, int, str, str], Any] = _unknown_handle,
    classes: Mapping[str, type] = {},
) -> Any:
    """The value of the bytes. FrameError where they are not the codec's."""
    return Decoder(data, handle, classes).read()
