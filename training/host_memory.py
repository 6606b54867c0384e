"""Whether a process that got SIGKILL was ended by the kernel because memory ran out.

In: the process, while it lives. Out: words for people.

    memory = HostMemory()
    memory.look(children)      # now and then
    memory.is_out              # the kernel has ended a process of this machine since the first line
    memory.told(1)             # "it held 12.3 of 25.1 GB of this machine's memory"

Linux counts the processes that it ends so (`oom_kill` in /proc/vmstat). Where nobody counts, or in
a container whose kernel is shared by others, the number is a strong hint and no proof.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
MEMINFO = Path("/proc/meminfo")
BYTES_PER_KIB, BYTES_PER_GB = 1024, 1e9


class HostMemory:
    """The memory of the processes of a training, as seen last."""

    def __init__(self) -> None:
        self._killed_before = _killed()
        self._held: dict[int, int] = {}

    def look(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        """Note what each process holds."""
        for rank, child in enumerate(children):
            held = _kib(Path(f"/proc/{child.pid}/status"), "VmRSS:")
            if held:
                self._held[rank] = held

    @property
    def is_out(self) -> bool:
        """Whether the kernel has ended a process for want of memory since this object was made."""
        return _killed() > self._killed_before

    def told(self, rank: int) -> str:
        """What a process held, and the machine has. Empty where nobody can tell."""
        held, there = self._held.get(rank), _kib(MEMINFO, "MemTotal:")
        if not held or not there:
            return ""
        return f"it held {_gb(held)} of the {_gb(there)} GB of this machine's memory"


def _gb(kib: int) -> str:
    return f"{kib * BYTES_PER_KIB / BYTES_PER_GB:.1f}"


def _killed() -> int:
    return _kib(VMSTAT, "oom_kill")


def _kib(path: Path, name: str) -> int:
    """The number beside a name in a file of the kernel, 0 if it is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
