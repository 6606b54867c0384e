"""Inside a box: the process of a solution. It runs the pieces, then serves calls from the checker.

In: the solution's pieces, and requests over a wire. Out: answers over the wire. Nothing here is
trusted by the checker: the solution can do what it likes with this process.

Requests are encoded tuples; the first item says what is asked:

    ("call", target, arguments, named)      target: a global's name, the number of a kept object, or
                                            None for the entry point
    ("get" | "set" | "item" | "next" | "iter" | "length" | "text", number, ...)
    ("value", name)                         the value of a global
    ("answers", number of inputs)           then one frame for all inputs: see `trial.answers`

Answers: ("return", value, changes), ("raise", names of the classes, arguments, text), and ("back",
number, arguments, named) or ("back next", number), which ask for something of the checker's first.
"""

from __future__ import annotations

import os
import struct
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import Any

from builders.sandbox.inside import codec, pieces, scripts
from builders.sandbox.inside.wire import Gone, Wire

_leave = os._exit
_ANSWER = struct.Struct("<IBd")
_FLUSH_S, _FLUSH_BYTES = 0.002, 1 << 15
_UNCHANGED = frozenset({int, float, bool, str, bytes, complex, type(None), range, frozenset})


def run(request: dict[str, Any], fds: dict[str, int]) -> None:
    """Load the solution, serve, and leave the process."""
    wire = Wire(fds["read"], fds["write"])
    try:
        if request["is_script"]:
            wire.send(codec.encode(("ready", [])))
            scripts.serve([request["prelude"], *request["solution"]], wire, fds)
        else:
            _Server(request, wire).serve()
    except Gone:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        pieces.flush()
        _leave(0)


class Back:
    """Stands for an object of the checker's: it can be called and iterated, and has attributes."""

    def __init__(self, server: _Server, number: int, kind: str) -> None:
        self._ask, self._number, self._kind = server.ask, number, kind

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._ask(("back", self._number, given, named))

    def __iter__(self) -> Back:
        return self

    def __next__(self) -> Any:
        return self._ask(("back next", self._number))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._ask(("back get", self._number, name))


class _Server:
    """The objects that the checker knows by number, and the answers to its requests."""

    def __init__(self, request: dict[str, Any], wire: Wire) -> None:
        self._wire = wire
        self._kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._backs: dict[int, Back] = {}
        self._entry_point = request["entry_point"]
        self._scope = pieces.module("solution", "__main__")
        self._classes: dict[str, type] = {}
        self._request = request

    def serve(self) -> None:
        if self._is_loaded():
            self._wire.send(self._encoded(("ready", _globals(self._scope))))
            while True:
                self._answer(self._read())

    def _is_loaded(self) -> bool:
        request, scope = self._request, self._scope
        try:
            pieces.load([request["prelude"]], ["prelude.py"], scope)
            self._classes.update(own_classes(scope, "solution"))
            pieces.load(request["solution"], pieces.names_of(request["solution"], "solution"), scope)
        except Gone:
            raise
        except BaseException as error:
            pieces.show(error, skipped=2)
            pieces.flush()
            self._wire.send(codec.encode(("failed", [_NAME(c) for c in _ANCESTORS(type(error))])))
            return False
        return True

    # -- the wire ----------------------------------------------------------------------------------

    def _read(self) -> tuple[Any, ...]:
        return codec.decode(self._wire.receive(), self._object, self._classes)

    def _encoded(self, message: tuple[Any, ...]) -> bytes:
        return codec.encode(message, self._keep, self._classes)

    def _keep(self, value: Any) -> codec.Handle:
        if type(value) is Back:
            return "checker", value._number, value._kind, ""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._kept)
            self._kept.append(value)
        return "solution", number, kind_of(value), type(value).__name__

    def _object(self, owner: str, number: int, kind: str, name: str) -> Any:
        if owner == "solution":
            return self._kept[number]
        return self._backs.setdefault(number, Back(self, number, kind))

    def ask(self, message: tuple[Any, ...]) -> Any:
        """Ask the checker for something of its own, and serve it meanwhile."""
        self._wire.send(self._encoded(message))
        while True:
            answer = self._read()
            if answer[0] == "return":
                return answer[1]
            if answer[0] == "raise":
                raise getattr(__import__("builtins"), answer[1], Exception)(*answer[2])
            self._answer(answer)

    # -- requests ----------------------------------------------------------------------------------

    def _answer(self, request: tuple[Any, ...]) -> None:
        if request[0] == "answers":
            self._answer_all(request[1])
            return
        try:
            content = self._encoded(("return", *self._done(*request)))
        except Gone:
            raise
        except BaseException as error:
            content = codec.encode(_raised(error))
        pieces.flush()
        self._wire.send(content)

    def _done(self, what: str, *given: Any) -> tuple[Any, ...]:
        if what == "call":
            return self._called(*given)
        if what == "value":
            return self._scope[given[0]], ()
        target = self._kept[given[0]]
        return _DO[what](target, *given[1:]), ()

    def _called(self, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """What the function gives, and the arguments that it changed in place.

        Only a function that gives nothing is taken to have worked in place. Otherwise a wrong
        solution could change an argument that the tests compare its answer with.
        """
        function = self._function(target)
        is_changeable = any(type(v) not in _UNCHANGED for v in (*arguments, *named.values()))
        before = [self._encoded((v,)) for v in (*arguments, *named.values())] if is_changeable else []
        value = function(*arguments, **named)
        if value is not None or not before:
            return value, ()
        after = (*arguments, *named.values())
        return None, [(n, v) for n, v in enumerate(after) if self._encoded((v,)) != before[n]]

    def _function(self, target: Any) -> Callable[..., Any]:
        if target is None:
            return eval(self._entry_point, self._scope)
        return self._kept[target] if isinstance(target, int) else self._scope[target]

    def _answer_all(self, eager: frozenset[int]) -> None:
        """Call the entry point on each input of the next frame. Answers go out in batches.

        Before an input in `eager`, which may take longer than the others, all answers are sent.
        """
        content = memoryview(self._wire.receive())
        place, number, size, sent_at = 0, 0, 0, perf_counter()
        ready: list[bytes] = []
        while place < len(content):
            length = int.from_bytes(content[place : place + 4], "little")
            given = content[place + 4 : place + 4 + length]
            place += 4 + length
            if ready and (number in eager or size > _FLUSH_BYTES or perf_counter() - sent_at > _FLUSH_S):
                self._wire.send_raw(b"".join(ready))
                ready, size, sent_at = [], 0, perf_counter()
            number += 1
            state, payload, seconds = self._answer_one(given)
            ready.append(_ANSWER.pack(len(payload), state, seconds))
            if len(payload) > _FLUSH_BYTES:  # to join it would be to copy it
                self._wire.send_raw(b"".join(ready))
                self._wire.send_raw(payload)
                ready, size, sent_at = [], 0, perf_counter()
            else:
                ready.append(payload)
                size += len(payload)
            del payload
        pieces.flush()
        self._wire.send_raw(b"".join(ready))

    def _answer_one(self, given: Any) -> tuple[int, bytes, float]:
        started = None
        try:
            arguments = codec.Decoder(given, self._object, self._classes).read()
            function = self._function(None)
            started = perf_counter()
            value = function(*arguments)
            seconds = perf_counter() - started
            return 0, self._encoded(value), seconds
        except Gone:
            raise
        except BaseException as error:
            seconds = perf_counter() - started if started is not None else 0.0
            return 1, said(error).encode("utf-8", "replace"), seconds


def said(error: BaseException) -> str:
    """The last line of a traceback: the class and the message."""
    try:
        text = traceback.format_exception_only(type(error), error)[-1].strip()
    except BaseException:  # the solution's own __str__
        text = _NAME(type(error))
    return text[:2000]


_DO: dict[str, Callable[..., Any]] = {
    "get": getattr,
    "set": setattr,
    "item": lambda target, key: target[key],
    "next": next,
    "iter": iter,
    "length": len,
    "text": str,
}


_NAME, _MODULE, _ANCESTORS = (type.__dict__[name].__get__ for name in ("__name__", "__module__", "__mro__"))
"""What a class says of itself, without asking its metaclass, which may raise."""


def own_classes(scope: dict[str, Any], module: str) -> dict[str, type]:
    """The classes that the prelude has defined, by name."""
    return {n: v for n, v in scope.items() if _is_class(v) and _MODULE(v) == module and _NAME(v) == n}


def _is_class(value: Any) -> bool:
    """Whether a value is a class. `isinstance` would ask the value, and a dead proxy raises."""
    return type in _ANCESTORS(type(value))


def kind_of(value: Any) -> str:
    """`function` for what can be called, `iterator`, or `object`."""
    if hasattr(type(value), "__next__"):
        return "iterator"
    return "function" if callable(value) else "object"


def _globals(scope: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Each global of the solution: its name, its kind, and of an exception its ancestors' names."""
    found: list[tuple[str, str, Any]] = []
    for name, value in list(scope.items()):
        if type(name) is not str or name.startswith("__"):
            continue
        if _is_class(value) and BaseException in _ANCESTORS(value):
            found.append((name, "exception", [_NAME(c) for c in _ANCESTORS(value)]))
        else:
            found.append((name, "function" if callable(value) else "value", None))
    return found


def _raised(error: BaseException) -> tuple[Any, ...]:
    try:
        arguments = [v if type(v) in (str, int, float) else repr(v) for v in error.args]
    except BaseException:  # the solution's own __repr__
        arguments = []
    return "raise", [_NAME(c) for c in _ANCESTORS(type(error))], arguments, said(error)
