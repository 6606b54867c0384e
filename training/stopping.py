"""What signals do to a training: it ends in order, or stands still.

In: the processes of a training. Out, inside the block: the first signal that asked it to end.

    with stopping(children) as asked:
        ...
        if asked.signal: ...       # finish the step, save the state

    SIGTERM, SIGUSR1    Slurm and spot machines send one before they take the machine away
    SIGINT              Ctrl-C
    SIGHUP              the terminal is closed; nohup has it ignored
    SIGTSTP             Ctrl-Z stops the processes as well, and `fg` lets them go on

The first of the upper four is noted here. When the training has ended, `deliver` does
what the signal does elsewhere in this program. A second one does so at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.children import code_of

ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
BOUND_S = 25.0
"""Seconds from the signal to the end. Slurm kills 30 s after SIGTERM by default (KillWait), and so
do Kubernetes and the spot machines of Google."""
MARGIN_S = 3.0
"""Seconds of them in which processes that do not end are ended."""


class Asked:
    """The signal that asked a training to end, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.before: dict[int, Any] = {}

    def deliver(self, number: int | None = None) -> None:
        """Do what the signal did before: mostly, an exception ends the program."""
        came = number or self.signal
        if came is None:
            return
        # Where nobody handles it, SIGUSR1 is a SIGTERM that comes earlier.
        is_early = came == signal.SIGUSR1 and not callable(self.before.get(came))
        meant = signal.SIGTERM if is_early else came
        handler = self.before.get(meant, signal.SIG_DFL)
        if callable(handler):
            handler(meant, None)
        # The system's own way would not remove what this program leaves when it ends.
        raise SystemExit(128 + meant)


@contextmanager
def stopping(children: list[subprocess.Popen[bytes]]) -> Iterator[Asked]:
    """Inside this block, signals are kept and told. In a thread that gets none, nothing happens."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    own = os.getpid()

    def ask(number: int, frame: object) -> None:
        if os.getpid() != own:  # a process that was forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif asked.signal is None:
            asked.signal = signal.Signals(number)
        else:
            asked.deliver(number)

    def stand_still(number: int, frame: object) -> None:
        _send(children, signal.SIGSTOP)
        os.kill(own, signal.SIGSTOP)
        _send(children, signal.SIGCONT)  # this line runs after SIGCONT

    asked.before = {number: signal.getsignal(number) for number in (*ASKING, signal.SIGTSTP)}
    try:
        for number in ASKING:
            if asked.before[number] != signal.SIG_IGN:  # as nohup does
                signal.signal(number, ask)
        signal.signal(signal.SIGTSTP, stand_still)
        yield asked
    finally:
        for kept, handler in asked.before.items():
            signal.signal(kept, signal.SIG_DFL if handler is None else handler)


def deaf() -> None:
    """From now on this process ignores the signals that ask a training to end.

    Its launcher gets them, too, and tells it when to end. A process that is forked ends as it would
    have without.
    """
    own = os.getpid()

    def ignore(number: int, frame: object) -> None:
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in ASKING:
        signal.signal(number, ignore)


def _send(children: list[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if code_of(child) is None:
            os.killpg(child.pid, number)
