"""Inside a box: the module `trial`, which the tests may import.

In: the data of the trial, and who answers for the solution. Out: the module. The tests use it like
this:

    import trial
    cases = trial.decode(trial.data)
    inputs = [trial.encode(arguments) for arguments, _ in cases]
    for state, payload, seconds in trial.answers(inputs, [1.0] * len(cases)):
        assert state == "value" and trial.decode(payload) == ...
    trial.give(trial.encode("seen by the caller"))
"""

from __future__ import annotations

import signal
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, Protocol

from builders.sandbox.inside import codec
from builders.sandbox.inside.report import Report
from builders.sandbox.inside.solution import said
from builders.sandbox.inside.wire import Late

Answer = tuple[str, bytes | str, float]
"""`value` and the encoded value, or `raised` and the last line of the traceback; the seconds."""
Output = tuple[str, str, str, float]
"""`ended` or `raised`, what was printed, the last line of the traceback, the seconds."""


class Answering(Protocol):
    """Who answers for the solution."""

    def encode(self, value: Any) -> bytes:
        """The bytes of a value."""

    def decode(self, data: bytes) -> Any:
        """The value of bytes."""

    def answers(self, inputs: Iterable[bytes], seconds: Sequence[float]) -> Iterator[Answer]:
        """What the entry point gives for each list of arguments, in order."""

    def outputs(self, inputs: Iterable[str], seconds: Sequence[float]) -> Iterator[Output]:
        """What the script prints for each input, in order."""


def install(who: Answering, data: bytes, report: Report) -> None:
    """Make `import trial` work in this process."""
    made = types.ModuleType("trial", "What the tests of a trial may use.")
    made.__dict__.update(
        data=data,
        give=lambda content: report.say(b"G", bytes(content)),
        encode=who.encode,
        decode=who.decode,
        answers=who.answers,
        outputs=who.outputs,
    )
    sys.modules["trial"] = made


class Alone:
    """Answers in the tests' own process, where solution and tests share one."""

    encode = staticmethod(codec.encode)
    decode = staticmethod(codec.decode)

    def __init__(self, scope: dict[str, Any], entry_point: str | None, report: Report) -> None:
        self._scope = scope
        self._entry_point = entry_point

    def answers(self, inputs: Iterable[bytes], seconds: Sequence[float]) -> Iterator[Answer]:
        """Call the entry point on each input. An alarm ends a call that takes too long."""
        signal.signal(signal.SIGALRM, _late)
        for given, limit in zip(inputs, seconds, strict=True):
            arguments = codec.decode(given)
            started = perf_counter()
            signal.setitimer(signal.ITIMER_REAL, limit)
            try:
                value = eval(str(self._entry_point), self._scope)(*arguments)
                signal.setitimer(signal.ITIMER_REAL, 0)
                answer: tuple[str, bytes | str] = ("value", codec.encode(value))
            except (Late, MemoryError):
                raise
            except BaseException as error:
                answer = ("raised", said(error))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            yield (*answer, perf_counter() - started)

    def outputs(self, inputs: Iterable[str], seconds: Sequence[float]) -> Iterator[Output]:
        """Refused: a script runs in processes of its own."""
        raise RuntimeError("a script runs apart from its tests: set is_apart")


def _late(signum: int, frame: Any) -> None:
    raise Late("a call took too long")
