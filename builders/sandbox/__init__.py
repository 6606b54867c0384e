"""The only place where generated code runs: one Python program at a time, inside bubblewrap.

In: the text of a program, and limits. Out: a `SandboxResult`.

    program = tested_program("def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\n")
    run_python(program).status    # 'passed'

`bwrap` starts the program in namespaces of its own: it has no network and sees no other processes.
Its environment is empty. Its file system holds the system's programs, its libraries and the Python
installation, all read-only, and a small /tmp. Inside, `builders/sandbox/runner.py` sets the limits.
From outside, this module enforces time, total memory and output.

`passed` means that the program's last statement is done. Leaving early does not give it
(`sys.exit(0)`, `os._exit(0)`, killing the supervisor), and neither does printing a marker or
reading the program's own source, arguments, environment or the supervisor's memory. For a pass, the
child must send back a random key, which reaches no object of its interpreter before the end.

What the sandbox does not hold back:
- Solution and tests share one interpreter. Code written against this very runner can search its own
  descriptors for the key, replace `unittest`, or return objects that equal everything. A pass is a
  measurement, not a proof.
- `memory_mb` bounds each process by `RLIMIT_AS`. All processes together are only looked at every
  0.1 s, and only what is resident counts: memory in detached `memfd` or System V segments is not
  seen. Put a cgroup around untrusted bulk runs.
- Kernels before 5.14 count all processes of the user against `processes`. Newer ones count those of
  the sandbox.
- There is no system call filter, so a kernel bug that an unprivileged process can reach stays open.
"""

import contextlib
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from builders.sandbox.jail import INSTALL, command
from store.errors import JobError

__all__ = ["SandboxLimits", "is_available", "require", "run_many", "tested_program"]

Status = Literal["passed", "failed", "timeout", "memory", "output", "error"]
Id = TypeVar("Id", bound=Hashable)

_POLL_S = 0.1
# To discard output costs time. A stream of more than so many times its limit ends the program.
_FLOOD_FACTOR = 16
# Resident memory of bwrap and the supervisor. It does not count as the program's.
_OVERHEAD_MB = 64
_TESTED_PROGRAM = """\
(lambda run, load, scope, modules, lines, pieces: (
    scope.update(__name__="solution"),
    modules.update(solution=modules["__main__"]),
    lines.update({name: (len(text), None, text.splitlines(True), name) for name, text in pieces}),
    [
        run(load(text, name, "exec"), scope)
        for name, text in pieces
    ],
))(
    exec, compile, globals(), __import__("sys").modules, __import__("linecache").cache,
    %s
)
"""


@dataclass(frozen=True)
class SandboxLimits:
    """What one program may use.

    `file_mb` bounds each file and all of /tmp. `output_bytes` is how much of each stream is kept.
    """

    wall_s: float = 10
    cpu_s: int = 10
    memory_mb: int = 1024
    processes: int = 16
    output_bytes: int = 65536
    file_mb: int = 16

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"SandboxLimits.{name} is {value}: give a number above 0")


@dataclass(frozen=True)
class SandboxResult:
    """How one program ended. The status `error` means that the sandbox did not start.

    `exit_code` is negative for a signal.
    """

    status: Status
    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    output_truncated: bool
    wall_s: float


DEFAULT_LIMITS = SandboxLimits()


def is_available() -> bool:
    """Whether a program can be run in a sandbox here. It is tried once per process."""
    return _problem() is None


def require() -> None:
    """JobError with the reason and the fix where no sandbox works here."""
    problem = _problem()
    if problem is not None:
        raise JobError(f"generated code cannot be run, as no sandbox works here: {problem}. To fix it, {INSTALL}.")


def run_python(program: str, limits: SandboxLimits = DEFAULT_LIMITS) -> SandboxResult:
    """Run one program.

    It is `passed` when its last statement is done; an early `sys.exit(0)` fails.
    """
    require()
    return _run(program, limits)


def run_many(
    programs: Iterable[tuple[Id, str]], workers: int, limits: SandboxLimits = DEFAULT_LIMITS
) -> Iterator[tuple[Id, SandboxResult]]:
    """Run programs in `workers` sandboxes at a time. Results come in the order of the input.

    The input is read lazily. JobError where no sandbox works here.
    """
    if workers < 1:
        raise ValueError(f"run_many needs at least 1 worker, got {workers}")
    require()
    return _run_many(programs, workers, limits)


def tested_program(*parts: str) -> str:
    """One program that executes the parts in one namespace called `solution`.

    The parts are a solution's pieces, then its tests. Each is compiled by itself, so that no part
    can swallow the next one with an open string. What runs them is bound before the first part
    starts, so that no part can replace `exec`. `__name__` is not `__main__`: a solution's main
    block does not run.
    """
    names = [f"solution_{position}.py" for position in range(len(parts) - 1)] + ["tests.py"]
    return _TESTED_PROGRAM % repr(list(zip(names, parts, strict=True)))


def _run_many(
    programs: Iterable[tuple[Id, str]], workers: int, limits: SandboxLimits
) -> Iterator[tuple[Id, SandboxResult]]:
    pending: deque[tuple[Id, Future[SandboxResult]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for program_id, program in programs:
                pending.append((program_id, pool.submit(_run, program, limits)))
                if len(pending) >= 2 * workers:
                    first_id, future = pending.popleft()
                    yield first_id, future.result()
            while pending:
                first_id, future = pending.popleft()
                yield first_id, future.result()
        finally:
            for _, future in pending:
                future.cancel()


@functools.cache
def _problem() -> str | None:
    """Why no sandbox works here, or None."""
    if shutil.which("bwrap") is None:
        return "there is no bwrap on the PATH"
    exposed = _exposed(Path(sys.base_prefix).resolve(), Path.home().resolve(), Path(__file__).resolve().parents[2])
    if exposed:
        return exposed
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "there is no setpriv (util-linux) on the PATH, needed to give up root"
    result = _run("pass", DEFAULT_LIMITS)
    return None if result.status == "passed" else f"a test program ended as {result.status}: {result.stderr.strip()}"


def _exposed(prefix: Path, home: Path, code: Path) -> str | None:
    """Why the Python installation at `prefix` must not be shown to the program, or None.

    `code` is the folder that this package was loaded from. A checkout holds a user's files. The
    site-packages of an installed wheel hold packages only, so they may be seen.
    """
    for place in [home] if code.name in ("site-packages", "dist-packages") else [home, code]:
        if str(prefix) != "/usr" and place.is_relative_to(prefix):
            return f"the Python installation {prefix} contains {place}, which the program would see"
    return None


def _run(program: str, limits: SandboxLimits) -> SandboxResult:
    started = time.monotonic()
    report_out, report_in = os.pipe()
    try:
        with open(os.memfd_create("request"), "wb+") as request:
            request.write(json.dumps({"program": program, **asdict(limits)}).encode())
            request.seek(0)
            # bwrap gets an empty environment too: the program can read it in /proc/1/environ.
            process = subprocess.Popen(
                command(report_in, limits.file_mb),
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(report_in,),
                env={},
                start_new_session=True,
            )
    except BaseException:
        os.close(report_out)
        raise
    finally:
        os.close(report_in)
    with process, open(report_out, "rb", buffering=0) as report:
        try:
            cut, kept, totals = _watch(process, report, limits, started + limits.wall_s)
            process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    status, exit_code = _verdict(bytes(kept["report"]), process.returncode)
    status = cut or status
    return SandboxResult(
        status=status,
        exit_code=exit_code,
        stdout=kept["stdout"].decode("utf-8", "replace"),
        stderr=kept["stderr"].decode("utf-8", "replace"),
        timed_out=status == "timeout",
        output_truncated=max(totals["stdout"], totals["stderr"]) > limits.output_bytes,
        wall_s=time.monotonic() - started,
    )


def _watch(
    process: subprocess.Popen[bytes], report: BinaryIO, limits: SandboxLimits, deadline: float
) -> tuple[Status | None, dict[str, bytearray], dict[str, int]]:
    """Read the streams to their end, and keep the head of each.

    If the sandbox passes a limit, its process group is killed, and the limit is returned.
    """
    kept = {name: bytearray() for name in ("stdout", "stderr", "report")}
    totals = dict.fromkeys(kept, 0)
    cut: Status | None = None
    next_look = time.monotonic() + _POLL_S
    assert process.stdout is not None and process.stderr is not None, "both were asked for as pipes"
    with selectors.DefaultSelector() as selector:
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr), ("report", report)):
            selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                totals[key.data] += len(chunk)
                kept[key.data] += chunk[: max(0, limits.output_bytes - len(kept[key.data]))]
            if cut is None:
                is_look_due = time.monotonic() >= next_look
                cut = _exceeded(process.pid, totals, limits, deadline, is_look_due)
                next_look = time.monotonic() + _POLL_S if is_look_due else next_look
                if cut is not None:
                    os.killpg(process.pid, signal.SIGKILL)
    return cut, kept, totals


def _exceeded(
    pid: int, totals: dict[str, int], limits: SandboxLimits, deadline: float, is_look_due: bool
) -> Status | None:
    """The limit that the sandbox is over, if any."""
    if time.monotonic() > deadline:
        return "timeout"
    if max(totals.values()) > _FLOOD_FACTOR * limits.output_bytes:
        return "output"
    if is_look_due and _resident_mb(pid) > limits.memory_mb + _OVERHEAD_MB:
        return "memory"
    return None


def _resident_mb(pid: int) -> float:
    """Resident memory in MiB of a process and its descendants. Shared pages count once for each."""
    total = 0.0
    pending = [pid]
    while pending:
        folder = Path("/proc") / str(pending.pop())
        # Processes end while they are looked at.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            for task in (folder / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text().split()]
    return total


def _verdict(report: bytes, returncode: int) -> tuple[Status, int]:
    """Status and exit code from the supervisor's lines.

    A program that has started and not ended brought its supervisor down.
    """
    messages = [json.loads(line) for line in report.splitlines()]
    if not messages:
        return "error", returncode
    last = messages[-1]
    if last["state"] != "ended":
        return "failed", returncode
    if last["passed"]:
        return "passed", 0
    if last["memory"]:
        return "memory", last["exit_code"]
    return ("timeout" if last["exit_code"] == -signal.SIGXCPU else "failed"), last["exit_code"]
