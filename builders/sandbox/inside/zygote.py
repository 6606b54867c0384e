"""Inside a box: the warm interpreter, from which every program is forked.

In: requests over a socket, each with the limits as JSON and with descriptors. Out: how the
processes of the program ended, as JSON.

The zygote never sees a program, its tests or its results. They travel in files and pipes of their
own between the host and the forked processes, so that nothing of a program can be found in the
memory of the next one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import time
import traceback
from typing import Any

from builders.sandbox.inside import checker, isolation, pieces, solution, whole

_LOOK_S = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_OVERHEAD_MB = 64
"""Resident memory of the interpreters themselves. It does not count as the program's."""


def serve(control: socket.socket, system_calls: bytes) -> None:
    """Run programs, one after the other, until the host closes the socket."""
    isolation.harden()
    gc.collect()
    gc.freeze()
    control.send(b'{"state": "ready"}')
    while True:
        content, fds, _, _ = socket.recv_fds(control, 1 << 16, 16)
        if not content:
            return
        if content == b"stop":  # the program had ended before the host's word came
            continue
        request = json.loads(content)
        result = _Run(request, dict(zip(request["fds"], fds, strict=True)), system_calls).result(control)
        if result is None:
            return
        control.send(json.dumps(result).encode())


class _Run:
    """The processes of one program."""

    def __init__(self, request: dict[str, Any], fds: dict[str, int], system_calls: bytes) -> None:
        self._request = request
        self._fds = fds
        self._system_calls = system_calls
        self._pids: list[int] = []
        self._looked_at = time.monotonic()
        self._waited_ns: dict[str, int] = {}

    def result(self, control: socket.socket) -> dict[str, Any] | None:
        """How the program ended, or None where the host is gone."""
        deadline = time.monotonic() + self._request["wall_s"]
        try:
            self._start()
        finally:
            for fd in self._fds.values():
                os.close(fd)
        ended = os.pidfd_open(self._pids[-1])
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(control, select.POLLIN)
        cut, is_host_there = self._watch(poll, ended, deadline, control)
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        seconds, codes = 0.0, []
        for pid in self._pids:
            _, status, usage = os.wait4(pid, 0)
            codes.append(os.waitstatus_to_exitcode(status))
            seconds = max(seconds, usage.ru_utime + usage.ru_stime)
        waited_s = sum(self._waited_ns.values()) / 1e9 if self._waited_ns else None
        told = {"cut": cut, "exit_code": codes[-1], "cpu_s": seconds, "waited_s": waited_s}
        return told if is_host_there else None

    def _start(self) -> None:
        if self._request["is_apart"]:
            (to_read, from_checker), (from_solution, to_checker) = os.pipe(), os.pipe()
            self._fds |= {"a": to_read, "b": from_checker, "c": from_solution, "d": to_checker}
            self._spawn("solution", {"read": "a", "write": "d", "code": "code"})
            self._spawn("checker", {"read": "c", "write": "b", "code": "tests", "report": "report", "key": "key"})
        else:
            self._spawn("whole", {"code": "tests", "report": "report", "key": "key"})

    def _spawn(self, role: str, names: dict[str, str]) -> None:
        pid = isolation.spawn()
        if pid == 0:
            self._become(role, names)
        self._pids.append(pid)

    def _become(self, role: str, names: dict[str, str]) -> None:
        leave = os._exit
        try:
            streams = ("solution_out", "solution_err") if role == "solution" else ("stdout", "stderr")
            fds = {"stdout": self._fds[streams[0]], "stderr": self._fds[streams[1]]}
            fds |= {name: self._fds[source] for name, source in names.items()}
            limits = self._request | {"memory_mb": self._request["tests_mb" if role == "checker" else "memory_mb"]}
            settled = isolation.settle(limits, fds, self._system_calls)
            gc.enable()
            code = settled.pop("code")
            start = 4 + int.from_bytes(pieces.content(code, 0, 4), "little")
            request = json.loads(pieces.content(code, 4, start))
            if role == "solution":
                os.close(code)
                solution.run(request, settled)
            data = pieces.content(code, start, os.fstat(code).st_size)
            os.close(code)
            (checker if role == "checker" else whole).run(request, data, settled)
        except BaseException:
            traceback.print_exc()
        finally:
            leave(1)

    def _watch(self, poll: select.poll, ended: int, deadline: float, control: socket.socket) -> tuple[str | None, bool]:
        """Wait for the last process, a limit, or the host's word to stop."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout", True
            ready = dict(poll.poll(min(left, _LOOK_S) * 1000 + 1))
            if control.fileno() in ready:
                return None, bool(control.recv(16))
            if ended in ready:
                return None, True
            if self._takes_too_much():
                return "memory", True

    def _takes_too_much(self) -> bool:
        """Whether resident memory is over its limit. It is False before a look is due.

        The process of tests that run apart has a limit of its own. All others count together.
        """
        if time.monotonic() < self._looked_at + _LOOK_S:
            return False
        self._looked_at = time.monotonic()
        tests = self._pids[-1] if self._request["is_apart"] else None
        found = {int(name): 0 for name in os.listdir("/proc") if name.isdigit()}
        for pid in found.keys() - {1, os.getpid()}:
            # Processes end while they are looked at.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/statm") as file:
                    found[pid] = int(file.read().split()[1]) * _PAGE
                self._note_waits(pid)
        of_tests = found.pop(tests, 0) if tests is not None else 0
        return any(
            used > (self._request[limit] + _OVERHEAD_MB) * 2**20
            for used, limit in ((sum(found.values()), "memory_mb"), (of_tests, "tests_mb"))
        )

    def _note_waits(self, pid: int) -> None:
        """Note how long each thread was ready to run and had no CPU.

        See Documentation/scheduler/sched-stats of Linux. A kernel that does not count it has no
        such file.
        """
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                self._waited_ns[thread] = int(file.read().split()[1])
