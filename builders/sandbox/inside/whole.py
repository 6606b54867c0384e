"""Inside a box: a program that runs in one process, from its first line to its last.

In: the pieces of a program, or of a solution and its tests. Out: only when the last piece is done,
the key is sent to the host. An early `sys.exit(0)` does not give it.
"""

from __future__ import annotations

import linecache
import os
from typing import Any

from builders.sandbox.inside import pieces, trial
from builders.sandbox.inside.report import Report
from builders.sandbox.inside.snapshot import Snapshot, check_no_liars, with_own_builtins
from builders.sandbox.inside.wire import Late

_leave = os._exit
_exec = exec


def run(request: dict[str, Any], secret: bytes, fds: dict[str, int]) -> None:
    """Run the pieces, and leave the process."""
    report = Report(fds)
    code = 1
    try:
        code = _run(request, secret, report)
    finally:
        _leave(code)


def _run(request: dict[str, Any], secret: bytes, report: Report) -> int:
    name = request["module"]
    scope = pieces.module(name, "__main__")
    if name != "__main__":
        trial.install(trial.Alone(scope, request["entry_point"], report), secret, report)
    try:
        if request["solution"]:
            _load_both(request, scope)
        else:
            pieces.load(request["tests"], request["names"], scope)
            pieces.finish()
    except SystemExit as stop:
        code = pieces.exit_code_of(stop)
        pieces.finish()
        return code
    except MemoryError:
        report.say(b"M")
        return 1
    except Late:
        report.say(b"T")
        return 1
    except BaseException as error:  # whatever the program raises is its result
        pieces.show(error, skipped=2)
        pieces.flush()
        return 1
    pieces.flush()
    report.prove()
    return 0


def _load_both(request: dict[str, Any], scope: dict[str, Any]) -> None:
    """Load the solution, then the tests, which get what they rely on as it was before."""
    count = len(request["solution"])
    files = request["names"][:count]
    snapshot = Snapshot(request["tests"])
    pieces.load(request["solution"], files, scope)
    snapshot.restore()
    scope.pop("__builtins__", None)
    for text, name in zip(request["tests"], request["names"][count:], strict=True):
        linecache.cache[name] = (len(text), None, text.splitlines(True), name)
        _exec(with_own_builtins(text, name, scope), scope)
    snapshot.check()
    check_no_liars(files)
