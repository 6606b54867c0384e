"""Whether the engine of a replica gets on: a thread that tells how many steps it has made.

In: an engine, and how long it may make no step. Out: its number of steps, whenever it has grown.
The thread lives on where the engine hangs, and then it tells nothing: it is the engine that counts
its steps (`Engine.steps`).

Shortly before an engine that hangs is ended, Python writes into the log where each thread is. It
does that by itself, even where the engine never gives the other threads a turn.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections.abc import Callable

from builders.engines.types import Engine

BEATS = 60
"""Beats in the time in which an engine has to make a step."""
SHARE_BEFORE_STACKS = 0.9


class Pulse:
    """See the module. `tell` is called from the thread."""

    def __init__(self, tell: Callable[[int], None], silent_s: float, opening_s: float) -> None:
        self._tell, self._silent_s = tell, silent_s
        self._is_asked = threading.Event()
        _show_stacks_after(opening_s)

    def begin(self, engine: Engine) -> None:
        """The engine is open: watch it."""
        faulthandler.cancel_dump_traceback_later()
        threading.Thread(target=self._beat, args=(engine,), name="pulse", daemon=True).start()

    def asked(self) -> None:
        """The engine has something to do."""
        _show_stacks_after(self._silent_s)
        self._is_asked.set()

    def idle(self) -> None:
        """The engine has nothing to do."""
        self._is_asked.clear()
        faulthandler.cancel_dump_traceback_later()

    def _beat(self, engine: Engine) -> None:
        told, pause = engine.steps, threading.Event()
        while True:
            self._is_asked.wait()
            pause.wait(self._silent_s / BEATS)
            if engine.steps != told:
                told = engine.steps
                self._tell(told)
                _show_stacks_after(self._silent_s)


def _show_stacks_after(seconds: float) -> None:
    """Write all stacks into the log then, unless this is called again before."""
    faulthandler.dump_traceback_later(max(0.1, seconds * SHARE_BEFORE_STACKS), file=sys.stderr)
