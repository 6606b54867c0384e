"""How a process of this machine ended, in words that are true.

In: its exit code, and the memory of this machine as seen when it was started. Out: what to say.

    ended(1, memory)     # "with exit code 1"
    ended(-15, memory)   # "by signal 15 (SIGTERM)"
    ended(-9, memory)    # "by signal 9 (SIGKILL: somebody sent it, or the cluster or …)"
    ended(-9, memory)    # "by signal 9 (SIGKILL: out of memory, as the kernel counts …)"
"""

from __future__ import annotations

import signal

from training.host_memory import HostMemory

COUNTED = "out of memory, as the kernel counts: it has ended a process of this machine meanwhile"
SENT = "somebody sent it, or the cluster or container that this runs in"


def ended(code: int | None, memory: HostMemory) -> str:
    """How a process with this exit code ended. `memory` was made before it could die."""
    if code is None:
        return "in a way that nobody knows"
    if code >= 0:
        return f"with exit code {code}"
    known = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    why = f": {COUNTED if memory.is_out else SENT}" if known == "SIGKILL" else ""
    return f"by signal {-code} ({known}{why})"
