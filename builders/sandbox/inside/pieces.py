"""Inside a box: running pieces of code one after the other in one module.

In: texts of Python. Each is compiled by itself, so that no piece can swallow the next one with an
open string. Out: the module's names, or the exception.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import traceback
import types
from atexit import _run_exitfuncs as _run_exit_functions
from collections.abc import Sequence
from threading import _shutdown as _wait_for_threads  # type: ignore[attr-defined]  # not public
from typing import Any

_compile, _exec = compile, exec


def module(name: str, *also: str) -> dict[str, Any]:
    """The names of a new, empty module that can be imported as `name` and by the other names."""
    made = types.ModuleType(name)
    for each in (name, *also):
        sys.modules[each] = made
    sys.argv = ["program.py"]
    return made.__dict__


def load(pieces: Sequence[str], names: Sequence[str], scope: dict[str, Any]) -> None:
    """Run the pieces in the scope. Tracebacks show their lines under the names."""
    for text, name in zip(pieces, names, strict=True):
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        _exec(_compile(text, name, "exec", dont_inherit=True), scope)


def names_of(pieces: Sequence[str], stem: str) -> list[str]:
    """The file names that tracebacks show: `tests.py`, or `solution_0.py`, `solution_1.py`."""
    return [f"{stem}_{position}.py" for position in range(len(pieces))]


def show(error: BaseException, skipped: int) -> None:
    """Print the traceback without its first frames, which are the sandbox's own."""
    place = error.__traceback__
    for _ in range(skipped):
        place = place.tb_next if place is not None else None
    with contextlib.suppress(Exception):
        traceback.print_exception(type(error), error, place)


def exit_code_of(stop: SystemExit) -> int:
    """The exit code that Python gives to a SystemExit."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    with contextlib.suppress(Exception):
        print(stop.code, file=sys.stderr)
    return 1


def finish() -> None:
    """What Python does at the end of a program: wait for its threads, run its exit functions."""
    for step in (_wait_for_threads, _run_exit_functions):
        with contextlib.suppress(BaseException):
            step()
    flush()


def flush() -> None:
    """Flush what the program printed. It may have closed or replaced the streams."""
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()  # type: ignore[union-attr]  # the program may have set it to None


def content(fd: int, start: int, end: int) -> bytes:
    """The bytes of a file between two places. They may be many, so they are read at once.

    The descriptor's position is shared with other processes: it is not used.
    """
    parts = []
    while start < end and (chunk := os.pread(fd, min(end - start, 1 << 30), start)):
        parts.append(chunk)
        start += len(chunk)
    return b"".join(parts)
