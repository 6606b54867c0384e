"""A box: one bubblewrap sandbox with a warm interpreter in it, which runs many programs in turn.

In: a program or a trial, and its limits. Out: a `SandboxResult`. Each program gets processes and
namespaces of its own (`inside/isolation.py`), so nothing stays from one to the next.

    with Box() as box:
        box.run(job, limits)

The host makes the pipes and files of each program and hands them in. It reads all output itself,
ends a program that floods it, and kills the whole box where the box does not answer in time.
"""

from __future__ import annotations

import array
import contextlib
import functools
import itertools
import json
import math
import os
import platform
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from builders.sandbox.inside.report import KEY_BYTES, frames
from builders.sandbox.jail import SITE, command
from builders.sandbox.limits import SandboxLimits, SandboxResult, Status
from builders.sandbox.system_calls import filter_for

_INSIDE = (
    *("isolation", "pieces", "decoding", "codec", "wire", "report", "scripts"),
    *("solution", "trial", "names", "link", "checker", "snapshot", "whole", "zygote"),
)
"""The modules of `inside/`, each after those that it imports."""
_WARM = (
    *("abc", "bisect", "calendar", "collections", "collections.abc", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "heapq", "inspect", "io", "itertools", "json"),
    *("linecache", "math", "operator", "pickle", "queue", "random", "re", "statistics", "string", "struct"),
    *("tempfile", "textwrap", "threading", "time", "tokenize", "traceback", "types", "typing", "unittest"),
)
"""Modules that programs often import. They are imported once per box."""
_START_S = 60.0
_GRACE_S = 3.0
"""How long a box may take, after a program's time is over, to say so."""
_FLOOD_FACTOR = 16
"""A plain program ends when it has printed so many times what is kept. What a trial prints is
thrown away for as long as it has time: a right answer may print."""


class Parts(Protocol):
    """Bytes that are read in pieces, and only when they are needed. It may be more than once."""

    def __len__(self) -> int:
        """How many bytes they are together."""

    def __iter__(self) -> Iterator[bytes]:
        """The pieces."""


class BoxLostError(Exception):
    """The box ended or hung while a program was in it."""


@dataclass(frozen=True)
class Job:
    """What a box runs: the requests for its processes, as the modules of `inside/` read them."""

    tests: dict[str, Any]
    data: bytes | Parts
    solution: dict[str, Any] | None
    wall_s: float | None

    @property
    def is_trial(self) -> bool:
        """Whether a solution is tested, and not a program run by itself."""
        return self.tests["module"] != "__main__"


class Box:
    """A sandbox that is started at once and lives until it is closed."""

    def __init__(self, environment: str | None = None) -> None:
        self._control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.fdopen(os.memfd_create("errors"), "rb+")
        with inner:
            # bwrap gets an empty environment too: it can be read in /proc/1/environ.
            self._process = subprocess.Popen(
                command(inner.fileno(), environment),
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=(inner.fileno(),),
                env={},
                start_new_session=True,
            )
        try:
            with _file([_setup(environment)]) as setup:
                self._send(b"setup", [setup.fileno()])
            self._control.settimeout(_START_S)
            is_ready = bool(self._control.recv(64))
            self._control.settimeout(None)
        except OSError:
            is_ready = False
        if not is_ready:
            self.kill()
            raise BoxLostError(f"a box did not start: {self.said()}")

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self.close()

    def said(self) -> str:
        """What bubblewrap and the interpreter have printed themselves."""
        self._errors.seek(0)
        return self._errors.read(4000).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End the box. It has ended when this returns."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self.kill()

    def kill(self) -> None:
        """End the box at once, whatever it does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._control.close()

    def run(self, job: Job, limits: SandboxLimits) -> SandboxResult:
        """Run one program. BoxLostError where the box did not survive it."""
        wall_s = job.wall_s or limits.wall_s
        started = time.monotonic()
        streams = _Streams(is_apart=job.solution is not None, is_trial=job.is_trial)
        with contextlib.ExitStack() as opened:
            opened.callback(streams.close)
            data = [job.data] if isinstance(job.data, bytes) else job.data
            files = {"tests": opened.enter_context(_file([_packed(job.tests)], data))}
            if job.solution is not None:
                files["code"] = opened.enter_context(_file([_packed(job.solution)]))
            fds = {**streams.theirs, **{name: file.fileno() for name, file in files.items()}}
            self._ask(job, limits, wall_s, fds)
            streams.close_theirs()
            ended, cut = self._watch(streams, limits, started + wall_s + _GRACE_S)
        return _result(streams, ended, cut, limits, time.monotonic() - started, _cpu_s(limits, wall_s))

    def _ask(self, job: Job, limits: SandboxLimits, wall_s: float, fds: dict[str, int]) -> None:
        is_apart = job.solution is not None
        request = {
            "is_apart": is_apart,
            "wall_s": wall_s,
            "cpu_s": _cpu_s(limits, wall_s),
            "memory_mb": limits.memory_mb,
            "tests_mb": _tests_mb(limits, len(job.data)),
            "file_mb": limits.file_mb,
            # bubblewrap's first process, the zygote and the other half of a trial count as well
            "processes": limits.processes + (3 if is_apart else 2),
            "fds": list(fds),
        }
        try:
            self._send(json.dumps(request).encode(), list(fds.values()))
        except OSError as error:
            raise BoxLostError(str(error)) from None

    def _send(self, content: bytes, fds: list[int]) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self._control.sendmsg([content], [rights])

    def _watch(self, streams: _Streams, limits: SandboxLimits, deadline: float) -> tuple[dict[str, Any], Status | None]:
        """Read until the box says how the program ended, and then what is left in the pipes.

        They do not always end then: a program can have left their other ends in messages on a
        socket that nobody takes. But nobody is left who could write.
        """
        poll = select.poll()
        for fd in (self._control.fileno(), *streams.ours):
            poll.register(fd, select.POLLIN)
        ended: dict[str, Any] | None = None
        cut: Status | None = None
        while ended is None:
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000 + 1)
            if not ready and time.monotonic() > deadline:
                raise BoxLostError(f"the box did not answer: {self.said()}")
            for fd, _ in ready:
                if fd == self._control.fileno():
                    ended = self._ended()
                    poll.unregister(fd)
                elif not streams.read(fd, limits):
                    poll.unregister(fd)
            if cut is None and streams.is_flood(limits):
                cut = "output"
                if ended is None:
                    with contextlib.suppress(OSError):
                        self._control.send(b"stop")
        while ready := poll.poll(0):
            for fd, _ in ready:
                if not streams.read(fd, limits):
                    poll.unregister(fd)
        return ended, "output" if streams.is_flood(limits) else cut

    def _ended(self) -> dict[str, Any]:
        try:
            answer = self._control.recv(1 << 12)
        except OSError as error:
            raise BoxLostError(str(error)) from None
        if not answer:
            raise BoxLostError(f"the box ended: {self.said()}")
        return dict(json.loads(answer))


class _Streams:
    """The pipes of one program: both ends, and what has come out of ours.

    The first bytes of a stream are kept, and of the standard error the last ones, as it ends with
    what went wrong.
    """

    def __init__(self, is_apart: bool, is_trial: bool) -> None:
        self._is_trial = is_trial
        self.theirs: dict[str, int] = {}
        self.ours: dict[int, str] = {}
        self.kept: dict[str, bytearray] = {}
        self.totals: dict[str, int] = {}
        for name in ("stdout", "stderr", "report", *(("solution_out", "solution_err") if is_apart else ())):
            ours, self.theirs[name] = os.pipe()
            self.ours[ours] = name
            self.kept[name] = bytearray()
            self.totals[name] = 0
        self.key = os.urandom(KEY_BYTES)
        self.theirs["key"], into = os.pipe()
        os.write(into, self.key)
        # After a fork two processes come to the end. The second must not wait for a key.
        os.close(into)

    def read(self, fd: int, limits: SandboxLimits) -> bool:
        """Take what has arrived. False at the end of the stream."""
        chunk = os.read(fd, 1 << 16)
        name = self.ours[fd]
        self.totals[name] += len(chunk)
        most = _report_bytes(limits) if name == "report" else limits.output_bytes
        kept = self.kept[name]
        if name in ("stderr", "solution_err"):
            kept += chunk
            del kept[: max(0, len(kept) - most)]
        else:
            kept += chunk[: max(0, most - len(kept))]
        return bool(chunk)

    def is_flood(self, limits: SandboxLimits) -> bool:
        """Whether a stream is far over its limit. What a trial prints is no part of its result."""
        if self.totals["report"] > _report_bytes(limits) or self._is_trial:
            return self.totals["report"] > _report_bytes(limits)
        most = _FLOOD_FACTOR * limits.output_bytes
        return any(total > most for name, total in self.totals.items() if name != "report")

    def text(self, *names: str) -> str:
        """The kept streams of these names, one after the other."""
        return b"".join(bytes(self.kept[name]) for name in names if name in self.kept).decode("utf-8", "replace")

    def close_theirs(self) -> None:
        """Close the box's ends, so that ours end when the program has ended."""
        for fd in self.theirs.values():
            os.close(fd)
        self.theirs = {}

    def close(self) -> None:
        """Close everything."""
        self.close_theirs()
        for fd in self.ours:
            os.close(fd)


def _report_bytes(limits: SandboxLimits) -> int:
    return limits.given_bytes + 4096


def _cpu_s(limits: SandboxLimits, wall_s: float) -> int:
    """The CPU limit of each process. Two threads may be busy for the whole time."""
    return limits.cpu_s if limits.cpu_s is not None else 2 * math.ceil(wall_s) + 2


def _result(
    streams: _Streams,
    ended: dict[str, Any],
    cut: Status | None,
    limits: SandboxLimits,
    wall_s: float,
    cpu_s: int,
) -> SandboxResult:
    said = frames(memoryview(streams.kept["report"]))
    letters = {letter for letter, _ in said}
    status: Status = cut or ended["cut"] or "failed"
    if status == "failed":
        if ended["exit_code"] == 0 and (b"P", streams.key) in said:
            status = "passed"
        elif b"M" in letters:
            status = "memory"
        elif b"T" in letters or ended["cpu_s"] >= cpu_s:
            status = "timeout"
    printed = max(total for name, total in streams.totals.items() if name != "report")
    return SandboxResult(
        status=status,
        exit_code=ended["exit_code"],
        stdout=streams.text("solution_out", "stdout"),
        stderr=streams.text("solution_err", "stderr"),
        timed_out=status == "timeout",
        output_truncated=printed > limits.output_bytes,
        wall_s=wall_s,
        given=b"".join(content for letter, content in said if letter == b"G"),
        waited_s=ended["waited_s"],
    )


def _tests_mb(limits: SandboxLimits, num_bytes: int) -> int:
    """The limit of tests that run apart. They hold their data, and what the solution answers.

    An answer arrives in at most 512 MiB, twice while it is taken over. It becomes as large a value
    as it was in the solution's process, and another one may be compared with it.
    """
    return 2 * limits.memory_mb + 1024 + 2 * num_bytes // 2**20


def _packed(request: dict[str, Any]) -> bytes:
    head = json.dumps(request).encode()
    return len(head).to_bytes(4, "little") + head


def _file(*parts: Iterable[bytes]) -> Any:
    """An open file without a name that holds the parts, one after the other."""
    file = os.fdopen(os.memfd_create("content"), "wb+", buffering=0)
    for part in itertools.chain(*parts):
        view = memoryview(part)
        while view:
            view = view[file.write(view) :]
    file.seek(0)
    return file


@functools.cache
def _setup(environment: str | None) -> bytes:
    """What `inside/start.py` needs first."""
    folder = Path(__file__).with_name("inside")
    modules = {"builders": "", "builders.sandbox": "", "builders.sandbox.inside": ""}
    for name in _INSIDE:
        modules[f"builders.sandbox.inside.{name}"] = (folder / f"{name}.py").read_text(encoding="utf-8")
    setup = {
        "modules": modules,
        "filter": filter_for(platform.machine()).hex(),
        "warm": _WARM,
        "site": [SITE] if environment is not None else [],
    }
    return json.dumps(setup).encode()
