"""How a process that this one started has ended, without giving its number away.

In: a process. Out: its exit code, None while it runs.

    code_of(child)

A process that has ended keeps its number until somebody waits for it. Until then the number of its
group is its own, too, and what it started can be ended by it (`kill_groups`).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress


def code_of(child: subprocess.Popen[bytes]) -> int | None:
    """The exit code, or minus the signal that ended it. Its number stays its own."""
    if child.returncode is not None or not hasattr(os, "waitid"):
        return child.poll()
    try:
        found = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # somebody else has waited for it
        return child.poll()
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def kill_groups(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes that lead groups, and all in these groups; wait for them.

    Also where a process has ended: what it started may be there still. A number that was given away
    may belong to another process by now.
    """
    for child in children:
        if child.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    for child in children:
        child.wait()
