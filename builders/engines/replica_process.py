"""A replica as a process of this machine: started, looked at, and ended with all that it started.

In: a place, and the address of the coordinator. Out: a process in a session of its own, which
writes into a log.

    process = ReplicaProcess((0, 1), Place("3"), "\0scoder-5c", key, Path("/tmp/x/replica-0.log"))
    process.has_ended()    # False
    process.kill()         # the process, and those that it started
    process.ending()       # "it ended by signal 9 (SIGKILL: out of memory, as the kernel counts …"
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from builders.engines.messages import Address, Name
from builders.engines.places import Place
from builders.engines.replica import CODE
from builders.executors.endings import ended
from store.files import private
from training.host_memory import HostMemory

STOPPED_S = 10.0
"""A replica that somebody stopped for so long is ended, as it would hold up the run for ever."""
TICK_S = 0.25
TICKS_BETWEEN_LOOKS = 8
GONE_S = 5.0
TAIL_CHARACTERS = 2000


class ReplicaProcess:
    """See the module."""

    is_waiting = was_taken = False
    """On this machine nothing waits, and nobody takes anything away."""

    def __init__(self, name: Name, place: Place, address: Address, key: bytes, log: Path) -> None:
        self.log = log
        self._lock = threading.Lock()
        self._ticks = self._ticks_stopped = 0
        self._was_stopped, self._memory = False, HostMemory()
        # The replica finds the modules that this process finds, wherever it was started.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with open(log, "ab", opener=private) as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", CODE],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=place.environment(os.environ) | {"PYTHONPATH": paths},
                start_new_session=True,
            )
        self.pid = self._process.pid
        start = {"address": address, "key": key.hex(), "name": name, "parent": os.getpid(), "cores": place.cores}
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps(start).encode() + b"\n")

    def has_ended(self) -> bool:
        """Whether the process is over. Its number stays its own until `kill`."""
        with self._lock:
            if self._process.returncode is not None:
                return True
            if not hasattr(os, "waitid"):
                return self._process.poll() is not None
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def look(self) -> None:
        """Kill the process if it is stopped, or one that it started. To be called every TICK_S.

        Ticks are counted, not seconds: if this process was stopped itself, others may have been
        stopped with it, and they go on with it.
        """
        self._ticks += 1
        if self._ticks % TICKS_BETWEEN_LOOKS == 0:
            self._ticks_stopped = self._ticks_stopped + TICKS_BETWEEN_LOOKS if "T" in self._states() else 0
            if self._ticks_stopped * TICK_S >= STOPPED_S:
                self._was_stopped = True
                self.kill()

    def kill(self) -> None:
        """End the process and all that it started, and wait until they are gone."""
        with self._lock:
            if self._process.returncode is None:
                # The process may be dead, but nobody has asked how it ended. So its number does not
                # belong to another one yet.
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
        until = time.monotonic() + GONE_S
        while self._states() and time.monotonic() < until:
            time.sleep(0.02)

    def wait(self, seconds: float) -> None:
        """Give the process so long to end by itself."""
        until = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.02)

    def ending(self) -> str:
        """How the process ended, and the end of what it wrote."""
        how = f"it ended {ended(self._process.returncode, self._memory)}"
        if self._was_stopped:
            how = f"it was stopped by a signal for {STOPPED_S:g} s, and was ended"
        return f"{how}. The end of what it wrote ({self.log}):\n{self.tail()}"

    def tail(self) -> str:
        """The end of what the process wrote."""
        text = self.log.read_bytes()[-TAIL_CHARACTERS:].decode(errors="replace").strip()
        return text or "(nothing)"

    def _states(self) -> str:
        """The states of the processes in its session, a letter each. Those that are dead are left
        out. Empty where the system does not tell."""
        return "".join(state for state, session in _processes() if session == self.pid and state not in "ZX")


def _processes() -> Iterator[tuple[str, int]]:
    """The state and the session of every process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            yield fields[0], int(fields[3])
