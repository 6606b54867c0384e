"""Inside a box: the process of the tests. It knows the solution only through its answers.

In: the pieces of the tests, their data, and a wire to the solution's process. Out: the key, once
the last piece is done.

A name that the tests use and that neither they, nor the prelude, nor Python define is taken from
the solution: a function or a class as a `Remote`, a plain value as a copy, an exception as a class
made here. So the solution can never stand in for `abs` or for a function of the tests.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from builders.sandbox.inside import pieces, trial
from builders.sandbox.inside.link import Link, SolutionFailed
from builders.sandbox.inside.report import Report
from builders.sandbox.inside.solution import own_classes
from builders.sandbox.inside.wire import Gone, Late, Wire

_leave = os._exit
_MAX_FRAME = 1 << 29


def run(request: dict[str, Any], secret: bytes, fds: dict[str, int]) -> None:
    """Run the tests, and leave the process."""
    report = Report(fds)
    code = 1
    try:
        code = _run(request, secret, Wire(fds["read"], fds["write"], _MAX_FRAME), report)
    finally:
        _leave(code)


def _run(request: dict[str, Any], secret: bytes, wire: Wire, report: Report) -> int:
    scope = pieces.module("tests", "__main__")
    link = Link(wire, request["entry_point"])
    trial.install(link, secret, report)
    try:
        pieces.load([request["prelude"]], ["prelude.py"], scope)
        link.classes.update(own_classes(scope, "tests"))
        link.bind(scope, request["tests"])
        pieces.load(request["tests"], request["names"], scope)
        pieces.flush()
        link.check()
        report.prove()
        return 0
    except SolutionFailed:
        pass
    except Late:
        link.is_late = True
    except MemoryError as error:
        link.has_run_out = True
        pieces.show(error, skipped=2)
    except Gone as error:
        print(f"SolutionGone: {error}", file=sys.stderr)
    except BaseException as error:  # whatever the tests raise is the result
        pieces.show(error, skipped=2)
    if link.has_run_out:
        report.say(b"M")
    if link.is_late:
        report.say(b"T")
    pieces.flush()
    return 1
