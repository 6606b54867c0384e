"""The only place where generated code runs: Python programs, inside bubblewrap.

In: the text of a program or a `Trial`, and limits. Out: a `SandboxResult`.

    trial = Trial(solution=("def add(a, b): return a + b",), tests=("assert add(1, 2) == 3",))
    [(_, result)] = run_many([("one", trial)], workers=1)
    result.status    # 'passed'

Each worker starts one `bwrap` with a warm interpreter in it (`box.py`). Every program is forked
from that into namespaces of its own: it has no network and sees no other processes. Its environment
is empty. Its file system holds the system's programs, its libraries and the Python installation,
all read-only, and a small /tmp of its own. Packages that are installed on this machine are hidden:
a program can import the standard library, and what lies in the `environment` if one is given. It
has no capabilities, and a filter refuses it system calls that it has no use for
(`system_calls.py`); sockets are AF_UNIX only. The interpreter inside and the host enforce time,
total memory and output.

The two halves of a trial run in two such processes. The solution's cannot see, reach or guess what
the tests hold. The tests see of the solution only plain values, and handles that equal nothing but
themselves (`inside/link.py`). `passed` means that the last piece of the tests is done. Leaving
early does not give it (`sys.exit(0)`, `os._exit(0)`), and neither does printing a marker. For a
pass, the tests' process must send back a random key, which reaches no object of its interpreter
before the end.

What the sandbox does not hold back:
- A program of plain text and a trial with `is_apart=False` share one interpreter with their tests.
  Before such tests run, `unittest`, builtins and the functions of the modules that they import are
  put back as they were (`inside/snapshot.py`), so plain tricks fail. Code written against this very
  sandbox can still search its descriptors for the key, or change what the tests hold. There a pass
  is a measurement, not a proof.
- A helper that the tests take from the solution, such as a function of the task's own prompt,
  answers what the solution wants. Give it as `prelude`, and the tests use their own. Modules, such
  as `sys`, the tests import themselves.
- A function that works in place gives nothing. Only then are its changes of arguments seen.
- Apart, a solution's own `__eq__`, operators and coroutines are not asked: an object that is not
  plain equals itself only, and an instance of a subclass of a builtin type loses its class.
- `memory_mb` bounds each process by `RLIMIT_AS`. All processes together are only looked at every
  0.1 s, and shared pages count once for each. What lies in /tmp and /dev/shm counts against
  `file_mb`, not against `memory_mb`. Tests that run apart do not count: their process holds their
  data and the answers, and has a limit of its own, twice `memory_mb` and 1 GiB and twice the data.
  So an answer that is a very large value makes it large. Put a cgroup around untrusted bulk runs.
- Kernels before 5.14 count all processes of the user against `processes`. Newer ones count those of
  the box.
- What a trial prints is thrown away beyond `output_bytes`, for as long as it has time. A plain
  program that prints 16 times as much is ended, and a script whose answer is above 16 MiB fails.
- The stack may grow to 512 MiB (`jail.py`), or to the hard limit of this process if that is less.
  Threads have 8 MiB, but those of a Python that the program starts anew have 512 MiB of its memory.
- A program is the first process of its namespace: a signal that it has no handler for and that
  would end it, such as SIGTERM or SIGALRM, is ignored.
- The filter lists what is refused. A bug of the kernel in one of the other calls stays open.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import sys
import threading
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from builders.sandbox.box import Box, BoxLostError, Job, Parts
from builders.sandbox.inside import codec
from builders.sandbox.jail import INSTALL
from builders.sandbox.limits import DEFAULT_LIMITS, SandboxLimits, SandboxResult
from builders.sandbox.system_calls import PROCESSORS
from store.errors import InputError, JobError

__all__ = [
    "DEFAULT_LIMITS",
    "SandboxLimits",
    "SandboxResult",
    "Trial",
    "codec",
    "is_available",
    "modules_missing",
    "require",
    "run_many",
    "run_python",
    "tested_program",
]

Id = TypeVar("Id", bound=Hashable)

AHEAD = 64
"""Programs for each worker that may be under way, waiting, or done and not yet given back."""
AHEAD_BYTES = 1 << 26
"""What these may take together, if they are more than two for each worker."""

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
_FIND_MODULES = """\
import importlib.util
for name in %r:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        print(name)
"""


@dataclass(frozen=True)
class Trial:
    """A solution and the program that tests it, in two processes that share nothing.

    All code comes in pieces, and each is compiled by itself, so that no piece can swallow the next
    one with an open string. `prelude` is run first on both sides. `entry_point` is `f` or
    `Solution().f`. `data` is for the tests alone; they read it, and call the solution on many
    inputs, with the module `trial` (`inside/trial.py`). Data that is not bytes is read only when
    the trial runs, so that trials that wait take no memory. `wall_s` takes the place of the
    limits'.

    Without `is_apart`, solution and tests share one process and one module, as tests with mocks
    need. With `is_script`, the solution is a program that reads standard input. It runs anew, as
    `__main__`, for each input.
    """

    solution: tuple[str, ...]
    tests: tuple[str, ...]
    prelude: str = ""
    entry_point: str | None = None
    data: bytes | Parts = b""
    wall_s: float | None = None
    is_apart: bool = True
    is_script: bool = False

    def __post_init__(self) -> None:
        if self.wall_s is not None and self.wall_s <= 0:
            raise ValueError(f"Trial.wall_s is {self.wall_s}: give a number above 0")
        if self.is_script and not self.is_apart:
            raise ValueError("a script runs apart from its tests: leave is_apart")


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
    ((_, result),) = _run_many([(0, program)], 1, limits, None)
    return result


def run_many(
    programs: Iterable[tuple[Id, str | Trial]],
    workers: int,
    limits: SandboxLimits = DEFAULT_LIMITS,
    environment: str | None = None,
) -> Iterator[tuple[Id, SandboxResult]]:
    """Run programs in `workers` boxes at a time. Results come in the order of the input.

    The input is read lazily, `AHEAD` programs for each worker, or fewer if they are large: then a
    slow program keeps no other worker waiting. `environment` is the folder of a virtual environment
    whose packages the programs may import. JobError where no sandbox works here, InputError for a
    folder that is no such environment.
    """
    if workers < 1:
        raise ValueError(f"run_many needs at least 1 worker, got {workers}")
    require()
    return _run_many(programs, workers, limits, environment and _checked(environment))


def modules_missing(names: Iterable[str], environment: str | None = None) -> list[str]:
    """Which of these top-level modules no program can import, in the order given."""
    program = _FIND_MODULES % [name.partition(".")[0] for name in names]
    ((_, result),) = run_many([(0, program)], 1, SandboxLimits(output_bytes=1 << 20), environment)
    if result.status != "passed":
        raise JobError(f"the sandbox could not look for modules: {result.status}, {result.stderr.strip()}")
    return result.stdout.split()


def tested_program(*parts: str) -> str:
    """One program that executes the parts in one namespace called `solution`.

    The parts are a solution's pieces, then its tests. Each is compiled by itself, so that no part
    can swallow the next one with an open string. What runs them is bound before the first part
    starts, so that no part can replace `exec`. `__name__` is not `__main__`: a solution's main
    block does not run.
    """
    names = [f"solution_{position}.py" for position in range(len(parts) - 1)] + ["tests.py"]
    return _TESTED_PROGRAM % repr(list(zip(names, parts, strict=True)))


class _Boxes(threading.local):
    """The box of each thread. It is started with the thread's first program."""

    mine: Box | None = None

    def __init__(self, every: set[Box], is_over: threading.Event, environment: str | None) -> None:
        self._every = every
        self._is_over = is_over
        self._environment = environment

    def run(self, job: Job, limits: SandboxLimits) -> SandboxResult:
        """Run a program in this thread's box. One that loses it is tried once more in a new one."""
        problem = ""
        for _ in range(2):
            try:
                if self.mine is None and not self._is_over.is_set():
                    self.mine = Box(self._environment)
                    self._every.add(self.mine)
                # It may be over only now: then nobody else would end this box.
                if self.mine is not None and not self._is_over.is_set():
                    return self.mine.run(job, limits)
                break
            except BoxLostError as error:
                problem = str(error)
                if self.mine is not None:
                    self.mine.kill()
                    self._every.discard(self.mine)
                    self.mine = None
        if self.mine is not None:
            self.mine.kill()
        return SandboxResult("error", -1, "", problem + "\n", False, False, 0.0)


def _run_many(
    programs: Iterable[tuple[Id, str | Trial]], workers: int, limits: SandboxLimits, environment: str | None
) -> Iterator[tuple[Id, SandboxResult]]:
    pending: deque[_Pending[Id]] = deque()
    every, is_over = set[Box](), threading.Event()
    boxes = _Boxes(every, is_over, environment)

    def run(program: str | Trial) -> SandboxResult:
        return boxes.run(job_of(program), limits)

    with ThreadPoolExecutor(workers) as pool:
        try:
            for program_id, program in programs:
                pending.append(_Pending(program_id, pool.submit(run, program), _size(program)))
                while pending and (pending[0].future.done() or _is_full(pending, workers)):
                    first = pending.popleft()
                    yield first.program_id, first.future.result()
            while pending:
                first = pending.popleft()
                yield first.program_id, first.future.result()
        finally:
            is_early = bool(pending)
            is_over.set()
            for one in pending:
                one.future.cancel()
            for box in list(every):
                box.kill() if is_early else box.close()


@dataclass(frozen=True)
class _Pending(Generic[Id]):
    """A program that is not yet given back, and how many characters and bytes it has."""

    program_id: Id
    future: Future[SandboxResult]
    size: int

    @property
    def held(self) -> int:
        """What is in memory for it: what it is made of, or what it gave."""
        return len(self.future.result().given) if self.future.done() else self.size


def _size(program: str | Trial) -> int:
    if isinstance(program, str):
        return len(program)
    held = len(program.data) if isinstance(program.data, bytes) else 0
    return held + sum(map(len, (*program.solution, *program.tests)))


def _is_full(pending: Sequence[_Pending[Id]], workers: int) -> bool:
    if len(pending) < 2 * workers:
        return False
    return len(pending) >= AHEAD * workers or sum(one.held for one in pending) > AHEAD_BYTES


def job_of(program: str | Trial) -> Job:
    """What a box runs for a program or a trial."""
    if isinstance(program, str):
        return Job(_request("__main__", (), (program,), ["program.py"]), b"", None, None)
    tests = _test_names(program)
    if program.is_apart:
        asked = _request("tests", (), program.tests, tests, program)
        solution = _request("solution", program.solution, (), [], program)
        return Job(asked, program.data, solution, program.wall_s)
    texts = (program.prelude, *program.solution)
    names = [f"solution_{number}.py" for number in range(len(texts))]
    return Job(_request("solution", texts, program.tests, names + tests, program), program.data, None, program.wall_s)


def _test_names(trial: Trial) -> list[str]:
    count = len(trial.tests)
    return ["tests.py"] if count == 1 else [f"tests_{number}.py" for number in range(count)]


def _request(
    module: str, solution: tuple[str, ...], tests: tuple[str, ...], names: list[str], trial: Trial | None = None
) -> dict[str, object]:
    return {
        "module": module,
        "solution": solution,
        "tests": tests,
        "names": names,
        "prelude": trial.prelude if trial else "",
        "entry_point": trial.entry_point if trial else None,
        "is_script": trial.is_script if trial else False,
    }


def _checked(environment: str) -> str:
    """The folder of a virtual environment with this Python's version. InputError otherwise."""
    folder = Path(environment)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    fix = f"make one with `python{version} -m venv {environment}`"
    if not (folder / "pyvenv.cfg").is_file():
        raise InputError(f"{environment} is no virtual environment, as it has no pyvenv.cfg: {fix}")
    if not (folder / "lib" / f"python{version}" / "site-packages").is_dir():
        found = sorted(path.name for path in (folder / "lib").glob("python3*"))
        raise InputError(f"{environment} is for {', '.join(found) or 'no Python'}, the sandbox for {version}: {fix}")
    return os.path.realpath(environment)


@functools.cache
def _problem() -> str | None:
    """Why no sandbox works here, or None."""
    if shutil.which("bwrap") is None:
        return "there is no bwrap on the PATH"
    if platform.machine() not in PROCESSORS:
        known = " and ".join(PROCESSORS)
        return f"there is no system call filter for the processor {platform.machine()}, only for {known}"
    exposed = _exposed(Path(sys.base_prefix).resolve(), Path.home().resolve(), Path(__file__).resolve().parents[2])
    if exposed:
        return exposed
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "there is no setpriv (util-linux) on the PATH, needed to give up root"
    ((_, result),) = _run_many([(0, "pass")], 1, DEFAULT_LIMITS, None)
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
