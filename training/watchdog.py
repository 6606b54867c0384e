"""A process of a training ends itself when the one that started it is gone, or stays stopped.

In: the number of the launcher's process. Out: a thread that looks at it once a second. A process
that is stopped itself cannot look, so the system also sends a signal when the launcher dies:

    end_with(parent)                     SIGCONT: it goes on, looks, and ends
    end_with(parent, dies_with=True)     SIGKILL: it ends at once, stopped or not, writing nothing

The system sends it when the thread ends that started this process. So SIGKILL is only for a process
whose starter waits for it in that thread, as a training waits for its processes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ORPHANED = 75
"""Exit code of a process whose launcher is gone or does not go on."""
PATIENCE_S = 10
"""Seconds that the launcher may be stopped, and that a stopped process is waited for."""
PR_SET_PDEATHSIG = 1
"""An option of `prctl`, which only Linux has."""


def end_with(launcher: int, patience_s: float = PATIENCE_S, *, dies_with: bool = False) -> None:
    """End this process, and all that it started, when its launcher is gone or stays stopped.

    It counts its own seconds: those in which it was stopped itself do not count. See the module for
    `dies_with`.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL if dies_with else signal.SIGCONT)
    if os.getppid() != launcher:  # it died before the system knew whom to tell
        end()
    threading.Thread(target=_watch, args=(launcher, patience_s), name="launcher", daemon=True).start()


def end() -> NoReturn:
    """End this process at once, and all that it started, if it leads them."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ORPHANED)


def _watch(launcher: int, patience_s: float) -> None:
    stopped = 0
    while os.getppid() == launcher and stopped < patience_s:
        time.sleep(1.0)
        stopped = stopped + 1 if is_stopped(launcher) else 0
    end()


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal, as by Ctrl-Z. False where nobody can tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
