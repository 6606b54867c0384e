"""Inside a box: the checker's end of the connection to the solution's process.

In: what the tests ask of a name, an object or the entry point of the solution. Out: plain values,
copies of exceptions, and handles. All that arrives may be hostile.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from builders.sandbox.inside import codec, trial
from builders.sandbox.inside.names import modules_among, names_needed
from builders.sandbox.inside.solution import kind_of
from builders.sandbox.inside.wire import Gone, Late, Wire

_ANSWER = struct.Struct("<IBd")
_OUTPUT = struct.Struct("<IIBd")
_GRACE_S = 0.5
_BATCH_BYTES = 1 << 24
"""Inputs that are sent to the solution's process at once."""
_ERRORS = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


class SolutionFailed(BaseException):
    """The solution's pieces raised, and its process has printed why."""


class Remote:
    """An object of the solution's. It equals itself only; what it gives are plain values."""

    __slots__ = ("__weakref__", "_kind", "_link", "_name", "_number")

    def __init__(self, link: Link, number: int | str, kind: str, name: str) -> None:
        for slot, value in (("_link", link), ("_number", number), ("_kind", kind), ("_name", name)):
            object.__setattr__(self, slot, value)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._link.call(self._number, given, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != "__name__":
            raise AttributeError(name)
        if name == "__name__":
            return self._name
        return self._link.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self, name, value)

    def __iter__(self) -> Remote:
        return self if self._kind == "iterator" else self._link.ask("iter", self)

    def __next__(self) -> Any:
        return self._link.ask("next", self)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("item", self, key)

    def __contains__(self, item: Any) -> bool:
        # The solution's own __contains__ would say yes to everything.
        return any(found is item or found == item for found in self)

    def __len__(self) -> int:
        return int(self._link.ask("length", self))

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return str(self._link.ask("text", self))

    def __repr__(self) -> str:
        return f"<{self._name} of the solution>"


class Link:
    """The connection to the solution's process, and what each side knows of the other."""

    def __init__(self, wire: Wire, entry_point: str | None) -> None:
        self._wire = wire
        self._entry_point = entry_point
        self._kept: list[Any] = []
        self._remotes: dict[int, Remote] = {}
        self._errors: dict[str, type[BaseException]] = {}
        self.classes: dict[str, type] = {}
        self.has_run_out = False
        self.is_late = False
        self._broken = ""

    def check(self) -> None:
        """Raise again what the tests may have caught: the end of the solution's process."""
        if self.is_late:
            raise Late(self._broken)
        if self._broken:
            raise Gone(self._broken)

    # -- names -------------------------------------------------------------------------------------

    def bind(self, scope: dict[str, Any], tests: Sequence[str]) -> None:
        """Put the solution's names that the tests need into their scope."""
        state, offered = self._read()[:2]
        if state != "ready":
            self.has_run_out = "MemoryError" in offered
            raise SolutionFailed
        needed = names_needed(tests) - scope.keys()
        entry = self._entry_point or ""
        if entry.isidentifier():
            needed.add(entry)
        modules = modules_among(needed - {entry}, tests)
        for name, kind, ancestors in offered:
            if name in modules:
                scope[name] = importlib.import_module(modules[name])
            elif name in needed:
                scope[name] = self._offered(name, kind, ancestors)
        if entry and not entry.isidentifier():
            self._bind_method(scope, entry)

    def _offered(self, name: str, kind: str, ancestors: Any) -> Any:
        if kind == "function":
            return Remote(self, name, "function", name)
        if kind == "exception":
            made = type(name, (self._error(ancestors[1:]),), {})
            self._errors[name] = made
            return made
        return self.ask("value", None, name)

    def _bind_method(self, scope: dict[str, Any], entry: str) -> None:
        """Make `Solution().f` in the tests call the entry point. The class is nothing else."""
        name, _, method = entry.partition("().")
        if name.isidentifier() and method.isidentifier():
            scope[name] = type(name, (), {method: staticmethod(lambda *a, **k: self.call(None, a, k))})

    # -- requests ----------------------------------------------------------------------------------

    def call(self, target: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function of the solution. Arguments that it changes in place are changed here."""
        value, changes = self._exchange(("call", target, given, named))
        if value is not None:  # the solution's process would not have sent changes
            return value
        places = (*given, *named.values())
        for number, changed in changes:
            _change(places[number], changed)
        return value

    def ask(self, what: str, target: Remote | None, *given: Any) -> Any:
        """Anything else that can be asked of an object or of the solution."""
        numbers = () if target is None else (target._number,)
        if target is not None and isinstance(target._number, str):
            return self._exchange((what, self._number_of(target), *given))[0]
        return self._exchange((what, *numbers, *given), is_next=what == "next")[0]

    def _number_of(self, target: Remote) -> int:
        """The solution's number for a global that we know by its name."""
        known = self._exchange(("value", target._number))[0]
        if type(known) is not Remote:
            raise Gone("a function of the solution is no object")
        return int(known._number)

    def _exchange(self, request: tuple[Any, ...], is_next: bool = False) -> tuple[Any, Any]:
        self.check()
        self._send(codec.encode(request, self._keep, self.classes))
        while True:
            answer = self._read()
            if answer[0] == "return" and len(answer) == 3:
                return answer[1], answer[2]
            if answer[0] == "raise" and len(answer) == 4:
                self._raise(answer[1], answer[2], is_next)
            self._serve(answer)

    def _send(self, content: bytes) -> None:
        with self._noted():
            self._wire.send(content)

    def _read(self) -> tuple[Any, ...]:
        with self._noted():
            answer = self.decode(self._wire.receive())
            if type(answer) is not tuple or not answer:
                raise Gone("the solution's process sent a wrong frame")
            return answer

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Note that the connection is lost, in case that the tests catch everything."""
        try:
            yield
        except (Gone, Late) as error:
            self._broken = str(error)
            self.is_late = self.is_late or isinstance(error, Late)
            raise

    def _raise(self, names: Sequence[str], arguments: Sequence[Any], is_next: bool) -> NoReturn:
        """Raise the builtin exception, or the tests' own copy, that the solution has raised."""
        self.has_run_out = self.has_run_out or "MemoryError" in names
        kind = self._error(names)
        if issubclass(kind, StopIteration) and not is_next:
            # It would end a `map` or a loop of the tests early.
            raise RuntimeError("the solution raised StopIteration")
        try:
            error = kind(*arguments)
        except Exception:  # a class with other parameters
            error = Exception(*arguments)
        raise error

    def _error(self, names: Sequence[Any]) -> type[BaseException]:
        for name in names:
            known = self._errors.get(name) or _ERRORS.get(name)
            if known is not None:
                return known
        return Exception

    # -- the checker's own objects -----------------------------------------------------------------

    def _keep(self, value: Any) -> codec.Handle:
        if type(value) is Remote:
            number = value._number if isinstance(value._number, int) else self._number_of(value)
            return "solution", number, "", ""
        self._kept.append(value)
        return "checker", len(self._kept) - 1, kind_of(value), ""

    def _object(self, owner: str, number: int, kind: str, name: str) -> Any:
        if owner == "checker":
            if not 0 <= number < len(self._kept):
                raise codec.FrameError("a frame names an object that the checker never gave")
            return self._kept[number]
        remote = self._remotes.get(number)
        if remote is None:
            remote = self._remotes[number] = Remote(self, number, kind, name)
        return remote

    def _serve(self, request: tuple[Any, ...]) -> None:
        """Do what the solution asks: call or iterate what the tests gave to it."""
        try:
            result: tuple[Any, ...] = ("return", self._own(*request))
        except (Gone, Late):
            raise
        except Exception as error:
            result = ("raise", type(error).__name__, [v for v in error.args if type(v) in (str, int, float)])
        self._send(codec.encode(result, self._keep, self.classes))

    def _own(self, what: Any, number: Any, *given: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._kept):
            raise Gone("the solution asked for an object that the checker never gave")
        target = self._kept[number]
        if what == "back" and len(given) == 2:
            return target(*given[0], **given[1])
        if what == "back next" and kind_of(target) == "iterator":
            return next(target)
        if what == "back get" and len(given) == 1 and type(target).__module__ == "tests":
            if type(given[0]) is not str or given[0].startswith("_"):
                raise AttributeError(given[0])
            return getattr(target, given[0])
        raise AttributeError(f"the solution may not ask this of a {type(target).__name__}")

    # -- the module `trial` ------------------------------------------------------------------------

    def encode(self, value: Any) -> bytes:
        """The bytes of a value. What is not plain is kept here, and they hold a handle."""
        return codec.encode(value, self._keep, self.classes)

    def decode(self, data: bytes) -> Any:
        """The value of bytes, from the solution or from `encode`. Wrong bytes end the trial."""
        try:
            return codec.decode(data, self._object, self.classes)
        except codec.FrameError as error:
            self._broken = f"the solution's process sent a wrong frame: {error}"
            raise Gone(self._broken) from None

    def answers(self, inputs: Iterable[bytes], seconds: Sequence[float]) -> Iterator[trial.Answer]:
        """What the entry point gives for each list of arguments, in order.

        A call that takes longer than its `seconds` by this process's clock ends the trial.
        """
        least = min(seconds, default=0.0)
        for given, limits in _batches(inputs, seconds):
            eager = {n for n, s in enumerate(limits) if s > least}
            self.check()
            self._send(codec.encode(("answers", frozenset(eager)), self._keep, self.classes))
            self._send(_joined(given))
            for limit in limits:
                length, state, took = _ANSWER.unpack(self._take(_ANSWER.size, limit))
                payload = self._take(length, limit)
                if state:
                    self.has_run_out = self.has_run_out or payload.startswith(b"MemoryError")
                    yield "raised", payload.decode("utf-8", "replace"), took
                else:
                    yield "value", payload, took

    def _take(self, length: int, limit: float) -> bytes:
        try:
            return self._wire.take(length, limit + _GRACE_S)
        except (Gone, Late) as error:
            self._broken = str(error)
            self.is_late = isinstance(error, Late)
            raise

    def outputs(self, inputs: Iterable[str], seconds: Sequence[float]) -> Iterator[trial.Output]:
        """What the script prints for each input, in order. Limits as for `answers`."""
        for given, limits in _batches((text.encode("utf-8", "surrogateescape") for text in inputs), seconds):
            self.check()
            self._send(codec.encode(("outputs",)))
            self._send(_joined(given))
            for limit in limits:
                length, said, state, took = _OUTPUT.unpack(self._take(_OUTPUT.size, limit))
                text = self._take(length, limit).decode("utf-8", "replace")
                message = self._take(said, limit).decode("utf-8", "replace")
                self.has_run_out = self.has_run_out or message.startswith("MemoryError")
                yield ("raised" if state else "ended"), text, message, took


def _batches(inputs: Iterable[bytes], seconds: Sequence[float]) -> Iterator[tuple[list[bytes], list[float]]]:
    """Inputs and their limits, few enough that no process has to hold them all at once."""
    given: list[bytes] = []
    limits: list[float] = []
    size = 0
    for one, limit in zip(inputs, seconds, strict=True):
        if given and size + len(one) > _BATCH_BYTES:
            yield given, limits
            given, limits, size = [], [], 0
        given.append(one)
        limits.append(float(limit))
        size += len(one)
    if given:
        yield given, limits


def _joined(inputs: Sequence[bytes]) -> bytes:
    return b"".join([part for one in inputs for part in (len(one).to_bytes(4, "little"), one)])


def _change(own: Any, changed: Any) -> None:
    """Give an argument of the tests the content that the solution has left in it."""
    if type(own) in (list, bytearray) and type(changed) is type(own):
        own[:] = changed
    elif type(own) in (dict, set) and type(changed) is type(own):
        own.clear()
        own.update(changed)
    elif type(own) is type(changed) and hasattr(own, "__dict__"):
        vars(own).clear()
        vars(own).update(vars(changed))
